"""`_kfold`: repeated cross-validation inside one job, with a model and predictions of each fold."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

PREDICTIONS = "predictions.csv"
EvalsResult = dict[str, dict[str, list[float]]]


def folds(
    rows: int, count: int, repeats: int, strata: np.ndarray | None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield row numbers to train on and to validate on, `count` times `repeats`.

    The rows are shuffled for each repeat. With `strata` (shape (rows,)) each fold gets its share of
    each of their values.
    """
    shuffle = np.random.default_rng()  # as in the image: no seed
    for _ in range(repeats):
        order = shuffle.permutation(rows)
        if strata is not None:
            order = order[np.argsort(strata[order], kind="stable")]
        fold_of = np.empty(rows, dtype=int)
        fold_of[order] = np.arange(rows) % count
        for fold in range(count):
            yield np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)


class Predictions:
    """What the folds' models say of the rows that they have not seen."""

    def __init__(self, labels: np.ndarray, classification: bool) -> None:
        self._labels, self._classification = labels, classification
        self._values: list[list[float]] = [[] for _ in labels]
        self._classes: list[list[int]] = [[] for _ in labels]

    def record(self, rows: np.ndarray, predictions: np.ndarray) -> None:
        """Add predictions of shape (len(rows),), or (len(rows), classes)."""
        if predictions.ndim > 1:
            labels, values = predictions.argmax(axis=1), predictions.max(axis=1)
        else:
            labels, values = predictions > 0.5, predictions
        for row, label, value in zip(rows, labels, values, strict=True):
            self._values[row].append(float(value))
            self._classes[row].append(int(label))

    def save(self, folder: Path) -> None:
        """Write label, mean prediction and, for classes, the most frequent one of each row."""
        path = folder / PREDICTIONS
        logging.info(f"Storing predictions on validation set(s) in {path}")
        columns = [self._labels, np.array([np.mean(values) for values in self._values])]
        if self._classification:
            columns.append(np.array([np.bincount(votes).argmax() for votes in self._classes]))
        folder.mkdir(parents=True, exist_ok=True)
        np.savetxt(path, np.column_stack(columns), delimiter=",", fmt="%f")


def report(rounds: int, results: Sequence[EvalsResult]) -> str:
    """Return a metric line with the means of the folds' last values."""
    line = f"[{rounds}]"
    for metric in results[0]["train"]:
        for data in ("train", "validation"):
            mean = np.mean([result[data][metric][-1] for result in results])
            line += f"\t{data}-{metric}:{mean:.5f}"
    return line
