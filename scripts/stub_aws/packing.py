"""Packs what the hosts of a job left in a folder into one `.tar.gz`, as tar packs a container's.

Links, named pipes and strange names go in as they are, and nothing is followed or waited for. All
belongs to root, as the job saw it: the name of the person who runs the stub is nobody's business.
"""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from .beneath import Entry, FilesGone, View, sentence, shown
from .ends import Patience

TYPES = {
    "a plain file": tarfile.REGTYPE,
    "a folder": tarfile.DIRTYPE,
    "a symbolic link": tarfile.SYMTYPE,
    "a named pipe": tarfile.FIFOTYPE,
}


class UploadError(Exception):
    """An artifact cannot be stored; the message is what SageMaker would give as FailureReason."""

    def __init__(self, text: str) -> None:
        super().__init__(f"ClientError: Artifact upload failed:{text}")


@dataclass(frozen=True)
class Left:
    """What one host of a job has left: its name, and the view of its files."""

    host: str
    view: View

    def entries(self, folder: str) -> Iterator[Entry]:
        """Yield what is below a folder of the host; nothing where there is no such folder.

        Raises:
            UploadError: It cannot be read.
            beneath.FilesGone: The files of the host are not there any more.
        """
        try:
            yield from self.view.walk(folder)
        except FilesGone:
            raise
        except OSError as error:
            raise self.unreadable(error) from error

    def unreadable(self, error: OSError) -> UploadError:
        """Return the reason for the job's end: which file of which host, and the cause."""
        return UploadError(f"{sentence(error)} ({self.host})")


class Packer:
    """Makes archives of folders.

    Args:
        patience: Asked between two pieces.
        note: Gets a line for the log for each file that goes into no archive.
    """

    def __init__(self, patience: Patience, note: Callable[[str], None]) -> None:
        self._patience = patience
        self._note = note

    def pack(self, hosts: list[Left], folder: str, archive: Path) -> bool:
        """Make an archive of all that is in `folder` of the hosts. False where that is nothing.

        Where two hosts wrote a file of the same name, the first host's is kept.

        Raises:
            UploadError: Something cannot be packed.
            ends.StopRequested, ends.JobFailed: The job shall end.
        """
        packed: dict[str, str] = {}  # path -> what it is
        try:
            with tarfile.open(archive, "w:gz", compresslevel=1, encoding="utf-8") as tar:
                for left in hosts:
                    self._add_host(tar, left, folder, packed)
        except FileNotFoundError:
            raise  # the folder for the archive is gone
        except OSError as error:
            text = f"{archive.name} cannot be written on this machine: {error.strerror}"
            raise UploadError(text) from error
        if not packed:
            archive.unlink()
        return bool(packed)

    def _add_host(
        self, tar: tarfile.TarFile, left: Left, folder: str, packed: dict[str, str]
    ) -> None:
        links: dict[tuple[int, int], str] = {}  # which file -> its first path
        for entry in left.entries(folder):
            self._patience.check()
            parent = entry.path.rpartition("/")[0]
            if entry.path in packed or (parent and packed.get(parent) != "a folder"):
                continue  # an earlier host's is there, or in the way
            if entry.kind not in TYPES:
                self._note(f"{folder}/{shown(entry.path)} is {entry.kind}: it goes into no archive")
                continue
            packed[entry.path] = entry.kind
            member = _member(entry)
            if entry.kind == "a plain file":
                first = links.setdefault((entry.stat.st_dev, entry.stat.st_ino), entry.path)
                if first == entry.path:
                    self._add_content(tar, member, left, entry)
                    continue
                member.type, member.linkname = tarfile.LNKTYPE, first
            elif entry.kind == "a symbolic link":
                member.linkname = os.readlink(entry.name, dir_fd=entry.folder)
            tar.addfile(member)

    def _add_content(
        self, tar: tarfile.TarFile, member: tarfile.TarInfo, left: Left, entry: Entry
    ) -> None:
        try:
            file = entry.open()
        except OSError as error:
            raise left.unreadable(error) from error
        with file:
            member.size = os.fstat(file.fileno()).st_size
            tar.addfile(member, _Pieces(file, left, entry, self._patience))


class _Pieces:
    """A file as tarfile reads it, piece by piece."""

    def __init__(self, file: BinaryIO, left: Left, entry: Entry, patience: Patience) -> None:
        self._file = file
        self._left = left
        self._entry = entry
        self._patience = patience

    def read(self, size: int = 0) -> bytes:
        """Return exactly `size` bytes.

        Raises:
            UploadError: They cannot be read, or are not there any more.
            ends.StopRequested, ends.JobFailed: The job shall end.
        """
        self._patience.check()
        try:
            data = self._file.read(size)
        except OSError as error:
            error.filename = self._entry.full_path
            raise self._left.unreadable(error) from error
        if len(data) < size:
            raise UploadError(f"{shown(self._entry.full_path)} became shorter ({self._left.host})")
        return data


def _member(entry: Entry) -> tarfile.TarInfo:
    member = tarfile.TarInfo(entry.path)
    member.type = TYPES[entry.kind]
    member.mode = stat.S_IMODE(entry.stat.st_mode)
    member.mtime = entry.stat.st_mtime
    member.uname = member.gname = "root"
    return member
