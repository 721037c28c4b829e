"""Learn who survives with a network that is split over hosts: model parallel, on two or more.

In the terminal, from the project's folder, it is one host, which holds all of it:

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
               are gathered for the moment they are used (FSDP: torch's fully_shard)

Both need PyTorch 2.6, and learn what one host would, up to the order of sums. It pays only where
a network does not fit: memory_estimate.py. The channel ``train`` must be replicated. It leaves

    model_dir/part-1-of-2.pt ...     the weights: each host's, or with sharded all in part-1-of-1.pt
    model_dir/parameters.json        what it was made with, and the bytes held by each host
    output_data_dir/history.csv      the loss of every epoch

A bad value, file or row ends it with one sentence and exit code 1. It keeps no checkpoints.
"""

from __future__ import annotations

import argparse
import inspect
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import devices
import entry_point
import memory_estimate
import splits
import titanic
from checkpoints import UNREADABLE
from entry_point import integer, number, one_of
from hosts import torch_group
from metrics import METRIC_DEFINITIONS, evaluate, report
from record import PARAMETERS_FILE, learning_curve, record

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import nn

    from hosts.torch_group import TorchGroup
    from network import Network, Prepare

__all__ = ["METRIC_DEFINITIONS", "main", "model_fn"]

HISTORY_FILE = "history.csv"
HYPERPARAMETERS = (
    *("how", "epochs", "batch_size", "microbatches", "learning_rate", "width", "depth"),
    *("validation_fraction", "seed"),
)
LAYER = 3  # modules of a hidden layer in network.Network: weights, ReLU, dropout (here of nothing)


def parser() -> entry_point.Parser:
    """Return the command line: hyperparameters first, then what SageMaker gives."""
    parser = entry_point.Parser(description=__doc__, prog="train_pipeline.py")
    add = entry_point.Hyperparameters(parser)
    text = "how hosts split the network"
    add("how", "pipeline", one_of("pipeline", "sharded"), text, "pipeline|sharded")
    add("epochs", 10, integer(1, 1_000_000), "passes over train")
    add("batch_size", 64, integer(1, 2**24), "rows of one step, of all hosts together")
    add("microbatches", 4, integer(1, 1024), "parts in which a batch goes from host to host")
    add("learning_rate", 0.003, number(0, above=True), "size of a step (AdamW)")
    add("width", 64, integer(1, 65_536), "neurons of a hidden layer")
    add("depth", 3, integer(1, 1000), "hidden layers; with the last, at least one for each host")
    add.common()
    torch_group.arguments(add)
    entry_point.sagemaker_arguments(parser)
    return parser


def train(args: argparse.Namespace) -> None:
    """Read and split the data, train, evaluate, and save.

    Raises titanic.DataError or entry_point.UsageError for what the user can put right.
    """
    import torch

    if args.dry_run:
        args.epochs = 1
    else:
        entry_point.make_folders(model_dir=args.model_dir, output_data_dir=args.output_data_dir)
    cpu = torch.device("cpu")
    with torch_group.joined("cpu", args.hosts_seconds, args.hosts == "alone") as group:
        if group.size > 1 and splits.sharded("train"):
            raise entry_point.UsageError(
                "the hosts of one network need the same rows; the channel train is ShardedByS3Key, "
                "use FullyReplicated"
            )
        with devices.repeatable(args, cpu):
            fit(splits.load(args, group.hosts), args, group)


def fit(parts: dict[str, splits.Part], args: argparse.Namespace, group: TorchGroup) -> None:
    """Train on the parts, evaluate, and save what this host has of the network."""
    import numpy
    import pandas
    import torch

    from network import Prepare, passenger_shape

    shape = passenger_shape(args.width, args.depth)
    prepare = Prepare(shape.columns, shape.optional)
    prepare.learn(torch.from_numpy(parts["train"].x))
    rows = {
        name: (prepare(torch.from_numpy(x)), torch.tensor(y, dtype=torch.float32))
        for name, (x, y) in parts.items()
    }
    inputs = rows["train"][0].shape[1]
    sizes = memory_estimate.layers(inputs, args.width, args.depth)
    split = (Sharded if args.how == "sharded" else Pipeline)(sizes, args, group)
    host = group.names[group.rank]
    count = sum(map(local_bytes, split.weights()))
    print(f"{host}: {split.title} of {len(sizes)}, {count:,} bytes of weights", flush=True)
    losses = learn(split, *rows["train"], args)
    count = bytes_held(split)
    print(f"{host}: {count:,} bytes of weights, gradients and moments", flush=True)
    results = {name: evaluate(y.numpy(), split.probabilities(x)) for name, (x, y) in rows.items()}
    if group.rank == 0:
        for name, values in results.items():
            report(name, values)
    counts = [int(host_count[0]) for host_count in group.all_gather(numpy.array([count]))]
    if args.dry_run:
        print("dry run: nothing is written")
        return
    parameters = record(
        {name: getattr(args, name) for name in HYPERPARAMETERS},
        features=titanic.FEATURES,
        rows={name: len(y) for name, (_, y) in rows.items()},
        results=results,
        packages=(torch, numpy, pandas),
        bytes_held=dict(zip(group.names, counts)),
    )
    save(split, prepare, losses, parameters, args)


def learn(
    split: Unsplit, x: torch.Tensor, y: torch.Tensor, args: argparse.Namespace
) -> list[float]:
    """Train for all epochs; return the mean loss of each, in nats, the same on every host."""
    import torch

    optimizer = torch.optim.AdamW(split.weights(), lr=args.learning_rate)
    split.optimizer = optimizer
    # Every batch is padded to as many rows, so that hosts know what to expect: padding has the
    # weight 0. It is a multiple of the microbatches and of the hosts, so that these are equal too.
    step = max(args.microbatches, split.group.size)
    size = -(-args.batch_size // step) * step
    losses = []
    for epoch in range(args.epochs):
        random = torch.Generator().manual_seed(args.seed * 1_000_003 + epoch)
        total = torch.zeros(())
        for indices in torch.randperm(len(y), generator=random).split(args.batch_size):
            batch = torch.zeros((size, x.shape[1]))
            target = torch.zeros((size, 2))  # the label, and the weight of the row
            batch[: len(indices)] = x[indices]
            target[: len(indices), 0] = y[indices]
            target[: len(indices), 1] = 1 / len(indices)
            optimizer.zero_grad()
            total += split.step(batch, target) * len(indices)
            optimizer.step()
        split.group.all_reduce(total)
        losses.append(total.item() / len(y))
        if split.group.rank == 0:
            report("train", {"logloss": losses[-1]}, prefix=f"[{epoch + 1}] ")
    return losses


def weighted_loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the weighted log loss: of logits (rows, 1), and (label, weight) (rows, 2)."""
    import torch

    label, weight = target.T
    return torch.nn.functional.binary_cross_entropy_with_logits(
        logits.squeeze(1), label, weight=weight, reduction="sum"
    )


# --- the network, split or not --------------------------------------------------------------------


class Unsplit:
    """The layers of one host, and how a batch goes through them.

    Attributes:
        group: The hosts.
        own: Which of the network's layers this host has.
        inputs: Numbers that go into the first of them, for each row.
        layers: These layers, or this host's parts of them.
        title: Which these are: "layers 1 to 2".
        optimizer: Once there is one.
    """

    optimizer: torch.optim.Optimizer

    def __init__(
        self, sizes: list[tuple[int, int]], args: argparse.Namespace, group: TorchGroup
    ) -> None:
        """Draw all layers in turn, so that every split starts with the same weights; keep ours."""
        import torch

        self.group = group
        self.own = self.share(len(sizes))
        self.inputs = sizes[self.own.start][0]
        self.title = f"layers {self.own.start + 1} to {self.own.stop}"
        torch.manual_seed(args.seed)
        modules: list[nn.Module] = []
        for index, (inputs, outputs) in enumerate(sizes):
            layer = torch.nn.Linear(inputs, outputs)
            if index in self.own:
                modules.append(self.part_of(layer))
                if index + 1 < len(sizes):
                    modules.append(torch.nn.ReLU())
        self.layers = torch.nn.Sequential(*modules)

    def share(self, count: int) -> range:
        """Return which of ``count`` layers this host holds."""
        return range(count)

    def part_of(self, layer: nn.Linear) -> nn.Module:
        """Return what this host holds of a layer."""
        return layer

    def weights(self) -> list[torch.Tensor]:
        """Return the weights of this host."""
        return list(self.layers.parameters())

    def step(self, batch: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Run forward and backward; return this host's part of the batch's mean loss."""
        loss = weighted_loss(self.layers(batch), target)
        loss.backward()
        return loss.detach()

    def probabilities(self, x: torch.Tensor) -> np.ndarray:
        """Return that of each prepared row, on every host; float32 of shape (rows,)."""
        import torch

        with torch.no_grad():
            probabilities: np.ndarray = self.layers(x).squeeze(1).sigmoid().numpy()
        return probabilities

    def state(self) -> dict[str, torch.Tensor]:
        """Return weights by their names in ``network.Network``; every host must call it."""
        state = {}
        linear = [layer for layer in self.layers if hasattr(layer, "weight")]
        for index, layer in zip(self.own, linear):
            for name, value in layer.named_parameters():
                state[f"layers.{LAYER * index}.{name}"] = full_tensor(value)
        return state

    def part(self) -> tuple[int, int] | None:
        """Return which part of how many this host writes; None for nothing."""
        return (1, 1) if self.group.rank == 0 else None


class Pipeline(Unsplit):
    """Layer after layer, from host to host."""

    def __init__(
        self, sizes: list[tuple[int, int]], args: argparse.Namespace, group: TorchGroup
    ) -> None:
        if group.size == 1:
            super().__init__(sizes, args, group)
            return
        import torch

        try:
            from torch.distributed import pipelining
        except ImportError as error:
            raise too_old() from error
        if "scale_grads" not in inspect.signature(pipelining.ScheduleGPipe).parameters:
            raise too_old()
        super().__init__(sizes, args, group)
        stage = pipelining.PipelineStage(self.layers, group.rank, group.size, torch.device("cpu"))
        # The losses are weighted already, and their gradients are to be added, not divided.
        self.schedule = pipelining.ScheduleGPipe(
            stage, args.microbatches, loss_fn=weighted_loss, scale_grads=False
        )

    def share(self, count: int) -> range:
        rank, size = self.group.rank, self.group.size
        if count < size:
            raise entry_point.UsageError(
                f"a network of {count} layers cannot be spread over {size} hosts; "
                f"give --depth {size - 1} or more"
            )
        return range(count * rank // size, count * (rank + 1) // size)

    def step(self, batch: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        import torch

        if self.group.size == 1:
            return super().step(batch, target)
        losses: list[torch.Tensor] = []
        if self.group.rank == 0:
            self.schedule.step(batch)
        elif self.group.rank == self.group.size - 1:
            self.schedule.step(target=target, losses=losses)
        else:
            self.schedule.step()
        return torch.stack(losses).sum().detach() if losses else torch.zeros(())

    def probabilities(self, x: torch.Tensor) -> np.ndarray:
        """Return them as Unsplit does: each host sends its outputs to the next, the last to all."""
        import numpy as np
        import torch
        import torch.distributed as dist

        rank, size = self.group.rank, self.group.size
        if size == 1:
            return super().probabilities(x)
        with torch.no_grad():
            if rank > 0:
                x = torch.empty((len(x), self.inputs))
                dist.recv(x, rank - 1)
            x = self.layers(x)
            if rank < size - 1:
                dist.send(x, rank + 1)
                x = torch.empty((0, 1))
        return np.concatenate(self.group.all_gather(x.squeeze(1).sigmoid().numpy()))

    def part(self) -> tuple[int, int] | None:
        return self.group.rank + 1, self.group.size


class Sharded(Unsplit):
    """Every host has a part of every layer, and of every batch."""

    def part_of(self, layer: nn.Linear) -> nn.Module:
        size = self.group.size
        if size == 1:
            return layer
        from torch.distributed.device_mesh import init_device_mesh

        try:
            from torch.distributed.fsdp import fully_shard
        except ImportError as error:
            raise too_old() from error
        self.title = f"{size} parts of each, one here, of layers 1 to {self.own.stop}"
        fully_shard(layer, mesh=init_device_mesh("cpu", (size,)))  # in place
        return layer

    def step(self, batch: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        own = slice(self.group.rank, None, self.group.size)
        loss = weighted_loss(self.layers(batch[own]), target[own])
        (loss * self.group.size).backward()  # fully_shard takes the mean of the hosts' gradients
        return loss.detach()


def too_old() -> entry_point.UsageError:
    """Return the error for a PyTorch that lacks what a split needs."""
    import torch

    return entry_point.UsageError(
        f"PyTorch {torch.__version__} cannot split a network as this script does; it takes 2.6"
    )


def full_tensor(value: torch.Tensor) -> torch.Tensor:
    """Return a tensor with the parts of all hosts; every host must call it."""
    value = value.detach()
    full: torch.Tensor = value.full_tensor() if hasattr(value, "full_tensor") else value
    return full


def local_bytes(value: torch.Tensor) -> int:
    """Return the bytes that this host has of a tensor."""
    local: torch.Tensor = value.to_local() if hasattr(value, "to_local") else value
    return local.numel() * local.element_size()


def bytes_held(split: Unsplit) -> int:
    """Count the bytes of weights, gradients and moments on this host."""
    count = 0
    for weights in split.weights():
        moments = [value for value in split.optimizer.state[weights].values() if value.ndim]
        count += sum(map(local_bytes, [weights, weights.grad, *moments]))
    return count


# --- what it leaves -------------------------------------------------------------------------------


def save(
    split: Unsplit,
    prepare: Prepare,
    losses: list[float],
    parameters: dict[str, Any],
    args: argparse.Namespace,
) -> None:
    """Write this host's part of the weights; on the first host also what there is once."""
    import torch

    state, part = split.state(), split.part()
    shape = (len(titanic.FEATURES), prepare.optional.tolist(), args.width, args.depth, 0.0)
    files: dict[str, bytes] = {}
    if split.group.rank == 0:
        curve = learning_curve({"train": losses}, "epoch")
        entry_point.save(args.output_data_dir, {HISTORY_FILE: curve})
        files[PARAMETERS_FILE] = entry_point.as_json(parameters)
    if part:
        file = io.BytesIO()
        prepared = {f"prepare.{name}": value for name, value in prepare.state_dict().items()}
        torch.save({"shape": list(shape), "state": {**prepared, **state}}, file)
        files[f"part-{part[0]}-of-{part[1]}.pt"] = file.getvalue()
    for old in Path(args.model_dir).glob("part-*-of-*.pt"):
        old.unlink()  # of another split; the network would be put together from both
    entry_point.save(args.model_dir, files)
    for name in files:
        print(f"saved {Path(args.model_dir, name)}")


def model_fn(model_dir: str | Path) -> Network:
    """Load the parts that the hosts left as one network; SageMaker's serving calls this by name.

    Nothing in the files is executed. Raises titanic.DataError if a part is missing.
    """
    import torch

    from network import Network, Shape

    parts = sorted(Path(model_dir).glob("part-*-of-*.pt"))
    count = int(parts[0].stem.split("-")[-1]) if parts else 1
    state: dict[str, Any] = {}
    shape: list[Any] = []
    for index in range(1, count + 1):
        path = Path(model_dir, f"part-{index}-of-{count}.pt")
        if not path.is_file():
            raise titanic.DataError(f"{path}: no such file; does this folder have all parts?")
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
    """Run the command line (``sys.argv`` if None); return the exit code."""
    return entry_point.run(train, parser(), argv)


if __name__ == "__main__":
    torch_group.leave(main())
