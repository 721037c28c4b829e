"""Names in scripts/ are the field's terms, and a permission is called one.

A name such as `told` or `found` says where a value came from and not what it is; CONTRIBUTING.md
asks for one word for one meaning.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
FILES = sorted(SCRIPTS.rglob("*.py"))
BANNED = {
    *("told", "said", "seen", "heard", "found", "kept", "given", "its"),
    *("whole", "place", "places", "words", "complaint", "complaints", "right", "rights"),
}
# Names that stay, by file; each with its reason.
EXCEPTIONS: dict[str, set[str]] = {}
# IAM's term is permission; "the right version" and "what the user can put right" are none.
RIGHT = re.compile(
    r"\b(?:lacks?|has|have|needs?|without|missing|in its|no) (?:the |a |any )?rights?\b"
    r"|\brights? (?:to|on|for|of the role|is missing|[a-z]+:[A-Z*])"
)


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
    assert {path.relative_to(SCRIPTS).parts[0] for path in FILES} == {
        *("lessons", "notebook_instance", "simulation", "stub_aws", "training", "workshop"),
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(SCRIPTS).as_posix())
def test_a_name_says_what_a_thing_is(path):
    allowed = EXCEPTIONS.get(path.relative_to(SCRIPTS).as_posix(), set())
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


@pytest.mark.parametrize(
    "path",
    [file for file in sorted(SCRIPTS.rglob("*")) if file.suffix in (".py", ".md", ".sh", ".yaml")],
    ids=lambda path: path.relative_to(SCRIPTS).as_posix(),
)
def test_a_permission_is_called_a_permission(path):
    text = " ".join(path.read_text(encoding="utf-8").split())
    assert [match[0] for match in RIGHT.finditer(text)] == []


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
    assert RIGHT.search(text)


@pytest.mark.parametrize("text", ["the right SDK", "what the user can put right.", "left to right"])
def test_another_right_is_none(text):
    assert not RIGHT.search(text)
