"""What people reported as lost in version 3 of the SDK, tried with the version in the lock.

A test here says what happens, good or bad, because lesson 10 says it too: where one fails after an
upgrade of the SDK, the lesson's sentence is to be changed with it. The numbers are those of issues
of aws/sagemaker-python-sdk; of the four in 5765 those are tried that touch training.
"""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.stub_jobs import LOG_GROUP, Account, StubProcess, needs_namespaces

pytestmark = [needs_namespaces, pytest.mark.one_worker]  # the SDK's own script names /opt/ml

ROOT = Path(__file__).resolve().parents[2]
CLIENTS = ROOT / "tests" / "support" / "clients"
SDK3 = ROOT / ".venv-sdk3" / "bin" / "python"


def run(stub: StubProcess, python: str | Path, program: str, *arguments: str | Path) -> dict:
    """Run a client program, and return what its last line says."""
    if not SDK3.exists():
        pytest.fail("The environment of SDK 3 is not set up: run `make sdk3`, or `make test`.")
    command = [python, CLIENTS / program, *arguments]
    done = subprocess.run(command, env=stub.environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def reports(tmp_path_factory) -> dict:
    with StubProcess() as stub:
        return run(stub, SDK3, "reported.py", tmp_path_factory.mktemp("source"))


def test_5765_waiting_asks_with_the_sessions_credentials_but_the_log_does_not(reports):
    """`train(wait=True)` shows the log by default, and reads it with the machine's credentials."""
    assert reports["waiting"] == ["Completed", "Unable to locate credentials"]


def test_5668_there_are_no_dependencies(reports):
    assert "dependencies\n  Extra inputs are not permitted" in reports["dependencies"]


def test_requirements_that_are_not_named_are_not_installed(reports):
    """They name a package that does not exist, so a job that installed them would have failed."""
    assert reports["requirements"] == "Completed"


def test_5508_tuning_jobs_start_by_the_images_toolkit_and_not_by_version_3s_script(reports):
    definition = reports["tuning"]["TrainingJobDefinition"]
    channels = [channel["ChannelName"] for channel in definition["InputDataConfig"]]
    assert channels == ["train", "sm_drivers"]  # no "code", and nothing starts what is in the other
    assert "ContainerEntrypoint" not in definition["AlgorithmSpecification"]
    assert definition["StaticHyperParameters"]["sagemaker_program"] == "train.py"
    assert definition["StaticHyperParameters"]["sagemaker_submit_directory"].endswith(".tar.gz")


def test_5613_the_tuner_passes_the_environment_on(reports):
    assert reports["tuning"]["TrainingJobDefinition"]["Environment"] == {"A": "b"}


def test_5584_the_tuner_passes_spot_and_its_checkpoints_on(reports):
    definition = reports["tuning"]["TrainingJobDefinition"]
    assert definition["EnableManagedSpotTraining"] is True
    assert definition["StoppingCondition"]["MaxWaitTimeInSeconds"] == 900
    assert definition["CheckpointConfig"]["S3Uri"].endswith("/jobs/checkpoints")


def test_the_tuner_passes_neither_the_name_nor_the_prefix_on(reports):
    assert not reports["tuning"]["HyperParameterTuningJobName"].startswith("tuned")
    code = reports["tuning"]["TrainingJobDefinition"]["StaticHyperParameters"]
    assert "/jobs/" not in code["sagemaker_submit_directory"]


# --- a function as a job ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def remote() -> dict[int, dict]:
    """Return what functions as jobs gave: of SDK 2, and of SDK 3, with the lines of all logs."""
    with StubProcess() as stub:
        with ThreadPoolExecutor() as pool:
            both = {2: sys.executable, 3: SDK3}
            running = {sdk: pool.submit(run, stub, both[sdk], "remote.py") for sdk in both}
            outcomes = {sdk: future.result() for sdk, future in running.items()}
        logs = Account(stub.environment).logs
        streams = logs.describe_log_streams(logGroupName=LOG_GROUP)["logStreams"]
        names = [stream["logStreamName"] for stream in streams]
        outcomes[3]["logs"] = [
            event["message"]
            for name in names
            for event in logs.get_log_events(logGroupName=LOG_GROUP, logStreamName=name)["events"]
        ]
    return outcomes


def test_a_function_as_a_job_returns_its_value(remote):
    kind, value = remote[2]["add"]
    assert (kind, value["sum"]) == ("value", 6)
    assert value["job"].startswith("add-")


def test_a_function_as_a_job_raises_its_error_here(remote):
    assert remote[2]["fail"] == ["KeyError", "'no such passenger'"]


@pytest.mark.parametrize("sdk", [2, 3])
def test_a_function_as_a_job_refuses_another_python(sdk, remote):
    kind, message = remote[sdk]["another Python"]
    assert kind == "RuntimeEnvironmentError"
    assert "does not match python version '3.6' on the local client" in message


def test_version_3_wants_itself_in_the_image(remote):
    """The stand-in's images have version 2."""
    assert remote[3]["add"][0] == remote[3]["fail"][0] == "RemoteFunctionError"
    assert any("No module named 'sagemaker.core'" in line for line in remote[3]["logs"])
