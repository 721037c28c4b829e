"""Finished training jobs as things to look at: a table, a timeline, a log, a console link.

Everything is read from what AWS says of the job (DescribeTrainingJob, CloudWatch Logs), so it works
for any training job in the account, not only for the workshop's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import costs

if TYPE_CHECKING:
    import pandas as pd
    import sagemaker

LOG_GROUP = "/aws/sagemaker/TrainingJobs"

# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html: each partition is a world of
# its own, with a console of its own.
CONSOLES = {
    "aws": "console.aws.amazon.com",
    "aws-cn": "console.amazonaws.cn",
    "aws-us-gov": "console.amazonaws-us-gov.com",
}

Description = Mapping[str, Any]


class JobError(LookupError):
    """A job has not (yet) what was asked for; the message says why and what to do."""


def table(*descriptions: Description) -> pd.DataFrame:
    """One row per job: status, machines, seconds, US dollars, and its final metrics.

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
    """The statuses that a job went through, in order: status, message, started, seconds.

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


def log(session: sagemaker.Session, job_name: str) -> list[str]:
    """All log lines of a job, host after host, as the containers printed them.

    Raises JobError when the job has no log: it wrote none yet, or there is no such job.
    """
    client = session.boto_session.client("logs")
    lines: list[str] = []
    for stream in _streams(client, job_name):
        lines.extend(_lines(client, stream))
    if not lines:
        raise JobError(
            f"No log of {job_name!r} in {LOG_GROUP}: either there is no such job in "
            f"{session.boto_region_name}, or it has not started its container yet."
        )
    return lines


def _streams(client: Any, job_name: str) -> list[str]:
    pages = client.get_paginator("describe_log_streams").paginate(
        logGroupName=LOG_GROUP,
        logStreamNamePrefix=f"{job_name}/",  # the slash: job-1 must not bring job-10
    )
    try:
        return [stream["logStreamName"] for page in pages for stream in page["logStreams"]]
    except client.exceptions.ResourceNotFoundException:  # no job has ever logged in this region
        return []


def _lines(client: Any, stream: str) -> Iterator[str]:
    # CloudWatch has reached the end when it hands back the token that it was given.
    request = {"logGroupName": LOG_GROUP, "logStreamName": stream, "startFromHead": True}
    token = None
    while True:
        page = client.get_log_events(**request, **({"nextToken": token} if token else {}))
        yield from (event["message"] for event in page["events"])
        if page["nextForwardToken"] == token:
            return
        token = page["nextForwardToken"]


def console_link(description: Description) -> str:
    """The job's page in the AWS console, for whoever is signed in to its account."""
    _, partition, _, region, _, _ = description["TrainingJobArn"].split(":", 5)
    host = CONSOLES.get(partition)
    if host is None:
        raise JobError(f"No console is known for the AWS partition {partition!r}.")
    name = description["TrainingJobName"]
    return f"https://{region}.{host}/sagemaker/home?region={region}#/jobs/{name}"
