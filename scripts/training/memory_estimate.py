"""How much memory a network needs while it learns, and on how many hosts it would fit.

    sizes = memory_estimate.layers(inputs=12, width=64, depth=2)
    need = memory_estimate.training(sizes, rows=64)         # bytes, by what they are for
    need.total, memory_estimate.hosts(need.total, 16e9)

In float32 with AdamW: each weight has a gradient and two moments (running means of the gradient and
of its square; Kingma and Ba 2015): 16 bytes together, before the first row is read. To them the
activations are added, what forward keeps for backward; they grow with the rows of a batch.

Command line:  python scripts/training/memory_estimate.py 4096 12      (width, and hidden layers)
"""

from __future__ import annotations

import math
import sys
from typing import NamedTuple

BYTES = 4  # of a float32
INPUTS = 11  # of the passengers' network: nine features, and whether age and fare are unknown


class Memory(NamedTuple):
    """Bytes, by what they are for."""

    weights: int
    gradients: int
    moments: int
    activations: int

    @property
    def held(self) -> int:
        """Return what stays between two steps: all but the activations."""
        return self.weights + self.gradients + self.moments

    @property
    def total(self) -> int:
        return self.held + self.activations


def layers(inputs: int, width: int, depth: int) -> list[tuple[int, int]]:
    """Return inputs and outputs of each layer of ``network.Network``: hidden ones and a last."""
    return list(zip([inputs] + [width] * depth, [width] * depth + [1]))


def parameters(sizes: list[tuple[int, int]]) -> int:
    """Return how many weights these layers have, biases with them."""
    return sum(inputs * outputs + outputs for inputs, outputs in sizes)


def training(sizes: list[tuple[int, int]], rows: int, moments: int = 2) -> Memory:
    """Return what training these layers on ``rows`` rows at once needs, in float32 without dropout.

    Of each layer backward needs the input; that of the next layer is also what the ReLU between
    them keeps. ``moments`` is how many the optimizer has for each weight: 2 for Adam, 0 for SGD.
    """
    count = parameters(sizes) * BYTES
    activations = sum(inputs for inputs, _ in sizes)
    return Memory(count, count, moments * count, rows * activations * BYTES)


def hosts(need: float, memory: float) -> int:
    """Return on how many hosts with so much ``memory`` a ``need`` fits that can be split evenly."""
    return max(1, math.ceil(need / memory))


def main(argv: list[str]) -> int:
    """Print the estimate for a width and a depth."""
    width, depth = map(int, argv)
    need = training(layers(INPUTS, width, depth), rows=64)
    for name, value in need._asdict().items():
        print(f"{name:12} {value / 2**30:10.3f} GiB")
    print(f"{'together':12} {need.total / 2**30:10.3f} GiB")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
