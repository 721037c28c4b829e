"""Speed, measured side by side: `make bench`, or `make bench BENCH=torch_throughput`.

Speeds depend on the machine and on what else runs on it, so no test asserts one. Each benchmark is
a module with ``main(argv)`` that also runs alone, ``python -m tests.bench.NAME``; to add one, add a
module. What is compared takes turns, so that a busy moment meets all of them, and the median of the
turns is told.
"""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm


def benchmarks() -> list[str]:
    """Return the modules of this package with a ``main``; the rest help them, or are what they
    measure."""
    modules = (path for path in Path(__file__).parent.glob("*.py") if path.stem[0] != "_")
    return sorted(path.stem for path in modules if "\ndef main(" in path.read_text("utf-8"))


class Row(NamedTuple):
    """One line of a table.

    Attributes:
        name: What was measured.
        values: One value for each turn.
        unit: Of the values.
        base: The row that this one is held against, by name; itself has none.
    """

    name: str
    values: list[float]
    unit: str
    base: str | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.values)


def take_turns(
    runs: Mapping[str, Callable[[], float]], turns: int, what: str
) -> dict[str, list[float]]:
    """Run each once to warm up, then all of them ``turns`` times in turn; their values by name."""
    values: dict[str, list[float]] = {name: [] for name in runs}
    with tqdm(total=(turns + 1) * len(runs), desc=what, leave=False) as progress:
        for turn in range(turns + 1):
            for name, run in runs.items():
                value = run()
                if turn:
                    values[name].append(value)
                progress.update()
    return values


def table(rows: list[Row]) -> str:
    """Medians, ranges and ratios to what each is held against, in lines of text."""
    medians = {row.name: row.median for row in rows}
    lines = []
    for row in rows:
        base = row.base.split(",")[0] if row.base else ""
        held = f"{row.median / medians[row.base]:.2f} of {base}" if row.base else ""
        spread = f"({min(row.values):,.0f} to {max(row.values):,.0f})"
        lines.append(f"  {row.name:<48}{row.median:>10,.0f} {row.unit} {spread:<28}{held}")
    return "\n".join(line.rstrip() for line in lines)


def machine() -> str:
    """Return the machine, in a line: numbers mean nothing without it."""
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs, load " + " ".join(
        f"{load:.1f}" for load in os.getloadavg()
    )
