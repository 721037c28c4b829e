"""The processes of a job as one group of PyTorch's torch.distributed: gloo on CPUs, NCCL on GPUs.

    with process_group.joined(args) as hosts:       # a hosts.group.Group; on one host one of one
        ...
        dist.all_reduce(gradient)                   # torch.distributed works in here

The command is the same everywhere. Under torchrun (that is what an Estimator's
``distribution={"torch_distributed": {"enabled": True}}`` starts) the group is torchrun's processes,
one for each GPU. Else it is the job's hosts with one process each, that meet at MASTER_ADDR, which
AWS's PyTorch image sets to the first host, one port above MASTER_PORT (7777), where torchrun may
listen. AWS refuses torch_distributed on instance types without a GPU, so there the hosts form the
group by themselves. One process alone forms none, and all functions here then give back what they
got.

PyTorch keeps one group for a process, and the functions of this module mean that one. They say
"host" for every process, because with one process on each it is the same.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import hashlib
import io
import json
import os
import re
import socket
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import entry_point
import metrics
import splits
from checkpoints import Checkpoint
from hosts.group import Group
from titanic import DataError, data_files

if TYPE_CHECKING:
    import numpy as np
    import torch
    import torch.distributed as dist
    from torch import nn

    from train_torch import Rows

PORT = 7777  # as AWS's PyTorch image has it
POLL_S = 0.05
# A host that fails makes the others fail. They wait so long for its reason, and let it end first:
# a job's failure reason is that of the host that ends first.
CAUSE_S = 3


class Lost(entry_point.UsageError):
    """A host did not come, or has gone; the message is one sentence."""


def arguments(add: entry_point.Hyperparameters) -> None:
    """Add the hyperparameters that say how hosts train."""
    text = "several hosts train one model; alone: each its own, and only one of them is kept"
    add("hosts", "together", entry_point.one_of("together", "alone"), text, "together|alone")
    text = "seconds to wait for a host, at the start and later"
    add("hosts_seconds", 600.0, entry_point.number(0, above=True), text)


class Place(NamedTuple):
    """Where this process stands.

    Attributes:
        rank: Its number among all processes, from 0.
        size: How many they are.
        local_rank: Its number among those of its host.
        local_size: How many its host has.
        hosts: The names of the job's hosts, in order.
        host: The number of its host among them.
        address: Host and port of the meeting point.
    """

    rank: int
    size: int
    local_rank: int
    local_size: int
    hosts: list[str]
    host: int
    address: tuple[str, int]

    def name(self, rank: int | None = None) -> str:
        """What a process is called in messages: its host, and its number where a host has more."""
        rank = self.rank if rank is None else rank
        if self.size == len(self.hosts):
            return self.hosts[rank]
        if rank == self.rank:
            return f"{self.hosts[self.host]}, process {rank}"
        return f"process {rank}"


def place() -> Place:
    """Where this process stands, from what torchrun or SageMaker has set.

    Raises UsageError for variables that cannot be.
    """
    env = os.environ
    hosts, host = entry_point.hosts()
    numbers = {"RANK": host, "WORLD_SIZE": len(hosts), "LOCAL_RANK": 0, "LOCAL_WORLD_SIZE": 1}
    launched = "RANK" in env and "WORLD_SIZE" in env
    if launched:
        numbers = {name: env.get(name, default) for name, default in numbers.items()}
    try:
        rank, size, local_rank, local_size = map(int, numbers.values())
        port = int(env.get("MASTER_PORT") or PORT) + (not launched)
        address = env.get("MASTER_ADDR") or hosts[0], port
    except ValueError as error:
        raise entry_point.UsageError(
            f"RANK, WORLD_SIZE, LOCAL_RANK and MASTER_PORT must be whole numbers ({error})"
        ) from error
    return Place(rank, size, local_rank, local_size, hosts, host, address)


# --- forming the group ----------------------------------------------------------------------------


class Processes(Group):
    """Processes of torch.distributed, all or a part of them."""

    def __init__(self, rank: int, size: int, within: Any = None) -> None:
        self.rank, self.size, self._within = rank, size, within

    def all_gather(self, values: np.ndarray) -> list[np.ndarray]:
        import numpy as np
        import torch
        import torch.distributed as dist

        # As bytes, on the CPU, filled up to the longest: so it serves every type and every length.
        mine = torch.from_numpy(np.ascontiguousarray(values).view(np.uint8).copy())
        lengths = [torch.zeros(1, dtype=torch.int64) for _ in range(self.size)]
        dist.all_gather(lengths, torch.tensor([len(mine)]), group=self._within)
        longest = max(int(length) for length in lengths)
        padded = torch.zeros(longest, dtype=torch.uint8)
        padded[: len(mine)] = mine
        found = [torch.empty_like(padded) for _ in range(self.size)]
        if longest:
            dist.all_gather(found, padded, group=self._within)
        return [
            one[: int(length)].numpy().view(values.dtype)
            for one, length in zip(found, lengths, strict=True)
        ]


class _State:
    """What this module knows while a group is joined."""

    args: argparse.Namespace
    place: Place
    everyone: Processes
    hosts: Group  # one process of each host, those with our local rank
    rows: dict[str, list[int]]  # of each part, how many each process has
    spread: list[Rows]  # those of which each process has others


_now: _State | None = None
_formed = False  # whether this process has ever been in a group


@contextlib.contextmanager
def joined(args: argparse.Namespace) -> Iterator[Group]:
    """Be in the group of all processes; gives the group of hosts, for ``splits.load``.

    Of ``args`` it takes ``hosts`` ("alone" joins nothing), ``hosts_seconds`` (how long to wait for
    a host, at the start and later), ``device``, ``train`` and ``validation``.

    Raises Lost, on every host, where one does not come or is gone before the end, and with its
    sentence where one ends with a UsageError or DataError.
    """
    here = place()
    if here.size > 1 and args.hosts == "alone":
        entry_point.warn_of_hosts()
    if here.size == 1 or args.hosts == "alone":
        _hint_at_gpus(args)
        yield Group()
        return
    store = _meet(here, args.hosts_seconds)
    try:
        group = _init(here, store, args)
        with metrics.only_if(here.rank == 0):
            yield group
        _leave(here, store)
    except (entry_point.UsageError, DataError) as error:
        _tell_why(store, here, str(error))
        raise
    except RuntimeError as error:
        if not _is_of_the_network(error):
            raise
        raise _lost(error, store, here) from error
    finally:
        _forget()


def _hint_at_gpus(args: argparse.Namespace) -> None:
    import torch

    count = torch.cuda.device_count() if args.device in ("auto", "cuda") else 0
    if count > 1:
        print(
            f"using 1 of {count} GPUs; for all: torchrun --nproc_per_node {count} and this command,"
            ' or in an Estimator distribution={"torch_distributed": {"enabled": True}}'
        )


def _meet(here: Place, patience: float) -> dist.Store:
    """Find the other processes: a table that all share, kept by the first. Raises Lost."""
    import torch.distributed as dist

    if not dist.is_available():
        raise entry_point.UsageError(
            "this build of PyTorch has no torch.distributed; train on one host, or --hosts alone"
        )
    deadline = time.monotonic() + patience
    address, port = here.address
    # torchrun's agent keeps a table of its own at that address
    agent = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    keeps = here.rank == 0 and not agent
    listener = None
    if not keeps:
        _await_listener(address, port, deadline, patience)
    try:
        if keeps:  # PyTorch by itself would listen on every address of this machine
            listener = socket.create_server((socket.gethostbyname(address), port)).detach()
        store: dist.Store = dist.TCPStore(
            address,
            port,
            here.size,
            is_master=keeps,
            timeout=datetime.timedelta(seconds=patience),
            wait_for_workers=False,
            master_listen_fd=listener,
        )
    except (OSError, RuntimeError) as error:
        raise Lost(
            f"{here.name()} cannot meet the other hosts at {address}:{port}: {_first_line(error)}"
        ) from error
    store = dist.PrefixStore(f"start-{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", store)
    try:
        _await_all(store, here, deadline, patience)
    except RuntimeError as error:
        raise Lost(
            f"the first host ended before all {here.size} had met at {address}:{port}; its log "
            "says why"
        ) from error
    return store


def _await_all(store: dist.Store, here: Place, deadline: float, patience: float) -> None:
    _mark(store, f"came/{here.rank}")
    while missing := [rank for rank in range(here.size) if not _marked(store, f"came/{rank}")]:
        if time.monotonic() > deadline:
            names = ", ".join(here.name(rank) for rank in missing)
            address, port = here.address
            raise Lost(
                f"{names} did not come within {patience:g} seconds to {address}:{port}, where the "
                f"{here.size} hosts of this job meet; its log says why"
            )
        time.sleep(POLL_S)


def _mark(store: dist.Store, name: str) -> None:
    store.add(name, 1)


def _marked(store: dist.Store, *names: str) -> bool:
    """Whether all these are marked. Adding nothing is how every version looks without waiting."""
    return all(store.add(name, 0) > 0 for name in names)


def _await_listener(address: str, port: int, deadline: float, patience: float) -> None:
    """Until the first host listens. PyTorch waits too, but fills the log while it does."""
    while True:
        try:
            socket.create_connection((address, port), timeout=max(1, patience)).close()
            return
        except OSError as error:  # not known yet, not up yet, not listening yet
            if time.monotonic() > deadline:
                raise Lost(
                    f"the first host did not answer at {address}:{port} within {patience:g} "
                    f"seconds ({error}); its log says why"
                ) from error
        time.sleep(POLL_S)


def _init(here: Place, store: dist.Store, args: argparse.Namespace) -> Group:
    """Form PyTorch's group, check that every host has data; returns the group of hosts."""
    global _now, _formed
    import numpy as np
    import torch
    import torch.distributed as dist

    on_gpu = args.device in ("auto", "cuda") and torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(here.local_rank)  # from here on "cuda" is this one
    elif args.device == "auto":
        args.device = "cpu"  # gloo sums in no other memory
    _formed = True
    dist.init_process_group(
        # what lies in CPU memory, such as a signal to stop, goes by gloo in either case
        "cpu:gloo,cuda:nccl" if on_gpu else "gloo",
        store=dist.PrefixStore("torch", store),
        rank=here.rank,
        world_size=here.size,
        timeout=datetime.timedelta(seconds=args.hosts_seconds),
    )
    state = _State()
    state.args, state.place, state.rows, state.spread = args, here, {}, []
    state.everyone = Processes(here.rank, here.size)
    state.hosts = state.everyone
    if here.local_size > 1:
        state.hosts = _one_of_each_host(here)
    _now = state
    first = " (first)" if here.rank == 0 else ""
    print(f"{here.name()}{first}: one of {here.size} that train together", flush=True)
    objects = np.array([_objects(args.train)])
    _check_objects([int(found[0]) for found in state.everyone.all_gather(objects)], here)
    return state.hosts


def _one_of_each_host(here: Place) -> Group:
    import torch.distributed as dist

    mine = Group()
    for local in range(here.local_size):  # every process must take part in making every one
        ranks = list(range(local, here.size, here.local_size))
        made = dist.new_group(ranks, backend="gloo")
        if here.rank in ranks and len(ranks) > 1:
            mine = Processes(ranks.index(here.rank), len(ranks), made)
    return mine


def _objects(path: str) -> int:
    try:
        return len(data_files(path))
    except DataError:
        return 0  # reading will say what is wrong, if it is not just that others have them


def _check_objects(counts: list[int], here: Place) -> None:
    """Raises DataError on every host where the shards of one are empty."""
    without = [here.name(rank) for rank, count in enumerate(counts) if not count]
    if without and any(counts) and splits.sharded("train"):
        raise DataError(
            f"the channel train has {sum(counts)} object(s) for {len(counts)} hosts, and "
            f"ShardedByS3Key gives whole objects: {', '.join(without)} got none; upload at least "
            f"{len(counts)} objects, or use FullyReplicated"
        )


# --- when one ends before the others --------------------------------------------------------------


def _is_of_the_network(error: RuntimeError) -> bool:
    import torch.distributed as dist

    marks = ("gloo", "nccl", "connection closed by peer", "connection reset by peer")
    known = getattr(dist, "DistError", ())  # since PyTorch 2.2
    return isinstance(error, known) or any(mark in str(error).lower() for mark in marks)


def _tell_why(store: dist.Store, here: Place, sentence: str) -> None:
    """Leave the others the reason, unless one did before; who keeps the table waits for them."""
    try:
        if store.add("tellers", 1) == 1:
            store.set("why", f"{here.name()} ended: {sentence}")
            _mark(store, "told")
        _hear(store, here)
    except RuntimeError as error:
        print(f"{here.name()}: the others could not be told: {_first_line(error)}", file=sys.stderr)


def _hear(store: dist.Store, here: Place) -> None:
    """Say that we need the table no more; its keeper waits a little until nobody does."""
    _mark(store, f"heard/{here.rank}")
    everyone = [f"heard/{rank}" for rank in range(here.size)]
    deadline = time.monotonic() + CAUSE_S
    while here.rank == 0 and not _marked(store, *everyone) and time.monotonic() < deadline:
        time.sleep(POLL_S)


def _lost(error: RuntimeError, store: dist.Store, here: Place) -> Lost:
    """The sentence about a host that has gone: its own, if it left one."""
    print(f"{here.name()}: {_first_line(error)}", file=sys.stderr, flush=True)
    gone = _gone(error, here)
    told = (
        f"lost {gone} in the middle of the training, and {here.name()} cannot go on alone; the log "
        f"of {gone} says why"
    )
    deadline = time.monotonic() + CAUSE_S
    try:
        # PyTorch would fill the log if the keeper of the table is the one that has gone
        socket.create_connection(here.address, timeout=CAUSE_S).close()
        while not _marked(store, "told") and time.monotonic() < deadline:
            time.sleep(POLL_S)
        if _marked(store, "told"):
            told = store.get("why").decode()
            _hear(store, here)
        elif here.size > 2:
            _tell_why(store, here, told)
    except (OSError, RuntimeError):
        time.sleep(max(0.0, deadline - time.monotonic()))
    return Lost(told)


def _gone(error: RuntimeError, here: Place) -> str:
    """Which host an error speaks of, by the address in it."""
    if here.size == 2:
        return here.name(1 - here.rank)
    found = re.search(r"\[([0-9a-fA-F:]*(?:[0-9]+\.){3}[0-9]+|[0-9a-fA-F:]+)\]:[0-9]+", str(error))
    for name in here.hosts if found else ():
        with contextlib.suppress(OSError):
            if socket.gethostbyname(name) == found[1].replace("::ffff:", ""):
                return name
    return "another host"


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__


def _leave(here: Place, store: dist.Store) -> None:
    """Wait for the others, or the first would take its table with it while they still write."""
    import torch
    import torch.distributed as dist

    dist.all_reduce(torch.zeros(1))
    _hear(store, here)


def _forget() -> None:
    global _now
    import torch.distributed as dist

    _now = None
    if dist.is_initialized():
        dist.destroy_process_group()


def leave(code: int) -> None:
    """End the process with this exit code, if it has been in a group; call it last of all.

    Gloo's threads outlive the group, and a process that ends in Python's own way may meet one in
    the middle of something: now and then it aborts or hangs after all is done ("terminate called
    without an active exception"; pytorch/pytorch, pull request 179291).
    """
    if _formed:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


# --- what a training asks of it -------------------------------------------------------------------


def rank() -> int:
    """The number of this process, from 0; 0 without a group."""
    return _now.place.rank if _now else 0


def size() -> int:
    """How many processes train together; 1 without a group."""
    return _now.place.size if _now else 1


def gather(values: np.ndarray) -> list[np.ndarray]:
    """Every process's array, in the order of their ranks; of one dimension, and any length."""
    return _now.everyone.all_gather(values) if _now else [values]


def agree(stopped: bool, due: bool, rows: int) -> tuple[bool, bool, float]:
    """What all do before a step: stop if one was told to, save if it is time on the first.

    Of the rows that each has in this step it makes the mean over all, for ``weigh``.
    """
    if not _now:
        return stopped, due, rows
    import torch
    import torch.distributed as dist

    told = torch.tensor([stopped, due and rank() == 0, rows], dtype=torch.float64)
    dist.all_reduce(told)
    return bool(told[0]), bool(told[1]), told[2].item() / size()


def weigh(loss: torch.Tensor, rows: int, share: float) -> torch.Tensor:
    """Make of the mean loss of this process's ``rows`` its part of the mean over all rows.

    DDP takes the mean of the gradients of all processes, as if each had as many rows. Weighted by
    rows / ``share``, which ``agree`` gave, it is the gradient of the mean over the rows of all.
    """
    if not _now:
        return loss
    return (loss if rows else loss.nan_to_num(0.0)) * (rows / share)  # the mean of no row is NaN


def spread(rows: Rows, part: str) -> None:
    """Make ``rows.total`` count the rows of all, and let each validate on rows of its own.

    Each then holds other rows, but where all hold all that they train on.
    """
    if not _now:
        return
    import numpy as np

    here = _now.place
    if splits.sharded(splits.channel_of(part, _now.args)):
        # a host's processes all have read all of the host's rows
        _keep(rows, here.local_rank, here.local_size)
    elif part != "train":
        _keep(rows, here.rank, here.size)
    else:
        return  # every epoch shares them out anew
    _now.spread.append(rows)
    counts = [int(count[0]) for count in _now.everyone.all_gather(np.array([len(rows)]))]
    _now.rows[part] = counts
    rows.total = sum(counts)


def _keep(rows: Rows, first: int, every: int) -> None:
    rows.x, rows.y = rows.x[first::every].clone(), rows.y[first::every].clone()


def _is_spread(rows: Rows) -> bool:
    return any(rows is one for one in _now.spread)


def share(
    rows: Rows, order: torch.Tensor, sizes: list[int], batch: int
) -> tuple[torch.Tensor, list[int]]:
    """This process's rows of an epoch in the order of its steps, and how many each step has.

    Where all hold all rows, ``order`` is the same on all, and each takes its part of each batch of
    ``batch`` rows: together they make the steps that one host would. Where each holds rows of its
    own, it goes through them once in as many steps as all together need.
    """
    if not _now:
        return order, sizes
    here = _now.place
    if _is_spread(rows):
        steps = -(-rows.total // batch)
        edges = [len(order) * step // steps for step in range(steps + 1)]
        return order, [edges[step + 1] - edges[step] for step in range(steps)]

    def portion(count: int) -> slice:
        return slice(count * here.rank // here.size, count * (here.rank + 1) // here.size)

    full, rest = divmod(len(order), batch)
    mine = order[: full * batch].view(full, batch)[:, portion(batch)]
    last = order[full * batch :][portion(rest)]
    sizes = [mine.shape[1]] * full + [len(last)] * bool(rest)
    if "train" not in _now.rows:
        import numpy as np

        _now.rows["train"] = [int(n[0]) for n in _now.everyone.all_gather(np.array([sum(sizes)]))]
    import torch

    return torch.cat([mine.reshape(-1), last]), sizes


def add_up(value: torch.Tensor) -> None:
    """Replace a number by the sum over all, in place."""
    if _now:
        import torch.distributed as dist

        dist.all_reduce(value)


def whole(rows: Rows, *columns: np.ndarray) -> tuple[np.ndarray, ...]:
    """Columns with a value for each row, joined over all processes where these hold other rows."""
    if not _now or not _is_spread(rows):
        return columns
    import numpy as np

    return tuple(np.concatenate(_now.everyone.all_gather(column)) for column in columns)


def column(values: torch.Tensor) -> torch.Tensor:
    """A feature's values of all hosts, where each has rows of its own; float32 of shape (rows,).

    A median cannot be put together from the medians of parts, so every host gets the whole column,
    4 bytes a row, one column at a time: exact, and the same on all.
    """
    if not _now or not splits.sharded("train"):
        return values
    import numpy as np
    import torch

    return torch.from_numpy(np.concatenate(_now.hosts.all_gather(values.numpy())))


def reseed(seed: int, step: int) -> None:
    """Let every process leave out other neurons (dropout), the same when a step is done again."""
    if _now:
        import torch

        torch.manual_seed((seed * 1_000_003 + step) * size() + rank())


def record() -> dict[str, dict[str, dict[str, int]]]:
    """For ``parameters.json``: the rows of each process, by part. Nothing without a group."""
    if not _now:
        return {}
    here = _now.place
    return {
        "hosts": {
            here.name(rank): {part: counts[rank] for part, counts in _now.rows.items()}
            for rank in range(here.size)
        }
    }


def tell(epoch: int, layers: nn.Module) -> None:
    """Print a checksum of the weights, where there is another host to compare it with."""
    here = place()
    if here.size > 1:
        print(f"{here.name()}: epoch {epoch}, weights {checksum(layers)}", flush=True)


def checksum(layers: nn.Module) -> str:
    """Eight characters that differ where a bit of the weights does."""
    made = hashlib.blake2b(digest_size=4)
    for weights in layers.state_dict().values():
        made.update(weights.detach().cpu().numpy().tobytes())
    return made.hexdigest()


# --- checkpoints ----------------------------------------------------------------------------------


def shared(checkpoint: Checkpoint | None, run: dict[str, Any]) -> Checkpoint | Shared | None:
    """A checkpoint that the first process keeps for all; without a group the one given.

    ``run`` is what it is named by; with a group it is also named by what the others have.
    """
    return Shared(checkpoint, run) if _now and checkpoint else checkpoint


class Shared:
    """A checkpoint that the first process writes and reads; all must call ``save`` and ``load``.

    What is not the same on all is the loss so far: the file holds that of each.
    """

    def __init__(self, own: Checkpoint, run: dict[str, Any]) -> None:
        import numpy as np

        mine = np.frombuffer(json.dumps(run, sort_keys=True).encode(), "u1")
        runs = [bytes(one).decode() for one in _now.everyone.all_gather(mine)]
        self._own = Checkpoint(own.path.parent, {"hosts": runs})
        self.path, self.others, self.remove = self._own.path, self._own.others, self._own.remove

    def save(self, state: dict[str, Any]) -> None:
        """As Checkpoint's."""
        import torch

        losses = _now.everyone.all_gather(state["loss"].cpu().reshape(1).numpy())
        if rank() == 0:
            each = torch.tensor([loss[0] for loss in losses])
            self._own.save({**state, "loss": each})

    def load(self) -> dict[str, Any] | None:
        """As Checkpoint's: what the first process finds, on all."""
        import numpy as np
        import torch

        file = io.BytesIO()
        if rank() == 0 and (state := self._own.load()) is not None:
            torch.save(state, file)
        sent = _now.everyone.all_gather(np.frombuffer(file.getvalue(), "u1"))[0]
        if not len(sent):
            return None
        state = torch.load(io.BytesIO(sent.tobytes()), map_location="cpu", weights_only=True)
        return {**state, "loss": state["loss"][rank()]}
