"""A training loop in PyTorch for many hosts: the core of train_torch.py, and no more.

It has no validation, no checkpoints and no early stopping, and saves the weights alone. Every
argument has a default, for a terminal in the project's folder.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import torch

import titanic
from hosts import torch_group
from network import Network, passenger_shape


def train(args: argparse.Namespace, group: torch_group.TorchGroup) -> None:
    """Train on all passengers, and save the weights."""
    frame = titanic.read(args.train, titanic.TRAINING_COLUMNS)
    x = torch.tensor(titanic.features(frame).to_numpy())
    y = torch.tensor(titanic.labels(frame), dtype=torch.float32)
    torch.manual_seed(args.seed)
    net = Network(passenger_shape())
    net.prepare.learn(x)
    x = net.prepare(x)
    layers: torch.nn.Module = net.layers
    if group.size > 1:
        layers = torch.nn.parallel.DistributedDataParallel(layers)  # averages their gradients
    optimizer = torch.optim.AdamW(layers.parameters(), lr=args.learning_rate)
    loss_of = torch.nn.BCEWithLogitsLoss(reduction="sum")
    for epoch in range(1, args.epochs + 1):
        total = torch.zeros(())
        for batch in torch.randperm(len(y)).split(args.batch_size):
            rows = batch[group.rank :: group.size]  # all hosts have all rows
            optimizer.zero_grad()
            loss = loss_of(layers(x[rows]).squeeze(1), y[rows])
            (loss * group.size / len(batch)).backward()
            optimizer.step()
            total += loss.detach()
        group.all_reduce(total)
        print(f"epoch {epoch}: loss {total.item() / len(y):.6f}", flush=True)
    folder = Path(args.model_dir)
    folder.mkdir(parents=True, exist_ok=True)
    if group.rank == 0:
        torch.save(net.state_dict(), folder / "weights.pt")


def arguments() -> argparse.Namespace:
    """Return the hyperparameters, and what SageMaker gives through SM_* variables."""
    env = os.environ.get
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--learning_rate", type=float, default=0.003)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--train", default=env("SM_CHANNEL_TRAIN", "data/titanic_train.csv"))
    parser.add_argument("--model_dir", default=env("SM_MODEL_DIR", "build/model"))
    return parser.parse_args()


if __name__ == "__main__":
    with torch_group.joined() as group:
        train(arguments(), group)
    torch_group.leave(0)
