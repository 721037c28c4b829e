"""What a stub AWS saw in its life: the rights that were used, and the jobs that were ordered.

`python -m stub_aws --record FILE COMMAND...` writes it as JSON when COMMAND has ended. The
tests hold the workshop's policy and the bound of its bill against it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .aws import ROLE_NAME, StubAWS
from .store import Job


def record(stub: StubAWS) -> dict[str, Any]:
    """`actions`: those that the execution role used, whoever wore it; `jobs`: an entry for each."""
    return {
        "actions": sorted(action for role, action in stub.gate.used if role == ROLE_NAME),
        "jobs": [order(job) for job in stub.store],
    }


def order(job: Job) -> dict[str, Any]:
    """What bounds the price of a job; whether it has the workshop's tag, and of which lesson."""
    tags = {tag["Key"]: tag["Value"] for tag in job.request.get("Tags", [])}
    resources = job.request["ResourceConfig"]
    return {
        "ours": tags.get("workshop") == "sagemaker-training",
        "lesson": tags.get("lesson", ""),
        "instance_type": resources["InstanceType"],
        "instance_count": resources["InstanceCount"],
        "volume_gb": resources.get("VolumeSizeInGB", 0),
        "max_run_s": job.request["StoppingCondition"]["MaxRuntimeInSeconds"],
    }


def write(stub: StubAWS, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(record(stub), indent=1) + "\n", encoding="utf-8")
