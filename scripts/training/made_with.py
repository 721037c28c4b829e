"""What train_torch.py saves beside a model: what it was made with."""

from __future__ import annotations

from typing import Any

import titanic
from record import record

# Hyperparameters that say when a training ends. They may be changed when it goes on.
ENDS = ("epochs", "early_stopping_epochs")


def made_with(
    training: Any, results: dict[str, dict[str, float]], finished: bool
) -> dict[str, Any]:
    """Return what is saved beside a model of this ``train_torch.Training``."""
    import numpy
    import pandas
    import torch

    args, state = training.args, training.state
    return record(
        {**{name: getattr(args, name) for name in ENDS}, **training.course()},
        features=titanic.FEATURES,
        rows={name: rows.total for name, rows in training.rows.items()},
        results=results,
        packages=(torch, numpy, pandas),
        **training.hosts.record(training.rows),
        epochs={"trained": state.epoch, "kept": state.best, "finished": finished},
        statistics=training.net.prepare.statistics(titanic.FEATURES),
    )
