"""Learn with PyTorch who survives: one script in a terminal, in a notebook, and as a SageMaker job.

In the terminal, from the project's folder; everything has a default:

    python scripts/training/train_torch.py
    python scripts/training/train_torch.py --epochs 40 --learning_rate 0.01 --width 32
    python scripts/training/train_torch.py --batch_size 128 --dropout 0.2 --seed 7 --device cpu
    python scripts/training/train_torch.py --validation data/titanic_test.csv --amp bf16 --epochs 5
    python scripts/training/train_torch.py --dry_run

With instance_count=2 or more the hosts train one model together (``hosts/data_parallel.py``); where
a machine has several GPUs, give ``distribution={"torch_distributed": {"enabled": True}}``. A
replicated channel gives every host all rows, and each takes its share of every batch: the same
losses as one host's, up to the order of sums, if ``dropout`` is 0. Of a sharded channel each goes
through its own rows. ``batch_size`` is that of all hosts together. ``loop_one_host.py`` and
``loop_many_hosts.py`` are the core of this script without all that makes it robust.

As a job, the hyperparameters of the Estimator are these arguments (``{"epochs": 40}``), the
channels ``train`` and, if you like, ``validation`` are the folders, and the metrics come with
``metric_definitions=train_torch.METRIC_DEFINITIONS``.

It validates on ``validation`` or, without one, on a part of train that it holds out, the same share
of each outcome. It stops when the validation loss has not fallen for ``early_stopping_epochs``, and
takes the weights of the best epoch. It leaves

    model_dir/model.pt               the weights, and beside them what was learnt of the data:
                                     means, deviations, fills for what is unknown, categories
    model_dir/parameters.json        what it was made with: hyperparameters, versions, rows, metrics
    output_data_dir/history.csv      the loss of every epoch; that of train with dropout, on the way

While it trains, model_dir holds the model of the best epoch so far, with its losses. So a job that
is killed without a signal leaves that one; its parameters.json says ``"finished": false``.

Interrupted, it goes on where it was: the same command, with the same checkpoint_dir, ends in the
same model as if nothing had happened. It saves its state there every ``checkpoint_seconds``, and
where it gets the signal SIGTERM (SageMaker's toolkit passes none on). The state is deleted when the
run is over.

The same data, hyperparameters, seed and PyTorch give the same bytes of model on every CPU of one
kind, and on a GPU the same from run to run.

A bad value, file or row ends it with one sentence and exit code 1, and nothing is written.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import checkpoints
import devices
import entry_point
import model_file
import titanic
from best_so_far import BestSoFar
from checkpoints import Every, StopSignal
from device_rows import Rows
from entry_point import integer, number
from hosts import data_parallel, torch_group
from hosts.data_parallel import Hosts
from made_with import made_with
from metrics import METRIC_DEFINITIONS, evaluate, report
from record import learning_curve, save_model, save_run, saved_file
from training_state import TrainingState

if TYPE_CHECKING:  # `import train_torch` loads none of them; what needs them imports them
    import numpy as np
    import pandas as pd
    import torch

    from checkpoints import Checkpoint
    from hosts.data_parallel import SharedRows
    from network import Network
    from splits import Part

__all__ = ["METRIC_DEFINITIONS", "evaluate", "main", "model_fn", "predict"]

MODEL_FILE = "model.pt"
HISTORY_FILE = "history.csv"

# What the numbers of a training follow from, beside the data and the device. The rest of the
# hyperparameters say when it ends, and may be changed when it goes on.
COURSE = (
    *("batch_size", "learning_rate", "weight_decay", "width", "depth", "dropout"),
    *("validation_fraction", "seed"),
)


def parser() -> entry_point.Parser:
    """Return the command line: hyperparameters first, then what SageMaker gives."""
    parser = entry_point.Parser(description=__doc__, prog="train_torch.py")
    add = entry_point.Hyperparameters(parser)
    add("epochs", 100, integer(1, 1_000_000), "passes over train, at most")
    text = "patience, in epochs; 0 never stops early"
    add("early_stopping_epochs", 10, integer(0, 1_000_000), text)
    add("batch_size", 64, integer(1, 2**24), "rows of one step")
    add("learning_rate", 0.003, number(0, above=True), "size of a step (AdamW)")
    add("weight_decay", 0.01, number(0), "how fast weights shrink by themselves (AdamW)")
    add("width", 64, integer(1, 65_536), "neurons of a hidden layer")
    add("depth", 2, integer(0, 100), "hidden layers; 0 makes a logistic regression")
    add("dropout", 0.1, number(0, 0.99), "part of the neurons left out of a step")
    add.common()
    devices.arguments(add)
    checkpoints.arguments(add, entry_point.sagemaker_arguments(parser))
    torch_group.arguments(add)
    return parser


def train(args: argparse.Namespace) -> None:
    """Read and split the data, train, evaluate, and save.

    Raises titanic.DataError or entry_point.UsageError for what the user can put right.
    """
    if args.dry_run:
        args.epochs = 1
    else:
        folders = ("model_dir", "output_data_dir", "checkpoint_dir")
        entry_point.make_folders(**{name: getattr(args, name) for name in folders})
    alone = args.hosts == "alone"
    with StopSignal() as stop, torch_group.joined(args.device, args.hosts_seconds, alone) as group:
        parts = data_parallel.load(args, group)
        device = devices.choose(args.device, several=group.size > 1)
        with devices.repeatable(args, device):
            steps = len(parts["train"].y) * args.epochs // args.batch_size
            fit(Training(args, Hosts(group), device, steps), parts, stop)


def fit(training: Training, parts: dict[str, Part], stop: StopSignal) -> None:
    """Train on the parts, or go on with an interrupted training; evaluate and save the model."""
    args, hosts, state = training.args, training.hosts, training.state
    print(training.description(), flush=True)
    run = {**training.course(), "data": checkpoints.digest(parts)}
    training.prepare(parts)
    checkpoint = None if args.dry_run else hosts.checkpoint(args.checkpoint_dir, run)
    if checkpoint:
        state.resume(checkpoint)
    finished = training.run(stop, checkpoint)
    if not finished and not state.steps:
        print("stopped before the first step: nothing is written", flush=True)
        return
    state.back_to_best()
    results = {name: training.evaluate(rows) for name, rows in training.rows.items()}
    if hosts.first:
        for name, values in results.items():
            report(name, values)
    if args.dry_run:
        print("dry run: nothing is written")
    elif hosts.first:
        curve = learning_curve({k: v for k, v in state.losses.items() if v}, "epoch")
        parameters = made_with(training, results, finished)
        model = model_file.to_bytes(training.net)
        save_run(args, {HISTORY_FILE: curve}, parameters, {MODEL_FILE: model})
    if checkpoint and finished:
        checkpoint.remove()
    elif not finished:
        print(f"stopped by SIGTERM in epoch {state.epoch + 1}: the same command goes on there")


class Training:
    """A network in training.

    The order of an epoch's rows follows from seed and epoch alone, and a checkpoint holds the state
    of the random generators. So a training that goes on draws the numbers that it would have drawn.

    Attributes:
        net: The network; ``net.layers`` is what is trained.
        layers: The same layers, compiled where that pays, and on several hosts as one.
        rows: Prepared rows, by part.
        state: How far the training has come.
    """

    def __init__(
        self, args: argparse.Namespace, hosts: Hosts, device: torch.device, steps: int
    ) -> None:
        """Prepare; ``steps``, how many there are at most, decides whether compiling pays."""
        import torch

        from network import Network, passenger_shape

        self.args, self.hosts, self.device = args, hosts, device
        torch.manual_seed(args.seed)
        shape = passenger_shape(args.width, args.depth, args.dropout)
        self.net = Network(shape).to(device)  # drawn on the CPU: the same start on every device
        self.compiled = devices.compiles(args.compile, steps, device)
        layers = devices.compiled(self.net.layers) if self.compiled else self.net.layers
        self.layers = hosts.wrap(layers)
        self.precision = devices.precision(args.amp, args.width, device)
        self.autocast = devices.autocast(self.precision, device)
        optimizer = torch.optim.AdamW(
            self.net.layers.parameters(),
            lr=args.learning_rate,
            weight_decay=args.weight_decay,
            fused=device.type in ("cpu", "cuda"),  # one kernel for all weights
        )
        scaler = torch.amp.GradScaler(device.type, enabled=self.precision == torch.float16)
        self.state = TrainingState(self.net.layers, optimizer, scaler, device)
        self.rows: dict[str, SharedRows] = {}
        self.best = BestSoFar()

    def description(self) -> str:
        """Return one line about what is about to be trained, and where."""
        import torch

        count = sum(weights.numel() for weights in self.net.layers.parameters())
        return (
            f"training {count:,} weights on {self.device.type} in {self.course()['precision']}, "
            f"batches of {self.args.batch_size:,}, {torch.get_num_threads()} thread(s)"
            + (", compiled" if self.compiled else "")
        )

    def course(self) -> dict[str, Any]:
        """Return what the numbers follow from, beside the data."""
        return {
            **{name: getattr(self.args, name) for name in COURSE},
            "device": self.device.type,
            "precision": str(self.precision).replace("torch.", ""),
            "compile": self.compiled,
        }

    def prepare(self, parts: dict[str, Part]) -> None:
        """Learn fills, means and deviations from train, and prepare the rows of all parts.

        The raw rows are taken out of ``parts``, so that memory does not hold both for long.
        """
        import torch

        for name in list(parts):
            x, y = parts.pop(name)
            if name == "train":
                prepare = self.net.prepare.to("cpu")
                prepare.learn(torch.from_numpy(x), self.hosts.gather_column)
                prepare.to(self.device)
            rows = Rows(self.net, x, y, self.device)
            self.rows[name] = self.hosts.share(rows, name, self.args)

    def run(self, stop: StopSignal, checkpoint: Checkpoint | None = None) -> bool:
        """Train until the last epoch, or the patience, is over; return False if stopped before."""
        args, state = self.args, self.state
        clock = Every(args.checkpoint_seconds)
        self.keep_best()  # where it goes on, on a new machine, that of before
        while state.epoch < args.epochs and not state.out_of_patience(args.early_stopping_epochs):
            before, start = state.batch, time.perf_counter()
            if not self.run_epoch(stop, checkpoint, clock):
                return False
            self.end_epoch(self.rows["train"].total - before * args.batch_size, start)
            self.keep_best()
        return True

    def run_epoch(self, stop: StopSignal, checkpoint: Checkpoint | None, clock: Every) -> bool:
        """Train on every row once, or on the rest of an epoch; return False if stopped in it."""
        state, rows, progress = self.state, self.rows["train"], Every(10)
        seed = self.args.seed * 1_000_003 + state.epoch
        self.net.train()
        for x, y, share in rows.batches(seed, state.batch):
            stopped, due = self.hosts.agree(stop.requested, clock.due())
            if checkpoint and state.steps and (stopped or due):
                checkpoint.save(state.as_dict())
            if stopped:
                return False
            self.step(x, y, share)
            if progress.due():
                print(f"epoch {state.epoch + 1}: {state.batch / rows.steps:.0%}", flush=True)
        return True

    def step(self, x: torch.Tensor, y: torch.Tensor, share: float) -> None:
        """Make one step of the optimizer on one batch; ``share`` is how many rows it counts for.

        Nothing here waits for the device.
        """
        import torch

        state = self.state
        self.hosts.reseed(self.args.seed, state.steps)
        state.optimizer.zero_grad(set_to_none=True)
        with self.autocast:
            logits = self.layers(x).squeeze(1)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits.float(), y)
        loss = self.hosts.weigh(loss, len(y), share)
        state.scaler.scale(loss).backward()
        state.scaler.step(state.optimizer)
        state.scaler.update()
        state.loss.add_(loss.detach(), alpha=share)
        state.end_step()

    def end_epoch(self, done: int, start: float) -> None:
        """Validate, report, and take the weights if they are the best so far.

        ``done`` rows have been trained on since ``start``. Raises UsageError if the loss is no
        number any more.
        """
        state = self.state
        self.hosts.all_reduce(state.loss)
        losses = {"train": state.loss.item() / self.rows["train"].total}  # waits for the device
        seconds = time.perf_counter() - start
        if "validation" in self.rows:
            losses["validation"] = self.mean_loss(self.rows["validation"])
        state.end_epoch(losses)
        self.hosts.print_checksum(state.epoch, self.net.layers)
        print(
            f"epoch {state.epoch} of {self.args.epochs}: {done:,} rows in {seconds:.2f} s, "
            f"{done / seconds:,.0f} a second",
            flush=True,
        )
        for name, loss in losses.items():
            if self.hosts.first:
                report(name, {"logloss": loss}, prefix=f"[{state.epoch}] ")
            if not math.isfinite(loss):
                raise entry_point.UsageError(
                    f"the {name} loss is no number any more after epoch {state.epoch}; try a "
                    f"learning_rate below {self.args.learning_rate:g}"
                )

    def keep_best(self) -> None:
        """Save the model of the best epoch so far, if there is a better one than is saved."""
        if self.hosts.first and not self.args.dry_run:
            self.best.offer(self.state.best, self.save_best)

    def save_best(self) -> None:
        """Save the weights of the best epoch so far, with its losses."""
        parameters = made_with(self, self.state.best_losses(), finished=False)
        model = model_file.to_bytes(self.net, self.state.best_weights)
        save_model(self.args, parameters, {MODEL_FILE: model})

    def mean_loss(self, rows: SharedRows) -> float:
        """Return the log loss of these rows, without dropout, in nats."""
        import torch

        total = torch.zeros((), device=self.device)
        self.net.eval()
        with torch.no_grad():
            for x, y in rows.own.in_order():
                total += torch.nn.functional.binary_cross_entropy_with_logits(
                    self.net.layers(x).squeeze(1), y, reduction="sum"
                )
        self.hosts.all_reduce(total)
        return total.item() / rows.total

    def evaluate(self, rows: SharedRows) -> dict[str, float]:
        """Return the metrics of these rows, without dropout."""
        import torch

        self.net.eval()
        with torch.no_grad():
            blocks = [self.net.layers(x).squeeze(1).sigmoid() for x, _ in rows.own.in_order()]
        probabilities = torch.cat(blocks).cpu().numpy()
        return evaluate(rows.join(rows.own.labels()), rows.join(probabilities))


def model_fn(model_dir: str | Path) -> Network:
    """Load the model that a run saved; SageMaker's serving calls this by its name.

    Raises titanic.DataError if there is none, or one that was trained on other features.
    """
    return model_file.load(saved_file(model_dir, MODEL_FILE))


def predict(net: Network, frame: pd.DataFrame) -> np.ndarray:
    """Return the probability of survival of each passenger of a checked frame; float32, (rows,)."""
    import numpy as np
    import torch

    from network import probabilities

    # pandas may keep it column by column, or not to be written to: neither is for PyTorch
    x = np.require(titanic.features(frame).to_numpy(), requirements=["C", "W"])
    return probabilities(net, torch.from_numpy(x)).numpy()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line (``sys.argv`` if None); return the exit code."""
    return entry_point.run(train, parser(), argv)


if __name__ == "__main__":
    torch_group.leave(main())
