"""Brings a job's input channels from S3 to a host's `/opt/ml/input/data`, with the job's rights.

File mode only. `S3DataDistributionType` is obeyed: every host gets all objects (FullyReplicated) or
every n-th of them in the order of their keys (ShardedByS3Key); an object is never split.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import ClientError


class ChannelError(Exception):
    """A channel cannot be filled; the message is what SageMaker would give as FailureReason."""


@dataclass(frozen=True)
class S3Object:
    """An object of a channel and the name of its file below the channel's folder."""

    bucket: str
    key: str
    name: str


def parse_s3_uri(uri: str) -> tuple[str, str]:
    """Bucket and key prefix of `s3://bucket/prefix`, or of S3's https form of it."""
    parts = urlsplit(uri)
    if parts.scheme == "s3":
        return parts.netloc, parts.path.lstrip("/")
    bucket, _, key = parts.path.lstrip("/").partition("/")
    return bucket, key


def list_objects(s3: Any, uri: str) -> list[S3Object]:
    """The objects whose keys begin with the prefix of `uri`, in the order of their keys.

    Raises:
        botocore.exceptions.ClientError: No such bucket, or no right to list it.
    """
    bucket, prefix = parse_s3_uri(uri)
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    keys = sorted(entry["Key"] for page in pages for entry in page.get("Contents", []))
    # A key that ends in a slash is a folder's marker, as the S3 console makes them.
    return [S3Object(bucket, key, local_name(key, prefix)) for key in keys if not key.endswith("/")]


def local_name(key: str, prefix: str) -> str:
    """The file that `key` becomes in a channel on `prefix`, relative to the channel's folder.

    The prefix may be a folder (with or without its slash), the object itself, or the beginning of
    names in a folder: `data/tr` brings `data/train.csv` as `train.csv`.
    """
    rest = key.removeprefix(prefix)
    if rest.startswith("/"):
        return rest[1:]
    folder = prefix[: prefix.rfind("/") + 1]
    return key.removeprefix(folder)


def share(objects: list[S3Object], source: dict[str, Any], host: int, hosts: int) -> list[S3Object]:
    """The objects that host number `host` (from 0) of `hosts` gets."""
    if source.get("S3DataDistributionType") == "ShardedByS3Key":
        return objects[host::hosts]
    return objects


def download(s3: Any, objects: list[S3Object], folder: Path) -> None:
    """Write the objects below `folder`.

    Raises:
        ChannelError: An object cannot be read, or its key is no safe file name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for item in objects:
        uri = f"s3://{item.bucket}/{item.key}"
        parts = item.name.split("/")
        for bad, shown in (("", "//"), (".", "."), ("..", "..")):
            if bad in parts:
                raise ChannelError(
                    "ClientError: Data download failed:Failed to download data. "
                    f"S3 key: {uri} has an illegal char sub-sequence '{shown}' in it"
                )
        path = folder.joinpath(*parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            s3.download_file(item.bucket, item.key, str(path))
        except ClientError as error:
            raise ChannelError(_unreadable(uri, error)) from error


def _unreadable(uri: str, error: ClientError) -> str:
    code = error.response["Error"]["Code"]
    if code in ("403", "AccessDenied"):
        code = "AccessDenied: Access Denied"
    return f"ClientError: Data download failed:Unable to download object {uri} ({code})"
