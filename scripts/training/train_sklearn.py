"""Train scikit-learn to predict who survives: in a terminal, a notebook, or a SageMaker job.

In a terminal, from the project's folder; everything has a default:

    python scripts/training/train_sklearn.py
    python scripts/training/train_sklearn.py --model forest --n_estimators 300 --max_depth 6
    python scripts/training/train_sklearn.py --model boosting --learning_rate 0.05 --balanced true
    python scripts/training/train_sklearn.py --validation data/titanic_test.csv --C 0.3 --seed 7
    python scripts/training/train_sklearn.py --model forest --dry_run

As a job, the hyperparameters of the Estimator are these arguments (``{"model": "forest"}``), the
channels ``train`` and, if you like, ``validation`` are the folders, and SageMaker draws the metrics
with ``metric_definitions=train_sklearn.METRIC_DEFINITIONS``.

What it trains is a Pipeline: fill what is unknown, scale numbers, encode classes, then the model.
All of it is learnt from ``train`` alone and is in the artifact, so the artifact takes passengers as
they are in the file. It validates on ``validation`` or, without one, on a part of train that it
holds out, as many of each outcome. It leaves

    model_dir/model.joblib           the Pipeline, as SageMaker's scikit-learn image keeps it
    model_dir/parameters.json        what it was made with: hyperparameters, versions, rows, metrics
    output_data_dir/predictions.csv  who survived, and the model's probability, row by row, of what
                                     it validated on

A joblib file is a pickle: **opening one can run any program that its maker put in it.** So open
those of your own jobs, from your own bucket, and no others. And it is only good for the version of
scikit-learn that wrote it; ``model_fn`` checks that first, and the file's checksum.

The same data, hyperparameters, seed and versions give the same bytes of model, wherever it runs.
On more than 100,000 rows it uses more than one thread, which may change the last digits.

A job that is killed leaves no model: scikit-learn trains in one call, and the model is saved after
it. For long trainings take train_xgboost.py or train_torch.py, which save it on the way.

A bad value, file or row ends it with one sentence and exit code 1, and nothing is written.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import choices
import entry_point
import pickles
import splits
import titanic
from choices import Setting
from entry_point import integer, number, one_of, threads
from metrics import METRIC_DEFINITIONS, evaluate, report
from preprocessing import ENCODED, SCALED, columns, inputs
from record import record, save_run

if TYPE_CHECKING:  # `import train_sklearn` loads none of them; what needs them imports them
    import numpy as np
    import pandas as pd
    from sklearn.pipeline import Pipeline

__all__ = ["METRIC_DEFINITIONS", "evaluate", "main", "model_fn", "predict"]

MODEL_FILE = "model.joblib"
PREDICTIONS_FILE = "predictions.csv"
DRY_RUN_ROWS = 1000

_DEPTH = (integer(1, 100), "questions from the root of a tree to a leaf, at most")
_LEAF = (integer(1, 1_000_000), "passengers in a leaf, at least")
SETTINGS = {
    "logistic": {
        "C": Setting(1.0, number(0, above=True), "inverse of the L2 penalty on coefficients"),
        "max_iter": Setting(1000, integer(1, 1_000_000), "steps of the solver, at most"),
    },
    "forest": {
        "n_estimators": Setting(200, integer(1, 100_000), "trees"),
        "max_depth": Setting(6, *_DEPTH),
        "min_samples_leaf": Setting(3, *_LEAF),
    },
    "boosting": {
        "max_iter": Setting(100, integer(1, 1_000_000), "trees"),
        "learning_rate": Setting(0.1, number(0, 1, above=True), "how much of each tree counts"),
        "max_depth": Setting(3, *_DEPTH),
        "min_samples_leaf": Setting(20, *_LEAF),
        "l2_regularization": Setting(0.0, number(0), "L2 penalty on the values of leaves"),
    },
}


def parser() -> entry_point.Parser:
    """Return the command line: hyperparameters first, then what SageMaker sets."""
    parser = entry_point.Parser(description=__doc__, prog="train_sklearn.py")
    add = entry_point.Hyperparameters(parser)
    add("model", "logistic", one_of(*SETTINGS), "what to train", metavar="|".join(SETTINGS))
    choices.add_arguments(add, SETTINGS)
    add.yes_or_no("balanced", "weigh passengers so that both outcomes count the same")
    add.common()
    entry_point.sagemaker_arguments(parser)
    return parser


def train(args: argparse.Namespace) -> None:
    """Read, split, train, evaluate and save.

    Raises titanic.DataError or entry_point.UsageError for what the user can put right.
    """
    settings = choices.settings(args, SETTINGS)
    entry_point.warn_of_hosts()
    if not args.dry_run:
        entry_point.make_folders(model_dir=args.model_dir, output_data_dir=args.output_data_dir)
    parts = splits.load(args, dtype="float64")  # scikit-learn computes in it
    y = {name: part.y for name, part in parts.items()}
    x = {name: inputs(parts.pop(name).x) for name in y}  # each array goes when its table is there
    pipeline = fit(x["train"], y["train"], settings, args)
    p = {name: probabilities(pipeline, table) for name, table in x.items()}
    results = {name: evaluate(y[name], p[name]) for name in x}
    for name, result in results.items():
        report(name, result)
    if args.dry_run:
        print("dry run: nothing is written")
    elif entry_point.hosts()[1] == 0:
        save(pipeline, settings, y, p, results, args)


def build(settings: dict[str, Any], args: argparse.Namespace) -> Pipeline:
    """Return the Pipeline, not trained yet: preprocessing, then the model."""
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline

    model = {
        "logistic": LogisticRegression,
        "forest": RandomForestClassifier,
        "boosting": HistGradientBoostingClassifier,
    }[args.model](
        **settings,
        # `auto` would hold rows out once more, beside those that we validate on
        **({"early_stopping": False} if args.model == "boosting" else {}),
        class_weight="balanced" if args.balanced else None,
        random_state=args.seed,
    )
    return Pipeline([("columns", columns()), ("model", model)])


def fit(
    x: pd.DataFrame, y: np.ndarray, settings: dict[str, Any], args: argparse.Namespace
) -> Pipeline:
    """Train the Pipeline; a dry run trains it on a few of the rows."""
    if args.dry_run and len(y) > DRY_RUN_ROWS:
        few = titanic.hold_out(y, DRY_RUN_ROWS / len(y), args.seed)
        x, y = x[few], y[few]
    pipeline = build(settings, args)

    from threadpoolctl import threadpool_limits  # comes with scikit-learn, so is missed after it

    count = threads(args, len(y))
    machine = {"model__n_jobs": count} if args.model == "forest" else {}
    if args.model != "logistic" and len(y) > entry_point.ROWS_PER_THREAD:
        # It will take its time: scikit-learn's own lines of progress, of boosting one a tree.
        machine["model__verbose"] = 2 if args.model == "boosting" else 1
    pipeline.set_params(**machine)
    print(f"training {args.model} on {len(y):,} rows, {count} thread(s) ...", flush=True)
    start = time.perf_counter()
    with threadpool_limits(limits=count):  # of BLAS and OpenMP, which know nothing of n_jobs
        pipeline.fit(x, y)
    unset = {"model__n_jobs": None, "model__verbose": 0}  # the model does not remember the machine
    pipeline.set_params(**{name: unset[name] for name in machine})
    print(f"trained {args.model} in {time.perf_counter() - start:.2f} s", flush=True)
    return pipeline


def save(
    pipeline: Pipeline,
    settings: dict[str, Any],
    y: dict[str, np.ndarray],
    p: dict[str, np.ndarray],
    results: dict[str, dict[str, float]],
    args: argparse.Namespace,
) -> None:
    """Write the predictions, then the model with its parameters."""
    import joblib
    import numpy
    import pandas
    import sklearn

    model = pickles.dumps(pipeline)
    common = {name: getattr(args, name) for name in ("balanced", "seed", "validation_fraction")}
    parameters = record(
        {"model": args.model, **settings, **common},
        features=[*SCALED, *ENCODED],
        rows={name: len(labels) for name, labels in y.items()},
        results=results,
        packages=(sklearn, joblib, numpy, pandas),
        sha256=pickles.checksum(model),
    )
    last = "validation" if "validation" in y else "train"
    table = pandas.DataFrame({titanic.LABEL: y[last], "probability": p[last]})
    predictions = table.to_csv(index=False).encode()
    save_run(args, {PREDICTIONS_FILE: predictions}, parameters, {MODEL_FILE: model})


def model_fn(model_dir: str | Path) -> Pipeline:
    """Load the model that ``save`` wrote; SageMaker's serving calls this by its name.

    Only for folders that your own jobs wrote: a pickle runs what is in it. Raises titanic.DataError
    if there is none, if it is not the file that was saved, or if another scikit-learn saved it.
    """
    return pickles.load(model_dir, MODEL_FILE)


def predict(pipeline: Pipeline, frame: pd.DataFrame) -> np.ndarray:
    """Return each passenger's probability of survival, of a checked frame; float64, (rows,)."""
    return probabilities(pipeline, inputs(titanic.features(frame, "float64").to_numpy()))


def probabilities(pipeline: Pipeline, table: pd.DataFrame) -> np.ndarray:
    """Return the probability of survival for each row of inputs; float64, shape (rows,)."""
    p: np.ndarray = pipeline.predict_proba(table)[:, 1]
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line (``sys.argv`` if None); returns the exit code."""
    return entry_point.run(train, parser(), argv)


if __name__ == "__main__":
    sys.exit(main())
