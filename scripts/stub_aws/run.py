"""One training job for real: data in, the entry point under SageMaker's contract, artifacts out.

The job's end follows from the exit codes of the hosts' processes, the failure file, the clock and
the answers of S3. Data and artifacts move with the credentials of the job's own role, so a
permission that it lacks fails the job.
"""

from __future__ import annotations

import contextlib
import itertools
import secrets
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from . import channels, images, ports, roles, spot
from .artifacts import failure_reason, upload_artifacts
from .beneath import FilesGone
from .clients import make_client
from .configuration import configuration
from .ends import (
    GRACE_S,
    SHUT_DOWN,
    JobFailed,
    Patience,
    StopRequested,
    Troubles,
    files_gone,
)
from .folder_sync import CheckpointSync, TensorBoardSync
from .instance import HostRequest, Instance, Layout, cores_of, namespaces_available
from .logs import LogStream, MetricRecorder
from .packing import Left, UploadError
from .pipes import PipeFeeder
from .store import Job, Store

POLL_S = 0.02
NETWORKS = 250 * 250  # of loopback addresses, one for each start of a job's hosts


@dataclass(frozen=True)
class Outcome:
    """How the hosts ended: the status to come, and why when that is Failed."""

    status: str
    reason: str | None = None


@dataclass
class Platform:
    """What all jobs of a stub share."""

    store: Store
    endpoint: str
    region: str
    closing: threading.Event = field(default_factory=threading.Event)
    # Not from 0: a port on which something listened is taken for a minute after, and another stub
    # may have run, or be running, on this machine.
    networks: Any = field(default_factory=lambda: itertools.count(secrets.randbelow(NETWORKS)))


class Run:
    """The life of one job, in the thread that calls `train`."""

    def __init__(self, job: Job, folder: Path, platform: Platform) -> None:
        self._job = job
        self._folder = folder
        self._platform = platform
        self._hosts = [f"algo-{number}" for number in range(1, job.instance_count + 1)]
        self._s3 = client("s3", job, platform)
        self._spot = spot.Interruptions(job)
        self._metrics = MetricRecorder(job, platform.region)
        self._streams: list[LogStream] = []
        self._deadline: float | None = None

    def train(self) -> Outcome:
        """Take the job through its statuses up to the last but one, and say what that will be.

        Raises:
            JobFailed: Its image, its data or its artifacts made it fail, or its files are gone.
        """
        try:
            return self._train()
        except OSError as error:
            if not isinstance(error, FilesGone) and self._folder.is_dir():
                raise
            gone = FilesGone(error.errno, "was deleted while the job ran", str(self._folder))
            raise JobFailed(files_gone(gone)) from error

    def _train(self) -> Outcome:
        if self._job.stop_requested:
            return self._stop_early()
        image = find_image(self._job)
        for attempt in itertools.count():
            folder = self._folder / str(attempt)
            layouts = [Layout(folder / host) for host in self._hosts]
            hosts = [
                Left(host, layout.files_of_job(layout.wanted(self._job)))
                for host, layout in zip(self._hosts, layouts, strict=True)
            ]
            outcome = self._attempt(image, layouts, hosts)
            if outcome.status != "Interrupted":
                break
            if not self._wait_for_capacity():
                return Outcome("Stopped" if self._job.stop_requested else "MaxWaitTimeExceeded")
        if outcome.status == "Stopped" and self._job.secondary_status != "Stopping":
            return self._stop_early()
        self._advance("Uploading")
        return self._upload(hosts, outcome)

    def _upload(self, hosts: list[Left], outcome: Outcome) -> Outcome:
        """Bring what the hosts left to S3, and say how the job ends after that.

        Raises:
            JobFailed: It cannot be stored. What the script failed of stays the reason.
        """
        patience = Patience(self._job, self._platform.closing, GRACE_S)
        try:
            upload_artifacts(self._s3, self._job, hosts, self._folder, patience, self._note)
        except StopRequested:
            self._note(f"not all artifacts were in S3 {GRACE_S} s after the stop")
        except (JobFailed, UploadError, OSError) as error:
            if outcome.status == "Failed":
                return outcome
            if isinstance(error, UploadError):
                raise JobFailed(str(error)) from error
            raise
        if outcome.status == "Completed" and self._job.stop_requested:
            return Outcome("Stopped")  # AWS has accepted the stop
        return outcome

    def _attempt(self, image: images.Image, layouts: list[Layout], hosts: list[Left]) -> Outcome:
        """Once through the statuses from Starting to Training. A spot job may need several."""
        self._advance("Starting", "Preparing the instances for training")
        for host, layout in zip(self._hosts, layouts, strict=True):
            layout.make(configuration(self._job, host, self._hosts))
        self._advance("Downloading")
        troubles = Troubles()
        views = [left.view for left in hosts]
        arguments = (self._s3, self._job, views, self._platform.closing, troubles, self._note)
        checkpoints = CheckpointSync(layouts, *arguments)
        syncs = [checkpoints, TensorBoardSync(*arguments)]
        with contextlib.ExitStack() as feeders:
            try:
                self._fill_channels(layouts, hosts, troubles, feeders)
                checkpoints.restore()
            except channels.ChannelError as error:
                raise JobFailed(str(error)) from error
            except StopRequested:
                return Outcome("Stopped")
            if self._job.stop_requested:
                return Outcome("Stopped")
            self._advance("Training")
            for sync in syncs:
                sync.start()
            try:
                outcome = self._run_hosts(image, layouts, hosts, troubles)
            finally:
                feeders.close()
                for sync in syncs:
                    sync.finish()
        # What came to light only when the hosts had ended, with whatever exit code.
        if troubles.first and outcome.status != "Failed":
            return Outcome("Failed", troubles.first)
        return outcome

    def _fill_channels(
        self,
        layouts: list[Layout],
        hosts: list[Left],
        troubles: Troubles,
        feeders: contextlib.ExitStack,
    ) -> None:
        """Bring every channel to every host; those in Pipe mode are fed until `feeders` closes.

        Raises:
            channels.ChannelError: An object is missing or may not be read.
            ends.StopRequested, JobFailed: The job shall end.
        """
        patience = Patience(self._job, self._platform.closing, grace_s=0)
        for channel in channels.channels_of(self._job):
            try:
                objects = channels.list_objects(self._s3, channel)
            except (ClientError, BotoCoreError) as error:
                raise channels.unlistable(channel.uri, error) from error
            for number, (layout, left) in enumerate(zip(layouts, hosts, strict=True)):
                mine = channels.share(objects, channel, number, len(layouts))
                if channel.mode == "Pipe":
                    folder = left.view.open_folder("/opt/ml/input/data")
                    feeder = PipeFeeder(self._s3, channel, mine, folder, troubles, self._note)
                    feeders.callback(feeder.close)
                    continue
                target = layout.channel(channel.name)
                channels.download(self._s3, channel, mine, target, patience)
                if channel.mode == "FastFile":
                    layout.make_read_only(channel.name)

    def _run_hosts(
        self,
        image: images.Image,
        layouts: list[Layout],
        hosts: list[Left],
        troubles: Troubles,
    ) -> Outcome:
        environment = environment_variables(self._job, image, self._platform)
        remarks = []
        addresses = loopback_addresses(self._hosts, next(self._platform.networks))
        instances: list[Instance] = []
        self._streams = []
        with contextlib.ExitStack() as running:
            if image.port:
                try:
                    port = running.enter_context(ports.reserved(image.port))
                except ports.NoFreePort as error:
                    raise JobFailed(f"InternalServerError: {error}") from error
                environment["STUB_AWS_MASTER_PORT"] = str(port)
                if port != image.port:
                    remarks.append(
                        f"stub AWS: MASTER_PORT is {port} here, not {image.port}, which something "
                        "else on this machine has"
                    )
            for number, (host, layout) in enumerate(zip(self._hosts, layouts, strict=True)):
                stream = LogStream(self._job, host, self._platform.region, self._metrics)
                self._streams.append(stream)
                request = HostRequest(
                    layout=layout,
                    name=host,
                    addresses=addresses,
                    environment=environment,
                    cores=cores_of(number, len(self._hosts)),
                    command=container_command(self._job),
                    wanted=layout.wanted(self._job),
                    offline=is_offline(self._job),
                )
                for line in [*notices(request, self._job, image), *remarks]:
                    stream.write(line)
                instance = Instance(request, stream.write, f"{self._job.name}/{host}")
                running.callback(instance.close)
                instances.append(instance)
            return self._follow(instances, hosts, troubles)

    def _note(self, text: str) -> None:
        """Write one line of ours into the log of the first host."""
        for stream in self._streams[:1]:
            stream.write(f"stub AWS: {text}")

    def _follow(self, instances: list[Instance], hosts: list[Left], troubles: Troubles) -> Outcome:
        """Wait for the hosts; one that fails ends the job, and so do a stop and the time limit."""
        if self._deadline is None:  # the time limit covers all attempts together
            limit = self._job.request["StoppingCondition"]["MaxRuntimeInSeconds"]
            self._deadline = time.monotonic() + limit
        self._spot.begin()
        while True:
            codes = [instance.poll() for instance in instances]
            if troubles.first:
                return Outcome("Failed", troubles.first)
            for code, left in zip(codes, hosts, strict=True):
                if code:
                    return Outcome("Failed", failure_reason(code, left, self._note))
            if None not in codes:
                return Outcome("Completed")
            if self._platform.closing.is_set():
                return Outcome("Failed", SHUT_DOWN)
            if self._job.stop_requested:
                return self._stop(instances, "Stopped")
            if time.monotonic() > self._deadline:
                return self._stop(instances, "MaxRuntimeExceeded")
            if self._spot.due():
                return Outcome("Interrupted")  # the instances are simply gone
            time.sleep(POLL_S)

    def _stop(self, instances: list[Instance], status: str) -> Outcome:
        """SIGTERM, time to save, SIGKILL."""
        self._advance("Stopping")
        for instance in instances:
            instance.send("stop")
        deadline = time.monotonic() + GRACE_S
        while any(instance.poll() is None for instance in instances):
            if time.monotonic() > deadline or self._platform.closing.is_set():
                break
            time.sleep(POLL_S)
        return Outcome(status)

    def _stop_early(self) -> Outcome:
        self._advance("Stopping")
        return Outcome("Stopped")

    def _wait_for_capacity(self) -> bool:
        """After a spot interruption: True when there are instances again, in time and wanted."""
        self._advance("Interrupted")
        ready = time.monotonic() + self._spot.pause()
        while time.monotonic() < ready:
            if self._platform.closing.is_set():
                raise JobFailed(SHUT_DOWN)
            if self._job.stop_requested or self._spot.waited_too_long():
                self._advance("Stopping")
                return False
            time.sleep(POLL_S)
        return True

    def _advance(self, status: str, message: str | None = None) -> None:
        self._platform.store.advance(self._job, status, message)


# ---- What a job may and must know --------------------------------------------------------------


def role_credentials(job: Job) -> dict[str, str]:
    """Fresh credentials of the job's role, as environment variables."""
    return roles.credentials(job.request["RoleArn"], seconds=3600)


def client(service: str, job: Job, platform: Platform) -> Any:
    """Return a client with the permissions of the job's role."""
    return make_client(service, platform.endpoint, platform.region, role_credentials(job))


def environment_variables(job: Job, image: images.Image, platform: Platform) -> dict[str, str]:
    """Return what the platform and the image set in a container, then the request's own
    variables."""
    reach_aws = {
        "AWS_ENDPOINT_URL": platform.endpoint,
        "AWS_EC2_METADATA_DISABLED": "true",
        **role_credentials(job),
    }
    return {
        "AWS_REGION": platform.region,
        "AWS_DEFAULT_REGION": platform.region,
        "SAGEMAKER_TRAINING_MODULE": image.training_module,
        "TRAINING_JOB_NAME": job.name,
        "TRAINING_JOB_ARN": job.arn,
        # A job in network isolation reaches no service and has no credentials for one.
        **({} if job.request.get("EnableNetworkIsolation") else reach_aws),
        **job.request.get("Environment", {}),
    }


def container_command(job: Job) -> list[str]:
    """Return the entrypoint that a job names; nothing where it leaves that to the image."""
    specification = job.request["AlgorithmSpecification"]
    own = specification.get("ContainerEntrypoint", [])
    return [*own, *specification.get("ContainerArguments", [])] if own else []


def is_offline(job: Job) -> bool:
    """Whether the job's only host can be cut off from the network, as the job asks."""
    wanted = job.request.get("EnableNetworkIsolation", False)
    return wanted and job.instance_count == 1 and namespaces_available()


def notices(request: HostRequest, job: Job, image: images.Image) -> list[str]:
    """Log lines about what differs from a SageMaker instance."""
    lines = []
    difference = image.difference(job.request["AlgorithmSpecification"]["TrainingImage"])
    if difference:
        lines.append(f"stub AWS: {difference}")
    if job.instance_count > 1:
        lines.append(f"stub AWS: {request.name} has {len(request.cores)} of this machine's cores")
    if job.request.get("EnableNetworkIsolation") and not request.offline:
        lines.append("stub AWS: network isolation is not enforced here, but no credentials are set")
    return lines


def find_image(job: Job) -> images.Image:
    """Return the stand-in for the job's image.

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


def loopback_addresses(hosts: list[str], network: int) -> dict[str, str]:
    """Host name -> an address on this machine, another one for each number `network`.

    All of 127/8 is loopback on Linux, so ports of one job never meet those of another.
    """
    second, third = divmod(network % NETWORKS, 250)
    return {host: f"127.{1 + second}.{third}.{number}" for number, host in enumerate(hosts, 2)}
