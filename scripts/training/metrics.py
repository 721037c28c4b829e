"""How good predictions are, and how a job reports it: the same for every framework and notebook.

    result = metrics.evaluate(y, probabilities)      # accuracy, log loss, AUC
    metrics.report("validation", result)             # validation:accuracy=0.804;

SageMaker knows a metric only from the text a job prints. Pass ``METRIC_DEFINITIONS`` to an
Estimator, and it draws what ``report`` prints. It looks in the logs of all hosts, so the first host
alone reports, or each value would be there many times. The XGBoost image is the exception:
SageMaker gives its jobs metric definitions of its own, which match what ``print_round`` prints, and
refuses any other ("You can't override the metric definitions for Amazon SageMaker algorithms").
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

PARTS = ("train", "validation")
NAMES = ("accuracy", "logloss", "auc")
_CHUNK = 100_000

# What `print_metric` prints and what SageMaker looks for belong together: change both or neither.
# The number is spelled out, because `(.*)` would capture whatever else is on the line.
_NUMBER = r"([0-9]+(?:\.[0-9]+)?(?:e[-+]?[0-9]+)?)"
METRIC_DEFINITIONS = [
    {"Name": f"{part}:{name}", "Regex": f"{part}:{name}={_NUMBER};"}
    for part in PARTS
    for name in NAMES
]


def print_metric(name: str, value: float, prefix: str = "") -> None:
    """Print one metric on a line of its own, ``name=value;``; nothing for NaN or infinity."""
    if math.isfinite(value):
        print(f"{prefix}{name}={value:.6g};", flush=True)


def report(part: str, values: Mapping[str, float], prefix: str = "") -> None:
    """Print the metrics of one part of the data, ``train`` or ``validation``."""
    for name, value in values.items():
        print_metric(f"{part}:{name}", value, prefix)


def print_round(number: int, results: Mapping[str, Mapping[str, float]]) -> None:
    """Print a round's metrics as XGBoost itself does, ``[9]<tab>train-logloss:0.4<tab>...``."""
    columns = (
        f"\t{part}-{name}:{value:.6g}"
        for part, values in results.items()
        for name, value in values.items()
        if math.isfinite(value)
    )
    print(f"[{number}]{''.join(columns)}", flush=True)


def evaluate(y: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Compare labels (0 or 1) with predicted probabilities of 1; both of shape (rows,).

    Returns ``accuracy`` (share correct at the threshold 0.5), ``logloss`` (mean negative log
    likelihood, in nats) and ``auc`` (area under the ROC curve: the probability that a random
    survivor is ranked above a random victim, ties counted half; NaN where all labels are alike).

    Raises ValueError if the shapes differ, there is no row, or a value is no probability.
    """
    import numpy as np

    y, p = np.asarray(y) == 1, np.asarray(probabilities)
    if y.shape != p.shape or y.ndim != 1 or not len(y):
        raise ValueError(f"expected as many labels as probabilities, got {y.shape} and {p.shape}")
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError("expected probabilities from 0 to 1")
    correct, loss = 0, 0.0
    for start in range(0, len(y), _CHUNK):  # of millions of rows, memory holds no float64
        label = y[start : start + _CHUNK]
        survival = p[start : start + _CHUNK].astype(np.float64)
        correct += int(((survival >= 0.5) == label).sum())
        likelihood = np.where(label, survival, 1 - survival)
        loss -= float(np.log(np.clip(likelihood, 1e-15, None)).sum())
    return {"accuracy": correct / len(y), "logloss": loss / len(y), "auc": _auc(y, p)}


def _auc(y: np.ndarray, p: np.ndarray) -> float:
    """Return the area under the ROC curve: of all pairs of a survivor and a victim, the share that
    is in order, where a tie counts half (Mann and Whitney 1947).
    """
    import numpy as np

    above, below = p[y], np.sort(p[~y])
    if not len(above) or not len(below):
        return float("nan")
    twice = 0
    for start in range(0, len(above), _CHUNK):
        chunk = above[start : start + _CHUNK]
        twice += int(np.searchsorted(below, chunk, "left").sum())
        twice += int(np.searchsorted(below, chunk, "right").sum())
    return twice / (2 * len(above) * len(below))
