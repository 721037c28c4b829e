"""Records what a stub AWS was asked: the permissions that were used, the jobs that were ordered.

`--record FILE` before the command writes it as JSON when the command has ended. By it one can
bound what the same jobs would cost on AWS, and find the permissions that a role never needs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .aws import StubAWS
from .store import Job


def record(stub: StubAWS) -> dict[str, Any]:
    """Return `actions`, those that the execution role used, and `jobs`, an entry for each."""
    return {
        "actions": sorted(action for role, action in stub.gate.used if role == stub.role_name),
        "jobs": [order(job) for job in stub.store],
    }


def order(job: Job) -> dict[str, Any]:
    """Return what bounds the price of a job, its image and its tags."""
    resources = job.request["ResourceConfig"]
    return {
        "tags": {tag["Key"]: tag["Value"] for tag in job.request.get("Tags", [])},
        "image": job.request["AlgorithmSpecification"].get("TrainingImage", ""),
        "instance_type": resources["InstanceType"],
        "instance_count": resources["InstanceCount"],
        "volume_gb": resources.get("VolumeSizeInGB", 0),
        "max_run_s": job.request["StoppingCondition"]["MaxRuntimeInSeconds"],
    }


def write(stub: StubAWS, file: Path) -> None:
    """Write the record into a file, whose folder need not be there."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(record(stub), indent=1) + "\n", encoding="utf-8")
