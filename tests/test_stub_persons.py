"""The stub AWS for whoever starts it: an ordinary user."""

import os
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.stub_aws import removal
from tests.stub_jobs import (
    ORDINARY,
    StubProcess,
    needs_namespaces,
    without_console,
)


def assert_nothing_left(stub, folder):
    """End the stub: it prints nothing, its exit code is that of the command, no file stays."""
    code, said = stub.end()
    assert (code, without_console(said)) == (0, "")
    assert list(Path(folder).iterdir()) == []


# --- an ordinary user ---------------------------------------------------------------------------

# What its owner may not read, enter or change, and a tree as deep as a script makes that copies a
# folder into itself.
LEAVES = """
base = Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))
temporary = Path(os.environ.get("TMPDIR", "/tmp"))
places = [base, base / "code", base / "input", Path.home(), temporary]
if "SAGEMAKER_BASE_DIR" not in os.environ:
    places.append(Path(sys.prefix))  # it has a layer of its own
for place in places:
    (place / "closed" / "within").mkdir(parents=True)
    (place / "closed" / "within" / "file").write_text("x")
    (place / "read-only").mkdir()
    (place / "read-only" / "file").write_text("x")
    (place / "link out").symlink_to(os.environ["OUT"])
    (place / "read-only" / "link out").symlink_to(os.environ["OUT"])
    os.chmod(place / "closed" / "within", 0)
    os.chmod(place / "closed", 0)
    os.chmod(place / "read-only" / "file", 0)
    os.chmod(place / "read-only", 0o500)
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


def test_what_cannot_be_deleted_is_printed_in_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "chmod").symlink_to(shutil.which("true", path=os.defpath))
    (tmp_path / "rm").write_text("#!/bin/sh\necho 'rm: cannot remove it' >&2\nexit 1\n")
    (tmp_path / "rm").chmod(0o755)
    removal.remove(tmp_path / "files")
    said = capsys.readouterr().err
    assert said == f"stub AWS: {tmp_path}/files is not deleted: rm: cannot remove it\n"


@needs_namespaces
def test_the_ordinary_user_of_these_tests_is_one(tmp_path):
    """The guard of all tests here: what is closed to its owner is closed to this user."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    done = subprocess.run([*ORDINARY, "ls", closed], capture_output=True, text=True)
    assert "Permission denied" in done.stderr
    number = subprocess.run([*ORDINARY, "id", "-u"], capture_output=True, text=True)
    assert number.stdout == "54321\n"
