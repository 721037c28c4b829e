"""The stub's API against botocore's model of it, and the statuses of a job against AWS's order."""

import itertools

import pytest
import regex
from botocore.exceptions import ClientError
from moto.core.utils import get_service_model

from tests.stub_aws.provider import FROM_MOTO, TRAINING
from tests.stub_aws.store import FINAL, MESSAGES, TRANSITIONS, IllegalTransition, Job, Store
from tests.stub_aws.validation import validation_message
from tests.stub_jobs import Account, fits_its_shape, unknown_members

MODEL = get_service_model("sagemaker")


def shapes_below(shape, seen=None):
    """A shape and all shapes that it is made of."""
    seen = {} if seen is None else seen
    if shape.name in seen:
        return seen
    seen[shape.name] = shape
    inner = {
        "structure": lambda: shape.members.values(),
        "list": lambda: [shape.member],
        "map": lambda: [shape.key, shape.value],
    }.get(shape.type_name, list)()
    for member in inner:
        shapes_below(member, seen)
    return seen


# --- answers --------------------------------------------------------------------------------------


def test_every_operation_of_ours_answers_in_the_shape_of_its_model(stub_aws):
    """`Account` checks each answer; here each operation is called, so that none goes unchecked."""
    rights = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    from tests.stub_aws.aws import create_role

    role = create_role("shapes", {"Version": "2012-10-17", "Statement": [rights]})
    account = Account(stub_aws.environment_of(role), stub_aws.role_arn)
    called = set()

    def note(http_response, parsed, model, **_):
        assert http_response.status_code == 200
        fits_its_shape(http_response, parsed, model)
        called.add(model.name)

    client = account.sagemaker
    client.meta.events.register("after-call.sagemaker", note)
    request = account.request(
        "print('loss=1;'); (MODEL / 'm').touch()",
        metrics={"loss": "loss=(.)"},
        channels={"train": (account.put("shapes/a", "a"), "FullyReplicated")},
        Tags=[{"Key": "a", "Value": "b"}],
        Environment={"A": "b"},
        DebugHookConfig={"S3OutputPath": "s3://bucket/debug"},
        ProfilerConfig={"DisableProfiler": True},
    )
    arn = client.create_training_job(**request)["TrainingJobArn"]
    name = request["TrainingJobName"]
    client.describe_training_job(TrainingJobName=name)
    account.wait(name)
    client.list_training_jobs(MaxResults=1)
    client.add_tags(ResourceArn=arn, Tags=[{"Key": "c", "Value": "d"}])
    client.list_tags(ResourceArn=arn)
    client.delete_tags(ResourceArn=arn, TagKeys=["a"])
    name = account.start("time.sleep(600)")
    client.stop_training_job(TrainingJobName=name)
    account.wait(name)
    assert called == TRAINING


def test_the_check_of_answers_finds_what_does_not_fit():
    shape = MODEL.operation_model("ListTrainingJobs").output_shape
    assert unknown_members({"TrainingJobSummaries": []}, shape, "x") == []
    assert unknown_members({"TrainingJobs": []}, shape, "x") == ["x.TrainingJobs"]
    assert unknown_members({"NextToken": None}, shape, "x") == ["x.NextToken is null"]
    strange = {"TrainingJobSummaries": [{"TrainingJobName": "a", "Name": "a"}]}
    assert unknown_members(strange, shape, "x") == ["x.TrainingJobSummaries[].Name"]
    wrong = {"TrainingJobSummaries": [{"TrainingJobName": "a", "TrainingJobStatus": "Done"}]}
    assert "Value 'Done' at 'trainingJobSummaries.1.member" in validation_message(wrong, shape)


def test_no_operation_is_both_ours_and_motos():
    assert not TRAINING & FROM_MOTO
    assert set(MODEL.operation_names) >= TRAINING | FROM_MOTO


# --- requests -------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", sorted(TRAINING))
def test_all_patterns_of_its_request_compile(operation):
    """The model's patterns are Java's."""
    shapes = shapes_below(MODEL.operation_model(operation).input_shape)
    patterns = {s.metadata["pattern"] for s in shapes.values() if "pattern" in s.metadata}
    assert patterns
    for pattern in patterns:
        regex.compile(pattern)


def test_a_request_within_all_constraints_has_no_violation():
    shape = MODEL.operation_model("CreateTrainingJob").input_shape
    request = {
        "TrainingJobName": "a" * 63,
        "AlgorithmSpecification": {"TrainingInputMode": "File", "TrainingImage": "image"},
        "RoleArn": "arn:aws:iam::123456789012:role/r",
        "OutputDataConfig": {"S3OutputPath": "s3://b"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 1},
        "HyperParameters": {"é" * 256: "日本語" * 800},
        "Tags": [{"Key": "schlüssel", "Value": ""}],
    }
    assert validation_message(request, shape) is None
    assert validation_message(request | {"TrainingJobName": "a" * 64}, shape)
    several = validation_message(request | {"TrainingJobName": "_", "RoleArn": "no"}, shape)
    assert regex.match(r"[34] validation errors detected: Value '_' at 'trainingJobName'", several)


# --- statuses -------------------------------------------------------------------------------------

# What may follow what, written down a second time (API reference, SecondaryStatusTransition, and
# the orders recorded from real jobs).
LEGAL = {
    ("Starting", "Downloading"),
    ("Starting", "Stopping"),
    ("Starting", "Failed"),
    ("Downloading", "Training"),
    ("Downloading", "Stopping"),
    ("Downloading", "Failed"),
    ("Training", "Uploading"),
    ("Training", "Interrupted"),
    ("Training", "Stopping"),
    ("Training", "Failed"),
    ("Interrupted", "Starting"),
    ("Interrupted", "Stopping"),
    ("Interrupted", "Failed"),
    ("Stopping", "Uploading"),
    ("Stopping", "Stopped"),
    ("Stopping", "MaxWaitTimeExceeded"),
    ("Stopping", "Failed"),
    ("Uploading", "Completed"),
    ("Uploading", "Failed"),
    ("Uploading", "Stopped"),
    ("Uploading", "MaxRuntimeExceeded"),
}
STATUSES = sorted({status for pair in LEGAL for status in pair})


def job_in(status):
    """A job that came to `status` by legal steps."""
    ways = {"Starting": ["Starting"]}
    while status not in ways:
        for before, after in sorted(LEGAL):
            if before in ways and after not in ways:
                ways[after] = [*ways[before], after]
    job = Job("job", "arn", {})
    for step in ways[status]:
        job.advance(step, step)
    return job


@pytest.mark.parametrize(("before", "after"), list(itertools.product(STATUSES, repeat=2)))
def test_only_the_steps_that_sagemaker_makes_are_made(before, after):
    job = job_in(before)
    steps = len(job.transitions)
    if (before, after) in LEGAL:
        job.advance(after, "message")
        assert job.secondary_status == after
        assert job.transitions[-2]["EndTime"] == job.transitions[-1]["StartTime"]
    elif before == after and before not in FINAL:
        job.advance(after, "another message")  # a new message of the same status, as in Starting
        assert len(job.transitions) == steps
        assert job.transitions[-1]["StatusMessage"] == "another message"
    else:
        with pytest.raises(IllegalTransition, match=f"{before} -> {after}"):
            job.advance(after, "message")
        assert job.secondary_status == before


def test_the_table_has_these_statuses_and_no_others():
    assert sorted(TRANSITIONS) == STATUSES
    assert set(STATUSES) <= MESSAGES.keys()
    assert {status for status in STATUSES if not TRANSITIONS[status][1]} == FINAL
    known = MODEL.shape_for("SecondaryStatus").enum
    assert set(STATUSES) <= set(known)
    primary = MODEL.shape_for("TrainingJobStatus").enum
    assert {status for status, _ in TRANSITIONS.values()} <= set(primary)


def test_a_job_begins_with_starting():
    with pytest.raises(IllegalTransition):
        Job("job", "arn", {}).advance("Training", "message")


def test_only_a_final_status_wakes_who_waits_for_the_end():
    store, job = Store(), Job("job", "arn", {})
    store.add(job)
    store.advance(job, "Downloading")
    assert not store.wait_until_final(job, 0.01)
    store.advance(job, "Failed")
    assert store.wait_until_final(job, 0)
    assert not store.request_stop(job)


def test_an_error_has_the_shape_that_clients_know(stub_aws):
    """boto3 turns a code that the model names into a class of its own."""
    account = Account(stub_aws.environment, stub_aws.role_arn)
    request = account.request("", name="shape-of-an-error")
    account.sagemaker.create_training_job(**request)
    with pytest.raises(account.sagemaker.exceptions.ResourceInUse) as caught:
        account.sagemaker.create_training_job(**request)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert caught.value.response["Error"]["Message"]
    with pytest.raises(ClientError, match="ValidationException"):
        account.describe("no-such-job")
    account.wait("shape-of-an-error")
