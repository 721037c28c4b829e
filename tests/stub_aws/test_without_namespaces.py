"""The stub AWS where the kernel gives no namespaces (macOS, many containers): the essentials."""

import json
import os
import signal
import sys

import pytest
from botocore.exceptions import ClientError

from stub_aws import instance, view
from tests.support.stub_jobs import (
    Meeting,
    StubProcess,
    eventually,
    needs_namespaces,
    processes_with,
    unique,
)


@pytest.fixture(scope="module")
def account():
    with StubProcess(namespaces=False) as stub:
        yield stub.account


@pytest.fixture(scope="module")
def completed(account):
    return account.run(
        """
print("loss=0.25;")
(MODEL / "weights.bin").write_bytes(bytes(range(256)))
(OUTPUT / "report").write_text("fine")
Path.home().joinpath("mark").touch()
tell(base=os.environ["SAGEMAKER_BASE_DIR"], model=str(MODEL), argv=sys.argv[1:],
     home=str(Path.home()), tmp=os.environ["TMPDIR"],
     train=[p.name for p in Path(os.environ["SM_CHANNEL_TRAIN"]).iterdir()])
""",
        channels={"train": (account.put(f"{unique('data')}/a.csv", "x"), "FullyReplicated")},
        metrics={"loss": "loss=(.*?);"},
        hyperparameters={"depth": "5"},
    )


def test_a_job_completes_in_a_tree_of_its_own(account, completed):
    assert completed["TrainingJobStatus"] == "Completed", completed.get("FailureReason")
    statuses = [entry["Status"] for entry in completed["SecondaryStatusTransitions"]]
    assert statuses == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    name = completed["TrainingJobName"]
    assert account.unpack(name) == {"weights.bin": bytes(range(256))}
    assert account.unpack(name, "output.tar.gz") == {"report": b"fine"}
    assert completed["FinalMetricDataList"][0]["Value"] == 0.25
    facts = account.facts(name)
    assert facts["model"] == facts["base"] + "/model"
    assert (facts["argv"], facts["train"]) == (["--depth", "5"], ["a.csv"])
    assert facts["home"].startswith(facts["base"].removesuffix("/ml"))
    assert facts["tmp"].startswith(facts["base"].removesuffix("/ml"))


def test_its_log_says_what_is_different(account, completed):
    name = completed["TrainingJobName"]
    base = account.facts(name)["base"]
    assert account.log(name)[0] == (
        "stub AWS: hosts have no namespaces here (STUB_AWS_NO_NAMESPACES is set), so /opt/ml is "
        f"not there; SAGEMAKER_BASE_DIR is {base}"
    )


# --- why there are none -------------------------------------------------------------------------


def fake_unshare(folder, script):
    """Put a command `unshare` before all others, and return the PATH."""
    command = folder / "unshare"
    command.write_text(f"#!/bin/sh\n{script}\n")
    command.chmod(0o755)
    return os.pathsep.join([str(folder), os.environ["PATH"]])


def test_its_log_says_why_there_are_none(tmp_path):
    path = fake_unshare(tmp_path, "echo 'unshare: not for you' >&2; exit 1")
    with StubProcess(PATH=path) as stub:
        name = stub.account.run("")["TrainingJobName"]
        first = stub.account.log(name)[0]
    assert first.startswith("stub AWS: hosts have no namespaces here (unshare: not for you), so ")


@pytest.fixture
def reason(monkeypatch):
    """Find out anew why there are no namespaces."""
    monkeypatch.delenv(instance.NO_NAMESPACES, raising=False)
    return instance.why_no_namespaces.__wrapped__


def test_a_probe_that_does_not_end_is_ended(tmp_path, monkeypatch, reason):
    mark = unique("probe-waits")
    script = f'exec {sys.executable} -c "import time; time.sleep(900)" {mark}'
    monkeypatch.setenv("PATH", fake_unshare(tmp_path, script))
    monkeypatch.setattr(instance, "PROBE_S", 0.5)
    assert reason() == "a host that only looks around did not end within 0.5 s"
    assert processes_with(mark) == []


def test_without_the_command_there_are_none(tmp_path, monkeypatch, reason):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert reason() == "there is no command `unshare`"


@needs_namespaces
def test_what_this_machine_has_and_the_stub_cannot_use_is_named(monkeypatch, reason):
    """The fault is not the kernel's: the probe is a host like a job's, and says what it lacks."""
    own = view.arrangement
    monkeypatch.setattr(
        view, "arrangement", lambda folders: own(folders) | {"overlaid": ["/no/such/python"]}
    )
    assert reason() == (
        "stub AWS: this host could not be set up: [Errno 2] No such file or directory: "
        "'/no/such/python'"
    )


@needs_namespaces
def test_of_a_fault_of_the_supervisor_the_error_is_named(monkeypatch, tmp_path, reason):
    program = tmp_path / "host.py"
    program.write_text("raise ValueError('no good')\n")
    monkeypatch.setattr(instance, "HOST_PROGRAM", program)
    assert reason() == "ValueError: no good"


# --- what is the same as with them --------------------------------------------------------------


def test_a_failing_script_fails_the_job(account):
    description = account.run("print('why', flush=True); sys.exit(4)")
    assert description["FailureReason"].startswith(
        "AlgorithmError: ExecuteUserScriptError:\nExitCode 4\n"
    )
    assert "why" in account.log(description["TrainingJobName"])


def test_what_a_job_leaves_running_ends_with_it(account):
    mark = unique("left-behind")
    description = account.run(
        f"""
for detach in (False, True):  # a plain child, and a daemon: double fork and a session of its own
    if os.fork() == 0:
        if detach:
            os.setsid()
            if os.fork():
                os._exit(0)
        os.execv(sys.executable, [sys.executable, "-c", "import time; time.sleep(900)", "{mark}"])
while subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout.count(
    "{mark}") < 2:
    time.sleep(0.05)
"""
    )
    assert description["TrainingJobStatus"] == "Completed"
    assert processes_with(mark) == []


def test_a_stopped_job_may_save_and_its_daemons_end(account):
    mark = unique("daemon")
    with Meeting() as meeting:
        name = account.start(
            f"""
def save(*_):
    (MODEL / "checkpoint").write_text("saved")
    sys.exit(0)

signal.signal(signal.SIGTERM, save)
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(900)", "{mark}"],
                 start_new_session=True)
meet()
time.sleep(600)
""",
            meeting=meeting,
        )
        meeting.wait()
        eventually("its daemon", lambda: len(processes_with(mark)) == 1)
        account.sagemaker.stop_training_job(TrainingJobName=name)
        assert account.wait(name)["TrainingJobStatus"] == "Stopped"
    assert account.unpack(name) == {"checkpoint": b"saved"}
    assert processes_with(mark) == []


def test_a_job_does_not_end_the_processes_of_another(account):
    mark = unique("other")
    with Meeting() as meeting:
        other = account.start(
            f"""
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(900)", "{mark}"],
                 start_new_session=True)
meet()
""",
            meeting=meeting,
        )
        meeting.wait()
        account.run("")
        assert len(processes_with(mark)) == 1
        assert account.describe(other)["TrainingJobStatus"] == "InProgress"
        meeting.release()
    assert account.wait(other)["TrainingJobStatus"] == "Completed"
    assert processes_with(mark) == []


def test_several_hosts_are_refused_and_the_reason_is_said(account):
    with pytest.raises(ClientError, match="several instances where hosts have no namespaces"):
        account.start("", hosts=2)


@pytest.mark.parametrize("signal_name", ["SIGKILL", "SIGTERM"])
def test_the_end_of_the_stub_ends_its_jobs(signal_name):
    """SIGKILL leaves no time to tidy up: each host's lifeline must."""
    mark = unique("orphan")
    with StubProcess(namespaces=False) as stub, Meeting() as meeting:
        stub.account.start(
            f"""
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(900)", "{mark}"],
                 start_new_session=True)
meet()
os.execv(sys.executable, [sys.executable, "-c", "import time; time.sleep(900)", "{mark}"])
""",
            meeting=meeting,
        )
        meeting.wait()
        meeting.release()
        eventually("both processes", lambda: len(processes_with(mark)) == 2)
        stub.process.send_signal(getattr(signal, signal_name))
        eventually("the end of both", lambda: processes_with(mark) == [])


def test_the_environment_of_a_job_is_json_that_the_toolkit_reads(account, completed):
    """The same `SM_TRAINING_ENV` as with namespaces, but for the folders."""
    name = completed["TrainingJobName"]
    (line,) = [item for item in account.log(name) if item.startswith("SM_TRAINING_ENV=")]
    environment = json.loads(line.removeprefix("SM_TRAINING_ENV="))
    assert environment["job_name"] == name
    assert environment["model_dir"] == account.facts(name)["model"]
