"""Learn with XGBoost who survives: one script by hand, in a notebook, and as a SageMaker job.

By hand, from the project's folder; everything has a default:

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
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import entry_point
import splits
import titanic
from entry_point import integer, number, threads
from hosts import xgboost_group
from hosts.group import Group
from metrics import evaluate, report, say_round
from record import PARAMETERS_FILE, record
from stages import Stages

if TYPE_CHECKING:  # `import train_xgboost` loads neither; what needs them imports them
    import numpy as np
    import pandas as pd
    import xgboost

__all__ = ["evaluate", "main", "model_fn", "predict"]

# By default threads that wait for each other keep their core busy, many times in every round. Where
# other programs want the cores too, that makes XGBoost ten times slower (measured: two threads, two
# cores, load 5); on a machine of its own, waiting patiently costs 8 %. Read when XGBoost is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

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
    add("num_round", 100, integer(1, 100_000), "trees to grow at most")
    add(
        "early_stopping_rounds", 10, integer(0, 100_000), "patience, in rounds; 0 never stops early"
    )
    add("max_depth", 3, integer(1, 30), "questions from the root of a tree to a leaf, at most")
    add("eta", 0.1, number(0, 1, above=True), "learning rate: how much of each tree counts")
    add("subsample", 1.0, number(0, 1, above=True), "part of the rows that each tree sees")
    add("colsample_bytree", 1.0, number(0, 1, above=True), "part of the features each tree sees")
    add("min_child_weight", 1.0, number(0), "least sum of weights (hessian) in a leaf")
    add("gamma", 0.0, number(0), "least gain for which a leaf is split")
    add("lambda", 1.0, number(0), "L2 penalty on the values of leaves")
    add("alpha", 0.0, number(0), "L1 penalty on the values of leaves")
    add("max_bin", 256, integer(2, 65_536), "steps into which a feature's values are sorted")
    add("log_every", 10, integer(1, 100_000), "print the loss every so many rounds")
    add.common()
    add.yes_or_no("external_memory", "keep rows on disk: less memory, more time")
    entry_point.sagemaker_arguments(parser)
    return parser


class Data(NamedTuple):
    """One part of the passengers as XGBoost takes it."""

    matrix: xgboost.DMatrix
    y: np.ndarray


def train(args: argparse.Namespace) -> None:
    """Read, train, say how good it is, and save: the whole script, on each of the job's hosts.

    Raises titanic.DataError or entry_point.UsageError for what the user can put right.
    """
    if not args.dry_run:
        entry_point.make_folders(model_dir=args.model_dir, output_data_dir=args.output_data_dir)
    stage = Stages()
    with stage("import"):
        import xgboost  # here, so that the seconds of the others are their own
    if args.external_memory and not hasattr(xgboost, "ExtMemQuantileDMatrix"):
        raise entry_point.UsageError(
            f"argument --external_memory: needs XGBoost 3, and this is {xgboost.__version__}; "
            "choose a newer image, or more hosts"
        )
    names, rank = entry_point.hosts()
    channels = filter(None, (args.train, args.validation))
    together = xgboost_group.hosts_with_data(names, names[rank], channels)
    if names[rank] in together:
        with xgboost_group.joined(together, names[rank]) as group:
            train_together(args, group, stage)


class Trained(NamedTuple):
    """A model, the loss after every round, and of every part labels and the model's answers."""

    booster: xgboost.Booster
    history: dict[str, dict[str, list[float]]]
    labels: dict[str, np.ndarray]
    chances: dict[str, np.ndarray]


def train_together(args: argparse.Namespace, group: Group, stage: Stages) -> None:
    """Train one model with the other hosts of the group; the first one tells of it and saves it."""
    with tempfile.TemporaryDirectory() as disk:
        booster, history, labels, chances = fit(args, group, stage, disk)
    with stage("evaluate"):
        predicted = {
            name: (joined(y, group), joined(chances[name], group)) for name, y in labels.items()
        }
        rows = rows_of(labels, group)
    model = bytes(booster.save_raw(raw_format="ubj"))
    say_checksum(model, labels, group)
    if group.rank:
        return
    with stage("evaluate"):
        results = {name: evaluate(y, p) for name, (y, p) in predicted.items()}
    for name, result in results.items():
        report(name, result)
    say_round(len(history["train"]["logloss"]), results)
    print(f"the model has {booster.num_boosted_rounds()} trees")
    print(stage)
    if args.dry_run:
        print("dry run: nothing is written")
    else:
        told = {"trained": len(history["train"]["logloss"]), "kept": booster.num_boosted_rounds()}
        save(model, history, rows, results, told, args)


def fit(args: argparse.Namespace, group: Group, stage: Stages, disk: str) -> Trained:
    """Read and train. The matrices, whose files are in the folder ``disk``, go when it ends."""
    if args.external_memory:
        import out_of_core

        keep = out_of_core.Disk(disk)
        loaded: dict[str, Any] = splits.select(args, group, stage, share=True, keep=keep)
    else:
        loaded = splits.load(args, group, stage, share=True)
    with stage("prepare"):
        parts = matrices(loaded, args, disk)
    with stage("train"):
        booster, history, chances = boost(parts, args, group)
    labels = {name: part.y for name, part in parts.items()}
    parts.clear()  # callbacks still know of it
    return Trained(booster, history, labels, chances)


def survived(y: np.ndarray, group: Group) -> float:
    """The share of those who survived among the rows of all hosts.

    It is what XGBoost starts with if one does not say (since 2.0; before, 0.5). But several hosts
    estimate it one by one and take the mean, which differs in the last digit.

    Raises titanic.DataError where a host has no row: it would grow a model of its own.
    """
    import numpy as np

    counts = np.array(group.all_gather(np.array([y.sum(), len(y)], dtype=np.int64)))
    for host, rows in zip(group.names, counts[:, 1]):
        if not rows:
            raise titanic.DataError(
                f"{counts[:, 1].sum()} rows to train on are too few for {group.size} hosts: "
                f"{host} has none; take fewer hosts"
            )
    survivors, everyone = counts.sum(axis=0)
    return float(np.clip(survivors / everyone, 1e-6, 1 - 1e-6))


def joined(values: np.ndarray, group: Group) -> np.ndarray:
    """The values of all hosts, one after the other."""
    import numpy as np

    return np.concatenate(group.all_gather(values)) if group.size > 1 else values


def rows_of(labels: dict[str, np.ndarray], group: Group) -> dict[str, dict[str, int]]:
    """How many rows each host has of each part."""
    import numpy as np

    counts = group.all_gather(np.array([len(y) for y in labels.values()], dtype=np.int64))
    return {host: dict(zip(labels, its.tolist())) for host, its in zip(group.names, counts)}


def say_checksum(model: bytes, labels: dict[str, np.ndarray], group: Group) -> None:
    """Print what this host has trained on and the model that it holds: the same on all hosts."""
    mine = " and ".join(f"{len(y):,} rows of {name}" for name, y in labels.items())
    checksum = hashlib.sha256(model).hexdigest()[:12]
    print(f"{group.names[group.rank]}: {mine}, model checksum {checksum}", flush=True)


def matrices(
    parts: dict[str, Any], args: argparse.Namespace, disk: str | Path = ""
) -> dict[str, Data]:
    """Sort features into bins once, instead of keeping the floats beside them.

    Of rows that are on disk the bins stay there too, in the folder ``disk``.
    """
    import xgboost

    made: dict[str, Data] = {}
    for name in list(parts):
        part = parts.pop(name)  # so that the floats can go as soon as the bins are there
        names = list(titanic.FEATURES)
        sorting = {
            "ref": made["train"].matrix if made else None,  # the bins are those of train
            "nthread": threads(args, len(part.y)),
            "max_bin": args.max_bin,
        }
        if args.external_memory:
            import out_of_core

            batches = out_of_core.Batches(part, cache=str(Path(disk, name)))
            matrix = xgboost.ExtMemQuantileDMatrix(batches, **sorting)
        else:
            matrix = xgboost.QuantileDMatrix(part.x, part.y, feature_names=names, **sorting)
        made[name] = Data(matrix, part.y)
    return made


def boost(
    parts: dict[str, Data], args: argparse.Namespace, group: Group
) -> tuple[xgboost.Booster, dict[str, dict[str, list[float]]], dict[str, np.ndarray]]:
    """Train; returns the model with its rounds up to the best, the loss after every round, and the
    model's probability for every row of every part.

    On several hosts, model and losses are those of the rows of all, and the first host tells them.
    """
    import xgboost

    given = vars(args)
    parameters = {name: given[name] for name in BOOSTER_PARAMETERS}
    parameters["base_score"] = survived(parts["train"].y, group)
    parameters["nthread"] = threads(args, len(parts["train"].y))
    chances: dict[str, np.ndarray] = {}
    callbacks = [_predictions(parts, chances)]
    if group.rank == 0:
        callbacks.append(_progress(args.log_every))
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
    if group.rank == 0:
        print(f"trained {rounds} rounds in {time.perf_counter() - start:.2f} s", flush=True)
    # Early stopping leaves notes in the model, which differ between versions; the rounds that it
    # kept say the same.
    booster.set_attr(**dict.fromkeys(booster.attributes()))
    return booster, history, chances


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


def _predictions(
    parts: dict[str, Data], chances: dict[str, np.ndarray]
) -> xgboost.callback.TrainingCallback:
    import xgboost

    class Predictions(xgboost.callback.TrainingCallback):
        """Predict before XGBoost forgets what it has added up for every row in every round; later
        it would go through all trees again. Comes before early stopping, which cuts the model.
        """

        def after_training(self, model: Any) -> Any:
            best = model.attr("best_iteration")  # of early stopping, that is kept
            rounds = model.num_boosted_rounds() if best is None else int(best) + 1
            for name, part in parts.items():
                chances[name] = model.predict(part.matrix, iteration_range=(0, rounds))
            return model

    return Predictions()


def save(
    model: bytes,
    history: dict[str, dict[str, list[float]]],
    rows: dict[str, dict[str, int]],
    results: dict[str, dict[str, float]],
    rounds: dict[str, int],
    args: argparse.Namespace,
) -> None:
    """Write the learning curve, then the model with its parameters; ``rows`` of each host."""
    import numpy
    import pandas
    import xgboost

    given = vars(args)
    told = (*BOOSTER_PARAMETERS, "num_round", "early_stopping_rounds", "validation_fraction")
    parameters = record(
        {**FIXED_PARAMETERS, **{name: given[name] for name in told}},
        features=list(titanic.FEATURES),
        rows={part: sum(its[part] for its in rows.values()) for part in results},
        results=results,
        packages=(xgboost, numpy, pandas),
        rounds=rounds,
        **({"hosts": rows} if len(rows) > 1 else {}),
    )
    curve = pandas.DataFrame({f"{name}:logloss": loss["logloss"] for name, loss in history.items()})
    curve.index = pandas.RangeIndex(1, len(curve) + 1, name="round")
    entry_point.save(args.output_data_dir, {HISTORY_FILE: curve.to_csv().encode()})
    entry_point.save(
        args.model_dir,
        {
            PARAMETERS_FILE: entry_point.as_json(parameters),
            MODEL_FILE: model,
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
    entry_point.spare("sklearn")  # XGBoost would load it, for a wrapper that is of no use here
    sys.exit(main())
