"""The XGBoost entry point, where it is particular; test_entry_points.py has what all promise."""

from __future__ import annotations

import csv
import re
import shlex

import numpy as np
import pandas as pd
import pytest
import xgboost

import titanic
import train_xgboost
from stub_aws import first_party
from tests.support.entry_points import SCRIPTS, TEST, TRAIN, Run, metrics_in
from train_xgboost import model_fn, predict

pytestmark = pytest.mark.usefixtures("no_job")


class RunXGBoost(Run):
    """A run of train_xgboost.py in folders of its own."""

    def history(self) -> pd.DataFrame:
        return self.table().set_index("round")


@pytest.fixture
def run(tmp_path, capsys) -> RunXGBoost:
    return RunXGBoost(SCRIPTS["train_xgboost"], tmp_path, capsys)


# --- the command line -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("--max_dept 3", "no argument --max_dept; did you mean --max_depth?"),
        ("--max-dept=3", "no argument --max_dept; did you mean --max_depth?"),
        ("--max 3", "no argument --max; "),  # no abbreviations
        ("--num_round", "argument --num_round: expected one argument"),
        ("--num_round many", "--num_round: expected a whole number from 1 to 100000, found 'many'"),
        ("--num_round 10.5", "--num_round: expected a whole number"),
        ("--num_round 0", "--num_round: expected a whole number from 1"),
        ("--num_round -5", "found '-5'"),
        ("--early_stopping_rounds -1", "--early_stopping_rounds: expected a whole number from 0"),
        ("--max_depth 0", "--max_depth: expected a whole number from 1"),
        ("--eta zero", "--eta: expected a number above 0 to 1, found 'zero'"),
        ("--eta 0", "--eta: expected a number above 0"),
        ("--eta 1.5", "found '1.5'"),
        ("--eta nan", "found 'nan'"),
        ("--subsample 0", "--subsample: expected a number above 0 to 1"),
        ("--colsample_bytree 2", "--colsample_bytree: expected a number above 0 to 1"),
        ("--min_child_weight -1", "--min_child_weight: expected a number from 0, found '-1'"),
        ("--gamma -0.1", "--gamma: expected a number from 0, found '-0.1'"),
        ("--lambda inf", "--lambda: expected a number from 0, found 'inf'"),
        ("--alpha ''", "--alpha: expected a number from 0, found ''"),
        ("--max_bin 1", "--max_bin: expected a whole number from 2"),
    ],
)
def test_bad_arguments_are_refused_in_one_sentence(run, arguments, sentence):
    assert sentence in run.refuses(*shlex.split(arguments))


def test_hyphens_and_underscores_are_one_name(run):
    assert run("--num-round", 3, "--max-depth=2", "--early-stopping-rounds", 0) == 0
    recorded = run.parameters()["hyperparameters"]
    assert (recorded["num_round"], recorded["max_depth"], recorded["early_stopping_rounds"]) == (
        3,
        2,
        0,
    )


def test_hyperparameters_reach_xgboost(run):
    """Each one with another value makes another model: none is read and then ignored."""
    common = ("--num_round", 8, "--early_stopping_rounds", 0, "--max_depth", 4)
    run(*common)
    plain = run.bytes()
    others = {
        "max_depth": 5,
        "eta": 0.5,
        "subsample": 0.5,
        "colsample_bytree": 0.5,
        "min_child_weight": 9,
        "gamma": 2,
        "lambda": 20,
        "alpha": 3,
        "max_bin": 8,
        "num_round": 9,
        "seed": 5,
        "validation_fraction": 0.4,
    }
    for name, value in others.items():
        assert run(*common, f"--{name}", value) == 0
        assert run.bytes() != plain, name
    tunable = {*train_xgboost.BOOSTER_PARAMETERS, "num_round", "validation_fraction"}
    assert set(others) == tunable
    run(*common)
    assert run.bytes() == plain


# --- what it leaves -------------------------------------------------------------------------------


def test_what_is_written(run):
    assert run("--num_round", 20, "--early_stopping_rounds", 0) == 0
    recorded = run.parameters()
    assert recorded["hyperparameters"]["num_round"] == 20
    assert recorded["hyperparameters"]["objective"] == "binary:logistic"
    assert recorded["features"] == list(titanic.FEATURES)
    assert recorded["rounds"] == {"trained": 20, "kept": 20}
    assert list(run.history().columns) == ["train:logloss", "validation:logloss"]
    assert run.history().index.tolist() == list(range(1, 21))
    assert run.history()["train:logloss"].is_monotonic_decreasing


def test_the_model_holds_no_path_and_no_machine(run):
    run("--num_round", 3)
    for text in (str(run.model), str(TRAIN), "nthread", "best_iteration", "best_score"):
        assert text.encode() not in run.bytes(), text


def test_a_dry_run_trains_one_round(run):
    assert run("--dry_run") == 0
    assert "trained 1 rounds" in run.stdout


def test_sagemakers_own_metric_definitions_read_every_round(run):
    assert run("--num_round", 12, "--early_stopping_rounds", 0, "--log_every", 1) == 0
    read = metrics_in(run.stdout, first_party.metric_definitions())
    read = {name: values for name, values in read.items() if values}
    assert len(read) == 6
    for name, values in read.items():
        part, metric = name.split(":")
        assert values[-1] == pytest.approx(run.parameters()["metrics"][part][metric], rel=1e-5)
        if metric == "logloss":  # every round, and at last that of the saved model
            assert values[:-1] == pytest.approx(run.history()[name].tolist(), rel=1e-5)
        else:
            assert len(values) == 1


# --- the model ------------------------------------------------------------------------------------


def test_early_stopping_keeps_the_best_round(run):
    arguments = ("--num_round", 2000, "--eta", 0.3, "--max_depth", 8, "--early_stopping_rounds", 5)
    assert run(*arguments) == 0
    losses = run.history()["validation:logloss"]
    rounds = run.parameters()["rounds"]
    assert rounds["trained"] == len(losses) < 2000
    assert rounds["kept"] == losses.idxmin() == rounds["trained"] - 5
    booster = model_fn(run.model)
    assert booster.num_boosted_rounds() == rounds["kept"]
    recorded = run.parameters()["metrics"]["validation"]["logloss"]
    assert recorded == pytest.approx(losses.min(), rel=1e-5)
    assert run(*arguments[:1], 60, *arguments[2:-1], 0) == 0
    assert run.parameters()["rounds"] == {"trained": 60, "kept": 60}


def test_the_round_that_stops_it_early_is_printed_too(run):
    """XGBoost calls its callbacks in the order of their addresses, and only until one stops it."""
    arguments = ("--log_every", 1, "--eta", 0.3, "--max_depth", 8, "--early_stopping_rounds", 2)
    for _ in range(10):
        assert run(*arguments) == 0
        printed = re.findall(r"(?m)^\[(\d+)\]\ttrain-logloss", run.stdout)
        assert [int(number) for number in printed] == run.history().index.tolist()


def test_predictions_come_from_the_sums_of_the_training(run, monkeypatch):
    """Before early stopping has cut the model, after which all trees would be gone through."""
    rounds = []
    predict = xgboost.Booster.predict

    def noted(booster, *arguments, **settings):
        rounds.append(booster.num_boosted_rounds())
        return predict(booster, *arguments, **settings)

    monkeypatch.setattr(xgboost.Booster, "predict", noted)
    for _ in range(10):
        assert run("--early_stopping_rounds", 2, "--eta", 0.3, "--max_depth", 8) == 0
        trained = run.parameters()["rounds"]["trained"]
        assert rounds == [trained] * 2
        rounds.clear()


def test_without_validation_all_rows_are_learnt_and_it_can_overfit(run):
    assert run("--validation_fraction", 0, "--num_round", 300, "--max_depth", 10, "--eta", 0.5) == 0
    recorded = run.parameters()
    assert recorded["rows"] == {"train": len(pd.read_csv(TRAIN))}
    assert recorded["rounds"]["trained"] == 300
    assert set(recorded["metrics"]) == {"train"}
    assert recorded["metrics"]["train"]["accuracy"] > 0.95


def test_same_bytes_on_any_number_of_threads(run, monkeypatch):
    arguments = ("--subsample", 0.7, "--colsample_bytree", 0.7, "--max_depth", 6, "--num_round", 30)
    models = set()
    for threads in (1, 2, 3, 4):
        monkeypatch.setattr(train_xgboost, "threads", lambda args, rows, n=threads: n)
        assert run(*arguments) == 0
        models.add(run.bytes())
    assert len(models) == 1


def test_threads_are_as_many_as_pay():
    args = train_xgboost.parser().parse_args(["--nthread", "4"])
    assert [train_xgboost.threads(args, rows) for rows in (5, 712, 125_000, 10**6)] == [1, 1, 2, 4]


def test_model_fn_gives_back_the_model(run):
    run("--num_round", 10)
    test = titanic.read(TEST)
    booster = model_fn(run.model)
    direct = xgboost.Booster(model_file=str(run.model / "xgboost-model.ubj"))
    matrix = xgboost.DMatrix(titanic.features(test).to_numpy(), feature_names=titanic.FEATURES)
    probabilities = predict(booster, test)
    assert probabilities.dtype == np.float32
    assert (probabilities == direct.predict(matrix)).all()
    assert len(set(probabilities.tolist())) > 5
    one = predict(booster, test.iloc[[11]])
    assert one.tolist() == probabilities[[11]].tolist()
    assert bytes(booster.save_raw("ubj")) == run.bytes()


def test_model_fn_refuses_what_is_not_its_model(run, tmp_path):
    with pytest.raises(titanic.DataError, match="no such file; is this the folder a model"):
        model_fn(tmp_path)
    path = tmp_path / "xgboost-model.ubj"
    matrix = xgboost.DMatrix(np.zeros((4, 1)), label=[0, 1, 0, 1], feature_names=["PassengerId"])
    xgboost.train({"objective": "binary:logistic"}, matrix, 1).save_model(path)
    with pytest.raises(titanic.DataError, match=r"trained on the features .*PassengerId.*again"):
        model_fn(tmp_path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(titanic.DataError, match="cannot read this model; it may be damaged"):
        model_fn(tmp_path)


def test_history_is_a_plain_table(run):
    run("--num_round", 3)
    with (run.output / "history.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["round", "train:logloss", "validation:logloss"]
    assert len(rows) == 4
