"""Where PyTorch computes, in which precision, and what makes two runs give the same numbers."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any, cast

import entry_point
from entry_point import one_of

if TYPE_CHECKING:  # torch is imported where it is used: entry points answer --help at once
    import argparse
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    import torch
    from torch import nn

# A step of microseconds ends sooner on one thread than on two that wait for each other.
FLOP_PER_THREAD = 2e8
# autocast casts the weights in every step, which pays where the layers are wide.
AUTOCAST_WIDTH = 256
# torch.compile takes half a minute before the first step, and saves a fraction of a millisecond in
# each.
COMPILE_STEPS = 100_000


def arguments(add: entry_point.Hyperparameters) -> None:
    """Add the hyperparameters that say where a training runs, and how fast."""
    text = f"mixed precision; auto: on a CUDA device, for layers of {AUTOCAST_WIDTH} or wider"
    add("amp", "auto", one_of("auto", "off", "bf16", "fp16"), text, "auto|off|bf16|fp16")
    text = f"torch.compile; auto: on a CUDA device, for {COMPILE_STEPS:,} steps or more"
    add("compile", "auto", one_of("auto", "true", "false"), text, "auto|true|false")
    text = "where to train"
    add("device", "auto", one_of("auto", "cpu", "cuda", "mps"), text, "auto|cpu|cuda|mps")


def choose(requested: str, several: bool = False) -> torch.device:
    """Return the device to train on, on ``several`` hosts one that can add up over them.

    Raises UsageError for a device that is not there.
    """
    import torch

    available = ["cpu"]
    if torch.backends.mps.is_available() and not several:  # gloo adds up in no such memory
        available.insert(0, "mps")
    if torch.cuda.is_available():
        available.insert(0, "cuda")
    if requested != "auto" and requested not in available:
        raise entry_point.UsageError(
            f"argument --device: there is no {requested} here for PyTorch {torch.__version__}, "
            f"only {' and '.join(available)}"
        )
    return torch.device(available[0] if requested == "auto" else requested)


def precision(requested: str, width: int, device: torch.device) -> torch.dtype:
    """Return the type of matrix products. Raises UsageError for one that the device has not."""
    import torch

    if requested == "fp16" and device.type != "cuda":
        raise entry_point.UsageError(
            f"argument --amp: fp16 needs a CUDA device, and this is {device.type}; bf16 runs here"
        )
    types = {"off": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    if requested != "auto":
        return types[requested]
    if device.type != "cuda" or width < AUTOCAST_WIDTH:
        return torch.float32
    return torch.bfloat16 if torch.cuda.get_device_capability(device) >= (8, 0) else torch.float16


def autocast(precision: torch.dtype, device: torch.device) -> AbstractContextManager[Any]:
    """Return the context of a forward pass in this precision."""
    import torch

    if precision == torch.float32:
        return contextlib.nullcontext()
    return torch.autocast(device.type, precision)


def compiles(requested: str, steps: int, device: torch.device) -> bool:
    """Return whether to use torch.compile for a training of so many steps."""
    if requested == "auto":
        return device.type == "cuda" and steps >= COMPILE_STEPS
    return requested == "true"


def compiled(layers: nn.Module) -> nn.Module:
    """Return the layers as torch.compile makes them: the same weights, fewer and larger kernels."""
    import torch

    return cast("nn.Module", torch.compile(layers, dynamic=False))


def has_room(size: int, device: torch.device) -> bool:
    """Return whether ``size`` bytes leave half of what is free on the device to the training."""
    import torch

    return device.type != "cuda" or size < torch.cuda.mem_get_info(device)[0] / 2


@contextlib.contextmanager
def repeatable(args: argparse.Namespace, device: torch.device) -> Iterator[None]:
    """Give the same numbers in every run; PyTorch's settings are afterwards as they were before.

    Sums are over a fixed number of threads, so that a machine with more of them gives the same. Of
    ``args`` it takes batch_size, width, depth and nthread.
    """
    import torch

    # cuBLAS reads it when it starts; without it, deterministic algorithms are refused
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    deterministic: Any = torch.utils.deterministic
    flop = 6 * args.batch_size * (args.width**2 * max(0, args.depth - 1) + 12 * args.width)
    before = (
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        deterministic.fill_uninitialized_memory,
    )
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.set_num_threads(max(1, min(args.nthread, int(flop / FLOP_PER_THREAD))))
        torch.use_deterministic_algorithms(True)
        deterministic.fill_uninitialized_memory = False  # slow, and we read none of it
        try:
            yield
        finally:
            torch.set_num_threads(before[0])
            torch.use_deterministic_algorithms(before[1])
            deterministic.fill_uninitialized_memory = before[2]
