"""What the training API answers: a job's description, lists of jobs, pages of a list."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from datetime import datetime, timezone
from typing import Any

from . import spot, warm_pools
from .errors import invalid
from .store import FINAL, Job

ECHOED = (
    "HyperParameters",
    "AlgorithmSpecification",
    "RoleArn",
    "InputDataConfig",
    "OutputDataConfig",
    "ResourceConfig",
    "StoppingCondition",
    "Environment",
    "CheckpointConfig",
    "VpcConfig",
    "DebugHookConfig",
    "ProfilerConfig",
    "ExperimentConfig",
    "RetryStrategy",
    "RemoteDebugConfig",
    "InfraCheckConfig",
    "TensorBoardOutputConfig",
)


def describe(job: Job) -> dict[str, Any]:
    """Return DescribeTrainingJob: what was asked for, what was measured, and nothing else."""
    answer: dict[str, Any] = {
        "TrainingJobName": job.name,
        "TrainingJobArn": job.arn,
        "TrainingJobStatus": job.status,
        "SecondaryStatus": job.secondary_status,
        "CreationTime": job.creation_time,
        "LastModifiedTime": job.last_modified_time,
        "SecondaryStatusTransitions": job.transitions,
        "EnableNetworkIsolation": job.request.get("EnableNetworkIsolation", False),
        "EnableInterContainerTrafficEncryption": job.request.get(
            "EnableInterContainerTrafficEncryption", False
        ),
        "EnableManagedSpotTraining": job.request.get("EnableManagedSpotTraining", False),
    }
    answer |= {name: job.request[name] for name in ECHOED if name in job.request}
    answer |= with_defaults(job.request)
    ended = job.secondary_status in FINAL
    measured = {
        "TrainingStartTime": job.training_start_time,
        "TrainingEndTime": job.training_end_time,
        "FailureReason": job.failure_reason,
        "ModelArtifacts": job.model_artifact and {"S3ModelArtifacts": job.model_artifact},
        "FinalMetricDataList": list(job.metrics.values()) if ended else None,
        "WarmPoolStatus": warm_pools.status(job),
    }
    answer |= {name: value for name, value in measured.items() if value}
    if job.training_end_time:
        answer["TrainingTimeInSeconds"] = max(1, round(job.training_seconds))
        answer["BillableTimeInSeconds"] = billable_seconds(job)
    return answer


def with_defaults(request: dict[str, Any]) -> dict[str, Any]:
    """Return the members of a description that AWS fills in where a request says nothing."""
    specification = {"EnableSageMakerMetricsTimeSeries": False}
    # The key is empty where the job has none; `Estimator.attach` relies on it.
    output = {"KmsKeyId": "", "CompressionType": "GZIP"}
    channel = {"CompressionType": "None", "RecordWrapperType": "None"}
    defaults: dict[str, Any] = {
        "AlgorithmSpecification": specification | request["AlgorithmSpecification"],
        "OutputDataConfig": output | request["OutputDataConfig"],
        "ProfilingStatus": "Disabled",
    }
    if "InputDataConfig" in request:
        defaults["InputDataConfig"] = [channel | entry for entry in request["InputDataConfig"]]
    return defaults


def billable_seconds(job: Job) -> int:
    """Seconds to pay for, of one instance. For a spot job reduced by an assumed price ratio."""
    ratio = spot.PRICE_RATIO if job.request.get("EnableManagedSpotTraining") else 1
    return max(1, round(job.training_seconds * ratio))


def summary(job: Job) -> dict[str, Any]:
    """Return a job's entry in ListTrainingJobs."""
    entry = {
        "TrainingJobName": job.name,
        "TrainingJobArn": job.arn,
        "CreationTime": job.creation_time,
        "LastModifiedTime": job.last_modified_time,
        "TrainingJobStatus": job.status,
        "SecondaryStatus": job.secondary_status,
    }
    if job.training_end_time:
        entry["TrainingEndTime"] = job.training_end_time
    if pool := warm_pools.status(job):
        entry["WarmPoolStatus"] = pool
    return entry


def _pool(job: Job) -> str | None:
    return (warm_pools.status(job) or {}).get("Status")


def selector(request: dict[str, Any]) -> Callable[[Job], bool]:
    """Return a predicate for the filters of ListTrainingJobs."""

    def moment(name: str) -> datetime | None:
        value = request.get(name)
        return None if value is None else datetime.fromtimestamp(value, timezone.utc)

    after, before = moment("CreationTimeAfter"), moment("CreationTimeBefore")
    modified_after = moment("LastModifiedTimeAfter")
    modified_before = moment("LastModifiedTimeBefore")
    pool = request.get("WarmPoolStatusEquals")

    def selected(job: Job) -> bool:
        return (
            request.get("NameContains", "").lower() in job.name.lower()
            and request.get("StatusEquals", job.status) == job.status
            and ("WarmPoolStatusEquals" not in request or _pool(job) == pool)
            and (after is None or job.creation_time > after)
            and (before is None or job.creation_time < before)
            and (modified_after is None or job.last_modified_time > modified_after)
            and (modified_before is None or job.last_modified_time < modified_before)
        )

    return selected


def sort_jobs(jobs: Iterable[Job], request: dict[str, Any]) -> list[Job]:
    """Sort as ListTrainingJobs does: newest first unless asked otherwise."""
    keys = {
        "CreationTime": lambda job: (job.creation_time, job.name),
        "Name": lambda job: job.name,
        "Status": lambda job: (job.status, job.name),
    }
    by = request.get("SortBy", "CreationTime")
    descending = request.get("SortOrder", "Descending") == "Descending"
    return sorted(jobs, key=keys[by], reverse=descending)


def encode_token(position: int) -> str:
    return base64.urlsafe_b64encode(str(position).encode()).decode()


def decode_token(token: str | None) -> int:
    if token is None:
        return 0
    try:
        return int(base64.urlsafe_b64decode(token))
    except ValueError:
        raise invalid("Invalid NextToken.") from None


def merge_tags(old: list[dict[str, str]], new: list[dict[str, str]]) -> list[dict[str, str]]:
    """`old` with `new` laid over it, by key."""
    merged = {tag["Key"]: tag for tag in [*old, *new]}
    return list(merged.values())
