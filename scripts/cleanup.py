"""What this workshop has made in an account, found by its tag, and how to remove it.

    python scripts/cleanup.py             list it; changes nothing
    python scripts/cleanup.py --delete    list it, then delete it

Ours is what carries the tag ``workshop.WORKSHOP_TAG``: training jobs, the bucket with all that is
in it, notebook instances. Log streams cannot carry tags; ours are those whose names begin with the
name of one of our jobs. Nothing else is ever stopped or deleted. In an account that several people
share, the tag and the bucket are shared, too.

Deleting goes from what bills most to what marks the rest as ours: running jobs are stopped, then
log streams go, then unfinished uploads and objects, at last the bucket. So it may be interrupted
anywhere and run again. The records of finished jobs stay: they cost nothing and tell what was
spent. Notebook instances are listed only: one of them may be the machine that runs this.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import costs
import jobs
import workshop

if TYPE_CHECKING:
    import pandas as pd
    import sagemaker

LESSON_TAG = "lesson"
MANY = 100  # jobs, after which looking through them says how far it is
BATCH = 1000  # objects that S3 deletes by one request at most


class CleanupError(workshop.WorkshopError):
    """Something could not be listed or deleted; the message says what, why and what to do."""


@dataclass(frozen=True)
class Job:
    """A training job with our tag: the lesson that made it, and AWS's description of it."""

    lesson: str
    description: jobs.Description

    @property
    def name(self) -> str:
        return self.description["TrainingJobName"]

    @property
    def runs(self) -> bool:
        return self.description["TrainingJobStatus"] in jobs.RUNNING


@dataclass(frozen=True)
class Instance:
    """A notebook instance with our tag; `usd_per_hour` is None where its price is unknown."""

    name: str
    kind: str
    status: str
    usd_per_hour: float | None


@dataclass(frozen=True)
class Found:
    """All that is ours in one account and region.

    `bucket` is None when there is none with our tag, and `other_bucket` then names one that has our
    name but not our tag. Sizes are in bytes, `upload_size` is that of the parts that did arrive.
    """

    jobs: tuple[Job, ...]
    bucket: str | None
    other_bucket: str | None
    objects: int
    size: int
    uploads: int
    upload_size: int
    streams: int
    instances: tuple[Instance, ...]

    @property
    def running(self) -> tuple[Job, ...]:
        return tuple(job for job in self.jobs if job.runs)

    def table(self) -> pd.DataFrame:
        """One row per kind of thing: how many, how it bills, US dollars per hour or month.

        Dollars are missing where they are not known: AWS does not tell the size of a log stream.
        """
        import pandas as pd

        ended = len(self.jobs) - len(self.running)
        rates = [_rate(job) for job in self.running]
        parts = costs.storage_per_month(self.upload_size)
        hourly = [instance.usd_per_hour for instance in self.instances if _is_up(instance)]
        rows = [
            ("training jobs, running", len(self.running), "by the second", _sum(rates), "hour"),
            ("training jobs, ended", ended, "no more", 0.0, ""),
            ("objects", self.objects, "by size", costs.storage_per_month(self.size), "month"),
            ("unfinished uploads", self.uploads, "by size", parts, "month"),
            ("buckets", int(bool(self.bucket)), "not by itself", 0.0, ""),
            ("log streams", self.streams, "by size", None if self.streams else 0.0, "month"),
            ("notebook instances", len(self.instances), "while up", _sum(hourly), "hour"),
        ]
        return pd.DataFrame(rows, columns=["what", "count", "bills", "usd", "per"]).set_index(
            "what"
        )


def _rate(job: Job) -> float | None:
    """US dollars an hour of a job's instances."""
    resources = job.description["ResourceConfig"]
    with contextlib.suppress(costs.CostError):
        return resources["InstanceCount"] * costs.price(resources["InstanceType"]).usd
    return None


def _is_up(instance: Instance) -> bool:
    return instance.status not in ("Stopped", "Failed")


def _sum(amounts: Sequence[float | None]) -> float | None:
    """The sum, or None where one is unknown: a sum that leaves something out would be wrong."""
    known = [amount for amount in amounts if amount is not None]
    return sum(known, 0.0) if len(known) == len(amounts) else None


# --- looking --------------------------------------------------------------------------------------


def found(session: sagemaker.Session) -> Found:
    """All that is ours in the account and region of ``session``. Changes nothing.

    Raises CleanupError when a right to look is missing.
    """
    boto = session.boto_session
    sagemaker_client, s3 = boto.client("sagemaker"), boto.client("s3")
    with _explained("look for the training jobs"):
        ours = tuple(_jobs(sagemaker_client))
    with _explained("look at the bucket"):
        bucket, other = _bucket(boto)
        sizes = [item["Size"] for item in _objects(s3, bucket)] if bucket else []
        uploads = list(_uploads(s3, bucket)) if bucket else []
        parts = [_size_of_parts(s3, bucket, upload) for upload in uploads if bucket]
    with _explained("look for the log streams"):
        streams = sum(1 for _ in _streams(boto.client("logs"), ours))
    with _explained("look for notebook instances"):
        instances = tuple(_instances(sagemaker_client))
    return Found(
        jobs=ours,
        bucket=bucket,
        other_bucket=other,
        objects=len(sizes),
        size=sum(sizes),
        uploads=len(uploads),
        upload_size=sum(parts),
        streams=streams,
        instances=instances,
    )


def remaining(session: sagemaker.Session) -> dict[str, int]:
    """What of ours is still to be stopped or deleted, by kind; empty when nothing is.

    Not in it, for ``delete`` leaves them alone: records of ended jobs, and notebook instances.
    Raises CleanupError as ``found`` does.
    """
    left = found(session)
    counts = {
        "running jobs": len(left.running),
        "objects": left.objects,
        "unfinished uploads": left.uploads,
        "buckets": int(bool(left.bucket)),
        "log streams": left.streams,
    }
    return {what: count for what, count in counts.items() if count}


def cost_by_lesson(ours: Sequence[Job], now: datetime) -> pd.DataFrame:
    """What the jobs cost, a row per lesson: jobs, seconds of machines, US dollars.

    A job that runs counts with what it has cost by ``now``. Dollars are missing where a price is
    unknown.
    """
    import pandas as pd

    rows = [(job.lesson, 1, *_cost(job, now)) for job in ours]
    columns = ["lesson", "jobs", "seconds", "usd"]
    by_lesson = pd.DataFrame(rows, columns=columns).groupby("lesson")
    return by_lesson.agg(lambda column: column.sum(skipna=False))


def _cost(job: Job, now: datetime) -> tuple[float, float | None]:
    try:
        cost = costs.so_far(job.description, now)
    except costs.CostError:
        return float("nan"), None
    return cost.seconds * cost.count, cost.usd


def _jobs(client: Any) -> Iterator[Job]:
    pages = client.get_paginator("list_training_jobs").paginate(PaginationConfig={"PageSize": 100})
    for page in pages:
        for number, summary in enumerate(page["TrainingJobSummaries"], start=1):
            tags = _tags(client, summary["TrainingJobArn"])
            if _is_ours(tags):
                name = summary["TrainingJobName"]
                description = client.describe_training_job(TrainingJobName=name)
                yield Job(tags.get(LESSON_TAG, "?"), description)
            if number == MANY:
                print(f"looked at {MANY} jobs, the last of {summary['CreationTime']:%Y-%m-%d}")


def _tags(client: Any, arn: str) -> dict[str, str]:
    pages = client.get_paginator("list_tags").paginate(ResourceArn=arn)
    return {tag["Key"]: tag["Value"] for page in pages for tag in page["Tags"]}


def _is_ours(tags: dict[str, str]) -> bool:
    return tags.get(workshop.WORKSHOP_TAG["Key"]) == workshop.WORKSHOP_TAG["Value"]


def _bucket(boto: Any) -> tuple[str | None, str | None]:
    """(The bucket with our name and our tag, the one with our name alone.)"""
    from botocore.exceptions import ClientError

    account = boto.client("sts").get_caller_identity()["Account"]
    name = workshop.bucket_name(account, boto.region_name)
    try:
        answer = boto.client("s3").get_bucket_tagging(Bucket=name, ExpectedBucketOwner=account)
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code == "NoSuchBucket":
            return None, None
        if code == "NoSuchTagSet":
            return None, name
        raise
    ours = _is_ours({tag["Key"]: tag["Value"] for tag in answer["TagSet"]})
    return (name, None) if ours else (None, name)


def _objects(s3: Any, bucket: str) -> Iterator[dict[str, Any]]:
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        yield from page.get("Contents", [])


def _uploads(s3: Any, bucket: str) -> Iterator[dict[str, Any]]:
    """Uploads in parts that were begun and never finished: no listing of objects shows them."""
    for page in s3.get_paginator("list_multipart_uploads").paginate(Bucket=bucket):
        yield from page.get("Uploads", [])


def _size_of_parts(s3: Any, bucket: str, upload: dict[str, Any]) -> int:
    which = {"Bucket": bucket, "Key": upload["Key"], "UploadId": upload["UploadId"]}
    pages = s3.get_paginator("list_parts").paginate(**which)
    return sum(part["Size"] for page in pages for part in page.get("Parts", []))


def _streams(logs: Any, ours: Sequence[Job]) -> Iterator[str]:
    for job in ours:
        yield from jobs.streams(logs, job.name)


def _instances(client: Any) -> Iterator[Instance]:
    for page in client.get_paginator("list_notebook_instances").paginate():
        for summary in page["NotebookInstances"]:
            if not _is_ours(_tags(client, summary["NotebookInstanceArn"])):
                continue
            kind, price = summary["InstanceType"], None
            with contextlib.suppress(costs.CostError):
                price = costs.price(kind, use="notebook").usd
            name, status = summary["NotebookInstanceName"], summary["NotebookInstanceStatus"]
            yield Instance(name, kind, status, price)


# --- deleting -------------------------------------------------------------------------------------


def delete(session: sagemaker.Session, what: Found) -> None:
    """Stop and delete ``what`` was found, and say what is gone; safe to run again.

    All that is in the bucket by now goes with it. Raises CleanupError when something cannot be
    deleted; what is deleted by then stays deleted.
    """
    boto = session.boto_session
    with _explained("stop the running jobs"):
        _stop(session, what.running)
    with _explained("delete the log streams"):
        _delete_streams(boto.client("logs"), what.jobs)
    bucket, _ = _bucket(boto)  # it may have gone, or lost its tag, since it was found
    if what.bucket and bucket == what.bucket:
        _delete_bucket(boto.client("s3"), bucket)


def _stop(session: sagemaker.Session, running: Sequence[Job]) -> None:
    from botocore.exceptions import ClientError

    client = session.boto_session.client("sagemaker")
    for job in running:
        try:
            client.stop_training_job(TrainingJobName=job.name)
        except ClientError as error:
            if "in status" not in error.response["Error"]["Message"]:
                raise  # otherwise it has ended meanwhile
    if running:  # until they have ended they write logs, and at their end a model
        jobs.wait_for(session, *(job.name for job in running))
        print(f"stopped {_number(len(running), 'job')}")


def _delete_streams(logs: Any, ours: Sequence[Job]) -> None:
    count = 0
    for stream in _streams(logs, ours):
        with contextlib.suppress(logs.exceptions.ResourceNotFoundException):
            logs.delete_log_stream(logGroupName=jobs.LOG_GROUP, logStreamName=stream)
            count += 1
    if count:
        print(f"deleted {_number(count, 'log stream')}")


def _delete_bucket(s3: Any, bucket: str) -> None:
    with _explained("delete the unfinished uploads"):
        uploads = list(_uploads(s3, bucket))
        for upload in uploads:
            which = {"Key": upload["Key"], "UploadId": upload["UploadId"]}
            s3.abort_multipart_upload(Bucket=bucket, **which)
        if uploads:
            print(f"deleted {_number(len(uploads), 'unfinished upload')}")
    with _explained("delete the objects"):
        keys = [item["Key"] for item in _objects(s3, bucket)]
        for start in range(0, len(keys), BATCH):
            _delete_objects(s3, bucket, keys[start : start + BATCH])
    with _explained(f"delete the bucket {bucket}"):
        with contextlib.suppress(s3.exceptions.NoSuchBucket):
            s3.delete_bucket(Bucket=bucket)
        s3.get_waiter("bucket_not_exists").wait(Bucket=bucket)
        print(f"deleted the bucket {bucket}")


def _delete_objects(s3: Any, bucket: str, keys: Sequence[str]) -> None:
    wanted = {"Objects": [{"Key": key} for key in keys], "Quiet": True}
    # S3 answers 200 and lists what it did not delete.
    if failed := s3.delete_objects(Bucket=bucket, Delete=wanted).get("Errors"):
        first = failed[0]
        raise CleanupError(
            f"{len(failed)} of {_number(len(keys), 'object')} could not be deleted, the first is "
            f"{first.get('Key')} ({first.get('Code')}: {first.get('Message')}). Your role needs "
            "s3:DeleteObject on the bucket's objects; then run the cleanup again."
        )
    print(f"deleted {_number(len(keys), 'object')}")


def _number(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


# --- refusals -------------------------------------------------------------------------------------


@contextlib.contextmanager
def _explained(doing: str) -> Iterator[None]:
    """Turns a refusal of AWS into one sentence; ``doing`` follows "The cleanup could not"."""
    from botocore.exceptions import ClientError

    try:
        yield
    except ClientError as error:
        raise CleanupError(f"The cleanup could not {doing}: {_reason(error)}") from error


def _reason(error: Any) -> str:
    code, message = error.response["Error"]["Code"], error.response["Error"]["Message"]
    again = "then run the cleanup again: what is deleted stays deleted."
    if action := workshop.missing_right(error):
        return (
            f"your role lacks the right {action}. Add it as in "
            f"scripts/notebook_instance/execution_role_policy.json, {again}"
        )
    if code == "BucketNotEmpty":
        return (
            "it is not empty. Either something has just been put into it, or versioning was "
            f"switched on and old versions are left: empty it in the S3 console, {again}"
        )
    return f"{code}, {message} Remedy that, {again}"


# --- the command line -----------------------------------------------------------------------------


def report(what: Found) -> list[str]:
    """What was found, as lines of text."""
    lines = [what.table().to_string(na_rep="?")]
    lines += [f"running: {job.name} (lesson {job.lesson})" for job in what.running]
    for instance in what.instances:
        lines.append(f"notebook instance: {instance.name}, {instance.kind}, {instance.status}")
    if what.bucket:
        lines.append(f"bucket: {what.bucket}")
    if what.other_bucket:
        lines.append(f"left alone, for it lacks the workshop's tag: {what.other_bucket}")
    return lines


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--delete", action="store_true", help="delete what is listed")
    arguments = parser.parse_args(argv)
    try:
        session = workshop.session(make_bucket=False)
        what = found(session)
        print(*report(what), sep="\n")
        if arguments.delete:
            delete(session, what)
        left = remaining(session)
    except workshop.WorkshopError as error:
        print(error, file=sys.stderr)
        return 1
    parts = ", ".join(f"{count} {kind}" for kind, count in left.items())
    print(f"left: {parts}" if left else "nothing of this workshop is left that it could delete")
    return 1 if left and arguments.delete else 0


if __name__ == "__main__":
    sys.exit(main())
