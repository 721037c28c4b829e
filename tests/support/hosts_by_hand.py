"""Processes of an entry point without a job, as if each were a host, on the loopback device.

A job on the stub shows the same, but these take a second or two: there is no toolkit, and PyTorch
is imported once for all (`together`).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np

from hosts import torch_group
from tests.support.entry_points import ROOT, TRAIN
from tests.support.ports import free_port

# Imports what takes long, then becomes the hosts.
FORK = """
import importlib, json, os, sys, traceback
import pandas, torch, torch.distributed.fsdp, torch.distributed.pipelining
sys.path.insert(0, sys.argv[3])
script = importlib.import_module(sys.argv[1])
hosts = []
for arguments, variables, folder in json.loads(sys.argv[2]):
    hosts.append(os.fork())
    if not hosts[-1]:
        os.environ.update(variables)
        for number, name in ((1, "stdout"), (2, "stderr")):
            os.dup2(os.open(os.path.join(folder, name), os.O_WRONLY | os.O_CREAT), number)
        code = 1
        try:
            code = script.main(arguments)
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(host, 0)[1]) for host in hosts]))
"""
SCRIPTS = str(ROOT / "scripts" / "training")


class End(NamedTuple):
    """How a process ended: exit code, and what it printed."""

    code: int
    stdout: str
    stderr: str

    def sentence(self) -> str:
        """Return the last line of stderr, without the name of the script."""
        return self.stderr.strip().splitlines()[-1].partition(".py: ")[2]


class ByHand:
    """Hosts named algo-1, algo-2 ... that meet on a free port.

    Args:
        module: The entry point.
        folder: Below it each process gets one of its own, by its number from 0.
    """

    def __init__(self, module: ModuleType, folder: Path, hosts: int = 2) -> None:
        self.module, self.folder = module, folder
        self.hosts = [f"algo-{number}" for number in range(1, hosts + 1)]
        self.port = free_port() - 1  # the hosts meet one above
        self.running: list[subprocess.Popen] = []

    def variables(self, host: str) -> dict[str, str]:
        return {
            "SM_HOSTS": json.dumps(self.hosts),
            "SM_CURRENT_HOST": host,
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(self.port),
            "GLOO_SOCKET_IFNAME": "lo0" if sys.platform == "darwin" else "lo",
        }

    def arguments(self, number: int, *own: object) -> list[str]:
        folder = self.folder / str(number)
        folder.mkdir(parents=True, exist_ok=True)
        shared = ["--train", TRAIN, "--hosts_seconds", 50, "--nthread", 1]
        shared += ["--model_dir", folder / "model", "--output_data_dir", folder / "output"]
        if self.module.__name__ == "train_torch":
            shared += ["--checkpoint_dir", folder / "checkpoints", "--device", "cpu"]
            shared += ["--early_stopping_epochs", 0]
        return [str(argument) for argument in (*shared, *own)]

    def start(self, host: str, *own: object) -> subprocess.Popen:
        """Start a process of its own, which the test follows."""
        process = subprocess.Popen(
            [sys.executable, self.module.__file__, *self.arguments(len(self.running), *own)],
            env=os.environ | self.variables(host),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.running.append(process)
        return process

    def together(self, *hosts: tuple, **variables: str) -> list[End]:
        """Run a process for each (host, arguments, variables) to the end."""
        processes = [
            (
                self.arguments(number, *arguments),
                self.variables(host) | variables | own,
                str(self.folder / str(number)),
            )
            for number, (host, arguments, own) in enumerate(hosts)
        ]
        done = subprocess.run(
            [
                *(sys.executable, "-c", FORK, self.module.__name__, json.dumps(processes)),
                str(Path(self.module.__file__).parent),
            ],
            cwd=SCRIPTS,
            env=os.environ | {"PYTHONPATH": SCRIPTS},
            capture_output=True,
            text=True,
            check=True,
            timeout=100,
        )
        return [
            End(code, *(Path(folder, name).read_text() for name in ("stdout", "stderr")))
            for code, (_, _, folder) in zip(json.loads(done.stdout), processes, strict=True)
        ]

    def close(self) -> None:
        for process in self.running:
            process.kill()
            process.communicate()


class Pretended(torch_group.TorchGroup):
    """One of several processes, for what is decided before they send messages."""

    def __init__(self, rank: int, size: int, counts: tuple[int, ...] = ()) -> None:
        hosts = [f"algo-{number}" for number in range(1, size + 1)]
        process = torch_group.Process(rank, size, 0, 1, hosts, rank, ("127.0.0.1", 1))
        super().__init__(process, range(size))
        self.counts = counts

    def all_gather(self, values: np.ndarray) -> list[np.ndarray]:
        assert values.tolist() == [self.counts[self.rank]]
        return [np.array([count]) for count in self.counts]
