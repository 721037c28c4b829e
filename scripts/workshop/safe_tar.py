"""Unpack an archive that somebody else made, so that nothing of it lands outside its folder.

Python has tarfile's filter "data" for this, but 3.11.0 to 3.11.3 lack it, and Debian 12's Python is
one of these. This refuses what that filter refuses, by the same code on every Python:

- a name with `..` in it; a leading slash is dropped, as tar does;
- a link, hard or symbolic, that leads outside, directly or through other links, or to nothing;
- a member below a link, or in the place of one;
- devices, FIFOs, and whatever else is neither file, folder nor link.

Owners and times are not kept. Permissions that let others write, or that give a program the
permissions of its owner (setuid), are dropped.
"""

from __future__ import annotations

import os
import shutil
import tarfile
import tempfile
from collections import deque
from pathlib import Path
from typing import IO, BinaryIO, cast

MOST_LINKS = 40  # Linux follows no more of them on one path


class UnsafeArchiveError(ValueError):
    """The archive holds something that may not be unpacked; the message says what."""


def unpack(archive: Path, directory: Path) -> list[Path]:
    """Unpack `archive` into `directory`, which may hold other files, and return its files.

    Raises UnsafeArchiveError, or what tarfile raises for a damaged archive; `directory` is then as
    it was before.
    """
    with tempfile.TemporaryDirectory() as scratch, tarfile.open(archive) as tar:
        unpacked = Path(scratch)
        _Extraction(tar, unpacked).run()
        names = sorted(path.relative_to(unpacked) for path in unpacked.rglob("*"))
        files = [directory / name for name in names if (unpacked / name).is_file()]
        directory.mkdir(parents=True, exist_ok=True)
        for name in names:  # a folder comes before what is in it
            _copy(unpacked / name, directory / name)
    return files


def _copy(source: Path, target: Path) -> None:
    """Copy a file, a folder or a link to `target`; replace a link that is there, not follow it."""
    folder = source.is_dir() and not source.is_symlink()
    if target.is_symlink() or (target.exists() and not folder):
        target.unlink()
    if source.is_symlink():
        target.symlink_to(source.readlink())
    elif folder:
        target.mkdir(exist_ok=True)
    else:
        shutil.copy2(source, target)


class _Extraction:
    """One archive on its way into an empty folder.

    No link exists there until all else is written, so nothing can be written through one.
    """

    def __init__(self, tar: tarfile.TarFile, directory: Path) -> None:
        self._tar = tar
        self._directory = directory
        self._kinds: dict[str, str] = {"": "folder"}  # by path: "folder", "file" or "link"
        self._links: dict[str, str] = {}  # where each link leads, as it was given

    def run(self) -> None:
        for member in self._tar:
            self._extract(member)
        for path in self._links:
            self._check_link(path)
        for path, target in self._links.items():
            (self._directory / path).symlink_to(target)

    def _extract(self, member: tarfile.TarInfo) -> None:
        if member.size < 0:  # older versions of tarfile read the same member again, without end
            raise tarfile.ReadError(f"{member.name!r} has a negative size")
        path = _path(member.name)
        self._make_room(member, path)
        if member.isdir():
            self._add_folder(path)
        elif member.isreg():
            content = cast("IO[bytes]", self._tar.extractfile(member))  # None for no regular file
            with content, self._new_file(member, path) as file:
                shutil.copyfileobj(content, file)
        elif member.islnk():
            with self._linked_file(member) as content, self._new_file(member, path) as file:
                shutil.copyfileobj(content, file)
        elif member.issym():
            if member.linkname.startswith("/"):
                raise UnsafeArchiveError(f"{member.name!r} is a link to an absolute path")
            self._kinds[path], self._links[path] = "link", member.linkname
        else:
            raise UnsafeArchiveError(f"{member.name!r} is a special file")

    def _make_room(self, member: tarfile.TarInfo, path: str) -> None:
        """Make the folders above `path`. Refuse it where something of another kind is there."""
        above = path.split("/")[:-1]
        for i in range(len(above)):
            folder = "/".join(above[: i + 1])
            if self._kinds.get(folder, "folder") != "folder":
                raise UnsafeArchiveError(
                    f"{member.name!r} lies below {folder!r}, which is no folder"
                )
            self._add_folder(folder)
        kind = "folder" if member.isdir() else "file"
        if self._kinds.get(path, kind) != kind or (member.issym() and path in self._kinds):
            raise UnsafeArchiveError(f"{member.name!r} is in the place of a {self._kinds[path]}")

    def _add_folder(self, path: str) -> None:
        (self._directory / path).mkdir(exist_ok=True)
        self._kinds[path] = "folder"

    def _new_file(self, member: tarfile.TarInfo, path: str) -> BinaryIO:
        self._kinds[path] = "file"
        target = self._directory / path
        target.unlink(missing_ok=True)  # of two members of one name the later counts, as in tar
        file = target.open("xb")
        os.fchmod(file.fileno(), _permissions(member.mode))
        return file

    def _linked_file(self, member: tarfile.TarInfo) -> BinaryIO:
        """Open the file that a hard link names: one that comes before it in the archive."""
        if member.linkname.startswith("/"):
            raise UnsafeArchiveError(f"{member.name!r} is a link to an absolute path")
        target = _path(member.linkname)
        if self._kinds.get(target) != "file":
            raise UnsafeArchiveError(
                f"{member.name!r} is a link to {member.linkname!r}, which is no file before it"
            )
        return (self._directory / target).open("rb")

    def _check_link(self, path: str) -> None:
        """Follow a symbolic link as the kernel would, through the links on its way."""
        ahead, followed = deque(path.split("/")), 0
        here: list[str] = []
        while ahead:
            part = ahead.popleft()
            if part == ".." and not here:
                raise UnsafeArchiveError(f"{path!r} would link to outside the destination")
            if part == "..":
                here.pop()
            elif part not in ("", "."):
                here.append(part)
            kind = self._kinds.get("/".join(here))
            if kind == "link":
                ahead.extendleft(reversed(self._links["/".join(here)].split("/")))
                here.pop()
                followed += 1
            if kind is None or (kind == "file" and ahead) or followed > MOST_LINKS:
                raise UnsafeArchiveError(f"{path!r} is a link to nothing in the archive")


def _path(name: str) -> str:
    """Return a member's path below the destination."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts or "\0" in name:
        raise UnsafeArchiveError(f"{name!r} would be extracted outside the destination")
    return "/".join(parts)


def _permissions(mode: int) -> int:
    """Return the permissions that a file gets, by the rules of tarfile's filter "data"."""
    return (mode & 0o755 if mode & 0o100 else mode & 0o644) | 0o600
