"""Ports on which the hosts of a job meet, where a framework's image names one for all jobs.

Each host on AWS has a network of its own, so every job of the PyTorch image meets on port 7777.
Here all hosts share this machine's ports. A job gets the image's port where nobody has it, else the
first free one of a row; other stubs on this machine, of other people too, are asked.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
from collections.abc import Iterator

BLOCK = 10  # ports that belong together: scripts take those next to the image's, too
BLOCKS = 300


class NoFreePort(RuntimeError):
    """Other programs have all the ports."""


_own = threading.Lock()
_reserved: set[int] = set()


@contextlib.contextmanager
def reserved(wanted: int) -> Iterator[int]:
    """Reserve the port `wanted` and those next to it, or the first free ones above.

    They are listened on by nobody, and no other stub of this machine gives them to a job meanwhile.

    Raises:
        NoFreePort: There are none.
    """
    for port in range(wanted, wanted + BLOCK * BLOCKS, BLOCK):
        with contextlib.ExitStack() as held:
            if _reserve(port, held) and is_free(port) and is_free(port + 1):
                yield port
                return
    raise NoFreePort(f"port {wanted} and all {BLOCKS} in its place are taken on this machine")


def _reserve(port: int, held: contextlib.ExitStack) -> bool:
    """Take a port among the stubs of this machine, until `held` closes. False if one has it."""
    with _own:
        if port in _reserved:
            return False
        _reserved.add(port)
    held.callback(_reserved.discard, port)
    if sys.platform != "linux":
        return True
    # A name without a file: whatever ends its owner, it goes with it, and all users share it.
    mark = held.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
    try:
        mark.bind(f"\0stub-aws-port-{port}")
    except OSError:
        return False
    return True


def is_free(port: int) -> bool:
    """Return whether a program could listen on a port of all addresses of this machine."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what has ended is no listener
        try:
            probe.bind(("", port))
            probe.listen(1)
        except OSError:
            return False
    return True
