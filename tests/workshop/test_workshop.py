"""The room workshop: nothing made twice, nothing made public, nothing unpacked unsafely."""

import io
import subprocess
import sys
import tarfile
from importlib import metadata
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

import workshop
from stub_aws import moto_s3
from tests.support.strangers import TAGS, everything_of

REGION = "eu-west-1"  # not S3's default region, which is made differently
SCRIPTS = Path(workshop.__file__).parent
SDK_2 = metadata.version("sagemaker")


@pytest.fixture
def aws(monkeypatch, tmp_path):
    """Return an empty AWS in memory, and no trace of whoever runs the tests."""
    settings = (workshop.ROLE_VARIABLE, "SAGEMAKER_WORKSHOP_BUCKET")
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_REGION", *settings):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "test")
    config = tmp_path / "config.yaml"
    config.write_text(
        "SchemaVersion: '1.0'\n"
        "SageMaker:\n  PythonSDK:\n    Modules:\n      TelemetryOptOut: true\n"
    )
    monkeypatch.setenv("SAGEMAKER_USER_CONFIG_OVERRIDE", str(config))
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    moto_s3.mend()
    with mock_aws():
        yield boto3.client("s3")


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Two small channels in place of the shipped lists."""
    channels = {}
    for channel in ("train", "test"):
        channels[channel] = tmp_path / f"titanic_{channel}.csv"
        channels[channel].write_text(f"Survived\n{len(channel) % 2}\n")
    monkeypatch.setattr(workshop, "CHANNELS", channels)
    return channels


def refuse(code, operation):
    def call(**_):
        raise ClientError({"Error": {"Code": code, "Message": "no"}}, operation)

    return call


# --- the SDK ------------------------------------------------------------------------------------


def test_importing_is_cheap():
    heavy = "{'sagemaker', 'boto3', 'pandas', 'xgboost'} & set(sys.modules)"
    code = f"import sys, workshop, costs, jobs; print({heavy})"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=SCRIPTS, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "set()"


def test_installed_sdk_is_accepted():
    assert workshop.check_sdk() == metadata.version("sagemaker")


@pytest.mark.parametrize("version", ["3.27.0", "1.72.1", "20.0"])
def test_other_major_version_is_refused_with_a_remedy(monkeypatch, version):
    monkeypatch.setattr(metadata, "version", lambda _: version)
    with pytest.raises(workshop.WorkshopError, match=f"has {version}.*sagemaker>=2.257,<3"):
        workshop.check_sdk()


def test_a_lesson_of_version_3_refuses_version_2_and_names_its_kernel():
    with pytest.raises(workshop.WorkshopError) as caught:
        workshop.check_sdk(3)
    sentence = str(caught.value)
    assert f"needs version 3 of the SageMaker SDK, this kernel has {SDK_2}: " in sentence
    assert "run `make sdk3` and choose the kernel Python 3 (SageMaker SDK 3)" in sentence


def test_version_3_is_known_by_its_part_for_training(monkeypatch):
    def parts(name):
        if name == "sagemaker-train":
            return "1.27.0"
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", parts)
    assert workshop.check_sdk(3) == "3 (sagemaker-train 1.27.0)"
    with pytest.raises(workshop.WorkshopError, match=r"has 3 \(sagemaker-train 1\.27\.0\)"):
        workshop.check_sdk()


def test_missing_sdk_is_refused_with_a_remedy(monkeypatch):
    def absent(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", absent)
    with pytest.raises(workshop.WorkshopError, match="not installed in this kernel"):
        workshop.check_sdk()


# --- session and bucket -------------------------------------------------------------------------


def test_session_makes_a_private_tagged_bucket_in_its_region(aws):
    bucket = workshop.session().default_bucket()
    assert bucket == "sagemaker-workshop-123456789012-eu-west-1"
    assert aws.get_bucket_location(Bucket=bucket)["LocationConstraint"] == REGION
    block = aws.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
    assert set(block.values()) == {True}
    assert len(block) == 4
    assert aws.get_bucket_tagging(Bucket=bucket)["TagSet"] == [workshop.WORKSHOP_TAG]


def test_bucket_in_the_default_region_is_made_too(aws, monkeypatch):
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    bucket = workshop.session().default_bucket()
    assert boto3.client("s3").get_bucket_location(Bucket=bucket)["LocationConstraint"] is None


def test_second_session_changes_nothing(aws, monkeypatch):
    workshop.session()
    for change in ("create_bucket", "put_bucket_tagging", "put_public_access_block"):
        monkeypatch.setattr(aws, change, refuse("Changed", change))
    workshop.ensure_bucket(aws, workshop.bucket_name("123456789012", REGION), "123456789012")


def test_run_that_is_cut_off_while_it_makes_the_bucket_leaves_no_doubt_whose_it_is(
    aws, monkeypatch
):
    """It is made and tagged by one call, so nothing is left to finish or to guess."""
    bucket = workshop.bucket_name("123456789012", REGION)

    def cut_off(**_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        for call in ("put_bucket_tagging", "put_public_access_block"):
            patch.setattr(aws, call, cut_off)
        with pytest.raises(KeyboardInterrupt):
            workshop.ensure_bucket(aws, bucket, "123456789012")
    assert aws.get_bucket_tagging(Bucket=bucket)["TagSet"] == [workshop.WORKSHOP_TAG]
    assert workshop.session().default_bucket() == bucket


@pytest.mark.parametrize("tags", TAGS.values(), ids=TAGS)
@pytest.mark.parametrize("full", [True, False], ids=["full", "empty"])
def test_bucket_that_somebody_else_made_is_not_used_and_stays_as_it_is(aws, tags, full):
    bucket = workshop.bucket_name("123456789012", REGION)
    aws.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    if tags:
        aws.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": tags})
    if full:
        aws.put_object(Bucket=bucket, Key="theirs", Body=b"1")
    before = everything_of(aws, bucket)
    with pytest.raises(workshop.WorkshopError) as caught:
        workshop.session()
    message = str(caught.value)
    assert message.startswith(f"There is a bucket {bucket} without the workshop's tag")
    assert f"set SAGEMAKER_WORKSHOP_BUCKET={bucket} to use it" in message
    assert len(message.splitlines()) == 1
    assert everything_of(aws, bucket) == before


@pytest.mark.parametrize(
    ("code", "operation"),
    [
        ("403", "head_bucket"),  # somebody else's, or no permission to look
        ("BucketAlreadyExists", "create_bucket"),
        ("AccessDenied", "create_bucket"),
        ("AccessDenied", "put_public_access_block"),
    ],
)
def test_bucket_of_others_or_a_missing_permission_is_one_clear_sentence(
    aws, monkeypatch, code, operation
):
    monkeypatch.setattr(aws, operation, refuse(code, operation))
    with pytest.raises(workshop.WorkshopError, match=rf"{operation}: {code}.*another account"):
        workshop.ensure_bucket(aws, "sagemaker-workshop-x", "123456789012")


def test_other_bucket_trouble_is_passed_on(aws, monkeypatch):
    monkeypatch.setattr(aws, "create_bucket", refuse("TooManyBuckets", "create_bucket"))
    with pytest.raises(workshop.WorkshopError, match="TooManyBuckets"):
        workshop.ensure_bucket(aws, "sagemaker-workshop-x", "123456789012")


def test_missing_region_says_what_to_set(aws, monkeypatch, tmp_path):
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(workshop.WorkshopError, match="AWS_DEFAULT_REGION"):
        workshop.session()


def test_missing_credentials_say_what_to_do(monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    with pytest.raises(workshop.WorkshopError, match="make workshop"):
        workshop.session()


def test_session_for_a_clean_up_makes_no_bucket(aws):
    workshop.session(make_bucket=False)
    assert aws.list_buckets()["Buckets"] == []


def test_bucket_that_aws_still_deletes_is_a_matter_of_time(aws, monkeypatch):
    monkeypatch.setattr(aws, "create_bucket", refuse("OperationAborted", "create_bucket"))
    with pytest.raises(workshop.WorkshopError, match=r"busy with deleting.*try again"):
        workshop.ensure_bucket(aws, "sagemaker-workshop-x", "123456789012")


@pytest.mark.parametrize(
    ("code", "message", "permission"),
    [
        (
            "AccessDenied",
            'User: arn:x is not authorized to perform: s3:ListBucket on resource: "arn:aws:s3:::b" '
            "because no identity-based policy allows the s3:ListBucket action",
            "s3:ListBucket on arn:aws:s3:::b",
        ),
        (
            "AccessDeniedException",
            "User: arn:x is not authorized to perform: sagemaker:Search with an explicit deny",
            "sagemaker:Search",
        ),
        ("AccessDenied", "Access Denied", "to call GetThing"),
        ("Throttling", "not authorized to perform: s3:ListBucket", None),
    ],
)
def test_missing_permission_is_read_from_the_refusal(code, message, permission):
    error = ClientError({"Error": {"Code": code, "Message": message}}, "GetThing")
    assert workshop.missing_permission(error) == permission


# --- role ---------------------------------------------------------------------------------------


def test_role_from_the_environment_wins(aws, monkeypatch):
    arn = "arn:aws:iam::123456789012:role/mine"
    monkeypatch.setenv(workshop.ROLE_VARIABLE, arn)
    assert workshop.execution_role(workshop.session()) == arn


def test_role_that_is_a_user_is_refused(aws, monkeypatch):
    monkeypatch.setenv(workshop.ROLE_VARIABLE, "arn:aws:iam::123456789012:user/me")
    with pytest.raises(workshop.WorkshopError, match="must be the ARN of a role"):
        workshop.execution_role(workshop.session())


def test_user_without_a_role_reads_what_to_set(aws):
    with pytest.raises(workshop.WorkshopError, match=workshop.ROLE_VARIABLE):
        workshop.execution_role(workshop.session())


def test_tags_name_the_workshop_and_the_lesson_and_are_fresh_each_time():
    tags = workshop.tags("03")
    assert tags == [workshop.WORKSHOP_TAG, {"Key": "lesson", "Value": "03"}]
    tags[0]["Value"] = "changed"
    assert workshop.tags("03")[0] == {"Key": "workshop", "Value": "sagemaker-training"}


# --- where am I ---------------------------------------------------------------------------------


def test_home_on_a_real_account_warns_of_the_bill(aws):
    text = workshop.home(workshop.session())
    assert text.startswith("You are on your machine; AWS calls go to https://")
    assert "are billed" in text


def test_home_on_a_notebook_instance_names_it(aws, monkeypatch, tmp_path):
    file = tmp_path / "resource-metadata.json"
    file.write_text('{"ResourceName": "my-notebook", "ResourceArn": "arn:aws:sagemaker:x"}')
    monkeypatch.setattr(workshop, "NOTEBOOK_METADATA", file)
    text = workshop.home(workshop.session())
    assert text.startswith("You are on the notebook instance my-notebook; AWS calls go to https://")
    assert text.endswith(": this instance, jobs and storage are billed.")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_home_with_calls_that_stay_here_says_that_nothing_is_billed(aws, monkeypatch, host):
    session = workshop.session()
    monkeypatch.setattr(session.sagemaker_client.meta, "_endpoint_url", f"http://{host}:5000")
    assert workshop.home(session) == (
        f"AWS calls go to http://{host}:5000, on this machine: nothing is billed."
    )


def test_home_with_a_host_that_only_looks_local_is_billed(aws, monkeypatch):
    session = workshop.session()
    monkeypatch.setattr(session.sagemaker_client.meta, "_endpoint_url", "https://localhost.example")
    assert "are billed" in workshop.home(session)


# --- data ---------------------------------------------------------------------------------------


def test_data_is_uploaded_once_and_again_only_when_it_changed(aws, files):
    session = workshop.session()
    uris = workshop.ensure_data(session)
    bucket = session.default_bucket()
    assert uris == {c: f"s3://{bucket}/data/{c}/" for c in ("train", "test")}

    uploads = []
    session.boto_session.events.register(
        "provide-client-params.s3.PutObject", lambda params, **_: uploads.append(params["Key"])
    )
    assert workshop.ensure_data(session) == uris
    assert uploads == []

    files["test"].write_text("Survived\n1\n")
    workshop.ensure_data(session)
    assert uploads == [f"data/test/{files['test'].name}"]
    stored = aws.get_object(Bucket=bucket, Key="data/test/titanic_test.csv")["Body"].read()
    assert stored == b"Survived\n1\n"


def test_channel_that_holds_something_else_is_refused(aws, files):
    session = workshop.session()
    workshop.ensure_data(session)
    aws.put_object(Bucket=session.default_bucket(), Key="data/train/copy.csv", Body=b"x")
    with pytest.raises(workshop.WorkshopError, match=r"data/train/copy\.csv"):
        workshop.ensure_data(session)


def test_prefix_that_only_begins_alike_and_a_console_folder_do_no_harm(aws, files):
    session = workshop.session()
    aws.put_object(Bucket=session.default_bucket(), Key="data/training/other.csv", Body=b"x")
    aws.put_object(Bucket=session.default_bucket(), Key="data/train/", Body=b"")
    workshop.ensure_data(session)


def test_upload_of_a_missing_file_says_so(aws, tmp_path):
    session = workshop.session()
    with pytest.raises(workshop.WorkshopError, match=r"no file .*none\.csv"):
        workshop.upload(session, tmp_path / "none.csv", "data/train")


@pytest.mark.parametrize("size", [0, 10, workshop.PART_BYTES, workshop.PART_BYTES + 1])
def test_etag_is_the_one_that_s3_computes(aws, tmp_path, size):
    session = workshop.session()
    path = tmp_path / "file.bin"
    path.write_bytes(b"7" * size)
    workshop.upload(session, path, "here")
    stored = aws.head_object(Bucket=session.default_bucket(), Key="here/file.bin")["ETag"]
    assert workshop.etag(path) == stored


# --- artifacts ----------------------------------------------------------------------------------


def make_tar(path, *members):
    """Return a tar.gz of (TarInfo or name, bytes) pairs."""
    with tarfile.open(path, "w:gz") as tar:
        for member, data in members:
            info = member if isinstance(member, tarfile.TarInfo) else tarfile.TarInfo(member)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def link(name, target, kind):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info, b""


def test_artifact_is_unpacked_and_twice_does_no_harm(tmp_path):
    archive = make_tar(
        tmp_path / "model.tar.gz", ("model.ubj", b"m"), ("sub/parameters.json", b"p")
    )
    target = tmp_path / "out" / "model"
    for _ in range(2):
        unpacked = workshop.unpack_artifact(archive, target)
        assert unpacked == [target / "model.ubj", target / "sub" / "parameters.json"]
    assert unpacked[1].read_bytes() == b"p"


@pytest.mark.parametrize(
    "member",
    [
        ("../evil.txt", b"x"),
        ("sub/../../evil.txt", b"x"),
        link("evil", "/etc/passwd", tarfile.SYMTYPE),
        link("evil", "../../secret", tarfile.SYMTYPE),
        link("evil", "../secret", tarfile.LNKTYPE),
        link("evil", "", tarfile.CHRTYPE),
    ],
    ids=["up", "hidden-up", "symlink-absolute", "symlink-up", "hardlink-up", "device"],
)
def test_unsafe_member_is_refused_and_nothing_is_unpacked(tmp_path, member):
    archive = make_tar(tmp_path / "model.tar.gz", ("model.ubj", b"m"), member)
    with pytest.raises(workshop.WorkshopError, match="unsafe"):
        workshop.unpack_artifact(archive, tmp_path / "inner" / "out")
    assert [path.name for path in tmp_path.rglob("*")] == ["model.tar.gz"]


def test_absolute_member_stays_inside(tmp_path):
    """The filter strips the leading slash, as tar itself does."""
    outside = tmp_path / "absolute.txt"
    archive = make_tar(tmp_path / "model.tar.gz", (str(outside), b"x"))
    (unpacked,) = workshop.unpack_artifact(archive, tmp_path / "out")
    assert unpacked.is_relative_to(tmp_path / "out")
    assert not outside.exists()


@pytest.mark.parametrize("damage", ["cut", "text", "empty"])
def test_damaged_archive_is_one_clear_sentence(tmp_path, damage):
    archive = make_tar(tmp_path / "model.tar.gz", ("model.ubj", bytes(range(256)) * 4000))
    archived = archive.read_bytes()
    archive.write_bytes(
        {"cut": archived[: len(archived) // 2], "text": b"hello", "empty": b""}[damage]
    )
    with pytest.raises(workshop.WorkshopError, match=r"model\.tar\.gz is damaged or no archive"):
        workshop.unpack_artifact(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_missing_archive_says_so(tmp_path):
    with pytest.raises(workshop.WorkshopError, match=r"no archive .*none\.tar\.gz"):
        workshop.unpack_artifact(tmp_path / "none.tar.gz", tmp_path / "out")


def test_a_python_without_filters_unpacks_too(tmp_path, monkeypatch):
    """Python 3.11.0 to 3.11.3, Debian 12's among them."""
    monkeypatch.delattr(tarfile, "data_filter", raising=False)
    archive = make_tar(tmp_path / "model.tar.gz", ("model.ubj", b"m"))
    (unpacked,) = workshop.unpack_artifact(archive, tmp_path / "out")
    assert unpacked.read_bytes() == b"m"
