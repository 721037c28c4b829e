"""train_minimal.py: short enough to copy, and the same script locally and as a job."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
import xgboost

import train_minimal
from stub_aws.aws import StubAWS
from tests.support.entry_points import TEST, TRAIN
from tests.support.stub_jobs import XGBOOST_IMAGE, Account, unique
from workshop import code_size

SCRIPT = Path(train_minimal.__file__)
MODEL = "xgboost-model.ubj"


def trained(folder: Path, *arguments: object) -> Path:
    """Run the script in this process and return the file of its model."""
    train_minimal.main([*map(str, arguments), "--model_dir", str(folder)])
    return folder / MODEL


def test_it_is_short_and_needs_no_file_of_ours() -> None:
    assert code_size.lines(SCRIPT) <= 40
    assert code_size.modules(SCRIPT) == {SCRIPT}


def test_it_learns_something(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = trained(tmp_path, "--train", TRAIN)
    (accuracy,) = re.findall(r"validation:accuracy=([\d.]+);", capsys.readouterr().out)
    train = pd.read_csv(TRAIN)
    baseline = 1 - train["Survived"].mean()
    assert float(accuracy) > baseline + 0.1
    booster = xgboost.Booster(model_file=model)
    assert booster.feature_names == train_minimal.FEATURES
    assert booster.num_boosted_rounds() == 20
    fresh = pd.read_csv(TEST).assign(Female=lambda rows: rows["Sex"] == "female")
    answers = booster.predict(xgboost.DMatrix(fresh[train_minimal.FEATURES])) >= 0.5
    assert (answers == fresh["Survived"]).mean() > baseline + 0.1


def test_hyperparameters_and_every_file_of_the_channel_count(tmp_path: Path) -> None:
    rows = TRAIN.read_text().splitlines(keepends=True)
    (tmp_path / "channel").mkdir()
    (tmp_path / "channel" / "a.csv").write_text("".join(rows[:301]))
    (tmp_path / "channel" / "b.csv").write_text("".join([rows[0], *rows[301:]]))
    one = trained(tmp_path / "one", "--train", TRAIN)
    assert trained(tmp_path / "two", "--train", tmp_path / "channel").read_bytes() == (
        one.read_bytes()
    )
    other = trained(tmp_path / "other", "--train", TRAIN, "--max_depth", 2, "--num_round", 5)
    assert xgboost.Booster(model_file=other).num_boosted_rounds() == 5
    assert other.read_bytes() != one.read_bytes()


def test_as_a_job_it_leaves_the_same_model(stub_aws: StubAWS, tmp_path: Path) -> None:
    account = Account(stub_aws.environment)
    uri = account.put(f"{unique('minimal')}/titanic_train.csv", TRAIN.read_text(encoding="utf-8"))
    name = account.start(
        files={SCRIPT.name: SCRIPT.read_text(encoding="utf-8")},
        program=SCRIPT.name,
        image=XGBOOST_IMAGE,
        hyperparameters={"max_depth": "2"},
        channels={"train": (uri, "FullyReplicated")},
    )
    description = account.wait(name)
    assert description["TrainingJobStatus"] == "Completed", description.get("FailureReason")
    local = trained(tmp_path, "--train", TRAIN, "--max_depth", 2).read_bytes()
    assert account.unpack(name) == {MODEL: local}
