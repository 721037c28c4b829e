"""Every command that README.md shows is run here, or is the one that runs these tests."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

from tests.support.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [
    line
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    for line in block.split("\n")
]
COMMANDS = [line for line in COMMANDS if line]
LOADED_S = 120  # a busy machine may need this long to start JupyterLab


def run(command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run one of the README's commands as it stands, in the checkout."""
    assert command in COMMANDS, f"README.md no longer shows `{command}`"
    return subprocess.run(
        shlex.split(command),
        cwd=ROOT,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_command_has_its_test() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    assert len(COMMANDS) >= 6
    missing = [line for line in COMMANDS if f'"""`{line}`' not in source.replace("\\n", "")]
    assert missing == []


def test_test_is_what_ci_runs() -> None:
    """`make test`: CI's own command, which runs this very test."""
    assert "make test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_lessons() -> None:
    """`make lessons`: here one lesson of them; tests/lessons/test_lessons.py executes all."""
    done = run("make lessons", LESSON="01")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"01_environment_setup +[\d.]+ s +passed", done.stdout)
    assert (ROOT / "build" / "lessons" / "01_environment_setup.html").exists()


def test_site() -> None:
    """`make site`: makes pages or names what is missing; lessons/test_site.py tests the rest."""
    done = run("make site")
    if done.returncode:
        assert re.search(r"^Lesson \w+ .*: run `make lessons LESSON=\d+`\.$", done.stderr, re.M)
        assert not (ROOT / "build" / "site").exists()
    else:
        assert (ROOT / "build" / "site" / "index.html").exists()


def test_workshop() -> None:
    """`make workshop`: JupyterLab comes up on the loopback address, and all of it ends."""
    port = free_port()
    arguments = f"--no-browser --port={port} --IdentityProvider.token=readme"
    with subprocess.Popen(
        shlex.split("make workshop"),
        cwd=ROOT,
        env={**os.environ, "JUPYTER_ARGS": arguments},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            url = f"http://127.0.0.1:{port}/api/contents/notebooks?token=readme"
            names = {entry["name"] for entry in json.loads(read_when_up(url, process))["content"]}
            assert {path.name for path in (ROOT / "notebooks").glob("*.ipynb")} <= names
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
            try:
                output, _ = process.communicate(timeout=LOADED_S)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)  # else `with` would wait for ever
            print(output)  # pytest shows it when the test fails


def read_when_up(url: str, process: subprocess.Popen[str]) -> bytes:
    """Return what a server answers once it runs.

    Raises:
        TimeoutError: It did not come up.
    """
    deadline = time.monotonic() + LOADED_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - our own server
                return answer.read()
        except OSError:
            time.sleep(0.2)
    raise TimeoutError(f"no answer from {url}")


def test_kernel(tmp_path: Path) -> None:
    """`make kernel`: the user's Jupyter then has the workshop's kernel, on this environment."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    folders = {"HOME": tmp_path, "JUPYTER_DATA_DIR": tmp_path / "jupyter", "TMPDIR": scratch}
    done = run("make kernel", **{name: str(path) for name, path in folders.items()})
    assert done.returncode == 0, done.stdout + done.stderr
    assert list(scratch.iterdir()) == []
    specification = json.loads((tmp_path / "jupyter/kernels/workshop/kernel.json").read_text())
    assert Path(specification["argv"][0]).is_relative_to(ROOT / ".venv")
    assert specification["display_name"] == "Python 3 (workshop)"


INSTANCE_TEST = (ROOT / "tests" / "notebook_instance" / "test_instance.py").read_text(
    encoding="utf-8"
)


def test_instance() -> None:
    """`make instance`: notebook_instance/test_instance.py runs it, on a stub AWS of its own."""
    assert "def test_make_runs_it" in INSTANCE_TEST
    assert 'make("instance"' in INSTANCE_TEST


def test_instance_status() -> None:
    """`make instance-status`: notebook_instance/test_instance.py runs it."""
    assert 'make("instance-status"' in INSTANCE_TEST


def test_instance_delete() -> None:
    """`make instance-delete`: notebook_instance/test_instance.py runs it."""
    assert 'make("instance-delete"' in INSTANCE_TEST


SPLIT = ".venv/bin/python -m simulation.make_titanic --split path/to/train.csv --out data"


def test_split(tmp_path: Path) -> None:
    """`.venv/bin/python -m simulation.make_titanic --split path/to/train.csv --out data`"""
    assert SPLIT in COMMANDS
    (tmp_path / "path" / "to").mkdir(parents=True)
    (tmp_path / "data").mkdir()
    lists = [(ROOT / "data" / f"titanic_{part}.csv").read_text() for part in ("train", "test")]
    joined = lists[0] + lists[1].partition("\n")[2]
    (tmp_path / "path" / "to" / "train.csv").write_text(joined)
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    done = subprocess.run(
        shlex.split(SPLIT), cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    rows = [
        len((tmp_path / "data" / f"titanic_{part}.csv").read_text().splitlines()) - 1
        for part in ("train", "test")
    ]
    assert rows == [712, 179]


STUB = next((line for line in COMMANDS if "stub_aws" in line), "")


def test_stub() -> None:
    """`.venv/bin/python -m stub_aws .venv/bin/python -c "import boto3; print(boto3.client('sts').get_caller_identity()['Arn'])"`: names the role."""  # noqa: E501
    done = run(STUB)
    assert done.returncode == 0, done.stderr
    role = "arn:aws:sts::123456789012:assumed-role/sagemaker-execution-role/"
    assert done.stdout.startswith(role)


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#]+)\)", README))))
def test_links_lead_somewhere(target: str) -> None:
    assert (ROOT / target).exists()
