"""The files by which people and programs take part in the project are valid, and say what is so."""

from __future__ import annotations

import configparser
import datetime
import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PAGES = ["CHANGELOG.md", "CODE_OF_CONDUCT.md", "SECURITY.md"]
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
LINKS = re.compile(r"\]\(([^)#\s]+)")


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def tracked() -> list[Path]:
    """Return the project's files, those not yet committed among them, as git knows them."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:  # a copy of the checkout without its history, as `.ci/run` makes for root
        return [ROOT / name for name in (*PAGES, "README.md", "Makefile", ".editorconfig")]
    return [path for name in done.stdout.split("\0") if name and (path := ROOT / name).is_file()]


# --- pages ------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES)
def test_a_page_has_a_title_and_its_links_lead_to_files(page: str) -> None:
    text = read(page)
    assert re.match(r"# \w.+\n\n", text)
    for target in LINKS.findall(text):
        assert (ROOT / target).exists(), target


@pytest.mark.parametrize("page", [*PAGES, "CONTRIBUTING.md", "CITATION.cff"])
def test_the_readme_leads_to_each(page: str) -> None:
    assert f"]({page})" in read("README.md")


def test_what_security_promises_is_what_the_fidelity_page_says() -> None:
    """A sentence of one page whose ground in the other goes away turns this red."""
    security = " ".join(read("SECURITY.md").split())
    fidelity = " ".join(read("scripts/stub_aws/FIDELITY.md").split())
    pairs = {
        "It protects you from accidents and from careless scripts": None,
        "finds the folder of your command, your home, `/tmp`": "your home, `/tmp` and your `TMPDIR`"
        " empty, but for the Python that runs it",
        "`EnableNetworkIsolation`, on one host with namespaces": "enforced for one host with"
        " namespaces",
        "leads out of the job's files is refused": "a link that leads anywhere else is refused",
        "No protection from a hostile script": "does not protect you from a hostile script",
        "`PIP_*`, proxies and certificates": "(`PIP_*`, proxies, certificates)",
        "The job's log says so in its first line": "the log's first line says so and why",
        "shows what a job wrote as text": "what a job wrote is only ever shown as text",
        "only repeated in the answers": "there is no KMS: nothing is encrypted",
    }
    for promise, ground in pairs.items():
        assert promise in security
        assert (ground or promise) in fidelity


def test_the_changes_are_dated_newest_first() -> None:
    days = re.findall(r"^## (.+)$", read("CHANGELOG.md"), flags=re.MULTILINE)
    assert days
    assert days == sorted((str(datetime.date.fromisoformat(day)) for day in days), reverse=True)
    assert len(days) == len(set(days))
    kinds = set(re.findall(r"^### (.+)$", read("CHANGELOG.md"), flags=re.MULTILINE))
    assert kinds <= {"New", "Changed", "Corrected", "Removed"}


def test_the_citation_has_what_a_reference_needs() -> None:
    citation = yaml.safe_load(read("CITATION.cff"))
    assert citation["cff-version"] == "1.2.0"
    assert f"# {citation['title']}\n" in read("README.md")
    assert citation["message"]
    assert citation["type"] in ("software", "dataset")
    assert citation["authors"] == [{"name": "The workshop's authors"}]
    assert f"(c) {citation['date-released'].year} {citation['authors'][0]['name']}" in read(
        "LICENSE"
    )
    assert citation["license"] == ["MIT", "CC-BY-4.0"]
    for title in ("MIT License", "CC BY 4.0"):
        assert title in read("LICENSE")


# --- issues -----------------------------------------------------------------------------------


def test_there_are_forms() -> None:
    assert len(FORMS) >= 3


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_a_form_is_valid(path: Path) -> None:
    form = yaml.safe_load(path.read_text(encoding="utf-8"))
    if path.stem == "config":
        assert form.keys() <= {"blank_issues_enabled", "contact_links"}
        return
    assert form["name"]
    assert form["description"]
    fields = [element for element in form["body"] if element["type"] != "markdown"]
    assert fields, "the host refuses a form that asks nothing"
    identities = [element["id"] for element in fields]
    assert len(identities) == len(set(identities))
    for element in form["body"]:
        assert element["type"] in ("markdown", "input", "textarea", "dropdown", "checkboxes")
        attributes = element["attributes"]
        assert attributes["value" if element["type"] == "markdown" else "label"]
        assert element["type"] != "dropdown" or len(attributes["options"]) >= 2


# --- tools ------------------------------------------------------------------------------------


def lint_commands(makefile: str) -> list[str]:
    (recipe,) = re.findall(r"^lint:.*\n((?:\t.*\n)+)", makefile, flags=re.MULTILINE)
    lines = [line.removeprefix("\t@") for line in recipe.splitlines()]
    return [line.replace("$(VENV_PYTHON)", ".venv/bin/python") for line in lines]


def test_pre_commit_runs_exactly_what_make_lint_runs() -> None:
    (repository,) = yaml.safe_load(read(".pre-commit-config.yaml"))["repos"]
    assert repository["repo"] == "local"  # nothing to download, no second version of a tool
    hooks = repository["hooks"]
    assert [hook["entry"] for hook in hooks] == lint_commands(read("Makefile"))
    assert "VENV_PYTHON := .venv/bin/python\n" in read("Makefile")
    assert len({hook["id"] for hook in hooks}) == len(hooks) == 5
    for hook in hooks:
        assert hook["name"]
        assert hook["language"] == "system"
        assert hook["pass_filenames"] is False  # else each would see only what has changed
        assert hook["always_run"] is True


def test_dependabot_watches_what_is_there() -> None:
    settings = yaml.safe_load(read(".github/dependabot.yml"))
    assert settings["version"] == 2
    files = {
        "github-actions": [".github/workflows/*.yml"],
        "pip": ["requirements*.txt", "requirements*.in", "pyproject.toml"],
        "docker": ["Dockerfile"],
    }
    ecosystems = [update["package-ecosystem"] for update in settings["updates"]]
    assert {"github-actions", "pip"} <= set(ecosystems)
    assert len(ecosystems) == len(set(ecosystems))
    for update in settings["updates"]:
        folder = ROOT / update["directory"].lstrip("/")
        for pattern in files[update["package-ecosystem"]]:
            assert list(folder.glob(pattern)), f"no {pattern} in {folder}"
        assert update["schedule"]["interval"] in ("daily", "weekly", "monthly")
        for rule in update.get("ignore", []):
            chosen = read("requirements.in") + read(".devcontainer/Dockerfile")
            name = rf"^(FROM )?{rule['dependency-name']}[>=:]"
            assert re.search(name, chosen, flags=re.MULTILINE)


def test_files_are_as_the_editors_settings_want_them() -> None:
    parser = configparser.ConfigParser()
    parser.read_string("[first]\n" + read(".editorconfig"))
    assert parser["first"]["root"] == "true"
    everywhere = parser["*"]
    assert everywhere["charset"] == "utf-8"
    assert everywhere["end_of_line"] == "lf"
    assert everywhere["insert_final_newline"] == everywhere["trim_trailing_whitespace"] == "true"
    assert parser["Makefile"]["indent_style"] == "tab"
    assert f"line-length = {parser['*.py']['max_line_length']}\n" in read("pyproject.toml")
    wrong = []
    for path in tracked():
        data = path.read_bytes()
        if b"\0" not in data and data:  # text
            lines = data.decode("utf-8").split("\n")
            if lines.pop() or any(line != line.rstrip() for line in lines):
                wrong.append(str(path.relative_to(ROOT)))
    assert wrong == []
