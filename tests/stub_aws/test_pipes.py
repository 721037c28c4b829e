"""Pipe mode when something goes wrong: what cannot be read is never the end of the data.

And what a script does to its pipes is its own business: nothing is written elsewhere or hangs.
"""

import gzip
import os
import threading
import time

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError

from stub_aws.channels import Channel, S3Object
from stub_aws.ends import Troubles
from stub_aws.pipes import PipeFeeder
from stub_aws.run import Run
from tests.support.stub_jobs import (
    BUCKET,
    PATIENCE_S,
    Account,
    Meeting,
    StubProcess,
    channel,
    eventually,
    processes_with,
    unique,
)

READ = """
PIPES = MODEL.parent / "input/data"

def read(epoch):
    with open(PIPES / f"train_{epoch}", "rb") as pipe:
        return pipe.read()
"""
EPOCHS = (
    READ
    + """
for epoch in range(3):
    tell(**{f"epoch {epoch}": len(read(epoch))})
    if epoch == 0 and "MEETING_PORT" in os.environ:
        meet()
(MODEL / "m").write_text("trained on nothing")
"""
)


@pytest.fixture(scope="module")
def account(stub_aws) -> Account:
    return Account(stub_aws.environment, stub_aws.role_arn)


def source(uri: str, **changes: str) -> dict:
    """Return an InputDataConfig with one channel in Pipe mode."""
    return {"InputDataConfig": [channel("train", uri) | {"InputMode": "Pipe"} | changes]}


def unreadable(uri: str, cause: str) -> str:
    return f"ClientError: Data download failed:Unable to download object {uri} ({cause})"


# --- what cannot be read --------------------------------------------------------------------------

TEXT = b"Survived,Pclass\n" * 5000
CRC_IS_WRONG = gzip.compress(TEXT)[:-8] + b"12345678"


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"no gzip at all", "Not a gzipped file (b'no')"),
        (
            gzip.compress(TEXT)[:-20],
            "Compressed file ended before the end-of-stream marker was reached",
        ),
        (CRC_IS_WRONG, "CRC check failed"),
        (gzip.compress(TEXT) + b"and more", "Not a gzipped file (b'an')"),
        (gzip.compress(TEXT)[:30] + b"\xff" * 100, "Error -3 while decompressing data"),
    ],
    ids=["no gzip", "truncated", "checksum", "something after it", "damaged"],
)
def test_a_bad_archive_fails_the_job_with_its_key_and_the_cause(account, content, cause):
    prefix = unique("bad")
    account.s3.put_object(Bucket=BUCKET, Key=f"{prefix}/1.gz", Body=gzip.compress(b"good"))
    account.s3.put_object(Bucket=BUCKET, Key=f"{prefix}/2.gz", Body=content)
    job = account.run(EPOCHS, **source(f"s3://{BUCKET}/{prefix}", CompressionType="Gzip"))
    assert job["TrainingJobStatus"] == "Failed"
    reason = unreadable(f"s3://{BUCKET}/{prefix}/2.gz", cause).removesuffix(")")
    assert job["FailureReason"].startswith(reason)
    assert account.facts(job["TrainingJobName"]) == {}  # no end came that was none


def test_an_object_that_is_gone_before_the_second_epoch_fails_the_job(account):
    key = unique("gone")
    uri = account.put(key, "1,2")
    with Meeting() as meeting:
        name = account.start(EPOCHS, meeting=meeting, **source(uri))
        meeting.wait()
        account.s3.delete_object(Bucket=BUCKET, Key=key)
        meeting.release()
        job = account.wait(name)
    assert job["TrainingJobStatus"] == "Failed"
    assert job["FailureReason"] == unreadable(uri, "NoSuchKey")
    assert account.facts(name) == {"epoch 0": 3}


def test_what_came_to_light_only_when_the_script_had_ended_well_fails_the_job(account, monkeypatch):
    run_hosts = Run._run_hosts

    def late(self, image, layouts, hosts, troubles):
        outcome = run_hosts(self, image, layouts, hosts, troubles)
        assert outcome.status == "Completed"
        troubles.report("ClientError: Data download failed: too late")
        return outcome

    monkeypatch.setattr(Run, "_run_hosts", late)
    job = account.run("(MODEL / 'm').touch()")
    assert job["TrainingJobStatus"] == "Failed"
    assert job["FailureReason"] == "ClientError: Data download failed: too late"


class BadS3:
    """An S3 whose only object gives some bytes, then an error."""

    def __init__(self, error: Exception, first: bytes = b"") -> None:
        self.error = error
        self.first = first

    def get_object(self, **_: str) -> dict:
        if not self.first:
            raise self.error
        return {"Body": self}

    def read(self, _: int) -> bytes:
        if self.first:
            first, self.first = self.first, b""
            return first
        raise self.error

    def close(self) -> None:
        """Nothing is open."""


DENIED = ClientError({"Error": {"Code": "AccessDenied"}}, "GetObject")
LOST = ReadTimeoutError(endpoint_url="http://s3")
REFUSED = EndpointConnectionError(endpoint_url="http://s3")


@pytest.mark.parametrize(
    ("s3", "cause"),
    [
        (BadS3(DENIED), "AccessDenied: Access Denied"),
        (BadS3(LOST, b"begun"), 'Read timeout on endpoint URL: "http://s3"'),
        (BadS3(REFUSED), 'Could not connect to the endpoint URL: "http://s3"'),
    ],
    ids=["denied", "lost on the way", "no connection"],
)
def test_an_error_of_s3_is_reported_and_the_pipe_has_no_end(tmp_path, s3, cause):
    troubles, begun = Troubles(), s3.first
    feeder = feed(tmp_path, s3, troubles)
    pipe = os.open(tmp_path / "train_0", os.O_RDONLY)
    try:
        eventually("the report", lambda: troubles.first)
        assert troubles.first == unreadable("s3://bucket/key", cause)
        assert os.read(pipe, 100) == begun if begun else True
        os.set_blocking(pipe, False)
        with pytest.raises(BlockingIOError):  # open, and nothing in it
            os.read(pipe, 1)
        feeder.close()
        assert os.read(pipe, 1) == b""
    finally:
        os.close(pipe)


def feed(folder, s3, troubles=None, note=print, compression="None") -> PipeFeeder:
    source = Channel(
        "train", "s3://bucket/key", "Pipe", "S3Prefix", "FullyReplicated", compression, "None", None
    )
    objects = [S3Object("bucket", "key", "key")]
    descriptor = os.open(folder, os.O_RDONLY)
    return PipeFeeder(s3, source, objects, descriptor, troubles or Troubles(), note)


def test_an_archive_of_several_members_comes_whole(account):
    prefix = unique("members")
    body = gzip.compress(b"first ") + gzip.compress(b"second ") + gzip.compress(b"") + b"\0" * 512
    account.s3.put_object(Bucket=BUCKET, Key=f"{prefix}/all.gz", Body=body)
    script = READ + "tell(read=read(0).decode())"
    job = account.run(script, **source(f"s3://{BUCKET}/{prefix}", CompressionType="Gzip"))
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    assert account.facts(job["TrainingJobName"]) == {"read": "first second "}


# --- what a script does to its pipes --------------------------------------------------------------


class GoodS3:
    """An S3 whose only object is long."""

    def __init__(self) -> None:
        self.left = 100

    def get_object(self, **_: str) -> dict:
        return {"Body": GoodS3()}

    def read(self, size: int) -> bytes:
        self.left -= 1
        return b"x" * size if self.left > 0 else b""

    def close(self) -> None:
        """Nothing is open."""


@pytest.mark.parametrize("kind", ["link", "file", "another pipe"])
def test_what_is_put_in_a_pipes_place_is_left_alone(tmp_path, kind):
    victim = tmp_path / "persons-file"
    victim.write_text("precious")
    folder = tmp_path / "data"
    folder.mkdir()
    notes: list[str] = []
    feeder = feed(folder, GoodS3(), note=notes.append)
    pipe = folder / "train_0"
    pipe.rename(folder / "away")
    if kind == "link":
        pipe.symlink_to(victim)
    elif kind == "file":
        pipe.hardlink_to(victim)
    else:
        os.mkfifo(pipe)
    eventually("the note", lambda: notes)
    feeder.close()
    assert victim.read_text() == "precious"
    assert notes == [
        "the channel train is fed no more, since the script changed its pipes: train_0 is another "
        "file"
    ]


@pytest.mark.parametrize("replaced", ["train_1", "folder"])
def test_a_link_in_a_pipes_place_in_a_job_overwrites_nothing(account, tmp_path, replaced):
    """With namespaces /tmp is hidden from the job, but the stub's own eyes see it."""
    victim = tmp_path / "persons-file"
    victim.write_text("precious")
    script = READ + (
        f"""
tell(first=read(0).decode())
(PIPES / "train_1").unlink()
(PIPES / "train_1").symlink_to({str(victim)!r})
time.sleep(0.5)
"""
        if replaced == "train_1"
        else f"""
PIPES.rename(PIPES.with_name("moved"))
PIPES.symlink_to({str(tmp_path)!r})
with open(PIPES.with_name("moved") / "train_0", "rb") as pipe:
    tell(first=pipe.read().decode())
"""
    )
    job = account.run(script, **source(account.put(unique("data"), "1,2")))
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    assert account.facts(job["TrainingJobName"]) == {"first": "1,2"}
    assert victim.read_text() == "precious"
    assert [path.name for path in tmp_path.iterdir()] == ["persons-file"]
    if replaced == "train_1":
        log = account.log(job["TrainingJobName"])
        assert any("fed no more" in line for line in log)


def test_a_script_that_makes_the_next_pipe_itself_still_gets_this_one_whole(account):
    script = READ + "(PIPES / 'train_1').touch(); tell(first=read(0).decode())"
    script = "PIPES = MODEL.parent / 'input/data'\n" + script
    job = account.run(script, **source(account.put(unique("data"), "1,2")))
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    assert account.facts(job["TrainingJobName"]) == {"first": "1,2"}


def test_a_full_pipe_holds_up_no_end(tmp_path):
    """Whoever has it open reads nothing."""
    feeder = feed(tmp_path, GoodS3())
    pipe = os.open(tmp_path / "train_0", os.O_RDONLY)
    try:
        eventually("a full pipe", lambda: feeder._thread.is_alive() and readable(pipe) > 60_000)
        closing = threading.Thread(target=feeder.close, daemon=True)
        closing.start()
        closing.join(PATIENCE_S)
        assert not closing.is_alive()
        assert not feeder._thread.is_alive()
    finally:
        os.close(pipe)


def readable(pipe: int) -> int:
    import fcntl
    import struct
    import termios

    return struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, b"\0" * 4))[0]


def test_a_daemon_that_keeps_a_pipe_open_ends_with_its_job():
    """Without namespaces it may be in a session of its own, and read nothing."""
    mark = unique("holds-the-pipe")
    script = (
        READ
        + f"""
pipe = os.open(PIPES / "train_0", os.O_RDONLY)
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(900)", "{mark}"], env={{}},
                 start_new_session=True, pass_fds=[pipe])
"""
    )
    with StubProcess(namespaces=False) as stub:
        uri = stub.account.put(unique("data"), "x" * 10_000_000)
        job = stub.account.run(script, **source(uri))
        assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
        began = time.monotonic()
        stub.end()
        assert time.monotonic() - began < PATIENCE_S / 2
    assert processes_with(mark) == []
