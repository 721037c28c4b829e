"""`make test-aws`: says the price, asks, and cleans up however it ends. A stub is its account."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

import workshop
from lessons import on_aws
from tests.support.strangers import TAGS, everything_of
from tests.support.stub_jobs import (
    BUCKET,
    REPOSITORY,
    eventually,
    heed_signals,
    make_client,
)
from tests.support.stub_roles import ADMINISTRATOR, FULL_POLICY, lab
from workshop import costs

JOB = {"instance_type": "ml.m5.large", "instance_count": 1, "volume_gb": 30, "max_run_s": 600}
ORDERED = [{**JOB, "tags": {"lesson": lesson}} for lesson in ("03", "03", "07")]

# What stands in for the lessons: makes the bucket and something in it, then ends as it is told.
LESSONS = """\
import sys, time
import boto3
from workshop import buckets
s3, account = boto3.client("s3"), boto3.client("sts").get_caller_identity()["Account"]
bucket = buckets.prepare(s3, account)
s3.put_object(Bucket=bucket, Key="data/thing", Body=b"1")
print("the lessons are at work", flush=True)
time.sleep(float(sys.argv[1]))
sys.exit(int(sys.argv[2]))
"""


def stand_in(seconds: float = 0, code: int = 0) -> list[str]:
    return [sys.executable, "-c", LESSONS, str(seconds), str(code)]


@pytest.fixture(scope="module")
def account():
    with lab() as ours:
        yield ours


@pytest.fixture
def here(account, monkeypatch):
    """Return this process with the account's environment; a client to look with."""
    monkeypatch.delenv("SAGEMAKER_WORKSHOP_BUCKET", raising=False)
    for name, value in account.environments[FULL_POLICY].items():
        if name.startswith(("AWS_", "SAGEMAKER_", "HTTP", "NO_PROXY")):
            monkeypatch.setenv(name, value)
    return make_client(account.environments[FULL_POLICY], "s3")


def has_bucket(s3) -> bool:
    try:
        s3.head_bucket(Bucket=BUCKET)
    except s3.exceptions.ClientError as error:
        if error.response["Error"]["Code"] == "404":
            return False
        raise
    return True


def run(*arguments, rehearsal=lambda _: ORDERED, command=None, **how) -> int:
    return on_aws.main(arguments, rehearsal=rehearsal, command=lambda _: command or stand_in(**how))


# --- the bound --------------------------------------------------------------------------------


def test_the_bound_is_price_by_machines_by_limit_and_the_disks():
    job = {**JOB, "instance_count": 2, "tags": {"lesson": "07"}}
    machines = 2 * 600 / 3600 * costs.price("ml.m5.large").usd
    disks = 2 * 30 * 600 / costs.MONTH_S * costs.ML_VOLUME.usd
    assert on_aws.bound([job]) == pytest.approx({"07": machines + disks})


def test_the_bound_is_printed_by_lesson_and_in_all():
    output = on_aws.announcement(ORDERED)
    one = sum(on_aws.bound(ORDERED[:1]).values())
    assert output.startswith("3 training jobs.")
    assert f"  lesson 03: {costs.dollars(2 * one)}\n" in output
    assert f"  lesson 07: {costs.dollars(one)}\n" in output
    assert f"at most {costs.dollars(3 * one)} in all" in output


def test_a_type_without_a_price_stops_all(here, capsys):
    unknown = [{**JOB, "instance_type": "ml.unknown.large", "tags": {"lesson": "03"}}]
    assert run("--yes", rehearsal=lambda _: unknown) == 1
    assert "No training price for 'ml.unknown.large'" in capsys.readouterr().err
    assert not has_bucket(here)


# --- how it goes ------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [0, 1])
def test_whether_the_lessons_pass_or_fail_nothing_is_left(here, capfd, code):
    assert run("--yes", code=code) == code
    output = capfd.readouterr().out
    order = [
        "assumed-role/",
        "Of this workshop there is now",
        "at most $",
        "the lessons are at work",
        "cleaning up",
        "Nothing of this workshop is left on AWS.",
    ]
    positions = [output.index(text) for text in order]
    assert positions == sorted(positions)
    assert not has_bucket(here)


@pytest.mark.parametrize("answer", ["no", "", "y"])
def test_without_a_yes_nothing_is_started(here, capfd, monkeypatch, answer):
    monkeypatch.setattr("builtins.input", lambda _: answer)
    assert run() == 1
    output = capfd.readouterr().out
    assert "at most $" in output
    assert output.endswith("Nothing was started.\n")
    assert "at work" not in output
    assert not has_bucket(here)


def test_yes_at_the_question_goes_on(here, capfd, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda _: " Yes ")
    assert run() == 0
    assert "at work" in capfd.readouterr().out


def test_with_nobody_at_the_terminal_nothing_is_started(here, capfd, monkeypatch):
    def nobody(_):
        raise EOFError

    monkeypatch.setattr("builtins.input", nobody)
    assert run() == 1
    assert "YES=1 make test-aws" in capfd.readouterr().out
    assert not has_bucket(here)


def test_what_was_there_before_is_shown_first(here, capfd, monkeypatch):
    workshop.session()
    monkeypatch.setattr("builtins.input", lambda _: "no")
    assert run() == 1
    output = capfd.readouterr().out
    assert output.index(f"bucket: {BUCKET}") < output.index("at most $")
    assert has_bucket(here)
    assert run("--yes") == 0
    assert not has_bucket(here)


@pytest.fixture
def theirs(account, here):
    """Return a function that makes a bucket of the workshop's name, as somebody else would."""
    s3 = account.boto(ADMINISTRATOR).client("s3")

    def make(tags):
        s3.create_bucket(Bucket=BUCKET)
        if tags:
            s3.put_bucket_tagging(Bucket=BUCKET, Tagging={"TagSet": tags})
        s3.put_object(Bucket=BUCKET, Key="theirs", Body=b"1")
        return everything_of(s3, BUCKET)

    make.s3 = s3
    yield make
    s3.delete_object(Bucket=BUCKET, Key="theirs")
    s3.delete_bucket(Bucket=BUCKET)


@pytest.mark.parametrize("tags", TAGS.values(), ids=TAGS)
def test_a_strangers_bucket_is_named_and_stays_as_it_is(theirs, capfd, tags):
    before = theirs(tags)
    assert run("--yes") == 1
    output = capfd.readouterr()
    assert f"left alone, because it lacks the workshop's tag: {BUCKET}" in output.out
    assert output.err.startswith(f"There is a bucket {BUCKET} without the workshop's tag")
    assert "at work" not in output.out
    assert everything_of(theirs.s3, BUCKET) == before


def test_a_strangers_bucket_that_comes_while_it_rehearses_stays_as_it_is(theirs, capfd):
    before = []

    def rehearsal(_):
        before.append(theirs([]))
        return ORDERED

    assert run("--yes", rehearsal=rehearsal) == 1
    assert "the workshop did not make it" in capfd.readouterr().err
    assert [everything_of(theirs.s3, BUCKET)] == before


def test_a_bucket_that_is_asked_for_is_cleaned_of_the_lessons_things(theirs, capfd, monkeypatch):
    before = theirs([])
    monkeypatch.setenv("SAGEMAKER_WORKSHOP_BUCKET", BUCKET)
    assert run("--yes") == 0
    output = capfd.readouterr().out
    assert f"left the bucket {BUCKET}, which the workshop did not make" in output
    assert output.endswith("Nothing of this workshop is left on AWS.\n")
    assert everything_of(theirs.s3, BUCKET) == before


def test_lessons_that_fail_in_the_rehearsal_do_not_go_on(here, capsys, monkeypatch):
    monkeypatch.setattr(on_aws, "run_child", lambda *_: 1)
    assert run("--yes", rehearsal=on_aws.rehearse) == 1
    assert "fail already on this machine" in capsys.readouterr().err
    assert not has_bucket(here)


def test_without_credentials_it_is_one_sentence(monkeypatch, capsys):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    assert run("--yes") == 1
    output = capsys.readouterr()
    assert output.err.startswith("No AWS credentials were found")
    assert len(output.err.splitlines()) == 1


def test_a_clean_up_that_fails_says_what_to_do(here, capsys, monkeypatch):
    def refuse(*_):
        raise on_aws.cleanup.CleanupError("The cleanup could not delete the objects: why.")

    with monkeypatch.context() as patch:
        patch.setattr(on_aws.cleanup, "delete", refuse)
        assert run("--yes") == 1
    assert "could not delete the objects: why. (python -m workshop.cleanup --delete)" in (
        capsys.readouterr().err
    )
    assert on_aws.clean_up(workshop.session(make_bucket=False)) == {}
    assert not has_bucket(here)


# --- interrupted --------------------------------------------------------------------------------

# The program as a whole, in a process that can be sent signals. It says where the lessons are.
PROGRAM = """\
import json, sys
from lessons import on_aws
ordered, command = json.loads(sys.argv[1])
sys.exit(on_aws.main(["--yes"], rehearsal=lambda _: ordered, command=lambda _: command))
"""


def start(account, command) -> subprocess.Popen[str]:
    program = [sys.executable, "-c", PROGRAM, json.dumps([ORDERED, command])]
    return subprocess.Popen(
        program,
        cwd=REPOSITORY,
        env={**os.environ, **account.environments[FULL_POLICY]},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=heed_signals,
    )


def wait_for(process, text: str) -> str:
    output = ""
    for line in process.stdout:
        output += line
        if text in line:
            return output
    raise AssertionError(f"it never printed {text!r}: {output}")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_lessons_and_cleans_up(account, here, number):
    with start(account, stand_in(seconds=300)) as process:
        wait_for(process, "the lessons are at work")
        assert has_bucket(here)
        began = time.monotonic()
        for _ in range(3):  # an impatient person
            process.send_signal(number)
            time.sleep(0.05)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + number, output
    assert time.monotonic() - began < on_aws.PATIENCE_S
    assert "ending the lessons, then cleaning up" in output
    assert "Nothing of this workshop is left on AWS." in output
    assert not has_bucket(here)


# What the lessons start: a kernel in a session of its own, whose script has its own, too; they do
# not end when they are asked to.
FAMILY = """\
import os, signal, subprocess, sys, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
generation = int(sys.argv[2])
if generation:
    command = [sys.executable, "-c", sys.argv[1], sys.argv[1], str(generation - 1)]
    subprocess.Popen(command, start_new_session=True)
print("pid", os.getpid(), flush=True)
time.sleep(300)
"""


def family() -> list[str]:
    return [sys.executable, "-c", FAMILY, FAMILY, "2"]


def read_pids(process) -> list[int]:
    return [int(wait_for(process, "pid ").split()[-1]) for _ in range(3)]


def test_killed_it_leaves_no_lesson_running(account):
    """SIGKILL cannot be answered, and a lesson that goes on orders jobs that nobody stops."""
    with start(account, family()) as process:
        pids = read_pids(process)
        process.kill()
        eventually("their end", lambda: not any(map(psutil.pid_exists, pids)))


def test_killed_while_it_rehearses_it_leaves_no_stub_and_no_job(monkeypatch, tmp_path):
    program = f"""\
import sys
from lessons import on_aws
on_aws.run_child([sys.executable, "-m", "stub_aws", *{family()!r}])
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    ) as process:
        pids = read_pids(process)
        pids += [parent.pid for parent in psutil.Process(pids[0]).parents()[:2]]
        process.kill()
        eventually("their end", lambda: not any(map(psutil.pid_exists, pids)))


def test_what_the_lessons_leave_running_ends_with_them():
    leaves = "import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', sys.argv[1]], "
    leaves += "start_new_session=True, stdout=sys.stdout); sys.exit(3)"
    script = "import os, time; print('pid', os.getpid(), flush=True); time.sleep(300)"
    program = "import sys; from lessons import on_aws; sys.exit(on_aws.run_child(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", program, sys.executable, "-c", leaves, script],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 3
    assert not any(psutil.pid_exists(int(pid)) for pid in done.stdout.split()[1::2])


def test_lessons_that_do_not_end_are_killed(monkeypatch):
    monkeypatch.setattr(on_aws, "PATIENCE_S", 0.3)
    stubborn = "import signal, time; signal.signal(2, signal.SIG_IGN); print(1); time.sleep(300)"
    stop = on_aws.Stop()
    stop.number = signal.SIGTERM
    began = time.monotonic()
    assert on_aws.run_child([sys.executable, "-c", stubborn], stop) == 128 + signal.SIGTERM
    assert time.monotonic() - began < 10


# --- the parts that the tests above replace -----------------------------------------------------


def test_the_rehearsal_is_on_the_stub_and_gives_its_record(monkeypatch, tmp_path):
    monkeypatch.setattr(on_aws, "OUTPUT", tmp_path)
    commands = []

    def child(command):
        commands.append(command)
        record = Path(command[command.index("--record") + 1])
        record.write_text(json.dumps({"jobs": ORDERED}))
        return 0

    monkeypatch.setattr(on_aws, "run_child", child)
    assert on_aws.rehearse(["03", "08"]) == ORDERED
    (command,) = commands
    assert command[1:3] == ["-m", "lessons.on_stub"]
    assert "--on-aws" not in command
    assert command[-2:] == ["03", "08"]


def test_the_lessons_run_on_whatever_aws_there_is():
    command = on_aws.lessons_command(["03"])
    assert command[1:4] == ["-m", "lessons.run", "--on-aws"]
    assert command[-1] == "03"


def test_the_stub_writes_such_a_record(tmp_path):
    record = tmp_path / "record.json"
    asks = "import boto3; boto3.client('sagemaker').list_training_jobs()"
    command = ["lessons.on_stub", "--record", str(record), sys.executable, "-c", asks]
    done = subprocess.run([sys.executable, "-m", *command], cwd=REPOSITORY, check=False)
    assert done.returncode == 0
    assert json.loads(record.read_text()) == {
        "actions": ["sagemaker:ListTrainingJobs"],
        "jobs": [],
    }
