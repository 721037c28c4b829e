"""train_torch.py on several hosts: one model, whatever the hosts have and whatever happens to them.

The jobs are real ones on the stub AWS, two or three hosts each.
"""

from __future__ import annotations

import hashlib
import importlib
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

import exercise_all_reduce
import network
import process_group
import train_torch
from stub_aws.instance import namespaces_available
from tests.support.entry_points import SCRIPTS, TRAIN, Run, source, write
from tests.support.hosts_by_hand import ByHand
from tests.support.stub_jobs import BUCKET, NONE_HERE, PYTORCH, Account, channel, unique
from workshop import hosts_diff

ROOT = Path(__file__).resolve().parents[2]
SOURCE = source()
SOURCE["probe.py"] = (ROOT / "tests/support/user_scripts/hosts/probe.py").read_bytes()
WORDS = {"epochs": 3, "early_stopping_epochs": 0, "device": "cpu"}
PLAIN = WORDS | {"dropout": 0}  # which neurons dropout leaves out differs from host to host
SHARDS = (100, 50, 400, 162)  # rows of each object: three hosts get 262, 50 and 400 of them
STEPS = 9  # of an epoch: 570 rows in batches of 64


# --- jobs -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def account(stub_aws) -> Account:
    if not namespaces_available():  # as the stub itself says of jobs with several hosts
        pytest.skip(NONE_HERE)
    return Account(stub_aws.environment)


@pytest.fixture(scope="module")
def replicated(account) -> str:
    """A prefix in S3 with one list of passengers."""
    prefix = unique("replicated")
    account.put(f"{prefix}/train.csv", TRAIN.read_text())
    return f"s3://{BUCKET}/{prefix}/"


@pytest.fixture(scope="module")
def sharded(account) -> str:
    """A prefix with the same passengers in four objects of other lengths."""
    prefix, rows = unique("sharded"), pd.read_csv(TRAIN)
    for number, end in enumerate(np.cumsum(SHARDS)):
        shard = rows[end - SHARDS[number] : end]
        account.put(f"{prefix}/{number}.csv", shard.to_csv(index=False))
    return f"s3://{BUCKET}/{prefix}/"


@dataclass
class Job:
    """A finished job of probe.py."""

    account: Account
    description: dict
    hosts: int

    @property
    def name(self) -> str:
        return self.description["TrainingJobName"]

    def logs(self) -> dict[str, list[str]]:
        names = [f"algo-{number}" for number in range(1, self.hosts + 1)]
        return {name: self.account.log(self.name, name) for name in names}

    def weights(self) -> dict[str, list[str]]:
        """The checksums that each host printed, epoch after epoch."""
        found = {}
        for host, log in self.logs().items():
            marks = [re.fullmatch(rf"{host}: epoch (\d+), weights ([0-9a-f]{{8}})", x) for x in log]
            told = [mark.groups() for mark in marks if mark]
            assert [int(epoch) for epoch, _ in told] == list(range(1, len(told) + 1))
            found[host] = [checksum for _, checksum in told]
        return found

    def model(self) -> dict[str, bytes]:
        return self.account.unpack(self.name)

    def probes(self) -> list[dict]:
        files = self.model()
        return [json.loads(files[f"probe-algo-{n}.json"]) for n in range(1, self.hosts + 1)]

    def net(self):
        return torch.load(io.BytesIO(self.model()["model.pt"]), weights_only=True)["state"]

    def parameters(self) -> dict:
        return json.loads(self.model()["parameters.json"])

    def history(self) -> pd.DataFrame:
        files = self.account.unpack(self.name, "output.tar.gz")
        return pd.read_csv(io.BytesIO(files["history.csv"])).set_index("epoch")


def start(account, uri, words=PLAIN, *, hosts=2, distribution="FullyReplicated", **changes) -> str:
    return account.start(
        files=SOURCE,
        program="probe.py",
        image=PYTORCH,
        hosts=hosts,
        InputDataConfig=[channel("train", uri, distribution)],
        hyperparameters={name: json.dumps(value) for name, value in words.items()},
        **changes,
    )


def run_job(account, *arguments, status="Completed", hosts=2, **changes) -> Job:
    name = start(account, *arguments, hosts=hosts, **changes)
    job = Job(account, account.wait(name), hosts)
    assert job.description["TrainingJobStatus"] == status, job.logs()
    return job


@pytest.fixture
def run(tmp_path, capsys, no_job) -> Run:
    """Runs on one host: this process."""
    return Run(SCRIPTS["train_torch"], tmp_path / "run", capsys)


def on_one_host(run: Run, words: dict, train: Path = TRAIN) -> Run:
    assert run(*(f"--{name}={value}" for name, value in words.items()), train=train) == 0
    return run


@pytest.fixture(scope="module")
def two(account, replicated) -> Job:
    """Two hosts that both have all rows."""
    return run_job(account, replicated)


@pytest.fixture(scope="module")
def three(account, sharded) -> Job:
    """Three hosts with rows of their own."""
    return run_job(account, sharded, hosts=3, distribution="ShardedByS3Key")


# --- one model ------------------------------------------------------------------------------------


@pytest.mark.parametrize("job", ["two", "three"])
def test_weights_are_equal_on_every_host_after_every_epoch(job, request):
    weights = list(request.getfixturevalue(job).weights().values())
    assert len(weights[0]) == WORDS["epochs"] == len(set(weights[0]))  # and they change
    assert all(one == weights[0] for one in weights)


@pytest.mark.parametrize("job", ["two", "three"])
def test_the_first_host_alone_leaves_a_model(job, request):
    job = request.getfixturevalue(job)
    probes = job.probes()
    assert probes[0]["left"] == ["model.pt", "parameters.json"]
    assert [probe["left"] for probe in probes[1:]] == [[]] * (job.hosts - 1)
    saved = [any(line.startswith("saved ") for line in log) for log in job.logs().values()]
    assert saved == [True] + [False] * (job.hosts - 1)
    assert all(probe["checkpoints"] == [] for probe in probes)


def test_two_hosts_that_have_all_rows_share_each_batch(two):
    orders = [probe["order"] for probe in two.probes()]
    assert [len(order) for order in orders] == [285, 285]
    assert sorted(orders[0] + orders[1]) == list(range(570))
    assert [probe["steps"] for probe in two.probes()] == [3 * STEPS] * 2
    assert two.parameters()["rows"] == {"train": 570, "validation": 142}
    assert two.parameters()["hosts"] == {
        host: {"train": 285, "validation": 71} for host in ("algo-1", "algo-2")
    }


def test_two_hosts_learn_what_one_does(two, run):
    """Sums are added up in another order: float32 keeps about 7 digits of each."""
    one = on_one_host(run, PLAIN)
    expected = one.table().set_index("epoch").to_numpy()
    assert two.history().to_numpy() == pytest.approx(expected, rel=2e-6)
    alone = torch.load(one.model / "model.pt", weights_only=True)["state"]
    for name, weights in two.net().items():
        torch.testing.assert_close(weights, alone[name], rtol=0, atol=5e-6)
    assert "hosts" not in one.parameters()
    metrics = one.parameters()["metrics"]
    for part, values in two.parameters()["metrics"].items():
        assert values == pytest.approx(metrics[part], rel=2e-6)


def test_shards_are_learnt_from_once_an_epoch_in_as_many_steps_on_all(three, run, tmp_path):
    probes = three.probes()
    assert [probe["steps"] for probe in probes] == [3 * STEPS] * 3
    hosts = three.parameters()["hosts"]
    counts = [hosts[f"algo-{number}"] for number in (1, 2, 3)]
    assert [sum(count.values()) for count in counts] == [262, 50, 400]
    assert [len(probe["rows"]) for probe in probes] == [count["train"] for count in counts]
    assert three.parameters()["rows"] == {"train": 570, "validation": 142}
    # the rows that one host trains on, each once
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_torch.Training, "run_epoch", lambda self, rows, *_: seen.append(rows))
        assert run("--epochs", 1) == 0
    expected = [
        hashlib.blake2b(x.tobytes() + y.tobytes(), digest_size=8).hexdigest()
        for x, y in zip(seen[0].x.numpy(), seen[0].y.numpy(), strict=True)
    ]
    assert len(set(expected)) > 400
    assert sorted(row for probe in probes for row in probe["rows"]) == sorted(expected)


def test_statistics_are_those_of_the_rows_of_all_hosts(three, run):
    one = on_one_host(run, PLAIN)
    assert three.parameters()["statistics"] == one.parameters()["statistics"]
    # and the metrics: the model of three hosts is about as good as that of one
    metrics = three.parameters()["metrics"]["validation"]
    assert metrics["auc"] == pytest.approx(
        one.parameters()["metrics"]["validation"]["auc"], abs=0.03
    )


def test_the_first_host_alone_prints_metrics(three):
    """SageMaker looks for metrics in the logs of all hosts, and would draw each value twice."""
    telling = {
        host for host, log in three.logs().items() if any("train:logloss=" in line for line in log)
    }
    assert telling == {"algo-1"}


def test_metrics_are_of_the_rows_of_all_hosts(three, run, tmp_path):
    """What the hosts say of the model together is what one host says of it."""
    (tmp_path / "model.pt").write_bytes(three.model()["model.pt"])
    net = train_torch.model_fn(tmp_path)
    args = train_torch.parser().parse_args(run.words())
    told = three.parameters()["metrics"]
    for name, (x, y) in train_torch.load(args).items():
        chances = network.probabilities(net, torch.from_numpy(x)).numpy()
        assert told[name] == pytest.approx(train_torch.evaluate(y, chances), rel=1e-5)
    last = three.history().iloc[-1]
    assert last["validation:logloss"] == pytest.approx(told["validation"]["logloss"], rel=1e-5)


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize(("rows", "batch"), [(570, 64), (10, 4), (7, 1), (9, 3), (3, 64)])
def test_hosts_with_all_rows_make_the_batches_of_one(monkeypatch, size, rows, batch):
    order, sizes = torch.randperm(rows), train_torch.cut(rows, batch)
    shares = []
    for rank in range(size):
        pretend(monkeypatch, rank, size)
        mine, its = process_group.share(SimpleNamespace(total=rows), order, sizes, batch)
        assert len(its) == len(sizes)
        shares.append(mine.split(its))
    for step, together in enumerate(order.split(batch)):
        assert torch.cat([share[step] for share in shares]).equal(together)


@pytest.mark.parametrize(("rows", "batch"), [((262, 50, 400), 64), ((1, 9), 2), ((0, 5), 2)])
def test_hosts_with_their_own_rows_take_as_many_steps(monkeypatch, rows, batch):
    for rank, count in enumerate(rows):
        pretend(monkeypatch, rank, len(rows))
        part = SimpleNamespace(total=sum(rows))
        process_group._now.spread = [part]
        order = torch.randperm(count)
        mine, sizes = process_group.share(part, order, train_torch.cut(count, batch), batch)
        assert mine is order
        assert (sum(sizes), len(sizes)) == (count, -(-sum(rows) // batch))
        assert max(sizes) - min(sizes) <= 1


def pretend(monkeypatch, rank: int, size: int) -> None:
    """Be one of several, for what needs no other."""
    place = process_group.Place(rank, size, 0, 1, ["here"] * size, rank, ("127.0.0.1", 1))
    state = SimpleNamespace(place=place, spread=[], rows={"train": [0] * size})
    monkeypatch.setattr(process_group, "_now", state)


def test_each_host_leaves_out_other_neurons_and_the_same_when_it_does_a_step_again(monkeypatch):
    drawn = {}
    with torch.random.fork_rng():
        for rank, step in [(0, 5), (1, 5), (0, 6), (1, 6), (0, 5)]:
            pretend(monkeypatch, rank, 2)
            process_group.reseed(seed=1, step=step)
            numbers = tuple(torch.rand(4).tolist())
            assert drawn.setdefault((rank, step), numbers) == numbers
    assert len(set(drawn.values())) == 4


# --- on one host ----------------------------------------------------------------------------------


def test_one_host_needs_none_of_it(run, tmp_path):
    """The script without the lines for several hosts leaves the same bytes."""
    words = {"epochs": 4, "dropout": 0.2}
    expected = on_one_host(run, words).everything()
    folder = tmp_path / "scripts"
    folder.mkdir()
    for name, content in SOURCE.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    (folder / "process_group.py").unlink()
    text = hosts_diff.one_host(ROOT / "scripts" / "training" / "train_torch.py")
    (folder / "train_torch.py").write_text(text)
    fresh = Run(run.script, tmp_path / "fresh", None)
    command = [sys.executable, folder / "train_torch.py"]
    command += fresh.words(*(f"--{name}={value}" for name, value in words.items()))
    subprocess.run(command, check=True, capture_output=True)
    assert fresh.everything() == expected


def test_the_step_to_many_hosts_is_at_most_20_lines():
    difference = hosts_diff.diff(ROOT / "scripts" / "training" / "train_torch.py")
    assert 10 <= hosts_diff.changed(difference) <= 20
    for essential in ("process_group.joined", "DistributedDataParallel", "process_group.agree"):
        assert re.search(rf"(?m)^\+.*{essential}", difference), essential
    assert not re.search(r"(?m)^-(?!--)", difference)  # nothing of the script for one host goes
    assert "# hosts" not in difference


def test_changed_lines_are_counted_as_a_diff_has_them():
    assert hosts_diff.changed("--- a\n+++ b\n@@ -1 +1,2 @@\n-x = 1\n+x = 2\n+\n y\n") == 3


def test_without_several_hosts_there_is_no_group(run, monkeypatch):
    def never(*_):
        raise AssertionError("a group was formed")

    monkeypatch.setattr(process_group, "_meet", never)
    monkeypatch.setattr(torch.nn.parallel, "DistributedDataParallel", never)
    assert run("--epochs", 1) == 0
    assert "weights " in run.said.split("\n")[2]
    assert not re.search(r"epoch 1, weights", run.said)


def test_more_gpus_than_one_need_torchrun_and_it_is_said(run, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    args = train_torch.parser().parse_args([])
    with process_group.joined(args) as group:
        assert group.size == 1
    process_group._hint_at_gpus(args)
    assert "torchrun --nproc_per_node 4" in run._capsys.readouterr().out


# --- hosts that end -------------------------------------------------------------------------------


def test_a_stop_on_one_host_stops_all_at_one_step_and_they_go_on_together(account, two, replicated):
    checkpoints = unique("checkpoints")
    config = {"CheckpointConfig": {"S3Uri": f"s3://{BUCKET}/{checkpoints}"}}
    probe = {"Environment": {"PROBE": json.dumps({"algo-2": [STEPS + 4, "SIGTERM"]})}}
    stopped = run_job(account, replicated, **config, **probe)
    assert [one["steps"] for one in stopped.probes()] == [STEPS + 4] * 2
    for log in stopped.logs().values():
        assert any("stopped by SIGTERM in epoch 2" in line for line in log)
    assert stopped.parameters()["epochs"] == {"trained": 1, "kept": 1, "finished": False}
    assert len(stopped.probes()[0]["checkpoints"]) == 1
    assert stopped.probes()[1]["checkpoints"] == []  # the first alone keeps it
    assert len(account.keys(checkpoints)) == 1
    again = run_job(account, replicated, **config)
    for log in again.logs().values():
        assert any(f"going on after {STEPS + 4} steps, in epoch 2" in line for line in log)
    assert [one["steps"] for one in again.probes()] == [3 * STEPS - STEPS - 4] * 2
    assert again.model()["model.pt"] == two.model()["model.pt"]
    assert again.history().equals(two.history())
    assert account.keys(checkpoints) == []


@pytest.fixture(scope="module")
def killed(account, replicated) -> dict[str, Job]:
    """Two jobs at once; in each a host's script is killed in the middle, by its name."""
    words = PLAIN | {"epochs": 1_000_000}
    names = {}
    for victim in ("algo-1", "algo-2"):
        probe = {"PROBE": json.dumps({victim: [STEPS + 2, "SIGKILL"]})}
        names[victim] = start(account, replicated, words, Environment=probe)
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


@pytest.fixture
def by_hand(tmp_path, no_job):
    hand = ByHand(train_torch, tmp_path / "hand")
    yield hand
    hand.close()


def test_who_is_left_ends_by_itself_and_says_who_is_lost(by_hand):
    """The first host keeps the table at which they met: its loss is the harder one."""
    victim = by_hand.start("algo-1", "--epochs", 1_000_000)
    left = by_hand.start("algo-2", "--epochs", 1_000_000)
    for line in left.stdout:
        if line.startswith("algo-2: epoch 3"):
            break
    victim.send_signal(signal.SIGKILL)
    killed = time.monotonic()
    _, complaint = left.communicate(timeout=30)
    assert time.monotonic() - killed < 15
    assert left.returncode == 1
    assert complaint.strip().splitlines()[-1] == (
        "train_torch.py: lost algo-1 in the middle of the training, and algo-2 cannot go on alone; "
        "the log of algo-1 says why"
    )
    assert "Traceback" not in complaint


def test_a_process_that_was_in_a_group_leaves_at_once_and_tells_how_it_ended():
    """Without what Python does at the end: PyTorch's threads may be caught in the middle."""
    text = "import atexit, process_group as p; atexit.register(print, 'at exit'); print('said'); "
    for formed, said in ((True, "said"), (False, "said at exit")):
        code = f"{text} p._formed = {formed}; p.leave(3); raise SystemExit(3)"
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT / "scripts" / "training",
            capture_output=True,
            text=True,
        )
        assert (done.returncode, " ".join(done.stdout.split())) == (3, said)


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
    here = process_group.Place(0, 3, 0, 1, list(addresses), 0, ("algo-1", 1))
    assert process_group._gone(RuntimeError(text), here) == host
    two = here._replace(size=2, hosts=["algo-1", "algo-2"])
    assert process_group._gone(RuntimeError(text), two) == "algo-2"


def test_a_fault_of_the_script_is_no_lost_host():
    assert not process_group._is_of_the_network(RuntimeError("mat1 and mat2 cannot be multiplied"))
    assert process_group._is_of_the_network(RuntimeError("[gloo/pair.cc:1] Timed out"))
    assert process_group._is_of_the_network(torch.distributed.DistNetworkError("gone"))


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("algo-1", "algo-2 did not come within 1 seconds to 127.0.0.1:{port}, where the 2 hosts"),
        ("algo-2", "the first host did not answer at 127.0.0.1:{port} within 1 seconds"),
    ],
)
def test_a_host_that_does_not_come_is_named(run, monkeypatch, host, said):
    port = ByHand(train_torch, run.folder).port
    for name, value in (
        ("SM_HOSTS", '["algo-1", "algo-2"]'),
        ("SM_CURRENT_HOST", host),
        ("MASTER_ADDR", "127.0.0.1"),
        ("MASTER_PORT", str(port)),
    ):
        monkeypatch.setenv(name, value)
    assert said.format(port=port + 1) in run.refuses("--hosts_seconds", 1)
    assert process_group.size() == 1


def test_a_shard_without_an_object_ends_all_hosts_with_one_sentence(by_hand, tmp_path):
    config = json.dumps({"train": {"S3DistributionType": "ShardedByS3Key"}})
    (tmp_path / "empty").mkdir()
    hosts = [("algo-1", (), {}), ("algo-2", ("--train", tmp_path / "empty"), {})]
    for end in by_hand.together(*hosts, SM_INPUT_DATA_CONFIG=config):
        assert (end.code, end.sentence()) == (
            1,
            "the channel train has 1 object(s) for 2 hosts, and ShardedByS3Key gives whole "
            "objects: algo-2 got none; upload at least 2 objects, or use FullyReplicated",
        )


def test_what_is_wrong_on_one_host_is_said_on_all(by_hand, tmp_path):
    bad = write(tmp_path / "bad.csv", pd.read_csv(TRAIN).assign(Sex="boy"))
    first, second = by_hand.together(("algo-1", (), {}), ("algo-2", ("--train", bad), {}))
    assert (first.code, second.code) == (1, 1)
    assert f"{bad}, row 1 (line 2), column Sex" in second.sentence()
    assert first.sentence() == f"algo-2 ended: {second.sentence()}"


# --- other ways to start --------------------------------------------------------------------------


def test_hosts_alone_are_two_models(by_hand, tmp_path):
    """The wrong way, for the lesson: each learns from its rows alone, and each writes a model."""
    rows = pd.read_csv(TRAIN)
    hosts = []
    for host, part in zip(by_hand.hosts, (rows[:356], rows[356:]), strict=True):
        train = write(tmp_path / f"{host}.csv", part)
        hosts.append((host, ("--train", train, "--hosts", "alone", "--epochs", 2), {}))
    ends = by_hand.together(*hosts)
    assert [end.code for end in ends] == [0, 0]
    weights = [re.findall(r"epoch \d+, weights (\w{8})", end.said) for end in ends]
    assert len(weights[0]) == len(weights[1]) == 2
    assert not set(weights[0]) & set(weights[1])
    assert all("saved " in end.said and "model.pt" in end.said for end in ends)
    assert all("2 hosts, but this script trains on each" in end.complaint for end in ends)


def test_unequal_shards_weigh_as_many_as_they_are(by_hand, run, tmp_path):
    """With all rows in one batch the order is nothing: each step must be that of one host."""
    rows, words = pd.read_csv(TRAIN), PLAIN | {"batch_size": 1000, "epochs": 4}
    config = json.dumps({"train": {"S3DistributionType": "ShardedByS3Key"}})
    hosts = []
    for host, part in zip(by_hand.hosts, (rows[:600], rows[600:]), strict=True):
        train = write(tmp_path / f"{host}.csv", part)
        given = (f"--{name}={value}" for name, value in words.items())
        hosts.append((host, ("--train", train, *given), {}))
    ends = by_hand.together(*hosts, SM_INPUT_DATA_CONFIG=config)
    assert [end.code for end in ends] == [0, 0], ends
    found = pd.read_csv(by_hand.folder / "0" / "output" / "history.csv")
    expected = on_one_host(run, words).table()
    assert found.to_numpy() == pytest.approx(expected.to_numpy(), rel=2e-6)


def test_the_exercise_has_its_bug_and_the_cure_cures_it(tmp_path, no_job, monkeypatch):
    """Of the layer whose gradients are not averaged the weights differ, and of no other."""
    text = (ROOT / "scripts" / "training" / "exercise_all_reduce.py").read_text()
    assert text.count("layers[:-1]") == 1
    (tmp_path / "cured.py").write_text(text.replace("layers[:-1]", "layers"))
    for name, different in (("exercise_all_reduce", [3]), ("cured", [])):
        monkeypatch.syspath_prepend(tmp_path)
        hand = ByHand(importlib.import_module(name), tmp_path / name)
        ends = hand.together(*((host, (), {}) for host in hand.hosts))
        assert [end.code for end in ends] == [0, 0], ends
        line = re.compile(r"algo-\d: epoch \d, layer 1 (\w{8}), layer 2 (\w{8}), layer 3 (\w{8})")
        first, second = (line.findall(end.said) for end in ends)
        assert len(first) == len(second) == 3
        for one, other in zip(first, second, strict=True):
            layers = enumerate(zip(one, other, strict=True), 1)
            assert [place for place, (a, b) in layers if a != b] == different


def test_the_exercise_runs_on_one_host_too(no_job, capsys):
    assert exercise_all_reduce.main(["--epochs", "1"]) == 0
    assert "localhost: epoch 1, layer 1 " in capsys.readouterr().out


def test_torchrun_may_start_several_processes_of_a_host(by_hand, tmp_path):
    """Of a sharded channel a host's processes read the same rows, and share them."""
    rows = pd.read_csv(TRAIN)
    config = json.dumps({"train": {"S3DistributionType": "ShardedByS3Key"}})
    hosts = []
    for rank in range(4):
        host = rank // 2
        train = write(tmp_path / f"{host}.csv", rows[:500] if host == 0 else rows[500:])
        places = {"RANK": rank, "WORLD_SIZE": 4, "LOCAL_RANK": rank % 2, "LOCAL_WORLD_SIZE": 2}
        own = {name: str(value) for name, value in places.items()}
        hosts.append((by_hand.hosts[host], ("--train", train, "--epochs", 2), own))
    ends = by_hand.together(*hosts, SM_INPUT_DATA_CONFIG=config)
    assert [end.code for end in ends] == [0] * 4, ends
    weights = [re.findall(r"epoch \d+, weights (\w{8})", end.said) for end in ends]
    assert len(weights[0]) == 2
    assert weights == [weights[0]] * 4
    told = json.loads((by_hand.folder / "0" / "model" / "parameters.json").read_text())
    counts = list(told["hosts"].values())
    assert told["rows"] == {"train": 570, "validation": 142}
    assert [sum(count.values()) for count in counts] == [251, 249, 107, 105]
    assert not any(
        (by_hand.folder / str(rank) / "model" / "model.pt").exists() for rank in (1, 2, 3)
    )


def test_torchrun_starts_a_group_too(tmp_path, no_job):
    """It is what an Estimator's `distribution={"torch_distributed": …}` starts on each host."""
    run = Run(SCRIPTS["train_torch"], tmp_path, None)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"]
    torchrun += ["--master_addr", "127.0.0.1", "--master_port", str(port)]
    done = subprocess.run(
        [*torchrun, run.script.file, *run.words("--epochs", 2)],
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


def test_numbers_of_processes_must_be_numbers(run, monkeypatch):
    monkeypatch.setenv("RANK", "one")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "RANK, WORLD_SIZE, LOCAL_RANK and MASTER_PORT must be whole numbers" in run.refuses()
