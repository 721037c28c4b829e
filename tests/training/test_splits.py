"""The splits of the data: read in chunks, held out alike on one host and on several."""

import argparse
import json
import threading
import weakref
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import splits
import titanic
from hosts.group import Group

ROOT = Path(__file__).resolve().parents[2]


class Together(Group):
    """Members in threads of one process, which wait for each other."""

    def __init__(self, rank: int, table: list, barrier: threading.Barrier) -> None:
        super().__init__([f"algo-{number + 1}" for number in range(len(table))], rank)
        self._table, self._barrier = table, barrier

    def all_gather(self, values: np.ndarray) -> list:
        self._table[self.rank] = values
        self._barrier.wait()
        gathered = list(self._table)
        self._barrier.wait()
        return gathered


def arguments(train, **others) -> argparse.Namespace:
    settings = {"validation": None, "validation_fraction": 0.2, "seed": 1, **others}
    return argparse.Namespace(train=str(train), **settings)


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """Return the training list in five files of unequal length."""
    folder = tmp_path_factory.mktemp("shards")
    frame = pd.read_csv(ROOT / "data" / "titanic_train.csv", dtype=str)
    for number, rows in enumerate(np.split(np.arange(len(frame)), [50, 300, 310, 600])):
        frame.iloc[rows].to_csv(folder / f"part-{number}.csv", index=False)
    return folder


def on_hosts(shards, tmp_path, hosts, monkeypatch, **others):
    """Return what each of so many hosts gets of the sharded channel."""
    monkeypatch.setenv(
        "SM_INPUT_DATA_CONFIG", json.dumps({"train": {"S3DistributionType": "ShardedByS3Key"}})
    )
    files = sorted(shards.iterdir())
    table, barrier = [None] * hosts, threading.Barrier(hosts, timeout=20)
    loaded = [None] * hosts

    def host(rank):
        folder = tmp_path / f"host-{rank}"
        folder.mkdir()
        for file in files[rank::hosts]:
            (folder / file.name).symlink_to(file)
        group = Together(rank, table, barrier)
        loaded[rank] = splits.load(arguments(folder, **others), group)

    threads = [threading.Thread(target=host, args=[rank]) for rank in range(hosts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return loaded


def rows(part: splits.Part) -> list[tuple]:
    return sorted(map(tuple, np.column_stack([np.nan_to_num(part.x, nan=-1), part.y]).tolist()))


@pytest.mark.parametrize("hosts", [2, 3, 5])
def test_hosts_hold_out_what_one_host_would(shards, tmp_path, hosts, monkeypatch):
    alone = splits.load(arguments(shards))
    loaded = on_hosts(shards, tmp_path, hosts, monkeypatch)
    for name, part in alone.items():
        together = [row for one in loaded for row in rows(one[name])]
        assert sorted(together) == rows(part)
        assert len(together) > 100
    assert all(len(one["train"].y) for one in loaded)


@pytest.mark.parametrize("size", [2, 3, 7])
@pytest.mark.parametrize("validation", [None, ROOT / "data" / "titanic_test.csv"])
def test_hosts_share_the_rows_of_a_replicated_channel(shards, size, validation, no_job):
    """Each row is on one host, and no host has many more than another."""
    args = arguments(shards, validation=validation)
    alone = splits.load(args)
    members = [Group([f"algo-{number}" for number in range(size)], rank) for rank in range(size)]
    shares = [splits.load(args, member, share=True) for member in members]
    for name, part in alone.items():
        assert sorted(row for one in shares for row in rows(one[name])) == rows(part)
        counts = [len(one[name].y) for one in shares]
        assert max(counts) - min(counts) <= 1
        everything = splits.load(args, members[1])[name]
        assert rows(everything) == rows(part)


def test_of_a_sharded_channel_each_host_keeps_its_own_rows(shards, monkeypatch):
    channels = {"train": {}, "validation": {"S3DistributionType": "ShardedByS3Key"}}
    monkeypatch.setenv("SM_INPUT_DATA_CONFIG", json.dumps(channels))
    test = ROOT / "data" / "titanic_test.csv"
    member = Group(["algo-1", "algo-2"], 1)
    share = splits.load(arguments(shards, validation=test), member, share=True)
    alone = splits.load(arguments(shards, validation=test))
    assert rows(share["validation"]) == rows(alone["validation"])
    assert len(share["train"].y) == len(alone["train"].y) // 2


def test_chunks_and_files_give_what_one_file_gives(shards, monkeypatch):
    one_file = splits.load(arguments(ROOT / "data" / "titanic_train.csv"))
    monkeypatch.setattr(titanic, "_BLOCK_BYTES", 5_000)
    several = splits.load(arguments(shards))
    for name, part in one_file.items():
        assert part.x.dtype == np.float32
        assert part.x.flags["C_CONTIGUOUS"]
        assert part.x.flags["WRITEABLE"]  # as PyTorch wants it
        assert np.array_equal(part.x, several[name].x, equal_nan=True)
        assert np.array_equal(part.y, several[name].y)


def test_parts_are_what_titanic_reads(shards):
    frame = titanic.read(shards)
    held_out = titanic.hold_out(titanic.labels(frame), 0.2, 1)
    for dtype in ("float32", "float64"):
        x = titanic.features(frame, dtype).to_numpy()
        parts = splits.load(arguments(shards), dtype=dtype)
        for name, mask in (("train", ~held_out), ("validation", held_out)):
            assert parts[name].x.dtype == dtype
            assert np.array_equal(parts[name].x, x[mask], equal_nan=True)
            assert np.array_equal(parts[name].y, titanic.labels(frame)[mask])


def test_chunks_go_one_after_another(shards, monkeypatch):
    """Otherwise memory would hold all rows twice."""
    monkeypatch.setattr(titanic, "_BLOCK_BYTES", 5_000)
    alive = []

    class Chunk:
        def __init__(self, x):
            self.x = x
            alive.append(weakref.ref(self))

        def __len__(self):
            return len(self.x)

        def __getitem__(self, mask):
            counts.append(sum(chunk() is not None for chunk in alive))
            return self.x[mask]

    counts = []
    selected = splits.select(arguments(shards), keep=Chunk)
    for name in ("validation", "train"):
        selection = selected.pop(name)
        splits.in_memory(selection, "float32")
    chunks = len(alive)
    assert chunks > 10
    assert counts[-chunks:] == list(range(chunks, 0, -1))


def test_a_channel_of_headers_alone_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text(",".join(titanic.COLUMNS) + "\n")
    with pytest.raises(titanic.DataError, match="a header but no row"):
        splits.load(arguments(tmp_path))


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
        splits.load(arguments(folder / "0.csv"))


@pytest.mark.parametrize(
    ("channels", "sharded"),
    [
        (None, False),
        ({"train": {"S3DistributionType": "FullyReplicated"}}, False),
        ({"training": {"S3DistributionType": "ShardedByS3Key"}}, True),
        ({"validation": {"S3DistributionType": "ShardedByS3Key"}}, False),
    ],
)
def test_a_channel_is_sharded_where_sagemaker_says_so(channels, sharded, monkeypatch):
    monkeypatch.delenv("SM_INPUT_DATA_CONFIG", raising=False)
    if channels:
        monkeypatch.setenv("SM_INPUT_DATA_CONFIG", json.dumps(channels))
    assert splits.sharded("train") is sharded
