"""The parts of the toolkit that scripts import from `sagemaker_containers.beta.framework`."""

from sagemaker_training import (
    content_types,
    encoders,
    entry_point,
    errors,
    files,
    functions,
    mapping,
    modules,
    params,
    runner,
)

from ... import _env as env
from ..._env import TrainingEnv, training_env
from . import transformer, worker

__all__ = [
    "TrainingEnv",
    "content_types",
    "encoders",
    "entry_point",
    "env",
    "errors",
    "files",
    "functions",
    "mapping",
    "modules",
    "params",
    "runner",
    "training_env",
    "transformer",
    "worker",
]
