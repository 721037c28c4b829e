"""Service quotas: how many instances of a type training jobs may use at once in this account."""

from __future__ import annotations

from collections.abc import Iterable

from .store import FINAL, Job

DEFAULT_QUOTA = 20
# A new account may have 0 for nearly every type; the largest machines are 0 in most.
QUOTAS = {
    "ml.p4d.24xlarge": 0,
    "ml.p4de.24xlarge": 0,
    "ml.p5.48xlarge": 0,
    "ml.p5e.48xlarge": 0,
    "ml.p5en.48xlarge": 0,
}


def over_quota(
    instance_type: str, wanted: int, jobs: Iterable[Job], quotas: dict[str, int]
) -> str | None:
    """Return what AWS says when `wanted` more instances are too many, else None."""
    limit = quotas.get(instance_type, DEFAULT_QUOTA)
    used = sum(
        job.instance_count
        for job in jobs
        if job.secondary_status not in FINAL
        and job.request["ResourceConfig"]["InstanceType"] == instance_type
    )
    if used + wanted <= limit:
        return None
    return (
        f"The account-level service limit '{instance_type} for training job usage' is {limit} "
        f"Instances, with current utilization of {used} Instances and a request delta of {wanted} "
        "Instances. Please use AWS Service Quotas to request an increase for this quota. If AWS "
        "Service Quotas is not available, contact AWS support to request an increase for this "
        "quota."
    )
