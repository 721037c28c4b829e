"""The record of a run: what a model was made with, in ``parameters.json`` beside it."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, cast

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


def recorded(model_dir: str | Path) -> dict[str, Any]:
    """Read what ``record`` made. Raises titanic.DataError if it is not there or not readable."""
    path = Path(model_dir, PARAMETERS_FILE)
    try:
        return cast("dict[str, Any]", json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise titanic.DataError(
            f"{path}: no such file; is this the folder a model was saved to?"
        ) from error
    except ValueError as error:
        raise titanic.DataError(f"{path}: not readable as JSON ({error})") from error
