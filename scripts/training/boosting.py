"""What train_xgboost.py does after every round and at the end, and how it reads a model back.

This imports xgboost, so import it late. XGBoost calls the methods of these classes by their names.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xgboost

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
        best = model.attr("best_iteration")
        rounds = model.num_boosted_rounds() if best is None else int(best) + 1
        for name, matrix in self._data.items():
            self.probabilities[name] = model.predict(matrix, iteration_range=(0, rounds))
        self._data.clear()
        return model


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
