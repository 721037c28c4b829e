"""A small network for tables that carries its own preprocessing: imports torch, so import it late.

    net = Network(Shape(columns=9, optional=(2, 5)))
    net.prepare.learn(x)            # fills, means and deviations, from the training rows alone
    logits = net(x)                 # raw features in, NaN for unknown; one number per row out

What it learnt of the data is in buffers, so ``state_dict`` holds it beside the weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import nn

import titanic

OPTIONAL = ("Age", "Fare")  # what may be unknown of a passenger, but for the port: see titanic.py


class Shape(NamedTuple):
    """The numbers that a network is built from.

    Attributes:
        columns: Features of a row.
        optional: Indices of the features that may be unknown; each also gets a 0/1 input "unknown".
        width: Neurons in a hidden layer.
        depth: Hidden layers; with 0 it is a logistic regression.
        dropout: Part of the neurons left out of each training step, from 0 to below 1.
    """

    columns: int
    optional: tuple[int, ...] = ()
    width: int = 64
    depth: int = 2
    dropout: float = 0.1


def passenger_shape(width: int = 64, depth: int = 2, dropout: float = 0.0) -> Shape:
    """Return the shape of a network for the features of passengers."""
    optional = tuple(titanic.FEATURES.index(name) for name in OPTIONAL)
    return Shape(len(titanic.FEATURES), optional, width, depth, dropout)


class Prepare(nn.Module):
    """Fill what is unknown, bring every column to one scale, and flag what was unknown.

    float32 (rows, columns) with NaN to float32 (rows, columns + optional) without.
    """

    fill: torch.Tensor
    mean: torch.Tensor
    deviation: torch.Tensor
    optional: torch.Tensor

    def __init__(self, columns: int, optional: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("fill", torch.zeros(columns))
        self.register_buffer("mean", torch.zeros(columns))
        self.register_buffer("deviation", torch.ones(columns))
        self.register_buffer("optional", torch.tensor(optional, dtype=torch.int64))

    @torch.no_grad()
    def learn(
        self,
        x: torch.Tensor,
        gather: Callable[[torch.Tensor], torch.Tensor] = lambda column: column,
    ) -> None:
        """Take medians (0 where all is unknown), means and deviations (1 where 0) of these rows.

        ``gather`` makes of a column of these rows that of all hosts' rows.
        """
        for index, column in enumerate(map(gather, x.T)):
            known = column[~column.isnan()]
            fill = known.median() if len(known) else torch.zeros(())
            filled = column.nan_to_num(fill.item()).double()
            deviation = filled.std(correction=0)
            self.fill[index] = fill
            self.mean[index] = filled.mean()
            self.deviation[index] = deviation if deviation > 0 else 1.0

    def statistics(self, names: Sequence[str]) -> dict[str, dict[str, float]]:
        """Return what was learnt of each column, by the columns' names."""
        return {
            name: {
                "fill": self.fill[index].item(),
                "mean": self.mean[index].item(),
                "deviation": self.deviation[index].item(),
            }
            for index, name in enumerate(names)
        }

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the prepared rows."""
        unknown = x.isnan()
        scaled = (torch.where(unknown, self.fill, x) - self.mean) / self.deviation
        return torch.cat([scaled, unknown[:, self.optional].to(x.dtype)], dim=1)


class Network(nn.Module):
    """Hidden layers of ReLU neurons with dropout, over prepared columns; a logit for each row.

    Trained on rows prepared once, by ``layers`` alone; used on raw rows, by calling it.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.prepare = Prepare(shape.columns, shape.optional)
        layers: list[nn.Module] = []
        inputs = shape.columns + len(shape.optional)
        for _ in range(shape.depth):
            layers += [nn.Linear(inputs, shape.width), nn.ReLU(), nn.Dropout(shape.dropout)]
            inputs = shape.width
        self.layers = nn.Sequential(*layers, nn.Linear(inputs, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return a logit for each raw row."""
        logits: torch.Tensor = self.layers(self.prepare(x)).squeeze(1)
        return logits


@torch.no_grad()
def probabilities(net: Network, x: torch.Tensor, chunk: int = 65_536) -> torch.Tensor:
    """Return a probability for each raw row, without dropout; float32 (rows,) on the CPU.

    A chunk of rows at a time is moved to where the network is.
    """
    device = net.prepare.fill.device
    training = net.training
    net.eval()
    parts = [net(part.to(device)).sigmoid().cpu() for part in x.split(chunk)]
    net.train(training)
    return torch.cat(parts)
