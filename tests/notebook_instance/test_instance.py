"""`make instance`, its status and its end: on the stub AWS, and in the words in which AWS refuses.

The stub's CloudFormation is moto's, which is done at once and never fails in the middle: how that
looks is played by botocore's own Stubber, which holds every answer against AWS's model of it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from moto.s3.models import s3_backends

import workshop
from notebook_instance import instance, stacks
from stub_aws.aws import StubAWS
from stub_aws.roles import create_role
from tests.notebook_instance.test_template import ADMINISTRATOR
from tests.support import moto_cloudformation
from tests.support.strangers import TAGS, everything_of
from tests.support.stub_jobs import make_client
from workshop import buckets, costs
from workshop.refusals import WorkshopError

ROOT = Path(__file__).resolve().parents[2]
REGION = "eu-central-1"  # another than the other tests'
BUCKET = f"sagemaker-workshop-123456789012-{REGION}"
URL = "https://example.org/somebody/workshop.git"


@pytest.fixture(scope="module")
def account(stub_aws: StubAWS) -> dict[str, str]:
    """Environment variables of somebody who may do everything on the stub."""
    moto_cloudformation.extend()
    return stub_aws.environment_of(create_role("instance-tests", ADMINISTRATOR))


@pytest.fixture
def command(
    account: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., int]]:
    """`instance.main` as that person would run it; what it has made is gone after the test."""
    for name, value in account.items():
        if name.startswith("AWS_") or name.upper().endswith("_PROXY"):
            monkeypatch.setenv(name, value)
    session = boto3.Session(region_name=REGION)  # one for all commands: making clients takes long
    monkeypatch.setattr(boto3, "Session", lambda **_: session)
    monkeypatch.setattr(stacks, "EVERY_S", 0.01)
    monkeypatch.setattr("builtins.input", no_answer)
    yield lambda *arguments: instance.main(list(arguments))
    instance.main(["delete", "--yes"])


def no_answer(question: str) -> str:
    raise EOFError(question)


@pytest.fixture
def clients(account: dict[str, str]) -> Callable[[str], Any]:
    return lambda service: make_client(account, service, region_name=REGION)


CREATE = ("create", "--yes", "--repository", URL)


# ---- from end to end on the stub ---------------------------------------------------------------


def test_create_status_delete(
    command: Callable[..., int],
    clients: Callable[[str], Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command(*CREATE) == 0, capsys.readouterr().err
    output = capsys.readouterr().out
    assert f"that clones {URL}" in output
    assert "CREATE_COMPLETE" in output
    assert f"Ready: https://{REGION}.console.aws.amazon.com/sagemaker/" in output
    about = clients("sagemaker").describe_notebook_instance(NotebookInstanceName=instance.NAME)
    assert about["NotebookInstanceStatus"] == "InService"

    clients("s3").put_object(Bucket=BUCKET, Key="data/train.csv", Body=b"x" * 2_000_000)
    assert command("status") == 0
    output = capsys.readouterr().out
    assert "notebook instance sagemaker-workshop: InService" in output
    assert f"bucket {BUCKET}: 1 object, 2.0 MB" in output

    assert command("delete", "--yes") == 0, capsys.readouterr().err
    output = capsys.readouterr().out
    assert f"the bucket {BUCKET}, with all in it: 1 object, 2.0 MB" in output
    assert "notebook instance: Stopped" in output  # moto, like AWS, deletes only stopped ones
    assert clients("sagemaker").list_notebook_instances()["NotebookInstances"] == []
    assert BUCKET not in [b["Name"] for b in clients("s3").list_buckets()["Buckets"]]
    assert stacks.find(clients("cloudformation"), instance.NAME) is None
    roles = [role["RoleName"] for role in clients("iam").list_roles()["Roles"]]
    assert f"sagemaker-workshop-execution-role-{REGION}" not in roles


def test_twice_is_safe(command: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert command(*CREATE) == 0
    capsys.readouterr()
    assert command("create", "--yes") == 0
    assert "It is there already: InService." in capsys.readouterr().out
    assert command("delete", "--yes") == 0
    capsys.readouterr()
    assert command("delete", "--yes") == 0
    assert capsys.readouterr().out.startswith("Nothing of it is in")
    assert command("status") == 0
    assert "Nothing of it bills." in capsys.readouterr().out


def test_make_runs_it(account: dict[str, str]) -> None:
    """The three commands as a person types them, in processes of their own."""

    def make(target: str, arguments: str = "") -> str:
        settings = {"INSTANCE_ARGS": arguments, "AWS_DEFAULT_REGION": "us-east-2"}
        surroundings = {k: v for k, v in account.items() if not k.startswith("MAKE")}
        done = subprocess.run(
            ["make", "--no-print-directory", target],
            cwd=ROOT,
            env=surroundings | settings,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert "Ready: https://us-east-2" in make("instance", f"--yes --repository {URL}")
    assert "notebook instance sagemaker-workshop: InService" in make("instance-status")
    assert make("instance-delete", "--yes").endswith("nothing of it bills any more.\n")


def test_without_a_yes_nothing_happens(
    command: Callable[..., int],
    clients: Callable[[str], Any],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert command("create", "--repository", URL) == 1  # nobody there to answer
    assert "Nothing was made." in capsys.readouterr().out
    assert stacks.find(clients("cloudformation"), instance.NAME) is None
    monkeypatch.setattr("builtins.input", lambda _question: "y")
    assert command("create", "--repository", URL) == 0
    monkeypatch.setattr("builtins.input", lambda _question: "n")
    assert command("delete") == 1
    assert "Nothing was deleted." in capsys.readouterr().out
    assert stacks.find(clients("cloudformation"), instance.NAME) is not None


def test_one_that_has_stopped_itself_is_started(
    command: Callable[..., int],
    clients: Callable[[str], Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    command(*CREATE)
    clients("sagemaker").stop_notebook_instance(NotebookInstanceName=instance.NAME)
    capsys.readouterr()
    assert command("create") == 1
    assert "there and stopped" in capsys.readouterr().out
    assert command("create", "--yes") == 0
    about = clients("sagemaker").describe_notebook_instance(NotebookInstanceName=instance.NAME)
    assert about["NotebookInstanceStatus"] == "InService"


def test_a_bucket_that_a_lesson_has_made_is_used_and_deleted(
    command: Callable[..., int],
    clients: Callable[[str], Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    workshop.ensure_bucket(clients("s3"), BUCKET, "123456789012")
    assert command(*CREATE) == 0, capsys.readouterr().err
    resources = clients("cloudformation").describe_stack_resources(StackName=instance.NAME)
    made = {resource.get("LogicalResourceId") for resource in resources["StackResources"]}
    assert "NotebookInstance" in made
    assert "Bucket" not in made
    assert command("delete", "--yes") == 0
    assert BUCKET not in [b["Name"] for b in clients("s3").list_buckets()["Buckets"]]


def test_unfinished_uploads_go_too(
    command: Callable[..., int], clients: Callable[[str], Any]
) -> None:
    """No listing of objects shows them, and they bill."""
    s3 = clients("s3")
    workshop.ensure_bucket(s3, BUCKET, "123456789012")
    s3.create_multipart_upload(Bucket=BUCKET, Key="never-finished")
    s3.put_object(Bucket=BUCKET, Key="whole")
    instance._empty(instance.Target(boto3.Session()))
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=BUCKET)
    assert "Contents" not in s3.list_objects_v2(Bucket=BUCKET)


# ---- what is not ours ----------------------------------------------------------------------------


@pytest.fixture
def strangers_stack(clients: Callable[[str], Any]) -> Iterator[Any]:
    client = clients("cloudformation")
    template = '{"Resources": {"Kept": {"Type": "AWS::S3::Bucket"}}}'
    client.create_stack(StackName=instance.NAME, TemplateBody=template)
    yield client
    client.delete_stack(StackName=instance.NAME)


@pytest.mark.parametrize("verb", ["create", "status", "delete"])
def test_a_stack_without_the_tag_is_not_touched(
    verb: str, strangers_stack: Any, command: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(verb, "--yes") == 1
    assert "without the workshop's tag" in capsys.readouterr().err
    assert stacks.find(strangers_stack, instance.NAME)["StackStatus"] == "CREATE_COMPLETE"


@pytest.fixture
def strangers_bucket(clients: Callable[[str], Any]) -> Iterator[Callable[..., dict[str, Any]]]:
    """Return a function that puts a bucket in the place of ours, and returns all that it is."""
    s3 = clients("s3")

    def make(tags: list[dict[str, str]], full: bool = True) -> dict[str, Any]:
        with suppress(s3.exceptions.NoSuchBucket):
            s3.delete_bucket(Bucket=BUCKET)
        s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        if tags:
            s3.put_bucket_tagging(Bucket=BUCKET, Tagging={"TagSet": tags})
        if full:
            s3.put_object(Bucket=BUCKET, Key="kept", Body=b"1")
            s3.create_multipart_upload(Bucket=BUCKET, Key="kept-too")
        return everything_of(s3, BUCKET)

    yield make
    for _ in buckets.empty(s3, buckets.Bucket(BUCKET)):
        """Each step deletes some objects."""
    buckets.abort_uploads(s3, buckets.Bucket(BUCKET))
    s3.delete_bucket(Bucket=BUCKET)


@pytest.mark.parametrize("tags", TAGS.values(), ids=TAGS)
@pytest.mark.parametrize("verb", ["create", "status", "delete"])
def test_a_bucket_without_the_tag_is_not_touched(
    verb: str,
    tags: list[dict[str, str]],
    command: Callable[..., int],
    clients: Callable[[str], Any],
    strangers_bucket: Callable[..., dict[str, Any]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = strangers_bucket(tags)
    assert command(verb, "--yes", "--repository", URL) == 1
    assert f"a bucket {BUCKET} without the workshop's tag" in capsys.readouterr().err
    assert everything_of(clients("s3"), BUCKET) == before


@pytest.mark.parametrize("full", [True, False], ids=["full", "empty"])
def test_a_bucket_in_the_place_of_ours_stays_and_the_rest_is_deleted(
    full: bool,
    command: Callable[..., int],
    clients: Callable[[str], Any],
    strangers_bucket: Callable[..., dict[str, Any]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Or ours, which has lost its tag: the instance does not go on billing because of that."""
    assert command(*CREATE) == 0
    before = strangers_bucket([], full)
    capsys.readouterr()
    assert command("status") == 1
    output = capsys.readouterr()
    assert "notebook instance sagemaker-workshop: InService" in output.out
    assert f"a bucket {BUCKET} without the workshop's tag" in output.err
    assert command("delete", "--yes") == 1
    output = capsys.readouterr()
    assert "the bucket" not in output.out
    assert output.err.startswith("The rest is deleted. There is a bucket")
    assert len(output.err.splitlines()) == 1
    assert clients("sagemaker").list_notebook_instances()["NotebookInstances"] == []
    assert stacks.find(clients("cloudformation"), instance.NAME) is None
    assert everything_of(clients("s3"), BUCKET) == before


def tag_as_cloudformation_does(s3: Any, stack_id: str, tags: list[dict[str, str]]) -> None:
    """moto does not, and lets no client do it, as AWS lets none."""
    mark = {"Key": "aws:cloudformation:stack-id", "Value": stack_id}
    s3_backends["123456789012"]["aws"].put_bucket_tagging(
        BUCKET, {tag["Key"]: tag["Value"] for tag in [*tags, mark]}
    )


@pytest.mark.parametrize("whose", ["ours", "another stack", "none"])
def test_a_bucket_that_lost_its_tag_is_ours_if_cloudformation_made_it_for_us(
    whose: str,
    command: Callable[..., int],
    clients: Callable[[str], Any],
    strangers_bucket: Callable[..., dict[str, Any]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    s3, cloudformation = clients("s3"), clients("cloudformation")
    assert command(*CREATE) == 0
    template = '{"Resources": {"Kept": {"Type": "AWS::S3::Bucket"}}}'
    other = cloudformation.create_stack(StackName="another", TemplateBody=template)["StackId"]
    stack_id = stacks.find(cloudformation, instance.NAME)["StackId"]
    strangers_bucket([])
    made_by = {"ours": stack_id, "another stack": other, "none": f"{stack_id}0"}[whose]
    tag_as_cloudformation_does(s3, made_by, [{"Key": "team", "Value": "blue"}])
    before = everything_of(s3, BUCKET)
    assert command("delete", "--yes") == (0 if whose == "ours" else 1), capsys.readouterr().err
    cloudformation.delete_stack(StackName="another")
    assert stacks.find(cloudformation, instance.NAME) is None
    if whose == "ours":
        assert BUCKET not in [b["Name"] for b in s3.list_buckets()["Buckets"]]
        strangers_bucket([])  # what the fixture takes away again
    else:
        assert everything_of(s3, BUCKET) == before


def in_place_of_the_instance(clients: Callable[[str], Any]) -> Callable[[], Any]:
    client = clients("sagemaker")
    about = client.describe_notebook_instance(NotebookInstanceName=instance.NAME)
    client.stop_notebook_instance(NotebookInstanceName=instance.NAME)
    client.delete_notebook_instance(NotebookInstanceName=instance.NAME)
    client.create_notebook_instance(
        NotebookInstanceName=instance.NAME,
        InstanceType="ml.t3.medium",
        RoleArn=about["RoleArn"],
        Tags=TAGS["another tag"],
    )
    client.stop_notebook_instance(NotebookInstanceName=instance.NAME)

    def look() -> Any:
        about = client.describe_notebook_instance(NotebookInstanceName=instance.NAME)
        tags = client.list_tags(ResourceArn=about["NotebookInstanceArn"])["Tags"]
        return {name: about[name] for name in about if name != "ResponseMetadata"}, tags

    return look


def in_place_of_the_role(clients: Callable[[str], Any]) -> Callable[[], Any]:
    client, name = clients("iam"), f"sagemaker-workshop-execution-role-{REGION}"
    for policy in client.list_role_policies(RoleName=name)["PolicyNames"]:
        client.delete_role_policy(RoleName=name, PolicyName=policy)
    client.delete_role(RoleName=name)
    client.create_role(RoleName=name, AssumeRolePolicyDocument="{}", Tags=TAGS["another tag"])
    return lambda: client.get_role(RoleName=name)["Role"]


@pytest.mark.parametrize("replace", [in_place_of_the_instance, in_place_of_the_role])
def test_what_somebody_put_in_the_place_of_ours_is_not_deleted_with_the_stack(
    replace: Callable[..., Any],
    command: Callable[..., int],
    clients: Callable[[str], Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """CloudFormation knows its resources by name alone: it would delete the stranger's."""
    assert command(*CREATE) == 0
    look = replace(clients)
    before = look()
    capsys.readouterr()
    for verb in ("delete", "create") if replace is in_place_of_the_instance else ("delete",):
        assert command(verb, "--yes") == 1
        assert " lacks the workshop's tag, so somebody else made it" in capsys.readouterr().err
    assert look() == before
    assert stacks.find(clients("cloudformation"), instance.NAME) is not None
    if replace is in_place_of_the_instance:  # now say that it is ours, so that all of it can go
        tag = {"ResourceArn": before[0]["NotebookInstanceArn"], "Tags": [workshop.WORKSHOP_TAG]}
        clients("sagemaker").add_tags(**tag)
    else:
        clients("iam").tag_role(RoleName=before["RoleName"], Tags=[workshop.WORKSHOP_TAG])


def test_old_versions_go_too(
    command: Callable[..., int],
    clients: Callable[[str], Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    s3 = clients("s3")
    assert command(*CREATE) == 0
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    for _ in range(2):
        s3.put_object(Bucket=BUCKET, Key="odd\x01key", Body=b"x" * 1_000_000)
    s3.delete_object(Bucket=BUCKET, Key="odd\x01key")
    assert command("delete", "--yes") == 0, capsys.readouterr().err
    assert "with all in it: 3 objects, 2.0 MB" in capsys.readouterr().out
    assert BUCKET not in [b["Name"] for b in s3.list_buckets()["Buckets"]]


def test_a_bucket_that_cannot_be_emptied_keeps_no_instance_running(
    command: Callable[..., int],
    clients: Callable[[str], Any],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert command(*CREATE) == 0
    clients("s3").put_object(Bucket=BUCKET, Key="locked")
    refused = {"Key": "locked", "Code": "AccessDenied", "Message": "Object is locked"}
    with monkeypatch.context() as patch:
        patch.setattr(
            buckets, "_delete", lambda *_: (_ for _ in ()).throw(WorkshopError(str(refused)))
        )
        assert command("delete", "--yes") == 1
    output = capsys.readouterr().err
    assert output.startswith(f"The rest is deleted. The bucket {BUCKET} was not emptied: ")
    assert clients("sagemaker").list_notebook_instances()["NotebookInstances"] == []
    assert stacks.find(clients("cloudformation"), instance.NAME) is None
    assert command("delete", "--yes") == 0
    assert BUCKET not in [b["Name"] for b in clients("s3").list_buckets()["Buckets"]]


# ---- what it costs -------------------------------------------------------------------------------


def test_the_price_is_that_of_the_price_list() -> None:
    lines = "\n".join(instance.bill("ml.t3.medium", 20, "us-east-1"))
    known = costs.price("ml.t3.medium", "us-east-1", use="notebook").usd
    assert f"ml.t3.medium: ${known:g} an hour while it runs" in lines
    assert f"volume of 20 GB, billed until it is deleted: ${20 * costs.ML_VOLUME.usd:.2f}" in lines


@pytest.mark.parametrize(
    ("kind", "region"), [("ml.t3.large", "us-east-1"), ("ml.t3.medium", "eu-west-1")]
)
def test_an_unknown_price_is_called_unknown(kind: str, region: str) -> None:
    first, second, _ = instance.bill(kind, 20, region)
    assert f"price in {region} unknown to this project" in first
    assert "$" not in first
    assert ("$" in second) == (region == "us-east-1")


# ---- what can go wrong ---------------------------------------------------------------------------

SESSION = boto3.Session("key", "secret", region_name=REGION)  # making one takes long
STACK_ID = "arn:aws:cloudformation:eu-central-1:123456789012:stack/sagemaker-workshop/1"
NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)
HANDLER = 'Resource handler returned message: "{}" (RequestToken: 1-2, HandlerErrorCode: {})'
QUOTA = (
    "The account-level service limit 'ml.t3.medium for notebook instance usage' is 0 Instances, "
    "with current utilization of 0 Instances and a request delta of 1 Instances. Please use AWS "
    "Service Quotas to request an increase for this quota."
)
REASONS = {
    "quota": (
        HANDLER.format(QUOTA, "ServiceLimitExceeded"),
        "your account may have 0 of 'ml.t3.medium for notebook instance usage'",
        "request an increase in Service Quotas",
    ),
    "permission": (
        HANDLER.format(
            "User: arn:aws:iam::1:user/me is not authorized to perform: iam:CreateRole on "
            "resource: arn:aws:iam::1:role/r because no identity-based policy allows the "
            "iam:CreateRole action",
            "AccessDenied",
        ),
        "you lack the permission iam:CreateRole on arn:aws:iam::1:role/r",
        "ask the person who manages the account",
    ),
    "name": (
        HANDLER.format("Resource of type 'X' with identifier 'Y' already exists.", "AlreadyExists"),
        "its name is taken",
        "Resource of type 'X' with identifier 'Y' already exists. Delete that",
    ),
    "type": (
        HANDLER.format("Instance type ml.t3.medium is not supported in this region", "Invalid"),
        "eu-central-1 does not offer ml.t3.medium for notebook instances",
        "--region",
    ),
    "set-up": (
        HANDLER.format("Notebook Instance Lifecycle Config 'x' took longer than 5 minutes", "N"),
        "while it was set up",
        "log group /aws/sagemaker/NotebookInstances",
    ),
    "other": (
        HANDLER.format("Something else (Service: S3, Status Code: 500)", "I"),
        "NotebookInstance failed: Something else.",
        "",
    ),
}


def event(status: str, reason: str = "", name: str = "NotebookInstance") -> dict[str, Any]:
    about = {"StackId": STACK_ID, "StackName": instance.NAME, "Timestamp": NOW}
    common = {"EventId": f"{name}-{status}", "LogicalResourceId": name, "ResourceStatus": status}
    return about | common | ({"ResourceStatusReason": reason} if reason else {})


def described(status: str) -> dict[str, Any]:
    about = {"StackId": STACK_ID, "StackName": instance.NAME, "CreationTime": NOW}
    return {"Stacks": [about | {"StackStatus": status, "Tags": [workshop.WORKSHOP_TAG]}]}


def target_with(*answers: tuple[str, Any]) -> instance.Target:
    """Return a target whose CloudFormation answers these, in this order; an exception's code is
    refused."""
    target = instance.Target(SESSION)
    stubber = Stubber(target.cloudformation)
    for operation, answer in answers:
        if isinstance(answer, dict):
            stubber.add_response(operation, answer)
        else:
            stubber.add_client_error(operation, *answer)
    stubber.activate()
    return target


@pytest.mark.parametrize(("reason", "cause", "remedy"), REASONS.values(), ids=REASONS)
def test_a_stack_that_fails_is_explained_by_its_real_reason(
    reason: str,
    cause: str,
    remedy: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """AWS tells the newest event first, and of some failures only that they were cancelled."""
    monkeypatch.setattr(stacks, "EVERY_S", 0)
    cancelled = event("CREATE_FAILED", "Resource creation cancelled", name="Bucket")
    early = [event("CREATE_FAILED", reason), cancelled, event("CREATE_IN_PROGRESS")]
    late = [event("DELETE_COMPLETE", name="sagemaker-workshop"), *early]
    target = target_with(
        ("describe_stacks", described("CREATE_IN_PROGRESS")),
        ("describe_stack_events", {"StackEvents": early[2:]}),
        ("describe_stacks", described("DELETE_IN_PROGRESS")),
        ("describe_stack_events", {"StackEvents": early}),
        ("describe_stacks", described("DELETE_COMPLETE")),
        ("describe_stack_events", {"StackEvents": late}),
        ("describe_stacks", described("DELETE_COMPLETE")),
    )
    with pytest.raises(stacks.StackError) as failure:
        instance._follow_creation(target, STACK_ID, "ml.t3.medium")
    assert cause in str(failure.value)
    assert remedy in str(failure.value)
    assert "\n" not in str(failure.value)
    shown = [line for line in capsys.readouterr().out.splitlines() if "_" in line]
    wanted = ["CREATE_IN_PROGRESS", "Bucket", "NotebookInstance", "DELETE_COMPLETE"]
    assert len(shown) == len(wanted)  # each event once, the oldest first
    assert all(part in line for part, line in zip(wanted, shown, strict=True)), shown


def test_a_failed_deletion_says_what_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stacks, "EVERY_S", 0)
    old = event("CREATE_FAILED", "of another time")
    failed = event("DELETE_FAILED", "The bucket you tried to delete is not empty", name="Bucket")
    target = target_with(
        ("describe_stack_events", {"StackEvents": [old]}),
        ("delete_stack", {}),
        ("describe_stacks", described("DELETE_FAILED")),
        ("describe_stack_events", {"StackEvents": [failed, old]}),
        ("describe_stacks", described("DELETE_FAILED")),
    )
    with pytest.raises(stacks.StackError, match=r"Bucket failed: The bucket .* is not empty"):
        instance._delete_stack(target, STACK_ID)


@pytest.mark.parametrize("status", ["ROLLBACK_COMPLETE", "CREATE_FAILED", "DELETE_FAILED"])
def test_a_left_over_is_to_be_deleted_first(status: str) -> None:
    target = target_with(("describe_stacks", described(status)))
    asked = argparse.Namespace(yes=True)
    with pytest.raises(instance.InstanceError, match=rf"\({status}\).*make instance-delete"):
        instance.create(target, asked)


REFUSALS = {
    "AccessDenied": (
        "User: arn:aws:iam::1:user/me is not authorized to perform: "
        "cloudformation:DescribeStacks on resource: arn:aws:c because no …",
        "You lack the permission cloudformation:DescribeStacks on arn:aws:c",
    ),
    "ExpiredTokenException": ("The security token is expired", "sign in again"),
    "AlreadyExistsException": ("Stack [x] already exists", "has just been made by somebody"),
    "LimitExceededException": ("Stack limit reached", "Service Quotas"),
    "ValidationError": ("Parameter 'VolumeSizeInGB' must be …", "must be …"),
}


@pytest.mark.parametrize("code", REFUSALS)
def test_a_refusal_is_one_sentence(code: str) -> None:
    message, wanted = REFUSALS[code]
    target = target_with(("describe_stacks", (code, message)))
    with pytest.raises(target.cloudformation.exceptions.ClientError) as refused:
        stacks.find(target.cloudformation, instance.NAME)
    output = instance.refusal(refused.value)
    assert wanted in output
    assert "\n" not in output


SURROUNDINGS = {
    "no credentials": ({"AWS_DEFAULT_REGION": REGION}, "Set an account up with `aws configure`"),
    "no region": ({"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}, "No AWS region"),
}


@pytest.mark.parametrize(("variables", "sentence"), SURROUNDINGS.values(), ids=SURROUNDINGS)
def test_what_is_missing_is_reported(
    variables: dict[str, str],
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert instance.main(["status"]) == 1
    (message,) = capsys.readouterr().err.splitlines()
    assert sentence in message


@pytest.mark.parametrize(
    "origin",
    [
        "git@example.org:somebody/workshop.git",
        "ssh://git@example.org/somebody/workshop.git",
        "https://example.org/somebody/workshop.git",
    ],
)
def test_the_origin_becomes_an_address_without_a_key(
    origin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = argparse.Namespace(returncode=0, stdout=origin + "\n")
    monkeypatch.setattr(instance.subprocess, "run", lambda *_, **__: done)
    assert instance._origin() == URL


def test_a_repository_that_cannot_be_cloned_is_refused(
    command: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    for address in ("/somewhere/here", "https://me:secret@example.org/a"):
        assert command("create", "--yes", "--repository", address) == 1
        assert "only from a public https address" in capsys.readouterr().err
