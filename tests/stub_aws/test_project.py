"""What of the person's project a job does not see: where the command runs, and a checkout."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from lessons.on_stub import OPTIONS
from stub_aws import project, view
from tests.support.stub_jobs import PATIENCE_S, REPOSITORY, needs_namespaces

# Looks at the folder where the command runs, and tries to leave something there.
TRAIN = """
import json, os, sys
from pathlib import Path
folder = Path(os.environ["SM_HP_FOLDER"])
print("facts=" + json.dumps(sorted(p.name for p in folder.iterdir())))
(folder / "left-behind").touch()
"""
COMMAND = """
import json, sys
from pathlib import Path
from tests.support.stub_jobs import Account
import os
account = Account(os.environ)
folder = str(Path.cwd())
job = account.run(
    files={"train.py": Path("train.py").read_text()}, hyperparameters={"folder": folder}
)
print(job["TrainingJobStatus"], job.get("FailureReason", ""))
print(account.log(job["TrainingJobName"]))
"""


@needs_namespaces
def test_a_job_does_not_see_where_the_command_runs():
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:  # /tmp itself is always hidden
        Path(folder, "train.py").write_text(TRAIN)
        done = subprocess.run(
            [sys.executable, "-m", "stub_aws", *OPTIONS, sys.executable, "-c", COMMAND],
            cwd=folder,
            env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("Completed"), done.stdout
        assert f"facts={json.dumps([])}" in done.stdout
        assert [path.name for path in Path(folder).iterdir()] == ["train.py"]


def test_the_folders_are_where_it_was_started_and_the_stubs_own_checkout():
    assert REPOSITORY in project.folders().values()
    assert project.STARTED_IN in project.folders().values()


def test_an_installed_package_has_no_checkout(tmp_path):
    installed = tmp_path / "lib" / "python3.11" / "site-packages" / "stub_aws" / "project.py"
    assert project.checkout(installed) is None
    cloned = tmp_path / "clone" / "scripts" / "stub_aws" / "project.py"
    assert project.checkout(cloned) is None
    cloned.parent.mkdir(parents=True)
    (tmp_path / "clone" / "pyproject.toml").touch()
    assert project.checkout(cloned) == tmp_path / "clone"


@pytest.mark.parametrize(
    ("folder", "hidden"),
    [
        ("/", False),
        ("/usr", False),
        ("/etc", False),
        ("/app", True),
        ("/home/somebody/project", True),
        ("/var/lib/ci/workspace", True),
        (sys.prefix, False),
        (f"{sys.prefix}/lib", False),
        (str(Path(sys.prefix).parent), True),  # its Python shows through
    ],
)
def test_what_the_system_and_python_need_is_not_hidden(folder, hidden):
    assert view.can_be_hidden(Path(folder).resolve()) is hidden
