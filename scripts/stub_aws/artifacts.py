"""What a job leaves: `/opt/ml/model` and `/opt/ml/output/data` into S3, its failure file as reason.

It becomes `model.tar.gz` and `output.tar.gz`, or, with `CompressionType="NONE"`, one object for
each file. All of it is data that somebody's script wrote. It is opened by the job's own view of its
files (beneath.py) and packed in pieces (packing.py), so that a stop and the end of the stub are
heeded; what cannot be stored ends the job with a reason that names the file and the cause.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from botocore.exceptions import BotoCoreError, ClientError

from .beneath import Entry, FilesGone, Refused, sentence, shown
from .channels import parse_s3_uri
from .ends import Patience
from .packing import Left, Packer, UploadError
from .store import Job

MODEL, OUTPUT, FAILURE = "/opt/ml/model", "/opt/ml/output/data", "/opt/ml/output/failure"
GB = 1024**3
MAX_REASON = 1024  # characters of a FailureReason
MAX_KEY = 1024  # bytes


def failure_reason(code: int, left: Left, note: Callable[[str], None]) -> str:
    """Return what SageMaker would say: the failure file's first characters, or the exit code.

    Args:
        code: Of the container's process; below 0, the number of the signal that ended the host.
        note: Gets a line for the log when there is something that is not read.

    Raises:
        beneath.FilesGone: The files of the host are not there any more.
    """
    written = ""
    try:
        with left.view.open_file(FAILURE) as file:
            written = file.read(4 * MAX_REASON).decode("utf-8", "replace").strip()
    except FilesGone:
        raise
    except FileNotFoundError:
        pass
    except OSError as error:
        note(f"the failure file is not read: {sentence(error)}")
    return f"AlgorithmError: {written or _how_it_ended(code, left.host)}"


def _how_it_ended(code: int, host: str) -> str:
    if code >= 0:
        return f"Exit Code: {code}"
    name = signal.Signals(-code).name
    return f"Exit Code: {128 - code} ({host} itself was ended by {name}, not only its script)"


def upload_artifacts(
    s3: Any,
    job: Job,
    hosts: list[Left],
    folder: Path,
    patience: Patience,
    note: Callable[[str], None],
) -> None:
    """Store all hosts' models and the first host's output.

    Args:
        folder: Where archives are made.
        note: Gets a line for the log for each file that is not stored.

    Raises:
        UploadError: They cannot be packed or stored.
        ends.StopRequested, ends.JobFailed: The job shall end.
    """
    for left in hosts:
        check_size(left, job)
    compressed = job.request["OutputDataConfig"].get("CompressionType", "GZIP") == "GZIP"
    store = (
        _Archives(s3, job, folder, patience, note)
        if compressed
        else _Objects(s3, job, patience, note)
    )
    job.model_artifact = store.store("model", hosts, MODEL)
    store.store("output", hosts[:1], OUTPUT)


class _Archives:
    """Stores what is in a folder of the hosts as one archive."""

    def __init__(
        self,
        s3: Any,
        job: Job,
        folder: Path,
        patience: Patience,
        note: Callable[[str], None],
    ) -> None:
        self._s3 = s3
        self._job = job
        self._folder = folder
        self._patience = patience
        self._packer = Packer(patience, note)

    def store(self, name: str, hosts: list[Left], folder_of_job: str) -> str | None:
        """Store it as `NAME.tar.gz`; return its address, or None where nothing is in the folder.

        Raises:
            UploadError: It cannot be packed or stored.
            ends.StopRequested, ends.JobFailed: The job shall end.
        """
        archive = self._folder / f"{name}.tar.gz"
        if not self._packer.pack(hosts, folder_of_job, archive):
            return None
        uri = artifact_uri(self._job, archive.name)
        with archive.open("rb") as file:
            upload(self._s3, file, uri, self._patience)
        archive.unlink()
        return uri


class _Objects:
    """Stores what is in a folder of the hosts as it is, an object for each file."""

    def __init__(self, s3: Any, job: Job, patience: Patience, note: Callable[[str], None]) -> None:
        self._s3 = s3
        self._job = job
        self._patience = patience
        self._note = note

    def store(self, name: str, hosts: list[Left], folder_of_job: str) -> str | None:
        """Store the files below `NAME/`; return that address, or None where there are none.

        Of files with the same path the first host's is stored. A link is stored as what it leads
        to.

        Raises:
            UploadError: One cannot be stored.
            ends.StopRequested, ends.JobFailed: The job shall end.
        """
        uri = artifact_uri(self._job, f"{Path(folder_of_job).name}/")
        bucket, prefix = parse_s3_uri(uri)
        stored = set()
        for left in hosts:
            for entry in left.entries(folder_of_job):
                self._patience.check()
                if entry.kind == "a folder" or entry.path in stored:
                    continue
                try:
                    key = object_key(prefix, entry)
                    file = self._open(left, entry)
                except ValueError as error:
                    raise UploadError(f"{error} ({left.host})") from error
                except Refused as error:
                    self._note(f"{sentence(error)}: it is not stored")
                    continue
                except OSError as error:
                    raise left.unreadable(error) from error
                with file:
                    upload(self._s3, file, f"s3://{bucket}/{key}", self._patience)
                stored.add(entry.path)
        return uri if stored else None

    def _open(self, left: Left, entry: Entry) -> BinaryIO:
        """Open a file, or what a link leads to.

        Raises:
            Refused: It is no plain file, or leads out of the job's own files, or to nothing.
            OSError: It cannot be read.
        """
        if entry.kind == "a symbolic link":
            return left.view.open_file(entry.full_path)
        return entry.open()


def object_key(prefix: str, entry: Entry) -> str:
    """Return the key that a file of a job gets.

    Raises:
        ValueError: Its name can be no key; the message says which file and why.
    """
    key = prefix + entry.path
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        text = f"the name of {shown(entry.full_path)} is not UTF-8, as a key of S3 must be"
        raise ValueError(text) from None
    if size > MAX_KEY:
        raise ValueError(f"{shown(entry.full_path)} would be a key of more than {MAX_KEY} bytes")
    return key


def volume_size(job: Job) -> float:
    """Return how many bytes a host of the job may leave; any number where the request says none."""
    return job.request["ResourceConfig"].get("VolumeSizeInGB", 0) * GB or float("inf")


def check_size(left: Left, job: Job) -> None:
    """Check that a host has not left more than its volume would hold.

    Raises:
        UploadError: It has, or what it has left cannot be looked at.
    """
    files = [
        (entry.stat.st_size, entry.full_path)
        for folder_of_job in (MODEL, OUTPUT)
        for entry in left.entries(folder_of_job)
        if entry.kind == "a plain file"
    ]
    total = sum(size for size, _ in files)
    if total > volume_size(job):
        size, path = max(files)
        raise UploadError(
            f"{left.host} left {total / GB:.1f} GB, more than VolumeSizeInGB "
            f"({volume_size(job) / GB:.0f}) allows; the largest file is {shown(path)} with "
            f"{size / GB:.1f} GB"
        )


def artifact_uri(job: Job, name: str) -> str:
    """Where SageMaker puts an artifact: `<S3OutputPath>/<job>/output/<name>`."""
    bucket, prefix = parse_s3_uri(job.request["OutputDataConfig"]["S3OutputPath"])
    return f"s3://{bucket}/{below(prefix, job.name, 'output', name)}"


def below(prefix: str, *parts: str) -> str:
    """Return the key of `parts` below a prefix, which may be empty or end in a slash."""
    return "/".join(part for part in (prefix.strip("/"), *parts) if part)


def upload(s3: Any, file: BinaryIO, uri: str, patience: Patience) -> None:
    """Store `file` at `uri`.

    Raises:
        UploadError: The bucket is missing or the job's role may not write there.
        ends.StopRequested, ends.JobFailed: The job shall end.
    """
    bucket, key = parse_s3_uri(uri)
    try:
        s3.upload_fileobj(file, bucket, key, Callback=patience.check)
    except (ClientError, BotoCoreError) as error:
        raise UploadError(str(error)) from error
