"""Executes lessons headless, prints the result of each, and keeps their pages.

    python -m lessons.on_stub python -m lessons.run               all lessons, in order
    python -m lessons.on_stub python -m lessons.run 03 02 03      these, in this order

Leaves in build/lessons/ each executed notebook, an HTML page of it, and results.json, a list of
`Result`s. notebooks/ is only read. The exit code is 0 only when every lesson passed.

A lesson passes when every cell of it succeeds, except that a cell tagged `raises-exception` must
fail with an exception that the prose before it names. Both the kernel's reply to each cell and the
errors that it showed count; kernel.py explains why neither is enough alone.
"""

from __future__ import annotations

import argparse
import asyncio
import atexit
import contextlib
import ipaddress
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbconvert import HTMLExporter
from nbformat import NotebookNode
from traitlets.config import Config

from lessons import kernels
from lessons.rules import expected_exceptions

ROOT = Path(__file__).resolve().parent.parent.parent
NOTEBOOKS = ROOT / "notebooks"
PAGES = ROOT / "build" / "lessons"
ANSI = re.compile(r"\x1b\[[0-9;]*m")
WARNING = re.compile(r"^.*\b\w*Warning: .*$", flags=re.MULTILINE)


@dataclass
class Result:
    """The result of executing one lesson."""

    lesson: str
    passed: bool = True
    seconds: float = 0.0
    cell: int | None = None  # number of the cell that decided, counted from 1
    reason: str = ""  # one sentence; empty when the lesson passed
    traceback: str = ""
    warnings: list[str] = field(default_factory=list)


@contextlib.contextmanager
def strict_kernels() -> Iterator[dict[str, str]]:
    """Yield variables with which a kernel reports every failure and reads no user's profile."""
    with tempfile.TemporaryDirectory(prefix="ipython-") as folder:
        startup = Path(folder, "profile_default", "startup")
        startup.mkdir(parents=True)
        shutil.copy(Path(__file__).with_name("kernel.py"), startup)
        yield {"IPYTHONDIR": folder, "JUPYTER_PREFER_ENV_PATH": "1", "PYTHONDONTWRITEBYTECODE": "1"}


def _errors(cell: NotebookNode) -> list[NotebookNode]:
    return [output for output in cell.get("outputs", []) if output.output_type == "error"]


def _count_shown_errors(cell: NotebookNode, execute_reply: dict, **_: object) -> None:
    """Make a traceback that `%run` or `!` only shows fail the cell, like one that it raises."""
    content = execute_reply["content"]
    if content["status"] == "ok" and (shown := _errors(cell)):
        content.update(
            status="error", **{k: shown[-1][k] for k in ("ename", "evalue", "traceback")}
        )


def _broken_promise(notebook: NotebookNode) -> tuple[int, str] | None:
    """Return the number of the first cell that failed differently from its tag, and why."""
    for i, cell in enumerate(notebook.cells):
        if "raises-exception" not in cell.metadata.get("tags", []):
            continue
        expected = expected_exceptions(notebook.cells, i)
        names = {error.ename for error in _errors(cell)}
        if not names & expected:
            happened = f"failed with {', '.join(names)}" if names else "succeeded"
            return i + 1, f"should fail with {' or '.join(sorted(expected))}, and {happened}"
    return None


def _warnings(notebook: NotebookNode) -> list[str]:
    return [
        f"cell {i}: {ANSI.sub('', match[0]).strip()}"
        for i, cell in enumerate(notebook.cells, start=1)
        for output in cell.get("outputs", [])
        if output.output_type == "stream" and output.name == "stderr"
        for match in WARNING.finditer(output.text)
    ]


def _kill_kernel(client: NotebookClient) -> None:
    """End a kernel in the middle of a cell, without the tracebacks of a graceful end."""
    atexit.unregister(client._cleanup_kernel)
    if client.km is not None and client.km.provisioner is not None:
        os.killpg(client.km.provisioner.pid, signal.SIGKILL)  # and the scripts that it runs


def execute(
    path: Path, timeout: int = 600, on_cell: Callable[[int, int], None] | None = None
) -> tuple[NotebookNode, Result]:
    """Execute one notebook in its own folder, without changing its file.

    `timeout` is in seconds, for one cell; `on_cell(number, of)` is called before each. Returns the
    notebook with the outputs so far, and the result; a cell that fails, hangs or kills its kernel
    raises nothing.
    """
    kernels.offer()
    notebook = nbformat.read(path, as_version=4)
    result = Result(path.stem)
    running = 0

    def start(cell: NotebookNode, cell_index: int) -> None:
        nonlocal running
        if not running:  # nbclient's own handler ends the kernel and then fails; ours is below
            asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)
        running = cell_index + 1
        if on_cell:
            on_cell(running, len(notebook.cells))

    client = NotebookClient(
        notebook,
        timeout=timeout,
        on_cell_start=start,
        on_cell_executed=_count_shown_errors,
        config=Config(KernelManager={"transport_encryption": "auto"}),  # else the kernel warns
    )
    started = time.monotonic()
    try:
        with strict_kernels() as environment:
            client.execute(cwd=str(path.parent), env={**os.environ, **environment})
    except CellExecutionError as error:
        result.reason = f"{error.ename}: {ANSI.sub('', error.evalue)}".removesuffix(": ")
        shown = _errors(notebook.cells[running - 1])
        result.traceback = "\n".join(shown[-1].traceback) if shown else error.traceback
    except CellTimeoutError:
        result.reason = f"ran longer than {timeout} s and was stopped"
    except KeyboardInterrupt:
        _kill_kernel(client)
        raise
    except DeadKernelError:
        result.reason = "its kernel died, perhaps for lack of memory"
    if result.reason:
        result.passed, result.cell = False, running
    elif broken := _broken_promise(notebook):
        result.passed, (result.cell, result.reason) = False, broken
    result.seconds = round(time.monotonic() - started, 1)
    result.warnings = _warnings(notebook)
    return notebook, result


def _write(path: Path, text: str) -> None:
    unfinished = path.with_name(f"{path.name}.unfinished")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)


def keep_page(notebook: NotebookNode, folder: Path, name: str) -> None:
    """Write an executed notebook and its HTML page."""
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / f"{name}.ipynb", nbformat.writes(notebook) + "\n")
    resources = {"metadata": {"name": name, "path": str(NOTEBOOKS)}}
    page, _ = HTMLExporter(embed_images=True).from_notebook_node(notebook, resources)
    _write(folder / f"{name}.html", page)


def choose(wanted: list[str], folder: Path = NOTEBOOKS) -> list[Path]:
    """Return the notebooks whose names start with each of `wanted`, in that order; all, when it is
    empty.

    Raises ValueError where a name fits none, or there is no notebook at all.
    """
    lessons = sorted(folder.glob("*.ipynb"))
    if not lessons:
        raise ValueError(f"There is no lesson in {folder}.")
    if not wanted:
        return lessons
    chosen = []
    for name in wanted:
        fitting = [path for path in lessons if path.name.startswith(name)]
        if not fitting:
            known = ", ".join(path.stem for path in lessons)
            raise ValueError(f"No lesson's name starts with '{name}'; there are {known}.")
        chosen.extend(fitting)
    return chosen


def _show(text: str) -> None:
    print(text if sys.stdout.isatty() else ANSI.sub("", text), flush=True)


def _show_failure(notebook: NotebookNode, result: Result) -> None:
    source = notebook.cells[result.cell - 1].source if result.cell else ""
    for title, text in ((f"cell {result.cell}", source), ("traceback", result.traceback)):
        if text:
            _show(f"  ---- {title} " + "-" * (60 - len(title)))
            _show("\n".join(f"  {line}" for line in text.splitlines()))
    _show("  " + "-" * 66)


def run(lessons: list[Path], folder: Path, timeout: int) -> list[Result]:
    """Execute lessons one by one, print each result, keep pages and results in `folder`."""
    results: list[Result] = []
    for number, path in enumerate(lessons, start=1):
        label = f"[{number}/{len(lessons)}] {path.stem:<28}"

        def show_cell(cell: int, of: int, label: str = label) -> None:
            if sys.stdout.isatty():
                print(f"\r{label}  cell {cell} of {of}", end="", flush=True)

        print(f"{label}  started", end=("" if sys.stdout.isatty() else "\n"), flush=True)
        notebook, result = execute(path, timeout, show_cell)
        verdict = "passed" if result.passed else f"FAILED in cell {result.cell}: {result.reason}"
        start = "\r" if sys.stdout.isatty() else ""
        _show(f"{start}{label} {result.seconds:6.1f} s  {verdict}")
        if not result.passed:
            _show_failure(notebook, result)
        for warning in result.warnings:
            _show(f"  shows a warning, {warning}")
        keep_page(notebook, folder, path.stem)
        results.append(result)
        _write(folder / "results.json", json.dumps([asdict(r) for r in results], indent=1) + "\n")
    return results


def _may_run(on_aws: bool) -> bool:
    host = urlsplit(os.environ.get("AWS_ENDPOINT_URL", "")).hostname
    with contextlib.suppress(ValueError):  # a name, or nothing
        return on_aws or ipaddress.ip_address(host or "").is_loopback
    return on_aws


def main(argv: list[str] | None = None) -> int:
    """Run the command line, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("lessons", nargs="*", help="starts of their names, such as 03; all if none")
    parser.add_argument("--timeout", type=int, default=600, help="seconds that one cell may take")
    parser.add_argument("--output", type=Path, default=PAGES, help="where the pages go")
    parser.add_argument("--on-aws", action="store_true", help="run on the real AWS, which bills")
    arguments = parser.parse_args(argv)
    if not _may_run(arguments.on_aws):
        parser.error(
            "this would train on the real AWS, which bills: run it under "
            "`python -m lessons.on_stub`, as `make lessons` does, or add --on-aws"
        )
    try:
        lessons = choose(arguments.lessons)
    except ValueError as error:
        parser.error(str(error))
    started = time.monotonic()
    try:
        results = run(lessons, arguments.output, arguments.timeout)
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return 130
    passed = sum(result.passed for result in results)
    print(
        f"{passed} of {len(results)} lessons passed in {time.monotonic() - started:.0f} s; "
        f"their pages are in {os.path.relpath(arguments.output)}"
    )
    return 0 if passed == len(results) else 1


if __name__ == "__main__":
    sys.exit(main())
