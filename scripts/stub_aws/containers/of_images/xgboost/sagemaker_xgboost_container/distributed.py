"""Several hosts train one model: they meet, those with data form a group, XGBoost trains in it."""

from __future__ import annotations

import contextlib
import logging
import socket
import sys
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

from builtin_xgboost.distributed import FIRST_PORT, group
from xgboost import collective


def wait_hostname_resolution(sm_hosts: Sequence[str]) -> None:
    """Return once the names of all hosts are known, which here they are from the beginning."""
    for host in sm_hosts:
        socket.gethostbyname(host)


def rabit_run(
    exec_fun: Callable[..., Any],
    args: dict[str, Any],
    include_in_training: bool,
    hosts: Sequence[str],
    current_host: str,
    first_port: int | None = None,
    second_port: int | None = None,
    update_rabit_args: bool = False,
    max_connect_attempts: int | None = None,
) -> None:
    """Call `exec_fun(**args)` on the hosts that are included, as one group.

    A host that is not included ends here, with exit code 0.

    Args:
        update_rabit_args: Whether `args` gets `is_master`, too.
        max_connect_attempts: Has no effect: a host waits for the others as long as the job runs.

    Raises:
        RuntimeError: No host is included.
    """
    first_port = first_port or FIRST_PORT
    with Rabit(hosts, current_host, port=first_port) as all_hosts:
        records = all_hosts.synchronize({"host": current_host, "included": include_in_training})
    included = [record["host"] for record in records if record["included"]]
    if not include_in_training:
        logging.warning(f"Host {current_host} not being used for distributed training.")
        sys.exit(0)
    if not included:
        raise RuntimeError("No hosts received training data.")
    with contextlib.ExitStack() as meeting:
        master = True
        if len(included) > 1:
            port = second_port or first_port + 1
            master = meeting.enter_context(Rabit(included, current_host, port=port)).is_master
        if update_rabit_args:
            args.update({"is_master": master})
        exec_fun(**args)


class RabitHelper:
    """What a host knows of the group that it is in."""

    def __init__(self, is_master: bool, current_host: str, master_port: int) -> None:
        self.is_master = is_master
        self.rank = collective.get_rank()
        self.current_host = current_host
        self.master_port = master_port

    def synchronize(self, data: Any) -> list[Any]:
        """Return what each host gave, in the order of their ranks."""
        return [
            collective.broadcast(data if rank == self.rank else None, rank)
            for rank in range(collective.get_world_size())
        ]


class Rabit:
    """The group of some hosts, while in its context."""

    def __init__(
        self,
        hosts: Sequence[str],
        current_host: str | None = None,
        master_host: str | None = None,
        port: int | None = None,
        max_connect_attempts: int | None = None,
        connect_retry_timeout: int = 3,
    ) -> None:
        self.hosts = sorted(hosts)
        self.current_host = current_host or self.hosts[0]
        self.port = port or FIRST_PORT
        self._group = group(self.hosts, self.current_host, self.port)

    def start(self) -> RabitHelper:
        """Join the group, and return what this host knows of it."""
        return RabitHelper(self._group.__enter__(), self.current_host, self.port)

    def stop(self) -> None:
        """Leave the group."""
        self._group.__exit__(None, None, None)

    def __enter__(self) -> RabitHelper:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.stop()
