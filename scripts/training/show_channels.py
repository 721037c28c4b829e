"""Print what this host got of each channel: an entry point that trains nothing.

In a terminal, with a channel's folder in the variable that SageMaker would set:

    SM_CHANNEL_TRAIN=data python scripts/training/show_channels.py

As a job on several hosts, each prints one line for each channel into the log:

    channel {"host": "algo-2", "channel": "train", "files": ["b.csv"], "rows": 356, "bytes": 27130}

and ``of_log`` reads these lines back. It needs nothing but Python, so any image will do.
"""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

PREFIX = "SM_CHANNEL_"
MARK = "channel "


def contents(folder: Path) -> dict[str, Any]:
    """Return the names of a channel's files, the rows of its CSV files, and the bytes of all files.

    Raises OSError for a folder that is not there.
    """
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder}: no such folder")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        "files": [path.relative_to(folder).as_posix() for path in files],
        "rows": sum(rows(path) for path in files if path.suffix == ".csv"),
        "bytes": sum(path.stat().st_size for path in files),
    }


def rows(path: Path) -> int:
    """Return the rows of a CSV file below its header; a quoted field may go over several lines."""
    with path.open(encoding="utf-8", newline="") as file:
        return max(0, sum(1 for fields in csv.reader(file) if fields) - 1)


def of_log(log: Iterable[str]) -> list[dict[str, Any]]:
    """Return what the hosts of a job printed, by host and channel; empty if that is nothing."""
    printed = [json.loads(line[len(MARK) :]) for line in log if line.startswith(MARK + "{")]
    return sorted(printed, key=lambda one: (one["host"], one["channel"]))


def main() -> int:
    """Print one line for each channel; returns the exit code, 1 where there is none."""
    channels = {name: value for name, value in os.environ.items() if name.startswith(PREFIX)}
    if not channels:
        print(f"show_channels.py: no variable {PREFIX}<NAME> names a folder", file=sys.stderr)
        return 1
    host = os.environ.get("SM_CURRENT_HOST", "localhost")
    for name, folder in sorted(channels.items()):
        channel = {"host": host, "channel": name[len(PREFIX) :].lower()}
        print(MARK + json.dumps({**channel, **contents(Path(folder))}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
