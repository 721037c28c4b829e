"""`make test-aws`: run the lessons on a real AWS account, after a price, and leave nothing there.

    python -m lessons.on_aws [--yes] [LESSON...]      such as 03; all lessons if none is named

1. Prints who you are, where, and what of the workshop is in the account already.
2. Rehearses: runs the same lessons on the stub AWS, which costs nothing. A lesson that fails there
   ends the run. The stub records the jobs that the lessons order, and the bound of the bill is
   computed from that: price x machines x max_run, and the disks, of every job. So no figure is
   written down that could become outdated.
3. Asks (`YES=1 make test-aws` answers yes).
4. Runs the lessons. After that, be it by success, failure, Ctrl-C or SIGTERM:
5. Cleans up by the workshop's tag, as `python -m workshop.cleanup --delete` does, and
   checks that nothing is left. What you had there before with that tag is deleted, too;
   step 1 has shown it.

What somebody else made stays: a bucket of the workshop's name without its tag ends the run in step
1, unless SAGEMAKER_WORKSHOP_BUCKET names it. After SIGKILL nothing can clean up, but the lessons
end, too, and `scripts/workshop/cleanup.py --delete` does the rest.

It needs credentials and a region in the environment, and, for a user, SAGEMAKER_ROLE_ARN.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import workshop
from lessons import lifeline
from workshop import buckets, cleanup, costs

ROOT = Path(__file__).resolve().parents[2]

OUTPUT = ROOT / "build" / "on_aws"
CELL_TIMEOUT_S = 3600  # a cell may wait for several jobs, each minutes long on AWS
POLL_S = 0.2
PATIENCE_S = 30  # between SIGINT and SIGKILL for the lessons
ROUNDS = 3  # of cleaning up: a job may have begun during the first
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """A signal that ends the run; no Exception, so that no handler of exceptions catches it."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


# ---- What it may cost ----------------------------------------------------------------------------


def bound(ordered: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Return the most that jobs can cost, in US dollars by lesson: machines and disks up to
    `max_run`.

    `ordered` are the entries of a record of the stub (stub_aws/record.py). The bound leaves out
    what costs fractions of a cent (storage, logs, requests), and the two minutes that a stopped job
    may take to save. Raises CostError for a type without a price.
    """
    by_lesson: dict[str, float] = defaultdict(float)
    for job in ordered:
        count, limit_s = job["instance_count"], job["max_run_s"]
        machines = costs.upper_bound(job["instance_type"], count, limit_s).usd
        disks = costs.disk_cost(
            {
                "BillableTimeInSeconds": limit_s,
                "ResourceConfig": {"InstanceCount": count, "VolumeSizeInGB": job["volume_gb"]},
            }
        )
        by_lesson[job["tags"].get("lesson", "")] += machines + disks
    return dict(sorted(by_lesson.items()))


def announcement(ordered: Sequence[dict[str, Any]]) -> str:
    """Return the bound as text: a line per lesson, and the sum."""
    by_lesson = bound(ordered)
    lines = [f"  lesson {name}: {costs.dollars(usd)}" for name, usd in by_lesson.items()]
    total = costs.dollars(sum(by_lesson.values()))
    return "\n".join(
        [
            f"{len(ordered)} training jobs. If each of them reached its time limit, at the prices "
            f"of {costs.REGION} in data/instance_prices.csv:",
            *lines,
            f"  at most {total} in all; most jobs end long before their limit",
        ]
    )


# ---- The lessons, on the stub and on AWS ---------------------------------------------------------


def rehearse(lessons: Sequence[str]) -> list[dict[str, Any]]:
    """Run lessons on the stub AWS and return its record of their jobs.

    Raises WorkshopError when a lesson fails there.
    """
    record = OUTPUT / "rehearsal.json"
    record.unlink(missing_ok=True)
    command = [sys.executable, "-m", "lessons.on_stub", "--record", str(record)]
    command += [sys.executable, "-m", "lessons.run", f"--output={OUTPUT / 'rehearsal'}"]
    code = run_child([*command, *lessons])
    if code != 0:
        raise workshop.WorkshopError(
            "The lessons fail already on this machine, where they cost nothing: nothing was "
            "started on AWS. Repair that first."
        )
    return json.loads(record.read_text(encoding="utf-8"))["jobs"]


def lessons_command(lessons: Sequence[str]) -> list[str]:
    """Return the command that runs lessons on whatever AWS the environment leads to."""
    options = ["--on-aws", f"--timeout={CELL_TIMEOUT_S}", f"--output={OUTPUT / 'lessons'}"]
    return [sys.executable, "-m", "lessons.run", *options, *lessons]


class Stop:
    """Remembers that a signal asked us to end, and prints what happens now."""

    def __init__(self) -> None:
        self.number: int | None = None

    def remember(self, number: int, _: FrameType | None) -> None:
        self.number = number
        name = signal.Signals(number).name
        print(f"{name}: ending the lessons, then cleaning up: minutes at most", flush=True)


def run_child(command: Sequence[str], stop: Stop | None = None) -> int:
    """Run a command to its end and return its exit code; it ends with us, or when `stop` is set."""
    child = lifeline.Child(command)
    try:
        while True:
            try:
                return child.wait(POLL_S)
            except subprocess.TimeoutExpired:
                if stop and stop.number is not None:
                    return 128 + stop.number
    finally:
        child.end(PATIENCE_S)


# ---- Cleaning up ---------------------------------------------------------------------------------


@contextmanager
def signals(answer: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Let the signals that end a program call `answer`, inside the block."""
    before = {number: signal.signal(number, answer) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def interrupt(number: int, _: FrameType | None) -> None:
    raise Interrupted(number)


def clean_up(session: Any) -> dict[str, int]:
    """Delete all that is ours, and return what is left, by kind.

    Raises CleanupError where something cannot be listed or deleted.
    """
    print("cleaning up", flush=True)
    for _ in range(ROUNDS):
        cleanup.delete(session, cleanup.inventory(session))
        if not (left := cleanup.remaining(session)):
            break
    return left


# ---- The command line ----------------------------------------------------------------------------


def agreed() -> bool:
    """Return whether the person at the terminal answers yes; False where there is nobody."""
    try:
        return input("Continue? Type yes: ").strip().lower() == "yes"
    except EOFError:
        print("\nNobody answers. To continue without asking: YES=1 make test-aws")
        return False


def go(
    lessons: Sequence[str],
    yes: bool,
    rehearsal: Callable[[Sequence[str]], list[dict[str, Any]]],
    command: Sequence[str],
) -> int:
    """Do all five steps, and return the exit code.

    Raises WorkshopError or CostError before anything is started on AWS, CleanupError after.
    """
    session = workshop.session(make_bucket=False)
    identity = session.boto_session.client("sts").get_caller_identity()["Arn"]
    print(f"{identity} in {session.boto_region_name}. {workshop.home(session)}")
    print("Of this workshop there is now, and will be deleted at the end:", flush=True)
    ours = cleanup.inventory(session)
    print(*cleanup.report(ours), sep="\n", flush=True)
    if ours.other_bucket and not os.environ.get(buckets.VARIABLE):
        raise workshop.WorkshopError(buckets.not_ours(ours.other_bucket))
    print("Rehearsing on this machine, which costs nothing:", flush=True)
    print(announcement(rehearsal(lessons)), flush=True)
    if not (yes or agreed()):
        print("Nothing was started.")
        return 1
    stop = Stop()
    # From here on no signal raises: nothing may interrupt before the clean-up.
    with signals(stop.remember):
        try:
            code = run_child(command, stop)
        finally:
            left = clean_up(session)
    print(f"left: {left}" if left else "Nothing of this workshop is left on AWS.", flush=True)
    return code or int(bool(left))


def main(
    argv: Sequence[str] | None = None,
    rehearsal: Callable[[Sequence[str]], list[dict[str, Any]]] = rehearse,
    command: Callable[[Sequence[str]], Sequence[str]] = lessons_command,
) -> int:
    """Run the command line, and return the exit code. The other arguments are for the tests."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("lessons", nargs="*", help="starts of their names; all if none")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    arguments = parser.parse_args(argv)
    OUTPUT.mkdir(parents=True, exist_ok=True)
    try:
        with signals(interrupt):
            return go(arguments.lessons, arguments.yes, rehearsal, command(arguments.lessons))
    except cleanup.CleanupError as error:
        print(f"{error} (python -m workshop.cleanup --delete)", file=sys.stderr)
        return 1
    except (workshop.WorkshopError, costs.CostError) as error:
        print(error, file=sys.stderr)
        return 1
    except Interrupted as interrupted:
        print(f"{interrupted}: nothing was started on AWS", file=sys.stderr)
        return 128 + interrupted.number


if __name__ == "__main__":
    sys.exit(main())
