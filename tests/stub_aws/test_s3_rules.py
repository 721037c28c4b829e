"""S3 is no file system and its URIs are no web addresses: keys, prefixes, markers of folders."""

from __future__ import annotations

import pytest

from tests.support.stub_jobs import BUCKET, Account, needs_namespaces, unique

ODD = "a # b?c=1&d%20e+f é"
LIST = """
def files_in(folder):
    return sorted(str(p.relative_to(folder)) for p in Path(folder).rglob("*") if p.is_file())
"""
SHOW = LIST + "tell(files=files_in(os.environ['SM_CHANNEL_TRAIN']))"


@pytest.fixture(scope="module")
def account(stub_aws) -> Account:
    return Account(stub_aws.environment)


def train_on(account: Account, uri: str, script: str = SHOW, **changes) -> dict:
    return account.run(script, channels={"train": (uri, "FullyReplicated")}, **changes)


@pytest.mark.parametrize("form", ["s3://", "https://s3.us-east-1.amazonaws.com/"])
def test_a_uri_may_have_every_character_of_a_key(account, form) -> None:
    prefix = f"{unique('odd')}/{ODD}"
    account.put(f"{prefix}/{ODD}.csv", "1")
    where = {"S3OutputPath": f"{form}{BUCKET}/{prefix}/out"}
    script = SHOW + "\n(MODEL / 'm').touch()"
    job = train_on(account, f"{form}{BUCKET}/{prefix}/", script, OutputDataConfig=where)
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    assert account.facts(job["TrainingJobName"])["files"] == [f"{ODD}.csv"]
    key = f"{prefix}/out/{job['TrainingJobName']}/output/model.tar.gz"
    assert account.keys(f"{prefix}/out/") == [key]
    assert job["ModelArtifacts"]["S3ModelArtifacts"] == f"s3://{BUCKET}/{key}"


def test_checkpoints_may_have_every_character_of_a_key(account) -> None:
    prefix = f"{unique('odd')}/{ODD}"
    where = {"CheckpointConfig": {"S3Uri": f"s3://{BUCKET}/{prefix}"}}
    script = f"(MODEL.parent / 'checkpoints' / {ODD!r}).touch()"
    assert account.run(script, **where)["TrainingJobStatus"] == "Completed"
    assert account.keys(prefix) == [f"{prefix}/{ODD}"]


def test_a_prefix_is_what_keys_begin_with(account) -> None:
    start = unique("begins")
    for key in ("data/a.csv", "data2/b.csv", "dat.csv"):
        account.put(f"{start}/{key}", "1")
    job = train_on(account, f"s3://{BUCKET}/{start}/data")
    assert account.facts(job["TrainingJobName"])["files"] == ["a.csv", "data2/b.csv"]


@needs_namespaces
def test_that_of_checkpoints_too(account) -> None:
    start = unique("begins")
    for key in ("run/step-1", "run-2/step-9"):
        account.put(f"{start}/{key}", "1")
    script = (
        LIST
        + "tell(files=files_in('/opt/ml/checkpoints')); Path('/opt/ml/checkpoints/new').touch()"
    )
    job = account.run(script, CheckpointConfig={"S3Uri": f"s3://{BUCKET}/{start}/run"})
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    assert account.facts(job["TrainingJobName"])["files"] == ["run-2/step-9", "step-1"]
    assert account.keys(start) == [
        f"{start}/{key}" for key in ("run-2/step-9", "run/new", "run/step-1")
    ]


@needs_namespaces
def test_markers_of_folders_do_no_harm(account) -> None:
    """As the console makes them: empty objects whose key ends in a slash."""
    start = unique("markers")
    for key in ("", "deep/", "deep/er/"):
        account.put(f"{start}/{key}")
    account.put(f"{start}/deep/a.csv", "1")
    account.put(
        f"{start}/list.manifest", f'[{{"prefix": "s3://{BUCKET}/{start}/"}}, "deep/", "deep/a.csv"]'
    )
    channels = {"train": (f"s3://{BUCKET}/{start}/", "FullyReplicated")}
    script = SHOW + "\ntell(checkpoints=files_in('/opt/ml/checkpoints'))"
    where = {"CheckpointConfig": {"S3Uri": f"s3://{BUCKET}/{start}/deep/"}}
    job = account.run(script, channels=channels, **where)
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    facts = account.facts(job["TrainingJobName"])
    assert facts == {"files": ["deep/a.csv", "list.manifest"], "checkpoints": ["a.csv"]}
    request = account.request(
        SHOW, channels={"train": (f"s3://{BUCKET}/{start}/list.manifest", "FullyReplicated")}
    )
    request["InputDataConfig"][0]["DataSource"]["S3DataSource"]["S3DataType"] = "ManifestFile"
    account.sagemaker.create_training_job(**request)
    job = account.wait(request["TrainingJobName"])
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    assert account.facts(request["TrainingJobName"])["files"] == ["deep/a.csv"]


@pytest.mark.parametrize(
    ("keys", "named", "cause"),
    [
        (["a", "a/b"], "a/b", "its key needs a folder where another object is a file"),
        (["x" * 256], "x" * 256, "File name too long"),
        (["é" * 128], "é" * 128, "File name too long"),
    ],
    ids=["a folder and a file", "a part too long", "too long in bytes"],
)
def test_keys_that_cannot_be_files_end_the_job_with_a_reason(account, keys, named, cause) -> None:
    prefix = unique("no-files")
    for key in keys:
        account.put(f"{prefix}/{key}", "1")
    job = train_on(account, f"s3://{BUCKET}/{prefix}/")
    assert job["TrainingJobStatus"] == "Failed"
    assert job["FailureReason"].startswith("ClientError: Data download failed:")
    assert f"s3://{BUCKET}/{prefix}/{named} " in job["FailureReason"]
    assert f"({cause})" in job["FailureReason"]


def test_a_part_of_a_key_may_have_255_bytes(account) -> None:
    prefix, name = unique("long"), "é" * 127 + "x"
    account.put(f"{prefix}/{name}", "1")
    job = train_on(account, f"s3://{BUCKET}/{prefix}/")
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    assert account.facts(job["TrainingJobName"])["files"] == [name]
