"""The CloudFormation template of the workshop's resources: its text, and what a stack of it has.

No real CloudFormation was asked. cfn-lint holds the template against AWS's own description of each
resource; moto makes it, as far as it can (see moto_cloudformation.py). What moto knows nothing of
is looked up in the template itself: the platform, the version of the metadata service, who owns
objects, and the bucket's policy.
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from cfnlint.api import ManualArgs
from cfnlint.api import lint as cfn_lint

import workshop
from notebook_instance import instance
from notebook_instance import template as instance_template
from stub_aws.authorization import Permission, allows
from stub_aws.aws import StubAWS
from stub_aws.roles import create_role
from tests.support import moto_cloudformation
from tests.support.policies import read_policy
from tests.support.stub_jobs import make_client

FOLDER = instance_template.FOLDER
SCRIPTS = ("on_create.sh", "on_start.sh", "auto_stop.py", "environment.sh")
REGION = "eu-west-1"  # another than the other tests': the bucket and the role of each are its own
ROLE = f"sagemaker-workshop-execution-role-{REGION}"
BUCKET = f"sagemaker-workshop-123456789012-{REGION}"
URL = "https://example.org/somebody/workshop.git"
ADMINISTRATOR = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
}


class Stack:
    """A stack of the template on the stub AWS, and clients to look at what it has made."""

    def __init__(self, stub: StubAWS) -> None:
        environment = stub.environment_of(create_role("template-tests", ADMINISTRATOR))
        services = ("cloudformation", "s3", "iam", "sagemaker")
        clients = {name: make_client(environment, name, region_name=REGION) for name in services}
        self.cloudformation, self.s3, self.iam, self.sagemaker = clients.values()
        parameters = {"RepositoryUrl": URL, "ExecutionRoleName": ROLE, "IdleMinutes": "45"}
        self.cloudformation.create_stack(
            StackName="template-test",
            TemplateBody=instance_template.body(),
            Parameters=[{"ParameterKey": k, "ParameterValue": v} for k, v in parameters.items()],
            Capabilities=["CAPABILITY_NAMED_IAM"],
            Tags=[workshop.WORKSHOP_TAG],
        )


@pytest.fixture(scope="module")
def stack(stub_aws: StubAWS) -> Iterator[Stack]:
    moto_cloudformation.extend()
    made = Stack(stub_aws)
    yield made
    made.sagemaker.stop_notebook_instance(NotebookInstanceName=instance.NAME)
    made.cloudformation.delete_stack(StackName="template-test")
    made.s3.delete_bucket(
        Bucket=BUCKET
    )  # it is still there: see test_the_bucket_outlives_the_stack


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    return instance_template.compose()


def resource(template: dict[str, Any], name: str) -> dict[str, Any]:
    return template["Resources"][name]["Properties"]


# ---- the template itself -----------------------------------------------------------------------


def lint(text: str) -> list[str]:
    return [str(match) for match in cfn_lint(text, config=ManualArgs(regions=["us-east-1"]))]


def test_cfn_lint_finds_nothing() -> None:
    text = instance_template.body()
    assert lint(text) == []
    # And it would find a misspelt property, a value that AWS does not know, a lost reference.
    for original, broken in (
        ('"PlatformIdentifier"', '"PlattformIdentifier"'),
        ('"RootAccess": "Disabled"', '"RootAccess": "No"'),
        ('{"Ref": "InstanceType"}', '{"Ref": "InstanceTyp"}'),
    ):
        assert original in text
        assert lint(text.replace(original, broken)) != [], broken


def test_nothing_is_left_to_fill_in() -> None:
    text = instance_template.body()
    assert instance_template.MARK not in text
    assert len(text.encode()) < instance_template.MOST_BYTES


def test_the_template_carries_no_policy_by_hand() -> None:
    """Every action that the role gets stands in the files that are put in, and only there."""
    assert "sagemaker:" not in instance_template.TEMPLATE.read_text(encoding="utf-8")
    assert "iam:" not in instance_template.TEMPLATE.read_text(encoding="utf-8")


def test_what_moto_does_not_know(template: dict[str, Any]) -> None:
    machine = resource(template, "NotebookInstance")
    assert machine["PlatformIdentifier"] == "notebook-al2023-v1"
    metadata = machine["InstanceMetadataServiceConfiguration"]
    assert metadata == {"MinimumInstanceMetadataServiceVersion": "2"}
    owner = resource(template, "Bucket")["OwnershipControls"]["Rules"]
    assert owner == [{"ObjectOwnership": "BucketOwnerEnforced"}]


def test_the_bucket_outlives_the_stack(template: dict[str, Any]) -> None:
    """CloudFormation would delete what has its name, whoever made it; instance.py looks."""
    for name in ("Bucket", "BucketPolicy"):
        about = template["Resources"][name]
        assert about["DeletionPolicy"] == "RetainExceptOnCreate"
        assert about["UpdateReplacePolicy"] == "Retain"


def test_only_tls_reaches_the_bucket(template: dict[str, Any]) -> None:
    (statement,) = resource(template, "BucketPolicy")["PolicyDocument"]["Statement"]
    assert (statement["Effect"], statement["Principal"]) == ("Deny", "*")
    assert statement["Action"] == "s3:*"
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert statement["Resource"] == [
        {"Fn::GetAtt": ["Bucket", "Arn"]},
        {"Fn::Sub": "${Bucket.Arn}/*"},
    ]


def test_all_that_can_carry_the_tag_carries_it(template: dict[str, Any]) -> None:
    for name in ("Bucket", "ExecutionRole", "NotebookInstance"):
        assert resource(template, name)["Tags"] == [workshop.WORKSHOP_TAG], name


def test_where_the_bucket_is_there_it_is_not_made(template: dict[str, Any]) -> None:
    conditional = {n for n, r in template["Resources"].items() if r.get("Condition")}
    assert conditional == {"Bucket", "BucketPolicy"}
    text = json.dumps({n: r for n, r in template["Resources"].items() if n not in conditional})
    assert '"Bucket"' not in text  # nothing else would miss it


BAD_PARAMETERS = {
    "a quote would end the script's string": ("RepositoryUrl", "https://x.org/a'; reboot; '"),
    "a password in the address": ("RepositoryUrl", "https://me:secret@example.org/a"),
    "ssh needs a key": ("RepositoryUrl", "git@example.org:a/b"),
    "quote in pip's index": ("PipExtraIndexUrl", "https://x.org/'$(reboot)'"),
}


@pytest.mark.parametrize(("name", "value"), BAD_PARAMETERS.values(), ids=BAD_PARAMETERS)
def test_what_goes_into_a_script_is_checked(
    template: dict[str, Any], name: str, value: str
) -> None:
    pattern = template["Parameters"][name]["AllowedPattern"]
    assert not re.fullmatch(pattern, value)
    assert re.fullmatch(pattern, URL)


# ---- a stack of it -----------------------------------------------------------------------------


def test_the_bucket(stack: Stack) -> None:
    """Private, encrypted, tagged, and it forgets: as S3 itself tells."""
    encryption = stack.s3.get_bucket_encryption(Bucket=BUCKET)["ServerSideEncryptionConfiguration"]
    (rule,) = encryption["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    block = stack.s3.get_public_access_block(Bucket=BUCKET)["PublicAccessBlockConfiguration"]
    assert len(block) == 4
    assert all(block.values())
    assert workshop.WORKSHOP_TAG in stack.s3.get_bucket_tagging(Bucket=BUCKET)["TagSet"]
    rules = stack.s3.get_bucket_lifecycle_configuration(Bucket=BUCKET)["Rules"]
    assert {rule["Status"] for rule in rules} == {"Enabled"}
    assert [rule["Expiration"]["Days"] for rule in rules if "Expiration" in rule] == [90]
    uploads = [rule.get("AbortIncompleteMultipartUpload") for rule in rules]
    assert {"DaysAfterInitiation": 1} in uploads


def test_the_bucket_is_the_one_that_the_lessons_use(stack: Stack) -> None:
    workshop.ensure_bucket(stack.s3, BUCKET, "123456789012")  # finds nothing to do
    assert workshop.bucket_name("123456789012", REGION) == BUCKET
    assert stack.s3.get_bucket_location(Bucket=BUCKET)["LocationConstraint"] == REGION


def test_the_role_has_the_policy_that_the_tests_enforce(stack: Stack) -> None:
    policy = stack.iam.get_role_policy(RoleName=ROLE, PolicyName="workshop")["PolicyDocument"]
    assert policy == read_policy("execution_role_policy.json", ROLE, REGION)
    trust = stack.iam.get_role(RoleName=ROLE)["Role"]["AssumeRolePolicyDocument"]
    assert trust == read_policy("execution_role_trust.json")
    names = stack.iam.list_role_policies(RoleName=ROLE)["PolicyNames"]
    assert sorted(names) == ["auto-stop", "workshop"]
    assert stack.iam.list_attached_role_policies(RoleName=ROLE)["AttachedPolicies"] == []


def test_the_instance_may_stop_itself_and_no_other(stack: Stack) -> None:
    policy = stack.iam.get_role_policy(RoleName=ROLE, PolicyName="auto-stop")["PolicyDocument"]
    arn = f"arn:aws:sagemaker:{REGION}:123456789012:notebook-instance/"
    for action in ("sagemaker:StopNotebookInstance", "sagemaker:DescribeNotebookInstance"):
        assert allows([policy], Permission(action, arn + instance.NAME))
        assert not allows([policy], Permission(action, arn + "another"))
    assert not allows([policy], Permission("sagemaker:StartNotebookInstance", arn + instance.NAME))


def test_the_notebook_instance(stack: Stack) -> None:
    about = stack.sagemaker.describe_notebook_instance(NotebookInstanceName=instance.NAME)
    assert about["InstanceType"] == "ml.t3.medium"
    assert about["VolumeSizeInGB"] == 20
    assert about["RootAccess"] == "Disabled"
    assert about["DirectInternetAccess"] == "Enabled"
    assert about["RoleArn"].endswith(f":role/{ROLE}")


def lifecycle_scripts(stack: Stack) -> dict[str, str]:
    """Return the two scripts as SageMaker has them, decoded."""
    about = stack.sagemaker.describe_notebook_instance(NotebookInstanceName=instance.NAME)
    answer = stack.sagemaker.describe_notebook_instance_lifecycle_config(
        NotebookInstanceLifecycleConfigName=about["NotebookInstanceLifecycleConfigName"]
    )
    encoded = {hook: answer[hook][0]["Content"] for hook in ("OnCreate", "OnStart")}
    # https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_NotebookInstanceLifecycleHook.html
    assert all(len(text) <= 16_384 for text in encoded.values())
    return {hook: base64.b64decode(text).decode("ascii") for hook, text in encoded.items()}


def test_the_lifecycle_scripts_are_our_files(stack: Stack) -> None:
    scripts = lifecycle_scripts(stack)
    head = f"#!/bin/bash\nREPOSITORY_URL='{URL}'\n"
    assert scripts["OnCreate"] == head + (FOLDER / "on_create.sh").read_text()
    head, start = scripts["OnStart"].split("END_OF_AUTO_STOP\n", 1)[0], scripts["OnStart"]
    assert head.startswith("#!/bin/bash\nIDLE_MINUTES=45\nPIP_EXTRA_INDEX_URL=''\n")
    assert (FOLDER / "auto_stop.py").read_text() in start
    assert start.endswith("END_OF_AUTO_STOP\n" + (FOLDER / "on_start.sh").read_text())
    for text in scripts.values():
        done = subprocess.run(
            ["bash", "-n"], input=text, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


def test_the_embedded_file_arrives_byte_for_byte(stack: Stack) -> None:
    upto = lifecycle_scripts(stack)["OnStart"].partition("# Runs as root at every start")[0]
    done = subprocess.run(
        ["bash", "-c", upto + 'printf %s "$AUTO_STOP"'], capture_output=True, check=True
    )
    assert done.stdout == (FOLDER / "auto_stop.py").read_bytes()


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_have_unix_line_ends(name: str) -> None:
    """With others the instance says: bad interpreter /bin/bash^M."""
    content = (FOLDER / name).read_bytes()
    assert b"\r" not in content
    assert content.endswith(b"\n")
    content.decode("ascii")  # base64 makes more than one character of each other one
