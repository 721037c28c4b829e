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

from stub_aws import __main__ as stub_aws

ROOT = Path(__file__).resolve().parents[2]
ROLE_NAME = "sagemaker-workshop-execution-role"
POLICY = ROOT / "scripts" / "notebook_instance" / "execution_role_policy.json"
PRICES = ROOT / "data" / "instance_prices.csv"
OPTIONS = ["--role-name", ROLE_NAME, "--prices", str(PRICES)]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    policy = [] if arguments[:1] == ["--policy"] else ["--policy", str(POLICY)]
    return stub_aws.main([*OPTIONS, *policy, *arguments])


if __name__ == "__main__":
    sys.exit(main())
