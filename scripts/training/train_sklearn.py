"""Learn with scikit-learn who survives: one script by hand, in a notebook, and as a SageMaker job.

By hand, from the project's folder; everything has a default:

    python scripts/training/train_sklearn.py
    python scripts/training/train_sklearn.py --model forest --n_estimators 300 --max_depth 6
    python scripts/training/train_sklearn.py --model boosting --learning_rate 0.05 --balanced true
    python scripts/training/train_sklearn.py --validation data/titanic_test.csv --C 0.3 --seed 7
    python scripts/training/train_sklearn.py --model forest --dry_run

As a job, the hyperparameters of the Estimator are these arguments (``{"model": "forest"}``), the
channels ``train`` and, if you like, ``validation`` are the folders, and the metrics come with
``metric_definitions=train_sklearn.METRIC_DEFINITIONS``.

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
scikit-learn that wrote it; ``model_fn`` looks at that first, and at the file's checksum.

The same data, hyperparameters, seed and versions give the same bytes of model, wherever it runs.
On more than 100,000 rows it uses more than one thread, which may change the last digits.

A bad value, file or row ends it with one sentence and exit code 1, and nothing is written.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import entry_point
import titanic
from entry_point import integer, number, one_of, threads
from metrics import METRIC_DEFINITIONS, evaluate, report
from record import PARAMETERS_FILE, record, recorded
from splits import Part, load

if TYPE_CHECKING:  # `import train_sklearn` loads none of them; what needs them imports them
    import numpy as np
    import pandas as pd
    from sklearn.pipeline import Pipeline

__all__ = ["METRIC_DEFINITIONS", "evaluate", "main", "model_fn", "predict"]

MODEL_FILE = "model.joblib"
PREDICTIONS_FILE = "predictions.csv"
DRY_RUN_ROWS = 1000

SCALED = ("Age", "Fare", "SibSp", "Parch")  # numbers
ENCODED = ("Pclass", "Sex", "Embarked")  # classes: one column of 0 and 1 for each value


class Setting(NamedTuple):
    """A hyperparameter of one model: scikit-learn's own name, its default there, how it is read."""

    default: Any
    read: Callable[[str], Any]
    text: str


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
    """The command line: hyperparameters first, then what SageMaker gives."""
    parser = entry_point.Parser(description=__doc__, prog="train_sklearn.py")
    add = entry_point.Hyperparameters(parser)
    add("model", "logistic", one_of(*SETTINGS), "what to train", metavar="|".join(SETTINGS))
    for name in dict.fromkeys(name for settings in SETTINGS.values() for name in settings):
        of = {model: settings[name] for model, settings in SETTINGS.items() if name in settings}
        text = ". ".join(f"{model}: {one.text}, default {one.default}" for model, one in of.items())
        # No default here: what was given can be told from what was not, and so be refused.
        add(name, None, next(iter(of.values())).read, text)
    add.yes_or_no("balanced", "weigh passengers so that both outcomes count the same")
    add.common()
    entry_point.sagemaker_arguments(parser)
    return parser


def settings_of(args: argparse.Namespace) -> dict[str, Any]:
    """The chosen model's hyperparameters, given or by default.

    Raises UsageError for one that belongs to another model: to ignore it would waste the job.
    """
    own = SETTINGS[args.model]
    given = {
        name: value
        for settings in SETTINGS.values()
        for name in settings
        for value in [getattr(args, name)]
        if value is not None
    }
    for name in given:
        if name not in own:
            owners = " or ".join(model for model, settings in SETTINGS.items() if name in settings)
            raise entry_point.UsageError(
                f"argument --{name}: belongs to --model {owners}; --model {args.model} takes "
                f"{', '.join(own)}"
            )
    return {name: given.get(name, setting.default) for name, setting in own.items()}


def train(args: argparse.Namespace) -> None:
    """Read, train, say how good it is, and save: the whole script.

    Raises titanic.DataError or entry_point.UsageError for what the user can put right.
    """
    settings = settings_of(args)
    entry_point.warn_of_hosts()
    if not args.dry_run:
        entry_point.make_folders(model_dir=args.model_dir, output_data_dir=args.output_data_dir)
    parts = load(args, dtype="float64")
    pipeline = fit(parts["train"], settings, args)
    chances = {name: probabilities(pipeline, part.x) for name, part in parts.items()}
    results = {name: evaluate(part.y, chances[name]) for name, part in parts.items()}
    for name, result in results.items():
        report(name, result)
    if args.dry_run:
        print("dry run: nothing is written")
    elif entry_point.hosts()[1] == 0:
        save(pipeline, settings, parts, chances, results, args)


def inputs(x: np.ndarray) -> pd.DataFrame:
    """Return what the Pipeline gets: features of titanic.py as columns of numbers and of classes.

    Floats and Python strings, NaN for nothing: the same for every version of pandas, and no type of
    pandas gets into the model.
    """
    import numpy as np
    import pandas as pd

    value = dict(zip(titanic.FEATURES, x.T))
    sex = np.where(value["Female"] == 1, "female", "male")
    port = np.full(len(x), np.nan, dtype=object)
    for name in titanic.CATEGORIES["Embarked"]:
        port[value[f"Embarked_{name}"] == 1] = name
    table = pd.DataFrame({name: value[name] for name in (*SCALED, "Pclass")})
    return table.assign(Sex=pd.Series(sex, dtype=object), Embarked=pd.Series(port, dtype=object))


def build(settings: dict[str, Any], args: argparse.Namespace) -> Pipeline:
    """The Pipeline, not trained yet."""
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers = Pipeline(
        [
            ("impute", SimpleImputer(strategy="median", keep_empty_features=True)),
            ("scale", StandardScaler()),
        ]
    )
    # The schema's categories, not the data's: data without a port make the same columns.
    known = [[1.0, 2.0, 3.0], *(list(titanic.CATEGORIES[name]) for name in ENCODED[1:])]
    classes = Pipeline(
        [
            ("impute", SimpleImputer(strategy="most_frequent", keep_empty_features=True)),
            ("encode", OneHotEncoder(categories=known, handle_unknown="ignore")),
        ]
    )
    columns = ColumnTransformer(
        [("numbers", numbers, list(SCALED)), ("classes", classes, list(ENCODED))],
        sparse_threshold=0,
    )
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
    return Pipeline([("columns", columns), ("model", model)])


def fit(part: Part, settings: dict[str, Any], args: argparse.Namespace) -> Pipeline:
    """Train the Pipeline; a dry run trains it on a few of the rows."""
    x, y = part
    if args.dry_run and len(y) > DRY_RUN_ROWS:
        few = titanic.hold_out(y, DRY_RUN_ROWS / len(y), args.seed)
        x, y = x[few], y[few]
    pipeline = build(settings, args)

    from threadpoolctl import threadpool_limits  # comes with scikit-learn, so is missed after it

    many = threads(args, len(y))
    machine = {"model__n_jobs": many} if args.model == "forest" else {}
    if args.model != "logistic" and len(y) > entry_point.ROWS_PER_THREAD:
        machine["model__verbose"] = 1  # it will take its time: scikit-learn's own lines of progress
    pipeline.set_params(**machine)
    print(f"training {args.model} on {len(y):,} rows, {many} thread(s) ...", flush=True)
    start = time.perf_counter()
    with threadpool_limits(limits=many):  # of BLAS and OpenMP, which know nothing of n_jobs
        pipeline.fit(inputs(x), y)
    unset = {"model__n_jobs": None, "model__verbose": 0}  # the model does not remember the machine
    pipeline.set_params(**{name: unset[name] for name in machine})
    print(f"trained {args.model} in {time.perf_counter() - start:.2f} s", flush=True)
    return pipeline


def save(
    pipeline: Pipeline,
    settings: dict[str, Any],
    parts: dict[str, Part],
    chances: dict[str, np.ndarray],
    results: dict[str, dict[str, float]],
    args: argparse.Namespace,
) -> None:
    """Write the predictions, then the model with its parameters."""
    import joblib
    import numpy
    import pandas
    import sklearn

    file = io.BytesIO()
    joblib.dump(pipeline, file)
    model = file.getvalue()
    common = {name: getattr(args, name) for name in ("balanced", "seed", "validation_fraction")}
    parameters = record(
        {"model": args.model, **settings, **common},
        features=[*SCALED, *ENCODED],
        rows={name: len(part.y) for name, part in parts.items()},
        results=results,
        packages=(sklearn, joblib, numpy, pandas),
        sha256=hashlib.sha256(model).hexdigest(),
    )
    last = "validation" if "validation" in parts else "train"
    table = pandas.DataFrame({titanic.LABEL: parts[last].y, "probability": chances[last]})
    entry_point.save(args.output_data_dir, {PREDICTIONS_FILE: table.to_csv(index=False).encode()})
    entry_point.save(
        args.model_dir,
        {PARAMETERS_FILE: entry_point.as_json(parameters), MODEL_FILE: model},
    )
    print(f"saved {Path(args.model_dir, MODEL_FILE)}")


def model_fn(model_dir: str | Path) -> Pipeline:
    """Load the model that ``save`` wrote; SageMaker's serving calls this by its name.

    Only for folders that your own jobs wrote: a pickle runs what is in it. Raises titanic.DataError
    if there is none, if it is not the file that was saved, or if another scikit-learn saved it.
    """
    import joblib
    import sklearn

    path = Path(model_dir, MODEL_FILE)
    if not path.is_file():
        raise titanic.DataError(f"{path}: no such file; is this the folder a model was saved to?")
    told = recorded(model_dir)
    made, here = told.get("versions", {}).get("scikit-learn"), sklearn.__version__
    if made is None:
        raise titanic.DataError(
            f"{path}: {PARAMETERS_FILE} beside it does not say which scikit-learn wrote it, and a "
            "pickle is only good for that one; train again"
        )
    if made != here:
        raise titanic.DataError(
            f"{path}: saved with scikit-learn {made}, and this is {here}; a pickle is only good "
            f"for the version that wrote it, so install scikit-learn=={made} or train again"
        )
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != told.get("sha256"):
        raise titanic.DataError(
            f"{path}: not the file that was saved (its checksum differs from the one in "
            f"{PARAMETERS_FILE}); fetch the artifact again"
        )
    try:
        return joblib.load(io.BytesIO(content))
    except ModuleNotFoundError as error:  # numpy 1.24 cannot open what numpy 2 wrote
        others = ", ".join(f"{name} {one}" for name, one in told["versions"].items())
        raise titanic.DataError(
            f"{path}: cannot be opened with what is installed here ({error}); it was saved with "
            f"{others}"
        ) from error


def predict(pipeline: Pipeline, frame: pd.DataFrame) -> np.ndarray:
    """The probability of survival of each passenger of a checked frame; float64, shape (rows,)."""
    return probabilities(pipeline, titanic.features(frame, "float64").to_numpy())


def probabilities(pipeline: Pipeline, x: np.ndarray) -> np.ndarray:
    """Return the probability of survival for each row of features; float64, shape (rows,)."""
    return pipeline.predict_proba(inputs(x))[:, 1]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line (``sys.argv`` if None); returns the exit code."""
    return entry_point.run(train, parser(), argv)


if __name__ == "__main__":
    sys.exit(main())
