"""What others' requests bring: variables of their own, launchers, old images, other regions."""

from __future__ import annotations

import json

import pytest

from stub_aws.roles import create_role
from tests.support.stub_jobs import (
    PRELUDE,
    PYTORCH,
    Account,
    StubProcess,
    make_client,
    refusal,
    unique,
)


@pytest.fixture(scope="module")
def account(stub_aws) -> Account:
    return Account(stub_aws.environment)


@pytest.fixture(scope="module", params=[True, False], ids=["namespaces", "no namespaces"])
def either(request, account):
    """Return an account whose jobs have namespaces, and one whose jobs have none."""
    if request.param:
        yield account
        return
    with StubProcess(namespaces=False) as stub:
        yield stub.account


VARIABLES = {
    "PYTHONPATH": "/opt/ml/code/lib:/nowhere",
    "PATH": "/usr/bin",
    "LD_LIBRARY_PATH": "/nowhere",
    "NO_PROXY": "example.com",
    "HTTP_PROXY": "http://127.0.0.1:9",
    "PYTHONUNBUFFERED": "",
    "PYTHONWARNINGS": "error",
    "LANG": "de_DE.UTF-8",
    "CURRENT_HOST": "mine",
    "SM_NOTE": "mine",
    "EMPTY": "",
}
UNCHANGED = ("SM_NOTE", "EMPTY", "LANG", "PYTHONUNBUFFERED", "PYTHONWARNINGS")


def test_a_jobs_own_variables_do_not_keep_its_container_from_starting(either) -> None:
    request = either.request("tell(env=dict(os.environ))")
    request["Environment"] = VARIABLES
    either.sagemaker.create_training_job(**request)
    job = either.wait(request["TrainingJobName"])
    log = either.log(request["TrainingJobName"])
    assert job["TrainingJobStatus"] == "Completed", log
    env = either.facts(request["TrainingJobName"])["env"]
    assert {name: env[name] for name in UNCHANGED} == {name: VARIABLES[name] for name in UNCHANGED}
    assert env["PATH"].startswith("/usr/bin:")
    assert env["NO_PROXY"].startswith("example.com,127.0.0.1")


def test_modules_of_a_jobs_own_come_before_those_of_the_image(account) -> None:
    script = "import mine, toolkit\ntell(mine=mine.VALUE, toolkit=toolkit.VALUE)"
    files = {
        "train.py": PRELUDE + script,
        "lib/mine.py": "VALUE = 'by PYTHONPATH'",
        "lib/toolkit.py": "VALUE = 'by PYTHONPATH, too'",
    }
    request = account.request(files=files)
    request["Environment"] = {"PYTHONPATH": "/opt/ml/code/lib"}
    account.sagemaker.create_training_job(**request)
    job = account.wait(request["TrainingJobName"])
    assert job["TrainingJobStatus"] == "Completed", account.log(request["TrainingJobName"])
    assert account.facts(request["TrainingJobName"]) == {
        "mine": "by PYTHONPATH",
        "toolkit": "by PYTHONPATH, too",
    }


@pytest.mark.parametrize(
    ("hyperparameter", "distribution"),
    [
        ("sagemaker_mpi_enabled", "mpi"),
        ("sagemaker_parameter_server_enabled", "parameter_server"),
        ("sagemaker_distributed_dataparallel_enabled", "smdistributed or pytorchddp"),
        ("sagemaker_pytorch_xla_multi_worker_enabled", "pytorchxla"),
    ],
)
def test_a_launcher_that_is_not_here_is_refused_by_name(account, hyperparameter, distribution):
    for value in (True, "true", "True"):
        asked = {hyperparameter: json.dumps(value)}
        request = account.request("", image=PYTORCH, hyperparameters=asked)
        code, message = refusal(account.sagemaker.create_training_job, **request)
        assert (code, f"distribution {distribution} (" in message) == ("NotImplemented", True)
    asked = {hyperparameter: "false"}
    job = account.run("", image=PYTORCH, hyperparameters=asked)
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")


@pytest.mark.parametrize("tag", [":latest", ":1", ""])
def test_a_legacy_image_is_refused_at_creation(account, tag) -> None:
    uri = f"811284229777.dkr.ecr.us-east-1.amazonaws.com/xgboost{tag}"
    code, message = refusal(account.sagemaker.create_training_job, **account.request(image=uri))
    assert code == "NotImplemented"
    assert message == (
        f"The stub AWS does not run the legacy image {uri}: it is XGBoost 0.72, the algorithm "
        "before it had versions. Use sagemaker-xgboost."
    )


def test_a_client_of_another_region_is_refused_by_name(stub_aws, account) -> None:
    allowed = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    role = create_role(unique("anywhere"), {"Version": "2012-10-17", "Statement": [allowed]})
    elsewhere = make_client(stub_aws.environment_of(role), "sagemaker", region_name="eu-west-1")
    for call, arguments in (
        (elsewhere.create_training_job, account.request()),
        (elsewhere.list_training_jobs, {}),
        (elsewhere.describe_training_job, {"TrainingJobName": "a"}),
    ):
        code, message = refusal(call, **arguments)
        assert code == "NotImplemented"
        assert message == (
            "The stub AWS has training jobs in us-east-1 alone, and this client's region is "
            "eu-west-1. Start the stub with --region eu-west-1, or give the client the other "
            "region."
        )
