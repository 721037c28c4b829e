"""Makefile, environment.yml, the lock and what is installed cannot drift apart."""

from __future__ import annotations

import ast
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterable
from functools import partial
from importlib.metadata import Distribution, distributions, version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from workshop import images

ROOT = Path(__file__).resolve().parents[2]
MAKE_VENV = ROOT / ".ci" / "make_venv"


def requirements(name: str) -> list[Requirement]:
    """Return the lines of requirements.in or requirements.txt, without comments."""
    lines = (re.sub(r"(^|\s)#.*", "", line) for line in (ROOT / name).read_text().splitlines())
    return [Requirement(line) for line in lines if line.strip()]


PYTHONS = ["3.11", "3.12", "3.13"]
SYSTEMS = {
    "Linux": {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "x86_64"},
    "ARM": {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "aarch64"},
    "macOS": {"sys_platform": "darwin", "platform_system": "Darwin", "platform_machine": "arm64"},
}


def applies(requirement: Requirement, python: str, system: str) -> bool:
    """Check whether a line is for this Python, in any of its releases, on this system."""
    versions = {"python_version": python, "python_full_version": f"{python}.2"}
    environment = SYSTEMS[system] | versions | {"os_name": "posix"}
    return requirement.marker is None or requirement.marker.evaluate(environment)


def read_lock(name: str, python: str | None = None, system: str = "Linux") -> dict:
    """Return a lock's lines by package, for one Python and system; here if none is named."""
    lines = {}
    for line in requirements(name):
        here = line.marker is None or line.marker.evaluate()
        if applies(line, python, system) if python else here:
            package = canonicalize_name(line.name)
            assert package not in lines, f"{package} has two versions"
            lines[package] = line
    return lines


LOCK = read_lock("requirements.txt")
OTHER_VENVS = {
    "requirements-sdk3": ".venv-sdk3",
    "requirements-cli": ".venv-cli",
    "requirements-site": ".venv-site",
}
LOCKS = {"requirements": LOCK} | {name: read_lock(f"{name}.txt") for name in OTHER_VENVS}
AT_LEAST = {  # packages
    "requirements": 150,
    "requirements-sdk3": 100,
    "requirements-cli": 8,
    "requirements-site": 50,
}
each_environment = pytest.mark.parametrize(
    ("python", "system"), [(python, system) for python in PYTHONS for system in SYSTEMS]
)


def locked(name: str, lock: dict[str, Requirement] = LOCK) -> Version:
    """Return the version that a lock gives a package."""
    (pin,) = lock[canonicalize_name(name)].specifier
    return Version(pin.version)


@pytest.mark.parametrize("name", LOCKS)
def test_every_line_of_a_lock_is_one_exact_version(name: str) -> None:
    lines = requirements(f"{name}.txt")
    assert len(lines) > AT_LEAST[name]
    for requirement in lines:
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


@each_environment
@pytest.mark.parametrize("name", LOCKS)
def test_the_lock_covers_what_we_choose(name: str, python: str, system: str) -> None:
    lock = read_lock(f"{name}.txt", python, system)
    chosen = [line for line in requirements(f"{name}.in") if applies(line, python, system)]
    assert chosen
    assert len(lock) > AT_LEAST[name]
    for requirement in chosen:
        assert requirement.specifier.contains(locked(requirement.name, lock)), requirement


def test_torch_decides_alone_what_comes_of_cuda() -> None:
    """With CUDA's packages in the lock, they would come with torch's CPU build, too."""
    names = {canonicalize_name(line.name) for line in requirements("requirements.txt")}
    cuda = {name for name in names if name.startswith(("nvidia-", "cuda-", "triton"))}
    assert cuda == {"nvidia-nccl-cu12"}  # XGBoost's, and in requirements.in


@pytest.mark.parametrize("name", LOCKS)
def test_each_choice_says_why(name: str) -> None:
    previous = ""
    for line in (ROOT / f"{name}.in").read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            assert re.search(r"\s# \S", line) or previous.startswith("# "), line
        previous = line


def test_what_is_installed_is_the_lock() -> None:
    installed = {canonicalize_name(d.name): d.version for d in distributions()}
    for name in LOCK:
        assert name in installed, f"{name} is not installed: run `make env`"
        assert Version(installed[name]).public == str(locked(name)), name


def test_what_is_installed_fits_together() -> None:
    command = [sys.executable, "-m", "pip", "check", "--disable-pip-version-check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


OLDEST = "3.11.0"  # Debian 12 has 3.11.2


def of_venv(folder: str) -> Iterable[Distribution]:
    """Return what is installed in one of the other environments."""
    packages = ROOT.glob(f"{folder}/lib/python3.*/site-packages")
    return distributions(path=[str(path) for path in packages])


ENVIRONMENTS = {
    "requirements": distributions,
    **{name: partial(of_venv, venv) for name, venv in OTHER_VENVS.items()},
}


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_each_lock_installs_on_the_oldest_python(name: str) -> None:
    """A package that wants a later 3.11 would stop the set-up there."""
    limits = {
        canonicalize_name(d.name): d.metadata["Requires-Python"] for d in ENVIRONMENTS[name]()
    }
    assert len(limits) > AT_LEAST[name], "run `make clients site-env`"
    late = {
        package: limits[package]
        for package in LOCKS[name]
        if OLDEST not in SpecifierSet(limits[package] or "")
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
    for framework, distribution in {"xgboost": "xgboost", "sklearn": "scikit-learn"}.items():
        tag = images.find(framework).version  # the version of the framework, and the image's own
        assert locked(distribution).release[:2] == Version(tag.partition("-")[0]).release
    assert locked("torch").release[:2] == Version(images.find("pytorch").version).release
    assert str(locked("sagemaker-training")) == "5.1.4"
    assert version("xgboost") == str(locked("xgboost"))


def test_make_conda_and_ci_use_the_same_pythons_and_lock() -> None:
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    (python,) = [d for d in conda if isinstance(d, str) and d.startswith("python")]
    (pip,) = [d["pip"] for d in conda if isinstance(d, dict)]
    script = MAKE_VENV.read_text()
    (newest_first,) = re.findall(r'^PYTHONS="(.*)"', script, re.MULTILINE)
    assert newest_first.split() == PYTHONS[::-1]
    assert python == f"python={images.find('pytorch').python}"  # that of the images
    assert python.removeprefix("python=") in PYTHONS
    assert f"{sys.version_info[0]}.{sys.version_info[1]}" in PYTHONS
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    matrix = workflow["jobs"]["test"]["strategy"]["matrix"]
    minor = {".".join(run["python"].split(".")[:2]) for run in matrix["include"]}
    assert minor == set(PYTHONS)
    (oldest,) = re.findall(r"^OLDEST=(.*)", (ROOT / ".ci" / "make_lock").read_text(), re.MULTILINE)
    assert oldest == PYTHONS[0]
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
    *"pip install"*) echo pip >>calls; echo "${LOGGED:-Collecting nothing}"
                     if [ -n "${LOGGED:-}" ]; then sleep 2; fi
                     echo "ERROR: no $PIP_EXIT" >&2; exit "$PIP_EXIT" ;;
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
    fake_python(folder / "fake-python")
    return folder


def fake_python(path: Path, version: str = "$VERSION") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(FAKE_PYTHON.replace("$VERSION", version))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def make_env(
    checkout: Path, target: str = "env", **variables: str
) -> subprocess.CompletedProcess[str]:
    """`make env` or `make clients` there, by default with an interpreter that is right."""
    surroundings = {k: v for k, v in os.environ.items() if not k.startswith("MAKE")}
    settings = {"PYTHON": str(checkout / "fake-python"), "VERSION": "3.12", "PIP_EXIT": "0"}
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
    assert f"made with {checkout / 'fake-python'} (Python 3.12.2)\n" in first.stdout
    assert (second.returncode, second.stdout, calls_of_pip(checkout)) == (0, "", 1)


def test_the_other_clients_have_environments_of_their_own(checkout: Path) -> None:
    (checkout / "requirements-sdk3.txt").write_text("other==1\n")
    (checkout / "requirements-cli.txt").write_text("third==1\n")
    first, second = make_env(checkout, "clients"), make_env(checkout, "clients")
    assert first.returncode == 0, first.stderr
    assert "Setting up .venv-sdk3 from requirements-sdk3.txt" in first.stdout
    for venv, lock in (
        (".venv", "first==1\n"),
        (".venv-sdk3", "other==1\n"),
        (".venv-cli", "third==1\n"),
    ):
        assert (checkout / venv / "installed-requirements.txt").read_text() == lock
    assert (second.returncode, second.stdout, calls_of_pip(checkout)) == (0, "", 3)


@pytest.mark.parametrize(
    ("lessons", "wanted"),
    [("", True), ("10", True), ("03 10_sdk_v3", True), ("1", True), ("03 08", False)],
)
def test_lesson_10_alone_needs_the_environment_of_sdk_3(lessons: str, wanted: bool) -> None:
    for target in ("lessons", "test-aws"):
        command = ["make", "--dry-run", target, f"LESSON={lessons}"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        assert ("requirements-sdk3.txt" in done.stdout) is wanted, target
        assert "requirements-cli.txt" not in done.stdout


def test_the_tests_leave_nothing_in_tmpdir(checkout: Path, tmp_path: Path) -> None:
    for name in OTHER_VENVS:
        (checkout / f"{name}.txt").write_text("other==1\n")
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
    assert "kept: .venv/bin/python (Python 3.12.2)\n" in done.stdout
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


OURS = "needs Python 3.11, 3.12 or 3.13"
SENTENCES = {
    "another Python": ({"VERSION": "3.10"}, f"{OURS}, and '.*' is Python 3.10"),
    "no such Python": ({"PYTHON": "/nowhere/python"}, "'/nowhere/python' is not there or does not"),
    "no C headers": ({"INCLUDE": "/nowhere"}, "lacks its C header files.*: python3.12-dev;"),
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
    other = fake_python(checkout / ".venv" / "bin" / "python", "3.10")
    done = make_env(checkout)
    assert ".venv holds Python 3.10, and this workshop needs 3.11, 3.12 or 3.13: " in done.stderr
    assert other.exists()
    assert calls_of_pip(checkout) == 0


@pytest.mark.parametrize("ready", [True, False], ids=["ready", "lock has changed"])
def test_a_python_that_the_venv_does_not_hold_is_refused(checkout: Path, ready: bool) -> None:
    """Not: passed over, so that somebody tests another Python than the one that was named."""
    make_env(checkout)
    if not ready:
        (checkout / "requirements.txt").write_text("first==2\n")
    newer = fake_python(checkout / "newer", "3.13")
    done = make_env(checkout, PYTHON=str(newer))
    assert f".venv holds Python 3.12, and '{newer}' is Python 3.13: remove it" in done.stderr
    assert calls_of_pip(checkout) == 1
    assert make_env(checkout, PYTHON="").stderr == ""


SEARCH = {  # what is where -> which one is taken
    "the newest": ({"bin/python3.12": "3.12", "bin/python3.13": "3.13"}, "bin/python3.13"),
    "one of pyenv": (
        {"bin/python3.12": "3.12", ".pyenv/versions/3.13.5/bin/python": "3.13"},
        ".pyenv/versions/3.13.5/bin/python",
    ),
    "one by its plain name": (
        {"bin/python3": "3.13", "bin/python3.12": "3.12"},
        "bin/python3",
    ),
    "not one too new": ({"bin/python3": "3.14", "bin/python3.12": "3.12"}, "bin/python3.12"),
    "not one that cannot run": (
        {"bin/python3.13": "", "bin/python3.12": "3.12"},
        "bin/python3.12",
    ),
}


@pytest.mark.parametrize(("there", "taken"), SEARCH.values(), ids=SEARCH.keys())
def test_make_takes_the_newest_python_and_says_which(
    there: dict[str, str], taken: str, checkout: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    for path, number in there.items():
        fake_python(home / path, number)
    path = f"{home / 'bin'}:/usr/bin:/bin"
    done = make_env(checkout, PYTHON="", PYENV_ROOT="", HOME=str(home), PATH=path)
    assert done.returncode == 0, done.stderr
    # found on the PATH, an interpreter is shown by the path by which it was started
    assert f"made with {home / taken} (Python {there[taken]}.2)\n" in done.stdout


def test_without_any_python_of_ours_it_says_so(checkout: Path, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("make", "sh", "awk", "cmp", "grep", "sed", "cat", "printf"):
        (tools / name).symlink_to(shutil.which(name))
    done = make_env(checkout, PYTHON="", HOME=str(tmp_path), PYENV_ROOT="", PATH=str(tools))
    assert f"This workshop {OURS}, and none was found on the PATH" in done.stderr


WHEEL = "-cp312-cp312-manylinux_2_28_x86_64.whl"
CUDA = {  # a line of pip's log -> whether it tells of the build with CUDA
    f"  Downloading torch-2.13.0{WHEEL} (526.6 MB)": True,
    f"  Downloading torch-2.13.0{WHEEL}.metadata (30 kB)": True,
    "Collecting nvidia-cublas==13.1.1.3 (from torch==2.13.0)": True,
    f"  Downloading torch-2.13.0%2Bcpu{WHEEL} (190 MB)": False,
    f"Processing ./wheels/torch-2.13.0+cpu{WHEEL}": False,
    "  Downloading torch-2.13.0-cp312-none-macosx_14_0_arm64.whl": False,
    "Collecting nvidia-nccl-cu12==2.32.3": False,  # XGBoost's
}


@pytest.mark.parametrize(("line", "printed"), CUDA.items())
def test_the_build_with_cuda_is_named_before_most_of_it_is_fetched(
    line: str, printed: bool, checkout: Path
) -> None:
    done = make_env(checkout, LOGGED=line, PIP_EXIT="1")
    sentences = [line for line in done.stdout.splitlines() if "with CUDA" in line]
    assert len(sentences) == printed
    for sentence in sentences:
        assert "stop here (Ctrl-C), set PIP_EXTRA_INDEX_URL to the index of CPU builds" in sentence


def test_what_was_installed_is_measured(checkout: Path) -> None:
    without = make_env(checkout)
    assert re.search(r"ready after \d+ s; it takes \d+ MB\.$", without.stdout, re.MULTILINE)
    assert "CUDA" not in without.stdout
    for folder in ("nccl", "cublas"):  # NCCL is XGBoost's, with or without CUDA
        libraries = checkout / ".venv/lib/python3.12/site-packages/nvidia" / folder
        libraries.mkdir(parents=True)
        (libraries / "lib.so").write_bytes(bytes(7 * 2**20))
        (checkout / "requirements.txt").write_text(f"{folder}==2\n")
        done = make_env(checkout)
        assert ("CUDA" in done.stdout) is (folder == "cublas")
    (line,) = [line for line in done.stdout.splitlines() if "CUDA" in line]
    assert re.match(r"[78] MB of that are CUDA, .*, set PIP_EXTRA_INDEX_URL to the index", line)


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
