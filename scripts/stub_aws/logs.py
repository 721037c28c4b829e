"""A job's log streams in CloudWatch Logs, and the metrics that its lines carry.

Where things go is AWS's convention (developer guide, "Log Amazon SageMaker Events with CloudWatch"
and "Monitor and Analyze Training Jobs Using Amazon CloudWatch Metrics"): group
`/aws/sagemaker/TrainingJobs`, stream `JOB/HOST-EPOCH`; a tab is written `#011`, and every other
control character likewise; metrics in the namespace of the same name with the dimension
`TrainingJobName`.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

from moto.cloudwatch.models import cloudwatch_backends
from moto.logs.exceptions import ResourceAlreadyExistsException, ResourceNotFoundException
from moto.logs.models import logs_backends

from .account import account_of
from .metrics import Expressions
from .output import cut
from .store import Job, now

LOG_GROUP = "/aws/sagemaker/TrainingJobs"
NAMESPACE = "/aws/sagemaker/TrainingJobs"
MAX_EVENT = 256 * 1024 - 26  # bytes of a message that CloudWatch Logs accepts
ESCAPES = {code: f"#{code:03o}" for code in (*range(32), 127)}


class LogStream:
    """Where one host's output goes, line by line, while the job runs."""

    def __init__(self, job: Job, host: str, region: str, metrics: MetricRecorder) -> None:
        self._backend = logs_backends[account_of(job.arn)][region]
        self._metrics = metrics
        self._name = f"{job.name}/{host}-{time.time_ns() // 1_000_000}"
        self._create()

    def write(self, line: str) -> None:
        """Append one line, without its line break; a very long one as several events."""
        text = line.translate(ESCAPES).encode("utf-8", "replace")
        for part in cut(text, MAX_EVENT):
            message = part.decode()
            self._put(message)
            for notice in self._metrics.read(message):
                self._put(notice)

    def _put(self, message: str) -> None:
        event = {"timestamp": time.time_ns() // 1_000_000, "message": message}
        try:
            self._backend.put_log_events(LOG_GROUP, self._name, [event])
        except ResourceNotFoundException:  # somebody deleted it while the job ran
            self._create()
            self._backend.put_log_events(LOG_GROUP, self._name, [event])

    def _create(self) -> None:
        with contextlib.suppress(ResourceAlreadyExistsException):
            self._backend.create_log_group(LOG_GROUP, tags={})
        with contextlib.suppress(ResourceAlreadyExistsException):
            self._backend.create_log_stream(LOG_GROUP, self._name)


class MetricRecorder:
    """Finds the job's metrics in the log lines of all its hosts, and keeps them."""

    def __init__(self, job: Job, region: str) -> None:
        self._expressions = Expressions(job.request["AlgorithmSpecification"])
        self._job = job
        self._cloudwatch = cloudwatch_backends[account_of(job.arn)][region]
        self._lock = threading.Lock()

    def read(self, line: str) -> Iterator[str]:
        """Record the metrics in a line; yield what the log must say of an expression."""
        metrics, slow = self._expressions.find(line)
        for name, value in metrics:
            self._record(name, value)
        for name in slow:
            yield (
                f"stub AWS: the expression of the metric {name} takes too long on this job's lines "
                "and finds nothing more. Mend it: no .* at its beginning, no repetition within a "
                "repetition."
            )

    def _record(self, name: str, value: float) -> None:
        moment = now()
        dimensions = [{"Name": "TrainingJobName", "Value": self._job.name}]
        datum: dict[str, Any] = {
            "MetricName": name,
            "Dimensions": dimensions,
            "Value": value,
            "Timestamp": moment.replace(tzinfo=None),  # moto compares without a zone
        }
        with self._lock:  # hosts of one job report into the same table
            self._job.metrics[name] = {"MetricName": name, "Value": value, "Timestamp": moment}
            self._cloudwatch.put_metric_data(NAMESPACE, [datum])
