"""A script in a job sees what AWS's own toolkit says it shall see, and its packages stay its own.

The oracle is `sagemaker_training` itself, run here on JSON files that are written by hand as
SageMaker's documentation has them; the stub has no part in it.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.stub_jobs import (
    BUCKET,
    PATIENCE_S,
    PRELUDE,
    PYTORCH,
    Account,
    StubProcess,
    needs_namespaces,
    unique,
)
from tests.support.tiny_wheel import make_wheel

TELL = """
tell(argv=sys.argv[1:],
     sm={name: value for name, value in os.environ.items() if name.startswith("SM_")})
"""
ORACLE = """
import json
from sagemaker_training import environment
env = environment.Environment()
variables = {k: v for k, v in env.to_env_vars().items() if k.startswith("SM_")}
print(json.dumps([env.to_cmd_args(), variables]))
"""
# What a framework Estimator sends is JSON in a string; what boto3 sends may be any string.
HYPERPARAMETERS = {
    "whole": "5",
    "negative": "-3",
    "fraction": "0.25",
    "tiny": "1e-05",
    "yes": "true",
    "nothing": "null",
    "words": json.dumps("two words!"),
    "raw": "raw words!",
    "shell": json.dumps('it\'s "so" $HOME; `ls` && *'),
    "unicode": json.dumps("Zürich ✓"),
    "raw_unicode": "Zürich ✓",
    "empty": json.dumps(""),
    "list": json.dumps([1, "two", 3.5]),
    "dict": json.dumps({"b": 1, "a": {"c": [2]}}),
    "with-dash": "1",
    "K": "7",
}


@pytest.fixture(scope="module")
def account(stub_aws) -> Account:
    return Account(stub_aws.environment)


def oracle(base: Path, request: dict, host: str, hosts: list[str]) -> list:
    """Arguments and SM_* variables that the toolkit makes of a job, with `base` as /opt/ml."""
    instance_type = request["ResourceConfig"]["InstanceType"]
    group = "homogeneousCluster"
    files = {
        "hyperparameters": request["HyperParameters"],
        "inputdataconfig": {
            entry["ChannelName"]: {
                "TrainingInputMode": "File",
                "S3DistributionType": "FullyReplicated",
                "RecordWrapperType": "None",
                **({"ContentType": entry["ContentType"]} if "ContentType" in entry else {}),
            }
            for entry in request["InputDataConfig"]
        },
        "resourceconfig": {
            "current_host": host,
            "current_instance_type": instance_type,
            "current_group_name": group,
            "hosts": hosts,
            "instance_groups": [
                {"instance_group_name": group, "instance_type": instance_type, "hosts": hosts}
            ],
            "network_interface_name": "lo",
        },
    }
    config = base / "input" / "config"
    config.mkdir(parents=True)
    for name, content in files.items():
        (config / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    for name in files["inputdataconfig"]:
        (base / "input" / "data" / name).mkdir(parents=True)
    variables = {k: v for k, v in os.environ.items() if not k.startswith(("SM_", "AWS_"))}
    variables |= {
        "SAGEMAKER_BASE_DIR": str(base),
        "SAGEMAKER_TRAINING_MODULE": "pytorch_container:main",
        "TRAINING_JOB_NAME": request["TrainingJobName"],
        "CURRENT_HOST": host,
    }
    done = subprocess.run(
        [sys.executable, "-c", ORACLE],
        env=variables,
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_S,
    )
    return json.loads(done.stdout.splitlines()[-1].replace(str(base), "/opt/ml"))


@needs_namespaces  # without them the folders are elsewhere
@pytest.mark.parametrize("count", [1, 2])
def test_arguments_and_variables_are_the_toolkits_own(account, tmp_path, count):
    prefix = unique("contract")
    where = account.put(f"{prefix}/a.csv", "1"), "FullyReplicated"
    request = account.request(
        TELL,
        image=PYTORCH,
        hosts=count,
        channels={"train": where, "my-own_Channel": where},
        hyperparameters=HYPERPARAMETERS,
    )
    request["InputDataConfig"][0]["ContentType"] = "text/csv"
    account.sagemaker.create_training_job(**request)
    done = account.wait(request["TrainingJobName"])
    assert done["TrainingJobStatus"] == "Completed", done.get("FailureReason")
    hosts = [f"algo-{number}" for number in range(1, count + 1)]
    for host in hosts:
        facts = account.facts(done["TrainingJobName"], host)
        arguments, variables = oracle(tmp_path / host, request, host, hosts)
        assert facts["argv"] == arguments
        cores = int(facts["sm"]["SM_NUM_CPUS"])
        assert cores == max(1, len(os.sched_getaffinity(0)) // count)
        mine = [part.replace(f'"num_cpus":{cores},', "") for part in as_lines(facts["sm"])]
        theirs = [part.replace(f'"num_cpus":{os.cpu_count()},', "") for part in as_lines(variables)]
        assert mine == theirs


def as_lines(variables: dict[str, str]) -> list[str]:
    """Variables as lines, but for the number of cores, which several hosts share."""
    return sorted(f"{k}={v}" for k, v in variables.items() if k != "SM_NUM_CPUS")


def test_the_oracle_sees_a_difference(account, tmp_path):
    """Were it blind, the test above could not fail."""
    where = f"s3://{BUCKET}/x", "FullyReplicated"
    request = account.request(TELL, channels={"train": where}, hyperparameters={"ab": "1"})
    arguments, variables = oracle(tmp_path, request, "algo-1", ["algo-1"])
    assert arguments == ["--ab", "1"]
    assert variables["SM_CHANNEL_TRAIN"] == "/opt/ml/input/data/train"
    assert variables["SM_HP_AB"] == "1"


def test_what_chooses_the_processors_instructions_reaches_the_job(account, monkeypatch):
    """Else a training gives other last digits by hand than in a job, on a machine that sets it."""
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "default")
    monkeypatch.setenv("SOMETHING_ELSE_OF_THE_PERSON", "1")
    done = account.run("tell(env=dict(os.environ))")
    variables = account.facts(done["TrainingJobName"])["env"]
    assert variables["ATEN_CPU_CAPABILITY"] == "default"
    assert "SOMETHING_ELSE_OF_THE_PERSON" not in variables


# --- requirements.txt ---------------------------------------------------------------------------


@pytest.fixture(scope="module", params=[True, False], ids=["namespaces", "no namespaces"])
def either(request, stub_aws):
    """Return an account whose jobs have namespaces, and one whose jobs have none."""
    if request.param:
        yield Account(stub_aws.environment)
        return
    with StubProcess(namespaces=False) as stub:
        yield stub.account


IMPORT = PRELUDE + "import needed\ntell(value=needed.VALUE, file=needed.__file__)\n"


def test_a_requirement_is_installed_inside_the_job_and_nowhere_else(either, tmp_path):
    wheel = make_wheel(tmp_path, "needed", "VALUE = 'from the wheel'")
    files = {
        "train.py": IMPORT,
        # the wheel comes with the code, so that no package index is asked
        "requirements.txt": "--no-index\n--find-links .\nneeded\n",
        wheel.name: wheel.read_bytes(),
    }
    done = either.run(files=files)
    assert done["TrainingJobStatus"] == "Completed", either.log(done["TrainingJobName"])
    assert either.facts(done["TrainingJobName"])["value"] == "from the wheel"
    here = subprocess.run([sys.executable, "-c", "import needed"], capture_output=True, text=True)
    assert "ModuleNotFoundError: No module named 'needed'" in here.stderr
    after = either.run(files={"train.py": IMPORT})
    assert after["TrainingJobStatus"] == "Failed"
    assert "No module named 'needed'" in "\n".join(either.log(after["TrainingJobName"]))


PIP = """
import shutil
here = str(Path(__file__).parent)
for pip in ("pip", "pip3"):
    subprocess.run([pip, "install", "--no-index", "--find-links", here, f"by_{pip}"], check=True)
    done = subprocess.run([sys.executable, "-c", f"import by_{pip}"], capture_output=True)
    tell(**{pip: done.stderr.decode()})
tell(torchrun=shutil.which("torchrun"))
"""


def test_pip_is_that_of_the_jobs_python_whatever_script_lies_beside_it(either, tmp_path):
    """A script names its interpreter, and in an environment that was moved or copied another one:
    a job would install into the environment that it was copied from, if that is still there."""
    wheels = [make_wheel(tmp_path, name) for name in ("by_pip", "by_pip3")]
    files = {wheel.name: wheel.read_bytes() for wheel in wheels}
    done = either.run(files={"train.py": PRELUDE + PIP, **files})
    assert done["TrainingJobStatus"] == "Completed", either.log(done["TrainingJobName"])
    facts = either.facts(done["TrainingJobName"])
    assert (facts["pip"], facts["pip3"]) == ("", "")
    assert facts["torchrun"].endswith("/bin/torchrun")
    assert facts["torchrun"] != f"{Path(sys.executable).parent}/torchrun"


def test_a_requirement_that_cannot_be_installed_fails_the_job(account):
    files = {"train.py": IMPORT, "requirements.txt": "--no-index\nno-such-package\n"}
    done = account.run(files=files)
    assert done["TrainingJobStatus"] == "Failed"
    assert done["FailureReason"].startswith("AlgorithmError: InstallRequirementsError:")


def test_a_requirements_file_below_the_root_is_not_looked_at(account):
    files = {"train.py": PRELUDE, "deeper/requirements.txt": "--no-index\nno-such-package\n"}
    assert account.run(files=files)["TrainingJobStatus"] == "Completed"
