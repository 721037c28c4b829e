"""The step from one host to many in a PyTorch training loop, as a diff of two scripts.

    print(hosts_diff.diff())        # - marks what one host alone has, + what many hosts need

Both scripts run as they are (tests/training/test_training_loops.py): what differs is all that it
takes.

Command line:  python -m workshop.hosts_diff
"""

from __future__ import annotations

import difflib
import re
from pathlib import Path

_TRAINING = Path(__file__).resolve().parents[1] / "training"
ONE_HOST = _TRAINING / "loop_one_host.py"
MANY_HOSTS = _TRAINING / "loop_many_hosts.py"


def diff(context: int = 1) -> str:
    """Return a unified diff from the loop for one host to that for many.

    ``context`` is how many lines around each change are shown.
    """
    one, many = (path.read_text(encoding="utf-8").splitlines() for path in (ONE_HOST, MANY_HOSTS))
    names = (ONE_HOST.name, MANY_HOSTS.name)
    return "\n".join(difflib.unified_diff(one, many, *names, n=context, lineterm=""))


def changed(difference: str) -> int:
    """Return how many lines a unified diff adds or takes away."""
    return sum(bool(re.match(r"[-+](?![-+])|[-+]$", line)) for line in difference.splitlines())


if __name__ == "__main__":
    print(diff())
