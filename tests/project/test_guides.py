"""The guides repeat the lessons' minutes, costs and terms; each lesson prints where it runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lessons.pairs import parse, sources

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = ROOT / "notebooks"
README = (ROOT / "README.md").read_text(encoding="utf-8")
GUIDE = (NOTEBOOKS / "INSTRUCTOR_GUIDE.md").read_text(encoding="utf-8")
GLOSSARY = (NOTEBOOKS / "GLOSSARY.md").read_text(encoding="utf-8")
LESSONS = {py.stem[:2]: py for py in sources()}
each_lesson = pytest.mark.parametrize("number", LESSONS)


def cells(number: str) -> list:
    return parse(LESSONS[number].read_text(encoding="utf-8")).cells


def head(number: str, part: str) -> str:
    """Return what stands after a bold word in the head of a lesson, up to the next."""
    text = cells(number)[0].source
    return re.split(r"^\*\*\w", text.split(f"**{part}**", 1)[1], flags=re.MULTILINE)[0]


def minutes(number: str) -> tuple[int, int]:
    teaching, exercises = re.findall(r"(\d+) min", head(number, "Time"))
    return int(teaching), int(exercises)


def cost(number: str) -> str:
    """Return the cost in a lesson's head, as the tables write it."""
    stated = head(number, "Cost on AWS")
    if stated.split()[0].rstrip(":") == "nothing":
        return "$0"
    amount = re.search(r"\$\d+\.\d+", stated)[0]
    return f"< {amount}" if "less than" in stated.partition(amount)[0] else amount


def rows(text: str, columns: int) -> list[list[str]]:
    """Return the cells of all table rows with so many columns."""
    table = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in table if len(row) == columns]


# --- README -----------------------------------------------------------------------------------


@each_lesson
def test_the_readme_has_the_lesson_with_its_minutes_and_cost(number):
    (row,) = [row for row in rows(README, 4) if row[0].startswith(f"[{number} ")]
    assert f"](notebooks/{LESSONS[number].stem}.ipynb)" in row[0]
    assert row[2:] == [str(sum(minutes(number))), cost(number)]


def test_the_readme_leads_to_the_guides():
    for name in ("INSTRUCTOR_GUIDE.md", "GLOSSARY.md"):
        assert f"](notebooks/{name})" in README


# --- the instructor guide -----------------------------------------------------------------------


@each_lesson
def test_the_timetable_has_the_lesson_with_its_minutes_and_cost(number):
    (row,) = [row for row in rows(GUIDE, 5) if row[0].startswith(f"{number} ")]
    teaching, exercises = minutes(number)
    assert row[1:] == [str(teaching), str(exercises), str(teaching + exercises), cost(number)]


def test_the_days_hold_every_lesson_once_with_their_minutes():
    days = [row for row in rows(GUIDE, 3) if re.fullmatch(r"\d\d(, \d\d)+", row[1])]
    lessons = [row[1].split(", ") for row in days]
    assert sorted(number for day in lessons for number in day) == list(LESSONS)
    for numbers, row in zip(lessons, days, strict=True):
        assert row[2] == str(sum(sum(minutes(number)) for number in numbers))


def test_the_timetable_adds_up():
    (row,) = [row for row in rows(GUIDE, 5) if row[0] == "**all**"]
    teaching, exercises = map(sum, zip(*map(minutes, LESSONS), strict=True))
    dollars = sum(float(cost(number).lstrip("< $")) for number in LESSONS)
    sums = [str(teaching), str(exercises), str(teaching + exercises), f"${dollars:.2f}"]
    assert row[1:] == [f"**{amount}**" for amount in sums]
    assert f"about ${dollars:.2f} a person" in GUIDE
    assert f"and ${dollars:.2f}\n   for the jobs of all lessons" in README
    assert f"{round((teaching + exercises) / 60)} hours" in GUIDE.replace("nine", "9")


@pytest.mark.parametrize(
    ("file", "target"),
    [
        (name, target)
        for name, text in (("INSTRUCTOR_GUIDE.md", GUIDE), ("GLOSSARY.md", GLOSSARY))
        for target in sorted(set(re.findall(r"\]\(([^)#]+)\)", text)))
    ],
)
def test_links_of_the_guides_lead_somewhere(file, target):
    assert (NOTEBOOKS / target).exists(), f"{file} leads to {target}"


def test_commands_of_the_guide_exist():
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z0-9-]+):", makefile, flags=re.MULTILINE))
    named = set(re.findall(r"`(?:YES=1 )?make ([a-z0-9-]+)", GUIDE))
    assert {"workshop", "test-aws"} <= named <= targets


def test_lessons_that_the_guide_points_to_exist():
    named = set(re.findall(r"[Ll]essons? (\d\d)", GUIDE))
    assert named
    assert named <= LESSONS.keys()


# --- the glossary -------------------------------------------------------------------------------

TERMS = [row for row in rows(GLOSSARY, 3) if not set(row[0]) <= {"-"} and row[0] != "term"]

# What a learner should be able to look up: words of the objectives of each lesson.
OBJECTIVES = {
    "01": {"role", "region", "S3"},
    "03": {"training job", "estimator", "status"},
    "04": {"image", "interval", "XGBoost"},
    "05": {"built-in"},
    "06": {"status", "metric", "tag", "time limit"},
    "07": {"process group", "gradient", "all-reduce", "host", "replicated", "sharded"},
    "08": {"spot", "checkpoint"},
    "10": {"ModelTrainer"},
    "12": {"unfinished upload", "lifecycle rule", "budget", "tag"},
}


def plain(text: str) -> str:
    """Lower case, one line, and without the marks of Markdown and of the plural."""
    text = re.sub(r"[`*_]", "", text.lower())
    return " ".join(text.replace("statuses", "status").split())


def test_terms_are_sorted_and_each_is_there_once():
    names = [plain(term) for term, _, _ in TERMS]
    assert names == sorted(set(names))
    assert len(names) > 30


@pytest.mark.parametrize(("term", "meaning", "lesson"), TERMS, ids=[row[0] for row in TERMS])
def test_each_term_is_used_in_the_lesson_that_explains_it(term, meaning, lesson):
    text = plain("\n".join(cell.source for cell in cells(lesson)))
    assert re.search(rf"(?<!\w){re.escape(plain(term))}s?(?!\w)", text), f"{term}: not in {lesson}"
    assert meaning


@pytest.mark.parametrize("number", OBJECTIVES)
def test_the_words_of_the_objectives_are_in_the_glossary(number):
    names = " ".join(plain(term) for term, _, _ in TERMS)
    objectives = plain(head(number, "Objectives"))
    for term in OBJECTIVES[number]:
        assert plain(term) in objectives, f"{term} is no longer in the objectives of {number}"
        assert plain(term) in names, f"{term} is not in the glossary"


# --- where am I? ------------------------------------------------------------------------------


def code(number: str) -> str:
    return "\n".join(cell.source for cell in cells(number) if cell.cell_type == "code")


@each_lesson
def test_the_lesson_tells_its_home_before_it_orders_anything(number):
    text = code(number)
    if number == "02":  # it calls AWS for nothing
        assert "workshop.session(" not in text
        return
    home = text.index("workshop.home(")
    orders = [text.index(part) for part in (".fit(", "create_training_job(") if part in text]
    assert all(home < order for order in orders)


def test_the_first_lesson_tells_its_home_before_it_makes_anything():
    text = code("01")
    home = text.index("workshop.home(")
    for makes in ("workshop.session(", "upload_file(", "workshop.ensure_data(", "put_object("):
        assert home < text.index(makes)
    prose = [cell.source for cell in cells("01") if cell.cell_type == "markdown"]
    (after,) = [text for text in prose if text.startswith("Read this sentence whenever")]
    for part in ("jobs", "storage", "notebook instance"):
        assert part in after, "it says what will cost money"
