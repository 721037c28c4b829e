"""What scripts import from their image beside its framework, and who can import it."""

from __future__ import annotations

import re

import pytest

from tests.support.stub_jobs import (
    BUCKET,
    IMAGE,
    PYTORCH,
    XGBOOST_IMAGE,
    Account,
    needs_namespaces,
    unique,
)


@pytest.fixture(scope="module")
def account(stub_aws) -> Account:
    return Account(stub_aws.environment)


def completed(account: Account, script: str, image: str = XGBOOST_IMAGE, **arguments) -> str:
    """Run a job that must complete, and return its name."""
    request = account.request(script, image=image, **arguments)
    del request["AlgorithmSpecification"]["MetricDefinitions"][:]
    account.sagemaker.create_training_job(**request)
    name = request["TrainingJobName"]
    assert account.wait(name)["TrainingJobStatus"] == "Completed", "\n".join(account.log(name))
    return name


# As AWS's examples train in script mode: abalone, on one host or several.
SCRIPT_MODE = """
from sagemaker_containers import entry_point
from sagemaker_xgboost_container import checkpointing, distributed
from sagemaker_xgboost_container.data_utils import get_dmatrix
import xgboost as xgb

def train(params, dtrain, evals, num_boost_round, model_dir, is_master):
    results = {}
    booster = xgb.train(params, dtrain, num_boost_round, evals=evals, evals_result=results)
    tell(master=is_master, rows=dtrain.num_row(), rmse=results["train"]["rmse"][-1])
    if is_master:
        booster.save_model(Path(model_dir, "xgboost-model.json"))

dtrain = get_dmatrix(os.environ["SM_CHANNEL_TRAIN"], "text/csv")
arguments = dict(params={"nthread": 1}, dtrain=dtrain, evals=[(dtrain, "train")] if dtrain else [],
                 num_boost_round=3, model_dir=os.environ["SM_MODEL_DIR"])
hosts, host = json.loads(os.environ["SM_HOSTS"]), os.environ["SM_CURRENT_HOST"]
if len(hosts) > 1:
    distributed.wait_hostname_resolution(hosts)
    distributed.rabit_run(exec_fun=train, args=arguments, include_in_training=dtrain is not None,
                          hosts=hosts, current_host=host, update_rabit_args=True)
else:
    train(**arguments, is_master=True)
"""


def rows(count: int) -> str:
    return "".join(f"{n % 7},{n % 5},{n % 3}\n" for n in range(count))


def test_a_script_in_script_mode_trains_on_one_host(account) -> None:
    prefix = unique("rows")
    account.put(f"{prefix}/a.csv", rows(50))
    channels = {"train": (f"s3://{BUCKET}/{prefix}", "FullyReplicated")}
    name = completed(account, SCRIPT_MODE, channels=channels)
    assert (account.facts(name)["master"], account.facts(name)["rows"]) == (True, 50)
    assert list(account.unpack(name)) == ["xgboost-model.json"]


@needs_namespaces
def test_a_script_in_script_mode_trains_with_the_hosts_that_have_data(account) -> None:
    prefix = unique("rows")
    account.put(f"{prefix}/a.csv", rows(50))
    account.put(f"{prefix}/b.csv", rows(30))
    channels = {"train": (f"s3://{BUCKET}/{prefix}", "ShardedByS3Key")}
    name = completed(account, SCRIPT_MODE, channels=channels, hosts=3)
    facts = {host: account.facts(name, host) for host in ("algo-1", "algo-2", "algo-3")}
    assert (facts["algo-1"]["master"], facts["algo-2"]["master"]) == (True, False)
    assert facts["algo-1"]["rmse"] == facts["algo-2"]["rmse"]  # one model, of all rows
    assert facts["algo-3"] == {}
    assert any(
        "algo-3 not being used for distributed" in line for line in account.log(name, "algo-3")
    )


GROUP_OF_ONE = """
from sagemaker_xgboost_container.distributed import Rabit, rabit_run
with Rabit(hosts=["algo-1"], current_host="algo-1") as rabit:
    states = rabit.synchronize({"host": rabit.current_host})
done = []
rabit_run(lambda is_master: done.append(is_master), {}, True, ["algo-1"], "algo-1",
          first_port=9200, update_rabit_args=True)
tell(states=states, master=rabit.is_master, rank=rabit.rank, done=done)
try:
    rabit_run(print, {}, False, ["algo-1"], "algo-1", first_port=9300)
except SystemExit as end:
    tell(code=end.code)
"""


def test_a_group_may_be_of_one_host(account) -> None:
    assert account.facts(completed(account, GROUP_OF_ONE)) == {
        "states": [{"host": "algo-1"}],
        "master": True,
        "rank": 0,
        "done": [True],
        "code": 0,
    }


CHECKPOINTS = """
from sagemaker_xgboost_container import checkpointing
import numpy as np, xgboost as xgb
matrix = xgb.DMatrix(np.arange(20.0).reshape(10, 2), label=np.arange(10.0))
arguments = dict(params={"nthread": 1}, dtrain=matrix, num_boost_round=6, evals=[(matrix, "train")])
first = checkpointing.train(arguments, "/opt/ml/checkpoints")
checkpoints = sorted(os.listdir("/opt/ml/checkpoints"))
Path("/opt/ml/checkpoints/xgboost-checkpoint.6").write_text("half written")
arguments["num_boost_round"] = 8
second = checkpointing.train(arguments, "/opt/ml/checkpoints")
tell(checkpoints=checkpoints, rounds=[first.num_boosted_rounds(), second.num_boosted_rounds()],
     loaded=checkpointing.load_checkpoint("/opt/ml/checkpoints"),
     none=checkpointing.load_checkpoint("/opt/ml/nowhere"))
"""


@needs_namespaces
def test_checkpoints_in_script_mode_are_gone_on_from(account) -> None:
    name = completed(account, CHECKPOINTS)
    facts = account.facts(name)
    assert facts["checkpoints"] == [f"xgboost-checkpoint.{n}" for n in range(1, 6)]
    assert facts["rounds"] == [6, 8]
    assert facts["loaded"] == ["/opt/ml/checkpoints/xgboost-checkpoint.7", 8]
    assert facts["none"] == [None, 0]
    lines = [line for line in account.log(name) if "#011train-rmse:" in line]
    assert [re.match(r"\[(\d+)\]", line)[1] for line in lines] == [str(n) for n in range(8)]


DECODE = """
from sagemaker_xgboost_container import encoder as xgb_encoders
from sagemaker_training.encoders import array_to_recordio_protobuf
import numpy as np
def cells(matrix):
    return matrix.get_data().toarray().tolist()
tell(csv=cells(xgb_encoders.csv_to_dmatrix("1,2\\n3,")),
     libsvm=cells(xgb_encoders.libsvm_to_dmatrix(b"0 0:1 1:2")),
     recordio=cells(xgb_encoders.decode(array_to_recordio_protobuf(np.array([[1.0, 2.0]])),
                                        "application/x-recordio-protobuf")),
     lines=xgb_encoders.json_to_jsonlines({"predictions": [1, 2]}).decode())
try:
    xgb_encoders.decode(b"", "image/png")
except Exception as error:
    tell(error=type(error).__name__)
"""


def test_requests_are_decoded(account) -> None:
    assert account.facts(completed(account, DECODE)) == {
        "csv": [[1, 2], [3, 0]],  # what is missing has no entry in a sparse matrix
        "libsvm": [[1, 2]],
        "recordio": [[1, 2]],
        "lines": "1\n2\n",
        "error": "UnsupportedFormatError",
    }


# --- what two images carry ------------------------------------------------------------------------

SERVE = """
import sagemaker_containers
from sagemaker_containers.beta.framework import (
    content_types, encoders, env, modules, transformer, worker
)
from sagemaker_inference import content_types as types, decoder, encoder, errors
import retrying
job = sagemaker_containers.training_env()
answer = worker.Response("1,2", "text/csv", mimetype="text/csv")
tell(host=job.current_host, channels=list(job.channel_input_dirs), same=env.training_env().hosts,
     answer=[answer.get_data(as_text=True), answer.mimetype], csv=content_types.CSV,
     decoded=decoder.decode("1,2", types.CSV).tolist(), encoded=encoder.encode([1, 2], types.JSON))
"""


@pytest.mark.parametrize("image", [IMAGE, XGBOOST_IMAGE], ids=["scikit-learn", "xgboost"])
def test_the_former_toolkit_and_the_inference_toolkit_can_be_imported(account, image) -> None:
    channels = {"train": (account.put(f"{unique('serve')}/a", "1"), "FullyReplicated")}
    assert account.facts(completed(account, SERVE, image, channels=channels)) == {
        "host": "algo-1",
        "channels": ["train"],
        "same": ["algo-1"],
        "answer": ["1,2", "text/csv"],
        "csv": "text/csv",
        "decoded": [1, 2],
        "encoded": "[1, 2]",
    }


@pytest.mark.parametrize(
    ("image", "module"),
    [
        (PYTORCH, "sagemaker_xgboost_container"),
        (PYTORCH, "sagemaker_containers"),
        (IMAGE, "sagemaker_xgboost_container"),
        (XGBOOST_IMAGE, "smdebug"),
    ],
)
def test_what_an_image_does_not_carry_is_missing_with_pythons_own_message(
    account, image, module
) -> None:
    request = account.request(f"import {module}", image=image)
    account.sagemaker.create_training_job(**request)
    job = account.wait(request["TrainingJobName"])
    assert (
        f"ErrorMessage \"ModuleNotFoundError: No module named '{module}'\""
        in (job["FailureReason"])
    )
    assert not [line for line in account.log(job["TrainingJobName"]) if "image carries" in line]


def test_what_an_image_carries_and_this_machine_has_not_is_said(account) -> None:
    name = account.run("import mlio.core", image=IMAGE)["TrainingJobName"]
    assert (
        "stub AWS: the image carries mlio, and the Python that runs this job does not: install it "
        "there, or name it in the job's requirements.txt."
    ) in account.log(name)


def test_the_stubs_own_modules_are_not_the_tests(account) -> None:
    with pytest.raises(ModuleNotFoundError):
        __import__("sagemaker_xgboost_container")


def test_pipes_bring_parquet_to_the_built_in_algorithm(account) -> None:
    import io

    import numpy as np
    import pandas as pd

    prefix = unique("pipes")
    for name in "ab":
        buffer = io.BytesIO()
        pd.DataFrame(np.arange(40.0).reshape(20, 2) % 7, columns=["y", "x"]).to_parquet(buffer)
        account.s3.put_object(Bucket=BUCKET, Key=f"{prefix}/{name}", Body=buffer.getvalue())
    request = account.request(
        image=XGBOOST_IMAGE,
        channels={"train": (f"s3://{BUCKET}/{prefix}", "FullyReplicated")},
        HyperParameters={"num_round": "3", "nthread": "1"},
    )
    request["InputDataConfig"][0] |= {
        "ContentType": "application/x-parquet",
        "InputMode": "Pipe",
    }
    account.sagemaker.create_training_job(**request)
    job = account.wait(request["TrainingJobName"])
    assert job["TrainingJobStatus"] == "Completed", account.log(request["TrainingJobName"])
    assert "xgboost-model" in account.unpack(request["TrainingJobName"])
