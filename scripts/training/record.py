"""What a run leaves: the model, the record of what it was made with, and the learning curve."""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import entry_point
import titanic

PARAMETERS_FILE = "parameters.json"


def record(
    hyperparameters: Mapping[str, Any],
    *,
    features: Sequence[str],
    rows: Mapping[str, int],
    results: Mapping[str, Mapping[str, float]],
    packages: Iterable[ModuleType],
    **more: Any,
) -> dict[str, Any]:
    """Return what a model was made with, for ``parameters.json`` beside it.

    It holds nothing about the machine or the time, so the same run leaves the same bytes.
    ``results`` are ``metrics.evaluate``'s, without values that are NaN; ``packages`` are the
    modules whose versions matter; ``more`` is put in as it is.
    """
    names = {"sklearn": "scikit-learn"}  # as one installs it
    return {
        "hyperparameters": dict(hyperparameters),
        "features": list(features),
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


def learning_curve(losses: Mapping[str, Sequence[float]], index: str) -> bytes:
    """Return the log losses of each part as CSV, one row for every round or epoch from 1.

    ``index`` names the first column.
    """
    import pandas as pd

    table = pd.DataFrame({f"{part}:logloss": values for part, values in losses.items()})
    table.index = pd.RangeIndex(1, len(table) + 1, name=index)
    text: str = table.to_csv()
    return text.encode()


def save_run(
    args: argparse.Namespace,
    output: Mapping[str, bytes],
    parameters: Mapping[str, Any],
    model: Mapping[str, bytes],
) -> None:
    """Write the output, then the model with its parameters: files by name, and their contents.

    Of ``args`` it takes output_data_dir and model_dir. Raises UsageError if it cannot write.
    """
    entry_point.save(args.output_data_dir, output)
    save_model(args, parameters, model)
    for name in model:
        print(f"saved {Path(args.model_dir, name)}")


def save_model(
    args: argparse.Namespace, parameters: Mapping[str, Any], model: Mapping[str, bytes]
) -> None:
    """Write the model with its parameters, in place of the one before. Raises UsageError.

    The model comes first: who finds the parameters finds what they describe.
    """
    record_ = {PARAMETERS_FILE: entry_point.as_json(parameters)}
    entry_point.save(args.model_dir, {**model, **record_})


def saved_file(model_dir: str | Path, name: str) -> Path:
    """Return the path of a file that ``save_run`` wrote. Raises titanic.DataError if it is not."""
    path = Path(model_dir, name)
    if not path.is_file():
        raise titanic.DataError(f"{path}: no such file; is this the folder a model was saved to?")
    return path


def recorded(model_dir: str | Path) -> dict[str, Any]:
    """Read what ``record`` made. Raises titanic.DataError if it is not there or not readable."""
    path = saved_file(model_dir, PARAMETERS_FILE)
    try:
        return cast("dict[str, Any]", json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise titanic.DataError(f"{path}: not readable as JSON ({error})") from error
