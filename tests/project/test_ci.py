"""`.ci/run`: who runs which tests, that TMPDIR is looked at, and that nothing of it stays.

Here `make` only writes down how it was called; users, packages and browsers are made up too.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
RUN = ROOT / ".ci" / "run"
ROOT_ID, ORDINARY_ID = "0", "1000"
LIMIT_S = 60

PROGRAMS = {
    "make": f"""#!{sys.executable}
import json, os, sys, time
from pathlib import Path
calls = Path(os.environ["RECORD"], "make")
past = calls.read_text().splitlines() if calls.exists() else []
call = dict(words=sys.argv[1:], process=os.getpid(), folder=os.getcwd(), files=sorted(os.listdir()),
            TMPDIR=os.environ["TMPDIR"], left=os.listdir(os.environ["TMPDIR"]),
            HOME=os.environ["HOME"], USER=os.environ.get("USER"), input=sys.stdin.read(),
            pip=[p.read_text() for p in Path(os.environ["HOME"]).glob(".config/pip/pip.conf")],
            XDG=[name for name in os.environ if name.startswith("XDG_")])
calls.write_text("\\n".join([*past, json.dumps(call)]))
Path("build").mkdir(exist_ok=True)
Path("build", f"page-{{len(past)}}").touch()
if os.environ.get("LAST"):
    time.sleep(float(os.environ["LAST"]))
if os.environ.get("LEAVE"):
    Path(os.environ["TMPDIR"], os.environ["LEAVE"]).touch()
sys.exit(int(os.environ.get("CODES", "0 0").split()[len(past)]))
""",
    # Not known: a user of that name, before one is made.
    "id": """#!/bin/sh
if [ "$1" = -u ]; then echo "$USER_ID"; else [ -n "$USER_IS_THERE" ] || [ -e "$RECORD/useradd" ]; fi
""",
    "getent": '#!/bin/sh\necho "$2:x:1000:1000::$RECORD/home of $2:/bin/sh"\n',
    "setpriv": '#!/bin/sh\nwhile [ "$1" != -- ]; do shift; done; shift; exec "$@"\n',
    "sudo": '#!/bin/sh\nexec "$@"\n',
    **dict.fromkeys(("useradd", "chown", "apt-get"), '#!/bin/sh\necho "$*" >>"$RECORD/${0##*/}"\n'),
    **dict.fromkeys(("chromium", "chromedriver"), "#!/bin/sh\n"),
}


class CI:
    """A checkout with `.ci/run` on a machine of made-up programs."""

    def __init__(self, folder: Path) -> None:
        self.checkout = folder / "a checkout"
        self.record = folder / "record"
        self.programs = folder / "bin"
        self.home = folder / "home"
        self.temporary = folder / "tmp"
        for path in (self.checkout / ".ci", self.record, self.programs, self.home, self.temporary):
            path.mkdir(parents=True)
        for name, text in PROGRAMS.items():
            (self.programs / name).write_text(text)
            (self.programs / name).chmod(0o755)
        shutil.copy(RUN, self.checkout / ".ci")
        (self.checkout / ".gitignore").write_text("ignored\n")
        (self.checkout / "gone").touch()
        git = ["git", "-C", str(self.checkout)]
        for arguments in (["init", "--quiet"], ["add", "."]):
            subprocess.run([*git, *arguments], check=True)
        (self.checkout / "gone").unlink()
        for name in ("new", "ignored"):
            (self.checkout / name).touch()

    def start(self, user: str, **variables: str) -> subprocess.Popen[str]:
        settings = {
            "PATH": f"{self.programs}:{os.environ['PATH']}",
            "PYTHON": sys.executable,
            "HOME": str(self.home),
            "TMPDIR": str(self.temporary),
            "RECORD": str(self.record),
            "USER_ID": user,
        }
        own = {k: v for k, v in os.environ.items() if not k.startswith("XDG_")}
        return subprocess.Popen(
            [self.checkout / ".ci" / "run"],
            env={**own, **settings, **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, user: str, **variables: str) -> subprocess.CompletedProcess[str]:
        with self.start(user, **variables) as process:
            stdout, stderr = process.communicate(timeout=LIMIT_S)
            return subprocess.CompletedProcess([], process.returncode, stdout, stderr)

    def calls(self) -> list[dict[str, Any]]:
        """Return how `make` was called, each time."""
        return [json.loads(line) for line in (self.record / "make").read_text().splitlines()]

    def recorded(self, program: str) -> list[str]:
        path = self.record / program
        return path.read_text().splitlines() if path.exists() else []

    def left(self) -> list[str]:
        """Return what is left where it may leave nothing."""
        return [str(path) for path in (*self.temporary.iterdir(), *self.record.glob("home of *"))]


@pytest.fixture
def ci(tmp_path: Path) -> CI:
    return CI(tmp_path)


def test_an_ordinary_user_runs_the_readmes_command_in_the_checkout(ci: CI) -> None:
    done = ci.run(ORDINARY_ID)
    assert done.returncode == 0, done.stderr
    (call,) = ci.calls()
    assert (call["words"], call["folder"]) == (["test"], str(ci.checkout))
    assert call["HOME"] == str(ci.home)
    assert (call["left"], ci.left()) == ([], [])
    assert call["TMPDIR"] != str(ci.temporary)
    assert ci.recorded("useradd") == ci.recorded("apt-get") == []


def test_root_has_an_ordinary_user_run_all_and_runs_some(ci: CI) -> None:
    done = ci.run(ROOT_ID)
    assert done.returncode == 0, done.stderr
    as_user, as_root = ci.calls()
    home = Path(as_user["HOME"])
    assert home.parent == ci.record
    assert home.name.startswith("home of workshop-ci.")
    assert as_user["words"] == ["test"]
    assert as_user["USER"] == "workshop-ci"
    assert as_root["words"][0] == "test"
    assert as_root["words"][1].startswith("PYTEST_ARGS=-n 2 tests/stub_aws/test_isolation.py ")
    assert as_root["HOME"] == str(ci.home)
    assert as_user["folder"] == as_root["folder"] == str(home / "checkout")
    assert as_user["files"] == [".ci", ".gitignore", "new"]  # and not what git ignores
    assert as_user["TMPDIR"] != as_root["TMPDIR"]
    assert as_user["left"] == as_root["left"] == ci.left() == []
    assert as_user["input"] == as_root["input"] == ""
    assert len(ci.recorded("useradd")) == 1
    to_user, _, to_root, _ = ci.recorded("chown")  # the other two are of TMPDIR
    assert (to_user, to_root) == (f"-R workshop-ci: {home}", f"-R root: {home}")
    assert not (ci.checkout / "build").exists()


def test_a_user_that_is_there_is_taken_again(ci: CI) -> None:
    assert ci.run(ROOT_ID, USER_IS_THERE="yes").returncode == 0
    assert len(ci.calls()) == 2
    assert ci.recorded("useradd") == []


@pytest.mark.parametrize("user", [ORDINARY_ID, ROOT_ID], ids=["ordinary", "root"])
def test_what_is_left_in_tmpdir_is_a_failure(ci: CI, user: str) -> None:
    done = ci.run(user, LEAVE="something")
    assert done.returncode == 1
    for call in ci.calls():
        assert f" {call['TMPDIR']}/something\n" in done.stderr
    assert ci.left() == []


@pytest.mark.parametrize("codes", ["2 0", "0 2", "2 2"])
def test_root_hears_of_either_failure_and_keeps_the_pages(ci: CI, codes: str) -> None:
    done = ci.run(ROOT_ID, CODES=codes)
    assert done.returncode == 1
    first, second = codes.split()
    ending = f"---- exit codes: {first} as the ordinary user, {second} as root"
    assert done.stdout.splitlines()[-1] == ending
    pages = sorted(path.name for path in (ci.checkout / "build").iterdir())
    assert pages == ["page-0", "page-1"]
    assert ci.left() == []


def test_a_failure_of_the_ordinary_user_is_that_of_ci(ci: CI) -> None:
    assert ci.run(ORDINARY_ID, CODES="2").returncode == 2
    assert ci.left() == []


@pytest.mark.parametrize("user", [ORDINARY_ID, ROOT_ID], ids=["ordinary", "root"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_signal_ends_all_that_runs_and_leaves_nothing(ci: CI, user: str, number: int) -> None:
    with ci.start(user, LAST="600") as process:
        deadline = time.monotonic() + LIMIT_S
        while not ci.recorded("make") and time.monotonic() < deadline:
            time.sleep(0.05)
        (call,) = ci.calls()
        process.send_signal(number)
        assert process.wait(LIMIT_S) == 1
    assert not Path(f"/proc/{call['process']}").exists()
    assert ci.left() == []


@pytest.mark.parametrize("setting", [".config/pip/pip.conf", ".pip/pip.conf", "XDG/pip/pip.conf"])
def test_roots_settings_for_pip_are_passed_on(ci: CI, setting: str) -> None:
    file = ci.home / setting
    file.parent.mkdir(parents=True)
    file.write_text("[global]\n")
    variables = {"XDG_CONFIG_HOME": str(ci.home / "XDG")} if "XDG" in setting else {}
    assert ci.run(ROOT_ID, **variables).returncode == 0
    as_user, _ = ci.calls()
    assert as_user["HOME"] != str(ci.home)
    assert (as_user["pip"], as_user["XDG"]) == (["[global]\n"], [])


def test_folders_that_the_user_cannot_look_into_are_not_on_its_path(ci: CI) -> None:
    """A program looked for there would be "Permission denied", where it is simply missing."""
    setpriv = ci.programs / "setpriv"
    refuse = 'case "$*" in "test -r /nowhere") exit 1;; *) echo "$*" >>"$RECORD/setpriv";; esac'
    setpriv.write_text(setpriv.read_text().replace("exec", f"{refuse}\nexec"))
    assert ci.run(ROOT_ID, PATH=f"/nowhere:{ci.programs}:{os.environ['PATH']}").returncode == 0
    (command,) = (line for line in ci.recorded("setpriv") if line.endswith("make test"))
    assert f" PATH={ci.programs}:" in command


def test_a_missing_browser_is_installed(ci: CI) -> None:
    (ci.programs / "chromedriver").unlink()
    system = ci.programs.with_name("system")  # the machine's own programs, but for a browser's
    system.mkdir()
    for name in ("bash", "cut", "dirname", "env", "find", "head", "mktemp", "rm", "sh"):
        (system / name).symlink_to(shutil.which(name))
    done = ci.run(ORDINARY_ID, PATH=f"{ci.programs}:{system}", CHROMEWEBDRIVER="")
    assert done.returncode == 0, done.stderr
    update, installation = ci.recorded("apt-get")
    assert update == "update --quiet"
    assert installation.endswith(" --no-install-recommends chromium chromium-driver")


def test_a_missing_python_is_installed(ci: CI) -> None:
    assert ci.run(ROOT_ID, PYTHON="false").returncode == 0
    _, installation = ci.recorded("apt-get")
    assert installation.endswith(" --no-install-recommends python3.11-venv python3.11-dev")


def test_what_root_tests_is_there() -> None:
    text = RUN.read_text()
    files = re.findall(r"tests/stub_aws/test_\w+\.py", text)
    (lessons,) = re.findall(r"for lesson in (.*); do", text)
    assert len(files) == 3
    assert all((ROOT / file).exists() for file in files)
    assert all((ROOT / "notebooks" / f"{lesson}.py").exists() for lesson in lessons.split())


def test_the_workflow_runs_it_with_every_python_and_with_the_oldest_release() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    job = workflow["jobs"]["test"]
    assert ".ci/run" in [step.get("run") for step in job["steps"]]
    assert job["env"]["PYTHON"] == "python"  # the leg's, not the newest that the machine has
    legs = job["strategy"]["matrix"]["include"]
    assert {(leg["namespaces"], leg["python"]) for leg in legs} == {
        ("allowed", "3.11"),
        ("allowed", "3.11.2"),  # Debian 12's
        ("allowed", "3.12"),
        ("allowed", "3.13"),
        ("refused", "3.11"),
    }
    for step in [step for job in workflow["jobs"].values() for step in job["steps"]]:
        if action := step.get("uses"):
            assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action), f"{action} is not pinned"
    assert workflow["permissions"] == {"contents": "read"}


def test_the_workflow_publishes_only_what_it_has_executed() -> None:
    """The lessons and the site come from one job, on the default branch, after the tests."""
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]
    site, publish = jobs["site"], jobs["publish"]
    commands = [step["run"] for step in site["steps"] if step.get("run", "").startswith("make")]
    assert commands == ["make lessons", "make site"]
    assert not any("if" in step or "continue-on-error" in step for step in site["steps"])
    assert site["needs"] == "test"
    assert "github.event_name == 'push'" in site["if"]
    assert "github.event.repository.default_branch" in site["if"]
    uploaded = site["steps"][-1]
    assert uploaded["uses"].startswith("actions/upload-pages-artifact@")
    assert uploaded["with"] == {"path": "build/site"}
    assert publish["needs"] == "site"
    assert publish["permissions"] == {"pages": "write", "id-token": "write"}
    assert ["deploy-pages" in step["uses"] for step in publish["steps"]] == [True]
    assert all("permissions" not in jobs[name] for name in ("test", "site"))
