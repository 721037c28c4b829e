"""The SageMaker SDK of this kernel, version 2 or 3: which it is, and what we use of its session.

Lessons 01 to 09 teach version 2, lesson 10 version 3, in a kernel of its own. What the lessons
import from here works in both, because it asks boto3 wherever boto3 has the answer; the SDK makes
the session and finds the role.

Importing is cheap: the SDK is loaded by `module`.
"""

from __future__ import annotations

from importlib import import_module, metadata
from pathlib import Path
from typing import Any, Protocol

from workshop.refusals import WorkshopError

# Where each version has `Session` and `get_execution_role`.
MODULES = {2: "sagemaker", 3: "sagemaker.core.helper.session_helper"}
KERNELS = {2: "Python 3 (workshop)", 3: "Python 3 (SageMaker SDK 3)"}
COMMANDS = {2: "make workshop", 3: "make sdk3"}
VENVS = {2: ".venv", 3: ".venv-sdk3"}
RANGES = {2: '"sagemaker>=2.257,<3"', 3: "sagemaker-train"}


class Session(Protocol):
    """A session of either version of the SDK, as far as the workshop uses it."""

    boto_session: Any
    sagemaker_client: Any

    @property
    def boto_region_name(self) -> str:
        """The region of the session."""

    def default_bucket(self) -> str:
        """Return the name of the session's bucket."""


def installed() -> str:
    """Return the version of the SDK here: the package's own, or of 3 that of its part for training.

    The package `sagemaker` of version 3 is a bundle of parts with version numbers of their own, and
    `sagemaker-train` alone is enough for training jobs. Raises WorkshopError where there is none.
    """
    try:
        return metadata.version("sagemaker")
    except metadata.PackageNotFoundError:
        pass
    try:
        return f"3 (sagemaker-train {metadata.version('sagemaker-train')})"
    except metadata.PackageNotFoundError as error:
        raise WorkshopError(
            "The SageMaker SDK is not installed in this kernel: choose the workshop's kernel, "
            "or run `make workshop`."
        ) from error


def major() -> int:
    """Return 2 or 3, or whatever other version of the SDK is installed."""
    return int(installed().partition(" ")[0].partition(".")[0])


def check_sdk(wanted: int = 2) -> str:
    """Return the installed version of the SageMaker SDK, which must be the wanted one.

    Raises WorkshopError otherwise: version 3 has no Estimator, no Session and no
    get_execution_role where version 2 has them.
    """
    version = installed()
    if major() != wanted:
        raise WorkshopError(
            f"This lesson needs version {wanted} of the SageMaker SDK, this kernel has {version}: "
            f"run `{COMMANDS[wanted]}` and choose the kernel {KERNELS[wanted]}; or, in an "
            f"environment of your own, run `pip install {RANGES[wanted]}` and restart."
        )
    return version


def module() -> Any:
    """Return the SDK's module that has `Session` and `get_execution_role`."""
    return import_module(MODULES[major()])


def python(version: int) -> str:
    """Return the path of the Python that has a version of the SDK, to start a program with it.

    Raises WorkshopError where its environment is not set up.
    """
    root = Path(__file__).resolve().parents[2]
    path = root / VENVS[version] / "bin" / "python"
    if not path.exists():
        raise WorkshopError(
            f"The environment of version {version} of the SageMaker SDK is not set up: run "
            f"`{COMMANDS[version]}` in {root}."
        )
    return str(path)
