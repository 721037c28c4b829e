"""The gate of the stub AWS: signatures, policies with resources and conditions, AWS's errors."""

import io
import json
import urllib.error
import urllib.request

import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from stub_aws.authorization import Permission, allows
from stub_aws.roles import create_role
from tests.support.policies import read_policy
from tests.support.stub_jobs import BUCKET, LOG_GROUP, ONCE, Account, make_client, unique

TRAINING_JOB = "arn:aws:sagemaker:us-east-1:123456789012:training-job"


def allow(*actions, resource="*", **more):
    return {"Effect": "Allow", "Action": list(actions), "Resource": resource, **more}


def deny(*actions, resource="*", **more):
    return allow(*actions, resource=resource, **more) | {"Effect": "Deny"}


def policy(*statements):
    return {"Version": "2012-10-17", "Statement": list(statements)}


@pytest.fixture(scope="module")
def account(stub_aws):
    return Account(stub_aws.environment, stub_aws.role_arn)


@pytest.fixture(scope="module")
def act_as(stub_aws):
    """Return a function that makes a client of a service for a new role with these policy
    statements."""

    def make(service, *statements, **changes):
        role = create_role(unique("role"), policy(*statements))
        return make_client(stub_aws.environment_of(role), service, **changes)

    return make


def refusal(call, *arguments, **keywords):
    """Return the code, message and HTTP status of the error that a call ends with."""
    with pytest.raises(ClientError) as caught:
        call(*arguments, **keywords)
    response = caught.value.response
    error = response["Error"]
    return error["Code"], error["Message"], response["ResponseMetadata"]["HTTPStatusCode"]


# --- who calls ----------------------------------------------------------------------------------

A_CALL = {
    "s3": ("list_buckets", {}),
    "iam": ("get_role", {"RoleName": "sagemaker-workshop-execution-role"}),
    "sts": ("get_caller_identity", {}),
    "logs": ("describe_log_groups", {}),
    "sagemaker": ("list_training_jobs", {}),
    "cloudwatch": ("list_metrics", {}),
}
SERVICES = sorted(A_CALL)


def call(client, service):
    method, arguments = A_CALL[service]
    return getattr(client, method)(**arguments)


@pytest.mark.parametrize("service", SERVICES)
def test_an_unsigned_request_is_refused(stub_aws, service):
    unsigned = Config(signature_version=UNSIGNED, proxies={})
    client = make_client(stub_aws.environment, service, config=unsigned)
    code, _, status = refusal(call, client, service)
    assert (code, status) == ("MissingAuthenticationToken", 403)


@pytest.mark.parametrize("service", SERVICES)
def test_an_unknown_key_is_refused_in_the_words_of_its_service(stub_aws, service):
    client = make_client(stub_aws.environment, service, aws_access_key_id="ASIAUNKNOWN")
    code, message, status = refusal(call, client, service)
    expected = {"s3": "InvalidAccessKeyId"} | dict.fromkeys(("iam", "sts"), "InvalidClientTokenId")
    assert (code, status) == (expected.get(service, "UnrecognizedClientException"), 403)
    assert message


@pytest.mark.parametrize("service", SERVICES)
def test_a_wrong_secret_is_refused(stub_aws, service):
    client = make_client(stub_aws.environment, service, aws_secret_access_key="guessed")
    code, _, status = refusal(call, client, service)
    assert (code, status) == ("SignatureDoesNotMatch", 403)


def test_another_session_token_is_refused(stub_aws):
    client = make_client(stub_aws.environment, "sagemaker", aws_session_token="stale")
    assert refusal(client.list_training_jobs)[2] == 403


def test_a_request_that_was_changed_on_its_way_is_refused(stub_aws):
    client = make_client(stub_aws.environment, "sagemaker")

    def change(request, **_):
        request.body = json.dumps({"TrainingJobName": "another"}).encode()
        request.headers["Content-Length"] = str(len(request.body))

    client.meta.events.register("before-send.sagemaker", change)
    code, _, _ = refusal(client.describe_training_job, TrainingJobName="one")
    assert code == "SignatureDoesNotMatch"


def test_moto_cannot_be_reset_through_the_stub(stub_aws):
    request = urllib.request.Request(f"{stub_aws.url}/moto-api/reset", method="POST")  # noqa: S310
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with pytest.raises(urllib.error.HTTPError) as caught:
        opener.open(request, timeout=20)
    assert caught.value.code in (403, 501)
    assert make_client(stub_aws.environment, "sts").get_caller_identity()["Account"]


def test_who_am_i_is_always_answered(act_as):
    identity = act_as("sts", deny("*")).get_caller_identity()
    assert identity["Account"] == "123456789012"
    assert ":assumed-role/role-" in identity["Arn"]


# --- what the caller may do -------------------------------------------------------------------


@pytest.mark.parametrize("service", [name for name in SERVICES if name != "sts"])
def test_without_a_policy_nothing_is_allowed_and_the_message_names_all(act_as, service):
    client = act_as(service, allow("ec2:DescribeInstances"))
    code, message, status = refusal(call, client, service)
    action = {
        "s3": "s3:ListAllMyBuckets",
        "iam": "iam:GetRole",
        "logs": "logs:DescribeLogGroups",
        "sagemaker": "sagemaker:ListTrainingJobs",
        "cloudwatch": "cloudwatch:ListMetrics",
    }[service]
    denied = "AccessDenied" if service in ("s3", "iam") else "AccessDeniedException"
    assert (code, status) == (denied, 403)
    assert message.startswith("User: arn:aws:sts::123456789012:assumed-role/role-")
    assert f"is not authorized to perform: {action} on resource: " in message
    assert message.endswith(f"because no identity-based policy allows the {action} action")
    assert call(act_as(service, allow(action)), service)["ResponseMetadata"]


def test_a_bucket_that_the_policy_does_not_name_is_refused(account):
    with pytest.raises(ClientError, match="AccessDenied") as caught:
        account.s3.list_objects_v2(Bucket="sagemaker-someone-elses")
    assert 's3:ListBucket on resource: "arn:aws:s3:::sagemaker-someone-elses"' in str(caught.value)
    code, message, _ = refusal(account.s3.get_object, Bucket="sagemaker-someone-elses", Key="a/b c")
    assert code == "AccessDenied"
    assert 's3:GetObject on resource: "arn:aws:s3:::sagemaker-someone-elses/a/b c"' in message


def test_an_explicit_deny_wins(account, act_as):
    account.put("denied/one", "1")
    account.put("allowed/one", "1")
    everything = allow("*")
    client = act_as("s3", everything, deny("s3:Get*", resource=f"arn:aws:s3:::{BUCKET}/denied/*"))
    assert client.get_object(Bucket=BUCKET, Key="allowed/one")["Body"].read() == b"1"
    code, message, _ = refusal(client.get_object, Bucket=BUCKET, Key="denied/one")
    assert code == "AccessDenied"
    assert message.endswith("with an explicit deny in an identity-based policy: s3:GetObject")


def test_logs_and_roles_are_refused_by_resource(account):
    code, message, _ = refusal(
        account.logs.get_log_events, logGroupName="/other", logStreamName="stream"
    )
    assert (code, ":log-group:/other:log-stream:stream" in message) == (
        "AccessDeniedException",
        True,
    )
    iam = account.client("iam")
    assert iam.get_role(RoleName="sagemaker-workshop-execution-role")["Role"]["Arn"]
    code, message, _ = refusal(iam.get_role, RoleName="administrator")
    assert (code, "role/administrator" in message) == ("AccessDenied", True)


@pytest.mark.parametrize(
    ("statement", "allowed"),
    [
        (allow("*"), True),
        (allow("s3:Get*"), True),
        (allow("S3:GETOBJECT"), True),
        (allow("s3:GetObject?"), False),
        (allow("s3:PutObject", "s3:GetObject"), True),
        (allow("s3:GetObject", resource="arn:aws:s3:::b/*"), True),
        (allow("s3:GetObject", resource=["arn:aws:s3:::c/*", "arn:aws:s3:::b/k"]), True),
        (allow("s3:GetObject", resource="arn:aws:s3:::b"), False),
        (allow("s3:GetObject", resource="arn:aws:s3:::B/*"), False),
        (allow("s3:GetObject", resource="arn:aws:s3:::b/[k]"), False),
        ({"Effect": "Allow", "NotAction": "s3:Delete*", "Resource": "*"}, True),
        ({"Effect": "Allow", "NotAction": "s3:Get*", "Resource": "*"}, False),
        ({"Effect": "Allow", "Action": "*", "NotResource": "arn:aws:s3:::b/*"}, False),
        ({"Effect": "Allow", "Action": "*", "NotResource": "arn:aws:s3:::c/*"}, True),
    ],
)
def test_wildcards_mean_what_they_mean_in_iam(statement, allowed):
    assert allows([policy(statement)], Permission("s3:GetObject", "arn:aws:s3:::b/k")) == allowed


@pytest.mark.parametrize(
    ("operator", "value", "context", "allowed"),
    [
        ("StringEquals", "a", {"k": "a"}, True),
        ("StringEquals", ["b", "a"], {"k": "a"}, True),
        ("StringEquals", "a", {"k": "A"}, False),
        ("StringEquals", "a", {}, False),
        ("StringEqualsIfExists", "a", {}, True),
        ("StringEqualsIfExists", "a", {"k": "b"}, False),
        ("StringNotEquals", "a", {"k": "b"}, True),
        ("StringNotEquals", "a", {"k": "a"}, False),
        ("StringNotEquals", "a", {}, True),  # a negated operator holds where there is no key
        ("StringLike", "a*", {"k": "abc"}, True),
        ("StringLike", "a*", {"k": "xabc"}, False),
        ("ArnLike", "arn:aws:iam::*:role/x", {"k": "arn:aws:iam::1:role/x"}, True),
    ],
)
def test_conditions_are_evaluated(operator, value, context, allowed):
    statement = allow("*", Condition={operator: {"k": value}})
    assert allows([policy(statement)], Permission("a:B", "*", context)) == allowed


def test_all_conditions_must_hold():
    statement = allow("*", Condition={"StringEquals": {"k": "a", "l": "b"}})
    assert allows([policy(statement)], Permission("a:B", "*", {"k": "a", "l": "b"}))
    assert not allows([policy(statement)], Permission("a:B", "*", {"k": "a", "l": "c"}))


def test_a_condition_that_the_stub_does_not_know_is_said(act_as):
    client = act_as("s3", allow("*", Condition={"NumericLessThan": {"s3:max-keys": "10"}}))
    _, message, _ = refusal(client.list_objects_v2, Bucket=BUCKET)
    assert "authorized" in message or "NumericLessThan" in message


def test_a_condition_on_metrics_is_evaluated(account):
    data = [{"MetricName": "m", "Value": 1}]
    account.cloudwatch.put_metric_data(Namespace=LOG_GROUP, MetricData=data)
    code, message, _ = refusal(
        account.cloudwatch.put_metric_data, Namespace="elsewhere", MetricData=data
    )
    assert (code, "cloudwatch:PutMetricData" in message) == ("AccessDeniedException", True)


# --- S3: which permission each call needs -----------------------------------------------------

OBJECT, FOLDER = f"arn:aws:s3:::{BUCKET}/gate/key", f"arn:aws:s3:::{BUCKET}"
HERE = {"Bucket": BUCKET, "Key": "gate/key"}

S3_CALLS = {
    "head_bucket": ({"Bucket": BUCKET}, [("s3:ListBucket", FOLDER)]),
    "list_objects_v2": ({"Bucket": BUCKET}, [("s3:ListBucket", FOLDER)]),
    "list_objects": ({"Bucket": BUCKET}, [("s3:ListBucket", FOLDER)]),
    "list_object_versions": ({"Bucket": BUCKET}, [("s3:ListBucketVersions", FOLDER)]),
    "list_multipart_uploads": ({"Bucket": BUCKET}, [("s3:ListBucketMultipartUploads", FOLDER)]),
    "get_bucket_location": ({"Bucket": BUCKET}, [("s3:GetBucketLocation", FOLDER)]),
    "get_bucket_policy": ({"Bucket": BUCKET}, [("s3:GetBucketPolicy", FOLDER)]),
    "get_bucket_encryption": ({"Bucket": BUCKET}, [("s3:GetEncryptionConfiguration", FOLDER)]),
    "put_bucket_tagging": (
        {"Bucket": BUCKET, "Tagging": {"TagSet": [{"Key": "a", "Value": "b"}]}},
        [("s3:PutBucketTagging", FOLDER)],
    ),
    "get_bucket_tagging": ({"Bucket": BUCKET}, [("s3:GetBucketTagging", FOLDER)]),
    "put_object": (HERE | {"Body": b"x"}, [("s3:PutObject", OBJECT)]),
    "get_object": (HERE, [("s3:GetObject", OBJECT)]),
    "head_object": (HERE, [("s3:GetObject", OBJECT)]),
    "get_object_tagging": (HERE, [("s3:GetObjectTagging", OBJECT)]),
    "copy_object": (
        {"Bucket": BUCKET, "Key": "gate/copy", "CopySource": f"{BUCKET}/gate/key"},
        [("s3:PutObject", f"{FOLDER}/gate/copy"), ("s3:GetObject", OBJECT)],
    ),
    "create_multipart_upload": (HERE, [("s3:PutObject", OBJECT)]),
    "delete_objects": (
        {"Bucket": BUCKET, "Delete": {"Objects": [{"Key": "gate/x"}, {"Key": "gate/y"}]}},
        [("s3:DeleteObject", f"{FOLDER}/gate/x"), ("s3:DeleteObject", f"{FOLDER}/gate/y")],
    ),
    "delete_object": (
        {"Bucket": BUCKET, "Key": "gate/x"},
        [("s3:DeleteObject", FOLDER + "/gate/x")],
    ),
    "create_bucket": (
        {"Bucket": "gate-bucket"},
        [("s3:CreateBucket", "arn:aws:s3:::gate-bucket")],
    ),
    "create_bucket with tags": (
        {
            "Bucket": "gate-tagged",
            "CreateBucketConfiguration": {"Tags": [{"Key": "a", "Value": "b"}]},
        },
        [
            ("s3:CreateBucket", "arn:aws:s3:::gate-tagged"),
            ("s3:TagResource", "arn:aws:s3:::gate-tagged"),
        ],
    ),
    "delete_object of a version": (
        {"Bucket": BUCKET, "Key": "gate/x", "VersionId": "null"},
        [("s3:DeleteObjectVersion", FOLDER + "/gate/x")],
    ),
    "delete_objects of a version": (
        {
            "Bucket": BUCKET,
            "Delete": {"Objects": [{"Key": "gate/x", "VersionId": "null"}, {"Key": "gate/y"}]},
        },
        [("s3:DeleteObjectVersion", f"{FOLDER}/gate/x"), ("s3:DeleteObject", f"{FOLDER}/gate/y")],
    ),
}


def is_denied(client, method, arguments):
    """Whether S3 refuses a call for want of a permission; any other error is no refusal."""
    try:
        getattr(client, method)(**arguments)
    except ClientError as error:
        return error.response["Error"]["Code"] in ("AccessDenied", "403")
    return False


@pytest.mark.parametrize("name", S3_CALLS)
def test_each_s3_call_needs_its_permissions_and_no_others(account, act_as, name):
    account.put("gate/key", "x")
    arguments, needed = S3_CALLS[name]
    method = name.partition(" ")[0]
    exactly = [allow(action, resource=resource) for action, resource in needed]
    assert not is_denied(act_as("s3", *exactly), method, arguments)
    for action, resource in needed:
        client = act_as("s3", allow("*"), deny(action, resource=resource))
        assert is_denied(client, method, arguments), f"{action} was not asked for"


def test_a_multipart_upload_needs_the_right_to_put_and_to_abort(account, act_as):
    large = b"x" * (9 * 1024 * 1024)  # more than one part
    client = act_as("s3", allow("s3:PutObject", resource=OBJECT))
    client.upload_fileobj(io.BytesIO(large), BUCKET, "gate/key")
    assert account.s3.head_object(**HERE)["ContentLength"] == len(large)
    upload = client.create_multipart_upload(**HERE)["UploadId"]
    assert is_denied(client, "abort_multipart_upload", HERE | {"UploadId": upload})
    assert is_denied(client, "list_parts", HERE | {"UploadId": upload})
    aborts = act_as("s3", allow("s3:AbortMultipartUpload", resource=OBJECT))
    aborts.abort_multipart_upload(**HERE, UploadId=upload)


def test_a_key_that_xml_cannot_carry_is_refused_in_a_list_and_deleted_alone(account):
    key = {"Bucket": BUCKET, "Key": "gate/\x01"}
    account.s3.put_object(**key, Body=b"x")
    listed = {"Objects": [{"Key": key["Key"]}]}
    code, _, status = refusal(account.s3.delete_objects, Bucket=BUCKET, Delete=listed)
    assert (code, status) == ("MalformedXML", 400)
    account.s3.delete_object(**key)
    assert account.s3.list_objects_v2(Bucket=BUCKET, Prefix="gate/\x01")["KeyCount"] == 0


@pytest.mark.parametrize("key", ["a b+c/ü%25.txt", "?x=1&y", "tab\there", "a//b", "~*'()!"])
def test_keys_with_odd_characters_are_signed_and_authorized_as_they_are(account, act_as, key):
    account.s3.put_object(Bucket=BUCKET, Key=f"odd/{key}", Body=key.encode())
    client = act_as("s3", allow("s3:GetObject", resource=f"arn:aws:s3:::{BUCKET}/odd/*"))
    assert client.get_object(Bucket=BUCKET, Key=f"odd/{key}")["Body"].read() == key.encode()


# --- training jobs ------------------------------------------------------------------------------

MAY_CREATE = allow("sagemaker:CreateTrainingJob", resource=f"{TRAINING_JOB}/*")


def test_creating_a_job_needs_the_right_to_pass_its_role(account, act_as, stub_aws):
    request = account.request("")
    code, message, _ = refusal(act_as("sagemaker", MAY_CREATE).create_training_job, **request)
    assert code == "AccessDeniedException"
    assert f"iam:PassRole on resource: {stub_aws.role_arn}" in message
    for_another_service = allow(
        "iam:PassRole",
        resource=stub_aws.role_arn,
        Condition={"StringEquals": {"iam:PassedToService": "lambda.amazonaws.com"}},
    )
    client = act_as("sagemaker", MAY_CREATE, for_another_service)
    assert "iam:PassRole" in refusal(client.create_training_job, **request)[1]
    for_sagemaker = allow(
        "iam:PassRole",
        resource=stub_aws.role_arn,
        Condition={"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}},
    )
    client = act_as("sagemaker", MAY_CREATE, for_sagemaker)
    assert client.create_training_job(**request)["TrainingJobArn"]
    tagged = account.request("", Tags=[{"Key": "a", "Value": "b"}])
    assert "sagemaker:AddTags" in refusal(client.create_training_job, **tagged)[1]
    client = act_as(
        "sagemaker",
        MAY_CREATE,
        for_sagemaker,
        allow("sagemaker:AddTags", resource=TRAINING_JOB + "/*"),
    )
    assert client.create_training_job(**tagged)["TrainingJobArn"]
    for job in (request, tagged):
        account.wait(job["TrainingJobName"])


def test_permissions_on_one_job_are_none_on_another(act_as):
    one = allow("sagemaker:DescribeTrainingJob", resource=f"{TRAINING_JOB}/mine-*")
    client = act_as("sagemaker", one)
    code, _, _ = refusal(client.describe_training_job, TrainingJobName="mine-1")
    assert code == "ValidationException"  # it was let by, and there is none
    code, _, _ = refusal(client.describe_training_job, TrainingJobName="yours-1")
    assert code == "AccessDeniedException"


JOB_ROLE = (
    allow("s3:ListBucket", resource=FOLDER),
    allow("s3:GetObject", resource=f"{FOLDER}/*"),
    allow("s3:PutObject", resource=f"{FOLDER}/*"),
)


@pytest.fixture
def passing(stub_aws):
    """Return the account seen by someone who may pass any role."""
    may_all = create_role(unique("administrator"), policy(allow("*")))
    return Account(stub_aws.environment_of(may_all), stub_aws.role_arn)


def test_a_job_role_that_may_not_read_its_data_fails_the_job(passing):
    channels = {"train": (passing.put("gate/train.csv", "x"), "FullyReplicated")}
    source = deny("s3:GetObject", resource=f"{FOLDER}/gate/*")
    role = create_role(unique("cannot-read"), policy(*JOB_ROLE, source))
    description = passing.run("", RoleArn=role, channels=channels)
    assert description["TrainingJobStatus"] == "Failed"
    assert description["FailureReason"].startswith("ClientError: Data download failed")
    assert f"s3://{BUCKET}/gate/train.csv" in description["FailureReason"]
    statuses = [entry["Status"] for entry in description["SecondaryStatusTransitions"]]
    assert statuses == ["Starting", "Downloading", "Failed"]


def test_a_job_role_that_may_not_list_its_data_is_refused_at_once(passing):
    channels = {"train": (passing.put("gate/train.csv", "x"), "FullyReplicated")}
    role = create_role(unique("cannot-list"), policy(*JOB_ROLE[1:]))
    request = passing.request("", RoleArn=role, channels=channels)
    code, message, _ = refusal(passing.sagemaker.create_training_job, **request)
    assert code == "ValidationException"
    assert f'has "s3:ListBucket" permissions on bucket "{BUCKET}"' in message


def test_a_job_role_that_may_not_write_its_model_fails_the_job_at_the_upload(passing):
    role = create_role(unique("cannot-write"), policy(*JOB_ROLE[:2]))
    description = passing.run("(MODEL / 'm').touch()", RoleArn=role)
    assert description["TrainingJobStatus"] == "Failed"
    assert description["FailureReason"].startswith("ClientError: Artifact upload failed:")
    assert "AccessDenied" in description["FailureReason"]
    assert "stub-aws" not in description["FailureReason"]
    assert "s3:PutObject" in description["FailureReason"]
    statuses = [entry["Status"] for entry in description["SecondaryStatusTransitions"]]
    assert statuses == ["Starting", "Downloading", "Training", "Uploading", "Failed"]
    assert "ModelArtifacts" not in description


def test_a_failed_script_stays_the_reason_when_its_upload_fails_too(passing):
    role = create_role(unique("cannot-write"), policy(*JOB_ROLE[:2]))
    description = passing.run("(MODEL / 'm').touch(); sys.exit(3)", RoleArn=role)
    assert description["TrainingJobStatus"] == "Failed"
    assert "ExitCode 3" in description["FailureReason"]


def test_a_script_acts_with_the_role_of_its_job(account):
    description = account.run(
        """
import boto3
identity = boto3.client("sts", endpoint_url=os.environ["AWS_ENDPOINT_URL"]).get_caller_identity()
tell(arn=identity["Arn"])
try:
    boto3.client("s3").list_objects_v2(Bucket="sagemaker-someone-elses")
except boto3.client("s3").exceptions.ClientError as error:
    tell(code=error.response["Error"]["Code"])
"""
    )
    facts = account.facts(description["TrainingJobName"])
    assert ":assumed-role/sagemaker-workshop-execution-role/" in facts["arn"]
    assert facts["code"] == "AccessDenied"


# --- the policy that the workshop ships -------------------------------------------------------


def test_the_shipped_policy_names_its_actions_and_most_of_its_resources():
    statements = read_policy("execution_role_policy.json")["Statement"]
    assert len(statements) > 5
    actions = [action for statement in statements for action in statement["Action"]]
    single_actions = [s["Action"] for s in statements if isinstance(s["Action"], str)]
    assert not any("*" in action for action in [*actions, *single_actions])
    assert not any("${" in json.dumps(statement) for statement in statements)
    everywhere = {
        action
        for statement in statements
        if statement["Resource"] == "*" and "Condition" not in statement
        for action in (
            [statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"]
        )
    }
    # These have no resource that a policy could name (service authorization reference), or, for
    # images, belong to AWS's accounts.
    assert everywhere == {
        "sagemaker:ListNotebookInstances",
        "sagemaker:ListTrainingJobs",
        "ecr:BatchCheckLayerAvailability",
        "ecr:BatchGetImage",
        "ecr:GetAuthorizationToken",
        "ecr:GetDownloadUrlForLayer",
        "cloudwatch:GetMetricStatistics",
    }


@pytest.mark.parametrize(
    ("action", "resource", "context"),
    [
        (
            "iam:PassRole",
            "arn:aws:iam::123456789012:role/other",
            {"iam:PassedToService": "sagemaker.amazonaws.com"},
        ),
        (
            "iam:PassRole",
            "arn:aws:iam::123456789012:role/sagemaker-workshop-execution-role",
            {"iam:PassedToService": "ec2.amazonaws.com"},
        ),
        (
            "iam:PutRolePolicy",
            "arn:aws:iam::123456789012:role/sagemaker-workshop-execution-role",
            {},
        ),
        ("s3:GetObject", "arn:aws:s3:::another-bucket/key", {}),
        ("s3:PutBucketPolicy", f"arn:aws:s3:::{BUCKET}", {}),
        ("s3:DeleteBucket", "arn:aws:s3:::another-bucket", {}),
        ("s3:DeleteBucket", f"arn:aws:s3:::{BUCKET}-2", {}),
        ("sagemaker:CreateEndpoint", "*", {}),
        ("sagemaker:DeleteTrainingJob", f"{TRAINING_JOB}/job", {}),
        (
            "logs:DeleteLogStream",
            "arn:aws:logs:us-east-1:123456789012:log-group:/aws/sagemaker/Endpoints/x:log-stream:y",
            {},
        ),
        ("logs:DeleteLogGroup", f"arn:aws:logs:us-east-1:123456789012:log-group:{LOG_GROUP}", {}),
    ],
)
def test_the_shipped_policy_does_not_allow(action, resource, context):
    shipped = read_policy("execution_role_policy.json")
    assert not allows([shipped], Permission(action, resource, context))


def test_nothing_is_retried(stub_aws):
    """A refusal must come at once: AWS's clients do not retry a 403."""
    client = make_client(
        stub_aws.environment, "s3", config=ONCE.merge(Config(retries={"total_max_attempts": 4}))
    )
    sent = []
    client.meta.events.register("before-send.s3", lambda **_: sent.append(1))
    refusal(client.list_objects_v2, Bucket="sagemaker-someone-elses")
    assert len(sent) == 1
