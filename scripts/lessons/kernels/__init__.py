"""The kernels of the lessons: that of `make`'s environment, and that of SDK 3 for lesson 10.

Jupyter finds both by the variable JUPYTER_PATH, which `offer` sets for this process and for those
that it starts; nothing is installed for the user. On a notebook instance they are installed under
the same names (`make kernel`), so that a lesson opens there with its kernel, too.
"""

from __future__ import annotations

import os
from pathlib import Path

ROOM = Path(__file__).resolve().parents[1]  # Jupyter looks for the folder `kernels` in it
VARIABLE = "JUPYTER_PATH"
NAME = "workshop-sdk3"
SDK_2 = {"display_name": "Python 3 (workshop)", "language": "python", "name": "workshop"}
SDK_3 = {"display_name": "Python 3 (SageMaker SDK 3)", "language": "python", "name": NAME}


def offer() -> None:
    """Let Jupyter find the kernels of the lessons, in this process and in those that it starts."""
    there = [path for path in os.environ.get(VARIABLE, "").split(os.pathsep) if path]
    if str(ROOM) not in there:
        os.environ[VARIABLE] = os.pathsep.join([str(ROOM), *there])


def of_lesson(py_text: str) -> dict[str, str]:
    """Return the kernel of a lesson, by its .py text: it asks for version 3 of the SDK, or not."""
    return SDK_3 if "workshop.check_sdk(3)" in py_text else SDK_2
