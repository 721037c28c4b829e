r"""The rules of every lesson, as checks that can fail.

    python -m lessons.rules                          all lessons
    python -m lessons.rules notebooks/01_name.py     only these

**The files.** `notebooks/NN_name.py` in Jupytext's percent format, without a header: the first
line is `# %% [markdown]`. `make notebooks` derives the .ipynb. Two kinds of cell metadata are ours,
`tags` and `jupyter`; Jupytext adds `lines_to_next_cell` where it needs it. Line length as ruff has
it; `make format` formats the code cells.

**The head.** The first cell is Markdown. It starts with `# Title`, and these parts follow in this
order, each at the start of a line, in bold:

    **Questions**      a list, each item ends with a question mark
    **Objectives**     a list: what the learner can do afterwards
    **You need**       what comes first: earlier lessons, files, permissions
    **Time**           "teaching 20 min, exercises 10 min"
    **Cost on AWS**    an amount with `$`, or the word "nothing"

**The body.** Code cells are short: half of them have at most 6 non-blank lines, nine in ten at
most 15, none has more than 25; no line of code is wider than 88 columns. A Markdown cell stands
directly before at least 85 % of the code cells.

**Pace.** At most 1,600 words of prose, the head and what stands in code fences not counted, and at
most 160 non-blank lines of code; solutions, and cells that `%%writefile` saves, are not counted.
The reading time is computed: 120 words and 10 lines a minute, of everything but solutions. The
teaching minutes of the head are not below it. A lesson that does not keep to this yet stands in
`NOT_YET`, with its present sizes, which it may not exceed.

**Exercises.** At least one in each lesson. A Markdown cell has the heading `### Exercise 1: what
to do`, numbered from 1. Its solution is one code cell tagged `solution` or several, before the next
exercise, folded:

    # %% jupyter={"source_hidden": true} tags=["solution"]

Between the two there may be an empty cell for the learner (a comment such as `# Your turn`). No
cell outside a solution uses a name that only solutions make: a learner who solves an exercise
alone, with other names, can still run all that follows.

**The foot.** `## Key points` with a list, then `## Clean up`, which says what still bills and
removes it (code cells are welcome there). No other `## ` heading follows.

**Failure as a lesson.** A cell that must fail has the tag `raises-exception`, and the Markdown
cell directly before it names the exception in backticks, `ClientError` for example. The runner
turns red when such a cell does not fail, or fails with another exception.

**Never in a lesson.** The tag `skip-execution`; notebook metadata `execution`; cell metadata
`nbmake`; `%cd`, `os.chdir`, `!pip`, `%pip`, `%conda`; an account number, a bucket's name, a
region or a home folder written into the code; names from the tests or from the stub AWS
(`tests`, `pytest`, `moto`, `mock`, `stub`, `endpoint_url`, `AWS_ENDPOINT`, `localhost`,
`127.0.0.1`); stored outputs. `assert` is welcome: a claim that a cell can check should be
checked.
"""

from __future__ import annotations

import ast
import builtins
import math
import re
import statistics
import symtable
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path

from nbformat import NotebookNode

from lessons.pairs import parse, sources

HEAD_PARTS = ("Questions", "Objectives", "You need", "Time", "Cost on AWS")
MEDIAN_LINES, P90_LINES, MAX_LINES, MAX_COLUMNS = 6, 15, 25, 88
PROSE_BEFORE_CODE = 0.85
MAX_WORDS, MAX_CODE = 1600, 160
WORDS_A_MINUTE, LINES_A_MINUTE = 120, 10
CELL_METADATA = {"tags", "jupyter", "lines_to_next_cell"}
TAGS = {"solution", "raises-exception"}

FORBIDDEN_CODE = (
    (r"%cd\b|\bos\.chdir\b", "changes the working folder; use a path instead"),
    (r"[!%]\s*(\w+\s+-m\s+)?(pip|conda|mamba)\b", "installs; the environment is made beforehand"),
    (r"(?<!\d)\d{12}(?!\d)", "holds an account number; ask STS for it"),
    (r"s3://[a-z0-9]", "names a bucket; take the one of the session"),
    (r"(?i)bucket\w*\s*=\s*f?[\"'][a-z0-9]", "names a bucket; take the one of the session"),
    (
        r"\b(af|ap|ca|cn|eu|il|me|mx|sa|us)(-gov|-iso[a-z]?)?-(north|south|east|west|central)[a-z]*-\d",
        "names a region; take the one of the session",
    ),
    (r"(/home/|/Users/|/root\b|[\"']~|[A-Z]:\\\\)", "holds a home folder; use a relative path"),
    (
        r"(?i)\b(tests|pytest|unittest|nbmake|moto|mock\w*|stub\w*|endpoint_url|aws_endpoint\w*|localhost)\b"
        r"|127\.0\.0\.1",
        "names the tests; a lesson does not know them",
    ),
    (r"\bget_ipython\(\)\.(system|run_line_magic)\b", "calls a magic; write the magic itself"),
)


@dataclass(frozen=True)
class Pace:
    """The size of a lesson: words of prose, lines of code, and minutes too few in its head."""

    prose: int = MAX_WORDS
    code: int = MAX_CODE
    missing_minutes: int = 0


# By the number in a lesson's title: what it may have until it is shortened. Lower these figures
# with each lesson that shrinks; tests/lessons/test_rules.py reports an exception without need.
NOT_YET = {
    "02": Pace(code=165),
    "05": Pace(code=190),
    "06": Pace(code=244),
    "10": Pace(code=163),
}

Problems = Iterator[str]
Rule = Callable[[list[NotebookNode]], Problems]


def _code(cells: list[NotebookNode]) -> list[tuple[int, NotebookNode]]:
    return [(i, c) for i, c in enumerate(cells) if c.cell_type == "code" and c.source.strip()]


def _tags(cell: NotebookNode) -> list[str]:
    return cell.metadata.get("tags", [])


def _lines(cell: NotebookNode) -> list[str]:
    return [line for line in cell.source.splitlines() if line.strip()]


def has_a_head(cells: list[NotebookNode]) -> Problems:
    """Check the first cell: title and the five parts, in order, each with its content."""
    if not cells or cells[0].cell_type != "markdown" or not cells[0].source.startswith("# "):
        yield "cell 1: must be Markdown and start with `# Title`"
        return
    head = cells[0].source
    pattern = r"^\*\*(" + "|".join(HEAD_PARTS) + r")[.:]?\*\*"
    pieces = re.split(pattern, head, flags=re.MULTILINE)[1:]
    names, parts = pieces[::2], dict(zip(pieces[::2], pieces[1::2], strict=True))
    if tuple(names) != HEAD_PARTS:
        wanted = ", ".join(f"**{part}**" for part in HEAD_PARTS)
        yield f"cell 1: needs {wanted} in this order, has {names}"
        return
    questions = re.findall(r"^- .*(?:\n {2}.*)*", parts["Questions"], flags=re.MULTILINE)
    if not questions or any(not q.rstrip().endswith("?") for q in questions):
        yield "cell 1: **Questions** must be a list whose items end with a question mark"
    if not re.search(r"^- ", parts["Objectives"], flags=re.MULTILINE):
        yield "cell 1: **Objectives** must be a list"
    if not parts["You need"].strip(" :.\n"):
        yield "cell 1: **You need** is empty"
    if not re.search(r"teaching \d+ min.*exercises? \d+ min", parts["Time"], flags=re.DOTALL):
        yield "cell 1: **Time** must read like: teaching 20 min, exercises 10 min"
    if not re.search(r"\$\s?\d|\bnothing\b", parts["Cost on AWS"], flags=re.IGNORECASE):
        yield "cell 1: **Cost on AWS** must give an amount with `$`, or say: nothing"


def has_a_foot(cells: list[NotebookNode]) -> Problems:
    """Check for `## Key points` with a list, then `## Clean up`, and no section after."""
    prose = "\n".join(c.source for c in cells if c.cell_type == "markdown")
    sections = re.findall(r"^## +(.+?) *$", prose, flags=re.MULTILINE)
    if sections[-2:] != ["Key points", "Clean up"]:
        yield f"last sections must be `## Key points` and `## Clean up`, are {sections[-2:]}"
        return
    points, clean_up = prose.rsplit("## Key points", 1)[1].split("## Clean up", 1)
    if not re.search(r"^- ", points, flags=re.MULTILINE):
        yield "## Key points must hold a list"
    if not clean_up.strip():
        yield "## Clean up is empty: say what still bills, or that nothing does"


def solves_its_exercises(cells: list[NotebookNode]) -> Problems:
    """Check that exercises are numbered from 1, each with its folded solution in place."""
    waiting: str | None = None  # the exercise that has no solution yet
    numbers: list[int] = []
    for i, cell in enumerate(cells, start=1):
        if cell.cell_type == "markdown":
            headings = re.findall(r"^#+ *Exercise\b.*$", cell.source, flags=re.MULTILINE)
            for heading in headings:
                match = re.fullmatch(r"### Exercise (\d+): \S.*", heading)
                if not match:
                    yield f"cell {i}: write the heading as `### Exercise 1: what to do`"
                    return
                if waiting:
                    yield f"{waiting} has no solution cell before the next exercise"
                waiting = f"Exercise {match[1]}"
                numbers.append(int(match[1]))
        elif "solution" in _tags(cell):
            if not numbers:
                yield f"cell {i}: a solution without an exercise before it"
            if cell.metadata.get("jupyter", {}).get("source_hidden") is not True:
                yield f'cell {i}: fold the solution with jupyter={{"source_hidden": true}}'
            if all(line.lstrip().startswith("#") for line in _lines(cell)):
                yield f"cell {i}: the solution does nothing"
            waiting = None
    if waiting:
        yield f"{waiting} has no solution cell"
    if not numbers:
        yield "there is no exercise"
    elif numbers != list(range(1, len(numbers) + 1)):
        yield f"exercises must be numbered 1, 2, …, are {numbers}"


def has_short_cells(cells: list[NotebookNode]) -> Problems:
    """Check the median, ninth decile and greatest number of lines, and their width."""
    code = _code(cells)
    if not code:
        yield "there is no code"
        return
    sizes = sorted(len(_lines(cell)) for _, cell in code)
    p90 = sizes[max(0, -(-9 * len(sizes) // 10) - 1)]  # nearest rank
    if (median := statistics.median(sizes)) > MEDIAN_LINES:
        yield f"the median code cell has {median:g} lines, more than {MEDIAN_LINES}"
    if p90 > P90_LINES:
        yield f"one code cell in ten has {p90} lines or more, more than {P90_LINES}"
    for i, cell in code:
        if len(_lines(cell)) > MAX_LINES:
            yield f"cell {i + 1}: {len(_lines(cell))} lines, more than {MAX_LINES}"
        if wide := [line for line in _lines(cell) if len(line) > MAX_COLUMNS]:
            yield f"cell {i + 1}: wider than {MAX_COLUMNS} columns: {wide[0][:40]}…"


def pace(cells: list[NotebookNode]) -> Pace:
    """Return how large a lesson is, and how many minutes its head has too few."""
    prose = [_word_count(cell) if cell.cell_type == "markdown" else 0 for cell in cells]
    read = [cell for _, cell in _code(cells) if "solution" not in _tags(cell)]
    typed = [cell for cell in read if not cell.source.startswith("%%writefile")]
    head = re.search(r"teaching (\d+) min", cells[0].source if cells else "")
    missing = reading_minutes(cells) - int(head[1]) if head else 0
    return Pace(sum(prose[1:]), sum(len(_lines(cell)) for cell in typed), max(0, missing))


def reading_minutes(cells: list[NotebookNode]) -> int:
    """Return how long it takes to read a lesson, without its solutions, rounded up."""
    prose = sum(_word_count(cell) for cell in cells if cell.cell_type == "markdown")
    lines = sum(len(_lines(cell)) for _, cell in _code(cells) if "solution" not in _tags(cell))
    return math.ceil(prose / WORDS_A_MINUTE + lines / LINES_A_MINUTE)


def _word_count(cell: NotebookNode) -> int:
    """Return the number of words of a Markdown cell, without what stands in code fences."""
    text = re.sub(r"^```.*?^```", "", cell.source, flags=re.MULTILINE | re.DOTALL)
    return len(re.findall(r"\S*\w\S*", text))


def keeps_its_pace(cells: list[NotebookNode]) -> Problems:
    """Check words, lines of code, and the minutes in the head against the reading time."""
    size = pace(cells)
    title = re.match(r"# (\d\d)\b", cells[0].source if cells else "")
    limit = NOT_YET.get(title[1] if title else "", Pace())
    if size.prose > limit.prose:
        yield f"{size.prose} words of prose, more than {limit.prose}"
    if size.code > limit.code:
        yield f"{size.code} lines of code outside solutions, more than {limit.code}"
    if size.missing_minutes > limit.missing_minutes:
        yield (
            f"reading takes {reading_minutes(cells)} minutes, so the teaching minutes in the head "
            f"are {size.missing_minutes - limit.missing_minutes} too few"
        )


def not_needed(number: str, cells: list[NotebookNode]) -> Problems:
    """Find what `NOT_YET` allows a lesson that it does not need."""
    if number in NOT_YET:
        size, most = pace(cells), Pace()
        for name in (field.name for field in fields(Pace)):
            allowed, usual = getattr(NOT_YET[number], name), getattr(most, name)
            if allowed > usual and getattr(size, name) <= usual:
                yield f"{number}: keeps the limit of {name} now; take it out of NOT_YET"


def explains_its_code(cells: list[NotebookNode]) -> Problems:
    """Check that a Markdown cell is directly before most code cells."""
    code = _code(cells)
    bare = [i + 1 for i, _ in code if i == 0 or cells[i - 1].cell_type != "markdown"]
    if code and 1 - len(bare) / len(code) < PROSE_BEFORE_CODE:
        yield (
            f"prose stands before {len(code) - len(bare)} of {len(code)} code cells, fewer than "
            f"{PROSE_BEFORE_CODE:.0%}; none before cells {', '.join(map(str, bare))}"
        )


def needs_no_solution(cells: list[NotebookNode]) -> Problems:
    """Check that no cell outside a solution uses a name that only solutions make."""
    of_solutions: set[str] = set()
    of_others = set(dir(builtins))
    for i, cell in _code(cells):
        try:
            made, used = _names(cell)
        except SyntaxError as error:
            yield f"cell {i + 1}: is not Python: {error.msg}"
            return
        if "solution" in _tags(cell):
            of_solutions |= made
            continue
        of_others |= made
        if lost := sorted((used & of_solutions) - of_others):
            yield f"cell {i + 1}: uses {', '.join(lost)}, which only a solution makes"


_MAGIC = re.compile(r"^(\s*)(?:!|%%?\w)(.*)$", flags=re.MULTILINE)


def _names(cell: NotebookNode) -> tuple[set[str], set[str]]:
    """Return the global names that a cell makes, and those that it uses."""
    used = {name for m in _MAGIC.finditer(cell.source) for name in re.findall(r"\{(\w+)", m[2])}
    if cell.source.startswith("%%"):
        return set(), used
    source = _MAGIC.sub(r"\1pass", cell.source)
    # `x += 1` and `del x` need an x; they do not make it
    nodes = list(ast.walk(ast.parse(source)))
    names = [node for node in nodes if isinstance(node, ast.Name)]
    added_to = [node.target for node in nodes if isinstance(node, ast.AugAssign)]
    deleted = [name for name in names if isinstance(name.ctx, ast.Del)]
    changed = [name for name in names if name in [*added_to, *deleted]]
    stored = {n.id for n in names if isinstance(n.ctx, ast.Store) and n not in changed}
    only_changed = {name.id for name in changed} - stored

    top = symtable.symtable(source, "cell", "exec")
    made = {s.get_name() for s in top.get_symbols() if s.is_assigned() or s.is_imported()}
    scopes = [top]
    for scope in scopes:  # it grows: functions, classes and comprehensions, outer before inner
        scopes += scope.get_children()
        for symbol in scope.get_symbols():
            if symbol.is_referenced() and (scope is top or symbol.is_global()):
                used.add(symbol.get_name())
    return made - only_changed, used | only_changed


def names_its_failures(cells: list[NotebookNode]) -> Problems:
    """Check that the prose before a cell that must fail names the exception."""
    for i, cell in enumerate(cells):
        if "raises-exception" in _tags(cell) and not expected_exceptions(cells, i):
            yield f"cell {i + 1}: must fail, but the Markdown cell before it names no `Exception`"


def keeps_out_of_bounds(cells: list[NotebookNode]) -> Problems:
    """Check for skipping, mocking, installing, hard-coding, names of the tests, outputs."""
    for i, cell in enumerate(cells, start=1):
        if extra := set(cell.metadata) - CELL_METADATA:
            yield f"cell {i}: metadata {sorted(extra)}; only {sorted(CELL_METADATA)} are ours"
        if extra := set(_tags(cell)) - TAGS:
            yield f"cell {i}: tags {sorted(extra)}; only {sorted(TAGS)} are ours"
        if cell.cell_type != "code":
            continue
        if cell.get("outputs") or cell.get("execution_count"):
            yield f"cell {i}: stores outputs; run `make notebooks`"
        for pattern, why in FORBIDDEN_CODE:
            if match := re.search(pattern, cell.source):
                yield f"cell {i}: `{match[0]}` {why}"


RULES: tuple[Rule, ...] = (
    has_a_head,
    has_a_foot,
    solves_its_exercises,
    has_short_cells,
    keeps_its_pace,
    explains_its_code,
    needs_no_solution,
    names_its_failures,
    keeps_out_of_bounds,
)


def expected_exceptions(cells: list[NotebookNode], index: int) -> set[str]:
    """Return the exception names in backticks in the Markdown cell directly before cell `index`."""
    if index == 0 or cells[index - 1].cell_type != "markdown":
        return set()
    return set(re.findall(r"`(?:\w+\.)*([A-Z]\w+)`", cells[index - 1].source))


def problems(notebook: NotebookNode) -> list[str]:
    """Return a sentence for everything in a lesson that breaks a rule."""
    broken_rules = [
        f"notebook metadata {key!r} is not ours" for key in sorted(_odd_metadata(notebook))
    ]
    for rule in RULES:
        broken_rules.extend(rule(notebook.cells))
    return broken_rules


def _odd_metadata(notebook: NotebookNode) -> set[str]:
    return set(notebook.metadata) - {"kernelspec", "language_info"}


def main(argv: list[str]) -> int:
    """Check the lessons named, or all, and return the exit code."""
    files = [Path(name) for name in argv] or sources()
    broken = 0
    for py in files:
        broken_rules = problems(parse(py.read_text(encoding="utf-8")))
        broken += bool(broken_rules)
        verdict = f"{len(broken_rules)} to mend" if broken_rules else "keeps to every rule"
        cells = parse(py.read_text(encoding="utf-8")).cells
        size = pace(cells)
        print(
            f"{py.name}: {size.prose} words, {size.code} lines of code, "
            f"{reading_minutes(cells)} min to read; {verdict}"
        )
        for problem in broken_rules:
            print(f"  {problem}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
