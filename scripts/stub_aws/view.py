"""What of this machine a job sees: its Python. The person's own folders are hidden from it.

Every path is resolved first, since a home, a checkout or a TMPDIR may be reached by symbolic links.
"""

from __future__ import annotations

import functools
import os
import site
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import project

# Nothing would run without these, so neither they nor what holds one of them can be hidden.
SYSTEM = {
    *map(Path, ("/", "/bin", "/dev", "/etc", "/lib", "/lib64", "/proc", "/run", "/sbin", "/sys")),
    *map(Path, ("/usr", "/usr/local", "/var")),
}
TMP = "/tmp"  # noqa: S108 - the folder that is hidden
HOME_INSTEAD = "/opt/home"  # of a job, where the person's own cannot be hidden


def resolved(path: str | Path) -> Path:
    """Return where `path` really is. It need not be there."""
    return Path(os.path.realpath(path))


def is_folder(path: Path) -> bool:
    """Return whether it is a folder. Path.is_dir raises an error where we may not look."""
    return os.path.isdir(path)  # noqa: PTH112


def opt() -> Path:
    """Return the folder in which a job finds `/opt/ml`."""
    return resolved("/opt")


def arrangement(folders: Mapping[str, Path]) -> dict[str, Any]:
    """Return what `host.py` must know to hide the person's folders and to mount a host's.

    Args:
        folders: Path inside the host -> the folder to mount there.
    """
    binds = {resolved(Path(path).parent) / Path(path).name: own for path, own in folders.items()}
    hidden = covered()
    filled = [folder for folder in hidden if folder == opt()]  # what is installed there stays
    appearing = []
    for path in binds:
        within = next(folder for folder in path.parents if is_folder(folder))
        around = [folder for folder in hidden if folder in path.parents]
        if around and (around[-1] == within or around[-1] not in filled):
            continue  # the cover has room for it
        if within == Path("/"):
            appearing.append(path)
            continue
        hidden = _parents_first({*hidden, within})
        if os.access(within, os.R_OK):  # else the job could not see what it holds, either
            filled.append(within)
    python = python_folders()
    return {
        "binds": {str(path): str(own) for path, own in binds.items()},
        "kept": [str(path) for path in python],
        # An overlay covers the folders in it, too, and the kernel stacks no more than two.
        "overlaid": [str(path) for path in python if not any(p in path.parents for p in python)],
        "covered": {str(path): _cover(number, path) for number, path in enumerate(hidden)},
        "filled": [str(path) for path in filled],
        "links": {str(link): target for link, target in links_to_python().items()},
        "appearing": [str(path) for path in appearing],
    }


def home() -> Path | None:
    """Return the person's home folder, or None where there is none."""
    try:
        path = resolved(Path.home())
    except RuntimeError:  # neither HOME nor an entry in the list of users
        return None
    return path if is_folder(path) else None


def home_inside() -> str:
    """Return the home folder of a job: the path of the person's own, if that can be hidden."""
    own = home()
    return str(own) if own and can_be_hidden(own) else HOME_INSTEAD


def persons_folders() -> dict[str, Path]:
    """Return the folders that a job shall neither see nor change, by what a person calls them."""
    own = {name: resolved(path) for name, path in project.folders().items()}
    own["TMPDIR"] = resolved(tempfile.gettempdir())
    return own | ({"HOME": persons} if (persons := home()) else {})


def covered() -> list[Path]:
    """Return the folders that are replaced: the person's own by empty ones."""
    persons = {path for path in persons_folders().values() if can_be_hidden(path)}
    shared = {path for path in (opt(), resolved(TMP)) if is_folder(path)}
    return _parents_first(persons | shared)


def _cover(number: int, path: Path) -> str:
    """Return the name of what a host has in the place of a hidden folder."""
    return "tmp" if path == resolved(TMP) else str(number)


def _parents_first(paths: set[Path]) -> list[Path]:
    return sorted(paths, key=lambda path: len(path.parts))


def in_sight() -> dict[str, Path]:
    """Return the folders of the person that a job does see."""
    return {name: path for name, path in persons_folders().items() if not can_be_hidden(path)}


def can_be_hidden(path: Path) -> bool:
    """Return whether a job's processes can run without what is in the folder `path` itself."""
    within_python = any(path.is_relative_to(folder) for folder in python_folders())
    return path not in SYSTEM and path != opt() and not within_python


@functools.cache
def python_folders() -> list[Path]:
    """Return where this Python and its packages are, but for what is the system's."""
    folders = {resolved(prefix) for prefix in (sys.prefix, sys.base_prefix)}
    if site.ENABLE_USER_SITE:  # pip install --user
        folders |= {resolved(site.getusersitepackages())}
    return sorted(folder for folder in folders if folder not in SYSTEM and is_folder(folder))


@functools.cache
def links_to_python() -> dict[Path, str]:
    """Return every symbolic link by which Python is found, and what it holds."""
    links: dict[Path, str] = {}
    base = getattr(sys, "_base_executable", sys.executable)
    waiting = {Path(path) for path in (sys.prefix, sys.base_prefix, sys.executable, base)}
    while waiting:
        here, *names = waiting.pop().parts
        path = Path(here)
        while names:
            name = names.pop(0)
            if name == "..":
                path = path.parent
                continue
            path /= name
            if path.is_symlink():
                links[path] = os.readlink(path)  # noqa: PTH115 - as it is written
                waiting.add(path.parent.joinpath(links[path], *names))
                break
    return links
