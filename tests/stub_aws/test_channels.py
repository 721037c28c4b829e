"""How a job's data arrives: input modes, sharding, manifests, odd prefixes and keys, isolation."""

import gzip
import json

import pytest

from tests.support.stub_jobs import BUCKET, Account, channel, needs_namespaces, unique

# Tells what a host finds in its channels: file name -> content.
TELL_FILES = """
root = Path(os.environ["SM_INPUT_DIR"], "data")
tell(**{
    c: {str(p.relative_to(root / c)): p.read_text() for p in sorted((root / c).rglob("*"))
        if p.is_file()}
    for c in json.loads(os.environ["SM_CHANNELS"])
})
"""


@pytest.fixture(scope="module")
def account(stub_aws) -> Account:
    return Account(stub_aws.environment)


@pytest.fixture(scope="module")
def three(account) -> str:
    """Return a prefix with three objects, one of them in a folder below."""
    prefix = unique("three")
    for name in ("a.csv", "b.csv", "deeper/c.csv"):
        account.put(f"{prefix}/{name}", f"content of {name}")
    return f"s3://{BUCKET}/{prefix}"


ALL_THREE = {name: f"content of {name}" for name in ("a.csv", "b.csv", "deeper/c.csv")}


def entry(name: str, uri: str, **changes: str) -> dict:
    return channel(name, uri) | changes


def test_prefixes_of_every_form_name_their_files_as_sagemaker_does(account, three):
    https = three.replace(f"s3://{BUCKET}", f"https://s3-us-east-1.amazonaws.com/{BUCKET}")
    prefix = unique("tr")
    account.put(f"{prefix}ain.csv", "beginning of a name")
    entries = {
        "folder": three,
        "slash": three + "/",
        "object": three + "/a.csv",
        "https": https,
        "beginning": f"s3://{BUCKET}/{prefix}",
    }
    job = account.run(TELL_FILES, InputDataConfig=[entry(*item) for item in entries.items()])
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    assert account.facts(job["TrainingJobName"]) == {
        "folder": ALL_THREE,
        "slash": ALL_THREE,
        "https": ALL_THREE,
        "object": {"a.csv": "content of a.csv"},
        "beginning": {f"{prefix}ain.csv": "beginning of a name"},
    }


def test_a_manifest_names_its_objects(account, three):
    content = json.dumps([{"prefix": three + "/"}, "deeper/c.csv", "a.csv"])
    uri = account.put(f"{unique('manifest')}.json", content)
    source = channel("train", uri)
    source["DataSource"]["S3DataSource"]["S3DataType"] = "ManifestFile"
    job = account.run(TELL_FILES, InputDataConfig=[source])
    files = account.facts(job["TrainingJobName"])["train"]
    assert files == {name: ALL_THREE[name] for name in ("a.csv", "deeper/c.csv")}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("not json", "Invalid manifest"),
        (f'[{{"prefix": "s3://{BUCKET}/nowhere/"}}, "missing.csv"]', "Unable to download object"),
        (f'[{{"prefix": "s3://{BUCKET}/up/"}}, "../../../etc/passwd"]', "sub-sequence '..'"),
    ],
    ids=["no JSON", "missing object", "path outside the channel"],
)
def test_a_bad_manifest_fails_the_job_before_it_trains(account, content, reason):
    source = channel("train", account.put(f"{unique('manifest')}.json", content))
    source["DataSource"]["S3DataSource"]["S3DataType"] = "ManifestFile"
    job = account.run("tell(trained=True)", InputDataConfig=[source])
    assert job["TrainingJobStatus"] == "Failed"
    assert job["FailureReason"].startswith("ClientError: Data download failed:")
    assert reason in job["FailureReason"]
    assert "Training" not in [entry["Status"] for entry in job["SecondaryStatusTransitions"]]


def test_a_key_with_two_slashes_is_refused_in_sagemakers_words(account):
    prefix = unique("slashes")
    account.put(f"{prefix}//a.csv", "1")
    job = account.run(channels={"train": (f"s3://{BUCKET}/{prefix}", "FullyReplicated")})
    assert "has an illegal char sub-sequence '//' in it" in job["FailureReason"]


@needs_namespaces
def test_fast_file_mode_is_the_same_path_and_read_only(account, three):
    script = TELL_FILES + (
        """
for name in ("a.csv", "new.csv"):
    try:
        Path(os.environ["SM_CHANNEL_TRAIN"], name).write_text("changed")
    except OSError as error:
        tell(**{name: error.strerror})
"""
    )
    job = account.run(script, InputDataConfig=[entry("train", three, InputMode="FastFile")])
    facts = account.facts(job["TrainingJobName"])
    assert facts["train"] == ALL_THREE
    assert facts["a.csv"] == facts["new.csv"] == "Read-only file system"


READ_PIPES = """
def read(epoch):
    with open(Path(os.environ["SM_INPUT_DIR"], "data", f"train_{epoch}"), "rb") as pipe:
        return pipe.read()
epochs = [read(epoch).decode() for epoch in range(3)]
tell(epochs=epochs, config=json.loads(os.environ["SM_INPUT_DATA_CONFIG"]))
"""


def test_pipe_mode_gives_every_epoch_the_whole_channel(account, three):
    source = entry("train", three, InputMode="Pipe", ContentType="text/csv")
    job = account.run(READ_PIPES, InputDataConfig=[source])
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    facts = account.facts(job["TrainingJobName"])
    assert facts["epochs"] == ["".join(ALL_THREE.values())] * 3
    assert facts["config"]["train"] == {
        "TrainingInputMode": "Pipe",
        "S3DistributionType": "FullyReplicated",
        "RecordWrapperType": "None",
        "ContentType": "text/csv",
    }


def test_pipe_mode_unpacks_gzip(account):
    prefix = unique("gzip")
    for name, text in (("1", "first "), ("2", "second")):
        account.s3.put_object(
            Bucket=BUCKET, Key=f"{prefix}/{name}", Body=gzip.compress(text.encode())
        )
    source = entry("train", f"s3://{BUCKET}/{prefix}", InputMode="Pipe", CompressionType="Gzip")
    job = account.run(READ_PIPES, InputDataConfig=[source])
    assert account.facts(job["TrainingJobName"])["epochs"] == ["first second"] * 3


def test_a_pipe_that_nobody_reads_to_its_end_holds_up_nothing(account, three):
    script = """
with open(Path(os.environ["SM_INPUT_DIR"], "data", "train_0"), "rb") as pipe:
    tell(first=pipe.read(7).decode())
"""
    job = account.run(script, InputDataConfig=[entry("train", three, InputMode="Pipe")])
    assert job["TrainingJobStatus"] == "Completed"
    assert account.facts(job["TrainingJobName"]) == {"first": "content"}


@needs_namespaces
def test_sharded_pipes_share_the_objects_out(account, three):
    source = channel("train", three, "ShardedByS3Key") | {"InputMode": "Pipe"}
    job = account.run(READ_PIPES, InputDataConfig=[source], hosts=2)
    name = job["TrainingJobName"]
    assert (
        account.facts(name, "algo-1")["epochs"][0] == ALL_THREE["a.csv"] + ALL_THREE["deeper/c.csv"]
    )
    assert account.facts(name, "algo-2")["epochs"][0] == ALL_THREE["b.csv"]


@needs_namespaces
def test_more_hosts_than_objects_leave_a_host_with_an_empty_folder(account, three):
    source = channel("train", three + "/a.csv", "ShardedByS3Key")
    job = account.run(TELL_FILES, InputDataConfig=[source], hosts=2)
    name = job["TrainingJobName"]
    assert account.facts(name, "algo-1")["train"] == {"a.csv": "content of a.csv"}
    assert account.facts(name, "algo-2")["train"] == {}


@needs_namespaces
def test_network_isolation_leaves_no_way_out_and_no_credentials(account):
    # As the SDK does it: the code is a channel, since the container cannot fetch it from S3.
    script = """
try:
    socket.create_connection(("127.0.0.1", int(os.environ["STUB_PORT"])), timeout=5)
    tell(reached=True)
except OSError as error:
    tell(reached=False)
tell(keys=[name for name in os.environ if name.startswith("AWS_") and "KEY" in name])
"""
    request = account.request(script)
    code = json.loads(request["HyperParameters"]["sagemaker_submit_directory"])
    inside = "/opt/ml/input/data/code/sourcedir.tar.gz"
    request["HyperParameters"]["sagemaker_submit_directory"] = json.dumps(inside)
    port = account.environment["AWS_ENDPOINT_URL"].rpartition(":")[2]
    request |= {
        "EnableNetworkIsolation": True,
        "InputDataConfig": [channel("code", code)],
        "Environment": {"STUB_PORT": port},
    }
    account.sagemaker.create_training_job(**request)
    job = account.wait(request["TrainingJobName"])
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    assert job["EnableNetworkIsolation"] is True
    assert account.facts(request["TrainingJobName"]) == {"reached": False, "keys": []}


@needs_namespaces
def test_a_job_may_bring_its_own_entrypoint(account):
    specification = {
        "TrainingImage": "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:3.2-0",
        "TrainingInputMode": "File",
        "ContainerEntrypoint": ["/bin/sh", "-c"],
        "ContainerArguments": ['echo "$0 $TRAINING_JOB_NAME" > /opt/ml/model/said', "hello"],
    }
    job = account.run(AlgorithmSpecification=specification, HyperParameters=None)
    name = job["TrainingJobName"]
    assert account.unpack(name) == {"said": f"hello {name}\n".encode()}
