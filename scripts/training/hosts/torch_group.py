"""The processes of a job as one group of PyTorch's torch.distributed: gloo on CPUs, NCCL on GPUs.

    with torch_group.joined() as group:     # on one host a group of one
        ...
        group.all_reduce(gradient)          # torch.distributed works in here

The command is the same everywhere. Under torchrun (which an Estimator's
``distribution={"torch_distributed": {"enabled": True}}`` starts) the group is torchrun's processes,
one for each GPU. Otherwise it is the job's hosts with one process each. Their rendezvous is at
MASTER_ADDR, which AWS's PyTorch image sets to the first host, one port above MASTER_PORT (7777),
where torchrun may listen. AWS supports torch_distributed on GPU and Trainium types alone (the SDK
refuses it on others, unless it is given an image_uri), so on CPU types the hosts form the group by
themselves. One process alone communicates with nobody.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import re
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, NoReturn

import entry_point
from entry_point import UsageError
from hosts import rendezvous
from hosts.group import Group
from titanic import DataError

if TYPE_CHECKING:
    import numpy as np
    import torch
    import torch.distributed as dist

PORT = 7777  # as in AWS's PyTorch image
POLL_S = 0.05


def arguments(add: entry_point.Hyperparameters) -> None:
    """Add the hyperparameters that say how hosts train."""
    text = "several hosts train one model; alone: each its own, and only one of them is kept"
    add("hosts", "together", entry_point.one_of("together", "alone"), text, "together|alone")
    text = "seconds to wait for a host, at the start and later"
    add("hosts_seconds", 600.0, entry_point.number(0, above=True), text)


class Process(NamedTuple):
    """Which of the job's processes this is.

    Attributes:
        rank: Its index among all processes.
        size: How many there are.
        local_rank: Its index among those of its host.
        local_size: How many its host has.
        hosts: The names of the job's hosts, in order.
        host: The index of its host among them.
        address: Host and port of the rendezvous.
    """

    rank: int
    size: int
    local_rank: int
    local_size: int
    hosts: list[str]
    host: int
    address: tuple[str, int]

    def name(self, rank: int | None = None) -> str:
        """Return what a process is called: its host, and its rank where a host has several."""
        rank = self.rank if rank is None else rank
        if self.size == len(self.hosts):
            return self.hosts[rank]
        if rank == self.rank:
            return f"{self.hosts[self.host]}, process {rank}"
        return f"process {rank}"


def this_process() -> Process:
    """Return which process this is, from the variables that torchrun or SageMaker has set.

    Raises UsageError for variables that are no integers.
    """
    env = os.environ
    hosts, host = entry_point.hosts()
    numbers: dict[str, int | str] = {
        "RANK": host,
        "WORLD_SIZE": len(hosts),
        "LOCAL_RANK": 0,
        "LOCAL_WORLD_SIZE": 1,
    }
    launched = "RANK" in env and "WORLD_SIZE" in env
    if launched:
        numbers = {name: env.get(name, default) for name, default in numbers.items()}
    try:
        rank, size, local_rank, local_size = map(int, numbers.values())
        port = int(env.get("MASTER_PORT") or PORT) + (not launched)
    except ValueError as error:
        raise UsageError(
            f"RANK, WORLD_SIZE, LOCAL_RANK and MASTER_PORT must be integers ({error})"
        ) from error
    address = env.get("MASTER_ADDR") or hosts[0], port
    return Process(rank, size, local_rank, local_size, hosts, host, address)


class TorchGroup(Group):
    """Processes of torch.distributed, all or some of them; alone, one that needs no other.

    Attributes:
        process: Which of the job's processes this is.
        hosts: The group with one process of each host, for reading channels.
    """

    def __init__(
        self, process: Process, ranks: Sequence[int], within: dist.ProcessGroup | None = None
    ) -> None:
        super().__init__([process.name(rank) for rank in ranks], ranks.index(process.rank))
        self.process = process
        self.hosts: Group = self
        self._within = within

    def all_gather(self, values: np.ndarray) -> list[np.ndarray]:
        if self.size == 1:
            return [values]
        import numpy as np
        import torch
        import torch.distributed as dist

        # As bytes, on the CPU, padded to the longest: for every type and every length.
        own = torch.from_numpy(np.ascontiguousarray(values).view(np.uint8).copy())
        lengths = [torch.zeros(1, dtype=torch.int64) for _ in range(self.size)]
        dist.all_gather(lengths, torch.tensor([len(own)]), group=self._within)
        longest = max(int(length) for length in lengths)
        padded = torch.zeros(longest, dtype=torch.uint8)
        padded[: len(own)] = own
        received = [torch.empty_like(padded) for _ in range(self.size)]
        if longest:
            dist.all_gather(received, padded, group=self._within)
        return [
            data[: int(length)].numpy().view(values.dtype)
            for data, length in zip(received, lengths)
        ]

    def all_reduce(self, values: torch.Tensor) -> None:
        """Replace a tensor by the sum of those of all members, in place. All must call it."""
        if self.size > 1:
            import torch.distributed as dist

            dist.all_reduce(values, group=self._within)


@contextlib.contextmanager
def joined(
    device: str = "cpu", seconds: float = rendezvous.PATIENCE_S, alone: bool = False
) -> Iterator[TorchGroup]:
    """Be in the group of all processes while in the context; all must enter it, and leave it.

    Args:
        device: Where the tensors are that go from host to host: auto, cpu or cuda.
        seconds: How long to wait for a host, at the start and later.
        alone: Join nobody: on several hosts, be a group of one on each.

    Raises UsageError, on every host, where one does not connect or is gone before the end, and with
    its sentence where one ends with a UsageError or DataError.
    """
    process = this_process()
    if process.size > 1 and alone:
        entry_point.warn_of_hosts()
    if process.size == 1 or alone:
        _hint_at_gpus(device)
        yield TorchGroup(process, [process.rank])
        return
    import torch
    import torch.distributed as dist

    store = _rendezvous(process, seconds)
    try:
        group = _formed(process, store, device, seconds)
        yield group
        group.all_reduce(torch.zeros(1))  # wait for all: they still need what the first one keeps
        store.release()
    except (UsageError, DataError) as error:
        store.leave_reason(str(error))
        raise
    except RuntimeError as error:
        if not _is_of_the_network(error):
            raise
        raise _lost_host(error, process, store) from error
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def leave(code: int) -> NoReturn:
    """End the process with this exit code; call it last of all.

    Gloo's threads outlive the group, and Python's own way to end may find one in the middle of
    something: now and then the process aborts or hangs after all is done ("terminate called without
    an active exception"; pytorch/pytorch, pull request 179291). So of several hosts each ends at
    once.
    """
    hosts, _ = entry_point.hosts()
    if len(hosts) > 1 or "WORLD_SIZE" in os.environ:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _hint_at_gpus(device: str) -> None:
    """Print how to use all GPUs of this machine, where it has several."""
    import torch

    count = torch.cuda.device_count() if device in ("auto", "cuda") else 0
    if count > 1:
        print(
            f"using 1 of {count} GPUs; for all: torchrun --nproc_per_node {count} and this command,"
            ' or in an Estimator distribution={"torch_distributed": {"enabled": True}}'
        )


# --- the rendezvous -------------------------------------------------------------------------------


class _Store:
    """A key-value store that all processes share, and what they note in it.

    The first process keeps it, so it must be the last that ends.
    """

    def __init__(self, store: dist.Store, process: Process) -> None:
        self.store, self._process = store, process

    def mark(self, key: str) -> None:
        """Note a key."""
        self.store.add(key, 1)

    def has(self, *keys: str) -> bool:
        """Return whether all these keys are marked, without waiting for them."""
        return all(self.store.add(key, 0) > 0 for key in keys)  # get() would wait

    def wait_for_all(self, seconds: float, deadline: float) -> None:
        """Wait until all processes have called this. Raises UsageError that names the missing."""
        process = self._process
        self.mark(f"here/{process.rank}")
        while missing := [rank for rank in range(process.size) if not self.has(f"here/{rank}")]:
            if time.monotonic() > deadline:
                names = ", ".join(process.name(rank) for rank in missing)
                address, port = process.address
                raise UsageError(
                    f"{names} did not connect within {seconds:g} seconds to {address}:{port}, the "
                    f"rendezvous of this job's {process.size} hosts; its log says why"
                )
            time.sleep(POLL_S)

    def leave_reason(self, sentence: str) -> None:
        """Leave the others the reason why this process ends, unless one did before."""
        name = self._process.name()
        try:
            if self.store.add("reasons", 1) == 1:
                self.store.set("reason", f"{name} ended: {sentence}")
                self.mark("has reason")
            self.release()
        except RuntimeError as error:
            line = _first_line(error)
            print(f"{name}: the others do not get the reason: {line}", file=sys.stderr)

    def reason(self, deadline: float) -> str | None:
        """Return the reason that another process has left; None if none does until then."""
        while not self.has("has reason"):
            if time.monotonic() > deadline:
                return None
            time.sleep(POLL_S)
        reason: str = self.store.get("reason").decode()
        self.release()
        return reason

    def release(self) -> None:
        """Note that this process needs the store no more; the first waits a little for all."""
        self.mark(f"released/{self._process.rank}")
        everyone = [f"released/{rank}" for rank in range(self._process.size)]
        deadline = time.monotonic() + rendezvous.CAUSE_FIRST_S
        while self._process.rank == 0 and not self.has(*everyone) and time.monotonic() < deadline:
            time.sleep(POLL_S)


def _rendezvous(process: Process, seconds: float) -> _Store:
    """Find the other processes, and return what all share. Raises UsageError."""
    import torch.distributed as dist

    if not dist.is_available():
        raise UsageError(
            "this build of PyTorch has no torch.distributed; train on one host, or --hosts alone"
        )
    deadline = time.monotonic() + seconds
    address, port = process.address
    # torchrun's agent keeps a store of its own at that address
    agent = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    keeps = process.rank == 0 and not agent
    listener = None
    if not keeps:  # PyTorch waits for the first host too, but fills the log while it does
        rendezvous.connect(address, port, deadline).close()
    try:
        if keeps:  # PyTorch by itself would listen on every address of this machine
            listener = socket.create_server((socket.gethostbyname(address), port)).detach()
        store: dist.Store = dist.TCPStore(
            address,
            port,
            process.size,
            is_master=keeps,
            timeout=datetime.timedelta(seconds=seconds),
            wait_for_workers=False,
            master_listen_fd=listener,
        )
    except (OSError, RuntimeError) as error:
        raise UsageError(
            f"{process.name()} cannot reach the rendezvous of this job's hosts at "
            f"{address}:{port}: {_first_line(error)}"
        ) from error
    restarts = os.environ.get("TORCHELASTIC_RESTART_COUNT", 0)
    shared = _Store(dist.PrefixStore(f"start-{restarts}", store), process)
    try:
        shared.wait_for_all(seconds, deadline)
    except RuntimeError as error:
        raise UsageError(
            f"the first host ended before all {process.size} had connected to {address}:{port}; "
            "its log says why"
        ) from error
    return shared


def _formed(process: Process, store: _Store, device: str, seconds: float) -> TorchGroup:
    """Form PyTorch's process group, and return it."""
    import torch
    import torch.distributed as dist

    on_gpu = device in ("auto", "cuda") and torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(process.local_rank)  # from here on "cuda" is this one
    dist.init_process_group(
        # what lies in CPU memory, such as a signal to stop, goes by gloo in either case
        "cpu:gloo,cuda:nccl" if on_gpu else "gloo",
        store=dist.PrefixStore("torch", store.store),
        rank=process.rank,
        world_size=process.size,
        timeout=datetime.timedelta(seconds=seconds),
    )
    group = TorchGroup(process, range(process.size))
    if process.local_size > 1:
        group.hosts = _one_of_each_host(process)
    first = " (first)" if process.rank == 0 else ""
    print(f"{process.name()}{first}: one of {process.size} that train together", flush=True)
    return group


def _one_of_each_host(process: Process) -> Group:
    """Return the group of the processes with our local rank."""
    import torch.distributed as dist

    for local_rank in range(process.local_size):  # all must take part in making every group
        ranks = list(range(local_rank, process.size, process.local_size))
        made = dist.new_group(ranks, backend="gloo")
        if process.rank in ranks:
            own = TorchGroup(process, ranks, made)
    return own


# --- when one ends before the others --------------------------------------------------------------


def _is_of_the_network(error: RuntimeError) -> bool:
    """Return whether an error is about another process, and not about what this one computes."""
    import torch.distributed as dist

    marks = ("gloo", "nccl", "connection closed by peer", "connection reset by peer")
    known = getattr(dist, "DistError", ())  # since PyTorch 2.2
    return isinstance(error, known) or any(mark in str(error).lower() for mark in marks)


def _lost_host(error: RuntimeError, process: Process, store: _Store) -> UsageError:
    """Return the sentence about a host that has gone: the reason that it left, if it did."""
    print(f"{process.name()}: {_first_line(error)}", file=sys.stderr, flush=True)
    lost = _name_of_lost(error, process)
    sentence = (
        f"lost {lost} in the middle of the training, and {process.name()} cannot go on alone; the "
        f"log of {lost} says why"
    )
    deadline = time.monotonic() + rendezvous.CAUSE_FIRST_S
    try:
        # PyTorch would fill the log if the first host, which keeps the store, is the lost one
        socket.create_connection(process.address, timeout=rendezvous.CAUSE_FIRST_S).close()
        reason = store.reason(deadline)
        if reason is None and process.size > 2:
            store.leave_reason(sentence)
        return UsageError(reason or sentence)
    except (OSError, RuntimeError):
        time.sleep(max(0.0, deadline - time.monotonic()))
        return UsageError(sentence)


def _name_of_lost(error: RuntimeError, process: Process) -> str:
    """Return the name of the host that an error is about, by the address in it."""
    if process.size == 2:
        return process.name(1 - process.rank)
    match = re.search(r"\[([0-9a-fA-F:]*(?:[0-9]+\.){3}[0-9]+|[0-9a-fA-F:]+)\]:[0-9]+", str(error))
    for name in process.hosts if match else ():
        with contextlib.suppress(OSError):
            if match and socket.gethostbyname(name) == match[1].replace("::ffff:", ""):
                return name
    return "another host"


def _first_line(error: Exception) -> str:
    """Return the first line of an error's text, and not more than belongs into a log."""
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
