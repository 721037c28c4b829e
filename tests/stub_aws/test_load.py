"""Many jobs on the stub AWS: a bounded number at once, and nothing left by one after another.

The stub runs in a process of its own, so that what it holds can be counted from outside. The jobs'
container only sleeps or ends at once: it is the stub's own part that is tried.
"""

import os
import time
from pathlib import Path

import psutil
import pytest

from tests.support.stub_jobs import IMAGE, Account, StubProcess, eventually, unique

LIMIT = max(2, psutil.cpu_count())  # how many jobs the executor runs at once
ONE_AFTER_ANOTHER = 200
# Its description, its log stream and its role's sessions stay, as on AWS: about 9 kB a job. The
# rest is room for what the allocator does with the clients that come and go.
KILOBYTES_A_JOB = 100


@pytest.fixture
def stub(tmp_path):
    with StubProcess(TMPDIR=str(tmp_path)) as process:
        process.folder = tmp_path
        yield process


def start(account: Account, *command: str) -> str:
    """Start a job whose container runs `command`, with nothing of the training toolkit."""
    specification = {
        "TrainingImage": IMAGE,
        "TrainingInputMode": "File",
        "ContainerEntrypoint": list(command),
    }
    request = {
        "TrainingJobName": unique("load"),
        "RoleArn": account.role_arn,
        "AlgorithmSpecification": specification,
        "OutputDataConfig": {"S3OutputPath": "s3://sagemaker-workshop-123456789012-us-east-1/load"},
        "ResourceConfig": {
            "InstanceType": "ml.m5.large",
            "InstanceCount": 1,
            "VolumeSizeInGB": 1,
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": 300},
    }
    account.sagemaker.create_training_job(**request)
    return request["TrainingJobName"]


def training(description: dict) -> tuple:
    """When a job's container ran."""
    (entry,) = [e for e in description["SecondaryStatusTransitions"] if e["Status"] == "Training"]
    return entry["StartTime"], entry["EndTime"]


def test_twenty_jobs_at_once_end_well_and_a_bounded_number_runs(stub):
    names = [start(stub.account, "/bin/sleep", "0.2") for _ in range(20)]
    ended = [stub.account.wait(name) for name in names]
    assert [job["TrainingJobStatus"] for job in ended] == ["Completed"] * 20
    spans = [training(job) for job in ended]
    at_once = [sum(start <= moment < end for start, end in spans) for moment, _ in spans]
    assert 2 <= max(at_once) <= LIMIT


def held(stub: StubProcess) -> dict:
    """Return what a stub holds that a job could leave: processes, mounts, folders, files,
    threads."""
    process = psutil.Process(stub.process.pid)
    return {
        "processes": sorted(child.pid for child in process.children(recursive=True)),
        "mounts": len(Path(f"/proc/{process.pid}/mountinfo").read_text().splitlines()),
        "folders": sorted(folder for folder, _, _ in os.walk(stub.folder)),
        "descriptors": process.num_fds(),
        "threads": process.num_threads(),
    }


def settled(stub: StubProcess) -> dict:
    """Return the same, once what the last job needed is being let go of no more."""

    def twice_the_same() -> dict | None:
        first = held(stub)
        time.sleep(0.3)
        return first if first == held(stub) else None

    return eventually("two readings that are equal", twice_the_same)


def run(stub: StubProcess, count: int) -> None:
    for _ in range(count):
        assert (
            stub.account.wait(start(stub.account, "/bin/true"))["TrainingJobStatus"] == "Completed"
        )


@pytest.mark.skipif(not Path("/proc/self/mountinfo").exists(), reason="counts in Linux's /proc")
def test_one_job_after_another_leaves_nothing(stub):
    run(stub, 20)  # modules, connections and caches are there now
    before = settled(stub)
    memory = psutil.Process(stub.process.pid).memory_info().rss
    run(stub, ONE_AFTER_ANOTHER)
    eventually("the end of what the last job needed", lambda: held(stub) == before)
    grown = psutil.Process(stub.process.pid).memory_info().rss - memory
    assert grown < ONE_AFTER_ANOTHER * KILOBYTES_A_JOB * 1024
