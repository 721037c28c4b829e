"""The rendezvous: how the hosts of a job find each other before a library makes a group of them.

    messages = rendezvous.exchange(names, here, message)    # those of all hosts, on each host

The first host listens on a port that all know, and the others connect to it. All that a host needs
to know is in SM_HOSTS and SM_CURRENT_HOST. A host that is missing is named, a host can report that
it has no data, and every wait has a limit.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Sequence
from typing import Any, cast

from entry_point import UsageError

# Two rounds need two ports. They are those of AWS's XGBoost image:
# https://github.com/aws/sagemaker-xgboost-container, distributed.py
FIRST_PORT, SECOND_PORT = 9099, 9100

# Instances of a job start within seconds of each other, and each downloads its channels first.
PATIENCE_S = 600
RETRY_S = 0.1
# A host that fails makes the others fail. They give it this time to end first, since a job's
# failure reason is that of the host that ends first.
CAUSE_FIRST_S = 3
# A host sends its message at once; anything else that connects, such as a port scan, may not.
MESSAGE_S = 5
_LONGEST_LINE = 65_536


def exchange(
    names: Sequence[str],
    here: str,
    message: Any,
    port: int = FIRST_PORT,
    patience: float = PATIENCE_S,
) -> list[Any]:
    """Send the other hosts one message, and return those of all in the order of the names.

    A message is anything that JSON can hold. All hosts must call it, with the names in the same
    order; it waits ``patience`` seconds for them.

    Raises UsageError if the port is taken, a host does not connect, or the first host has ended.
    """
    deadline = time.monotonic() + patience
    if len(names) == 1:
        return [message]
    if here == names[0]:
        return _listen(names, message, port, deadline)
    return _report(names[0], here, message, port, deadline)


def _listen(names: Sequence[str], message: Any, port: int, deadline: float) -> list[Any]:
    here = names[0]
    messages = {here: message}
    connections: list[socket.socket] = []
    with _server(here, port) as server:
        try:
            while len(messages) < len(names):
                server.settimeout(_seconds_to(deadline))
                try:
                    connection, _ = server.accept()
                except OSError as error:  # no more time; it has other names before Python 3.10
                    missing = ", ".join(name for name in names if name not in messages)
                    raise UsageError(
                        f"{missing} did not connect to {here}:{port}, the rendezvous of this job's "
                        "hosts; its log says why, or the job's network keeps its hosts apart"
                    ) from error
                connections.append(connection)
                received = _receive(connection, min(deadline, time.monotonic() + MESSAGE_S))
                if isinstance(received, list) and len(received) == 2 and received[0] in names:
                    messages[received[0]] = received[1]
            answer = [messages[name] for name in names]
            for connection in connections:
                _send(connection, answer)
            return answer
        finally:
            for connection in connections:
                connection.close()


def _server(here: str, port: int) -> socket.socket:
    try:
        return socket.create_server((socket.gethostbyname(here), port))
    except OSError as error:
        raise UsageError(
            f"{here}:{port}, the rendezvous of this job's hosts, cannot be listened on "
            f"({_cause(error)}); another program may have that port"
        ) from error


def _cause(error: OSError) -> str:
    if isinstance(error, socket.gaierror):  # its numbers are not the system's
        return str(error.strerror)
    return os.strerror(error.errno) if error.errno else str(error)  # "timed out" has no number


def connect(first: str, port: int, deadline: float) -> socket.socket:
    """Connect to the first host, which may not be listening yet, nor be known by its name.

    Raises UsageError if it does not answer before the deadline.
    """
    while True:
        try:
            connection = socket.create_connection((first, port), _seconds_to(deadline))
            if not _is_to_itself(connection):
                return connection
            connection.close()
        except OSError as error:
            if time.monotonic() + RETRY_S > deadline:
                raise UsageError(
                    f"{first}, the first host of this job, does not answer on port {port} "
                    f"({_cause(error)}); its log says why, or the job's network keeps its hosts "
                    "apart"
                ) from error
        time.sleep(RETRY_S)


def _is_to_itself(connection: socket.socket) -> bool:
    """Return whether a connection has both its ends here, which TCP permits.

    It happens where nobody listens yet, and the system gives the caller the very port it calls.
    """
    return bool(connection.getsockname() == connection.getpeername())


def _report(first: str, here: str, message: Any, port: int, deadline: float) -> list[Any]:
    with connect(first, port, deadline) as server:
        _send(server, [here, message])
        answer = _receive(server, deadline)
    if answer is None:
        time.sleep(CAUSE_FIRST_S)
        raise UsageError(
            f"{first}, the first host of this job, ended before all hosts had connected to it; its "
            "log says why"
        )
    return cast("list[Any]", answer)


def _seconds_to(deadline: float) -> float:
    """Return the seconds to a deadline, as a socket's time limit, which must not be 0."""
    return max(deadline - time.monotonic(), 0.001)


def _send(connection: socket.socket, value: Any) -> None:
    try:
        connection.sendall(json.dumps(value).encode() + b"\n")
    except OSError:
        return  # the other has gone; the next rendezvous, or the training, misses it


def _receive(connection: socket.socket, deadline: float) -> Any:
    """Return the value in a line; None from a peer that has gone or sends something else."""
    connection.settimeout(_seconds_to(deadline))
    try:
        with connection.makefile("rb") as lines:
            return json.loads(lines.readline(_LONGEST_LINE))
    except (OSError, ValueError):
        return None
