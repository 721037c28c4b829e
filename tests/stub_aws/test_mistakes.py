"""A learner's mistake is answered by what is wrong with it, never by an error of the service."""

from __future__ import annotations

import threading

import pytest
from botocore.exceptions import ClientError

from tests.support.stub_jobs import BUCKET, IMAGE, Account, refusal, unique

SPOT = {
    "EnableManagedSpotTraining": True,
    "StoppingCondition": {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 60},
}


@pytest.fixture(scope="module")
def account(stub_aws) -> Account:
    return Account(stub_aws.environment)


def specification(**more: object) -> dict:
    return {"TrainingImage": IMAGE, "TrainingInputMode": "File", **more}


def kept_at(path: str) -> dict:
    return {"CheckpointConfig": {"S3Uri": f"s3://{BUCKET}/a", "LocalPath": path}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"Environment": {"A": "a\0b"}}, "Invalid Environment: the value of A. It holds a char"),
        ({"Environment": {"A": "\ud800"}}, "Invalid Environment: the value of A. It holds a char"),
        ({"HyperParameters": {"a": "\0"}}, "Invalid HyperParameters: the value of a. It holds"),
        (
            {"AlgorithmSpecification": specification(ContainerEntrypoint=["/bin/echo", "\0"])},
            "Invalid ContainerEntrypoint. It holds a character that no process can be given",
        ),
        (kept_at("state"), "Invalid CheckpointConfig. The LocalPath 'state' must begin with a sl"),
        (kept_at("/"), "The LocalPath '/' is a folder of the container's own system"),
        (kept_at("/opt/ml/"), "The LocalPath '/opt/ml/' is a folder of the container's own"),
        (kept_at("/proc/self"), "The LocalPath '/proc/self' is a folder of the container's own"),
        (kept_at("/usr/lib"), "The LocalPath '/usr/lib' is a folder of the container's own"),
        (kept_at("/a/../b"), "The LocalPath '/a/../b' is no path of a folder"),
        (kept_at("/a\0b"), "is no path of a folder"),
        (kept_at("/" + "x" * 256), "has a part of more than 255 bytes"),
        (
            kept_at("/state")
            | {"TensorBoardOutputConfig": {"S3OutputPath": "s3://a/b", "LocalPath": "/state/"}},
            "Invalid TensorBoardOutputConfig. Its LocalPath is that of CheckpointConfig",
        ),
    ],
)
def test_what_no_container_can_be_given_is_refused_at_creation(account, changes, message) -> None:
    request = account.request("") | changes
    code, reason = refusal(account.sagemaker.create_training_job, **request)
    assert (code, message in reason) == ("ValidationException", True), reason


@pytest.mark.parametrize("tag", ["spot-interruptions-after-seconds", "spot-capacity-after-seconds"])
@pytest.mark.parametrize("text", ["x", "5 x", "-1", "nan", "inf"])
def test_a_tag_for_interruptions_that_holds_no_seconds_is_refused(account, tag, text) -> None:
    tags = [{"Key": tag, "Value": text}]
    request = account.request("", Tags=tags, **SPOT)
    refused = (
        "ValidationException",
        f"The tag {tag} is the stub AWS's own: it holds seconds, such as '5' or '5 8', and not "
        f"'{text}'",
    )
    assert refusal(account.sagemaker.create_training_job, **request) == refused
    job = account.run("", **SPOT)
    arn = job["TrainingJobArn"]
    assert refusal(account.sagemaker.add_tags, ResourceArn=arn, Tags=tags) == refused


ODD = ["", "\t ä", "a=b", "'\"$HOME`id`", "\\{}", "x" * 512, "\x7f"]


def variations(text: str) -> list[dict]:
    """Return changes of a request that have an odd text where one can be."""
    entrypoint = specification(ContainerEntrypoint=["/bin/echo", text or "-"])
    program = {"sagemaker_program": text, "sagemaker_submit_directory": text}
    return [
        {"Environment": {"ODD": text}},
        {"HyperParameters": {"odd": text, "sagemaker_program": "train.py"}},
        {"HyperParameters": program},
        {"AlgorithmSpecification": entrypoint},
        {"AlgorithmSpecification": specification(ContainerEntrypoint=[text or "-"])},
        kept_at(f"/{unique('odd')}/{text}"),
        {"Tags": [{"Key": "odd", "Value": text[:256]}]},
    ]


def answer(account: Account, changes: dict) -> str:
    """Return why a request is refused, or the reason for which its job fails; else nothing."""
    request = account.request("print(1)") | changes
    try:
        account.sagemaker.create_training_job(**request)
    except ClientError as error:
        return f"{error.response['ResponseMetadata']['HTTPStatusCode']} {error}"
    return account.wait(request["TrainingJobName"]).get("FailureReason", "")


def test_no_variation_of_a_request_is_answered_by_an_error_of_the_service(account) -> None:
    passing = ("Thread-", "job-")  # one for each request, one for each job
    before = {one for one in threading.enumerate() if not one.name.startswith(passing)}
    answers = {
        (text, n): answer(account, changes)
        for text in ODD
        for n, changes in enumerate(variations(text))
    }
    assert not {
        which: reason
        for which, reason in answers.items()
        if reason.startswith("5") or "InternalServerError" in reason
    }
    assert sum(not reason for reason in answers.values()) > 15  # and many such jobs complete
    assert before <= set(threading.enumerate())
