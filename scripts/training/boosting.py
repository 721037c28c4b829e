"""What train_xgboost.py does after every round and at the end, and how it reads a model back.

This imports xgboost, so import it late. XGBoost calls the methods of these classes by their names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xgboost

import titanic
from best_so_far import BestSoFar
from metrics import print_round

if TYPE_CHECKING:
    import numpy as np


class InOrder(xgboost.callback.TrainingCallback):
    """Calls several callbacks in this order; XGBoost keeps them in a set, so calls them in any."""

    def __init__(self, *callbacks: xgboost.callback.TrainingCallback) -> None:
        super().__init__()
        self._callbacks = callbacks

    def before_training(self, model: xgboost.Booster) -> xgboost.Booster:
        """Let each of them change the model, or return another one."""
        for callback in self._callbacks:
            model = callback.before_training(model)
        return model

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        """Call all of them, and return whether one of them stops the training."""
        stops = [one.after_iteration(model, epoch, evals_log) for one in self._callbacks]
        return any(stops)

    def after_training(self, model: xgboost.Booster) -> xgboost.Booster:
        """Let each of them change the model, or return another one."""
        for callback in self._callbacks:
            model = callback.after_training(model)
        return model


class Progress(xgboost.callback.TrainingCallback):
    """Print the losses after the first round and then every so many."""

    def __init__(self, every: int) -> None:
        super().__init__()
        self._every = every

    def after_iteration(self, model: Any, epoch: int, evals_log: Mapping[str, Any]) -> bool:
        """Print if it is time; returns False, which is for XGBoost: do not stop."""
        if epoch == 0 or (epoch + 1) % self._every == 0:
            losses = {part: {"logloss": log["logloss"][-1]} for part, log in evals_log.items()}
            print_round(epoch + 1, losses)
        return False


def early_stopping(rounds: int) -> xgboost.callback.TrainingCallback:
    """Return what stops when the validation loss has not fallen for so many rounds, and keeps the
    rounds up to the best."""
    return xgboost.callback.EarlyStopping(
        rounds=rounds, data_name="validation", metric_name="logloss", save_best=True
    )


class KeepBest(xgboost.callback.TrainingCallback):
    """Save the rounds up to the best while the training runs; it comes after early stopping.

    Without early stopping the best round is the last, as it is at the end.
    """

    def __init__(
        self, save: Callable[[bytes, dict[str, dict[str, float]], dict[str, int]], None]
    ) -> None:
        """``save`` gets the model, the losses of its last round by part, and the rounds."""
        super().__init__()
        self._save = save
        self._best = BestSoFar()

    def after_iteration(self, model: Any, epoch: int, evals_log: Mapping[str, Any]) -> bool:
        """Save the model if there is a better one; returns False: do not stop."""
        rounds = best_rounds(model)

        def write() -> None:
            losses = {name: log["logloss"][rounds - 1] for name, log in evals_log.items()}
            results = {name: {"logloss": loss} for name, loss in losses.items()}
            self._save(to_bytes(model[:rounds]), results, {"trained": epoch + 1, "kept": rounds})

        self._best.offer(rounds, write)
        return False


class Predictions(xgboost.callback.TrainingCallback):
    """Predict at the end of the training, from the sums of leaves that XGBoost has for every row.

    Later it would go through all trees again. It comes before early stopping, which cuts the model.

    Attributes:
        probabilities: Of every part the probability of each row, when the training has ended.
    """

    def __init__(self, data: Mapping[str, xgboost.DMatrix]) -> None:
        super().__init__()
        self._data = dict(data)
        self.probabilities: dict[str, np.ndarray] = {}

    def after_training(self, model: xgboost.Booster) -> xgboost.Booster:
        """Predict with the rounds that early stopping keeps, and let the data go."""
        rounds = best_rounds(model)
        for name, matrix in self._data.items():
            self.probabilities[name] = model.predict(matrix, iteration_range=(0, rounds))
        self._data.clear()
        return model


def best_rounds(model: xgboost.Booster) -> int:
    """Return how many rounds early stopping would keep now; all of them where there is none."""
    best = model.attr("best_iteration")
    return int(model.num_boosted_rounds()) if best is None else int(best) + 1


def to_bytes(model: xgboost.Booster) -> bytes:
    """Return the model's file, without the notes of early stopping.

    These differ between versions of XGBoost; the number of rounds says the same.
    """
    model.set_attr(**dict.fromkeys(model.attributes()))
    return bytes(model.save_raw(raw_format="ubj"))


def load(path: Path) -> xgboost.Booster:
    """Load a model from its file, JSON or UBJ.

    Raises xgboost.core.XGBoostError if it cannot be read, or is not whole.
    """
    data = path.read_bytes()
    if data[:1] + data[-1:] != b"{}":  # XGBoost 3.2 reads on behind a file that was cut off
        raise xgboost.core.XGBoostError("the file is not whole")
    booster = xgboost.Booster()
    booster.load_model(bytearray(data))
    return booster


def load_ours(path: Path) -> xgboost.Booster:
    """Load a model that was trained on the features that titanic.py makes now.

    Raises titanic.DataError if it cannot be read, or was trained on others.
    """
    try:
        booster = load(path)
    except xgboost.core.XGBoostError as error:
        raise titanic.DataError(
            f"{path}: XGBoost {xgboost.__version__} cannot read this model; it may be damaged, or "
            "from a newer version (parameters.json beside it says which)"
        ) from error
    if tuple(booster.feature_names or ()) != titanic.FEATURES:
        raise titanic.DataError(
            f"{path}: trained on the features {booster.feature_names}, but titanic.py now makes "
            f"{list(titanic.FEATURES)}; train again"
        )
    return booster
