"""No member of a request is ignored: each is obeyed, echoed as documented, or refused by name."""

from __future__ import annotations

import pytest
from moto.core.utils import get_service_model

from stub_aws import members
from stub_aws.members import TREATMENT
from stub_aws.provider import TRAINING
from tests.support.stub_jobs import BUCKET, Account, channel, refusal, unique

SERVICE = get_service_model("sagemaker")


def leaves(operation: str) -> set[str]:
    return set(members.paths(SERVICE.operation_model(operation).input_shape))


@pytest.fixture(scope="module")
def account(stub_aws) -> Account:
    return Account(stub_aws.environment)


def test_every_operation_that_is_answered_has_a_table() -> None:
    assert set(TREATMENT) == TRAINING


@pytest.mark.parametrize("operation", sorted(TRAINING))
def test_every_member_of_the_model_has_its_treatment(operation: str) -> None:
    paths = leaves(operation)
    assert paths
    assert {path for path in paths if members.treatment_of(operation, path) is None} == set()


@pytest.mark.parametrize("operation", sorted(TRAINING))
def test_no_entry_names_what_the_model_has_not(operation: str) -> None:
    paths = leaves(operation)
    stale = {
        entry
        for entry in TREATMENT[operation]
        if not any(path == entry or path.startswith((f"{entry}.", f"{entry}[")) for path in paths)
    }
    assert stale == set()


def test_a_member_that_a_new_model_brings_is_noticed() -> None:
    assert members.treatment_of("CreateTrainingJob", "QuantumConfig.Qubits") is None
    assert members.treatment_of("CreateTrainingJob", "VpcConfig.Subnets[]").kind == "echoed"
    assert members.treatment_of("CreateTrainingJob", "OutputDataConfig.S3OutputPath") is (
        members.OBEYED
    )


def test_values_are_found_at_the_paths_of_the_model() -> None:
    request = {"A": {"B": 1, "C": [{"D": 2}, {"D": 3}]}, "E": [], "F": None, "G": ["x"]}
    assert list(members.values(request)) == [
        ("A.B", 1),
        ("A.C[].D", 2),
        ("A.C[].D", 3),
        ("G[]", "x"),
    ]


GROUP = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "InstanceGroupName": "one"}
RULE = {"RuleConfigurationName": "rule", "RuleEvaluatorImage": "image"}
PLAN = "arn:aws:sagemaker:us-east-1:123456789012:training-plan/plan"
MLFLOW = "arn:aws:sagemaker:us-east-1:123456789012:mlflow-tracking-server/server"
PACKAGE = "arn:aws:sagemaker:us-east-1:123456789012:model-package-group/group"
RESOURCES = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1}
IMAGE_CONFIG = {"TrainingRepositoryAccessMode": "Vpc"}


def s3_channel(**more: object) -> list[dict]:
    """Return an InputDataConfig whose S3DataSource has these members beside its own."""
    entry = channel("a", f"s3://{BUCKET}/a")
    entry["DataSource"]["S3DataSource"] |= more
    return [entry]


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"ResourceConfig": {"VolumeSizeInGB": 1, "InstanceGroups": [GROUP]}}, "InstanceGroups[]"),
        ({"ResourceConfig": RESOURCES | {"TrainingPlanArn": PLAN}}, "TrainingPlanArn"),
        (
            {
                "ResourceConfig": RESOURCES
                | {"InstancePlacementConfig": {"EnableMultipleJobs": True}}
            },
            "InstancePlacementConfig",
        ),
        ({"DebugRuleConfigurations": [RULE]}, "DebugRuleConfigurations[]"),
        ({"ProfilerRuleConfigurations": [RULE]}, "ProfilerRuleConfigurations[]"),
        ({"RemoteDebugConfig": {"EnableRemoteDebug": True}}, "RemoteDebugConfig"),
        ({"InfraCheckConfig": {"EnableInfraCheck": True}}, "InfraCheckConfig"),
        ({"SessionChainingConfig": {"EnableSessionTagChaining": True}}, "SessionChainingConfig"),
        ({"MlflowConfig": {"MlflowResourceArn": MLFLOW}}, "MlflowConfig.MlflowResourceArn"),
        ({"ModelPackageConfig": {"ModelPackageGroupArn": PACKAGE}}, "ModelPackageConfig"),
        ({"InputDataConfig": s3_channel(S3DataType="AugmentedManifestFile")}, "S3DataType"),
        ({"InputDataConfig": s3_channel(AttributeNames=["a"])}, "AttributeNames[]"),
        (
            {"InputDataConfig": [channel("a", "s3://b/a") | {"RecordWrapperType": "RecordIO"}]},
            "InputDataConfig[].RecordWrapperType",
        ),
        (
            {"InputDataConfig": [channel("a", "s3://b/a") | {"ShuffleConfig": {"Seed": 1}}]},
            "InputDataConfig[].ShuffleConfig.Seed",
        ),
    ],
)
def test_what_the_stub_cannot_do_is_refused_by_name(account, changes, path) -> None:
    request = account.request("", **changes)
    code, message = refusal(account.sagemaker.create_training_job, **request)
    assert code == "NotImplemented"
    assert message.startswith("The stub AWS does not obey ")
    assert message.endswith(" of sagemaker:CreateTrainingJob.")
    assert path in message


def test_an_image_of_a_vpcs_registry_is_refused_by_name(account) -> None:
    request = account.request("")
    request["AlgorithmSpecification"]["TrainingImageConfig"] = IMAGE_CONFIG
    code, message = refusal(account.sagemaker.create_training_job, **request)
    assert code == "NotImplemented"
    assert "AlgorithmSpecification.TrainingImageConfig.TrainingRepositoryAccessMode" in message


def test_what_asks_for_nothing_is_accepted_and_echoed(account) -> None:
    nothing = {
        "RemoteDebugConfig": {"EnableRemoteDebug": False},
        "InfraCheckConfig": {"EnableInfraCheck": False},
        "SessionChainingConfig": {"EnableSessionTagChaining": False},
    }
    description = account.run("", name=unique("nothing"), **nothing)
    assert description["TrainingJobStatus"] == "Completed", description.get("FailureReason")
    for name in ("RemoteDebugConfig", "InfraCheckConfig"):
        assert description[name] == nothing[name]


def test_a_filter_that_is_not_obeyed_is_refused(account) -> None:
    code, message = refusal(account.sagemaker.list_training_jobs, TrainingPlanArnEquals=PLAN)
    assert code == "NotImplemented"
    assert "TrainingPlanArnEquals" in message
