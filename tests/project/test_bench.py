"""The benchmarks: all are listed, what they compare does the same work, tables tell what is so."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch

import tests.bench as bench
import train_torch
from tests.bench import memory_per_host, torch_throughput

FOLDER = Path(bench.__file__).parent


def test_every_benchmark_is_found_and_no_helper():
    names = bench.benchmarks()
    assert {"torch_throughput", "xgboost_scale"} <= set(names)
    assert "obvious_pandas" not in names  # a script that is measured: to import it would run it


def test_an_unknown_benchmark_is_named():
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench", "nonesuch"],
        cwd=FOLDER.parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "no benchmark nonesuch: there are " in done.stdout


def test_hosts_of_the_memory_benchmark_share_the_files_and_train_one_model(tmp_path):
    files = [tmp_path / f"{number}.csv" for number in range(5)]
    for file in files:
        file.write_bytes(memory_per_host.FEW.read_bytes())
    program = memory_per_host.PROGRAMS["XGBoost"]
    commands = memory_per_host.commands(program, files, 2, tmp_path)
    folders = [Path(variables["SM_CHANNEL_TRAIN"]) for _, variables in commands]
    assert [len(list(folder.iterdir())) for folder in folders] == [3, 2]
    peaks = memory_per_host.peaks(commands, tmp_path)
    assert min(peaks) > 50 * 2**20  # Python with pandas and XGBoost needs more than that
    assert "train: 2,136 rows from" in (tmp_path / "0.log").read_text()
    assert "train: 1,424 rows from" in (tmp_path / "1.log").read_text()
    checksums = {
        (tmp_path / f"{number}.log").read_text().split("model checksum ")[1][:12]
        for number in (0, 1)
    }
    assert len(checksums) == 1


def test_a_table_has_medians_and_ratios():
    text = bench.table(
        [
            bench.Row("bare", [100, 200, 300], "rows"),
            bench.Row("ours", [90, 500, 150], "rows", "bare"),
        ]
    )
    assert text.splitlines()[0].split() == ["bare", "200", "rows", "(100", "to", "300)"]
    assert text.splitlines()[1].split()[:2] == ["ours", "150"]
    assert text.splitlines()[1].endswith("0.75 of bare")


def test_turns_alternate_and_the_first_is_not_counted(capsys):
    order = []
    runs = {"a": lambda: order.append("a") or len(order), "b": lambda: order.append("b") or 0}
    assert bench.take_turns(runs, 2, "turns") == {"a": [3, 5], "b": [0, 0]}
    assert order == list("ababab")


def test_what_is_compared_makes_as_many_steps_on_as_many_rows(tmp_path, monkeypatch):
    cpu = torch.device("cpu")
    args = train_torch.parser().parse_args(["--batch_size", "16", "--epochs", "1"])
    parts = torch_throughput.made(40, cpu, args)
    steps = []
    real = torch.optim.AdamW.step
    monkeypatch.setattr(
        torch.optim.AdamW, "step", lambda self, *rest: steps.append(1) or real(self, *rest)
    )
    for run in (
        torch_throughput.bare(parts["train"].own, args, cpu),
        torch_throughput.steps_alone(parts, args, cpu),
        torch_throughput.validated(parts, args, cpu, str(tmp_path)),
        torch_throughput.single_rows(parts["train"].own, args, cpu),
    ):
        steps.clear()
        assert run() > 0
        assert len(steps) == 3  # 16, 16 and 8 rows


def test_a_setting_is_measured_completely(capsys):
    rows = torch_throughput.compare(16, 8, 64, torch.device("cpu"))
    assert [row.name.split(",")[0].strip() for row in rows] == [
        "bare loop",
        "train_torch.py",
        "with its validation",
        "DataLoader of single rows",
    ]
    assert all(len(row.values) == torch_throughput.TURNS for row in rows)
