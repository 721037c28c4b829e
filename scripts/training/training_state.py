"""The state of a PyTorch training: what changes from step to step, and what a checkpoint holds."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from checkpoints import Checkpoint

COUNTERS = ("epoch", "batch", "steps", "best")


class TrainingState:
    """How far a training has come: all that it takes to go on as if nothing had happened.

    Attributes:
        layers: What is trained.
        optimizer: The optimizer of their weights.
        scaler: What keeps small gradients from being 0 in fp16.
        loss: Sum of the losses of this epoch's rows so far, on the device.
        losses: Of each finished epoch, by part; none of a part that there is not.
        epoch: Epochs that are finished.
        batch: Batches of the next epoch that are done.
        steps: Batches done in all.
        best: The epoch (from 1) with the lowest validation loss, 0 before the first. Without
            validation it is the last.
        best_weights: Those of that epoch.
    """

    def __init__(
        self,
        layers: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        scaler: torch.amp.GradScaler,
        device: torch.device,
    ) -> None:
        import torch

        self.layers, self.optimizer, self.scaler, self.device = layers, optimizer, scaler, device
        self.epoch = self.batch = self.steps = self.best = 0
        self.loss = torch.zeros((), device=device)
        self.losses: dict[str, list[float]] = {"train": [], "validation": []}
        self.best_weights: dict[str, torch.Tensor] = {}

    def end_step(self) -> None:
        """Count a batch."""
        self.batch += 1
        self.steps += 1

    def end_epoch(self, losses: dict[str, float]) -> None:
        """Note the losses of an epoch, by part, and its weights if it is the best so far."""
        self.epoch, self.batch = self.epoch + 1, 0
        self.loss.zero_()
        for name, loss in losses.items():
            self.losses[name].append(loss)
        compared = self.losses["validation"]
        if not compared or compared[-1] < min(compared[:-1], default=math.inf):
            self.best = self.epoch
            weights = self.layers.state_dict()
            self.best_weights = {name: value.clone() for name, value in weights.items()}

    def out_of_patience(self, epochs: int) -> bool:
        """Return whether the last so many ``epochs`` were no better; 0 has endless patience."""
        return 0 < epochs <= self.epoch - self.best

    def best_losses(self) -> dict[str, dict[str, float]]:
        """Return the losses of the best epoch, by part, as metrics.evaluate returns its values."""
        parts = {name: values for name, values in self.losses.items() if values}
        return {name: {"logloss": values[self.best - 1]} for name, values in parts.items()}

    def back_to_best(self) -> None:
        """Take the weights of the best epoch, if one is finished."""
        if self.best:
            self.layers.load_state_dict(self.best_weights)

    def as_dict(self) -> dict[str, Any]:
        """Return all of it as tensors and plain values, with PyTorch's random numbers."""
        import torch

        random = {"cpu": torch.get_rng_state()}
        if self.device.type != "cpu":
            random[self.device.type] = getattr(torch, self.device.type).get_rng_state()
        return {
            "layers": self.layers.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "random": random,
            "best_weights": self.best_weights,
            "loss": self.loss,
            "losses": self.losses,
            **{name: getattr(self, name) for name in COUNTERS},
        }

    def resume(self, checkpoint: Checkpoint) -> None:
        """Go on from the checkpoint, if this run has one, and print where that is."""
        saved = checkpoint.load()
        if saved is not None:
            self.restore(saved)
            print(f"going on after {self.steps:,} steps, in epoch {self.epoch + 1}")
        elif others := checkpoint.others():
            print(
                f"starting anew: the {others} checkpoint(s) in {checkpoint.path.parent} are of "
                "other data or hyperparameters"
            )

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to where ``as_dict`` was called."""
        import torch

        self.layers.load_state_dict(state["layers"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        torch.set_rng_state(state["random"]["cpu"])
        if self.device.type != "cpu":
            getattr(torch, self.device.type).set_rng_state(state["random"][self.device.type])
        self.best_weights = state["best_weights"]
        self.loss.copy_(state["loss"])
        self.losses = state["losses"]
        for name in COUNTERS:
            setattr(self, name, state[name])
