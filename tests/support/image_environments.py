"""Runs every entry point on the versions that SageMaker's images carry: `make test-images`.

    python -m tests.support.image_environments               all images
    python -m tests.support.image_environments 3.2-0 2.13    only those with these in their names

For each image, and each Python that it runs on or could, an environment of its own is made under
build/images from the image's own pins (kept, so that the next run is quick). In it, the image's
entry point trains and its artifact is opened; XGBoost's also on two hosts, which must make the same
bytes; the other entry points must say in one sentence what is missing. Then the artifact is opened
in the environment that runs this, the notebook's: it must predict the same, or, where the framework
gives no such promise, be refused in one sentence.

A Python that is not on this machine is left out with the reason; if nothing could run, that is a
failure.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "scripts" / "training"
ENTRY_POINTS = {"train_xgboost": "xgboost", "train_sklearn": "sklearn", "train_torch": "torch"}
TEST = ROOT / "data" / "titanic_test.csv"
FOLDER = ROOT / "build" / "images"
MINUTES = 20  # that an installation may take; nothing else takes one


@dataclass(frozen=True)
class Image:
    """A training image, as near as it can be installed.

    Attributes:
        name: As people call it.
        script: The entry point that is meant for it.
        pins: For each Python, what pip installs. The image's own Python is `own`.
        own: The Python in the image, where that is known.
        alone: What is installed without its dependencies, because they are not used here: NCCL,
            for training on several GPUs, is 290 MB.
        opens: Whether the notebook's environment is to open its artifact.
    """

    name: str
    script: str
    pins: dict[str, str]
    own: str
    alone: str = ""
    opens: bool = True


# Versions from the images' own files (aws/deep-learning-containers; before 2026
# aws/sagemaker-xgboost-container and -scikit-learn-container). Where a Python is newer than the
# image's own, the oldest builds that there are for it. A test holds the table to data/images.csv:
# whatever AWS still patches is here, and of the older ones those that people still have models of.
IMAGES = (
    Image(
        "XGBoost 3.2-0",
        "train_xgboost",
        {"3.12": "numpy==2.1.0 pandas==2.2.3 pyarrow==22.0.0 scipy==1.15.0"},
        own="3.12",
        alone="xgboost==3.2.0",
    ),
    Image(
        "XGBoost 3.0-5",
        "train_xgboost",
        dict.fromkeys(("3.10", "3.12"), "numpy==2.1.0 pandas==2.2.3 pyarrow==22.0.0 scipy"),
        own="3.10",
        alone="xgboost==3.0.5",
    ),
    Image(
        "XGBoost 1.7-1",
        "train_xgboost",
        {
            "3.8": "xgboost==1.7.4 numpy==1.19.5 pandas==1.2.4 scipy==1.6.2",
            "3.10": "xgboost==1.7.4 numpy==1.23.5 pandas==1.4.4 scipy",
            "3.12": "xgboost==1.7.4 numpy==1.26.4 pandas==2.1.4 scipy",
        },
        own="3.8",
    ),
    Image(
        "scikit-learn 1.9-0",
        "train_sklearn",
        {"3.12": "scikit-learn==1.9.0 numpy==2.5.1 scipy==1.18.0 pandas==2.2.3 pyarrow==25.0.0"},
        own="3.12",
    ),
    Image(
        "scikit-learn 1.4-2",
        "train_sklearn",
        dict.fromkeys(
            ("3.10", "3.12"), "scikit-learn==1.4.2 numpy==2.1.0 pandas==2.2.3 pyarrow==17.0.0"
        ),
        own="3.10",
        opens=False,  # a pickle of another version
    ),
    Image(
        "scikit-learn 1.2-1",
        "train_sklearn",
        dict.fromkeys(
            ("3.9", "3.10"), "scikit-learn==1.2.1 numpy==1.24.1 pandas==1.4.4 pyarrow==14.0.1"
        ),
        own="3.9",
        opens=False,  # a pickle of another version
    ),
    Image(
        "PyTorch 2.14",
        "train_torch",
        {"3.12": "torch==2.14.0 numpy pandas<3 pyarrow"},
        own="3.12",
    ),
    Image(
        "PyTorch 2.13",
        "train_torch",
        {"3.12": "torch==2.13.0 numpy pandas<3 pyarrow"},
        own="3.12",
    ),
    Image(
        "PyTorch 2.10",
        "train_torch",
        {"3.13": "torch==2.10.0 numpy pandas<3 pyarrow"},
        own="3.13",
    ),
)


class Failure(Exception):
    """Something did not go as it should; the message says what, and with which output."""


def interpreter(version: str) -> Path | None:
    """Return a Python of this version: on the PATH, or one of pyenv's."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    candidates = [shutil.which(f"python{version}"), *pyenv.glob(f"versions/{version}.*/bin/python")]
    for candidate in filter(None, candidates):
        printed = subprocess.run(
            [candidate, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
            capture_output=True,
            text=True,
            check=False,
        )
        if printed.stdout.strip() == version:
            return Path(candidate)
    return None


def environment(image: Image, version: str, base: Path) -> Path:
    """Return the Python of an environment with the image's packages, made where it is not there
    yet."""
    folder = FOLDER / f"{image.name.replace(' ', '-')}-python-{version}"
    python = folder / "bin" / "python"
    stamp = folder / "installed.txt"
    wanted = f"{image.pins[version]} {image.alone}".strip()
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return python
    print(f"installing {wanted} ...", flush=True)
    run([base, "-m", "venv", "--clear", folder])
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run([*install, "--only-binary=:all:", *image.pins[version].split()])
    if image.alone:
        run([*install, "--only-binary=:all:", "--no-deps", *image.alone.split()])
    stamp.write_text(wanted, encoding="utf-8")
    return python


def run(command: list[str | Path], expect: int = 0, **environment: str) -> str:
    """Run a command and return what it printed; raises Failure if it ends with another code."""
    outside = {k: v for k, v in os.environ.items() if not k.startswith(("SM_", "PYTHON"))}
    done = subprocess.run(
        [str(argument) for argument in command],
        env={**outside, "CUDA_VISIBLE_DEVICES": "", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60 * MINUTES,
        check=False,
    )
    if done.returncode != expect:
        last_lines = "\n".join(done.stdout.splitlines()[-15:])
        raise Failure(
            f"`{' '.join(map(str, command))}` ended with {done.returncode}:\n{last_lines}"
        )
    return done.stdout


OPEN = """
import json, sys
sys.path.insert(0, sys.argv[1])
script = __import__(sys.argv[2])
import titanic
from metrics import evaluate
test = titanic.read(sys.argv[4])
try:
    model = script.model_fn(sys.argv[3])
except titanic.DataError as error:
    sys.exit(f"refused: {error}")
print(json.dumps(evaluate(titanic.labels(test), script.predict(model, test))))
"""


def open_artifact(python: str | Path, image: Image, model: Path, expect: int = 0) -> str:
    """Open an artifact with an environment's Python; returns the metrics on the test list."""
    return run([python, "-c", OPEN, SCRIPTS, image.script, model, TEST], expect=expect).strip()


def same(one: dict[str, float], other: dict[str, float]) -> bool:
    """Return whether metrics agree, except in digits that differ between builds of a library."""
    return one.keys() == other.keys() and all(abs(one[k] - other[k]) < 1e-5 for k in one)


def check(image: Image, python: Path, folder: Path) -> tuple[str, str]:
    """Train, open and compare; return the quality, and whether the notebook opens the artifact."""
    model = folder / "model"
    folders = ["--model_dir", model, "--output_data_dir", folder / "output"]
    arguments = ["--validation", TEST, *folders, "--nthread", "2"]
    run([python, SCRIPTS / f"{image.script}.py", *arguments], SM_MODEL_DIR=str(model))
    recorded = json.loads((model / "parameters.json").read_text())["metrics"]["validation"]
    if recorded["accuracy"] < 0.7 or recorded["auc"] < 0.75:
        raise Failure(f"it learnt too little: {recorded}")
    if not same(recorded, json.loads(open_artifact(python, image, model))):
        raise Failure("opened where it was trained, the model predicts differently")
    if image.script == "train_xgboost" and sys.platform == "linux":
        train_on_hosts(python, model / "xgboost-model.ubj", folder)
    for other, package in ENTRY_POINTS.items():
        if importable(python, package):
            continue
        printed = run([python, SCRIPTS / f"{other}.py", *arguments], expect=1)
        if f"needs the package {package}, which is not installed here" not in printed:
            raise Failure(f"{other}.py does not say that {package} is missing:\n{printed}")
    quality = f"accuracy {recorded['accuracy']:.3f}, AUC {recorded['auc']:.3f}"
    if not image.opens:
        printed = open_artifact(sys.executable, image, model, expect=1)
        if "refused: " not in printed or "saved with" not in printed:
            raise Failure(f"the notebook's environment does not refuse its artifact:\n{printed}")
        return quality, "refused, as it must be"
    if not same(recorded, json.loads(open_artifact(sys.executable, image, model))):
        raise Failure("opened in the notebook's environment, the model predicts differently")
    return quality, "opens, predicts the same"


def train_on_hosts(python: Path, expected: Path, folder: Path) -> None:
    """Train on two hosts, which are processes with addresses of their own, as on one before."""
    names = ["127.0.0.2", "127.0.0.3"]  # on Linux, all of 127/8 is this machine
    with ThreadPoolExecutor() as hosts:
        running = [
            hosts.submit(
                run,
                [python, SCRIPTS / "train_xgboost.py", "--validation", TEST, "--nthread", "1"],
                SM_HOSTS=json.dumps(names),
                SM_CURRENT_HOST=name,
                SM_MODEL_DIR=str(folder / name),
                SM_OUTPUT_DATA_DIR=str(folder / f"output-{name}"),
            )
            for name in names
        ]
        printed = "".join(one.result() for one in running)
    if (folder / names[0] / expected.name).read_bytes() != expected.read_bytes():
        raise Failure(f"two hosts make another model than one:\n{printed}")


def importable(python: Path, package: str) -> bool:
    """Return whether an environment has a package."""
    code = f"import importlib.util, sys; sys.exit(importlib.util.find_spec('{package}') is None)"
    return subprocess.run([python, "-c", code], check=False).returncode == 0


def main(wanted: list[str]) -> int:
    """Run those, or all; prints a table and returns 1 if anything failed or nothing ran."""
    rows, failures, ran = [("image", "Python", "on the test list", "in the notebook")], [], 0
    for image in IMAGES:
        if wanted and not any(part in image.name for part in wanted):
            continue
        for version in image.pins:
            base = interpreter(version)
            label = version + (" (the image's)" if version == image.own else "")
            if base is None:
                rows.append((image.name, label, "left out: no such Python here", ""))
                continue
            print(f"--- {image.name}, Python {version}", flush=True)
            try:
                python = environment(image, version, base)
                with tempfile.TemporaryDirectory() as folder:
                    rows.append((image.name, label, *check(image, python, Path(folder))))
                ran += 1
            except (Failure, subprocess.TimeoutExpired) as failure:
                print(failure, flush=True)
                failures.append(f"{image.name}, Python {version}")
                rows.append((image.name, label, "FAILED, see above", ""))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    print()
    for row in rows:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )
    if failures or not ran:
        print(f"\nfailed: {', '.join(failures) or 'nothing could run'}")
    return 1 if failures or not ran else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
