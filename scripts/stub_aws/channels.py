"""Brings a job's input channels from S3 to a host's `/opt/ml/input/data`, by its role.

`S3DataDistributionType` is obeyed: every host gets all objects (FullyReplicated) or every n-th of
them in the order of their keys (ShardedByS3Key); an object is never split. FastFile mode has the
same files at the same path, read-only, and downloads them first instead of on demand.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from .beneath import shown
from .ends import Patience
from .store import Job


class ChannelError(Exception):
    """A channel cannot be filled; the message is what SageMaker would give as FailureReason."""


@dataclass(frozen=True)
class Channel:
    """One entry of a request's `InputDataConfig`, with its defaults filled in."""

    name: str
    uri: str
    mode: str  # File, FastFile or Pipe
    data_type: str  # S3Prefix or ManifestFile
    distribution: str  # FullyReplicated or ShardedByS3Key
    compression: str  # None or Gzip
    record_wrapper: str
    content_type: str | None

    def description(self) -> dict[str, str]:
        """Its entry in `inputdataconfig.json`."""
        described = {
            "TrainingInputMode": self.mode,
            "S3DistributionType": self.distribution,
            "RecordWrapperType": self.record_wrapper,
        }
        return described | ({"ContentType": self.content_type} if self.content_type else {})


@dataclass(frozen=True)
class S3Object:
    """An object of a channel and the name of its file below the channel's folder."""

    bucket: str
    key: str
    name: str

    @property
    def uri(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


def channels_of(job: Job) -> list[Channel]:
    """Return the channels of a job."""
    return [
        Channel(
            name=entry["ChannelName"],
            uri=entry["DataSource"]["S3DataSource"]["S3Uri"],
            mode=mode_of(entry, job.request),
            data_type=entry["DataSource"]["S3DataSource"].get("S3DataType", "S3Prefix"),
            distribution=entry["DataSource"]["S3DataSource"].get(
                "S3DataDistributionType", "FullyReplicated"
            ),
            compression=entry.get("CompressionType", "None"),
            record_wrapper=entry.get("RecordWrapperType", "None"),
            content_type=entry.get("ContentType"),
        )
        for entry in job.request.get("InputDataConfig", [])
    ]


def mode_of(entry: dict[str, Any], request: dict[str, Any]) -> str:
    """Return the input mode of a channel: its own, or the job's."""
    default: str = request["AlgorithmSpecification"]["TrainingInputMode"]
    return entry.get("InputMode") or default


def parse_s3_uri(uri: str) -> tuple[str, str]:
    """Return bucket and key of `s3://bucket/key`, or of S3's https form of it.

    It is no web address: a key may hold `?`, `#`, `%` and whatever else.
    """
    scheme, _, rest = uri.partition("://")
    if scheme != "s3":
        rest = rest.partition("/")[2]  # behind the name of S3's own host
    bucket, _, key = rest.partition("/")
    return bucket, key


def list_objects(s3: Any, channel: Channel) -> list[S3Object]:
    """Return the objects of a channel, in the order of their keys.

    Raises:
        ChannelError: A manifest that is none.
        botocore.exceptions.ClientError: No such bucket, or no permission to list it.
    """
    bucket, prefix = parse_s3_uri(channel.uri)
    if channel.data_type == "ManifestFile":
        return _read_manifest(s3, bucket, prefix)
    return list_prefix(s3, bucket, prefix)


def list_prefix(s3: Any, bucket: str, prefix: str) -> list[S3Object]:
    """Return the objects whose keys begin with `prefix`, in the order of their keys.

    Raises:
        botocore.exceptions.ClientError: No such bucket, or no permission to list it.
    """
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    keys = sorted(entry["Key"] for page in pages for entry in page.get("Contents", []))
    return [S3Object(bucket, key, local_name(key, prefix)) for key in keys if not is_marker(key)]


def is_marker(key: str) -> bool:
    """Whether it is a folder's marker, as the S3 console makes them, and no file."""
    return key.endswith("/")


def local_name(key: str, prefix: str) -> str:
    """Return the file that `key` becomes in a channel on `prefix`, relative to the channel's
    folder.

    The prefix may be a folder (with or without its slash), the object itself, or the beginning of
    names in a folder: `data/tr` brings `data/train.csv` as `train.csv`.
    """
    rest = key.removeprefix(prefix)
    if rest.startswith("/"):
        return rest[1:]
    folder = prefix[: prefix.rfind("/") + 1]
    return key.removeprefix(folder)


def _read_manifest(s3: Any, bucket: str, key: str) -> list[S3Object]:
    """Return the objects of `[{"prefix": "s3://bucket/folder/"}, "name", ...]` (API,
    S3DataSource)."""
    text = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    try:
        first, *names = json.loads(text)
        target, prefix = parse_s3_uri(first["prefix"])
    except (ValueError, TypeError, KeyError) as error:
        raise ChannelError(
            f"ClientError: Data download failed:Invalid manifest s3://{bucket}/{key}: "
            'expected [{"prefix": "s3://bucket/folder/"}, "name", ...]'
        ) from error
    return sorted(
        (S3Object(target, prefix + name, name) for name in names if not is_marker(name)),
        key=lambda item: item.key,
    )


def share(objects: list[S3Object], channel: Channel, host: int, hosts: int) -> list[S3Object]:
    """Return the objects that host number `host` (from 0) of `hosts` gets."""
    return objects[host::hosts] if channel.distribution == "ShardedByS3Key" else objects


def download(
    s3: Any, channel: Channel, objects: list[S3Object], folder: Path, patience: Patience
) -> None:
    """Write the objects below `folder`, and the list of them beside it.

    Raises:
        ChannelError: An object cannot be read, or its key cannot be a file's name.
        ends.StopRequested, ends.JobFailed: The job shall end.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for item in objects:
        fetch(s3, item, folder / item.name, patience)
    manifest = [{"prefix": channel.uri}, *(item.name for item in objects)]
    folder.with_name(f"{channel.name}-manifest").write_text(json.dumps(manifest), encoding="utf-8")


def fetch(s3: Any, item: S3Object, path: Path, patience: Patience) -> None:
    """Write an object to a file.

    Raises:
        ChannelError: It cannot be read, or its key cannot be a file's name.
        ends.StopRequested, ends.JobFailed: The job shall end.
    """
    check_name(item)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:  # boto3 itself would try a longer name first
            s3.download_fileobj(item.bucket, item.key, file, Callback=patience.check)
    except (ClientError, BotoCoreError, OSError) as error:
        raise unreadable(item, error) from error


def check_name(item: S3Object) -> None:
    """Raise ChannelError when a key would leave its folder, or be no file name at all."""
    parts = item.name.split("/")
    for bad, sign in (("", "//"), (".", "."), ("..", "..")):
        if bad in parts:
            raise _illegal(item, sign)
    if "\0" in item.name:
        raise _illegal(item, "\\x00")


def _illegal(item: S3Object, sign: str) -> ChannelError:
    return ChannelError(
        "ClientError: Data download failed:Failed to download data. "
        f"S3 key: {shown(item.uri)} has an illegal char sub-sequence '{sign}' in it"
    )


def unreadable(item: S3Object, error: Exception) -> ChannelError:
    """Return what SageMaker says of an object that it cannot get."""
    return ChannelError(
        "ClientError: Data download failed:Unable to download object "
        f"{shown(item.uri)} ({cause(error)})"
    )


def unlistable(uri: str, error: Exception) -> ChannelError:
    """Return the same for a prefix whose objects cannot be listed."""
    return ChannelError(
        f"ClientError: Data download failed:Unable to list objects of {uri} ({cause(error)})"
    )


def cause(error: Exception) -> str:
    """Return the cause of an error of S3, of the network or of a file, in few words."""
    if isinstance(error, ClientError):
        code = error.response["Error"]["Code"]
        return "AccessDenied: Access Denied" if code in ("403", "AccessDenied") else code
    if isinstance(error, (FileExistsError, NotADirectoryError, IsADirectoryError)):
        return "its key needs a folder where another object is a file"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error)
