"""Start the kernel of lesson 10 from .venv-sdk3; where that is not set up, from this very Python.

Jupyter runs this with its own Python. Where the environment is missing, the kernel starts all the
same, and the lesson's first cell says in one sentence what to do, which a kernel that cannot start
does not.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[4]
VENV = ROOT / ".venv-sdk3"
KERNEL = ["-m", "ipykernel_launcher", *sys.argv[1:]]

if __name__ == "__main__":
    is_complete = (VENV / "installed-requirements.txt").is_file()  # see .ci/make_venv
    python = str(VENV / "bin" / "python") if is_complete else sys.executable
    os.execv(python, [python, *KERNEL])  # noqa: S606 - the kernel is this process, for its signals
