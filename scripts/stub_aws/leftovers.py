"""Ends what a job left running where it has no namespaces and its supervisor could not do it.

A job's processes end with their supervisor (host.py). One that killed the supervisor itself and
cleared its environment can still be found by the log's pipe, where it has that open. What will not
end is named.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import psutil

from .ends import say
from .host import carries_mark

TRIES, TRY_S = 20, 0.1


def end_leftovers(pipe: int, mark: str, label: str) -> bool:
    """End every process that has a host's environment or writes to its log. True where one was.

    Args:
        pipe: The log's pipe, by the number of its inode.
        mark: The host's base folder, which is in the environment of its processes.
        label: The host, for the line about what could not be ended.
    """
    left: list[psutil.Process] = []
    for attempt in range(TRIES):
        left = [p for p in psutil.process_iter() if carries_mark(p, mark) or writes_to(p, pipe)]
        if not left:
            return attempt > 0
        for process in left:
            with contextlib.suppress(psutil.Error):  # it has ended, or is another user's
                process.kill()
        psutil.wait_procs(left, timeout=TRY_S)
    for process in left:
        say(f"process {process.pid}, which {label} left running, could not be ended")
    return True


def writes_to(process: psutil.Process, pipe: int) -> bool:
    """Return whether a process has the writing end of a pipe open; known on Linux only."""
    folder = Path(f"/proc/{process.pid}")
    with contextlib.suppress(OSError):  # it has ended, or is another user's
        for descriptor in (folder / "fd").iterdir():
            opened = str(descriptor.readlink())
            if opened == f"pipe:[{pipe}]" and _writable(folder, descriptor.name):
                return True
    return False


def _writable(folder: Path, descriptor: str) -> bool:
    lines = (folder / "fdinfo" / descriptor).read_text().splitlines()
    flags = next(line.split()[1] for line in lines if line.startswith("flags:"))
    return int(flags, 8) & os.O_ACCMODE != os.O_RDONLY
