"""What all entry points promise alike: what they refuse, what they leave, that they learnt.

What is particular to one is in its own test_train_*.py.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import titanic
from metrics import METRIC_DEFINITIONS, evaluate
from tests.support.entry_points import ROOT, SCRIPTS, TEST, TRAIN, Run, Script, metrics_in, write
from workshop import code_size

pytestmark = pytest.mark.usefixtures("no_job")


@pytest.fixture(params=SCRIPTS.values(), ids=SCRIPTS.keys())
def script(request) -> Script:
    return request.param


@pytest.fixture
def run(script, tmp_path, capsys) -> Run:
    return Run(script, tmp_path / "run", capsys)


def test_every_entry_point_is_tested():
    files = {path.stem for path in (ROOT / "scripts" / "training").glob("train_*.py")}
    # of one network on several hosts, and of one short file: tests of their own
    assert files == {*SCRIPTS, "train_pipeline", "train_minimal"}


@pytest.mark.parametrize(
    ("script", "bound"),
    [("train_xgboost", 200), ("train_sklearn", 150), ("train_torch", 250)],
)
def test_an_entry_point_is_short_enough_to_be_read(script, bound):
    """Learners read these three from top to bottom; what is not the story is in modules."""
    assert code_size.lines(SCRIPTS[script].file) <= bound


# --- the command line -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("--se 3", "no argument --se; "),  # no abbreviations
        ("--objective reg:squarederror", "no argument --objective; "),
        ("-K 5", "no argument -K; --help lists what there is"),  # how {"K": 5} arrives
        ("stray", "no argument stray; "),
        ("--seed", "argument --seed: expected one argument"),
        ("--seed -1", "--seed: expected a whole number from 0 to 2147483647, found '-1'"),
        ("--seed 1.5", "--seed: expected a whole number"),
        ("--validation_fraction 1", "--validation_fraction: expected a number from 0 to 0.9"),
        ("--validation-fraction=nan", "--validation_fraction: expected a number from 0 to 0.9"),
        ("--dry_run maybe", "--dry_run: expected true or false, found 'maybe'"),
        ("--nthread 0", "--nthread: expected a whole number from 1"),
    ],
)
def test_bad_arguments_are_refused_in_one_sentence(run, arguments, sentence):
    assert sentence in run.refuses(*shlex.split(arguments))


def test_a_misspelt_hyperparameter_is_refused_and_the_right_one_named(run, script):
    wrong, meant = script.wrong
    assert f"no argument {wrong}; did you mean {meant}?" in run.refuses(wrong, 3)
    hyphens = wrong[2:].replace("_", "-")
    assert f"no argument {wrong}; did you mean {meant}?" in run.refuses(f"--{hyphens}=3")


def test_every_hyperparameter_refuses_what_is_no_value(run, script):
    names = [action.dest for action in script.module.parser()._actions if action.type is not None]
    assert len(names) >= 10
    for name in names:
        assert f"--{name}: expected" in run.refuses(f"--{name}", "wrong")


def test_all_have_the_same_arguments_beside_their_hyperparameters(script):
    common = {"validation_fraction", "seed", "dry_run", "train", "validation", "model_dir"}
    common |= {"output_data_dir", "nthread"}
    assert common <= {action.dest for action in script.module.parser()._actions}


def test_defaults_come_from_the_environment(script, tmp_path, monkeypatch, capsys):
    channel = tmp_path / "channel"
    channel.mkdir()
    shutil.copy(TRAIN, channel)
    model, output = tmp_path / "model", tmp_path / "output"
    monkeypatch.setenv("SM_CHANNEL_TRAIN", str(channel))
    monkeypatch.setenv("SM_CHANNEL_VALIDATION", str(TEST))
    monkeypatch.setenv("SM_MODEL_DIR", str(model))
    monkeypatch.setenv("SM_OUTPUT_DATA_DIR", str(output))
    monkeypatch.setenv("SM_NUM_CPUS", "1")
    main, parser = script.module.main, script.module.parser
    assert main([str(argument) for argument in script.quick]) == 0
    assert {file.name for file in model.iterdir()} == script.promised
    assert {file.name for file in output.iterdir()} == {script.output}
    rows = json.loads((model / "parameters.json").read_text())["rows"]
    assert rows == {"train": len(pd.read_csv(TRAIN)), "validation": len(pd.read_csv(TEST))}
    # fit("s3://...") with one URI names the channel "training"
    monkeypatch.delenv("SM_CHANNEL_TRAIN")
    monkeypatch.setenv("SM_CHANNEL_TRAINING", str(channel))
    assert parser().parse_args([]).train == str(channel)
    assert parser().parse_args([]).nthread == 1
    monkeypatch.setenv("SM_NUM_CPUS", "four")
    capsys.readouterr()
    assert main([]) == 1
    assert "--nthread: expected a whole number" in capsys.readouterr().err


def manual_commands() -> list[tuple[Script, str]]:
    return [
        (script, line.strip())
        for script in SCRIPTS.values()
        for line in script.module.__doc__.splitlines()
        if line.startswith("    python ")
    ]


def test_each_manual_has_commands(script):
    assert sum(one is script for one, _ in manual_commands()) >= 4


@pytest.mark.parametrize(
    ("script", "command"), manual_commands(), ids=[command for _, command in manual_commands()]
)
def test_commands_of_the_manual_run_as_they_stand(script, command, tmp_path):
    for folder in ("scripts", "data"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    program, *arguments = shlex.split(command)
    assert program == "python"
    done = subprocess.run(
        [sys.executable, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    written = {file.name for file in (tmp_path / "build").rglob("*") if file.is_file()}
    assert written == (set() if "--dry_run" in arguments else script.promised | {script.output})


def test_importing_is_cheap(script):
    heavy = "{'numpy', 'pandas', 'pyarrow', 'scipy', 'sklearn', 'torch', 'xgboost'}"
    code = f"import sys, {script.name} as s; s.parser(); print({heavy} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=script.file.parent,
        capture_output=True,
        text=True,
        check=True,
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
    assert "train:" not in run.stdout


@pytest.mark.parametrize("step", ["write_bytes", "replace"])
def test_a_full_disk_leaves_the_old_model_unchanged_and_no_partial_file(
    run, script, monkeypatch, step
):
    assert run(*script.quick) == 0
    old, files = run.bytes(), run.files()
    real = getattr(Path, step)

    def fails(path: Path, *rest):
        if script.model in path.name:
            if step == "write_bytes":
                real(path, b"half")
            raise OSError(28, "No space left on device")
        return real(path, *rest)

    monkeypatch.setattr(Path, step, fails)
    assert run(*script.other) == 1
    assert "cannot be written to (No space left on device)" in run.stderr
    assert run.bytes() == old
    left = {name for name in run.files() - files if not name.startswith("checkpoint-")}
    assert left == set()  # and no file with a leading dot beside them


def test_in_a_job_the_sentence_becomes_the_failure_reason(run, script, tmp_path, monkeypatch):
    monkeypatch.setenv("SM_OUTPUT_DIR", str(tmp_path))
    sentence = run.refuses(script.wrong[0], 3)
    assert (tmp_path / "failure").read_text() == sentence
    assert len(sentence) <= 1024


def test_a_framework_that_is_not_installed_is_named(run, script, monkeypatch):
    """The wrong Estimator for a script: its image has another framework."""
    package = {"scikit-learn": "sklearn"}.get(script.framework, script.framework)
    monkeypatch.setitem(sys.modules, package, None)  # what makes an import fail
    sentence = run.refuses()
    assert f"{script.name}.py: needs the package {package}, which is not installed here" in sentence


def test_another_module_that_is_missing_is_a_fault_of_the_script(run, script, monkeypatch):
    monkeypatch.setitem(sys.modules, "parts_of_ours", None)
    monkeypatch.setattr(script.module, script.fits, lambda *_: __import__("parts_of_ours"))
    with pytest.raises(ModuleNotFoundError):
        run()


def test_a_fault_of_the_script_keeps_its_traceback(run, script, monkeypatch):
    monkeypatch.setattr(script.module, script.fits, lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run()


# --- what it leaves -------------------------------------------------------------------------------


def test_what_is_written(run, script):
    assert run(*script.quick) == 0
    assert run.files() == script.promised | {script.output}
    recorded = run.parameters()
    arguments = script.quick
    passed = {
        name.removeprefix("--"): value
        for name, value in zip(arguments[::2], arguments[1::2], strict=True)
    }
    assert passed.items() <= recorded["hyperparameters"].items()
    assert set(recorded["features"]) <= {*titanic.FEATURES, *titanic.SOURCES}
    assert sum(recorded["rows"].values()) == len(pd.read_csv(TRAIN))
    assert set(recorded["versions"]) == {"python"} | script.packages
    for folder in (run.folder, TRAIN):
        assert str(folder).encode() not in run.bytes(), folder


def test_a_dry_run_checks_all_and_writes_nothing(run, script, tmp_path):
    for arguments in (["--dry_run"], ["--dry_run", "true"], ["--dry-run=True"]):
        assert run(*arguments) == 0
        assert "dry run: nothing is written" in run.stdout
        assert not run.folder.exists()
    assert run.refuses("--dry_run", train=tmp_path / "nowhere")
    for no in ("False", "false", "0"):  # type=bool would take them for true
        shutil.rmtree(run.folder, ignore_errors=True)
        assert run(*script.quick, "--dry_run", no) == 0
        assert run.files() >= script.promised


def test_metrics_are_read_as_they_are_printed(run, script):
    assert run(*script.quick) == 0
    read = metrics_in(run.stdout)
    assert len(read) == len(METRIC_DEFINITIONS) == 6
    for name, values in read.items():
        part, metric = name.split(":")
        assert values[-1] == pytest.approx(run.parameters()["metrics"][part][metric], rel=1e-5)
    metric_lines = [line for line in run.stdout.splitlines() if "=" in line]
    assert len(metric_lines) == sum(map(len, read.values()))
    assert all(line.endswith(";") and line.count("=") == 1 for line in metric_lines)


# --- the model ------------------------------------------------------------------------------------


def of_test(run: Run) -> dict[str, float]:
    """Return how good the saved model is on passengers that no training saw."""
    test = titanic.read(TEST)
    module = run.script.module
    return evaluate(titanic.labels(test), module.predict(module.model_fn(run.model), test))


def test_it_learns_what_it_should(run):
    """Better than always "died", on passengers it has not seen; 0.80 is what the list allows."""
    assert run() == 0
    y = titanic.labels(titanic.read(TEST))
    result = of_test(run)
    assert result["accuracy"] > max(y.mean(), 1 - y.mean()) + 0.08
    assert result["auc"] > 0.75
    assert result["logloss"] < 0.6


def test_shuffled_labels_teach_nothing(run, script, tmp_path):
    """If a model is good where labels are drawn by lot, it has seen the answers."""
    both = pd.concat([pd.read_csv(TRAIN), pd.read_csv(TEST)])
    aucs = []
    for seed in range(5):
        random = np.random.default_rng(seed)
        shuffled = both.assign(Survived=random.permutation(both["Survived"].to_numpy()))
        path = write(tmp_path / "shuffled.csv", shuffled)
        arguments = ("--seed", seed, "--validation_fraction", 0.5)
        assert run(*script.quick, *arguments, train=path) == 0
        aucs.append(run.parameters()["metrics"]["validation"]["auc"])
    assert np.mean(aucs) == pytest.approx(0.5, abs=0.08)


def test_who_a_passenger_is_does_not_reach_the_model(run, script, tmp_path):
    run(*script.quick)
    model = run.bytes()
    frame = pd.read_csv(TRAIN)
    for column in ("PassengerId", "Name", "Ticket", "Cabin"):
        frame[column] = frame[column].to_numpy()[::-1]
    frame = frame.assign(Boat="7", Hint=frame["Survived"])  # a column of no business here
    run(*script.quick, train=write(tmp_path / "other.csv", frame))
    assert run.bytes() == model


def test_a_validation_list_takes_no_row_from_train_and_teaches_nothing(run, script, tmp_path):
    assert run(*script.quick, "--validation", TEST) == 0
    recorded = run.parameters()
    assert recorded["rows"] == {
        "train": len(pd.read_csv(TRAIN)),
        "validation": len(pd.read_csv(TEST)),
    }
    assert recorded["metrics"]["validation"] == pytest.approx(of_test(run), rel=1e-5)
    # what preprocessing learns (a median, a mean) would change with these passengers
    older = write(tmp_path / "older.csv", pd.read_csv(TEST).assign(Age=90, Fare=500))
    before = run.script.module.model_fn(run.model)
    arguments = ("--early_stopping_epochs", 0) if script.name == "train_torch" else ()
    assert run(*script.quick, *arguments, "--validation", older) == 0
    again = run.script.module.model_fn(run.model)
    train = titanic.read(TRAIN)
    if script.name != "train_torch":  # whose best epoch is chosen by validation
        predict = run.script.module.predict
        assert (predict(before, train) == predict(again, train)).all()
    else:
        learnt = before.prepare.state_dict().values(), again.prepare.state_dict().values()
        assert all(bool((a == b).all()) for a, b in zip(*learnt, strict=True))


def in_a_process(run: Run, folder: Path, threads: int, cwd: Path, **environment: str) -> bytes:
    arguments = [*run.script.random, "--seed", 3, "--nthread", threads]
    folders = ["--model_dir", folder, "--output_data_dir", folder / "output"]
    done = subprocess.run(
        [sys.executable, run.script.file, *(str(argument) for argument in [*arguments, *folders])],
        cwd=cwd,
        # no GPU: PyTorch would take it, and it gives other digits than the CPU
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "SM_MODEL_DIR": str(folder), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "saved" in done.stdout
    return (folder / run.script.model).read_bytes()


def test_same_seed_same_bytes_in_any_process(run, script, tmp_path):
    first = in_a_process(run, tmp_path / "a", 1, tmp_path)
    channel = tmp_path / "channel"
    channel.mkdir()
    frame = pd.read_csv(TRAIN)  # two objects of a channel, and Parquet, are the same data too
    write(channel / "1.csv", frame[:300])
    write(channel / "2.csv", frame[300:])
    environment = {"SM_CHANNEL_TRAIN": str(channel), "PYTHONHASHSEED": "7"}
    assert first == in_a_process(run, tmp_path / "b", 2, ROOT, **environment)
    frame.to_parquet(tmp_path / "all.parquet")
    assert run(*script.random, "--seed", 4, train=tmp_path / "all.parquet") == 0
    assert run.bytes() != first
    assert run(*script.random, "--seed", 3, train=tmp_path / "all.parquet") == 0
    assert run.bytes() == first


def test_the_seed_decides_the_hold_out(run, script):
    """With arguments under which XGBoost and the logistic regression draw nothing else."""
    assert run(*script.quick, "--seed", 1) == 0
    first = run.bytes()
    assert run(*script.quick, "--seed", 2) == 0
    assert run.bytes() != first


def test_the_seed_decides_more_than_the_hold_out(run, script):
    assert run(*script.random, "--validation", TEST, "--seed", 1) == 0
    first = run.bytes()
    assert run(*script.random, "--validation", TEST, "--seed", 2) == 0
    assert run.bytes() != first


def test_model_fn_gives_back_the_model(run, script):
    assert run(*script.quick, "--validation", TEST) == 0
    test = titanic.read(TEST)
    model = script.module.model_fn(run.model)
    probabilities = script.module.predict(model, test)
    assert probabilities.shape == (len(test),)
    assert len(set(probabilities.tolist())) > 5
    recorded = run.parameters()["metrics"]["validation"]
    assert evaluate(titanic.labels(test), probabilities) == pytest.approx(recorded, rel=1e-5)
    for row in (0, 11):  # alone, and out of order
        one = script.module.predict(model, test.iloc[[row]])
        assert one == pytest.approx(probabilities[[row]], abs=script.drifts)
    backwards = script.module.predict(model, test.iloc[::-1])
    assert backwards[::-1] == pytest.approx(probabilities, abs=script.drifts)


def test_model_fn_refuses_what_is_not_its_model(run, script, tmp_path):
    with pytest.raises(titanic.DataError, match="no such file; is this the folder a model"):
        script.module.model_fn(tmp_path)
    assert run(*script.quick) == 0
    path = run.model / script.model
    for damaged in (path.read_bytes()[:100], b"", b"not a model"):
        path.write_bytes(damaged)
        with pytest.raises(titanic.DataError, match=r"may be damaged|not the file that was saved"):
            script.module.model_fn(run.model)
