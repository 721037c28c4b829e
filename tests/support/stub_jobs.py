"""What the tests of the stub AWS share: clients, training jobs from a few lines of script, waiting.

Every wait has a deadline, so that nothing hangs, and none guesses at times: where a test needs a
job at a certain point of its script, the script meets the test there (`Meeting`).
"""

from __future__ import annotations

import contextlib
import functools
import io
import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import boto3
import psutil
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.validate import ParamValidator

from lessons.on_stub import OPTIONS, ROLE_NAME
from stub_aws.instance import NO_NAMESPACES, namespaces_available
from stub_aws.logs import LOG_GROUP as LOG_GROUP
from stub_aws.validation import validation_message

REPOSITORY = Path(__file__).resolve().parents[2]
REGISTRY = "683313688378.dkr.ecr.us-east-1.amazonaws.com"
XGBOOST_IMAGE = f"{REGISTRY}/sagemaker-xgboost:3.2-0"
# The image of the tests' own scripts: one whose jobs may define metrics.
IMAGE = f"{REGISTRY}/sagemaker-scikit-learn:1.9-0-cpu-py3"
PYTORCH = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch:2.13-cpu-amzn2023-sagemaker"
BUCKET = "sagemaker-workshop-123456789012-us-east-1"
OUR_TAG = {"Key": "workshop", "Value": "sagemaker-training"}  # so it is the workshop's
ROLE_ARN = f"arn:aws:iam::123456789012:role/{ROLE_NAME}"
FINAL = ("Completed", "Failed", "Stopped")
PATIENCE_S = 60  # how long a wait may take before it is an error
REGION = "us-east-1"
ONCE = Config(retries={"mode": "standard", "total_max_attempts": 1}, proxies={})

_serial = itertools.count()

NONE_HERE = "the kernel gives no user and mount namespaces here (see test_isolation's guard)"
needs_namespaces = pytest.mark.skipif(not namespaces_available(), reason=NONE_HERE)


def unique(stem: str) -> str:
    """Return a name that no other test uses."""
    return f"{stem}-{os.getpid()}-{next(_serial)}"


def eventually(what: str, probe: Callable[[], Any]) -> Any:
    """Return the first true answer of `probe`, which is asked again and again.

    Raises:
        TimeoutError: `what` did not come.
    """
    deadline = time.monotonic() + PATIENCE_S
    while not (answer := probe()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not come within {PATIENCE_S} s")
        time.sleep(0.02)
    return answer


class Meeting:
    """A point in a job's script where it waits for the test, over a loopback socket.

    In the script: `meet()` (see `PRELUDE`) comes here and goes on when the test says so.
    """

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.settimeout(PATIENCE_S)
        self.port = self._server.getsockname()[1]
        self._guests: list[socket.socket] = []

    def __enter__(self) -> Meeting:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
        self._server.close()

    def wait(self, count: int = 1) -> None:
        """Until `count` more scripts are here.

        Raises:
            TimeoutError: They did not come.
        """
        for _ in range(count):
            self._guests.append(self._server.accept()[0])

    def release(self) -> None:
        """Let every script that is here go on."""
        for guest in self._guests:
            guest.close()
        self._guests.clear()


# What every script of these tests begins with. Standard library only, so that jobs are quick.
PRELUDE = """\
import json, os, signal, socket, subprocess, sys, time
from pathlib import Path

MODEL, OUTPUT = Path(os.environ["SM_MODEL_DIR"]), Path(os.environ["SM_OUTPUT_DATA_DIR"])

def meet():
    with socket.create_connection(("127.0.0.1", int(os.environ["MEETING_PORT"]))) as test:
        test.recv(1)

def tell(**facts):
    print("facts=" + json.dumps(facts, sort_keys=True), flush=True)
"""


class Account:
    """One stub AWS seen through boto3, as a client program with this environment would see it.

    Every SageMaker answer is checked against botocore's model of it, whatever the test is about.
    """

    def __init__(self, environment: Mapping[str, str], role_arn: str = ROLE_ARN) -> None:
        self.environment = environment
        self.role_arn = role_arn
        self.sagemaker = self.client("sagemaker")
        self.s3 = self.client("s3")
        self.logs = self.client("logs")
        self.cloudwatch = self.client("cloudwatch")
        with contextlib.suppress(self.s3.exceptions.BucketAlreadyOwnedByYou):
            self.s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"Tags": [OUR_TAG]})

    def client(self, service: str, **changes: Any) -> Any:
        """Return a boto3 client that tries once and obeys no proxy."""
        client = make_client(self.environment, service, **changes)
        if service == "sagemaker":
            client.meta.events.register("after-call.sagemaker", fits_its_shape)
        return client

    # ---- Jobs ----------------------------------------------------------------------------------

    def upload(self, files: Mapping[str, str | bytes]) -> str:
        """Put a `sourcedir.tar.gz` of `files` into S3 and return its URI."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as tar:
            for name, content in files.items():
                data = content.encode() if isinstance(content, str) else content
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
        key = f"code/{unique('source')}/sourcedir.tar.gz"
        self.s3.put_object(Bucket=BUCKET, Key=key, Body=packed.getvalue())
        return f"s3://{BUCKET}/{key}"

    def request(
        self,
        script: str = "",
        *,
        name: str | None = None,
        files: Mapping[str, str | bytes] | None = None,
        program: str = "train.py",
        image: str = IMAGE,
        meeting: Meeting | None = None,
        hosts: int = 1,
        channels: Mapping[str, tuple[str, str]] | None = None,
        metrics: Mapping[str, str] | None = None,
        max_run: int = 300,
        hyperparameters: Mapping[str, str] | None = None,
        **changes: Any,
    ) -> dict[str, Any]:
        """Return a CreateTrainingJob request.

        Args:
            script: The lines of `train.py` after `PRELUDE`.
            files: The source folder, when it is not that one script.
            program: The entry point's file name.
            meeting: Where the script's `meet()` leads.
            channels: Name -> (S3 URI, distribution type).
            metrics: Name -> regular expression.
            max_run: Seconds.
            changes: Members of the request to set; None takes one away.
        """
        source = self.upload({program: PRELUDE + script} if files is None else files)
        request: dict[str, Any] = {
            "TrainingJobName": name or unique("job"),
            "RoleArn": self.role_arn,
            "AlgorithmSpecification": {
                "TrainingImage": image,
                "TrainingInputMode": "File",
                "MetricDefinitions": [
                    {"Name": metric, "Regex": regex} for metric, regex in (metrics or {}).items()
                ],
            },
            "InputDataConfig": [channel(name, *where) for name, where in (channels or {}).items()]
            or None,
            "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/output"},
            "ResourceConfig": {
                "InstanceType": "ml.m5.large",
                "InstanceCount": hosts,
                "VolumeSizeInGB": 1,
            },
            "StoppingCondition": {"MaxRuntimeInSeconds": max_run},
            "HyperParameters": {
                "sagemaker_program": json.dumps(program),
                "sagemaker_submit_directory": json.dumps(source),
                **(hyperparameters or {}),
            },
            "Environment": {"MEETING_PORT": str(meeting.port)} if meeting else {},
        }
        request |= changes
        return {key: value for key, value in request.items() if value not in (None, [])}

    def start(self, script: str = "", **arguments: Any) -> str:
        """Ask for a job (arguments as for `request`) and return its name."""
        request = self.request(script, **arguments)
        self.sagemaker.create_training_job(**request)
        return request["TrainingJobName"]

    def describe(self, name: str) -> dict[str, Any]:
        answer = self.sagemaker.describe_training_job(TrainingJobName=name)
        del answer["ResponseMetadata"]
        return answer

    def wait(self, name: str, until: tuple[str, ...] = FINAL) -> dict[str, Any]:
        """Return the job's description once its status is one of `until`."""

        def there() -> dict[str, Any] | None:
            description = self.describe(name)
            return description if description["TrainingJobStatus"] in until else None

        return eventually(f"one of {until} for the job {name}", there)

    def run(self, script: str = "", **arguments: Any) -> dict[str, Any]:
        """Start a job, wait for its end and return its description."""
        return self.wait(self.start(script, **arguments))

    # ---- What jobs leave -----------------------------------------------------------------------

    def streams(self, name: str) -> list[str]:
        """Return the names of a job's log streams."""
        answer = self.logs.describe_log_streams(
            logGroupName=LOG_GROUP, logStreamNamePrefix=f"{name}/"
        )
        return [stream["logStreamName"] for stream in answer["logStreams"]]

    def log(self, name: str, host: str = "algo-1") -> list[str]:
        """Return the lines that one host has written so far."""
        lines: list[str] = []
        for stream in self.streams(name):
            if not stream.startswith(f"{name}/{host}-"):
                continue
            where = {"logGroupName": LOG_GROUP, "logStreamName": stream, "startFromHead": True}
            token = None
            while True:
                page = self.logs.get_log_events(**where, **({"nextToken": token} if token else {}))
                lines += [event["message"] for event in page["events"]]
                if page["nextForwardToken"] == token or not page["events"]:
                    break
                token = page["nextForwardToken"]
        return lines

    def facts(self, name: str, host: str = "algo-1") -> dict[str, Any]:
        """Return what a host's script printed with `tell`; later values replace earlier ones."""
        facts: dict[str, Any] = {}
        for line in self.log(name, host):
            if line.startswith("facts="):
                facts |= json.loads(line.removeprefix("facts="))
        return facts

    def put(self, key: str, content: str = "") -> str:
        """Store an object and return its URI."""
        self.s3.put_object(Bucket=BUCKET, Key=key, Body=content.encode())
        return f"s3://{BUCKET}/{key}"

    def keys(self, prefix: str) -> list[str]:
        answer = self.s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix)
        return [entry["Key"] for entry in answer.get("Contents", [])]

    def unpack(self, name: str, archive: str = "model.tar.gz") -> dict[str, bytes]:
        """Return the files of a job's archive in S3: name -> content."""
        key = f"output/{name}/output/{archive}"
        body = self.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        with tarfile.open(fileobj=io.BytesIO(body), mode="r:gz") as tar:
            return {
                member.name: tar.extractfile(member).read() for member in tar if member.isfile()
            }


def make_client(environment: Mapping[str, str], service: str, **changes: Any) -> Any:
    """Return a boto3 client with the credentials of `environment`; `changes` go over its
    arguments."""
    arguments: dict[str, Any] = {
        "region_name": REGION,
        "endpoint_url": environment["AWS_ENDPOINT_URL"],
        "aws_access_key_id": environment["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": environment["AWS_SECRET_ACCESS_KEY"],
        "aws_session_token": environment.get("AWS_SESSION_TOKEN"),
        "config": ONCE,
    }
    return boto3.session.Session().client(service, **arguments | changes)


def channel(name: str, uri: str, distribution: str = "FullyReplicated") -> dict[str, Any]:
    """Return an entry of InputDataConfig."""
    source = {"S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": distribution}
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}}


def refusal(call: Callable[..., Any], *arguments: Any, **keywords: Any) -> tuple[str, str]:
    """Return the code and the message of the error with which AWS refuses a call."""
    with pytest.raises(ClientError) as caught:
        call(*arguments, **keywords)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


# ---- Answers against botocore's model ----------------------------------------------------------


# The model requires it, but the real service leaves it out of a job that has no artifact (yet).
ABSENT_AT_FIRST = {"DescribeTrainingJob": {"ModelArtifacts": {"S3ModelArtifacts": "s3://b/k"}}}


def fits_its_shape(http_response: Any, parsed: dict[str, Any], model: Any, **_: Any) -> None:
    """botocore's event after each call: fail when an answer is not what its model says.

    Raises:
        AssertionError: A member that the model does not know, lacks or types otherwise, or a value
            that breaks a pattern, an enum or a bound.
    """
    if http_response.status_code >= 300:
        return
    shape, raw = model.output_shape, json.loads(http_response.content or b"{}")
    if shape is None:
        assert raw == {}, f"{model.name} answers nothing, not {raw}"
        return
    strange = unknown_members(raw, shape, model.name)
    assert not strange, strange
    fillers = ABSENT_AT_FIRST.get(model.name, {})
    broken = validation_message(fillers | raw, shape)
    assert broken is None, broken
    answer = {key: value for key, value in parsed.items() if key != "ResponseMetadata"}
    report = ParamValidator().validate(fillers | answer, shape)
    assert not report.has_errors(), report.generate_report()


def unknown_members(raw: Any, shape: Any, path: str) -> list[str]:
    """Return the paths in `raw` that are not in `shape`, and those whose value is null."""
    if raw is None:
        return [f"{path} is null"]
    if shape.type_name == "structure":
        strange = [f"{path}.{name}" for name in raw if name not in shape.members]
        known = {name: raw[name] for name in raw if name in shape.members}
        inner = (
            unknown_members(value, shape.members[name], f"{path}.{name}")
            for name, value in known.items()
        )
        return strange + list(itertools.chain.from_iterable(inner))
    if shape.type_name == "list":
        inner = (unknown_members(item, shape.member, f"{path}[]") for item in raw)
        return list(itertools.chain.from_iterable(inner))
    return []


# ---- A stub in a process of its own ------------------------------------------------------------

# What runs on that stub: says which environment it got, and ends when its standard input does.
WAITER = (
    "import json, os, sys; print(json.dumps(dict(os.environ)), flush=True); sys.stdin.read(); "
    "sys.exit(int(os.environ.get('WAITER_CODE', '0')))"
)


def heed_signals() -> None:
    """In a new process: heed Ctrl-C and a closing terminal, whatever the tests ignore."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


class StubProcess:
    """`python -m stub_aws` with a command that waits, for tests from outside.

    Args:
        checkout: The folder from which it is started, with the stub in it.
        python: Its Python.
        within: A command that runs the stub, such as `ORDINARY`.
        variables: Of its environment; None takes one away.

    Attributes:
        process: The stub's.
        environment: What the command on the stub sees.
    """

    def __init__(
        self,
        *,
        namespaces: bool = True,
        checkout: Path = REPOSITORY,
        python: str = sys.executable,
        within: Sequence[str] = (),
        **variables: str | None,
    ) -> None:
        self._namespaces = namespaces
        self._checkout = checkout
        self._command = [*within, python, *STUB[1:], sys.executable, "-c", WAITER]
        self._variables = variables

    def __enter__(self) -> StubProcess:
        # Its own place for temporary files: a stub that a test kills leaves them behind.
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        environment = os.environ | {"TMPDIR": self._folder.name} | self._variables
        if not self._namespaces:
            environment[NO_NAMESPACES] = "1"
        self.process = subprocess.Popen(
            self._command,
            cwd=self._checkout / "scripts",  # whose stub_aws comes before any that is installed
            env={name: value for name, value in environment.items() if value is not None},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=heed_signals,
        )
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the stub did not start: {self.process.stderr.read()}")
        self.environment: dict[str, str] = json.loads(line)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.end()
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            self._folder.cleanup()

    @functools.cached_property
    def account(self) -> Account:
        return Account(self.environment)

    def end(self) -> tuple[int, str]:
        """Let the command end, and return the stub's exit code and its stderr."""
        if not self.process.stdin.closed:
            self.process.stdin.close()
        code = self.process.wait(PATIENCE_S)
        stderr = "" if self.process.stderr.closed else self.process.stderr.read()
        self.process.stdout.close()
        self.process.stderr.close()
        return code, stderr


def without_console(stderr: str) -> str:
    """Return the stub's stderr without the one line with the address of its console."""
    rest, lines = re.subn(
        r"^stub AWS: its console is at http://\S+\n", "", stderr, flags=re.MULTILINE
    )
    assert lines == 1
    return rest


STUB = [sys.executable, "-m", "stub_aws", *OPTIONS]

# Runs a command as an ordinary user would who has no entry in the list of users: root, where it is
# root who tests, but by another number and without root's power over files.
ORDINARY = ("unshare", "--user", "--map-user=54321", "--map-group=54321")


def processes_with(mark: str) -> list[psutil.Process]:
    """Return the processes of this machine whose command line holds `mark`.

    One that has only just been started may not have a command line yet: ask again.
    """

    def marked(process: psutil.Process) -> bool:
        try:
            alive = process.status() != psutil.STATUS_ZOMBIE
            return alive and any(mark in argument for argument in process.cmdline())
        except psutil.Error:
            return False  # it ended meanwhile

    return [process for process in psutil.process_iter() if marked(process)]
