"""Prepared rows on the device that trains on them, and their way into batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import devices

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    import torch

    from network import Network

# Rows that are gathered together and then cut into batches: one gather for many batches.
BLOCK_ROWS = 65_536
CACHED_ROWS = 8_192  # rows whose hidden layers fit in a CPU's cache


class Rows:
    """Prepared rows and their labels, on the device where they fit, else in memory beside it.

    Attributes:
        x: float32 of shape (rows, inputs).
        y: float32 of shape (rows,).
        device: Where batches are needed.
    """

    def __init__(self, net: Network, x: np.ndarray, y: np.ndarray, device: torch.device) -> None:
        import torch

        self.device = device
        inputs = net.shape.columns + len(net.shape.optional)
        fits = devices.has_room(4 * (inputs + 2) * len(y), device)
        self.x = torch.empty((len(y), inputs), device=device if fits else "cpu")
        self.y = torch.tensor(y, dtype=torch.float32, device=self.x.device)
        raw = torch.from_numpy(x)
        with torch.no_grad():
            for start in range(0, len(y), BLOCK_ROWS):
                block = raw[start : start + BLOCK_ROWS].to(device)
                self.x[start : start + BLOCK_ROWS] = net.prepare(block)
        if not fits and device.type == "cuda":  # so that copies to the device need not be awaited
            self.x, self.y = self.x.pin_memory(), self.y.pin_memory()

    def __len__(self) -> int:
        return len(self.y)

    def keep(self, rows: slice) -> None:
        """Keep these rows alone."""
        self.x, self.y = self.x[rows].clone(), self.y[rows].clone()

    def labels(self) -> np.ndarray:
        """Return 0 or 1 for each row, float32 of shape (rows,)."""
        labels: np.ndarray = self.y.cpu().numpy()
        return labels

    def order(self, seed: int) -> torch.Tensor:
        """Return the rows' indices, shuffled: int64 of shape (rows,), drawn where the rows are."""
        import torch

        generator = torch.Generator(self.x.device).manual_seed(seed)
        return torch.randperm(len(self), device=self.x.device, generator=generator)

    def batches(
        self, order: torch.Tensor, sizes: list[int]
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield batches of these sizes, in this order, on the device.

        There is no loop over rows, and one gather for many batches: they are views of its result.
        """
        several = max(1, BLOCK_ROWS // max([1, *sizes]))
        for first in range(0, len(sizes), several):
            some = sizes[first : first + several]
            block, order = order[: sum(some)], order[sum(some) :]
            x = self.x[block].to(self.device, non_blocking=True)
            y = self.y[block].to(self.device, non_blocking=True)
            yield from zip(x.split(some), y.split(some))

    def in_order(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield all rows in their own order, in large blocks on the device."""
        size = CACHED_ROWS if self.device.type == "cpu" else BLOCK_ROWS
        for x, y in zip(self.x.split(size), self.y.split(size)):
            yield x.to(self.device), y.to(self.device)


def batch_sizes(rows: int, batch: int) -> list[int]:
    """Return how many rows each step has: ``batch``, but for the last."""
    full, rest = divmod(rows, batch)
    return [batch] * full + [rest] * bool(rest)
