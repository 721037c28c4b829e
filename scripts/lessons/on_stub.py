"""Runs a command on the stub AWS as the lessons need it: with the workshop's role, policy, prices.

    python -m lessons.on_stub COMMAND...
    python -m lessons.on_stub --record FILE COMMAND...
    python -m lessons.on_stub --policy POLICY COMMAND...     instead of the workshop's

The stub's options (`python -m stub_aws --help`) go before COMMAND, `--policy` first.
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
WITHOUT_POLICY = ["--role-name", ROLE_NAME, "--prices", str(PRICES)]
OPTIONS = ["--policy", str(POLICY), *WITHOUT_POLICY]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    kernels.offer()
    arguments = list(sys.argv[1:] if argv is None else argv)
    options = WITHOUT_POLICY if arguments[:1] == ["--policy"] else OPTIONS
    return stub_aws.main([*options, *arguments])


if __name__ == "__main__":
    sys.exit(main())
