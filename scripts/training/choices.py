"""Hyperparameters of an entry point that can train one of several models.

SETTINGS = {"logistic": {"C": Setting(1.0, number(0), "inverse of ...")}, "forest": {...}}
choices.add_arguments(add, SETTINGS)            # --C ..., of all models
settings = choices.settings(args, SETTINGS)     # of the model that --model names
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from entry_point import Hyperparameters, UsageError


class Setting(NamedTuple):
    """A hyperparameter of one model: the library's own name, its default here, how it is read."""

    default: Any
    read: Callable[[str], Any]
    text: str


def add_arguments(add: Hyperparameters, models: Mapping[str, Mapping[str, Setting]]) -> None:
    """Add the hyperparameters of all models to a command line, each name once."""
    for name in dict.fromkeys(name for settings in models.values() for name in settings):
        owners = {model: settings[name] for model, settings in models.items() if name in settings}
        text = ". ".join(
            f"{model}: {one.text}, default {one.default}" for model, one in owners.items()
        )
        # No default here: so a name that was left out differs from one that must be refused.
        add(name, None, next(iter(owners.values())).read, text)


def settings(
    args: argparse.Namespace, models: Mapping[str, Mapping[str, Setting]]
) -> dict[str, Any]:
    """Return the hyperparameters of the model ``args.model``, from the command line or by default.

    Raises UsageError for one that belongs to another model: to ignore it would waste the job.
    """
    own = models[args.model]
    values: dict[str, Any] = {name: setting.default for name, setting in own.items()}
    for name in dict.fromkeys(name for settings in models.values() for name in settings):
        value = getattr(args, name)
        if value is None:
            continue
        if name not in own:
            owners = " or ".join(model for model, settings in models.items() if name in settings)
            raise UsageError(
                f"argument --{name}: belongs to --model {owners}; --model {args.model} takes "
                f"{', '.join(own)}"
            )
        values[name] = value
    return values
