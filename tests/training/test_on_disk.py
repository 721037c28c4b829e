"""Rows kept on disk: the same rows, chosen without reading them, and a model made of them."""

import errno
import json
from pathlib import Path

import numpy as np
import pytest
import xgboost

import on_disk
import titanic
import train_xgboost
from entry_point import UsageError


@pytest.fixture
def rows():
    return np.random.default_rng(1).random((100, 3), dtype=np.float32)


@pytest.fixture
def kept(rows, tmp_path):
    shelf = on_disk.Shelf(tmp_path)
    return on_disk.Rows.of([shelf.put(part) for part in np.split(rows, [1, 40, 90])])


def test_all_rows_come_back_in_order_chunk_by_chunk(rows, kept):
    chunks = list(kept)
    assert [len(chunk) for chunk in chunks] == [1, 39, 50, 10]
    assert (np.concatenate(chunks) == rows).all()
    assert (np.concatenate(list(kept)) == rows).all()  # as often as one likes


def test_masks_and_slices_choose_as_in_an_array(rows, kept):
    mask = np.random.default_rng(2).random(100) < 0.5
    chosen = kept[mask][slice(1, None, 3)]
    assert len(chosen) == len(rows[mask][1::3])
    assert (np.concatenate(list(chosen)) == rows[mask][1::3]).all()
    assert len(kept[np.zeros(100, bool)]) == 0


def test_a_full_disk_is_one_sentence(tmp_path, rows, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(UsageError, match=r"No space left on device\); give more disk"):
        on_disk.Shelf(tmp_path).put(rows)


def trained(folder: Path, *more: str) -> tuple[dict, bytes]:
    words = [f"--model_dir={folder}", f"--output_data_dir={folder}", "--num_round=20", *more]
    assert train_xgboost.main(words) == 0
    told = json.loads((folder / "parameters.json").read_text())
    return told, (folder / train_xgboost.MODEL_FILE).read_bytes()


def test_an_older_xgboost_is_one_sentence(tmp_path, monkeypatch, capsys):
    monkeypatch.delattr(xgboost, "ExtMemQuantileDMatrix")
    assert train_xgboost.main([f"--model_dir={tmp_path}", "--external_memory=true"]) == 1
    assert "argument --external_memory: needs XGBoost 3, and this is" in capsys.readouterr().err


def test_the_model_is_that_of_rows_in_memory(tmp_path, monkeypatch, recwarn):
    """The shipped list: no feature has more values than bins but for the fare's."""
    monkeypatch.setattr(titanic, "_BLOCK_BYTES", 10_000)
    made, put = [], on_disk.Shelf.put

    def noted(self, rows):
        made.append(put(self, rows))
        return made[-1]

    monkeypatch.setattr(on_disk.Shelf, "put", noted)
    told, from_disk = trained(tmp_path / "disk", "--external_memory=true", "--max_bin=1024")
    assert len(made) > 3
    assert not any(block.file.exists() for block in made)  # the temporary folder is gone
    count = len(made)
    plain, model = trained(tmp_path / "memory", "--max_bin=1024")
    assert len(made) == count
    assert told["rows"] == plain["rows"]
    assert told["metrics"] == plain["metrics"]
    assert from_disk == model
    assert not [warning for warning in recwarn if "cache file" in str(warning.message)]
