"""Runs training jobs in the background, a bounded number at once."""

from __future__ import annotations

import os
import tempfile
import threading
import traceback
from pathlib import Path

from .instance import namespaces_available
from .removal import remove
from .run import SHUT_DOWN, JobFailed, Outcome, Platform, Run
from .store import Job

MAX_REASON = 1024  # characters of a FailureReason
INTERNAL_ERROR = "InternalServerError: We encountered an internal error. Please try again."


class Executor:
    """One thread for each job; those for which there is no room yet wait as Starting."""

    def __init__(self, platform: Platform, limit: int | None = None) -> None:
        self._platform = platform
        self._slots = threading.BoundedSemaphore(limit or max(2, os.cpu_count() or 2))
        self._threads: dict[str, threading.Thread] = {}
        self._root = Path(tempfile.mkdtemp(prefix="stub-aws-", dir=_place()))

    def start(self, job: Job) -> None:
        """Run `job` in the background."""
        thread = threading.Thread(target=self._run, args=(job,), name=job.name, daemon=True)
        self._threads[job.name] = thread
        thread.start()

    def close(self) -> None:
        """End every job at once, wait until its processes are gone, and delete its files."""
        self._platform.closing.set()
        for thread in list(self._threads.values()):
            thread.join()
        remove(self._root)

    def _run(self, job: Job) -> None:
        folder = Path(tempfile.mkdtemp(prefix=f"{job.name}-", dir=self._root))
        try:
            with self._slots:
                if self._platform.closing.is_set():
                    raise JobFailed(SHUT_DOWN)
                outcome = Run(job, folder, self._platform).train()
        except JobFailed as failed:
            outcome = Outcome("Failed", str(failed))
        except Exception:  # the thread's boundary: a fault of the stub must not leave a job open
            traceback.print_exc()
            outcome = Outcome("Failed", INTERNAL_ERROR)
        if outcome.reason:
            job.failure_reason = outcome.reason[:MAX_REASON]
        self._platform.store.advance(job, outcome.status)
        remove(folder)
        del self._threads[job.name]


def _place() -> str:
    """Return where the files of jobs go. A job without namespaces has their path in PYTHONPATH."""
    place = tempfile.gettempdir()
    return "/tmp" if os.pathsep in place and not namespaces_available() else place
