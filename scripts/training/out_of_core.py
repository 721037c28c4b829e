"""Rows in files of this machine's disk instead of in memory: imports xgboost, so import it late.

    with tempfile.TemporaryDirectory() as folder:
        parts = out_of_core.load(args, group, stage, folder)
        matrix = xgboost.ExtMemQuantileDMatrix(parts["train"].x)        # reads a chunk at a time

For lists that are larger than memory: see ``--external_memory`` of train_xgboost.py.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xgboost

import splits
import titanic
from entry_point import UsageError
from hosts.group import Group


class StoredPart(NamedTuple):
    """Rows on disk, as XGBoost reads them, and in memory their labels, 0 or 1, int8 (rows,)."""

    x: Batches
    y: np.ndarray


def load(
    args: argparse.Namespace, group: Group, stage: splits.Stage, folder: str
) -> dict[str, StoredPart]:
    """Read the channels as ``splits.load`` does, a host's share of them, into files of a folder.

    Raises UsageError if this XGBoost cannot train on them, or if the disk is full.
    """
    if not hasattr(xgboost, "ExtMemQuantileDMatrix"):
        raise UsageError(
            f"argument --external_memory: needs XGBoost 3, and this is {xgboost.__version__}; "
            "choose a newer image, or more hosts"
        )
    selected = splits.select(args, group, stage, share=True, keep=Disk(folder))
    return {
        name: StoredPart(Batches(selection, cache=str(Path(folder, name))), selection.y)
        for name, selection in selected.items()
    }


class Disk:
    """Writes chunks into files of a folder, which it does not make and does not remove."""

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)
        self._count = 0

    def __call__(self, x: np.ndarray) -> StoredChunk:
        """Write one chunk. Raises UsageError where the disk is full or cannot be written to."""
        file = self._folder / f"{self._count:06}.npy"
        self._count += 1
        try:
            np.save(file, x, allow_pickle=False)
        except OSError as error:
            raise UsageError(
                f"{self._folder}: rows cannot be kept here ({error.strerror}); give more disk "
                "(volume_size), more hosts, or leave external_memory out"
            ) from error
        return StoredChunk(file, len(x))


class StoredChunk:
    """A chunk of rows in a file of its own, numpy's .npy."""

    def __init__(self, file: Path, rows: int) -> None:
        self.file, self._rows = file, rows

    def __len__(self) -> int:
        return self._rows

    def __getitem__(self, mask: np.ndarray, /) -> np.ndarray:
        """Read the rows that a mask selects."""
        rows: np.ndarray = np.load(self.file, allow_pickle=False)[mask]
        return rows


class Batches(xgboost.DataIter):
    """Gives XGBoost the selected rows, a chunk at a time, as often as it asks for them.

    ``cache`` is where XGBoost keeps its own files: a folder, and how their names begin.
    """

    def __init__(self, selection: splits.Selection, cache: str) -> None:
        self._selection = selection
        self.reset()
        super().__init__(cache_prefix=cache)

    def reset(self) -> None:
        self._index = self._start = 0

    def next(self, input_data: Callable[..., Any]) -> bool:
        if self._index == len(self._selection.chunks):
            return False
        chunk, mask = self._selection.chunks[self._index]
        x = chunk[mask]
        y = self._selection.y[self._start : self._start + len(x)]
        input_data(data=x, label=y, feature_names=list(titanic.FEATURES))
        self._index += 1
        self._start += len(x)
        return True
