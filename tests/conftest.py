"""What all tests share: the scripts on the path, no way to the network, a stub AWS."""

import functools
import os
from pathlib import Path
from typing import Any

import pytest
import pytest_socket
from xdist.scheduler import LoadScopeScheduling

from lessons.on_stub import POLICY, PRICES, ROLE_NAME
from stub_aws.aws import forget_the_person
from stub_aws.pytest_plugin import on_stub_aws, stub_aws  # noqa: F401 - fixtures

REPOSITORY = Path(__file__).resolve().parents[1]
forget_the_person()


@functools.cache
def on_one_worker(path: str) -> bool:
    """Return whether a module is marked `one_worker`; the scheduler knows names, not markers."""
    return "pytest.mark.one_worker" in Path(REPOSITORY, path).read_text(encoding="utf-8")


@pytest.hookimpl(optionalhook=True)  # there is none where xdist is switched off
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Any worker gets the next test, or the next module of those marked `one_worker`.

    xdist's own `--dist loadgroup` has no effect under pytest 9, which keeps a test's first name.
    """

    class ByTestOrModule(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            path = nodeid.partition("::")[0]
            return path if on_one_worker(path) else nodeid

    config.option.loadscopereorder = False  # the order is that of pytest_collection_modifyitems
    return ByTestOrModule(config, log)


def pytest_runtest_setup() -> None:
    """Every test may open connections on this machine and to nowhere else."""
    pytest_socket.socket_allow_hosts(["127.0.0.1", "::1", "localhost"], allow_unix_socket=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put what takes longest first, so that no worker is left alone with it at the end.

    Tests with `mock_aws` come last: it empties the one state of moto, a running stub's too.
    """
    items.sort(key=_turn)


def _turn(item: pytest.Item) -> int:
    if hasattr(item.module, "mock_aws"):
        return 4
    if marker := item.get_closest_marker("long"):
        return marker.kwargs["turn"]
    return 2 if item.get_closest_marker("one_worker") else 3


@pytest.fixture(scope="session")
def stub_aws_options() -> dict[str, Any]:
    """Return the settings of the stub as the lessons run on it."""
    return {"policies": [POLICY], "role_name": ROLE_NAME, "prices_file": PRICES}


@pytest.fixture
def no_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand, not in a job, whatever runs the tests."""
    for name in list(os.environ):
        if name.startswith("SM_"):
            monkeypatch.delenv(name)
