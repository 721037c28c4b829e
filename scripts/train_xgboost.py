"""Learn with XGBoost who survives: one script by hand, in a notebook, and as a SageMaker job.

By hand, from the project's folder; everything has a default:

    python scripts/train_xgboost.py
    python scripts/train_xgboost.py --max_depth 4 --eta 0.05 --num_round 200
    python scripts/train_xgboost.py --train data/titanic_train.csv --model_dir build/model
    python scripts/train_xgboost.py --validation data/titanic_test.csv --seed 7
    python scripts/train_xgboost.py --num_round 500 --dry_run

As a job, the hyperparameters of the Estimator are these arguments (``{"max_depth": 4}``), the
channels ``train`` and, if you like, ``validation`` are the folders. The metrics come by themselves:
SageMaker looks in the jobs of its XGBoost image for lines as XGBoost prints them, and this script
prints such lines. (Metric definitions of your own are refused for that image.)

It trains on ``train``. It validates on ``validation`` or, without one, on a part of train that it
holds out, as many of each outcome. It stops when the validation loss has not fallen for
``early_stopping_rounds``, and keeps the rounds up to the best. It leaves

    model_dir/xgboost-model.ubj      the model, in XGBoost's own portable format
    model_dir/parameters.json        what it was made with: hyperparameters, versions, rows, metrics
    output_data_dir/history.csv      the loss after every round

The same data, hyperparameters, seed and XGBoost give the same bytes of model, wherever it runs and
on however many threads: no path, time or machine is in it.

A bad value, file or row ends it with one sentence and exit code 1, and nothing is written.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import entry_point
import titanic
from entry_point import number, threads, whole
from metrics import evaluate, report, say_round
from parts import PARAMETERS_FILE, Part, load, record
from stages import Stages

if TYPE_CHECKING:  # `import train_xgboost` loads neither; what needs them imports them
    import numpy as np
    import pandas as pd
    import xgboost

__all__ = ["evaluate", "main", "model_fn", "predict"]

MODEL_FILE = "xgboost-model.ubj"
HISTORY_FILE = "history.csv"

# What goes to XGBoost as it is. Names and meaning are XGBoost's, as in SageMaker's built-in image.
BOOSTER_PARAMETERS = (
    "max_depth",
    "eta",
    "subsample",
    "colsample_bytree",
    "min_child_weight",
    "gamma",
    "lambda",
    "alpha",
    "max_bin",
    "seed",
)
FIXED_PARAMETERS = {
    "objective": "binary:logistic",
    "eval_metric": "logloss",
    "tree_method": "hist",  # 1.7 would choose another for small data, and so another model
}


def parser() -> entry_point.Parser:
    """The command line: hyperparameters first, then what SageMaker gives."""
    parser = entry_point.Parser(description=__doc__, prog="train_xgboost.py")
    add = entry_point.Hyperparameters(parser)
    add("num_round", 100, whole(1, 100_000), "trees to grow at most")
    add("early_stopping_rounds", 10, whole(0, 100_000), "patience, in rounds; 0 never stops early")
    add("max_depth", 3, whole(1, 30), "questions from the root of a tree to a leaf, at most")
    add("eta", 0.1, number(0, 1, above=True), "learning rate: how much of each tree counts")
    add("subsample", 1.0, number(0, 1, above=True), "part of the rows that each tree sees")
    add("colsample_bytree", 1.0, number(0, 1, above=True), "part of the features each tree sees")
    add("min_child_weight", 1.0, number(0), "least sum of weights (hessian) in a leaf")
    add("gamma", 0.0, number(0), "least gain for which a leaf is split")
    add("lambda", 1.0, number(0), "L2 penalty on the values of leaves")
    add("alpha", 0.0, number(0), "L1 penalty on the values of leaves")
    add("max_bin", 256, whole(2, 65_536), "steps into which a feature's values are sorted")
    add("log_every", 10, whole(1, 100_000), "print the loss every so many rounds")
    add.common()
    entry_point.sagemaker_arguments(parser)
    return parser


class Data(NamedTuple):
    """One part of the passengers as XGBoost takes it."""

    matrix: xgboost.DMatrix
    y: np.ndarray


def train(args: argparse.Namespace) -> None:
    """Read, train, say how good it is, and save: the whole script.

    Raises titanic.DataError or entry_point.UsageError for what the user can put right.
    """
    entry_point.warn_of_hosts()
    if not args.dry_run:
        entry_point.make_folders(model_dir=args.model_dir, output_data_dir=args.output_data_dir)
    stage = Stages()
    with stage("import"):
        import xgboost  # noqa: F401  here, so that the seconds of the others are their own
    loaded = load(args, features, stage)
    with stage("prepare"):
        parts = matrices(loaded, args)
    with stage("train"):
        booster, history = boost(parts, args)
    with stage("evaluate"):
        results = {
            name: evaluate(part.y, booster.predict(part.matrix)) for name, part in parts.items()
        }
    for name, result in results.items():
        report(name, result)
    say_round(len(history["train"]["logloss"]), results)
    print(f"the model has {booster.num_boosted_rounds()} trees")
    print(stage)
    if args.dry_run:
        print("dry run: nothing is written")
    elif entry_point.hosts()[1] == 0:
        save(booster, history, parts, results, args)


def features(frame: pd.DataFrame) -> np.ndarray:
    """What XGBoost sees of checked passengers: float32, shape (rows, features), NaN for unknown."""
    return titanic.features(frame).to_numpy()


def matrices(parts: dict[str, Part], args: argparse.Namespace) -> dict[str, Data]:
    """Sort features into bins once (1 byte each), instead of keeping the floats beside them."""
    import xgboost

    made: dict[str, Data] = {}
    for name in list(parts):
        part = parts.pop(name)  # so that the floats can go as soon as the bins are there
        matrix = xgboost.QuantileDMatrix(
            part.x,
            label=part.y,
            ref=made["train"].matrix if made else None,  # the bins are those of train
            feature_names=list(titanic.FEATURES),
            nthread=threads(args, len(part.y)),
            max_bin=args.max_bin,
        )
        made[name] = Data(matrix, part.y)
    return made


def boost(
    parts: dict[str, Data], args: argparse.Namespace
) -> tuple[xgboost.Booster, dict[str, dict[str, list[float]]]]:
    """Train; returns the model with its rounds up to the best, and the loss after every round."""
    import xgboost

    given = vars(args)
    parameters = {name: given[name] for name in BOOSTER_PARAMETERS}
    parameters["nthread"] = threads(args, len(parts["train"].y))
    callbacks = [_progress(args.log_every)]
    if "validation" in parts and args.early_stopping_rounds:
        callbacks.append(
            xgboost.callback.EarlyStopping(
                rounds=args.early_stopping_rounds,
                data_name="validation",
                metric_name="logloss",
                save_best=True,
            )
        )
    history: dict[str, dict[str, list[float]]] = {}
    start = time.perf_counter()
    booster = xgboost.train(
        {**FIXED_PARAMETERS, **parameters},
        parts["train"].matrix,
        num_boost_round=1 if args.dry_run else args.num_round,
        evals=[(part.matrix, name) for name, part in parts.items()],
        evals_result=history,
        verbose_eval=False,
        callbacks=callbacks,
    )
    rounds = len(history["train"]["logloss"])
    print(f"trained {rounds} rounds in {time.perf_counter() - start:.2f} s", flush=True)
    # Early stopping leaves notes in the model, which differ between versions; the rounds that it
    # kept say the same.
    booster.set_attr(**dict.fromkeys(booster.attributes()))
    return booster, history


def _progress(every: int) -> xgboost.callback.TrainingCallback:
    import xgboost

    class Progress(xgboost.callback.TrainingCallback):
        """Print the losses after the first round and then every so many."""

        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
            if epoch == 0 or (epoch + 1) % every == 0:
                say_round(
                    epoch + 1,
                    {part: {"logloss": log["logloss"][-1]} for part, log in evals_log.items()},
                )
            return False

    return Progress()


def save(
    booster: xgboost.Booster,
    history: dict[str, dict[str, list[float]]],
    parts: dict[str, Data],
    results: dict[str, dict[str, float]],
    args: argparse.Namespace,
) -> None:
    """Write the learning curve, then the model with its parameters."""
    import numpy
    import pandas
    import xgboost

    given = vars(args)
    told = (*BOOSTER_PARAMETERS, "num_round", "early_stopping_rounds", "validation_fraction")
    parameters = record(
        {**FIXED_PARAMETERS, **{name: given[name] for name in told}},
        features=list(titanic.FEATURES),
        rows={name: len(part.y) for name, part in parts.items()},
        results=results,
        packages=(xgboost, numpy, pandas),
        rounds={
            "trained": len(history["train"]["logloss"]),
            "kept": booster.num_boosted_rounds(),
        },
    )
    curve = pandas.DataFrame({f"{name}:logloss": loss["logloss"] for name, loss in history.items()})
    curve.index = pandas.RangeIndex(1, len(curve) + 1, name="round")
    entry_point.save(args.output_data_dir, {HISTORY_FILE: curve.to_csv().encode()})
    entry_point.save(
        args.model_dir,
        {
            PARAMETERS_FILE: entry_point.as_json(parameters),
            MODEL_FILE: bytes(booster.save_raw(raw_format="ubj")),
        },
    )
    print(f"saved {Path(args.model_dir, MODEL_FILE)}")


def model_fn(model_dir: str | Path) -> xgboost.Booster:
    """Load the model that ``save`` wrote; SageMaker's serving calls this by its name.

    Raises titanic.DataError if there is none, or one that was trained on other features.
    """
    import xgboost

    path = Path(model_dir, MODEL_FILE)
    if not path.is_file():
        raise titanic.DataError(f"{path}: no such file; is this the folder a model was saved to?")
    booster = xgboost.Booster()
    try:
        booster.load_model(bytearray(path.read_bytes()))
    except xgboost.core.XGBoostError as error:
        raise titanic.DataError(
            f"{path}: XGBoost {xgboost.__version__} cannot read this model; it may be damaged, or "
            "from a newer version (parameters.json beside it says which)"
        ) from error
    if tuple(booster.feature_names or ()) != titanic.FEATURES:
        raise titanic.DataError(
            f"{path}: trained on the features {booster.feature_names}, but titanic.py now makes "
            f"{list(titanic.FEATURES)}; train again"
        )
    return booster


def predict(booster: xgboost.Booster, frame: pd.DataFrame) -> np.ndarray:
    """The probability of survival of each passenger of a checked frame; float32, shape (rows,)."""
    import xgboost

    x = titanic.features(frame).to_numpy()
    return booster.predict(xgboost.DMatrix(x, feature_names=list(titanic.FEATURES)))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line (``sys.argv`` if None); returns the exit code."""
    return entry_point.run(train, parser(), argv)


if __name__ == "__main__":
    sys.exit(main())
