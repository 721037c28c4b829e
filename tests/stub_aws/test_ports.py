"""PyTorch jobs side by side: each meets on a port of its own, whatever else runs here."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys

import pytest

from stub_aws import ports
from tests.support.stub_jobs import PYTORCH, Account, Meeting

# Some of these tests take the port themselves, between a job's look at it and its own use of it.
pytestmark = pytest.mark.one_worker

PORT = 7777
LISTEN = """
port = int(os.environ["MASTER_PORT"])
servers = [socket.create_server(("0.0.0.0", port + n)) for n in range(2)]
tell(port=port, launched=os.environ["PET_MASTER_PORT"],
     ours=[name for name in os.environ if name.startswith("STUB_")])
"""
TORCHRUN = """
import torch.distributed as dist
dist.init_process_group("gloo")
dist.barrier()
meet()
tell(port=int(os.environ["MASTER_PORT"]), rank=dist.get_rank())
sys.stdout.flush()
os._exit(0)  # at once: threads of gloo may still run, and can make a normal end abort
"""
LAUNCHED = {
    "sagemaker_torch_distributed_enabled": "true",
    "sagemaker_instance_type": '"ml.m5.large"',
}


@pytest.fixture(scope="module")
def account(stub_aws) -> Account:
    return Account(stub_aws.environment)


@pytest.fixture
def taken():
    """Let another program listen on the image's port, if none does."""
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):
            held.enter_context(socket.create_server(("127.0.0.1", PORT)))
        yield


def test_two_jobs_at_once_listen_on_all_addresses(account) -> None:
    with Meeting() as meeting:
        names = [account.start(LISTEN + "meet()", image=PYTORCH, meeting=meeting) for _ in range(2)]
        meeting.wait(2)
        meeting.release()
        jobs = [account.wait(name) for name in names]
    assert [job["TrainingJobStatus"] for job in jobs] == ["Completed"] * 2, jobs
    facts = [account.facts(name) for name in names]
    assert len({fact["port"] for fact in facts}) == 2
    for name, fact in zip(names, facts, strict=True):
        assert (fact["ours"], fact["launched"]) == ([], str(fact["port"]))
        notice = (
            f"stub AWS: MASTER_PORT is {fact['port']} here, not 7777, which something else on this "
            "machine has"
        )
        assert (notice in account.log(name)) == (fact["port"] != PORT)


def test_beside_another_program_on_that_port_a_job_takes_another(account, taken) -> None:
    job = account.run(LISTEN, image=PYTORCH)
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    assert account.facts(job["TrainingJobName"])["port"] != PORT


def test_hosts_of_one_job_have_one_port(account) -> None:
    name = account.run("tell(port=os.environ['MASTER_PORT'])", image=PYTORCH, hosts=2)[
        "TrainingJobName"
    ]
    assert account.facts(name, "algo-1") == account.facts(name, "algo-2") != {}


def test_two_jobs_under_torchrun_at_once(account) -> None:
    with Meeting() as meeting:
        arguments = {"image": PYTORCH, "meeting": meeting, "hyperparameters": LAUNCHED}
        names = [account.start(TORCHRUN, **arguments) for _ in range(2)]
        meeting.wait(2)
        meeting.release()
        jobs = [account.wait(name) for name in names]
    assert [job["TrainingJobStatus"] for job in jobs] == ["Completed"] * 2, jobs


# --- reservations ---------------------------------------------------------------------------------

RESERVE = """
import sys
from stub_aws import ports
with ports.reserved(int(sys.argv[1])) as port:
    print(port, flush=True)
    sys.stdin.read()
"""


def free_block() -> int:
    """Return a port from which on no stub and no program has one."""
    return next(
        port
        for port in range(12_000, 20_000, 100)
        if all(ports.is_free(port + n) for n in range(ports.BLOCK * 3))
    )


def test_a_port_is_free_again_after_its_job() -> None:
    start = free_block()
    for _ in range(2):
        with ports.reserved(start) as one, ports.reserved(start) as other:
            assert (one, other) == (start, start + ports.BLOCK)


def test_the_next_port_counts_too() -> None:
    start = free_block()
    with socket.create_server(("127.0.0.1", start + 1)), ports.reserved(start) as port:
        assert port == start + ports.BLOCK


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has names without files")
def test_another_stub_of_this_machine_is_asked_until_it_is_gone() -> None:
    start = free_block()
    with subprocess.Popen(
        [sys.executable, "-c", RESERVE, str(start)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout.readline() == f"{start}\n".encode()
        with ports.reserved(start) as port:
            assert port == start + ports.BLOCK
        other.kill()
        other.wait()
    with ports.reserved(start) as port:
        assert port == start


def test_when_all_are_taken_it_says_so(monkeypatch) -> None:
    monkeypatch.setattr(ports, "is_free", lambda _: False)
    with (
        pytest.raises(ports.NoFreePort, match="port 7777 and all 300 in its place are taken"),
        ports.reserved(PORT),
    ):
        pass
