"""The benchmarks: all are listed, what they compare does the same work, tables tell what is so."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch
import train_torch

import tests.bench as bench
from tests.bench import torch_throughput

FOLDER = Path(bench.__file__).parent


def test_every_benchmark_is_found_and_no_helper():
    found = bench.benchmarks()
    assert {"torch_throughput", "xgboost_scale"} <= set(found)
    assert "obvious_pandas" not in found  # a script that is measured: to import it would run it


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
    seen = []
    real = torch.optim.AdamW.step
    monkeypatch.setattr(
        torch.optim.AdamW, "step", lambda self, *rest: seen.append(1) or real(self, *rest)
    )
    for run in (
        torch_throughput.bare(parts["train"], args, cpu),
        torch_throughput.steps_alone(parts["train"], args, cpu),
        torch_throughput.validated(parts, args, cpu, str(tmp_path)),
        torch_throughput.single_rows(parts["train"], args, cpu),
    ):
        seen.clear()
        assert run() > 0
        assert len(seen) == 3  # 16, 16 and 8 rows


def test_a_setting_is_measured_whole(capsys):
    rows = torch_throughput.compare(16, 8, 64, torch.device("cpu"))
    assert [row.name.split(",")[0].strip() for row in rows] == [
        "bare loop",
        "train_torch.py",
        "with its validation",
        "DataLoader of single rows",
    ]
    assert all(len(row.values) == torch_throughput.TURNS for row in rows)
