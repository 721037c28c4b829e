"""Every lesson of notebooks/ keeps to the rules, comes from its .py, and works from end to end.

Each lesson is executed under the workshop's policy in a walk on one stub, by our runner: backwards
from 10 to 01, then 12, which cleans up and leaves nothing, then 01 and 03 once more. And some are
executed alone on a fresh stub, by nbmake, under AWS's managed policy. With WORKSHOP_FULL_WALK=1, as
CI has it once a week, all go back, so each runs twice on one account and follows and precedes every
other, and all are executed alone, too. Executed notebooks and pages stay under build/tests/.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import nbformat
import pytest

import workshop
from lessons import pairs as notebook_pairs
from lessons import rules as lesson_rules
from lessons import run as run_lessons
from stub_aws.instance import namespaces_available
from stub_aws.roles import FULL_ACCESS
from tests.support import lesson_walk
from tests.support.missing_permissions import ONLY_AWS, ONLY_WHERE
from tests.support.stub_jobs import NONE_HERE, REGION
from tests.support.stub_roles import actions, shipped
from workshop import images

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = ROOT / "notebooks"
REPORTS = ROOT / "build" / "tests"
LESSONS = [py.stem for py in notebook_pairs.sources()]
CELL_TIMEOUT = 600  # seconds

FULL = os.environ.get("WORKSHOP_FULL_WALK") == "1"
# On each push alone are those whose calls AWS's managed policy treats differently from the
# workshop's, and the first job; the walk executes all of them anyway. Once a week all are.
ALONE = [lesson for lesson in LESSONS if FULL or lesson[:2] in ("01", "03", "12")]

each_lesson = pytest.mark.parametrize("lesson", LESSONS)


def test_there_are_lessons_and_each_is_a_pair() -> None:
    files = {path.name for path in NOTEBOOKS.iterdir() if path.suffix in (".py", ".ipynb")}
    assert LESSONS
    assert files == {f"{name}{suffix}" for name in LESSONS for suffix in (".py", ".ipynb")}
    assert [path.stem for path in run_lessons.choose([])] == LESSONS


@each_lesson
def test_the_ipynb_is_what_the_py_gives(lesson: str) -> None:
    py, ipynb = NOTEBOOKS / f"{lesson}.py", NOTEBOOKS / f"{lesson}.ipynb"
    derived = notebook_pairs.derive(py.read_text(encoding="utf-8"))
    same = ipynb.read_text(encoding="utf-8") == derived
    assert same, f"{ipynb.name} is not what {py.name} gives: run `make notebooks`"


@each_lesson
def test_saving_in_jupyter_would_leave_the_py_as_it_is(lesson: str) -> None:
    text = (NOTEBOOKS / f"{lesson}.py").read_text(encoding="utf-8")
    assert notebook_pairs.canonical_py(notebook_pairs.parse(text)) == text


@each_lesson
def test_the_lesson_keeps_to_the_rules(lesson: str) -> None:
    notebook = nbformat.read(NOTEBOOKS / f"{lesson}.ipynb", as_version=4)
    assert lesson_rules.problems(notebook) == []


def checkout() -> dict[str, str]:
    """Fingerprints of every file that a lesson reads, and of every one that it might leave."""
    files = [
        path
        for folder in ("notebooks", "scripts", "data")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and not {"__pycache__", ".ipynb_checkpoints"} & set(path.parts)
    ]
    return {str(f.relative_to(ROOT)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def on_a_fresh_stub(
    *command: str, record: Path | None = None, policy: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command of this Python on a stub AWS of its own, which may `record` what it saw.

    The role has this policy, else the workshop's.
    """
    options = [*(["--policy", policy] if policy else []), *(["--record", record] if record else [])]
    started = [sys.executable, "-m", "lessons.on_stub", *map(str, options)]
    started += [sys.executable, "-m", *command]
    with run_lessons.strict_kernels() as variables:
        environment = {**os.environ, **variables}
        environment.pop("PYTEST_ADDOPTS", None)
        return subprocess.run(
            started, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )


@pytest.mark.long(turn=1)
@pytest.mark.parametrize("lesson", ALONE)
def test_the_lesson_works_alone(lesson: str) -> None:
    """Each runs to its end under the policy that AWS manages; the walk is under the workshop's."""
    if not lesson_walk.can_run(lesson):
        pytest.skip(NONE_HERE)
    before = checkout()
    report = REPORTS / "alone" / f"{lesson}.xml"
    report.parent.mkdir(parents=True, exist_ok=True)
    report.unlink(missing_ok=True)
    done = on_a_fresh_stub(
        *("pytest", "--nbmake", f"--nbmake-timeout={CELL_TIMEOUT}", "-p", "no:cacheprovider"),
        *(f"--junitxml={report}", f"notebooks/{lesson}.ipynb"),
        policy=FULL_ACCESS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (suite,) = ElementTree.parse(report).getroot()  # noqa: S314 - our own file
    assert (suite.get("tests"), suite.get("skipped")) == ("1", "0")
    assert checkout() == before


def test_no_lesson_is_left_out_but_those_that_need_namespaces() -> None:
    left_out = [lesson for lesson in LESSONS if not lesson_walk.can_run(lesson)]
    needing = ["07_distributed_training", "08_spot_and_large_models", "10_sdk_v3"]
    assert left_out == ([] if namespaces_available() else needing)


@pytest.mark.long(turn=0)
def test_the_walk() -> None:
    """Lessons work in another order, and after each other; they leave nothing, and begin again."""
    before = checkout()
    folder = REPORTS / "walk"
    (folder / "walk.json").unlink(missing_ok=True)
    done = on_a_fresh_stub(
        *("tests.support.lesson_walk", f"--timeout={CELL_TIMEOUT}", f"--output={folder}"),
        *(["--full"] if FULL else []),
        record=folder / "record.json",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    walk = json.loads((folder / "walk.json").read_text())
    results = walk["results"]
    walked = [lesson for lesson in LESSONS if lesson_walk.can_run(lesson)]
    there, back = [*walked[-2::-1], walked[-1]], walked if FULL else walked[:3:2]
    assert len(there) >= 7
    assert [result["lesson"] for result in results] == [*there, *back]
    assert all(result["passed"] for result in results)
    assert {r["lesson"]: r["warnings"] for r in results if r["warnings"]} == {}
    assert checkout() == before
    assert walk["left"] == {}, "the last lesson left something that bills"

    record = json.loads((folder / "record.json").read_text())
    unused = set(actions(shipped())) - set(record["actions"]) - ONLY_AWS.keys() - ONLY_WHERE.keys()
    assert unused == set(), "no lesson uses these permissions: take them out of the policy"
    assert record["jobs"]
    tags = [job["tags"] for job in record["jobs"]]
    ours = workshop.WORKSHOP_TAG
    assert {tag.get(ours["Key"]) for tag in tags} == {ours["Value"]}, "a job is not tagged"
    known = {lesson.partition("_")[0] for lesson in LESSONS}
    assert {tag["lesson"] for tag in tags} <= known
    ordered = {images.uri(framework, REGION) for framework in ("xgboost", "sklearn", "pytorch")}
    assert {job["image"] for job in record["jobs"]} == ordered


def test_lessons_work_in_a_bucket_that_somebody_else_made_and_leave_it_as_it_was() -> None:
    folder = REPORTS / "borrowed"
    (folder / "borrowed.json").unlink(missing_ok=True)
    done = on_a_fresh_stub("tests.support.borrowed_walk", f"--output={folder}")
    assert done.returncode == 0, done.stdout + done.stderr
    content = json.loads((folder / "borrowed.json").read_text())
    assert len(content["before"]["objects"]) == 3
    assert content["after"] == content["before"]
