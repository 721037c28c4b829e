"""The callbacks after each boosting round: the metric line, checkpoints, early stopping."""

from __future__ import annotations

import logging
import os
import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import xgboost as xgb
from xgboost.callback import EarlyStopping, EvaluationMonitor, TrainingCallback

from . import say
from .metrics import MAXIMIZED

MODEL = "xgboost-model"
CHECKPOINT = "xgboost-checkpoint"
UNFINISHED = ".sagemaker-ignore"  # SageMaker does not copy files with this suffix to S3
MOST_CHECKPOINTS = 5


@dataclass(frozen=True)
class Folders:
    """The folders of a job's files, and whether this host writes them."""

    model: Path
    checkpoints: Path | None
    master: bool


class MetricLines(EvaluationMonitor):
    """Prints `[ROUND]\\ttrain-METRIC:VALUE\\tvalidation-METRIC:VALUE` after each round."""

    def __init__(self, first_round: int) -> None:
        super().__init__(logger=lambda line: print(line, end="", flush=True))
        self._first = first_round

    def after_iteration(
        self, model: xgb.Booster, epoch: int, evals_log: TrainingCallback.EvalsLog
    ) -> bool:
        return super().after_iteration(model, self._first + epoch, evals_log)


class InOrder(TrainingCallback):
    """Several callbacks as one, each called after each round, in their order.

    XGBoost keeps callbacks in a set and skips the rest once one of them asks it to stop, so that
    the last round's metric line might or might not be printed.
    """

    def __init__(self, members: Sequence[TrainingCallback]) -> None:
        self._members = members

    def before_training(self, model: xgb.Booster) -> xgb.Booster:
        for member in self._members:
            model = member.before_training(model)
        return model

    def after_iteration(
        self, model: xgb.Booster, epoch: int, evals_log: TrainingCallback.EvalsLog
    ) -> bool:
        wishes = [member.after_iteration(model, epoch, evals_log) for member in self._members]
        return any(wishes)

    def after_training(self, model: xgb.Booster) -> xgb.Booster:
        for member in self._members:
            model = member.after_training(model)
        return model


class SavedEachRound(TrainingCallback):
    """Keeps the newest model in a file, replaced as a whole so that it is never half written."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        folder.mkdir(parents=True, exist_ok=True)

    def after_iteration(
        self, model: xgb.Booster, epoch: int, evals_log: TrainingCallback.EvalsLog
    ) -> bool:
        save(model, self._folder / self._name)
        return False


class Checkpoints(TrainingCallback):
    """Keeps the models of this run's last rounds as `xgboost-checkpoint.ROUND`."""

    def __init__(self, folder: Path, first_round: int, most: int = MOST_CHECKPOINTS) -> None:
        self._folder, self._first, self._most = folder, first_round, most
        folder.mkdir(parents=True, exist_ok=True)

    def after_iteration(
        self, model: xgb.Booster, epoch: int, evals_log: TrainingCallback.EvalsLog
    ) -> bool:
        number = self._first + epoch
        save(model, self._folder / f"{CHECKPOINT}.{number}")
        if epoch >= self._most:
            Path(self._folder, f"{CHECKPOINT}.{number - self._most}").unlink(missing_ok=True)
        return False


def save(model: xgb.Booster, path: Path) -> None:
    """Write `model` to `path` in XGBoost's binary JSON (UBJ)."""
    unfinished = path.with_name(f"{path.name}{UNFINISHED}")
    unfinished.write_bytes(model.save_raw("ubj"))
    unfinished.replace(path)


def last_checkpoint(folder: Path | None) -> tuple[Path | None, int]:
    """Return the newest checkpoint and the number of rounds behind it."""
    if folder is None or not folder.is_dir():
        return None, 0
    numbers = [
        int(match[1])
        for path in folder.iterdir()
        if (match := re.fullmatch(rf"{CHECKPOINT}\.(\d+)", path.name))
    ]
    if not numbers:
        return None, 0
    path = folder / f"{CHECKPOINT}.{max(numbers)}"
    logging.info(f"Checkpoint loaded from {path}")
    logging.info(f"Resuming from iteration {max(numbers) + 1}")
    return path, max(numbers) + 1


def make(
    folders: Folders,
    *,
    first_round: int,
    model_name: str = MODEL,
    early_stopping: EarlyStopping | None,
    save_on_termination: bool,
) -> list[TrainingCallback]:
    """Return the callbacks of one training, in the image's order."""
    callbacks: list[TrainingCallback] = [MetricLines(first_round)]
    if folders.checkpoints and folders.master:
        callbacks.append(Checkpoints(folders.checkpoints, first_round))
    if save_on_termination and folders.master:
        callbacks.append(SavedEachRound(folders.model, model_name))
        end_well_on_sigterm(folders.model)
    if early_stopping:
        callbacks.append(early_stopping)
    return callbacks


def early_stopping(
    rounds: int | None, names: Sequence[str], validated: bool, master: bool
) -> EarlyStopping | None:
    """Early stopping on the last of the job's metrics in the validation data.

    As in the image, the metric must be named and there must be a validation channel: without
    either, `early_stopping_rounds` has no effect.
    """
    if not rounds:
        return None
    if not validated or not names:
        say(
            "early_stopping_rounds has no effect on this job, as in the image: it needs a "
            "validation channel and an eval_metric."
        )
        return None
    return EarlyStopping(
        rounds=rounds,
        data_name="validation",
        metric_name=names[-1],
        maximize=names[-1] in MAXIMIZED,
        save_best=master,
    )


def end_well_on_sigterm(folder: Path) -> None:
    """When SageMaker stops the job, leave the newest complete model and nothing else."""

    def end(signal_number: int, frame: FrameType | None) -> None:
        for path in folder.iterdir():
            if path.is_file() and (path.suffix == UNFINISHED or not path.name.startswith(MODEL)):
                path.unlink()
        os._exit(0)

    signal.signal(signal.SIGTERM, end)
