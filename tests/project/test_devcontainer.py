"""The dev container's own commands set the lessons up and open them; its machine is one of ours."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".devcontainer"
SETTINGS = json.loads((FOLDER / "devcontainer.json").read_text(encoding="utf-8"))
DOCKERFILE = (FOLDER / SETTINGS["build"]["dockerfile"]).read_text(encoding="utf-8")
COMMANDS = {name: SETTINGS[name] for name in SETTINGS if name.endswith("Command")}
LOADED_S = 120  # a busy machine may need this long to start JupyterLab
ADDRESS = re.compile(r"http://127\.0\.0\.1:(\d+)/lab/tree/notebooks\?token=(\w+)")


def test_each_command_is_run_here() -> None:
    assert COMMANDS.keys() == {"onCreateCommand", "postAttachCommand"}


def test_the_machine_has_a_python_of_ours_and_the_user_is_made() -> None:
    (image,) = re.findall(r"^FROM python:(\S+)$", DOCKERFILE, flags=re.MULTILINE)
    pythons = re.search(r'^PYTHONS="(.*)"', (ROOT / ".ci/make_venv").read_text(), re.MULTILINE)
    assert image.partition("-")[0] in pythons[1].split()
    assert "slim" not in image  # it lacks git, make and the C compiler
    assert re.search(rf"^RUN useradd .*{SETTINGS['remoteUser']}$", DOCKERFILE, re.MULTILINE)


def test_the_set_up_does_nothing_where_the_environments_are_ready() -> None:
    done = subprocess.run(
        ["sh", "-c", COMMANDS["onCreateCommand"]],
        cwd=ROOT,
        env={key: value for key, value in os.environ.items() if not key.startswith("MAKE")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert [line for line in done.stdout.splitlines() if not line.startswith("make")] == []
    for venv in (".venv", ".venv-sdk3"):
        assert (ROOT / venv / "installed-requirements.txt").exists()


@contextlib.contextmanager
def started(command: str) -> Iterator[subprocess.Popen[str]]:
    """Start a command as the container does, and end all of it."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    process = subprocess.Popen(
        ["sh", "-c", command],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    timer = threading.Timer(LOADED_S, os.killpg, (process.pid, signal.SIGKILL))
    timer.start()
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.communicate(timeout=LOADED_S)
        finally:
            timer.cancel()
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def read_when_up(url: str) -> bytes:
    """Return what the server answers; it prints its address just before it listens."""
    deadline = time.monotonic() + LOADED_S
    while True:
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - our own server
                return answer.read()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def test_attaching_opens_the_lessons_at_the_address_that_is_printed() -> None:
    """Its port is the forwarded one, or the next that is free."""
    port = SETTINGS["forwardPorts"][0]
    assert f"--port={port}" in COMMANDS["postAttachCommand"]
    with started(COMMANDS["postAttachCommand"]) as process:
        output = []
        address = None
        for line in process.stdout:
            output.append(line)
            if address := ADDRESS.search(line):
                break
        assert address, "".join(output)
        url = "http://127.0.0.1:{}/api/contents/notebooks?token={}".format(*address.groups())
        names = {entry["name"] for entry in json.loads(read_when_up(url))["content"]}
    assert {path.name for path in (ROOT / "notebooks").glob("*.ipynb")} <= names


@pytest.mark.parametrize("option", ["seccomp", "apparmor", "systempaths"])
def test_jobs_can_have_namespaces_in_it(option: str) -> None:
    """Docker's limits on unshare, on mount, and on a /proc of one's own."""
    assert f"{option}=unconfined" in SETTINGS["securityOpt"]
    assert "privileged" not in SETTINGS
