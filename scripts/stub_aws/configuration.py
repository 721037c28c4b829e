"""The JSON files of `/opt/ml/input/config`, as recorded in real jobs."""

from __future__ import annotations

from typing import Any

from .channels import channels_of
from .store import Job

DEFAULT_CHECKPOINT_PATH = "/opt/ml/checkpoints"
DEFAULT_TENSORBOARD_PATH = "/opt/ml/output/tensorboard"


def configuration(job: Job, host: str, hosts: list[str]) -> dict[str, Any]:
    """File name (without `.json`) -> its content, for one host of a job."""
    instance_type = job.request["ResourceConfig"]["InstanceType"]
    group = {"instance_group_name": "homogeneousCluster", "instance_type": instance_type}
    files = {
        "hyperparameters": job.request.get("HyperParameters", {}),
        "inputdataconfig": {channel.name: channel.description() for channel in channels_of(job)},
        "resourceconfig": {
            "current_host": host,
            "current_instance_type": instance_type,
            "current_group_name": "homogeneousCluster",
            "hosts": hosts,
            "instance_groups": [{**group, "hosts": hosts}],
            "network_interface_name": "lo",
        },
    }
    if "CheckpointConfig" in job.request:
        files["checkpointconfig"] = {"LocalPath": checkpoint_path(job)}
    return files


def checkpoint_path(job: Job) -> str:
    """Return the folder of a job's checkpoints inside the container."""
    path: str = job.request.get("CheckpointConfig", {}).get("LocalPath", DEFAULT_CHECKPOINT_PATH)
    return path


def tensorboard_path(job: Job) -> str:
    """Where a job writes what is for TensorBoard, inside the container."""
    configuration = job.request.get("TensorBoardOutputConfig", {})
    path: str = configuration.get("LocalPath", DEFAULT_TENSORBOARD_PATH)
    return path
