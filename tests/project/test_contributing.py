"""CONTRIBUTING.md names tests, files and commands that are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
INVARIANTS = re.findall(r"^\| (\d+) \| (.+) \| (.+) \|$", PAGE, flags=re.MULTILINE)


def named_tests(text: str) -> list[tuple[str, str]]:
    """Return (file, test) of each `file::test`; a bare `::test` is of the file before it."""
    tests, file = [], ""
    for path, name in re.findall(r"`(tests/[\w/.]+)?::(\w+)`", text):
        file = path or file
        tests.append((file, name))
    return tests


def test_every_invariant_has_a_row() -> None:
    assert [int(number) for number, _, _ in INVARIANTS] == list(range(1, 15))


@pytest.mark.parametrize(("number", "held_by"), [(n, held_by) for n, _, held_by in INVARIANTS])
def test_an_invariant_is_held_by_a_test_that_exists(number: str, held_by: str) -> None:
    tests = named_tests(held_by)
    assert tests or "tests/support/stub_jobs.py" in held_by
    for file, name in tests:
        source = (ROOT / file).read_text(encoding="utf-8")
        assert re.search(rf"^def {name}\(", source, flags=re.MULTILINE), f"{file}::{name}"


@pytest.mark.parametrize(
    "path", sorted(set(re.findall(r"`((?:scripts|tests|data)/[\w/.]+)`", PAGE)))
)
def test_a_file_that_is_named_exists(path: str) -> None:
    assert (ROOT / path).exists()


@pytest.mark.parametrize("module", sorted(set(re.findall(r"python -m ([\w.]+)", PAGE))))
def test_a_command_that_is_named_exists(module: str) -> None:
    path = module.replace(".", "/")
    assert any((ROOT / base / f"{path}.py").is_file() for base in ("scripts", "."))


@pytest.mark.parametrize("target", sorted(set(re.findall(r"`make ([a-z-]+)", PAGE))))
def test_a_make_target_that_is_named_exists(target: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE)


@pytest.mark.parametrize(
    ("page", "target"),
    [
        (page, target)
        for page in ("CONTRIBUTING.md", "scripts/README.md")
        for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / page).read_text(encoding="utf-8"))
    ],
)
def test_links_lead_somewhere(page: str, target: str) -> None:
    assert (ROOT / page).parent.joinpath(target).exists()
