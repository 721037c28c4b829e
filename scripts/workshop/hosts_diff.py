"""The step from one host to many in a training script, as a diff.

    print(hosts_diff.diff("scripts/training/train_torch.py"))  # + marks what several hosts need

In the script such lines end with the comment ``# hosts``; what is left without them is the script
for one host, and runs as it stands (tests/training/test_process_group.py runs it).

Command line:  python -m workshop.hosts_diff scripts/training/train_torch.py
"""

from __future__ import annotations

import difflib
import re
import sys
from pathlib import Path

_MARK = re.compile(r"  # hosts\b.*$")


def one_host(script: str | Path) -> str:
    """The script's text without the lines that only several hosts need."""
    lines = Path(script).read_text(encoding="utf-8").splitlines()
    return "".join(f"{line}\n" for line in lines if not _MARK.search(line))


def diff(script: str | Path, context: int = 1) -> str:
    """From the script for one host to the script as it is: a unified diff, without the marks.

    ``context`` is how many lines around each change are shown.
    """
    many = [_MARK.sub("", line) for line in Path(script).read_text(encoding="utf-8").splitlines()]
    names = ("for one host", "for many")
    lines = difflib.unified_diff(
        one_host(script).splitlines(), many, *names, n=context, lineterm=""
    )
    return "\n".join(lines)


def changed(difference: str) -> int:
    """How many lines a unified diff adds or takes away."""
    return sum(bool(re.match(r"[-+](?![-+])|[-+]$", line)) for line in difference.splitlines())


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(diff(name))
