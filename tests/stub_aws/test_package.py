"""The package stub-aws, built and installed, in the hands of a project that knows no workshop.

It is installed into an environment that holds what the package declares and nothing else, and the
project is the one of the manual, at a path of its own.
"""

from __future__ import annotations

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Iterator
from importlib.metadata import distribution, packages_distributions, version
from pathlib import Path

import pytest
import tomllib
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from stub_aws.__main__ import make_parser
from tests.support.stub_jobs import REPOSITORY

pytestmark = pytest.mark.one_worker  # building and installing takes long and is done once

ROOM = REPOSITORY / "scripts" / "stub_aws"
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
MANUAL = (ROOM / "README.md").read_text(encoding="utf-8")
EXTRAS = {"sklearn", "sagemaker"}  # those of the manual's example
PATIENCE_S = 300  # an installed package has no compiled files yet


def run(*command: str | Path, **how: object) -> subprocess.CompletedProcess[str]:
    """Run a command that must end well."""
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=PATIENCE_S, check=False, **how
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


# --- what is built --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sdist(tmp_path_factory) -> Path:
    """Return the source archive; like the wheel built without isolation, so that no index is
    asked."""
    folder = tmp_path_factory.mktemp("sdist")
    run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", folder, cwd=REPOSITORY)
    (archive,) = folder.iterdir()
    return archive


@pytest.fixture(scope="module")
def wheel(sdist, tmp_path_factory) -> Path:
    """Return the wheel, built from the source archive."""
    folder = tmp_path_factory.mktemp("wheel")
    options = ["--no-index", "--no-deps", "--no-build-isolation", "--wheel-dir", folder]
    run(sys.executable, "-m", "pip", "wheel", *options, sdist, cwd=folder)
    (archive,) = folder.iterdir()
    return archive


def tracked(folder: Path) -> set[str]:
    """Return the files of a folder, without what Python leaves there, relative to it."""
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_wheel_holds_the_stub_and_no_other_room(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        modes = {info.filename: info.external_attr >> 16 for info in archive.infolist()}
    files = {name for name in names if ".dist-info/" not in name}
    assert files == {f"stub_aws/{name}" for name in tracked(ROOM)}
    assert {"stub_aws/py.typed", "stub_aws/console/static/index.html"} <= files
    for program in ("pip", "pip3", "torchrun"):
        assert modes[f"stub_aws/containers/bin/{program}"] & 0o111


def test_the_source_archive_holds_what_builds_it_and_no_more(sdist):
    with tarfile.open(sdist) as archive:
        names = {member.name.partition("/")[2] for member in archive}
    others = {"LICENSE", "PKG-INFO", "pyproject.toml", ".gitignore"}
    assert names == {f"scripts/stub_aws/{name}" for name in tracked(ROOM)} | others


# --- what it declares -----------------------------------------------------------------------------


def imports(folder: Path) -> set[str]:
    """Return the distributions that the modules of a folder import, by their canonical names."""
    modules: set[str] = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                modules |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                modules.add(node.module.partition(".")[0])
    own = {path.stem for path in (ROOM / "containers").iterdir()}
    known = packages_distributions()
    others = modules - sys.stdlib_module_names - own
    return {canonicalize_name(known[module][0]) for module in others}


def declared(lines: list[str]) -> dict[str, Requirement]:
    return {canonicalize_name(one.name): one for one in map(Requirement, lines)}


DEPENDENCIES = declared(PROJECT["dependencies"])
OF_EXTRAS = declared(
    [line for lines in PROJECT["optional-dependencies"].values() for line in lines]
)


def test_what_it_imports_is_what_it_declares():
    containers = imports(ROOM / "containers")
    stub = imports(ROOM) - containers
    # pytest loads the plugin, so it is there; moto's server imports flask-cors.
    assert (stub | {"sagemaker-training", "flask-cors"}) - {"pytest"} == DEPENDENCIES.keys()
    assert containers <= DEPENDENCIES.keys() | OF_EXTRAS.keys()


def test_it_declares_ranges_of_what_the_workshop_chooses():
    text = (REPOSITORY / "requirements.in").read_text(encoding="utf-8")
    chosen = declared([line.partition("#")[0] for line in text.splitlines() if line[:1].isalpha()])
    for name, requirement in {**DEPENDENCIES, **OF_EXTRAS}.items():
        assert name in chosen, f"{name} is in pyproject.toml, and not in requirements.in"
        assert requirement.specifier.contains(version(name)), f"{requirement} is not what we test"
        assert "==" not in str(requirement.specifier), requirement


def test_its_types_hold_without_exceptions():
    """`make lint` checks them; nothing in the code may silence it."""
    assert (ROOM / "py.typed").exists()
    silent = [path.name for path in ROOM.rglob("*.py") if "type: ignore" in path.read_text("utf-8")]
    assert silent == []


# --- where it is installed ------------------------------------------------------------------------


def closure(requirements: list[Requirement]) -> set[str]:
    """Return the names of the distributions that these need, extras and markers considered."""
    done: set[tuple[str, str]] = set()
    waiting = [(one.name, extra) for one in requirements for extra in ("", *one.extras)]
    while waiting:
        name, extra = waiting.pop()
        if (name := canonicalize_name(name), extra) in done:
            continue
        done.add((name, extra))
        for line in distribution(name).requires or []:
            needed = Requirement(line)
            if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                waiting += [(needed.name, one) for one in ("", *needed.extras)]
    return {name for name, _ in done}


def link(source: Path | str, target: Path | str) -> None:
    """Make a hard link, or a copy where that is another file system."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def files_of(name: str, here: Path) -> list[Path]:
    """Return the files of a distribution that is installed in the folder `here`.

    A pip of before 2023 installs what comes as source with a list of its own, which Python 3.11
    does not read.
    """
    for info in here.glob(f"{name.replace('-', '_')}-*.egg-info"):
        lines = (info / "installed-files.txt").read_text(encoding="utf-8").splitlines()
        return [info / line for line in lines]
    return [Path(file.locate()) for file in distribution(name).files or []]


def add(name: str, site_packages: Path) -> None:
    """Put the files of a distribution of this environment into another one, as hard links."""
    here = Path(sysconfig.get_path("purelib"))
    for file in files_of(name, here):
        source = Path(os.path.normpath(file))
        if not source.is_relative_to(here) or source.is_dir() or not source.exists():
            continue  # a script, or what has been cleared away
        target = site_packages / source.relative_to(here)
        target.parent.mkdir(parents=True, exist_ok=True)
        link(source, target)


@pytest.fixture(scope="module")
def environment(wheel) -> Iterator[Path]:
    """Return a virtual environment with the wheel, what it declares with `EXTRAS`, and pytest."""
    folder = REPOSITORY / "build" / "tests" / f"package-{os.getpid()}"  # this file system
    run(sys.executable, "-m", "venv", "--without-pip", "--clear", folder)
    site_packages = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder)}))
    lines = [*PROJECT["dependencies"], "pytest"]
    lines += [line for extra in EXTRAS for line in PROJECT["optional-dependencies"][extra]]
    for name in closure([Requirement(line) for line in lines]):
        add(name, site_packages)
    # pip finds all that is needed there already, or says what is missing.
    pip = [sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install"]
    run(*pip, "--no-index", f"{wheel}[{','.join(sorted(EXTRAS))}]")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def project(tmp_path) -> Path:
    """Return the manual's own example, in a folder of its own."""
    folder = tmp_path / "somebodys project"
    folder.mkdir()
    blocks = re.findall(r"```python\n# (\S+)\n(.*?)```", MANUAL, re.DOTALL)
    for name, text in blocks:
        (folder / name).write_text(text, encoding="utf-8")
    assert {name for name, _ in blocks} == {"train.py", "job.py", "test_job.py"}
    return folder


def inside(environment: Path, project: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command as somebody in that project does who has activated the environment."""
    path = os.pathsep.join([str(environment / "bin"), "/usr/local/bin", "/usr/bin", "/bin"])
    home = {"HOME": os.environ["HOME"]} if "HOME" in os.environ else {}
    return run(*command, cwd=project, env={"PATH": path, **home})


def test_nothing_of_the_workshop_is_there(environment, project):
    asks = """
from importlib.util import find_spec
import stub_aws
rooms = ("workshop", "lessons", "simulation", "notebook_instance", "training", "titanic")
print(stub_aws.__file__, [room for room in rooms if find_spec(room)])
"""
    done = inside(environment, project, "python", "-c", asks)
    file, rest = done.stdout.strip().split(maxsplit=1)
    assert Path(file).is_relative_to(environment / "lib")
    assert rest == "[]"


def test_the_manuals_command_trains(environment, project):
    (command,) = re.findall(r"```sh\n(.*)\n```", MANUAL)
    done = inside(environment, project, *shlex.split(command))
    model = done.stdout.splitlines()[-1]
    assert re.fullmatch(r"s3://sagemaker-us-east-1-123456789012/.*/output/model\.tar\.gz", model)
    assert "accuracy=1.0;" in done.stdout
    assert "Training - Training image download completed." in done.stdout


def test_the_manuals_test_passes(environment, project):
    done = inside(environment, project, "python", "-m", "pytest", "-q")
    assert "1 passed" in done.stdout


BOTO3 = """
import io, json, os, tarfile, time, urllib.request
import boto3

s3, sagemaker = boto3.client("s3"), boto3.client("sagemaker")
s3.create_bucket(Bucket="sagemaker-of-somebody")
code = io.BytesIO()
with tarfile.open(fileobj=code, mode="w:gz") as tar:
    tar.add("train.py")
s3.put_object(Bucket="sagemaker-of-somebody", Key="code.tar.gz", Body=code.getvalue())
s3.put_object(Bucket="sagemaker-of-somebody", Key="train/data.csv", Body=b"x,y\\n0,0\\n1,1\\n")
source = {"S3DataType": "S3Prefix", "S3Uri": "s3://sagemaker-of-somebody/train/"}
account = boto3.client("sts").get_caller_identity()["Account"]
sagemaker.create_training_job(
    TrainingJobName="by-boto3",
    RoleArn=f"arn:aws:iam::{account}:role/sagemaker-execution-role",
    AlgorithmSpecification={
        "TrainingImage": "1.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.4-2",
        "TrainingInputMode": "File",
    },
    InputDataConfig=[{"ChannelName": "train", "DataSource": {"S3DataSource": source}}],
    OutputDataConfig={"S3OutputPath": "s3://sagemaker-of-somebody/output"},
    ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
    StoppingCondition={"MaxRuntimeInSeconds": 120},
    HyperParameters={
        "sagemaker_program": "train.py",
        "sagemaker_submit_directory": "s3://sagemaker-of-somebody/code.tar.gz",
    },
)
while (job := sagemaker.describe_training_job(TrainingJobName="by-boto3"))[
    "TrainingJobStatus"
] == "InProgress":
    time.sleep(0.2)
print(job["TrainingJobStatus"], job.get("FailureReason", ""))
key = "output/by-boto3/output/model.tar.gz"
body = s3.get_object(Bucket="sagemaker-of-somebody", Key=key)["Body"].read()
print(tarfile.open(fileobj=io.BytesIO(body)).getnames())
console = os.environ["SAGEMAKER_CONSOLE_URL"]
print(urllib.request.urlopen(console + "main.js").status)
print([job["cost"] for job in json.load(urllib.request.urlopen(console + "api/jobs"))["jobs"]])
"""


def test_a_program_with_boto3_alone_trains_and_the_console_shows_it(environment, project):
    done = inside(environment, project, "stub-aws", "python", "-c", BOTO3)
    status, names, page, costs = done.stdout.splitlines()
    assert (status.strip(), names, page) == ("Completed", "['model.joblib']", "200")
    assert re.search(r"\d+ s x 1 x ml\.m5\.large; the stub AWS has no prices", costs)


def test_an_installation_with_pips_option_user_trains_too(environment, project):
    """It lies in the home folder, which a job finds empty but for that."""
    home = environment.with_name(f"{environment.name}-home")
    python = Path(sys.base_prefix, "bin", f"python{sys.version_info[0]}.{sys.version_info[1]}")
    packages = Path(sysconfig.get_path("purelib", "posix_user", {"userbase": str(home / ".local")}))
    installed = Path(sysconfig.get_path("purelib", "venv", {"base": str(environment)}))
    try:
        shutil.copytree(installed, packages, copy_function=link)
        done = run(
            *(python, "-m", "stub_aws", python, "-c", BOTO3),
            cwd=project,
            env={"PATH": "/usr/bin:/bin", "HOME": str(home)},
        )
    finally:
        shutil.rmtree(home)
    assert done.stdout.startswith("Completed")


def test_the_plugin_costs_nothing_where_no_test_uses_it(environment, project):
    test = "def test_it():\n    assert not {'moto', 'boto3', 'flask'} & set(sys.modules)\n"
    (project / "test_job.py").write_text(f"import sys\n\n{test}", encoding="utf-8")
    done = inside(environment, project, "python", "-m", "pytest", "-q", "--trace-config")
    assert "stub_aws/pytest_plugin.py" in done.stdout
    assert "1 passed" in done.stdout


# --- the manual -----------------------------------------------------------------------------------


def test_the_manual_is_one_page():
    assert len(MANUAL.split()) < 900


def test_the_manual_names_every_option():
    options = {name for name in re.findall(r"`(--[a-z-]+)", MANUAL) if name != "--help"}
    known = {name for action in make_parser()._actions for name in action.option_strings}
    assert options == known - {"-h", "--help", "--role-policy"}


def test_the_manuals_workflow_runs_what_the_manual_says():
    (text,) = re.findall(r"```yaml\n(.*?)```", MANUAL, re.DOTALL)
    (job,) = yaml.safe_load(text)["jobs"].values()
    commands = [step["run"] for step in job["steps"] if "run" in step]
    assert commands[-1] == "pytest"
    (extras,) = re.findall(r"stub-aws\[(.*?)\] @", commands[0])
    assert set(extras.split(",")) == EXTRAS
    assert PROJECT["optional-dependencies"].keys() >= EXTRAS
