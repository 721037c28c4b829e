"""Keeps a job's checkpoint folder and its place in S3 in step.

(Developer guide, "Use checkpoints in Amazon SageMaker".) What is in S3 comes to every host before
training. While the job runs, what is written, changed or deleted in the folder is written, changed
or deleted in S3; files that others add in S3 are not fetched. All hosts share one prefix.
"""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType
from typing import Any

from botocore.exceptions import ClientError

from .channels import S3Object, check_name, local_name, parse_s3_uri, unreadable
from .instance import Layout
from .store import Job

INTERVAL_S = 0.5

Fingerprint = tuple[int, int]  # of a file: modification time in ns, size in bytes


class CheckpointSync:
    """The checkpoints of one attempt of a job. Idle when the job has no CheckpointConfig."""

    def __init__(self, s3: Any, job: Job, layouts: list[Layout]) -> None:
        configuration = job.request.get("CheckpointConfig")
        self._active = configuration is not None
        self._bucket, prefix = parse_s3_uri(configuration["S3Uri"]) if configuration else ("", "")
        self._prefix = prefix.rstrip("/") + "/" if prefix else ""
        self._s3 = s3
        self._folders = [layout.checkpoints for layout in layouts]
        self._known: dict[Path, Fingerprint] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True)

    def restore(self) -> None:
        """Bring what S3 has to every host.

        Raises:
            channels.ChannelError: An object cannot be read, or its key is no safe file name.
        """
        if not self._active:
            return
        pages = self._s3.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=self._prefix
        )
        for entry in (entry for page in pages for entry in page.get("Contents", [])):
            name = local_name(entry["Key"], self._prefix)
            item = S3Object(self._bucket, entry["Key"], name)
            check_name(item)
            for folder in self._folders:
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                try:
                    self._s3.download_file(item.bucket, item.key, str(path))
                except ClientError as error:
                    raise unreadable(item, error) from error
                self._known[path] = _fingerprint(path)

    def __enter__(self) -> CheckpointSync:
        if self._active:
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._active:
            self._ended.set()
            self._thread.join()
            self._synchronise()

    def _keep(self) -> None:
        while not self._ended.wait(INTERVAL_S):
            self._synchronise()

    def _synchronise(self) -> None:
        for folder in self._folders:
            self._upload_changed(folder)
        for path in [path for path in self._known if not path.exists()]:
            self._s3.delete_object(Bucket=self._bucket, Key=self._key(path))
            del self._known[path]

    def _upload_changed(self, folder: Path) -> None:
        for path in sorted(folder.rglob("*")):
            try:
                if path.is_symlink() or not path.is_file():
                    continue
                state = _fingerprint(path)
                if self._known.get(path) != state:
                    self._s3.upload_file(str(path), self._bucket, self._key(path))
                    self._known[path] = state
            except FileNotFoundError:
                continue  # renamed or deleted while we looked; the next round sees what it became

    def _key(self, path: Path) -> str:
        folder = next(folder for folder in self._folders if path.is_relative_to(folder))
        return self._prefix + path.relative_to(folder).as_posix()


def _fingerprint(path: Path) -> Fingerprint:
    stat = path.stat()
    return stat.st_mtime_ns, stat.st_size
