"""The two SDKs order the same jobs: every difference of their requests is in the explicit list."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.stub_jobs import StubProcess, needs_namespaces
from workshop import job_requests, sdk_names, sdk_version

ROOT = Path(__file__).resolve().parents[2]
CLIENTS = ROOT / "tests" / "support" / "clients"
PYTHONS = {2: sys.executable, 3: str(ROOT / ".venv-sdk3" / "bin" / "python")}
KINDS = ["XGBoost", "SKLearn", "PyTorch", "built-in", "spot", "two hosts"]


def run(version: int, *arguments: str | Path, **variables: str) -> str:
    """Run a program with one of the SDKs, and return the last line that it prints."""
    if not Path(PYTHONS[version]).exists():
        pytest.fail("The environment of SDK 3 is not set up: run `make sdk3`, or `make test`.")
    done = subprocess.run(
        [PYTHONS[version], *arguments], capture_output=True, text=True, env=variables or None
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def pairs() -> dict[str, tuple[dict, dict]]:
    """Kind of job -> the request of SDK 2 and that of SDK 3, on a stub that nobody else has."""
    source = ROOT / "scripts" / "training"
    with StubProcess() as stub:
        made = [
            json.loads(run(version, CLIENTS / f"orders_{version}.py", source, **stub.environment))
            for version in PYTHONS
        ]
    return dict(zip(KINDS, zip(*made, strict=True), strict=True))


@needs_namespaces  # of two hosts each needs its own
@pytest.mark.parametrize("kind", KINDS)
def test_no_difference_is_left_without_a_reason(kind, pairs):
    rows = job_requests.differences(*pairs[kind])
    assert [row.field for row in rows if not row.why] == []


@needs_namespaces
def test_no_reason_is_there_for_nothing(pairs):
    reasons = {row.why for pair in pairs.values() for row in job_requests.differences(*pair)}
    assert reasons == {entry.why for entry in job_requests.EXPECTED}


@needs_namespaces
def test_what_decides_a_job_is_the_same(pairs):
    for kind, (old, new) in pairs.items():
        differing = {row.field for row in job_requests.differences(old, new)}
        same = dict(job_requests.fields(old)).keys() - differing
        assert {
            "AlgorithmSpecification.TrainingImage",
            "InputDataConfig[train].DataSource.S3DataSource.S3Uri",
            "InputDataConfig[train].DataSource.S3DataSource.S3DataDistributionType",
            "InputDataConfig[train].ContentType",
            "OutputDataConfig.S3OutputPath",
            "ResourceConfig.InstanceType",
            "ResourceConfig.InstanceCount",
            "ResourceConfig.VolumeSizeInGB",
            "RoleArn",
            "StoppingCondition.MaxRuntimeInSeconds",
            "Environment.A",
            "Tags[workshop].Value",
        } <= same, kind
    old, new = pairs["spot"]
    spot = ("EnableManagedSpotTraining", "StoppingCondition", "CheckpointConfig")
    assert all(key in old and key in new for key in spot)
    assert pairs["two hosts"][1]["ResourceConfig"]["InstanceCount"] == 2


OLD = {"HyperParameters": {"a": '"x"', "b": "1"}, "Tags": [{"Key": "k", "Value": "v"}]}
CHANGES = {  # a change of the new request -> the field that has no reason then
    "a value": ({"HyperParameters": {"a": "y", "b": "1"}}, "HyperParameters.a"),
    "a number": ({"HyperParameters": {"a": "x", "b": "2"}}, "HyperParameters.b"),
    "one less": ({"HyperParameters": {"a": "x"}}, "HyperParameters.b"),
    "one more": ({"VpcConfig": {"Subnets": ["s"]}}, "VpcConfig.Subnets"),
    "a tag": ({"Tags": [{"Key": "k", "Value": "w"}]}, "Tags[k].Value"),
    "a channel": (
        {"InputDataConfig": [{"ChannelName": "other", "ContentType": "text/csv"}]},
        "InputDataConfig[other].ContentType",
    ),
}


@pytest.mark.parametrize(("change", "field"), CHANGES.values(), ids=CHANGES.keys())
def test_any_other_difference_has_no_reason(change, field):
    new = {"HyperParameters": {"a": "x", "b": "1"}, "Tags": OLD["Tags"]}
    (quoted,) = job_requests.differences(OLD, new)
    assert (quoted.field, bool(quoted.why)) == ("HyperParameters.a", True)
    rows = job_requests.differences(OLD, new | change)
    assert [row.field for row in rows if not row.why] == [field]


def test_people_see_each_reason_once():
    rows = [
        job_requests.Difference("a", "x" * 99, None, "because"),
        job_requests.Difference("b", None, 1, "because"),
        job_requests.Difference("c", None, 2, "else"),
    ]
    table = job_requests.by_reason(rows)
    assert [row["field"] for row in table] == ["a", "c"]
    assert len(table[0]["SDK 2"]) == job_requests.SHOWN
    assert table[0]["SDK 3"] == ""


# --- the names ----------------------------------------------------------------------------------


def test_the_table_answers_for_every_argument_of_version_2():
    report = json.loads(run(2, "-m", "workshop.sdk_names"))
    assert sorted(report["arguments"]) == sorted(sdk_names.ARGUMENTS)
    assert len(report["arguments"]) > 50
    assert report["missing"] == []


ASK = """
import json
import re
from workshop import sdk_names
names = [name for text in sdk_names.ARGUMENTS.values() for name in sdk_names.new_names(text)]
names += sdk_names.IMPORTS.values()
print(json.dumps([len(names), [name for name in names if not sdk_names.is_there(name)]]))
"""


def test_version_3_has_every_name_that_the_tables_give_it():
    count, missing = json.loads(run(3, "-c", ASK))
    assert count > 90
    assert missing == []


@pytest.mark.parametrize(
    ("name", "is_there"),
    [
        ("sagemaker.estimator.Estimator", True),
        ("sagemaker.estimator.Estimator.fit", True),
        ("sagemaker.estimator.Estimator.train", False),
        ("sagemaker.no_such_module.Name", False),
        ("no_such_package.Name", False),
    ],
)
def test_a_name_is_looked_for_in_the_sdk_that_is_installed(name, is_there):
    assert sdk_names.is_there(name) is is_there


def test_the_other_python_is_found_or_asked_for(monkeypatch):
    assert Path(sdk_version.python(2)) == ROOT / ".venv" / "bin" / "python"
    monkeypatch.setitem(sdk_version.VENVS, 3, ".venv-of-nobody")
    with pytest.raises(sdk_version.WorkshopError, match="is not set up: run `make sdk3`"):
        sdk_version.python(3)


def test_nobody_imports_from_the_address_that_will_go():
    """`sagemaker.train.configs` says of itself that it will be removed."""
    files = [*(ROOT / "notebooks").glob("*.py"), *CLIENTS.glob("*.py")]
    files += (ROOT / "scripts").rglob("*.py")
    texts = {path.name: path.read_text(encoding="utf-8") for path in files}
    assert any("sagemaker.core.training" in text for text in texts.values())
    old = re.compile(
        r"(from|import) sagemaker\.train\.configs|from sagemaker\.train import configs"
    )
    assert [name for name, text in texts.items() if old.search(text)] == []
