"""The PyTorch entry point, where it is particular; for the rest test_entry_points.py."""

from __future__ import annotations

import os
import pickle
import shlex
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pandas as pd
import pytest
import torch

import device_rows
import devices
import network
import splits
import titanic
import train_torch
from checkpoints import Checkpoint, Every, StopSignal
from entry_point import UsageError
from metrics import evaluate
from tests.support.entry_points import SCRIPTS, TEST, TRAIN, Run, metrics_in, write
from train_torch import COURSE, model_fn, predict

pytestmark = pytest.mark.usefixtures("no_job")


class RunTorch(Run):
    """Runs of train_torch.py on the CPU, in folders of their own."""

    def history(self) -> pd.DataFrame:
        return self.table().set_index("epoch")

    def fresh(self, name: str) -> RunTorch:
        """Other folders, for a run that knows nothing of this one."""
        return RunTorch(self.script, self.folder / name, self._capsys)


@pytest.fixture
def run(tmp_path, capsys) -> RunTorch:
    return RunTorch(SCRIPTS["train_torch"], tmp_path / "run", capsys)


# --- the command line -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("--epochs 0", "--epochs: expected a whole number from 1"),
        ("--batch_size 0.5", "--batch_size: expected a whole number from 1"),
        ("--learning_rate 0", "--learning_rate: expected a number above 0, found '0'"),
        ("--dropout 1", "--dropout: expected a number from 0 to 0.99, found '1'"),
        ("--depth -1", "--depth: expected a whole number from 0 to 100"),
        ("--amp fp8", "--amp: expected auto or off or bf16 or fp16, found 'fp8'"),
        ("--amp fp16", "argument --amp: fp16 needs a CUDA device, and this is cpu; bf16 runs here"),
        ("--compile perhaps", "--compile: expected auto or true or false, found 'perhaps'"),
        ("--device tpu", "--device: expected auto or cpu or cuda or mps, found 'tpu'"),
        ("--checkpoint_seconds -1", "--checkpoint_seconds: expected a number from 0"),
    ],
)
def test_bad_arguments_are_refused_in_one_sentence(run, arguments, sentence):
    assert sentence in run.refuses(*shlex.split(arguments))


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_device_that_is_not_there_is_refused(run, monkeypatch, device):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    sentence = run.refuses("--device", device)
    assert (
        f"argument --device: there is no {device} here for PyTorch {torch.__version__}" in sentence
    )


def test_several_hosts_train_where_their_sums_can_be_made(monkeypatch):
    """Gloo adds up in a CPU's memory, and NCCL in CUDA's; none does in that of Apple's GPUs."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert devices.choose("auto").type == devices.choose("mps").type == "mps"
    assert devices.choose("auto", several=True).type == "cpu"
    with pytest.raises(UsageError, match="there is no mps here for PyTorch"):
        devices.choose("mps", several=True)


def test_words_of_python_are_understood(run):
    """The SDK sends True and False for booleans."""
    assert train_torch.parser().parse_args(["--compile", "False"]).compile == "false"
    assert train_torch.parser().parse_args(["--amp", "OFF"]).amp == "off"


def test_hyperparameters_reach_the_training(run):
    """Each one with another value makes another model: none is read and then ignored."""
    common = ("--epochs", 2, "--early_stopping_epochs", 0)
    assert run(*common) == 0
    plain = run.bytes()
    others = {
        "batch_size": 32,
        "learning_rate": 0.01,
        "weight_decay": 0.5,
        "width": 32,
        "depth": 1,
        "dropout": 0.4,
        "seed": 5,
        "validation_fraction": 0.4,
        "epochs": 3,
        "amp": "bf16",
    }
    for name, value in others.items():
        assert run(*common, f"--{name}", value) == 0
        assert run.bytes() != plain, name
        if name != "amp":
            assert run.parameters()["hyperparameters"][name] == value
    assert set(others) == {*COURSE, "epochs", "amp"}
    assert run(*common) == 0
    assert run.bytes() == plain


def test_checkpoints_default_to_the_folder_that_sagemaker_copies(monkeypatch):
    assert train_torch.parser().parse_args([]).checkpoint_dir.endswith("build/checkpoints")
    monkeypatch.setenv("SM_MODEL_DIR", "/opt/ml/model")
    assert train_torch.parser().parse_args([]).checkpoint_dir == "/opt/ml/checkpoints"


# --- training -------------------------------------------------------------------------------------


def test_each_epoch_tells_its_progress_and_its_losses(run):
    assert run("--epochs", 4, "--early_stopping_epochs", 0) == 0
    progress = [line for line in run.stdout.splitlines() if line.startswith("epoch ")]
    assert [line.split(":")[0] for line in progress] == [f"epoch {n} of 4" for n in (1, 2, 3, 4)]
    assert all("570 rows in" in line and "a second" in line for line in progress)
    read, history = metrics_in(run.stdout), run.history()
    assert list(history.columns) == ["train:logloss", "validation:logloss"]
    assert history.index.tolist() == [1, 2, 3, 4]
    for name in history.columns:  # every epoch, and at last that of the saved model
        assert read[name][:-1] == pytest.approx(history[name].tolist(), rel=1e-5)
    assert history["train:logloss"].iloc[-1] < history["train:logloss"].iloc[0]


def test_early_stopping_keeps_the_best_epoch(run):
    arguments = ("--epochs", 500, "--learning_rate", 0.02, "--dropout", 0.3, "--validation", TEST)
    assert run(*arguments, "--early_stopping_epochs", 4) == 0
    losses, epochs = run.history()["validation:logloss"], run.parameters()["epochs"]
    assert epochs["trained"] == len(losses) < 500
    assert epochs["kept"] == losses.idxmin() == epochs["trained"] - 4
    test = titanic.read(TEST)
    result = evaluate(titanic.labels(test), predict(model_fn(run.model), test))
    assert result["logloss"] == pytest.approx(losses.min(), rel=1e-5)
    assert run(*arguments, "--early_stopping_epochs", 0, "--epochs", epochs["trained"] + 3) == 0
    assert run.parameters()["epochs"]["trained"] == epochs["trained"] + 3


def test_dropout_is_there_in_training_and_not_in_validation(run, monkeypatch):
    modes = {"step": [], "mean_loss": [], "evaluate": []}
    for name, training in modes.items():
        real = getattr(train_torch.Training, name)

        def noted(self, *rest, real=real, training=training):
            result = real(self, *rest)
            training.append(self.net.training)
            return result

        monkeypatch.setattr(train_torch.Training, name, noted)
    assert run("--epochs", 3) == 0
    assert modes == {"step": [True] * 27, "mean_loss": [False] * 3, "evaluate": [False] * 2}


def test_each_epoch_of_a_run_has_an_order_of_its_own(run, monkeypatch):
    orders, real = [], device_rows.Rows.order
    monkeypatch.setattr(
        device_rows.Rows, "order", lambda *args: orders.append(real(*args)) or orders[-1]
    )
    for seed in (1, 2):
        assert run("--epochs", 3, "--seed", seed) == 0
    assert len(orders) == len({tuple(order[:100].tolist()) for order in orders}) == 6


def test_without_validation_the_last_epoch_is_kept_and_it_can_overfit(run):
    arguments = ("--validation_fraction", 0, "--dropout", 0, "--weight_decay", 0, "--width", 256)
    assert run(*arguments, "--epochs", 150, "--learning_rate", 0.005) == 0
    recorded = run.parameters()
    assert recorded["epochs"] == {"trained": 150, "kept": 150, "finished": True}
    assert recorded["metrics"]["train"]["accuracy"] > 0.9
    assert list(run.history().columns) == ["train:logloss"]


def test_a_training_that_runs_away_ends_in_one_sentence(run):
    assert run("--learning_rate", 1e38, "--epochs", 5) == 1
    assert "loss is no number any more after epoch" in run.stderr
    assert "try a learning_rate below 1e+38" in run.stderr
    assert not run.files()


def test_depth_0_is_the_logistic_regression_of_the_prepared_columns(run):
    from sklearn.linear_model import LogisticRegression

    arguments = ("--depth", 0, "--weight_decay", 0, "--validation_fraction", 0, "--batch_size", 712)
    assert run(*arguments, "--epochs", 800, "--learning_rate", 0.05) == 0
    train = titanic.read(TRAIN)
    net = model_fn(run.model)
    x = net.prepare(torch.tensor(titanic.features(train).to_numpy())).numpy()
    other = LogisticRegression(C=1e6, max_iter=5000).fit(x, titanic.labels(train))
    y = titanic.labels(train)
    expected = evaluate(y, other.predict_proba(x)[:, 1])
    assert evaluate(y, predict(net, train))["logloss"] == pytest.approx(expected["logloss"], 1e-3)


def test_torch_compile_changes_no_more_than_digits(run):
    """It uses the small compiler that needs no C++: this tests that we call it correctly."""
    assert run("--epochs", 3) == 0
    eager = run.history()
    real, called = torch.compile, []

    def compile_without_codegen(module, **options):
        called.append(options)
        return real(module, backend="aot_eager", **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "compile", compile_without_codegen)
        assert run("--epochs", 3, "--compile", "true") == 0
        assert run("--epochs", 1, "--compile", "false") == 0
    assert len(called) == 1
    torch.testing.assert_close(
        torch.tensor(eager.to_numpy()[:1]), torch.tensor(run.history().to_numpy())
    )


def test_auto_is_careful(monkeypatch):
    """On a CPU neither; on CUDA only where it pays; fp16 where bf16 is only emulated."""
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert devices.precision("auto", 4096, cpu) == torch.float32
    assert devices.precision("bf16", 16, cpu) == torch.bfloat16
    capability = (8, 0)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert devices.precision("auto", 64, cuda) == torch.float32
    assert devices.precision("auto", 512, cuda) == torch.bfloat16
    assert devices.precision("off", 512, cuda) == torch.float32
    capability = (7, 5)
    assert devices.precision("auto", 512, cuda) == torch.float16


def test_pytorchs_settings_are_left_as_they_were(run):
    torch.manual_seed(77)
    expected = torch.rand(3)
    torch.manual_seed(77)
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    handler = signal.getsignal(signal.SIGTERM)
    assert run("--epochs", 1) == 0
    assert run("--epochs", 1, "--learning_rate", 1e38) in (0, 1)
    assert torch.equal(torch.rand(3), expected)
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == before
    assert signal.getsignal(signal.SIGTERM) is handler


# --- batches --------------------------------------------------------------------------------------


def made_rows(count: int) -> device_rows.Rows:
    net = network.Network(network.Shape(columns=1))
    x = np.arange(count, dtype=np.float32)[:, None]
    return device_rows.Rows(net, x, np.arange(count) % 2, torch.device("cpu"))


@pytest.mark.parametrize(("count", "size"), [(10, 3), (10, 10), (10, 99), (7, 1), (130, 8)])
def test_every_row_is_seen_once_an_epoch_with_its_label(monkeypatch, count, size):
    monkeypatch.setattr(device_rows, "BLOCK_ROWS", 32)  # several blocks
    rows = made_rows(count)
    sizes = device_rows.batch_sizes(count, size)
    assert (sum(sizes), sizes[:-1]) == (count, [size] * (len(sizes) - 1))
    batches = list(rows.batches(rows.order(seed=3), sizes))
    assert [len(x) for x, _ in batches] == sizes
    indices = torch.cat([x for x, _ in batches])[:, 0]
    assert sorted(indices.tolist()) == list(range(count))
    assert torch.equal(torch.cat([y for _, y in batches]), indices % 2)
    assert count == 7 or indices.tolist() != sorted(indices.tolist())
    assert list(rows.batches(rows.order(seed=3)[count:], [])) == []


def test_each_epoch_has_an_order_of_its_own_that_follows_from_the_seed():
    rows = made_rows(50)
    assert torch.equal(rows.order(1), rows.order(1))
    assert not torch.equal(rows.order(1), rows.order(2))


def test_batches_do_not_depend_on_how_rows_are_gathered(monkeypatch):
    rows = made_rows(100)
    sizes = device_rows.batch_sizes(100, 8)
    expected = [x.tolist() for x, _ in rows.batches(rows.order(1), sizes)]
    monkeypatch.setattr(device_rows, "BLOCK_ROWS", 16)
    assert [x.tolist() for x, _ in rows.batches(rows.order(1), sizes)] == expected


def test_threads_are_as_many_as_a_step_pays_for(run):
    assert run("--epochs", 1) == 0
    assert "1 thread(s)" in run.stdout
    assert run("--epochs", 1, "--width", 512, "--batch_size", 569) == 0
    assert "2 thread(s)" in run.stdout


# --- preprocessing --------------------------------------------------------------------------------


def test_statistics_are_those_of_train_and_stand_in_the_model(run):
    assert run("--epochs", 1, "--validation", TEST) == 0
    x = titanic.features(titanic.read(TRAIN)).astype("float64")
    filled = x.fillna(x.median())
    prepare = model_fn(run.model).prepare
    assert prepare.fill.numpy() == pytest.approx(x.median().to_numpy(), rel=1e-6)
    assert prepare.mean.numpy() == pytest.approx(filled.mean().to_numpy(), rel=1e-6)
    assert prepare.deviation.numpy() == pytest.approx(filled.std(ddof=0).to_numpy(), rel=1e-6)
    recorded = run.parameters()["statistics"]
    assert list(recorded) == list(titanic.FEATURES)
    assert recorded["Age"]["fill"] == x["Age"].median()
    saved = torch.load(run.model / "model.pt", weights_only=True)
    assert saved["categories"] == {key: list(v) for key, v in titanic.CATEGORIES.items()}
    assert saved["features"] == list(titanic.FEATURES)


def test_prepare_by_hand():
    nan = float("nan")
    prepare = network.Prepare(3, optional=(1,))
    prepare.learn(torch.tensor([[1.0, 10.0, 5.0], [2.0, nan, 5.0], [3.0, 30.0, 5.0]]))
    # column 1: the median of an even number of values is the lower, as PyTorch has it
    made = prepare(torch.tensor([[2.0, nan, 5.0], [3.0, 10.0, 6.0]]))
    deviation = (2 / 3) ** 0.5
    spread = float(np.std([10.0, 10.0, 30.0]))
    expected = [
        [0.0, (10 - 50 / 3) / spread, 0.0, 1.0],
        [1 / deviation, (10 - 50 / 3) / spread, 1.0, 0.0],
    ]
    torch.testing.assert_close(made, torch.tensor(expected))


def test_columns_without_a_value_or_with_one_only_are_no_fault(run, tmp_path):
    frame = pd.read_csv(TRAIN)
    rows = frame.assign(Age=None, Fare=7.25, Embarked=None)
    assert run("--epochs", 2, train=write(tmp_path / "bare.csv", rows)) == 0
    assert np.isfinite(predict(model_fn(run.model), titanic.read(TEST))).all()


# --- checkpoints ----------------------------------------------------------------------------------

SHORT = ("--epochs", 6, "--early_stopping_epochs", 3, "--dropout", 0.3, "--learning_rate", 0.01)


def interrupted(monkeypatch, after: int, how) -> None:
    """Let ``how`` happen when so many steps are done, once."""
    real, done = train_torch.Training.step, [0]

    def step(self, *batch):
        real(self, *batch)
        done[0] += 1
        if done[0] == after:
            how()

    monkeypatch.setattr(train_torch.Training, "step", step)


def sigterm() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("steps", [1, 5, 9, 10, 31])  # 9 to an epoch
def test_stopped_and_gone_on_is_the_same_as_never_stopped(run, monkeypatch, steps):
    unbroken = run.fresh("unbroken")
    assert unbroken(*SHORT) == 0
    expected = unbroken.everything()
    with monkeypatch.context() as patch:
        interrupted(patch, steps, sigterm)
        assert run(*SHORT) == 0  # it ended by itself, in order
    assert f"stopped by SIGTERM in epoch {steps // 9 + 1}" in run.stdout
    assert run.parameters()["epochs"]["finished"] is False
    assert len(list(run.checkpoints.iterdir())) == 1
    stopped = model_fn(run.model)  # a model of what was done, too
    assert np.isfinite(predict(stopped, titanic.read(TEST))).all()
    assert run(*SHORT) == 0
    assert f"going on after {steps} steps" in run.stdout
    assert run.everything() == expected  # model, parameters, history; the checkpoint is gone
    assert metrics_in(run.stdout)["validation:auc"] == metrics_in(unbroken.stdout)["validation:auc"]


@pytest.mark.parametrize("steps", [5, 9, 20])
def test_killed_and_gone_on_is_the_same_as_never_killed(run, monkeypatch, steps):
    """Killed without a signal to note, it has what was saved last."""
    arguments = (*SHORT, "--checkpoint_seconds", 0)
    unbroken = run.fresh("unbroken")
    assert unbroken(*arguments) == 0

    class Killed(BaseException):
        pass

    def kill():
        raise Killed

    with monkeypatch.context() as patch:
        interrupted(patch, steps, kill)
        with pytest.raises(Killed):
            run(*arguments)
    # the best model so far, once an epoch is over (test_killed.py)
    assert bool(list(run.model.iterdir())) == (steps > 9)
    assert run(*arguments) == 0
    assert f"going on after {steps - 1} steps" in run.stdout
    assert run.everything() == unbroken.everything()


def test_killed_between_two_epochs_it_does_the_last_step_again(run, monkeypatch):
    unbroken = run.fresh("unbroken")
    assert unbroken(*SHORT) == 0

    class Killed(BaseException):
        pass

    def kill(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(train_torch.Training, "end_epoch", kill)
        with pytest.raises(Killed):
            run(*SHORT, "--checkpoint_seconds", 0)
    assert run(*SHORT) == 0
    assert "going on after 8 steps, in epoch 1" in run.stdout
    assert run.everything() == unbroken.everything()


def test_a_stop_after_the_best_epoch_keeps_the_best(run, monkeypatch):
    arguments = (
        "--epochs",
        40,
        "--early_stopping_epochs",
        6,
        "--learning_rate",
        0.05,
        "--dropout",
        0,
    )
    unbroken = run.fresh("unbroken")
    assert unbroken(*arguments) == 0
    epochs = unbroken.parameters()["epochs"]
    assert epochs["trained"] == epochs["kept"] + 6
    with monkeypatch.context() as patch:
        interrupted(patch, 9 * (epochs["kept"] + 3) + 4, sigterm)
        assert run(*arguments) == 0
    assert run.parameters()["epochs"]["kept"] == epochs["kept"]
    assert run(*arguments) == 0
    assert run.everything() == unbroken.everything()


def test_a_stop_in_bf16_goes_on_too(run, monkeypatch):
    arguments = (*SHORT, "--amp", "bf16")
    unbroken = run.fresh("unbroken")
    assert unbroken(*arguments) == 0
    with monkeypatch.context() as patch:
        interrupted(patch, 13, sigterm)
        assert run(*arguments) == 0
    assert run(*arguments) == 0
    assert run.everything() == unbroken.everything()


def test_more_epochs_go_on_and_another_run_starts_anew(run, monkeypatch, tmp_path):
    with monkeypatch.context() as patch:
        interrupted(patch, 12, sigterm)
        assert run(*SHORT) == 0
    (checkpoint,) = run.checkpoints.iterdir()
    saved = checkpoint.read_bytes()
    other_data = write(tmp_path / "other.csv", pd.read_csv(TRAIN)[1:])
    for arguments, train in (
        (("--learning_rate", 0.02), TRAIN),
        (("--seed", 2), TRAIN),
        (("--validation", TEST), TRAIN),
        ((), other_data),
    ):
        assert run(*SHORT, *arguments, train=train) == 0
        assert "going on" not in run.stdout
        assert "starting anew: the 1 checkpoint(s)" in run.stdout
        assert checkpoint.read_bytes() == saved  # nothing of another run is taken away
    assert run(*SHORT, "--epochs", 7, "--early_stopping_epochs", 0) == 0
    assert "going on after 12 steps" in run.stdout
    assert run.parameters()["epochs"]["trained"] == 7


def test_a_checkpoint_that_cannot_be_read_is_named_and_not_executed(run, monkeypatch):
    with monkeypatch.context() as patch:
        interrupted(patch, 3, sigterm)
        assert run(*SHORT) == 0
    (checkpoint,) = run.checkpoints.iterdir()
    content = checkpoint.read_bytes()
    for damaged in (content[:1000], b"", pickle.dumps(Payload())):
        checkpoint.write_bytes(damaged)
        assert run(*SHORT) == 1
        assert f"{checkpoint}: not a readable checkpoint; delete it" in run.stderr
        assert "it ran" not in run.stdout


class Payload:
    """What an attacker would put in a file that is unpickled."""

    def __reduce__(self):
        return (print, ("it ran",))


@pytest.mark.parametrize("as_torch", [True, False])
def test_nothing_in_a_model_file_is_executed(run, capsys, as_torch):
    assert run("--epochs", 1) == 0
    path = run.model / "model.pt"
    if as_torch:
        torch.save({"state": Payload()}, path)
    else:
        path.write_bytes(pickle.dumps(Payload()))
    with pytest.raises(titanic.DataError, match="cannot read this model"):
        model_fn(run.model)
    assert "it ran" not in capsys.readouterr().out


def test_a_model_of_other_features_is_refused(run):
    assert run("--epochs", 1) == 0
    path = run.model / "model.pt"
    saved = torch.load(path, weights_only=True)
    for name, value in (("features", ["PassengerId"]), ("categories", {"Sex": ["m", "f"]})):
        torch.save({**saved, name: value}, path)
        with pytest.raises(titanic.DataError, match=r"titanic\.py now makes .*; train again"):
            model_fn(run.model)
    torch.save({**saved, "shape": {**saved["shape"], "width": 3}}, path)
    with pytest.raises(titanic.DataError, match="cannot read this model"):
        model_fn(run.model)


def test_a_stop_before_the_first_step_leaves_nothing(run, monkeypatch):
    real = splits.load

    def load(*rest, **named):
        sigterm()
        return real(*rest, **named)

    monkeypatch.setattr(splits, "load", load)
    assert run(*SHORT) == 0
    assert "stopped before the first step" in run.stdout
    assert not run.files()


def test_a_real_sigterm_from_outside_is_noticed(run):
    """As SageMaker sends it: to a process, in the middle of a training that would take minutes."""
    arguments = run.arguments("--epochs", 100_000, "--early_stopping_epochs", 0)
    child = subprocess.Popen(
        [sys.executable, run.script.file, *arguments], stdout=subprocess.PIPE, text=True
    )
    try:
        for line in child.stdout:
            if line.startswith("epoch 3 "):
                break
        child.send_signal(signal.SIGTERM)
        printed, _ = child.communicate(timeout=100)
    finally:
        child.kill()
    assert child.returncode == 0
    assert "stopped by SIGTERM in epoch" in printed
    assert run.files() >= run.script.promised
    assert len(list(run.checkpoints.iterdir())) == 1


def test_sigterm_ends_a_thread_that_cannot_note_it_as_before():
    with StopSignal() as outer:
        inner = []

        def work():
            with StopSignal() as stop:
                inner.append(stop)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        sigterm()
        assert outer.requested
        assert not inner[0].requested


def test_every():
    assert [Every(0).due() for _ in range(3)] == [True] * 3
    soon = Every(0.05)
    assert not soon.due()
    time.sleep(0.06)
    assert soon.due()
    assert not soon.due()


def test_a_full_disk_keeps_the_checkpoint_before(tmp_path, monkeypatch):
    checkpoint = Checkpoint(tmp_path, {"seed": 1})
    checkpoint.save({"epoch": 1})
    with monkeypatch.context() as patch:
        patch.setattr(type(tmp_path), "replace", fails)
        with pytest.raises(UsageError, match="No space left"):
            checkpoint.save({"epoch": 2})
    assert checkpoint.load() == {"epoch": 1}
    assert len(list(tmp_path.iterdir())) == 1


def fails(*_):
    raise OSError(28, "No space left on device")
