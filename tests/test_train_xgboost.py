"""The XGBoost entry point: what it refuses, what it leaves, and that the model learnt something."""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import metrics
import numpy as np
import pandas as pd
import pytest
import titanic
import train_xgboost
from metrics import METRIC_DEFINITIONS
from train_xgboost import evaluate, main, model_fn, predict

from tests.stub_aws import first_party

ROOT = Path(__file__).resolve().parents[1]
TRAIN = ROOT / "data" / "titanic_train.csv"
TEST = ROOT / "data" / "titanic_test.csv"
SCRIPT = ROOT / "scripts" / "train_xgboost.py"
PROMISED = {"xgboost-model.ubj", "parameters.json"}


@pytest.fixture(autouse=True)
def no_job(monkeypatch):
    """By hand, not in a job, whatever runs the tests."""
    for name in list(os.environ):
        if name.startswith("SM_"):
            monkeypatch.delenv(name)


class Run:
    """A run of main() in folders of its own."""

    def __init__(self, folder: Path, capsys) -> None:
        self.model, self.output, self._capsys = folder / "model", folder / "output", capsys

    def __call__(self, *words: object, train: Path = TRAIN) -> int:
        folders = ("--train", train, "--model_dir", self.model, "--output_data_dir", self.output)
        self.code = main([str(word) for word in (*folders, "--nthread", 2, *words)])
        self.said, self.complaint = self._capsys.readouterr()
        return self.code

    def refuses(self, *words: object, train: Path = TRAIN) -> str:
        """Run with bad input; returns the sentence, having checked that nothing was written."""
        assert self(*words, train=train) == 1
        sentence = self.complaint.strip()
        assert "\n" not in sentence
        assert "Traceback" not in sentence
        assert not self.files()
        return sentence

    def files(self) -> set[str]:
        return {file.name for folder in (self.model, self.output) for file in folder.glob("*")}

    def parameters(self) -> dict:
        return json.loads((self.model / "parameters.json").read_text())

    def history(self) -> pd.DataFrame:
        return pd.read_csv(self.output / "history.csv", index_col="round")

    def bytes(self) -> bytes:
        return (self.model / "xgboost-model.ubj").read_bytes()


@pytest.fixture
def run(tmp_path, capsys) -> Run:
    return Run(tmp_path, capsys)


def write(path: Path, frame: pd.DataFrame) -> Path:
    frame.to_csv(path, index=False)
    return path


# --- the command line -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--max_dept 3", "no argument --max_dept; did you mean --max_depth?"),
        ("--max-dept=3", "no argument --max_dept; did you mean --max_depth?"),
        ("--max 3", "no argument --max; "),  # no abbreviations
        ("--objective reg:squarederror", "no argument --objective; "),
        ("-K 5", "no argument -K; --help lists what there is"),  # how {"K": 5} arrives
        ("stray", "no argument stray; "),
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
        ("--validation_fraction 1", "--validation_fraction: expected a number from 0 to 0.9"),
        ("--max_bin 1", "--max_bin: expected a whole number from 2"),
        ("--seed -1", "--seed: expected a whole number from 0"),
        ("--dry_run maybe", "--dry_run: expected true or false, found 'maybe'"),
        ("--nthread 0", "--nthread: expected a whole number from 1"),
    ],
)
def test_bad_arguments_are_refused_in_one_sentence(run, words, said):
    assert said in run.refuses(*shlex.split(words))


def test_every_hyperparameter_refuses_what_is_no_value(run):
    names = [
        action.dest
        for action in train_xgboost.parser()._actions
        if action.type is not None and action.dest != "help"
    ]
    assert len(names) >= 15
    for name in names:
        assert f"--{name}: expected" in run.refuses(f"--{name}", "wrong")


def test_hyphens_and_underscores_are_one_name(run):
    assert run("--num-round", 3, "--max-depth=2", "--early-stopping-rounds", 0) == 0
    told = run.parameters()["hyperparameters"]
    assert (told["num_round"], told["max_depth"], told["early_stopping_rounds"]) == (3, 2, 0)


def test_hyperparameters_reach_xgboost(run):
    """Each one given another value makes another model: none is read and then forgotten."""
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


def test_defaults_come_from_the_environment(tmp_path, monkeypatch, capsys):
    channel = tmp_path / "channel"
    channel.mkdir()
    shutil.copy(TRAIN, channel)
    model, output = tmp_path / "model", tmp_path / "output"
    monkeypatch.setenv("SM_CHANNEL_TRAIN", str(channel))
    monkeypatch.setenv("SM_CHANNEL_VALIDATION", str(TEST))
    monkeypatch.setenv("SM_MODEL_DIR", str(model))
    monkeypatch.setenv("SM_OUTPUT_DATA_DIR", str(output))
    monkeypatch.setenv("SM_NUM_CPUS", "1")
    assert main([]) == 0
    assert {file.name for file in model.iterdir()} == PROMISED
    rows = json.loads((model / "parameters.json").read_text())["rows"]
    assert rows == {"train": len(pd.read_csv(TRAIN)), "validation": len(pd.read_csv(TEST))}
    # fit("s3://...") with one URI names the channel "training"
    monkeypatch.delenv("SM_CHANNEL_TRAIN")
    monkeypatch.setenv("SM_CHANNEL_TRAINING", str(channel))
    assert train_xgboost.parser().parse_args([]).train == str(channel)
    assert train_xgboost.parser().parse_args([]).nthread == 1
    monkeypatch.setenv("SM_NUM_CPUS", "four")
    capsys.readouterr()
    assert main([]) == 1
    assert "--nthread: expected a whole number" in capsys.readouterr().err


def manual_commands() -> list[str]:
    lines = train_xgboost.__doc__.splitlines()
    return [line.strip() for line in lines if line.startswith("    python ")]


def test_the_manual_has_commands():
    assert len(manual_commands()) >= 4


@pytest.mark.parametrize("command", manual_commands())
def test_commands_of_the_manual_run_as_they_stand(command, tmp_path):
    for folder in ("scripts", "data"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    program, *words = shlex.split(command)
    assert program == "python"
    done = subprocess.run(
        [sys.executable, *words], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    written = {file.name for file in (tmp_path / "build").rglob("*") if file.is_file()}
    assert written == (set() if "--dry_run" in words else PROMISED | {"history.csv"})


def test_importing_is_cheap():
    heavy = "{'numpy', 'pandas', 'pyarrow', 'scipy', 'sklearn', 'torch', 'xgboost'}"
    code = f"import sys, train_xgboost; train_xgboost.parser(); print({heavy} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=SCRIPT.parent, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"


# --- bad data and bad places ----------------------------------------------------------------------


def test_bad_data_end_it_with_the_sentence_about_them(run, tmp_path):
    frame = pd.read_csv(TRAIN)
    bad = write(tmp_path / "bad.csv", frame.assign(Age=frame["Age"].astype(object)))
    text = bad.read_text().splitlines()
    text[7] = text[7].replace(",male,", ",boy,").replace(",female,", ",girl,")
    bad.write_text("\n".join(text))
    assert f"{bad}, row 7 (line 8), column Sex: expected female or male" in run.refuses(train=bad)
    (tmp_path / "empty").mkdir()
    assert "expected at least one .csv or .parquet file" in run.refuses(train=tmp_path / "empty")
    assert "no such file or folder" in run.refuses(train=tmp_path / "nowhere")
    assert "no such file or folder" in run.refuses("--validation", tmp_path / "nowhere")
    assert f"{bad}, row 7" in run.refuses("--validation", bad)
    alike = write(tmp_path / "alike.csv", frame[frame["Survived"] == 0])
    assert "column Survived is 0 in every row" in run.refuses(train=alike)
    few = write(tmp_path / "few.csv", frame.sort_values("Survived").iloc[[0, -1]])
    assert "holding out 0.2 of 2 rows" in run.refuses(train=few)


def test_a_folder_that_cannot_be_made_is_found_before_training(run, tmp_path):
    blocker = tmp_path / "file"
    blocker.write_text("")
    assert f"--model_dir {blocker}: cannot be made" in run.refuses("--model_dir", blocker)
    inside = blocker / "below"
    assert f"--output_data_dir {inside}: cannot be made" in run.refuses("--output_data_dir", inside)
    assert "trained" not in run.said


@pytest.mark.parametrize("step", ["write_bytes", "replace"])
def test_a_full_disk_leaves_the_old_model_whole_and_nothing_half_written(run, monkeypatch, step):
    assert run("--num_round", 5) == 0
    old, files = run.bytes(), run.files()
    real = getattr(Path, step)

    def fails(path: Path, *rest):
        if "xgboost-model" in path.name:
            if step == "write_bytes":
                real(path, b"half")
            raise OSError(28, "No space left on device")
        return real(path, *rest)

    monkeypatch.setattr(Path, step, fails)
    assert run("--num_round", 6) == 1
    assert "cannot be written to (No space left on device)" in run.complaint
    assert run.bytes() == old
    assert run.files() == files  # and no file with a leading dot beside them


def test_in_a_job_the_sentence_becomes_the_failure_reason(run, tmp_path, monkeypatch):
    monkeypatch.setenv("SM_OUTPUT_DIR", str(tmp_path))
    sentence = run.refuses("--max_dept", 3)
    assert (tmp_path / "failure").read_text() == sentence
    assert len(sentence) <= 1024


def test_a_fault_of_the_script_keeps_its_traceback(run, monkeypatch):
    monkeypatch.setattr(train_xgboost, "boost", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run()


# --- what it leaves -------------------------------------------------------------------------------


def test_what_is_written(run):
    assert run("--num_round", 20, "--early_stopping_rounds", 0) == 0
    assert run.files() == PROMISED | {"history.csv"}
    told = run.parameters()
    assert told["hyperparameters"]["num_round"] == 20
    assert told["hyperparameters"]["objective"] == "binary:logistic"
    assert told["features"] == list(titanic.FEATURES)
    assert sum(told["rows"].values()) == len(pd.read_csv(TRAIN))
    assert told["rounds"] == {"trained": 20, "kept": 20}
    assert set(told["versions"]) == {"python", "xgboost", "numpy", "pandas"}
    assert list(run.history().columns) == ["train:logloss", "validation:logloss"]
    assert run.history().index.tolist() == list(range(1, 21))
    assert run.history()["train:logloss"].is_monotonic_decreasing


def test_the_model_holds_no_path_and_no_machine(run):
    run("--num_round", 3)
    for word in (str(run.model), str(TRAIN), "nthread", "best_iteration", "best_score"):
        assert word.encode() not in run.bytes(), word


def test_a_dry_run_checks_all_and_writes_nothing(run, tmp_path):
    for words in (["--dry_run"], ["--dry_run", "true"], ["--dry-run=True"]):
        assert run(*words) == 0
        assert "trained 1 rounds" in run.said
        assert not run.model.exists()
        assert not run.output.exists()
    assert run.refuses("--dry_run", train=tmp_path / "nowhere")
    assert run("--num_round", 2, "--dry_run", "False") == 0
    assert run.files() >= PROMISED


def test_only_the_first_host_writes(run, monkeypatch):
    monkeypatch.setenv("SM_HOSTS", '["algo-2", "algo-1"]')
    monkeypatch.setenv("SM_CURRENT_HOST", "algo-2")
    assert run("--num_round", 2) == 0
    assert run.files() == set()
    assert "only the model of algo-1 is kept" in run.complaint
    monkeypatch.setenv("SM_CURRENT_HOST", "algo-1")
    assert run("--num_round", 2) == 0
    assert run.files() >= PROMISED


def found(said: str, definitions: list[dict[str, str]]) -> dict[str, list[float]]:
    """What SageMaker would read: the first group of each regex, wherever it matches a line."""
    return {
        definition["Name"]: [
            float(match.group(1))
            for line in said.replace("\t", "#011").splitlines()  # as a log stream writes it
            for match in [re.search(definition["Regex"], line)]
            if match
        ]
        for definition in definitions
    }


def test_sagemakers_own_metric_definitions_read_every_round(run):
    assert run("--num_round", 12, "--early_stopping_rounds", 0, "--log_every", 1) == 0
    read = found(run.said, first_party.metric_definitions())
    read = {name: values for name, values in read.items() if values}
    assert len(read) == 6
    for name, values in read.items():
        part, metric = name.split(":")
        assert values[-1] == pytest.approx(run.parameters()["metrics"][part][metric], rel=1e-5)
        if metric == "logloss":  # every round, and at last that of the saved model
            assert values[:-1] == pytest.approx(run.history()[name].tolist(), rel=1e-5)
        else:
            assert len(values) == 1


def test_the_last_values_are_told_one_a_line(run):
    assert run("--num_round", 12) == 0
    read = found(run.said, METRIC_DEFINITIONS)
    assert len(read) == 6
    for name, (value,) in read.items():
        part, metric = name.split(":")
        assert value == pytest.approx(run.parameters()["metrics"][part][metric], rel=1e-5)
    metric_lines = [line for line in run.said.splitlines() if "=" in line]
    assert len(metric_lines) == sum(map(len, read.values()))
    assert all(line.endswith(";") and line.count("=") == 1 for line in metric_lines)


def test_metric_definitions_fit_what_sagemaker_allows():
    assert len(METRIC_DEFINITIONS) <= 40
    for definition in METRIC_DEFINITIONS:
        assert set(definition) == {"Name", "Regex"}
        assert 1 <= len(definition["Name"]) <= 255
        assert 1 <= len(definition["Regex"]) <= 500
        assert re.compile(definition["Regex"]).groups == 1


@pytest.mark.parametrize("value", [0.0, 1.0, 0.5, 1e-9, 123456.0, 1.5e300, 1 / 3])
def test_any_number_that_is_printed_is_read(value, capsys):
    for definition in METRIC_DEFINITIONS:
        metrics.say(definition["Name"], value)
        read = found(capsys.readouterr().out, METRIC_DEFINITIONS)
        assert read.pop(definition["Name"]) == [pytest.approx(value, rel=1e-5)]
        assert not any(read.values())


def test_what_is_no_number_is_not_printed(capsys):
    metrics.say("train:auc", float("nan"))
    metrics.say("train:auc", float("inf"))
    assert capsys.readouterr().out == ""


# --- the model ------------------------------------------------------------------------------------


def test_early_stopping_keeps_the_best_round(run):
    words = ("--num_round", 2000, "--eta", 0.3, "--max_depth", 8, "--early_stopping_rounds", 5)
    assert run(*words) == 0
    losses = run.history()["validation:logloss"]
    rounds = run.parameters()["rounds"]
    assert rounds["trained"] == len(losses) < 2000
    assert rounds["kept"] == losses.idxmin() == rounds["trained"] - 5
    booster = model_fn(run.model)
    assert booster.num_boosted_rounds() == rounds["kept"]
    told = run.parameters()["metrics"]["validation"]["logloss"]
    assert told == pytest.approx(losses.min(), rel=1e-5)
    assert run(*words[:1], 60, *words[2:-1], 0) == 0
    assert run.parameters()["rounds"] == {"trained": 60, "kept": 60}


def test_without_validation_all_rows_are_learnt_and_it_can_overfit(run):
    assert run("--validation_fraction", 0, "--num_round", 300, "--max_depth", 10, "--eta", 0.5) == 0
    told = run.parameters()
    assert told["rows"] == {"train": len(pd.read_csv(TRAIN))}
    assert told["rounds"]["trained"] == 300
    assert set(told["metrics"]) == {"train"}
    assert told["metrics"]["train"]["accuracy"] > 0.95


def test_a_validation_list_takes_no_row_from_train(run):
    assert run("--validation", TEST, "--num_round", 5) == 0
    rows = run.parameters()["rows"]
    assert rows == {"train": len(pd.read_csv(TRAIN)), "validation": len(pd.read_csv(TEST))}
    y = titanic.labels(titanic.read(TEST))
    again = evaluate(y, predict(model_fn(run.model), titanic.read(TEST)))
    assert run.parameters()["metrics"]["validation"] == pytest.approx(again)


def test_it_learns_what_it_should(run):
    """Better than always "died", on passengers it has not seen; 0.80 is what the list allows."""
    assert run() == 0
    test = titanic.read(TEST)
    y = titanic.labels(test)
    result = evaluate(y, predict(model_fn(run.model), test))
    assert result["accuracy"] > max(y.mean(), 1 - y.mean()) + 0.08
    assert result["auc"] > 0.75
    assert result["logloss"] < 0.6


def test_shuffled_labels_teach_nothing(run, tmp_path):
    """If a model is good where labels are drawn by lot, it has seen the answers."""
    both = pd.concat([pd.read_csv(TRAIN), pd.read_csv(TEST)])
    found = []
    for seed in range(5):
        random = np.random.default_rng(seed)
        shuffled = both.assign(Survived=random.permutation(both["Survived"].to_numpy()))
        path = write(tmp_path / "shuffled.csv", shuffled)
        run("--seed", seed, "--validation_fraction", 0.5, "--early_stopping_rounds", 0, train=path)
        found.append(run.parameters()["metrics"]["validation"]["auc"])
    assert np.mean(found) == pytest.approx(0.5, abs=0.08)


def test_who_a_passenger_is_does_not_reach_the_model(run, tmp_path):
    run("--num_round", 10)
    model = run.bytes()
    frame = pd.read_csv(TRAIN)
    for column in ("PassengerId", "Name", "Ticket", "Cabin"):
        frame[column] = frame[column].to_numpy()[::-1]
    frame = frame.assign(Boat="7", Hint=frame["Survived"])  # a column of no business here
    run("--num_round", 10, train=write(tmp_path / "other.csv", frame))
    assert run.bytes() == model


def in_a_process(folder: Path, threads: int, cwd: Path, **environment: str) -> bytes:
    words = ("--subsample", "0.7", "--colsample_bytree", "0.7", "--max_depth", "6", "--seed", "3")
    folders = ("--model_dir", folder, "--output_data_dir", folder / "output")
    done = subprocess.run(
        [sys.executable, SCRIPT, *words, "--nthread", str(threads), *folders],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "saved" in done.stdout
    return (folder / "xgboost-model.ubj").read_bytes()


def test_same_seed_same_bytes_in_any_process(tmp_path, run):
    first = in_a_process(tmp_path / "a", 1, tmp_path)
    assert first == in_a_process(tmp_path / "b", 2, ROOT, PYTHONHASHSEED="7")
    channel = tmp_path / "channel"
    channel.mkdir()
    frame = pd.read_csv(TRAIN)  # two objects of a channel, and Parquet, are the same data too
    write(channel / "1.csv", frame[:300])
    write(channel / "2.csv", frame[300:])
    assert first == in_a_process(tmp_path / "c", 2, tmp_path, SM_CHANNEL_TRAIN=str(channel))
    frame.to_parquet(tmp_path / "all.parquet")
    parquet = str(tmp_path / "all.parquet")
    assert first == in_a_process(tmp_path / "d", 2, tmp_path, SM_CHANNEL_TRAIN=parquet)
    other = ("--subsample", 0.7, "--colsample_bytree", 0.7, "--max_depth", 6, "--seed", 4)
    run(*other)
    assert run.bytes() != first
    run(*other[:-1], 3)
    assert run.bytes() == first


def test_same_bytes_on_any_number_of_threads(run, monkeypatch):
    words = ("--subsample", 0.7, "--colsample_bytree", 0.7, "--max_depth", 6, "--num_round", 30)
    models = set()
    for threads in (1, 2, 3, 4):
        monkeypatch.setattr(train_xgboost, "threads", lambda args, rows, n=threads: n)
        assert run(*words) == 0
        models.add(run.bytes())
    assert len(models) == 1


def test_threads_are_as_many_as_pay():
    args = train_xgboost.parser().parse_args(["--nthread", "4"])
    assert [train_xgboost.threads(args, rows) for rows in (5, 712, 125_000, 10**6)] == [1, 1, 2, 4]


def test_model_fn_gives_back_the_model(run):
    import xgboost

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
    import xgboost

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


# --- metrics --------------------------------------------------------------------------------------


def test_metrics_agree_with_scikit_learn():
    import sklearn.metrics

    random = np.random.default_rng(0)
    for size in (10, 200, 5000):
        y = random.permutation(np.arange(size) % 3 == 0).astype(int)
        p = np.round(random.random(size) * 0.7 + 0.3 * y, 2)  # rounded, so that there are ties
        result = evaluate(y, p)
        assert result["accuracy"] == pytest.approx(sklearn.metrics.accuracy_score(y, p >= 0.5))
        assert result["auc"] == pytest.approx(sklearn.metrics.roc_auc_score(y, p))
        safe = np.clip(p, 1e-15, 1 - 1e-15)
        assert result["logloss"] == pytest.approx(sklearn.metrics.log_loss(y, safe))


def test_metrics_by_hand():
    result = evaluate(np.array([1, 0, 1, 0]), np.array([0.9, 0.1, 0.4, 0.4], dtype=np.float32))
    assert result["accuracy"] == 0.75
    assert result["auc"] == 0.875  # three of four pairs right, one tied
    expected = -np.log([0.9, 0.9, 0.4, 0.6]).mean()
    assert result["logloss"] == pytest.approx(expected, rel=1e-6)
    assert np.isnan(evaluate(np.array([1, 1]), np.array([0.2, 0.3]))["auc"])
    certain_and_wrong = evaluate(np.array([1]), np.array([0.0]))
    assert np.isfinite(certain_and_wrong["logloss"])


@pytest.mark.parametrize(
    ("y", "p"),
    [([1, 0], [0.5]), ([], []), ([1], [1.5]), ([1], [-0.1]), ([1], [np.nan]), ([[1]], [[0.5]])],
)
def test_metrics_refuse_what_is_no_probability(y, p):
    with pytest.raises(ValueError, match="expected"):
        evaluate(np.array(y), np.array(p))


def test_history_is_a_plain_table(run):
    run("--num_round", 3)
    with (run.output / "history.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["round", "train:logloss", "validation:logloss"]
    assert len(rows) == 4
