"""What memory a host needs at 10,000,000 passengers: alone, with rows on disk, and among several.

    python -m tests.bench.memory_per_host                  10,000,000 passengers
    python -m tests.bench.memory_per_host 2000000 --hosts 1 2

`train_xgboost.py` (ten rounds, with and without --external_memory) and `train_torch.py` (one
epoch) on one list in eight files, each host with its share of the
files as ShardedByS3Key gives it. The hosts are processes of this machine that meet on loopback
addresses. Told is the peak of the largest host, and how much of it is not there when the same
program trains on the 712 passengers of data/: that comes from the rows, and should halve where the
hosts are twice as many. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "scripts" / "training"
sys.path.insert(0, str(SCRIPTS))

from tqdm import tqdm  # noqa: E402

from simulation import make_titanic  # noqa: E402

FILES = 8
FEW = ROOT / "data" / "titanic_train.csv"
NETWORK = {"MASTER_PORT": "7777", "GLOO_SOCKET_IFNAME": "lo0" if sys.platform == "darwin" else "lo"}


class Program(NamedTuple):
    """A script of scripts/ and its arguments."""

    script: str
    arguments: tuple[str, ...]


TREES = ("--num_round=10", "--early_stopping_rounds=0")
PROGRAMS = {
    "XGBoost": Program("train_xgboost.py", TREES),
    "XGBoost, rows on disk": Program("train_xgboost.py", (*TREES, "--external_memory=true")),
    "PyTorch": Program("train_torch.py", ("--epochs=1", "--batch_size=8192", "--device=cpu")),
}


def peaks(commands: list[tuple[list[str], dict[str, str]]], logs: Path) -> list[int]:
    """Run processes at once, and return the peak resident set of each, in bytes.

    Raises SystemExit with the end of its log if one of them fails.
    """
    running = []
    for number, (command, variables) in enumerate(commands):
        with (logs / f"{number}.log").open("wb") as log:
            running.append(
                subprocess.Popen(
                    command, env={**os.environ, **variables}, stdout=log, stderr=subprocess.STDOUT
                )
            )
    peaks_bytes = []
    for number, process in enumerate(running):
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            for other in running[number + 1 :]:
                other.kill()
            raise SystemExit((logs / f"{number}.log").read_text()[-2000:])
        peaks_bytes.append(usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024))
    return peaks_bytes


def train(program: Program, files: Sequence[Path], hosts: int) -> int:
    """Return the peak of the largest host, in bytes."""
    with tempfile.TemporaryDirectory() as scratch:
        return max(peaks(commands(program, files, hosts, Path(scratch)), Path(scratch)))


def commands(
    program: Program, files: Sequence[Path], hosts: int, scratch: Path
) -> list[tuple[list[str], dict[str, str]]]:
    """Return a command and its variables for each host, with its share of the files in a folder."""
    names = [f"127.0.0.{number + 2}" for number in range(hosts)]
    config = {"train": {"S3DistributionType": "ShardedByS3Key"}}
    made = []
    for rank, name in enumerate(names):
        folder = scratch / name
        (folder / "train").mkdir(parents=True)
        for file in files[rank::hosts]:
            (folder / "train" / file.name).symlink_to(file)
        command = [sys.executable, str(SCRIPTS / program.script), *program.arguments]
        variables = {
            "SM_CHANNEL_TRAIN": str(folder / "train"),
            "SM_MODEL_DIR": str(folder / "model"),
            "SM_OUTPUT_DATA_DIR": str(folder / "output"),
            "SM_HOSTS": json.dumps(names),
            "SM_CURRENT_HOST": name,
            "SM_INPUT_DATA_CONFIG": json.dumps(config),
            "MASTER_ADDR": names[0],
            **NETWORK,
        }
        made.append((command, variables))
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows", nargs="?", type=int, default=10_000_000)
    parser.add_argument("--hosts", nargs="+", type=int, default=[1, 2, 4])
    asked = parser.parse_args(argv)
    runs = [(name, hosts) for name in PROGRAMS for hosts in asked.hosts]
    lines = []
    with tempfile.TemporaryDirectory() as made:
        files = make_titanic.write_list(asked.rows, 1, Path(made), FILES, "csv")
        with tqdm(total=len(runs), unit=" runs", leave=False) as progress:
            for name, hosts in runs:
                progress.set_postfix_str(f"{name}, {hosts} hosts")
                program = PROGRAMS[name]
                peak, few = (
                    train(program, some, count) for some, count in ((files, hosts), ([FEW], 1))
                )
                lines.append(
                    f"  {name:22} {hosts} host(s) {peak / 2**30:6.2f} GB, for the rows "
                    f"{(peak - few) / 2**30:5.2f} GB: {(peak - few) / asked.rows:4.0f} bytes each"
                )
                progress.update()
    print(f"{asked.rows:,} passengers, the largest host", *lines, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
