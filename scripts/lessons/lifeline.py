"""Runs a command that ends, with all that it has started, when its owner ends.

    python -m lessons.lifeline FD COMMAND...

FD is the reading end of a pipe. Its owner holds the only writing end, so the pipe ends with the
owner, also by SIGKILL. Then COMMAND gets SIGINT, as by Ctrl-C, and what still runs GRACE_S later is
killed. Until then this forwards SIGINT to COMMAND; SIGTERM kills at once.

All that COMMAND has started means its descendants, in any session (kernels are in their own). On
Linux this process adopts them when their parents have ended, and so finds them.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType

import psutil

ROOT = Path(__file__).resolve().parent.parent.parent
GRACE_S = 10.0
KILL_S = 10.0  # within which a killed process ends, unless the kernel blocks it
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h
LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


class Child:
    """A command that ends with this process, in whatever way this ends. Call its `end` at last."""

    def __init__(self, command: Sequence[str]) -> None:
        line, self._held = os.pipe()  # only what is named below is inherited
        program = [sys.executable, "-m", "lessons.lifeline", str(line), *command]
        try:
            # A session of its own: only this process gets Ctrl-C of the terminal, and decides.
            self._process = subprocess.Popen(
                program, cwd=ROOT, start_new_session=True, pass_fds=[line]
            )
        finally:
            os.close(line)

    def wait(self, timeout_s: float) -> int:
        """Return the exit code of the command. Raises subprocess.TimeoutExpired."""
        return self._process.wait(timeout_s)

    def end(self, patience_s: float) -> None:
        """Interrupt the command as Ctrl-C would; kill it with all it has started if it goes on."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(patience_s)
            except subprocess.TimeoutExpired:
                self._process.terminate()
                self._process.wait()
        os.close(self._held)


# --- the process between the two ------------------------------------------------------------------


def end_with(parent: int) -> None:
    """Make the command end when we are killed; called in its process, before it begins."""
    if LIBC:
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # killed before that
            os._exit(128 + signal.SIGKILL)


def kill_descendants() -> None:
    """Kill all processes below this one, until none runs."""
    deadline = time.monotonic() + KILL_S
    while time.monotonic() < deadline:
        running = [
            process
            for process in psutil.Process().children(recursive=True)
            if _status(process) not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
        ]
        if not running:
            return
        for process in running:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue  # it has ended by itself
        psutil.wait_procs(running, timeout=0.2)


def _status(process: psutil.Process) -> str:
    try:
        return process.status()
    except psutil.NoSuchProcess:
        return psutil.STATUS_DEAD


def _pass_on(ask: threading.Event, child: subprocess.Popen[bytes]) -> None:
    while ask.wait():
        ask.clear()
        if child.poll() is None:
            with suppress(ProcessLookupError):  # it has just ended
                os.killpg(child.pid, signal.SIGINT)


def _watch(line: int, ask: threading.Event) -> None:
    os.read(line, 1)  # returns when nobody holds the other end
    print("The process that started this has ended: ending it.", file=sys.stderr, flush=True)
    ask.set()
    time.sleep(GRACE_S)
    os.kill(os.getpid(), signal.SIGTERM)


def _kill(number: int, _: FrameType | None) -> None:
    kill_descendants()
    os._exit(128 + number)


def main(arguments: Sequence[str]) -> int:
    """Run the command line, and return the exit code of COMMAND."""
    line, command = int(arguments[0]), arguments[1:]
    ask, us = threading.Event(), os.getpid()
    signal.signal(signal.SIGINT, lambda *_: ask.set())
    signal.signal(signal.SIGTERM, _kill)
    if LIBC:
        LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    # A group of its own, which gets SIGINT as a terminal's foreground group would.
    child = subprocess.Popen(command, start_new_session=True, preexec_fn=lambda: end_with(us))
    threading.Thread(target=_pass_on, args=(ask, child), daemon=True).start()
    threading.Thread(target=_watch, args=(line, ask), daemon=True).start()
    code = child.wait()
    kill_descendants()
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
