"""The policies that the workshop ships, with the values of the stub AWS filled in."""

from __future__ import annotations

from typing import Any

from lessons.on_stub import POLICY, ROLE_NAME
from stub_aws import roles
from stub_aws.account import ACCOUNT_ID, REGION


def read_policy(name: str, role_name: str = ROLE_NAME, region: str = REGION) -> dict[str, Any]:
    """Return a document of scripts/notebook_instance, as it stands for a role and a region."""
    values = roles.policy_values(ACCOUNT_ID, region, role_name)
    return roles.read_policy(
        POLICY.with_name(name), values | {"NotebookInstanceName": "sagemaker-workshop"}
    )
