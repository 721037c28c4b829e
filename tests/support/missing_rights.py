"""Each right of the workshop's policy, and what a learner reads when the role lacks it.

    python -m tests.support.missing_rights        writes scripts/notebook_instance/missing_rights.md

A *probe* does what a lesson does with that right, by the shared scripts where they have a function
for it and else by the SDK's call. It runs under a role with the whole policy but for that right.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from boto3.exceptions import Boto3Error
from botocore.exceptions import ClientError

import workshop
from tests.support.stub_jobs import BUCKET, IMAGE, REPOSITORY, Account
from tests.support.stub_roles import ADMINISTRATOR, WHOLE, Lab, actions, lab, shipped
from workshop import buckets, cleanup, jobs

PAGE = REPOSITORY / "scripts" / "notebook_instance" / "missing_rights.md"
ACCOUNT = "123456789012"

# What AWS itself does with the role, so that no call of ours can show it. (SageMaker's developer
# guide, "SageMaker Roles", execution role permissions of CreateTrainingJob.)
ONLY_AWS = {
    "cloudwatch:PutMetricData": "the job's machine sends the metrics that it finds in the log",
    "ecr:BatchCheckLayerAvailability": "SageMaker pulls the image of the job",
    "ecr:BatchGetImage": "SageMaker pulls the image of the job",
    "ecr:GetAuthorizationToken": "SageMaker signs in where the image lies",
    "ecr:GetDownloadUrlForLayer": "SageMaker pulls the image of the job",
    "logs:CreateLogGroup": "the first job of a region makes the log group",
    "logs:CreateLogStream": "the job's machine begins its log",
    "logs:PutLogEvents": "the job's machine writes its log",
}

# Needed, as the probe below shows, where no lesson brings it about.
ONLY_WHERE = {"s3:DeleteObjectVersion": "somebody has switched versioning on in the bucket"}


@dataclass
class Place:
    """Where a probe runs: the stub, the role, what lies there. `role` is the right it lacks."""

    lab: Lab
    role: str
    job: str

    @property
    def session(self) -> Any:
        return self.lab.look(self.role)

    def client(self, service: str) -> Any:
        return self.lab.boto(self.role).client(service)


Probe = Callable[[Place], object]


@dataclass
class Right:
    """A probe, and the state of the bucket that it starts from: "ready", "missing", "versioned"."""

    probe: Probe
    does: str
    bucket: str = field(default="ready")


def ensure_bucket(place: Place) -> None:
    workshop.ensure_bucket(place.client("s3"), BUCKET, ACCOUNT)


def upload_data(place: Place) -> None:
    workshop.ensure_data(place.lab.session(place.role))


def find(place: Place) -> None:
    cleanup.inventory(place.session)


def clean_up(place: Place) -> None:
    cleanup.delete(place.session, cleanup.inventory(place.session))


def order_a_job(place: Place) -> None:
    account = Account(place.lab.environments[WHOLE], place.lab.role_arn(place.role))
    request = account.request("", image=IMAGE, Tags=workshop.tags("03"))
    place.client("sagemaker").create_training_job(**request)


def stop_a_job(place: Place) -> None:
    try:
        place.client("sagemaker").stop_training_job(TrainingJobName=place.job)
    except ClientError as error:
        if "in status" not in str(error):  # it has ended long ago
            raise


def read_metrics(place: Place) -> None:
    from sagemaker.analytics import TrainingJobAnalytics

    session = place.lab.session(place.role)
    TrainingJobAnalytics(place.job, ["loss"], sagemaker_session=session, period=1).dataframe()


def find_the_role(place: Place) -> None:
    """Show that the SDK goes on without this right, with a warning; it fails where the role has a
    path."""
    said = io.StringIO()
    handler = logging.StreamHandler(said)
    logger = logging.getLogger("sagemaker")
    logger.addHandler(handler)
    with by_proxy(place.lab):
        arn = workshop.execution_role(place.lab.session(place.role))
    logger.removeHandler(handler)
    assert arn == place.lab.role_arn(place.role)
    if said.getvalue():
        raise RuntimeWarning(said.getvalue().strip())


@contextlib.contextmanager
def by_proxy(here: Lab) -> Iterator[None]:
    """With the way to the stub for what names AWS's own address."""
    before = dict(os.environ)
    names = ("HTTPS_PROXY", "NO_PROXY", "AWS_CA_BUNDLE")
    os.environ.update({name: here.environments[WHOLE][name] for name in names})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def call(service: str, method: str, **arguments: Any) -> Probe:
    return lambda place: getattr(place.client(service), method)(**arguments)


RULES = {"Rules": [{"ID": "a", "Status": "Enabled", "Filter": {"Prefix": "jobs/"}}]}
RULES["Rules"][0]["Expiration"] = {"Days": 30}  # type: ignore[index]
READ_RULES = call("s3", "get_bucket_lifecycle_configuration", Bucket=BUCKET)
PUT_RULES = call(
    "s3", "put_bucket_lifecycle_configuration", Bucket=BUCKET, LifecycleConfiguration=RULES
)

RIGHTS = {
    "cloudwatch:GetMetricStatistics": Right(read_metrics, "lesson 06 reads a job's metrics"),
    "iam:GetRole": Right(find_the_role, "each lesson finds the execution role"),
    "iam:PassRole": Right(order_a_job, "`fit` lends the role to the job"),
    "logs:DeleteLogStream": Right(clean_up, "lesson 08 cleans up"),
    "logs:DescribeLogStreams": Right(
        lambda place: jobs.log(place.session, place.job), "a lesson finds a job's log"
    ),
    "logs:GetLogEvents": Right(
        lambda place: jobs.log(place.session, place.job), "a lesson reads a job's log"
    ),
    "s3:AbortMultipartUpload": Right(clean_up, "lesson 08 cleans up"),
    "s3:CreateBucket": Right(ensure_bucket, "the first lesson makes the bucket", "missing"),
    "s3:DeleteBucket": Right(clean_up, "lesson 08 cleans up"),
    "s3:DeleteObject": Right(clean_up, "lesson 08 cleans up"),
    "s3:DeleteObjectVersion": Right(
        clean_up, "lesson 08 cleans up where somebody has switched versioning on", "versioned"
    ),
    "s3:GetBucketPublicAccessBlock": Right(
        call("s3", "get_public_access_block", Bucket=BUCKET), "lesson 01 looks at the locks"
    ),
    "s3:GetBucketTagging": Right(ensure_bucket, "each lesson looks for the bucket's tag"),
    "s3:GetLifecycleConfiguration": Right(READ_RULES, "lesson 08 reads the lifecycle rules"),
    "s3:GetObject": Right(upload_data, "each lesson looks whether its data is there"),
    "s3:ListBucket": Right(ensure_bucket, "each lesson looks for the bucket"),
    "s3:ListBucketMultipartUploads": Right(find, "lesson 08 looks for unfinished uploads"),
    "s3:ListBucketVersions": Right(find, "lesson 08 looks for objects and their old versions"),
    "s3:ListMultipartUploadParts": Right(find, "lesson 08 looks how large they are"),
    "s3:PutBucketPublicAccessBlock": Right(ensure_bucket, "the first lesson shuts it", "missing"),
    "s3:PutLifecycleConfiguration": Right(PUT_RULES, "lesson 08 sets a lifecycle rule"),
    "s3:PutObject": Right(upload_data, "a lesson uploads its data"),
    "s3:TagResource": Right(ensure_bucket, "the first lesson tags the bucket", "missing"),
    "sagemaker:AddTags": Right(order_a_job, "`fit` tags the job"),
    "sagemaker:CreateTrainingJob": Right(order_a_job, "`fit` orders the job"),
    "sagemaker:DescribeTrainingJob": Right(
        lambda place: jobs.describe(place.session, place.job), "a lesson looks at a job"
    ),
    "sagemaker:ListNotebookInstances": Right(find, "lesson 08 looks for notebook instances"),
    "sagemaker:ListTags": Right(find, "lesson 08 asks whose a job is"),
    "sagemaker:ListTrainingJobs": Right(find, "lesson 08 looks for jobs"),
    "sagemaker:StopTrainingJob": Right(stop_a_job, "lesson 06 stops a job"),
}


LOOKS = {right.probe for right in RIGHTS.values()} - {ensure_bucket, upload_data, clean_up}


class Workplace:
    """A stub with a finished job on it, and the means to put the bucket back into its state."""

    def __init__(self, here: Lab) -> None:
        self.lab = here
        administrator = here.boto(ADMINISTRATOR)
        self._s3, self._logs = administrator.client("s3"), administrator.client("logs")
        self._state = ""  # that of the bucket, as far as it is known
        self._account = Account(here.environments[WHOLE], here.role_arn(WHOLE))
        self.job = self._finished_job()

    def _finished_job(self) -> str:
        job = self._account.run("print('loss=1;')", image=IMAGE, Tags=workshop.tags("03"))
        return job["TrainingJobName"]

    def prepare(self, state: str) -> None:
        """Put the bucket into its state: "missing", "ready" with all that can be in it, or
        "versioned", with an old version in it too."""
        if state == self._state:
            return
        if buckets.exists(self._s3, BUCKET, ACCOUNT):
            buckets.abort_uploads(self._s3, buckets.Bucket(BUCKET))
            for _ in buckets.empty(self._s3, buckets.Bucket(BUCKET)):
                """Each step deletes some objects."""
            self._s3.delete_bucket(Bucket=BUCKET)
        if state == "missing":
            return
        workshop.ensure_bucket(self._s3, BUCKET, ACCOUNT)
        self._s3.put_object(Bucket=BUCKET, Key="a-file", Body=b"1")
        self._s3.put_bucket_lifecycle_configuration(Bucket=BUCKET, LifecycleConfiguration=RULES)
        where = {"Bucket": BUCKET, "Key": "broken-off"}
        upload = self._s3.create_multipart_upload(**where)["UploadId"]
        self._s3.upload_part(**where, UploadId=upload, PartNumber=1, Body=b"x")
        if state == "versioned":
            switched = {"VersioningConfiguration": {"Status": "Enabled"}}
            self._s3.put_bucket_versioning(Bucket=BUCKET, **switched)
            self._s3.put_object(Bucket=BUCKET, Key="a-file", Body=b"2")

    def read(self, action: str, role: str) -> str | None:
        """Return what the learner reads whose role lacks `role` (an action), doing what needs
        `action`.

        None when all goes well.
        """
        right = RIGHTS[action]
        self.prepare(right.bucket)
        self._state = right.bucket if right.probe in LOOKS else ""
        if right.bucket != "missing" and not jobs.streams(self._logs, self.job):
            self.job = self._finished_job()  # a probe has cleaned up
        try:
            right.probe(Place(self.lab, role, self.job))
        except (ClientError, Boto3Error, workshop.WorkshopError, RuntimeWarning) as error:
            return plain(f"{type(error).__name__}: {error}", self.job)
        return None


def plain(text: str, job: str) -> str:
    """Return a message without what differs from run to run."""
    text = re.sub(r"arn:aws:sts::\d+:assumed-role/[\w-]+/\w+", "(you)", text)
    text = text.replace(job, "JOB").replace(BUCKET, "BUCKET").replace(str(REPOSITORY), "…")
    text = re.sub(r"without-[a-z0-9]+-\w+", "ROLE", text)
    text = re.sub(r"job-\d+-\d+", "JOB", text)
    text = re.sub(r"algo-1-\d+", "algo-1-TIME", text)
    return " ".join(text.split())


def page(read: dict[str, str | None]) -> str:
    """Return the page in Markdown: a row for each action."""
    rows = [f"| `{action}` | {RIGHTS[action].does} | {read[action]} |" for action in sorted(read)]
    aws = [f"| `{action}` | {why} |" for action, why in sorted(ONLY_AWS.items())]
    return "\n".join(
        [
            "# What a missing right looks like",
            "",
            "Each right of [execution_role_policy.json](execution_role_policy.json), who needs it, "
            "and what you read when the role lacks that one. Written by "
            "`python -m tests.support.missing_rights`, which takes one right after another away "
            "and does what the lessons do.",
            "",
            "| right | needed when | without it you read |",
            "|---|---|---|",
            *rows,
            "",
            "These are used by AWS itself, with the role, while a job runs; a job that lacks one "
            "fails, or has no log or no metrics:",
            "",
            "| right | used when |",
            "|---|---|",
            *aws,
            "",
        ]
    )


def main() -> None:
    os.environ.setdefault("SAGEMAKER_SUPPRESS_V2_WARNING", "1")
    with lab() as here:
        workplace = Workplace(here)
        read: dict[str, str | None] = {}
        for action in actions(shipped()):
            if action not in ONLY_AWS:
                read[action] = workplace.read(action, role=action)
                print(f"{action}: {read[action]}", flush=True)
    Path(PAGE).write_text(page(read), encoding="utf-8")


if __name__ == "__main__":
    main()
