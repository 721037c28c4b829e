"""Runs training jobs for real: data in, the entry point under SageMaker's contract, artifacts out.

One thread follows each job through its statuses. What decides is what happened: the exit codes of
the hosts' processes, the file `/opt/ml/output/failure`, the clock, the answers of S3. Data and
artifacts move with the credentials of the job's own role, so a right that it lacks fails the job.
"""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from moto.sts.models import sts_backends

from . import artifacts, channels, images
from .authorization import ACCOUNT_ID
from .instance import Instance, Layout
from .logs import LogStream
from .store import Job, Store

GRACE_S = 120  # between SIGTERM and SIGKILL (API reference, StopTrainingJob)
POLL_S = 0.02
MAX_REASON = 1024  # characters of a FailureReason
SHUT_DOWN = "InternalServerError: The stub AWS was shut down."
INTERNAL_ERROR = "InternalServerError: We encountered an internal error. Please try again."


class JobFailed(Exception):
    """The job ends as Failed with this FailureReason."""


@dataclass(frozen=True)
class Outcome:
    """How the hosts ended: the final status, and why when that is Failed."""

    status: str
    reason: str | None = None


class Executor:
    """Runs jobs in threads, a bounded number at once; the others wait as Starting."""

    def __init__(self, store: Store, endpoint: str, region: str, limit: int | None = None) -> None:
        self._store = store
        self._endpoint = endpoint
        self._region = region
        self._slots = threading.BoundedSemaphore(limit or max(2, os.cpu_count() or 2))
        self._threads: dict[str, threading.Thread] = {}
        self._closing = threading.Event()
        self._serial = itertools.count()
        self._root = Path(tempfile.mkdtemp(prefix="stub-aws-"))

    def start(self, job: Job) -> None:
        """Run `job` in the background."""
        thread = threading.Thread(target=self._run, args=(job,), name=job.name, daemon=True)
        self._threads[job.name] = thread
        thread.start()

    def close(self) -> None:
        """End every job at once, wait until its processes are gone, and delete its files."""
        self._closing.set()
        for thread in list(self._threads.values()):
            thread.join()
        shutil.rmtree(self._root)

    # ---- One job's life, in its thread ---------------------------------------------------------

    def _run(self, job: Job) -> None:
        folder = Path(tempfile.mkdtemp(prefix=f"{job.name}-", dir=self._root))
        try:
            with self._slots:
                outcome = self._train(job, folder)
        except JobFailed as failed:
            outcome = Outcome("Failed", str(failed))
        except Exception:  # the thread's boundary: a fault of the stub must not leave a job open
            traceback.print_exc()
            outcome = Outcome("Failed", INTERNAL_ERROR)
        if outcome.reason:
            job.failure_reason = outcome.reason[:MAX_REASON]
        self._store.advance(job, outcome.status)
        del self._threads[job.name]
        _remove(folder)

    def _train(self, job: Job, folder: Path) -> Outcome:
        if self._closing.is_set():
            raise JobFailed(SHUT_DOWN)
        if job.stop_requested:
            return self._stopped(job)
        self._store.advance(job, "Starting", "Preparing the instances for training")
        image = find_image(job)
        hosts = [f"algo-{number}" for number in range(1, job.instance_count + 1)]
        layouts = [Layout(folder / host) for host in hosts]
        for host, layout in zip(hosts, layouts, strict=True):
            layout.make(configuration(job, host, hosts))
        s3 = self._client("s3", job)
        self._store.advance(job, "Downloading")
        fill_channels(s3, job, layouts)
        if job.stop_requested:
            return self._stopped(job)
        self._store.advance(job, "Training")
        outcome = self._run_hosts(job, image, hosts, layouts)
        self._store.advance(job, "Uploading")
        upload_artifacts(s3, job, layouts, folder)
        return outcome

    def _stopped(self, job: Job) -> Outcome:
        self._store.advance(job, "Stopping")
        return Outcome("Stopped")

    def _run_hosts(
        self, job: Job, image: images.Image, hosts: list[str], layouts: list[Layout]
    ) -> Outcome:
        addresses = loopback_addresses(hosts, next(self._serial))
        environment = self._environment(job, image)
        instances: list[Instance] = []
        try:
            for host, layout in zip(hosts, layouts, strict=True):
                stream = LogStream(job, host, self._region)
                instances.append(Instance(layout, host, addresses, environment, stream.write))
            return self._follow(job, instances, layouts)
        finally:
            for instance in instances:
                instance.close()

    def _follow(self, job: Job, instances: list[Instance], layouts: list[Layout]) -> Outcome:
        """Wait for the hosts; one that fails ends the job, and so do a stop and the time limit."""
        deadline = time.monotonic() + job.request["StoppingCondition"]["MaxRuntimeInSeconds"]
        while True:
            codes = [instance.poll() for instance in instances]
            for code, layout in zip(codes, layouts, strict=True):
                if code:
                    return Outcome("Failed", failure_reason(code, layout))
            if None not in codes:
                return Outcome("Completed")
            if self._closing.is_set():
                return Outcome("Failed", SHUT_DOWN)
            if job.stop_requested:
                return self._stop(job, instances, "Stopped")
            if time.monotonic() > deadline:
                return self._stop(job, instances, "MaxRuntimeExceeded")
            time.sleep(POLL_S)

    def _stop(self, job: Job, instances: list[Instance], status: str) -> Outcome:
        """SIGTERM, time to save, SIGKILL."""
        self._store.advance(job, "Stopping")
        for instance in instances:
            instance.send("stop")
        deadline = time.monotonic() + GRACE_S
        while any(instance.poll() is None for instance in instances):
            if time.monotonic() > deadline or self._closing.is_set():
                break
            time.sleep(POLL_S)
        return Outcome(status)

    # ---- What a job may and must know ----------------------------------------------------------

    def _client(self, service: str, job: Job) -> Any:
        """A client with the rights of the job's role."""
        credentials = role_credentials(job)
        return boto3.client(
            service,
            region_name=self._region,
            endpoint_url=self._endpoint,
            aws_access_key_id=credentials["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=credentials["AWS_SECRET_ACCESS_KEY"],
            aws_session_token=credentials["AWS_SESSION_TOKEN"],
        )

    def _environment(self, job: Job, image: images.Image) -> dict[str, str]:
        """What the platform and the image set in a container, then the request's own variables."""
        return {
            "AWS_REGION": self._region,
            "AWS_DEFAULT_REGION": self._region,
            "AWS_ENDPOINT_URL": self._endpoint,
            "AWS_EC2_METADATA_DISABLED": "true",
            "SAGEMAKER_TRAINING_MODULE": image.training_module,
            "TRAINING_JOB_NAME": job.name,
            "TRAINING_JOB_ARN": job.arn,
            **role_credentials(job),
            **job.request.get("Environment", {}),
        }


def role_credentials(job: Job) -> dict[str, str]:
    """Fresh credentials of the job's role, as environment variables."""
    assumed = sts_backends[ACCOUNT_ID]["aws"].assume_role(
        region_name="us-east-1",
        role_session_name="SageMaker",
        role_arn=job.request["RoleArn"],
        policy=None,
        duration=3600,
        external_id=None,
    )
    return {
        "AWS_ACCESS_KEY_ID": assumed.access_key_id,
        "AWS_SECRET_ACCESS_KEY": assumed.secret_access_key,
        "AWS_SESSION_TOKEN": assumed.session_token,
    }


def find_image(job: Job) -> images.Image:
    """The stand-in for the job's image.

    Raises:
        JobFailed: There is none, or it is not installed.
    """
    uri = job.request["AlgorithmSpecification"].get("TrainingImage", "")
    try:
        image = images.find(uri)
    except images.UnknownImage as error:
        raise JobFailed(f"ClientError: {error}") from error
    if image.installed is None:
        raise JobFailed(
            f"ClientError: {image.framework} stands in for {uri} and is not installed here."
        )
    return image


def configuration(job: Job, host: str, hosts: list[str]) -> dict[str, Any]:
    """The content of `/opt/ml/input/config`, file name -> JSON, as recorded in real jobs."""
    instance_type = job.request["ResourceConfig"]["InstanceType"]
    group = {"instance_group_name": "homogeneousCluster", "instance_type": instance_type}
    return {
        "hyperparameters": job.request.get("HyperParameters", {}),
        "inputdataconfig": {
            channel["ChannelName"]: _channel_configuration(job, channel)
            for channel in job.request.get("InputDataConfig", [])
        },
        "resourceconfig": {
            "current_host": host,
            "current_instance_type": instance_type,
            "current_group_name": "homogeneousCluster",
            "hosts": hosts,
            "instance_groups": [{**group, "hosts": hosts}],
            "network_interface_name": "lo",
        },
    }


def _channel_configuration(job: Job, channel: dict[str, Any]) -> dict[str, str]:
    source = channel["DataSource"]["S3DataSource"]
    described = {
        "TrainingInputMode": channel.get("InputMode")
        or job.request["AlgorithmSpecification"]["TrainingInputMode"],
        "S3DistributionType": source.get("S3DataDistributionType", "FullyReplicated"),
        "RecordWrapperType": channel.get("RecordWrapperType", "None"),
    }
    if "ContentType" in channel:
        described["ContentType"] = channel["ContentType"]
    return described


def fill_channels(s3: Any, job: Job, layouts: list[Layout]) -> None:
    """Download every channel to every host.

    Raises:
        JobFailed: An object is missing or may not be read.
    """
    for channel in job.request.get("InputDataConfig", []):
        source = channel["DataSource"]["S3DataSource"]
        objects = channels.list_objects(s3, source["S3Uri"])
        for number, layout in enumerate(layouts):
            mine = channels.share(objects, source, number, len(layouts))
            try:
                channels.download(s3, mine, layout.channel(channel["ChannelName"]))
            except channels.ChannelError as error:
                raise JobFailed(str(error)) from error


def loopback_addresses(hosts: list[str], job_number: int) -> dict[str, str]:
    """Host name -> an address on this machine that no other job of this stub uses.

    All of 127/8 is loopback on Linux, so ports of one job never meet those of another.
    """
    network = 1 + job_number % 250
    return {host: f"127.{network}.0.{number}" for number, host in enumerate(hosts, start=2)}


def failure_reason(code: int, layout: Layout) -> str:
    """What SageMaker would say: the failure file's first 1024 characters, or the exit code."""
    try:
        written = layout.failure_file.read_text(encoding="utf-8", errors="replace").strip()
    except FileNotFoundError:
        written = ""
    return f"AlgorithmError: {written or f'Exit Code: {code}'}"


def upload_artifacts(s3: Any, job: Job, layouts: list[Layout], folder: Path) -> None:
    """Store `model.tar.gz` (all hosts' models) and `output.tar.gz` (the first host's output).

    Raises:
        JobFailed: They cannot be stored.
    """
    output_path = job.request["OutputDataConfig"]["S3OutputPath"]
    parts = {
        "model.tar.gz": [layout.model for layout in layouts],
        "output.tar.gz": [layouts[0].output_data],
    }
    for name, folders in parts.items():
        archive = folder / name
        if not artifacts.pack(folders, archive):
            continue
        uri = artifacts.artifact_uri(output_path, job.name, name)
        try:
            artifacts.upload(s3, archive, uri)
        except artifacts.UploadError as error:
            raise JobFailed(str(error)) from error
        if name == "model.tar.gz":
            job.model_artifact = uri


def _remove(folder: Path) -> None:
    """Delete a finished job's files; an overlay's work folder has no rights until it gets some."""

    def allow_and_retry(function: Callable[[str], None], path: str, _: Any) -> None:
        Path(path).chmod(0o700)
        function(path)

    shutil.rmtree(folder, onerror=allow_and_retry)
