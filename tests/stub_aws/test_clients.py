"""Every client of SageMaker trains on the stub AWS: same script, same data, same bytes of model.

SDK 2's Estimators and ModelTrainer, SDK 3's ModelTrainer, boto3 and the AWS CLI; their programs are
in `clients/`. What they all must give is what the same script gives by hand.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from importlib import invalidate_caches
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support.stub_jobs import BUCKET, LOG_GROUP, REPOSITORY, Account, needs_namespaces, unique
from tests.support.tiny_wheel import make_wheel

# What these tests look at takes long and is done once.
pytestmark = pytest.mark.one_worker

PATIENCE_S = 180  # an SDK takes seconds to be imported, and sleeps some more between its questions
CLIENTS = Path(__file__).parents[1] / "support" / "clients"
SCRIPTS = REPOSITORY / "scripts" / "training"
OTHERS = {"python": ".venv-sdk3", "aws": ".venv-cli"}  # see their requirements-….in
BY_HAND = {
    "train_xgboost.py": ["--num_round", "20", "--seed", "7"],
    "train_sklearn.py": ["--model", "logistic"],
    "train_torch.py": ["--epochs", "3"],
}
XGBOOST = {"num_round": "20", "seed": "7"}
# Images that its table lacks, of repositories that it knows.
UNKNOWN_TO_SDK_2 = {"XGBoost": "xgboost version: 3.2-0", "SKLearn": "sklearn version: 1.9-0"}


@pytest.fixture(scope="module")
def account(stub_aws) -> Account:
    return Account(stub_aws.environment)


@pytest.fixture(scope="module")
def train(account) -> str:
    """Return the passengers in S3, as the channel `train`."""
    prefix = unique("clients")
    text = (REPOSITORY / "data" / "titanic_train.csv").read_text(encoding="utf-8")
    account.put(f"{prefix}/titanic_train.csv", text)
    return f"s3://{BUCKET}/{prefix}/"


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """Return a copy of the entry points with a requirements.txt, and the wheel that it asks for."""
    folder = tmp_path_factory.mktemp("source") / "code"
    shutil.copytree(SCRIPTS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    make_wheel(folder, "needed", "print('needed is installed')")
    (folder / "requirements.txt").write_text("--no-index\n--find-links .\nneeded\n")
    return folder


@pytest.fixture(scope="module")
def by_hand(source, tmp_path_factory) -> dict[str, dict[str, bytes]]:
    """Script -> the files of the model that it leaves when a person runs it here."""

    def run(script: str, arguments: list[str]) -> dict[str, bytes]:
        folder = tmp_path_factory.mktemp("by-hand")
        folders = ["--model_dir", folder / "model", "--output_data_dir", folder / "output"]
        data = ["--train", REPOSITORY / "data" / "titanic_train.csv"]
        command = [sys.executable, source / script, *arguments, *data, *folders]
        variables = {k: v for k, v in os.environ.items() if not k.startswith("SM_")}
        done = subprocess.run(
            command, env=variables, capture_output=True, text=True, timeout=PATIENCE_S
        )
        assert done.returncode == 0, done.stderr
        return {path.name: path.read_bytes() for path in (folder / "model").iterdir()}

    return {script: run(script, arguments) for script, arguments in BY_HAND.items()}


def model_at(account: Account, uri: str) -> dict[str, bytes]:
    """Return the files in the model.tar.gz at `uri`."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    body = account.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(body), mode="r:gz") as tar:
        return {member.name: tar.extractfile(member).read() for member in tar if member.isfile()}


def run(stub_aws, *command: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command as on the stub's command line, which must end well."""
    done = subprocess.run(
        command,
        cwd=REPOSITORY,
        env=stub_aws.environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def other(program: str) -> Path:
    """Return a program of one of the clients' own environments."""
    path = REPOSITORY / OTHERS[program] / "bin" / program
    if not path.exists():
        pytest.fail(f"{OTHERS[program]} is not set up: run `make clients`, or `make test`.")
    return path


# --- SDK 2 and 3 --------------------------------------------------------------------------------


def test_the_estimators_of_sdk_2(stub_aws, account, train, by_hand, source):
    done = run(stub_aws, sys.executable, CLIENTS / "estimators.py", BUCKET, train, source)
    results = json.loads(done.stdout.splitlines()[-1])
    scripts = {
        "XGBoost": "train_xgboost.py",
        "Estimator": "train_xgboost.py",
        "SKLearn": "train_sklearn.py",
        "PyTorch": "train_torch.py",
    }
    assert results.keys() == scripts.keys()
    for name, script in scripts.items():
        result = results[name]
        assert (result["status"], result["listed"]) == ("Completed", True), name
        assert model_at(account, result["model"]) == by_hand[script], name
        model, hyperparameters = result["attached"]
        assert model == result["model"]
        if name in UNKNOWN_TO_SDK_2:  # as lesson 06 says
            assert f"Unsupported {UNKNOWN_TO_SDK_2[name]}" in result["by its class"]
        else:
            assert result["by its class"] == model
        assert json.loads(hyperparameters["sagemaker_program"]) == script
        if name in ("SKLearn", "PyTorch"):  # the XGBoost image has definitions of its own
            parameters = json.loads(by_hand[script]["parameters.json"])
            assert result["train:auc"] == pytest.approx(
                [parameters["metrics"]["train"]["auc"]], abs=1e-5
            )
    assert results["XGBoost"]["attached"][1]["num_round"] == "20"
    # `logs()` showed each job's statuses, and the lines of its script
    assert done.stdout.count("Training - Training image download completed.") >= 4
    assert "trained 20 rounds in" in done.stdout
    assert done.stdout.count("Billable seconds:") >= 4


@needs_namespaces  # the SDK's own start script names /opt/ml
@pytest.mark.parametrize("sdk", [2, 3])
def test_the_model_trainer_of_both_sdks(sdk, stub_aws, account, train, by_hand, source):
    assert find_spec("needed") is None  # only the job installs it, in its own view of this Python
    python = sys.executable if sdk == 2 else other("python")
    done = run(stub_aws, python, CLIENTS / "model_trainer.py", BUCKET, train, source)
    assert "Traceback" not in done.stdout + done.stderr
    results = json.loads(done.stdout.splitlines()[-1])
    assert results.keys() == {"entry-script", "command"}
    for name, result in results.items():
        assert result["status"] == "Completed", name
        assert model_at(account, result["model"]) == by_hand["train_xgboost.py"], name
    job = results["command"]["model"].split("/")[-3]
    assert "needed is installed" in account.log(job)
    invalidate_caches()
    assert find_spec("needed") is None


def test_the_environments_hold_the_sdks_that_they_are_for():
    """Otherwise the test above could try the same SDK twice."""
    question = "from importlib.metadata import version as v; print(v('{}').split('.')[0])"
    for python, name, major in (
        (sys.executable, "sagemaker", "2"),
        (other("python"), "sagemaker-core", "2"),
        (other("python"), "sagemaker-train", "1"),
    ):
        answer = subprocess.run(
            [python, "-c", question.format(name)], capture_output=True, text=True, check=True
        )
        assert answer.stdout.strip() == major, name


# --- boto3 and the AWS CLI ----------------------------------------------------------------------


def contents(folder: Path) -> dict[str, bytes]:
    files = folder.rglob("*.py")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_plain_boto3(account, train, by_hand, source):
    done = account.run(
        files=contents(source),
        program="train_xgboost.py",
        hyperparameters=XGBOOST,
        channels={"train": (train, "FullyReplicated")},
    )
    assert done["TrainingJobStatus"] == "Completed", done.get("FailureReason")
    model = done["ModelArtifacts"]["S3ModelArtifacts"]
    assert model_at(account, model) == by_hand["train_xgboost.py"]


def test_the_aws_cli(stub_aws, account, train, by_hand, source, tmp_path):
    def aws(*arguments: str | Path) -> str:
        return run(stub_aws, other("aws"), *arguments).stdout.strip()

    request = account.request(
        files=contents(source),
        program="train_xgboost.py",
        hyperparameters=XGBOOST,
        channels={"train": (train, "FullyReplicated")},
    )
    name = request["TrainingJobName"]
    file = tmp_path / "job.json"
    file.write_text(json.dumps(request), encoding="utf-8")
    arn = json.loads(aws("sagemaker", "create-training-job", "--cli-input-json", f"file://{file}"))
    assert arn["TrainingJobArn"].endswith(f":training-job/{name}")
    account.wait(name)  # the CLI's own `wait` asks every two minutes
    aws("sagemaker", "wait", "training-job-completed-or-stopped", "--training-job-name", name)
    described = json.loads(aws("sagemaker", "describe-training-job", "--training-job-name", name))
    assert described["TrainingJobStatus"] == "Completed"
    listed = ("list-training-jobs", "--name-contains", name, "--status-equals", "Completed")
    query = ("--query", "TrainingJobSummaries[].TrainingJobName", "--output", "text")
    assert aws("sagemaker", *listed, *query) == name
    (stream,) = account.streams(name)
    options = ("--log-group-name", LOG_GROUP, "--log-stream-name", stream)
    log = aws("logs", "get-log-events", *options, "--query", "events[].message", "--output", "text")
    assert "trained 20 rounds in" in log
    model = described["ModelArtifacts"]["S3ModelArtifacts"]
    aws("s3", "cp", model, tmp_path / "model.tar.gz")
    with tarfile.open(tmp_path / "model.tar.gz") as tar:
        files = {member.name: tar.extractfile(member).read() for member in tar}
    assert files == by_hand["train_xgboost.py"]
