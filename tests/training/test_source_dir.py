"""What a job uploads: the room training/, packed by SageMaker's own SDK, and nothing else."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from pathlib import Path

from stub_aws.aws import StubAWS
from tests.support.stub_jobs import BUCKET, PATIENCE_S, REPOSITORY, Account

ROOM = REPOSITORY / "scripts" / "training"
PACK = """
import sys
import boto3
from sagemaker import fw_utils
uploaded = fw_utils.tar_and_upload_dir(
    boto3.Session(), sys.argv[1], "upload", "train_minimal.py", sys.argv[2]
)
print(uploaded.s3_prefix)
"""


def names_in(archive: bytes) -> set[str]:
    """Return the files of an archive, but for what Python caches."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        files = {Path(member.name) for member in tar if member.isfile()}
    return {path.as_posix() for path in files if "__pycache__" not in path.parts}


def modules_of(*rooms: str) -> set[str]:
    return {
        path.name for room in rooms for path in (REPOSITORY / "scripts" / room).glob("[!_]*.py")
    }


def test_a_job_uploads_the_room_training_and_nothing_else(stub_aws: StubAWS) -> None:
    account = Account(stub_aws.environment)
    done = subprocess.run(
        [sys.executable, "-c", PACK, BUCKET, str(ROOM)],
        env=stub_aws.environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    key = done.stdout.split()[-1].removeprefix(f"s3://{BUCKET}/")
    names = names_in(account.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read())
    assert {"train_minimal.py", "train_xgboost.py", "titanic.py", "hosts/group.py"} <= names
    assert {Path(name).suffix for name in names} == {".py"}
    assert not names & modules_of("workshop", "lessons", "notebook_instance", "simulation")
    there = {path.relative_to(ROOM).as_posix() for path in ROOM.rglob("*.py")}
    assert names == there
