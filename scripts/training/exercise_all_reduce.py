"""An exercise: hosts that train one network together, with every step written out. It has a bug.

Each host learns from its share of the passengers, and after every step the hosts average their
gradients, so that all weights stay equal on all hosts. That is what DistributedDataParallel does
for you. Here it is written out, and after an epoch each host prints a checksum of each layer:

    algo-1: epoch 1, layer 1 5f21ab90, layer 2 03c4d7e6, layer 3 9b1d20aa

They should be the same on all hosts, and are not. Which layer drifts apart? Which line is to blame?

    python scripts/training/exercise_all_reduce.py
    python scripts/training/exercise_all_reduce.py --epochs 5 --learning_rate 0.2

In the terminal it is one host, which cannot disagree with itself; as a job with instance_count=2 it
shows. It writes no model.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

import entry_point
import splits
from entry_point import integer, number
from hosts import torch_group
from hosts.data_parallel import checksum

if TYPE_CHECKING:
    import torch

    from hosts.torch_group import TorchGroup


def parser() -> entry_point.Parser:
    """Return the command line: hyperparameters first, then what SageMaker gives."""
    parser = entry_point.Parser(description=__doc__, prog="exercise_all_reduce.py")
    add = entry_point.Hyperparameters(parser)
    add("epochs", 3, integer(1, 10_000), "passes over train")
    add("learning_rate", 0.1, number(0, above=True), "size of a step (plain gradient descent)")
    add.common()
    torch_group.arguments(add)
    entry_point.sagemaker_arguments(parser)
    return parser


def train(args: argparse.Namespace) -> None:
    """Train, and print the checksums of the layers after every epoch."""
    import torch

    from network import Network, passenger_shape

    if splits.sharded("train"):
        raise entry_point.UsageError("the channel train is ShardedByS3Key; use FullyReplicated")
    alone = args.hosts == "alone"
    with torch_group.joined("cpu", args.hosts_seconds, alone) as group, torch.random.fork_rng([]):
        x, y = splits.load(args, group.hosts)["train"]
        torch.manual_seed(args.seed)  # the same first weights on every host
        net = Network(passenger_shape(width=16))
        net.prepare.learn(torch.from_numpy(x))
        own = slice(group.rank, len(y) // group.size * group.size, group.size)  # as many for each
        rows = torch.from_numpy(x)[own], torch.tensor(y, dtype=torch.float32)[own]
        layers = [layer for layer in net.layers if isinstance(layer, torch.nn.Linear)]
        optimizer = torch.optim.SGD(net.parameters(), lr=args.learning_rate)
        for epoch in range(1, args.epochs + 1):
            for inputs, labels in zip(*(part.split(32) for part in rows)):
                optimizer.zero_grad()
                loss_of = torch.nn.functional.binary_cross_entropy_with_logits
                loss_of(net(inputs), labels).backward()
                average_gradients(layers, group)
                optimizer.step()
            checksums = (
                f"layer {index} {checksum(layer)}" for index, layer in enumerate(layers, 1)
            )
            print(f"{group.names[group.rank]}: epoch {epoch}, {', '.join(checksums)}", flush=True)


def average_gradients(layers: list[torch.nn.Linear], group: TorchGroup) -> None:
    """Replace each host's gradients by the mean over all hosts."""
    for layer in layers[:-1]:
        for weights in layer.parameters():
            if weights.grad is not None:
                group.all_reduce(weights.grad)
                weights.grad /= group.size


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line (``sys.argv`` if None); return the exit code."""
    return entry_point.run(train, parser(), argv)


if __name__ == "__main__":
    torch_group.leave(main())
