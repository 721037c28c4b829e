"""SageMaker's training API: validates requests, answers in AWS's words, hands the work on.

A subclass of moto's SageMaker, whose dispatch, parsing and botocore-model serialisation it uses.
Only the operations in `TRAINING` are ours and only those in `FROM_MOTO` are moto's; every other one
is refused by name, because moto would invent its results.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from datetime import datetime, timezone
from typing import Any

from botocore.exceptions import ClientError
from moto.core.exceptions import ServiceException
from moto.core.responses import ActionResult, EmptyResult
from moto.core.utils import get_service_model
from moto.iam.models import iam_backends
from moto.sagemaker.responses import SageMakerResponse

from . import channels, first_party, spot
from .executor import Executor
from .instance import namespaces_available
from .metrics import Expression
from .quotas import over_quota
from .run import Platform, client
from .store import FINAL, DuplicateName, Job, Store
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
# so that `fit` returns with the job. Any later one, and any other client's, is answered at once.
FIRST_DESCRIBE_HOLD_S = 45  # below botocore's read timeout of 60 s
SDK_USER_AGENT = "AWS-SageMaker-Python-SDK"

DEFAULT_MAX_RUNTIME_S = 24 * 3600
PAGE = 10


class ApiError(ServiceException):
    """An error of SageMaker's API; moto looks one of ours up in the service's own model."""


class NotInStub(Exception):
    """Something of SageMaker's that nobody wrote yet; the message names it."""


class TrainingProvider(SageMakerResponse):
    """Handles one request; `store` and `executor` are set on the class made by `bind`."""

    store: Store
    executor: Executor
    endpoint: str
    quotas: dict[str, int]

    # ---- Dispatch ------------------------------------------------------------------------------

    def call_action(self) -> Any:
        operation = self._get_action()
        try:
            if operation not in TRAINING | FROM_MOTO:
                raise NotInStub(f"The stub AWS does not implement sagemaker:{operation}.")
            self._validate(operation)
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
        request["StoppingCondition"].setdefault("MaxRuntimeInSeconds", DEFAULT_MAX_RUNTIME_S)
        check_complete(request)
        check_spot(request)
        check_supported(request)
        define_metrics(request)
        check_metrics(request)
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
        self.executor.start(job)
        return ActionResult({"TrainingJobArn": job.arn})

    def describe_training_job(self) -> ActionResult:
        job = self._job(self.request_body["TrainingJobName"])
        if SDK_USER_AGENT in self.headers.get("User-Agent", "") and not job.first_describe_answered:
            job.first_describe_answered = True
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
        kept = [tag for tag in job.request.get("Tags", []) if tag["Key"] not in request["TagKeys"]]
        job.request["Tags"] = kept
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
        s3 = client("s3", job, Platform(self.store, self.endpoint, self.region))
        for channel in channels.channels_of(job):
            uri = channel.uri
            detail = ""
            try:
                found = channels.list_objects(s3, channel)
            except channels.ChannelError:
                continue  # a manifest that is none fails the job when its data is downloaded
            except ClientError as error:
                found = []
                detail = f" Error message from S3: {error.response['Error']['Message']}"
            if not found:
                bucket, _ = channels.parse_s3_uri(uri)
                raise invalid(
                    f'No S3 objects found under S3 URL "{uri}" given in input data source. Please '
                    f"ensure that the bucket exists in the selected region ({self.region}), that "
                    "objects exist under that S3 prefix, and that the role "
                    f'"{job.request["RoleArn"]}" has "s3:ListBucket" permissions on bucket '
                    f'"{bucket}".{detail}'
                )


def bind(
    store: Store, executor: Executor, endpoint: str, quotas: dict[str, int]
) -> type[TrainingProvider]:
    """Return a provider class for one running stub (moto makes an instance for each request)."""
    members = {"store": store, "executor": executor, "endpoint": endpoint, "quotas": quotas}
    return type("BoundTrainingProvider", (TrainingProvider,), members)


def trusted_services(role: Any) -> set[str]:
    """Return the services that a role's trust policy lets assume it."""
    services: set[str] = set()
    for statement in json.loads(role.assume_role_policy_document)["Statement"]:
        principal = statement.get("Principal", {}).get("Service", [])
        if statement["Effect"] == "Allow":
            services.update([principal] if isinstance(principal, str) else principal)
    return services


# ---- Errors ------------------------------------------------------------------------------------


def invalid(message: str) -> ApiError:
    return ApiError("ValidationException", message)


def name_taken(job: Job) -> ApiError:
    return ApiError(
        "ResourceInUse",
        "Training job names must be unique within an AWS account and region, and a training job "
        f"with this name already exists ({job.arn})",
    )


def check_complete(request: dict[str, Any]) -> None:
    """Raise ValidationException for what the model leaves open because there are two ways."""
    resources, specification = request["ResourceConfig"], request["AlgorithmSpecification"]
    if "InstanceGroups" not in resources and not (
        "InstanceType" in resources and resources.get("InstanceCount", 0) >= 1
    ):
        raise invalid(
            "Invalid ResourceConfig. InstanceType and an InstanceCount of at least 1 are required "
            "when InstanceGroups is not specified"
        )
    if not specification.keys() & {"TrainingImage", "AlgorithmName"}:
        raise invalid(
            "Invalid AlgorithmSpecification. One of TrainingImage and AlgorithmName is required"
        )


def define_metrics(request: dict[str, Any]) -> None:
    """Give a job of the XGBoost image the metric definitions that SageMaker gives it.

    Raises:
        ApiError: It brings its own.
    """
    if not first_party.defines_metrics(request):
        return
    specification = request["AlgorithmSpecification"]
    if specification.get("MetricDefinitions"):
        raise invalid(first_party.CANNOT_OVERRIDE)
    specification["MetricDefinitions"] = first_party.metric_definitions()


def check_metrics(request: dict[str, Any]) -> None:
    """Raise ValidationException where the expression of a metric is none."""
    for definition in request["AlgorithmSpecification"].get("MetricDefinitions", []):
        try:
            Expression(definition["Regex"])
        except ValueError as error:
            raise invalid(
                f"Invalid MetricDefinitions. The Regex of the metric '{definition['Name']}' is not "
                f"a valid regular expression: {error}"
            ) from None


def check_spot(request: dict[str, Any]) -> None:
    """Raise ValidationException where the waiting time of a spot job is missing or too short."""
    limits = request["StoppingCondition"]
    wait = limits.get("MaxWaitTimeInSeconds")
    if not request.get("EnableManagedSpotTraining"):
        if wait is not None:
            raise invalid(
                "Invalid MaxWaitTimeInSeconds. MaxWaitTimeInSeconds can only be specified when "
                "EnableManagedSpotTraining is set to true"
            )
    elif wait is None or wait < limits["MaxRuntimeInSeconds"]:
        raise invalid(
            "Invalid MaxWaitTimeInSeconds. It must be present and be greater than or equal to "
            "MaxRuntimeInSeconds"
        )


def check_supported(request: dict[str, Any]) -> None:
    """Refuse by name what AWS can do and this stub cannot, rather than ignore it.

    Raises:
        NotInStub: The request asks for it.
    """
    specification = request["AlgorithmSpecification"]
    alone = not namespaces_available()
    asked = {
        "an algorithm by name": "AlgorithmName" in specification,
        "instance groups": "InstanceGroups" in request["ResourceConfig"],
        "several instances where hosts have no namespaces": (
            alone and request["ResourceConfig"].get("InstanceCount", 1) > 1
        ),
        "a checkpoint path of its own where hosts have no namespaces": (
            alone and "LocalPath" in request.get("CheckpointConfig", {})
        ),
    }
    for channel in request.get("InputDataConfig", []):
        source = channel["DataSource"].get("S3DataSource", {})
        kind = source.get("S3DataType", "S3Prefix")
        asked["a channel that is not on S3"] = not source
        asked[f"S3DataType {kind}"] = kind not in ("S3Prefix", "ManifestFile")
        wrapper = channel.get("RecordWrapperType", "None")
        asked[f"RecordWrapperType {wrapper}"] = wrapper != "None"
        asked["a shuffled channel"] = "ShuffleConfig" in channel
    for what, wanted in asked.items():
        if wanted:
            raise NotInStub(f"The stub AWS cannot run a training job with {what}.")


# ---- Answers -----------------------------------------------------------------------------------

ECHOED = (
    "HyperParameters",
    "AlgorithmSpecification",
    "RoleArn",
    "InputDataConfig",
    "OutputDataConfig",
    "ResourceConfig",
    "StoppingCondition",
    "Environment",
    "CheckpointConfig",
    "VpcConfig",
    "DebugHookConfig",
    "ProfilerConfig",
    "ExperimentConfig",
    "RetryStrategy",
)


def describe(job: Job) -> dict[str, Any]:
    """DescribeTrainingJob: what was asked for, what was measured, and nothing else."""
    answer: dict[str, Any] = {
        "TrainingJobName": job.name,
        "TrainingJobArn": job.arn,
        "TrainingJobStatus": job.status,
        "SecondaryStatus": job.secondary_status,
        "CreationTime": job.creation_time,
        "LastModifiedTime": job.last_modified_time,
        "SecondaryStatusTransitions": job.transitions,
        "EnableNetworkIsolation": job.request.get("EnableNetworkIsolation", False),
        "EnableInterContainerTrafficEncryption": job.request.get(
            "EnableInterContainerTrafficEncryption", False
        ),
        "EnableManagedSpotTraining": job.request.get("EnableManagedSpotTraining", False),
    }
    answer |= {name: job.request[name] for name in ECHOED if name in job.request}
    # Empty where the job has no key, as AWS answers; `Estimator.attach` relies on it.
    answer["OutputDataConfig"] = {"KmsKeyId": "", **answer["OutputDataConfig"]}
    ended = job.secondary_status in FINAL
    measured = {
        "TrainingStartTime": job.training_start_time,
        "TrainingEndTime": job.training_end_time,
        "FailureReason": job.failure_reason,
        "ModelArtifacts": job.model_artifact and {"S3ModelArtifacts": job.model_artifact},
        "FinalMetricDataList": list(job.metrics.values()) if ended else None,
    }
    answer |= {name: value for name, value in measured.items() if value}
    if job.training_end_time:
        answer["TrainingTimeInSeconds"] = max(1, round(job.training_seconds))
        answer["BillableTimeInSeconds"] = billable_seconds(job)
    return answer


def billable_seconds(job: Job) -> int:
    """Seconds to pay for, of one instance. For a spot job reduced by an assumed price ratio."""
    ratio = spot.PRICE_RATIO if job.request.get("EnableManagedSpotTraining") else 1
    return max(1, round(job.training_seconds * ratio))


def summary(job: Job) -> dict[str, Any]:
    """Return a job's entry in ListTrainingJobs."""
    entry = {
        "TrainingJobName": job.name,
        "TrainingJobArn": job.arn,
        "CreationTime": job.creation_time,
        "LastModifiedTime": job.last_modified_time,
        "TrainingJobStatus": job.status,
        "SecondaryStatus": job.secondary_status,
    }
    if job.training_end_time:
        entry["TrainingEndTime"] = job.training_end_time
    return entry


def selector(request: dict[str, Any]) -> Any:
    """Return a predicate for the filters of ListTrainingJobs."""

    def moment(name: str) -> datetime | None:
        value = request.get(name)
        return None if value is None else datetime.fromtimestamp(value, timezone.utc)

    after, before = moment("CreationTimeAfter"), moment("CreationTimeBefore")
    modified_after = moment("LastModifiedTimeAfter")
    modified_before = moment("LastModifiedTimeBefore")

    def selected(job: Job) -> bool:
        return (
            request.get("NameContains", "").lower() in job.name.lower()
            and request.get("StatusEquals", job.status) == job.status
            and (after is None or job.creation_time > after)
            and (before is None or job.creation_time < before)
            and (modified_after is None or job.last_modified_time > modified_after)
            and (modified_before is None or job.last_modified_time < modified_before)
        )

    return selected


def sort_jobs(jobs: Iterable[Job], request: dict[str, Any]) -> list[Job]:
    """Sort as ListTrainingJobs does: newest first unless asked otherwise."""
    keys = {
        "CreationTime": lambda job: (job.creation_time, job.name),
        "Name": lambda job: job.name,
        "Status": lambda job: (job.status, job.name),
    }
    by = request.get("SortBy", "CreationTime")
    descending = request.get("SortOrder", "Descending") == "Descending"
    return sorted(jobs, key=keys[by], reverse=descending)


def encode_token(position: int) -> str:
    return base64.urlsafe_b64encode(str(position).encode()).decode()


def decode_token(token: str | None) -> int:
    if token is None:
        return 0
    try:
        return int(base64.urlsafe_b64decode(token))
    except ValueError:
        raise invalid("Invalid NextToken.") from None


def merge_tags(old: list[dict[str, str]], new: list[dict[str, str]]) -> list[dict[str, str]]:
    """`old` with `new` laid over it, by key."""
    merged = {tag["Key"]: tag for tag in [*old, *new]}
    return list(merged.values())
