"""The files that a host got of its channels: printed in the log, and read back from it."""

import os
import subprocess
import sys
from pathlib import Path

import show_channels

SCRIPT = Path(show_channels.__file__)


def run(**variables):
    env = {name: value for name, value in os.environ.items() if not name.startswith("SM_")}
    return subprocess.run(
        [sys.executable, str(SCRIPT)], env={**env, **variables}, capture_output=True, text=True
    )


def test_every_channel_with_files_rows_and_bytes(tmp_path):
    full, empty = tmp_path / "full", tmp_path / "empty"
    (full / "below").mkdir(parents=True)
    empty.mkdir()
    (full / "b.csv").write_text('Name,Age\n"Ash\ndown",3\nBell,4\n')
    (full / "below" / "a.csv").write_text("Name,Age\n")
    (full / "notes.txt").write_text("12345")
    done = run(SM_CHANNEL_TRAIN=str(full), SM_CHANNEL_TEST=str(empty), SM_CURRENT_HOST="algo-2")
    assert done.returncode == 0, done.stderr
    size = sum(path.stat().st_size for path in full.rglob("*") if path.is_file())
    noise = ["something else", "channel of another kind"]
    assert show_channels.of_log([*noise, *done.stdout.splitlines()]) == [
        {"host": "algo-2", "channel": "test", "files": [], "rows": 0, "bytes": 0},
        {
            **{"host": "algo-2", "channel": "train"},
            **{"files": ["b.csv", "below/a.csv", "notes.txt"], "rows": 2, "bytes": size},
        },
    ]


def test_without_a_channel_it_says_so():
    done = run()
    assert done.returncode == 1
    assert "no variable SM_CHANNEL_<NAME>" in done.stderr
