"""Rows kept on disk: the same rows, chosen without reading them, and a model made of them."""

import errno
import json
from pathlib import Path

import numpy as np
import pytest
import xgboost

import out_of_core
import titanic
import train_xgboost
from entry_point import UsageError
from splits import Selection


@pytest.fixture
def rows():
    random = np.random.default_rng(1)
    return random.random((100, len(titanic.FEATURES)), dtype=np.float32)


def test_a_chunk_comes_back_and_only_the_rows_that_are_selected(rows, tmp_path):
    disk = out_of_core.Disk(tmp_path)
    chunks = [disk(part) for part in np.split(rows, [1, 40, 90])]
    assert [len(chunk) for chunk in chunks] == [1, 39, 50, 10]
    masks = np.split(np.random.default_rng(2).random(100) < 0.5, [1, 40, 90])
    selected = [chunk[mask] for chunk, mask in zip(chunks, masks, strict=True)]
    assert (np.concatenate(selected) == rows[np.concatenate(masks)]).all()


def all_of(batches: out_of_core.Batches) -> list[dict]:
    got: list[dict] = []
    while batches.next(lambda **batch: got.append(batch)):
        assert len(got) <= 3
    return got


def test_xgboost_gets_the_selected_rows_as_often_as_it_asks(rows, tmp_path):
    disk = out_of_core.Disk(tmp_path)
    chunks = [disk(part) for part in np.split(rows, [30, 70])]
    masks = [np.arange(len(chunk)) % 3 == 0 for chunk in chunks]
    y = np.arange(34, dtype=np.int8) % 2
    selection = Selection(list(zip(chunks, masks, strict=True)), y)
    batches = out_of_core.Batches(selection, cache=str(tmp_path / "cache"))
    for _ in range(2):
        got = all_of(batches)
        assert [len(batch["data"]) for batch in got] == [10, 14, 10]
        expected = np.concatenate([rows[:30][::3], rows[30:70][::3], rows[70:][::3]])
        assert (np.concatenate([batch["data"] for batch in got]) == expected).all()
        assert (np.concatenate([batch["label"] for batch in got]) == y).all()
        assert got[0]["feature_names"] == list(titanic.FEATURES)
        batches.reset()


def test_a_full_disk_is_one_sentence(tmp_path, rows, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(UsageError, match=r"No space left on device\); give more disk"):
        out_of_core.Disk(tmp_path)(rows)


def trained(folder: Path, *more: str) -> tuple[dict, bytes]:
    arguments = [f"--model_dir={folder}", f"--output_data_dir={folder}", "--num_round=20", *more]
    assert train_xgboost.main(arguments) == 0
    recorded = json.loads((folder / "parameters.json").read_text())
    return recorded, (folder / train_xgboost.MODEL_FILE).read_bytes()


def test_an_older_xgboost_is_one_sentence(tmp_path, monkeypatch, capsys):
    monkeypatch.delattr(xgboost, "ExtMemQuantileDMatrix")
    assert train_xgboost.main([f"--model_dir={tmp_path}", "--external_memory=true"]) == 1
    assert "argument --external_memory: needs XGBoost 3, and this is" in capsys.readouterr().err


def test_the_model_is_that_of_rows_in_memory(tmp_path, monkeypatch, recwarn):
    """The shipped list: no feature has more values than bins but for the fare's."""
    monkeypatch.setattr(titanic, "_BLOCK_BYTES", 10_000)
    made, write = [], out_of_core.Disk.__call__

    def noted(self, rows):
        made.append(write(self, rows))
        return made[-1]

    monkeypatch.setattr(out_of_core.Disk, "__call__", noted)
    recorded, from_disk = trained(tmp_path / "disk", "--external_memory=true", "--max_bin=1024")
    assert len(made) > 3
    assert not any(chunk.file.exists() for chunk in made)  # the temporary folder is gone
    count = len(made)
    plain, model = trained(tmp_path / "memory", "--max_bin=1024")
    assert len(made) == count
    assert recorded["rows"] == plain["rows"]
    assert recorded["metrics"] == plain["metrics"]
    assert from_disk == model
    assert not [warning for warning in recwarn if "cache file" in str(warning.message)]
