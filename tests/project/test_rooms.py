"""The rooms of scripts/: who may import whom, no circle among files, nothing foreign in a job."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "scripts"
# From the top of the house to its ground: a room imports only what stands below it.
ORDER = ("lessons", "notebook_instance", "simulation", "workshop", "training", "stub_aws")
# The stub is a package of its own, and a job gets nothing but training/.
ALONE = {"training", "stub_aws"}


def rooms() -> dict[str, list[Path]]:
    """Return the Python files of each room."""
    return {room: sorted((SCRIPTS / room).rglob("*.py")) for room in ORDER}


def imports(file: Path) -> set[str]:
    """Return the absolute names of modules that a file imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.update(_imported_from(node, file))
    return names


def _imported_from(node: ast.ImportFrom, file: Path) -> set[str]:
    """Return what `from X import Y` may load: X, and X.Y where Y is a module."""
    if node.level:
        package = file.relative_to(SCRIPTS).parts[: -node.level]
        base = ".".join([*package, *([node.module] if node.module else [])])
    else:
        base = node.module or ""
    return {base, *(f"{base}.{alias.name}" for alias in node.names)}


def modules() -> dict[str, Path]:
    """Return each module's file by the name that others import it by."""
    named: dict[str, Path] = {}
    for room, files in rooms().items():
        base = SCRIPTS / room if room == "training" else SCRIPTS  # a job has it as flat files
        for file in files:
            parts = file.relative_to(base).with_suffix("").parts
            named[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return named


def room_of(file: Path) -> str:
    return file.relative_to(SCRIPTS).parts[0]


def arrows() -> dict[Path, set[Path]]:
    """Return, for each file of the rooms, the files of the rooms that it imports."""
    named = modules()
    return {
        file: {named[name] for name in imports(file) if name in named and named[name] != file}
        for files in rooms().values()
        for file in files
    }


def test_every_room_is_known_and_has_files() -> None:
    folders = {path.name for path in SCRIPTS.iterdir() if path.is_dir() and path.name[0] != "_"}
    assert folders - {"output"} == set(ORDER)
    assert all(rooms().values())
    assert [path.name for path in SCRIPTS.iterdir() if path.is_file()] == ["README.md"]


def test_a_room_imports_only_what_stands_below_it() -> None:
    wrong = [
        f"{file.relative_to(SCRIPTS)} imports {other.relative_to(SCRIPTS)}"
        for file, others in arrows().items()
        for other in others
        if room_of(other) != room_of(file)
        and (room_of(file) in ALONE or ORDER.index(room_of(other)) < ORDER.index(room_of(file)))
    ]
    assert wrong == []
    across = {
        (room_of(file), room_of(other)) for file, others in arrows().items() for other in others
    }
    assert ("lessons", "workshop") in across, "this test sees no imports"


def test_no_circle() -> None:
    """Files can be put in an order in which each imports only earlier ones."""
    left = {file: set(others) for file, others in arrows().items()}
    # a package's __init__ hands names on; importing a module of a package loads it too
    for others in left.values():
        others -= {file for file in others if file.name == "__init__.py"}
    while ground := [file for file, others in left.items() if not others & left.keys()]:
        for file in ground:
            del left[file]
    assert [str(file.relative_to(SCRIPTS)) for file in left] == []


def test_nothing_executable_in_tests_but_tests() -> None:
    """Make calls programs of scripts/; of tests/ only benchmarks and the tests of old images."""
    recipes = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert set(re.findall(r"-m (tests[\w.]*)", recipes)) <= {
        "tests.bench",
        "tests.support.image_environments",
    }


@pytest.mark.parametrize("room", ORDER)
def test_the_map_names_every_room(room: str) -> None:
    text = (SCRIPTS / "README.md").read_text(encoding="utf-8")
    assert f"{room}/ " in text


def test_tests_mirror_the_rooms() -> None:
    folders = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir()}
    assert folders - {"__pycache__"} == {*ORDER, "project", "support", "bench"}
    loose = {path.name for path in (ROOT / "tests").glob("*.py")}
    assert loose == {"__init__.py", "conftest.py"}
