"""Run COMMAND with every AWS call led to a stub AWS.

The stub starts first and ends, with all its jobs, when COMMAND ends; the exit code is COMMAND's.
The address of its console, a page for a browser, is the one line that it prints (to stderr).
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from . import record
from .account import ACCOUNT_ID, REGION, AccountError
from .aws import ROLE_NAME, StubAWS, forget_the_person
from .console import PriceError
from .roles import FULL_ACCESS, OF_AWS, PolicyError

PATIENCE_S = 10  # between SIGTERM and SIGKILL
USAGE_ERROR = 2  # the exit code, as argparse has it
NOT_RUN = 127  # a shell's for a command that it cannot run


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    parser = make_parser()
    arguments = parser.parse_args(argv)
    command = arguments.command[arguments.command[:1] == ["--"] :]
    if not command:
        parser.error("there is no COMMAND to run")
    # Ctrl-C reaches COMMAND as well, which decides what it means; SIGTERM and SIGHUP end it.
    signal.signal(signal.SIGINT, lambda *_: None)
    forget_the_person()
    try:
        stub = StubAWS(
            account_id=arguments.account,
            region=arguments.region,
            role_name=arguments.role_name,
            policies=arguments.policy or [FULL_ACCESS],
            prices_file=arguments.prices,
        )
    except (AccountError, PolicyError, PriceError) as error:
        print(f"stub AWS: {error}", file=sys.stderr)
        return USAGE_ERROR
    with stub:
        code = run(command, stub)
        if arguments.record:
            record.write(stub, arguments.record)
    return code


def run(command: Sequence[str], stub: StubAWS) -> int:
    """Run a command on a stub to its end and return its exit code, as a shell has it."""
    try:
        process = subprocess.Popen(command, env=stub.environment)
    except OSError as error:
        print(f"stub AWS: cannot run {command[0]}: {error.strerror}", file=sys.stderr)
        return NOT_RUN
    print(f"stub AWS: its console is at {stub.console_url}", file=sys.stderr, flush=True)
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # as under nohup
            signal.signal(number, lambda *_: end(process))
    code = process.wait()
    return code if code >= 0 else 128 - code


def end(command: subprocess.Popen[bytes]) -> None:
    """Ask COMMAND to end, and end it when it does not: JupyterLab may wait for its own threads."""
    command.terminate()
    insist = threading.Timer(PATIENCE_S, command.kill)
    insist.daemon = True
    insist.start()


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    module = Path(sys.argv[0]).name == Path(__file__).name
    parser = argparse.ArgumentParser(
        prog="python -m stub_aws" if module else "stub-aws",
        usage="%(prog)s [OPTION...] COMMAND [ARGUMENT...]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "--policy",
        "--role-policy",
        action="append",
        type=policy,
        metavar="FILE",
        help="what the execution role may do: a policy document, in which ${AWS::AccountId}, "
        "${AWS::Region}, ${AWS::Partition} and ${ExecutionRoleName} are filled in, or the ARN of a "
        "policy that AWS manages; more than once for several "
        f"(default: {FULL_ACCESS.removeprefix(OF_AWS)})",
    )
    add("--role-name", default=ROLE_NAME, metavar="NAME", help="its name (default: %(default)s)")
    add("--account", default=ACCOUNT_ID, metavar="NUMBER", help="default: %(default)s")
    add("--region", default=REGION, metavar="REGION", help="default: %(default)s")
    add(
        "--prices",
        type=Path,
        metavar="FILE",
        help="a CSV file with the columns instance_type and usd_per_hour, for the console's costs",
    )
    add(
        "--record",
        type=Path,
        metavar="FILE",
        help="write at the end, as JSON, the permissions that were used and the jobs that were "
        "ordered",
    )
    add("command", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return parser


def policy(text: str) -> str | Path:
    """Return a policy as `StubAWS` takes it: an ARN, or a file."""
    return text if text.startswith(OF_AWS) else Path(text)


if __name__ == "__main__":
    sys.exit(main())
