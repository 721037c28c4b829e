"""What would wait for ever: each wait of the stub has an end, and a stop hastens it."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from tests.stub_aws import instance, leftovers
from tests.stub_aws.instance import HostRequest, Instance, Layout
from tests.stub_jobs import (
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
    code, said = stub.end()
    assert time.monotonic() - began < PATIENCE_S / 2
    first, _, rest = said.partition("\n")
    assert first.startswith("stub AWS: its console is at ")
    return code, rest


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


in_proc = pytest.mark.skipif(sys.platform != "linux", reason="looks into Linux's /proc")


@pytest.fixture
def start_host(tmp_path, monkeypatch):
    """Starts one host without namespaces, whose command is given; at the end it is closed."""
    monkeypatch.setattr(instance, "namespaces_available", lambda: False)
    started: list[Instance] = []

    def start(*command: str, on_line=lambda _: None) -> Instance:
        layout = Layout(tmp_path / "algo-1")
        layout.make({})
        addresses = {"algo-1": "127.0.0.1"}
        request = HostRequest(
            layout, "algo-1", addresses, {}, [0], list(command), "/opt/ml/checkpoints"
        )
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
