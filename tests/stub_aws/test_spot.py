"""Checkpoints, managed spot training with interruptions that really happen, and quotas."""

import threading

import pytest
from botocore.exceptions import ClientError

from stub_aws.aws import REGION
from stub_aws.server import Server
from stub_aws.spot import Interruptions
from tests.support.stub_jobs import BUCKET, Account, Meeting, eventually, needs_namespaces, unique

# Counts to five, one step a time, and goes on from the checkpoint that it finds.
COUNT = """
folder = Path("/opt/ml/checkpoints") if Path("/opt/ml").exists() else Path(
    os.environ["SAGEMAKER_BASE_DIR"], "checkpoints")
step = int((folder / "step").read_text()) if (folder / "step").exists() else 0
tell(**{f"began at {step}": True})
while step < 5:
    step += 1
    (folder / "new").write_text(str(step))
    (folder / "new").rename(folder / "step")
    time.sleep(0.4)
(MODEL / "steps").write_text(str(step))
"""


@pytest.fixture(scope="module")
def account(stub_aws) -> Account:
    return Account(stub_aws.environment)


def checkpoints(**more: str) -> tuple[str, dict[str, str]]:
    """Return a new prefix in S3, and the CheckpointConfig that names it."""
    prefix = unique("checkpoints")
    return prefix, {"S3Uri": f"s3://{BUCKET}/{prefix}", **more}


def spot(interruptions: str | None = None, capacity: str = "0", max_wait: int = 600) -> dict:
    tags = [{"Key": "spot-capacity-after-seconds", "Value": capacity}]
    if interruptions:
        tags.append({"Key": "spot-interruptions-after-seconds", "Value": interruptions})
    return {
        "EnableManagedSpotTraining": True,
        "StoppingCondition": {"MaxRuntimeInSeconds": 300, "MaxWaitTimeInSeconds": max_wait},
        "Tags": tags,
    }


def statuses(job: dict) -> list[str]:
    return [entry["Status"] for entry in job["SecondaryStatusTransitions"]]


def test_checkpoints_reach_s3_while_the_job_runs_and_follow_changes_and_deletions(account):
    prefix, configuration = checkpoints()
    script = """
folder = Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"), "checkpoints")
(folder / "deep").mkdir()
(folder / "deep/first").write_text("1")
meet()
(folder / "deep/first").unlink()
(folder / "second").write_text("2")
"""

    def read(name: str) -> bytes:
        return account.s3.get_object(Bucket=BUCKET, Key=f"{prefix}/{name}")["Body"].read()

    with Meeting() as meeting:
        name = account.start(script, meeting=meeting, CheckpointConfig=configuration)
        meeting.wait()
        eventually("the checkpoint in S3", lambda: account.keys(prefix) == [f"{prefix}/deep/first"])
        assert read("deep/first") == b"1"
        assert account.describe(name)["TrainingJobStatus"] == "InProgress"
        meeting.release()
        assert account.wait(name)["TrainingJobStatus"] == "Completed"
    assert account.keys(prefix) == [f"{prefix}/second"]
    assert read("second") == b"2"


def test_a_new_job_on_the_same_prefix_goes_on_where_the_last_one_was(account):
    prefix, configuration = checkpoints()
    account.put(f"{prefix}/step", "4")
    job = account.run(COUNT, CheckpointConfig=configuration)
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    assert account.facts(job["TrainingJobName"]) == {"began at 4": True}
    assert account.unpack(job["TrainingJobName"]) == {"steps": b"5"}


@needs_namespaces
def test_checkpoints_may_have_a_folder_that_no_machine_has(account):
    prefix, configuration = checkpoints(LocalPath="/state")
    script = 'Path("/state/here").write_text("yes"); tell(root=sorted(os.listdir("/")))'
    job = account.run(script, CheckpointConfig=configuration)
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    assert account.keys(prefix) == [f"{prefix}/here"]
    assert "state" in account.facts(job["TrainingJobName"])["root"]


def test_a_spot_interruption_takes_the_instance_and_the_job_goes_on_from_its_checkpoint(
    account, monkeypatch
):
    """A tag orders it; when it comes the test says, for a slow machine may be late."""
    prefix, configuration = checkpoints()
    ordered = threading.Event()
    by_tag = Interruptions.due
    monkeypatch.setattr(Interruptions, "due", lambda self: ordered.is_set() and by_tag(self))
    order = spot(interruptions="0.1")
    script = COUNT.replace("sleep(0.4)", "sleep(600 if step == 3 else 0.4)")
    name = account.start(script, CheckpointConfig=configuration, **order)
    saved = f"{prefix}/step"

    def third_step() -> bool:
        if saved not in account.keys(prefix):
            return False
        return account.s3.get_object(Bucket=BUCKET, Key=saved)["Body"].read() == b"3"

    eventually("the third checkpoint in S3", third_step)
    ordered.set()
    job = account.wait(name)
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    attempt = ["Starting", "Downloading", "Training"]
    assert statuses(job) == [*attempt, "Interrupted", *attempt, "Uploading", "Completed"]
    assert account.facts(name) == {"began at 0": True, "began at 3": True}
    assert account.unpack(name) == {"steps": b"5"}
    assert job["BillableTimeInSeconds"] < job["TrainingTimeInSeconds"]


def test_waiting_for_capacity_is_not_paid_and_ends_with_max_wait(account):
    limits = spot(interruptions="0.1", capacity="1000", max_wait=1)
    limits["StoppingCondition"]["MaxRuntimeInSeconds"] = 1
    job = account.run("time.sleep(60)", **limits)
    assert job["TrainingJobStatus"] == "Stopped"
    assert job["SecondaryStatus"] == "MaxWaitTimeExceeded"
    billed = [e for e in job["SecondaryStatusTransitions"] if e["Status"] == "Interrupted"]
    assert len(billed) == 1


def test_without_spot_the_tags_mean_nothing(account):
    tags = spot(interruptions="0.1")["Tags"]
    job = account.run("time.sleep(0.5)", Tags=tags)
    assert "Interrupted" not in statuses(job)
    assert job["BillableTimeInSeconds"] == job["TrainingTimeInSeconds"]


@pytest.mark.parametrize(
    "changes",
    [
        {"StoppingCondition": {"MaxRuntimeInSeconds": 60}},
        {"StoppingCondition": {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 59}},
        {
            "StoppingCondition": {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 60},
            "EnableManagedSpotTraining": False,
        },
    ],
    ids=["no max_wait", "max_wait below max_run", "max_wait without spot"],
)
def test_the_waiting_time_must_fit(account, changes):
    with pytest.raises(ClientError, match="Invalid MaxWaitTimeInSeconds") as caught:
        account.start(**spot() | changes)
    assert caught.value.response["Error"]["Code"] == "ValidationException"


def test_a_quota_of_zero_refuses_in_awss_words(account):
    resources = {"InstanceType": "ml.p4d.24xlarge", "InstanceCount": 1, "VolumeSizeInGB": 1}
    with pytest.raises(ClientError) as caught:
        account.start(ResourceConfig=resources)
    error = caught.value.response["Error"]
    assert error["Code"] == "ResourceLimitExceeded"
    assert error["Message"].startswith(
        "The account-level service limit 'ml.p4d.24xlarge for training job usage' is 0 Instances, "
        "with current utilization of 0 Instances and a request delta of 1 Instances."
    )


@needs_namespaces
def test_instances_in_use_count_against_the_quota_until_their_job_ends(account):
    kind = "ml.c5.9xlarge"  # no other test uses it; the default quota is 20
    resources = {"InstanceType": kind, "InstanceCount": 20, "VolumeSizeInGB": 1}
    name = account.start("time.sleep(60)", ResourceConfig=resources | {"InstanceCount": 2})
    with pytest.raises(ClientError, match="current utilization of 2 Instances") as caught:
        account.start(ResourceConfig=resources | {"InstanceCount": 19})
    assert caught.value.response["Error"]["Code"] == "ResourceLimitExceeded"
    account.sagemaker.stop_training_job(TrainingJobName=name)
    account.wait(name)
    again = account.start(ResourceConfig=resources | {"InstanceCount": 1})
    assert account.wait(again)["TrainingJobStatus"] == "Completed"


def test_quotas_can_be_set():
    server = Server(REGION, quotas={"ml.m5.large": 0})
    try:
        assert server.executor is not None
        assert server.quotas == {"ml.m5.large": 0}
    finally:
        server.close()
