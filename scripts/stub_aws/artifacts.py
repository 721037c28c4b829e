"""What a job leaves: `/opt/ml/model` and `/opt/ml/output/data` into S3, its failure file as reason.

All of it is data that somebody's script wrote. It is opened by the job's own view of its files
(beneath.py) and packed in pieces (packing.py), so that a stop and the end of the stub are heeded;
what cannot be stored ends the job with a reason that names the file and the cause.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from .beneath import FilesGone, sentence, shown
from .channels import parse_s3_uri
from .ends import Patience
from .packing import Left, Packer, UploadError
from .store import Job

MODEL, OUTPUT, FAILURE = "/opt/ml/model", "/opt/ml/output/data", "/opt/ml/output/failure"
GB = 1024**3
MAX_REASON = 1024  # characters of a FailureReason


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
    """Store `model.tar.gz` (all hosts' models) and `output.tar.gz` (the first host's output).

    Args:
        folder: Where the archives are made.
        note: Gets a line for the log for each file that goes into none.

    Raises:
        UploadError: They cannot be packed or stored.
        ends.StopRequested, ends.JobFailed: The job shall end.
    """
    for left in hosts:
        check_size(left, job)
    packer = Packer(patience, note)
    for name, parts, place in (
        ("model.tar.gz", hosts, MODEL),
        ("output.tar.gz", hosts[:1], OUTPUT),
    ):
        archive = folder / name
        if not packer.pack(parts, place, archive):
            continue
        uri = artifact_uri(job.request["OutputDataConfig"]["S3OutputPath"], job.name, name)
        upload(s3, archive, uri, patience)
        archive.unlink()
        if name == "model.tar.gz":
            job.model_artifact = uri


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
        for place in (MODEL, OUTPUT)
        for entry in left.entries(place)
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


def artifact_uri(output_path: str, job_name: str, file_name: str) -> str:
    """Where SageMaker puts an artifact: `<S3OutputPath>/<job>/output/<file>`."""
    bucket, prefix = parse_s3_uri(output_path)
    key = "/".join(part for part in (prefix.strip("/"), job_name, "output", file_name) if part)
    return f"s3://{bucket}/{key}"


def upload(s3: Any, archive: Path, uri: str, patience: Patience) -> None:
    """Store `archive` at `uri`.

    Raises:
        UploadError: The bucket is missing or the job's role may not write there.
        ends.StopRequested, ends.JobFailed: The job shall end.
    """
    bucket, key = parse_s3_uri(uri)
    with archive.open("rb") as file:
        try:
            s3.upload_fileobj(file, bucket, key, Callback=patience.check)
        except (ClientError, BotoCoreError) as error:
            raise UploadError(str(error)) from error
