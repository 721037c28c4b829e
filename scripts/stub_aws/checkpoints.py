"""Keeps a job's checkpoint folder and its place in S3 in step.

(Developer guide, "Use checkpoints in Amazon SageMaker".) What is in S3 comes to every host before
training. While the job runs, what is written, changed or deleted in the folder is written, changed
or deleted in S3; files that others add in S3 are not fetched. All hosts share one prefix. Only
plain files are kept. What S3 does not take, and what cannot be a key, fails the job.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from .artifacts import GB, volume_size
from .beneath import Entry, FilesGone, Refused, View, sentence, shown
from .channels import S3Object, cause, fetch, local_name, parse_s3_uri, unlistable
from .ends import GRACE_S, JobFailed, Patience, StopRequested, Troubles, files_gone
from .instance import Layout
from .store import Job

INTERVAL_S = 0.5
POLL_S = 0.02
PLACE = "/opt/ml/checkpoints"
MAX_KEY = 1024  # bytes

Fingerprint = tuple[int, int]  # of a file: modification time in ns, size in bytes


class CheckpointError(Exception):
    """Checkpoints cannot be kept; the message is the job's FailureReason."""

    def __init__(self, text: str) -> None:
        super().__init__(f"ClientError: Checkpoint upload failed:{text}")


class CheckpointSync:
    """The checkpoints of one attempt of a job. Idle when the job has no CheckpointConfig.

    Args:
        views: The files of each host, as its processes see them.
        closing: Set when the stub ends.
        troubles: Gets the reason when they cannot be kept.
        note: Gets a line for the log where some are not in S3.
    """

    def __init__(
        self,
        s3: Any,
        job: Job,
        layouts: list[Layout],
        views: list[View],
        closing: threading.Event,
        troubles: Troubles,
        note: Callable[[str], None],
    ) -> None:
        configuration = job.request.get("CheckpointConfig")
        self._active = configuration is not None
        self._uri = configuration["S3Uri"] if configuration else ""
        self._bucket, prefix = parse_s3_uri(self._uri)
        self._prefix = prefix.rstrip("/") + "/" if prefix else ""
        self._s3 = s3
        self._job = job
        self._folders = [layout.checkpoints for layout in layouts]
        self._views = views
        self._closing = closing
        self._troubles = troubles
        self._note = note
        self._known: list[dict[str, Fingerprint]] = [{} for _ in layouts]
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True)

    def restore(self) -> None:
        """Bring what S3 has to every host.

        Raises:
            channels.ChannelError: An object cannot be read, or its key is no safe file name.
            ends.StopRequested, ends.JobFailed: The job shall end.
        """
        if not self._active:
            return
        patience = Patience(self._job, self._closing, grace_s=0)
        try:
            pages = self._s3.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix
            )
            keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
        except (ClientError, BotoCoreError) as error:
            raise unlistable(self._uri, error) from error
        for key in keys:
            item = S3Object(self._bucket, key, local_name(key, self._prefix))
            for folder, known in zip(self._folders, self._known, strict=True):
                fetch(self._s3, item, folder / item.name, patience)
                found = (folder / item.name).stat()
                known[item.name] = found.st_mtime_ns, found.st_size

    def start(self) -> None:
        """Begin to keep them, beside the hosts."""
        if self._active:
            self._thread.start()

    def finish(self) -> None:
        """Stop keeping them, and bring what has changed since to S3; the hosts have ended."""
        if not self._active:
            return
        self._ended.set()
        patience = Patience(self._job, self._closing, GRACE_S)
        try:
            while self._thread.is_alive():
                patience.check()
                self._thread.join(POLL_S)
            self._synchronise(patience, last=True)
        except JobFailed as error:
            self._troubles.report(str(error))
        except StopRequested:
            self._note(f"not all checkpoints were in S3 {GRACE_S} s after the stop")

    def _keep(self) -> None:
        with contextlib.suppress(StopRequested):
            while not self._ended.wait(INTERVAL_S) and self._troubles.first is None:
                self._synchronise(Patience(self._job, self._closing, GRACE_S), last=False)

    def _synchronise(self, patience: Patience, last: bool) -> None:
        """Bring each change to S3. What is odd in the folder may be so for a moment only.

        Raises:
            ends.StopRequested: The job was asked to stop, and the grace is over.
        """
        try:
            for view, known in zip(self._views, self._known, strict=True):
                try:
                    self._synchronise_host(view, known, patience)
                except FilesGone:
                    raise
                except OSError as error:
                    if last:
                        raise CheckpointError(sentence(error)) from error
        except (CheckpointError, JobFailed) as error:
            self._troubles.report(str(error))
        except FilesGone as error:
            self._troubles.report(files_gone(error))

    def _synchronise_host(
        self, view: View, known: dict[str, Fingerprint], patience: Patience
    ) -> None:
        total, present = 0, set()
        for entry in view.walk(PLACE):
            patience.check()
            if entry.kind != "a plain file":
                continue
            total += entry.stat.st_size
            if total > volume_size(self._job):
                raise CheckpointError(
                    f"with {shown(entry.full_path)} ({entry.stat.st_size / GB:.1f} GB) the "
                    "checkpoints are more than VolumeSizeInGB allows"
                )
            present.add(entry.path)
            state = entry.stat.st_mtime_ns, entry.stat.st_size
            if known.get(entry.path) != state:
                # Gone or a link by now: the next look sees what became of it.
                with contextlib.suppress(FileNotFoundError, Refused):
                    self._upload(entry, patience)
                    known[entry.path] = state
        for path in known.keys() - present:
            with self._answering(path):
                self._s3.delete_object(Bucket=self._bucket, Key=self._prefix + path)
            del known[path]

    def _upload(self, entry: Entry, patience: Patience) -> None:
        """Store one file.

        Raises:
            CheckpointError: S3 does not take it, or its name cannot be a key.
            OSError: It cannot be read.
            ends.StopRequested, ends.JobFailed: The job shall end.
        """
        try:
            key = (self._prefix + entry.path).encode()
        except UnicodeEncodeError as error:
            text = f"the name of {shown(entry.full_path)} is not UTF-8, as a key of S3 must be"
            raise CheckpointError(text) from error
        if len(key) > MAX_KEY:
            raise CheckpointError(
                f"{shown(entry.full_path)} would be a key of more than {MAX_KEY} bytes"
            )
        with entry.open() as file, self._answering(entry.path):
            self._s3.upload_fileobj(file, self._bucket, key.decode(), Callback=patience.check)

    @contextlib.contextmanager
    def _answering(self, path: str) -> Iterator[None]:
        """Let what S3 refuses be an error that names the file.

        Raises:
            CheckpointError: S3 refuses.
        """
        try:
            yield
        except (ClientError, BotoCoreError) as error:
            uri = f"s3://{self._bucket}/{self._prefix}{path}"
            raise CheckpointError(f"{shown(uri)} ({cause(error)})") from error
