"""The training jobs of the stub AWS: their requests, their statuses and the order of those.

A job's life is a list of secondary statuses, as `DescribeTrainingJob` reports them. Which may
follow which is the table `TRANSITIONS`; anything else raises `IllegalTransition`, so a job cannot
end twice or complete without having trained. The statuses and their messages are AWS's own (API
reference, `DescribeTrainingJob` and `SecondaryStatusTransition`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

FINAL = frozenset({"Completed", "Failed", "Stopped", "MaxRuntimeExceeded", "MaxWaitTimeExceeded"})

# In these the instances are there and billed (recorded: from the download to the upload's end).
BILLED = frozenset({"Downloading", "Training", "Stopping", "Uploading"})

# Secondary status -> (the primary status it belongs to, what may come next).
TRANSITIONS: dict[str, tuple[str, frozenset[str]]] = {
    "Starting": ("InProgress", frozenset({"Downloading", "Stopping", "Failed"})),
    "Downloading": ("InProgress", frozenset({"Training", "Stopping", "Failed"})),
    "Training": ("InProgress", frozenset({"Uploading", "Interrupted", "Stopping", "Failed"})),
    "Interrupted": ("InProgress", frozenset({"Starting", "Stopping", "Failed"})),
    "Stopping": ("Stopping", frozenset({"Uploading", "Stopped", "MaxWaitTimeExceeded", "Failed"})),
    "Uploading": ("InProgress", FINAL - {"MaxWaitTimeExceeded"}),
    "Completed": ("Completed", frozenset()),
    "Failed": ("Failed", frozenset()),
    "Stopped": ("Stopped", frozenset()),
    "MaxRuntimeExceeded": ("Stopped", frozenset()),
    "MaxWaitTimeExceeded": ("Stopped", frozenset()),
}
FIRST_STATUS = "Starting"

# AWS's own words, as recorded in the outputs of real jobs.
MESSAGES = {
    "Starting": "Starting the training job",
    "Preparing": "Preparing the instances for training",
    "Downloading": "Downloading input data",
    "Training": "Training image download completed. Training in progress.",
    "Uploading": "Uploading generated training model",
    "Completed": "Training job completed",
    "Failed": "Training job failed",
    "Interrupted": ("The job stopped because the managed spot training instances were interrupted"),
    "Stopping": "Stopping the training job",
    "Stopped": "Training job stopped",
    "MaxRuntimeExceeded": "Training job runtime exceeded MaxRuntimeInSeconds provided",
    "MaxWaitTimeExceeded": "Training job wait time exceeded MaxWaitTimeInSeconds provided",
}


class IllegalTransition(RuntimeError):
    """A job was asked to go from one status to another that SageMaker never makes."""


class DuplicateName(ValueError):
    """A job of this name exists already."""


def now() -> datetime:
    """Return the time in UTC, as AWS writes it: to the millisecond."""
    moment = datetime.now(timezone.utc)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


@dataclass
class Job:
    """One training job. `request` is its CreateTrainingJob request, already validated."""

    name: str
    arn: str
    request: dict[str, Any]
    creation_time: datetime = field(default_factory=now)
    last_modified_time: datetime = field(default_factory=now)
    training_start_time: datetime | None = None
    training_end_time: datetime | None = None
    transitions: list[dict[str, Any]] = field(default_factory=list)
    failure_reason: str | None = None
    model_artifact: str | None = None
    metrics: dict[str, dict[str, Any]] = field(default_factory=dict)
    stop_requested: bool = False
    first_describe_answered: bool = False
    created_at: float = field(default_factory=time.monotonic)
    ended_at: float | None = None  # as created_at, on the monotonic clock
    reused_by: str | None = None  # the job that took over its warm pool
    reused_after_s: float = 0.0

    @property
    def secondary_status(self) -> str:
        """Return its newest secondary status, e.g. `Downloading`."""
        status: str = self.transitions[-1]["Status"]
        return status

    @property
    def status(self) -> str:
        """Return InProgress, Stopping, Completed, Failed or Stopped."""
        if self.stop_requested and self.secondary_status not in FINAL:
            return "Stopping"
        return TRANSITIONS[self.secondary_status][0]

    @property
    def training_seconds(self) -> float:
        """Return the seconds on instances that had been provisioned, which AWS bills."""
        spans: list[timedelta] = [
            entry["EndTime"] - entry["StartTime"]
            for entry in self.transitions
            if entry["Status"] in BILLED and "EndTime" in entry
        ]
        return sum(span.total_seconds() for span in spans)

    @property
    def instance_count(self) -> int:
        count: int = self.request["ResourceConfig"]["InstanceCount"]
        return count

    def advance(self, status: str, message: str) -> None:
        """Enter `status`, or, when it is the present one, replace its message as SageMaker does.

        Raises:
            IllegalTransition: `TRANSITIONS` has no such step.
        """
        moment = now()
        if not self.transitions:
            if status != FIRST_STATUS:
                raise IllegalTransition(f"{self.name}: a job begins with {FIRST_STATUS}")
        elif status == self.secondary_status and status not in FINAL:
            self.transitions[-1]["StatusMessage"] = message
            self.last_modified_time = moment
            return
        elif status not in TRANSITIONS[self.secondary_status][1]:
            raise IllegalTransition(f"{self.name}: {self.secondary_status} -> {status}")
        else:
            self.transitions[-1]["EndTime"] = moment
        entry = {"Status": status, "StartTime": moment, "StatusMessage": message}
        if status in FINAL:
            entry["EndTime"] = moment
        self.transitions.append(entry)
        self.last_modified_time = moment


class Store:
    """All jobs of one region, safe to use from several threads."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._changed = threading.Condition()

    def add(self, job: Job) -> None:
        """Keep a new job in its first status.

        Raises:
            DuplicateName: There is one of that name, finished or not.
        """
        with self._changed:
            if job.name in self._jobs:
                raise DuplicateName(job.name)
            job.advance(FIRST_STATUS, MESSAGES[FIRST_STATUS])
            self._jobs[job.name] = job

    def get(self, name: str) -> Job | None:
        return self._jobs.get(name)

    def __iter__(self) -> Iterator[Job]:
        with self._changed:
            return iter(list(self._jobs.values()))

    def advance(self, job: Job, status: str, message: str | None = None) -> None:
        """Move `job` to `status`, stamp its training times, and wake whoever waits for it."""
        with self._changed:
            job.advance(status, message or MESSAGES[status])
            # Billing runs from the download of the data to the end of the upload.
            if status == "Downloading" and job.training_start_time is None:
                job.training_start_time = job.transitions[-1]["StartTime"]
            if status in FINAL:
                job.ended_at = time.monotonic()
            if status in FINAL and job.training_start_time is not None:
                job.training_end_time = job.transitions[-1]["StartTime"]
            self._changed.notify_all()

    def request_stop(self, job: Job) -> bool:
        """Note that someone asked `job` to stop. False when it has ended already."""
        with self._changed:
            if job.secondary_status in FINAL:
                return False
            job.stop_requested = True
            job.last_modified_time = now()
            self._changed.notify_all()
            return True

    def wait_until_final(self, job: Job, seconds: float) -> bool:
        """Wait until `job` has ended, at most `seconds`. True when it has."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while job.secondary_status not in FINAL:
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._changed.wait(left)
            return True
