"""A network split over hosts learns what the unsplit one does, and how much memory it takes."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shlex
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from torch.distributed import pipelining

import memory_estimate
import network
import titanic
import train_pipeline
from hosts import torch_group
from stub_aws.instance import namespaces_available
from tests.support.entry_points import ROOT, TEST, TRAIN, source
from tests.support.hosts_by_hand import ByHand, Pretended
from tests.support.stub_jobs import BUCKET, NONE_HERE, PYTORCH, Account, channel, unique

pytestmark = pytest.mark.usefixtures("no_job")

HYPERPARAMETERS = {"epochs": 3, "width": 32, "depth": 4}  # five layers: three for algo-2
INPUTS = 11
COUNT = memory_estimate.parameters(memory_estimate.layers(INPUTS, 32, 4))


@pytest.fixture(scope="module")
def account(stub_aws) -> Account:
    if not namespaces_available():  # as the stub itself says of jobs with several hosts
        pytest.skip(NONE_HERE)
    return Account(stub_aws.environment)


@pytest.fixture
def one(tmp_path, capsys):
    """Run it here, on one host; returns its folders, and what it printed."""

    def run(*arguments: object, train=TRAIN, code: int = 0) -> SimpleNamespace:
        folders = ["--model_dir", tmp_path / "one", "--output_data_dir", tmp_path / "output"]
        command = ("--train", train, *folders, "--nthread", 1, *arguments)
        assert train_pipeline.main([str(argument) for argument in command]) == code
        printed, stderr = capsys.readouterr()
        return SimpleNamespace(
            model=tmp_path / "one", output=tmp_path / "output", printed=printed, stderr=stderr
        )

    return run


def as_arguments(values: dict) -> list[str]:
    return [f"--{name}={value}" for name, value in values.items()]


def predictions(folder) -> np.ndarray:
    x = titanic.features(titanic.read(TEST)).to_numpy(dtype=np.float32)
    return network.probabilities(train_pipeline.model_fn(folder), torch.tensor(x)).numpy()


def same(folder, output, one) -> None:
    """Loss curve, weights and predictions are those of the unsplit network.

    Sums are added up in another order: float32 keeps about 7 digits of each.
    """
    curves = [pd.read_csv(path / "history.csv")["train:logloss"] for path in (output, one.output)]
    assert curves[0].tolist() == pytest.approx(curves[1].tolist(), rel=2e-6)
    assert len(curves[0]) == HYPERPARAMETERS["epochs"]
    assert curves[0].is_monotonic_decreasing
    split = train_pipeline.model_fn(folder).state_dict()
    for name, weights in train_pipeline.model_fn(one.model).state_dict().items():
        torch.testing.assert_close(split[name], weights, rtol=0, atol=5e-6)
    np.testing.assert_allclose(predictions(folder), predictions(one.model), rtol=0, atol=2e-6)


# --- split ----------------------------------------------------------------------------------------


def test_a_job_of_two_hosts_learns_what_one_host_does(account, one, tmp_path):
    prefix = unique("pipeline")
    account.put(f"{prefix}/train.csv", TRAIN.read_text())
    job = account.run(
        files=source(),
        program="train_pipeline.py",
        image=PYTORCH,
        hosts=2,
        InputDataConfig=[channel("train", f"s3://{BUCKET}/{prefix}/")],
        hyperparameters={name: json.dumps(value) for name, value in HYPERPARAMETERS.items()},
    )
    name = job["TrainingJobName"]
    logs = [account.log(name, host) for host in ("algo-1", "algo-2")]
    assert job["TrainingJobStatus"] == "Completed", logs
    files = account.unpack(name)
    assert set(files) == {"part-1-of-2.pt", "part-2-of-2.pt", "parameters.json"}
    model, output = tmp_path / "model", tmp_path / "job"
    for folder, content in ((model, files), (output, account.unpack(name, "output.tar.gz"))):
        folder.mkdir()
        for file, data in content.items():
            (folder / file).write_bytes(data)
    same(model, output, one(*as_arguments(HYPERPARAMETERS)))
    # each host held its layers alone
    sizes = memory_estimate.layers(INPUTS, 32, 4)
    for host, own, log in zip((1, 2), (sizes[:2], sizes[2:]), logs, strict=True):
        count = memory_estimate.parameters(own)
        layers = "1 to 2" if host == 1 else "3 to 5"
        assert f"algo-{host}: layers {layers} of 5, {4 * count:,} bytes of weights" in log
        held = memory_estimate.training(own, rows=0).held
        assert f"algo-{host}: {held:,} bytes of weights, gradients and moments" in log
        part = torch.load(io.BytesIO(files[f"part-{host}-of-2.pt"]), weights_only=True)["state"]
        mine = [value for name, value in part.items() if name.startswith("layers.")]
        assert sum(value.numel() for value in mine) == count
    held = json.loads(files["parameters.json"])["bytes_held"]
    assert sum(held.values()) == 16 * COUNT
    assert max(held.values()) < 0.7 * sum(held.values())


@pytest.mark.parametrize(("how", "hosts"), [("sharded", 2), ("pipeline", 3)])
def test_other_splits_do_too(how, hosts, one, tmp_path):
    hand = ByHand(train_pipeline, tmp_path / "hand", hosts)
    arguments = (*as_arguments(HYPERPARAMETERS), "--how", how)
    ends = hand.together(*((host, arguments, {}) for host in hand.hosts))
    assert [end.code for end in ends] == [0] * hosts, ends
    model, output = (tmp_path / "hand" / "0" / name for name in ("model", "output"))
    for number in range(1, hosts):  # as the artifact of a job has all hosts' files
        for file in (tmp_path / "hand" / str(number) / "model").glob("part*"):
            assert not (model / file.name).exists()
            file.rename(model / file.name)
    assert len(list(model.glob("part*"))) == (1 if how == "sharded" else hosts)
    same(model, output, one(*as_arguments(HYPERPARAMETERS)))
    held = json.loads((model / "parameters.json").read_text())["bytes_held"]
    assert sum(held.values()) == 16 * COUNT
    assert max(held.values()) < 0.6 * 16 * COUNT


def test_microbatches_and_batches_that_do_not_come_out_even(one):
    """570 rows in batches of 100: the last has 70; rows that fill up weigh nothing."""
    curves = []
    for parts in (1, 7):
        run = one(*as_arguments(HYPERPARAMETERS), "--batch_size", 100, "--microbatches", parts)
        curves.append(pd.read_csv(run.output / "history.csv")["train:logloss"].tolist())
    assert curves[0] == pytest.approx(curves[1], rel=2e-6)
    x, y = torch.randn(6, 1), torch.tensor([1.0, 0, 1, 0, 0, 0])
    weight = torch.tensor([0.25] * 4 + [0, 0])
    weighted = train_pipeline.weighted_loss(x, torch.stack([y, weight], dim=1))
    loss = torch.nn.functional.binary_cross_entropy_with_logits(x[:4, 0], y[:4])
    torch.testing.assert_close(weighted, loss)


def test_a_host_alone_records_its_own_name(one, monkeypatch):
    monkeypatch.setenv("SM_HOSTS", '["algo-1", "algo-2"]')
    monkeypatch.setenv("SM_CURRENT_HOST", "algo-2")
    run = one(*as_arguments(HYPERPARAMETERS), "--hosts", "alone")
    record = json.loads((run.model / "parameters.json").read_text())
    assert record["bytes_held"] == {"algo-2": 16 * COUNT}
    assert "algo-2: layers 1 to 5 of 5" in run.printed


# --- what memory it takes -------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "depth", "rows"), [(32, 1, 64), (64, 3, 64), (48, 2, 500)])
def test_the_estimate_is_what_the_tensors_take(width, depth, rows):
    shape = network.Shape(9, optional=(2, 5), width=width, depth=depth, dropout=0.0)
    layers = network.Network(shape).layers
    layers = torch.nn.Sequential(*(m for m in layers if not isinstance(m, torch.nn.Dropout)))
    optimizer = torch.optim.AdamW(layers.parameters())
    weights = {value.untyped_storage().data_ptr() for value in layers.parameters()}
    saved: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    x = torch.randn(rows, INPUTS)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logits = layers(x)
    logits.sum().backward()
    optimizer.step()

    def size(values) -> int:
        return sum(value.numel() * value.element_size() for value in values)

    estimate = memory_estimate.training(memory_estimate.layers(INPUTS, width, depth), rows)
    assert estimate.weights == size(layers.parameters())
    assert estimate.gradients == size(value.grad for value in layers.parameters())
    states = [value for one in optimizer.state.values() for value in one.values() if value.ndim]
    assert estimate.moments == size(states)
    assert estimate.activations == sum(saved.values())
    assert estimate.total == estimate.held + estimate.activations


def test_when_a_network_needs_more_hosts():
    sizes = memory_estimate.layers(INPUTS, width=16_384, depth=12)
    need = memory_estimate.training(sizes, rows=64)
    assert need.held == 16 * memory_estimate.parameters(sizes)
    assert memory_estimate.hosts(need.total, 16 * 2**30) == 3  # 2.95 milliards of weights
    assert memory_estimate.hosts(1, 16e9) == 1
    assert memory_estimate.hosts(17e9, 16e9) == 2


def test_its_command_prints_the_estimate(capsys):
    assert memory_estimate.main(["4096", "12"]) == 0
    assert re.search(r"together +2\.7\d\d GiB", capsys.readouterr().out)


# --- what it refuses ------------------------------------------------------------------------------


def pretend(monkeypatch, hosts: int) -> None:
    """Be the first of several, as far as what is asked before they talk."""
    group = contextlib.nullcontext(Pretended(0, hosts))
    monkeypatch.setattr(torch_group, "joined", lambda *_: group)


def test_more_hosts_than_layers_are_refused(one, monkeypatch):
    pretend(monkeypatch, 3)
    sentence = one("--depth", 1, code=1).stderr
    assert "a network of 2 layers cannot be spread over 3 hosts; give --depth 2 or more" in sentence


def test_hosts_with_other_rows_are_refused(one, monkeypatch):
    pretend(monkeypatch, 2)
    config = {"train": {"S3DistributionType": "ShardedByS3Key"}}
    monkeypatch.setenv("SM_INPUT_DATA_CONFIG", json.dumps(config))
    assert "the hosts of one network need the same rows" in one(code=1).stderr


@pytest.mark.parametrize("how", ["pipeline", "sharded"])
def test_an_older_pytorch_is_refused_in_one_sentence(one, monkeypatch, how):
    pretend(monkeypatch, 2)
    if how == "pipeline":
        monkeypatch.setattr(pipelining, "ScheduleGPipe", lambda stage, n_microbatches: None)
    else:
        monkeypatch.setitem(sys.modules, "torch.distributed.fsdp", None)
        monkeypatch.setattr(torch.distributed.device_mesh, "init_device_mesh", None)
    sentence = one("--how", how, code=1).stderr.strip()
    assert sentence.endswith("cannot split a network as this script does; it takes 2.6")
    assert "\n" not in sentence


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("--how all", "--how: expected pipeline or sharded, found 'all'"),
        ("--depth 0", "--depth: expected a whole number from 1"),
        ("--microbatch 4", "no argument --microbatch; did you mean --microbatches?"),
        ("--hosts apart", "--hosts: expected together or alone"),
    ],
)
def test_bad_arguments_are_refused_in_one_sentence(one, arguments, sentence):
    assert sentence in one(*shlex.split(arguments), code=1).stderr


def test_bad_data_end_it_with_the_sentence_about_them(one, tmp_path):
    assert "no such file or folder" in one(train=tmp_path / "nowhere", code=1).stderr


def test_a_model_with_a_missing_part_is_refused(one, tmp_path):
    run = one("--epochs", 1)
    part = run.model / "part-1-of-1.pt"
    part.rename(run.model / "part-2-of-2.pt")
    with pytest.raises(titanic.DataError, match=r"part-1-of-2\.pt: no such file"):
        train_pipeline.model_fn(run.model)
    one("--epochs", 1)  # what another split left goes
    assert [file.name for file in run.model.glob("part*")] == ["part-1-of-1.pt"]
    part.write_bytes(b"damaged")
    with pytest.raises(titanic.DataError, match="cannot be read; it may be damaged"):
        train_pipeline.model_fn(run.model)


def commands() -> list[str]:
    lines = train_pipeline.__doc__.splitlines()
    return [line.strip() for line in lines if line.startswith("    python ")]


@pytest.mark.parametrize("command", commands())
def test_commands_of_the_manual_run_as_they_stand(command, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("SM_MODEL_DIR", str(tmp_path / "model"))
    monkeypatch.setenv("SM_OUTPUT_DATA_DIR", str(tmp_path / "output"))
    _, script, *arguments = shlex.split(command)
    assert script == "scripts/training/train_pipeline.py"
    assert train_pipeline.main(arguments) == 0
    written = {file.name for file in tmp_path.rglob("*") if file.is_file()}
    promised = {"part-1-of-1.pt", "parameters.json", "history.csv"}
    assert written == (set() if "--dry_run" in arguments else promised)


def test_importing_is_cheap():
    heavy = "{'numpy', 'pandas', 'torch'}"
    code = f"import sys, train_pipeline as s; s.parser(); print({heavy} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT / "scripts" / "training",
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "set()"
    assert len(commands()) == 4
