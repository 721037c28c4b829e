"""An exercise: hosts that train one network together, written out by hand. It has a bug.

Each host learns from its share of the passengers, and after every step the hosts average their
gradients, so that all weights stay equal on all hosts. That is what DistributedDataParallel does
for you. Here it is done by hand, and after an epoch each host prints a checksum of each layer:

    algo-1: epoch 1, layer 1 5f21ab90, layer 2 03c4d7e6, layer 3 9b1d20aa

They should be the same on all hosts, and are not. Which layer drifts apart? Which line is to blame?

    python scripts/training/exercise_all_reduce.py
    python scripts/training/exercise_all_reduce.py --epochs 5 --learning_rate 0.2

By hand it is one host, which cannot disagree with itself; as a job with instance_count=2 it shows.
It writes no model.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import entry_point
import process_group
import titanic
from entry_point import integer, number
from splits import load, sharded

if TYPE_CHECKING:
    import torch


def parser() -> entry_point.Parser:
    """The command line: hyperparameters first, then what SageMaker gives."""
    parser = entry_point.Parser(description=__doc__, prog="exercise_all_reduce.py")
    add = entry_point.Hyperparameters(parser)
    add("epochs", 3, integer(1, 10_000), "passes over train")
    add("learning_rate", 0.1, number(0, above=True), "size of a step (plain gradient descent)")
    add.common()
    process_group.arguments(add)
    entry_point.sagemaker_arguments(parser)
    return parser


def train(args: argparse.Namespace) -> None:
    """Train, and print the checksums of the layers after every epoch."""
    import torch

    from network import Network, Shape

    args.device = "cpu"
    if sharded("train"):
        raise entry_point.UsageError("the channel train is ShardedByS3Key; use FullyReplicated")
    with process_group.joined(args) as group, torch.random.fork_rng([]):
        x, y = load(args, group)["train"]
        torch.manual_seed(args.seed)  # the same first weights on every host
        optional = tuple(titanic.FEATURES.index(name) for name in ("Age", "Fare"))
        net = Network(Shape(len(titanic.FEATURES), optional, width=16, dropout=0.0))
        net.prepare.learn(torch.from_numpy(x), process_group.column)
        hosts = process_group.size()
        mine = slice(process_group.rank(), len(y) // hosts * hosts, hosts)  # as many for each
        rows = torch.from_numpy(x)[mine], torch.tensor(y, dtype=torch.float32)[mine]
        layers = [layer for layer in net.layers if isinstance(layer, torch.nn.Linear)]
        optimizer = torch.optim.SGD(net.parameters(), lr=args.learning_rate)
        for epoch in range(1, args.epochs + 1):
            for inputs, labels in zip(*(part.split(32) for part in rows), strict=True):
                optimizer.zero_grad()
                loss_of = torch.nn.functional.binary_cross_entropy_with_logits
                loss_of(net(inputs), labels).backward()
                average_gradients(layers)
                optimizer.step()
            told = (
                f"layer {place} {process_group.checksum(layer)}"
                for place, layer in enumerate(layers, 1)
            )
            print(f"{process_group.place().name()}: epoch {epoch}, {', '.join(told)}", flush=True)


def average_gradients(layers: list[torch.nn.Linear]) -> None:
    """Replace each host's gradients by the mean over all hosts."""
    for layer in layers[:-1]:
        for weights in layer.parameters():
            process_group.add_up(weights.grad)
            weights.grad /= process_group.size()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line (``sys.argv`` if None); returns the exit code."""
    return entry_point.run(train, parser(), argv)


if __name__ == "__main__":
    code = main()
    process_group.leave(code)
    sys.exit(code)
