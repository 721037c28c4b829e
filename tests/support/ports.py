"""Ports for a server that a test starts only later."""

from __future__ import annotations

import random
import socket

# Below all that a system gives to outgoing connections (Linux from 32768, macOS and Windows from
# 49152). A port from that range may be taken by any connection before the server listens on it; and
# a client that tries it before the server does may even connect to itself.
LOWEST, HIGHEST = 12_000, 32_000
TRIES = 100


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port on which nothing listens now, and which no outgoing connection is given.

    Raises RuntimeError if many ports in a row are taken.
    """
    for port in random.SystemRandom().sample(range(LOWEST, HIGHEST), TRIES):
        try:
            socket.create_server((host, port)).close()
        except OSError:
            continue
        return port
    raise RuntimeError(f"{TRIES} ports of {host} from {LOWEST} to {HIGHEST} are all taken")
