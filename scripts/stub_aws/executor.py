"""Runs training jobs in the background, a bounded number at once."""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

from .ends import SHUT_DOWN, JobFailed, join
from .instance import namespaces_available
from .removal import remove
from .run import Outcome, Platform, Run
from .store import Job

MAX_REASON = 1024  # characters of a FailureReason
POLL_S = 0.1
CLOSE_S = 60.0  # for the end of all jobs at the stub's end: more than one host's takes at worst
INTERNAL_ERROR = "InternalServerError: We encountered an internal error. Please try again."


class Executor:
    """One thread for each job; those for which there is no room yet wait as Starting."""

    def __init__(self, platform: Platform, limit: int | None = None) -> None:
        self._platform = platform
        self._slots = threading.BoundedSemaphore(limit or max(2, os.cpu_count() or 2))
        self._threads: dict[str, threading.Thread] = {}
        self._root = Path(tempfile.mkdtemp(prefix="stub-aws-", dir=_folder_of_jobs()))

    def start(self, job: Job) -> None:
        """Run `job` in the background."""
        thread = threading.Thread(target=self._run, args=(job,), name=job.name, daemon=True)
        self._threads[job.name] = thread
        thread.start()

    def close(self) -> None:
        """End every job at once, wait within limits until its processes are gone, delete its files.

        A job that does not end is named, and left: this process, and all its threads, end next.
        """
        self._platform.closing.set()
        deadline = time.monotonic() + CLOSE_S
        for name, thread in list(self._threads.items()):
            join(thread, max(0.0, deadline - time.monotonic()), f"the training job {name}")
        remove(self._root)

    def _run(self, job: Job) -> None:
        with contextlib.ExitStack() as files:  # deleted when the job has ended
            files.callback(self._threads.pop, job.name)
            try:
                outcome = self._outcome(job, files)
            except JobFailed as failed:
                outcome = Outcome("Failed", str(failed))
            except Exception:  # the thread's boundary: a fault must not leave a job open
                traceback.print_exc()
                outcome = Outcome("Failed", INTERNAL_ERROR)
            if outcome.reason:
                job.failure_reason = outcome.reason[:MAX_REASON]
            self._platform.store.advance(job, outcome.status)

    def _outcome(self, job: Job, files: contextlib.ExitStack) -> Outcome:
        """Run a job when there is room, and return how it ended.

        Raises:
            JobFailed: As the name says.
        """
        if not self._wait_for_room(job):
            self._platform.store.advance(job, "Stopping")
            return Outcome("Stopped")
        try:
            folder = files.enter_context(self._folder(job))
            return Run(job, folder, self._platform).train()
        finally:
            self._slots.release()

    def _wait_for_room(self, job: Job) -> bool:
        """Take one of the slots. False, and none taken, when the job is stopped before.

        Raises:
            JobFailed: The stub ends.
        """
        while not self._slots.acquire(timeout=POLL_S):
            if self._platform.closing.is_set():
                raise JobFailed(SHUT_DOWN)
            if job.stop_requested:
                return False
        if self._platform.closing.is_set():
            self._slots.release()
            raise JobFailed(SHUT_DOWN)
        return True

    @contextlib.contextmanager
    def _folder(self, job: Job) -> Iterator[Path]:
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)  # somebody may have cleared up
        folder = Path(tempfile.mkdtemp(prefix=f"{job.name}-", dir=self._root))
        try:
            yield folder
        finally:
            remove(folder)


def _folder_of_jobs() -> str:
    """Return where the files of jobs go. A job without namespaces has their path in PYTHONPATH."""
    folder = tempfile.gettempdir()
    return "/tmp" if os.pathsep in folder and not namespaces_available() else folder  # noqa: S108
