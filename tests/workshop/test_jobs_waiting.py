"""jobs.wait_for and jobs.command: the wait for a job ends with it, whatever its end is."""

from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

import pytest
from botocore.exceptions import ClientError

from tests.support.stub_jobs import Account, unique
from workshop import jobs

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)


def step(status, seconds):
    return {"Status": status, "StartTime": START + timedelta(seconds=seconds)}


def description(status, *steps, **more):
    """Return what DescribeTrainingJob answers at one moment."""
    return {
        "TrainingJobStatus": status,
        "CreationTime": START,
        "SecondaryStatusTransitions": [step(*one) for one in steps],
    } | more


class Service:
    """A session whose client answers with one description of a job after another.

    It raises StopIteration for a call after the last.
    """

    def __init__(self, **moments):
        self.moments = {name.replace("_", "-"): iter(list(them)) for name, them in moments.items()}
        self.meta = SimpleNamespace(region_name="us-east-1")
        self.boto_session = SimpleNamespace(client=lambda name: self)

    def describe_training_job(self, TrainingJobName):  # noqa: N803
        if TrainingJobName not in self.moments:
            raise refusal("ValidationException", "Requested resource not found.")
        moment = next(self.moments[TrainingJobName])
        if isinstance(moment, Exception):
            raise moment
        return moment


def refusal(code, message):
    return ClientError({"Error": {"Code": code, "Message": message}}, "DescribeTrainingJob")


STARTED = ("Starting", 0)
DONE = description("Completed", STARTED, ("Training", 3), ("Completed", 9))


def test_each_status_is_printed_once_with_its_seconds(capsys):
    service = Service(
        one=[description("InProgress", STARTED), description("InProgress", STARTED), DONE]
    )
    assert jobs.wait_for(service, "one", poll_s=0) == [DONE]
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["one      0 s  Starting", "one      3 s  Training", "one      9 s  Completed"]


@pytest.mark.parametrize("status", ["Completed", "Failed", "Stopped", "Deleting"])
def test_it_ends_with_whatever_end_the_job_has(status):
    running = [description("InProgress", STARTED), description("Stopping", STARTED)]
    last = description(status, STARTED)
    assert jobs.wait_for(Service(one=[*running, last]), "one", poll_s=0) == [last]


def test_answers_come_in_the_order_of_the_names_not_of_the_ends():
    slow = description("Completed", STARTED, TrainingJobName="slow")
    service = Service(slow=[description("InProgress", STARTED), slow], quick=[DONE])
    assert jobs.wait_for(service, "slow", "quick", poll_s=0) == [slow, DONE]


def test_a_repeated_name_is_asked_once():
    assert jobs.wait_for(Service(one=[DONE]), "one", "one", poll_s=0) == [DONE, DONE]


def test_nobody_to_wait_for():
    assert jobs.wait_for(Service()) == []


def test_the_reason_of_a_failure_is_in_its_line(capsys):
    failed = description(
        "Failed", STARTED, ("Failed", 4), FailureReason="AlgorithmError: why\nmore"
    )
    jobs.wait_for(Service(one=[failed]), "one", poll_s=0)
    assert (
        capsys.readouterr().out.splitlines()[-1] == "one      4 s  Failed  AlgorithmError: why more"
    )


def test_silence_is_broken_by_saying_who_still_runs(capsys, monkeypatch):
    monkeypatch.setattr(jobs, "QUIET_S", -1)
    service = Service(one=[DONE], two=[description("InProgress", STARTED), DONE])
    jobs.wait_for(service, "one", "two", poll_s=0)
    assert "still running: two\n" in capsys.readouterr().out


def test_no_such_job_is_one_sentence_and_other_errors_stay_what_they_are():
    with pytest.raises(jobs.JobError, match="no training job 'none' in us-east-1"):
        jobs.wait_for(Service(), "none")
    denied = refusal("AccessDeniedException", "not authorized")
    with pytest.raises(ClientError, match="not authorized"):
        jobs.wait_for(Service(one=[denied]), "one")


INVOKED = "Invoking script with the following command:"


@pytest.mark.parametrize(
    "line",
    [
        "/opt/conda/bin/python3.12 train.py --eta 0.1 --depth 3 -C 1",
        "/usr/bin/python3.11 -- train.py --eta 0.1 --depth 3 -C 1",
        "/miniconda3/bin/python3 -m train --eta 0.1 --depth 3 -C 1",
    ],
)
def test_the_command_of_a_log_without_python_and_script(line):
    log = ["pip: /x/python y --not this", f"2026 INFO     {INVOKED}", "", line, "python late.py"]
    assert jobs.command(log) == ["--eta", "0.1", "--depth", "3", "-C", "1"]


def test_a_script_without_arguments():
    assert jobs.command([INVOKED, "/usr/bin/python train.py"]) == []


def test_a_log_without_a_command_says_so():
    for log in ([], ["Installing dependencies"], [INVOKED, ""]):
        with pytest.raises(jobs.JobError, match="has not started a script"):
            jobs.command(log)


def test_real_jobs_are_awaited_and_their_commands_read(stub_aws):
    account = Account(stub_aws.environment)
    session = SimpleNamespace(boto_session=SimpleNamespace(client=account.client))
    good = account.start("print('fine')", hyperparameters={"C": "0.5", "deep": "true"})
    bad = account.start("raise SystemExit(3)")
    ends = jobs.wait_for(session, bad, good, poll_s=0.1)
    assert [job["TrainingJobStatus"] for job in ends] == ["Failed", "Completed"]
    assert jobs.command(account.log(good)) == ["-C", "0.5", "--deep", "True"]
    with pytest.raises(jobs.JobError):
        jobs.wait_for(session, unique("nobody"))
