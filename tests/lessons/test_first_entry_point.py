"""Lesson 02 writes an entry point cell by cell: it is train_minimal.py, which lesson 03 runs."""

from __future__ import annotations

from lessons import pairs

LESSON = pairs.NOTEBOOKS / "02_local_training.py"
SCRIPT = pairs.ROOT / "scripts" / "training" / "train_minimal.py"
MAGICS = ("%%writefile {work}/train_minimal.py", "%%writefile -a {work}/train_minimal.py")


def test_what_lesson_02_writes_is_the_script_that_jobs_run() -> None:
    cells = [cell.source for cell in pairs.parse(LESSON.read_text(encoding="utf-8")).cells]
    written = [source.split("\n", 1) for source in cells if source.startswith("%%writefile")]
    assert [magic for magic, _ in written] == [MAGICS[0], *[MAGICS[1]] * (len(written) - 1)]
    script = "\n".join(body for _, body in written) + "\n"
    assert script == SCRIPT.read_text(encoding="utf-8")
