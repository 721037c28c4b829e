"""Learn with PyTorch who survives: one script by hand, in a notebook, and as a SageMaker job.

By hand, from the project's folder; everything has a default:

    python scripts/training/train_torch.py
    python scripts/training/train_torch.py --epochs 40 --learning_rate 0.01 --width 32
    python scripts/training/train_torch.py --batch_size 128 --dropout 0.2 --seed 7 --device cpu
    python scripts/training/train_torch.py --validation data/titanic_test.csv --amp bf16 --epochs 5
    python scripts/training/train_torch.py --dry_run

With instance_count=2 or more the hosts train one model together (``process_group.py``), where a
GPU machine has several GPUs with ``distribution={"torch_distributed": {"enabled": True}}``. A
replicated channel gives every host all rows, and each takes its share of every batch: the same
losses as one host's, up to the order of sums, if ``dropout`` is 0. Of a sharded channel each goes
through its own rows. ``batch_size`` is that of all hosts together. Lines that one host would not
need end with "# hosts".

As a job, the hyperparameters of the Estimator are these arguments (``{"epochs": 40}``), the
channels ``train`` and, if you like, ``validation`` are the folders, and the metrics come with
``metric_definitions=train_torch.METRIC_DEFINITIONS``.

It validates on ``validation`` or, without one, on a part of train that it holds out, as many of
each outcome. It stops when the validation loss has not fallen for ``early_stopping_epochs``, and
keeps the weights of the best epoch. It leaves

    model_dir/model.pt               the weights, and beside them what was learnt of the data:
                                     means, deviations, fills for what is unknown, categories
    model_dir/parameters.json        what it was made with: hyperparameters, versions, rows, metrics
    output_data_dir/history.csv      the loss of every epoch; that of train with dropout, on the way

Interrupted, it goes on where it was: the same command, with the same checkpoint_dir, ends in the
same model as if nothing had happened. It saves its state there every ``checkpoint_seconds`` and
when SageMaker stops the job (SIGTERM), then with the model of the best epoch so far. The state is
deleted when the run is over.

The same data, hyperparameters, seed and PyTorch give the same bytes of model on every CPU of one
kind, and on a GPU the same from run to run.

A bad value, file or row ends it with one sentence and exit code 1, and nothing is written.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import math
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import entry_point
import process_group  # hosts
import titanic
from checkpoints import UNREADABLE, Checkpoint, Every, StopSignal
from entry_point import integer, number, one_of
from metrics import METRIC_DEFINITIONS, evaluate, report
from record import PARAMETERS_FILE, record
from splits import Part, load

if TYPE_CHECKING:  # `import train_torch` loads none of them; what needs them imports them
    import numpy as np
    import pandas as pd
    import torch

    from network import Network

__all__ = ["METRIC_DEFINITIONS", "evaluate", "main", "model_fn", "predict"]

MODEL_FILE = "model.pt"
HISTORY_FILE = "history.csv"
OPTIONAL = ("Age", "Fare")  # what may be unknown of a passenger, but for the port: see titanic.py

# What the numbers of a training follow from, beside the data and the device. The rest of the
# hyperparameters say when it ends, and may be changed when it goes on.
COURSE = (
    *("batch_size", "learning_rate", "weight_decay", "width", "depth", "dropout"),
    *("validation_fraction", "seed"),
)
ENDS = ("epochs", "early_stopping_epochs")

# A step that is done in a blink is done sooner by one thread than by two that wait for each other.
FLOP_PER_THREAD = 2e8
# Rows that are drawn together, to be cut into batches: one gather for many batches.
BLOCK_ROWS = 65_536
CACHED_ROWS = 8_192  # rows whose hidden layers fit in a CPU's cache
# torch.compile takes half a minute before the first step, and saves a fraction of a millisecond in
# each; autocast casts weights in every step, which pays where the layers are wide.
COMPILE_STEPS = 100_000
AUTOCAST_WIDTH = 256


def parser() -> entry_point.Parser:
    """The command line: hyperparameters first, then what SageMaker gives."""
    parser = entry_point.Parser(description=__doc__, prog="train_torch.py")
    add = entry_point.Hyperparameters(parser)
    add("epochs", 100, integer(1, 1_000_000), "passes over train, at most")
    add(
        "early_stopping_epochs",
        10,
        integer(0, 1_000_000),
        "patience, in epochs; 0 never stops early",
    )
    add("batch_size", 64, integer(1, 2**24), "rows of one step")
    add("learning_rate", 0.003, number(0, above=True), "size of a step (AdamW)")
    add("weight_decay", 0.01, number(0), "how fast weights shrink by themselves (AdamW)")
    add("width", 64, integer(1, 65_536), "neurons of a hidden layer")
    add("depth", 2, integer(0, 100), "hidden layers; 0 makes a logistic regression")
    add("dropout", 0.1, number(0, 0.99), "part of the neurons left out of a step")
    add.common()
    words = ("auto", "off", "bf16", "fp16")
    text = f"mixed precision; auto: on a CUDA device, for layers of {AUTOCAST_WIDTH} or wider"
    add("amp", "auto", one_of(*words), text, metavar="|".join(words))
    words = ("auto", "true", "false")
    text = f"torch.compile; auto: on a CUDA device, for {COMPILE_STEPS:,} steps or more"
    add("compile", "auto", one_of(*words), text, metavar="|".join(words))
    words = ("auto", "cpu", "cuda", "mps")
    add("device", "auto", one_of(*words), "where to train", metavar="|".join(words))
    add("checkpoint_seconds", 10.0, number(0), "save the state so often; 0: after every step")
    process_group.arguments(add)  # hosts
    machine = entry_point.sagemaker_arguments(parser)
    model_dir = os.environ.get("SM_MODEL_DIR") or str(entry_point.ROOT / "build" / "model")
    machine.add_argument(
        "--checkpoint_dir",
        metavar="FOLDER",
        default=str(Path(model_dir).with_name("checkpoints")),  # in a job /opt/ml/checkpoints
        help="where the state of an interrupted training is kept",
    )
    return parser


# --- the whole ------------------------------------------------------------------------------------


def train(args: argparse.Namespace) -> None:
    """Read, train, say how good it is, and save: the whole script.

    Raises titanic.DataError or entry_point.UsageError for what the user can put right.
    """
    if args.dry_run:
        args.epochs = 1
    else:
        folders = ("model_dir", "output_data_dir", "checkpoint_dir")
        entry_point.make_folders(**{name: getattr(args, name) for name in folders})
    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(StopSignal())
        group = stack.enter_context(process_group.joined(args))  # hosts
        parts = load(
            args,
            group,  # hosts
        )
        device = choose_device(args.device)
        with repeatable(args, device):
            fit(parts, args, device, stop)


def features(frame: pd.DataFrame) -> np.ndarray:
    """What the network gets of checked passengers: float32 (rows, features), NaN for unknown."""
    import numpy as np

    # pandas may keep it column by column, or not to be written to: neither is for PyTorch
    return np.require(titanic.features(frame).to_numpy(), requirements=["C", "W"])


def fit(
    parts: dict[str, Part], args: argparse.Namespace, device: torch.device, stop: StopSignal
) -> None:
    """Train on the parts and save, or go on with what was interrupted."""
    training = Training(args, device, steps=len(parts["train"].y) * args.epochs // args.batch_size)
    print(training.told(), flush=True)
    run = {**training.course(), "data": digest(parts)}
    rows = {}
    for name in list(parts):
        x, y = parts.pop(name)  # the prepared rows take their place
        if name == "train":
            training.learn(x)
        rows[name] = Rows(training.net, x, y, device)
        process_group.spread(rows[name], name)  # hosts
    writes = not args.dry_run
    checkpoint = Checkpoint(args.checkpoint_dir, run) if writes else None
    checkpoint = process_group.shared(checkpoint, run)  # hosts
    writes = writes and process_group.rank() == 0  # hosts
    if checkpoint:
        resume(training, checkpoint)
    finished = training.run(rows, stop, checkpoint)
    if not finished and not training.steps:
        print("stopped before the first step: nothing is written", flush=True)
        return
    training.back_to_best()
    results = {}
    for name, part in rows.items():
        y, chances = part.labels(), training.probabilities(part)
        y, chances = process_group.whole(part, y, chances)  # hosts
        results[name] = evaluate(y, chances)
        report(name, results[name])
    if args.dry_run:
        print("dry run: nothing is written")
    if writes:
        save(training, {name: part.total for name, part in rows.items()}, results, args, finished)
    if checkpoint and finished:
        checkpoint.remove()
    elif not finished:
        print(f"stopped by SIGTERM in epoch {training.epoch + 1}: the same command goes on there")


def resume(training: Training, checkpoint: Checkpoint) -> None:
    """Go on from the checkpoint, if this run has one; says which way it was."""
    state = checkpoint.load()
    if state is not None:
        training.load_state(state)
        print(f"going on after {training.steps:,} steps, in epoch {training.epoch + 1}")
    elif others := checkpoint.others():
        print(
            f"starting anew: the {others} checkpoint(s) in {checkpoint.path.parent} are of other "
            "data or hyperparameters"
        )


def digest(parts: dict[str, Part]) -> str:
    """A fingerprint of the rows; the same rows, in the same order, have the same."""
    made = hashlib.blake2b(digest_size=16)
    for name, (x, y) in parts.items():
        made.update(f"{name} {x.shape}".encode())
        made.update(memoryview(x).cast("B"))
        made.update(y.tobytes())
    return made.hexdigest()


# --- the machine ----------------------------------------------------------------------------------


def choose_device(wanted: str) -> torch.device:
    """The device to train on. Raises UsageError for one that is not there."""
    import torch

    there = ["cpu"]
    if torch.backends.mps.is_available():
        there.insert(0, "mps")
    if torch.cuda.is_available():
        there.insert(0, "cuda")
    if wanted != "auto" and wanted not in there:
        raise entry_point.UsageError(
            f"argument --device: there is no {wanted} here for PyTorch {torch.__version__}, only "
            f"{' and '.join(there)}"
        )
    return torch.device(there[0] if wanted == "auto" else wanted)


def precision(wanted: str, width: int, device: torch.device) -> torch.dtype:
    """The type that matrix products are computed in. Raises UsageError for what cannot be."""
    import torch

    if wanted == "fp16" and device.type != "cuda":
        raise entry_point.UsageError(
            f"argument --amp: fp16 needs a CUDA device, and this is {device.type}; bf16 runs here"
        )
    named = {"off": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    if wanted != "auto":
        return named[wanted]
    if device.type != "cuda" or width < AUTOCAST_WIDTH:
        return torch.float32
    return torch.bfloat16 if torch.cuda.get_device_capability(device) >= (8, 0) else torch.float16


@contextlib.contextmanager
def repeatable(args: argparse.Namespace, device: torch.device) -> Iterator[None]:
    """The same numbers in every run; PyTorch's settings are afterwards as they were before.

    Sums over a fixed number of threads, so that a machine with more of them gives the same.
    """
    import torch

    # cuBLAS reads it when it starts; without it, deterministic algorithms are refused
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    flop = 6 * args.batch_size * (args.width**2 * max(0, args.depth - 1) + 12 * args.width)
    before = (
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        torch.utils.deterministic.fill_uninitialized_memory,
    )
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.set_num_threads(max(1, min(args.nthread, int(flop / FLOP_PER_THREAD))))
        torch.use_deterministic_algorithms(True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # it costs, and we read none
        try:
            yield
        finally:
            torch.set_num_threads(before[0])
            torch.use_deterministic_algorithms(before[1])
            torch.utils.deterministic.fill_uninitialized_memory = before[2]


class Rows:
    """Prepared rows and their labels, kept on the device where they fit, else in memory beside it.

    ``x`` is float32 of shape (rows, inputs), ``y`` float32 of shape (rows,). ``total`` is how many
    rows the part has, on all hosts.
    """

    def __init__(self, net: Network, x: np.ndarray, y: np.ndarray, device: torch.device) -> None:
        import torch

        self.device, self.total = device, len(y)
        inputs = net.shape.columns + len(net.shape.optional)
        stays = fits(4 * (inputs + 2) * len(y), device)
        self.x = torch.empty((len(y), inputs), device=device if stays else "cpu")
        self.y = torch.tensor(y, dtype=torch.float32, device=self.x.device)
        raw = torch.from_numpy(x)
        with torch.no_grad():
            for at in range(0, len(y), BLOCK_ROWS):
                block = raw[at : at + BLOCK_ROWS].to(device)
                self.x[at : at + BLOCK_ROWS] = net.prepare(block)
        if not stays and device.type == "cuda":  # so that copies to the device need not be awaited
            self.x, self.y = self.x.pin_memory(), self.y.pin_memory()

    def __len__(self) -> int:
        return len(self.y)

    def labels(self) -> np.ndarray:
        """0 or 1 for each row, float32 of shape (rows,)."""
        return self.y.cpu().numpy()

    def order(self, seed: int) -> torch.Tensor:
        """The rows' places, shuffled: int64 of shape (rows,), drawn where the rows are."""
        import torch

        where = self.x.device
        return torch.randperm(
            len(self), device=where, generator=torch.Generator(where).manual_seed(seed)
        )

    def batches(
        self, order: torch.Tensor, sizes: list[int]
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Batches of so many rows each in this order, on the device. No loop over rows, and one
        gather for many batches: the batches are views of what it gave.
        """
        several = max(1, BLOCK_ROWS // max([1, *sizes]))
        for first in range(0, len(sizes), several):
            some = sizes[first : first + several]
            block, order = order[: sum(some)], order[sum(some) :]
            x = self.x[block].to(self.device, non_blocking=True)
            y = self.y[block].to(self.device, non_blocking=True)
            yield from zip(x.split(some), y.split(some), strict=True)

    def in_order(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """All rows as they came, in large blocks on the device."""
        size = CACHED_ROWS if self.device.type == "cpu" else BLOCK_ROWS
        for x, y in zip(self.x.split(size), self.y.split(size), strict=True):
            yield x.to(self.device), y.to(self.device)


def cut(rows: int, batch: int) -> list[int]:
    """How many rows each step has: ``batch``, but for the last."""
    full, rest = divmod(rows, batch)
    return [batch] * full + [rest] * bool(rest)


def fits(size: int, device: torch.device) -> bool:
    """Whether so many bytes of rows leave half of what is free on the device to the training."""
    import torch

    return device.type != "cuda" or size < torch.cuda.mem_get_info(device)[0] / 2


# --- the training ---------------------------------------------------------------------------------


class Training:
    """A network in training: weights, optimizer, and how far it has come.

    The order of an epoch's rows follows from seed and epoch alone, and its state holds that of the
    random generators. So a training that goes on draws the numbers that it would have drawn.

    Attributes:
        net: The network; ``net.layers`` is what is trained.
        epoch: Epochs that are finished.
        batch: Batches of the next epoch that are done.
        steps: Batches done in all.
        losses: Of each finished epoch, by part.
        best: The epoch (from 1) that validated best, 0 before the first.
    """

    def __init__(self, args: argparse.Namespace, device: torch.device, steps: int) -> None:
        """``steps``: how many there will be at most, from which follows whether compiling pays."""
        import torch

        from network import Network, Shape

        self.args, self.device = args, device
        torch.manual_seed(args.seed)
        optional = tuple(titanic.FEATURES.index(name) for name in OPTIONAL)
        shape = Shape(len(titanic.FEATURES), optional, args.width, args.depth, args.dropout)
        self.net = Network(shape).to(device)  # drawn on the CPU: the same start on every device
        self.precision = precision(args.amp, args.width, device)
        auto = device.type == "cuda" and steps >= COMPILE_STEPS
        self.compiled = auto if args.compile == "auto" else args.compile == "true"
        self.layers = (
            torch.compile(self.net.layers, dynamic=False) if self.compiled else self.net.layers
        )
        if process_group.size() > 1:  # hosts
            self.layers = torch.nn.parallel.DistributedDataParallel(self.layers)  # hosts
        self.optimizer = torch.optim.AdamW(
            self.net.layers.parameters(),
            lr=args.learning_rate,
            weight_decay=args.weight_decay,
            fused=device.type in ("cpu", "cuda"),  # one kernel for all weights
        )
        self.scaler = torch.amp.GradScaler(
            device.type, enabled=self.precision == torch.float16
        )  # small gradients would be 0 in fp16
        self.epoch = self.batch = self.steps = self.best = 0
        self.losses: dict[str, list[float]] = {"train": [], "validation": []}
        self.best_weights = {}
        self.loss = torch.zeros((), device=device)  # sum over the rows of this epoch so far

    def told(self) -> str:
        """One line about what is about to be trained, and where."""
        import torch

        count = sum(weights.numel() for weights in self.net.layers.parameters())
        return (
            f"training {count:,} weights on {self.device.type} in {self.kind()}, batches of "
            f"{self.args.batch_size:,}, {torch.get_num_threads()} thread(s)"
            + (", compiled" if self.compiled else "")
        )

    def kind(self) -> str:
        """The type of its matrix products, in words."""
        return str(self.precision).removeprefix("torch.")

    def course(self) -> dict[str, Any]:
        """What its numbers follow from, beside the data."""
        return {
            **{name: getattr(self.args, name) for name in COURSE},
            "device": self.device.type,
            "precision": self.kind(),
            "compile": self.compiled,
        }

    def learn(self, x: np.ndarray) -> None:
        """Learn fills, means and deviations from the raw training rows."""
        import torch

        prepare = self.net.prepare.to("cpu")
        prepare.learn(
            torch.from_numpy(x),
            process_group.column,  # hosts
        )
        prepare.to(self.device)

    def run(
        self, rows: dict[str, Rows], stop: StopSignal, checkpoint: Checkpoint | None = None
    ) -> bool:
        """Train until the last epoch, or the patience, is over; False if it was stopped before."""
        clock = Every(self.args.checkpoint_seconds)
        while self.epoch < self.args.epochs and not self.out_of_patience():
            before, start = self.batch, time.perf_counter()
            if not self.run_epoch(rows["train"], stop, checkpoint, clock):
                return False
            done = rows["train"].total - before * self.args.batch_size
            self.end_epoch(rows, done, start)
        return True

    def run_epoch(
        self, rows: Rows, stop: StopSignal, checkpoint: Checkpoint | None, clock: Every
    ) -> bool:
        """Train on every row once, or on the rest of an epoch; False if it was stopped in it."""
        seed = self.args.seed * 1_000_003 + self.epoch
        if self.batch == 0:  # else the sum of a checkpoint is in place
            self.loss.zero_()
        self.net.train()
        batch, progress = self.args.batch_size, Every(10)
        order, sizes = rows.order(seed), cut(len(rows), batch)
        order, sizes = process_group.share(rows, order, sizes, batch)  # hosts
        done = sum(sizes[: self.batch])
        for x, y in rows.batches(order[done:], sizes[self.batch :]):
            stopped, due, share = stop.requested, clock.due(), len(y)
            stopped, due, share = process_group.agree(stopped, due, share)  # hosts
            if checkpoint and self.steps and (stopped or due):
                checkpoint.save(self.state())
            if stopped:
                return False
            self.step(x, y, share)
            if progress.due():
                print(f"epoch {self.epoch + 1}: {self.batch / len(sizes):.0%}", flush=True)
        return True

    def step(self, x: torch.Tensor, y: torch.Tensor, share: float) -> None:
        """One step of the optimizer on one batch; ``share`` is how many rows it counts for.

        Nothing here waits for the device.
        """
        import torch

        process_group.reseed(self.args.seed, self.steps)  # hosts
        self.optimizer.zero_grad(set_to_none=True)
        mixed = self.precision != torch.float32
        with (
            torch.autocast(self.device.type, self.precision) if mixed else contextlib.nullcontext()
        ):
            logits = self.layers(x).squeeze(1)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits.float(), y)
        loss = process_group.weigh(loss, len(y), share)  # hosts
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.loss.add_(loss.detach(), alpha=share)
        self.batch += 1
        self.steps += 1

    def end_epoch(self, rows: dict[str, Rows], done: int, start: float) -> None:
        """Validate, keep the weights if they are the best so far, and say how it went.

        Raises UsageError if the loss is no number any more.
        """
        process_group.add_up(self.loss)  # hosts
        losses = {"train": self.loss.item() / rows["train"].total}  # waits for the device
        seconds = time.perf_counter() - start
        if "validation" in rows:
            losses["validation"] = self.mean_loss(rows["validation"])
        self.epoch, self.batch = self.epoch + 1, 0
        process_group.tell(self.epoch, self.net.layers)  # hosts
        print(
            f"epoch {self.epoch} of {self.args.epochs}: {done:,} rows in {seconds:.2f} s, "
            f"{done / seconds:,.0f} a second",
            flush=True,
        )
        for name, loss in losses.items():
            report(name, {"logloss": loss}, prefix=f"[{self.epoch}] ")
            if not math.isfinite(loss):
                raise entry_point.UsageError(
                    f"the {name} loss is no number any more after epoch {self.epoch}; try a "
                    f"learning_rate below {self.args.learning_rate:g}"
                )
            self.losses[name].append(loss)
        compared = self.losses["validation"]
        if not compared or compared[-1] < min(compared[:-1], default=math.inf):
            self.best = self.epoch
            weights = self.net.layers.state_dict()
            self.best_weights = {name: value.clone() for name, value in weights.items()}

    def mean_loss(self, rows: Rows) -> float:
        """Log loss of these rows, without dropout, in nats."""
        import torch

        total = torch.zeros((), device=self.device)
        self.net.eval()
        with torch.no_grad():
            for x, y in rows.in_order():
                total += torch.nn.functional.binary_cross_entropy_with_logits(
                    self.net.layers(x).squeeze(1), y, reduction="sum"
                )
        process_group.add_up(total)  # hosts
        return total.item() / rows.total

    def probabilities(self, rows: Rows) -> np.ndarray:
        """Of each row, without dropout; float32 of shape (rows,)."""
        import torch

        self.net.eval()
        with torch.no_grad():
            found = [self.net.layers(x).squeeze(1).sigmoid() for x, _ in rows.in_order()]
        return torch.cat(found).cpu().numpy()

    def out_of_patience(self) -> bool:
        """Whether it has not got better for ``early_stopping_epochs``."""
        patience = self.args.early_stopping_epochs
        return 0 < patience <= self.epoch - self.best

    def back_to_best(self) -> None:
        """Take the weights of the best epoch, if one is finished."""
        if self.best:
            self.net.layers.load_state_dict(self.best_weights)

    def state(self) -> dict[str, Any]:
        """All that it takes to go on, as tensors and plain values."""
        import torch

        random = {"cpu": torch.get_rng_state()}
        if self.device.type != "cpu":
            random[self.device.type] = getattr(torch, self.device.type).get_rng_state()
        return {
            "layers": self.net.layers.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "random": random,
            "best_weights": self.best_weights,
            "loss": self.loss,
            "losses": self.losses,
            **{name: getattr(self, name) for name in ("epoch", "batch", "steps", "best")},
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go back to where ``state`` was taken."""
        import torch

        self.net.layers.load_state_dict(state["layers"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        torch.set_rng_state(state["random"]["cpu"])
        if self.device.type != "cpu":
            getattr(torch, self.device.type).set_rng_state(state["random"][self.device.type])
        self.best_weights = state["best_weights"]
        self.loss.copy_(state["loss"])
        self.losses = state["losses"]
        for name in ("epoch", "batch", "steps", "best"):
            setattr(self, name, state[name])


# --- what it leaves -------------------------------------------------------------------------------


def save(
    training: Training,
    rows: dict[str, int],
    results: dict[str, dict[str, float]],
    args: argparse.Namespace,
    finished: bool,
) -> None:
    """Write the learning curve, then the model with its parameters."""
    import numpy
    import pandas
    import torch

    net = training.net.to("cpu")
    prepare = net.prepare
    parameters = record(
        {
            **{name: getattr(args, name) for name in ENDS},
            **training.course(),
        },
        features=list(titanic.FEATURES),
        rows=rows,
        results=results,
        packages=(torch, numpy, pandas),
        **process_group.record(),  # hosts
        epochs={"trained": training.epoch, "kept": training.best, "finished": finished},
        statistics={
            name: {
                "fill": prepare.fill[at].item(),
                "mean": prepare.mean[at].item(),
                "deviation": prepare.deviation[at].item(),
            }
            for at, name in enumerate(titanic.FEATURES)
        },
    )
    model = {
        "shape": net.shape._asdict(),
        "features": list(titanic.FEATURES),
        "categories": {name: list(values) for name, values in titanic.CATEGORIES.items()},
        "state": net.state_dict(),
    }
    file = io.BytesIO()
    torch.save(model, file)
    curve = pandas.DataFrame(
        {f"{name}:logloss": losses for name, losses in training.losses.items() if losses},
        index=pandas.RangeIndex(1, training.epoch + 1, name="epoch"),
    )
    entry_point.save(args.output_data_dir, {HISTORY_FILE: curve.to_csv().encode()})
    entry_point.save(
        args.model_dir,
        {PARAMETERS_FILE: entry_point.as_json(parameters), MODEL_FILE: file.getvalue()},
    )
    print(f"saved {Path(args.model_dir, MODEL_FILE)}")


def model_fn(model_dir: str | Path) -> Network:
    """Load the model that ``save`` wrote; SageMaker's serving calls this by its name.

    Nothing in the file is executed. Raises titanic.DataError if there is none, or one that was
    trained on other features.
    """
    import torch

    from network import Network, Shape

    path = Path(model_dir, MODEL_FILE)
    if not path.is_file():
        raise titanic.DataError(f"{path}: no such file; is this the folder a model was saved to?")
    now = (
        list(titanic.FEATURES),
        {name: list(values) for name, values in titanic.CATEGORIES.items()},
    )
    try:
        model = torch.load(path, map_location="cpu", weights_only=True)
        then = model["features"], model["categories"]
        if then == now:
            net = Network(Shape(**model["shape"]))
            net.load_state_dict(model["state"])
    except (*UNREADABLE, TypeError) as error:
        raise titanic.DataError(
            f"{path}: PyTorch {torch.__version__} cannot read this model; it may be damaged, or "
            "another script's"
        ) from error
    if then != now:
        raise titanic.DataError(
            f"{path}: trained on the features {then[0]} and the categories {then[1]}, but "
            f"titanic.py now makes {now[0]} and {now[1]}; train again"
        )
    return net.eval()


def predict(net: Network, frame: pd.DataFrame) -> np.ndarray:
    """The probability of survival of each passenger of a checked frame; float32, shape (rows,)."""
    import torch

    from network import probabilities

    return probabilities(net, torch.from_numpy(features(frame))).numpy()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line (``sys.argv`` if None); returns the exit code."""
    return entry_point.run(train, parser(), argv)


if __name__ == "__main__":
    code = main()
    process_group.leave(code)  # hosts
    sys.exit(code)
