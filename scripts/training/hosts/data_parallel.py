"""Several processes train one network, each on its share of the rows: data parallel training.

    hosts = Hosts(group)                            # of a torch_group.TorchGroup
    layers = hosts.wrap(layers)                     # averages the gradients of all
    rows = hosts.share(rows, "train", args)
    for x, y, share in rows.batches(seed):          # this process's part of each batch
        loss = hosts.weigh(loss_of(layers(x), y), len(y), share)

In a group of one nothing is shared out, nothing is communicated, and every number is what it would
be without it. "Host" stands for every process here: with one process on each it is the same.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
from typing import TYPE_CHECKING, Any

import splits
from checkpoints import Checkpoint
from device_rows import Rows, batch_sizes
from titanic import DataError, data_files

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    import torch
    from torch import nn

    from hosts.torch_group import TorchGroup


def load(args: argparse.Namespace, group: TorchGroup) -> dict[str, splits.Part]:
    """Read the channels, as splits.load does.

    Raises titanic.DataError for data that cannot be trained on, on every host where one has none.
    """
    _check_shards(args.train, group)
    return splits.load(args, group.hosts)


def _check_shards(path: str, group: TorchGroup) -> None:
    """Raise DataError on every host where a shard of the channel train is empty."""
    import numpy as np

    if not splits.sharded("train"):
        return
    try:
        objects = len(data_files(path))
    except DataError:
        objects = 0  # if no host has any, reading raises this again
    counts = [int(count[0]) for count in group.all_gather(np.array([objects]))]
    without = [name for name, count in zip(group.names, counts) if not count]
    if without and any(counts):
        raise DataError(
            f"the channel train has {sum(counts)} object(s) for {len(counts)} hosts, and "
            f"ShardedByS3Key gives whole objects: {', '.join(without)} got none; upload at least "
            f"{len(counts)} objects, or use FullyReplicated"
        )


class Hosts:
    """The hosts that train one network, seen from one of them.

    Attributes:
        group: All processes that train together.
        first: Whether this is the process that reports and saves.
    """

    def __init__(self, group: TorchGroup) -> None:
        self.group = group
        self.first = group.rank == 0

    def wrap(self, layers: nn.Module) -> nn.Module:
        """Return the layers so that a backward pass averages the gradients of all processes."""
        if self.group.size == 1:
            return layers
        from torch.nn.parallel import DistributedDataParallel

        return DistributedDataParallel(layers)

    def share(self, rows: Rows, part: str, args: argparse.Namespace) -> SharedRows:
        """Return a part's rows as the processes share them; ``rows`` loses those of the others."""
        group = self.group
        divided = True
        if group.size > 1 and splits.sharded(splits.channel_of(part, args)):
            # a host's processes have all read all of the host's rows
            rows.keep(slice(group.process.local_rank, None, group.process.local_size))
        elif group.size > 1 and part != "train":
            rows.keep(slice(group.rank, None, group.size))
        else:
            divided = False  # every epoch shares them out anew
        return SharedRows(rows, group, args.batch_size, divided)

    def gather_column(self, values: torch.Tensor) -> torch.Tensor:
        """Return a feature's values of all hosts, where each has rows of its own; float32 (rows,).

        A median cannot be put together from the medians of parts, so every host gets the column, 4
        bytes a row, one column at a time: exact, and the same on all.
        """
        if not splits.sharded("train"):
            return values
        import torch

        return torch.from_numpy(self.group.hosts.concatenate(values.numpy()))

    def all_reduce(self, values: torch.Tensor) -> None:
        """Replace a tensor by the sum over all, in place."""
        self.group.all_reduce(values)

    def agree(self, stop: bool, save: bool) -> tuple[bool, bool]:
        """Return what all do before a step: stop if one has to, save if the first one is due."""
        if self.group.size == 1:
            return stop, save
        import torch

        flags = torch.tensor([stop, save and self.first], dtype=torch.int32)
        self.group.all_reduce(flags)
        return bool(flags[0]), bool(flags[1])

    def reseed(self, seed: int, step: int) -> None:
        """Let each process drop other neurons (dropout), the same when a step is done again."""
        if self.group.size > 1:
            import torch

            torch.manual_seed((seed * 1_000_003 + step) * self.group.size + self.group.rank)

    def weigh(self, loss: torch.Tensor, rows: int, share: float) -> torch.Tensor:
        """Return this process's part of the mean loss over all rows of a batch.

        ``loss`` is the mean over its own ``rows``. The gradients of all processes are averaged as
        if each had as many rows; weighted by rows / ``share`` (how many each has in the mean), the
        result is the gradient of the mean over the rows of all.
        """
        if self.group.size == 1:
            return loss
        return (loss if rows else loss.nan_to_num(0.0)) * (rows / share)  # the mean of none is NaN

    def print_checksum(self, epoch: int, layers: nn.Module) -> None:
        """Print a checksum of the weights, where the job has another host to compare it with."""
        process = self.group.process
        if process.size > 1:
            print(f"{process.name()}: epoch {epoch}, weights {checksum(layers)}", flush=True)

    def checkpoint(self, folder: str, run: dict[str, Any]) -> Checkpoint:
        """Return the checkpoint of this run, that of all processes together."""
        return (
            Checkpoint(folder, run)
            if self.group.size == 1
            else SharedCheckpoint(folder, run, self.group)
        )

    def record(self, rows: dict[str, SharedRows]) -> dict[str, Any]:
        """Return for ``parameters.json`` the rows of each process, by part; of several alone."""
        if self.group.size == 1:
            return {}
        parts = sorted(rows, key=lambda part: not rows[part].divided)
        return {
            "hosts": {
                name: {part: rows[part].counts[rank] for part in parts}
                for rank, name in enumerate(self.group.names)
            }
        }


def checksum(layers: nn.Module) -> str:
    """Return eight characters that differ where a bit of the weights does."""
    digest = hashlib.blake2b(digest_size=4)
    for weights in layers.state_dict().values():
        digest.update(weights.detach().cpu().numpy().tobytes())
    return digest.hexdigest()


class SharedRows:
    """The rows of one part, train or validation, of which each process takes its share.

    Where all processes have all rows, each takes its part of each batch: together they make the
    steps that one host would. Where the rows are ``divided``, each goes through its own once, in as
    many steps as all together need.

    Attributes:
        own: The rows that this process has.
        divided: Whether other processes have other rows.
        counts: How many rows each process takes.
        total: How many these are together.
        steps: How many batches an epoch has.
    """

    def __init__(self, own: Rows, group: TorchGroup, batch_size: int, divided: bool) -> None:
        import numpy as np

        self.own, self.divided = own, divided
        self._group, self._batch_size = group, batch_size
        if divided:
            gathered = group.all_gather(np.array([len(own)]))
            self.counts = [int(count[0]) for count in gathered]
        else:
            batches = [_cut(size, group.size) for size in batch_sizes(len(own), batch_size)]
            self.counts = [sum(parts) for parts in zip(*batches)]
        self.total = sum(self.counts)
        self.steps = -(-self.total // batch_size)

    def batches(
        self, seed: int, start: int = 0
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor, float]]:
        """Yield this process's part of each batch of an epoch, shuffled, from batch ``start`` on.

        With it comes how many rows the parts of this batch have in the mean over all processes.
        """
        order, sizes, shares = self.plan(self.own.order(seed))
        done = sum(sizes[:start])
        batches = self.own.batches(order[done:], sizes[start:])
        for (x, y), share in zip(batches, shares[start:]):
            yield x, y, share

    def plan(self, order: torch.Tensor) -> tuple[torch.Tensor, list[int], list[float]]:
        """Return this process's part of an epoch: its rows in order, and of each step how many
        these are, here and in the mean over all processes.

        Where all have all rows, ``order`` is the same on all.
        """
        rank, size = self._group.rank, self._group.size
        if self.divided:
            sizes = [_cut(count, self.steps) for count in self.counts]
            return order, sizes[rank], [sum(step) / size for step in zip(*sizes)]
        sizes_of_all = batch_sizes(len(order), self._batch_size)
        shares = [count / size for count in sizes_of_all]
        if size == 1:
            return order, sizes_of_all, shares
        import torch

        parts = [
            batch.split(_cut(len(batch), size))[rank] for batch in order.split(self._batch_size)
        ]
        return torch.cat(parts), list(map(len, parts)), shares

    def join(self, column: np.ndarray) -> np.ndarray:
        """Return a column with a value for each row, of all rows where these are divided."""
        return self._group.concatenate(column) if self.divided else column


def _cut(count: int, parts: int) -> list[int]:
    """Return the sizes of so many parts of ``count`` rows, all as equal as can be."""
    edges = [count * part // parts for part in range(parts + 1)]
    return [end - start for start, end in zip(edges, edges[1:])]


class SharedCheckpoint(Checkpoint):
    """A checkpoint that the first process writes and reads; all must call ``save`` and ``load``.

    Only the loss so far differs between processes: the file holds that of each.
    """

    def __init__(self, folder: str, run: dict[str, Any], group: TorchGroup) -> None:
        import numpy as np

        own = np.frombuffer(json.dumps(run, sort_keys=True).encode(), "u1")
        runs = [bytes(data).decode() for data in group.all_gather(own)]
        super().__init__(folder, {"hosts": runs})
        self._group = group

    def save(self, state: dict[str, Any]) -> None:
        """Replace what was saved before, as Checkpoint does."""
        import torch

        losses = self._group.all_gather(state["loss"].cpu().reshape(1).numpy())
        if self._group.rank == 0:
            super().save({**state, "loss": torch.tensor([loss[0] for loss in losses])})

    def load(self) -> dict[str, Any] | None:
        """Return on all processes what the first one loads, as Checkpoint does."""
        import numpy as np
        import torch

        file = io.BytesIO()
        if self._group.rank == 0:
            saved = super().load()
            if saved is not None:
                torch.save(saved, file)
        sent = self._group.all_gather(np.frombuffer(file.getvalue(), "u1"))[0]
        if not len(sent):
            return None
        state = torch.load(io.BytesIO(sent.tobytes()), map_location="cpu", weights_only=True)
        return {**state, "loss": state["loss"][self._group.rank]}
