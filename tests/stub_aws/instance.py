"""One host of a training job as files and processes: lays it out, starts it, follows it, ends it.

The layout is SageMaker's (developer guide, "How Amazon SageMaker Provides Training Information"):
`/opt/ml` with `input/config/*.json`, `input/data/<channel>`, `code`, `model`, `output/data`,
`checkpoints`. Where the kernel allows it, `host.py` puts that tree at `/opt/ml` in namespaces of
its own; elsewhere `SAGEMAKER_BASE_DIR` tells the toolkit where it is, and the log says so.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# What the images add to the toolkit, and where a host with namespaces finds it.
CONTAINERS = Path(__file__).with_name("containers")
CONTAINERS_INSIDE = "/opt/containers"
HOST_PROGRAM = Path(__file__).with_name("host.py")
REPOSITORY = Path(__file__).resolve().parents[2]
UNSHARE = [
    "unshare",
    *("--user", "--map-root-user", "--mount", "--uts", "--pid"),
    *("--fork", "--kill-child", "--mount-proc"),
]
# -I and -S: the supervisor needs nothing but the standard library, and so starts faster.
SUPERVISOR = [sys.executable, "-I", "-S", str(HOST_PROGRAM)]
NO_NAMESPACES = "STUB_AWS_NO_NAMESPACES"
TOOLKIT = [sys.executable, "-m", "sagemaker_training.cli.train"]


@dataclass(frozen=True)
class Layout:
    """The folders of one host below `root`, named for what the container sees there."""

    root: Path

    @property
    def ml(self) -> Path:
        return self.root / "ml"

    @property
    def model(self) -> Path:
        return self.ml / "model"

    @property
    def output_data(self) -> Path:
        return self.ml / "output" / "data"

    @property
    def failure_file(self) -> Path:
        return self.ml / "output" / "failure"

    def channel(self, name: str) -> Path:
        return self.ml / "input" / "data" / name

    def make(self, configuration: dict[str, Any]) -> None:
        """Create the folders and `input/config/<name>.json` for each entry of `configuration`."""
        config = self.ml / "input" / "config"
        for folder in ("input/config", "input/data", "code", "model", "output/data", "checkpoints"):
            (self.ml / folder).mkdir(parents=True)
        for folder in ("home", "tmp", "packages"):
            (self.root / folder).mkdir()
        for name, content in configuration.items():
            (config / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")


class Instance:
    """A running host. `on_line` is called with each line that its processes print."""

    def __init__(
        self,
        layout: Layout,
        host: str,
        addresses: dict[str, str],
        environment: dict[str, str],
        on_line: Callable[[str], None],
    ) -> None:
        isolated = namespaces_available()
        specification = layout.root / "host.json"
        specification.write_text(
            json.dumps(_specification(layout, host, addresses, environment, isolated)),
            encoding="utf-8",
        )
        self._on_line = on_line
        if not isolated:
            on_line(
                "stub AWS: this machine gives jobs no namespaces of their own, so /opt/ml is not "
                f"there; SAGEMAKER_BASE_DIR is {layout.ml}"
            )
        self._process = subprocess.Popen(
            [*(UNSHARE if isolated else []), *SUPERVISOR, str(specification)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # Ctrl-C in the terminal must not reach a job
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self._process.stdout:
            self._on_line(line.rstrip("\n"))

    def poll(self) -> int | None:
        """The container's exit code, or None while it runs."""
        code = self._process.poll()
        if code is not None:
            self._reader.join()  # its last lines belong to it
        return code

    def send(self, word: str) -> None:
        """`stop` (SIGTERM) or `kill` (SIGKILL) all processes of this host."""
        # Unbuffered: what a host that has ended did not read must not be tried again at close.
        with contextlib.suppress(BrokenPipeError):
            os.write(self._process.stdin.fileno(), f"{word}\n".encode())

    def close(self) -> None:
        """End whatever still runs and let go of the pipes."""
        self.send("kill")
        self._process.wait()
        self._reader.join()
        self._process.stdin.close()
        self._process.stdout.close()


@functools.cache
def namespaces_available() -> bool:
    """Whether this machine lets us give each host namespaces of its own. Found out by trying."""
    if os.environ.get(NO_NAMESPACES) or not shutil.which("unshare"):
        return False
    with tempfile.TemporaryDirectory(prefix="stub-aws-probe-") as folder:
        layout = Layout(Path(folder))
        layout.make({})
        probe = _specification(layout, "algo-1", {"algo-1": "127.0.0.2"}, {}, isolated=True)
        specification = layout.root / "host.json"
        specification.write_text(json.dumps(probe | {"command": ["true"]}), encoding="utf-8")
        command = [*UNSHARE, *SUPERVISOR, str(specification)]
        # A lifeline that stays open: at its end the supervisor would kill its command.
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            return process.wait() == 0


def _specification(
    layout: Layout,
    host: str,
    addresses: dict[str, str],
    environment: dict[str, str],
    isolated: bool,
) -> dict[str, Any]:
    hosts_file = layout.root / "hosts"
    lines = ["127.0.0.1 localhost", *(f"{ip} {name}" for name, ip in addresses.items())]
    hosts_file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    home = Path.home()
    return {
        "namespace": isolated,
        "root": str(layout.root),
        "hostname": host,
        "hosts_file": str(hosts_file),
        "kept": _kept(),
        "covered": [str(path) for path in ("/opt", "/tmp", home, REPOSITORY)],
        "binds": {"/opt/ml": str(layout.ml), CONTAINERS_INSIDE: str(CONTAINERS)},
        "command": TOOLKIT,
        "environment": _environment(layout, host, environment, isolated),
        "working_directory": "/" if isolated else str(layout.root),
    }


def _kept() -> list[str]:
    """What a job must still see when home, /tmp and the repository are hidden: its Python."""
    prefixes = {os.path.realpath(prefix) for prefix in (sys.prefix, sys.base_prefix)}
    # A prefix such as /usr is never hidden, and an overlay over a system folder would be idle.
    return sorted({*prefixes, sys.prefix} - {"/", "/usr", "/usr/local"})


def _environment(
    layout: Layout, host: str, environment: dict[str, str], isolated: bool
) -> dict[str, str]:
    """The container's environment: AWS's part of it, and where this machine keeps its tools."""
    own = {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        "HOME": str(Path.home()),
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "PYTHONPATH": CONTAINERS_INSIDE,
        "CURRENT_HOST": host,
        **environment,
    }
    if isolated:
        return own
    return own | {
        "SAGEMAKER_BASE_DIR": str(layout.ml),
        "SM_STUDIO_LOCAL_MODE": "true",  # the toolkit then does not wait for algo-1 to resolve
        "HOME": str(layout.root / "home"),
        "TMPDIR": str(layout.root / "tmp"),
        "PIP_TARGET": str(layout.root / "packages"),
        "PYTHONPATH": os.pathsep.join([str(layout.root / "packages"), str(CONTAINERS)]),
    }
