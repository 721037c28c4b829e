"""Parts of the data: read in chunks, held out alike on one host and on several."""

import argparse
import json
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import parts
import titanic
from group import Group

ROOT = Path(__file__).resolve().parents[2]


class Together(Group):
    """Members in threads of one process, which wait for each other."""

    def __init__(self, rank: int, size: int, table: list, barrier: threading.Barrier) -> None:
        self.rank, self.size, self._table, self._barrier = rank, size, table, barrier

    def gather(self, values: np.ndarray) -> list:
        self._table[self.rank] = values
        self._barrier.wait()
        found = list(self._table)
        self._barrier.wait()
        return found


def arguments(train, **others) -> argparse.Namespace:
    given = {"validation": None, "validation_fraction": 0.2, "seed": 1, **others}
    return argparse.Namespace(train=str(train), **given)


def see(frame: pd.DataFrame) -> np.ndarray:
    return titanic.features(frame).to_numpy()


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """The training list in five files of unequal length."""
    folder = tmp_path_factory.mktemp("shards")
    frame = pd.read_csv(ROOT / "data" / "titanic_train.csv", dtype=str)
    for number, rows in enumerate(np.split(np.arange(len(frame)), [50, 300, 310, 600])):
        frame.iloc[rows].to_csv(folder / f"part-{number}.csv", index=False)
    return folder


def on_hosts(shards, tmp_path, hosts, monkeypatch, **others):
    """What each of so many hosts gets of the sharded channel."""
    monkeypatch.setenv(
        "SM_INPUT_DATA_CONFIG", json.dumps({"train": {"S3DistributionType": "ShardedByS3Key"}})
    )
    files = sorted(shards.iterdir())
    table, barrier = [None] * hosts, threading.Barrier(hosts, timeout=20)
    found = [None] * hosts

    def host(rank):
        folder = tmp_path / f"host-{rank}"
        folder.mkdir()
        for file in files[rank::hosts]:
            (folder / file.name).symlink_to(file)
        group = Together(rank, hosts, table, barrier)
        found[rank] = parts.load(arguments(folder, **others), see, group=group)

    threads = [threading.Thread(target=host, args=[rank]) for rank in range(hosts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def rows(part: parts.Part) -> list[tuple]:
    return sorted(map(tuple, np.column_stack([np.nan_to_num(part.x, nan=-1), part.y]).tolist()))


@pytest.mark.parametrize("hosts", [2, 3, 5])
def test_hosts_hold_out_what_one_host_would(shards, tmp_path, hosts, monkeypatch):
    alone = parts.load(arguments(shards), see)
    found = on_hosts(shards, tmp_path, hosts, monkeypatch)
    for name, part in alone.items():
        together = [row for one in found for row in rows(one[name])]
        assert sorted(together) == rows(part)
        assert len(together) > 100
    assert all(len(one["train"].y) for one in found)


def test_chunks_and_files_give_what_one_file_gives(shards, monkeypatch):
    whole = parts.load(arguments(ROOT / "data" / "titanic_train.csv"), see)
    monkeypatch.setattr(titanic, "_BLOCK_BYTES", 5_000)
    several = parts.load(arguments(shards), see)
    for name, part in whole.items():
        assert np.array_equal(part.x, several[name].x, equal_nan=True)
        assert np.array_equal(part.y, several[name].y)


def test_a_frame_stays_a_frame(shards):
    frames = parts.load(arguments(shards), titanic.features)
    arrays = parts.load(arguments(shards), see)
    assert list(frames["train"].x.columns) == list(titanic.FEATURES)
    for name, part in arrays.items():
        assert np.array_equal(frames[name].x.to_numpy(), part.x, equal_nan=True)


def test_a_channel_of_headers_alone_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text(",".join(titanic.COLUMNS) + "\n")
    with pytest.raises(titanic.DataError, match="a header but no row"):
        parts.load(arguments(tmp_path), see)


def test_one_class_on_one_host_is_no_fault_of_the_data(tmp_path, monkeypatch):
    """Sorted lists are common: a host may get those who died alone."""
    frame = pd.read_csv(ROOT / "data" / "titanic_train.csv", dtype=str)
    folder = tmp_path / "sorted"
    folder.mkdir()
    for number, (_, part) in enumerate(frame.groupby("Survived")):
        part.to_csv(folder / f"{number}.csv", index=False)
    died, survived = on_hosts(folder, tmp_path, 2, monkeypatch)
    assert not died["train"].y.any()
    assert survived["train"].y.all()
    with pytest.raises(titanic.DataError, match="column Survived is 0 in every row"):
        parts.load(arguments(folder / "0.csv"), see)


@pytest.mark.parametrize(
    ("given", "sharded"),
    [
        (None, False),
        ({"train": {"S3DistributionType": "FullyReplicated"}}, False),
        ({"training": {"S3DistributionType": "ShardedByS3Key"}}, True),
        ({"validation": {"S3DistributionType": "ShardedByS3Key"}}, False),
    ],
)
def test_a_channel_is_sharded_where_sagemaker_says_so(given, sharded, monkeypatch):
    monkeypatch.delenv("SM_INPUT_DATA_CONFIG", raising=False)
    if given:
        monkeypatch.setenv("SM_INPUT_DATA_CONFIG", json.dumps(given))
    assert parts.sharded("train") is sharded
