"""A script that trains the wrong thing, or nothing, turns lesson 03 red.

A managed job reports Completed for any script that exits with 0, and "the same model as by hand"
holds for two models that are equally wrong. What catches them is the lesson's own comparison with
knowing nothing; these tests break a copy of the scripts and see that very cell fail. Last, the same
copy with another passenger list passes: so the lessons hold for data other than those shipped.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lessons import run as run_lessons
from simulation import make_titanic

ROOT = Path(__file__).resolve().parents[2]

BROKEN = {
    "the label is another column": (
        "titanic.py",
        '= frame[LABEL].to_numpy(dtype="int8")',
        '= (frame["Pclass"] == 3).to_numpy(dtype="int8")',
    ),
    "nothing is learnt": (
        "train_xgboost.py",
        "{**FIXED_PARAMETERS, **parameters}",
        '{**FIXED_PARAMETERS, **parameters, "eta": 0.0}',
    ),
}


def copy_of_the_checkout(folder: Path) -> Path:
    """Return what a lesson needs, to be broken without harm."""
    for name in ("notebooks", "scripts", "data", "tests"):
        leave = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
        shutil.copytree(ROOT / name, folder / name, ignore=leave)
    return folder


def run_lessons_of(checkout: Path, pages: Path, *lessons: str) -> subprocess.CompletedProcess[str]:
    """Execute lessons of a checkout on a stub of their own."""
    runner = [sys.executable, "-m", "lessons.run", "--output", str(pages), *lessons]
    with run_lessons.strict_kernels() as variables:
        return subprocess.run(
            [sys.executable, "-m", "lessons.on_stub", *runner],
            cwd=checkout,
            # before the rooms of this checkout, which the environment itself has on its path
            env={**os.environ, **variables, "PYTHONPATH": str(checkout / "scripts")},
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.mark.parametrize("how", BROKEN)
def test_lesson_03_notices_a_broken_script(how: str, tmp_path: Path) -> None:
    checkout = copy_of_the_checkout(tmp_path / "checkout")
    name, original, broken = BROKEN[how]
    script = checkout / "scripts" / "training" / name
    text = script.read_text(encoding="utf-8")
    assert original in text, "the script has changed: break it in its new form"
    script.write_text(text.replace(original, broken), encoding="utf-8")

    done = run_lessons_of(checkout, tmp_path / "pages", "03")
    assert done.returncode == 1, done.stdout + done.stderr
    (result,) = json.loads((tmp_path / "pages" / "results.json").read_text())
    (path,) = (checkout / "notebooks").glob("03_*.ipynb")
    cell = json.loads(path.read_text(encoding="utf-8"))["cells"][result["cell"] - 1]
    assert 'assert scores["' in "".join(cell["source"]), result["reason"]
    assert result["reason"].startswith("AssertionError")


def test_lessons_hold_for_another_list(tmp_path: Path) -> None:
    checkout = copy_of_the_checkout(tmp_path / "checkout")
    assert make_titanic.main(["--seed", "77", "--out", str(checkout / "data")]) in (0, None)
    shipped = (ROOT / "data" / "titanic_train.csv").read_bytes()
    assert (checkout / "data" / "titanic_train.csv").read_bytes() != shipped
    done = run_lessons_of(checkout, tmp_path / "pages", "01", "02", "03")
    assert done.returncode == 0, done.stdout + done.stderr
