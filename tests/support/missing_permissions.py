"""Each permission of the workshop's policy, and what a learner reads when the role lacks it.

    python -m tests.support.missing_permissions    writes the page of it beside the policy

A *probe* does what a lesson does with that permission: by the shared scripts where they have a
function for it, otherwise by the SDK's call. Its role has the complete policy except that
permission.
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
from tests.support.stub_roles import ADMINISTRATOR, FULL_POLICY, Lab, actions, lab, shipped
from workshop import buckets, cleanup, jobs

PAGE = REPOSITORY / "scripts" / "notebook_instance" / "missing_permissions.md"
ACCOUNT = "123456789012"

# What AWS itself does with the role, so that no call of ours can show it. (SageMaker's developer
# guide, "SageMaker Roles", execution role permissions of CreateTrainingJob.)
ONLY_AWS = {
    "cloudwatch:PutMetricData": "the job's machine sends the metrics that it finds in the log",
    "ecr:BatchCheckLayerAvailability": "SageMaker pulls the image of the job",
    "ecr:BatchGetImage": "SageMaker pulls the image of the job",
    "ecr:GetAuthorizationToken": "SageMaker signs in where the image is",
    "ecr:GetDownloadUrlForLayer": "SageMaker pulls the image of the job",
    "logs:CreateLogGroup": "the first job of a region makes the log group",
    "logs:CreateLogStream": "the job's machine begins its log",
    "logs:PutLogEvents": "the job's machine writes its log",
}

# Needed, as the probe below shows, but in a state that no lesson produces.
ONLY_WHERE = {"s3:DeleteObjectVersion": "somebody has switched versioning on in the bucket"}


@dataclass
class Context:
    """The stub, the role and the job of a probe. `role` is the permission that it lacks."""

    lab: Lab
    role: str
    job: str

    @property
    def session(self) -> Any:
        return self.lab.look(self.role)

    def client(self, service: str) -> Any:
        return self.lab.boto(self.role).client(service)


Probe = Callable[[Context], object]


@dataclass
class Permission:
    """A probe, and the state of the bucket that it starts from: "ready", "missing", "versioned"."""

    probe: Probe
    does: str
    bucket: str = field(default="ready")


def ensure_bucket(context: Context) -> None:
    workshop.ensure_bucket(context.client("s3"), BUCKET, ACCOUNT)


def upload_data(context: Context) -> None:
    workshop.ensure_data(context.lab.session(context.role))


def find(context: Context) -> None:
    print(*cleanup.report(cleanup.inventory(context.session)), sep="\n")


def clean_up(context: Context) -> None:
    cleanup.delete(context.session, cleanup.inventory(context.session))


def order_a_job(context: Context) -> None:
    account = Account(context.lab.environments[FULL_POLICY], context.lab.role_arn(context.role))
    request = account.request("", image=IMAGE, Tags=workshop.tags("03"))
    context.client("sagemaker").create_training_job(**request)


def stop_a_job(context: Context) -> None:
    try:
        context.client("sagemaker").stop_training_job(TrainingJobName=context.job)
    except ClientError as error:
        if "in status" not in str(error):  # it has ended long ago
            raise


def read_metrics(context: Context) -> None:
    from sagemaker.analytics import TrainingJobAnalytics

    session = context.lab.session(context.role)
    TrainingJobAnalytics(context.job, ["loss"], sagemaker_session=session, period=1).dataframe()


def find_the_role(context: Context) -> None:
    """Show that the SDK continues without this permission, with a warning.

    It fails where the role has a path.
    """
    output = io.StringIO()
    handler = logging.StreamHandler(output)
    logger = logging.getLogger("sagemaker")
    logger.addHandler(handler)
    with by_proxy(context.lab):
        arn = workshop.execution_role(context.lab.session(context.role))
    logger.removeHandler(handler)
    assert arn == context.lab.role_arn(context.role)
    if output.getvalue():
        raise RuntimeWarning(output.getvalue().strip())


@contextlib.contextmanager
def by_proxy(here: Lab) -> Iterator[None]:
    """Send requests to AWS's own addresses to the stub, inside the block."""
    before = dict(os.environ)
    names = ("HTTPS_PROXY", "NO_PROXY", "AWS_CA_BUNDLE")
    os.environ.update({name: here.environments[FULL_POLICY][name] for name in names})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def call(service: str, method: str, **arguments: Any) -> Probe:
    return lambda context: getattr(context.client(service), method)(**arguments)


RULES = {"Rules": [{"ID": "a", "Status": "Enabled", "Filter": {"Prefix": "jobs/"}}]}
RULES["Rules"][0]["Expiration"] = {"Days": 30}  # type: ignore[index]
READ_RULES = call("s3", "get_bucket_lifecycle_configuration", Bucket=BUCKET)
PUT_RULES = call(
    "s3", "put_bucket_lifecycle_configuration", Bucket=BUCKET, LifecycleConfiguration=RULES
)

PERMISSIONS = {
    "cloudwatch:GetMetricStatistics": Permission(read_metrics, "lesson 06 reads a job's metrics"),
    "iam:GetRole": Permission(find_the_role, "each lesson finds the execution role"),
    "iam:PassRole": Permission(order_a_job, "`fit` passes the role to the job"),
    "logs:DeleteLogStream": Permission(clean_up, "lesson 12 cleans up"),
    "logs:DescribeLogStreams": Permission(
        lambda context: jobs.log(context.session, context.job), "a lesson finds a job's log"
    ),
    "logs:GetLogEvents": Permission(
        lambda context: jobs.log(context.session, context.job), "a lesson reads a job's log"
    ),
    "s3:AbortMultipartUpload": Permission(clean_up, "lesson 12 cleans up"),
    "s3:CreateBucket": Permission(ensure_bucket, "the first lesson makes the bucket", "missing"),
    "s3:DeleteBucket": Permission(clean_up, "lesson 12 cleans up"),
    "s3:DeleteObject": Permission(clean_up, "lesson 12 cleans up"),
    "s3:DeleteObjectVersion": Permission(
        clean_up, "lesson 12 cleans up where somebody has switched versioning on", "versioned"
    ),
    "s3:GetBucketPublicAccessBlock": Permission(
        call("s3", "get_public_access_block", Bucket=BUCKET), "lesson 01 looks at the locks"
    ),
    "s3:GetBucketTagging": Permission(ensure_bucket, "each lesson looks for the bucket's tag"),
    "s3:GetLifecycleConfiguration": Permission(READ_RULES, "lesson 12 reads the lifecycle rules"),
    "s3:GetObject": Permission(upload_data, "each lesson looks whether its data is there"),
    "s3:ListBucket": Permission(ensure_bucket, "each lesson looks for the bucket"),
    "s3:ListBucketMultipartUploads": Permission(find, "lesson 12 looks for unfinished uploads"),
    "s3:ListBucketVersions": Permission(find, "lesson 12 looks for objects and their old versions"),
    "s3:ListMultipartUploadParts": Permission(find, "lesson 12 looks how large they are"),
    "s3:PutBucketPublicAccessBlock": Permission(
        ensure_bucket, "the first lesson shuts it", "missing"
    ),
    "s3:PutLifecycleConfiguration": Permission(PUT_RULES, "lesson 12 sets a lifecycle rule"),
    "s3:PutObject": Permission(upload_data, "a lesson uploads its data"),
    "s3:TagResource": Permission(ensure_bucket, "the first lesson tags the bucket", "missing"),
    "sagemaker:AddTags": Permission(order_a_job, "`fit` tags the job"),
    "sagemaker:CreateTrainingJob": Permission(order_a_job, "`fit` orders the job"),
    "sagemaker:DescribeTrainingJob": Permission(
        lambda context: jobs.describe(context.session, context.job), "a lesson looks at a job"
    ),
    "sagemaker:ListNotebookInstances": Permission(find, "lesson 12 looks for notebook instances"),
    "sagemaker:ListTags": Permission(find, "lesson 12 asks whose a job is"),
    "sagemaker:ListTrainingJobs": Permission(find, "lesson 12 looks for jobs"),
    "sagemaker:StopTrainingJob": Permission(stop_a_job, "lesson 06 stops a job"),
}


LOOKS = {permission.probe for permission in PERMISSIONS.values()} - {
    ensure_bucket,
    upload_data,
    clean_up,
}


class Workplace:
    """A stub with a finished job, which can put the bucket back into a state."""

    def __init__(self, here: Lab) -> None:
        self.lab = here
        administrator = here.boto(ADMINISTRATOR)
        self._s3, self._logs = administrator.client("s3"), administrator.client("logs")
        self._state = ""  # that of the bucket, as far as it is known
        self._account = Account(here.environments[FULL_POLICY], here.role_arn(FULL_POLICY))
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
        """Do what needs `action` with the role that lacks the action `role`.

        Return what the learner reads, as an error or in what is printed; None when nothing fails.
        """
        permission = PERMISSIONS[action]
        self.prepare(permission.bucket)
        self._state = permission.bucket if permission.probe in LOOKS else ""
        if permission.bucket != "missing" and not jobs.streams(self._logs, self.job):
            self.job = self._finished_job()  # a probe has cleaned up
        printed = io.StringIO()
        try:
            with contextlib.redirect_stdout(printed):
                permission.probe(Context(self.lab, role, self.job))
        except (ClientError, Boto3Error, workshop.WorkshopError, RuntimeWarning) as error:
            return plain(f"{type(error).__name__}: {error}", self.job)
        lines = [line for line in printed.getvalue().splitlines() if action in line]
        return plain(f"it goes on, and prints: {' '.join(lines)}", self.job) if lines else None


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
    rows = [
        f"| `{action}` | {PERMISSIONS[action].does} | {read[action]} |" for action in sorted(read)
    ]
    aws = [f"| `{action}` | {why} |" for action, why in sorted(ONLY_AWS.items())]
    return "\n".join(
        [
            "# The message for each missing permission",
            "",
            "Each permission of [execution_role_policy.json](execution_role_policy.json), when it "
            "is needed, and what you read when the role lacks it. Written by "
            "`python -m tests.support.missing_permissions`, which removes one permission after "
            "another and does what the lessons do.",
            "",
            "| permission | needed when | without it you read |",
            "|---|---|---|",
            *rows,
            "",
            "AWS itself uses these with the role while a job runs; a job that lacks one fails, or "
            "has no log or no metrics:",
            "",
            "| permission | used when |",
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
