"""The expressions of a job's `MetricDefinitions`, and the values that they find in its log lines.

They come from whoever orders the job, and so does every line: an expression may take for ever. Each
has a limit of time, and one that reaches it finds nothing more. Other threads go on meanwhile.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import regex

from . import first_party

# Of processor time. For one line; and for all, where the mean is not that of an ordinary expression
# (microseconds).
LINE_LIMIT_S = 1.0
TOTAL_LIMIT_S, MEAN_LIMIT_S = 5.0, 0.005


class Expression:
    """The expression of one metric, and the time that it has taken."""

    def __init__(self, text: str) -> None:
        """Compile it.

        Raises:
            ValueError: It is no regular expression.
        """
        try:
            self._pattern = regex.compile(text, regex.VERSION0)  # reads it as Python's own `re`
        except (regex.error, RecursionError, OverflowError) as error:
            raise ValueError(str(error)) from error
        self._seconds = 0.0
        self._lines = 0

    def values(self, line: str) -> list[float]:
        """Return the metric's values in a line.

        Raises:
            TimeoutError: It takes too long, for this line or for all together.
        """
        began = time.thread_time()
        matches = self._pattern.finditer(line, timeout=LINE_LIMIT_S)
        values = [value for match in matches if (value := _number(match)) is not None]
        self._seconds += time.thread_time() - began
        self._lines += 1
        if self._seconds > max(TOTAL_LIMIT_S, self._lines * MEAN_LIMIT_S):
            raise TimeoutError(f"{self._seconds:.0f} s for {self._lines} lines")
        return values


class Expressions:
    """Those of one job, by the `AlgorithmSpecification` of its request or its description."""

    def __init__(self, specification: Mapping[str, Any]) -> None:
        definitions = specification.get("MetricDefinitions", [])
        self._active = {item["Name"]: Expression(item["Regex"]) for item in definitions}
        # SageMaker's own expressions are slow on long lines; few lines hold what they need.
        ours = first_party.defines_metrics({"AlgorithmSpecification": specification})
        self._needles = {name: first_party.needle(name) if ours else "" for name in self._active}

    def find(self, line: str) -> tuple[list[tuple[str, float]], list[str]]:
        """Return the metrics in a line, and the names of those that this line switches off."""
        values, slow = [], []
        for name, expression in list(self._active.items()):
            if self._needles[name] not in line:
                continue
            try:
                values += [(name, value) for value in expression.values(line)]
            except TimeoutError:
                if self._active.pop(name, None):  # else another host's line was there before
                    slow.append(name)
        return values, slow


def _number(match: regex.Match[str]) -> float | None:
    """Return the first group as a number; what is not a finite one is no metric."""
    try:
        value = float(match[1])
    except (IndexError, TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None
