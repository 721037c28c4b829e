"""Ends what a job left running where it has no namespaces and its supervisor could not do it.

A job's processes end with their supervisor (host.py). One that killed the supervisor itself and
cleared its environment can still be found by the log's pipe, where it has that open, or by a pipe
that another process of the job reads, as the training toolkit reads what a script prints. What will
not end is named.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
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
    pipes = {pipe}
    left: list[psutil.Process] = []
    for attempt in range(TRIES):
        left = []
        for process in psutil.process_iter():
            marked = carries_mark(process, mark)
            opened = list(pipes_of(process))
            if marked:  # before it ends: what writes to it is the job's, too
                pipes |= {number for number, writable in opened if not writable}
            if marked or any(writable and number in pipes for number, writable in opened):
                left.append(process)
        if not left:
            return attempt > 0
        for process in left:
            with contextlib.suppress(psutil.Error):  # it has ended, or is another user's
                process.kill()
        psutil.wait_procs(left, timeout=TRY_S)
    for process in left:
        say(f"process {process.pid}, which {label} left running, could not be ended")
    return True


def pipes_of(process: psutil.Process) -> Iterator[tuple[int, bool]]:
    """Yield the inode of each pipe that a process has open, and whether it may write to it.

    This is known on Linux only.
    """
    folder = Path(f"/proc/{process.pid}")
    with contextlib.suppress(OSError):  # it has ended, or is another user's
        for descriptor in (folder / "fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                opened = re.fullmatch(r"pipe:\[(\d+)\]", str(descriptor.readlink()))
                if opened:
                    yield int(opened[1]), _writable(folder, descriptor.name)


def _writable(folder: Path, descriptor: str) -> bool:
    lines = (folder / "fdinfo" / descriptor).read_text().splitlines()
    flags = next(line.split()[1] for line in lines if line.startswith("flags:"))
    return int(flags, 8) & os.O_ACCMODE != os.O_RDONLY
