"""Several hosts train one model: their rendezvous is at the first host, twice, as in the image.

First all hosts tell who has data; then those that have form the group in which XGBoost trains. The
tracker listens on the first host of each group, on port 9099 and then on 9100. `algo-1` and the
others resolve to addresses of their own.
"""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import time
from collections.abc import Iterator, Sequence

from xgboost import collective
from xgboost.tracker import RabitTracker

FIRST_PORT, SECOND_PORT = 9099, 9100
RETRY_S = 0.1


def hosts_with_data(hosts: Sequence[str], current: str, has_data: bool) -> list[str]:
    """Return those of `hosts` that have data, in their order. All of them must call it."""
    with group(hosts, current, FIRST_PORT):
        entries = []
        for rank, host in enumerate(sorted(hosts)):
            mine = json.dumps({"host": host, "has_data": has_data}) if host == current else ""
            entries.append(json.loads(collective.broadcast(mine, rank)))
    return [entry["host"] for entry in entries if entry["has_data"]]


@contextlib.contextmanager
def group(hosts: Sequence[str], current: str, port: int) -> Iterator[bool]:
    """Be one of `hosts` while in the context; yield whether this host is their master."""
    hosts = sorted(hosts)
    address = socket.gethostbyname(hosts[0])
    tracker = None
    if current == hosts[0]:
        tracker = RabitTracker(n_workers=len(hosts), host_ip=address, port=port, sortby="task")
        tracker.start()
    wait_for_tracker(address, port)
    logging.info(f"Connected to RabitTracker, current_host={current}")
    with collective.CommunicatorContext(
        dmlc_tracker_uri=address,
        dmlc_tracker_port=port,
        dmlc_task_id=str(hosts.index(current)),
    ):
        yield current == hosts[0]
    if tracker:
        tracker.wait_for()
        tracker.free()


def wait_for_tracker(address: str, port: int) -> None:
    """Return once something listens there; a host that loads more data may come much later."""
    while True:
        try:
            socket.create_connection((address, port)).close()
        except ConnectionRefusedError:
            time.sleep(RETRY_S)
        else:
            return
