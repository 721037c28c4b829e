"""Names in scripts/, tests/ and the lessons are the field's terms; a permission is called one.

A name such as `told` or `found` says where a value came from and not what it is; CONTRIBUTING.md
asks for one word for one meaning.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS, TESTS, NOTEBOOKS = (ROOT / name for name in ("scripts", "tests", "notebooks"))
# A lesson's .ipynb is derived from its .py.
FILES = sorted([*SCRIPTS.rglob("*.py"), *TESTS.rglob("*.py"), *NOTEBOOKS.glob("*.py")])
TEXTS = sorted(
    path
    for path in [*SCRIPTS.rglob("*"), *TESTS.rglob("*"), *NOTEBOOKS.glob("*")]
    if path.suffix in (".py", ".md", ".sh", ".yaml") and path != Path(__file__).resolve()
)
BANNED = {
    *("told", "said", "seen", "heard", "found", "kept", "given", "its"),
    *("whole", "place", "places", "words", "complaint", "complaints", "right", "rights"),
}
# Names that stay, by file; each with its reason.
EXCEPTIONS: dict[str, set[str]] = {}
# IAM's term is permission; "the right version" and "what the user can put right" are none.
A_RIGHT = re.compile(
    r"\b(?:lacks?|has|have|needs?|without|missing|in its|no) (?:the |a |any )?rights?\b"
    r"|\brights? (?:(?:to|on|for|of the role|is missing)\b|[a-z]+:[A-Z*])"
)


def relative(path: Path) -> str:
    """Return a path from the repository's root, also as a test's id."""
    return path.relative_to(ROOT).as_posix()


def defined(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield line and name of everything that code names: what it only reads is named elsewhere."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr
        elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
            yield node.lineno, node.name
        elif isinstance(node, ast.alias) and node.asname:
            yield node.lineno, node.asname


def banned(source: str) -> dict[str, int]:
    """Return the banned names that a program defines, each with a line."""
    names = defined(ast.parse(source))
    return {name: line for line, name in names if name.strip("_").lower() in BANNED}


def test_every_room_is_read():
    rooms = {"lessons", "notebook_instance", "simulation", "stub_aws", "training", "workshop"}
    assert {
        path.relative_to(SCRIPTS).parts[0] for path in FILES if SCRIPTS in path.parents
    } == rooms
    folders = {path.relative_to(TESTS).parts[0] for path in FILES if TESTS in path.parents}
    assert folders >= rooms | {"bench", "project", "support", "conftest.py"}
    assert len([path for path in FILES if path.parent == NOTEBOOKS]) >= 10


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_a_name_says_what_a_thing_is(path):
    allowed = EXCEPTIONS.get(relative(path), set())
    names = banned(path.read_text(encoding="utf-8"))
    assert names.keys() - allowed == set(), names
    assert allowed - names.keys() == set(), "no such name any more: take the exception out"


@pytest.mark.parametrize(
    "source",
    [
        "def told(): ...",
        "async def _told(): ...",
        "class Place: ...",
        "def f(*, words): ...",
        "f = lambda its: 1",
        "KEPT = 1",
        "a, (_found, *b) = 1, (2, 3)",
        "if (seen := 1): ...",
        "[1 for given in ()]",
        "for whole in (): ...",
        "with a as said: ...",
        "a.right = 1",
        "class A:\n    place: str",
        "import a as rights",
        "try: ...\nexcept A as complaint: ...",
        "match a:\n    case [*places]: ...",
        "match a:\n    case {'b': heard}: ...",
    ],
)
def test_a_banned_name_is_reported_wherever_it_is_defined(source):
    assert len(banned(source)) == 1


@pytest.mark.parametrize(
    "source", ["bisect_right(a)", "np.searchsorted(a, b, 'right')", "b = a.its"]
)
def test_what_others_have_named_may_be_used(source):
    assert not banned(source)


@pytest.mark.parametrize("path", TEXTS, ids=relative)
def test_a_permission_is_called_a_permission(path):
    text = " ".join(path.read_text(encoding="utf-8").split())
    assert [match[0] for match in A_RIGHT.finditer(text)] == []


@pytest.mark.parametrize(
    "text",
    [
        "your role lacks the right s3:ListBucket on it",
        "needs rights on S3",
        "a right is missing",
        "No bucket, or no right to list it",
        "the right s3:PutObject, or a right for it",
    ],
)
def test_a_right_is_reported(text):
    assert A_RIGHT.search(text)


@pytest.mark.parametrize(
    "text", ["the right SDK", "what the user can put right.", "left to right", "the right one"]
)
def test_another_right_is_none(text):
    assert not A_RIGHT.search(text)
