"""Make a site of the executed lessons and the guides, in build/site/.

    .venv-site/bin/python -m lessons.site        as `make site` does, after `make lessons`

It takes the notebooks that `make lessons` left in build/lessons/, and executes nothing. A lesson
that was not executed to its end, that failed, or whose text has changed since, is refused: no
output is older than its cell, or made up. So is a link that leads nowhere, and a page that would
load something from another host. build/site/ is there only after a site without such a fault.
"""

from __future__ import annotations

import argparse
import os
import posixpath
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
from nbformat import NotebookNode

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
COVER = HERE / "cover.md"
MANUALS = ["scripts/stub_aws/README.md", "scripts/stub_aws/FIDELITY.md"]
GUIDES = ["notebooks/GLOSSARY.md", "notebooks/INSTRUCTOR_GUIDE.md"]
START = "README.md"
CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(<?([^)#>\s]+)[^)]*\)")

NO_TEXT = "The figure that the code above draws; the text beside it says what to see."


# What the theme leaves out, and a screen reader or a keyboard needs: the level of a heading, the
# names of the two columns, the focus that scrolls a wide block, and the heading of the search.
ADDED = {
    ' role="heading">': ' role="heading" aria-level="2">',
    '<aside class="sidebar-drawer">': '<aside class="sidebar-drawer" aria-label="All pages">',
    '<aside class="toc-drawer': '<aside aria-label="On this page" class="toc-drawer',
    "<pre>": '<pre tabindex="0">',
    '<div class="table-wrapper': '<div tabindex="0" class="table-wrapper',
    '<div id="search-results">': '<h1>Search</h1>\n<div id="search-results">',
}


class SiteError(Exception):
    """A site that cannot be made; the message has one sentence for each cause."""


# ---- the lessons ----


def check_executed(lesson: NotebookNode, executed: NotebookNode) -> str:
    """Return what is wrong with an executed notebook, "" if nothing."""
    cells = [(cell.cell_type, cell.source) for cell in lesson.cells]
    if cells != [(cell.cell_type, cell.source) for cell in executed.cells]:
        return "has changed since it was executed"
    for number, cell in enumerate(executed.cells, start=1):
        if cell.cell_type != "code" or not cell.source.strip():
            continue
        if not cell.get("execution_count"):
            return f"was not executed to its end: cell {number} has no output"
        failed = any(output.output_type == "error" for output in cell.outputs)
        if failed and "raises-exception" not in cell.metadata.get("tags", []):
            return f"failed in cell {number}"
    return ""


def read_lessons(root: Path, folder: Path) -> dict[str, Path]:
    """Return the executed notebook of each lesson by its path in the checkout.

    Raises:
        SiteError: One is missing, or is not what its lesson gives.
    """
    lessons: dict[str, Path] = {}
    faults = []
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        executed = folder / path.name
        fault = "was not executed"
        if executed.is_file():
            fault = check_executed(nbformat.read(path, 4), nbformat.read(executed, 4))
        if fault:
            number = path.stem.partition("_")[0]
            faults.append(f"Lesson {path.stem} {fault}: run `make lessons LESSON={number}`.")
        lessons[path.relative_to(root).as_posix()] = executed
    if not lessons:
        faults.append(f"There is no lesson in {root / 'notebooks'}.")
    if faults:
        raise SiteError("\n".join(faults))
    return lessons


# ---- what Sphinx reads ----


def links(path: Path) -> list[str]:
    """Return where the text of a page or a notebook links to, outside its code."""
    if path.suffix == ".ipynb":
        cells = nbformat.read(path, 4).cells
        text = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    else:
        text = path.read_text(encoding="utf-8")
    targets = LINK.findall(CODE.sub("", text))
    return [unquote(target) for target in targets if not urlsplit(target).scheme]


def fill(source: Path, root: Path, lessons: dict[str, Path]) -> list[str]:
    """Copy the pages and all that they link to, as they lie in the checkout; return the pages.

    Raises:
        SiteError: A link leads to no file of the checkout.
    """
    waiting = [*lessons, *GUIDES, *MANUALS, START]
    files: dict[str, Path] = {}
    faults = []
    pages = [("index.md", COVER)]
    while waiting or pages:
        if waiting:
            name = waiting.pop(0)
            if name in files:
                continue
            files[name] = lessons.get(name, root / name)
            pages.append((name, files[name]))
        name, path = pages.pop()
        if path.suffix not in (".md", ".ipynb"):
            continue
        for target in links(path):
            linked = posixpath.normpath(posixpath.join(posixpath.dirname(name), target))
            if linked.startswith("..") or not (root / linked).is_file():
                faults.append(f"{name} links to {target}, which is no file of the checkout.")
            else:
                waiting.append(linked)
    if faults:
        raise SiteError("\n".join(faults))
    for name, path in files.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, source / name)
        if name in lessons:
            describe_figures(source / name)
    return [name for name in files if name.endswith((".md", ".ipynb"))]


def describe_figures(path: Path) -> None:
    """Give a figure without a text an honest one; Sphinx would read out the name of its file."""
    notebook = nbformat.read(path, 4)
    for cell in notebook.cells:
        kinds = {kind for output in cell.get("outputs", []) for kind in output.get("data", {})}
        if any(kind.startswith("image/") for kind in kinds):
            cell.metadata["mystnb"] = {"image": {"alt": NO_TEXT}}
    nbformat.write(notebook, path)


def contents(title: str, entries: list[str]) -> str:
    return "\n".join(
        ["", "```{toctree}", ":maxdepth: 1", f":caption: {title}", "", *entries, "```"]
    )


def write_cover(source: Path, pages: list[str], lessons: dict[str, Path]) -> None:
    """Write the first page: the cover, then all pages, by their short names where they have one."""
    readme = (source / START).read_text(encoding="utf-8")
    names = {target: name for name, target in re.findall(r"\[([^]]+)\]\(([^)]+\.ipynb)\)", readme)}
    rows = [f"{names[page]} <{page}>" if page in names else page for page in lessons]
    more = [page for page in pages if page not in {*lessons, *GUIDES, *MANUALS, START}]
    text = [
        COVER.read_text(encoding="utf-8"),
        contents("The lessons", rows),
        contents("Around the lessons", [f"Start and overview <{START}>", *GUIDES]),
        contents("The stub AWS", MANUALS),
        *([contents("The project", more)] if more else []),
    ]
    (source / "index.md").write_text("\n".join(text) + "\n", encoding="utf-8")


# ---- what came out ----


def complete(folder: Path) -> None:
    """Add to every page what makes it usable without eyes or mouse."""
    for path in folder.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        for part, more in ADDED.items():
            text = text.replace(part, more)
        path.write_text(text, encoding="utf-8")


class Page(HTMLParser):
    """The places of a page that links may name, where it links to, and what it loads."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.undescribed = 0  # pictures without a text
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.anchors |= {values[name] for name in ("id", "name") if values.get(name)}
        if tag == "a" and values.get("href"):
            self.links.append(values["href"])
        if values.get("src"):
            self.loads.append(values["src"])
        if tag == "img":
            text = values.get("alt", "").strip()
            is_name = posixpath.basename(text) == posixpath.basename(values.get("src", ""))
            self.undescribed += not text or is_name
        if tag == "link" and {"stylesheet", "preload", "icon"} & set(values["rel"].split()):
            self.loads.append(values["href"])


def check_pages(folder: Path) -> list[str]:
    """Return a sentence for each link that leads nowhere, and for all that comes from elsewhere."""
    pages = {path: Page(path) for path in sorted(folder.rglob("*.html"))}
    faults = []
    for path, page in pages.items():
        name = path.relative_to(folder).as_posix()
        if page.undescribed:
            faults.append(f"{name} has a picture without a text for those who do not see it.")
        for address in page.loads:
            parts = urlsplit(address)
            if parts.netloc:
                faults.append(f"{name} loads {address} from another host.")
            elif not parts.scheme and not (path.parent / unquote(parts.path)).is_file():
                faults.append(f"{name} loads {address}, which is not there.")
        for address in page.links:
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                continue
            file = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not file.is_file():
                faults.append(f"{name} links to {address}, which is not there.")
            elif file in pages and unquote(parts.fragment) not in {"", *pages[file].anchors}:
                faults.append(f"{name} links to {address}, and there is no such heading.")
    return faults


# ---- all of it ----


def build(root: Path, executed: Path, output: Path) -> int:
    """Make the site, and return how many pages it has.

    Raises:
        SiteError: It would have a fault.
    """
    if output.exists():
        shutil.rmtree(output)
    lessons = read_lessons(root, executed)
    work = output.with_name(f"{output.name}.unfinished")
    shutil.rmtree(work, ignore_errors=True)
    source, pages = work / "source", work / "pages"
    source.mkdir(parents=True)
    write_cover(source, fill(source, root, lessons), lessons)
    options = ["-q", "-W", "--keep-going", "-c", HERE, "-d", work / "doctrees"]
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-b", "html", *options, source, pages],
        env={**os.environ, "NO_COLOR": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        log = done.stdout.replace(f"{source}/", "")
        raise SiteError(f"{log.rstrip()}\nSphinx could not make the site, as shown above.")
    complete(pages)
    faults = check_pages(pages.resolve())
    if faults:
        raise SiteError("\n".join(faults))
    shutil.rmtree(pages / ".doctrees", ignore_errors=True)
    pages.replace(output)
    shutil.rmtree(work)
    return sum(1 for _ in output.rglob("*.html"))


def main(argv: list[str] | None = None) -> int:
    """Run the command line, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout")
    parser.add_argument("--executed", type=Path, default=ROOT / "build" / "lessons")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "site")
    arguments = parser.parse_args(argv)
    try:
        pages = build(arguments.root, arguments.executed, arguments.output)
    except SiteError as error:
        print(error, file=sys.stderr)
        return 1
    cover = os.path.relpath(arguments.output / "index.html")
    print(f"The site has {pages} pages; begin with {cover}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
