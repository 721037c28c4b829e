"""workshop/jobs.py: jobs as tables, timelines and logs, also when something is not there yet."""

from datetime import datetime, timedelta, timezone

import boto3
import pytest
from moto import mock_aws

from workshop import jobs

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)


def description(name="job-1", **changes):
    return {
        "TrainingJobName": name,
        "TrainingJobArn": f"arn:aws:sagemaker:us-east-1:123456789012:training-job/{name}",
        "TrainingJobStatus": "Completed",
        "TrainingTimeInSeconds": 109,
        "BillableTimeInSeconds": 109,
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
        "FinalMetricDataList": [{"MetricName": "validation:accuracy", "Value": 0.75}],
    } | changes


def without(job, *keys):
    return {key: value for key, value in job.items() if key not in keys}


class Session:
    """The part of a sagemaker.Session that jobs.log needs."""

    boto_region_name = "us-east-1"

    def __init__(self):
        self.boto_session = boto3.Session(
            aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1"
        )


@pytest.fixture
def logs():
    """CloudWatch Logs, in memory, and a function that writes one stream."""
    with mock_aws():
        session = Session()
        client = session.boto_session.client("logs")

        def write(stream, *lines):
            client.create_log_stream(logGroupName=jobs.LOG_GROUP, logStreamName=stream)
            now = int(datetime.now(timezone.utc).timestamp() * 1000)
            events = [{"timestamp": now + i, "message": line} for i, line in enumerate(lines)]
            for first in range(0, len(events), 5000):
                client.put_log_events(
                    logGroupName=jobs.LOG_GROUP,
                    logStreamName=stream,
                    logEvents=events[first : first + 5000],
                )

        write.session, write.client = session, client
        yield write


def test_table_has_a_row_per_job_with_its_cost_and_metrics():
    frame = jobs.table(description("a"), description("b", BillableTimeInSeconds=218))
    assert list(frame.index) == ["a", "b"]
    assert frame.loc["a", "usd"] == pytest.approx(109 / 3600 * 0.115)
    assert frame.loc["b", "usd"] == pytest.approx(2 * frame.loc["a", "usd"])
    assert frame.loc["a", "validation:accuracy"] == 0.75


def test_a_wait_has_a_limit_and_names_the_job_that_goes_on(monkeypatch):
    statuses = {"quick": "Completed", "endless": "InProgress"}
    monkeypatch.setattr(
        jobs, "_describe", lambda _, name: description(name, TrainingJobStatus=statuses[name])
    )
    with pytest.raises(jobs.JobError, match=r"^endless has not ended after 0.1 seconds, and goes"):
        jobs.wait_for(Session(), "quick", "endless", poll_s=0.01, limit_s=0.1)
    (job,) = jobs.wait_for(Session(), "quick", limit_s=0)
    assert job["TrainingJobName"] == "quick"


def test_running_job_and_unknown_price_are_missing_in_the_table_not_zero():
    running = without(
        description("run", TrainingJobStatus="InProgress"),
        "TrainingTimeInSeconds",
        "BillableTimeInSeconds",
        "FinalMetricDataList",
    )
    unpriced = description("odd")
    unpriced["ResourceConfig"] = {"InstanceType": "ml.m5.24xlarge", "InstanceCount": 1}
    frame = jobs.table(running, unpriced, description("done"))
    assert frame["usd"].isna().tolist() == [True, True, False]
    assert frame["billable_s"].isna().tolist() == [True, False, False]
    assert frame["validation:accuracy"].isna().tolist() == [True, False, False]


def test_timeline_measures_each_status_and_leaves_the_open_one_missing():
    steps = [
        {"Status": "Starting", "StartTime": START, "EndTime": START + timedelta(seconds=42)},
        {
            "Status": "Training",
            "StartTime": START + timedelta(seconds=42),
            "StatusMessage": "Training in progress.",
        },
    ]
    frame = jobs.timeline(description(SecondaryStatusTransitions=steps))
    assert frame["status"].tolist() == ["Starting", "Training"]
    assert frame["message"].tolist() == ["", "Training in progress."]
    assert frame["seconds"][0] == 42
    assert frame["seconds"].isna().tolist() == [False, True]


def test_timeline_of_a_job_without_transitions_is_empty():
    assert jobs.timeline(description()).empty


def test_log_reads_every_host_in_order_and_no_other_job(logs):
    logs.client.create_log_group(logGroupName=jobs.LOG_GROUP)
    logs("job-1/algo-2-17", "second host")
    logs("job-1/algo-1-17", "one", "two")
    logs("job-10/algo-1-17", "another job")
    assert jobs.log(logs.session, "job-1") == ["one", "two", "second host"]


def test_log_of_many_pages_is_read_to_its_end(logs):
    logs.client.create_log_group(logGroupName=jobs.LOG_GROUP)
    lines = [f"line {i}" for i in range(12_001)]  # CloudWatch hands out 10,000 at most at a time
    logs("job-1/algo-1-17", *lines)
    assert jobs.log(logs.session, "job-1") == lines


def test_missing_log_says_why(logs):
    with pytest.raises(jobs.JobError, match=r"No log of 'job-1'.*no such job in us-east-1"):
        jobs.log(logs.session, "job-1")  # not even the group is there
    logs.client.create_log_group(logGroupName=jobs.LOG_GROUP)
    with pytest.raises(jobs.JobError, match="No log of 'job-1'"):
        jobs.log(logs.session, "job-1")


def test_console_link_leads_to_the_job_in_its_region():
    link = jobs.console_link(description("my-job"))
    assert link == (
        "https://us-east-1.console.aws.amazon.com/sagemaker/home?region=us-east-1#/jobs/my-job"
    )


def test_console_of_china_is_elsewhere_and_of_nowhere_is_refused():
    arn = "arn:{}:sagemaker:cn-north-1:123456789012:training-job/x"
    china = jobs.console_link(description("x", TrainingJobArn=arn.format("aws-cn")))
    assert china.startswith("https://cn-north-1.console.amazonaws.cn/")
    with pytest.raises(jobs.JobError, match="aws-mars"):
        jobs.console_link(description("x", TrainingJobArn=arn.format("aws-mars")))


def steps(**seconds):
    """Return transitions one after another; the name of a status may have a number: Starting_2."""
    made, at = [], START
    for name, duration in seconds.items():
        end = at + timedelta(seconds=duration)
        made.append({"Status": name.partition("_")[0], "StartTime": at, "EndTime": end})
        at = end
    return made


def test_phases_has_a_row_per_job_and_the_phases_in_their_order():
    plain = steps(Starting=40, Downloading=100, Training=10, Uploading=3, Completed=0)
    spot = steps(Starting=40, Training=10, Interrupted=5, Starting_2=20, Training_2=7)
    frame = jobs.phases(
        description("spot", SecondaryStatusTransitions=spot),
        description("plain", SecondaryStatusTransitions=plain),
    )
    assert frame.index.tolist() == ["spot", "plain"]
    assert frame.columns.tolist() == [*jobs.PHASES, "Interrupted", "Completed"]
    assert frame.loc["plain", list(jobs.PHASES)].tolist() == [40, 100, 10, 3]
    assert frame.loc["spot", ["Starting", "Training", "Interrupted"]].tolist() == [60, 17, 5]
    assert frame.loc["spot", ["Downloading", "Uploading"]].isna().all()


def test_a_phase_that_has_not_ended_is_missing_and_so_is_a_job_without_any():
    running = steps(Starting=40)
    running.append({"Status": "Training", "StartTime": START})
    frame = jobs.phases(description("new"), description("run", SecondaryStatusTransitions=running))
    assert frame.index.tolist() == ["new", "run"]
    assert frame.columns.tolist() == ["Starting"]
    assert frame["Starting"].isna().tolist() == [True, False]


def test_events_carry_the_time_of_each_line(logs):
    logs.client.create_log_group(logGroupName=jobs.LOG_GROUP)
    logs("job-1/algo-1-17", "one", "two")
    frame = jobs.events(logs.session, "job-1")
    assert frame["line"].tolist() == ["one", "two"]
    assert str(frame["time"].dt.tz) == "UTC"
    assert (frame["time"].iloc[1] - frame["time"].iloc[0]).total_seconds() == 0.001
    age = datetime.now(timezone.utc) - frame["time"].iloc[0]
    assert age < timedelta(minutes=1)
