"""SageMaker's training API: validates requests, answers in AWS's words, hands the work on.

A subclass of moto's SageMaker, whose dispatch, parsing and botocore-model serialisation it uses.
Only the operations in `TRAINING` are ours and only those in `FROM_MOTO` are moto's; every other one
is refused by name, because moto would invent its results.
"""

from __future__ import annotations

import json
import time
from typing import Any

from botocore.exceptions import ClientError
from moto.core.exceptions import ServiceException
from moto.core.responses import ActionResult, EmptyResult
from moto.core.utils import get_service_model
from moto.iam.models import iam_backends
from moto.sagemaker.responses import SageMakerResponse

from . import channels, warm_pools
from .answers import decode_token, describe, encode_token, merge_tags, selector, sort_jobs, summary
from .errors import ApiError, NotInStub, invalid
from .executor import Executor
from .members import TREATMENT, refused
from .quotas import over_quota
from .requests import check_tags, complete
from .run import Platform, client
from .store import DuplicateName, Job, Store
from .validation import validation_message

TRAINING = frozenset(
    {
        "AddTags",
        "CreateTrainingJob",
        "DeleteTags",
        "DescribeTrainingJob",
        "ListTags",
        "ListTrainingJobs",
        "StopTrainingJob",
    }
)
FROM_MOTO = frozenset(
    {
        "CreateNotebookInstance",
        "CreateNotebookInstanceLifecycleConfig",
        "DeleteNotebookInstance",
        "DeleteNotebookInstanceLifecycleConfig",
        "DescribeNotebookInstance",
        "DescribeNotebookInstanceLifecycleConfig",
        "ListNotebookInstances",
        "StartNotebookInstance",
        "StopNotebookInstance",
    }
)

# The SDK's `fit` describes a job at once and then sleeps 10 s a round, describing again after 30 s.
# Its first DescribeTrainingJob is therefore answered when the job ends or after this many seconds,
# so that `fit` returns with the job. `fit` asks right after it has created the job: a call that
# comes later is a program's that polls. That, any second one, and any other client's is answered at
# once.
FIRST_DESCRIBE_HOLD_S = 45  # below botocore's read timeout of 60 s
FIT_ASKS_WITHIN_S = 1.0
SDK_USER_AGENT = "AWS-SageMaker-Python-SDK"

PAGE = 10


class TrainingProvider(SageMakerResponse):
    """Handles one request; what a stub has of its own is set on the class made by `bind`."""

    store: Store
    executor: Executor
    platform: Platform
    quotas: dict[str, int]

    # ---- Dispatch ------------------------------------------------------------------------------

    def call_action(self) -> Any:
        operation = self._get_action()
        try:
            if operation not in TRAINING | FROM_MOTO:
                raise NotInStub(f"The stub AWS does not implement sagemaker:{operation}.")
            of_jobs = operation in TRAINING and not operation.endswith("Tags")
            if of_jobs and self.region != self.platform.region:
                raise NotInStub(
                    f"The stub AWS has training jobs in {self.platform.region} alone, and this "
                    f"client's region is {self.region}. Start the stub with --region "
                    f"{self.region}, or give the client the other region."
                )
            self._validate(operation)
            if operation in TREATMENT and (path := refused(operation, self.request_body)):
                raise NotInStub(f"The stub AWS does not obey {path} of sagemaker:{operation}.")
            return super().call_action()
        except NotInStub as error:
            # Not by moto's serialiser, which warns of errors that are not in AWS's model.
            body = json.dumps({"__type": "NotImplemented", "message": str(error)})
            return 400, {"x-amzn-ErrorType": "NotImplemented", "status": "400"}, body
        except ServiceException as error:
            return self.serialized(ActionResult(error))

    def _validate(self, operation: str) -> None:
        request = json.loads(self.body or "{}")
        shape = get_service_model("sagemaker").operation_model(operation).input_shape
        message = validation_message(request, shape)
        if message:
            raise invalid(message)

    @property
    def request_body(self) -> dict[str, Any]:
        request: dict[str, Any] = json.loads(self.body or "{}")
        return request

    # ---- Operations ----------------------------------------------------------------------------

    def create_training_job(self) -> ActionResult:
        request = self.request_body
        complete(request)
        name = request["TrainingJobName"]
        job = Job(name, self._arn(name), request)
        if self.store.get(name):
            raise name_taken(job)
        self._check_role(request["RoleArn"])
        self._check_channels(job)
        resources = request["ResourceConfig"]
        excess = over_quota(
            resources["InstanceType"], resources["InstanceCount"], self.store, self.quotas
        )
        if excess:
            raise ApiError("ResourceLimitExceeded", excess)
        try:
            self.store.add(job)
        except DuplicateName:
            raise name_taken(job) from None
        warm_pools.claim(job, self.store)
        self.executor.start(job)
        return ActionResult({"TrainingJobArn": job.arn})

    def describe_training_job(self) -> ActionResult:
        job = self._job(self.request_body["TrainingJobName"])
        first, job.first_describe_answered = not job.first_describe_answered, True
        at_once = time.monotonic() - job.created_at < FIT_ASKS_WITHIN_S
        if first and at_once and SDK_USER_AGENT in self.headers.get("User-Agent", ""):
            self.store.wait_until_final(job, FIRST_DESCRIBE_HOLD_S)
        return ActionResult(describe(job))

    def stop_training_job(self) -> ActionResult:
        job = self._job(self.request_body["TrainingJobName"])
        if not self.store.request_stop(job):
            raise invalid(
                f"The request was rejected because the training job is in status {job.status}."
            )
        return EmptyResult()

    def list_training_jobs(self) -> ActionResult:
        request = self.request_body
        jobs = sort_jobs(filter(selector(request), self.store), request)
        start = decode_token(request.get("NextToken"))
        end = start + request.get("MaxResults", PAGE)
        page: dict[str, Any] = {"TrainingJobSummaries": [summary(job) for job in jobs[start:end]]}
        if end < len(jobs):
            page["NextToken"] = encode_token(end)
        return ActionResult(page)

    def add_tags(self) -> ActionResult:
        request = self.request_body
        job = self._tagged(request["ResourceArn"])
        if job is None:
            return super().add_tags()
        check_tags(request["Tags"])
        job.request["Tags"] = merge_tags(job.request.get("Tags", []), request["Tags"])
        return ActionResult({"Tags": job.request["Tags"]})

    def list_tags(self) -> ActionResult:
        job = self._tagged(self.request_body["ResourceArn"])
        if job is None:
            return super().list_tags()
        return ActionResult({"Tags": job.request.get("Tags", [])})

    def delete_tags(self) -> ActionResult:
        request = self.request_body
        job = self._tagged(request["ResourceArn"])
        if job is None:
            return super().delete_tags()
        remaining = [
            tag for tag in job.request.get("Tags", []) if tag["Key"] not in request["TagKeys"]
        ]
        job.request["Tags"] = remaining
        return EmptyResult()

    # ---- What a request refers to --------------------------------------------------------------

    def _arn(self, name: str) -> str:
        return f"arn:aws:sagemaker:{self.region}:{self.current_account}:training-job/{name}"

    def _job(self, name: str) -> Job:
        job = self.store.get(name)
        if job is None:
            raise invalid("Requested resource not found.")
        return job

    def _tagged(self, arn: str) -> Job | None:
        """Return the training job of an ARN; None when the ARN names something that moto keeps."""
        kind, _, name = arn.rpartition(":")[2].partition("/")
        return self._job(name) if kind == "training-job" else None

    def _check_role(self, role_arn: str) -> None:
        iam = iam_backends[self.current_account]["aws"]
        roles = {role.arn: role for role in iam.roles.values()}
        role = roles.get(role_arn)
        if role is None or "sagemaker.amazonaws.com" not in trusted_services(role):
            raise invalid(
                f"Could not assume role {role_arn}. Please ensure that the role exists and allows "
                "principal 'sagemaker.amazonaws.com' to assume the role."
            )

    def _check_channels(self, job: Job) -> None:
        """SageMaker lists every channel, with the job's role, before it accepts the job."""
        s3 = client("s3", job, self.platform)
        for channel in channels.channels_of(job):
            uri = channel.uri
            detail = ""
            try:
                objects = channels.list_objects(s3, channel)
            except channels.ChannelError:
                continue  # a manifest that is none fails the job when its data is downloaded
            except ClientError as error:
                objects = []
                detail = f" Error message from S3: {error.response['Error']['Message']}"
            if not objects:
                bucket, _ = channels.parse_s3_uri(uri)
                raise invalid(
                    f'No S3 objects found under S3 URL "{uri}" given in input data source. Please '
                    f"ensure that the bucket exists in the selected region ({self.region}), that "
                    "objects exist under that S3 prefix, and that the role "
                    f'"{job.request["RoleArn"]}" has "s3:ListBucket" permissions on bucket '
                    f'"{bucket}".{detail}'
                )


def bind(platform: Platform, executor: Executor, quotas: dict[str, int]) -> type[TrainingProvider]:
    """Return a provider class for one running stub (moto makes an instance for each request)."""
    members = {
        "store": platform.store,
        "platform": platform,
        "executor": executor,
        "quotas": quotas,
    }
    return type("BoundTrainingProvider", (TrainingProvider,), members)


def trusted_services(role: Any) -> set[str]:
    """Return the services that a role's trust policy lets assume it."""
    services: set[str] = set()
    for statement in json.loads(role.assume_role_policy_document)["Statement"]:
        principal = statement.get("Principal", {}).get("Service", [])
        if statement["Effect"] == "Allow":
            services.update([principal] if isinstance(principal, str) else principal)
    return services


def name_taken(job: Job) -> ApiError:
    """Return AWS's error for a name that another job has, finished or not."""
    return ApiError(
        "ResourceInUse",
        "Training job names must be unique within an AWS account and region, and a training job "
        f"with this name already exists ({job.arn})",
    )
