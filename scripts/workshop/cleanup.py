"""List what this workshop has made in an account, by its tag, and delete it.

    python -m workshop.cleanup             list it; changes nothing
    python -m workshop.cleanup --delete    list it, then delete it

What has the tag ``workshop.WORKSHOP_TAG`` is ours: training jobs, the bucket with all that is in
it, notebook instances. Log streams cannot have tags; ours are those that SageMaker wrote for one of
our jobs since it began. Nothing else is ever stopped or deleted. In a bucket that somebody else
made, and that SAGEMAKER_WORKSHOP_BUCKET names, only what the workshop put there is deleted
(buckets.py has the rule); the bucket stays as it was. In an account that several people share, the
tag and the bucket are shared, too.

What bills most is deleted first, and what marks the rest as ours last: running jobs are stopped,
then log streams are deleted, then unfinished uploads and objects, and the bucket at the end. So it
may be interrupted anywhere and run again. What the role may not list or delete, such as log streams
under AWS's managed policy AmazonSageMakerFullAccess, is left, and a sentence says so. The records
of finished jobs stay: they cost nothing and show what was spent. Notebook instances are listed
only: one of them may be the machine that runs this.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import workshop
from workshop import buckets, costs, jobs, refusals
from workshop.buckets import Bucket
from workshop.refusals import WorkshopError
from workshop.sdk_version import Session

if TYPE_CHECKING:
    import pandas as pd

LESSON_TAG = "lesson"
MANY = 100  # jobs, after which the search among them prints how far it is
STREAM = re.compile(r"algo-\d+-\d+")  # how SageMaker names a host's log, after the job and a slash


class CleanupError(WorkshopError):
    """Something could not be listed or deleted; the message says what, why and what to do."""


@dataclass(frozen=True)
class Job:
    """A training job with our tag: the lesson that made it, and AWS's description of it."""

    lesson: str
    description: jobs.Description

    @property
    def name(self) -> str:
        return str(self.description["TrainingJobName"])

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
class Inventory:
    """All that is ours in one account and region.

    `bucket` is None when there is none with our tag, and `other_bucket` then names one that has our
    name but not our tag. `borrowed` names one that somebody else made, with things of ours in it.
    `objects` counts old versions and delete markers, too. Sizes are in bytes, `upload_size` is that
    of the parts that arrived. `not_listed` names what the role may not list, with the permission.
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
    borrowed: str | None = None
    not_listed: tuple[str, ...] = ()

    @property
    def running(self) -> tuple[Job, ...]:
        return tuple(job for job in self.jobs if job.runs)

    def table(self) -> pd.DataFrame:
        """Return one row per kind of thing: how many, how it bills, US dollars per hour or month.

        Dollars are missing where they are not known: AWS does not return a log stream's size.
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
    """Return the US dollars an hour of a job's instances; None where their price is unknown."""
    resources = job.description["ResourceConfig"]
    with contextlib.suppress(costs.CostError):
        return float(resources["InstanceCount"] * costs.price(resources["InstanceType"]).usd)
    return None


def _is_up(instance: Instance) -> bool:
    return instance.status not in ("Stopped", "Failed")


def _sum(amounts: Sequence[float | None]) -> float | None:
    """Return the sum, or None where one is unknown: a sum that leaves something out would be
    wrong."""
    known = [amount for amount in amounts if amount is not None]
    return sum(known, 0.0) if len(known) == len(amounts) else None


# --- looking --------------------------------------------------------------------------------------


def inventory(session: Session) -> Inventory:
    """Return all that is ours in the account and region of ``session``. Changes nothing.

    Raises CleanupError when a permission to look is missing.
    """
    boto = session.boto_session
    sagemaker_client, s3 = boto.client("sagemaker"), boto.client("s3")
    with _explained("look for the training jobs"):
        ours = tuple(_jobs(sagemaker_client))
    with _explained("look at the bucket"):
        there = _buckets(boto)
        sizes = [entry.size for bucket in there.ours for entry in buckets.versions(s3, bucket)]
        parts = [
            buckets.size_of_parts(s3, bucket.name, upload)
            for bucket in there.ours
            for upload in buckets.uploads(s3, bucket)
        ]
        not_listed = tuple(_not_listed(s3, there.ours))
    with _explained("look for the log streams"):
        streams = sum(1 for _ in _streams(boto.client("logs"), ours))
    with _explained("look for notebook instances"):
        instances = tuple(_instances(sagemaker_client))
    return Inventory(
        jobs=ours,
        bucket=next((bucket.name for bucket in there.ours if bucket.made), None),
        other_bucket=there.left_alone,
        objects=len(sizes),
        size=sum(sizes),
        uploads=len(parts),
        upload_size=sum(parts),
        streams=streams,
        instances=instances,
        borrowed=next((bucket.name for bucket in there.ours if not bucket.made), None),
        not_listed=not_listed,
    )


def _not_listed(s3: Any, ours: Sequence[Bucket]) -> Iterator[str]:
    for bucket in ours:
        if not buckets.may_list_versions(s3, bucket.name):
            yield "old versions of objects (s3:ListBucketVersions)"
        if not buckets.may_list_uploads(s3, bucket.name):
            yield "unfinished uploads (s3:ListBucketMultipartUploads)"


def remaining(session: Session) -> dict[str, int]:
    """Return what of ours is still to be stopped or deleted, by kind; empty when nothing is.

    The records of ended jobs and the notebook instances are not in it, because ``delete`` keeps
    them. Raises CleanupError as ``inventory`` does.
    """
    left = inventory(session)
    counts = {
        "running jobs": len(left.running),
        "objects": left.objects,
        "unfinished uploads": left.uploads,
        "buckets": int(bool(left.bucket)),
        "log streams": left.streams,
    }
    return {what: count for what, count in counts.items() if count}


def cost_by_lesson(ours: Sequence[Job], now: datetime) -> pd.DataFrame:
    """Return what the jobs cost, a row per lesson: jobs, seconds of machines, US dollars.

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
    return buckets.is_ours([{"Key": key, "Value": value} for key, value in tags.items()])


def _buckets(boto: Any) -> buckets.Buckets:
    account = boto.client("sts").get_caller_identity()["Account"]
    return buckets.find(boto.client("s3"), account)


def _streams(logs: Any, ours: Sequence[Job]) -> Iterator[str]:
    for job in ours:
        began = int(job.description["CreationTime"].timestamp()) * 1000
        for stream in jobs.described_streams(logs, job.name):
            name, written = stream["logStreamName"], stream["creationTime"]
            # A name is no proof: there may be streams of another kind, or of an earlier job.
            if STREAM.fullmatch(name.removeprefix(f"{job.name}/")) and written >= began:
                yield name


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


def delete(session: Session, what: Inventory) -> tuple[str, ...]:
    """Stop and delete ``what`` was listed, and print what is deleted; safe to run again.

    All that is in the bucket by now is deleted with it. Returns the kinds, as ``remaining`` names
    them, that stay because the role may not delete them; what keeps billing by the second is never
    among them. Raises CleanupError when something cannot be deleted for another reason; what is
    deleted by then stays deleted.
    """
    boto = session.boto_session
    with _explained("stop the running jobs"):
        _stop(session, what.running)
    undeletable: list[str] = []
    with _explained("delete the log streams"), _left_if_forbidden("log streams", undeletable):
        _delete_streams(boto.client("logs"), what.jobs)
    with _explained("look at the bucket"):  # since it was listed, it may have lost its tag
        there = _buckets(boto).ours
    for bucket in there:
        if bucket.name == (what.bucket if bucket.made else what.borrowed):
            undeletable += _clear(boto.client("s3"), bucket)
    return tuple(undeletable)


@contextlib.contextmanager
def _left_if_forbidden(kind: str, undeletable: list[str]) -> Iterator[None]:
    """Print a sentence, and note the kind, where the role lacks the permission to delete it."""
    from botocore.exceptions import ClientError

    try:
        yield
    except ClientError as error:
        permission = refusals.missing_permission(error)
        if not permission:
            raise
        undeletable.append(kind)
        print(
            f"left the {kind}: your role lacks the permission {permission}; somebody with it can "
            "run the cleanup again"
        )


def _stop(session: Session, running: Sequence[Job]) -> None:
    from botocore.exceptions import ClientError

    client = session.boto_session.client("sagemaker")
    for job in running:
        try:
            client.stop_training_job(TrainingJobName=job.name)
        except ClientError as error:
            if "in status" not in error.response["Error"]["Message"]:
                raise  # with "in status", the job has ended meanwhile
    if running:  # until they have ended they write logs, and then a model
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


def _clear(s3: Any, bucket: Bucket) -> list[str]:
    """Delete what is ours in a bucket, and the bucket if we made it; return what must stay."""
    undeletable: list[str] = []
    with _explained("delete the unfinished uploads"):
        if count := buckets.abort_uploads(s3, bucket):
            print(f"deleted {_number(count, 'unfinished upload')}")
    with _explained("delete the objects"):
        for count in buckets.empty(s3, bucket):
            print(f"deleted {_number(count, 'object')}")
    if not bucket.made:
        print(f"left the bucket {bucket.name}, which the workshop did not make or may not delete")
        return undeletable
    deleting = f"delete the bucket {bucket.name}"
    with _explained(deleting), _left_if_forbidden("buckets", undeletable):
        with contextlib.suppress(s3.exceptions.NoSuchBucket):
            s3.delete_bucket(Bucket=bucket.name)
        s3.get_waiter("bucket_not_exists").wait(Bucket=bucket.name)
        print(f"deleted the bucket {bucket.name}")
    return undeletable


def _number(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


# --- refusals -------------------------------------------------------------------------------------


AGAIN = "then run the cleanup again: what is deleted stays deleted."


@contextlib.contextmanager
def _explained(doing: str) -> Iterator[None]:
    """Turn what AWS refuses or leaves unanswered into one sentence; `doing` follows "could not"."""
    try:
        yield
    except refusals.failures() as error:
        raise CleanupError(f"The cleanup could not {doing}: {_reason(error)}") from error
    except (WorkshopError, jobs.JobError) as error:
        why = str(error).rstrip(".")
        raise CleanupError(f"The cleanup could not {doing}: {why}; {AGAIN}") from error


def _reason(error: Exception) -> str:
    if refusals.code_of(error) == "BucketNotEmpty":
        return f"something has just been put into it. Look at it, {AGAIN}"
    return f"{refusals.reason(error)}, {AGAIN}"


# --- the command line -----------------------------------------------------------------------------


def report(what: Inventory) -> list[str]:
    """Return an inventory as lines of text."""
    lines = [what.table().to_string(na_rep="?")]
    lines += [f"running: {job.name} (lesson {job.lesson})" for job in what.running]
    for instance in what.instances:
        lines.append(f"notebook instance: {instance.name}, {instance.kind}, {instance.status}")
    if what.bucket:
        lines.append(f"bucket: {what.bucket}")
    if what.borrowed:
        lines.append(f"in a bucket that stays, with the rest in it: {what.borrowed}")
    lines += [f"not listed, because your role may not: {one}" for one in what.not_listed]
    if what.other_bucket:
        lines.append(f"left alone, because it lacks the workshop's tag: {what.other_bucket}")
    return lines


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line, and return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--delete", action="store_true", help="delete what is listed")
    arguments = parser.parse_args(argv)
    try:
        session = workshop.session(make_bucket=False)
        what = inventory(session)
        print(*report(what), sep="\n")
        undeletable = delete(session, what) if arguments.delete else ()
        left = remaining(session)
    except WorkshopError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted: what is deleted stays deleted; the next run lists the rest again.")
        return 130
    parts = ", ".join(f"{count} {kind}" for kind, count in left.items())
    print(f"left: {parts}" if left else "this workshop has nothing left to delete")
    return 1 if arguments.delete and left.keys() - set(undeletable) else 0


if __name__ == "__main__":
    sys.exit(main())
