"""The hosts of a job as one group in which XGBoost trains one model on the rows of all.

    names = hosts_with_data(names, here, [args.train])
    with xgboost_group.joined(names, here) as group:    # the same on one host and on many
        ...                                             # xgboost.train() sums over all hosts

XGBoost has what it takes: a tracker, at which processes find each other, and sums over all of them
(``xgboost.tracker``, ``xgboost.collective``). Nothing starts a tracker in a job of your own script,
so this does, on the first host, as AWS does for its built-in XGBoost.
"""

from __future__ import annotations

import atexit
import os
import socket
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import titanic
from entry_point import UsageError
from hosts import rendezvous
from hosts.group import Group

if TYPE_CHECKING:
    import numpy as np

# In one call of XGBoost, a host waits so long for the slowest of the others.
TIMEOUT_S = 1800


def hosts_with_data(names: Sequence[str], here: str, channels: Iterable[str]) -> list[str]:
    """Return those of the hosts that have files of every channel; warn if this one has not.

    SageMaker leaves hosts without files where a sharded channel has fewer files than hosts. They
    are left out, as by AWS's built-in XGBoost. Raises titanic.DataError if no host has files.
    """
    if len(names) == 1:
        return list(names)
    missing = _missing(channels)
    reports = rendezvous.exchange(names, here, missing)
    members = [name for name, report in zip(names, reports) if report is None]
    if not members:
        raise titanic.DataError(f"none of the {len(names)} hosts has data: {reports[0]}")
    if missing:
        print(
            f"warning: {here} takes no part in the training ({missing}); a sharded channel needs "
            f"as many files as there are hosts, {len(names)}, or more",
            file=sys.stderr,
        )
    return members


def _missing(channels: Iterable[str]) -> str | None:
    """Return the sentence about the first channel without files; None if all have some."""
    for channel in channels:
        try:
            titanic.data_files(channel)
        except titanic.DataError as error:
            return str(error)
    return None


class XGBoostGroup(Group):
    """The hosts that train together, of which XGBoost knows."""

    def all_gather(self, values: np.ndarray) -> list[np.ndarray]:
        if self.size == 1:
            return [values]
        import numpy as np

        # Sums, because every version has them: where one host has its bytes, the others have 0. The
        # order is that of the names, whatever numbers XGBoost gave the hosts.
        sizes = np.zeros(self.size, dtype=np.int64)
        sizes[self.rank] = values.nbytes
        ends = np.cumsum(_sum(sizes))
        starts = np.append(0, ends[:-1])
        everything = np.zeros(ends[-1], dtype=np.uint8)
        own = slice(starts[self.rank], ends[self.rank])
        everything[own] = np.frombuffer(values.tobytes(), dtype=np.uint8)
        if len(everything):
            everything = _sum(everything)
        return [
            everything[start:end].view(values.dtype)
            for start, end in zip(starts.tolist(), ends.tolist())
        ]


def _sum(values: np.ndarray) -> np.ndarray:
    from xgboost import collective

    return collective.allreduce(values, collective.Op.SUM)


def base_score(y: np.ndarray, group: Group) -> float:
    """Return what XGBoost starts from: the share of survivors among the rows of all hosts.

    XGBoost itself takes it where it gets nothing else (since 2.0; before, 0.5). But several hosts
    estimate it one by one and take the mean, which differs in the last digit.

    Raises titanic.DataError where a host has no row: it would grow a model of its own.
    """
    import numpy as np

    counts = np.array(group.all_gather(np.array([np.count_nonzero(y), len(y)])))
    for name, rows in zip(group.names, counts[:, 1]):
        if not rows:
            raise titanic.DataError(
                f"{counts[:, 1].sum()} rows to train on are too few for {group.size} hosts: "
                f"{name} has none; take fewer hosts"
            )
    survivors, rows = counts.sum(axis=0)
    return float(np.clip(survivors / rows, 1e-6, 1 - 1e-6))


@contextmanager
def joined(names: Sequence[str], here: str) -> Iterator[Group]:
    """Be one of these hosts while in the context; all of them must enter it, and leave it.

    On all hosts the names are in the same order, as ``entry_point.hosts`` gives them.

    Raises UsageError if they do not find each other, or one of them is gone before the end.
    """
    group = XGBoostGroup(names, names.index(here))
    if group.size == 1:
        yield group
        return
    from xgboost import collective
    from xgboost.core import XGBoostError

    tracker = None
    try:
        tracker = _Tracker(names) if group.rank == 0 else None
        address = tracker.address if tracker else None
        port = rendezvous.SECOND_PORT
        address = rendezvous.exchange(names, here, address, port=port)[0]
        collective.init(**_arguments(address, group.rank))
        yield group
        collective.finalize()
        if tracker:
            tracker.wait()
    except XGBoostError as error:
        _leave_at_once(tracker)
        message = str(error).partition("\nStack trace")[0]
        if "collective" not in message and "rabit" not in message.lower():
            raise
        print(f"{here} lost the other hosts: {message}", file=sys.stderr, flush=True)
        time.sleep(rendezvous.CAUSE_FIRST_S)
        others = " or ".join(name for name in names if name != here)
        raise UsageError(
            f"another host of this job ({others}) ended, or fell silent, before the training did, "
            f"so {here} cannot go on; its log says why"
        ) from error
    except BaseException:
        _leave_at_once(tracker)
        raise


def _leave_at_once(tracker: _Tracker | None) -> None:
    """End without the usual farewell: XGBoost's waits for hosts that are gone, or crashes."""

    def leave(_: _Tracker | None = tracker) -> NoReturn:  # which must not be taken down before
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)

    atexit.register(leave)


class _Tracker:
    """XGBoost's tracker, running in this process, on a port that is free.

    Attributes:
        address: Where it listens: host and port.
    """

    def __init__(self, names: Sequence[str]) -> None:
        from xgboost.tracker import RabitTracker

        # The order of the tasks, not that of their arrival, makes the ranks, so that a run adds up
        # in the same order each time.
        host = socket.gethostbyname(names[0])
        settings: dict[str, Any] = {"host_ip": host, "n_workers": len(names), "sortby": "task"}
        self._tracker: Any  # whose methods are others since XGBoost 2.1
        if _is_new():
            # How long it waits until all hosts are there, and at the end until all have left.
            self._tracker = RabitTracker(timeout=rendezvous.PATIENCE_S, **settings)
            self._tracker.start()
            port = self._tracker.worker_args()["dmlc_tracker_port"]
        else:
            self._tracker = RabitTracker(**settings)
            self._tracker.start(len(names))
            port = self._tracker.port
        self.address = [host, port]

    def wait(self) -> None:
        """Wait until all hosts have reported that they are done."""
        if _is_new():
            self._tracker.wait_for()
            self._tracker.free()
        else:
            self._tracker.join()


def _is_new() -> bool:
    """Return whether this XGBoost has the collective and the tracker that came with 2.1."""
    from xgboost.tracker import RabitTracker

    return hasattr(RabitTracker, "worker_args")


def _arguments(address: Sequence[Any], rank: int) -> dict[str, Any]:
    """Return what ``xgboost.collective.init`` takes; the names are others since XGBoost 2.1."""
    host, port = address
    task = f"{rank:05}"  # sorted as text
    if _is_new():
        tracker = {"dmlc_tracker_uri": host, "dmlc_tracker_port": port, "dmlc_task_id": task}
        return {**tracker, "dmlc_timeout": TIMEOUT_S}
    return {"DMLC_TRACKER_URI": host, "DMLC_TRACKER_PORT": port, "DMLC_TASK_ID": task}
