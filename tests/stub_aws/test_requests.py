"""CreateTrainingJob: AWS's rules in AWS's words, its defaults, and warm pools."""

from __future__ import annotations

import time

import pytest
from botocore.config import Config

from stub_aws import warm_pools
from stub_aws.store import Job, Store
from tests.support.stub_jobs import BUCKET, Account, channel, refusal, unique

RESOURCES = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1}


@pytest.fixture(scope="module")
def account(stub_aws) -> Account:
    return Account(stub_aws.environment)


@pytest.fixture(scope="module")
def unchecked(account):
    """Return a client that leaves all checking to the service."""
    settings = Config(parameter_validation=False, retries={"total_max_attempts": 1}, proxies={})
    return account.client("sagemaker", config=settings)


# --- what is missing, or breaks a rule ------------------------------------------------------------


@pytest.mark.parametrize("member", ["ResourceConfig", "AlgorithmSpecification"])
def test_a_request_without_it_is_refused_in_json(account, unchecked, member) -> None:
    request = account.request("", **{member: None})
    code, message = refusal(unchecked.create_training_job, **request)
    assert code == "ValidationException"
    assert f"Invalid {member}" in message or member[0].lower() + member[1:] in message


def test_a_request_without_a_stopping_condition_gets_a_day(account, unchecked) -> None:
    request = account.request("", StoppingCondition=None)
    unchecked.create_training_job(**request)
    description = account.wait(request["TrainingJobName"])
    assert description["StoppingCondition"] == {"MaxRuntimeInSeconds": 86400}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"StoppingCondition": {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 60}},
            "Invalid MaxWaitTimeInSeconds. It is only supported when EnableManagedSpotTraining is "
            "set to true",
        ),
        (
            {
                "InputDataConfig": [
                    channel("training", f"s3://{BUCKET}/a") | {"CompressionType": "Gzip"}
                ]
            },
            "Invalid compression type for channel training: File mode only supports NONE, got Gzip "
            "instead",
        ),
        (
            {"InputDataConfig": [channel("a", f"s3://{BUCKET}/{key}") for key in "xy"]},
            "Invalid InputDataConfig. The channel name a is not unique: 2 channels have it",
        ),
        (
            {
                "TensorBoardOutputConfig": {
                    "LocalPath": "/opt/ml/checkpoints/tb",
                    "S3OutputPath": f"s3://{BUCKET}/tb",
                }
            },
            '"LocalPath" of "TensorBoardOutputConfig" cannot start with the following reserved '
            "path: [/opt/ml, /tmp, /usr/local/nvidia]",
        ),
        (
            {
                "ResourceConfig": RESOURCES
                | {"InstanceType": "ml.g4dn.xlarge", "VolumeKmsKeyId": "alias/mine"}
            },
            "Invalid VolumeKmsKeyId. It is not supported for the instance type ml.g4dn.xlarge, "
            "which has local storage",
        ),
        (
            {
                "EnableManagedSpotTraining": True,
                "StoppingCondition": {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 60},
                "ResourceConfig": RESOURCES | {"KeepAlivePeriodInSeconds": 60},
            },
            "Invalid KeepAlivePeriodInSeconds. Warm pools are not supported when "
            "EnableManagedSpotTraining is set to true",
        ),
    ],
)
def test_a_broken_rule_is_refused_in_the_words_of_aws(account, changes, message) -> None:
    request = account.request("", **changes)
    assert refusal(account.sagemaker.create_training_job, **request) == (
        "ValidationException",
        message,
    )


# --- defaults -------------------------------------------------------------------------------------


def test_a_description_has_the_defaults_that_aws_fills_in(account) -> None:
    uri = account.put(f"{unique('defaults')}/a", "1")
    description = account.run("", channels={"train": (uri, "FullyReplicated")})
    assert description["TrainingJobStatus"] == "Completed", description.get("FailureReason")
    (train,) = description["InputDataConfig"]
    assert (train["CompressionType"], train["RecordWrapperType"]) == ("None", "None")
    assert description["OutputDataConfig"]["CompressionType"] == "GZIP"
    assert description["ProfilingStatus"] == "Disabled"
    assert description["AlgorithmSpecification"]["EnableSageMakerMetricsTimeSeries"] is False


def test_a_default_does_not_replace_what_was_asked_for(account) -> None:
    request = account.request("")
    request["AlgorithmSpecification"]["EnableSageMakerMetricsTimeSeries"] = True
    account.sagemaker.create_training_job(**request)
    description = account.wait(request["TrainingJobName"])
    assert description["AlgorithmSpecification"]["EnableSageMakerMetricsTimeSeries"] is True


# --- warm pools -----------------------------------------------------------------------------------


def ended(name: str, keep_alive_s: int = 600, **changes: object) -> Job:
    """Return a job that has ended a moment ago."""
    request = {
        "RoleArn": "role",
        "ResourceConfig": RESOURCES | {"KeepAlivePeriodInSeconds": keep_alive_s},
    } | changes
    job = Job(name, f"arn:{name}", request)
    store = Store()
    store.add(job)
    for status in ("Downloading", "Training", "Uploading", "Completed"):
        store.advance(job, status)
    return job


def test_a_matching_job_takes_over_the_pool_of_an_earlier_one(account) -> None:
    resources = RESOURCES | {"KeepAlivePeriodInSeconds": 600, "VolumeSizeInGB": 3}
    first = account.run("", ResourceConfig=resources)
    assert first["WarmPoolStatus"] == {"Status": "Available"}
    names = account.sagemaker.list_training_jobs(WarmPoolStatusEquals="Available")
    assert first["TrainingJobName"] in {
        job["TrainingJobName"] for job in names["TrainingJobSummaries"]
    }
    second = account.run("", ResourceConfig=resources)
    pool = account.describe(first["TrainingJobName"])["WarmPoolStatus"]
    assert pool["Status"] == "Reused"
    assert pool["ReusedByJob"] == second["TrainingJobName"]
    assert 0 <= pool["ResourceRetainedBillableTimeInSeconds"] < 600
    assert second["WarmPoolStatus"] == {"Status": "Available"}


def test_a_job_without_a_pool_has_no_status_of_one(account) -> None:
    assert "WarmPoolStatus" not in account.run("")


@pytest.mark.parametrize(
    "changes",
    [
        {"RoleArn": "another"},
        {"ResourceConfig": RESOURCES | {"KeepAlivePeriodInSeconds": 9, "VolumeSizeInGB": 2}},
        {"ResourceConfig": RESOURCES},
        {"EnableNetworkIsolation": True},
    ],
)
def test_a_job_that_does_not_match_leaves_the_pool(changes) -> None:
    first = ended("first")
    warm_pools.claim(ended("second", **changes), [first])
    assert warm_pools.status(first) == {"Status": "Available"}


def test_a_pool_is_reused_once() -> None:
    first, second, third = (ended(name) for name in ("first", "second", "third"))
    warm_pools.claim(second, [first])
    warm_pools.claim(third, [first, second])
    assert warm_pools.status(first)["ReusedByJob"] == "second"
    assert warm_pools.status(second)["ReusedByJob"] == "third"


def test_a_pool_that_nobody_claims_ends_and_bills_no_more_than_its_time() -> None:
    job = ended("job", keep_alive_s=60)
    job.ended_at = time.monotonic() - 1000
    assert warm_pools.status(job) == {
        "Status": "Terminated",
        "ResourceRetainedBillableTimeInSeconds": 60,
    }
    other = ended("other")
    warm_pools.claim(other, [job])
    assert warm_pools.status(job)["Status"] == "Terminated"
