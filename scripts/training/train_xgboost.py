"""Train XGBoost to predict who survives: in a terminal, in a notebook, or as a SageMaker job.

In a terminal, from the project's folder; everything has a default:

    python scripts/training/train_xgboost.py
    python scripts/training/train_xgboost.py --max_depth 4 --eta 0.05 --num_round 200
    python scripts/training/train_xgboost.py --train data/titanic_train.csv --model_dir build/model
    python scripts/training/train_xgboost.py --validation data/titanic_test.csv --seed 7
    python scripts/training/train_xgboost.py --num_round 500 --dry_run

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

While it trains, model_dir holds the model of the best round so far, with its losses. So a job that
is killed without a signal leaves that one; its parameters.json says ``"finished": false``.

The same data, hyperparameters, seed and XGBoost give the same bytes of model, wherever it runs and
on however many threads: no path, time or machine is in it.

A job of several hosts trains one model on the rows of all, by adding up over the hosts (see
``hosts/xgboost_group.py``); its first host alone saves. Of a channel that is FullyReplicated each
host takes its share of the rows, of one that is ShardedByS3Key the files that it has been given; a
host that has been given none logs that and is left out. The model is that of one host, to the byte,
with two exceptions. With ``--subsample`` below 1 each host draws from its own rows. And where a
feature has thousands of different values XGBoost merges summaries of each host's, so that its bins
may lie a little elsewhere (with 19,667 fares: a validation loss of 0.3469 for 0.3465). Each host
prints the checksum of the model that it holds: it must be the same on all.

With ``--external_memory true`` features and bins stay in files of a temporary folder, and are read
from there in every round; in memory is then little more than what XGBoost adds up for every row.
The model is the same. It needs XGBoost 3.

A bad value, file or row ends it with one sentence and exit code 1, and nothing is written.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import entry_point
import splits
import titanic
from entry_point import integer, number, threads
from hosts import xgboost_group
from hosts.group import Group
from metrics import evaluate, print_round, report
from record import learning_curve, record, save_model, save_run, saved_file
from stages import Stages

if TYPE_CHECKING:  # `import train_xgboost` loads neither; what needs them imports them
    import numpy as np
    import pandas as pd
    import xgboost

    Results = dict[str, dict[str, float]]

__all__ = ["evaluate", "main", "model_fn", "predict"]

# By default threads that wait for each other keep their core busy, many times in every round. Where
# other programs want the cores too, that makes XGBoost ten times slower (measured: two threads, two
# cores, load 5); on a machine of its own, waiting patiently costs 8 %. Read when XGBoost is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

MODEL_FILE = "xgboost-model.ubj"
HISTORY_FILE = "history.csv"

# XGBoost gets these as they are. Names and meaning are XGBoost's, as in SageMaker's built-in image.
TREE_PARAMETERS = {
    "max_depth": (3, integer(1, 30), "questions from the root of a tree to a leaf, at most"),
    "eta": (0.1, number(0, 1, above=True), "learning rate: how much of each tree counts"),
    "subsample": (1.0, number(0, 1, above=True), "part of the rows that each tree sees"),
    "colsample_bytree": (1.0, number(0, 1, above=True), "part of the features each tree sees"),
    "min_child_weight": (1.0, number(0), "least sum of weights (hessian) in a leaf"),
    "gamma": (0.0, number(0), "least gain for which a leaf is split"),
    "lambda": (1.0, number(0), "L2 penalty on the values of leaves"),
    "alpha": (0.0, number(0), "L1 penalty on the values of leaves"),
    "max_bin": (256, integer(2, 65_536), "steps into which a feature's values are sorted"),
}
BOOSTER_PARAMETERS = (*TREE_PARAMETERS, "seed")
FIXED_PARAMETERS = {
    "objective": "binary:logistic",
    "eval_metric": "logloss",
    "tree_method": "hist",  # 1.7 would choose another for small data, and so another model
}


def parser() -> entry_point.Parser:
    """Return the command line: hyperparameters first, then what SageMaker sets."""
    parser = entry_point.Parser(description=__doc__, prog="train_xgboost.py")
    add = entry_point.Hyperparameters(parser)
    add("num_round", 100, integer(1, 100_000), "trees to grow at most")
    patience = "patience, in rounds; 0 never stops early"
    add("early_stopping_rounds", 10, integer(0, 100_000), patience)
    for name, (default, read, text) in TREE_PARAMETERS.items():
        add(name, default, read, text)
    add("log_every", 10, integer(1, 100_000), "print the loss every so many rounds")
    add.common()
    add.yes_or_no("external_memory", "keep rows on disk: less memory, more time")
    entry_point.sagemaker_arguments(parser)
    return parser


def train(args: argparse.Namespace) -> None:
    """Read, split, train, evaluate and save, on each of the job's hosts.

    Raises titanic.DataError or entry_point.UsageError for what the user can put right.
    """
    if not args.dry_run:
        entry_point.make_folders(model_dir=args.model_dir, output_data_dir=args.output_data_dir)
    stage = Stages()
    with stage("import"):
        import xgboost  # noqa: F401  here, so that the seconds of the others are their own
    names, rank = entry_point.hosts()
    channels = [channel for channel in (args.train, args.validation) if channel]
    members = xgboost_group.hosts_with_data(names, names[rank], channels)
    if names[rank] in members:
        with xgboost_group.joined(members, names[rank]) as group:
            train_in(group, args, stage)


class Trained(NamedTuple):
    """A model, each host's rows by part, and of each part the loss after every round, the labels,
    and the probabilities."""

    booster: xgboost.Booster
    rows: dict[str, dict[str, int]]
    losses: dict[str, list[float]]
    labels: dict[str, np.ndarray]
    probabilities: dict[str, np.ndarray]


def train_in(group: Group, args: argparse.Namespace, stage: Stages) -> None:
    """Train one model with the other hosts of the group; the first host reports and saves it."""
    import boosting

    with tempfile.TemporaryDirectory() as disk:
        booster, rows, losses, labels, probabilities = fit(args, group, stage, disk)
    rounds = {"trained": len(losses["train"]), "kept": booster.num_boosted_rounds()}
    if group.rank == 0:
        print(f"trained {rounds['trained']} rounds in {stage.seconds['train']:.2f} s", flush=True)
    model = boosting.to_bytes(booster)
    checksum = hashlib.sha256(model).hexdigest()[:12]  # the same on all hosts
    trained_on = " and ".join(f"{len(y):,} rows of {name}" for name, y in labels.items())
    print(f"{group.names[group.rank]}: {trained_on}, model checksum {checksum}", flush=True)
    with stage("evaluate"):
        y = {name: group.concatenate(values) for name, values in labels.items()}
        p = {name: group.concatenate(probabilities[name]) for name in labels}
        if group.rank:
            return
        results = {name: evaluate(y[name], p[name]) for name in labels}
    for name, result in results.items():
        report(name, result)
    print_round(rounds["trained"], results)
    print(f"the model has {rounds['kept']} trees")
    print(stage)
    if args.dry_run:
        print("dry run: nothing is written")
    else:
        curve = learning_curve(losses, "round")
        parameters = made_with(args, rows, results, rounds)
        save_run(args, {HISTORY_FILE: curve}, parameters, {MODEL_FILE: model})


def fit(args: argparse.Namespace, group: Group, stage: Stages, disk: str) -> Trained:
    """Read and train. The matrices, whose files are in the folder ``disk``, go when it ends."""
    parts: dict[str, Any]
    if args.external_memory:
        import out_of_core

        parts = out_of_core.load(args, group, stage, disk)
    else:
        parts = splits.load(args, group, stage, share=True)
    with stage("prepare"):
        data = matrices(parts, args)
    with stage("train"):
        return boost(data, args, group)


def matrices(parts: dict[str, Any], args: argparse.Namespace) -> dict[str, xgboost.DMatrix]:
    """Sort features into bins once, instead of keeping the floats beside them."""
    import xgboost

    data: dict[str, xgboost.DMatrix] = {}
    for name in list(parts):
        x, y = parts.pop(name)  # so that the floats can go as soon as the bins are there
        settings = {
            "ref": data.get("train"),  # the bins are those of train
            "nthread": threads(args, len(y)),
            "max_bin": args.max_bin,
        }
        if args.external_memory:
            data[name] = xgboost.ExtMemQuantileDMatrix(x, **settings)
        else:
            names = list(titanic.FEATURES)
            data[name] = xgboost.QuantileDMatrix(x, y, feature_names=names, **settings)
    return data


def boost(data: dict[str, xgboost.DMatrix], args: argparse.Namespace, group: Group) -> Trained:
    """Train; returns the model with its rounds up to the best.

    On several hosts, model and losses are those of the rows of all, and the first host prints them.
    """
    import xgboost

    from boosting import InOrder, KeepBest, Predictions, Progress, early_stopping

    rows = splits.rows_of_hosts({name: part.num_row() for name, part in data.items()}, group)

    def save_best(model: bytes, results: Results, rounds: dict[str, int]) -> None:
        parameters = made_with(args, rows, results, rounds, finished=False)
        save_model(args, parameters, {MODEL_FILE: model})

    parameters = {name: getattr(args, name) for name in BOOSTER_PARAMETERS}
    parameters["base_score"] = xgboost_group.base_score(data["train"].get_label(), group)
    parameters["nthread"] = threads(args, data["train"].num_row())
    predictions = Predictions(data)
    callbacks: list[xgboost.callback.TrainingCallback] = [predictions]
    if group.rank == 0:
        callbacks.append(Progress(args.log_every))
    if "validation" in data and args.early_stopping_rounds:
        callbacks.append(early_stopping(args.early_stopping_rounds))
    if group.rank == 0 and not args.dry_run:
        callbacks.append(KeepBest(save_best))
    history: dict[str, dict[str, list[float]]] = {}
    booster = xgboost.train(
        {**FIXED_PARAMETERS, **parameters},
        data["train"],
        num_boost_round=1 if args.dry_run else args.num_round,
        evals=[(matrix, name) for name, matrix in data.items()],
        evals_result=history,
        verbose_eval=False,
        callbacks=[InOrder(*callbacks)],
    )
    losses = {name: log["logloss"] for name, log in history.items()}
    labels = {name: matrix.get_label() for name, matrix in data.items()}
    return Trained(booster, rows, losses, labels, predictions.probabilities)


def made_with(
    args: argparse.Namespace,
    rows: dict[str, dict[str, int]],
    results: Results,
    rounds: dict[str, int],
    **more: Any,
) -> dict[str, Any]:
    """Return what is saved beside a model; ``rows`` are each host's."""
    import numpy
    import pandas
    import xgboost

    names = (*BOOSTER_PARAMETERS, "num_round", "early_stopping_rounds", "validation_fraction")
    return record(
        {**FIXED_PARAMETERS, **{name: getattr(args, name) for name in names}},
        features=titanic.FEATURES,
        rows={part: sum(counts[part] for counts in rows.values()) for part in results},
        results=results,
        packages=(xgboost, numpy, pandas),
        rounds={**rounds, **more},
        **({"hosts": rows} if len(rows) > 1 else {}),
    )


def model_fn(model_dir: str | Path) -> xgboost.Booster:
    """Load the model that a run saved; SageMaker's serving calls this by its name.

    Raises titanic.DataError if there is none, or one that was trained on other features.
    """
    from boosting import load_ours

    return load_ours(saved_file(model_dir, MODEL_FILE))


def predict(booster: xgboost.Booster, frame: pd.DataFrame) -> np.ndarray:
    """Return each passenger's probability of survival, of a checked frame; float32, (rows,)."""
    import xgboost

    x = titanic.features(frame).to_numpy()
    return booster.predict(xgboost.DMatrix(x, feature_names=list(titanic.FEATURES)))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line (``sys.argv`` if None); returns the exit code."""
    return entry_point.run(train, parser(), argv)


if __name__ == "__main__":
    entry_point.spare("sklearn")  # XGBoost would load it, for a wrapper that is of no use here
    sys.exit(main())
