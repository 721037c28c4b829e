"""What the entry points share: reading arguments, ending with one sentence, saving files.

How they read their data is in ``splits.py``, what they leave in ``record.py``.

SageMaker starts an entry point with its hyperparameters as ``--name value``, and sets SM_*
variables for folders and machine. The same script runs locally, where they are not set.
"""

from __future__ import annotations

import argparse
import difflib
import json
import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from titanic import DataError

ROOT = Path(__file__).resolve().parents[2]  # so local defaults hold in any working folder

# Threads wait for each other many times in every pass: on few rows they cost more than they bring,
# on a busy machine far more. And one thread adds up in one order, so gives one result.
ROWS_PER_THREAD = 50_000


# An image that was made for another framework may lack one of these.
FRAMEWORKS = ("pandas", "sklearn", "torch", "xgboost")


class UsageError(Exception):
    """An argument or a folder that cannot be used; the message is one sentence for the user."""


class Parser(argparse.ArgumentParser):
    """An argparse parser for a job: strict, and an error is one sentence.

    A name that is not known is refused, because a misspelt hyperparameter that is ignored costs a
    job. ``--num-round`` and ``--num_round`` are one name.
    """

    def __init__(self, description: str | None = None, prog: str | None = None) -> None:
        super().__init__(
            prog=prog,
            description=description,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def parse_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> argparse.Namespace:
        """Read arguments; raises UsageError for a name or a value that is not valid."""
        arguments = sys.argv[1:] if args is None else args
        known, unknown = self.parse_known_args([_underscored(one) for one in arguments], namespace)
        if unknown:
            self.error(self._unknown(unknown))
        return known

    def error(self, message: str) -> NoReturn:
        """Raise UsageError, where argparse would print the usage and end the process."""
        raise UsageError(message)

    def _unknown(self, arguments: list[str]) -> str:
        name = next((one for one in arguments if one.startswith("-")), arguments[0]).split("=")[0]
        close = difflib.get_close_matches(name, list(self._option_string_actions), n=1)
        hint = f"did you mean {close[0]}?" if close else "--help lists what there is"
        return f"no argument {name}; {hint}"


def _underscored(argument: str) -> str:
    if not argument.startswith("--"):
        return argument
    name, equals, value = argument[2:].partition("=")
    return "--" + name.replace("-", "_") + equals + value


def integer(low: int, high: int) -> Callable[[str], int]:
    """Return a reader of integers from ``low`` to ``high``."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(
                f"expected a whole number from {low} to {high}, found {text!r}"
            )
        return value

    return read


def number(low: float, high: float = math.inf, above: bool = False) -> Callable[[str], float]:
    """Return a reader of finite numbers from ``low`` (with ``above``: above it) to ``high``."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (low <= value <= high and math.isfinite(value)) or (above and value == low):
            edge = f"above {low:g}" if above else f"from {low:g}"
            to = f" to {high:g}" if math.isfinite(high) else ""
            raise argparse.ArgumentTypeError(f"expected a number {edge}{to}, found {text!r}")
        return value

    return read


def boolean(text: str) -> bool:
    """Read true or false. ``type=bool`` would take "False", as any text, for true."""
    values = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if text.lower() not in values:
        raise argparse.ArgumentTypeError(f"expected true or false, found {text!r}")
    return values[text.lower()]


class Hyperparameters:
    """The group of arguments that a learner tunes, each with its reader, its default and its text.

    add = Hyperparameters(parser)
    add("max_depth", 3, integer(1, 30), "questions from the root of a tree to a leaf, at most")
    """

    def __init__(self, parser: Parser) -> None:
        self._group = parser.add_argument_group("hyperparameters")

    def __call__(
        self, name: str, default: Any, read: Callable[[str], Any], text: str, metavar: str = "N"
    ) -> None:
        """Add one; ``name`` is that of the estimator's dictionary and of the command line."""
        # SageMaker writes a name of one letter with one hyphen: {"C": 1} arrives as -C 1
        names = [f"-{name}", f"--{name}"] if len(name) == 1 else [f"--{name}"]
        self._group.add_argument(
            *names,
            type=read,
            default=default,
            metavar=metavar,
            help=f"{text} (default {default})",
        )

    def yes_or_no(self, name: str, text: str) -> None:
        """Add one that is true or false; false unless given."""
        self._group.add_argument(
            f"--{name}",
            type=boolean,
            nargs="?",
            const=True,  # in a terminal, the name alone will do
            default=False,
            metavar="true|false",
            help=f"{text} (default false)",
        )

    def common(self) -> None:
        """Add those that mean the same in every entry point."""
        self("validation_fraction", 0.2, number(0, 0.9), "part of train held out; 0 for none")
        self("seed", 1, integer(0, 2**31 - 1), "seed of the hold-out and of the training")
        self.yes_or_no("dry_run", "check arguments and data, train a little, write nothing")


def one_of(*values: str) -> Callable[[str], str]:
    """Return a reader of one of these, in small or capital letters: Python's True is true."""

    def read(text: str) -> str:
        if text.lower() not in values:
            raise argparse.ArgumentTypeError(f"expected {' or '.join(values)}, found {text!r}")
        return text.lower()

    return read


def sagemaker_arguments(parser: Parser) -> argparse._ArgumentGroup:
    """Add the arguments that SageMaker sets through SM_* variables; they have local defaults."""
    env = os.environ.get
    group = parser.add_argument_group("SageMaker gives these", "defaults come from the environment")
    group.add_argument(
        "--train",
        metavar="PATH",
        # `fit("s3://...")` with one URI and no name makes the channel "training"
        default=env("SM_CHANNEL_TRAIN")
        or env("SM_CHANNEL_TRAINING")
        or str(ROOT / "data" / "titanic_train.csv"),
        help="passengers to learn from: a file, or a folder of files (the channel 'train')",
    )
    group.add_argument(
        "--validation",
        metavar="PATH",
        default=env("SM_CHANNEL_VALIDATION") or None,
        help="passengers to validate on (the channel 'validation'); default: part of train",
    )
    group.add_argument(
        "--model_dir",
        metavar="FOLDER",
        default=env("SM_MODEL_DIR") or str(ROOT / "build" / "model"),
        help="what is left here becomes model.tar.gz",
    )
    group.add_argument(
        "--output_data_dir",
        metavar="FOLDER",
        default=env("SM_OUTPUT_DATA_DIR") or str(ROOT / "build" / "output"),
        help="what is left here becomes output.tar.gz",
    )
    group.add_argument(
        "--nthread",
        metavar="N",
        type=integer(1, 1024),
        default=cpus(),
        help="threads to train with at most; fewer where more would not pay",
    )
    return group


def cpus() -> str:
    """Return how many CPUs this process may use, as text for an argument's default."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        available = len(os.sched_getaffinity(0))
    else:
        available = os.cpu_count() or 1
    return os.environ.get("SM_NUM_CPUS") or str(available)


def threads(args: argparse.Namespace, rows: int) -> int:
    """Return how many threads pay for so many rows, ``args.nthread`` at most."""
    most: int = args.nthread
    return max(1, min(most, rows // ROWS_PER_THREAD))


def hosts() -> tuple[list[str], int]:
    """Return the names of the job's hosts in order, and the rank (index) of this one."""
    names = sorted(json.loads(os.environ.get("SM_HOSTS") or '["localhost"]'))
    here = os.environ.get("SM_CURRENT_HOST") or names[0]
    return names, names.index(here)


def warn_of_hosts() -> None:
    """Warn that several hosts are no distributed training, where there are several."""
    names, _ = hosts()
    if len(names) > 1:
        print(
            f"warning: {len(names)} hosts, but this script trains on each of them alone, on what "
            f"its own channel holds; only the model of {names[0]} is kept",
            file=sys.stderr,
        )


def spare(package: str) -> None:
    """Make this process do without a package, as if it were not installed; not in a notebook.

    Where a library loads another only to offer more, every job pays in time and memory:
    scikit-learn adds 0.8 s and 58 MB to ``import xgboost`` (measured with 3.0.5 and 1.4.2).
    """
    if "IPython" not in sys.modules:  # `%run` shares its process with the learner's own code
        sys.modules.setdefault(package, None)  # type: ignore[arg-type]


def run(
    train: Callable[[argparse.Namespace], None], parser: Parser, argv: Sequence[str] | None
) -> int:
    """Parse, train, and return the exit code: 0, or 1 after one sentence about bad input.

    Only what the user can put right is caught; a fault of the script keeps its traceback.
    """
    try:
        train(parser.parse_args(argv))
    except (UsageError, DataError) as error:
        return _failed(f"{parser.prog}: {error}")
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if package not in FRAMEWORKS:
            raise
        return _failed(
            f"{parser.prog}: needs the package {package}, which is not installed here; a job "
            "has it if the Estimator is that framework's, or if requirements.txt names it"
        )
    return 0


def _failed(sentence: str) -> int:
    print(sentence, file=sys.stderr, flush=True)
    _report_to_sagemaker(sentence)
    return 1


def _report_to_sagemaker(sentence: str) -> None:
    """Write the sentence where a job's FailureReason is read from, when this is a job.

    SageMaker's toolkit leaves such a file as it is. Its own would name the command and the exit
    code, and not the cause.
    """
    folder = os.environ.get("SM_OUTPUT_DIR")
    if folder and Path(folder).is_dir():
        Path(folder, "failure").write_text(sentence[:1024], encoding="utf-8")


def make_folders(**folders: str) -> None:
    """Make folders to write to, before any time is spent on training.

    Raises UsageError that names the argument, if a folder cannot be made or written to.
    """
    for name, folder in folders.items():
        try:
            Path(folder).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"--{name} {folder}: cannot be made ({error.strerror})") from error
        if not os.access(folder, os.W_OK):
            raise UsageError(f"--{name} {folder}: cannot be written to")


def save(folder: str, files: Mapping[str, bytes]) -> None:
    """Write files into ``folder``, each complete or not at all: under other names, then renamed."""
    unfinished = {name: Path(folder, f".{name}.{os.getpid()}") for name in files}
    try:
        for name, content in files.items():
            unfinished[name].write_bytes(content)
        for name in files:
            unfinished[name].replace(Path(folder, name))
    except OSError as error:
        raise UsageError(f"{folder}: cannot be written to ({error.strerror})") from error
    finally:
        for path in unfinished.values():
            if path.exists():
                path.unlink()


def as_json(value: Any) -> bytes:
    """Return readable JSON, the same bytes for the same value."""
    return (json.dumps(value, indent=2, sort_keys=False) + "\n").encode()
