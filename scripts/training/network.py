"""A small network for tables that carries its own preprocessing: imports torch, so import it late.

    net = Network(Shape(columns=9, optional=(2, 5)))
    net.prepare.learn(x)            # fills, means and deviations, from the training rows alone
    logits = net(x)                 # raw features in, NaN for unknown; one number per row out

What it learnt of the data is kept in buffers, so ``state_dict`` holds it beside the weights.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import nn


class Shape(NamedTuple):
    """What a network is built from.

    Attributes:
        columns: Features of a row.
        optional: Places of the features that may be unknown; each also gets a 0/1 input "unknown".
        width: Neurons in a hidden layer.
        depth: Hidden layers; with 0 it is a logistic regression.
        dropout: Part of the neurons left out of each training step, from 0 to below 1.
    """

    columns: int
    optional: tuple[int, ...] = ()
    width: int = 64
    depth: int = 2
    dropout: float = 0.1


class Prepare(nn.Module):
    """Fill what is unknown, bring every column to one scale, and say what was unknown.

    float32 (rows, columns) with NaN to float32 (rows, columns + optional) without.
    """

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
        whole: Callable[[torch.Tensor], torch.Tensor] = lambda column: column,
    ) -> None:
        """Take medians (0 where all is unknown), means and deviations (1 where 0) of these rows.

        ``whole`` makes of a column of these rows that of all hosts' rows.
        """
        for place, column in enumerate(map(whole, x.T)):
            known = column[~column.isnan()]
            fill = known.median() if len(known) else torch.zeros(())
            filled = column.nan_to_num(fill.item()).double()
            deviation = filled.std(correction=0)
            self.fill[place] = fill
            self.mean[place] = filled.mean()
            self.deviation[place] = deviation if deviation > 0 else 1.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
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
        return self.layers(self.prepare(x)).squeeze(1)


@torch.no_grad()
def probabilities(net: Network, x: torch.Tensor, chunk: int = 65_536) -> torch.Tensor:
    """The network's probability for each raw row, without dropout; float32 (rows,) on the CPU.

    A chunk of rows at a time is moved to where the network is.
    """
    device = net.prepare.fill.device
    training = net.training
    net.eval()
    found = [net(part.to(device)).sigmoid().cpu() for part in x.split(chunk)]
    net.train(training)
    return torch.cat(found)
