"""The kernel of lesson 10: Jupyter finds it, it starts from .venv-sdk3, and without that it starts.

Which SDK a kernel has is what the lesson's own first cell checks.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from jupyter_client.kernelspec import KernelSpecManager

from lessons import kernels, pairs

ROOT = Path(__file__).resolve().parents[2]
FOLDER = kernels.ROOM / "kernels" / kernels.NAME


@pytest.mark.parametrize("before", [None, "", "/somebody/elses"])
def test_jupyter_finds_it_once_it_is_offered(before, monkeypatch):
    monkeypatch.delenv(kernels.VARIABLE, raising=False)
    assert kernels.NAME not in KernelSpecManager().find_kernel_specs()
    if before is not None:
        monkeypatch.setenv(kernels.VARIABLE, before)
    kernels.offer()
    kernels.offer()
    there = os.environ[kernels.VARIABLE].split(os.pathsep)
    assert there == [str(kernels.ROOM), *([before] if before else [])]
    specification = KernelSpecManager().get_kernel_spec(kernels.NAME)
    assert Path(specification.resource_dir) == FOLDER
    assert specification.display_name == kernels.SDK_3["display_name"]


def test_the_notebook_names_the_kernel_of_the_sdk_that_it_checks_for():
    cell = "# %% [markdown]\n# # Title\n\n# %%\nimport workshop\n\nworkshop.check_sdk({})\n"
    for wanted, kernel in (("", kernels.SDK_2), ("3", kernels.SDK_3)):
        assert pairs.parse(cell.format(wanted)).metadata.kernelspec == kernel


@pytest.fixture
def start(tmp_path) -> Path:
    """Return a copy of the program that starts the kernel, in a checkout of its own."""
    folder = tmp_path / "a checkout" / "scripts" / "lessons" / "kernels" / kernels.NAME
    folder.mkdir(parents=True)
    return Path(shutil.copy(FOLDER / "start.py", folder))


def started(start: Path) -> str:
    command = [sys.executable, start, "--version"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_it_is_started_from_its_environment(start):
    venv = start.parents[4] / ".venv-sdk3"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").write_text('#!/bin/sh\necho "$@"\n')
    (venv / "bin" / "python").chmod(0o755)
    assert "ipykernel_launcher" not in started(start)  # pip has not finished: not taken yet
    (venv / "installed-requirements.txt").touch()
    assert started(start) == "-m ipykernel_launcher --version\n"


def test_without_its_environment_it_starts_all_the_same(start):
    version = started(start).strip()
    question = "import IPython; print(IPython.__version__)"
    here = subprocess.run([sys.executable, "-c", question], capture_output=True, text=True)
    assert version == here.stdout.strip()


@pytest.mark.parametrize("kernel", [kernels.SDK_2, kernels.SDK_3], ids=lambda one: one["name"])
def test_a_lesson_opens_with_its_kernel_here_and_on_an_instance(kernel, monkeypatch):
    """Both make the kernel under the name that is in the notebook, so that nobody must choose."""
    monkeypatch.setenv(kernels.VARIABLE, "")
    kernels.offer()
    specification = KernelSpecManager().get_kernel_spec(kernel["name"])
    assert specification.display_name == kernel["display_name"]
    install = f'--name {kernel["name"]} --display-name "{kernel["display_name"]}"'
    for file in ("Makefile", "scripts/notebook_instance/environment.sh"):
        assert install in (ROOT / file).read_text(encoding="utf-8")


def test_the_specification_holds_no_path_of_a_machine():
    specification = json.loads((FOLDER / "kernel.json").read_text(encoding="utf-8"))
    assert specification["argv"][:2] == ["python", "{resource_dir}/start.py"]
