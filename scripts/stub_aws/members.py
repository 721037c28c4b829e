"""What becomes of every member of a request: obeyed, echoed, or refused by name.

`TREATMENT` names each member of each operation that the stub answers, by its path in botocore's
model of the API (`InputDataConfig[].ContentType`). A path stands for all that is below it, unless a
longer one is there. A test walks the model, so that a member that a new botocore brings is missed
at once; `fidelity.py` writes the tables of the manual from it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from botocore.model import ListShape, MapShape, Shape, StructureShape

Kind = Literal["obeyed", "echoed", "refused"]


class Treatment(NamedTuple):
    """What becomes of one member.

    Attributes:
        kind: Obeyed; echoed, which is in the answers and has no effect here; or refused by name.
        note: Why, or how, for the manual.
        values: Of an obeyed member the values that are obeyed, where others are refused; of a
            refused one the values that ask for nothing and are accepted.
    """

    kind: Kind
    note: str = ""
    values: tuple[Any, ...] = ()

    def accepts(self, value: Any) -> bool:
        """Return whether a request may have this value."""
        if self.kind == "refused":
            return value in self.values
        return not self.values or value in self.values


OBEYED = Treatment("obeyed")

_CREATE_TRAINING_JOB = {
    "TrainingJobName": OBEYED,
    "HyperParameters": OBEYED,
    "AlgorithmSpecification": OBEYED,
    "AlgorithmSpecification.AlgorithmName": Treatment("refused", "an algorithm by name"),
    "AlgorithmSpecification.EnableSageMakerMetricsTimeSeries": Treatment(
        "echoed", "metrics are kept in CloudWatch alone"
    ),
    "AlgorithmSpecification.TrainingImageConfig.TrainingRepositoryAccessMode": Treatment(
        "obeyed", "an image in a VPC's own registry is refused", ("Platform",)
    ),
    "AlgorithmSpecification.TrainingImageConfig.TrainingRepositoryAuthConfig": Treatment(
        "refused", "a private registry"
    ),
    "RoleArn": OBEYED,
    "InputDataConfig": OBEYED,
    "InputDataConfig[].DataSource.S3DataSource.S3DataType": Treatment(
        "obeyed", "objects of a prefix or a manifest", ("S3Prefix", "ManifestFile")
    ),
    "InputDataConfig[].DataSource.S3DataSource.AttributeNames": Treatment(
        "refused", "belongs to augmented manifests"
    ),
    "InputDataConfig[].DataSource.S3DataSource.InstanceGroupNames": Treatment(
        "refused", "there are no instance groups"
    ),
    "InputDataConfig[].DataSource.S3DataSource.ModelAccessConfig": Treatment(
        "refused", "there is no model hub", (False,)
    ),
    "InputDataConfig[].DataSource.S3DataSource.HubAccessConfig": Treatment(
        "refused", "there is no model hub"
    ),
    "InputDataConfig[].DataSource.FileSystemDataSource": Treatment(
        "refused", "channels come from S3 alone"
    ),
    "InputDataConfig[].DataSource.DatasetSource": Treatment(
        "refused", "channels come from S3 alone"
    ),
    "InputDataConfig[].RecordWrapperType": Treatment(
        "obeyed", "records are not wrapped", ("None",)
    ),
    "InputDataConfig[].ShuffleConfig": Treatment("refused", "objects come in the order of keys"),
    "OutputDataConfig": OBEYED,
    "OutputDataConfig.KmsKeyId": Treatment("echoed", "there is no KMS: nothing is encrypted"),
    "ResourceConfig": OBEYED,
    "ResourceConfig.VolumeKmsKeyId": Treatment("echoed", "there is no KMS: nothing is encrypted"),
    "ResourceConfig.InstanceGroups": Treatment("refused", "all hosts are of one type"),
    "ResourceConfig.TrainingPlanArn": Treatment("refused", "there are no training plans"),
    "ResourceConfig.InstancePlacementConfig": Treatment("refused", "there are no UltraServers"),
    "ResourceConfig.InstancePreferences": Treatment("refused", "all hosts are of one type"),
    "ResourceConfig.SelectedInstanceType": Treatment("refused", "AWS sets it in its answers"),
    "ResourceConfig.SelectedInstanceCount": Treatment("refused", "AWS sets it in its answers"),
    "VpcConfig": Treatment("echoed", "there is no VPC"),
    "StoppingCondition": OBEYED,
    "StoppingCondition.MaxPendingTimeInSeconds": Treatment("echoed", "no job is ever Pending here"),
    "Tags": OBEYED,
    "EnableNetworkIsolation": Treatment("obeyed", "enforced for one host with namespaces"),
    "EnableInterContainerTrafficEncryption": Treatment(
        "echoed", "nothing is encrypted on the loopback"
    ),
    "EnableManagedSpotTraining": Treatment("obeyed", "interruptions are ordered by tags"),
    "CheckpointConfig": OBEYED,
    "DebugHookConfig": Treatment("echoed", "no Debugger runs; SDK 2 sends it with every job"),
    "DebugRuleConfigurations": Treatment("refused", "no Debugger runs"),
    "TensorBoardOutputConfig": OBEYED,
    "ExperimentConfig": Treatment("echoed", "no experiment is recorded"),
    "ProfilerConfig": Treatment("echoed", "no profiler runs; SDK 2 sends it with every job"),
    "ProfilerRuleConfigurations": Treatment("refused", "no profiler runs"),
    "Environment": OBEYED,
    "RetryStrategy": Treatment("echoed", "an error of the stub is not retried"),
    "RemoteDebugConfig": Treatment("refused", "nobody can connect to a container", (False,)),
    "InfraCheckConfig": Treatment("refused", "there is no hardware to check", (False,)),
    "SessionChainingConfig": Treatment("refused", "sessions have no tags", (False,)),
    "ServerlessJobConfig": Treatment("refused", "every job has instances"),
    "MlflowConfig": Treatment("refused", "there is no MLflow server"),
    "ModelPackageConfig": Treatment("refused", "there is no model registry"),
}

TREATMENT: dict[str, dict[str, Treatment]] = {
    "CreateTrainingJob": _CREATE_TRAINING_JOB,
    "DescribeTrainingJob": {"TrainingJobName": OBEYED},
    "StopTrainingJob": {"TrainingJobName": OBEYED},
    "ListTrainingJobs": {
        "NextToken": OBEYED,
        "MaxResults": OBEYED,
        "CreationTimeAfter": OBEYED,
        "CreationTimeBefore": OBEYED,
        "LastModifiedTimeAfter": OBEYED,
        "LastModifiedTimeBefore": OBEYED,
        "NameContains": OBEYED,
        "StatusEquals": OBEYED,
        "SortBy": OBEYED,
        "SortOrder": OBEYED,
        "WarmPoolStatusEquals": OBEYED,
        "TrainingPlanArnEquals": Treatment("refused", "there are no training plans"),
    },
    "AddTags": {"ResourceArn": OBEYED, "Tags": OBEYED},
    "DeleteTags": {"ResourceArn": OBEYED, "TagKeys": OBEYED},
    "ListTags": {"ResourceArn": OBEYED, "NextToken": OBEYED, "MaxResults": OBEYED},
}


def refused(operation: str, request: dict[str, Any]) -> str | None:
    """Return the path of the first member of a request that the stub refuses; None if none is.

    A member that the model does not know is left to the validation of the request.
    """
    for path, value in values(request):
        treatment = treatment_of(operation, path)
        if treatment is not None and not treatment.accepts(value):
            return path
    return None


def treatment_of(operation: str, path: str) -> Treatment | None:
    """Return the treatment of a member: that of its own path, or of the nearest one above."""
    table = TREATMENT[operation]
    while path:
        if path in table:
            return table[path]
        path = path[:-2] if path.endswith("[]") else path.rpartition(".")[0]
    return None


def values(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (path, value) of every leaf of a request; a list's items share the path `NAME[]`."""
    if isinstance(value, dict):
        for name, member in value.items():
            yield from values(member, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for item in value:
            yield from values(item, f"{path}[]")
    elif value is not None:
        yield path, value


def paths(shape: Shape, path: str = "") -> Iterator[str]:
    """Yield the path of every leaf that a request of this shape may have; of a map its own."""
    if isinstance(shape, StructureShape) and shape.members:
        for name, member in shape.members.items():
            yield from paths(member, f"{path}.{name}" if path else name)
    elif isinstance(shape, ListShape):
        yield from paths(shape.member, f"{path}[]")
    elif isinstance(shape, MapShape) or path:
        yield path
