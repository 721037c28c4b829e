"""How work for a job ends before its time: by a stop, by the end of the stub, by what went wrong.

No part of a job may wait for ever. What moves its data asks a `Patience` between two pieces; what
works beside it reports to its `Troubles`; and what will not end is left, and named in one line.
"""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import dataclass

from .beneath import FilesGone, sentence
from .store import Job

GRACE_S = 120  # between SIGTERM and SIGKILL (API reference, StopTrainingJob)
SHUT_DOWN = "InternalServerError: The stub AWS was shut down."


class JobFailed(Exception):
    """The job ends as Failed with this FailureReason."""


class StopRequested(Exception):
    """The job was asked to stop, and what was going on for it has had its time."""


class Patience:
    """How long work for a job may go on: to its end, unless somebody wants the job ended.

    Args:
        grace_s: Seconds that it may go on after a request to stop the job.
    """

    def __init__(self, job: Job, closing: threading.Event, grace_s: float) -> None:
        self._job = job
        self._closing = closing
        self._grace_s = grace_s
        self._deadline: float | None = None

    def check(self, *_: object) -> None:
        """Return where the work may go on; boto3 calls this with the bytes that it has moved.

        Raises:
            JobFailed: The stub ends.
            StopRequested: The job was asked to stop, and the grace is over.
        """
        if self._closing.is_set():
            raise JobFailed(SHUT_DOWN)
        if self._job.stop_requested:
            if self._deadline is None:
                self._deadline = time.monotonic() + self._grace_s
            if time.monotonic() >= self._deadline:
                raise StopRequested(self._job.name)


@dataclass
class Troubles:
    """What went wrong beside the hosts, in a thread that feeds a pipe or keeps checkpoints.

    Attributes:
        first: The FailureReason that the job ends with, whatever its script does.
    """

    first: str | None = None

    def report(self, reason: str) -> None:
        """Keep the first one: what came later may follow from it."""
        self.first = self.first or reason


def files_gone(error: FilesGone) -> str:
    """Return the reason for the end of a job whose files somebody has deleted."""
    return (
        f"InternalServerError: {sentence(error)}. Nobody but the stub may delete the folders that "
        "it makes for temporary files."
    )


def join(thread: threading.Thread, seconds: float, what: str) -> None:
    """Wait for the end of a thread; name it, and leave it, when it does not come."""
    thread.join(seconds)
    if thread.is_alive():
        say(f"{what} did not end within {seconds:.0f} s and was left")


def say(text: str) -> None:
    """Print one line to the terminal of whoever runs the stub."""
    print(f"stub AWS: {text}", file=sys.stderr, flush=True)
