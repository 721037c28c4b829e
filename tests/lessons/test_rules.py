"""Each rule of the lessons can fail: a good sample passes, and every bad change of it is found."""

from __future__ import annotations

import math

import pytest

from lessons import rules
from lessons.pairs import canonical_py, derive, parse, sources
from lessons.rules import Pace, main, pace, problems, reading_minutes

GOOD = """\
# %% [markdown]
# # A sample
#
# **Questions**
# - Where is my data?
# - What does it cost
#   to keep it there?
#
# **Objectives**
# - Find the data.
#
# **You need** lesson 01.
#
# **Time** teaching 10 min, exercises 5 min.
#
# **Cost on AWS** about $0.03.
#
# ## First steps

# %%
total = 1 + 1

# %% [markdown]
# A missing key gives a `KeyError`.

# %% tags=["raises-exception"]
{}["a"]

# %% [markdown]
# ### Exercise 1: count on
#
# Add three.

# %%
# Your turn

# %% [markdown]
# One solution:

# %% jupyter={"source_hidden": true} tags=["solution"]
total + 3
less = [step for step in (1, 2)]

# %% [markdown]
# ### Exercise 2: count down

# %% jupyter={"source_hidden": true} tags=["solution"]
total - 3

# %% [markdown]
# One way to see it:

# %%
print(f"s3://{total}/titanic_test.csv")

# %% [markdown]
# And another:

# %%
assert total == 2

# %% [markdown]
# ## Key points
# - It adds up.
#
# ## Clean up
# Nothing is left.
"""
LONG = "\n".join(f"x{i} = {i}" for i in range(26))
SOLUTION = '# %% jupyter={"source_hidden": true} tags=["solution"]\ntotal - 3\n'
ONLY_THERE = "uses less, which only a solution makes"
CODE = 'print(f"s3://{total}/titanic_test.csv")'

BAD = {
    "no title": ("# # A sample", "# A sample", "start with `# Title`"),
    "code first": ("# %% [markdown]\n# # A", "# %%\n1\n# %% [markdown]\n# # A", "`# Title`"),
    "a part missing": ("# **You need** lesson 01.", "#", "in this order"),
    "parts in another order": ("**Questions**", "**Objectives**", "in this order"),
    "a question that is none": ("# - Where is my data?", "# - My data.", "question mark"),
    "no objective": ("# - Find the data.", "# Find the data.", "**Objectives** must be a list"),
    "needs nothing said": ("**You need** lesson 01.", "**You need**", "**You need** is empty"),
    "no minutes": ("exercises 5 min", "exercises", "**Time** must read like"),
    "no cost": ("about $0.03", "little", "**Cost on AWS** must give"),
    "no key points": ("## Key points", "## Summary", "last sections must be"),
    "key points are no list": ("# - It adds up.", "# It adds up.", "must hold a list"),
    "a section after the foot": ("is left.", "is left.\n#\n# ## More", "last sections must be"),
    "nothing on cleaning up": ("# Nothing is left.", "#", "## Clean up is empty"),
    "an exercise without solution": (SOLUTION, "", "Exercise 2 has no solution"),
    "the same, followed by another": (
        '# %% jupyter={"source_hidden": true} tags=["solution"]\ntotal + 3\n'
        "less = [step for step in (1, 2)]",
        "",
        "Exercise 1 has no solution cell before the next",
    ),
    "an exercise under another heading": ("### Exercise 2:", "## Exercise 2:", "write the heading"),
    "exercises misnumbered": ("Exercise 2", "Exercise 3", "numbered 1, 2"),
    "a solution in the open": (
        'jupyter={"source_hidden": true} tags=["solution"]\ntotal - 3',
        'tags=["solution"]\ntotal - 3',
        "fold the solution",
    ),
    "a solution that does nothing": ("total - 3", "# total - 3", "does nothing"),
    "a solution without exercise": ("total = 1 + 1", f"4\n\n{SOLUTION}", "without an exercise"),
    "a long cell": ("assert total == 2", LONG, "26 lines, more than 25"),
    "a wide line": ("assert total == 2", f"total = {'1 + ' * 25}1", "wider than 88"),
    "long cells": ("total", LONG.replace("\n", "; \n") + "; total", "median code cell"),
    "one long cell in ten": (
        "assert total == 2",
        "\n".join(LONG.split("\n")[:16]),
        "one code cell in ten has",
    ),
    "too many words": ("# Add three.", "# Add three. " + "word " * 1600, "words of prose"),
    "words in a table": ("# Add three.", "# | a |\n" * 1601, "words of prose"),
    "too much code": (CODE, "\n\n# %%\n".join([CODE] * 161), "lines of code outside solutions"),
    "too few minutes": ("teaching 10 min", "teaching 0 min", "teaching minutes in the head"),
    "code without prose": (CODE, "1\n\n# %%\n2\n\n# %%\n" + CODE, "prose stands before"),
    "a name that a solution makes": (CODE, "print(less)", ONLY_THERE),
    "the same, in a function": (CODE, "def show():\n    print(less)", ONLY_THERE),
    "the same, in a text": (CODE, 'print(f"{less}")', ONLY_THERE),
    "the same, changed": (CODE, "less += [3]", ONLY_THERE),
    "the same, deleted": (CODE, "del less", ONLY_THERE),
    "the same, for a magic": (CODE, "%run {less}", ONLY_THERE),
    "the same, where a function has its own": (
        CODE,
        "def mine():\n    less = 1\n    return less\n\n\nprint(less)",
        ONLY_THERE,
    ),
    "the same, where a loop in brackets has its own": (
        CODE,
        "[less for less in range(3)], less",
        ONLY_THERE,
    ),
    "no Python": (CODE, "1 +", "is not Python"),
    "an unnamed failure": ("a `KeyError`", "an error", "names no `Exception`"),
    "skipping": ('tags=["raises-exception"]', 'tags=["skip-execution"]', "skip-execution"),
    "changing folder by magic": (CODE, "%cd ..", "working folder"),
    "changing folder": (CODE, "import os; os.chdir('..')", "working folder"),
    "installing": (CODE, "!pip install x", "installs"),
    "installing by magic": (CODE, "%pip install x", "installs"),
    "installing by module": (CODE, "!python -m pip install x", "installs"),
    "an account": (CODE, 'role = "arn:aws:iam::123456789012:role/x"', "account number"),
    "a bucket's address": (CODE, 'where = "s3://somebody/data"', "names a bucket"),
    "a bucket's name": (CODE, 'bucket_name = "somebody"', "names a bucket"),
    "a region": (CODE, 'region = "eu-west-1"', "names a region"),
    "a region by compass": (CODE, 'region = "ap-southeast-2"', "names a region"),
    "a home folder": (CODE, 'open("/home/ec2-user/x")', "home folder"),
    "a home folder by tilde": (CODE, 'path = "~/x"', "home folder"),
    "the stand-in's name": (CODE, "from tests import stub_aws", "names the tests"),
    "a mock": (CODE, "from unittest.mock import Mock", "names the tests"),
    "an endpoint": (CODE, 'boto3.client("s3", endpoint_url=x)', "names the tests"),
    "the loopback address": (CODE, 'url = "http://127.0.0.1:1"', "names the tests"),
}


def test_a_good_sample_keeps_to_every_rule() -> None:
    assert problems(parse(GOOD)) == []


def test_a_solution_may_have_several_cells() -> None:
    twice = GOOD.replace(SOLUTION, f"{SOLUTION}\n# %% [markdown]\n# Then:\n\n{SOLUTION}")
    assert problems(parse(twice)) == []


@pytest.mark.parametrize(
    "code",
    [
        "less = 3\nprint(less)",
        "for less in range(3):\n    less += 1",
        "print([less for less in range(3)])",
        "def mine(less):\n    return less",
        "import math as less\nless.pi",
        "print(step)",  # the solution has it in a comprehension alone, so it makes no such name
        "%%writefile less.py\nprint(less)",
    ],
)
def test_a_cell_that_makes_its_names_needs_no_solution(code: str) -> None:
    assert problems(parse(GOOD.replace(CODE, code))) == []


@pytest.mark.parametrize(("old", "new", "expected"), BAD.values(), ids=BAD.keys())
def test_a_bad_change_is_reported(old: str, new: str, expected: str) -> None:
    assert old in GOOD
    reported = problems(parse(GOOD.replace(old, new, -1 if old == "total" else 1)))
    assert any(expected in problem for problem in reported), reported


SAVED = "# %%\n# %%writefile x.py\n" + "1\n" * 20 + "\n"
FENCED = "# ```\n" + "# word\n" * 2000 + "# ```\n# Add three."


def test_words_lines_and_minutes_are_counted() -> None:
    """The head's words take time and are not prose; a saved script takes time and is no code."""
    cells = parse(GOOD).cells
    assert pace(cells) == Pace(prose=35, code=5)
    word_count = 37 + 35  # with the head
    assert reading_minutes(cells) == math.ceil(word_count / 120 + 5 / 10)

    saved = parse(GOOD.replace("# %%\ntotal = 1 + 1", f"{SAVED}# %%\ntotal = 1 + 1")).cells
    assert pace(saved) == pace(cells)
    assert reading_minutes(saved) == math.ceil(word_count / 120 + (5 + 21) / 10)
    assert pace(parse(GOOD.replace("# Add three.", FENCED)).cells) == pace(cells)


def test_a_lesson_with_an_exception_may_not_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    lesson = GOOD.replace("# # A sample", "# # 99 · A sample").replace(
        CODE, "\n\n".join(f"# %% [markdown]\n# Then:\n\n# %%\n{CODE}" for _ in range(165))
    )
    size = pace(parse(lesson).cells).code
    missing = pace(parse(lesson).cells).missing_minutes
    for allowed, expected in ((size, []), (size - 1, [f"more than {size - 1}"])):
        monkeypatch.setitem(rules.NOT_YET, "99", Pace(code=allowed, missing_minutes=missing))
        reported = problems(parse(lesson))
        assert len(reported) == len(expected), reported
        assert all(part in problem for part, problem in zip(expected, reported, strict=True))


def test_no_exception_is_there_without_need(monkeypatch: pytest.MonkeyPatch) -> None:
    lessons = {py.stem[:2]: parse(py.read_text(encoding="utf-8")).cells for py in sources()}
    assert rules.NOT_YET.keys() <= lessons.keys()
    assert [p for number, cells in lessons.items() for p in rules.not_needed(number, cells)] == []
    monkeypatch.setitem(rules.NOT_YET, "99", Pace(code=170))
    assert "limit of code" in next(rules.not_needed("99", parse(GOOD).cells))


def test_what_only_an_ipynb_can_hide_is_reported() -> None:
    notebook = parse(GOOD)
    notebook.metadata["execution"] = {"allow_errors": True}
    notebook.cells[1].metadata["nbmake"] = {"mock": {"total": 3}}
    notebook.cells[1].execution_count = 4
    reported = " ".join(problems(notebook))
    for expected in ("notebook metadata 'execution'", "metadata ['nbmake']", "stores outputs"):
        assert expected in reported


def test_a_lesson_without_exercise_or_code_is_reported() -> None:
    head = GOOD.split("\n\n# %%")[0]
    reported = " ".join(problems(parse(head)))
    assert "there is no exercise" in reported
    assert "there is no code" in reported


def test_the_command_line(tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = tmp_path / "01_good.py", tmp_path / "02_bad.py"
    good.write_text(GOOD)
    bad.write_text(GOOD.replace("total - 3", "!pip"))
    assert main([str(good)]) == 0
    assert main([str(good), str(bad)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "02_bad.py: 35 words, 5 lines of code, 2 min to read; 1 to mend" in lines


def test_deriving_is_a_pure_function_and_a_fixed_point() -> None:
    assert derive(GOOD) == derive(GOOD)
    assert canonical_py(parse(GOOD)) == GOOD


def test_one_edited_cell_changes_one_id() -> None:
    before = [cell.id for cell in parse(GOOD).cells]
    after = [cell.id for cell in parse(GOOD.replace("assert total == 2", "assert total")).cells]
    assert len(set(before)) == len(before)
    assert sum(a != b for a, b in zip(before, after, strict=True)) == 1


def test_cells_that_say_the_same_have_ids_of_their_own() -> None:
    twice = parse("# %%\n1\n\n# %%\n1\n")
    assert twice.cells[0].id != twice.cells[1].id
