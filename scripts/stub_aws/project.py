"""The person's project: the folders that a job shall neither see nor change, as on AWS."""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).resolve()


def working_directory() -> Path | None:
    """Return where the stub was started, or None where that folder is gone."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return None


# Taken once: a program that has the stub in its process, as pytest does, may go elsewhere.
STARTED_IN = working_directory()


def folders() -> dict[str, Path]:
    """Return the folders of the project by what a person calls them."""
    named = {"the working directory": STARTED_IN, "the stub's checkout": checkout(HERE)}
    return {name: path for name, path in named.items() if path}


def checkout(module: Path) -> Path | None:
    """Return the checkout that a module of this package is in; None where it is installed."""
    room, root = module.parents[1], module.parents[2]
    return root if room.name == "scripts" and (root / "pyproject.toml").is_file() else None
