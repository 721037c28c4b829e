"""The policy that the workshop ships: each permission is needed, and a missing one is named.

lessons/test_lessons.py shows that it is enough, and that lessons use all of it: they run under it.
"""

from __future__ import annotations

import pytest

from tests.support.missing_permissions import (
    ONLY_AWS,
    ONLY_WHERE,
    PAGE,
    PERMISSIONS,
    Workplace,
    page,
)
from tests.support.stub_roles import FULL_POLICY, actions, lab, shipped, without

# What these tests look at takes long and is done once.
pytestmark = pytest.mark.one_worker

NEEDED = sorted(PERMISSIONS)


@pytest.fixture(scope="module")
def workplace():
    with lab() as here:
        yield Workplace(here)


@pytest.fixture(scope="module")
def read(workplace):
    """Return what the learner reads for each permission, when exactly that one is missing."""
    return {action: workplace.read(action, role=action) for action in NEEDED}


def test_the_policy_has_no_action_that_nothing_needs():
    allowed = set(actions(shipped()))
    needed = PERMISSIONS.keys() | ONLY_AWS.keys()
    assert allowed - needed == set(), "allowed, and nobody needs it: take it out of the policy"
    assert needed - allowed == set(), "needed, and not allowed"
    assert not PERMISSIONS.keys() & ONLY_AWS.keys()
    assert ONLY_WHERE.keys() <= PERMISSIONS.keys()  # so a probe shows that each is needed


def test_an_action_is_taken_away_wherever_it_stands():
    for action in NEEDED:
        assert set(actions(shipped())) - set(actions(without(shipped(), action))) == {action}
    assert shipped("a")["Statement"] != shipped("b")["Statement"]  # each may pass itself alone


@pytest.mark.parametrize("action", NEEDED)
def test_without_the_permission_the_learner_reads_which_one(read, action):
    text = read[action]
    assert text is not None, f"nothing went wrong without {action}: is it needed?"
    # The SDK's own warning names the operation alone.
    assert {"iam:GetRole": "'get_role'"}.get(action, action) in text


def test_with_the_complete_policy_nothing_fails(workplace):
    states = {
        (permission.probe, permission.bucket): action for action, permission in PERMISSIONS.items()
    }
    assert {action: workplace.read(action, role=FULL_POLICY) for action in states.values()} == (
        dict.fromkeys(states.values())
    )


def test_the_page_says_what_is_read(read):
    assert PAGE.read_text(encoding="utf-8") == page(read), (
        "run `python -m tests.support.missing_permissions`"
    )
