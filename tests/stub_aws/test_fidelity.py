"""The fidelity page tells the truth: its tables come from the code, and jobs are held to them."""

import re

import pytest

from stub_aws import fidelity, store
from stub_aws.answers import ECHOED
from tests.support.stub_jobs import BUCKET, Account, unique


@pytest.fixture(scope="module")
def account(stub_aws) -> Account:
    return Account(stub_aws.environment)


def test_the_tables_are_up_to_date():
    text = fidelity.PAGE.read_text(encoding="utf-8")
    assert fidelity.with_tables(text) == text, "run `python -m stub_aws.fidelity`"


def test_a_rich_jobs_description_has_every_field_that_is_not_absent_and_no_other(account):
    """One job that asks for all that can be asked for, and one that fails."""
    vpc = {"Subnets": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}
    asked = {
        "CheckpointConfig": {"S3Uri": f"s3://{BUCKET}/{unique('rich')}"},
        "VpcConfig": vpc,
        "DebugHookConfig": {"S3OutputPath": f"s3://{BUCKET}/debug"},
        "ProfilerConfig": {"DisableProfiler": True},
        "ExperimentConfig": {"TrialComponentDisplayName": "rich"},
        "RetryStrategy": {"MaximumRetryAttempts": 1},
        "RemoteDebugConfig": {"EnableRemoteDebug": False},
        "InfraCheckConfig": {"EnableInfraCheck": False},
        "TensorBoardOutputConfig": {"S3OutputPath": f"s3://{BUCKET}/{unique('tensorboard')}"},
        "Environment": {"A": "1"},
    }
    channels = {"train": (account.put(f"{unique('rich')}/a", "1"), "FullyReplicated")}
    script = 'print("loss=1;"); (MODEL / "m").write_text("1")'
    pool = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "KeepAlivePeriodInSeconds": 1}
    done = account.run(
        script,
        channels=channels,
        metrics={"loss": "loss=([0-9]+);"},
        ResourceConfig=pool | {"VolumeSizeInGB": 1},
        **asked,
    )
    failed = account.run("sys.exit(3)")
    assert done["TrainingJobStatus"] == "Completed", done.get("FailureReason")
    model = account.sagemaker.meta.service_model.operation_model("DescribeTrainingJob")
    fields = {
        name for name in model.output_shape.members if fidelity.field_kind(name)[0] != "absent"
    }
    assert set(done) | set(failed) == fields
    for name, value in asked.items():
        assert done[name] == value


def test_no_field_is_both_explained_and_merely_obeyed():
    explained = {name for name in ECHOED if name in fidelity.FIELDS}
    assert {fidelity.FIELDS[name][0] for name in explained} == {"echo"}


def test_the_page_names_every_status(account):
    text = fidelity.PAGE.read_text(encoding="utf-8")
    diagram = text[text.index("## Statuses") : text.index("## How to add")]
    assert set(re.findall(r"[A-Z][A-Za-z]+", diagram)) >= set(store.TRANSITIONS)
