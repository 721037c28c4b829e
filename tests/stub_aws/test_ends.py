"""What would wait for ever: each wait of the stub has an end, and a stop hastens it."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest

from stub_aws import executor, instance, leftovers, run
from stub_aws.executor import Executor
from stub_aws.instance import HostRequest, Instance, Layout
from stub_aws.run import Outcome, Platform, Run
from stub_aws.store import Job, Store
from tests.support.stub_jobs import (
    BUCKET,
    PATIENCE_S,
    Account,
    Meeting,
    StubProcess,
    eventually,
    processes_with,
    unique,
)

SLOTS = max(2, os.cpu_count() or 2)  # how many jobs the executor runs at once


@pytest.fixture(scope="module")
def account(stub_aws) -> Account:
    return Account(stub_aws.environment, stub_aws.role_arn)


def quickly_ended(stub: StubProcess) -> tuple[int, str]:
    """End a stub, which must not take long; its exit code and what it said after its first line."""
    began = time.monotonic()
    code, stderr = stub.end()
    assert time.monotonic() - began < PATIENCE_S / 2
    first, _, rest = stderr.partition("\n")
    assert first.startswith("stub AWS: its console is at ")
    return code, rest


# --- temporary files that somebody clears ---------------------------------------------------------

ON = "(MODEL / 'm').write_text('kept'); meet()"


@pytest.mark.parametrize("namespaces", [True, False])
@pytest.mark.parametrize("ends", ["script", "stop", "stub"])
def test_a_job_whose_files_are_deleted_ends_with_that_reason(tmp_path, namespaces, ends):
    with (
        StubProcess(namespaces=namespaces, TMPDIR=str(tmp_path)) as stub,
        Meeting() as meeting,
    ):
        account = stub.account
        name = account.start(
            ON + ("; time.sleep(600)" if ends != "script" else ""), meeting=meeting
        )
        meeting.wait()
        for folder in tmp_path.glob("stub-aws-*"):
            shutil.rmtree(folder, ignore_errors=True)
        meeting.release()
        if ends == "stop":
            account.sagemaker.stop_training_job(TrainingJobName=name)
        if ends != "stub":
            job = account.wait(name)
            assert job["TrainingJobStatus"] == "Failed"
            assert "was deleted while the job ran" in job["FailureReason"]
            assert str(tmp_path) in job["FailureReason"]
            # And the next one is not hurt.
            job = account.run("(MODEL / 'm').write_text('kept')")
            assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
        assert quickly_ended(stub) == (0, "")
    assert list(tmp_path.iterdir()) == []


def test_checkpoints_in_s3_outlive_the_deletion_of_the_jobs_files(tmp_path):
    """Else each one would be deleted in S3 as if the script had done it."""
    with StubProcess(TMPDIR=str(tmp_path)) as stub, Meeting() as meeting:
        account, prefix = stub.account, unique("checkpoints")
        account.put(f"{prefix}/step", "4")
        name = account.start(
            "meet(); time.sleep(600)",
            meeting=meeting,
            CheckpointConfig={"S3Uri": f"s3://{BUCKET}/{prefix}"},
        )
        meeting.wait()
        for folder in tmp_path.glob("stub-aws-*"):
            shutil.rmtree(folder, ignore_errors=True)
        job = account.wait(name)  # at once: what it saves from now on would be lost
        assert "was deleted while the job ran" in job["FailureReason"]
        assert account.keys(prefix) == [f"{prefix}/step"]


# --- processes without namespaces -----------------------------------------------------------------

# A daemon in every respect: of another session, of no parent, with no environment.
DAEMON = """
def daemon(mark, keep):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            if not keep:
                for number in range(3):
                    os.dup2(os.open(os.devnull, os.O_RDWR), number)
            os.execve(sys.executable, [sys.executable, "-c", "import time; time.sleep(900)", mark],
                      {})
        os._exit(0)
    os.wait()
    while mark not in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout:
        time.sleep(0.05)
"""


@pytest.fixture(scope="module")
def alone():
    with StubProcess(namespaces=False) as stub:
        yield stub.account


needs_adoption = pytest.mark.skipif(
    sys.platform != "linux", reason="no other system lets a process adopt orphans"
)


@needs_adoption
@pytest.mark.parametrize("keep", [True, False], ids=["with the log's pipe", "with no file"])
@pytest.mark.parametrize("ends", ["", "sys.exit(3)", "stop"])
def test_a_daemon_that_a_job_leaves_ends_with_it(alone, keep, ends):
    mark = unique("daemon")
    with Meeting() as meeting:
        script = DAEMON + f"daemon({mark!r}, {keep})\n"
        script += "meet(); time.sleep(600)" if ends == "stop" else ends
        name = alone.start(script, meeting=meeting)
        if ends == "stop":
            meeting.wait()
            alone.sagemaker.stop_training_job(TrainingJobName=name)
        job = alone.wait(name)
    expected = {"": "Completed", "sys.exit(3)": "Failed", "stop": "Stopped"}[ends]
    assert job["TrainingJobStatus"] == expected, job.get("FailureReason")
    assert processes_with(mark) == []


@needs_adoption
@pytest.mark.parametrize("how", ["SIGTERM", "SIGKILL", "end"])
def test_a_daemon_ends_with_the_stub(how):
    mark = unique("daemon")
    with StubProcess(namespaces=False) as stub, Meeting() as meeting:
        stub.account.start(
            DAEMON + f"daemon({mark!r}, True); meet(); time.sleep(600)", meeting=meeting
        )
        meeting.wait()
        if how == "end":
            assert quickly_ended(stub) == (0, "")
        else:
            stub.process.send_signal(getattr(signal, how))
            eventually("the stub's end", lambda: stub.process.poll() is not None)
        eventually("the daemon's end", lambda: processes_with(mark) == [])


KILLS_ITS_HOST = """
host = os.popen(f"ps -o ppid= -p {os.getppid()}").read().strip()  # the toolkit's parent
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(900)", sys.argv[2]], env={},
                 start_new_session=True)
os.kill(int(host), signal.SIGKILL)
time.sleep(600)
"""


in_proc = pytest.mark.skipif(sys.platform != "linux", reason="looks into Linux's /proc")


@in_proc
def test_a_script_that_kills_its_own_host_fails_and_its_processes_end(alone):
    mark = unique("orphan")
    job = alone.run(KILLS_ITS_HOST, hyperparameters={"mark": mark})
    assert job["TrainingJobStatus"] == "Failed"
    assert job["FailureReason"] == (
        "AlgorithmError: Exit Code: 137 (algo-1 itself was ended by SIGKILL, not only its script)"
    )
    assert processes_with(mark) == []


@pytest.fixture
def start_host(tmp_path, monkeypatch):
    """Start one host without namespaces, whose command is given; close it at the end."""
    monkeypatch.setattr(instance, "namespaces_available", lambda: False)
    started: list[Instance] = []

    def start(*command: str, on_line=lambda _: None) -> Instance:
        layout = Layout(tmp_path / "algo-1")
        layout.make({})
        addresses = {"algo-1": "127.0.0.1"}
        request = HostRequest(layout, "algo-1", addresses, {}, [0], list(command))
        started.append(Instance(request, on_line, "job/algo-1"))
        return started[-1]

    yield start
    for host in started:
        host._process.kill()
        host._process.wait(PATIENCE_S)


def test_a_host_that_does_not_obey_is_ended_harder(start_host, monkeypatch):
    monkeypatch.setattr(instance, "END_S", 0.5)
    mark = unique("stopped-host")
    host = start_host(sys.executable, "-c", "import time; time.sleep(900)", mark)
    eventually("its command", lambda: processes_with(mark))
    os.kill(host._process.pid, signal.SIGSTOP)
    began = time.monotonic()
    host.close()
    assert time.monotonic() - began < PATIENCE_S / 2
    eventually("the end of its command", lambda: processes_with(mark) == [])


def test_what_cannot_be_ended_is_named_in_one_line(start_host, monkeypatch, capsys):
    class Immortal(psutil.Process):
        def kill(self) -> None:
            raise psutil.AccessDenied(self.pid)

    monkeypatch.setattr(leftovers, "TRIES", 2)
    mark = unique("immortal")
    with subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(900)", mark],
        env={"SAGEMAKER_BASE_DIR": mark},
    ) as process:
        try:
            eventually("it", lambda: processes_with(mark))
            monkeypatch.setattr(
                leftovers.psutil, "process_iter", lambda: iter([Immortal(process.pid)])
            )
            leftovers.end_leftovers(0, mark, "job/algo-1")
            assert capsys.readouterr().err == (
                f"stub AWS: process {process.pid}, which job/algo-1 left running, could not be "
                "ended\n"
            )
        finally:
            process.kill()


@in_proc
def test_a_daemon_that_cannot_be_found_is_named_too(start_host, monkeypatch, capsys):
    """As on macOS, where no process adopts another's children and none can be found by a pipe."""
    monkeypatch.setattr(instance, "end_leftovers", lambda *_: False)
    host = start_host("sleep", "600")
    writing = os.open(f"/proc/{host._process.pid}/fd/1", os.O_WRONLY)
    try:
        host.close()
    finally:
        os.close(writing)
    assert capsys.readouterr().err == (
        "stub AWS: something that job/algo-1 left running has its log open and was not found\n"
    )


# --- stops, and the stub's own end ----------------------------------------------------------------


def test_a_job_that_waits_for_its_turn_heeds_a_stop(account):
    with Meeting() as meeting:
        running = [account.start("meet()", meeting=meeting) for _ in range(SLOTS)]
        meeting.wait(SLOTS)
        waiting = account.start("")
        account.sagemaker.stop_training_job(TrainingJobName=waiting)
        assert account.wait(waiting)["TrainingJobStatus"] == "Stopped"
        assert {account.describe(name)["TrainingJobStatus"] for name in running} == {"InProgress"}
        meeting.release()
    for name in running:
        assert account.wait(name)["TrainingJobStatus"] == "Completed"


# Takes minutes to pack, as fast as a processor can; of the volume it takes a file's header.
LONG = """
with open(MODEL / "big", "wb") as file:
    file.truncate(100 * 1024**3)
"""
ROOM = {
    "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 200}
}


def uploading(account: Account, name: str) -> bool:
    return account.describe(name)["SecondaryStatus"] == "Uploading"


def test_a_stop_ends_an_upload_after_its_grace(account, monkeypatch):
    monkeypatch.setattr(run, "GRACE_S", 0.2)
    name = account.start(LONG, **ROOM)
    eventually("the upload", lambda: uploading(account, name))
    account.sagemaker.stop_training_job(TrainingJobName=name)
    job = account.wait(name)
    assert job["TrainingJobStatus"] == "Stopped"
    assert "ModelArtifacts" not in job
    line = "stub AWS: not all artifacts were in S3 0.2 s after the stop"
    assert line in account.log(name)


def test_a_stop_in_an_upload_leaves_it_its_grace(account):
    name = account.start(LONG.replace("100 * 1024**3", "200_000_000"), **ROOM)
    eventually("the upload", lambda: uploading(account, name))
    account.sagemaker.stop_training_job(TrainingJobName=name)
    job = account.wait(name)
    assert job["TrainingJobStatus"] == "Stopped"
    assert job["ModelArtifacts"]["S3ModelArtifacts"].endswith(f"{name}/output/model.tar.gz")


def test_the_stubs_end_ends_an_upload(tmp_path):
    with StubProcess(TMPDIR=str(tmp_path)) as stub:
        name = stub.account.start(LONG, **ROOM)
        eventually("the upload", lambda: uploading(stub.account, name))
        assert quickly_ended(stub) == (0, "")
    assert list(tmp_path.iterdir()) == []


def test_a_stop_ends_a_download(account, monkeypatch):
    """The object never comes to its end."""
    from stub_aws import channels

    begun = threading.Event()

    def fetch(s3, item, path, patience):
        begun.set()
        while True:
            patience.check()
            time.sleep(0.02)

    monkeypatch.setattr(channels, "fetch", fetch)
    uri = account.put(unique("endless"), "x")
    name = account.start("", channels={"train": (uri, "FullyReplicated")})
    assert begun.wait(PATIENCE_S)
    account.sagemaker.stop_training_job(TrainingJobName=name)
    job = account.wait(name)
    assert job["TrainingJobStatus"] == "Stopped"
    statuses = [entry["Status"] for entry in job["SecondaryStatusTransitions"]]
    assert statuses == ["Starting", "Downloading", "Stopping", "Stopped"]


def test_a_job_that_will_not_end_is_named_and_left(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(executor, "CLOSE_S", 0.3)
    monkeypatch.setattr(executor.tempfile, "tempdir", str(tmp_path))
    released = threading.Event()

    def hang(self: Run) -> Outcome:
        released.wait(PATIENCE_S)
        return Outcome("Stopped")

    monkeypatch.setattr(Run, "__init__", lambda *_: None)
    monkeypatch.setattr(Run, "train", hang)
    store = Store()
    job = Job("hangs", "arn", {})
    store.add(job)
    jobs = Executor(Platform(store, "", ""))
    jobs.start(job)
    eventually("its folder", lambda: list(tmp_path.glob("stub-aws-*/hangs-*")))
    jobs.close()
    assert capsys.readouterr().err == (
        "stub AWS: the training job hangs did not end within 0 s and was left\n"
    )
    assert list(tmp_path.iterdir()) == []
    store.advance(job, "Stopping")
    released.set()
    eventually("its end", lambda: job.status == "Stopped")
