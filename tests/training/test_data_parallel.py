"""train_torch.py on several hosts: one model, whatever the hosts have.

The jobs are real ones on the stub AWS, two or three hosts each.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import re

import numpy as np
import pandas as pd
import pytest
import torch

import device_rows
import exercise_all_reduce
import network
import splits
import train_torch
from hosts import torch_group
from hosts.data_parallel import Hosts, SharedRows
from stub_aws.instance import namespaces_available
from tests.support.entry_points import SCRIPTS, TRAIN, TRAINING, Run, write
from tests.support.hosts_by_hand import ByHand, Pretended
from tests.support.stub_jobs import BUCKET, NONE_HERE, Account, unique
from tests.support.torch_jobs import (
    EPOCHS,
    PLAIN,
    STEPS,
    Job,
    run_job,
    upload_replicated,
    upload_sharded,
)

SHARDED = json.dumps({"train": {"S3DistributionType": "ShardedByS3Key"}})


# --- jobs -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def account(stub_aws) -> Account:
    if not namespaces_available():  # as the stub itself says of jobs with several hosts
        pytest.skip(NONE_HERE)
    return Account(stub_aws.environment)


@pytest.fixture(scope="module")
def replicated(account) -> str:
    return upload_replicated(account)


@pytest.fixture
def run(tmp_path, capsys, no_job) -> Run:
    """Run on one host: this process."""
    return Run(SCRIPTS["train_torch"], tmp_path / "run", capsys)


def on_one_host(run: Run, hyperparameters: dict) -> Run:
    assert run(*(f"--{name}={value}" for name, value in hyperparameters.items())) == 0
    return run


@pytest.fixture(scope="module")
def two(account, replicated) -> Job:
    """Two hosts that both have all rows."""
    return run_job(account, replicated)


@pytest.fixture(scope="module")
def three(account) -> Job:
    """Three hosts with rows of their own."""
    return run_job(account, upload_sharded(account), hosts=3, distribution="ShardedByS3Key")


# --- one model ------------------------------------------------------------------------------------


@pytest.mark.parametrize("job", ["two", "three"])
def test_weights_are_equal_on_every_host_after_every_epoch(job, request):
    weights = list(request.getfixturevalue(job).weights().values())
    assert len(weights[0]) == EPOCHS["epochs"] == len(set(weights[0]))  # and they change
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
    """Sums are added up in another order: float32 has about 7 digits of each."""
    one = on_one_host(run, PLAIN)
    expected = one.table().set_index("epoch").to_numpy()
    assert two.history().to_numpy() == pytest.approx(expected, rel=2e-6)
    alone = torch.load(one.model / "model.pt", weights_only=True)["state"]
    for name, weights in two.state().items():
        torch.testing.assert_close(weights, alone[name], rtol=0, atol=5e-6)
    assert "hosts" not in one.parameters()
    metrics = one.parameters()["metrics"]
    for part, values in two.parameters()["metrics"].items():
        assert values == pytest.approx(metrics[part], rel=2e-6)


def test_shards_are_learnt_from_once_an_epoch_in_as_many_steps_on_all(three, run):
    probes = three.probes()
    assert [probe["steps"] for probe in probes] == [3 * STEPS] * 3
    hosts = three.parameters()["hosts"]
    counts = [hosts[f"algo-{number}"] for number in (1, 2, 3)]
    assert [sum(count.values()) for count in counts] == [262, 50, 400]
    assert [len(probe["rows"]) for probe in probes] == [count["train"] for count in counts]
    assert three.parameters()["rows"] == {"train": 570, "validation": 142}
    # the rows that one host trains on, each once
    trained = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_torch.Training, "run_epoch", lambda self, *_: trained.append(self.rows))
        assert run("--epochs", 1) == 0
    own = trained[0]["train"].own
    expected = [
        hashlib.blake2b(x.tobytes() + y.tobytes(), digest_size=8).hexdigest()
        for x, y in zip(own.x.numpy(), own.y.numpy(), strict=True)
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
    for metric in ("train:logloss=", "validation:auc="):
        hosts = [host for host, log in three.logs().items() if any(metric in line for line in log)]
        assert hosts == ["algo-1"]


def test_metrics_are_of_the_rows_of_all_hosts(three, run, tmp_path):
    """The hosts together report of the model what one host does."""
    (tmp_path / "model.pt").write_bytes(three.model()["model.pt"])
    net = train_torch.model_fn(tmp_path)
    args = train_torch.parser().parse_args(run.arguments())
    reported = three.parameters()["metrics"]
    for name, (x, y) in splits.load(args).items():
        probabilities = network.probabilities(net, torch.from_numpy(x)).numpy()
        expected = train_torch.evaluate(y, probabilities)
        assert reported[name] == pytest.approx(expected, rel=1e-5)
    last = three.history().iloc[-1]
    assert last["validation:logloss"] == pytest.approx(reported["validation"]["logloss"], rel=1e-5)


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


# --- sharing out ----------------------------------------------------------------------------------


def rows_of(count: int) -> device_rows.Rows:
    net = network.Network(network.Shape(columns=1))
    x = np.arange(count, dtype=np.float32)[:, None]
    return device_rows.Rows(net, x, np.arange(count) % 2, torch.device("cpu"))


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize(("count", "batch"), [(570, 64), (10, 4), (7, 1), (9, 3), (3, 64)])
def test_hosts_with_all_rows_make_the_batches_of_one(size, count, batch):
    expected = list(rows_of(count).order(seed=5).split(batch))
    steps = [[] for _ in expected]
    for rank in range(size):
        rows = SharedRows(rows_of(count), Pretended(rank, size), batch, divided=False)
        assert (rows.total, rows.steps) == (count, len(expected))
        parts = list(rows.batches(seed=5))
        assert rows.counts[rank] == sum(len(x) for x, _, _ in parts)
        assert [share for _, _, share in parts] == [len(step) / size for step in expected]
        for step, (x, _, _) in zip(steps, parts, strict=True):
            step.append(x[:, 0].long())
    assert [torch.cat(step).tolist() for step in steps] == [step.tolist() for step in expected]


@pytest.mark.parametrize("counts", [(262, 50, 400), (1, 9), (0, 5)])
@pytest.mark.parametrize("batch", [64, 2])
def test_hosts_with_their_own_rows_take_as_many_steps(counts, batch):
    shares = set()
    sizes = []
    for rank, count in enumerate(counts):
        group = Pretended(rank, len(counts), counts)
        rows = SharedRows(rows_of(count), group, batch, divided=True)
        assert rows.total == sum(counts)
        parts = list(rows.batches(seed=5))
        assert len(parts) == rows.steps == -(-sum(counts) // batch)
        indices = torch.cat([x for x, _, _ in parts])[:, 0].tolist()
        assert sorted(indices) == list(range(count))
        sizes.append([len(x) for x, _, _ in parts])
        assert max(sizes[-1]) - min(sizes[-1]) <= 1
        shares.add(tuple(share for _, _, share in parts))
    # all weigh their losses by the same mean, that of what they have in a step
    assert shares == {tuple(sum(step) / len(counts) for step in zip(*sizes, strict=True))}


def test_an_epoch_goes_on_at_the_batch_where_it_was():
    rows = SharedRows(rows_of(100), Pretended(1, 3), 16, divided=False)
    complete = [(x.tolist(), share) for x, _, share in rows.batches(seed=1)]
    assert [(x.tolist(), share) for x, _, share in rows.batches(seed=1, start=4)] == complete[4:]


def test_each_host_drops_other_neurons_and_the_same_when_it_does_a_step_again():
    drawn = {}
    with torch.random.fork_rng():
        for rank, step in [(0, 5), (1, 5), (0, 6), (1, 6), (0, 5)]:
            Hosts(Pretended(rank, 2)).reseed(seed=1, step=step)
            numbers = tuple(torch.rand(4).tolist())
            assert drawn.setdefault((rank, step), numbers) == numbers
    assert len(set(drawn.values())) == 4


def test_a_host_without_rows_in_a_step_adds_nothing_to_the_mean():
    hosts = Hosts(Pretended(0, 2))
    nothing = torch.tensor(float("nan"))
    assert hosts.weigh(nothing, 0, 1.5).item() == 0
    assert hosts.weigh(torch.tensor(0.5), 3, 1.5).item() == 1.0


# --- on one host ----------------------------------------------------------------------------------


def test_without_several_hosts_there_is_no_group(run, monkeypatch):
    def never(*_):
        raise AssertionError("a group was formed")

    monkeypatch.setattr(torch_group, "_rendezvous", never)
    monkeypatch.setattr(torch.nn.parallel, "DistributedDataParallel", never)
    monkeypatch.setattr(torch.distributed, "all_reduce", never)
    assert run("--epochs", 1) == 0
    assert "weights " in run.stdout.split("\n")[2]
    assert not re.search(r"epoch 1, weights", run.stdout)


# --- other data -----------------------------------------------------------------------------------


@pytest.fixture
def by_hand(tmp_path, no_job):
    hand = ByHand(train_torch, tmp_path / "hand")
    yield hand
    hand.close()


def test_hosts_alone_are_two_models(by_hand, tmp_path):
    """The wrong way, for the lesson: each learns from its rows alone, and each writes a model."""
    rows = pd.read_csv(TRAIN)
    hosts = []
    for host, part in zip(by_hand.hosts, (rows[:356], rows[356:]), strict=True):
        train = write(tmp_path / f"{host}.csv", part)
        hosts.append((host, ("--train", train, "--hosts", "alone", "--epochs", 2), {}))
    ends = by_hand.together(*hosts)
    assert [end.code for end in ends] == [0, 0]
    weights = [re.findall(r"(algo-\d): epoch \d+, weights (\w{8})", end.stdout) for end in ends]
    assert [[host for host, _ in one] for one in weights] == [["algo-1"] * 2, ["algo-2"] * 2]
    assert not {checksum for _, checksum in weights[0]} & {checksum for _, checksum in weights[1]}
    assert all("saved " in end.stdout and "model.pt" in end.stdout for end in ends)
    assert all("2 hosts, but this script trains on each" in end.stderr for end in ends)


def test_unequal_shards_weigh_as_many_as_they_are(by_hand, run, tmp_path):
    """With all rows in one batch the order is nothing: each step must be that of one host."""
    rows, hyperparameters = pd.read_csv(TRAIN), PLAIN | {"batch_size": 1000, "epochs": 4}
    hosts = []
    for host, part in zip(by_hand.hosts, (rows[:600], rows[600:]), strict=True):
        train = write(tmp_path / f"{host}.csv", part)
        arguments = (f"--{name}={value}" for name, value in hyperparameters.items())
        hosts.append((host, ("--train", train, *arguments), {}))
    ends = by_hand.together(*hosts, SM_INPUT_DATA_CONFIG=SHARDED)
    assert [end.code for end in ends] == [0, 0], ends
    history = pd.read_csv(by_hand.folder / "0" / "output" / "history.csv")
    expected = on_one_host(run, hyperparameters).table()
    assert history.to_numpy() == pytest.approx(expected.to_numpy(), rel=2e-6)


def test_a_shard_without_an_object_ends_all_hosts_with_one_sentence(by_hand, tmp_path):
    (tmp_path / "empty").mkdir()
    hosts = [("algo-1", (), {}), ("algo-2", ("--train", tmp_path / "empty"), {})]
    for end in by_hand.together(*hosts, SM_INPUT_DATA_CONFIG=SHARDED):
        assert (end.code, end.sentence()) == (
            1,
            "the channel train has 1 object(s) for 2 hosts, and ShardedByS3Key gives whole "
            "objects: algo-2 got none; upload at least 2 objects, or use FullyReplicated",
        )


# --- the exercise ---------------------------------------------------------------------------------


def test_the_exercise_has_its_bug_and_the_cure_cures_it(tmp_path, no_job, monkeypatch):
    """Of the layer whose gradients are not averaged the weights differ, and of no other."""
    text = (TRAINING / "exercise_all_reduce.py").read_text()
    assert text.count("layers[:-1]") == 1
    (tmp_path / "cured.py").write_text(text.replace("layers[:-1]", "layers"))
    for name, different in (("exercise_all_reduce", [3]), ("cured", [])):
        monkeypatch.syspath_prepend(tmp_path)
        hand = ByHand(importlib.import_module(name), tmp_path / name)
        ends = hand.together(*((host, (), {}) for host in hand.hosts))
        assert [end.code for end in ends] == [0, 0], ends
        line = re.compile(r"algo-\d: epoch \d, layer 1 (\w{8}), layer 2 (\w{8}), layer 3 (\w{8})")
        first, second = (line.findall(end.stdout) for end in ends)
        assert len(first) == len(second) == 3
        for one, other in zip(first, second, strict=True):
            layers = enumerate(zip(one, other, strict=True), 1)
            assert [number for number, (a, b) in layers if a != b] == different


def test_the_exercise_runs_on_one_host_too(no_job, capsys):
    assert exercise_all_reduce.main(["--epochs", "1"]) == 0
    assert "localhost: epoch 1, layer 1 " in capsys.readouterr().out


def test_the_exercise_refuses_hosts_with_other_rows(no_job, capsys, monkeypatch):
    monkeypatch.setenv("SM_INPUT_DATA_CONFIG", SHARDED)
    assert exercise_all_reduce.main([]) == 1
    assert "the channel train is ShardedByS3Key; use FullyReplicated" in capsys.readouterr().err
