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
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from . import view
from .beneath import View
from .configuration import (
    DEFAULT_CHECKPOINT_PATH,
    DEFAULT_TENSORBOARD_PATH,
    checkpoint_path,
    tensorboard_path,
)
from .ends import say
from .leftovers import end_leftovers
from .output import Output
from .proxy import sts_hosts
from .removal import remove
from .store import Job

# What the images add to the toolkit, and where a host with namespaces finds it.
CONTAINERS = Path(__file__).with_name("containers")
CONTAINERS_INSIDE = "/opt/containers"
HOST_PROGRAM = Path(__file__).with_name("host.py")
UNSHARE = [
    "unshare",
    *("--user", "--map-root-user", "--mount", "--uts", "--pid"),
    *("--fork", "--kill-child", "--mount-proc"),
]
NO_NAMESPACES = "STUB_AWS_NO_NAMESPACES"
PROBE_S = 60  # how long a host that does nothing may take on a machine that is busy
# Which of the processor's instructions numeric libraries use. Where a machine sets one of these,
# jobs must obey it too, or a training by hand and in a job would differ in the last digits.
INSTRUCTIONS = (
    *("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS"),
    *("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "NPY_DISABLE_CPU_FEATURES"),
)
# What a Python may need to start at all. The person's other variables reach no process of a host.
TO_START = ("PATH", "LD_LIBRARY_PATH")
LOCALE = ("LANG", "LC_ALL", "LC_CTYPE")  # how paths are written
END_S = 15.0  # for the end of a host, before it is ended harder, and before it is left
# Lists of places in a container's environment, and what stands between two. A job's own come first;
# what this machine needs to start a host stays.
LISTS = {"PATH": ":", "LD_LIBRARY_PATH": ":", "PYTHONPATH": ":", "NO_PROXY": ",", "no_proxy": ","}


@dataclass(frozen=True)
class Layout:
    """The folders of one host below `root`, named for what the container sees there."""

    root: Path
    read_only: list[str] = field(default_factory=list)

    @property
    def ml(self) -> Path:
        return self.root / "ml"

    @property
    def checkpoints(self) -> Path:
        return self.ml / "checkpoints"

    @property
    def tensorboard(self) -> Path:
        """The folder for TensorBoard, where the job wants it outside `/opt/ml`."""
        return self.root / "tensorboard"

    @property
    def containers(self) -> Path:
        return self.root / "containers"

    def wanted(self, job: Job) -> dict[str, Path]:
        """Return the folders that a job wants at paths of its own, by these paths."""
        asked = {
            checkpoint_path(job): (self.checkpoints, DEFAULT_CHECKPOINT_PATH),
            tensorboard_path(job): (self.tensorboard, DEFAULT_TENSORBOARD_PATH),
        }
        return {path: folder for path, (folder, default) in asked.items() if path != default}

    def files_of_job(self, wanted: Mapping[str, Path]) -> View:
        """Return the files of the host by the paths that its processes know."""
        folders = {"/opt/ml": self.ml}
        folders |= {p: f for p, f in wanted.items() if not Path(p).is_relative_to("/opt/ml")}
        if namespaces_available():
            return View(folders | {view.TMP: self.root / "covers" / "tmp"})
        own = [self.ml, self.root / "tmp", self.root / "home"]
        return View(
            folders | {way: here for here in own for way in (str(here), os.path.realpath(here))}
        )

    def channel(self, name: str) -> Path:
        return self.ml / "input" / "data" / name

    def make_read_only(self, channel: str) -> None:
        """Let no process of the host write to a channel."""
        self.read_only.append(f"/opt/ml/input/data/{channel}")
        for path in self.channel(channel).rglob("*"):
            path.chmod(0o555 if path.is_dir() else 0o444)

    def make(self, configuration: dict[str, Any]) -> None:
        """Create the folders and `input/config/<name>.json` for each entry of `configuration`."""
        config = self.ml / "input" / "config"
        for folder in ("input/config", "input/data", "code", "model", "output/data", "checkpoints"):
            (self.ml / folder).mkdir(parents=True)
        for folder in ("home", "tmp", "packages", "tensorboard"):
            (self.root / folder).mkdir()
        self.containers.symlink_to(CONTAINERS)  # whose own path may hold what divides PYTHONPATH
        for name, content in configuration.items():
            (config / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")


@dataclass(frozen=True)
class HostRequest:
    """What one host of a job shall be.

    Attributes:
        name: `algo-1` for the first.
        addresses: Host name -> IP address, for all hosts of the job.
        environment: The container's variables, but for those that this machine needs.
        cores: The numbers of the processor cores that it may use.
        command: What the container runs; nothing stands for the training toolkit.
        wanted: The folders that the job wants at paths of its own, by these paths.
        offline: Whether it has no network but itself.
    """

    layout: Layout
    name: str
    addresses: dict[str, str]
    environment: dict[str, str]
    cores: list[int]
    command: list[str]
    wanted: Mapping[str, Path] = field(default_factory=dict)
    offline: bool = False

    def specification(self, isolated: bool) -> dict[str, Any]:
        """Return what `host.py` needs to know."""
        return {
            "namespace": isolated,
            "offline": self.offline,
            "root": str(self.layout.root),
            "hostname": self.name,
            "hosts_file": _write(self.layout.root / "hosts", self._hosts_lines()),
            "cores": self.cores,
            "cores_file": _write(self.layout.root / "cores", [",".join(map(str, self.cores))]),
            **view.arrangement(self._folders()),
            "read_only": self.layout.read_only,
            "command": self.command or toolkit(self.layout, isolated),
            # a job's own command may make folders where it starts, as a remote function does
            "writable_root": bool(self.command),
            "environment": _environment(self, isolated),
            "working_directory": "/" if isolated else str(self.layout.root),
        }

    def _folders(self) -> dict[str, Path]:
        """Return the folders of the host by their paths inside."""
        folders = {"/opt/ml": self.layout.ml, CONTAINERS_INSIDE: CONTAINERS, **self.wanted}
        if view.home_inside() == view.HOME_INSTEAD:
            folders[view.HOME_INSTEAD] = self.layout.root / "home"
        return folders

    def _hosts_lines(self) -> list[str]:
        # The names of STS lead nowhere, so that no call of a script can reach the real AWS.
        nowhere = [f"127.255.255.254 {name}" for name in sts_hosts()]
        own = [f"{address} {name}" for name, address in self.addresses.items()]
        return ["127.0.0.1 localhost", *own, *nowhere]


class Instance:
    """A running host. `on_line` is called with each line that its processes print.

    Args:
        label: What to call it where it cannot be ended.
    """

    def __init__(self, request: HostRequest, on_line: Callable[[str], None], label: str) -> None:
        self._isolated = namespaces_available()
        self._base = request.layout.ml
        self._label = label
        for line in _differences(request.layout, self._isolated):
            on_line(line)
        self._process = subprocess.Popen(
            supervisor_command(request, self._isolated),
            env=_start_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            start_new_session=True,  # Ctrl-C in the terminal must not reach a job
        )
        self._lifeline = cast("IO[bytes]", self._process.stdin)
        output = cast("BinaryIO", self._process.stdout)
        self._pipe = os.fstat(output.fileno()).st_ino
        self._output = Output(output, on_line)

    def poll(self) -> int | None:
        """Return the container's exit code; None while it runs, or its last lines are on the way.

        Raises:
            Exception: A fault of the stub when it kept a line.
        """
        code = self._process.poll()
        if code is not None:
            self._output.finish()
        return code if self._output.done() else None

    def send(self, command: str) -> None:
        """`stop` (SIGTERM) or `kill` (SIGKILL) all processes of this host."""
        # Unbuffered: what a host that has ended did not read must not be tried again at close.
        with contextlib.suppress(BrokenPipeError):
            os.write(self._lifeline.fileno(), f"{command}\n".encode())

    def close(self) -> None:
        """End whatever still runs, within limits, and let go of the pipes."""
        self.send("kill")
        if not self._ends():
            self._process.kill()
            if not self._ends():
                say(f"process {self._process.pid}, the host {self._label}, could not be ended")
        self._lifeline.close()
        self._output.finish()
        if not self._output.join():
            say(f"the last lines of {self._label} took too long and are not in its log")
        code = self._process.returncode
        if self._isolated or not (self._output.held or code is None or code < 0):
            return
        ended = end_leftovers(self._pipe, str(self._base), self._label)
        if self._output.held and not ended:
            say(f"something that {self._label} left running has its log open and was not found")

    def _ends(self) -> bool:
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            return False
        return True


def supervisor_command(request: HostRequest, isolated: bool) -> list[str]:
    """Return the command line that starts a host."""
    specification = request.layout.root / "host.json"
    specification.write_text(json.dumps(request.specification(isolated)), encoding="utf-8")
    unshare = [*UNSHARE, *(["--net"] if request.offline else [])] if isolated else []
    # -I: nobody's settings. -S: with namespaces only the standard library is needed.
    python = [sys.executable, "-I", *(["-S"] if isolated else [])]
    return [*unshare, *python, str(HOST_PROGRAM), str(specification)]


def namespaces_available() -> bool:
    """Return whether this machine lets us give each host namespaces of its own."""
    return why_no_namespaces() is None


@functools.cache
def why_no_namespaces() -> str | None:
    """Return why hosts have no namespaces here, or None where they have some. It tries it out."""
    if os.environ.get(NO_NAMESPACES):
        return f"{NO_NAMESPACES} is set"
    if not shutil.which("unshare"):
        return "there is no command `unshare`"
    folder = Path(tempfile.mkdtemp(prefix="stub-aws-probe-"))
    try:
        return _try_a_host(Layout(folder))
    finally:
        remove(folder)


def _try_a_host(layout: Layout) -> str | None:
    """Run a host like a job's that only looks around. Return why it failed, or None."""
    layout.make({})
    looks = ["test", "-d", "/opt/ml/input/config"]
    addresses = {"algo-1": "127.0.0.2"}
    request = HostRequest(layout, "algo-1", addresses, {}, cores_of(0, 1), looks)
    with subprocess.Popen(
        supervisor_command(request, isolated=True),
        env=_start_environment(),
        stdin=subprocess.PIPE,  # its lifeline, which stays open: at its end it would end itself
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        try:
            code = process.wait(PROBE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            return f"a host that only looks around did not end within {PROBE_S} s"
        printed = process.stdout.read() if process.stdout else ""
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    if code == 0:
        return None
    traceback = lines and lines[0].startswith("Traceback")
    return (
        lines[-1 if traceback else 0]
        if lines
        else f"a host that only looks around ended with {code}"
    )


def _differences(layout: Layout, isolated: bool) -> list[str]:
    """Return log lines about what this machine cannot do for a host."""
    if not isolated:
        return [
            f"stub AWS: hosts have no namespaces here ({why_no_namespaces()}), so /opt/ml is not "
            f"there; SAGEMAKER_BASE_DIR is {layout.ml}"
        ]
    in_sight = " and ".join(f"{name} ({path})" for name, path in view.in_sight().items())
    if not in_sight:
        return []
    return [f"stub AWS: this job sees what is in {in_sight}, which cannot be hidden"]


def cores_of(host: int, hosts: int) -> list[int]:
    """Return the share of this machine's cores that host number `host` (from 0) of `hosts` gets."""
    if not hasattr(os, "sched_getaffinity"):  # macOS
        return list(range(os.cpu_count() or 1))
    cores = sorted(os.sched_getaffinity(0))
    share = len(cores) // hosts
    return cores[host * share : (host + 1) * share] if share else [cores[host % len(cores)]]


def _write(path: Path, lines: list[str]) -> str:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def _start_environment() -> dict[str, str]:
    """Return the environment of a host's supervisor. Every process of the job can read it."""
    return _variables(*TO_START, *LOCALE)


def _variables(*names: str) -> dict[str, str]:
    return {name: os.environ[name] for name in names if name in os.environ}


def _environment(request: HostRequest, isolated: bool) -> dict[str, str]:
    """Return the container's environment: AWS's part of it, and what this machine needs."""
    layout = request.layout
    asked = {"HOME": view.home_inside(), "LANG": "C.UTF-8", **request.environment}
    needed = {
        **_way_to_packages(),
        **_variables(*INSTRUCTIONS, *TO_START),
        "PATH": _search_path(_containers(layout, isolated)),
        "PYTHONUNBUFFERED": "1",
        "CURRENT_HOST": request.name,
    }
    if not isolated:
        needed["PYTHONPATH"] = str(layout.root / "packages")
        asked |= {
            "SAGEMAKER_BASE_DIR": str(layout.ml),
            "SM_STUDIO_LOCAL_MODE": "true",  # the toolkit does not wait for algo-1 to resolve
            "HOME": str(layout.root / "home"),
            "TMPDIR": str(layout.root / "tmp"),
            "PIP_TARGET": str(layout.root / "packages"),
        }
    joined = {
        name: sign.join([asked[name], needed[name]])
        for name, sign in LISTS.items()
        if asked.get(name) and needed.get(name)
    }
    return needed | asked | joined


def _containers(layout: Layout, isolated: bool) -> str:
    """Return where a host finds what the images add to the toolkit."""
    return CONTAINERS_INSIDE if isolated else str(layout.containers)


def toolkit(layout: Layout, isolated: bool) -> list[str]:
    """Return the command that starts the training toolkit, by its path.

    A job's PYTHONPATH is its own affair: the toolkit is found without it.
    """
    return [sys.executable, f"{_containers(layout, isolated)}/toolkit.py"]


def _search_path(containers: str) -> str:
    python = Path(sys.executable).parent
    return os.pathsep.join([f"{containers}/bin", str(python), os.environ.get("PATH", "")])


def _way_to_packages() -> dict[str, str]:
    """How this machine reaches its package index, for a job's `requirements.txt`."""
    passed = {"SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "HTTP_PROXY", "HTTPS_PROXY"}
    settings = {
        name: value
        for name, value in os.environ.items()
        if name.upper() in passed or name.startswith("PIP_")
    }
    direct = ",".join(filter(None, ["127.0.0.1", "localhost", os.environ.get("NO_PROXY")]))
    return settings | {"NO_PROXY": direct, "no_proxy": direct}
