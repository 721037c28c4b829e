"""Prepare what every lesson needs before it begins, so that each can be run alone and twice.

A lesson asks for a session, a role and the data; this module makes sure of them: the right SDK, a
private bucket with the workshop's tag, the passenger lists in it. Nothing here hides a SageMaker
call that a lesson teaches, and nothing is made again when it is already there.

Importing is cheap: the SageMaker SDK is loaded by the functions that need it.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import logging
import os
import tarfile
import zlib
from pathlib import Path
from urllib.parse import urlsplit

from workshop import buckets, refusals, safe_tar, sdk_version
from workshop.buckets import WORKSHOP_TAG as WORKSHOP_TAG
from workshop.buckets import bucket_name as bucket_name
from workshop.buckets import ensure_bucket as ensure_bucket
from workshop.refusals import WorkshopError as WorkshopError
from workshop.refusals import if_permitted as if_permitted
from workshop.refusals import missing_permission as missing_permission
from workshop.sdk_version import Session as Session
from workshop.sdk_version import check_sdk as check_sdk

DATA = Path(__file__).resolve().parent.parent.parent / "data"
CHANNELS = {"train": DATA / "titanic_train.csv", "test": DATA / "titanic_test.csv"}

ROLE_VARIABLE = "SAGEMAKER_ROLE_ARN"
NOTEBOOK_METADATA = Path("/opt/ml/metadata/resource-metadata.json")

# boto3 cuts a file of this size and more into parts of this size; the ETag then is no plain MD5.
PART_BYTES = 8 * 2**20

# Notices of the two SDKs about settings that they have read or ignored, and about each job that
# they start. They would be in nearly every lesson's output, in red. A level that is set before the
# SDKs are loaded stays.
for _name in (
    "botocore.configprovider",
    "botocore.credentials",
    "sagemaker",
    "sagemaker.config",
    "sagemaker.image_uris",
    "sagemaker.telemetry",  # printed even for those who opted out; lesson 01 explains it
):
    logging.getLogger(_name).setLevel(logging.WARNING)
# Of version 3, at each order: what it does, and that it could not check a role which may not
# simulate policies.
logging.getLogger("sagemaker.core").setLevel(logging.WARNING)
logging.getLogger("sagemaker.core.helper.iam_role_resolver").setLevel(logging.ERROR)


def tags(lesson: str) -> list[dict[str, str]]:
    """Return the tags for all that ``lesson`` makes.

    The bill can be split by them, and the last lesson finds by them what to delete.
    """
    return [dict(WORKSHOP_TAG), {"Key": "lesson", "Value": lesson}]


# --- session, bucket, role --------------------------------------------------------------------


def session(make_bucket: bool = True, sdk: int = 2) -> Session:
    """Return a SageMaker session whose default bucket is the workshop's, made here if it is
    missing.

    ``sdk`` is the version of the SDK that the lesson is written for, and must be this kernel's.

    A bucket of that name that the workshop did not make is not used, unless the variable
    SAGEMAKER_WORKSHOP_BUCKET asks for it (buckets.py has the complete rule). ``make_bucket=False``
    is for looking and cleaning up: it makes no bucket. Do not ask that session for its
    ``default_bucket()``, which would make one. Raises WorkshopError when the SDK, the region, the
    credentials, the network or a permission is missing, or the bucket is somebody else's.
    """
    check_sdk(sdk)
    import boto3
    from botocore.exceptions import NoCredentialsError

    try:
        boto = boto3.Session()
        if boto.region_name is None:
            raise WorkshopError(
                "No AWS region is chosen: set AWS_DEFAULT_REGION, for instance to us-east-1."
            )
        account = boto.client("sts").get_caller_identity()["Account"]
    except NoCredentialsError as error:
        raise WorkshopError(
            "No AWS credentials were found: start this lesson with `make workshop`, which needs "
            "none, or set up an account with `aws configure`."
        ) from error
    except refusals.failures() as error:
        raise WorkshopError(f"AWS does not say who you are: {refusals.reason(error)}.") from error
    bucket = buckets.chosen(account, boto.region_name)
    if make_bucket:
        buckets.prepare(boto.client("s3"), account)
    # not before: it reads the settings, too, and fails by a traceback
    made: Session = sdk_version.module().Session(boto_session=boto, default_bucket=bucket)
    return made


def execution_role(session: Session) -> str:
    """Return the ARN of the role that jobs run with.

    It is ``SAGEMAKER_ROLE_ARN`` where that is set, else the role of whoever runs the notebook.
    Raises WorkshopError when that is a user: only a role can be passed to a job.
    """
    chosen = os.environ.get(ROLE_VARIABLE)
    if chosen:
        if ":role/" not in chosen:
            raise WorkshopError(
                f"{ROLE_VARIABLE} must be the ARN of a role, arn:aws:iam::<account>:role/<name>, "
                f"not {chosen!r}."
            )
        return chosen
    try:
        return str(sdk_version.module().get_execution_role(session))
    except ValueError as error:
        raise WorkshopError(
            f"You are signed in as a user, and a job needs a role: set {ROLE_VARIABLE} to the ARN "
            "of a role that sagemaker.amazonaws.com may assume."
        ) from error


def home(session: Session) -> str:
    """Return a sentence that says where this notebook runs and whether its AWS calls cost money.

    Both are read from the environment.
    """
    address = session.sagemaker_client.meta.endpoint_url
    if not is_billed(session):
        return f"AWS calls go to {address}, on this machine: nothing is billed."
    if name := _instance_name():
        location, billed = f"on the notebook instance {name}", "this instance, jobs and storage"
    else:
        location, billed = "on your machine", "jobs and storage"
    return f"You are {location}; AWS calls go to {address}: {billed} are billed."


def is_billed(session: Session) -> bool:
    """Return whether jobs of this session cost money: not where AWS's address is this machine."""
    host = urlsplit(session.sagemaker_client.meta.endpoint_url).hostname or ""
    return not (host in ("localhost", "::1") or host.startswith("127."))


def _instance_name() -> str | None:
    try:
        return str(json.loads(NOTEBOOK_METADATA.read_text(encoding="utf-8"))["ResourceName"])
    except FileNotFoundError:
        return None


# --- data -------------------------------------------------------------------------------------


def ensure_data(session: Session) -> dict[str, str]:
    """Return the S3 URIs of the two channels, ``{"train": …, "test": …}``, uploaded where needed.

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


def upload(session: Session, path: Path, key_prefix: str) -> str:
    """Put the file ``path`` under ``key_prefix`` in the default bucket, and return its S3 URI.

    It is not uploaded where the same bytes are there already. Raises WorkshopError when there is no
    such file.
    """
    path = Path(path)
    if not path.is_file():
        raise WorkshopError(f"There is no file {path} to upload.")
    bucket, key = session.default_bucket(), f"{key_prefix}/{path.name}"
    if _etag_in_s3(session, bucket, key) != etag(path):
        session.boto_session.client("s3").upload_file(str(path), bucket, key)
    return f"s3://{bucket}/{key}"


def etag(path: Path) -> str:
    """Return the ETag that S3 gives to the file ``path``, when boto3 uploads it as it does by
    default.

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


def _etag_in_s3(session: Session, bucket: str, key: str) -> str | None:
    from botocore.exceptions import ClientError

    try:
        answer = session.boto_session.client("s3").head_object(Bucket=bucket, Key=key)
        return str(answer["ETag"])
    except ClientError as error:
        if error.response["Error"]["Code"] in ("404", "NoSuchKey"):
            return None
        if permission := missing_permission(error):
            raise WorkshopError(
                f"The workshop cannot see whether s3://{bucket}/{key} is there: your role lacks "
                f"the permission {permission}. The policy that the workshop needs is "
                f"{refusals.POLICY}."
            ) from error
        raise


def _only(session: Session, prefix: str, name: str) -> None:
    bucket = session.default_bucket()
    pages = session.boto_session.client("s3").get_paginator("list_objects_v2")
    names = pages.paginate(Bucket=bucket, Prefix=f"{prefix}/").search("Contents[].Key")
    keys = [key for key in names if key]  # of an empty page the search gives None
    # The console's "create folder" leaves an empty object named like the prefix; it does no harm.
    extra = sorted(set(keys) - {f"{prefix}/{name}", f"{prefix}/"})
    if extra:
        raise WorkshopError(
            f"The channel s3://{bucket}/{prefix}/ must hold {name} alone, because a job reads "
            f"every object in it; delete {', '.join(extra)}."
        )


def unpack_artifact(archive: Path, directory: Path) -> list[Path]:
    """Unpack a job's ``model.tar.gz`` or ``output.tar.gz`` into ``directory``; return its files.

    An archive is refused, and nothing is unpacked, if it holds a device, or a file or a link that
    would lead out of ``directory`` (see safe_tar.py).
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
