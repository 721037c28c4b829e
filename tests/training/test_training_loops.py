"""The plain loops that lesson 07 compares: each runs as it is, and they learn the same."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
import torch

import train_torch
from tests.support.entry_points import ROOT, SCRIPTS, TRAINING, Run
from tests.support.hosts_by_hand import ByHand
from workshop import hosts_diff

pytestmark = pytest.mark.usefixtures("no_job")


def command(script, folder, *arguments: object) -> list[str]:
    return [sys.executable, str(script), "--model_dir", str(folder), *map(str, arguments)]


def run_loop(script, folder, *arguments: object) -> str:
    """Run a loop here, on one host; return what it printed."""
    done = subprocess.run(
        command(script, folder, *arguments), cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout


def weights(folder) -> dict[str, torch.Tensor]:
    return torch.load(folder / "weights.pt", weights_only=True)


def test_on_one_host_both_leave_the_same_bytes(tmp_path):
    printed = [
        run_loop(script, tmp_path / script.stem, "--epochs", 3)
        for script in (hosts_diff.ONE_HOST, hosts_diff.MANY_HOSTS)
    ]
    losses = [float(loss) for loss in re.findall(r"epoch \d: loss ([0-9.]+)", printed[0])]
    assert printed[0] == printed[1]
    assert len(losses) == 3
    assert losses == sorted(losses, reverse=True)
    files = [
        (tmp_path / script.stem / "weights.pt").read_bytes()
        for script in (hosts_diff.ONE_HOST, hosts_diff.MANY_HOSTS)
    ]
    assert files[0] == files[1]


def test_three_hosts_learn_what_one_does(tmp_path):
    """Sums are added up in another order: float32 has about 7 digits of each."""
    run_loop(hosts_diff.ONE_HOST, tmp_path / "one", "--epochs", 3)
    hand = ByHand(train_torch, tmp_path, hosts=3)
    running = [
        subprocess.Popen(
            command(hosts_diff.MANY_HOSTS, tmp_path / host, "--epochs", 3),
            cwd=ROOT,
            env=os.environ | hand.variables(host),
            stdout=subprocess.PIPE,
            text=True,
        )
        for host in hand.hosts
    ]
    printed = [host.communicate(timeout=60)[0] for host in running]
    assert [host.returncode for host in running] == [0] * 3
    losses = [re.findall(r"epoch \d: loss ([0-9.]+)", text) for text in printed]
    assert losses == [losses[0]] * 3
    assert len(losses[0]) == 3
    several = weights(tmp_path / "algo-1")
    for name, value in weights(tmp_path / "one").items():
        torch.testing.assert_close(several[name], value, rtol=0, atol=5e-6)
    assert not (tmp_path / "algo-2" / "weights.pt").exists()


def test_a_loop_is_the_core_of_train_torch(tmp_path, capsys):
    """With all rows in one batch, so that their order is nothing."""
    run_loop(hosts_diff.ONE_HOST, tmp_path / "one", "--epochs", 4, "--batch_size", 1000)
    run = Run(SCRIPTS["train_torch"], tmp_path / "run", capsys)
    same = ("--validation_fraction", 0, "--dropout", 0, "--batch_size", 1000, "--epochs", 4)
    assert run(*same) == 0
    net = train_torch.model_fn(run.model).state_dict()
    for name, value in weights(tmp_path / "one").items():
        torch.testing.assert_close(net[name], value, rtol=0, atol=5e-6)


def test_a_loop_learns_from_the_channel_of_a_job(tmp_path, monkeypatch):
    monkeypatch.setenv("SM_CHANNEL_TRAIN", str(tmp_path / "nowhere"))
    with pytest.raises(subprocess.CalledProcessError) as failed:
        run_loop(hosts_diff.ONE_HOST, tmp_path)
    assert f"{tmp_path / 'nowhere'}: no such file or folder" in failed.value.stderr


def test_the_step_to_many_hosts_is_at_most_20_lines():
    difference = hosts_diff.diff(context=0)
    assert 10 <= hosts_diff.changed(difference) <= 20
    for essential in (
        "torch_group.joined()",
        "DistributedDataParallel",
        r"batch\[group.rank :: group.size\]",
        "group.all_reduce",
        "if group.rank == 0",
    ):
        assert re.search(rf"(?m)^\+.*{essential}", difference), essential


def test_a_diff_of_all_lines_is_both_scripts():
    lines = hosts_diff.diff(context=1000).splitlines()[3:]
    for path, other in ((hosts_diff.ONE_HOST, "+"), (hosts_diff.MANY_HOSTS, "-")):
        text = [line[1:] for line in lines if not line.startswith(other)]
        assert text == path.read_text().splitlines()
        assert path.parent == TRAINING


def test_changed_lines_are_counted_as_a_diff_has_them():
    assert hosts_diff.changed("--- a\n+++ b\n@@ -1 +1,2 @@\n-x = 1\n+x = 2\n+\n y\n") == 3
