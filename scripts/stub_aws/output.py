"""Reads what a host's processes print, line by line, and is held up by nothing that they do.

The processes of a host end with it, but where there are no namespaces one may escape and keep the
pipe open for ever: once the host has ended, what is in the pipe is read, and no more waited for.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable, Iterator
from typing import BinaryIO

MAX_LINE = 256 * 1024 - 26  # bytes; of a longer line the rest is a line of its own, as on AWS
CHUNK = 64 * 1024
WAIT_MS = 100
POLL_S = 0.02
DRAIN_S = 10.0  # how long the last lines of a host that has ended may take


class Output:
    """The lines of one host, each given to `on_line` in a thread.

    Attributes:
        held: Whether something still had the pipe open when the host had ended.
        late: Whether the last lines took too long, and were left.
    """

    def __init__(self, pipe: BinaryIO, on_line: Callable[[str], None]) -> None:
        self.held = self.late = False
        self._pipe = pipe
        self._on_line = on_line
        self._ended = threading.Event()
        self._deadline = float("inf")
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Note that the host has ended. What it has written is still read."""
        if not self._ended.is_set():
            self._deadline = time.monotonic() + DRAIN_S
            self._ended.set()

    def done(self) -> bool:
        """Return whether the last line has been read, or will not be.

        Raises:
            Exception: What `on_line` raised: a fault of the stub.
        """
        if self._error is not None:
            raise self._error
        if self._ended.is_set():
            self._thread.join(POLL_S)
        return not self._thread.is_alive() or time.monotonic() > self._deadline + DRAIN_S

    def join(self) -> bool:
        """Wait for the last line, within limits. False when it did not come."""
        self._thread.join(2 * DRAIN_S)
        return not (self.late or self._thread.is_alive())

    def _read(self) -> None:
        with self._pipe:  # closed here alone: its number could be another file's otherwise
            try:
                for line in self._lines():
                    if time.monotonic() > self._deadline:
                        self.late = True
                        break
                    self._on_line(line.decode("utf-8", "replace"))
            except Exception as error:  # the thread's boundary: `done` raises it
                self._error = error
                for _ in self._pieces():  # and the script is not left before a full pipe
                    pass

    def _lines(self) -> Iterator[bytes]:
        rest = b""
        for piece in self._pieces():
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                yield from cut(line, MAX_LINE)
            if len(rest) > MAX_LINE:
                *full, rest = cut(rest, MAX_LINE)
                yield from full
        if rest:
            yield rest

    def _pieces(self) -> Iterator[bytes]:
        poller = select.poll()
        poller.register(self._pipe, select.POLLIN)
        while time.monotonic() < self._deadline:
            ended = self._ended.is_set()  # before the look: then an empty pipe stays empty
            if poller.poll(0 if ended else WAIT_MS):
                piece = os.read(self._pipe.fileno(), CHUNK)
                if not piece:
                    return
                yield piece
            elif ended:
                self.held = True
                return
        self.late = True


def cut(line: bytes, limit: int) -> Iterator[bytes]:
    """Yield `line` in parts of at most `limit` bytes, no character of UTF-8 divided."""
    start = 0
    while len(line) - start > limit:
        end = start + limit
        while end > start + limit - 3 and line[end] & 0xC0 == 0x80:
            end -= 1
        yield line[start:end]
        start = end
    yield line[start:]
