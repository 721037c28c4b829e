"""Defines the account and the region of a stub AWS, if nobody chooses others.

All other modules take them from what they handle: an ARN, the caller of a request, the settings of
the stub.
"""

from __future__ import annotations

import re

from .clients import regions

ACCOUNT_ID = "123456789012"  # of the examples in AWS's documentation
REGION = "us-east-1"


class AccountError(ValueError):
    """There is no such account or region; the message says what is wrong with it."""


def check(account_id: str, region: str) -> None:
    """Check that an account and a region of AWS may have these names.

    Raises:
        AccountError: They may not.
    """
    if not re.fullmatch(r"[0-9]{12}", account_id):
        raise AccountError(f"An account's number has 12 digits, and '{account_id}' has not.")
    known = regions("sagemaker")
    if region not in known:
        raise AccountError(
            f"There is no region '{region}' with SageMaker in AWS's standard partition. "
            f"Choose one of {', '.join(known)}."
        )


def account_of(arn: str) -> str:
    """Return the number of the account that an ARN names."""
    return arn.split(":")[4]
