"""Rows a second of train_torch.py, against a bare loop on the same tensors and single-row loading.

    python -m tests.bench.torch_throughput

The bare loop is all that must be: forward, backward, step, on batches that were cut beforehand. It
does not shuffle, gather, count losses or look for signals. `train_torch.py` does, and aims at 0.9
of the bare loop; a line below has its validation too, on a quarter as many rows. The DataLoader
fetches rows one by one and stacks them, as many examples do. One thread, and on a CPU its own
seconds: what else runs on the machine does not count.

On a CUDA device it also compares the ways to be faster there: autocast and torch.compile.
"""

from __future__ import annotations

import contextlib
import io
import math
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from tests.bench import Row, table, take_turns

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts" / "training"))

import devices
import train_torch
from checkpoints import Checkpoint, Every, StopSignal
from device_rows import Rows
from hosts import torch_group
from hosts.data_parallel import Hosts, SharedRows

TURNS = 5
SETTINGS = (  # batch, width, rows
    (64, 64, 20_000),
    (1024, 64, 100_000),
    (1024, 512, 10_000),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure every setting and print a table."""
    device = devices.choose("auto")
    print(f"PyTorch {torch.__version__} on {device.type}")
    for batch, width, count in SETTINGS:
        scale = 20 if device.type == "cuda" else 1
        print(table(compare(batch, width, count * scale, device)), flush=True)
    return 0


def compare(batch: int, width: int, count: int, device: torch.device) -> list[Row]:
    """Measure one setting."""
    label = f"batch {batch}, width {width}"
    common = ["--batch_size", str(batch), "--width", str(width), "--epochs", "1", "--nthread", "1"]
    ways: dict[str, list[str]] = {"train_torch.py": ["--amp", "off", "--compile", "false"]}
    if device.type == "cuda":
        ways["train_torch.py, bf16"] = ["--amp", "bf16", "--compile", "false"]
        ways["train_torch.py, compiled"] = ["--amp", "off", "--compile", "true"]
        ways["train_torch.py, compiled, bf16"] = ["--amp", "bf16", "--compile", "true"]
    parser = train_torch.parser()
    args = {name: parser.parse_args([*common, *more]) for name, more in ways.items()}
    plain = args["train_torch.py"]
    with devices.repeatable(plain, device), tempfile.TemporaryDirectory() as folder:
        parts = made(count, device, plain)
        rows = parts["train"].own
        runs: dict[str, Callable[[], float]] = {
            "bare loop": bare(rows, plain, device),
            **{name: steps_alone(parts, one, device) for name, one in args.items()},
            "  with its validation": validated(parts, plain, device, folder),
            "DataLoader of single rows": single_rows(rows, plain, device),
        }
        values = take_turns(runs, TURNS, label)
    base = f"bare loop, {label}"
    unit = "rows per CPU second" if device.type == "cpu" else "rows per second"
    return [
        Row(f"{name}, {label}", speeds, unit, None if name == "bare loop" else base)
        for name, speeds in values.items()
    ]


def new_training(args, device: torch.device) -> train_torch.Training:
    """Return a training at its start, on this host alone."""
    group = torch_group.TorchGroup(torch_group.this_process(), [0])
    return train_torch.Training(args, Hosts(group), device, steps=0)


def made(count: int, device: torch.device, args) -> dict[str, SharedRows]:
    """Make rows to train on, and a quarter as many to validate on, as the default fraction has."""
    random = np.random.default_rng(0)
    training = new_training(args, device)
    parts = {}
    for name, size in (("train", count), ("validation", count // 4)):
        x = random.random((size, training.net.shape.columns), dtype=np.float32)
        y = random.integers(0, 2, size, dtype=np.int8)
        parts[name] = training.hosts.share(Rows(training.net, x, y, device), name, args)
    return parts


def steps_alone(parts: dict[str, SharedRows], args, device: torch.device) -> Callable[[], float]:
    """Return an epoch of train_torch.py up to its validation, as its progress lines have it."""
    training = new_training(args, device)
    training.rows = parts

    def run() -> float:
        training.state.batch = 0
        start = clock(device)
        assert training.run_epoch(StopSignal(), None, Every(math.inf))
        wait(device)
        return parts["train"].total / (clock(device) - start)

    return run


def validated(
    parts: dict[str, SharedRows], args, device: torch.device, folder: str
) -> Callable[[], float]:
    """Return an epoch of train_torch.py as it is: also validated, logged, saved where it is due."""
    training = new_training(args, device)
    training.rows = parts
    checkpoint = Checkpoint(folder, {})

    def run() -> float:
        args.epochs = training.state.epoch + 1
        training.state.best = training.state.epoch  # always as patient
        start = clock(device)
        with contextlib.redirect_stdout(io.StringIO()), StopSignal() as stop:
            assert training.run(stop, checkpoint)
        wait(device)
        return parts["train"].total / (clock(device) - start)

    return run


def stepper(args, device: torch.device) -> Callable[[torch.Tensor, torch.Tensor], None]:
    """Forward, backward, step: the network and the optimizer are those of train_torch.py."""
    training = new_training(args, device)
    layers, optimizer = training.net.layers.train(), training.state.optimizer
    loss_of = torch.nn.functional.binary_cross_entropy_with_logits

    def step(x: torch.Tensor, y: torch.Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        loss_of(layers(x).squeeze(1), y).backward()
        optimizer.step()

    return step


def bare(rows: Rows, args, device: torch.device) -> Callable[[], float]:
    """Return the steps of an epoch and nothing else."""
    step = stepper(args, device)
    batches = list(zip(rows.x.split(args.batch_size), rows.y.split(args.batch_size), strict=True))

    def run() -> float:
        wait(device)
        start = clock(device)
        for x, y in batches:
            step(x, y)
        wait(device)
        return len(rows) / (clock(device) - start)

    return run


def single_rows(rows: Rows, args, device: torch.device) -> Callable[[], float]:
    """Return the same steps on batches of a DataLoader over single rows; few of them, for it is
    slow."""
    step = stepper(args, device)
    count = min(len(rows), 10_000)
    data = torch.utils.data.TensorDataset(rows.x[:count].cpu(), rows.y[:count].cpu())
    loader = torch.utils.data.DataLoader(data, batch_size=args.batch_size, shuffle=True)

    def run() -> float:
        wait(device)
        start = clock(device)
        for x, y in loader:
            step(x.to(device), y.to(device))
        wait(device)
        return count / (clock(device) - start)

    return run


def clock(device: torch.device) -> float:
    """Seconds that this process has used of the CPUs; where another device works, of time."""
    return time.process_time() if device.type == "cpu" else time.perf_counter()


def wait(device: torch.device) -> None:
    """Until the device has done what it was given."""
    if device.type != "cpu":
        getattr(torch, device.type).synchronize()


if __name__ == "__main__":
    sys.exit(main())
