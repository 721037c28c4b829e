"""The parts of the data that an entry point trains and validates on, and the record of a run.

    parts = load(args, titanic.features)        # {"train": Part(x, y), "validation": Part(x, y)}
    record({"eta": 0.1}, ...)                   # what is written beside the model

The same rows are held out for every framework, so that their metrics compare.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import titanic

if TYPE_CHECKING:  # pandas is imported where it is used: entry points answer --help at once
    import numpy as np
    import pandas as pd

PARAMETERS_FILE = "parameters.json"


class Part(NamedTuple):
    """One part of the passengers: what a model sees, and who survived (0 or 1, one per row)."""

    x: Any
    y: np.ndarray


def load(
    args: argparse.Namespace,
    see: Callable[[pd.DataFrame], Any],
    stage: Callable[[str], AbstractContextManager] = nullcontext,
) -> dict[str, Part]:
    """Read the channels; returns ``train`` and, where there is one, ``validation``.

    ``see`` makes of a checked frame what the model sees, one row per passenger, which a mask can
    choose from: an array or a frame. ``stage`` times what is "read" and what is "prepare" (see
    stages.Stages). Of ``args`` it takes train, validation, validation_fraction and seed. Raises
    titanic.DataError for data that cannot be trained on.
    """

    def part(path: str, name: str) -> Part:
        with stage("read"):
            frame = read(path, name)
        with stage("prepare"):  # the frame goes after it: at millions of rows hundreds of megabytes
            return Part(see(frame), titanic.labels(frame))

    x, y = part(args.train, "train")
    if y.min() == y.max():
        raise titanic.DataError(
            f"{args.train}: column {titanic.LABEL} is {y[0]} in every row; expected some 0, some 1"
        )
    if args.validation:
        return {"train": Part(x, y), "validation": part(args.validation, "validation")}
    if args.validation_fraction:
        with stage("prepare"):
            mask = titanic.hold_out(y, args.validation_fraction, args.seed)
            print(f"validation: {mask.sum():,} of these rows, held out (seed {args.seed})")
            return {"train": Part(x[~mask], y[~mask]), "validation": Part(x[mask], y[mask])}
    print("validation: none")
    return {"train": Part(x, y)}


def read(path: str, name: str) -> pd.DataFrame:
    """Read the columns that training needs, and say how much there was."""
    import pandas  # noqa: F401  here, so that the seconds below are those of reading

    start = time.perf_counter()
    files = titanic.data_files(path)
    frame = titanic.read(path, titanic.TRAINING_COLUMNS)
    seconds = time.perf_counter() - start
    names = ", ".join(file.name for file in files[:3]) + (", ..." if len(files) > 3 else "")
    print(f"{name}: {len(frame):,} rows from {names} in {seconds:.2f} s", flush=True)
    return frame


def record(
    hyperparameters: Mapping[str, Any],
    *,
    features: list[str],
    rows: Mapping[str, int],
    results: Mapping[str, Mapping[str, float]],
    packages: Iterable[ModuleType],
    **more: Any,
) -> dict[str, Any]:
    """What a model was made with, for ``parameters.json`` beside it.

    Nothing in it tells of the machine or the time, so the same run leaves the same bytes.
    ``results`` are ``metrics.evaluate``'s, a value that is not there (NaN) left out; ``packages``
    are the modules whose versions matter; ``more`` is put in as it is.
    """
    names = {"sklearn": "scikit-learn"}  # as one installs it
    return {
        "hyperparameters": dict(hyperparameters),
        "features": features,
        "rows": dict(rows),
        **more,
        "metrics": {
            part: {name: value for name, value in result.items() if value == value}
            for part, result in results.items()
        },
        "versions": {
            "python": platform.python_version(),
            **{names.get(one.__name__, one.__name__): str(one.__version__) for one in packages},
        },
    }


def recorded(model_dir: str | Path) -> dict[str, Any]:
    """Read what ``record`` made. Raises titanic.DataError if it is not there or not readable."""
    path = Path(model_dir, PARAMETERS_FILE)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise titanic.DataError(
            f"{path}: no such file; is this the folder a model was saved to?"
        ) from error
    except ValueError as error:
        raise titanic.DataError(f"{path}: not readable as JSON ({error})") from error
