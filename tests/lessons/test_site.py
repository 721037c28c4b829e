"""`make site`: what was executed becomes pages; a missing output and a broken link stop it."""

from __future__ import annotations

import functools
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tests.support import browser as browsers

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv-site" / "bin" / "python"
PIXEL = (  # a PNG of one
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
    "+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
FIRST = "notebooks/01_first.ipynb"
SECOND = "notebooks/02_second.ipynb"
TEXTS = {
    "README.md": "# All\n\n## Start\n\n[01 The first](notebooks/01_first.ipynb), [one](a.py)\n",
    "a.py": "print(1)\n",
    "notebooks/GLOSSARY.md": "# Glossary\n\n## A word\n\nIt costs $1, or $2.\n",
    "notebooks/INSTRUCTOR_GUIDE.md": "# Guide\n\n[A](GLOSSARY.md#a-word), [all](../README.md).\n",
    "scripts/stub_aws/README.md": "# The stub\n\n[More](FIDELITY.md)\n\n## One\n\n## Two\n"
    f"\n| a | b |\n|---|---|\n| `{'wide' * 50}` | 2 |\n"
    f"\n```python\nx = '{'wide' * 50}'  # and a remark\n```\n",
    "scripts/stub_aws/FIDELITY.md": "# How true\n\n`[no](link.md)`\n\n```\n[no](link.md)\n```\n",
    ".github/overview.svg": '<svg xmlns="http://www.w3.org/2000/svg"/>',
}


def lesson(number: str) -> nbformat.NotebookNode:
    """Return a lesson that was executed: a print, a figure, and a failure that is meant."""
    printed = new_output("stream", name="stdout", text=f"zebra {number}\n")
    figure = new_output("display_data", data={"image/png": PIXEL, "text/plain": "<Figure>"})
    failure = new_output(
        "error", ename="ValueError", evalue="meant", traceback=["ValueError: meant"]
    )
    return new_notebook(
        cells=[
            new_markdown_cell(f"# {number} · Title\n\n[The second](02_second.ipynb)"),
            new_code_cell("print('zebra')", execution_count=1, outputs=[printed]),
            new_code_cell("draw()", execution_count=2, outputs=[figure]),
            new_code_cell(
                "fail()",
                execution_count=3,
                outputs=[failure],
                metadata={"tags": ["raises-exception"]},
            ),
        ],
        metadata={
            "kernelspec": {"name": "python3", "display_name": "Python 3"},
            "language_info": {"name": "python", "pygments_lexer": "ipython3"},
        },
    )


class Checkout:
    """A small checkout with two executed lessons."""

    def __init__(self, folder: Path) -> None:
        self.root, self.executed, self.site = (folder / name for name in ("root", "done", "site"))
        for name, text in TEXTS.items():
            self.write(name, text)
        self.executed.mkdir()
        for name in (FIRST, SECOND):
            notebook = lesson(Path(name).stem[:2])
            nbformat.write(notebook, self.executed / Path(name).name)
            for cell in notebook.cells:
                if cell.cell_type == "code":
                    cell.update(outputs=[], execution_count=None)
            nbformat.write(notebook, self.root / name)

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def change(self, change: Callable[[nbformat.NotebookNode], None], both: bool = False) -> None:
        """Change the first lesson as it was executed; with `both`, its source likewise."""
        for path in (self.executed / Path(FIRST).name, *([self.root / FIRST] if both else [])):
            notebook = nbformat.read(path, 4)
            change(notebook)
            nbformat.write(notebook, path)

    def make(self) -> subprocess.CompletedProcess[str]:
        assert PYTHON.exists(), "run `make site-env`"
        folders = ["--root", self.root, "--executed", self.executed, "--output", self.site]
        command = [PYTHON, "-m", "lessons.site", *folders]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def read(self, page: str) -> str:
        return (self.site / page).read_text(encoding="utf-8")


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_pages_are_made_of_what_was_executed(checkout: Checkout) -> None:
    done = checkout.make()
    assert done.returncode == 0, done.stdout + done.stderr
    cover, first = checkout.read("index.html"), checkout.read("notebooks/01_first.html")
    for page in ("notebooks/01_first", "notebooks/02_second", "notebooks/GLOSSARY"):
        assert f'href="{page}.html"' in cover
    for page in ("notebooks/INSTRUCTOR_GUIDE", "scripts/stub_aws/README"):
        assert f'href="{page}.html"' in cover
    assert "scripts/stub_aws/FIDELITY.html" in cover
    assert ">01 The first</a>" in cover
    assert "You need no AWS account" in cover
    assert "zebra 01\n" in first
    assert "ValueError" in first
    assert 'href="02_second.html"' in first
    assert 'alt="The figure that the code above draws' in first
    assert '<html class="no-js" lang="en"' in first
    assert 'name="viewport"' in first
    assert "It costs $1, or $2." in checkout.read("notebooks/GLOSSARY.html")
    assert "zebra" in checkout.read("searchindex.js")
    assert list(checkout.site.glob("_downloads/*/a.py"))
    assert sorted(path.name for path in checkout.site.parent.iterdir()) == ["done", "root", "site"]


AXE = "lib/python3.*/site-packages/axe_core_python/axe.min.js"
RUN_AXE = "axe.run({resultTypes: ['violations']}).then(r => arguments[0](r.violations))"
PHONE = {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}


def test_everybody_can_use_the_pages(checkout: Checkout, tmp_path: Path) -> None:
    """By axe's rules, light and dark; on a phone nothing but a wide block scrolls sideways."""
    assert checkout.make().returncode == 0
    (axe,) = PYTHON.parents[1].glob(AXE)
    with browsers.start(tmp_path / "profile") as browser:
        browser.set_script_timeout(120)
        for page in ("index", "notebooks/01_first", "scripts/stub_aws/README", "search"):
            for scheme in ("light", "dark"):
                scheme_of_page = {"name": "prefers-color-scheme", "value": scheme}
                browser.execute_cdp_cmd(
                    "Emulation.setEmulatedMedia", {"features": [scheme_of_page]}
                )
                browser.get(checkout.site.joinpath(f"{page}.html").as_uri())
                browser.execute_script(axe.read_text(encoding="utf-8"))
                violations = browser.execute_async_script(RUN_AXE)
                assert [
                    (page, scheme, violation["id"], [node["html"] for node in violation["nodes"]])
                    for violation in violations
                ] == []
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
        for page in ("index", "notebooks/01_first"):
            browser.get(checkout.site.joinpath(f"{page}.html").as_uri())
            width = browser.execute_script("return document.documentElement.scrollWidth")
            assert width <= PHONE["width"], page


def drop(checkout: Checkout) -> None:
    (checkout.executed / "01_first.ipynb").unlink()


def set_in(index: int, both: bool = False, **values: object) -> Callable[[Checkout], None]:
    """Return what sets values of one cell of the first lesson."""
    return lambda checkout: checkout.change(lambda nb: nb.cells[index].update(values), both)


def written(name: str, text: str) -> Callable[[Checkout], None]:
    return lambda checkout: checkout.write(name, text)


RUN = ": run `make lessons LESSON=01`."
HTML = functools.partial(new_output, "display_data")
FAULTS = {
    "not executed": (drop, f"Lesson 01_first was not executed{RUN}"),
    "not to its end": (
        set_in(2, execution_count=None, outputs=[]),
        f"Lesson 01_first was not executed to its end: cell 3 has no output{RUN}",
    ),
    "failed": (set_in(3, metadata={}), f"Lesson 01_first failed in cell 4{RUN}"),
    "code has changed": (set_in(1, source="1"), f"01_first has changed since it was executed{RUN}"),
    "text has changed": (set_in(0, source="# 1"), "01_first has changed since it was executed"),
    "no lesson": (
        lambda checkout: shutil.rmtree(checkout.root / "notebooks"),
        "There is no lesson in ",
    ),
    "a lesson's link": (
        set_in(0, both=True, source="# 1\n\n[x](gone.md)"),
        "notebooks/01_first.ipynb links to gone.md, which is no file of the checkout.",
    ),
    "a page's link": (
        written("notebooks/GLOSSARY.md", "# Glossary\n\n## A word\n\n[x](../gone.py)\n"),
        "notebooks/GLOSSARY.md links to ../gone.py, which is no file",
    ),
    "a link out of the checkout": (
        written("scripts/stub_aws/FIDELITY.md", "# How\n\n[x](../../../done/01_first.ipynb)\n"),
        "links to ../../../done/01_first.ipynb, which is no file",
    ),
    "a heading that is gone": (
        written("notebooks/GLOSSARY.md", "# Glossary\n\n## Another word\n"),
        "a-word",
    ),
    "something of another host": (
        set_in(1, outputs=[HTML(data={"text/html": '<img src="https://x.example/y" alt="y">'})]),
        "notebooks/01_first.html loads https://x.example/y from another host.",
    ),
    "a picture without a text": (
        set_in(1, outputs=[HTML(data={"text/html": '<img src="data:image/png;base64,">'})]),
        "notebooks/01_first.html has a picture without a text",
    ),
    "a link in an output": (
        set_in(1, outputs=[HTML(data={"text/html": '<a href="gone.html">x</a>'})]),
        "notebooks/01_first.html links to gone.html, which is not there.",
    ),
}


@pytest.mark.parametrize(("change", "sentence"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_named_and_leaves_no_site(
    change: Callable[[Checkout], None], sentence: str, checkout: Checkout
) -> None:
    checkout.site.mkdir()  # one of before, which would otherwise be taken for the new one
    (checkout.site / "index.html").touch()
    change(checkout)
    done = checkout.make()
    assert done.returncode == 1, done.stdout + done.stderr
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert not checkout.site.exists()


def test_the_projects_own_pages_fit_together(tmp_path: Path) -> None:
    """All but the outputs: the lessons' texts, guides and manuals, with every link of theirs.

    Outputs are none, and counts are made up here, so that no lesson need be executed for it.
    """
    executed = tmp_path / "executed"
    executed.mkdir()
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        notebook = nbformat.read(path, 4)
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.execution_count = 1
        nbformat.write(notebook, executed / path.name)
    command = [PYTHON, "-m", "lessons.site", "--executed", executed, "--output", tmp_path / "site"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    pages = {path.stem for path in (tmp_path / "site" / "notebooks").glob("*.html")}
    lessons = {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert pages == lessons | {"GLOSSARY", "INSTRUCTOR_GUIDE"}
