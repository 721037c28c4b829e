"""The hosts of a job as one group in which XGBoost trains one model on the rows of all.

    with collective.group(names, here) as group:    # the same on one host and on many
        ...                                         # xgboost.train() adds up over all hosts

XGBoost brings the means: a tracker, at which processes find each other, and sums over all of them
(``xgboost.tracker``, ``xgboost.collective``). Nothing starts a tracker in a job of your own script,
so this does, on the first host, as AWS does for its built-in XGBoost. All that it needs to know is
in SM_HOSTS and SM_CURRENT_HOST.

Before that the hosts meet (``meet``) on a port that all know: only so can one be missed by its
name, or say that it has no data, and every wait has a limit.
"""

from __future__ import annotations

import atexit
import json
import os
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

from entry_point import UsageError
from group import Group

if TYPE_CHECKING:
    import numpy as np

# As in AWS's image: https://github.com/aws/sagemaker-xgboost-container, distributed.py
FIRST_PORT, SECOND_PORT = 9099, 9100

# Instances of a job start within seconds of each other, and each downloads its channels first.
PATIENCE_S = 600
# In one call of XGBoost, a host waits so long for the slowest of the others.
TIMEOUT_S = 1800
RETRY_S = 0.1
# A host that fails makes the others fail. They leave it this time to end first, since a job's
# failure reason is that of the host that ends first.
CAUSE_FIRST_S = 3
# Who comes to the meeting says at once who it is; a stranger, such as a port scan, may say nothing.
STRANGER_S = 5
_LONGEST_LINE = 65_536


class Hosts(Group):
    """The hosts that train together.

    Attributes:
        names: The hosts' names in the order of their ranks; ``names[rank]`` is this one.
    """

    def __init__(self, names: Sequence[str], rank: int) -> None:
        self.names = list(names)
        self.rank, self.size = rank, len(self.names)

    def gather(self, values: np.ndarray) -> list[np.ndarray]:
        if self.size == 1:
            return [values]
        import numpy as np

        # Sums, because every version has them: where one host has its bytes, the others have 0. The
        # places are those of the names, whatever numbers XGBoost gave the hosts.
        sizes = np.zeros(self.size, dtype=np.int64)
        sizes[self.rank] = values.nbytes
        ends = np.cumsum(_sum(sizes))
        starts = np.append(0, ends[:-1])
        everything = np.zeros(ends[-1], dtype=np.uint8)
        mine = slice(starts[self.rank], ends[self.rank])
        everything[mine] = np.frombuffer(values.tobytes(), dtype=np.uint8)
        if len(everything):
            everything = _sum(everything)
        return [
            everything[start:end].view(values.dtype)
            for start, end in zip(starts.tolist(), ends.tolist())  # noqa: B905  Python 3.9
        ]


def _sum(values: np.ndarray) -> np.ndarray:
    from xgboost import collective

    return collective.allreduce(values, collective.Op.SUM)


@contextmanager
def group(names: Sequence[str], here: str) -> Iterator[Hosts]:
    """Be one of these hosts while in the context; all of them must enter it, and leave it.

    On all hosts the names are in the same order, as ``entry_point.hosts`` gives them.

    Raises UsageError if they do not find each other, or one of them is gone before the end.
    """
    together = Hosts(names, names.index(here))
    if together.size == 1:
        yield together
        return
    from xgboost import collective
    from xgboost.core import XGBoostError

    tracker = None
    try:
        tracker = _Tracker(names) if together.rank == 0 else None
        found = meet(names, here, tracker.found_at if tracker else None, port=SECOND_PORT)[0]
        collective.init(**_arguments(found, together.rank))
        yield together
        collective.finalize()
        if tracker:
            tracker.wait()
    except XGBoostError as error:
        _leave_at_once(tracker)
        said = str(error).partition("\nStack trace")[0]
        if "collective" not in said and "rabit" not in said.lower():
            raise
        print(f"{here} lost the other hosts: {said}", file=sys.stderr, flush=True)
        time.sleep(CAUSE_FIRST_S)
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
        found_at: Address and port.
    """

    def __init__(self, names: Sequence[str]) -> None:
        from xgboost.tracker import RabitTracker

        # The order of the tasks, not that of their arrival, makes the ranks, so that a run adds up
        # in the same order each time.
        address = socket.gethostbyname(names[0])
        told = {"host_ip": address, "n_workers": len(names), "sortby": "task"}
        if _is_new():
            # How long it waits until all hosts are there, and at the end until all have left.
            self._tracker = RabitTracker(timeout=PATIENCE_S, **told)
            self._tracker.start()
            self.found_at = [address, self._tracker.worker_args()["dmlc_tracker_port"]]
        else:
            self._tracker = RabitTracker(**told)
            self._tracker.start(len(names))
            self.found_at = [address, self._tracker.port]

    def wait(self) -> None:
        """Until all hosts have said that they are done."""
        if _is_new():
            self._tracker.wait_for()
            self._tracker.free()
        else:
            self._tracker.join()


def _is_new() -> bool:
    """Whether this XGBoost has the collective and the tracker that came with 2.1."""
    from xgboost.tracker import RabitTracker

    return hasattr(RabitTracker, "worker_args")


def _arguments(found: Sequence[Any], rank: int) -> dict[str, Any]:
    """What ``xgboost.collective.init`` takes; the names are others since XGBoost 2.1."""
    address, port = found
    task = f"{rank:05}"  # sorted as text
    if _is_new():
        where = {"dmlc_tracker_uri": address, "dmlc_tracker_port": port, "dmlc_task_id": task}
        return {**where, "dmlc_timeout": TIMEOUT_S}
    return {"DMLC_TRACKER_URI": address, "DMLC_TRACKER_PORT": port, "DMLC_TASK_ID": task}


# --- meeting --------------------------------------------------------------------------------------


def meet(
    names: Sequence[str], here: str, word: Any, port: int = FIRST_PORT, patience: float = PATIENCE_S
) -> list[Any]:
    """Tell the other hosts one word, and hear theirs: a list in the order of the names.

    A word is anything that JSON knows. The first host listens, the others come to it. All must
    call it, with the names in the same order; it waits ``patience`` seconds for them.

    Raises UsageError if the port is taken, a host does not come, or the first host has gone.
    """
    deadline = time.monotonic() + patience
    if len(names) == 1:
        return [word]
    if here == names[0]:
        return _listen(names, word, port, deadline)
    return _come(names[0], here, word, port, deadline)


def _listen(names: Sequence[str], word: Any, port: int, deadline: float) -> list[Any]:
    here = names[0]
    words = {here: word}
    guests = []
    with _server(here, port) as server:
        try:
            while len(words) < len(names):
                server.settimeout(_left(deadline))
                try:
                    guest, _ = server.accept()
                except OSError as error:  # no more time; it has other names before Python 3.10
                    missing = ", ".join(name for name in names if name not in words)
                    raise UsageError(
                        f"{missing} did not come to {here}:{port}, where the hosts of this job "
                        "meet; its log says why, or the job's network keeps its hosts apart"
                    ) from error
                guests.append(guest)
                said = _hear(guest, min(deadline, time.monotonic() + STRANGER_S))
                if isinstance(said, list) and len(said) == 2 and said[0] in names:
                    words[said[0]] = said[1]
            answer = [words[name] for name in names]
            for guest in guests:
                _say(guest, answer)
            return answer
        finally:
            for guest in guests:
                guest.close()


def _server(here: str, port: int) -> socket.socket:
    try:
        return socket.create_server((socket.gethostbyname(here), port))
    except OSError as error:
        raise UsageError(
            f"{here}:{port}, where the hosts of this job meet, cannot be listened on "
            f"({_cause(error)}); another program may have that port"
        ) from error


def _cause(error: OSError) -> str:
    if isinstance(error, socket.gaierror):  # its numbers are not the system's
        return str(error.strerror)
    return os.strerror(error.errno) if error.errno else str(error)  # "timed out" has no number


def _come(first: str, here: str, word: Any, port: int, deadline: float) -> list[Any]:
    while True:
        try:
            # Names of hosts may come to be known only a while after the start of a job.
            server = socket.create_connection((first, port), _left(deadline))
            break
        except OSError as error:
            if time.monotonic() + RETRY_S > deadline:
                raise UsageError(
                    f"{first}, the first host of this job, does not answer on port {port} "
                    f"({_cause(error)}); its log says why, or the job's network keeps its hosts "
                    "apart"
                ) from error
        time.sleep(RETRY_S)
    with server:
        _say(server, [here, word])
        answer = _hear(server, deadline)
    if answer is None:
        time.sleep(CAUSE_FIRST_S)
        raise UsageError(
            f"{first}, the first host of this job, ended before all hosts had met; its log says why"
        )
    return answer


def _left(deadline: float) -> float:
    """The seconds to a deadline, as a socket's time limit, which must not be 0."""
    return max(deadline - time.monotonic(), 0.001)


def _say(peer: socket.socket, words: list[Any]) -> None:
    try:
        peer.sendall(json.dumps(words).encode() + b"\n")
    except OSError:
        return  # who is gone hears nothing; the next meeting, or the training, misses it


def _hear(peer: socket.socket, deadline: float) -> Any:
    """A line's words; None from who has gone or sends something else."""
    peer.settimeout(_left(deadline))
    try:
        with peer.makefile("rb") as lines:
            return json.loads(lines.readline(_LONGEST_LINE))
    except (OSError, ValueError):
        return None
