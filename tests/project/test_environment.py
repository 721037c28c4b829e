"""Makefile, environment.yml, the lock and what is installed cannot drift apart."""

from __future__ import annotations

import ast
import os
import re
import shutil
import stat
import subprocess
import sys
from importlib.metadata import distributions, version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
MAKE_VENV = ROOT / ".ci" / "make_venv"
SDK3_PACKAGES = ROOT / ".venv-sdk3" / "lib" / "python3.11" / "site-packages"


def requirements(name: str) -> list[Requirement]:
    """Return the lines of requirements.in or requirements.txt, without comments."""
    lines = (re.sub(r"(^|\s)#.*", "", line) for line in (ROOT / name).read_text().splitlines())
    return [Requirement(line) for line in lines if line.strip()]


def read_lock(name: str) -> dict[str, Requirement]:
    return {canonicalize_name(r.name): r for r in requirements(name)}


LOCK = read_lock("requirements.txt")
LOCKS = {"requirements": LOCK, "requirements-sdk3": read_lock("requirements-sdk3.txt")}


def locked(name: str, lock: dict[str, Requirement] = LOCK) -> Version:
    """Return the version that a lock gives a package."""
    (pin,) = lock[canonicalize_name(name)].specifier
    return Version(pin.version)


@pytest.mark.parametrize("lock", LOCKS.values(), ids=LOCKS)
def test_every_line_of_a_lock_is_one_exact_version(lock: dict[str, Requirement]) -> None:
    assert len(lock) > 100
    for requirement in lock.values():
        operators = [specifier.operator for specifier in requirement.specifier]
        assert operators == ["=="], requirement
        (pin,) = requirement.specifier
        assert "*" not in pin.version, requirement
        assert Version(pin.version).local is None, f"{requirement}: others cannot install it"


FILES = [*(name + kind for name in LOCKS for kind in (".in", ".txt")), "environment.yml"]


@pytest.mark.parametrize("name", FILES)
def test_no_file_says_where_packages_come_from(name: str) -> None:
    text = (ROOT / name).read_text()
    options = r"--(extra-)?index-url|--find-links|--trusted-host| -[fi] "
    assert not re.search(rf"https?:|file://|{options}", text)
    assert not re.search(r"(?<![\w.])/(home|root|tmp|opt|usr|work|Users)\b", text)


@pytest.mark.parametrize("name", LOCKS)
def test_the_lock_covers_what_we_choose(name: str) -> None:
    chosen = requirements(f"{name}.in")
    assert chosen
    for requirement in chosen:
        assert requirement.specifier.contains(locked(requirement.name, LOCKS[name])), requirement
        lock_marker = LOCKS[name][canonicalize_name(requirement.name)].marker
        assert str(lock_marker) == str(requirement.marker), requirement


@pytest.mark.parametrize("name", LOCKS)
def test_each_choice_says_why(name: str) -> None:
    previous = ""
    for line in (ROOT / f"{name}.in").read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            assert re.search(r"\s# \S", line) or previous.startswith("# "), line
        previous = line


def test_what_is_installed_is_the_lock() -> None:
    installed = {canonicalize_name(d.name): d.version for d in distributions()}
    for name, requirement in LOCK.items():
        if requirement.marker is None or requirement.marker.evaluate():
            assert name in installed, f"{name} is not installed: run `make env`"
            assert Version(installed[name]).public == str(locked(name)), name


def test_what_is_installed_fits_together() -> None:
    command = [sys.executable, "-m", "pip", "check", "--disable-pip-version-check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


OLDEST = "3.11.0"  # Debian 12 has 3.11.2
ENVIRONMENTS = {
    "requirements": distributions,
    "requirements-sdk3": lambda: distributions(path=[str(SDK3_PACKAGES)]),
}


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_each_lock_installs_on_the_oldest_python(name: str) -> None:
    """A package that wants a later 3.11 would stop the set-up there."""
    limits = {
        canonicalize_name(d.name): d.metadata["Requires-Python"] for d in ENVIRONMENTS[name]()
    }
    assert len(limits) > 100, "run `make clients`"
    late = {
        package: limits[package]
        for package, requirement in LOCKS[name].items()
        if (requirement.marker is None or requirement.marker.evaluate())
        and OLDEST not in SpecifierSet(limits[package] or "")
    }
    assert late == {}


LATER = {  # what came within 3.11, by the name under which it is used
    "data_filter": "3.11.4",
    "tar_filter": "3.11.4",
    "extractall": "3.11.4, as far as it is safe; scripts/workshop/safe_tar.py is on every Python",
    "unpack_archive": "3.11.4, as far as it is safe",
    "SetReparseDeferralEnabled": "3.11.9",
    "ALLOW_MISSING": "3.11.13",
}
THE_COMPARISON = (
    ROOT / "tests" / "workshop" / "test_safe_tar.py"
)  # with the filter, where there is one


def names_used(source: str) -> set[str]:
    """Return every name and attribute that a program uses."""
    nodes = list(ast.walk(ast.parse(source)))
    attributes = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    imported = {a.name for node in nodes if isinstance(node, ast.ImportFrom) for a in node.names}
    return attributes | imported


def test_nothing_needs_a_later_3_11() -> None:
    patterns = ("scripts/**/*.py", "notebooks/*.py", "tests/**/*.py")
    files = {path for pattern in patterns for path in ROOT.glob(pattern)}
    assert len(files) > 100
    wrong = {
        str(path.relative_to(ROOT)): names
        for path in files - {THE_COMPARISON}
        if (names := names_used(path.read_text(encoding="utf-8")) & LATER.keys())
    }
    assert wrong == {}
    assert "extractall" in names_used(THE_COMPARISON.read_text(encoding="utf-8"))


def test_the_versions_are_those_of_the_training_images() -> None:
    assert locked("sagemaker") in SpecifierSet(">=2.257,<3")
    # The images are called sagemaker-xgboost:3.0-5 and sagemaker-scikit-learn:1.4-2, after
    # what they hold: https://docs.aws.amazon.com/sagemaker/latest/dg/ecr-us-east-1.html
    assert str(locked("xgboost")) == "3.0.5"
    assert str(locked("scikit-learn")) == "1.4.2"
    assert str(locked("sagemaker-training")) == "5.1.4"
    assert version("xgboost") == "3.0.5"


def test_make_and_conda_use_the_same_python_and_lock() -> None:
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    (python,) = [d for d in conda if isinstance(d, str) and d.startswith("python")]
    (pip,) = [d["pip"] for d in conda if isinstance(d, dict)]
    script = MAKE_VENV.read_text()
    wanted = set(re.findall(r"= (3\.\d+) \]", script))
    assert wanted == {"3.11"}
    assert python == "python=3.11"
    assert sys.version_info[:2] == (3, 11)
    assert pip == ["-r requirements.txt"]
    assert "LOCK=${2:-requirements.txt}" in script
    assert ".ci/make_venv" in (ROOT / "Makefile").read_text()


# ---- the set-up itself, in a checkout of its own and with a pip that only pretends ----

FAKE_PYTHON = """\
#!/bin/sh
# Stands in for an interpreter of version $VERSION whose pip installs nothing.
case "$*" in
    *sys.executable*) echo "$0 (Python $VERSION.2)" ;;
    *sysconfig*) echo "${INCLUDE:-headers}" ;;
    *version_info*) echo "$VERSION" ;;
    "-m venv --clear .venv"*) mkdir -p "$4/bin" && cp "$0" "$4/bin/python" ;;
    "-m pip --version") [ ! -e no-pip ] ;;
    "-m ruff "*) ;;
    "-m pytest "*) echo "$*" >pytest-words; mkdir -p "${3#--basetemp=}/gw0"; exit 3 ;;
    *"pip install"*) echo pip >>calls; echo "Collecting nothing"; echo "ERROR: no $PIP_EXIT" >&2
                     exit "$PIP_EXIT" ;;
esac
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return the Makefile and the set-up in a folder whose name has a space, with a small lock."""
    folder = tmp_path / "a checkout"
    shutil.copytree(ROOT / ".ci", folder / ".ci")
    shutil.copy(ROOT / "Makefile", folder)
    (folder / "requirements.txt").write_text("first==1\n")
    (folder / "headers").mkdir()
    (folder / "headers" / "Python.h").touch()
    fake = folder / "fake-python"
    fake.write_text(FAKE_PYTHON)
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    return folder


def make_env(
    checkout: Path, target: str = "env", **variables: str
) -> subprocess.CompletedProcess[str]:
    """`make env` or `make clients` there, by default with an interpreter that is right."""
    surroundings = {k: v for k, v in os.environ.items() if not k.startswith("MAKE")}
    settings = {"PYTHON": str(checkout / "fake-python"), "VERSION": "3.11", "PIP_EXIT": "0"}
    return subprocess.run(
        ["make", "--no-print-directory", target],
        cwd=checkout,
        env={**surroundings, **settings, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def calls_of_pip(checkout: Path) -> int:
    """Return how many times pip was started."""
    calls = checkout / "calls"
    return len(calls.read_text().splitlines()) if calls.exists() else 0


def test_the_lock_is_installed_once(checkout: Path) -> None:
    first, second = make_env(checkout), make_env(checkout)
    assert first.returncode == 0, first.stderr
    assert "Setting up .venv" in first.stdout
    assert f"made with {checkout / 'fake-python'} (Python 3.11.2)\n" in first.stdout
    assert (second.returncode, second.stdout, calls_of_pip(checkout)) == (0, "", 1)


def test_the_other_clients_have_an_environment_of_their_own(checkout: Path) -> None:
    (checkout / "requirements-sdk3.txt").write_text("other==1\n")
    first, second = make_env(checkout, "clients"), make_env(checkout, "clients")
    assert first.returncode == 0, first.stderr
    assert "Setting up .venv-sdk3 from requirements-sdk3.txt" in first.stdout
    for venv, lock in ((".venv", "first==1\n"), (".venv-sdk3", "other==1\n")):
        assert (checkout / venv / "installed-requirements.txt").read_text() == lock
    assert (second.returncode, second.stdout, calls_of_pip(checkout)) == (0, "", 2)


def test_the_tests_leave_nothing_in_tmpdir(checkout: Path, tmp_path: Path) -> None:
    (checkout / "requirements-sdk3.txt").write_text("other==1\n")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    done = make_env(checkout, "test", TMPDIR=str(scratch), PYTEST_ARGS="-n 2")
    assert "Error 3" in done.stderr  # pytest's exit code
    (arguments,) = (checkout / "pytest-words").read_text().splitlines()
    assert re.fullmatch(rf"-m pytest --basetemp={scratch}/tmp\.\w+/pytest -n 2", arguments)
    assert list(scratch.iterdir()) == []


def test_only_the_tests_need_the_other_clients() -> None:
    recipes = (ROOT / "Makefile").read_text()
    assert re.findall(r"^(\w+):.* clients\b", recipes, re.MULTILINE) == ["test"]


def test_a_changed_lock_is_installed_in_place(checkout: Path) -> None:
    make_env(checkout)
    (checkout / ".venv" / "kept").touch()
    (checkout / "requirements.txt").write_text("first==2\n")
    done = make_env(checkout)
    assert done.returncode == 0
    assert "kept: .venv/bin/python (Python 3.11.2)\n" in done.stdout
    assert calls_of_pip(checkout) == 2
    assert (checkout / ".venv" / "kept").exists()


def test_a_lock_that_is_only_newer_installs_nothing(checkout: Path) -> None:
    make_env(checkout)
    (checkout / "requirements.txt").touch()
    make_env(checkout)
    assert calls_of_pip(checkout) == 1


def test_a_failed_install_is_reported_and_tried_again(checkout: Path) -> None:
    failed = make_env(checkout, PIP_EXIT="3")
    assert failed.returncode != 0
    assert "ERROR: no 3" in failed.stderr
    assert "The environment is not complete" in failed.stderr
    assert make_env(checkout).returncode == 0
    assert calls_of_pip(checkout) == 2
    assert make_env(checkout).stdout == ""


def test_an_interrupted_update_leaves_no_good_stamp(checkout: Path) -> None:
    make_env(checkout)
    (checkout / "requirements.txt").write_text("first==2\n")
    make_env(checkout, PIP_EXIT="1")
    (checkout / "requirements.txt").write_text("first==1\n")  # back to what was installed before
    make_env(checkout)
    assert calls_of_pip(checkout) == 3


def test_a_venv_without_pip_is_made_anew(checkout: Path) -> None:
    make_env(checkout, PIP_EXIT="1")
    (checkout / "no-pip").touch()  # as when the set-up was stopped before pip was there
    (checkout / ".venv" / "bin" / "python").write_text('#!/bin/sh\nexec ./fake-python "$@"\n')
    assert make_env(checkout).returncode == 0
    assert (checkout / ".venv" / "bin" / "python").read_bytes() == FAKE_PYTHON.encode()


def test_a_venv_whose_python_is_gone_is_made_anew(checkout: Path) -> None:
    make_env(checkout)
    (checkout / ".venv" / "bin" / "python").unlink()
    assert make_env(checkout).returncode == 0
    assert calls_of_pip(checkout) == 2


SENTENCES = {
    "another Python": ({"VERSION": "3.10"}, "needs Python 3.11, and '.*' is Python 3.10"),
    "no such Python": ({"PYTHON": "/nowhere/python"}, "'/nowhere/python' is not there or does not"),
    "no C headers": ({"INCLUDE": "/nowhere"}, "lacks its C header files.*: python3.11-dev;"),
    "no C compiler": ({"CC": "false"}, "needs a C compiler .* 'false' does not compile"),
}


@pytest.mark.parametrize(("variables", "sentence"), SENTENCES.values(), ids=SENTENCES.keys())
def test_what_is_missing_is_reported_in_one_sentence(
    variables: dict[str, str], sentence: str, checkout: Path
) -> None:
    done = make_env(checkout, **variables)
    assert done.returncode != 0
    lines = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    assert len(lines) == 1, lines
    assert re.search(sentence, lines[0]), lines
    assert not (checkout / ".venv").exists()


def test_a_venv_of_another_python_is_left_alone(checkout: Path) -> None:
    other = checkout / ".venv" / "bin" / "python"
    other.parent.mkdir(parents=True)
    other.write_text("#!/bin/sh\necho 3.12\n")
    other.chmod(0o755)
    done = make_env(checkout)
    assert ".venv holds Python 3.12" in done.stderr
    assert other.exists()
    assert calls_of_pip(checkout) == 0


def test_lint_and_test_run_the_same_checkers() -> None:
    recipes = (ROOT / "Makefile").read_text()
    for target in ("lint", "test"):
        (recipe,) = re.findall(rf"^{target}:.*\n((?:\t.*\n)+)", recipes, re.MULTILINE)
        for checker in ("ruff check", "ruff format --check", "mypy"):
            assert f"-m {checker}" in recipe, f"make {target} does not run {checker}"


def test_make_alone_lists_every_command() -> None:
    done = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True)
    (phony,) = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    listed = re.findall(r"^  make ([\w-]+)", done.stdout, re.MULTILINE)
    assert sorted(listed) == sorted(phony.split())
