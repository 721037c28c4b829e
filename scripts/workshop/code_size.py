"""How much code a training script is: its lines, and the modules of its folder that it uses.

    files = code_size.modules("scripts/training/train_xgboost.py")  # itself, titanic.py, ...
    sum(code_size.lines(file) for file in files)

Command line:  python -m workshop.code_size scripts/training/train_xgboost.py
"""

from __future__ import annotations

import ast
import io
import sys
import tokenize
from pathlib import Path

_NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}


def lines(path: str | Path) -> int:
    """Count the lines of code of a Python file: blank lines, comments and docstrings are none.

    Raises OSError or SyntaxError for what is no Python file.
    """
    source = Path(path).read_bytes()
    docstrings = _docstrings(ast.parse(source))
    counted: set[int] = set()
    for token in tokenize.tokenize(io.BytesIO(source).readline):
        if token.type not in _NO_CODE and token.start[0] not in docstrings:
            counted.update(range(token.start[0], token.end[0] + 1))
    return len(counted)


def _docstrings(tree: ast.Module) -> set[int]:
    """Return the lines on which docstrings begin."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return {
        node.body[0].lineno
        for node in ast.walk(tree)
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None
    }


def modules(script: str | Path) -> set[Path]:
    """Return the script, and every module of its folder that it imports, also through another.

    An import counts wherever it stands, in a function too; what is installed does not count.
    """
    start = Path(script).resolve()
    files: set[Path] = set()
    to_read = [start]
    while to_read:
        path = to_read.pop()
        if path not in files:
            files.add(path)
            names = _imported(ast.parse(path.read_bytes()))
            to_read.extend(file for name in names for file in _files_of(name, start.parent))
    return files


def _imported(tree: ast.Module) -> set[str]:
    """Return the dotted names of what is imported: modules, and what may be one of a package."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def _files_of(name: str, folder: Path) -> list[Path]:
    """Return the files of a folder that are read when a dotted name is imported."""
    parts = name.split(".")
    paths = [folder.joinpath(*parts[: end + 1]) for end in range(len(parts))]
    files = [file for path in paths for file in (path.with_suffix(".py"), path / "__init__.py")]
    return [file for file in files if file.is_file()]


if __name__ == "__main__":
    for name in sys.argv[1:]:
        for file in sorted(modules(name)):
            print(f"{lines(file):6}  {file.name}")
