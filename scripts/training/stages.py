"""What a run needed: seconds of each stage, the most memory that it held, and CPU seconds.

    stages = Stages()
    with stages("read"):
        ...
    print(stages)       # stages: read 0.05 s, train 0.31 s; peak memory 0.213 GB; CPU 0.52 s

    of_log(log)         # {"read": 0.05, "train": 0.31, "peak_memory_gb": 0.213, "cpu_s": 0.52}

Times of stages are those of the wall clock, which are billed. CPU seconds are those of all threads
of the process, added up: what it would have needed of a core of its own.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

STATUS = Path("/proc/self/status")


class Stages:
    """Adds up the seconds of each stage, in the order in which they first began."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Time what is done inside; the same name again adds to it."""
        start = time.perf_counter()
        self.seconds.setdefault(name, 0.0)
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - start

    def __str__(self) -> str:
        times = ", ".join(f"{name} {seconds:.3f} s" for name, seconds in self.seconds.items())
        memory, cpu = peak_memory() / 2**30, time.process_time()
        return f"stages: {times}; peak memory {memory:.3f} GB; CPU {cpu:.3f} s"


def peak_memory() -> int:
    """Return the most memory that this process has held at once so far, in bytes (resident set).

    Linux has a figure for this very program; that of ``getrusage`` may be, there, of the program
    which started it, if that was larger.
    """
    if STATUS.exists():
        line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def of_log(log: Iterable[str]) -> dict[str, float]:
    """Return the seconds, ``peak_memory_gb`` and ``cpu_s`` that a run printed into its log.

    Of several such lines it reads the last. Raises ValueError when there is none.
    """
    return of_hosts(log)[-1]


def of_hosts(log: Iterable[str]) -> list[dict[str, float]]:
    """Return the same of each host of a job, in the order of the log, one dict each."""
    lines = [line[len("stages: ") :] for line in log if line.startswith("stages: ")]
    if not lines:
        raise ValueError(
            "No line of this log begins with 'stages: ': the script has not printed it, or "
            "ended before it could."
        )
    return [_read(line) for line in lines]


def _read(line: str) -> dict[str, float]:
    stages, memory, cpu = line.split("; ")
    seconds = {name: float(value) for name, value in re.findall(r"(\w+) ([0-9.]+) s", stages)}
    return {**seconds, "peak_memory_gb": float(memory.split()[2]), "cpu_s": float(cpu.split()[1])}
