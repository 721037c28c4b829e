"""Managed spot training: interruptions that a job's tags order, and what spot saves.

Real spot capacity comes and goes as AWS needs it. Here a job orders it by tags, which mean nothing
on AWS: `spot-interruptions-after-seconds` (`"5"`, or `"5 8"` for two), counted from the start of
training at each attempt, and `spot-capacity-after-seconds`, how long there is no instance then.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping

from .store import Job, now

INTERRUPTIONS_TAG = "spot-interruptions-after-seconds"
CAPACITY_TAG = "spot-capacity-after-seconds"

# Billable seconds of a spot job are its training seconds times the price of spot capacity relative
# to on-demand, which changes daily. This ratio is assumed, not measured.
PRICE_RATIO = 0.3


def seconds(tags: Mapping[str, str], name: str) -> list[float]:
    """Return the seconds in one of these tags; none where it is not there.

    Raises:
        ValueError: It holds something else; the message says which tag and what it may hold.
    """
    text = tags.get(name, "")
    try:
        numbers = [float(word) for word in text.split()]
    except ValueError:
        numbers = [math.nan]
    if not all(0 <= value < math.inf for value in numbers):
        raise ValueError(
            f"The tag {name} is the stub AWS's own: it holds seconds, such as '5' or '5 8', and "
            f"not '{text}'"
        )
    return numbers


def check_tags(tags: list[dict[str, str]]) -> None:
    """Raise ValueError where one of these tags holds no seconds."""
    by_name = {tag["Key"]: tag["Value"] for tag in tags}
    for name in (INTERRUPTIONS_TAG, CAPACITY_TAG):
        seconds(by_name, name)


class Interruptions:
    """When the instances of a spot job are taken away."""

    def __init__(self, job: Job) -> None:
        tags = {tag["Key"]: tag["Value"] for tag in job.request.get("Tags", [])}
        wanted = job.request.get("EnableManagedSpotTraining", False)
        self._job = job
        self._after = seconds(tags, INTERRUPTIONS_TAG) if wanted else []
        self._pause = sum(seconds(tags, CAPACITY_TAG)) if wanted else 0.0
        self._due: float | None = None

    def begin(self) -> None:
        """Note that an attempt at training has begun."""
        self._due = time.monotonic() + self._after.pop(0) if self._after else None

    def due(self) -> bool:
        """Return whether the instances are taken away now."""
        return self._due is not None and time.monotonic() >= self._due

    def pause(self) -> float:
        """Return the seconds until there is capacity again."""
        return self._pause

    def waited_too_long(self) -> bool:
        """Return whether `MaxWaitTimeInSeconds`, counted from the job's creation, is over."""
        limit = self._job.request["StoppingCondition"].get("MaxWaitTimeInSeconds")
        elapsed = (now() - self._job.creation_time).total_seconds()
        return limit is not None and elapsed > limit
