"""Copies a job's folders to S3 and keeps them equal: its checkpoints, and TensorBoard's files.

(Developer guide, "Use checkpoints in Amazon SageMaker".) What is in S3 comes to every host before
training. While the job runs, what is written, changed or deleted in the folder is written, changed
or deleted in S3; files that others add in S3 are not fetched. All hosts share one prefix. Only
plain files are kept. What S3 does not take, and what cannot be a key, fails the job.

TensorBoard's folder is only ever brought to S3, where nothing is deleted: below
`<S3OutputPath>/<job>/tensorboard-output`, as SageMaker's SDK expects it
(`Estimator.latest_job_tensorboard_artifacts_path`).
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from .artifacts import GB, below, object_key, volume_size
from .beneath import Entry, FilesGone, Refused, View, sentence, shown
from .channels import cause, fetch, list_prefix, parse_s3_uri, unlistable
from .configuration import DEFAULT_CHECKPOINT_PATH, tensorboard_path
from .ends import GRACE_S, JobFailed, Patience, StopRequested, Troubles, files_gone
from .instance import Layout
from .store import Job

INTERVAL_S = 0.5
POLL_S = 0.02

Fingerprint = tuple[int, int]  # of a file: modification time in ns, size in bytes


class SyncError(Exception):
    """A folder cannot be kept; the message is the job's FailureReason."""


class FolderSync:
    """Brings the changes of one folder of all hosts to S3.

    Args:
        views: The files of each host, as its processes see them.
        closing: Set when the stub ends.
        troubles: Gets the reason when they cannot be kept.
        note: Gets a line for the log where some are not in S3.

    Attributes:
        active: Whether the job wants it at all.
        what: The files, for messages, e.g. `checkpoints`.
        failure: How the FailureReason begins.
        container_path: The folder's path in the container.
        prefix: Of the keys, empty or with a slash at its end.
        deletes: Whether what is deleted in the folder is deleted in S3, too.
    """

    active: bool
    what: str
    failure: str
    container_path: str
    bucket: str
    prefix: str
    deletes: bool

    def __init__(
        self,
        s3: Any,
        job: Job,
        views: list[View],
        closing: threading.Event,
        troubles: Troubles,
        note: Callable[[str], None],
    ) -> None:
        self._s3 = s3
        self._job = job
        self._views = views
        self._closing = closing
        self._troubles = troubles
        self._note = note
        self._known: list[dict[str, Fingerprint]] = [{} for _ in views]
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True)

    def start(self) -> None:
        """Begin to keep them, beside the hosts."""
        if self.active:
            self._thread.start()

    def finish(self) -> None:
        """Stop keeping them, and bring what has changed since to S3; the hosts have ended."""
        if not self.active:
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
            self._note(f"not all {self.what} were in S3 {GRACE_S} s after the stop")

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
                        raise self._error(sentence(error)) from error
        except (SyncError, JobFailed) as error:
            self._troubles.report(str(error))
        except FilesGone as error:
            self._troubles.report(files_gone(error))

    def _synchronise_host(
        self, view: View, known: dict[str, Fingerprint], patience: Patience
    ) -> None:
        total, present = 0, set()
        for entry in view.walk(self.container_path):
            patience.check()
            if entry.kind != "a plain file":
                continue
            total += entry.stat.st_size
            if total > volume_size(self._job):
                raise self._error(
                    f"with {shown(entry.full_path)} ({entry.stat.st_size / GB:.1f} GB) the "
                    f"{self.what} are more than VolumeSizeInGB allows"
                )
            present.add(entry.path)
            state = entry.stat.st_mtime_ns, entry.stat.st_size
            if known.get(entry.path) != state:
                # Gone or a link by now: the next look sees what became of it.
                with contextlib.suppress(FileNotFoundError, Refused):
                    self._upload(entry, patience)
                    known[entry.path] = state
        for path in known.keys() - present if self.deletes else ():
            with self._answering(path):
                self._s3.delete_object(Bucket=self.bucket, Key=self.prefix + path)
            del known[path]

    def _upload(self, entry: Entry, patience: Patience) -> None:
        """Store one file.

        Raises:
            SyncError: S3 does not take it, or its name cannot be a key.
            OSError: It cannot be read.
            ends.StopRequested, ends.JobFailed: The job shall end.
        """
        try:
            key = object_key(self.prefix, entry)
        except ValueError as error:
            raise self._error(str(error)) from error
        with entry.open() as file, self._answering(entry.path):
            self._s3.upload_fileobj(file, self.bucket, key, Callback=patience.check)

    @contextlib.contextmanager
    def _answering(self, path: str) -> Iterator[None]:
        """Let what S3 refuses be an error that names the file.

        Raises:
            SyncError: S3 refuses.
        """
        try:
            yield
        except (ClientError, BotoCoreError) as error:
            uri = f"s3://{self.bucket}/{self.prefix}{path}"
            raise self._error(f"{shown(uri)} ({cause(error)})") from error

    def _error(self, text: str) -> SyncError:
        return SyncError(f"{self.failure}:{text}")


class CheckpointSync(FolderSync):
    """The checkpoints of one attempt of a job. Idle when the job has no CheckpointConfig."""

    what, failure = "checkpoints", "ClientError: Checkpoint upload failed"
    container_path = DEFAULT_CHECKPOINT_PATH  # also a path that the job has chosen leads there
    deletes = True

    def __init__(self, layouts: list[Layout], *arguments: Any) -> None:
        super().__init__(*arguments)
        configuration = self._job.request.get("CheckpointConfig")
        self.active = configuration is not None
        self._uri = configuration["S3Uri"] if configuration else ""
        self.bucket, prefix = parse_s3_uri(self._uri)
        self.prefix = prefix.rstrip("/") + "/" if prefix else ""
        self._folders = [layout.checkpoints for layout in layouts]

    def restore(self) -> None:
        """Bring what S3 has to every host.

        Raises:
            channels.ChannelError: An object cannot be read, or its key is no safe file name.
            ends.StopRequested, ends.JobFailed: The job shall end.
        """
        if not self.active:
            return
        patience = Patience(self._job, self._closing, grace_s=0)
        try:
            items = list_prefix(self._s3, self.bucket, parse_s3_uri(self._uri)[1])
        except (ClientError, BotoCoreError) as error:
            raise unlistable(self._uri, error) from error
        for item in items:
            for folder, known in zip(self._folders, self._known, strict=True):
                fetch(self._s3, item, folder / item.name, patience)
                status = (folder / item.name).stat()
                known[item.name] = status.st_mtime_ns, status.st_size


class TensorBoardSync(FolderSync):
    """What a job writes for TensorBoard. Idle when it has no TensorBoardOutputConfig."""

    what, failure = "files for TensorBoard", "ClientError: TensorBoard output upload failed"
    deletes = False

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        configuration = self._job.request.get("TensorBoardOutputConfig")
        self.active = configuration is not None
        self.container_path = tensorboard_path(self._job)
        self.bucket, prefix = parse_s3_uri(configuration["S3OutputPath"] if configuration else "")
        self.prefix = below(prefix, self._job.name, "tensorboard-output") + "/"
