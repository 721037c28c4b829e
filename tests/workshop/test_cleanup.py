"""workshop/cleanup.py: finds all that is ours, deletes it and nothing else, twice if need be."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import time
from datetime import datetime, timedelta, timezone

import pytest

import workshop
from tests.support.strangers import TAGS, everything_of
from tests.support.stub_jobs import BUCKET, IMAGE, LOG_GROUP, REPOSITORY, Account, eventually
from tests.support.stub_roles import ADMINISTRATOR, FULL_POLICY, Lab, lab
from tests.support.weak_line import weak_line
from workshop import buckets, cleanup, costs, jobs

# What these tests look at takes long and is done once.
pytestmark = pytest.mark.one_worker

OTHER_BUCKET = "somebody-elses-bucket"
HANGS = "import time; print('here', flush=True); time.sleep(300)"


@pytest.fixture(scope="module")
def aws():
    with lab() as ours:
        yield ours


class Room:
    """An account with things of ours and of others in it."""

    def __init__(self, aws: Lab) -> None:
        self.aws = aws
        self.session = aws.look()
        self.boto = aws.boto(ADMINISTRATOR)
        self.s3, self.logs = self.boto.client("s3"), self.boto.client("logs")
        self.account = Account(aws.environments[FULL_POLICY], aws.role_arn(FULL_POLICY))

    def job(self, script: str, lesson: str | None = "05", wait: bool = True) -> str:
        """Start a job, with the workshop's tags if it is of a lesson, and return its name.

        When this returns it has ended or, without `wait`, printed `here`: a stop that comes while
        the container is still starting reaches no script, and takes the two minutes of grace.
        """
        tags = workshop.tags(lesson) if lesson else [{"Key": "workshop", "Value": "another"}]
        name = self.account.start(script, image=IMAGE, Tags=tags)
        if wait:
            self.account.wait(name)
        else:
            eventually("the script's line", lambda: "here" in self.account.log(name))
        return name

    def streams(self) -> list[str]:
        with contextlib.suppress(self.logs.exceptions.ResourceNotFoundException):
            pages = self.logs.describe_log_streams(logGroupName=LOG_GROUP)
            return [stream["logStreamName"] for stream in pages["logStreams"]]
        return []

    def status(self, name: str) -> str:
        return self.account.describe(name)["TrainingJobStatus"]

    def buckets(self) -> set[str]:
        return {bucket["Name"] for bucket in self.s3.list_buckets()["Buckets"]}


@pytest.fixture(scope="module")
def the_room(aws):
    return Room(aws)


@pytest.fixture
def room(the_room):
    """Empty but for the workshop's bucket, and emptied afterwards."""
    made = the_room
    workshop.ensure_bucket(made.s3, BUCKET, "123456789012")
    yield made
    client = made.boto.client("sagemaker")
    for summary in client.list_training_jobs(StatusEquals="InProgress")["TrainingJobSummaries"]:
        with contextlib.suppress(client.exceptions.ClientError):  # it has ended meanwhile
            client.stop_training_job(TrainingJobName=summary["TrainingJobName"])
        made.account.wait(summary["TrainingJobName"])
    for stream in made.streams():
        made.logs.delete_log_stream(logGroupName=LOG_GROUP, logStreamName=stream)
    for name in made.buckets():
        made.boto.resource("s3").Bucket(name).object_versions.delete()
        for upload in made.s3.list_multipart_uploads(Bucket=name).get("Uploads", []):
            which = {"Key": upload["Key"], "UploadId": upload["UploadId"]}
            made.s3.abort_multipart_upload(Bucket=name, **which)
        made.s3.delete_bucket(Bucket=name)


def delete(session) -> None:
    cleanup.delete(session, cleanup.inventory(session))


def begin_upload(s3, bucket: str) -> None:
    where = {"Bucket": bucket, "Key": "broken-off"}
    upload = s3.create_multipart_upload(**where)["UploadId"]
    s3.upload_part(**where, UploadId=upload, PartNumber=1, Body=b"x" * 1000)


def test_all_that_is_ours_is_found_and_deleted_and_nothing_else(room, capsys):
    mine, theirs = room.job("print(1)"), room.job("print(2)", lesson=None)
    running = room.job(HANGS, wait=False)
    their_running = room.job(HANGS, lesson=None, wait=False)
    room.s3.create_bucket(Bucket=OTHER_BUCKET)
    for bucket in (BUCKET, OTHER_BUCKET):
        room.s3.put_object(Bucket=bucket, Key="thing", Body=b"12345")
        begin_upload(room.s3, bucket)

    listed = cleanup.inventory(room.session)
    ours = {job.name for job in listed.jobs}
    assert {mine, running} <= ours
    assert not ours & {theirs, their_running}
    assert [job.name for job in listed.running] == [running]
    assert (listed.bucket, listed.other_bucket, listed.uploads) == (BUCKET, None, 1)
    assert (listed.upload_size, listed.size > 5, listed.streams >= 1) == (1000, True, True)
    assert room.status(running) == "InProgress"  # looking has changed nothing

    before = {stream for stream in room.streams() if stream.startswith(f"{theirs}/")}
    assert before
    cleanup.delete(room.session, listed)

    assert cleanup.remaining(room.session) == {}
    assert (room.status(running), room.status(their_running)) == ("Stopped", "InProgress")
    left = set(room.streams())
    assert before <= left
    assert not [stream for stream in left if stream.split("/")[0] in ours]
    assert room.buckets() == {OTHER_BUCKET}
    assert room.s3.list_objects_v2(Bucket=OTHER_BUCKET)["KeyCount"] == 1
    assert len(room.s3.list_multipart_uploads(Bucket=OTHER_BUCKET)["Uploads"]) == 1
    output = capsys.readouterr().out
    for line in (
        "stopped 1 job\n",
        "deleted 1 unfinished upload\n",
        f"deleted the bucket {BUCKET}",
    ):
        assert line in output

    # Twice is safe, and the records of the jobs stay.
    assert {job.name for job in cleanup.inventory(room.session).jobs} >= {mine, running}
    delete(room.session)
    assert capsys.readouterr().out == ""


def test_a_job_of_a_name_that_begins_alike_keeps_its_log(room):
    mine = room.job("print(1)")
    alike = f"{mine}-0"
    room.account.wait(room.account.start("print(2)", name=alike, image=IMAGE))
    delete(room.session)
    left = [stream.split("/")[0] for stream in room.streams()]
    assert alike in left
    assert mine not in left


@pytest.fixture
def theirs(room):
    """Return a function that puts a bucket of our name, with things in it, in the place of ours."""

    def make(tags):
        room.s3.delete_bucket(Bucket=BUCKET)
        room.s3.create_bucket(Bucket=BUCKET)
        if tags:
            room.s3.put_bucket_tagging(Bucket=BUCKET, Tagging={"TagSet": tags})
        room.s3.put_object(Bucket=BUCKET, Key="theirs", Body=b"1", Tagging="a=b")
        begin_upload(room.s3, BUCKET)
        return everything_of(room.s3, BUCKET)

    return make


@pytest.mark.parametrize("tags", TAGS.values(), ids=TAGS)
def test_a_bucket_of_our_name_that_somebody_else_made_is_left_alone(room, theirs, tags):
    """Nothing that a lesson did before makes the bucket ours."""
    before = theirs(tags)
    with pytest.raises(workshop.WorkshopError, match="the workshop did not make it"):
        workshop.ensure_bucket(room.session.boto_session.client("s3"), BUCKET, "123456789012")
    listed = cleanup.inventory(room.session)
    assert (listed.bucket, listed.borrowed, listed.other_bucket) == (None, None, BUCKET)
    assert (listed.objects, listed.uploads) == (0, 0)
    assert f"lacks the workshop's tag: {BUCKET}" in "\n".join(cleanup.report(listed))
    cleanup.delete(room.session, listed)
    assert cleanup.remaining(room.session) == {}
    assert everything_of(room.s3, BUCKET) == before


def test_a_bucket_that_is_asked_for_is_cleaned_of_ours_alone(room, theirs, monkeypatch, capsys):
    before = theirs(TAGS["another tag"])
    monkeypatch.setenv("SAGEMAKER_WORKSHOP_BUCKET", BUCKET)
    s3 = room.session.boto_session.client("s3")
    assert buckets.prepare(s3, "123456789012") == BUCKET
    s3.put_object(Bucket=BUCKET, Key="data/train/ours", Body=b"12345")
    listed = cleanup.inventory(room.session)
    assert (listed.bucket, listed.borrowed, listed.other_bucket) == (None, BUCKET, None)
    assert (listed.objects, listed.uploads) == (2, 0)  # the note is the other
    assert f"stays, with the rest in it: {BUCKET}" in "\n".join(cleanup.report(listed))
    assert cleanup.remaining(room.session)["objects"] == 2
    for _ in range(2):
        delete(room.session)
        assert cleanup.remaining(room.session) == {}
        assert everything_of(room.s3, BUCKET) == before
    assert f"left the bucket {BUCKET}, which the workshop did not make" in capsys.readouterr().out


def test_a_bucket_that_was_replaced_after_the_look_is_left_alone(room, theirs):
    listed = cleanup.inventory(room.session)
    assert listed.bucket == BUCKET
    before = theirs([])
    cleanup.delete(room.session, listed)
    assert everything_of(room.s3, BUCKET) == before


def test_a_bucket_that_lost_its_tag_after_the_look_is_left_alone(room):
    room.s3.put_object(Bucket=BUCKET, Key="theirs", Body=b"1")
    listed = cleanup.inventory(room.session)
    room.s3.delete_bucket_tagging(Bucket=BUCKET)
    cleanup.delete(room.session, listed)
    assert room.s3.list_objects_v2(Bucket=BUCKET)["KeyCount"] == 1


def test_a_log_stream_that_no_job_of_ours_wrote_is_kept(room):
    """All streams here begin with the name of a job of ours, and a slash."""
    name = "a-name-that-comes-again"
    with contextlib.suppress(room.logs.exceptions.ResourceAlreadyExistsException):
        room.logs.create_log_group(logGroupName=LOG_GROUP)
    earlier = [f"{name}/algo-1-1500000000", f"{name}/algo-1-1500000000/notes"]
    for stream in earlier:
        room.logs.create_log_stream(logGroupName=LOG_GROUP, logStreamName=stream)
    time.sleep(1.1)  # AWS's times of jobs and of streams are read to the second
    room.account.wait(
        room.account.start("print(1)", name=name, image=IMAGE, Tags=workshop.tags("05"))
    )
    (written,) = {one for one in room.streams() if one.startswith(f"{name}/")} - set(earlier)
    room.logs.create_log_stream(logGroupName=LOG_GROUP, logStreamName=f"{name}/notes")
    delete(room.session)
    left = [one for one in room.streams() if one.startswith(f"{name}/")]
    assert sorted(left) == sorted([*earlier, f"{name}/notes"])
    assert written not in left
    assert cleanup.remaining(room.session) == {}


def test_more_objects_than_one_request_deletes(room, monkeypatch, capsys):
    monkeypatch.setattr(buckets, "BATCH", 2)
    for number in range(5):
        room.s3.put_object(Bucket=BUCKET, Key=f"many/{number}", Body=b"1")
    delete(room.session)
    assert capsys.readouterr().out.count("deleted 2 objects\n") == 2
    assert BUCKET not in room.buckets()


INTERRUPTED = {
    "while it waits for the jobs": (jobs, "wait_for"),
    "before the log streams": (cleanup, "_delete_streams"),
    "before the objects": (buckets, "_delete"),
}


@pytest.mark.parametrize("when", INTERRUPTED)
def test_an_interrupted_clean_up_can_be_run_again(room, monkeypatch, when):
    running = room.job(HANGS, wait=False)
    room.s3.put_object(Bucket=BUCKET, Key="thing", Body=b"1")

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(*INTERRUPTED[when], interrupt)
        with pytest.raises(KeyboardInterrupt):
            delete(room.session)
    assert "buckets" in cleanup.remaining(room.session)
    room.account.wait(running)
    delete(room.session)
    assert cleanup.remaining(room.session) == {}
    assert BUCKET not in room.buckets()


def test_a_job_that_ended_after_the_look_is_no_trouble(room):
    running = room.job(HANGS, wait=False)
    listed = cleanup.inventory(room.session)
    room.account.sagemaker.stop_training_job(TrainingJobName=running)
    room.account.wait(running)
    assert [job.name for job in listed.running] == [running]
    cleanup.delete(room.session, listed)
    assert cleanup.remaining(room.session) == {}


LOST = {
    "sagemaker:ListTrainingJobs": "look for the training jobs",
    "sagemaker:ListTags": "look for the training jobs",
    "s3:ListBucket": "look at the bucket",
    "s3:GetBucketTagging": "look at the bucket",
    "logs:DescribeLogStreams": "look for the log streams",
    "sagemaker:ListNotebookInstances": "look for notebook instances",
    "sagemaker:StopTrainingJob": "stop the running jobs",
    "s3:AbortMultipartUpload": "delete the unfinished uploads",
    "s3:DeleteObject": "delete the objects",
}
# What a role of AWS's managed policy lacks: the clean-up goes on, and says what it leaves.
LEFT = {
    "s3:ListBucketVersions": ("not listed", "old versions of objects (s3:ListBucketVersions)"),
    "s3:ListBucketMultipartUploads": ("not listed", "unfinished uploads"),
    "logs:DeleteLogStream": ("left the log streams", "the permission logs:DeleteLogStream"),
    "s3:DeleteBucket": ("left the buckets", "the permission s3:DeleteBucket"),
}


def test_a_missing_permission_is_one_sentence_and_with_it_the_rest_is_deleted(room):
    room.job("print(1)")
    running = room.job(HANGS, wait=False)
    begin_upload(room.s3, BUCKET)
    for action, doing in LOST.items():
        with pytest.raises(cleanup.CleanupError) as caught:
            delete(room.aws.look(action))
        message = str(caught.value)
        assert message.startswith(f"The cleanup could not {doing}"), message
        assert f"your role lacks the permission {action}" in message
        assert "then run the cleanup again" in message
        assert "\n" not in message
        if doing.startswith("look"):
            assert room.status(running) == "InProgress"
        assert BUCKET in room.buckets()
    delete(room.session)
    assert cleanup.remaining(room.session) == {}


@pytest.mark.parametrize("action", LEFT)
def test_what_the_role_may_not_list_or_delete_is_left_with_a_sentence(room, action, capsys):
    room.job("print(1)")
    session = room.aws.look(action)
    listed = cleanup.inventory(session)
    print(*cleanup.report(listed), sep="\n")
    undeletable = cleanup.delete(session, listed)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if action in line]
    start, reason = LEFT[action]
    assert line.startswith(start)
    assert reason in line
    # what is not deleted is in both answers, so that nothing is left in silence
    assert set(undeletable) == cleanup.remaining(room.session).keys()
    delete(room.session)
    assert cleanup.remaining(room.session) == {}


def test_objects_that_s3_refuses_one_by_one_are_reported(room, monkeypatch):
    session = room.session
    room.s3.put_object(Bucket=BUCKET, Key="locked", Body=b"1")
    error = {"Key": "locked", "Code": "AccessDenied", "Message": "Access Denied"}
    s3 = session.boto_session.client("s3")
    monkeypatch.setattr(s3, "delete_objects", lambda **_: {"Errors": [error]})
    with pytest.raises(cleanup.CleanupError, match=r"1 of 1 objects could not .* 'locked' \(Acc"):
        cleanup._clear(s3, buckets.Bucket(BUCKET))
    assert BUCKET in room.buckets()


def test_a_bucket_that_is_not_empty_after_all_is_reported(room, monkeypatch):
    room.s3.put_object(Bucket=BUCKET, Key="hidden", Body=b"1")
    monkeypatch.setattr(buckets, "versions", lambda *_: [])  # as if it had come just now
    with pytest.raises(cleanup.CleanupError, match=r"just been put into it.*run the cleanup again"):
        cleanup._clear(room.session.boto_session.client("s3"), buckets.Bucket(BUCKET))


def test_old_versions_and_odd_keys_are_found_and_go(room):
    switched = {"VersioningConfiguration": {"Status": "Enabled"}}
    for key in ("odd\x01key", "plain"):
        room.s3.put_object(Bucket=BUCKET, Key=key, Body=b"12345")
    room.s3.put_bucket_versioning(Bucket=BUCKET, **switched)
    for key in ("odd\x01key", "plain"):
        room.s3.put_object(Bucket=BUCKET, Key=key, Body=b"12345")
        room.s3.delete_object(Bucket=BUCKET, Key=key)
    listed = cleanup.inventory(room.session)
    assert (listed.objects, listed.size) == (6, 20)  # two markers, which have no size
    cleanup.delete(room.session, listed)
    assert cleanup.remaining(room.session) == {}
    assert BUCKET not in room.buckets()


def test_notebook_instances_are_found_by_tag_and_left_alone(room):
    client = room.boto.client("sagemaker")
    for name, tags in (("ours", workshop.tags("00")), ("theirs", [])):
        client.create_notebook_instance(
            NotebookInstanceName=name,
            InstanceType="ml.t3.medium",
            RoleArn=room.aws.role_arn(FULL_POLICY),
            Tags=tags,
        )
    listed = cleanup.inventory(room.session)
    assert [instance.name for instance in listed.instances] == ["ours"]
    assert listed.table().loc["notebook instances", "usd"] == 0.05
    assert "notebook instance: ours, ml.t3.medium, InService" in cleanup.report(listed)
    cleanup.delete(room.session, listed)
    names = [
        one["NotebookInstanceName"] for one in client.list_notebook_instances()["NotebookInstances"]
    ]
    assert sorted(names) == ["ours", "theirs"]
    assert cleanup.remaining(room.session) == {}


# --- when AWS does not answer, or not any more --------------------------------------------------

FAILS = {
    "cut": r"AWS does not answer \(Connection was closed .*\)\. Look at the network",
    "expired": r"(your AWS credentials are not valid, or not any more \(ExpiredToken\w*\)|"
    r"S3 refuses without a reason, as it does for old AWS credentials)\. Sign in again",
}

# From here on it fails, and then this is what could not be done.
WHILE_LOOKING = {
    (cleanup, "_jobs"): "look for the training jobs",
    (cleanup, "_buckets"): "look at the bucket",
    (buckets, "tags_of"): "look at the bucket",
    (buckets, "versions"): "look at the bucket",
    (buckets, "size_of_parts"): "look at the bucket",
    (cleanup, "_streams"): "look for the log streams",
    (cleanup, "_instances"): "look for notebook instances",
}
WHILE_DELETING = {
    (cleanup, "_stop"): "stop the running jobs",
    (jobs, "wait_for"): "stop the running jobs",
    (cleanup, "_delete_streams"): "delete the log streams",
    (cleanup, "_buckets"): "look at the bucket",
    (buckets, "abort_uploads"): "delete the unfinished uploads",
    (buckets, "empty"): "delete the objects",
    (buckets, "_delete"): "delete the objects",
}


@pytest.fixture
def line(room, monkeypatch):
    """Return a session of ours over a line that can fail."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with weak_line(room.aws.environments[FULL_POLICY]["AWS_ENDPOINT_URL"]) as line:
        monkeypatch.setenv("AWS_ENDPOINT_URL", line.url)
        yield line


def fails_in(monkeypatch, line, state, where, call) -> str:
    """Return what is read where the line gets into a state when a function is called."""
    module, name = where
    plain = getattr(module, name)

    def enter(*arguments, **keywords):
        line.state = state
        return plain(*arguments, **keywords)

    with monkeypatch.context() as patch:
        patch.setattr(module, name, enter)
        with pytest.raises(cleanup.CleanupError) as caught:
            call()
    line.state = "works"
    return str(caught.value)


@pytest.mark.parametrize("state", FAILS)
def test_where_aws_stops_answering_one_sentence_says_so_and_it_can_be_run_again(
    room, line, monkeypatch, state
):
    room.job("print(1)")
    running = room.job(HANGS, wait=False)
    begin_upload(room.s3, BUCKET)
    session = room.aws.look()
    called = {
        **{(where, "look"): doing for where, doing in WHILE_LOOKING.items()},
        **{(where, "delete"): doing for where, doing in WHILE_DELETING.items()},
    }
    listed = cleanup.inventory(session)
    for (where, verb), doing in called.items():
        message = fails_in(
            monkeypatch,
            line,
            state,
            where,
            lambda verb=verb: (
                cleanup.inventory(session) if verb == "look" else cleanup.delete(session, listed)
            ),
        )
        assert re.match(rf"The cleanup could not {doing}: {FAILS[state]}.*, then run", message), (
            message
        )
        assert "\n" not in message
        if verb == "look":
            assert room.status(running) == "InProgress"
        assert BUCKET in room.buckets()
    delete(session)
    assert cleanup.remaining(session) == {}


WITHOUT = {
    "network": ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "AWS does not answer"),
    "valid keys": ({"AWS_ACCESS_KEY_ID": "ASIAINVENTED"}, "not valid, or not any more (InvalidCl"),
    "a valid secret": ({"AWS_SECRET_ACCESS_KEY": "invented"}, "not any more (SignatureDoesNotM"),
    "a profile": ({"AWS_PROFILE": "nobody"}, "The config profile (nobody) could not be found"),
}


@pytest.mark.parametrize("missing", WITHOUT)
def test_command_line_without_it_is_one_sentence(room, missing):
    changes, wanted = WITHOUT[missing]
    environment = room.aws.environments[FULL_POLICY] | {"AWS_MAX_ATTEMPTS": "1"} | changes
    command = [sys.executable, "scripts/workshop/cleanup.py", "--delete"]
    done = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    (output,) = done.stderr.splitlines()
    assert output.startswith("AWS does not say who you are: ")
    assert wanted in output
    assert BUCKET in room.buckets()


def test_an_impatient_hand_ends_it_with_one_line(room, monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(cleanup, "inventory", interrupt)
    monkeypatch.setattr(workshop, "session", lambda **_: room.session)
    assert cleanup.main(["--delete"]) == 130
    assert capsys.readouterr().out.strip().startswith("Interrupted: what is deleted stays deleted")


# --- costs --------------------------------------------------------------------------------------

NOW = datetime(2026, 1, 2, 12, tzinfo=timezone.utc)


def job(lesson: str, **changes) -> cleanup.Job:
    resources = {"InstanceType": "ml.m5.large", "InstanceCount": 2}
    description = {
        "TrainingJobName": "job",
        "TrainingJobStatus": "Completed",
        "BillableTimeInSeconds": 100,
        "ResourceConfig": resources,
    }
    return cleanup.Job(lesson, description | changes)


def test_costs_are_summed_by_lesson_running_jobs_by_now():
    started = {"TrainingJobStatus": "InProgress", "TrainingStartTime": NOW - timedelta(seconds=50)}
    running = job("03", **started, BillableTimeInSeconds=None)
    del running.description["BillableTimeInSeconds"]
    table = cleanup.cost_by_lesson([job("03"), running, job("05")], NOW)
    hourly = costs.price("ml.m5.large").usd
    assert table.loc["03"].tolist() == pytest.approx([2, 300, 300 / 3600 * hourly])
    assert table.loc["05"].tolist() == pytest.approx([1, 200, 200 / 3600 * hourly])


def test_an_unknown_price_is_missing_and_not_nothing():
    unknown = {"ResourceConfig": {"InstanceType": "ml.unknown.large", "InstanceCount": 1}}
    table = cleanup.cost_by_lesson([job("03"), job("03", **unknown), job("05")], NOW)
    assert table["usd"].isna().tolist() == [True, False]
    assert table["jobs"].tolist() == [2, 1]


def test_the_table_has_a_price_for_each_thing_that_bills():
    stopped = cleanup.Instance("a", "ml.t3.medium", "Stopped", 0.05)
    up = cleanup.Instance("b", "ml.t3.medium", "InService", 0.05)
    listed = cleanup.Inventory(
        jobs=(job("03"), job("03", TrainingJobStatus="InProgress")),
        bucket="bucket",
        other_bucket=None,
        objects=7,
        size=3 * costs.GB,
        uploads=2,
        upload_size=5 * costs.GB,
        streams=0,
        instances=(stopped, up),
    )
    table = listed.table()
    assert table["count"].tolist() == [1, 1, 7, 2, 1, 0, 2]
    gigabyte, hourly = costs.S3_STANDARD.usd, costs.price("ml.m5.large").usd
    expected = [2 * hourly, 0, 3 * gigabyte, 5 * gigabyte, 0, 0, 0.05]
    assert table["usd"].tolist() == pytest.approx(expected)
    assert table["per"].tolist() == ["hour", "", "month", "month", "", "month", "hour"]


def test_the_table_has_no_sum_where_a_price_is_unknown():
    unknown = {"ResourceConfig": {"InstanceType": "ml.unknown.large", "InstanceCount": 1}}
    running = job("03", TrainingJobStatus="Stopping", **unknown)
    listed = cleanup.Inventory((running, job("03")), None, None, 0, 0, 0, 0, 4, ())
    assert listed.table()["usd"].isna().tolist() == [True] + 4 * [False] + [True, False]


# --- the command line -----------------------------------------------------------------------------


def test_command_line(room, monkeypatch, capsys):
    room.s3.put_object(Bucket=BUCKET, Key="thing", Body=b"12345")
    for name, value in room.aws.environments[FULL_POLICY].items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    assert cleanup.main([]) == 0
    assert capsys.readouterr().out.endswith("left: 1 objects, 1 buckets\n")
    assert BUCKET in room.buckets()
    for _ in range(2):
        assert cleanup.main(["--delete"]) == 0
        output = capsys.readouterr().out
        assert output.endswith("this workshop has nothing left to delete\n")
        assert BUCKET not in room.buckets()


def test_command_line_without_a_region_is_one_sentence():
    environment = {"PATH": "", "AWS_CONFIG_FILE": "/dev/null", "AWS_EC2_METADATA_DISABLED": "true"}
    command = [sys.executable, "scripts/workshop/cleanup.py"]
    done = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("No AWS region is chosen: set AWS_DEFAULT_")
