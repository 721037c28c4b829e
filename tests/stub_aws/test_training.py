"""Training jobs on the stub AWS as a boto3 client sees them: they run, and nothing is made up."""

import json
import re
import threading
from collections import Counter
from datetime import datetime, timedelta, timezone
from itertools import pairwise

import pytest
from botocore.exceptions import ClientError

from stub_aws import run
from stub_aws.roles import create_role
from tests.support.stub_jobs import (
    BUCKET,
    IMAGE,
    LOG_GROUP,
    PATIENCE_S,
    PRELUDE,
    PYTORCH,
    Account,
    Meeting,
    eventually,
    processes_with,
    refusal,
    unique,
)

MILLISECOND = timedelta(milliseconds=1)
ALL_PERMISSIONS = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
}


@pytest.fixture(scope="module")
def account(stub_aws):
    return Account(stub_aws.environment, stub_aws.role_arn)


@pytest.fixture(scope="module")
def administrator(stub_aws):
    """Return the same account seen by someone who may do everything; jobs keep the shipped role."""
    may_all = create_role(unique("administrator"), ALL_PERMISSIONS)
    return Account(stub_aws.environment_of(may_all), stub_aws.role_arn)


def steps(description):
    return [entry["Status"] for entry in description["SecondaryStatusTransitions"]]


def step(description, status):
    (entry,) = [e for e in description["SecondaryStatusTransitions"] if e["Status"] == status]
    return entry


def moment(seconds):
    return datetime.fromtimestamp(seconds, timezone.utc)


# --- a job that completes -----------------------------------------------------------------------

COMPLETES = """
began = time.time()
time.sleep(0.7)  # so that one second of training cannot be a default
print("tab\\there")
for value in (0.5, 0.25, 0.125):
    print(f"valid:loss={value};")
print("valid:loss=none;")
print("precision 1e-3 and precision 2E-3")
(MODEL / "weights.bin").write_bytes(bytes(range(256)))
(MODEL / "deep" / "er").mkdir(parents=True)
(MODEL / "deep" / "er" / "empty").touch()
(OUTPUT / "report.txt").write_text("fine")
tell(
    began=began,
    argv=sys.argv[1:],
    sm={name: value for name, value in os.environ.items() if name.startswith("SM_")},
    job={name: os.environ.get(name) for name in ("TRAINING_JOB_NAME", "TRAINING_JOB_ARN", "MINE")},
    config={p.name: json.loads(p.read_text())
            for p in Path(os.environ["SM_INPUT_CONFIG_DIR"]).iterdir()},
    train={str(p.relative_to(os.environ["SM_CHANNEL_TRAIN"])): p.read_text()
           for p in Path(os.environ["SM_CHANNEL_TRAIN"]).rglob("*") if p.is_file()},
)
tell(ended=time.time())
"""


@pytest.fixture(scope="module")
def completed(account):
    """Return a finished job: its description, and what its script told."""
    prefix = unique("channel")
    for key in ("b.csv", "a/a.csv", "a/"):
        account.put(f"{prefix}/{key}", "" if key == "a/" else key)
    description = account.run(
        COMPLETES,
        channels={"train": (f"s3://{BUCKET}/{prefix}/", "FullyReplicated")},
        metrics={"valid:loss": r"valid:loss=(\S+?);", "precision": r"precision (\S+)"},
        hyperparameters={"max_depth": "5", "K": "7", "label": json.dumps("a b!"), "raw": "x y"},
        Environment={"MINE": "set by the request"},
        Tags=[{"Key": "lesson", "Value": "03"}],
    )
    assert description["TrainingJobStatus"] == "Completed", description
    return description, account.facts(description["TrainingJobName"])


def test_a_completed_job_went_through_every_status_in_order(completed):
    description, _ = completed
    assert steps(description) == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    assert description["SecondaryStatus"] == "Completed"
    messages = [entry["StatusMessage"] for entry in description["SecondaryStatusTransitions"]]
    assert messages == [
        "Preparing the instances for training",
        "Downloading input data",
        "Training image download completed. Training in progress.",
        "Uploading generated training model",
        "Training job completed",
    ]


def test_its_times_do_not_overlap_and_leave_no_gap(completed):
    description, _ = completed
    transitions = description["SecondaryStatusTransitions"]
    assert description["CreationTime"] <= transitions[0]["StartTime"]
    for before, after in pairwise(transitions):
        assert before["StartTime"] <= before["EndTime"] == after["StartTime"]
    assert transitions[-1]["StartTime"] == transitions[-1]["EndTime"]
    assert description["LastModifiedTime"] == transitions[-1]["EndTime"]


def test_its_times_are_those_of_the_script(completed):
    description, facts = completed
    training = step(description, "Training")
    assert training["StartTime"] <= moment(facts["began"])
    assert moment(facts["ended"]) - MILLISECOND <= training["EndTime"]


def test_training_time_is_what_was_measured(completed):
    description, _ = completed
    start, end = description["TrainingStartTime"], description["TrainingEndTime"]
    assert start == step(description, "Downloading")["StartTime"]
    assert end == step(description, "Completed")["StartTime"]
    assert (end - start).total_seconds() >= 0.7
    assert description["TrainingTimeInSeconds"] == max(1, round((end - start).total_seconds()))
    assert description["BillableTimeInSeconds"] == description["TrainingTimeInSeconds"]


def test_its_artifacts_are_in_s3_and_hold_what_the_script_wrote(account, completed):
    description, _ = completed
    name = description["TrainingJobName"]
    assert description["ModelArtifacts"] == {
        "S3ModelArtifacts": f"s3://{BUCKET}/output/{name}/output/model.tar.gz"
    }
    assert account.unpack(name) == {"weights.bin": bytes(range(256)), "deep/er/empty": b""}
    assert account.unpack(name, "output.tar.gz") == {"report.txt": b"fine"}
    assert account.keys(f"output/{name}/") == [
        f"output/{name}/output/model.tar.gz",
        f"output/{name}/output/output.tar.gz",
    ]


def test_its_log_is_one_stream_named_for_the_job_and_the_host(account, completed):
    description, facts = completed
    name = description["TrainingJobName"]
    (stream,) = account.streams(name)
    match = re.fullmatch(re.escape(name) + r"/algo-1-(\d{13})", stream)
    assert match, stream
    training = step(description, "Training")
    assert training["StartTime"] <= moment(int(match[1]) / 1000) <= moment(facts["began"])
    assert "tab#011here" in account.log(name)


def test_metrics_are_the_numbers_that_the_definitions_find_in_the_log(account, completed):
    description, _ = completed
    final = {m["MetricName"]: m for m in description["FinalMetricDataList"]}
    assert {name: metric["Value"] for name, metric in final.items()} == pytest.approx(
        {"valid:loss": 0.125, "precision": 0.002}
    )
    training = step(description, "Training")
    for metric in final.values():
        assert training["StartTime"] <= metric["Timestamp"] <= training["EndTime"]
    statistics = account.cloudwatch.get_metric_statistics(
        Namespace=LOG_GROUP,
        MetricName="valid:loss",
        Dimensions=[{"Name": "TrainingJobName", "Value": description["TrainingJobName"]}],
        StartTime=description["CreationTime"] - timedelta(minutes=1),
        EndTime=description["LastModifiedTime"] + timedelta(minutes=1),
        Period=300,
        Statistics=["SampleCount", "Sum"],
    )
    points = statistics["Datapoints"]
    assert sum(point["SampleCount"] for point in points) == 3
    assert sum(point["Sum"] for point in points) == pytest.approx(0.875)


def test_the_script_gets_its_hyperparameters_channel_and_variables(completed):
    description, facts = completed
    name = description["TrainingJobName"]
    assert Counter(facts["argv"]) == Counter(
        ["-K", "7", "--label", "a b!", "--max_depth", "5", "--raw", "x y"]
    )
    assert facts["train"] == {"b.csv": "b.csv", "a/a.csv": "a/a.csv"}
    sm = facts["sm"]
    assert json.loads(sm["SM_CHANNELS"]) == ["train"]
    assert json.loads(sm["SM_HOSTS"]) == ["algo-1"]
    assert (sm["SM_CURRENT_HOST"], sm["SM_NUM_GPUS"]) == ("algo-1", "0")
    assert int(sm["SM_NUM_CPUS"]) >= 1
    assert (sm["SM_HP_MAX_DEPTH"], sm["SM_HP_LABEL"]) == ("5", "a b!")
    assert {"SM_MODEL_DIR", "SM_OUTPUT_DATA_DIR", "SM_HPS", "SM_TRAINING_ENV"} <= set(sm)
    assert facts["job"] == {
        "TRAINING_JOB_NAME": name,
        "TRAINING_JOB_ARN": description["TrainingJobArn"],
        "MINE": "set by the request",
    }


def test_the_configuration_files_are_those_of_a_real_job(completed):
    _, facts = completed
    config = facts["config"]
    assert config["hyperparameters.json"]["max_depth"] == "5"
    assert config["inputdataconfig.json"] == {
        "train": {
            "TrainingInputMode": "File",
            "S3DistributionType": "FullyReplicated",
            "RecordWrapperType": "None",
        }
    }
    resources = config["resourceconfig.json"]
    assert (resources["current_host"], resources["hosts"]) == ("algo-1", ["algo-1"])
    assert resources["current_instance_type"] == "ml.m5.large"


# --- a job while it runs ------------------------------------------------------------------------


def test_a_running_job_has_a_log_and_nothing_that_only_the_end_can_give(account):
    with Meeting() as meeting:
        name = account.start(
            """
print("loss=3;\\nbefore the meeting", flush=True)
(MODEL / "weights").write_text("early")
meet()
(MODEL / "weights").write_text("late")
sys.stdout.write("no line end")
""",
            meeting=meeting,
            metrics={"loss": "loss=([0-9]+);"},
        )
        meeting.wait()
        eventually("the log line", lambda: "before the meeting" in account.log(name))
        running = account.describe(name)
        assert running["TrainingJobStatus"] == "InProgress"
        assert steps(running) == ["Starting", "Downloading", "Training"]
        assert "EndTime" not in running["SecondaryStatusTransitions"][-1]
        assert not {
            "ModelArtifacts",
            "TrainingEndTime",
            "TrainingTimeInSeconds",
            "BillableTimeInSeconds",
            "FinalMetricDataList",
            "FailureReason",
        } & set(running)
        assert account.keys(f"output/{name}/") == []
        listed = account.sagemaker.list_training_jobs(NameContains=name, StatusEquals="InProgress")
        assert [job["TrainingJobName"] for job in listed["TrainingJobSummaries"]] == [name]
        assert "TrainingEndTime" not in listed["TrainingJobSummaries"][0]
        released = datetime.now(timezone.utc)
        meeting.release()
    ended = account.wait(name)
    assert ended["TrainingJobStatus"] == "Completed"
    assert ended["TrainingEndTime"] >= released - MILLISECOND
    assert account.unpack(name) == {"weights": b"late"}
    assert any(line.startswith("no line end") for line in account.log(name))
    assert ended["FinalMetricDataList"][0]["Value"] == 3


def test_a_job_that_writes_nothing_has_no_artifact(account):
    description = account.run("print('nothing to keep')")
    assert description["TrainingJobStatus"] == "Completed"
    assert not {"ModelArtifacts", "FinalMetricDataList", "FailureReason"} & set(description)
    assert account.keys(f"output/{description['TrainingJobName']}/") == []


# --- scripts that fail --------------------------------------------------------------------------


def test_a_failing_script_fails_the_job_with_its_own_words(account):
    description = account.run(
        """
(MODEL / "half").write_text("x")
print("loss=1;")
sys.exit("the label column is missing")
""",
        metrics={"loss": "loss=([0-9]+);"},
    )
    assert (description["TrainingJobStatus"], description["SecondaryStatus"]) == (
        "Failed",
        "Failed",
    )
    reason = description["FailureReason"]
    assert reason.startswith("AlgorithmError: ExecuteUserScriptError:\nExitCode 1\nErrorMessage ")
    assert "train.py" in reason
    log = account.log(description["TrainingJobName"])
    assert any(line.startswith("the label column is missing") for line in log)
    assert description["TrainingTimeInSeconds"] >= 1
    assert description["FinalMetricDataList"][0]["Value"] == 1


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", r"ExecuteUserScriptError:\nExitCode -9\n"),
        ("os.kill(os.getppid(), signal.SIGKILL); time.sleep(600)", r"Exit Code: 137$"),
        (
            "raise ValueError('Age: 12,5')",
            r"ExecuteUserScriptError:\nExitCode 1\nErrorMessage \"raise ValueError\('Age: 12,5'\)"
            r"\n ValueError: Age: 12,5\"\nCommand ",
        ),
        (
            "Path('/proc/self/fd/2').exists(); os._exit(9)",
            r"ExecuteUserScriptError:\nExitCode 9\n",
        ),
    ],
    ids=["kills itself", "kills the toolkit", "raises", "leaves at once"],
)
def test_the_reason_is_what_happened(account, script, reason):
    description = account.run(script)
    assert description["TrainingJobStatus"] == "Failed"
    assert re.match(r"AlgorithmError: " + reason, description["FailureReason"])


def test_a_reason_has_at_most_1024_characters(account):
    description = account.run("raise ValueError('Age: 12,5 is no number' * 100)")
    reason = description["FailureReason"]
    assert reason.startswith('AlgorithmError: ExecuteUserScriptError:\nExitCode 1\nErrorMessage "')
    assert "Age: 12,5 is no number" in reason
    assert len(reason) == 1024


def test_a_script_may_write_its_own_reason(account):
    script = """
Path(os.environ["SM_OUTPUT_DIR"], "failure").write_text("The passenger list is empty.")
os.kill(os.getppid(), signal.SIGKILL)
time.sleep(600)
"""
    description = account.run(script)
    assert description["FailureReason"] == "AlgorithmError: The passenger list is empty."


def test_a_script_that_deletes_itself_completes(account):
    description = account.run("Path(__file__).unlink(); (MODEL / 'm').write_text('kept')")
    assert description["TrainingJobStatus"] == "Completed"
    assert account.unpack(description["TrainingJobName"]) == {"m": b"kept"}


def test_the_exit_code_of_a_shell_entry_point_counts(account):
    failed = account.run(files={"train.sh": "echo from the shell\nexit 3\n"}, program="train.sh")
    assert failed["FailureReason"].startswith(
        "AlgorithmError: ExecuteUserScriptError:\nExitCode 3\n"
    )
    assert "from the shell" in account.log(failed["TrainingJobName"])
    fine = 'echo saved > "$SM_MODEL_DIR/m"\n'
    completed = account.run(files={"train.sh": fine}, program="train.sh")
    assert completed["TrainingJobStatus"] == "Completed"
    assert account.unpack(completed["TrainingJobName"]) == {"m": b"saved\n"}


@pytest.mark.parametrize(
    "changes",
    [
        {"files": {"other.py": "print('not me')"}},
        {"hyperparameters": {"sagemaker_submit_directory": f'"s3://{BUCKET}/no/such.tar.gz"'}},
        {"HyperParameters": {}},
    ],
    ids=["no such file", "no such archive", "no script at all"],
)
def test_a_job_whose_entry_point_is_missing_fails(account, changes):
    description = account.run("print('ran')", **changes)
    assert description["TrainingJobStatus"] == "Failed"
    assert description["FailureReason"].startswith("AlgorithmError: ")
    assert "ran" not in account.log(description["TrainingJobName"])


def test_a_long_and_a_dirty_output_reach_the_log_whole(account):
    description = account.run(
        """
row = "x" * 99 + "\\n"
for number in range(50_000):
    sys.stdout.write(f"{number:06d}" + row)  # 5.3 MB in lines
sys.stdout.flush()
os.write(1, b"\\xff\\xfe\\x00 not text \\x80\\n")
os.write(1, b"y" * 5_000_000 + b"\\n")  # and 5 MB in one
os.write(2, b"the very end")
"""
    )
    assert description["TrainingJobStatus"] == "Completed"
    log = account.log(description["TrainingJobName"])
    numbers = [int(line[:6]) for line in log if line.endswith("x" * 99)]
    assert numbers == list(range(50_000))
    assert any("not text" in line for line in log)
    assert sum(line.count("y") for line in log if line.startswith("yyyy")) > 200_000
    assert any(line.startswith("the very end") for line in log)


def test_what_a_job_leaves_running_ends_with_it(account):
    mark = unique("left-behind")
    description = account.run(
        f"""
for detach in (False, True):  # a plain child, and a daemon: double fork and a session of its own
    if os.fork() == 0:
        if detach:
            os.setsid()
            if os.fork():
                os._exit(0)
        os.execv(sys.executable, [sys.executable, "-c", "import time; time.sleep(900)", "{mark}"])
time.sleep(0.3)
processes = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
tell(running=processes.count("{mark}"))
"""
    )
    assert account.facts(description["TrainingJobName"])["running"] == 2
    assert description["TrainingJobStatus"] == "Completed"
    assert processes_with(mark) == []


# --- stopping -----------------------------------------------------------------------------------

SAVES_WHEN_STOPPED = """
def save(*_):
    meet()
    (MODEL / "checkpoint").write_text("saved when asked to stop")
    sys.exit(0)

signal.signal(signal.SIGTERM, save)
meet()
time.sleep(600)
"""


def test_a_stopped_job_may_save_and_its_work_is_kept(account):
    with Meeting() as meeting:
        name = account.start(SAVES_WHEN_STOPPED, meeting=meeting)
        meeting.wait()
        account.sagemaker.stop_training_job(TrainingJobName=name)
        assert account.describe(name)["TrainingJobStatus"] == "Stopping"
        meeting.wait()  # SIGTERM came to the script
        stopping = account.describe(name)
        assert stopping["TrainingJobStatus"] == stopping["SecondaryStatus"] == "Stopping"
        meeting.release()
    stopped = account.wait(name)
    assert (stopped["TrainingJobStatus"], stopped["SecondaryStatus"]) == ("Stopped", "Stopped")
    assert steps(stopped)[-4:] == ["Training", "Stopping", "Uploading", "Stopped"]
    assert account.unpack(name) == {"checkpoint": b"saved when asked to stop"}
    assert "FailureReason" not in stopped
    assert refusal(account.sagemaker.stop_training_job, TrainingJobName=name) == (
        "ValidationException",
        "The request was rejected because the training job is in status Stopped.",
    )


def test_a_script_that_will_not_stop_is_killed_after_the_grace(account, monkeypatch):
    monkeypatch.setattr(run, "GRACE_S", 0.1)
    mark = unique("stubborn")
    with Meeting() as meeting:
        name = account.start(
            f"""
signal.signal(signal.SIGTERM, signal.SIG_IGN)
(MODEL / "early").write_text("x")
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(900)", "{mark}"])
meet()
time.sleep(600)
""",
            meeting=meeting,
        )
        meeting.wait()
        eventually("its child", lambda: len(processes_with(mark)) == 1)
        account.sagemaker.stop_training_job(TrainingJobName=name)
        assert account.wait(name)["TrainingJobStatus"] == "Stopped"
    assert processes_with(mark) == []
    assert account.unpack(name) == {"early": b"x"}


def test_a_job_stopped_at_once_never_completes(account):
    name = account.start("time.sleep(600)")
    account.sagemaker.stop_training_job(TrainingJobName=name)
    stopped = account.wait(name)
    assert (stopped["TrainingJobStatus"], stopped["SecondaryStatus"]) == ("Stopped", "Stopped")
    assert "Stopping" in steps(stopped)


def test_a_job_that_takes_too_long_is_stopped_by_its_own_limit(account):
    mark = unique("too-long")
    description = account.run(
        f"subprocess.run([sys.executable, '-c', 'import time; time.sleep(900)', '{mark}'])",
        max_run=1,
    )
    assert description["TrainingJobStatus"] == "Stopped"
    assert description["SecondaryStatus"] == "MaxRuntimeExceeded"
    training = step(description, "Training")
    assert (training["EndTime"] - training["StartTime"]).total_seconds() >= 0.99
    assert steps(description)[-4:] == ["Training", "Stopping", "Uploading", "MaxRuntimeExceeded"]
    assert processes_with(mark) == []


# --- requests that AWS refuses ------------------------------------------------------------------


def test_a_name_is_taken_for_good(account, completed):
    description, _ = completed
    request = account.request("", name=description["TrainingJobName"])
    code, message = refusal(account.sagemaker.create_training_job, **request)
    assert code == "ResourceInUse"
    assert message.startswith("Training job names must be unique within an AWS account and region")


def test_of_two_requests_of_one_name_at_once_one_wins(account):
    request = account.request("print('once')", name=unique("twin"))
    outcomes = Counter()

    def ask():
        try:
            account.sagemaker.create_training_job(**request)
            outcomes["accepted"] += 1
        except ClientError as error:
            outcomes[error.response["Error"]["Code"]] += 1

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert outcomes == {"accepted": 1, "ResourceInUse": 3}
    account.wait(request["TrainingJobName"])
    assert account.log(request["TrainingJobName"]).count("once") == 1


@pytest.mark.parametrize(
    ("uri", "detail"),
    [
        ("s3://sagemaker-no-such-bucket/data", "not authorized|does not exist"),
        (f"s3://{BUCKET}/no/such/prefix", ""),
    ],
    ids=["missing bucket", "empty prefix"],
)
def test_a_channel_without_objects_is_refused(account, uri, detail):
    name = unique("no-channel")
    request = account.request("", name=name, channels={"train": (uri, "FullyReplicated")})
    code, message = refusal(account.sagemaker.create_training_job, **request)
    assert code == "ValidationException"
    assert message.startswith(f'No S3 objects found under S3 URL "{uri}" given in input data')
    assert re.search(detail, message)
    assert refusal(account.describe, name) == (
        "ValidationException",
        "Requested resource not found.",
    )


def test_a_missing_output_bucket_fails_the_job_at_its_upload(administrator, stub_aws):
    may_all = create_role(unique("job-with-all-permissions"), ALL_PERMISSIONS)
    description = administrator.run(
        "(MODEL / 'm').touch()",
        RoleArn=may_all,
        OutputDataConfig={"S3OutputPath": "s3://sagemaker-no-such-bucket/out"},
    )
    assert description["TrainingJobStatus"] == "Failed"
    assert description["FailureReason"].startswith("ClientError: Artifact upload failed:")
    assert "NoSuchBucket" in description["FailureReason"]
    assert "ModelArtifacts" not in description


@pytest.mark.parametrize("role", ["arn:aws:iam::123456789012:role/nobody", "untrusting"])
def test_a_role_that_sagemaker_cannot_assume_is_refused(administrator, role):
    if role == "untrusting":
        trust = {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"Service": "lambda.amazonaws.com"},
                    "Action": "sts:AssumeRole",
                }
            ],
        }
        role = create_role(unique("for-lambda"), ALL_PERMISSIONS, trust=trust)
    request = administrator.request("", RoleArn=role)
    code, message = refusal(administrator.sagemaker.create_training_job, **request)
    assert code == "ValidationException"
    assert message.startswith(f"Could not assume role {role}. Please ensure that the role exists")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"TrainingJobName": "under_score"},
            "1 validation error detected: Value 'under_score' at 'trainingJobName' failed to "
            "satisfy constraint: Member must satisfy regular expression pattern: ",
        ),
        (
            {"TrainingJobName": "x" * 64},
            "Member must have length less than or equal to 63",
        ),
        (
            {"ResourceConfig": {"InstanceType": "ml.m5.huge", "InstanceCount": 1}},
            "Value 'ml.m5.huge' at 'resourceConfig.instanceType' failed to satisfy constraint: "
            "Member must satisfy enum value set: [",
        ),
        (
            {"ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": -1}},
            "Value '-1' at 'resourceConfig.instanceCount' failed to satisfy constraint: Member "
            "must have value greater than or equal to ",
        ),
        (
            {"HyperParameters": {"depth": "x" * 2501}},
            "at 'hyperParameters' failed to satisfy constraint: Map value must satisfy constraint: "
            "[Member must have length less than or equal to 2500, Member must have length greater "
            "than or equal to 0, Member must satisfy regular expression pattern: .*]",
        ),
        (
            {"Environment": {"not a name": "1"}},
            "Value '{not a name=1}' at 'environment' failed to satisfy constraint: Map keys must "
            "satisfy constraint: [Member must have length less than or equal to 512, ",
        ),
        (
            {"HyperParameters": {f"h{n}": "1" for n in range(101)}},
            "Member must have length less than or equal to 100",
        ),
        ({"OutputDataConfig": {"S3OutputPath": "/local"}}, "at 'outputDataConfig.s3OutputPath'"),
        ({"RoleArn": "role-without-arn-form"}, "at 'roleArn' failed to satisfy constraint"),
        (
            {"StoppingCondition": {"MaxRuntimeInSeconds": 0}},
            "Value '0' at 'stoppingCondition.maxRuntimeInSeconds'",
        ),
    ],
)
def test_a_malformed_request_is_refused_in_the_words_of_aws(administrator, changes, expected):
    client = administrator.client("sagemaker", config=unchecked())
    request = administrator.request("") | changes
    code, message = refusal(client.create_training_job, **request)
    assert code == "ValidationException"
    assert expected in message
    assert re.match(r"\d validation errors? detected: ", message)


@pytest.mark.parametrize(
    "resources",
    [
        {"InstanceCount": 1},
        {"InstanceType": "ml.m5.large"},
        {"InstanceType": "ml.m5.large", "InstanceCount": 0},
    ],
)
def test_a_job_without_an_instance_is_refused(account, resources):
    request = account.request("", ResourceConfig=resources)
    code, message = refusal(account.sagemaker.create_training_job, **request)
    assert code == "ValidationException"
    assert "InstanceCount" in message


def test_a_job_without_an_image_is_refused(account):
    request = account.request("", AlgorithmSpecification={"TrainingInputMode": "File"})
    code, message = refusal(account.sagemaker.create_training_job, **request)
    assert code == "ValidationException"
    assert "TrainingImage" in message


def test_a_member_that_is_missing_is_refused_too(account):
    client = account.client("sagemaker", config=unchecked())
    request = account.request("", OutputDataConfig=None)
    code, message = refusal(client.create_training_job, **request)
    assert code == "ValidationException"
    assert "Value null at 'outputDataConfig' failed to satisfy constraint: " in message


def unchecked():
    """Return a client's configuration that leaves all checking to the service."""
    from botocore.config import Config

    return Config(parameter_validation=False, retries={"total_max_attempts": 1}, proxies={})


def test_an_image_that_nothing_stands_in_for_fails_the_job(account):
    request = account.request("")
    uri = "123456789012.dkr.ecr.us-east-1.amazonaws.com/my-own:latest"
    request["AlgorithmSpecification"]["TrainingImage"] = uri
    account.sagemaker.create_training_job(**request)
    description = account.wait(request["TrainingJobName"])
    assert description["TrainingJobStatus"] == "Failed"
    assert uri in description["FailureReason"]
    assert "sagemaker-xgboost" in description["FailureReason"]


def test_an_operation_that_nobody_wrote_is_named_at_the_first_try(administrator):
    # With boto3's ordinary configuration: an answer that it retries would cost many seconds.
    client = administrator.client("sagemaker", config=None)
    tries = []
    client.meta.events.register("before-send.sagemaker", lambda **_: tries.append(1))
    code, message = refusal(client.list_models)
    assert code == "NotImplemented"
    assert "sagemaker:ListModels" in message
    assert len(tries) == 1


def test_an_operation_that_moto_does_not_know_is_named_too(administrator):
    code, message = refusal(
        administrator.client("logs", config=None).test_metric_filter,
        filterPattern="x",
        logEventMessages=["x"],
    )
    assert (code, "logs:TestMetricFilter" in message) == ("NotImplemented", True)


# --- finding jobs -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def three_jobs(account):
    """Return the names of a failed and two completed jobs, in the order of their creation."""
    stem = unique("listed")
    names = [f"{stem}-{letter}" for letter in "cab"]
    for name in names:
        account.run("sys.exit(1)" if name.endswith("a") else "", name=name)
    return names


def listed(account, **filters):
    answer = account.sagemaker.list_training_jobs(**filters)
    return [job["TrainingJobName"] for job in answer["TrainingJobSummaries"]]


def test_jobs_are_listed_newest_first_or_as_asked(account, three_jobs):
    stem = three_jobs[0][:-2]
    assert listed(account, NameContains=stem) == three_jobs[::-1]
    assert listed(account, NameContains=stem.upper(), SortOrder="Ascending") == three_jobs
    assert listed(account, NameContains=stem, SortBy="Name", SortOrder="Ascending") == sorted(
        three_jobs
    )
    assert listed(account, NameContains=stem, StatusEquals="Failed") == [f"{stem}-a"]
    by_status = listed(account, NameContains=stem, SortBy="Status", SortOrder="Ascending")
    assert by_status[-1] == f"{stem}-a"


def test_jobs_are_found_by_their_times(account, three_jobs):
    stem = three_jobs[0][:-2]
    middle = account.describe(three_jobs[1])["CreationTime"]
    modified = account.describe(three_jobs[1])["LastModifiedTime"]
    first, _, last = three_jobs
    assert listed(account, NameContains=stem, CreationTimeAfter=middle) == [last]
    assert listed(account, NameContains=stem, CreationTimeBefore=middle) == [first]
    assert listed(account, NameContains=stem, LastModifiedTimeAfter=modified) == [last]
    assert listed(account, NameContains=stem, LastModifiedTimeBefore=modified) == [first]


def test_a_long_list_comes_in_pages(account, three_jobs):
    stem = three_jobs[0][:-2]
    pages = account.sagemaker.get_paginator("list_training_jobs").paginate(
        NameContains=stem, PaginationConfig={"PageSize": 2}
    )
    sizes, names = [], []
    for page in pages:
        sizes.append(len(page["TrainingJobSummaries"]))
        names += [job["TrainingJobName"] for job in page["TrainingJobSummaries"]]
    assert (sizes, names) == ([2, 1], three_jobs[::-1])
    code, _ = refusal(account.sagemaker.list_training_jobs, NextToken="%%%")
    assert code == "ValidationException"


def test_tags_are_kept_added_to_and_taken_away(administrator, completed):
    description, _ = completed
    client, arn = administrator.sagemaker, description["TrainingJobArn"]
    assert client.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "lesson", "Value": "03"}]
    added = [{"Key": "lesson", "Value": "3"}, {"Key": "team", "Value": "a"}]
    client.add_tags(ResourceArn=arn, Tags=added)
    assert client.list_tags(ResourceArn=arn)["Tags"] == added
    client.delete_tags(ResourceArn=arn, TagKeys=["lesson", "not there"])
    assert client.list_tags(ResourceArn=arn)["Tags"] == added[1:]
    code, _ = refusal(client.list_tags, ResourceArn=arn + "-not")
    assert code == "ValidationException"


# --- many ---------------------------------------------------------------------------------------


def test_twenty_jobs_at_once_all_end_well(account):
    source = account.upload({"train.py": PRELUDE + "(MODEL / 'm').write_text(sys.argv[2])"})
    names = [unique("many") for _ in range(20)]
    for number, name in enumerate(names):
        account.start(
            name=name,
            files={},
            hyperparameters={
                "sagemaker_submit_directory": json.dumps(source),
                "number": str(number),
            },
        )
    statuses = [account.wait(name)["TrainingJobStatus"] for name in names]
    assert statuses == ["Completed"] * 20
    for number, name in enumerate(names):
        assert account.unpack(name) == {"m": str(number).encode()}


@pytest.mark.parametrize("image", [IMAGE, PYTORCH])
def test_script_may_print_while_it_saves(account, image):
    """PyTorch's image reads what the script prints: it must go on reading after the SIGTERM."""
    script = """
def save(*_):
    time.sleep(0.3)  # long enough for the toolkit to be gone, if it went
    for part in range(3):
        print(f"saving part {part}", flush=True)
    (MODEL / "model.txt").write_text("saved")
    sys.exit(0)

signal.signal(signal.SIGTERM, save)
meet()
"""
    with Meeting() as meeting:
        name = account.start(script, image=image, meeting=meeting)
        meeting.wait()
        account.sagemaker.stop_training_job(TrainingJobName=name)
        description = account.wait(name)
    assert description["TrainingJobStatus"] == "Stopped"
    assert account.unpack(name) == {"model.txt": b"saved"}
    assert [line for line in account.log(name) if line.startswith("saving")] == [
        f"saving part {part}" for part in range(3)
    ]
