"""The parts of the data that an entry point trains and validates on, and the record of a run.

    parts = load(args, titanic.features)        # {"train": Part(x, y), "validation": Part(x, y)}
    record({"eta": 0.1}, ...)                   # what is written beside the model

The same rows are held out for every framework, so that their metrics compare.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import on_disk
import titanic
from group import Group

if TYPE_CHECKING:  # pandas is imported where it is used: entry points answer --help at once
    import numpy as np
    import pandas as pd

ALONE = Group()
PARAMETERS_FILE = "parameters.json"


class Part(NamedTuple):
    """One part of the passengers: what a model sees, and who survived (0 or 1, one per row)."""

    x: Any
    y: np.ndarray


def load(
    args: argparse.Namespace,
    see: Callable[[pd.DataFrame], Any],
    stage: Callable[[str], AbstractContextManager] = nullcontext,
    group: Group = ALONE,
) -> dict[str, Part]:
    """Read the channels; returns ``train`` and, where there is one, ``validation``.

    ``see`` makes of a checked frame what the model sees, one row per passenger, which a mask can
    choose from: an array, a frame, or a block of on_disk.Shelf; it gets the passengers in chunks.
    ``stage`` times what is "read" and what is "prepare" (see stages.Stages). Of ``args`` it takes
    train, validation, validation_fraction and seed.

    On several hosts every member of ``group`` calls it, and gets all rows of a replicated channel,
    of one that is ``sharded`` its own. What is held out is then chosen from the rows of all, and
    is what one host would hold out of the same files.

    Raises titanic.DataError for data that cannot be trained on.
    """
    import numpy as np

    blocks, labels, rows = read(args.train, "train", see, stage)
    with stage("prepare"):
        among = group if sharded("train") else ALONE  # of a replicated channel each has all
        its = places(among.gather(rows))
        y = whole(labels, its, among)
    if y.min() == y.max():
        raise titanic.DataError(
            f"{args.train}: column {titanic.LABEL} is {y[0]} in every row; expected some 0, some 1"
        )
    if args.validation:
        given, given_labels, _ = read(args.validation, "validation", see, stage)
        with stage("prepare"):
            return {
                "train": Part(take(blocks), labels),
                "validation": Part(take(given), given_labels),
            }
    if args.validation_fraction:
        with stage("prepare"):
            mask = titanic.hold_out(y, args.validation_fraction, args.seed)
            print(f"validation: {mask.sum():,} of these rows, held out (seed {args.seed})")
            out = np.concatenate([mask[place] for place in its[among.rank]])
            held_out = Part(take(blocks, out, again=True), labels[out])
            return {"train": Part(take(blocks, ~out), labels[~out]), "validation": held_out}
    print("validation: none")
    return {"train": Part(take(blocks), labels)}


def channel_of(part: str, args: argparse.Namespace) -> str:
    """The channel that brought a part: what is held out for validation is a part of ``train``."""
    return "train" if part == "validation" and not args.validation else part


def sharded(channel: str) -> bool:
    """Whether SageMaker gave each host a part of this channel's objects, and not all of them."""
    given = json.loads(os.environ.get("SM_INPUT_DATA_CONFIG") or "{}")
    if channel == "train" and "train" not in given:
        channel = "training"  # as `fit("s3://...")` names it
    return given.get(channel, {}).get("S3DistributionType") == "ShardedByS3Key"


def read(
    path: str,
    name: str,
    see: Callable[[pd.DataFrame], Any],
    stage: Callable[[str], AbstractContextManager] = nullcontext,
) -> tuple[list[Any], np.ndarray, np.ndarray]:
    """Read what training needs, and say how much there was.

    A chunk's frame, 64 bytes a row, goes when the model's view of it is made. Returns these views,
    all labels (int8, one per row), and the rows of each file (int64). Raises titanic.DataError.
    """
    import numpy as np
    import pandas  # noqa: F401  here, so that the seconds below are those of reading

    start = time.perf_counter()
    files = titanic.data_files(path)
    blocks, labels, rows = [], [], np.zeros(len(files), dtype=np.int64)
    for place, file in enumerate(files):
        chunks = titanic.file_chunks(file, titanic.TRAINING_COLUMNS)
        while True:
            with stage("read"):
                frame = next(chunks, None)
            if frame is None:
                break
            with stage("prepare"):
                blocks.append(see(frame))
                labels.append(titanic.labels(frame))
                rows[place] += len(frame)
    if not rows.any():
        raise titanic.no_rows(path)
    seconds = time.perf_counter() - start
    names = ", ".join(file.name for file in files[:3]) + (", ..." if len(files) > 3 else "")
    print(f"{name}: {rows.sum():,} rows from {names} in {seconds:.2f} s", flush=True)
    return blocks, np.concatenate(labels), rows


def take(blocks: list[Any], mask: np.ndarray | None = None, again: bool = False) -> Any:
    """The rows of all blocks, or those that the mask chooses, joined; arrays, frames, or on disk.

    Unless they are needed ``again``, blocks are let go one after another, so that memory holds
    hardly more than one copy of the rows.
    """
    import numpy as np
    import pandas as pd

    if isinstance(blocks[0], on_disk.Block):
        rows = on_disk.Rows.of(blocks)
        return rows if mask is None else rows[mask]

    lengths = [len(block) for block in blocks]
    masks = np.split(np.ones(sum(lengths), bool) if mask is None else mask, np.cumsum(lengths)[:-1])
    if isinstance(blocks[0], pd.DataFrame):
        chosen = [block[its] for block, its in zip(blocks, masks)]  # noqa: B905  Python 3.9 runs it
        return pd.concat(chosen, ignore_index=True)
    rows = sum(int(its.sum()) for its in masks)
    joined = np.empty((rows, *blocks[0].shape[1:]), dtype=blocks[0].dtype)
    at = 0
    for place, its in enumerate(masks):
        chosen = blocks[place][its]
        joined[at : at + len(chosen)] = chosen
        at += len(chosen)
        if not again:
            blocks[place] = None
    return joined


def places(rows: list[np.ndarray]) -> list[list[slice]]:
    """Where each host's files stand in the order of one host with all files; ``rows`` of each file.

    Of the objects in the order of their keys SageMaker gives the first host the first, the second
    host the second, and so on round.
    """
    found: list[list[slice]] = [[] for _ in rows]
    at = 0
    for place in range(max(map(len, rows))):
        for host, its in enumerate(rows):
            if place < len(its):
                found[host].append(slice(at, at + int(its[place])))
                at += int(its[place])
    return found


def whole(labels: np.ndarray, its: list[list[slice]], group: Group) -> np.ndarray:
    """The labels of all hosts' rows, each at its place."""
    import numpy as np

    gathered = group.gather(labels)
    everyone = np.empty(sum(map(len, gathered)), dtype=labels.dtype)
    for given, files in zip(gathered, its):  # noqa: B905  Python 3.9 has no strict
        at = 0
        for place in files:
            rows = place.stop - place.start
            everyone[place] = given[at : at + rows]
            at += rows
    return everyone


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
