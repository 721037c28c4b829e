"""The rows that an entry point trains on, and those that it validates on.

    parts = splits.load(args, group)        # {"train": Part(x, y), "validation": Part(x, y)}

The same rows are held out for every framework, so that their metrics compare.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, NamedTuple, Protocol

import titanic
from hosts.group import Group

if TYPE_CHECKING:  # numpy is imported where it is used: entry points answer --help at once
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    import numpy as np

    Stage = Callable[[str], AbstractContextManager[None]]

ALONE = Group()


def untimed(name: str) -> AbstractContextManager[None]:
    """Return a context that does nothing, where nobody wants to know what a stage needs."""
    return nullcontext()


class Part(NamedTuple):
    """Rows in memory: features, float32 (rows, features), and labels, 0 or 1, int8 (rows,)."""

    x: np.ndarray
    y: np.ndarray


class Chunk(Protocol):
    """Some thousand rows of features: an array, or what reads them from where they are kept."""

    def __len__(self) -> int: ...

    def __getitem__(self, mask: np.ndarray, /) -> np.ndarray: ...


class Selection(NamedTuple):
    """Rows of some chunks.

    Attributes:
        chunks: Each chunk with a mask, bool (rows,), of the rows that are selected.
        y: The labels of those rows, 0 or 1, int8 (rows,).
    """

    chunks: list[tuple[Chunk, np.ndarray]]
    y: np.ndarray


def load(
    args: argparse.Namespace,
    group: Group = ALONE,
    stage: Stage = untimed,
    *,
    share: bool = False,
    dtype: str = "float32",
) -> dict[str, Part]:
    """Read the channels; returns ``train`` and, where there is one, ``validation``.

    ``stage`` times what is "read" and what is "prepare" (see stages.Stages). Of ``args`` it takes
    train, validation, validation_fraction and seed.

    On several hosts every member of ``group`` calls it. It gets the rows of its own files of a
    ``sharded`` channel, and all rows of a replicated one, or with ``share`` its share of them. What
    is held out is chosen from the rows of all hosts, and is what one host would hold out of the
    same files.

    Raises titanic.DataError for data that cannot be trained on.
    """
    selected = select(args, group, stage, share=share, dtype=dtype)
    with stage("prepare"):
        # The parts may share their chunks. train takes them last: each then goes when it is copied.
        parts = {name: in_memory(selected[name], dtype) for name in reversed(selected)}
    return {name: parts[name] for name in selected}


def select(
    args: argparse.Namespace,
    group: Group = ALONE,
    stage: Stage = untimed,
    *,
    share: bool = False,
    dtype: str = "float32",
    keep: Callable[[np.ndarray], Chunk] = lambda x: x,
) -> dict[str, Selection]:
    """Read the channels as ``load`` does, and return which rows belong to which part.

    ``keep`` says what becomes of a chunk that has been read: it may lie elsewhere than in memory.
    """
    import numpy as np

    train = _read(args.train, "train", stage, dtype, keep)
    with stage("prepare"):
        members = group if sharded("train") else ALONE  # of a replicated channel each has all
        positions = file_positions(members.all_gather(train.rows))
        y = all_labels(train.y, positions, members)
    if y.min() == y.max():
        raise titanic.DataError(
            f"{args.train}: column {titanic.LABEL} is {y[0]} in every row; expected some 0, some 1"
        )
    channels = {"train": train}
    masks = {"train": np.ones(len(train.y), dtype=bool)}
    if args.validation:
        channels["validation"] = _read(args.validation, "validation", stage, dtype, keep)
        masks["validation"] = np.ones(len(channels["validation"].y), dtype=bool)
    elif args.validation_fraction:
        with stage("prepare"):
            held_out = titanic.hold_out(y, args.validation_fraction, args.seed)
        print(f"validation: {held_out.sum():,} of these rows, held out (seed {args.seed})")
        channels["validation"] = train
        masks["validation"] = np.concatenate([held_out[one] for one in positions[members.rank]])
        masks["train"] = ~masks["validation"]
    else:
        print("validation: none")
    for name, mask in masks.items():
        if share and group.size > 1 and not sharded(channel_of(name, args)):
            masks[name] = _share(mask, group)
    return {name: channel.select(masks[name]) for name, channel in channels.items()}


def rows_of_hosts(counts: Mapping[str, int], group: Group) -> dict[str, dict[str, int]]:
    """Return how many rows each member of the group has of each part, by its name."""
    import numpy as np

    gathered = group.all_gather(np.array([*counts.values()], dtype=np.int64))
    return {name: dict(zip(counts, rows.tolist())) for name, rows in zip(group.names, gathered)}


def channel_of(part: str, args: argparse.Namespace) -> str:
    """Return the channel of a part; what is held out for validation is of ``train``."""
    return "train" if part == "validation" and not args.validation else part


def sharded(channel: str) -> bool:
    """Return whether SageMaker gave each host some of this channel's objects, and not all."""
    channels = json.loads(os.environ.get("SM_INPUT_DATA_CONFIG") or "{}")
    if channel == "train" and "train" not in channels:
        channel = "training"  # as `fit("s3://...")` names it
    return bool(channels.get(channel, {}).get("S3DistributionType") == "ShardedByS3Key")


class _Channel(NamedTuple):
    """What has been read of a channel: its chunks, all labels, and the rows of each file."""

    chunks: list[Chunk]
    y: np.ndarray
    rows: np.ndarray

    def select(self, mask: np.ndarray) -> Selection:
        """Return the rows that a mask over all chunks selects; chunks without any are left out."""
        import numpy as np

        ends = np.cumsum([len(chunk) for chunk in self.chunks])
        chunks = zip(self.chunks, np.split(mask, ends[:-1]))
        return Selection([(chunk, part) for chunk, part in chunks if part.any()], self.y[mask])


def _read(
    path: str, name: str, stage: Stage, dtype: str, keep: Callable[[np.ndarray], Chunk]
) -> _Channel:
    """Read a channel, and print how much there was. Raises titanic.DataError."""
    import numpy as np
    import pandas  # noqa: F401  here, so that the seconds below are those of reading

    start = time.perf_counter()
    files = titanic.data_files(path)
    chunks: list[Chunk] = []
    labels: list[np.ndarray] = []
    rows = np.zeros(len(files), dtype=np.int64)
    with stage("read"):
        for index, file in enumerate(files):
            for x, y in titanic.stream(file, dtype):
                chunks.append(keep(x))
                labels.append(y)
                rows[index] += len(y)
    if not rows.any():
        raise titanic.no_rows(path)
    seconds = time.perf_counter() - start
    names = ", ".join(file.name for file in files[:3]) + (", ..." if len(files) > 3 else "")
    print(f"{name}: {rows.sum():,} rows from {names} in {seconds:.2f} s", flush=True)
    return _Channel(chunks, np.concatenate(labels), rows)


def in_memory(selection: Selection, dtype: str) -> Part:
    """Copy the rows into one array, and take the chunks out of the selection one after another."""
    import numpy as np

    x = np.empty((len(selection.y), len(titanic.FEATURES)), dtype=dtype)
    start = 0
    while selection.chunks:
        chunk, mask = selection.chunks.pop(0)
        end = start + int(mask.sum())
        x[start:end] = chunk[mask]
        start = end
    return Part(x, selection.y)


def _share(mask: np.ndarray, group: Group) -> np.ndarray:
    """Return a mask of this host's share of the rows: as many as the others have, or one more."""
    import numpy as np

    own = np.zeros(int(mask.sum()), dtype=bool)
    own[group.rank :: group.size] = True
    share = np.zeros_like(mask)
    share[mask] = own
    return share


def file_positions(rows: list[np.ndarray]) -> list[list[slice]]:
    """Return where the rows of each host's files would be on one host that has all files.

    ``rows`` are those of each file, host by host. Of the objects in the order of their keys
    SageMaker gives the first host the first, the second host the second, and so on in turns.
    """
    positions: list[list[slice]] = [[] for _ in rows]
    start = 0
    for index in range(max(map(len, rows))):
        for rank, counts in enumerate(rows):
            if index < len(counts):
                end = start + int(counts[index])
                positions[rank].append(slice(start, end))
                start = end
    return positions


def all_labels(labels: np.ndarray, positions: list[list[slice]], group: Group) -> np.ndarray:
    """Return the labels of all hosts' rows, in the order of one host that has all files."""
    import numpy as np

    gathered = group.all_gather(labels)
    ordered = np.empty(sum(map(len, gathered)), dtype=labels.dtype)
    for y, files in zip(gathered, positions):
        start = 0
        for file in files:
            end = start + file.stop - file.start
            ordered[file] = y[start:end]
            start = end
    return ordered
