"""Training images: the addresses that we put together, and no lesson's image near its end.

What AWS's own tables say is asked of the SDKs themselves: of version 2 for what it knows, of
version 3, in an environment of its own, for the images that came later.
"""

from __future__ import annotations

import ast
import builtins
import csv
import json
import os
import re
import subprocess
import sys
from datetime import date, timedelta
from importlib.metadata import metadata
from importlib.metadata import version as installed_version
from pathlib import Path

import pytest

from lessons.pairs import parse, sources
from stub_aws import images as stub_images
from tests.support import image_environments
from workshop import images

ROOT = Path(__file__).resolve().parents[2]
SDK3 = ROOT / ".venv-sdk3" / "bin" / "python"
OF_SDK_2 = {"xgboost": ("3.0-5", None), "sklearn": ("1.4-2", "py3"), "pytorch": ("2.8", "py312")}
DISTRIBUTIONS = {"xgboost": "xgboost", "sklearn": "scikit-learn", "pytorch": "torch"}
ORDERED = [image for image in images.table() if image.lessons]


# --- addresses --------------------------------------------------------------------------------


SAMPLE = ("us-east-1", "eu-central-2", "cn-north-1", "us-gov-west-1")


@pytest.mark.parametrize("framework", DISTRIBUTIONS)
def test_in_every_region_the_registry_is_that_of_sdk_2(framework, monkeypatch):
    """It has no image of PyTorch's new repository, which lies in the old one's registries."""
    from sagemaker import image_uris

    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    version, python = OF_SDK_2[framework]
    accounts = image_uris.config_for_framework(framework)["training"]["versions"]
    everywhere = list(accounts.values())[-1]["registries"]
    assert len(everywhere) > 30
    for region, account in everywhere.items():
        assert images.uri(framework, region).startswith(f"{account}.dkr.ecr.{region}."), region
    isolated = [region for region in everywhere if "iso" in region]
    for region in (*SAMPLE, *isolated):
        theirs = image_uris.retrieve(
            framework,
            region,
            version=version,
            py_version=python,
            image_scope="training",
            instance_type="ml.m5.large",
        )
        assert images.uri(framework, region).partition("/")[0] == theirs.partition("/")[0], region
        if framework != "pytorch":  # whose tag has two names
            assert images.uri(framework, region, version) == theirs


ASK_SDK3 = """
import json, sys
from sagemaker.core import image_uris

print(json.dumps([image_uris.retrieve(**asked) for asked in json.load(sys.stdin)]))
"""


def test_sdk_3_knows_the_images_of_the_lessons_by_the_same_addresses():
    if not SDK3.exists():
        pytest.fail("The clients' environment is not set up: run `make clients`, or `make test`.")
    questions, ours = [], []
    for image in ORDERED:
        new_repository = image.repository == "pytorch"
        gpu = image.processor == "gpu"
        questions += [
            {
                "framework": "pytorch-amzn2023" if new_repository else image.framework,
                "version": image.version,
                "region": region,
                "image_scope": "training",
                "instance_type": "ml.g5.xlarge" if gpu else "ml.m5.large",
            }
            for region in SAMPLE
        ]
    ours = [
        images.uri(
            q["framework"].partition("-")[0],
            q["region"],
            q["version"],
            gpu=q["instance_type"] == "ml.g5.xlarge",
        )
        for q in questions
    ]
    done = subprocess.run(
        [SDK3, "-c", ASK_SDK3], input=json.dumps(questions), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == ours
    assert len(set(ours)) == len(ours) == 16


def test_version_3s_tables_do_as_well(tmp_path, monkeypatch):
    """It keeps them elsewhere. Of the two, the one that is on the path of this Python is read."""
    tables = tmp_path / "sagemaker" / "core" / "image_uri_config"
    tables.mkdir(parents=True)
    (tmp_path / "sagemaker" / "__init__.py").touch()
    entry = {"repository": "sagemaker-xgboost", "registries": {"eu-west-1": "111122223333"}}
    (tables / "xgboost.json").write_text(json.dumps({"training": {"versions": {"1": entry}}}))
    done = elsewhere(tmp_path, "print(images.uri('xgboost', 'eu-west-1'))")
    assert done.stdout == "111122223333.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-xgboost:3.2-0\n"


def test_without_an_sdk_it_says_so(tmp_path):
    (tmp_path / "sagemaker").mkdir()
    (tmp_path / "sagemaker" / "__init__.py").touch()
    done = elsewhere(tmp_path, "images.uri('xgboost', 'eu-west-1')")
    assert "ImageError: The accounts of AWS's images come from the SageMaker SDK" in done.stderr


def elsewhere(folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Run code where the package `sagemaker` is that of a folder."""
    paths = [str(folder), str(ROOT / "scripts")]
    program = f"import sys; sys.path[:0] = {paths}; from workshop import images; {code}"
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )


def test_no_sdk_is_imported(monkeypatch):
    real = builtins.__import__

    def guarded(name, *rest, **more):
        assert name.partition(".")[0] != "sagemaker"
        return real(name, *rest, **more)

    images._accounts.cache_clear()
    monkeypatch.setattr(builtins, "__import__", guarded)
    assert images.uri("sklearn", "us-east-1").endswith("/sagemaker-scikit-learn:1.9-0-cpu-py3")


WRONG = {
    "framework": (("torch", "us-east-1"), "only of xgboost, sklearn, pytorch"),
    "version": (("pytorch", "us-east-1", "2.7"), r"pytorch 2.7 .* only of 2.14, 2.13, 2.10, 2.8"),
    "region": (("sklearn", "us-east-9"), "'us-east-9' .* only in af-south-1, .*us-west-2"),
    "processor": (("sklearn", "us-east-1", None, True), "for CPUs alone: .* without a GPU"),
}


@pytest.mark.parametrize(("arguments", "sentence"), WRONG.values(), ids=WRONG.keys())
def test_what_there_is_not_is_refused_in_one_sentence(arguments, sentence):
    with pytest.raises(images.ImageError, match=sentence) as caught:
        images.uri(*arguments)
    assert str(caught.value).count(". ") == 0


# --- the table --------------------------------------------------------------------------------


def test_the_table_is_sound():
    rows = list(csv.DictReader(images.TABLE.open(encoding="utf-8")))
    assert len(rows) == len(images.table()) >= 10
    keys = [(i.framework, i.version, i.processor) for i in images.table()]
    assert len(set(keys)) == len(keys)
    assert {row["lessons"] for row in rows} == {"yes", "no"}
    assert {image.processor for image in images.table()} == {"cpu", "gpu", "both"}
    for image in images.table():
        assert image.source
        assert image.ga is None or image.ga < image.end_of_patch
        assert image.tag.startswith(image.version)


def test_the_readme_of_the_data_has_every_column():
    text = (ROOT / "data" / "README.md").read_text(encoding="utf-8")
    part = text.split("## images.csv")[1].split("\n## ")[0]
    named = [
        name for row in re.findall(r"^\| ([\w, ]+) \|", part, re.M) for name in row.split(", ")
    ]
    assert sorted(named[1:]) == sorted(next(csv.reader(images.TABLE.open(encoding="utf-8"))))


def test_the_lessons_images_carry_the_versions_of_the_lock():
    """So that a model trained by a job opens in the notebook."""
    assert [(i.framework, i.processor) for i in ORDERED] == [
        ("xgboost", "both"),
        ("sklearn", "cpu"),
        ("pytorch", "cpu"),
        ("pytorch", "gpu"),
    ]
    for image in ORDERED:
        here = installed_version(DISTRIBUTIONS[image.framework])
        assert here.split(".")[:2] == re.split(r"[.-]", image.version)[:2], image.framework


def test_make_test_images_has_all_that_are_patched_and_the_pythons_in_them():
    names = {"xgboost": "XGBoost", "sklearn": "scikit-learn", "pytorch": "PyTorch"}
    rehearsed = {image.name: image for image in image_environments.IMAGES}
    for image in images.table():
        name = f"{names[image.framework]} {image.version}"
        if image.days_left(clock()) >= 0:
            assert name in rehearsed
        if name in rehearsed:
            assert rehearsed[name].own == image.python


def test_the_stub_has_a_stand_in_for_each():
    for image in images.table():
        uri = images.uri(image.framework, "us-east-1", image.version, image.processor == "gpu")
        assert stub_images.find(uri).repository == image.repository


# --- their end --------------------------------------------------------------------------------


def first_end() -> date:
    return min(image.end_of_patch for image in ORDERED)


@pytest.mark.parametrize(("days", "calls"), [(61, 0), (60, 1), (1, 1), (0, 1), (-3, 1)])
def test_sixty_days_before_an_end_it_says_what_to_do(days, calls):
    sentences = images.to_renew(first_end() - timedelta(days))
    assert len(sentences) == calls
    for sentence in sentences:
        assert str(first_end()) in sentence
        for step in ("data/images.csv", "requirements.in", "`make lock`", "lessons"):
            assert step in sentence


def test_images_that_no_lesson_orders_may_end():
    today = max(image.as_of for image in images.table())
    assert any(image.days_left(today) < 0 for image in images.table())
    assert not any(image.days_left(today) < 0 for image in ORDERED)


def clock() -> date:
    """Return the day of the table, or today where WORKSHOP_IMAGES_TODAY=1: CI's weekly run.

    A push must not fail for a reason that is not in it.
    """
    if os.environ.get("WORKSHOP_IMAGES_TODAY") == "1":
        return date.today()
    return max(image.as_of for image in images.table())


def test_no_lesson_orders_an_image_near_its_end():
    assert images.to_renew(clock()) == []


def test_the_weekly_run_looks_at_the_calendar():
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    weekly = "WORKSHOP_IMAGES_TODAY: ${{ github.event_name == 'schedule' && '1' || '' }}"
    assert weekly in workflow


@pytest.mark.parametrize(("days", "code"), [(61, 0), (60, 1)])
def test_the_command_shows_the_days_left(days, code, monkeypatch, capsys):
    class Today(date):
        @classmethod
        def today(cls):
            return first_end() - timedelta(days)

    monkeypatch.setattr(images, "date", Today)
    assert images.main() == code
    shown = capsys.readouterr().out
    assert f"{days} days left" in shown
    assert ("add xgboost's next image" in shown) is bool(code)


# --- the lessons ------------------------------------------------------------------------------


def code_of(path: Path) -> str:
    cells = parse(path.read_text(encoding="utf-8")).cells
    code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    return re.sub(r"^%%?\w.*$", "", code, flags=re.MULTILINE)


def versions_named(code: str) -> set[str]:
    """Return the values of every `framework_version` in a program, as keyword or dictionary key."""
    versions = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.keyword) and node.arg in ("framework_version", "py_version"):
            versions.add(ast.unparse(node.value))
        if isinstance(node, ast.Dict):
            versions |= {
                ast.unparse(value)
                for key, value in zip(node.keys, node.values, strict=True)
                if isinstance(key, ast.Constant)
                and key.value in ("framework_version", "py_version")
            }
    return versions


def test_a_version_is_read_in_each_form():
    code = 'A(framework_version="1", py_version=x); {"framework_version": "2"}; other("3")'
    assert versions_named(code) == {"'1'", "x", "'2'"}


each_lesson = pytest.mark.parametrize("path", sources(), ids=lambda path: path.stem[:2])


@each_lesson
def test_every_date_in_a_lesson_has_a_source(path):
    """Dates of images are in the table, those of the SDK in the package's own description."""
    known = images.TABLE.read_text(encoding="utf-8") + metadata("sagemaker").get_payload()
    dates = re.findall(r"\b20\d\d-\d\d-\d\d\b", path.read_text(encoding="utf-8"))
    assert [date for date in dates if date not in known] == []


def test_the_sdks_dates_are_its_own():
    """README.md names them; lesson 01 prints the lines of the package's own description."""
    about = metadata("sagemaker").get_payload()
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    stated = re.search(
        r"maintenance since\s+(\S+)[,:] .*?support\s+ends\s+on\s+([\d-]+)", text, re.S
    )
    assert re.search(rf"^Maintenance mode +{stated[1]} ", about, re.M)
    assert re.search(rf"^End-of-Support +{stated[2]} ", about, re.M)
    lesson = code_of(ROOT / "notebooks" / "01_environment_setup.py")
    for phase in ("Maintenance mode  ", "End-of-Support  "):
        assert phase in lesson
        assert re.search(rf"^{phase}", about, re.M)


@each_lesson
def test_a_lesson_orders_by_address_and_names_no_other_version(path):
    code = code_of(path)
    assert versions_named(code) <= {repr(images.find("xgboost").version)}
    estimators = re.findall(r"\b(?:XGBoost|SKLearn|PyTorch|Estimator)\(", code)
    assert not estimators or "images.uri(" in code
