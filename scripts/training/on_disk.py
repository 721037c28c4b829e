"""Rows kept on this machine's disk instead of in memory, and read from it chunk by chunk.

    with tempfile.TemporaryDirectory() as folder:
        shelf = Shelf(folder)
        blocks = [shelf.put(rows) for rows in chunks]       # float32 arrays, each goes to a file
        rows = Rows.of(blocks)[mask]                        # still on disk
        for chunk in rows: ...                              # one after another in memory

For lists that are larger than memory: see ``--external_memory`` of train_xgboost.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from entry_point import UsageError

if TYPE_CHECKING:
    import numpy as np


class Block(NamedTuple):
    """A chunk of rows in a file of its own, numpy's .npy."""

    file: Path
    rows: int

    def __len__(self) -> int:
        return self.rows


class Shelf:
    """Puts chunks into files of a folder, which must be there and is not removed by it."""

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)
        self._count = 0

    def put(self, rows: np.ndarray) -> Block:
        """Write one chunk. Raises UsageError where the disk is full or cannot be written to."""
        import numpy as np

        file = self._folder / f"{self._count:06}.npy"
        self._count += 1
        try:
            np.save(file, rows, allow_pickle=False)
        except OSError as error:
            raise UsageError(
                f"{self._folder}: rows cannot be kept here ({error.strerror}); give more disk "
                "(volume_size), more hosts, or leave external_memory out"
            ) from error
        return Block(file, len(rows))


class Rows:
    """Rows of blocks, in order; a mask or a slice chooses among them without reading them."""

    def __init__(self, blocks: Sequence[Block], chosen: Sequence[np.ndarray]) -> None:
        self._blocks = [(block, its) for block, its in zip(blocks, chosen) if its.any()]  # noqa: B905
        self._length = sum(int(its.sum()) for _, its in self._blocks)

    @classmethod
    def of(cls, blocks: Sequence[Block]) -> Rows:
        """All rows of these blocks."""
        import numpy as np

        return cls(blocks, [np.ones(len(block), dtype=bool) for block in blocks])

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, which: np.ndarray | slice) -> Rows:
        """The rows that a mask, bool of shape (rows,), or a slice with a step chooses."""
        import numpy as np

        mask = np.zeros(len(self), dtype=bool)
        mask[which] = True
        chosen, at = [], 0
        for _, before in self._blocks:
            its = before.copy()
            count = int(before.sum())
            its[before] = mask[at : at + count]
            at += count
            chosen.append(its)
        return Rows([block for block, _ in self._blocks], chosen)

    def copy(self) -> Rows:
        """Itself: what stays on disk keeps nothing else in memory, as a part of an array would."""
        return self

    def __iter__(self) -> Iterator[np.ndarray]:
        """The chunks, one at a time in memory."""
        import numpy as np

        for block, its in self._blocks:
            yield np.load(block.file, allow_pickle=False)[its]
