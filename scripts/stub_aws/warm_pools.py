"""Warm pools: the instances of a job that has ended are kept for a next job that matches it.

(Developer guide, "Train Using SageMaker Managed Warm Pools".) `KeepAlivePeriodInSeconds` says how
long. Here no instance is kept, since none takes minutes to start; what is kept is the
account of it: statuses, who reused whom, and the seconds that AWS would bill between the two jobs.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from .store import FINAL, Job

# What two jobs must have in common for the second to get the instances of the first.
MATCHING = (
    "RoleArn",
    "VpcConfig",
    "EnableInterContainerTrafficEncryption",
    "EnableNetworkIsolation",
)
MATCHING_RESOURCES = ("InstanceCount", "InstanceType", "VolumeKmsKeyId", "VolumeSizeInGB")


def keep_alive_s(job: Job) -> int:
    """Return for how many seconds a job's instances are kept after it; 0 without a warm pool."""
    seconds: int = job.request["ResourceConfig"].get("KeepAlivePeriodInSeconds", 0)
    return seconds


def status(job: Job) -> dict[str, Any] | None:
    """Return the WarmPoolStatus of a job's description; None for a job without a warm pool."""
    if not keep_alive_s(job):
        return None
    if job.secondary_status not in FINAL:
        return {"Status": "InUse"}
    if job.reused_by is not None:
        return {
            "Status": "Reused",
            "ResourceRetainedBillableTimeInSeconds": round(job.reused_after_s),
            "ReusedByJob": job.reused_by,
        }
    if (elapsed := _seconds_since_end(job)) < keep_alive_s(job):
        return {"Status": "Available"}
    return {
        "Status": "Terminated",
        "ResourceRetainedBillableTimeInSeconds": min(round(elapsed), keep_alive_s(job)),
    }


def claim(job: Job, jobs: Iterable[Job]) -> None:
    """Let a new job take over the warm pool of an earlier one that matches, if one is there."""
    if not keep_alive_s(job):
        return
    for other in jobs:
        pool = status(other)
        if other is not job and pool == {"Status": "Available"} and _match(job, other):
            other.reused_by, other.reused_after_s = job.name, _seconds_since_end(other)
            return


def _seconds_since_end(job: Job) -> float:
    return 0.0 if job.ended_at is None else time.monotonic() - job.ended_at


def _match(job: Job, other: Job) -> bool:
    resources, others = job.request["ResourceConfig"], other.request["ResourceConfig"]
    return all(job.request.get(name) == other.request.get(name) for name in MATCHING) and all(
        resources.get(name) == others.get(name) for name in MATCHING_RESOURCES
    )
