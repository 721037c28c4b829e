"""The runner of the lessons must not be fooled: every way in which a cell can fail makes it red."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import nbformat
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from lessons import run as run_lessons

# What installs rich tracebacks, after which a failing cell stores no output of type "error".
SDK = "from sagemaker_core.main.utils import enable_rich_logging; enable_rich_logging()"

FAILURES = {
    "raises": ("1 / 0", "ZeroDivisionError"),
    "asserts": ("assert 1 == 2, 'not the same'", "AssertionError: not the same"),
    "does not parse": ("for", "SyntaxError"),
    "fails after the SDK is imported": (SDK + "\n1 / 0", "ZeroDivisionError"),
    "a script that %run starts raises": ("%run raises.py", "ZeroDivisionError"),
    "a script that %run starts exits with 1": ("%run exits.py", "SystemExit"),
    "the same after the SDK is imported": (SDK + "\n%run exits.py", "SystemExit"),
    "a command fails": ("!exit 3", "CalledProcessError"),
    "a command fails after the SDK is imported": (SDK + "\n!exit 3", "CalledProcessError"),
    "its kernel dies": ("import os; os._exit(1)", "kernel died"),
    "hangs": ("import time; time.sleep(60)", "longer than 8 s"),
}


def notebook(folder: Path, *cells: nbformat.NotebookNode, name: str = "01_sample") -> Path:
    """Return a notebook of these cells, beside two scripts that fail."""
    (folder / "raises.py").write_text("1 / 0\n")
    (folder / "exits.py").write_text("import sys\nsys.exit(1)\n")
    path = folder / f"{name}.ipynb"
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    nbformat.write(new_notebook(cells=list(cells), metadata=kernel), path)
    return path


def failing_as_promised(source: str, prose: str) -> list[nbformat.NotebookNode]:
    """Prose, then a cell that is tagged as one that must fail."""
    tags = {"tags": ["raises-exception"]}
    return [new_markdown_cell(prose), new_code_cell(source, metadata=tags)]


@pytest.mark.parametrize(("source", "reason"), FAILURES.values(), ids=FAILURES.keys())
def test_a_failing_cell_fails_its_lesson(source: str, reason: str, tmp_path: Path) -> None:
    path = notebook(tmp_path, new_code_cell("x = 1"), new_code_cell(source), new_code_cell("2"))
    before = path.read_bytes()
    executed, result = run_lessons.execute(path, timeout=8)
    assert not result.passed
    assert result.cell == 2
    assert reason in result.reason
    assert executed.cells[2].execution_count is None  # nothing ran after the failure
    assert path.read_bytes() == before


def test_nbmake_is_not_fooled_either(tmp_path: Path) -> None:
    slow = {"its kernel dies", "hangs"}
    for name in set(FAILURES) - slow:
        notebook(tmp_path, new_code_cell(FAILURES[name][0]), name=name.replace(" ", "_"))
    with run_lessons.strict_kernels() as environment:
        done = nbmake(tmp_path, environment)
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout
    assert re.search(rf"^=+ {len(FAILURES) - 2} failed in ", done.stdout, re.MULTILINE), done.stdout


def nbmake(path: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Return what plain nbmake says of a notebook."""
    command = [sys.executable, "-m", "pytest", "--nbmake", "-c", os.devnull, str(path)]
    environment = {**os.environ, **environment}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def test_nbmake_alone_is_fooled(tmp_path: Path) -> None:
    """Why kernel.py exists; when this turns red, nbmake or the SDK has mended it."""
    path = notebook(tmp_path, new_code_cell(FAILURES["fails after the SDK is imported"][0]))
    done = nbmake(path, {"IPYTHONDIR": str(tmp_path / "ipython")})
    assert done.returncode == pytest.ExitCode.OK, done.stdout
    assert "1 passed" in done.stdout


def test_a_lesson_that_works_passes(tmp_path: Path) -> None:
    cells = [
        new_code_cell(SDK),
        new_code_cell("!true"),
        *failing_as_promised("{}['a']", "A missing key gives a `KeyError`."),
        *failing_as_promised("!false", "A command that fails gives a `CalledProcessError`."),
        new_code_cell("print(__import__('os').getcwd())"),
    ]
    executed, result = run_lessons.execute(notebook(tmp_path, *cells), timeout=60)
    assert result.passed, result
    assert (result.reason, result.warnings) == ("", [])
    assert executed.cells[-1].outputs[0].text.strip() == str(tmp_path.resolve())


@pytest.mark.parametrize(
    ("source", "happened"), [("1 / 1", "succeeded"), ("1 / 0", "failed with ZeroDivisionError")]
)
def test_a_promised_failure_must_come(source: str, happened: str, tmp_path: Path) -> None:
    cells = failing_as_promised(source, "AWS answers with a `ClientError`.")
    _, result = run_lessons.execute(notebook(tmp_path, *cells), timeout=60)
    assert not result.passed
    assert result.reason == f"should fail with ClientError, and {happened}"


def test_warnings_are_collected(tmp_path: Path) -> None:
    cell = new_code_cell("import warnings\nwarnings.warn('soon gone', FutureWarning)")
    _, result = run_lessons.execute(notebook(tmp_path, cell), timeout=60)
    assert result.passed
    assert len(result.warnings) == 1
    assert "FutureWarning: soon gone" in result.warnings[0]


def test_pages_results_and_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = notebook(tmp_path, new_code_cell("print(6 * 7)"), name="01_good")
    bad = notebook(tmp_path, new_code_cell("first = 1\nfirst / 0"), name="02_bad")
    pages = tmp_path / "pages"
    run_lessons.run([good, bad], pages, timeout=60)
    output = capsys.readouterr().out
    assert output.splitlines()[0].split() == ["[1/2]", "01_good", "started"]
    assert re.fullmatch(r"\[1/2\] 01_good +[\d.]+ s  passed", output.splitlines()[1])
    assert "FAILED in cell 1: ZeroDivisionError: division by zero" in output
    assert "first / 0" in output
    assert "\x1b[" not in output
    results = json.loads((pages / "results.json").read_text())
    assert [(r["lesson"], r["passed"]) for r in results] == [("01_good", True), ("02_bad", False)]
    assert nbformat.read(pages / "01_good.ipynb", 4).cells[0].outputs[0].text == "42\n"
    assert "42" in (pages / "01_good.html").read_text()
    assert "ZeroDivisionError" in (pages / "02_bad.html").read_text()
    assert sorted(p.suffix for p in pages.iterdir()) == [
        ".html",
        ".html",
        ".ipynb",
        ".ipynb",
        ".json",
    ]


def test_lessons_are_chosen_by_the_start_of_their_names(tmp_path: Path) -> None:
    for name in ("01_a", "02_b", "03_c"):
        notebook(tmp_path, name=name)

    def names(*wanted: str) -> list[str]:
        return [path.stem for path in run_lessons.choose(list(wanted), tmp_path)]

    assert names() == ["01_a", "02_b", "03_c"]
    assert names("03", "01", "03") == ["03_c", "01_a", "03_c"]
    with pytest.raises(ValueError, match="'04'; there are 01_a, 02_b, 03_c"):
        names("04")


def test_the_exit_code_tells(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    good = notebook(tmp_path, new_code_cell("1"), name="01_good")
    bad = notebook(tmp_path, new_code_cell("1 / 0"), name="02_bad")
    for chosen, code in (([good], 0), ([good, bad], 1)):
        monkeypatch.setattr(run_lessons, "choose", lambda wanted, chosen=chosen: chosen)
        assert run_lessons.main(["--output", str(tmp_path / "pages")]) == code


@pytest.mark.parametrize("endpoint", [None, "https://s3.example.com", "https://127.example.com"])
def test_the_real_aws_needs_a_variable(
    endpoint: str | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    if endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    with pytest.raises(SystemExit) as stopped:
        run_lessons.main([])
    assert stopped.value.code == 2
    assert "real AWS, which bills" in capsys.readouterr().err


def start_long_lesson(tmp_path: Path) -> tuple[subprocess.Popen[str], list[int]]:
    """Return a runner whose lesson runs a script for a minute; the ids of the kernel and the
    script."""
    (tmp_path / "long.py").write_text(
        "import os, pathlib, time\n"
        "pathlib.Path('pid').write_text(f'{os.getppid()} {os.getpid()} ')\n"
        "time.sleep(60)\n"
    )
    start = "import subprocess, sys; subprocess.run([sys.executable, 'long.py'])"
    path = notebook(tmp_path, new_code_cell(start))
    code = (
        "import sys, pathlib, lessons.run as r;"
        f"r.choose = lambda names: [pathlib.Path({str(path)!r})];"
        f"sys.exit(r.main(['--on-aws', '--output', {str(tmp_path / 'pages')!r}]))"
    )
    runner = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=run_lessons.ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().endswith(" "))
    return runner, [int(number) for number in (tmp_path / "pid").read_text().split()]


def test_ctrl_c_ends_the_lesson_and_what_it_started(tmp_path: Path) -> None:
    runner, started = start_long_lesson(tmp_path)
    runner.send_signal(signal.SIGINT)
    _, errors = runner.communicate(timeout=60)
    assert (runner.returncode, errors) == (130, "\nStopped.\n")
    until(lambda: not any(map(psutil.pid_exists, started)))


def test_a_runner_that_is_killed_leaves_no_kernel_and_no_script(tmp_path: Path) -> None:
    runner, started = start_long_lesson(tmp_path)
    runner.kill()
    until(lambda: not any(map(psutil.pid_exists, started)))
    runner.communicate(timeout=60)


def until(holds: Callable[[], object]) -> None:
    """Wait until something holds, for a minute at most."""
    for _ in range(600):
        if holds():
            return
        time.sleep(0.1)
    raise AssertionError("waited for a minute")
