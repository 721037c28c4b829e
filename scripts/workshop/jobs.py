"""Training jobs as things to wait for and to look at: a table, a timeline, a log, a console link.

Everything is read from AWS (DescribeTrainingJob, CloudWatch Logs), so it works for any training job
in the account, not only for the workshop's own.
"""

from __future__ import annotations

import ipaddress
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from workshop import costs
from workshop.sdk_version import Session

if TYPE_CHECKING:
    import pandas as pd

LOG_GROUP = "/aws/sagemaker/TrainingJobs"
RUNNING = ("InProgress", "Stopping")  # every other TrainingJobStatus is an end
QUIET_S = 60  # after so many seconds without news, `wait_for` prints which jobs still run
LIMIT_S = 3600  # a lesson's jobs have ten minutes each, and may wait for a machine or a neighbour

# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html: each partition has a console
# of its own.
CONSOLES = {
    "aws": "console.aws.amazon.com",
    "aws-cn": "console.amazonaws.cn",
    "aws-us-gov": "console.amazonaws-us-gov.com",
}

# The phases that take a job's time, in their order; AWS bills all but the first.
PHASES = ("Starting", "Downloading", "Training", "Uploading")

# The address of the console of an AWS on this machine, with a slash at its end.
CONSOLE_VARIABLE = "SAGEMAKER_CONSOLE_URL"

Description = Mapping[str, Any]


class JobError(LookupError):
    """A job does not have (yet) what was asked for; the message says why and what to do."""


def wait_for(
    session: Session, *names: str, poll_s: float = 2.0, limit_s: float = LIMIT_S
) -> list[Description]:
    """Wait until every job of these names has ended; print a line for each status that one enters.

    Returns their last descriptions, in the order of ``names``. A job that failed or was stopped has
    ended too: look at its TrainingJobStatus. Interrupting the wait does not stop the jobs.
    Raises JobError when there is no job of a name, or one has not ended after ``limit_s`` seconds.
    """
    client = session.boto_session.client("sagemaker")
    width = max(map(len, names), default=0)
    printed = dict.fromkeys(names, 0)
    ended: dict[str, Description] = {}
    began = news = time.monotonic()
    while True:
        for name in [name for name in printed if name not in ended]:
            job = _describe(client, name)
            for line in _news(job, printed[name]):
                print(f"{name:{width}}  {line}", flush=True)
                news, printed[name] = time.monotonic(), printed[name] + 1
            if job["TrainingJobStatus"] not in RUNNING:
                ended[name] = job
        if len(ended) == len(printed):
            return [ended[name] for name in names]
        if time.monotonic() - news > QUIET_S:
            print(f"still running: {', '.join(sorted(printed.keys() - ended.keys()))}", flush=True)
            news = time.monotonic()
        if time.monotonic() - began > limit_s:
            raise JobError(
                f"{', '.join(sorted(printed.keys() - ended.keys()))} has not ended after "
                f"{limit_s:g} seconds, and goes on: wait again, or stop it."
            )
        time.sleep(poll_s)


def describe(session: Session, name: str) -> Description:
    """Return what AWS says of a job at this moment (DescribeTrainingJob).

    Raises JobError when there is no job of that name.
    """
    return _describe(session.boto_session.client("sagemaker"), name)


def _describe(client: Any, name: str) -> Description:
    from botocore.exceptions import ClientError

    try:
        description: Description = client.describe_training_job(TrainingJobName=name)
        return description
    except ClientError as error:
        if "not found" not in error.response["Error"]["Message"]:
            raise
        raise JobError(
            f"There is no training job {name!r} in {client.meta.region_name}: look at its name and "
            "at the region of the session."
        ) from error


def _news(job: Description, printed: int) -> Iterator[str]:
    """Yield a line for each status after the first ``printed``: seconds since creation, and its
    name."""
    for step in (job.get("SecondaryStatusTransitions") or [])[printed:]:
        seconds = (step["StartTime"] - job["CreationTime"]).total_seconds()
        why = job.get("FailureReason", "") if step["Status"] == "Failed" else ""
        yield f"{seconds:5.0f} s  {step['Status']}  {' '.join(why.split())}".rstrip()


def table(*descriptions: Description) -> pd.DataFrame:
    """Return one row per job: status, machines, seconds, US dollars, and its final metrics.

    ``descriptions`` are answers of DescribeTrainingJob. Seconds are the job's own (TrainingTime and
    BillableTime, per instance); dollars are at the price list's region. What a job does not have,
    because it is still running or its price is unknown, is missing in the table.
    """
    import pandas as pd

    return pd.DataFrame([_row(job) for job in descriptions]).set_index("job")


def _row(job: Description) -> dict[str, Any]:
    resources = job["ResourceConfig"]
    row = {
        "job": job["TrainingJobName"],
        "status": job["TrainingJobStatus"],
        "instance": resources["InstanceType"],
        "count": resources["InstanceCount"],
        "training_s": job.get("TrainingTimeInSeconds"),
        "billable_s": job.get("BillableTimeInSeconds"),
        "usd": _usd(job),
    }
    metrics = {
        metric["MetricName"]: metric["Value"] for metric in job.get("FinalMetricDataList", [])
    }
    return row | metrics


def _usd(job: Description) -> float | None:
    try:
        return costs.job_cost(job).usd
    except costs.CostError:
        return None


def timeline(description: Description) -> pd.DataFrame:
    """Return the statuses that a job went through, in order: status, message, started, seconds.

    The seconds of a status that has not ended are missing.
    """
    import pandas as pd

    steps = description.get("SecondaryStatusTransitions") or []
    rows = [
        {
            "status": step["Status"],
            "message": step.get("StatusMessage", ""),
            "started": step["StartTime"],
            "seconds": _seconds(step),
        }
        for step in steps
    ]
    return pd.DataFrame(rows, columns=["status", "message", "started", "seconds"])


def _seconds(step: Mapping[str, Any]) -> float | None:
    end = step.get("EndTime")
    return None if end is None else (end - step["StartTime"]).total_seconds()


def phases(*descriptions: Description) -> pd.DataFrame:
    """Return the seconds of each job in each status: a row per job, a column per status, in order.

    A status that a job passed more than once (a spot job starts again) is summed up; one that it
    never had, or that has not ended, is missing.
    """
    import pandas as pd

    rows: dict[str, dict[str, float]] = {}
    for job in descriptions:
        steps = timeline(job).dropna(subset="seconds")
        rows[job["TrainingJobName"]] = (
            steps.groupby("status", sort=False)["seconds"].sum().to_dict()
        )
    order = [name for name in PHASES if any(name in row for row in rows.values())]
    others = [name for row in rows.values() for name in row if name not in PHASES]
    columns = [*order, *dict.fromkeys(others)]
    # Not `from_dict`: before pandas 3 it leaves out a job that has no phase yet.
    return pd.DataFrame(list(rows.values()), index=list(rows), columns=columns, dtype=float)


def log(session: Session, job_name: str) -> list[str]:
    """Return all log lines of a job, host after host, as the containers printed them.

    Raises JobError when the job has no log: it wrote none yet, or there is no such job.
    """
    return list(events(session, job_name)["line"])


def events(session: Session, job_name: str) -> pd.DataFrame:
    """Return a job's log as a table, host after host: ``time`` (UTC, to the millisecond) and
    ``line``.

    Raises JobError as ``log`` does.
    """
    import pandas as pd

    lines = LogTail(session, job_name).new_events()
    if not lines:
        raise JobError(
            f"No log of {job_name!r} in {LOG_GROUP}: either there is no such job in "
            f"{session.boto_region_name}, or it has not started its container yet."
        )
    frame = pd.DataFrame(lines, columns=["time", "line"])
    frame["time"] = pd.to_datetime(frame["time"], unit="ms", utc=True)
    return frame


def streams(client: Any, job_name: str) -> list[str]:
    """Return the names of a job's log streams; ``client`` is boto3's of the service "logs"."""
    return [stream["logStreamName"] for stream in described_streams(client, job_name)]


def described_streams(client: Any, job_name: str) -> list[dict[str, Any]]:
    """Return what CloudWatch says of the log streams whose names begin with a job's and a slash."""
    pages = client.get_paginator("describe_log_streams").paginate(
        logGroupName=LOG_GROUP,
        logStreamNamePrefix=f"{job_name}/",  # the slash: job-1 must not bring job-10
    )
    try:
        return [stream for page in pages for stream in page["logStreams"]]
    except client.exceptions.ResourceNotFoundException:  # no job has ever logged in this region
        return []


class LogTail:
    """A job's log while it grows: ``new()`` brings the lines since the last call, maybe none."""

    def __init__(self, session: Session, job_name: str) -> None:
        self._client = session.boto_session.client("logs")
        self._job_name = job_name
        self._tokens: dict[str, str] = {}  # stream -> where we were

    def new(self) -> list[str]:
        """Return the lines that came since the last call, host after host."""
        return [line for _, line in self.new_events()]

    def new_events(self) -> list[tuple[int, str]]:
        """Return the same with the time of each line, in milliseconds since 1970."""
        names = streams(self._client, self._job_name)
        return [event for stream in names for event in self._rest(stream)]

    def _rest(self, stream: str) -> Iterator[tuple[int, str]]:
        # CloudWatch has reached the end when it returns the token of the request.
        request = {"logGroupName": LOG_GROUP, "logStreamName": stream, "startFromHead": True}
        while True:
            token = self._tokens.get(stream)
            page = self._client.get_log_events(**request, **({"nextToken": token} if token else {}))
            yield from ((event["timestamp"], event["message"]) for event in page["events"])
            self._tokens[stream] = page["nextForwardToken"]
            if page["nextForwardToken"] == token:
                return


def metric_values(description: Description, lines: Iterable[str]) -> list[tuple[str, float]]:
    """Return the metrics in log lines, as (name, value) in their order.

    They are found as SageMaker finds them, by the job's own metric definitions: the first group of
    an expression is the value.
    """
    definitions = description["AlgorithmSpecification"].get("MetricDefinitions", [])
    patterns = [(item["Name"], re.compile(item["Regex"])) for item in definitions]
    return [
        (name, float(match[1]))
        for line in lines
        for name, pattern in patterns
        for match in pattern.finditer(line)
    ]


def command(log: list[str]) -> list[str]:
    """Return the arguments that the container started the script with, from a job's log.

    The log does not quote: a value with blanks in it, one argument to the script, is several here.
    Raises JobError when no script was started.
    """
    after = iter(log)
    if any("Invoking script with the following command" in line for line in after):
        for line in after:
            # as the image starts it: python train.py --eta 1, python -- train.py, python -m train
            if match := re.match(r"\S*python\S* (?:-- |-m )?\S+(.*)$", line):
                return match[1].split()
    raise JobError("This log has no command line: the container has not started a script.")


def console_link(description: Description) -> str:
    """Return the address of the job's page in the console.

    That is AWS's console, for whoever is signed in to the account; or the console of this machine,
    where AWS calls stay on it and it has one.
    """
    name = description["TrainingJobName"]
    here = os.environ.get(CONSOLE_VARIABLE)
    if here and _is_loopback(os.environ.get("AWS_ENDPOINT_URL", "")):
        return f"{here}jobs/{name}"
    _, partition, _, region, _, _ = description["TrainingJobArn"].split(":", 5)
    host = CONSOLES.get(partition)
    if host is None:
        raise JobError(f"No console is known for the AWS partition {partition!r}.")
    return f"https://{region}.{host}/sagemaker/home?region={region}#/jobs/{name}"


def _is_loopback(address: str) -> bool:
    host = urlsplit(address).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:  # another name
        return False
