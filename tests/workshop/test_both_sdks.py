"""What the lessons import from `workshop/` works with SDK 3, too, and imports no SDK to do it.

The program below runs in the environment of SDK 3, on the stub AWS, with a job of SDK 3.
"""

from __future__ import annotations

import ast
import json
import subprocess
from pathlib import Path

import pytest

from tests.support.stub_jobs import StubProcess, needs_namespaces

ROOT = Path(__file__).resolve().parents[2]
ROOM = ROOT / "scripts" / "workshop"
SDK3 = ROOT / ".venv-sdk3" / "bin" / "python"

PROGRAM = """
import json, logging, sys, tempfile
from pathlib import Path

import workshop
from workshop import buckets, cleanup, costs, images, jobs, live

session = workshop.session(sdk=3)
role = workshop.execution_role(session)
uris = workshop.ensure_data(session)
assert workshop.ensure_data(session) == uris
bucket = session.default_bucket()
results = {"session": type(session).__module__, "role": role, "uris": uris, "bucket": bucket}
results["billed"] = workshop.is_billed(session)

from sagemaker.core.training.configs import Compute, InputData, OutputDataConfig, SourceCode, Tag
from sagemaker.train import ModelTrainer

folder = Path(tempfile.mkdtemp())
(folder / "train.py").write_text("print('trained'); open('/opt/ml/model/m', 'w').write('m')")
trainer = ModelTrainer(
    training_image=images.uri("xgboost", session.boto_region_name),
    source_code=SourceCode(source_dir=str(folder), entry_script="train.py"),
    compute=Compute(instance_type="ml.m5.large", instance_count=1),
    output_data_config=OutputDataConfig(s3_output_path=f"s3://{bucket}/jobs"),
    tags=[Tag(key=tag["Key"], value=tag["Value"]) for tag in workshop.tags("10")],
    role=role,
    sagemaker_session=session,
)
trainer.train([InputData(channel_name="train", data_source=uris["train"])], wait=False)
name = trainer._latest_training_job.training_job_name
(job,) = jobs.wait_for(session, name)
results["job"] = job["TrainingJobStatus"]
results["table"] = jobs.table(job)["count"].tolist()
results["phases"] = list(jobs.phases(job).columns)
results["log"] = jobs.log(session, name)
results["cost"] = costs.job_cost(job).usd
results["seen"] = live.watch(session, name)["TrainingJobStatus"]
results["link"] = jobs.console_link(job)
ours = cleanup.inventory(session)
results["ours"] = [[job.name, job.lesson] for job in ours.jobs]
cleanup.delete(session, ours)
results["left"] = cleanup.remaining(session)
try:
    workshop.session()
except workshop.WorkshopError as error:
    results["of version 2"] = str(error)
print(json.dumps(results, default=str))
"""


@pytest.fixture(scope="module")
def results() -> dict:
    """Return what the program found, on a stub of its own: it deletes the bucket."""
    if not SDK3.exists():
        pytest.fail("The environment of SDK 3 is not set up: run `make sdk3`, or `make test`.")
    with StubProcess() as stub:
        done = subprocess.run(
            [SDK3, "-c", PROGRAM], env=stub.environment, capture_output=True, text=True
        )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@needs_namespaces  # the SDK's own start script names /opt/ml
def test_session_jobs_costs_and_cleanup_work_with_sdk_3(results):
    assert results["session"] == "sagemaker.core.helper.session_helper"
    assert ":role/" in results["role"]
    assert results["bucket"].startswith("sagemaker-workshop-")
    assert set(results["uris"]) == {"train", "test"}
    assert not results["billed"]
    assert results["job"] == results["seen"] == "Completed"
    assert results["table"] == [1]
    assert "Training" in results["phases"]
    assert "trained" in results["log"]
    assert 0 < results["cost"] < 0.1
    assert "/jobs/" in results["link"]
    ((name, lesson),) = results["ours"]
    assert (name in results["link"], lesson) == (True, "10")
    assert results["left"] == {}


@needs_namespaces
def test_a_lesson_of_version_2_says_which_kernel_it_needs(results):
    assert "needs version 2 of the SageMaker SDK, this kernel has 3 (" in results["of version 2"]
    assert (
        "run `make workshop` and choose the kernel Python 3 (workshop)" in results["of version 2"]
    )


def imports(path: Path) -> set[str]:
    """Return the packages that a module imports anywhere in it."""
    packages = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            packages |= {alias.name.partition(".")[0] for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            packages.add((node.module or "").partition(".")[0])
    return packages


def test_no_module_that_a_lesson_imports_imports_an_sdk():
    modules = sorted(ROOM.glob("*.py"))
    assert len(modules) > 10
    those = [path.name for path in modules if "sagemaker" in imports(path)]
    assert those == ["sdk2_orders.py"]  # a program that lesson 10 runs with the other Python
    assert "boto3" in imports(ROOM / "__init__.py")
