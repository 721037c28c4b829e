"""A job watched from a notebook: its log as it grows, its metrics, the picture, its page."""

import time
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

import pytest

from tests.support.stub_jobs import Account, Meeting, eventually, unique
from workshop import jobs, live

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
METRICS = {"validation:loss": r"validation:loss=([0-9.]+);"}


@pytest.fixture(scope="module")
def account(stub_aws):
    return Account(stub_aws.environment, stub_aws.role_arn)


@pytest.fixture
def session(account):
    """Return what these functions need of a sagemaker.Session."""
    return SimpleNamespace(
        boto_session=SimpleNamespace(client=account.client), boto_region_name="us-east-1"
    )


@pytest.fixture
def pictures(monkeypatch):
    """Return the texts that a notebook would show, one after the other."""
    shown = []
    monkeypatch.setattr(live._Picture, "show", lambda self, text: shown.append(text))
    return shown


def running(**changes):
    return {
        "TrainingJobName": "job-1",
        "TrainingJobArn": "arn:aws:sagemaker:us-east-1:123456789012:training-job/job-1",
        "TrainingJobStatus": "InProgress",
        "TrainingStartTime": START + timedelta(seconds=40),
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 2},
        "SecondaryStatusTransitions": [
            {"Status": "Starting", "StartTime": START, "EndTime": START + timedelta(seconds=40)},
            {"Status": "Training", "StartTime": START + timedelta(seconds=40)},
        ],
    } | changes


# ---- the log as it grows -----------------------------------------------------------------------


def test_tail_brings_each_line_once_and_in_the_end_the_complete_log(account, session):
    name = unique("tail")
    with Meeting() as meeting:
        account.start("print('one'); meet(); print('two')", name=name, meeting=meeting)
        tail = jobs.LogTail(session, name)
        meeting.wait()
        got = []
        eventually("the first line", lambda: got.extend(tail.new()) or "one" in got)
        assert "two" not in got
        assert tail.new() == []
    account.wait(name)
    got += tail.new()
    assert got == account.log(name)
    assert got.count("one") == got.count("two") == 1
    assert jobs.log(session, name) == got


def test_tail_of_a_job_that_has_not_begun_is_empty(session):
    assert jobs.LogTail(session, "no-such-job").new() == []


def test_metrics_are_found_by_the_jobs_own_definitions():
    job = {
        "AlgorithmSpecification": {
            "MetricDefinitions": [{"Name": "loss", "Regex": r"loss=([0-9.]+);"}]
        }
    }
    lines = ["[1] loss=0.5;", "nothing", "loss=0.25; loss=0.125;", "loss=nan;"]
    assert jobs.metric_values(job, lines) == [("loss", 0.5), ("loss", 0.25), ("loss", 0.125)]
    assert jobs.metric_values({"AlgorithmSpecification": {}}, lines) == []


# ---- the picture -------------------------------------------------------------------------------


def test_picture_of_a_running_job_has_status_seconds_money_metrics_and_last_lines():
    now = START + timedelta(seconds=76)
    metrics = {"validation:loss": [0.9, 0.4, 0.5]}
    text = live.draw(running(), metrics, ["first", "", "second", "", "x" * 200], now, lines=2)
    lines = text.splitlines()
    assert lines[0] == "job-1   InProgress"
    assert lines[1] == "  Starting 40 s   Training 36 s"
    assert "billable so far: $0.0023: 36 s x 2 x ml.m5.large" in lines[2]
    assert lines[3].split() == ["validation:loss", "0.5", "(3", "values,", "0.4", "to", "0.9)"]
    assert lines[4:6] == ["  the last of 5 lines:", "  | second"]
    assert len(lines[6]) == live.WIDTH


def test_picture_of_a_job_that_failed_says_why_and_no_seconds_of_its_end():
    end = START + timedelta(seconds=50)
    steps = [*running()["SecondaryStatusTransitions"], {"Status": "Failed", "StartTime": end}]
    steps[1] = steps[1] | {"EndTime": end}
    job = running(
        TrainingJobStatus="Failed",
        SecondaryStatusTransitions=steps,
        FailureReason="AlgorithmError: no such\nfile",
        ResourceConfig={"InstanceType": "ml.unknown", "InstanceCount": 1},
    )
    assert live.draw(job, {}, [], end + timedelta(hours=1), lines=2).splitlines() == [
        "job-1   Failed",
        "  Starting 40 s   Training 10 s   Failed",
        "  no price is known for ml.unknown",
        "  AlgorithmError: no such file",
    ]


def test_watch_ends_with_the_job_and_has_shown_its_progress(
    account, session, pictures, monkeypatch
):
    name = unique("watched")
    script = 'print("validation:loss=0.5;"); meet(); print("validation:loss=0.25;")'
    with Meeting() as meeting:
        account.start(script, name=name, meeting=meeting, metrics=METRICS)

        def release_when_shown(seconds):
            if any("0.5   (1 values" in text for text in pictures):
                meeting.release()
            time.sleep(0.02)

        meeting.wait()
        monkeypatch.setattr(live, "time", SimpleNamespace(sleep=release_when_shown))
        description = live.watch(session, name)
    assert description["TrainingJobStatus"] == "Completed"
    assert "0.25   (2 values, 0.25 to 0.5)" in pictures[-1]
    assert "Completed" in pictures[-1]
    assert f"of {len(account.log(name))} lines" in pictures[-1]


def test_an_interrupted_watch_does_not_stop_the_job(account, session, pictures, monkeypatch):
    name = unique("left")
    with Meeting() as meeting:
        account.start("meet()", name=name, meeting=meeting)
        meeting.wait()

        def interrupt(seconds):
            raise KeyboardInterrupt

        monkeypatch.setattr(live, "time", SimpleNamespace(sleep=interrupt))
        with pytest.raises(KeyboardInterrupt):
            live.watch(session, name)
        assert account.describe(name)["TrainingJobStatus"] == "InProgress"
    assert account.wait(name)["TrainingJobStatus"] == "Completed"


def test_watching_a_missing_job_is_refused_in_one_sentence(session, pictures):
    with pytest.raises(jobs.JobError, match="There is no training job 'nowhere' in us-east-1"):
        live.watch(session, "nowhere")
    assert pictures == []


# ---- its page ----------------------------------------------------------------------------------

AWS_PAGE = "https://us-east-1.console.aws.amazon.com/sagemaker/home?region=us-east-1#/jobs/job-1"


@pytest.mark.parametrize(
    ("endpoint", "console", "link"),
    [
        ("http://127.0.0.1:4", "http://127.0.0.1:4/c/", "http://127.0.0.1:4/c/jobs/job-1"),
        ("http://localhost:4", "http://127.0.0.1:4/c/", "http://127.0.0.1:4/c/jobs/job-1"),
        ("http://127.0.0.1:4", "", AWS_PAGE),
        ("https://sagemaker.us-east-1.amazonaws.com", "http://127.0.0.1:4/c/", AWS_PAGE),
        ("https://127.evil.example", "http://127.0.0.1:4/c/", AWS_PAGE),
        ("", "http://127.0.0.1:4/c/", AWS_PAGE),
    ],
)
def test_link_leads_to_the_console_of_where_the_calls_go(monkeypatch, endpoint, console, link):
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv(jobs.CONSOLE_VARIABLE, console)
    assert jobs.console_link(running()) == link


def test_variable_of_the_link_is_the_one_that_is_set(stub_aws):
    assert stub_aws.environment[jobs.CONSOLE_VARIABLE] == stub_aws.console_url
