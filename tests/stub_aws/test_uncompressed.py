"""Outputs that are no archive: `CompressionType="NONE"`, and the folder for TensorBoard."""

from __future__ import annotations

import pytest
from sagemaker.estimator import Estimator
from sagemaker.session import Session

from tests.support.stub_jobs import BUCKET, IMAGE, Account, Meeting, eventually, unique

NONE = {"S3OutputPath": f"s3://{BUCKET}/output", "CompressionType": "NONE"}
LEAVE = """
(MODEL / "deep").mkdir()
(MODEL / "deep/a # ?b%20").write_text(HOST)
(MODEL / HOST).write_text("mine")
(MODEL / "link").symlink_to("deep/a # ?b%20")
(MODEL / "out").symlink_to("/etc/hostname")
os.mkfifo(MODEL / "pipe")
(OUTPUT / HOST).write_text("out")
"""
PRELUDE = "HOST = os.environ['SM_CURRENT_HOST']; OUTPUT = Path(os.environ['SM_OUTPUT_DATA_DIR'])\n"


@pytest.fixture(scope="module")
def account(stub_aws) -> Account:
    return Account(stub_aws.environment)


def content(account: Account, key: str) -> str:
    return account.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read().decode()


def test_each_file_becomes_an_object(account) -> None:
    job = account.run(PRELUDE + LEAVE, OutputDataConfig=NONE, hosts=2)
    name = job["TrainingJobName"]
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    assert job["OutputDataConfig"]["CompressionType"] == "NONE"
    start = f"output/{name}/output/"
    assert job["ModelArtifacts"] == {"S3ModelArtifacts": f"s3://{BUCKET}/{start}model/"}
    assert set(account.keys(start)) == {
        f"{start}data/algo-1",
        *(f"{start}model/{file}" for file in ("deep/a # ?b%20", "algo-1", "algo-2", "link")),
    }
    # Of two files with one path the first host's is kept; a link is stored as what it leads to.
    assert content(account, f"{start}model/deep/a # ?b%20") == "algo-1"
    assert content(account, f"{start}model/link") == "algo-1"
    log = account.log(name)
    assert (
        "stub AWS: /opt/ml/model/out leads out of the job's own files, to /etc/hostname: it is "
        "not stored"
    ) in log
    assert "stub AWS: /opt/ml/model/pipe is a named pipe, not a plain file: it is not stored" in log


def test_nothing_left_is_no_artifact(account) -> None:
    job = account.run("", OutputDataConfig=NONE)
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    assert "ModelArtifacts" not in job
    assert account.keys(f"output/{job['TrainingJobName']}/") == []


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (
            r"b'/opt/ml/model/x-\xff'",
            r"the name of /opt/ml/model/x-\xff is not UTF-8, as a key of S3 must be (algo-1)",
        ),
        (
            "'/opt/ml/model/' + 'x' * 250 + '/' + 'y' * 250 + '/' + 'z' * 250 + '/' + 'a' * 250",
            " would be a key of more than 1024 bytes (algo-1)",
        ),
    ],
)
def test_a_name_that_can_be_no_key_fails_the_job(account, name, reason) -> None:
    script = f"name = os.fsdecode({name}); Path(name).parent.mkdir(parents=True, exist_ok=True)\n"
    job = account.run(script + "open(name, 'w').close()", OutputDataConfig=NONE)
    assert job["TrainingJobStatus"] == "Failed"
    assert job["FailureReason"].startswith("ClientError: Artifact upload failed:")
    assert job["FailureReason"].endswith(reason)


def test_a_bucket_of_somebody_else_fails_the_job(account) -> None:
    where = {"S3OutputPath": "s3://sagemaker-nobodys/a", "CompressionType": "NONE"}
    job = account.run("(MODEL / 'a').touch()", OutputDataConfig=where)
    assert job["TrainingJobStatus"] == "Failed"
    assert "AccessDenied" in job["FailureReason"]


def test_the_sdk_finds_the_uncompressed_model(on_stub_aws) -> None:
    account = Account(on_stub_aws.environment)
    estimator = Estimator(
        image_uri=IMAGE,
        role=account.role_arn,
        instance_count=1,
        instance_type="ml.m5.large",
        output_path=f"s3://{BUCKET}/output",
        disable_output_compression=True,
        sagemaker_session=Session(),
        hyperparameters=account.request("(MODEL / 'a').write_text('b')")["HyperParameters"],
    )
    estimator.fit(logs=False)
    source = estimator.model_data["S3DataSource"]
    assert (source["S3DataType"], source["CompressionType"]) == ("S3Prefix", "None")
    prefix = source["S3Uri"].removeprefix(f"s3://{BUCKET}/")
    assert account.keys(prefix) == [f"{prefix}a"]


# --- TensorBoard ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "local_path"),
    [
        ({}, "/opt/ml/output/tensorboard"),
        # As SDK 3 sends it with every such job.
        ({"LocalPath": "/opt/ml/output/tensorboard"}, "/opt/ml/output/tensorboard"),
        ({"LocalPath": "/runs/mine"}, "/runs/mine"),
    ],
)
def test_tensorboards_folder_comes_to_s3_while_the_job_runs(account, more, local_path) -> None:
    prefix = unique("tensorboard")
    where = {"S3OutputPath": f"s3://{BUCKET}/{prefix}/", **more}
    script = f"""
folder = Path({local_path!r}); (folder / "run").mkdir(parents=True, exist_ok=True)
(folder / "run/events").write_text("1")
(folder / "run/gone").write_text("1")
meet()
(folder / "run/events").write_text("12")
(folder / "run/gone").unlink()
"""
    with Meeting() as meeting:
        name = account.start(script, meeting=meeting, TensorBoardOutputConfig=where)
        start = f"{prefix}/{name}/tensorboard-output/run/"
        meeting.wait()
        eventually("both files", lambda: len(account.keys(start)) == 2)
        assert content(account, f"{start}events") == "1"
        meeting.release()
        job = account.wait(name)
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    assert content(account, f"{start}events") == "12"
    assert f"{start}gone" in account.keys(start)  # nothing is deleted in S3
    assert job["TensorBoardOutputConfig"] == where


def test_a_bucket_for_tensorboard_that_is_forbidden_is_named(account) -> None:
    script = "f = MODEL.parent / 'output/tensorboard'; f.mkdir(); (f / 'events').touch()"
    where = {"S3OutputPath": "s3://sagemaker-nobodys/a"}
    job = account.run(script, TensorBoardOutputConfig=where)
    assert job["TrainingJobStatus"] == "Failed"
    assert job["FailureReason"].startswith(
        "ClientError: TensorBoard output upload failed:s3://sagemaker-nobodys/a/"
    )
    assert job["FailureReason"].endswith("/tensorboard-output/events (AccessDenied: Access Denied)")
