"""The processes of a PyTorch job form a group, and end in good order when one is lost."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
import torch

import train_torch
from entry_point import UsageError
from hosts import torch_group
from stub_aws.instance import namespaces_available
from tests.support.entry_points import SCRIPTS, TRAIN, TRAINING, Run, write
from tests.support.hosts_by_hand import ByHand
from tests.support.ports import free_port
from tests.support.stub_jobs import NONE_HERE, Account
from tests.support.torch_jobs import PLAIN, STEPS, Job, start, upload_replicated

pytestmark = pytest.mark.usefixtures("no_job")


@pytest.fixture
def run(tmp_path, capsys) -> Run:
    """Run on one host: this process."""
    return Run(SCRIPTS["train_torch"], tmp_path / "run", capsys)


@pytest.fixture
def by_hand(tmp_path):
    hand = ByHand(train_torch, tmp_path / "hand")
    yield hand
    hand.close()


# --- a group --------------------------------------------------------------------------------------

MEMBER = """
import sys
import numpy as np, torch
from hosts import torch_group
with torch_group.joined(seconds=50) as group:
    for values in (np.arange(group.rank, dtype="int64"), np.full(2, group.rank + 0.5)):
        print([part.tolist() for part in group.all_gather(values)], values.dtype)
    total = torch.full((2,), float(group.rank + 1))
    group.all_reduce(total)
    print(group.names, group.rank, group.size, total.tolist())
torch_group.leave(7)
"""


def test_members_gather_and_reduce_arrays_of_any_length(tmp_path):
    hand = ByHand(train_torch, tmp_path, hosts=3)
    members = [
        subprocess.Popen(
            [sys.executable, "-c", MEMBER],
            cwd=TRAINING,
            env=os.environ | hand.variables(host),
            stdout=subprocess.PIPE,
            text=True,
        )
        for host in hand.hosts
    ]
    for rank, member in enumerate(members):
        printed, _ = member.communicate(timeout=60)
        assert printed.splitlines()[-3:] == [
            "[[], [0], [0, 1]] int64",
            "[[0.5, 0.5], [1.5, 1.5], [2.5, 2.5]] float64",
            f"['algo-1', 'algo-2', 'algo-3'] {rank} 3 [6.0, 6.0]",
        ]
        assert member.returncode == 7


def test_one_process_is_a_group_of_its_own():
    with torch_group.joined() as group:
        assert (group.names, group.rank, group.size, group.hosts) == (["localhost"], 0, 1, group)
        values = np.arange(3)
        assert group.all_gather(values)[0] is values
        total = torch.ones(1)
        group.all_reduce(total)
        assert total.item() == 1
        assert not torch.distributed.is_initialized()


def test_a_host_alone_has_its_own_name(monkeypatch, capsys):
    monkeypatch.setenv("SM_HOSTS", '["algo-1", "algo-2"]')
    monkeypatch.setenv("SM_CURRENT_HOST", "algo-2")
    with torch_group.joined(alone=True) as group:
        assert (group.names, group.rank, group.size) == (["algo-2"], 0, 1)
    assert "2 hosts, but this script trains on each" in capsys.readouterr().err


def test_more_gpus_than_one_need_torchrun_and_it_is_printed(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    for device, printed in (("auto", True), ("cpu", False)):
        with torch_group.joined(device) as group:
            assert group.size == 1
        assert ("torchrun --nproc_per_node 4" in capsys.readouterr().out) == printed


def test_ranks_must_be_integers(run, monkeypatch):
    monkeypatch.setenv("RANK", "one")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "RANK, WORLD_SIZE, LOCAL_RANK and MASTER_PORT must be integers" in run.refuses()


# --- torchrun -------------------------------------------------------------------------------------


def test_torchrun_may_start_several_processes_of_a_host(by_hand, tmp_path):
    """Of a sharded channel a host's processes read the same rows, and share them."""
    rows = pd.read_csv(TRAIN)
    config = json.dumps({"train": {"S3DistributionType": "ShardedByS3Key"}})
    hosts = []
    for rank in range(4):
        host = rank // 2
        train = write(tmp_path / f"{host}.csv", rows[:500] if host == 0 else rows[500:])
        ranks = {"RANK": rank, "WORLD_SIZE": 4, "LOCAL_RANK": rank % 2, "LOCAL_WORLD_SIZE": 2}
        own = {name: str(value) for name, value in ranks.items()}
        hosts.append((by_hand.hosts[host], ("--train", train, "--epochs", 2), own))
    ends = by_hand.together(*hosts, SM_INPUT_DATA_CONFIG=config)
    assert [end.code for end in ends] == [0] * 4, ends
    weights = [re.findall(r"epoch \d+, weights (\w{8})", end.stdout) for end in ends]
    assert len(weights[0]) == 2
    assert weights == [weights[0]] * 4
    parameters = json.loads((by_hand.folder / "0" / "model" / "parameters.json").read_text())
    counts = list(parameters["hosts"].values())
    assert parameters["rows"] == {"train": 570, "validation": 142}
    assert [sum(count.values()) for count in counts] == [251, 249, 107, 105]
    assert not any(
        (by_hand.folder / str(rank) / "model" / "model.pt").exists() for rank in (1, 2, 3)
    )


def test_torchrun_starts_a_group_too(tmp_path):
    """It is what an Estimator's `distribution={"torch_distributed": …}` starts on each host."""
    run = Run(SCRIPTS["train_torch"], tmp_path, None)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"]
    torchrun += ["--master_addr", "127.0.0.1", "--master_port", str(free_port())]
    done = subprocess.run(
        [*torchrun, run.script.file, *run.arguments("--epochs", 2)],
        env=os.environ | {"GLOO_SOCKET_IFNAME": "lo0" if sys.platform == "darwin" else "lo"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    weights = re.findall(r"localhost, process (\d): epoch 2, weights (\w{8})", done.stdout)
    assert sorted(rank for rank, _ in weights) == ["0", "1"]
    assert len({checksum for _, checksum in weights}) == 1
    assert done.stdout.count("saved ") == 1
    assert sum(count["train"] for count in run.parameters()["hosts"].values()) == 570


# --- hosts that do not come -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "sentence"),
    [
        ("algo-1", "algo-2 did not connect within 1 seconds to 127.0.0.1:{port}, the rendezvous"),
        ("algo-2", "127.0.0.1, the first host of this job, does not answer on port {port} ("),
    ],
)
def test_a_host_that_does_not_connect_is_named(run, monkeypatch, host, sentence):
    port = ByHand(train_torch, run.folder).port
    for name, value in (
        ("SM_HOSTS", '["algo-1", "algo-2"]'),
        ("SM_CURRENT_HOST", host),
        ("MASTER_ADDR", "127.0.0.1"),
        ("MASTER_PORT", str(port)),
    ):
        monkeypatch.setenv(name, value)
    assert sentence.format(port=port + 1) in run.refuses("--hosts_seconds", 1)
    assert not torch.distributed.is_initialized()


# --- hosts that end -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def killed(stub_aws) -> dict[str, Job]:
    """Two jobs at once; in each a host's script is killed in the middle, by its name."""
    if not namespaces_available():  # as the stub itself says of jobs with several hosts
        pytest.skip(NONE_HERE)
    account = Account(stub_aws.environment)
    replicated = upload_replicated(account)
    hyperparameters = PLAIN | {"epochs": 1_000_000}
    names = {}
    for victim in ("algo-1", "algo-2"):
        probe = {"PROBE": json.dumps({victim: [STEPS + 2, "SIGKILL"]})}
        names[victim] = start(account, replicated, hyperparameters, Environment=probe)
    return {victim: Job(account, account.wait(name), 2) for victim, name in names.items()}


@pytest.mark.parametrize("victim", ["algo-1", "algo-2"])
def test_a_host_killed_in_the_middle_fails_the_job_within_seconds(killed, victim):
    job = killed[victim]
    assert job.description["TrainingJobStatus"] == "Failed"
    reason = job.description["FailureReason"]
    assert re.search(rf"ExitCode -9|lost {victim} in the middle", reason), reason
    log = job.logs()[victim]
    assert any(f"{victim}: epoch 1, weights" in line for line in log)
    assert job.description["TrainingTimeInSeconds"] < 30


def test_who_is_left_ends_by_itself_and_names_the_lost_host(by_hand):
    """The first host keeps the store of all: its loss is the harder one."""
    victim = by_hand.start("algo-1", "--epochs", 1_000_000)
    left = by_hand.start("algo-2", "--epochs", 1_000_000)
    for line in left.stdout:
        if line.startswith("algo-2: epoch 3"):
            break
    victim.send_signal(signal.SIGKILL)
    killed_at = time.monotonic()
    _, stderr = left.communicate(timeout=30)
    assert time.monotonic() - killed_at < 15
    assert left.returncode == 1
    assert stderr.strip().splitlines()[-1] == (
        "train_torch.py: lost algo-1 in the middle of the training, and algo-2 cannot go on alone; "
        "the log of algo-1 says why"
    )
    assert "Traceback" not in stderr


def test_what_is_wrong_on_one_host_is_reported_on_all(by_hand, tmp_path):
    bad = write(tmp_path / "bad.csv", pd.read_csv(TRAIN).assign(Sex="boy"))
    first, second = by_hand.together(("algo-1", (), {}), ("algo-2", ("--train", bad), {}))
    assert (first.code, second.code) == (1, 1)
    assert f"{bad}, row 1 (line 2), column Sex" in second.sentence()
    assert first.sentence() == f"algo-2 ended: {second.sentence()}"


@pytest.mark.parametrize(
    ("variables", "printed"),
    [
        ({"SM_HOSTS": '["algo-1", "algo-2"]', "SM_CURRENT_HOST": "algo-2"}, "trained"),
        ({"RANK": "0", "WORLD_SIZE": "2"}, "trained"),
        ({}, "trained at exit"),
    ],
)
def test_one_of_several_processes_leaves_at_once_with_its_exit_code(variables, printed):
    """Without what Python does at the end: PyTorch's threads may be caught in the middle."""
    code = (
        "import atexit; from hosts import torch_group; atexit.register(print, 'at exit'); "
        "print('trained'); torch_group.leave(3)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=TRAINING,
        env=os.environ | variables,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, " ".join(done.stdout.split())) == (3, printed)


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("[/__w/gloo/pair.cc:553] Connection closed by peer [127.9.8.4]:21184. This is", "algo-3"),
        ("[/__w/pair.cc:537] Read error [127.9.8.3]:400: Connection reset by peer", "algo-2"),
        ("[/__w/pair.cc:553] Connection closed by peer [::ffff:127.9.8.4]:2", "algo-3"),
        ("[/__w/pair.cc:553] Connection closed by peer [127.9.8.77]:2118", "another host"),
        ("[../unbound_buffer.cc:81] Timed out waiting 600000ms for recv", "another host"),
    ],
)
def test_a_lost_host_is_known_by_its_address(monkeypatch, text, host):
    addresses = {"algo-1": "127.9.8.2", "algo-2": "127.9.8.3", "algo-3": "127.9.8.4"}
    monkeypatch.setattr(socket, "gethostbyname", addresses.__getitem__)
    process = torch_group.Process(0, 3, 0, 1, list(addresses), 0, ("algo-1", 1))
    assert torch_group._name_of_lost(RuntimeError(text), process) == host
    two = process._replace(size=2, hosts=["algo-1", "algo-2"])
    assert torch_group._name_of_lost(RuntimeError(text), two) == "algo-2"


def test_a_fault_of_the_script_is_no_lost_host():
    fault = RuntimeError("mat1 and mat2 cannot be multiplied")
    assert not torch_group._is_of_the_network(fault)
    assert torch_group._is_of_the_network(RuntimeError("[gloo/pair.cc:1] Timed out"))
    assert torch_group._is_of_the_network(torch.distributed.DistNetworkError("gone"))


def test_a_pytorch_without_distributed_is_refused(monkeypatch):
    monkeypatch.setenv("SM_HOSTS", '["algo-1", "algo-2"]')
    monkeypatch.setattr(torch.distributed, "is_available", lambda: False)
    with (
        pytest.raises(UsageError, match="train on one host, or --hosts alone"),
        torch_group.joined(),
    ):
        pass
