"""Every shell script of the project passes shellcheck, which knows what breaks in which shell."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHELLCHECK = Path(sys.executable).with_name("shellcheck")


def is_shell_script(path: Path) -> bool:
    first = path.read_bytes().partition(b"\n")[0]
    return path.suffix == ".sh" or first in (b"#!/bin/sh", b"#!/bin/bash", b"#!/usr/bin/env bash")


def shell_scripts() -> list[Path]:
    patterns = [".ci/*", "scripts/**/*.sh", "scripts/stub_aws/containers/bin/*", "tests/**/*.sh"]
    files = sorted(path for pattern in patterns for path in ROOT.glob(pattern) if path.is_file())
    return [path for path in files if is_shell_script(path)]


def check(path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SHELLCHECK, "--severity=info", path], capture_output=True, text=True, check=False
    )


def test_they_are_listed() -> None:
    names = {path.name for path in shell_scripts()}
    assert {"make_venv", "run", "on_create.sh", "on_start.sh", "environment.sh"} <= names


@pytest.mark.parametrize("path", shell_scripts(), ids=lambda path: path.name)
def test_shellcheck_finds_nothing(path: Path) -> None:
    done = check(path)
    assert done.returncode == 0, done.stdout


def test_it_would_find_something(tmp_path: Path) -> None:
    script = tmp_path / "wrong.sh"
    script.write_text("#!/bin/sh\nrm -rf $1/*\n")
    assert "SC2086" in check(script).stdout
