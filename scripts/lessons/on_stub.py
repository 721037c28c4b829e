"""Runs a command on the stub AWS as the lessons want it: with the workshop's role, policy, prices.

    python -m lessons.on_stub COMMAND...
    python -m lessons.on_stub --record FILE COMMAND...

The stub's options (`python -m stub_aws --help`) go before COMMAND.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from lessons import kernels
from stub_aws import __main__ as stub_aws

ROOT = Path(__file__).resolve().parents[2]
ROLE_NAME = "sagemaker-workshop-execution-role"
POLICY = ROOT / "scripts" / "notebook_instance" / "execution_role_policy.json"
PRICES = ROOT / "data" / "instance_prices.csv"
OPTIONS = ["--policy", str(POLICY), "--role-name", ROLE_NAME, "--prices", str(PRICES)]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    kernels.offer()
    return stub_aws.main([*OPTIONS, *(sys.argv[1:] if argv is None else argv)])


if __name__ == "__main__":
    sys.exit(main())
