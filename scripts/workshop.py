"""What every lesson needs before it can begin, so that each can be run alone and twice.

A lesson asks for a session, a role and the data; this module makes sure of them: the right SDK, a
private bucket with the workshop's tag, the passenger lists in it. Nothing here hides a SageMaker
call that a lesson teaches, and nothing is made anew when it is already there.

Importing is cheap: the SageMaker SDK is loaded by the functions that need it.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import logging
import os
import re
import tarfile
import zlib
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import safe_tar

if TYPE_CHECKING:
    import sagemaker

DATA = Path(__file__).resolve().parents[1] / "data"
CHANNELS = {"train": DATA / "titanic_train.csv", "test": DATA / "titanic_test.csv"}

WORKSHOP_TAG = {"Key": "workshop", "Value": "sagemaker-training"}
ROLE_VARIABLE = "SAGEMAKER_ROLE_ARN"
NOTEBOOK_METADATA = Path("/opt/ml/metadata/resource-metadata.json")

# boto3 cuts a file of this size and more into parts of this size; the ETag then is no plain MD5.
PART_BYTES = 8 * 2**20

# Notices of the two SDKs about settings that they found or passed over. They would stand in nearly
# every lesson's output. A level that is set before the SDKs are loaded stays.
for _name in (
    "botocore.configprovider",
    "botocore.credentials",
    "sagemaker.config",
    "sagemaker.image_uris",
    "sagemaker.telemetry",  # printed even by those who opted out; lesson 01 tells of it
):
    logging.getLogger(_name).setLevel(logging.WARNING)


class WorkshopError(RuntimeError):
    """Something a lesson needs is not there; the message says the cause and the remedy."""


def tags(lesson: str) -> list[dict[str, str]]:
    """Tags for all that ``lesson`` makes: the bill can be split by them, and the last lesson finds
    by them what to delete."""
    return [dict(WORKSHOP_TAG), {"Key": "lesson", "Value": lesson}]


def check_sdk() -> str:
    """The installed version of the SageMaker SDK, which must be 2.x.

    Raises WorkshopError otherwise: version 3 has no Estimator, no Session and no
    get_execution_role where these lessons import them.
    """
    try:
        version = metadata.version("sagemaker")
    except metadata.PackageNotFoundError as error:
        raise WorkshopError(
            "The SageMaker SDK is not installed in this kernel: choose the workshop's kernel, "
            "or run `make workshop`."
        ) from error
    if version.split(".")[0] != "2":
        raise WorkshopError(
            f"These lessons need version 2 of the SageMaker SDK, this kernel has {version}: choose "
            'the workshop\'s kernel, or run `pip install "sagemaker>=2.257,<3"` and restart.'
        )
    return version


# --- session, bucket, role --------------------------------------------------------------------


def session(make_bucket: bool = True) -> sagemaker.Session:
    """A SageMaker session whose default bucket is the workshop's, made here if it is missing.

    ``make_bucket=False`` is for looking and cleaning up: it makes none, and neither must you, by
    asking this session for its ``default_bucket()``. Raises WorkshopError when the SDK, the region,
    the credentials or a right is missing.
    """
    check_sdk()
    import boto3
    import sagemaker
    from botocore.exceptions import NoCredentialsError

    boto = boto3.Session()
    if boto.region_name is None:
        raise WorkshopError(
            "No AWS region is chosen: set AWS_DEFAULT_REGION, for instance to us-east-1."
        )
    try:
        account = boto.client("sts").get_caller_identity()["Account"]
    except NoCredentialsError as error:
        raise WorkshopError(
            "No AWS credentials were found: start this lesson with `make workshop`, which needs "
            "none, or set up an account with `aws configure`."
        ) from error
    bucket = bucket_name(account, boto.region_name)
    if make_bucket:
        ensure_bucket(boto.client("s3"), bucket, account)
    return sagemaker.Session(boto_session=boto, default_bucket=bucket)


def bucket_name(account: str, region: str) -> str:
    """The workshop's bucket for an account and a region.

    Bucket names are shared by all of AWS, hence the account; the word "sagemaker" is in it because
    AWS's managed policy AmazonSageMakerFullAccess opens only buckets that carry it.
    """
    return f"sagemaker-workshop-{account}-{region}"


def ensure_bucket(s3: Any, bucket: str, account: str) -> None:
    """Make ``bucket`` if it is missing: private, tagged, in the region of the client ``s3``.

    Raises WorkshopError when it belongs to another account or a right is missing.
    """
    from botocore.exceptions import ClientError

    try:
        if not _bucket_exists(s3, bucket, account):
            _create_bucket(s3, bucket)
        _mark_as_ours(s3, bucket)
    except ClientError as error:
        raise WorkshopError(_bucket_problem(error, bucket)) from error


def _bucket_exists(s3: Any, bucket: str, account: str) -> bool:
    from botocore.exceptions import ClientError

    try:
        s3.head_bucket(Bucket=bucket, ExpectedBucketOwner=account)
    except ClientError as error:
        if error.response["Error"]["Code"] in ("404", "NoSuchBucket"):
            return False
        raise
    return True


def _create_bucket(s3: Any, bucket: str) -> None:
    region = s3.meta.region_name
    # us-east-1 is S3's default place, and the one that must not be named.
    place = {} if region == "us-east-1" else {"LocationConstraint": region}
    s3.create_bucket(Bucket=bucket, **({"CreateBucketConfiguration": place} if place else {}))


def _mark_as_ours(s3: Any, bucket: str) -> None:
    # The tag comes last, so a bucket that has it is complete, even after a run that was cut off.
    present = _bucket_tags(s3, bucket)
    if WORKSHOP_TAG in present:
        return
    s3.put_public_access_block(
        Bucket=bucket,
        PublicAccessBlockConfiguration={
            "BlockPublicAcls": True,
            "IgnorePublicAcls": True,
            "BlockPublicPolicy": True,
            "RestrictPublicBuckets": True,
        },
    )
    kept = [tag for tag in present if tag["Key"] != WORKSHOP_TAG["Key"]]
    s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": [*kept, WORKSHOP_TAG]})


def _bucket_tags(s3: Any, bucket: str) -> list[dict[str, str]]:
    from botocore.exceptions import ClientError

    try:
        return s3.get_bucket_tagging(Bucket=bucket)["TagSet"]
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchTagSet":
            return []
        raise


def _bucket_problem(error: Any, bucket: str) -> str:
    code = error.response["Error"]["Code"]
    if code in ("403", "AccessDenied", "BucketAlreadyExists"):
        right = missing_right(error)
        or_right = f", or your role lacks the right {right}" if right else ""
        return (
            f"The bucket {bucket} cannot be used ({error.operation_name}: {code}): it belongs to "
            f"another account{or_right}. The policy that the workshop "
            "needs is scripts/notebook_instance/execution_role_policy.json."
        )
    if code == "OperationAborted":
        return (
            f"AWS is still busy with deleting an earlier bucket {bucket}: try again in a few "
            "minutes, or in an hour at most."
        )
    return f"The bucket {bucket} could not be set up: {error}"


# An answer to HEAD has no body, so S3 cannot say in it which right was missing.
SILENT = {"HeadBucket": "s3:ListBucket", "HeadObject": "s3:GetObject"}


def missing_right(error: Any) -> str | None:
    """The action that a refusal (botocore's ClientError) says is not allowed, and on what.

    None where it is no refusal for lack of a right. AWS's sentence is "User: … is not authorized to
    perform: ACTION on resource: ARN because …"; where it is shorter, the operation is named.
    https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html
    """
    code, message = error.response["Error"]["Code"], error.response["Error"]["Message"]
    if code not in ("403", "AccessDenied", "AccessDeniedException", "UnauthorizedOperation"):
        return None
    if named := re.search(r"to perform: (\S+)(?: on resource: \"?([^\s\"]+))?", message):
        return f"{named[1]} on {named[2]}" if named[2] else named[1]
    return SILENT.get(error.operation_name, f"to call {error.operation_name}")


def execution_role(session: sagemaker.Session) -> str:
    """The ARN of the role that jobs run with.

    It is ``SAGEMAKER_ROLE_ARN`` where that is set, else the role of whoever runs the notebook.
    Raises WorkshopError when that is a user, who cannot be lent to a job.
    """
    import sagemaker

    chosen = os.environ.get(ROLE_VARIABLE)
    if chosen:
        if ":role/" not in chosen:
            raise WorkshopError(
                f"{ROLE_VARIABLE} must be the ARN of a role, arn:aws:iam::<account>:role/<name>, "
                f"not {chosen!r}."
            )
        return chosen
    try:
        return sagemaker.get_execution_role(session)
    except ValueError as error:
        raise WorkshopError(
            f"You are signed in as a user, and a job needs a role: set {ROLE_VARIABLE} to the ARN "
            "of a role that sagemaker.amazonaws.com may assume."
        ) from error


def home(session: sagemaker.Session) -> str:
    """One sentence on where this notebook runs and whether its AWS calls cost money, from what the
    environment itself says."""
    address = session.sagemaker_client.meta.endpoint_url
    if not is_billed(session):
        return f"AWS calls go to {address}, on this machine: nothing is billed."
    if name := _instance_name():
        place, billed = f"on the notebook instance {name}", "this instance, jobs and storage"
    else:
        place, billed = "on your machine", "jobs and storage"
    return f"You are {place}; AWS calls go to {address}: {billed} are billed."


def is_billed(session: sagemaker.Session) -> bool:
    """Whether jobs of this session cost money: not where AWS's address is this very machine."""
    host = urlsplit(session.sagemaker_client.meta.endpoint_url).hostname or ""
    return not (host in ("localhost", "::1") or host.startswith("127."))


def _instance_name() -> str | None:
    try:
        return json.loads(NOTEBOOK_METADATA.read_text(encoding="utf-8"))["ResourceName"]
    except FileNotFoundError:
        return None


# --- data -------------------------------------------------------------------------------------


def ensure_data(session: sagemaker.Session) -> dict[str, str]:
    """The S3 URIs of the two channels, ``{"train": …, "test": …}``, uploaded where needed.

    A channel is a prefix, and a job reads every object under it, so each must hold its passenger
    list and nothing else. Raises WorkshopError when it holds more.
    """
    uris = {}
    for channel, path in CHANNELS.items():
        prefix = f"data/{channel}"
        upload(session, path, prefix)
        _only(session, prefix, path.name)
        uris[channel] = f"s3://{session.default_bucket()}/{prefix}/"
    return uris


def upload(session: sagemaker.Session, path: Path, key_prefix: str) -> str:
    """Put the file ``path`` under ``key_prefix`` in the default bucket, unless the very same bytes
    are there; returns its S3 URI. Raises WorkshopError when there is no such file."""
    path = Path(path)
    if not path.is_file():
        raise WorkshopError(f"There is no file {path} to upload.")
    bucket, key = session.default_bucket(), f"{key_prefix}/{path.name}"
    if _etag_in_s3(session, bucket, key) != etag(path):
        session.upload_data(str(path), bucket=bucket, key_prefix=key_prefix)
    return f"s3://{bucket}/{key}"


def etag(path: Path) -> str:
    """The ETag that S3 gives to the file ``path``, when boto3 uploads it as it does by default.

    It is the MD5 of the file; of a file of 8 MiB and more, the MD5 of its parts' MD5s and their
    number (https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html). An object encrypted
    with a KMS key has another, and is then uploaded again.
    """
    parts = []
    with path.open("rb") as file:
        while part := file.read(PART_BYTES):
            parts.append(_md5(part))
    if path.stat().st_size < PART_BYTES:
        return f'"{(parts or [_md5(b"")])[0].hex()}"'
    return f'"{_md5(b"".join(parts)).hex()}-{len(parts)}"'


def _md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()


def _etag_in_s3(session: sagemaker.Session, bucket: str, key: str) -> str | None:
    from botocore.exceptions import ClientError

    try:
        return session.boto_session.client("s3").head_object(Bucket=bucket, Key=key)["ETag"]
    except ClientError as error:
        if error.response["Error"]["Code"] in ("404", "NoSuchKey"):
            return None
        if right := missing_right(error):
            raise WorkshopError(
                f"Whether s3://{bucket}/{key} is there cannot be seen: your role lacks the right "
                f"{right}. The policy that the workshop needs is "
                "scripts/notebook_instance/execution_role_policy.json."
            ) from error
        raise


def _only(session: sagemaker.Session, prefix: str, name: str) -> None:
    bucket = session.default_bucket()
    keys = session.list_s3_files(bucket, f"{prefix}/")
    # The console's "create folder" leaves an empty object named like the prefix; it does no harm.
    extra = sorted(set(keys) - {f"{prefix}/{name}", f"{prefix}/"})
    if extra:
        raise WorkshopError(
            f"The channel s3://{bucket}/{prefix}/ must hold {name} alone, for a job reads every "
            f"object in it; delete {', '.join(extra)}."
        )


def unpack_artifact(archive: Path, directory: Path) -> list[Path]:
    """Unpack a job's ``model.tar.gz`` or ``output.tar.gz`` into ``directory``; returns its files.

    Members that would land elsewhere, links that lead elsewhere and devices are refused (see
    safe_tar.py), and then nothing is unpacked.
    Raises WorkshopError for an unsafe or unreadable archive.
    """
    archive, directory = Path(archive), Path(directory)
    if not archive.is_file():
        raise WorkshopError(f"There is no archive {archive} to unpack.")
    try:
        return safe_tar.unpack(archive, directory)
    except safe_tar.UnsafeArchiveError as error:
        raise WorkshopError(f"{archive} is unsafe and was not unpacked: {error}.") from error
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise WorkshopError(f"{archive} is damaged or no archive: {error}.") from error
