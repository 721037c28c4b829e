"""Reads what the console's pages show, through boto3 as any program would.

Every answer is made of what AWS's API says; times are ISO 8601 text, durations seconds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from ..channels import parse_s3_uri
from ..clients import make_client
from ..logs import LOG_GROUP
from ..metrics import Expressions
from .prices import PriceList, bill

MAX_JOBS = 500  # newest first; a page with more would be of no use
MAX_OBJECTS = 200  # on one page of a bucket
MAX_EVENTS = 10_000  # of one log stream in one answer, CloudWatch's own limit
LINK_S = 300  # for how long the address of a download is good

ENDED = frozenset({"Completed", "Failed", "Stopped"})

# The console's user may look at everything that it shows, and stop jobs; it may change nothing.
PERMISSIONS = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Action": [
                "logs:DescribeLogStreams",
                "logs:GetLogEvents",
                "s3:GetObject",
                "s3:ListAllMyBuckets",
                "s3:ListBucket",
                "sagemaker:DescribeTrainingJob",
                "sagemaker:ListTags",
                "sagemaker:ListTrainingJobs",
                "sagemaker:StopTrainingJob",
            ],
            "Resource": "*",
        }
    ],
}


class Reader:
    """Reads and stops jobs with the credentials of the console's user.

    Args:
        prices: By which costs are computed; None where there are none.
    """

    def __init__(
        self,
        endpoint: str,
        region: str,
        credentials: dict[str, str],
        prices: PriceList | None = None,
    ) -> None:
        access = (endpoint, region, credentials)
        self._sagemaker = make_client("sagemaker", *access)
        self._logs = make_client("logs", *access)
        self._s3 = make_client("s3", *access, signature_version="s3v4")  # of the links, too
        self._prices = prices
        self._ended: dict[str, tuple[datetime, dict[str, Any]]] = {}
        self._expressions: dict[str, Expressions] = {}  # a slow one stays switched off

    # ---- Jobs ----------------------------------------------------------------------------------

    def jobs(self) -> dict[str, Any]:
        """Return the newest jobs: name, status, times, machines and cost of each."""
        pages = self._sagemaker.get_paginator("list_training_jobs").paginate(
            SortBy="CreationTime",
            SortOrder="Descending",
            PaginationConfig={"MaxItems": MAX_JOBS, "PageSize": 100},
        )
        newest = [entry for page in pages for entry in page["TrainingJobSummaries"]]
        return {
            "now": _now(),
            "priced": self._prices is not None,
            "jobs": [self._row(self._description(entry)) for entry in newest],
        }

    def _description(self, summary: Mapping[str, Any]) -> dict[str, Any]:
        """Return a job's description; that of a job that has ended is final and cached."""
        name, modified = summary["TrainingJobName"], summary["LastModifiedTime"]
        cached = self._ended.get(name)
        if cached and cached[0] == modified:
            return cached[1]
        description = self._describe(name)
        if description["TrainingJobStatus"] in ENDED:
            self._ended[name] = (modified, description)
        return description

    def _describe(self, name: str) -> dict[str, Any]:
        description: dict[str, Any] = self._sagemaker.describe_training_job(TrainingJobName=name)
        del description["ResponseMetadata"]
        return description

    def job(self, name: str) -> dict[str, Any]:
        """Return one job: its description, tags, cost so far, and what it has put into S3."""
        description = self._describe(name)
        tags = self._sagemaker.list_tags(ResourceArn=description["TrainingJobArn"])["Tags"]
        return {
            "now": _now(),
            "priced": self._prices is not None,
            "job": self._row(description),
            "description": description,
            "tags": {tag["Key"]: tag["Value"] for tag in tags},
            "artifacts": self._artifacts(description),
        }

    def _artifacts(self, description: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the objects below the job's own output folder."""
        bucket, prefix = parse_s3_uri(description["OutputDataConfig"]["S3OutputPath"])
        parts = (prefix.strip("/"), description["TrainingJobName"], "output/")
        folder = "/".join(part for part in parts if part)
        try:
            listing = self._s3.list_objects_v2(Bucket=bucket, Prefix=folder)
        except self._s3.exceptions.NoSuchBucket:
            return []
        return [_entry(bucket, item) for item in listing.get("Contents", [])]

    def _row(self, description: Mapping[str, Any]) -> dict[str, Any]:
        """Return the row of a job. `seconds` is from its creation to its end, or to now."""
        status = description["TrainingJobStatus"]
        end = description["LastModifiedTime"] if status in ENDED else _now()
        end = description.get("TrainingEndTime", end)
        resources = description["ResourceConfig"]
        return {
            "name": description["TrainingJobName"],
            "status": status,
            "secondary": description["SecondaryStatus"],
            "created": description["CreationTime"],
            "seconds": max(0.0, (end - description["CreationTime"]).total_seconds()),
            "machines": f"{resources['InstanceCount']} x {resources['InstanceType']}",
            "ended": status in ENDED,
            **bill(description, _now(), self._prices),
        }

    def stop(self, name: str) -> dict[str, Any]:
        """Ask a job to stop."""
        self._sagemaker.stop_training_job(TrainingJobName=name)
        return {}

    # ---- Logs ----------------------------------------------------------------------------------

    def logs(self, name: str, after: Mapping[str, str]) -> dict[str, Any]:
        """Return what a job's streams hold after the tokens of an earlier answer, with its metrics.

        `after` and the answer's `tokens` map a stream's name to CloudWatch's token.
        """
        if name not in self._expressions:
            self._expressions[name] = Expressions(self._describe(name)["AlgorithmSpecification"])
        expressions = self._expressions[name]
        streams: list[dict[str, Any]] = []
        tokens: dict[str, str] = {}
        for stream in self._streams(name):
            events, tokens[stream] = self._events(stream, after.get(stream))
            streams.append({"stream": stream, "host": host_of(stream), "events": events})
        metrics = [
            {"name": metric, "time": event["time"], "value": value}
            for stream in streams
            for event in stream["events"]
            for metric, value in expressions.find(event["message"])[0]
        ]
        return {"streams": streams, "tokens": tokens, "metrics": metrics}

    def _streams(self, name: str) -> list[str]:
        pages = self._logs.get_paginator("describe_log_streams").paginate(
            logGroupName=LOG_GROUP, logStreamNamePrefix=f"{name}/"
        )
        try:
            return [stream["logStreamName"] for page in pages for stream in page["logStreams"]]
        except self._logs.exceptions.ResourceNotFoundException:
            return []  # no job has logged yet

    def _events(self, stream: str, token: str | None) -> tuple[list[dict[str, Any]], str]:
        page = self._logs.get_log_events(
            logGroupName=LOG_GROUP,
            logStreamName=stream,
            startFromHead=True,
            limit=MAX_EVENTS,
            **({"nextToken": token} if token else {}),
        )
        events = [
            {"time": item["timestamp"], "message": item["message"]} for item in page["events"]
        ]
        return events, page["nextForwardToken"]

    # ---- Objects -------------------------------------------------------------------------------

    def objects(self, bucket: str, prefix: str, token: str | None) -> dict[str, Any]:
        """Return one page of a bucket below `prefix`: folders, objects, the token of the next page.

        Without a bucket: all buckets.
        """
        if not bucket:
            return {"buckets": [item["Name"] for item in self._s3.list_buckets()["Buckets"]]}
        page = self._s3.list_objects_v2(
            Bucket=bucket,
            Prefix=prefix,
            Delimiter="/",
            MaxKeys=MAX_OBJECTS,
            **({"ContinuationToken": token} if token else {}),
        )
        return {
            "folders": [item["Prefix"] for item in page.get("CommonPrefixes", [])],
            "objects": [_entry(bucket, item) for item in page.get("Contents", [])],
            "next": page.get("NextContinuationToken"),
        }

    def download_link(self, bucket: str, key: str) -> str:
        """Return a signed address of an object, which the browser saves and never shows.

        A page that a job wrote must not run beside this one.
        """
        wanted = {
            "Bucket": bucket,
            "Key": key,
            "ResponseContentDisposition": "attachment",
            "ResponseContentType": "application/octet-stream",
        }
        self._s3.head_object(Bucket=bucket, Key=key)
        link: str = self._s3.generate_presigned_url("get_object", Params=wanted, ExpiresIn=LINK_S)
        return link


# ---- From AWS's answers to JSON ----------------------------------------------------------------


def _entry(bucket: str, item: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "bucket": bucket,
        "key": item["Key"],
        "bytes": item["Size"],
        "modified": item["LastModified"],
    }


def host_of(stream: str) -> str:
    """Return `algo-1` of the stream `JOB/algo-1-1700000000000`."""
    return stream.rpartition("/")[2].rpartition("-")[0]


def _now() -> datetime:
    return datetime.now(timezone.utc)


def as_json(answer: Mapping[str, Any]) -> str:
    """Return the JSON text of an answer; moments become ISO 8601."""
    return json.dumps(answer, default=_plain)


def _plain(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no form in JSON")
