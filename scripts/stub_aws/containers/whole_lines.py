"""Lets the toolkit pass on in whole lines what a script prints.

By itself it passes on whatever one read has brought. On a machine that is busy that is half a line,
or a line and a half, so that `print("loss:", 0.5)` became several events of the log, no metric's
expression found it, and a failure's reason was another one from run to run. What makes a reason is
the toolkit's own rule: from the first line that names an error on.

A process that the script leaves running may have the pipe open for ever. Once the script has ended,
what is in the pipe is read, and no more waited for.
"""

import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

from sagemaker_training import _MPI_ERRORS_, _PYTHON_ERRORS_, environment, errors, process

CHUNK = 64 * 1024
MAX_LINE = 256 * 1024 - 26  # bytes; what is longer is passed on in parts
MAX_MESSAGE = 4 * 1024  # characters; SageMaker cuts a reason after 1024
POLL_MS = 50
DRAIN_S = 10.0
RANK = re.compile(r"\[(\d+),(\d+)\](<stdout>|<stderr>)")  # as mpirun marks lines


def install() -> None:
    """Let the toolkit start its scripts by this module."""
    process.create = create


def create(
    cmd: list[str],
    error_classes: list[str] | None,
    processes_per_host: int,
    cwd: str | None = None,
    env: Mapping[str, str] | None = None,
    capture_error: bool = False,
    **kwargs: Any,
) -> tuple[int, list[str], subprocess.Popen[bytes]]:
    """Run a command, as the toolkit's function of this name does.

    Returns:
        Its exit code; what it said of an error, on stdout and on stderr; and the process.

    Raises:
        sagemaker_training.errors.ExecuteUserScriptError: It cannot be started.
    """
    signs = [*_PYTHON_ERRORS_, *_MPI_ERRORS_, *process.process_error_classes(error_classes)]
    try:
        child = subprocess.Popen(
            cmd,
            env=env or os.environ,
            cwd=cwd or environment.code_dir,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if capture_error else None,
            **kwargs,
        )
    except OSError as error:
        raise errors.ExecuteUserScriptError(error) from error
    pipes = [pipe for pipe in (child.stdout, child.stderr) if pipe]
    streams = [Stream(pipe.fileno(), processes_per_host, signs) for pipe in pipes]
    follow(child, streams)
    return child.wait(), [stream.message for stream in streams], child


class Stream:
    """One stream of a script.

    Attributes:
        pipe: The number of the file that it comes from.
        message: The lines from the first one on that names an error, as the toolkit joins them.
    """

    def __init__(self, pipe: int, processes_per_host: int, signs: list[str]) -> None:
        self.pipe = pipe
        self._processes_per_host = processes_per_host
        self._signs = signs
        self._rest = b""
        self._about_error: list[str] = []

    @property
    def message(self) -> str:
        return " ".join(self._about_error)

    def read(self) -> bool:
        """Pass on what is there. False at the end of the stream."""
        data = os.read(self.pipe, CHUNK)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._pass_on(line)
        while len(self._rest) > MAX_LINE:
            self._pass_on(self._rest[:MAX_LINE])
            self._rest = self._rest[MAX_LINE:]
        return bool(data)

    def close(self) -> None:
        """Pass on a last line that no line break ended."""
        if self._rest:
            self._pass_on(self._rest)
        self._rest = b""

    def _pass_on(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace")
        sys.stdout.write(RANK.sub(self._with_host, text) + "\n")
        sys.stdout.flush()
        self._note_error(RANK.sub("", text))

    def _with_host(self, mark: re.Match[str]) -> str:
        world, rank, stream = mark.groups()
        host = int(rank) // self._processes_per_host + 1
        return f"[{world},mpirank:{rank},algo-{host}]{stream}"

    def _note_error(self, line: str) -> None:
        if not self._about_error and not any(sign in line for sign in self._signs):
            return
        if sum(map(len, self._about_error)) < MAX_MESSAGE and line not in self._about_error:
            self._about_error.append(line.strip(" :\n") + "\n")


def follow(child: "subprocess.Popen[bytes]", streams: list[Stream]) -> None:
    """Pass on what comes until the streams end, or the script has ended and no more is there."""
    poller = select.poll()
    by_number = {stream.pipe: stream for stream in streams}
    for number in by_number:
        poller.register(number, select.POLLIN)
    deadline = float("inf")
    while by_number and time.monotonic() < deadline:
        ended = child.poll() is not None  # before the look: then an empty pipe stays empty
        if ended and deadline == float("inf"):
            deadline = time.monotonic() + DRAIN_S
        ready = [number for number, _ in poller.poll(0 if ended else POLL_MS)]
        for number in ready:
            if not by_number[number].read():
                by_number.pop(number).close()
                poller.unregister(number)
        if ended and not ready:
            break
    for stream in by_number.values():
        stream.close()
