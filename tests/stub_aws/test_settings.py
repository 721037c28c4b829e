"""What one chooses of a stub AWS: account, region, role, policies, prices; and the defaults."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from lessons.on_stub import PRICES
from stub_aws import account, roles
from stub_aws.authorization import Permission, allows
from stub_aws.console import prices
from tests.support.stub_jobs import PATIENCE_S, PRELUDE, REPOSITORY, make_client, unique

ALL = {"Effect": "Allow", "Action": "*", "Resource": "*"}
VALUES = {"AWS::AccountId": "999999999999", "AWS::Region": "eu-west-1", "ExecutionRoleName": "me"}


def on_stub(*arguments: str | Path, **how: Any) -> subprocess.CompletedProcess[str]:
    """Run `python -m stub_aws` with these arguments, as somebody who has no workshop."""
    return subprocess.run(
        [sys.executable, "-m", "stub_aws", *arguments],
        capture_output=True,
        text=True,
        timeout=3 * PATIENCE_S,
        check=False,
        **how,
    )


def document(*statements: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


# --- a command that knows nothing of all this -----------------------------------------------------

FIT = """
import json, boto3, sagemaker
from sagemaker.sklearn import SKLearn

session = sagemaker.Session()
model = SKLearn(
    "train.py",
    framework_version="1.4-2",
    role=sagemaker.get_execution_role(),
    instance_type="ml.m5.large",
    sagemaker_session=session,
    metric_definitions=[{"Name": "loss", "Regex": "loss=([0-9.]+);"}],
)
model.fit(session.upload_data("train.py"), logs="None")
name = model.latest_training_job.name
logs = boto3.client("logs")
(stream,) = logs.describe_log_streams(logGroupName="/aws/sagemaker/TrainingJobs")["logStreams"]
events = logs.get_log_events(
    logGroupName="/aws/sagemaker/TrainingJobs", logStreamName=stream["logStreamName"]
)["events"]
metrics = boto3.client("cloudwatch").list_metrics(Namespace="/aws/sagemaker/TrainingJobs")
print(json.dumps({
    "bucket": session.default_bucket(),
    "role": model.role,
    "job": boto3.client("sagemaker").describe_training_job(TrainingJobName=name)["TrainingJobArn"],
    "model": model.model_data,
    "log": [event["message"] for event in events],
    "metrics": [metric["MetricName"] for metric in metrics["Metrics"]],
}))
"""


@pytest.mark.parametrize(
    ("options", "number", "region"),
    [
        ([], "123456789012", "us-east-1"),
        (["--account", "999999999999", "--region", "eu-west-1"], "999999999999", "eu-west-1"),
    ],
)
def test_the_sdk_trains_with_no_more_than_it_needs_on_aws(tmp_path, options, number, region):
    """The SDK makes its default bucket by itself, by AWS's managed policy."""
    (tmp_path / "train.py").write_text(PRELUDE + "print('loss=0.5;'); (MODEL / 'm').touch()")
    done = on_stub(*options, sys.executable, "-c", FIT, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    answers = json.loads(done.stdout.splitlines()[-1])
    bucket = f"sagemaker-{region}-{number}"
    assert answers["bucket"] == bucket
    assert answers["role"] == f"arn:aws:iam::{number}:role/sagemaker-execution-role"
    assert answers["job"].startswith(f"arn:aws:sagemaker:{region}:{number}:training-job/")
    assert answers["model"].startswith(f"s3://{bucket}/")
    assert "loss=0.5;" in answers["log"]
    assert answers["metrics"] == ["loss"]


def test_the_default_role_may_no_more_than_aws_managed_policy(stub_aws):
    role = stub_aws.create_role(unique("full-access"), roles.FULL_ACCESS)
    s3 = make_client(stub_aws.environment_of(role), "s3")
    s3.create_bucket(Bucket="somebodys-bucket")
    for bucket in ("somebodys-bucket", "somebodys-sagemaker-bucket"):
        s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket="somebodys-sagemaker-bucket", Key="a", Body=b"1")
    with pytest.raises(ClientError, match=r"AccessDenied.* s3:PutObject"):
        s3.put_object(Bucket="somebodys-bucket", Key="a", Body=b"1")
    iam = make_client(stub_aws.environment_of(role), "iam")
    with pytest.raises(ClientError, match=r"AccessDenied.* iam:GetRole"):
        iam.get_role(RoleName=stub_aws.role_name)


# --- policies -------------------------------------------------------------------------------------

ASK = """
import boto3
print(boto3.client("sts").get_caller_identity()["Arn"])
boto3.client("s3").create_bucket(Bucket="999999999999-eu-west-1-me")
print([bucket["Name"] for bucket in boto3.client("s3").list_buckets()["Buckets"]])
"""


def test_several_policies_of_ones_own_with_values_filled_in(tmp_path):
    name = "${AWS::AccountId}-${AWS::Region}-${ExecutionRoleName}"
    make = {"Effect": "Allow", "Action": "s3:*", "Resource": f"arn:${{AWS::Partition}}:s3:::{name}"}
    (tmp_path / "make.json").write_text(json.dumps(document(make)))
    region = ["--region", "eu-west-1", "--account", "999999999999", "--role-name", "me"]
    reads = ["--role-policy", "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"]
    script = ASK.replace(
        '-me")', '-me", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})'
    )
    done = on_stub(
        *(*region, *reads, "--policy", tmp_path / "make.json"), *(sys.executable, "-c", script)
    )
    assert done.stdout.splitlines() == [
        "arn:aws:sts::999999999999:assumed-role/me/SageMaker",
        "['999999999999-eu-west-1-me']",
    ], done.stderr


def test_variables_of_iam_itself_stay(tmp_path):
    statement = {"Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws:s3:::${aws:username}/*"}
    file = tmp_path / "policy.json"
    file.write_text(json.dumps(document(statement)))
    assert roles.read_policy(file, VALUES) == document(statement)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, r"The policy .*policy\.json cannot be read: No such file or directory\."),
        ("{", r"The policy .*policy\.json is not JSON: Expecting"),
        ("[]", r"The policy .*policy\.json is not a JSON object\."),
        (
            json.dumps(document({**ALL, "Resource": "${NotebookInstanceName}"})),
            r"asks for \$\{NotebookInstanceName\}\. Known are \$\{AWS::AccountId\}, .*: write the",
        ),
    ],
)
def test_a_policy_file_that_cannot_be_used_is_named(tmp_path, text, sentence):
    file = tmp_path / "policy.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(roles.PolicyError, match=sentence):
        roles.read_policy(file, VALUES)


@pytest.mark.parametrize(
    ("policy", "sentence"),
    [
        ("arn:aws:iam::aws:policy/NoSuchPolicy", "AWS manages no policy .*/NoSuchPolicy, as far"),
        ("arn:aws:iam::aws:policy/service-role/AmazonSageMakerFullAccess", "AWS manages no policy"),
        ({"Version": "2012-10-17"}, "Policy 1 of the role .*: Syntax errors in policy"),
        (document({"Effect": "Allow", "Action": "s3:*"}), "Policy 1 .* must contain resources"),
    ],
)
def test_a_policy_that_aws_would_refuse_is_refused(stub_aws, policy, sentence):
    with pytest.raises(roles.PolicyError, match=sentence):
        stub_aws.create_role(unique("refused"), policy)


@pytest.mark.parametrize(
    ("condition", "context", "holds"),
    [
        ({"StringEqualsIgnoreCase": {"k": "TRUE"}}, {"k": "true"}, True),
        ({"StringEqualsIgnoreCase": {"k": "TRUE"}}, {"k": "other"}, False),
        ({"StringEqualsIgnoreCase": {"k": "TRUE"}}, {}, False),
        ({"StringNotLike": {"k": "a*"}}, {"k": "abc"}, False),
        ({"StringNotLike": {"k": "a*"}}, {"k": "b"}, True),
        ({"StringNotLike": {"k": "a*"}}, {}, True),
        ({"ArnNotEquals": {"k": "arn:a"}}, {"k": "arn:a"}, False),
        ({"NotIpAddress": {"k": "10.0.0.0/8"}}, {}, True),
        ({"Null": {"k": "true"}}, {}, True),
        ({"Null": {"k": True}}, {"k": "a"}, False),
        ({"Null": {"k": "false"}}, {"k": "a"}, True),
        ({"ForAllValues:StringEquals": {"k": ["a"]}}, {}, True),
        ({"Bool": {"k": "true"}}, {}, False),
    ],
)
def test_conditions_of_other_peoples_policies(condition, context, holds):
    policy = document({**ALL, "Condition": condition})
    assert allows([policy], Permission("s3:GetObject", "*", context)) is holds


# --- account and region ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "region", "sentence"),
    [
        ("12345", "us-east-1", "An account's number has 12 digits, and '12345' has not."),
        ("12345678901x", "us-east-1", "has 12 digits"),
        ("123456789012", "mars", "There is no region 'mars' with SageMaker .* us-east-1"),
        ("123456789012", "cn-north-1", "There is no region 'cn-north-1'"),
    ],
)
def test_an_account_or_region_that_aws_has_not_is_refused(number, region, sentence):
    with pytest.raises(account.AccountError, match=sentence):
        account.check(number, region)


@pytest.mark.parametrize(
    "options",
    [["--region", "mars"], ["--account", "1"], ["--policy", "no.json"], ["--prices", "no.csv"]],
)
def test_a_wrong_option_is_one_line_and_nothing_runs(options):
    done = on_stub(*options, sys.executable, "-c", "print('ran')")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("stub AWS: ")
    assert done.stderr.count("\n") == 1


# --- one in a process -----------------------------------------------------------------------------

TWO = """
import boto3
from stub_aws.aws import StubAWS
from tests.support.stub_jobs import make_client

try:
    StubAWS(policies=[{"Version": "2012-10-17"}])
except ValueError as error:
    print(type(error).__name__)
for _ in range(3):
    with StubAWS() as stub:
        try:
            StubAWS()
        except RuntimeError as error:
            print(error)
        s3 = make_client(stub.environment, "s3")
        print(len(s3.list_buckets()["Buckets"]))
        s3.create_bucket(Bucket="one")
"""


def test_a_process_has_one_stub_at_a_time_and_each_begins_empty():
    done = subprocess.run(
        [sys.executable, "-c", TWO],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    refused = "A process can have one stub AWS at a time: close the other first."
    assert done.stdout.splitlines() == ["PolicyError", *(3 * [refused, "0"])], done.stderr


# --- prices ---------------------------------------------------------------------------------------

JOB = {
    "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 2},
    "BillableTimeInSeconds": 90,
}


def test_prices_are_those_of_training_in_the_region(tmp_path):
    listed = prices.read(PRICES, "us-east-1")
    assert listed["ml.m5.large"].usd_per_hour == 0.115
    assert "ml.t3.medium" not in listed  # a notebook's
    assert prices.read(PRICES, "eu-west-1") == {}
    plain = tmp_path / "plain.csv"
    plain.write_text("instance_type,usd_per_hour\nml.m5.large,1.5\n")
    assert prices.read(plain, "eu-west-1")["ml.m5.large"].usd_per_hour == 1.5


def test_a_bill_is_seconds_by_machines_by_price():
    bill = prices.bill(JOB, None, prices.read(PRICES, "us-east-1"))
    assert bill["usd"] == pytest.approx(90 * 2 / 3600 * 0.115)
    assert bill["billed_seconds"] == 180
    assert bill["cost"] == (
        "90 s x 2 x ml.m5.large ($0.115 per hour, us-east-1, 2026-08-11); on AWS about $0.0127, "
        "with some 110 s more on each machine to download data and image"
    )


@pytest.mark.parametrize(
    ("listed", "why"), [(None, "has no prices (see --prices)"), ({}, "has no price of this type")]
)
def test_without_a_price_there_are_seconds_and_no_sum(listed, why):
    assert prices.bill(JOB, None, listed) == {
        "billed_seconds": 180,
        "usd": None,
        "cost": f"90 s x 2 x ml.m5.large; the stub AWS {why}",
    }


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "cannot be read: .*No such file"),
        (b"\xff\xfe", "cannot be read: .*decode"),
        (b"", "lacks the column instance_type and usd_per_hour"),
        (b"instance_type,usd\na,1\n", "lacks the column usd_per_hour: its first line must name"),
        (b"instance_type,usd_per_hour\nml.m5.large,free\n", "line 2: usd_per_hour must be a numb"),
        (b"instance_type,usd_per_hour\nml.m5.large,0\n", "line 2: usd_per_hour must be a number"),
        (b"instance_type,usd_per_hour\nml.m5.large\n", "line 2: usd_per_hour must be a number"),
        (b"instance_type,usd_per_hour\n,1\n", "line 2: instance_type is empty"),
    ],
)
def test_a_price_file_that_cannot_be_used_is_named(tmp_path, text, sentence):
    file = tmp_path / "prices.csv"
    if text is not None:
        file.write_bytes(text)
    with pytest.raises(prices.PriceError, match=rf"prices\.csv.*{sentence}"):
        prices.read(file, "us-east-1")
