"""Learn who survives with a network that no host holds whole: model parallel, on two hosts or more.

By hand, from the project's folder, on one host, which then holds all of it:

    python scripts/training/train_pipeline.py
    python scripts/training/train_pipeline.py --width 256 --depth 6 --epochs 5
    python scripts/training/train_pipeline.py --how sharded --batch_size 128 --microbatches 8
    python scripts/training/train_pipeline.py --dry_run

As a job with instance_count=2 the hyperparameters of the Estimator are these arguments, and
``--how`` says how the network is split (PyTorch decides nothing, and SageMaker neither):

    pipeline   the first host has the first layers, the last the last. A batch goes through in
               ``microbatches`` parts, so that a host works on one while the next has another
               (GPipe, Huang et al. 2019; torch.distributed.pipelining)
    sharded    every host has a part of every layer's weights, and of every batch. A layer's weights
               come together for the moment they are used (FSDP: torch's fully_shard)

Both need PyTorch 2.6, and learn what one host would, up to the order of sums. It pays only where
a network does not fit: memory_estimate.py. The channel ``train`` must be replicated. It leaves

    model_dir/part-1-of-2.pt ...     the weights: each host's, or with sharded all in part-1-of-1.pt
    model_dir/parameters.json        what it was made with, and the bytes that each host held
    output_data_dir/history.csv      the loss of every epoch

A bad value, file or row ends it with one sentence and exit code 1. It keeps no checkpoints.
"""

from __future__ import annotations

import argparse
import inspect
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import entry_point
import memory_estimate
import process_group
import titanic
from checkpoints import UNREADABLE
from entry_point import integer, number, one_of
from metrics import METRIC_DEFINITIONS, evaluate, report
from record import PARAMETERS_FILE, record
from splits import load, sharded
from train_torch import repeatable

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import nn

    from network import Network, Prepare

__all__ = ["METRIC_DEFINITIONS", "main", "model_fn"]

HISTORY_FILE = "history.csv"
OPTIONAL = ("Age", "Fare")  # what may be unknown of a passenger; see titanic.py
HYPERPARAMETERS = (
    *("how", "epochs", "batch_size", "microbatches", "learning_rate", "width", "depth"),
    *("validation_fraction", "seed"),
)
LAYER = 3  # places of a hidden layer in network.Network: weights, ReLU, dropout (here of nothing)


def parser() -> entry_point.Parser:
    """The command line: hyperparameters first, then what SageMaker gives."""
    parser = entry_point.Parser(description=__doc__, prog="train_pipeline.py")
    add = entry_point.Hyperparameters(parser)
    words = ("pipeline", "sharded")
    add("how", "pipeline", one_of(*words), "how hosts split the network", metavar="|".join(words))
    add("epochs", 10, integer(1, 1_000_000), "passes over train")
    add("batch_size", 64, integer(1, 2**24), "rows of one step, of all hosts together")
    add("microbatches", 4, integer(1, 1024), "parts in which a batch goes from host to host")
    add("learning_rate", 0.003, number(0, above=True), "size of a step (AdamW)")
    add("width", 64, integer(1, 65_536), "neurons of a hidden layer")
    add("depth", 3, integer(1, 1000), "hidden layers; with the last, at least one for each host")
    add.common()
    process_group.arguments(add)
    entry_point.sagemaker_arguments(parser)
    return parser


def train(args: argparse.Namespace) -> None:
    """Read, train, say how good it is, and save.

    Raises titanic.DataError or entry_point.UsageError for what the user can put right.
    """
    import numpy as np
    import torch

    from network import Prepare

    args.device = "cpu"
    if args.dry_run:
        args.epochs = 1
    else:
        entry_point.make_folders(model_dir=args.model_dir, output_data_dir=args.output_data_dir)
    with process_group.joined(args) as group, repeatable(args, torch.device(args.device)):
        if process_group.size() > 1 and sharded("train"):
            raise entry_point.UsageError(
                "the hosts of one network need the same rows; the channel train is ShardedByS3Key, "
                "use FullyReplicated"
            )
        data = load(args, group)
        optional = tuple(titanic.FEATURES.index(name) for name in OPTIONAL)
        prepare = Prepare(len(titanic.FEATURES), optional)
        prepare.learn(torch.from_numpy(data["train"].x))
        rows = {
            name: (prepare(torch.from_numpy(x)), torch.tensor(y, dtype=torch.float32))
            for name, (x, y) in data.items()
        }
        inputs = rows["train"][0].shape[1]
        sizes = memory_estimate.layers(inputs, args.width, args.depth)
        split = (Sharded if args.how == "sharded" else Pipeline)(sizes, args)
        here = process_group.place().name()
        count = sum(map(local_bytes, split.weights()))
        print(f"{here}: {split.told} of {len(sizes)}, {count:,} bytes of weights", flush=True)
        losses = learn(split, *rows["train"], args)
        mine = held(split)
        print(f"{here}: {mine:,} bytes of weights, gradients and moments", flush=True)
        results = {}
        for name, (x, y) in rows.items():
            results[name] = evaluate(y.numpy(), split.probabilities(x))
            report(name, results[name])
        each = [int(found[0]) for found in process_group.gather(np.array([mine]))]
        if args.dry_run:
            print("dry run: nothing is written")
            return
        counts = {name: len(y) for name, (_, y) in rows.items()}
        save(split, prepare, losses, counts, results, each, args)


def learn(split: Whole, x: torch.Tensor, y: torch.Tensor, args: argparse.Namespace) -> list[float]:
    """Train for all epochs; returns the mean loss of each, in nats, the same on every host."""
    import torch

    optimizer = torch.optim.AdamW(split.weights(), lr=args.learning_rate)
    split.optimizer = optimizer
    # Every batch has as many rows, so that hosts know what to expect: rows that are not there weigh
    # nothing. A multiple of the microbatches and of the hosts, so that these are equal too.
    step = max(args.microbatches, process_group.size())
    size = -(-args.batch_size // step) * step
    losses = []
    for epoch in range(args.epochs):
        random = torch.Generator().manual_seed(args.seed * 1_000_003 + epoch)
        total = torch.zeros(())
        for places in torch.randperm(len(y), generator=random).split(args.batch_size):
            batch = torch.zeros((size, x.shape[1]))
            target = torch.zeros((size, 2))  # the label, and what the row weighs
            batch[: len(places)] = x[places]
            target[: len(places), 0] = y[places]
            target[: len(places), 1] = 1 / len(places)
            optimizer.zero_grad()
            total += split.step(batch, target) * len(places)
            optimizer.step()
        process_group.add_up(total)
        losses.append(total.item() / len(y))
        report("train", {"logloss": losses[-1]}, prefix=f"[{epoch + 1}] ")
    return losses


def weighted_loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Log loss of rows, each with its weight: of logits (rows, 1) and (label, weight) (rows, 2)."""
    import torch

    label, weight = target.T
    return torch.nn.functional.binary_cross_entropy_with_logits(
        logits.squeeze(1), label, weight=weight, reduction="sum"
    )


# --- the network, whole or split ------------------------------------------------------------------


class Whole:
    """The layers of one host, and how a batch goes through them.

    Attributes:
        layers: What this host holds.
        told: Which these are, in words: "layers 1 to 2".
        optimizer: Once there is one.
    """

    optimizer: torch.optim.Optimizer

    def __init__(self, sizes: list[tuple[int, int]], args: argparse.Namespace) -> None:
        """Draw all layers in turn, so that every split starts with the same weights; keep ours."""
        import torch

        self.rank, self.hosts = process_group.rank(), process_group.size()
        self.own = self.share(len(sizes))
        self.told = f"layers {self.own.start + 1} to {self.own.stop}"
        torch.manual_seed(args.seed)
        kept: list[nn.Module] = []
        for place, (inputs, outputs) in enumerate(sizes):
            layer = torch.nn.Linear(inputs, outputs)
            if place in self.own:
                kept.append(self.placed(layer))
                if place + 1 < len(sizes):
                    kept.append(torch.nn.ReLU())
        self.layers = torch.nn.Sequential(*kept)

    def share(self, count: int) -> range:
        """Which of ``count`` layers this host holds."""
        return range(count)

    def placed(self, layer: nn.Linear) -> nn.Module:
        """What this host holds of a layer."""
        return layer

    def weights(self) -> list[torch.Tensor]:
        return list(self.layers.parameters())

    def step(self, batch: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Forward and backward; returns this host's part of the batch's mean loss."""
        loss = weighted_loss(self.layers(batch), target)
        loss.backward()
        return loss.detach()

    def probabilities(self, x: torch.Tensor) -> np.ndarray:
        """Of each prepared row, on every host; float32 of shape (rows,)."""
        import torch

        with torch.no_grad():
            return self.layers(x).squeeze(1).sigmoid().numpy()

    def state(self) -> dict[str, torch.Tensor]:
        """Weights by their names in ``network.Network``; every host must call it."""
        found = {}
        linear = [layer for layer in self.layers if hasattr(layer, "weight")]
        for place, layer in zip(self.own, linear, strict=True):
            for name, value in layer.named_parameters():
                found[f"layers.{LAYER * place}.{name}"] = whole_tensor(value)
        return found

    def part(self) -> tuple[int, int] | None:
        """Which part of how many this host writes; None for nothing."""
        return (1, 1) if self.rank == 0 else None


class Pipeline(Whole):
    """Layer after layer, from host to host."""

    def __init__(self, sizes: list[tuple[int, int]], args: argparse.Namespace) -> None:
        if self.on_one_host():
            super().__init__(sizes, args)
            return
        import torch

        try:
            from torch.distributed import pipelining
        except ImportError as error:
            raise too_old() from error
        if "scale_grads" not in inspect.signature(pipelining.ScheduleGPipe).parameters:
            raise too_old()
        super().__init__(sizes, args)
        stage = pipelining.PipelineStage(
            self.layers, self.rank, self.hosts, torch.device(args.device)
        )
        # The losses are weighted already, and their gradients are to be added, not divided.
        self.schedule = pipelining.ScheduleGPipe(
            stage, args.microbatches, loss_fn=weighted_loss, scale_grads=False
        )

    @staticmethod
    def on_one_host() -> bool:
        return process_group.size() == 1

    def share(self, count: int) -> range:
        if count < self.hosts:
            raise entry_point.UsageError(
                f"a network of {count} layers cannot be spread over {self.hosts} hosts; "
                f"give --depth {self.hosts - 1} or more"
            )
        return range(count * self.rank // self.hosts, count * (self.rank + 1) // self.hosts)

    def step(self, batch: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        import torch

        if self.on_one_host():
            return super().step(batch, target)
        losses: list[torch.Tensor] = []
        if self.rank == 0:
            self.schedule.step(batch)
        elif self.rank == self.hosts - 1:
            self.schedule.step(target=target, losses=losses)
        else:
            self.schedule.step()
        return torch.stack(losses).sum().detach() if losses else torch.zeros(())

    def probabilities(self, x: torch.Tensor) -> np.ndarray:
        """Each host sends what its layers make of the rows to the next; the last tells all."""
        import numpy as np
        import torch
        import torch.distributed as dist

        if self.on_one_host():
            return super().probabilities(x)
        with torch.no_grad():
            if self.rank > 0:
                x = torch.empty((len(x), self.layers[0].in_features))
                dist.recv(x, self.rank - 1)
            x = self.layers(x)
            if self.rank < self.hosts - 1:
                dist.send(x, self.rank + 1)
                x = torch.empty((0, 1))
        return np.concatenate(process_group.gather(x.squeeze(1).sigmoid().numpy()))

    def part(self) -> tuple[int, int] | None:
        return self.rank + 1, self.hosts


class Sharded(Whole):
    """Every host a part of every layer, and of every batch."""

    def placed(self, layer: nn.Linear) -> nn.Module:
        if self.hosts == 1:
            return layer
        from torch.distributed.device_mesh import init_device_mesh

        try:
            from torch.distributed.fsdp import fully_shard
        except ImportError as error:
            raise too_old() from error
        self.told = f"{self.hosts} parts of each, one here, of layers 1 to {self.own.stop}"
        return fully_shard(layer, mesh=init_device_mesh("cpu", (self.hosts,)))

    def step(self, batch: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        mine = slice(self.rank, None, self.hosts)
        loss = weighted_loss(self.layers(batch[mine]), target[mine])
        (loss * self.hosts).backward()  # fully_shard takes the mean of the hosts' gradients
        return loss.detach()


def too_old() -> entry_point.UsageError:
    import torch

    return entry_point.UsageError(
        f"PyTorch {torch.__version__} cannot split a network as this script does; it takes 2.6"
    )


def whole_tensor(value: torch.Tensor) -> torch.Tensor:
    """A tensor with all its parts; every host must call it."""
    value = value.detach()
    return value.full_tensor() if hasattr(value, "full_tensor") else value


def local_bytes(value: torch.Tensor) -> int:
    """What this host holds of a tensor."""
    value = value.to_local() if hasattr(value, "to_local") else value
    return value.numel() * value.element_size()


def held(split: Whole) -> int:
    """The bytes of weights, gradients and moments on this host, counted."""
    count = 0
    for weights in split.weights():
        moments = [value for value in split.optimizer.state[weights].values() if value.ndim]
        count += sum(map(local_bytes, [weights, weights.grad, *moments]))
    return count


# --- what it leaves -------------------------------------------------------------------------------


def save(
    split: Whole,
    prepare: Prepare,
    losses: list[float],
    rows: dict[str, int],
    results: dict[str, dict[str, float]],
    each: list[int],
    args: argparse.Namespace,
) -> None:
    """Write this host's part of the weights; the first host also what belongs to the whole."""
    import numpy
    import pandas
    import torch

    state, part = split.state(), split.part()
    shape = (len(titanic.FEATURES), prepare.optional.tolist(), args.width, args.depth, 0.0)
    files: dict[str, bytes] = {}
    if split.rank == 0:
        here = process_group.place()
        parameters = record(
            {name: getattr(args, name) for name in HYPERPARAMETERS},
            features=list(titanic.FEATURES),
            rows=rows,
            results=results,
            packages=(torch, numpy, pandas),
            bytes_held={here.name(rank): count for rank, count in enumerate(each)},
        )
        curve = pandas.DataFrame(
            {"train:logloss": losses}, index=pandas.RangeIndex(1, len(losses) + 1, name="epoch")
        )
        entry_point.save(args.output_data_dir, {HISTORY_FILE: curve.to_csv().encode()})
        files[PARAMETERS_FILE] = entry_point.as_json(parameters)
    if part:
        file = io.BytesIO()
        prepared = {f"prepare.{name}": value for name, value in prepare.state_dict().items()}
        torch.save({"shape": list(shape), "state": {**prepared, **state}}, file)
        files[f"part-{part[0]}-of-{part[1]}.pt"] = file.getvalue()
    for old in Path(args.model_dir).glob("part-*-of-*.pt"):
        old.unlink()  # of another split; the whole would be put together from both
    entry_point.save(args.model_dir, files)
    for name in files:
        print(f"saved {Path(args.model_dir, name)}")


def model_fn(model_dir: str | Path) -> Network:
    """Put the parts together that the hosts left; SageMaker's serving calls this by its name.

    Nothing in the files is executed. Raises titanic.DataError if a part is missing.
    """
    import torch

    from network import Network, Shape

    found = sorted(Path(model_dir).glob("part-*-of-*.pt"))
    count = int(found[0].stem.split("-")[-1]) if found else 1
    state: dict[str, Any] = {}
    shape: list[Any] = []
    for number_ in range(1, count + 1):
        path = Path(model_dir, f"part-{number_}-of-{count}.pt")
        if not path.is_file():
            raise titanic.DataError(f"{path}: no such file; is this the folder of the whole model?")
        try:
            saved = torch.load(path, map_location="cpu", weights_only=True)
            shape = saved["shape"]
            state.update(saved["state"])
        except (*UNREADABLE, TypeError) as error:
            raise titanic.DataError(f"{path}: cannot be read; it may be damaged") from error
    columns, optional, *rest = shape
    net = Network(Shape(columns, tuple(optional), *rest))
    net.load_state_dict(state)
    return net.eval()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line (``sys.argv`` if None); returns the exit code."""
    return entry_point.run(train, parser(), argv)


if __name__ == "__main__":
    code = main()
    process_group.leave(code)
    sys.exit(code)
