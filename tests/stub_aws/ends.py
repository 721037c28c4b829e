"""What the stub says of what will not end: it is left, and named in one line."""

from __future__ import annotations

import sys


def say(text: str) -> None:
    """Print one line to the terminal of whoever runs the stub."""
    print(f"stub AWS: {text}", file=sys.stderr, flush=True)
