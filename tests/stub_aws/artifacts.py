"""Packs what a job leaves in `/opt/ml/model` and `/opt/ml/output/data` and puts it into S3."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

from boto3.exceptions import S3UploadFailedError

from .channels import parse_s3_uri


class UploadError(Exception):
    """An artifact cannot be stored; the message is what SageMaker would give as FailureReason."""


def pack(folders: list[Path], archive: Path) -> bool:
    """Make one `.tar.gz` of all that is in `folders`. False, and no file, when they are empty.

    Where two hosts wrote a file of the same name, the first host's is kept.
    """
    members: dict[str, Path] = {}
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            members.setdefault(str(path.relative_to(folder)), path)
    if not members:
        return False
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        for name, path in members.items():
            tar.add(path, arcname=name, recursive=False)
    return True


def artifact_uri(output_path: str, job_name: str, file_name: str) -> str:
    """Where SageMaker puts an artifact: `<S3OutputPath>/<job>/output/<file>`."""
    bucket, prefix = parse_s3_uri(output_path)
    key = "/".join(part for part in (prefix.strip("/"), job_name, "output", file_name) if part)
    return f"s3://{bucket}/{key}"


def upload(s3: Any, archive: Path, uri: str) -> None:
    """Store `archive` at `uri`.

    Raises:
        UploadError: The bucket is missing or the job's role may not write there.
    """
    bucket, key = parse_s3_uri(uri)
    try:
        s3.upload_file(str(archive), bucket, key)
    except S3UploadFailedError as error:
        # boto3's text is "Failed to upload FILE to BUCKET/KEY: REASON"; the file is not the job's.
        reason = str(error).partition(f"{bucket}/{key}: ")[2]
        raise UploadError(f"ClientError: Artifact upload failed:{reason}") from error
