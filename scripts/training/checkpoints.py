"""Checkpoints of a PyTorch run, and the signal that asks it to stop.

    checkpoint = Checkpoint(folder, run={"learning_rate": 0.003, ...})
    state = checkpoint.load()           # None at the first start
    with StopSignal() as stop:
        ...                             # train; leave the loop when stop.requested
        checkpoint.save(state)          # complete or not at all
    checkpoint.remove()                 # the run is over

SageMaker copies the folder to S3 while a job runs, and restores it when the job, or another with
the same S3 address, starts again.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import pickle
import signal
import threading
import time
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

import entry_point

if TYPE_CHECKING:
    from splits import Part

# What torch.load raises for bytes that are no file of its own, or that hold more than data.
UNREADABLE = (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, ValueError)


def arguments(add: entry_point.Hyperparameters, machine: argparse._ArgumentGroup) -> None:
    """Add the arguments that say when and where the state of a training is saved."""
    text = "save the state so often; 0: after every step"
    add("checkpoint_seconds", 10.0, entry_point.number(0), text)
    model_dir = os.environ.get("SM_MODEL_DIR") or str(entry_point.ROOT / "build" / "model")
    machine.add_argument(
        "--checkpoint_dir",
        metavar="FOLDER",
        default=str(Path(model_dir).with_name("checkpoints")),  # in a job /opt/ml/checkpoints
        help="where the state of an interrupted training is kept",
    )


class Checkpoint:
    """The checkpoint file of one run.

    Its name comes from ``run``: whatever the numbers follow from, as plain values. So a run loads
    its own checkpoint and no other's, and one with other hyperparameters or data starts anew and
    deletes nothing.
    """

    def __init__(self, folder: str | Path, run: dict[str, Any]) -> None:
        text = json.dumps(run, sort_keys=True)
        self.path = Path(folder, f"checkpoint-{hashlib.sha256(text.encode()).hexdigest()[:12]}.pt")

    def load(self) -> dict[str, Any] | None:
        """Return what was saved last, tensors on the CPU; None if this run has not saved anything.

        Raises entry_point.UsageError if there is a file that cannot be read. Nothing in it is ever
        executed.
        """
        import torch

        if not self.path.exists():
            return None
        try:
            state: dict[str, Any] = torch.load(self.path, map_location="cpu", weights_only=True)
        except UNREADABLE as error:
            raise entry_point.UsageError(
                f"{self.path}: not a readable checkpoint; delete it to start anew"
            ) from error
        return state

    def save(self, state: dict[str, Any]) -> None:
        """Replace what was saved before: tensors, numbers, texts, lists and dicts of these."""
        import torch

        file = io.BytesIO()
        torch.save(state, file)
        entry_point.save(str(self.path.parent), {self.path.name: file.getvalue()})

    def remove(self) -> None:
        """Delete it. SageMaker then deletes its copy in S3 too."""
        self.path.unlink(missing_ok=True)

    def others(self) -> int:
        """Return how many checkpoints of other runs are in the folder."""
        return sum(path != self.path for path in self.path.parent.glob("checkpoint-*.pt"))


class StopSignal:
    """Note SIGTERM instead of ending at once, so that the loop can save and end by itself.

    SageMaker sends it to the container when a job is stopped or out of time, and waits 120 seconds.
    Whether it reaches the script depends on the image: SageMaker's toolkit does not pass it on. So
    nothing may depend on it.
    """

    requested = False

    def __enter__(self) -> StopSignal:
        # Python lets only the main thread set handlers; elsewhere SIGTERM ends it as before
        self._handles = threading.current_thread() is threading.main_thread()
        if self._handles:
            self._before = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._handles:
            signal.signal(signal.SIGTERM, self._before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.requested = True


class Every:
    """A clock that strikes once in so many seconds; with 0, each time ``due`` is called."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._last = time.monotonic()

    def due(self) -> bool:
        """Return whether the time has come; if so, start anew."""
        now = time.monotonic()
        if now - self._last < self._seconds:
            return False
        self._last = now
        return True


def digest(parts: dict[str, Part]) -> str:
    """Return a fingerprint of the rows; the same rows, in the same order, have the same."""
    digest = hashlib.blake2b(digest_size=16)
    for name, (x, y) in parts.items():
        digest.update(f"{name} {x.shape}".encode())
        digest.update(x.data.cast("B"))
        digest.update(y.tobytes())
    return digest.hexdigest()
