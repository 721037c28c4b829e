"""The scikit-learn entry point, where it is particular; for the rest test_entry_points.py."""

from __future__ import annotations

import json
import shlex

import numpy as np
import pandas as pd
import pytest

import titanic
import train_sklearn
from tests.support.entry_points import SCRIPTS, TEST, TRAIN, Run, write
from train_sklearn import SETTINGS, inputs, model_fn, predict

pytestmark = pytest.mark.usefixtures("no_job")


@pytest.fixture
def run(tmp_path, capsys) -> Run:
    return Run(SCRIPTS["train_sklearn"], tmp_path / "run", capsys)


# --- the command line -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("--model tree", "--model: expected logistic or forest or boosting, found 'tree'"),
        ("--C 0", "-C/--C: expected a number above 0, found '0'"),
        ("--n_estimators 0", "--n_estimators: expected a whole number from 1"),
        ("--max_depth deep", "--max_depth: expected a whole number from 1 to 100, found 'deep'"),
        ("--learning_rate 1.5", "--learning_rate: expected a number above 0 to 1, found '1.5'"),
        ("--balanced perhaps", "--balanced: expected true or false, found 'perhaps'"),
        (
            "--model forest --C 3",
            "argument --C: belongs to --model logistic; --model forest takes n_estimators",
        ),
        ("--max_depth 3", "argument --max_depth: belongs to --model forest or boosting; "),
    ],
)
def test_bad_arguments_are_refused_in_one_sentence(run, arguments, sentence):
    assert sentence in run.refuses(*shlex.split(arguments))


def test_every_host_trains_alone_and_only_the_first_one_writes(run, monkeypatch):
    monkeypatch.setenv("SM_HOSTS", '["algo-2", "algo-1"]')
    monkeypatch.setenv("SM_CURRENT_HOST", "algo-2")
    assert run("--C", 0.5) == 0
    assert run.files() == set()
    assert "only the model of algo-1 is kept" in run.stderr
    monkeypatch.setenv("SM_CURRENT_HOST", "algo-1")
    assert run("--C", 0.5) == 0
    assert run.files() >= {"model.joblib"}


def trained(run: Run, *arguments: object):
    """Return the model that these arguments make, and its hyperparameters as recorded."""
    assert run("--validation", TEST, *arguments) == 0
    return model_fn(run.model), run.parameters()["hyperparameters"]


@pytest.mark.parametrize("model", SETTINGS)
def test_hyperparameters_reach_scikit_learn(run, model):
    """Each one with another value is in the model: none is read and then ignored."""
    others = {
        "C": 0.3,
        "max_iter": 57,
        "n_estimators": 7,
        "max_depth": 2,
        "min_samples_leaf": 11,
        "learning_rate": 0.3,
        "l2_regularization": 2.5,
    }
    small = {"n_estimators": 5} if model == "forest" else {"max_iter": 50}
    plain, recorded = trained(run, "--model", model, *as_arguments(small))
    for name, setting in SETTINGS[model].items():
        expected = small.get(name, setting.default)
        assert plain[-1].get_params()[name] == recorded[name] == expected
        changed, recorded_too = trained(
            run, "--model", model, *as_arguments({**small, name: others[name]})
        )
        assert changed[-1].get_params()[name] == recorded_too[name] == others[name] != expected
        if name != "max_iter" or model != "logistic":  # which has converged before
            test = titanic.read(TEST)
            assert (predict(changed, test) != predict(plain, test)).any(), name


def as_arguments(settings: dict) -> list[object]:
    return [argument for name, value in settings.items() for argument in (f"--{name}", value)]


@pytest.mark.parametrize("model", SETTINGS)
def test_a_boolean_given_as_text_is_what_it_says(run, model):
    """SageMaker gives True and False as texts, and bool("False") is true."""
    small = ("--n_estimators", 20) if model == "forest" else ("--max_iter", 60)
    plain, _ = trained(run, "--model", model, *small)
    no, recorded_no = trained(run, "--model", model, *small, "--balanced", "False")
    yes, recorded_yes = trained(run, "--model", model, *small, "--balanced", "True")
    test = titanic.read(TEST)
    assert recorded_no["balanced"] is False
    assert recorded_yes["balanced"] is True
    assert (predict(no, test) == predict(plain, test)).all()
    assert predict(yes, test).mean() > predict(no, test).mean() + 0.02  # survivors count for more


# --- preprocessing --------------------------------------------------------------------------------


def test_the_model_holds_its_own_preprocessing(run):
    """Medians, means, deviations and most frequent values are those of train alone."""
    model, _ = trained(run)
    train, test = titanic.read(TRAIN), titanic.read(TEST)
    numbers = model[0].named_transformers_["numbers"]
    filled = train[list(train_sklearn.SCALED)].astype(float)
    assert numbers["impute"].statistics_ == pytest.approx(filled.median().to_numpy())
    filled = filled.fillna(filled.median())
    assert numbers["scale"].mean_ == pytest.approx(filled.mean().to_numpy())
    assert numbers["scale"].scale_ == pytest.approx(filled.std(ddof=0).to_numpy())
    classes = model[0].named_transformers_["classes"]
    assert list(classes["impute"].statistics_) == [3.0, "male", "S"]
    # and so are used: an unknown age is the median age, an unknown port Southampton
    unknown = test.assign(Age=np.nan, Embarked=None)
    known = test.assign(Age=filled["Age"].median(), Embarked="S")
    for frame in (unknown, known):
        frame["Embarked"] = pd.Categorical(frame["Embarked"], titanic.CATEGORIES["Embarked"])
    assert (predict(model, unknown) == predict(model, known)).all()
    assert (predict(model, unknown) != predict(model, test)).any()


def test_inputs_are_what_stands_in_the_file():
    """Exactly: a fare of 7.8958 is not its neighbour among numbers of 32 bits."""
    frame = titanic.read(TEST)
    frame.loc[:2, "Embarked"] = np.nan
    frame.loc[3:5, "Age"] = np.nan
    table = inputs(titanic.features(frame, "float64").to_numpy())
    assert list(table.columns) == [*train_sklearn.SCALED, *train_sklearn.ENCODED]
    for name in table.columns:
        expected = frame[name].astype(object).where(frame[name].notna(), None).tolist()
        assert table[name].astype(object).where(table[name].notna(), None).tolist() == expected
    assert {str(kind) for kind in table.dtypes} == {"float64", "object"}
    assert {type(value) for value in table["Embarked"]} == {str, float}


def test_inputs_are_the_same_whatever_types_a_frame_has():
    test = titanic.read(TEST)
    other = test.astype({"Sex": "string", "Embarked": "string", "Age": "Float64", "SibSp": "Int32"})
    tables = [inputs(titanic.features(frame, "float64").to_numpy()) for frame in (test, other)]
    pd.testing.assert_frame_equal(*tables)


def test_a_port_or_a_number_that_train_never_has_is_no_fault(run, tmp_path):
    """A shard may lack a port; all ages may be unknown; a list may have one class only."""
    frame = pd.read_csv(TRAIN)
    lacking = {
        "no port": frame.assign(Embarked=None),
        "no age": frame.assign(Age=None),
        "one port": frame[frame["Embarked"] == "Q"],
        "one class": frame[frame["Pclass"] == 1],
    }
    test = titanic.read(TEST)
    for name, rows in lacking.items():
        assert run(train=write(tmp_path / "lacking.csv", rows)) == 0, name
        probabilities = predict(model_fn(run.model), test)
        assert len(set(probabilities.tolist())) > 20, name


# --- what it leaves -------------------------------------------------------------------------------


@pytest.mark.parametrize("model", SETTINGS)
def test_predictions_are_those_of_what_it_validated_on(run, model):
    fitted, _ = trained(run, "--model", model)
    test = titanic.read(TEST)
    assert run.table()["Survived"].tolist() == titanic.labels(test).tolist()
    assert run.table()["probability"].to_numpy() == pytest.approx(predict(fitted, test))


def test_without_validation_predictions_are_of_train(run):
    assert run("--validation_fraction", 0) == 0
    assert len(run.table()) == len(pd.read_csv(TRAIN))
    assert set(run.parameters()["metrics"]) == {"train"}


@pytest.mark.parametrize("model", SETTINGS)
def test_same_bytes_whatever_the_number_of_threads(run, model):
    small = ("--n_estimators", 20) if model == "forest" else ("--max_iter", 60)
    models = set()
    for threads in (1, 2, 3):
        assert run("--model", model, *small, "--nthread", threads) == 0
        models.add(run.bytes())
    assert len(models) == 1


def test_a_forest_of_many_threads_is_that_of_one_and_does_not_remember_them(run, monkeypatch):
    arguments = ("--model", "forest", "--n_estimators", 20)
    assert run(*arguments) == 0
    alone = run.bytes()
    monkeypatch.setattr(train_sklearn, "threads", lambda args, rows: 3)
    assert run(*arguments) == 0
    assert "3 thread(s)" in run.stdout
    assert run.bytes() == alone
    assert model_fn(run.model)[-1].n_jobs is None


def test_a_long_training_shows_its_progress(run, monkeypatch):
    monkeypatch.setattr(train_sklearn.entry_point, "ROWS_PER_THREAD", 300)
    assert run("--model", "boosting", "--max_iter", 3) == 0
    assert run.stdout.count("leaves") >= 3
    assert model_fn(run.model)[-1].verbose == 0


def test_a_dry_run_takes_few_rows(run, monkeypatch):
    monkeypatch.setattr(train_sklearn, "DRY_RUN_ROWS", 100)
    assert run("--dry_run") == 0
    assert "training logistic on 100 rows" in run.stdout


# --- loading --------------------------------------------------------------------------------------


def test_another_version_of_scikit_learn_is_refused_before_anything_is_unpickled(run, monkeypatch):
    import joblib
    import sklearn

    assert run() == 0
    path = run.model / "parameters.json"
    recorded = json.loads(path.read_text())
    recorded["versions"]["scikit-learn"] = "1.2.1"
    path.write_text(json.dumps(recorded))
    monkeypatch.setattr(joblib, "load", lambda *_: pytest.fail("it was unpickled"))
    here = sklearn.__version__
    expected = f"saved with scikit-learn 1.2.1, and this is {here}; .* scikit-learn==1.2.1 or train"
    with pytest.raises(titanic.DataError, match=expected):
        model_fn(run.model)
    del recorded["versions"]
    path.write_text(json.dumps(recorded))
    with pytest.raises(titanic.DataError, match="does not say which scikit-learn"):
        model_fn(run.model)


def test_a_file_that_is_not_the_one_that_was_saved_is_not_unpickled(run, tmp_path):
    class Payload:
        def __reduce__(self):
            return (print, ("it ran",), None)

    import joblib

    assert run() == 0
    joblib.dump(Payload(), run.model / "model.joblib")
    with pytest.raises(titanic.DataError, match="not the file that was saved"):
        model_fn(run.model)
    (run.model / "parameters.json").unlink()
    with pytest.raises(titanic.DataError, match=r"parameters\.json: no such file"):
        model_fn(run.model)
    (run.model / "parameters.json").write_text("{")
    with pytest.raises(titanic.DataError, match="not readable as JSON"):
        model_fn(run.model)


def test_a_module_that_is_missing_here_is_named(run, monkeypatch):
    """numpy 1.24 meets numpy._core, which only numpy 2 has."""
    import joblib

    def fails(*_):
        raise ModuleNotFoundError("No module named 'numpy._core'")

    assert run() == 0
    monkeypatch.setattr(joblib, "load", fails)
    with pytest.raises(titanic.DataError, match=r"numpy\._core.*saved with python 3"):
        model_fn(run.model)
