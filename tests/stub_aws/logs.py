"""A job's log streams in CloudWatch Logs, and the metrics that its lines carry.

Where things go is AWS's convention (developer guide, "Log Amazon SageMaker Events with CloudWatch"
and "Monitor and Analyze Training Jobs Using Amazon CloudWatch Metrics"): group
`/aws/sagemaker/TrainingJobs`, stream `JOB/HOST-EPOCH`, a tab written `#011`; metrics in the
namespace of the same name with the dimension `TrainingJobName`.
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

from moto.cloudwatch.models import cloudwatch_backends
from moto.logs.exceptions import ResourceAlreadyExistsException
from moto.logs.models import logs_backends

from . import first_party
from .authorization import ACCOUNT_ID
from .store import Job, now

LOG_GROUP = "/aws/sagemaker/TrainingJobs"
NAMESPACE = "/aws/sagemaker/TrainingJobs"
MAX_EVENT = 256 * 1024 - 26  # bytes of a message that CloudWatch Logs accepts


class LogStream:
    """Where one host's output goes, line by line, while the job runs."""

    def __init__(self, job: Job, host: str, region: str) -> None:
        self._job = job
        self._backend = logs_backends[ACCOUNT_ID][region]
        self._metrics = MetricReader(job, region)
        self._name = f"{job.name}/{host}-{time.time_ns() // 1_000_000}"
        with contextlib.suppress(ResourceAlreadyExistsException):
            self._backend.create_log_group(LOG_GROUP, tags={})
        self._backend.create_log_stream(LOG_GROUP, self._name)

    def write(self, line: str) -> None:
        """Append one line, without its line break."""
        message = line.replace("\t", "#011")[:MAX_EVENT]
        event = {"timestamp": time.time_ns() // 1_000_000, "message": message}
        self._backend.put_log_events(LOG_GROUP, self._name, [event])
        self._metrics.read(message)


class MetricReader:
    """Finds the values of a job's `MetricDefinitions` in its log lines."""

    _lock = threading.Lock()  # hosts of one job report into the same table

    def __init__(self, job: Job, region: str) -> None:
        definitions = job.request["AlgorithmSpecification"].get("MetricDefinitions", [])
        self._patterns = {item["Name"]: re.compile(item["Regex"]) for item in definitions}
        # SageMaker's own expressions are slow on long lines; few lines hold what they need.
        ours = first_party.defines_metrics(job.request)
        self._needles = {name: first_party.needle(name) if ours else "" for name in self._patterns}
        self._job = job
        self._cloudwatch = cloudwatch_backends[ACCOUNT_ID][region]

    def read(self, line: str) -> None:
        likely = {n: pattern for n, pattern in self._patterns.items() if self._needles[n] in line}
        for name, value in values_in(line, likely):
            self._record(name, value)

    def _record(self, name: str, value: float) -> None:
        moment = now()
        dimensions = [{"Name": "TrainingJobName", "Value": self._job.name}]
        datum: dict[str, Any] = {
            "MetricName": name,
            "Dimensions": dimensions,
            "Value": value,
            "Timestamp": moment.replace(tzinfo=None),  # moto compares without a zone
        }
        with self._lock:
            self._job.metrics[name] = {"MetricName": name, "Value": value, "Timestamp": moment}
            self._cloudwatch.put_metric_data(NAMESPACE, [datum])


def values_in(line: str, patterns: Mapping[str, re.Pattern[str]]) -> Iterator[tuple[str, float]]:
    """The metrics that a line tells, by the expressions of their definitions."""
    for name, pattern in patterns.items():
        for match in pattern.finditer(line):
            value = _number(match)
            if value is not None:
                yield name, value


def _number(match: re.Match[str]) -> float | None:
    """The first group as a number; what is not one is no metric, as on SageMaker."""
    try:
        return float(match[1])
    except (IndexError, TypeError, ValueError):
        return None
