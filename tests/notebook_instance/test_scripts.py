"""The lifecycle scripts run for real, on a machine that looks like a notebook instance.

What stands in says support/instance_machine.py. Beside that the lock is small: one wheel that lets
the environment see the packages of this one, so that building it takes seconds and a lesson runs.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lessons import kernels as lesson_kernels
from notebook_instance import template as instance_template
from tests.support.instance_machine import HOME, PERSISTENT, Machine
from tests.support.stub_jobs import StubProcess, eventually, needs_namespaces
from tests.support.tiny_wheel import make_wheel

sys.path.insert(0, str(instance_template.FOLDER))
import auto_stop

pytestmark = [needs_namespaces, pytest.mark.one_worker]
ROOT = Path(__file__).resolve().parents[2]
CLONE = PERSISTENT / "sagemaker-workshop"
FIVE_MINUTES = 300
READY = "Ready: the lessons open with the kernel Python 3 (workshop)."
JUPYTER = [sys.executable, "-m", "jupyter"]  # stands for the instance's own


def script(hook: str, **settings: Any) -> str:
    """Return a lifecycle script as the composed template has it, with values for its parameters."""
    values = {"IdleMinutes": 60, "PipExtraIndexUrl": ""} | settings
    properties = instance_template.compose()["Resources"]["SetUp"]["Properties"]
    (content,) = properties[hook]
    parts = content["Content"]["Fn::Base64"]["Fn::Join"][1]
    text = "".join(str(values[part["Ref"]]) if isinstance(part, dict) else part for part in parts)
    assert base64.b64encode(text.encode()).isascii()
    return text


def scratch_of_ipykernel() -> set[Path]:
    """Return the folders that `ipykernel install` makes for itself, and would leave."""
    return set(Path("/tmp").glob("*_kernels"))


class Workshop:
    """A repository to clone, with a small lock, and the folder that outlives a stop."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.persistent = folder / "SageMaker"
        self.persistent.mkdir()
        self.origin = folder / "origin"
        for name in (".ci", "notebooks", "scripts", "data"):
            shutil.copytree(
                ROOT / name, self.origin / name, ignore=shutil.ignore_patterns("__pycache__")
            )
        (self.origin / "requirements.txt").write_text(self.lock("first"), encoding="utf-8")
        git = ["git", "-C", str(self.origin), "-c", "user.name=x", "-c", "user.email=x@example.org"]
        for arguments in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "all"]):
            subprocess.run([*git, *arguments], check=True)
        self._machines = 0
        self.scratch_before = scratch_of_ipykernel()

    def lock(self, name: str) -> str:
        """Return a lock of one wheel, which opens this environment's packages to the one it is
        in."""
        wheel = make_wheel(self.folder, f"workshop_{name}")
        with zipfile.ZipFile(wheel, "a") as archive:
            archive.writestr(f"{name}.pth", sysconfig.get_path("purelib") + "\n")
        return f"--no-index\nworkshop_{name} @ {wheel.as_uri()}\n"

    def machine(self, **arguments: Any) -> Machine:
        """Return the next machine on which the folder SageMaker appears."""
        self._machines += 1
        folder = self.folder / f"machine-{self._machines}"
        folder.mkdir()
        return Machine(folder, self.persistent, **arguments)

    @property
    def clone(self) -> Path:
        return self.persistent / CLONE.name

    @property
    def state(self) -> Path:
        return self.persistent / ".workshop"

    @property
    def log(self) -> str:
        path = self.persistent / "workshop-environment.log"
        return path.read_text(encoding="utf-8") if path.exists() else ""

    @property
    def stamp(self) -> Path:
        return self.clone / ".venv" / "installed-requirements.txt"

    def conda_calls(self) -> int:
        return len((self.persistent / "conda-calls").read_text().splitlines())

    def start(self, machine: Machine, **settings: Any) -> subprocess.CompletedProcess[str]:
        """Do what SageMaker does at every start; check that it would not have to wait."""
        (self.persistent / "workshop-environment.log").unlink(missing_ok=True)
        began = time.monotonic()
        done = machine.run(["bash", "-s"], text=script("OnStart", **settings))
        assert done.returncode == 0, done.stderr
        assert time.monotonic() - began < FIVE_MINUTES / 10
        return done

    def wait_for_ready(self) -> None:
        eventually("the environment", lambda: READY in self.log or "not ready" in self.log)
        assert READY in self.log, self.log


def kernels(machine: Machine) -> dict[str, Any]:
    """Return the kernels that a Jupyter of the user finds."""
    home = {"HOME": str(HOME), "PATH": os.environ["PATH"]}
    listed = machine.as_user(*JUPYTER, "kernelspec", "list", "--json", environment=home)
    assert listed.returncode == 0, listed.stderr
    return json.loads(listed.stdout)["kernelspecs"]


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop(tmp_path_factory.mktemp("workshop"))


@pytest.fixture(scope="module")
def first(workshop: Workshop) -> Iterator[Machine]:
    """Return a machine that was just created: both scripts have run, and the build has ended."""
    cut_off = workshop.clone.with_suffix(".unfinished")
    cut_off.mkdir()
    (cut_off / "half").touch()  # a clone that was cut off
    with workshop.machine() as machine:
        created = machine.run(
            ["bash", "-s"], text=script("OnCreate", RepositoryUrl=workshop.origin.as_uri())
        )
        assert created.returncode == 0, created.stderr
        started = workshop.start(machine)
        assert "A systemd timer stops this instance after 60 idle minutes." in started.stdout
        workshop.wait_for_ready()
        yield machine


def test_the_first_start_makes_a_kernel(workshop: Workshop, first: Machine) -> None:
    spec = kernels(first)["workshop"]["spec"]
    assert spec["argv"][0] == str(CLONE / ".venv" / "bin" / "python")
    assert spec["display_name"] == "Python 3 (workshop)"
    assert "Setting up .venv" in workshop.log
    assert workshop.stamp.read_text() == (workshop.clone / "requirements.txt").read_text()
    assert not list(workshop.persistent.glob("*.unfinished"))
    assert not (workshop.state / "tmp").exists()
    assert scratch_of_ipykernel() <= workshop.scratch_before
    call = (workshop.persistent / "conda-calls").read_text()
    assert "--override-channels --channel conda-forge" in call
    assert "python=3.12" in call


def test_the_kernels_are_those_of_make_kernel(first: Machine) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    script = (instance_template.FOLDER / "environment.sh").read_text(encoding="utf-8")
    commands = re.findall(r"-m ipykernel (install .*\")", makefile)
    assert len(commands) == 2
    assert re.findall(r"-m ipykernel (install .*\")", script) == commands
    assert f"--name {lesson_kernels.NAME} " in commands[1]


def test_a_lesson_runs_with_it(first: Machine) -> None:
    with StubProcess() as stub:
        environment = stub.environment | {"HOME": str(HOME), "TMPDIR": "/tmp"}
        lesson = str(CLONE / "notebooks" / "01_environment_setup.ipynb")
        command = [*JUPYTER, "execute", "--kernel_name=workshop", "--inplace", lesson]
        done = first.as_user(*command, environment=environment, timeout_s=120)
        assert done.returncode == 0, done.stderr
        show = "import sys; print(open(sys.argv[1]).read())"
        executed = json.loads(first.run([sys.executable, "-c", show, lesson]).stdout)
        counts = [c["execution_count"] for c in executed["cells"] if c["cell_type"] == "code"]
        assert None not in counts
        assert len(counts) > 10
        bucket = "sagemaker-workshop-123456789012-us-east-1"
        assert stub.account.s3.head_object(Bucket=bucket, Key="data/train/titanic_train.csv")


def test_the_timer_is_one_that_systemd_takes(first: Machine, tmp_path: Path) -> None:
    read = ["bash", "-c", "cd /run/systemd/system && tail -n +1 *; cat /run/systemctl-calls"]
    output = first.run(read).stdout
    assert "User=ec2-user" in output
    assert "OnUnitInactiveSec=300" in output
    assert output.endswith("daemon-reload\nstart workshop-auto-stop.timer\n")
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze here to read the units")
    units = ["workshop-auto-stop.service", "workshop-auto-stop.timer"]
    command = ["systemd-analyze", "verify", *(f"/run/systemd/system/{unit}" for unit in units)]
    done = first.run(command)
    assert "workshop-auto-stop" not in done.stderr, done.stderr


def test_what_the_timer_starts_looks_and_says_why(workshop: Workshop, first: Machine) -> None:
    """There is no Jupyter on this machine, so it stays up."""
    done = first.as_user(
        "bash",
        "/run/sagemaker-workshop/auto_stop.sh",
        environment={"HOME": str(HOME), "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stderr
    output = (workshop.state / "auto_stop.log").read_text()
    assert " staying: no usable answer from Jupyter at https://localhost:8443/" in output


def test_root_is_not_what_the_user_gets(first: Machine) -> None:
    """A program in the user's folders runs without root's privileges."""
    script = "id -u; mount -t tmpfs x /mnt 2>/dev/null && echo mounted; hostname x && echo named"
    output = first.run(["sudo", "-u", "ec2-user", "-i", "bash", "-c", script]).stdout
    assert output == "1000\n"


# ---- later starts: each on a new machine that has only the folder SageMaker from before --------


def test_a_later_start_needs_no_network_and_builds_nothing(
    workshop: Workshop, first: Machine
) -> None:
    before, calls = workshop.stamp.stat().st_mtime_ns, workshop.conda_calls()
    with workshop.machine(network=False) as machine:
        assert "workshop" not in kernels(machine)  # they do not outlive a stop
        workshop.start(machine)
        workshop.wait_for_ready()
        assert "workshop" in kernels(machine)
        assert "Setting up" not in workshop.log
        assert "Bringing" not in workshop.log
        no_way_out = machine.run(["bash", "-c", "echo >/dev/tcp/192.0.2.1/80"])
        assert "Network is unreachable" in no_way_out.stderr
    assert (workshop.stamp.stat().st_mtime_ns, workshop.conda_calls()) == (before, calls)


def test_without_systemd_a_process_looks(workshop: Workshop, first: Machine) -> None:
    log = workshop.state / "auto_stop.log"
    log.unlink(missing_ok=True)
    with workshop.machine(network=False, systemd=False) as machine:
        done = workshop.start(machine, IdleMinutes="77\nAUTO_STOP_EVERY_S=1")
        assert "a process of ec2-user stops this instance after 77 idle minutes" in done.stdout
        eventually("a decision", lambda: log.exists() and "staying" in log.read_text())
        workshop.wait_for_ready()


def test_an_interrupted_build_is_never_taken_for_complete(
    workshop: Workshop, first: Machine
) -> None:
    """The machine is stopped while pip waits for a file that never comes; then all goes on."""
    lock = workshop.clone / "requirements.txt"
    endless = workshop.folder / "endless-1.0-py3-none-any.whl"
    os.mkfifo(endless)
    lock.write_text(f"--no-index\nendless @ {endless.as_uri()}\n", encoding="utf-8")
    with workshop.machine(network=False) as machine:
        workshop.start(machine)
        eventually("pip", lambda: "of 1 packages" in workshop.log)
        assert auto_stop.is_building(workshop.state)
        assert "workshop" not in kernels(machine)
    assert not auto_stop.is_building(workshop.state)
    assert not workshop.stamp.exists()
    calls = workshop.conda_calls()
    lock.write_text(workshop.lock("second"), encoding="utf-8")
    with workshop.machine(network=False) as machine:
        workshop.start(machine)
        workshop.wait_for_ready()
        assert "Bringing .venv to what requirements.txt says." in workshop.log
        assert "workshop" in kernels(machine)
    assert workshop.stamp.read_text() == lock.read_text()
    assert workshop.conda_calls() == calls  # Python was whole


def test_an_incomplete_python_is_installed_again(workshop: Workshop, first: Machine) -> None:
    (workshop.state / "python-3.12" / "complete").unlink()
    calls = workshop.conda_calls()
    with workshop.machine(network=False) as machine:
        workshop.start(machine)
        workshop.wait_for_ready()
    assert workshop.conda_calls() == calls + 1


def test_a_build_that_fails_is_reported_and_leaves_no_kernel(
    workshop: Workshop, first: Machine
) -> None:
    lock = workshop.clone / "requirements.txt"
    good = lock.read_text()
    lock.write_text("--no-index\nno-such-package==1\n", encoding="utf-8")
    with workshop.machine(network=False) as machine:
        workshop.start(machine)
        eventually("the failure", lambda: "The environment is not ready" in workshop.log)
        assert "no-such-package" in workshop.log
        assert "workshop" not in kernels(machine)
        lock.write_text(good)  # and by hand, as the log says
        again = machine.as_user(
            "bash",
            f"{CLONE}/scripts/notebook_instance/environment.sh",
            environment={"HOME": str(HOME), "PATH": "/usr/bin:/bin"},
        )
        assert again.returncode == 0
        assert "workshop" in kernels(machine)


# ---- creation ------------------------------------------------------------------------------------


def test_a_second_clone_leaves_the_first_alone(workshop: Workshop, first: Machine) -> None:
    """SageMaker runs the script once; a person who tests it runs it twice."""
    (workshop.clone / "mine.txt").write_text("kept")
    again = script("OnCreate", RepositoryUrl=workshop.origin.as_uri())
    done = first.run(["bash", "-s"], text=again)
    assert done.returncode == 0
    assert "stays as it is" in done.stdout
    assert (workshop.clone / "mine.txt").read_text() == "kept"


def test_a_repository_that_is_not_there_fails_the_creation_and_says_so(tmp_path: Path) -> None:
    persistent = tmp_path / "SageMaker"
    persistent.mkdir()
    (tmp_path / "machine").mkdir()
    with Machine(tmp_path / "machine", persistent, network=False) as machine:
        done = machine.run(
            ["bash", "-s"], text=script("OnCreate", RepositoryUrl="file:///nowhere/workshop")
        )
        assert done.returncode == 1
        last = done.stderr.splitlines()[-1]
        assert last.startswith("The workshop could not be cloned from file:///nowhere/workshop")
        started = machine.run(["bash", "-s"], text=script("OnStart"))
        assert started.returncode == 0
        assert "There is no workshop in" in started.stderr
        assert "A systemd timer stops this instance" in started.stdout  # all the same
    assert list(persistent.iterdir()) == []
