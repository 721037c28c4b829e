"""What a job leaves is data: the stub follows no link out of it, waits for none of it, names it.

With and without namespaces: a script may leave links, pipes, sockets, files that nobody may read,
strange names and huge sizes in its folders. Each ends in an archive or in a reason.
"""

import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from stub_aws.roles import create_role
from tests.support.stub_jobs import (
    BUCKET,
    PATIENCE_S,
    REPOSITORY,
    Account,
    Meeting,
    StubProcess,
    needs_namespaces,
    unique,
)

ALL_PERMISSIONS = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
}
SECRET = "what only this person may read"
# Of a script's folders, with and without namespaces, and of a file of this person.
WHERE = """
ML = MODEL.parent
ML_SEEN = "/opt/ml" if "SAGEMAKER_BASE_DIR" not in os.environ else str(ML)
SECRETS = Path(os.environ["SECRETS"])

def put_link(path, target):
    subprocess.run(["rm", "-rf", str(path)], check=True)
    path.symlink_to(target)

def fail_at_once():
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(600)
"""


@pytest.fixture(scope="module")
def without_namespaces():
    with StubProcess(namespaces=False) as stub:
        yield stub.account


@pytest.fixture(scope="module")
def account(stub_aws) -> Account:
    return Account(stub_aws.environment, stub_aws.role_arn)


@pytest.fixture(scope="module", params=[pytest.param("namespaces", marks=needs_namespaces), "none"])
def either(request, account, without_namespaces) -> Account:
    """Return an account whose jobs have namespaces, and one whose jobs have none."""
    return without_namespaces if request.param == "none" else account


@pytest.fixture(scope="module")
def secrets():
    """Return a folder with one file in this person's home."""
    folder = Path.home() / unique("person-of-the-stub")
    folder.mkdir()
    (folder / "secret").write_text(SECRET)
    yield folder
    shutil.rmtree(folder)


def run(account: Account, secrets: Path, script: str, **arguments) -> dict:
    """Run a job whose script knows where its folders and the person's file are."""
    request = account.request(WHERE + script, **arguments)
    request["Environment"] = {**request.get("Environment", {}), "SECRETS": str(secrets)}
    account.sagemaker.create_training_job(**request)
    return account.wait(request["TrainingJobName"])


def members(account: Account, name: str) -> dict[str, tarfile.TarInfo]:
    """Return what is in a job's model.tar.gz, the headers only."""
    key = f"output/{name}/output/model.tar.gz"
    body = account.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(body), mode="r:gz") as tar:
        return {member.name: member for member in tar}


# --- links ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["model", "output/data"])
def test_a_folder_that_leads_to_the_persons_home_fails_the_job_and_nothing_of_it_is_taken(
    either, secrets, folder
):
    job = run(either, secrets, f"put_link(ML / {folder!r}, SECRETS)")
    assert job["TrainingJobStatus"] == "Failed"
    assert job["FailureReason"] == (
        f"ClientError: Artifact upload failed:/opt/ml/{folder} leads out of the job's own files, "
        f"to {secrets} (algo-1)"
    )
    assert either.keys(f"output/{job['TrainingJobName']}/") == []


def test_a_folder_above_the_model_may_be_the_link_that_leads_out(either, secrets):
    script = "put_link(ML / 'output', SECRETS); (MODEL / 'm').touch()"
    job = run(either, secrets, script + "; Path(SECRETS / 'data').exists()")
    assert job["TrainingJobStatus"] == "Failed"
    assert SECRET not in str(job)
    assert either.keys(f"output/{job['TrainingJobName']}/output/output.tar.gz") == []


def test_a_failure_file_that_is_a_link_to_the_persons_file_is_not_read(either, secrets):
    job = run(
        either, secrets, "put_link(ML / 'output/failure', SECRETS / 'secret')\nfail_at_once()"
    )
    assert job["FailureReason"] == "AlgorithmError: Exit Code: 137"
    assert [line for line in either.log(job["TrainingJobName"]) if "failure file" in line] == [
        "stub AWS: the failure file is not read: /opt/ml/output/failure leads out of the job's own "
        f"files, to {secrets / 'secret'}"
    ]


def test_a_checkpoint_folder_that_leads_to_the_persons_home_fails_the_job(either, secrets):
    prefix = unique("checkpoints")
    job = run(
        either,
        secrets,
        "put_link(ML / 'checkpoints', SECRETS)",
        CheckpointConfig={"S3Uri": f"s3://{BUCKET}/{prefix}"},
    )
    assert either.keys(prefix) == []
    assert job["FailureReason"] == (
        "ClientError: Checkpoint upload failed:/opt/ml/checkpoints leads out of the job's own "
        f"files, to {secrets}"
    )


HONEST = {
    "beside it": "best = ML / 'output/data/best'; target = ML_SEEN + '/output/data/best'",
    "relative": "best = ML / 'output/data/best'; target = '../ml/./output/data/best'",
    "temporary": "best = Path(os.environ.get('TMPDIR', '/tmp'), 'best'); target = str(best)",
    "by another link": (
        "best = ML / 'output/data/best'; target = ML_SEEN + '/newest'; "
        "(ML / 'newest').symlink_to('output/data/best')"
    ),
}


@pytest.mark.parametrize("how", HONEST)
def test_a_model_folder_that_is_an_honest_link_keeps_its_model(either, secrets, how):
    script = (
        f"{HONEST[how]}; best.mkdir(); (best / 'm').write_text('kept'); put_link(MODEL, target)"
    )
    job = run(either, secrets, script)
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    assert either.unpack(job["TrainingJobName"]) == {"m": b"kept"}


def test_a_checkpoint_folder_that_is_an_honest_link_is_kept(either, secrets):
    prefix = unique("checkpoints")
    job = run(
        either,
        secrets,
        "put_link(ML / 'checkpoints', ML_SEEN + '/output/kept'); (ML / 'output/kept').mkdir(); "
        "(ML / 'output/kept/step').write_text('1')",
        CheckpointConfig={"S3Uri": f"s3://{BUCKET}/{prefix}"},
    )
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    assert either.keys(prefix) == [f"{prefix}/step"]


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("put_link(MODEL, 'nowhere')", "leads to /opt/ml/nowhere, which is not there"),
        ("put_link(MODEL, 'model')", "is a link that never ends"),
        ("put_link(MODEL, '/')", "leads out of the job's own files, to /"),
        ("put_link(MODEL, MODEL); MODEL.unlink(); MODEL.touch()", ": Not a directory"),
        ("put_link(MODEL, MODEL); MODEL.unlink(); os.mkfifo(MODEL)", ": Not a directory"),
    ],
    ids=["to nothing", "to itself", "to the root", "a file", "a pipe"],
)
def test_what_is_no_folder_in_the_models_place_is_said(account, secrets, script, reason):
    job = run(account, secrets, script)
    assert job["TrainingJobStatus"] == "Failed"
    assert re.fullmatch(
        rf"ClientError: Artifact upload failed:/opt/ml/model ?{re.escape(reason)} \(algo-1\)",
        job["FailureReason"],
    )


def test_a_job_that_takes_its_model_folder_away_has_no_model(account, secrets):
    job = run(account, secrets, "MODEL.rmdir()")
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    assert "ModelArtifacts" not in job


# --- what is in the folders -----------------------------------------------------------------------

STRANGE = r"""
(MODEL / "plain").write_text("plain")
os.link(MODEL / "plain", MODEL / "same")
(MODEL / "link").symlink_to(SECRETS / "secret")
(MODEL / "folder-link").symlink_to(SECRETS)
os.mkfifo(MODEL / "pipe")
server = socket.socket(socket.AF_UNIX)
os.chdir(MODEL)
server.bind("socket")
Path("closed").mkdir()
Path("closed/closed").write_text("read me")
Path("closed/closed").chmod(0)
Path("closed").chmod(0)
Path(os.fsdecode(b"not-utf8-\xff\xfe")).write_text("1")
Path("two\nlines\x1b\x7f").write_text("2")
Path("x" * 255).write_text("3")
"""


def test_what_is_strange_in_a_model_is_packed_as_it_is(either, secrets):
    job = run(either, secrets, STRANGE)
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    name = job["TrainingJobName"]
    entries = members(either, name)
    assert SECRET.encode() not in either.unpack(name).values()
    assert either.unpack(name) == {
        "plain": b"plain",
        "closed/closed": b"read me",
        os.fsdecode(b"not-utf8-\xff\xfe"): b"1",
        "two\nlines\x1b\x7f": b"2",
        "x" * 255: b"3",
    }
    assert entries["same"].islnk()
    assert entries["same"].linkname == "plain"
    assert entries["link"].linkname == str(secrets / "secret")
    assert entries["folder-link"].issym()
    assert entries["pipe"].isfifo()
    assert (entries["closed"].mode, entries["closed/closed"].mode) == (0, 0)
    assert {(member.uid, member.uname, member.gname) for member in entries.values()} == {
        (0, "root", "root")
    }
    assert "socket" not in entries
    line = "stub AWS: /opt/ml/model/socket is a socket: it goes into no archive"
    assert line in either.log(name)


DEEP = """
os.chdir(MODEL)
for level in range(600):
    os.mkdir("level-deep")
    os.chdir("level-deep")
Path("bottom").write_text("found")
"""


def test_a_model_600_folders_deep_is_packed(account, secrets):
    job = run(account, secrets, DEEP)
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    assert account.unpack(job["TrainingJobName"]) == {"level-deep/" * 600 + "bottom": b"found"}


def test_a_model_that_never_ends_is_named(account, secrets):
    job = run(account, secrets, DEEP.replace("600", "2100").replace("level-deep", "d"))
    assert job["TrainingJobStatus"] == "Failed"
    assert job["FailureReason"].startswith("ClientError: Artifact upload failed:/opt/ml/model/d/d/")
    assert job["FailureReason"].endswith(
        "/d/d has more than 2000 folders one inside the other (algo-1)"
    )


@needs_namespaces
def test_of_two_hosts_the_first_ones_file_is_kept_where_the_second_has_a_folder(stub_aws):
    account = Account(stub_aws.environment, stub_aws.role_arn)
    script = """
if os.environ["SM_CURRENT_HOST"] == "algo-1":
    (MODEL / "a").write_text("a file")
else:
    (MODEL / "a").mkdir()
    (MODEL / "a/b").write_text("in its way")
    (MODEL / "c").write_text("not")
"""
    job = account.run(script, hosts=2)
    assert account.unpack(job["TrainingJobName"]) == {"a": b"a file", "c": b"not"}


HUGE = """
def huge(path):
    with open(path, "wb") as file:
        file.truncate(200 * 1024**3)
"""


@pytest.mark.parametrize("folder", ["model", "output/data"])
def test_more_than_the_volume_holds_is_refused_before_it_is_packed(account, secrets, folder):
    began = time.monotonic()
    job = run(account, secrets, HUGE + f"huge(ML / '{folder}' / 'big.bin')")
    assert job["TrainingJobStatus"] == "Failed"
    assert job["FailureReason"] == (
        "ClientError: Artifact upload failed:algo-1 left 200.0 GB, more than VolumeSizeInGB (1) "
        f"allows; the largest file is /opt/ml/{folder}/big.bin with 200.0 GB"
    )
    assert time.monotonic() - began < PATIENCE_S / 2


def test_a_checkpoint_that_the_volume_would_not_hold_ends_the_job_while_it_trains(account, secrets):
    job = run(
        account,
        secrets,
        HUGE + "huge(ML / 'checkpoints/big'); time.sleep(600)",
        CheckpointConfig={"S3Uri": f"s3://{BUCKET}/{unique('checkpoints')}"},
    )
    assert job["FailureReason"] == (
        "ClientError: Checkpoint upload failed:with /opt/ml/checkpoints/big (200.0 GB) the "
        "checkpoints are more than VolumeSizeInGB allows"
    )


# --- the failure file -----------------------------------------------------------------------------

KILLED = "AlgorithmError: Exit Code: 137"


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("os.mkfifo(path)", KILLED),
        ("path.mkdir()", KILLED),
        ("path.symlink_to('nowhere')", KILLED),
        ("path.symlink_to('failure')", KILLED),
        ("socket.socket(socket.AF_UNIX).bind(str(path))", KILLED),
        ("huge(path)", "AlgorithmError: \0"),
        ("path.write_bytes(bytes(range(1, 256)) * 1000)", "AlgorithmError: \x01\x02"),
        ("path.write_text('ü' * 5000)", "AlgorithmError: üüü"),
        ("path.write_text('mine'); path.chmod(0)", "AlgorithmError: mine"),
        (
            "(path.parent / 'why').write_text('mine'); path.symlink_to('why')",
            "AlgorithmError: mine",
        ),
    ],
    ids=["pipe", "folder", "dead", "loop", "socket", "huge", "binary", "long", "mode 0", "honest"],
)
def test_the_failure_file_is_read_as_a_plain_file_or_not_at_all(either, secrets, script, reason):
    setting = "os.chdir(ML / 'output'); path = Path('failure').absolute()\n"
    setting = setting.replace(".absolute()", "") if "socket" in script else setting
    job = run(either, secrets, HUGE + setting + script + "\nfail_at_once()")
    assert job["TrainingJobStatus"] == "Failed"
    assert job["FailureReason"].startswith(reason)
    assert len(job["FailureReason"]) <= 1024
    if reason is KILLED:
        assert job["FailureReason"] == KILLED
        log = either.log(job["TrainingJobName"])
        assert any(line.startswith("stub AWS: the failure file is not read: ") for line in log)


@pytest.mark.parametrize(
    "script",
    [
        "subprocess.run(['rm', '-rf', str(ML / 'output')]); raise ValueError('no label')",
        "(ML / 'output/failure').symlink_to('/nowhere/at/all'); raise ValueError('no label')",
        "(ML / 'output/failure').mkdir(); raise ValueError('no label')",
        "os.kill(os.getppid(), signal.SIGINT); time.sleep(600)",
    ],
    ids=["output taken away", "dead link", "folder", "toolkit interrupted"],
)
def test_a_failed_script_is_never_completed(either, secrets, script):
    job = run(either, secrets, "(MODEL / 'm').touch()\n" + script)
    assert job["TrainingJobStatus"] == "Failed"
    assert job["FailureReason"] == "AlgorithmError: Exit Code: 1"


# --- names of checkpoints -------------------------------------------------------------------------


def checkpoints(account: Account, secrets: Path, script: str) -> tuple[dict, str]:
    prefix = unique("checkpoints")
    where = {"CheckpointConfig": {"S3Uri": f"s3://{BUCKET}/{prefix}"}}
    return run(account, secrets, "os.chdir(ML / 'checkpoints')\n" + script, **where), prefix


def test_checkpoints_of_strange_names_are_kept_and_come_back(account, secrets):
    name = "a b+c&d%20#?;ü\x01\x7f"
    script = f"Path({name!r}).write_text('x'); Path('shut').write_text('y'); Path('shut').chmod(0)"
    job, prefix = checkpoints(account, secrets, script + "\nos.mkfifo('pipe')")
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    assert account.keys(prefix) == [f"{prefix}/{name}", f"{prefix}/shut"]
    again = account.run(
        "tell(found=sorted(os.listdir(MODEL.parent / 'checkpoints')))",
        CheckpointConfig={"S3Uri": f"s3://{BUCKET}/{prefix}"},
    )
    assert account.facts(again["TrainingJobName"])["found"] == [name, "shut"]


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (
            r"Path(os.fsdecode(b'step-\xff')).touch()",
            r"the name of /opt/ml/checkpoints/step-\xff is not UTF-8, as a key of S3 must be",
        ),
        (
            "for _ in range(5): os.mkdir('d' * 250); os.chdir('d' * 250)\nPath('f').touch()",
            "would be a key of more than 1024 bytes",
        ),
    ],
    ids=["not UTF-8", "too long"],
)
def test_a_checkpoint_whose_name_cannot_be_a_key_fails_the_job_by_name(
    account, secrets, script, reason
):
    job, _ = checkpoints(account, secrets, script)
    assert job["TrainingJobStatus"] == "Failed"
    assert job["FailureReason"].startswith("ClientError: Checkpoint upload failed:")
    assert reason in job["FailureReason"]


@pytest.mark.parametrize("bucket", ["sagemaker-no-such-bucket", "not-for-this-role"])
def test_a_checkpoint_bucket_that_is_missing_or_forbidden_is_named(account, secrets, bucket):
    where = {"CheckpointConfig": {"S3Uri": f"s3://{bucket}/a"}}
    job = run(account, secrets, "", **where)
    assert job["TrainingJobStatus"] == "Failed"
    assert re.fullmatch(
        f"ClientError: Data download failed:Unable to list objects of s3://{bucket}/a "
        r"\((NoSuchBucket|AccessDenied: Access Denied)\)",
        job["FailureReason"],
    )


def test_a_checkpoint_that_s3_refuses_ends_the_job_while_it_trains(stub_aws, secrets):
    """The bucket is deleted while the job runs."""
    may_all = create_role(unique("administrator"), ALL_PERMISSIONS)
    account = Account(stub_aws.environment_of(may_all), may_all)
    bucket = f"sagemaker-{unique('short-lived')}"
    account.s3.create_bucket(Bucket=bucket)
    with Meeting() as meeting:
        request = account.request(
            WHERE + "meet()\n(ML / 'checkpoints/step').touch(); time.sleep(600)",
            meeting=meeting,
            CheckpointConfig={"S3Uri": f"s3://{bucket}/a"},
        )
        request["Environment"]["SECRETS"] = str(secrets)
        account.sagemaker.create_training_job(**request)
        meeting.wait()
        account.s3.delete_bucket(Bucket=bucket)
        meeting.release()
        job = account.wait(request["TrainingJobName"])
    assert job["FailureReason"] == (
        f"ClientError: Checkpoint upload failed:s3://{bucket}/a/step (NoSuchBucket)"
    )


# --- names of channels' objects -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "named", "cause"),
    [
        (["a", "a/b"], "a/b", "its key needs a folder where another object is a file"),
        (["n" * 300], "n" * 300, "File name too long"),
    ],
    ids=["a file and a folder of one name", "too long"],
)
def test_a_key_that_cannot_be_a_file_fails_the_job_by_name(account, keys, named, cause):
    prefix = unique("keys")
    for key in keys:
        account.put(f"{prefix}/{key}", "x")
    job = account.run(channels={"train": (f"s3://{BUCKET}/{prefix}", "FullyReplicated")})
    assert job["FailureReason"] == (
        "ClientError: Data download failed:Unable to download object "
        f"s3://{BUCKET}/{prefix}/{named} ({cause})"
    )


# --- an ordinary user -----------------------------------------------------------------------------

# Root by another number, without root's power over files. (Whoever runs this is the owner.)
ORDINARY = ("unshare", "--user", "--map-user=54321", "--map-group=54321")
READ = """
import sys
from pathlib import Path
from stub_aws.beneath import View
view = View({"/opt/ml": Path(sys.argv[1])})
print(sorted(entry.path for entry in view.walk("/opt/ml/model")))
print(view.open_file("/opt/ml/model/shut/shut").read().decode())
"""


@needs_namespaces
def test_an_ordinary_user_reads_what_the_job_has_shut(tmp_path):
    """In the job its owner is root, who may read it; outside it must change the mode first."""
    model = tmp_path / "model"
    (model / "shut").mkdir(parents=True)
    (model / "shut" / "shut").write_text("read")
    (model / "shut" / "shut").chmod(0)
    (model / "shut").chmod(0o400)
    model.chmod(0)
    done = subprocess.run(
        [*ORDINARY, sys.executable, "-c", READ, str(tmp_path)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert (done.stdout, done.stderr) == ("['shut', 'shut/shut']\nread\n", "")
