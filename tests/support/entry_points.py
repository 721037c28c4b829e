"""What the tests of the entry points share: the scripts, and a run of one in folders of its own."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pandas as pd

import train_sklearn
import train_torch
import train_xgboost
from metrics import METRIC_DEFINITIONS

ROOT = Path(__file__).resolve().parents[2]
TRAINING = ROOT / "scripts" / "training"
TRAIN = ROOT / "data" / "titanic_train.csv"
TEST = ROOT / "data" / "titanic_test.csv"


@dataclass(frozen=True)
class Script:
    """An entry point and what is particular to it.

    Attributes:
        module: The script, imported.
        model: The file of the model.
        output: The file in output_data_dir.
        packages: Whose versions it records, beside Python's.
        quick: Arguments with which it trains in a blink.
        other: Arguments that make another model than ``quick``.
        wrong: A misspelt hyperparameter, and the right one.
        fits: The function of the module that trains.
        random: Arguments with which the seed, and not only the hold-out, decides.
        drifts: How much a prediction may depend on the rows beside it.
    """

    module: ModuleType
    model: str
    output: str
    packages: set[str]
    quick: tuple
    other: tuple
    wrong: tuple[str, str]
    fits: str
    random: tuple
    drifts: float = 0.0

    @property
    def name(self) -> str:
        return self.module.__name__

    @property
    def file(self) -> Path:
        return TRAINING / f"{self.name}.py"

    @property
    def framework(self) -> str:
        (name,) = self.packages - {"numpy", "pandas", "joblib"}
        return name

    @property
    def promised(self) -> set[str]:
        return {self.model, "parameters.json"}


SCRIPTS = {
    script.name: script
    for script in (
        Script(
            train_xgboost,
            "xgboost-model.ubj",
            "history.csv",
            {"xgboost", "numpy", "pandas"},
            quick=("--num_round", 5),
            other=("--num_round", 6),
            wrong=("--max_dept", "--max_depth"),
            fits="boost",
            random=("--subsample", 0.7, "--colsample_bytree", 0.7, "--max_depth", 6),
        ),
        Script(
            train_sklearn,
            "model.joblib",
            "predictions.csv",
            {"scikit-learn", "joblib", "numpy", "pandas"},
            quick=("--C", 0.5),
            other=("--C", 0.1),
            wrong=("--n_estimator", "--n_estimators"),
            fits="fit",
            random=("--model", "forest", "--n_estimators", 20),
            drifts=1e-12,
        ),
        Script(
            train_torch,
            "model.pt",
            "history.csv",
            {"torch", "numpy", "pandas"},
            quick=("--epochs", 2),
            other=("--epochs", 3),
            wrong=("--learning_rat", "--learning_rate"),
            fits="fit",
            random=("--epochs", 4),
            drifts=1e-5,  # matrix products of other sizes add up in another order
        ),
    )
}


class Run:
    """Runs of one script's main() in folders of their own."""

    def __init__(self, script: Script, folder: Path, capsys) -> None:
        self.script, self.folder, self._capsys = script, folder, capsys
        self.model, self.output = folder / "model", folder / "output"
        self.checkpoints = folder / "checkpoints"

    def arguments(self, *arguments: object, train: Path = TRAIN) -> list[str]:
        folders = ["--train", train, "--model_dir", self.model, "--output_data_dir", self.output]
        if self.script.module is train_torch:
            folders += ["--checkpoint_dir", self.checkpoints, "--device", "cpu"]
        return [str(argument) for argument in (*folders, "--nthread", 2, *arguments)]

    def __call__(self, *arguments: object, train: Path = TRAIN) -> int:
        code = self.script.module.main(self.arguments(*arguments, train=train))
        self.stdout, self.stderr = self._capsys.readouterr()
        return code

    def refuses(self, *arguments: object, train: Path = TRAIN) -> str:
        """Run with bad input, check that nothing was written, and return the sentence."""
        assert self(*arguments, train=train) == 1
        sentence = self.stderr.strip()
        assert "\n" not in sentence
        assert "Traceback" not in sentence
        assert not self.files()
        return sentence

    def files(self) -> set[str]:
        """Return what lies in the folders, names with a leading dot too."""
        folders = (self.model, self.output, self.checkpoints)
        return {file.name for folder in folders for file in folder.glob("*")}

    def parameters(self) -> dict:
        return json.loads((self.model / "parameters.json").read_text())

    def table(self) -> pd.DataFrame:
        return pd.read_csv(self.output / self.script.output)

    def bytes(self) -> bytes:
        return (self.model / self.script.model).read_bytes()

    def everything(self) -> dict[str, bytes]:
        """Return the content of all files that the run has left, by name."""
        return {
            file.name: file.read_bytes()
            for folder in (self.model, self.output, self.checkpoints)
            for file in folder.glob("*")
        }


def source() -> dict[str, bytes]:
    """Return what a job of an entry point is started with: the files of its folder, by name."""
    files = TRAINING.rglob("*.py")
    return {file.relative_to(TRAINING).as_posix(): file.read_bytes() for file in files}


def write(path: Path, frame: pd.DataFrame) -> Path:
    frame.to_csv(path, index=False)
    return path


def metrics_in(
    log: str, definitions: list[dict[str, str]] = METRIC_DEFINITIONS
) -> dict[str, list[float]]:
    """Return the metrics that SageMaker would read in a log.

    A value is the first group of a metric's regex, for each line that it matches.
    """
    return {
        definition["Name"]: [
            float(match.group(1))
            for line in log.replace("\t", "#011").splitlines()  # as a log stream writes it
            for match in [re.search(definition["Regex"], line)]
            if match
        ]
        for definition in definitions
    }
