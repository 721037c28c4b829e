"""Evaluation metrics: XGBoost's own, and those that the image adds to them.

The image computes its own ones with scikit-learn; here they are numpy, because this code must not
need more than XGBoost does. The tests compare the two.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import xgboost as xgb

# In the image's order, which its messages show.
MAXIMIZED = (
    *("accuracy", "auc", "aucpr", "balanced_accuracy", "f1", "f1_binary", "f1_macro", "map"),
    *("ndcg", "precision", "r2", "recall", "precision_macro", "precision_micro"),
    *("recall_macro", "recall_micro"),
)
MINIMIZED = (
    *("aft-nloglik", "cox-nloglik", "error", "gamma-deviance", "gamma-nloglik"),
    *("interval-regression-accuracy", "logloss", "mae", "mape", "merror", "mlogloss", "mphe"),
    *("mse", "poisson-nloglik", "rmse", "rmsle", "tweedie-nloglik"),
)
NOT_BINARY = (
    "Target is multiclass but average='binary'. Please choose another average setting, one of "
    "[None, 'micro', 'macro', 'weighted']."
)
Metric = Callable[[np.ndarray, np.ndarray], float]
CustomMetric = Callable[[np.ndarray, xgb.DMatrix], list[tuple[str, float]]]


class Confusion:
    """Counts per class of true labels and predicted ones, each an array of shape (rows,)."""

    def __init__(self, labels: np.ndarray, predicted: np.ndarray) -> None:
        self.classes = np.union1d(labels, predicted)
        self.hit = self._count(labels[labels == predicted])
        self.actual = self._count(labels)
        self.predicted = self._count(predicted)

    def _count(self, values: np.ndarray) -> np.ndarray:
        return np.array([(values == one).sum() for one in self.classes], dtype=float)

    def recall(self) -> np.ndarray:
        return ratio(self.hit, self.actual)

    def precision(self) -> np.ndarray:
        return ratio(self.hit, self.predicted)

    def f1(self) -> np.ndarray:
        return ratio(2 * self.hit, self.actual + self.predicted)

    def positive(self, scores: np.ndarray) -> float:
        """Return the score of class 1.

        Raises:
            ValueError: There are more than two classes.
        """
        if len(self.classes) > 2:
            raise ValueError(NOT_BINARY)
        return float(scores[self.classes == 1].sum())


def ratio(part: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Return `part / total`, and 0 where `total` is 0."""
    quotient: np.ndarray = np.divide(part, total, out=np.zeros_like(part), where=total != 0)
    return quotient


def accuracy(labels: np.ndarray, predicted: np.ndarray) -> float:
    return float((labels == predicted).mean())


def balanced_accuracy(labels: np.ndarray, predicted: np.ndarray) -> float:
    counts = Confusion(labels, predicted)
    return float(counts.recall()[counts.actual > 0].mean())


def f1_macro(labels: np.ndarray, predicted: np.ndarray) -> float:
    return float(Confusion(labels, predicted).f1().mean())


def f1_binary(labels: np.ndarray, predicted: np.ndarray) -> float:
    counts = Confusion(labels, predicted)
    return counts.positive(counts.f1())


def precision(labels: np.ndarray, predicted: np.ndarray) -> float:
    counts = Confusion(labels, predicted)
    return counts.positive(counts.precision())


def precision_macro(labels: np.ndarray, predicted: np.ndarray) -> float:
    return float(Confusion(labels, predicted).precision().mean())


def recall(labels: np.ndarray, predicted: np.ndarray) -> float:
    counts = Confusion(labels, predicted)
    return counts.positive(counts.recall())


def recall_macro(labels: np.ndarray, predicted: np.ndarray) -> float:
    return float(Confusion(labels, predicted).recall().mean())


def mae(labels: np.ndarray, values: np.ndarray) -> float:
    return float(np.abs(labels - values).mean())


def mse(labels: np.ndarray, values: np.ndarray) -> float:
    return float(((labels - values) ** 2).mean())


def rmse(labels: np.ndarray, values: np.ndarray) -> float:
    return float(mse(labels, values) ** 0.5)


def r2(labels: np.ndarray, values: np.ndarray) -> float:
    return 1 - mse(labels, values) / float(labels.var())


OF_CLASSES: dict[str, Metric] = {
    "accuracy": accuracy,
    "balanced_accuracy": balanced_accuracy,
    "f1": f1_macro,
    "f1_binary": f1_binary,
    "f1_macro": f1_macro,
    "precision": precision,
    "precision_macro": precision_macro,
    "precision_micro": accuracy,  # over all classes together, every miss is one of each kind
    "recall": recall,
    "recall_macro": recall_macro,
    "recall_micro": accuracy,
}
OF_VALUES: dict[str, Metric] = {"mae": mae, "mse": mse, "r2": r2, "rmse": rmse}


def classes(predictions: np.ndarray, objective: str | None) -> np.ndarray:
    """Return the predicted class of each row, shape (rows,).

    `predictions` are what `Booster.predict` gives: shape (rows,), or (rows, classes).
    """
    if predictions.ndim > 1:
        likeliest: np.ndarray = predictions.argmax(axis=-1)
        return likeliest
    if objective == "multi:softmax":
        return predictions
    middle = 0.5 if objective in ("binary:logistic", "reg:logistic") else 0.0
    return (predictions > middle).astype(int)


def custom_metric(names: Sequence[str], objective: str | None) -> CustomMetric | None:
    """Return what `xgboost.train` calls after each round for the metrics among `names` that are
    ours."""
    if not names:
        return None

    def evaluate(predictions: np.ndarray, data: xgb.DMatrix) -> list[tuple[str, float]]:
        labels = data.get_label().astype(float)
        if not labels.size:
            return [(name, 0.0) for name in names]
        predicted = classes(predictions, objective)
        return [
            (name, OF_CLASSES[name](labels, predicted))
            if name in OF_CLASSES
            else (name, OF_VALUES[name](labels, predictions.astype(float)))
            for name in names
        ]

    return evaluate


def split(
    eval_metric: Sequence[str] | None, tuning_metric: str | None
) -> tuple[list[str], list[str]]:
    """Return the metrics of a job: those that XGBoost computes, and those that are ours.

    Args:
        eval_metric: As the job names them.
        tuning_metric: `validation:NAME`, from a tuning job.
    """
    names = list(eval_metric or [])
    if tuning_metric:
        # Sorted, because all hosts of a job must agree.
        names = sorted({*names, tuning_metric.split(":")[1]})
    ours = [name for name in names if name in OF_CLASSES or name in OF_VALUES]
    return [name for name in names if name not in ours], ours
