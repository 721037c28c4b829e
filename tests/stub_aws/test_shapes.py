"""Scripts as others write them, started as others start them, run on the stub AWS unchanged.

The scripts are in `user_scripts/`, in the manner of AWS's container tests and samples: absolute
paths, one-letter hyperparameters, a shell script, a package with setup.py, `dependencies=`, process
groups over two hosts. `clients/shapes.py` starts them all with SageMaker's SDK 2.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xgboost as xgb

from tests.support.stub_jobs import (
    BUCKET,
    PYTORCH,
    REPOSITORY,
    Account,
    channel,
    needs_namespaces,
    unique,
)

# /opt/ml is in the scripts; test_isolation guards the skip
pytestmark = [needs_namespaces, pytest.mark.one_worker]

PATIENCE_S = 180
HERE = Path(__file__).parents[1] / "support"
SCRIPTS = HERE / "user_scripts"
SHARDS = [[(row % 2, row * part, row) for row in range(10 + part)] for part in (0, 1)]


@pytest.fixture(scope="module")
def account(stub_aws) -> Account:
    return Account(stub_aws.environment)


@pytest.fixture(scope="module")
def prefix(account) -> str:
    """Where in the bucket the data are: a table, and two parts of another."""
    prefix = unique("shapes")
    account.put(f"{prefix}/rows.csv", "1,2\n3,4\n5,6\n")
    for part, rows in enumerate(SHARDS):
        text = "".join(",".join(map(str, row)) + "\n" for row in rows)
        account.put(f"{prefix}/shards/{part}.csv", text)
    return prefix


@pytest.fixture(scope="module")
def jobs(stub_aws, account, prefix) -> dict[str, str]:
    """Shape -> the name of its job, which completed."""
    done = subprocess.run(
        [sys.executable, HERE / "clients" / "shapes.py", BUCKET, prefix, SCRIPTS],
        cwd=REPOSITORY,
        env=stub_aws.environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    shapes = json.loads(done.stdout.splitlines()[-1])
    assert {name: job["status"] for name, job in shapes.items()} == dict.fromkeys(
        shapes, "Completed"
    )
    return {name: job["name"] for name, job in shapes.items()}


def model(account: Account, job: str) -> dict[str, bytes]:
    """Return the files of a job's model, wherever the SDK has put it."""
    uri = account.describe(job)["ModelArtifacts"]["S3ModelArtifacts"]
    account.s3.copy_object(
        Bucket=BUCKET,
        Key=f"output/{job}/output/model.tar.gz",
        CopySource=uri.removeprefix("s3://"),
    )
    return account.unpack(job)


def test_absolute_paths_one_letter_and_a_checkpoint_folder_of_its_own(account, jobs, prefix):
    files = model(account, jobs["absolute"])
    assert json.loads(files["model.json"]) == {"rows": 3, "K": 5, "given": "5", "before": []}
    assert account.keys(f"{prefix}/checkpoints") == [f"{prefix}/checkpoints/epoch-1"]
    (training,) = account.describe(jobs["absolute"])["InputDataConfig"]
    assert training["ChannelName"] == "training"  # what fit("s3://...") makes of one URI


def test_a_shell_script_gets_its_hyperparameters_as_arguments(account, jobs):
    files = model(account, jobs["shell"])
    assert files == {"arguments": b"--words two words!\n", "rows": b"3\n"}


def test_a_package_is_installed_and_its_module_run(account, jobs):
    assert model(account, jobs["package"]) == {"told": b"__main__ trains --deep 3"}


def test_dependencies_are_beside_the_script(account, jobs):
    assert model(account, jobs["dependencies"]) == {"answer": b"42"}


def test_torch_distributed_makes_one_group_of_two_hosts(account, jobs):
    files = model(account, jobs["ddp"])
    expected = {"sum": 3.0, "world": 2, "master": "algo-1", "hosts": ["algo-1", "algo-2"]}
    assert {name: json.loads(content) for name, content in files.items()} == {
        "rank-0.json": expected,
        "rank-1.json": expected,
    }


def test_two_hosts_train_one_xgboost_on_both_shards(account, jobs):
    files = model(account, jobs["rabit"])
    for host, rows in zip(("algo-1", "algo-2"), SHARDS, strict=True):
        counts = json.loads(files[f"{host}.json"])
        assert counts == {"mine": len(rows), "all": sum(map(len, SHARDS))}
    together = np.array(SHARDS[0] + SHARDS[1], dtype=float)
    matrix = xgb.DMatrix(together[:, 1:], label=together[:, 0])
    alone = xgb.train({"tree_method": "hist", "seed": 1}, matrix, 5).predict(matrix)
    joint = xgb.Booster(model_file=bytearray(files["model.json"])).predict(matrix)
    assert joint == pytest.approx(alone, abs=1e-5)


# --- without the SDK ----------------------------------------------------------------------------


def test_a_failure_file_is_the_reason_that_the_caller_reads(account, prefix):
    """The toolkit keeps what a script wrote to /opt/ml/output/failure before it exited."""
    done = account.run(
        files={"train.py": (SCRIPTS / "absolute" / "train.py").read_text(encoding="utf-8")},
        hyperparameters={"fail": "True", "K": "1"},
        InputDataConfig=[channel("training", f"s3://{BUCKET}/{prefix}/rows.csv")],
    )
    assert done["TrainingJobStatus"] == "Failed"
    assert done["FailureReason"] == "AlgorithmError: asked to fail"


def test_without_a_process_group_two_hosts_are_two_trainings(account):
    """SageMaker distributes nothing by itself, whatever the number of instances."""
    script = """
import torch.distributed
tell(ready=torch.distributed.is_initialized(), master=os.environ["MASTER_ADDR"])
(MODEL / os.environ["SM_CURRENT_HOST"]).write_text("its own")
"""
    done = account.run(script, image=PYTORCH, hosts=2)
    name = done["TrainingJobName"]
    assert done["TrainingJobStatus"] == "Completed"
    for host in ("algo-1", "algo-2"):
        assert account.facts(name, host) == {"ready": False, "master": "algo-1"}
    assert sorted(account.unpack(name)) == ["algo-1", "algo-2"]
