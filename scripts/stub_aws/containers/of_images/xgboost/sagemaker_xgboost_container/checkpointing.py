"""Checkpoints of a training in script mode: `xgboost-checkpoint.ROUND`, the newest five."""

from __future__ import annotations

import contextlib
import logging
import re
from pathlib import Path
from typing import Any

import xgboost as xgb
from builtin_xgboost.callbacks import CHECKPOINT, Checkpoints, MetricLines, SavedEachRound
from xgboost.callback import TrainingCallback

CHECKPOINT_FILENAME = CHECKPOINT


def train(train_args: dict[str, Any], checkpoint_dir: str) -> xgb.Booster:
    """Call `xgb.train(**train_args)` so that it goes on from the newest checkpoint and makes more.

    As the rounds of the checkpoint count, fewer are trained.
    """
    arguments = dict(train_args)
    model, first_round = load_checkpoint(checkpoint_dir)
    if model is not None:
        logging.info("Checkpoint loaded from %s", model)
        logging.info("Resuming from iteration %s", first_round)
    arguments["callbacks"] = [
        *(arguments.get("callbacks") or []),
        print_checkpointed_evaluation(start_iteration=first_round),
        save_checkpoint(checkpoint_dir, start_iteration=first_round),
    ]
    arguments["verbose_eval"] = False  # the first of those prints
    arguments["xgb_model"] = model
    arguments["num_boost_round"] = arguments.get("num_boost_round", 10) - first_round
    return xgb.train(**arguments)


def load_checkpoint(checkpoint_dir: str | None, max_try: int = 5) -> tuple[str | None, int]:
    """Return the newest checkpoint that can be read, and the number of rounds behind it."""
    folder = Path(checkpoint_dir or "")
    if not checkpoint_dir or not folder.is_dir():
        return None, 0
    pattern = re.compile(rf"{CHECKPOINT}\.(\d+)")
    checkpoints = sorted(
        (int(match[1]), path)
        for path in folder.iterdir()
        if (match := pattern.fullmatch(path.name))
    )
    for number, path in checkpoints[::-1][:max_try]:
        with contextlib.suppress(xgb.core.XGBoostError):  # half written
            xgb.Booster().load_model(path)
            return str(path), number + 1
    return None, 0


def print_checkpointed_evaluation(
    period: int = 1, show_stdv: bool = True, start_iteration: int = 0, **_: Any
) -> TrainingCallback:
    """Return a callback that prints the metrics of each round, counted from the first run on."""
    return MetricLines(start_iteration)


def save_checkpoint(
    checkpoint_dir: str, start_iteration: int = 0, max_to_keep: int = 5, **_: Any
) -> TrainingCallback:
    """Return a callback that keeps the models of the last rounds; for the first host only."""
    return Checkpoints(Path(checkpoint_dir), start_iteration, max_to_keep)


def save_intermediate_model(
    intermediate_model_dir: str, model_name: str, **_: Any
) -> TrainingCallback:
    """Return a callback that keeps the newest model in one file."""
    return SavedEachRound(Path(intermediate_model_dir), model_name)


SaveCheckpoint, SaveIntermediateModel = save_checkpoint, save_intermediate_model
