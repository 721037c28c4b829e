"""Makes a headless kernel report every failure; runs inside it, as an IPython startup file.

A cell can fail although neither its reply nor its outputs show it:

- Importing the SageMaker SDK installs rich tracebacks in IPython: a cell that fails then stores no
  output of type "error", and a checker that looks for one (nbmake does) calls the notebook passed.
- `%run script.py` shows the script's traceback, or its exit code, and the cell's reply is "ok".
- `!command` ignores the command's exit code.

This module prevents the first, and turns the third into an error output like the second's. The
kernel also ends, with the scripts that it runs, when the runner is killed: it may be one that runs
against a real account. (ipykernel's own watch ends the kernel alone.)

Only the runner uses this; a learner's own kernel stays as it is. See `strict_kernels` in
run.py.
"""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import threading
import time

from IPython import get_ipython


def _keep_standard_tracebacks(shell_class: type) -> None:
    standard = shell_class._showtraceback
    shell_class._showtraceback = property(
        lambda shell: functools.partial(standard, shell),
        lambda shell, replacement: None,  # what rich assigns
    )


def _report_failed_commands(shell) -> None:
    def forget_exit_code(info) -> None:
        shell.user_ns["_exit_code"] = 0

    def show_exit_code(result) -> None:
        if code := shell.user_ns.get("_exit_code"):
            failure = subprocess.CalledProcessError(code, "a ! command of this cell")
            shell._showtraceback(type(failure), failure, [str(failure)])

    shell.events.register("pre_run_cell", forget_exit_code)
    shell.events.register("post_run_cell", show_exit_code)


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.2)
    os.killpg(os.getpid(), signal.SIGKILL)


_shell = get_ipython()
if os.getpgrp() == os.getpid():  # the kernel leads its group, so nothing else is in it
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
_keep_standard_tracebacks(type(_shell))
_report_failed_commands(_shell)
del _shell
