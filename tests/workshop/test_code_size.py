"""workshop/code_size.py: what counts as a line of code, and which modules belong to a script."""

from pathlib import Path

import pytest

from workshop import code_size

SCRIPTS = Path(code_size.__file__).parents[1] / "training"


def written(folder, name, *lines):
    path = folder / name
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize(
    ("source", "count"),
    [
        (["x = 1"], 1),
        (["", "# a comment", "x = 1  # another"], 1),
        (['"""A module', "of two lines.", '"""', "x = 1"], 1),
        (["def f():", '    """Says nothing."""', "    return 1"], 2),
        (["class A:", '    """One."""', "", "    async def f(self):", "        '''Two.'''"], 2),
        (['text = """not a', "", 'docstring"""'], 3),  # a string that is used is code
        (["f(", "    1,", "", "    # why", "    2,", ")"], 4),
        (["x = (1, '''a", "b''')"], 2),
        ([""], 0),
    ],
)
def test_lines_are_those_that_do_something(tmp_path, source, count):
    assert code_size.lines(written(tmp_path, "some.py", *source)) == count


def test_modules_are_followed_wherever_the_import_stands(tmp_path):
    script = written(tmp_path, "script.py", "import json, near", "def f():", "    import late")
    written(tmp_path, "near.py", "from far.inner import x", "import script")  # in a circle
    written(tmp_path, "far.py", "from . import other")
    written(tmp_path, "late.py")
    written(tmp_path, "other.py")
    names = {path.name for path in code_size.modules(script)}
    assert names == {"script.py", "near.py", "far.py", "late.py"}


def test_modules_of_a_package_are_followed(tmp_path):
    script = written(tmp_path, "script.py", "from pack import one", "from pack.two import f")
    (tmp_path / "pack").mkdir()
    for name in ("__init__", "one", "three"):
        written(tmp_path / "pack", f"{name}.py")
    written(tmp_path / "pack", "two.py", "import near, pack.four", "def f(): pass")
    written(tmp_path, "near.py")
    written(tmp_path, "pack/four.py")
    names = {path.relative_to(tmp_path).as_posix() for path in code_size.modules(script)}
    of_the_package = {f"pack/{name}.py" for name in ("__init__", "one", "two", "four")}
    assert names == {"script.py", "near.py"} | of_the_package


def test_the_entry_points_share_what_stands_once():
    files = {
        name: {path.name for path in code_size.modules(SCRIPTS / f"train_{name}.py")}
        for name in ("xgboost", "sklearn", "torch")
    }
    shared = {"entry_point.py", "metrics.py", "record.py", "splits.py", "group.py", "titanic.py"}
    assert shared <= set.intersection(*files.values())
    assert "network.py" in files["torch"]


def test_what_is_no_python_file_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError):
        code_size.modules(tmp_path / "none.py")
    with pytest.raises(SyntaxError):
        code_size.lines(written(tmp_path, "broken.py", "def"))
