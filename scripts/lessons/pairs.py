"""Derives notebooks/NN_name.ipynb from notebooks/NN_name.py, the file that people edit and review.

    python -m lessons.pairs            write every .ipynb that is missing or out of date
    python -m lessons.pairs --check    write nothing, exit 1 if one is

The .py holds percent cells and no header. The .ipynb is a pure function of it: no outputs, the
kernel of the SDK that it checks for, and cell ids made from each cell's content, so that an edited
cell changes one id and two people who derive the same .py get the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections import Counter
from pathlib import Path

import jupytext
import nbformat
from jupytext.config import JupytextConfiguration, load_jupytext_config
from nbformat import NotebookNode

from lessons import kernels

ROOT = Path(__file__).resolve().parent.parent.parent
NOTEBOOKS = ROOT / "notebooks"


def sources(folder: Path = NOTEBOOKS) -> list[Path]:
    """Return the lessons' .py files in the order of their numbers."""
    return sorted(folder.glob("[0-9][0-9]_*.py"))


def _config() -> JupytextConfiguration:
    config = load_jupytext_config(str(NOTEBOOKS / "any.py"))
    if config is None:
        raise FileNotFoundError(f"{ROOT / 'pyproject.toml'} has no section [tool.jupytext].")
    return config


def _number_cells(notebook: NotebookNode) -> None:
    counts: Counter[str] = Counter()
    for cell in notebook.cells:
        content = f"{cell.cell_type}\n{cell.source}"
        counts[content] += 1
        cell["id"] = hashlib.sha256(f"{counts[content]}\n{content}".encode()).hexdigest()[:12]


def parse(py_text: str) -> NotebookNode:
    """Return the notebook that a lesson's .py text stands for, ready to be written or executed."""
    notebook = jupytext.reads(py_text, fmt="py:percent", config=_config())
    _number_cells(notebook)
    kernel = kernels.of_lesson(py_text)
    notebook["metadata"] = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return nbformat.from_dict(notebook)


def derive(py_text: str) -> str:
    """Return the text of the .ipynb that belongs to a lesson's .py text."""
    return nbformat.writes(parse(py_text)) + "\n"


def canonical_py(notebook: NotebookNode) -> str:
    """Return the .py text that Jupytext writes for a notebook.

    It equals the notebook's source when that is in Jupytext's format.
    """
    plain = nbformat.from_dict({**notebook, "metadata": {}})
    return jupytext.writes(plain, fmt="py:percent", config=_config())


def out_of_date(py: Path) -> bool:
    """Return whether the .ipynb beside this .py is missing, or not what the .py gives."""
    ipynb = py.with_suffix(".ipynb")
    text = derive(py.read_text(encoding="utf-8"))
    return not ipynb.is_file() or ipynb.read_text(encoding="utf-8") != text


def write(py: Path) -> None:
    """Write the .ipynb beside a .py, completely or not at all."""
    ipynb = py.with_suffix(".ipynb")
    unfinished = ipynb.with_name(f".{ipynb.name}.unfinished")
    unfinished.write_text(derive(py.read_text(encoding="utf-8")), encoding="utf-8")
    unfinished.replace(ipynb)


def main(argv: list[str] | None = None) -> int:
    """Run the command line, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing, only compare")
    arguments = parser.parse_args(argv)
    stale = [py for py in sources() if out_of_date(py)]
    for py in stale:
        name = py.with_suffix(".ipynb").name
        if arguments.check:
            print(f"notebooks/{name} is not what notebooks/{py.name} gives: run `make notebooks`.")
        else:
            write(py)
            print(f"wrote notebooks/{name}")
    if not stale:
        print(f"{len(sources())} notebooks are up to date.")
    return 1 if stale and arguments.check else 0


if __name__ == "__main__":
    sys.exit(main())
