"""The stub AWS for whoever starts it: an ordinary user, a home that is a link, any path at all."""

import json
import os
import shutil
import stat
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import pytest

from stub_aws import removal
from tests.support.stub_jobs import (
    BUCKET,
    ORDINARY,
    PRELUDE,
    REPOSITORY,
    StubProcess,
    needs_namespaces,
    unique,
    without_console,
)

ODD = "a, b:c\\d=e 'ü\" $f"


def assert_nothing_left(stub, folder):
    """End the stub: it prints nothing, its exit code is that of the command, no file stays."""
    code, stderr = stub.end()
    assert (code, without_console(stderr)) == (0, "")
    assert list(Path(folder).iterdir()) == []


# --- an ordinary user ---------------------------------------------------------------------------

# What its owner may not read, enter or change, and a tree as deep as a script makes that copies a
# folder into itself.
LEAVES = """
base = Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))
temporary = Path(os.environ.get("TMPDIR", "/tmp"))
folders = [base, base / "code", base / "input", Path.home(), temporary]
if "SAGEMAKER_BASE_DIR" not in os.environ:
    folders.append(Path(sys.prefix))  # it has a layer of its own
for folder in folders:
    (folder / "closed" / "within").mkdir(parents=True)
    (folder / "closed" / "within" / "file").write_text("x")
    (folder / "read-only").mkdir()
    (folder / "read-only" / "file").write_text("x")
    (folder / "link out").symlink_to(os.environ["OUT"])
    (folder / "read-only" / "link out").symlink_to(os.environ["OUT"])
    os.chmod(folder / "closed" / "within", 0)
    os.chmod(folder / "closed", 0)
    os.chmod(folder / "read-only" / "file", 0)
    os.chmod(folder / "read-only", 0o500)
os.chdir(temporary)
for _ in range(1100):
    os.mkdir("deeper")
    os.chdir("deeper")
"""


WHOEVER = pytest.mark.parametrize(
    "within", [(), pytest.param(ORDINARY, marks=needs_namespaces)], ids=["tester", "ordinary user"]
)


@WHOEVER
@pytest.mark.parametrize("namespaces", [pytest.param(True, marks=needs_namespaces), False])
def test_what_a_job_leaves_is_deleted_whatever_it_did_to_it(namespaces, within, tmp_path):
    out = tmp_path / "person's own"
    out.mkdir()
    (out / "file").touch(mode=0o440)
    out.chmod(0o550)
    with (
        tempfile.TemporaryDirectory() as folder,
        StubProcess(TMPDIR=folder, namespaces=namespaces, within=within) as stub,
    ):
        description = stub.account.run(LEAVES, Environment={"OUT": str(out)})
        assert description["TrainingJobStatus"] == "Completed", description.get("FailureReason")
        assert_nothing_left(stub, folder)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (out, out / "file")] == [0o550, 0o440]


SHUTS = """
base = Path(os.environ["SM_MODEL_DIR"]).parent
for folder in (MODEL, OUTPUT, base / "checkpoints"):
    (folder / "closed").mkdir()
    (folder / "closed" / "file").write_text("kept")
    (folder / "file").write_text("kept")
    for path in (folder / "closed" / "file", folder / "closed", folder / "file"):
        path.chmod(0)
(base / "output" / "failure").write_text("The passenger list is empty.")
(base / "output" / "failure").chmod(0)
(base / "output").chmod(0)
os.kill(os.getppid(), signal.SIGKILL)
time.sleep(600)
"""


@WHOEVER
@pytest.mark.parametrize("namespaces", [pytest.param(True, marks=needs_namespaces), False])
def test_what_a_job_saved_is_read_whatever_it_did_to_it(namespaces, within):
    """In a container of SageMaker the script is root, to whom no file is closed."""
    with StubProcess(namespaces=namespaces, within=within) as stub:
        uri = f"s3://{BUCKET}/closed"
        description = stub.account.run(SHUTS, CheckpointConfig={"S3Uri": uri})
        assert description["FailureReason"] == "AlgorithmError: The passenger list is empty."
        name = description["TrainingJobName"]
        files = {"closed/file": b"kept", "file": b"kept"}
        assert stub.account.unpack(name) == stub.account.unpack(name, "output.tar.gz") == files
        assert stub.account.keys("closed/") == ["closed/closed/file", "closed/file"]
        code, stderr = stub.end()
    assert (code, without_console(stderr)) == (0, "")


def test_what_cannot_be_deleted_is_printed_in_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "chmod").symlink_to(shutil.which("true", path=os.defpath))
    (tmp_path / "rm").write_text("#!/bin/sh\necho 'rm: cannot remove it' >&2\nexit 1\n")
    (tmp_path / "rm").chmod(0o755)
    removal.remove(tmp_path / "files")
    stderr = capsys.readouterr().err
    assert stderr == f"stub AWS: {tmp_path}/files is not deleted: rm: cannot remove it\n"


@needs_namespaces
def test_the_ordinary_user_of_these_tests_is_one(tmp_path):
    """The guard of all tests here: what is closed to its owner is closed to this user."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    done = subprocess.run([*ORDINARY, "ls", closed], capture_output=True, text=True)
    assert "Permission denied" in done.stderr
    number = subprocess.run([*ORDINARY, "id", "-u"], capture_output=True, text=True)
    assert number.stdout == "54321\n"


# --- paths --------------------------------------------------------------------------------------

# What a job sees of the person's folders, and whether what it writes there stays in the job.
LOOKS = """
entries, wrote = [], []
for folder in json.loads(os.environ["FOLDERS"]):
    try:
        entries += os.listdir(folder)
        Path(folder, os.environ["MARK"]).write_text("by a job")
        wrote.append(folder)
    except FileNotFoundError:
        pass
(MODEL / "m").write_text("trained")
Path(sys.prefix, os.environ["MARK"]).write_text("by a job")
home = Path.home()
tell(entries=entries, wrote=wrote, home=str(home), may=os.access(home, os.W_OK), prefix=sys.prefix)
"""
CANARY = "canary of the person"
IN_SIGHT = "stub AWS: this job sees what is in "


@pytest.fixture
def workspace():
    """Return a folder for the person's things, not in one that is hidden anyway."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        yield Path(folder)


def copy_checkout(to: Path) -> Path:
    """Copy of this checkout what the stub needs."""
    for part in ("scripts/stub_aws", "scripts/notebook_instance", "data"):
        shutil.copytree(REPOSITORY / part, to / part)
    shutil.copy(REPOSITORY / "pyproject.toml", to)
    return to


def copy_environment(to: Path, base: Path | None = None) -> Path:
    """Make an environment with the packages of this one, and return its Python.

    With `base`, a link that leads to the interpreter's own folder, it is found by that.
    """
    interpreter = Path(sys._base_executable)
    if base:
        base.symlink_to(interpreter.parents[1])
        interpreter = base / "bin" / interpreter.name
    python = to / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(interpreter)
    (to / "pyvenv.cfg").write_text(f"home = {interpreter.parent}\n")
    packages = to / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    packages.mkdir(parents=True)
    for package in Path(sysconfig.get_path("purelib")).iterdir():
        (packages / package.name).symlink_to(package)
    return python


def looks(stub, *folders, python=None):
    """Run a job that looks at the folders, each with a canary in it, and assert what must hold.

    With `python`, that one runs the script, without the training toolkit: the packages of a copied
    environment are links, and in a job they may lead to what is hidden.

    Returns what it printed, and the lines of its log about what it sees of this machine.
    """
    for folder in folders:
        (folder / CANARY).write_text("alive")
    where = stub.account.put("script/looks.py", PRELUDE + LOOKS), "FullyReplicated"
    request = stub.account.request(LOOKS, channels={"script": where})
    mark = unique("by-a-job")
    request["Environment"] = {
        "FOLDERS": json.dumps([str(folder) for folder in folders]),
        "MARK": mark,
    }
    if python:
        entry_point = [str(python), "/opt/ml/input/data/script/looks.py"]
        request["AlgorithmSpecification"]["ContainerEntrypoint"] = entry_point
        request["Environment"] |= {"SM_MODEL_DIR": "/opt/ml/model", "SM_OUTPUT_DATA_DIR": "/tmp"}
    stub.account.sagemaker.create_training_job(**request)
    description = stub.account.wait(request["TrainingJobName"])
    name = description["TrainingJobName"]
    log = stub.account.log(name)
    assert description["TrainingJobStatus"] == "Completed", log
    assert stub.account.unpack(name) == {"m": b"trained"}
    facts = stub.account.facts(name)
    written = [folder / mark for folder in (*folders, Path(facts["prefix"]))]
    reached = [path for path in written if path.exists()]
    for path in reached:
        path.unlink()
    assert reached == []
    assert (facts["may"], CANARY in facts["entries"]) == (True, False)
    assert [(folder / CANARY).read_text() for folder in folders] == ["alive"] * len(folders)
    assert not [line for line in log if "no namespaces" in line], log
    return facts, [line for line in log if line.startswith(IN_SIGHT)]


@needs_namespaces
@WHOEVER
def test_a_home_may_be_a_link(workspace, within):
    home, link = workspace / "data" / "home of a person", workspace / "home"
    home.mkdir(parents=True)
    link.symlink_to("data/home of a person")
    with StubProcess(HOME=str(link), within=within) as stub:
        facts, notices = looks(stub, home)
    assert notices == []
    assert facts["home"] == str(home)
    assert facts["wrote"] == [str(home)]


@needs_namespaces
@pytest.mark.parametrize("by_link", [False, True])
def test_a_checkout_in_a_home_that_is_a_link(workspace, by_link):
    """As at a university: the shell says /home/me, the disk is /data/me, all is below it."""
    home, link = workspace / "data" / "me", workspace / "home"
    checkout = copy_checkout(home / "shop")
    link.symlink_to(home)
    python = copy_environment(checkout / ".venv")
    if by_link:
        python = link / python.relative_to(home)
    with StubProcess(HOME=str(link), checkout=checkout, python=str(python)) as stub:
        facts, notices = looks(stub, home, checkout, python=python)
    assert notices == []
    assert facts["prefix"] == str(python.parents[1])


@needs_namespaces
def test_a_python_that_is_found_by_links_in_the_home(workspace):
    home = workspace / "home"
    home.mkdir()
    copy_environment(workspace / "environments" / "first", base=home / "interpreter")
    (home / "environments").symlink_to("../environments")
    (home / "now").symlink_to(home / "environments" / "first")
    python = home / "now" / "bin" / "python"
    with StubProcess(HOME=str(home), python=str(python)) as stub:
        facts, notices = looks(stub, home, python=python)
    assert notices == []
    assert facts["prefix"] == str(home / "now")


@pytest.mark.parametrize("namespaces", [pytest.param(True, marks=needs_namespaces), False])
def test_paths_may_hold_any_character(workspace, namespaces):
    home, temporary = workspace / f"home {ODD}", workspace / f"temporary {ODD}"
    checkout = copy_checkout(workspace / f"checkout {ODD}")
    python = copy_environment(checkout / ".venv")
    home.mkdir()
    temporary.mkdir()
    with StubProcess(
        namespaces=namespaces,
        checkout=checkout,
        python=str(python),
        HOME=str(home),
        TMPDIR=str(temporary),
    ) as stub:
        if namespaces:
            facts, notices = looks(stub, home, temporary, checkout, python=python)
            assert (notices, facts["prefix"]) == ([], str(checkout / ".venv"))
        else:
            description = stub.account.run("(MODEL / 'm').write_text('trained')")
            name = description["TrainingJobName"]
            assert stub.account.unpack(name) == {"m": b"trained"}, stub.account.log(name)
        (temporary / CANARY).unlink(missing_ok=True)
        assert_nothing_left(stub, temporary)


# --- folders that cannot be hidden --------------------------------------------------------------


@needs_namespaces
@pytest.mark.parametrize(
    ("home", "within"), [("/", ()), ("/usr", ORDINARY), ("", ())], ids=["root", "usr", "empty"]
)
def test_a_home_that_holds_the_system_is_named_in_the_log(workspace, home, within):
    with StubProcess(HOME=home, TMPDIR=str(workspace), within=within) as stub:
        facts, notices = looks(stub, workspace)
    assert notices == [f"{IN_SIGHT}HOME ({home or '/'}), which cannot be hidden"]
    assert facts["home"] == "/opt/home"


@needs_namespaces
def test_a_home_that_holds_python_is_named_in_the_log(workspace):
    """As after `./configure --prefix=$HOME`. What a job writes there is thrown away, too."""
    home = workspace / "home"
    python = copy_environment(home)
    with StubProcess(HOME=str(home), python=str(python)) as stub:
        facts, notices = looks(stub, python=python)
    assert notices == [f"{IN_SIGHT}HOME ({home}), which cannot be hidden"]
    assert (facts["home"], facts["prefix"]) == ("/opt/home", str(home))


@needs_namespaces
def test_a_user_without_an_entry_in_the_list_of_users_has_no_home(workspace):
    with StubProcess(HOME=None, TMPDIR=str(workspace), within=ORDINARY) as stub:
        facts, notices = looks(stub, workspace)
    assert notices == []
    assert facts["home"] == "/opt/home"


@needs_namespaces
def test_a_checkout_in_opt_is_hidden_and_what_is_installed_there_stays(workspace):
    """The stub sees the folder at `/opt`: it runs in a mount namespace of its own."""
    checkout = copy_checkout(workspace / "workshop")
    (workspace / "containers").mkdir()  # as a program of that name might make it
    (workspace / "software").mkdir()
    (workspace / "software" / "tool").write_text("is here")
    (workspace / "dead").symlink_to("nowhere")
    (workspace / "tool").symlink_to("software/tool")
    inner = 'mount --bind "$0" /opt && cd /opt/workshop && exec "$@"'
    within = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", inner, str(workspace)]
    script = """
tell(entries=sorted(os.listdir("/opt")), tool=Path("/opt/tool").read_text(),
     checkout=os.listdir("/opt/workshop"), dead=os.readlink("/opt/dead"))
Path("/opt/workshop/new").write_text("by a job")
"""
    with StubProcess(within=within) as stub:
        description = stub.account.run(script)
        name = description["TrainingJobName"]
        assert description["TrainingJobStatus"] == "Completed", stub.account.log(name)
        facts = stub.account.facts(name)
    assert facts["entries"] == ["containers", "dead", "ml", "software", "tool", "workshop"]
    assert (facts["tool"], facts["dead"]) == ("is here", "nowhere")
    assert facts["checkout"] == []
    assert not (checkout / "new").exists()


BARE = """
mount -t tmpfs tmpfs /mnt
for entry in /*; do
    if [ "$entry" = /opt ] || [ "$entry" = /mnt ]; then continue; fi
    if [ -h "$entry" ]; then cp -P "$entry" /mnt; continue; fi
    if [ -d "$entry" ]; then mkdir "/mnt$entry" && mount --rbind "$entry" "/mnt$entry"; fi
done
mkdir /mnt/old
here=$PWD
cd /mnt && PATH=$PATH:/usr/sbin:/sbin pivot_root . old && umount -l /old && cd "$here" && exec "$@"
"""


@needs_namespaces
def test_a_machine_without_opt_gets_one_in_the_job(workspace):
    """As NixOS has none. The stub runs in a mount namespace without it."""
    within = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", BARE, "sh"]
    with StubProcess(TMPDIR=str(workspace), within=within) as stub:
        _, notices = looks(stub, workspace)
    assert notices == []
