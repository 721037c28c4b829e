"""An entry point that is killed without any signal leaves the best model that it had."""

from __future__ import annotations

import re
import subprocess
import sys
import time

import pytest

import best_so_far
import boosting
import titanic
import train_torch
from best_so_far import BestSoFar
from metrics import evaluate
from tests.support.entry_points import SCRIPTS, TRAIN, Run, metrics_in

pytestmark = pytest.mark.usefixtures("no_job")

ENDLESS = {
    "train_xgboost": ("--num_round", 100_000, "--early_stopping_rounds", 100_000, "--log_every", 1),
    "train_torch": ("--epochs", 100_000, "--early_stopping_epochs", 0),
}
COUNTED = {"train_xgboost": "rounds", "train_torch": "epochs"}
both = pytest.mark.parametrize("name", ENDLESS)


def new_run(name: str, folder, capsys) -> Run:
    return Run(SCRIPTS[name], folder, capsys)


def counts(run: Run) -> dict:
    return run.parameters()[COUNTED[run.script.name]]


def validation_losses(name: str, printed: str) -> list[float]:
    """Return the loss after every round or epoch, in order."""
    if name == "train_torch":
        return metrics_in(printed)["validation:logloss"]
    return [float(loss) for loss in re.findall(r"\tvalidation-logloss:([0-9.e-]+)", printed)]


@both
def test_killed_in_the_middle_it_leaves_its_best_model_so_far(name, tmp_path, capsys):
    run = new_run(name, tmp_path / "run", capsys)
    log = tmp_path / "log"
    with log.open("w") as file:
        command = [sys.executable, run.script.file, *run.arguments(*ENDLESS[name])]
        child = subprocess.Popen(command, stdout=file)
    try:
        deadline = time.monotonic() + 100
        while not (run.model / "parameters.json").exists() or counts(run)["kept"] < 5:
            assert child.poll() is None, "it ended by itself"
            assert time.monotonic() < deadline, "no model of five rounds within 100 s"
            time.sleep(0.01)
    finally:
        child.kill()  # SIGKILL: no program can note it
    assert child.wait() == -9
    left = {path.name for path in run.model.iterdir() if not path.name.startswith(".")}
    assert left == run.script.promised
    number = counts(run)
    assert number["finished"] is False
    losses = validation_losses(name, log.read_text())[: number["trained"]]
    best = min(losses)
    assert losses.index(best) + 1 == number["kept"]
    noted = run.parameters()["metrics"]
    assert noted["validation"]["logloss"] == pytest.approx(best, rel=1e-5)
    assert set(noted) == {"train", "validation"}
    passengers = titanic.read(TRAIN)
    y = titanic.labels(passengers)
    held_out = titanic.hold_out(y, 0.2, 1)
    p = run.script.module.predict(run.script.module.model_fn(run.model), passengers[held_out])
    assert evaluate(y[held_out], p)["logloss"] == pytest.approx(best, rel=1e-5)


class Killed(BaseException):
    """What nothing catches."""


def kill_after(monkeypatch, name: str, number: int) -> None:
    """Let a run end so abruptly after so many rounds or epochs, once these are saved."""
    owner, method = {
        "train_xgboost": (boosting.KeepBest, "after_iteration"),
        "train_torch": (train_torch.Training, "keep_best"),
    }[name]
    real = getattr(owner, method)
    calls = [0 if name == "train_xgboost" else -1]  # train_torch also calls it before the first

    def counted(self, *arguments):
        result = real(self, *arguments)
        calls[0] += 1
        if calls[0] == number:
            raise Killed
        return result

    monkeypatch.setattr(owner, method, counted)


@both
@pytest.mark.parametrize("number", [1, 3, 60])
def test_what_it_leaves_is_the_model_of_a_training_up_to_there(
    name, number, tmp_path, capsys, monkeypatch
):
    run = new_run(name, tmp_path / "killed", capsys)
    slow_or_fast = ("--eta", 0.5) if name == "train_xgboost" else ("--learning_rate", 0.03)
    with monkeypatch.context() as patch:
        patch.setattr(best_so_far, "SHARE", float("inf"))  # save every one
        kill_after(patch, name, number)
        with pytest.raises(Killed):
            run(*ENDLESS[name], *slow_or_fast)
    losses = validation_losses(name, capsys.readouterr().out)
    best = counts(run)["kept"]
    assert len(losses) == number
    assert best == losses.index(min(losses)) + 1
    assert number < 60 or best < 60, "so that the best is not the last"
    finished = new_run(name, tmp_path / "finished", capsys)
    counter = ENDLESS[name][0]
    assert finished(*ENDLESS[name], *slow_or_fast, counter, best) == 0
    assert run.bytes() == finished.bytes()


def test_without_validation_the_last_round_is_the_best(tmp_path, capsys, monkeypatch):
    for name in ENDLESS:
        run = new_run(name, tmp_path / name, capsys)
        with monkeypatch.context() as patch:
            patch.setattr(best_so_far, "SHARE", float("inf"))
            kill_after(patch, name, 7)
            with pytest.raises(Killed):
                run(*ENDLESS[name], "--validation_fraction", 0)
        assert counts(run) == {"trained": 7, "kept": 7, "finished": False}


def test_going_on_on_another_machine_the_best_model_is_there_at_once(tmp_path, capsys, monkeypatch):
    """SageMaker restores the checkpoints there, and not the model folder."""
    arguments = (*ENDLESS["train_torch"], "--checkpoint_seconds", 0)
    monkeypatch.setattr(best_so_far, "SHARE", float("inf"))
    for epochs in (2, 3):
        run = new_run("train_torch", tmp_path / str(epochs), capsys)
        with monkeypatch.context() as patch:
            kill_after(patch, "train_torch", epochs)
            with pytest.raises(Killed):
                run(*arguments)
    best = train_torch.model_fn(tmp_path / "2" / "model").state_dict()
    for path in run.model.iterdir():
        path.unlink()
    with monkeypatch.context() as patch:
        kill_after(patch, "train_torch", 0)  # its first call, before anything is trained
        with pytest.raises(Killed):
            run(*arguments)
    assert counts(run)["kept"] == 2  # the last checkpoint is of the last batch of epoch 3
    for name, weights in train_torch.model_fn(run.model).state_dict().items():
        assert weights.equal(best[name]), "not the weights with which it goes on"


def test_a_dry_run_keeps_nothing(tmp_path, capsys):
    for name in ENDLESS:
        run = new_run(name, tmp_path / name, capsys)
        assert run("--dry_run") == 0
        assert not run.files()


def test_saving_takes_a_small_share_of_the_time(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(best_so_far.time, "monotonic", lambda: clock[0])
    saved = []

    def offer(number: int) -> None:
        def write() -> None:
            clock[0] += 0.5  # what it takes
            saved.append((number, clock[0]))

        best.offer(number, write)

    best = BestSoFar()
    offer(0)
    assert saved == []  # there is none yet
    for number in range(1, 200):
        clock[0] += 1
        offer(number)
    assert [number for number, _ in saved[:2]] == [1, 2]  # the first two at once
    share = 0.5 * (len(saved) - 2) / (saved[-1][1] - saved[1][1])
    assert 0 < share <= best_so_far.SHARE
    last = saved[-1][0]
    clock[0] += 1000
    offer(last)
    assert saved[-1][0] == last  # which is saved already
    offer(199)
    offer(199)
    assert [number for number, _ in saved].count(199) == 1  # what was too early is not lost
