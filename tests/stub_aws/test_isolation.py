"""Jobs apart from each other and from the machine, and the hosts of one job together."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from stub_aws.instance import namespaces_available
from tests.support.stub_jobs import (
    BUCKET,
    REPOSITORY,
    Account,
    Meeting,
    needs_namespaces,
    processes_with,
    unique,
)


@pytest.fixture(scope="module")
def account(stub_aws):
    return Account(stub_aws.environment, stub_aws.role_arn)


def test_the_guard_of_every_skip_here():
    """Where the kernel gives namespaces, the stub must use them: nothing here may be skipped."""
    if not shutil.which("unshare"):
        pytest.skip("no unshare on this machine; test_stub_without_namespaces.py has its tests")
    command = ["unshare", "--user", "--map-root-user", "--mount", "--uts", "--pid", "--fork"]
    mount = ["mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    kernel_allows = subprocess.run([*command, *mount], capture_output=True).returncode == 0
    assert namespaces_available() == kernel_allows


# --- two jobs, or a job and the machine -------------------------------------------------------

# An interpreter of the system, such as Debian's, is as the rest of it: only root may change it, and
# a job of root's may too.
SYSTEM = ("/usr", "/usr/local")
INTERPRETER = {} if sys.base_prefix in SYSTEM else {"interpreter": Path(sys.base_prefix)}


@needs_namespaces
def test_two_jobs_at_once_do_not_see_each_other(account):
    script = """
mine, mark = sys.argv[2], os.environ["MARK"]
folders = [MODEL, Path("/tmp"), Path.home(), Path("/opt/ml/checkpoints")]

def marks():
    return [sorted(p.name for p in folder.iterdir() if mark in p.name) for folder in folders]

before = marks()
for folder in folders:
    (folder / f"{mark}-{mine}").write_text(mine)
meet()
tell(before=before, after=marks(),
     processes=subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout)
"""
    mark = unique("mark")
    with Meeting() as meeting:
        variables = {"MEETING_PORT": str(meeting.port), "MARK": mark}
        names = [
            account.start(script, Environment=variables, hyperparameters={"mine": mine})
            for mine in ("one", "two")
        ]
        meeting.wait(2)  # both have written
        assert not list(Path("/tmp").glob(f"{mark}*"))
        meeting.release()
    for name, mine in zip(names, ("one", "two"), strict=True):
        assert account.wait(name)["TrainingJobStatus"] == "Completed"
        facts = account.facts(name)
        assert facts["before"] == [[], [], [], []]
        assert facts["after"] == [[f"{mark}-{mine}"]] * 4
        assert facts["processes"].count("train.py --mine") == 1
        assert account.unpack(name) == {f"{mark}-{mine}": mine.encode()}


@needs_namespaces
def test_a_job_cannot_change_the_checkout_the_home_or_the_environment(account):
    mark = unique("canary")
    where = {
        "checkout": REPOSITORY,
        "home": Path.home(),
        "temporary files": Path("/tmp"),
        "environment": Path(sys.prefix),
        **INTERPRETER,
    }
    where = {label: folder for label, folder in where.items() if os.access(folder, os.W_OK)}
    assert where.keys() >= {"checkout", "home", "temporary files", "environment"}
    canaries = {label: folder / mark for label, folder in where.items()}
    script = f"""
written = {{}}
for folder in {[str(folder) for folder in where.values()]!r}:
    for name in ("{mark}", "{mark}-new"):
        path = Path(folder, name)
        try:
            if path.exists():
                path.unlink()
            path.write_text("changed by a job")
            written[str(path)] = path.read_text()
        except OSError as error:
            written[str(path)] = str(error)
tell(written=written)
"""
    try:
        for canary in canaries.values():
            canary.write_text("alive")
        description = account.run(script)
        assert description["TrainingJobStatus"] == "Completed", description.get("FailureReason")
        written = account.facts(description["TrainingJobName"])["written"]
        # It could, as it saw things: in its container it may install and write as it likes.
        assert written[str(canaries["environment"])] == "changed by a job"
        for label, canary in canaries.items():
            assert canary.read_text() == "alive", label
            assert not canary.with_name(f"{mark}-new").exists(), label
    finally:
        for canary in canaries.values():
            canary.unlink(missing_ok=True)
            canary.with_name(f"{mark}-new").unlink(missing_ok=True)


@needs_namespaces
def test_a_job_sees_nothing_of_the_checkout_and_the_home(account):
    script = f"""
tell(checkout=[p.name for p in Path({str(REPOSITORY)!r}).iterdir()],
     home=[p.name for p in Path.home().iterdir()])
"""
    facts = account.facts(account.run(script)["TrainingJobName"])
    assert not {"README.md", "Makefile", "tests", "scripts", ".git"} & set(facts["checkout"])
    assert not {".ssh", ".aws", ".gitconfig", ".bash_history"} & set(facts["home"])


@needs_namespaces
def test_a_job_sees_nothing_of_the_persons_variables(account, monkeypatch):
    """Not in its own environment, and not in that of its supervisor either."""
    monkeypatch.setenv("PERSONS_TOKEN", "persons-secret")
    script = """
import glob
everything = b"".join(Path(p).read_bytes() for p in glob.glob("/proc/[0-9]*/environ"))
tell(seen=b"persons-secret" in everything, own=b"TRAINING_JOB_NAME" in everything)
"""
    facts = account.facts(account.run(script)["TrainingJobName"])
    assert facts == {"seen": False, "own": True}


@needs_namespaces
@pytest.mark.parametrize(
    "parent",
    ["/var/tmp", "/opt/ml", "/opt", "/tmp", "/root", "~", "/"],
    ids=lambda path: path.replace("/", "-"),
)
def test_checkpoints_anywhere_change_nothing_on_this_machine(account, parent):
    """A folder that is not there appears in the job alone, and all beside it stays."""
    name = unique("checkpoints")
    parent = Path(parent).expanduser()
    folder = parent / name / "deep"
    script = f"""
Path({str(folder)!r}, "state").write_text("kept")
tell(beside=os.listdir({str(parent)!r}))
"""
    uri = f"s3://{BUCKET}/{name}"
    done = account.run(script, CheckpointConfig={"S3Uri": uri, "LocalPath": str(folder)})
    assert done["TrainingJobStatus"] == "Completed", account.log(done["TrainingJobName"])
    assert account.keys(f"{name}/") == [f"{name}/state"]
    assert not os.path.exists(parent / name)  # noqa: PTH110 - false where we may not look
    beside = set(account.facts(done["TrainingJobName"])["beside"])
    if parent == Path("/var/tmp"):
        assert beside >= {entry.name for entry in parent.iterdir() if entry.name != name}
    if parent == Path("/"):
        assert beside >= {"usr", "etc", "opt", name}


@needs_namespaces
def test_a_job_may_do_elsewhere_what_the_person_may(account):
    """Not wanted, but true, and so the manual says it."""
    with (
        tempfile.TemporaryDirectory(dir="/var/tmp") as folder,
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.socket(socket.AF_UNIX) as local,
    ):
        local.bind(f"{folder}/socket")
        local.listen()
        script = f"""
Path({folder!r}, "written").write_text("by a job")
socket.create_connection(("127.0.0.1", {server.getsockname()[1]})).close()
socket.socket(socket.AF_UNIX).connect({folder + "/socket"!r})
"""
        description = account.run(script)
        assert description["TrainingJobStatus"] == "Completed", description.get("FailureReason")
        assert Path(folder, "written").read_text() == "by a job"


# --- several hosts ------------------------------------------------------------------------------

TWO_HOSTS = """
me = os.environ["SM_CURRENT_HOST"]
hosts = json.loads(os.environ["SM_HOSTS"])
addresses = {host: socket.gethostbyname(host) for host in hosts}
if me == "algo-1":
    with socket.create_server((addresses[me], 9099)) as server:
        connection, (sender, _) = server.accept()
        message = connection.recv(100).decode()
        connection.sendall(f"hello {message}".encode())
else:
    for _ in range(600):
        try:
            connection = socket.create_connection(("algo-1", 9099))
            break
        except OSError:
            time.sleep(0.05)
    connection.sendall(me.encode())
    message, sender = connection.recv(100).decode(), "algo-1"
tell(addresses=addresses, message=message, hostname=socket.gethostname(),
     files={c: sorted(p.name for p in Path(f"/opt/ml/input/data/{c}").iterdir())
            for c in ("whole", "shards", "one")})
(MODEL / f"{me}.txt").write_text(me)
(MODEL / "same.txt").write_text(me)
(OUTPUT / f"{me}.txt").write_text(me)
"""


@pytest.fixture(scope="module")
def two_hosts(account):
    prefix = unique("rows")
    for name in ("a", "b", "c"):
        account.put(f"{prefix}/{name}", name)
    uri = f"s3://{BUCKET}/{prefix}"
    return account.run(
        TWO_HOSTS,
        hosts=2,
        channels={
            "whole": (uri, "FullyReplicated"),
            "shards": (uri, "ShardedByS3Key"),
            "one": (f"{uri}/a", "ShardedByS3Key"),
        },
    )


@needs_namespaces
def test_two_hosts_find_and_reach_each_other(account, two_hosts):
    assert two_hosts["TrainingJobStatus"] == "Completed", two_hosts.get("FailureReason")
    name = two_hosts["TrainingJobName"]
    first, second = (account.facts(name, host) for host in ("algo-1", "algo-2"))
    assert first["addresses"] == second["addresses"]
    assert len(set(first["addresses"].values())) == 2
    assert all(address.startswith("127.") for address in first["addresses"].values())
    assert (first["message"], second["message"]) == ("algo-2", "hello algo-2")
    assert (first["hostname"], second["hostname"]) == ("algo-1", "algo-2")
    assert len(account.streams(name)) == 2


@needs_namespaces
def test_channels_are_replicated_or_shared_out_among_hosts(account, two_hosts):
    name = two_hosts["TrainingJobName"]
    assert account.facts(name, "algo-1")["files"] == {
        "whole": ["a", "b", "c"],
        "shards": ["a", "c"],
        "one": ["a"],
    }
    assert account.facts(name, "algo-2")["files"] == {
        "whole": ["a", "b", "c"],
        "shards": ["b"],
        "one": [],
    }


@needs_namespaces
def test_the_models_of_all_hosts_are_merged_and_the_output_is_the_first_hosts(account, two_hosts):
    name = two_hosts["TrainingJobName"]
    assert account.unpack(name) == {
        "algo-1.txt": b"algo-1",
        "algo-2.txt": b"algo-2",
        "same.txt": b"algo-1",
    }
    assert account.unpack(name, "output.tar.gz") == {"algo-1.txt": b"algo-1"}


@needs_namespaces
def test_a_host_that_fails_ends_the_job(account):
    mark = unique("waits-for-ever")
    description = account.run(
        f"""
if os.environ["SM_CURRENT_HOST"] == "algo-2":
    sys.exit(7)
subprocess.run([sys.executable, "-c", "import time; time.sleep(900)", "{mark}"])
""",
        hosts=2,
    )
    assert description["TrainingJobStatus"] == "Failed"
    assert "ExitCode 7" in description["FailureReason"]
    assert processes_with(mark) == []
