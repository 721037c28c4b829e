"""Opens what a job leaves by the path that the job knows, and follows no link out of its own files.

The stub reads a job's files outside the job's namespaces, as the person who runs it. A link that
the job left must then mean what it means inside the job, where `/opt/ml/output` is a folder of this
host, and must never lead to the person's own files. So links are resolved here, name by name, and
every folder is opened without following any (O_NOFOLLOW), so that nothing can be put in the place
of a name between the look and the opening. No special file is ever opened, so no opening waits.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

MAX_LINKS = 40  # as in Linux, of one path
MAX_NAMES = 256  # of one path that a link or the stub names; a tree may be deeper
MAX_DEPTH = 2000  # folders one inside the other
SHOWN = 200  # characters of each end of a long path
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
PLAIN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class Refused(OSError):
    """It is there, but is not opened; `strerror` says why, for the end of a sentence on a path."""

    def __init__(self, reason: str) -> None:
        super().__init__(errno.EPERM, reason)


class LeadsOut(Refused):
    """A link that leads to what is not the job's."""

    def __init__(self, path: str) -> None:
        super().__init__(f"leads out of the job's own files, to {shown(path)}")


class FilesGone(OSError):
    """The folder of the host itself is not there any more: somebody else deleted it."""


@dataclass(frozen=True)
class Entry:
    """One file or folder that `walk` has found.

    Attributes:
        top: The job's path of the folder where the walk began.
        path: Its path below that.
        name: The last part of that, to open it in `folder`.
        folder: A descriptor of the folder that it is in, open until the walk goes on.
        stat: What it is; of a link, the link itself.
    """

    top: str
    path: str
    name: str
    folder: int
    stat: os.stat_result

    @property
    def full_path(self) -> str:
        return f"{self.top}/{self.path}"

    def open(self) -> BinaryIO:
        """Open the plain file that it is.

        Raises:
            Refused: It is something else.
            OSError: It cannot be read.
        """
        with _named(self.full_path):
            return open_plain(self.name, self.folder)

    @property
    def kind(self) -> str:
        """Return `a folder`, `a named pipe` …; `a plain file` where it is one."""
        return kind_of(self.stat)


@dataclass(frozen=True)
class View:
    """The folders of one host: the path by which its processes know each -> where it is here."""

    folders: Mapping[str, Path]

    def open_file(self, path: str) -> BinaryIO:
        """Open the plain file at `path` for reading, without waiting.

        Raises:
            FileNotFoundError: Nothing is there.
            Refused: It leads out, or to nothing, or is no plain file.
            FilesGone: The host's folder is not there.
            OSError: It cannot be read. As with all of these, `filename` is `path`.
        """
        with _named(path):
            names = self._resolve(path)
            with self._opened(names[:-1], *names[-1:]) as folder:
                return open_plain(names[-1], folder)

    def open_folder(self, path: str) -> int:
        """Return a descriptor of the folder at `path`.

        Raises:
            OSError: As for `open_file`.
        """
        with _named(path), self._opened(self._resolve(path)) as folder:
            return os.dup(folder)

    def walk(self, path: str) -> Iterator[Entry]:
        """Yield all that is below the folder at `path`; nothing where there is no such folder.

        Raises:
            OSError: As for `open_file`; and something below cannot be read.
        """
        try:
            folder = self.open_folder(path)
        except FileNotFoundError:
            return
        try:
            yield from walk(folder, path)
        finally:
            os.close(folder)

    def _resolve(self, path: str) -> list[str]:
        """Return the names on the way to what `path` means to the job; none is a link."""
        waiting, links = _names(path)[::-1], 0
        trail: list[str] = []
        while waiting:
            if len(waiting) + len(trail) > MAX_NAMES:
                raise Refused("has too many parts")
            path = "/".join(["", *trail, *waiting[::-1]])
            name = waiting.pop()
            if name == "..":
                del trail[-1:]
                continue
            try:
                target = self._link(trail, name)
            except LeadsOut:
                raise LeadsOut(path) from None
            except FileNotFoundError:
                if links:
                    raise Refused(f"leads to {shown(path)}, which is not there") from None
                raise
            if target is None:
                trail.append(name)
                continue
            links += 1
            if links > MAX_LINKS:
                raise Refused("is a link that never ends")
            waiting += _names(target)[::-1]
            if target.startswith("/"):
                trail = []
        return trail

    def _link(self, parents: list[str], name: str) -> str | None:
        """Return where the link `name` leads; None where it is no link."""
        path = "/".join(["", *parents, name])
        if any(f"{folder}/".startswith(f"{path}/") for folder in self.folders):
            return None  # on the way to one of our folders, or the folder itself
        with self._opened(parents, name) as folder:
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            return os.readlink(name, dir_fd=folder) if stat.S_ISLNK(status.st_mode) else None

    @contextlib.contextmanager
    def _opened(self, names: list[str], *wanted: str) -> Iterator[int]:
        """Open the folder at these names, one by one from one of the host's own folders."""
        for count in range(len(names), 0, -1):
            top = self.folders.get("/".join(["", *names[:count]]))
            if top is not None:
                break
        else:
            raise LeadsOut("/" + "/".join([*names, *wanted]))
        here = _open_top(top)
        try:
            for name in names[count:]:
                deeper = open_below(name, here)
                os.close(here)
                here = deeper
            yield here
        finally:
            os.close(here)


@contextlib.contextmanager
def _named(path: str) -> Iterator[None]:
    """Let an error name the path that was asked for, not the part of it that failed."""
    try:
        yield
    except FilesGone:
        raise
    except OSError as error:
        error.filename = path
        raise


def _names(path: str) -> list[str]:
    return [name for name in path.split("/") if name not in ("", ".")]


def _open_top(top: Path) -> int:
    try:
        parent = os.open(top.parent, FOLDER)
        try:
            return open_below(top.name, parent)
        finally:
            os.close(parent)
    except FileNotFoundError as error:
        raise FilesGone(error.errno, "was deleted while the job ran", str(top)) from None


def open_below(name: str, folder: int) -> int:
    """Return a descriptor of the folder `name` in an open one; it is never a link.

    A folder without permissions for its owner gets them, since to the job it was open.
    """
    try:
        opened = os.open(name, FOLDER, dir_fd=folder)
    except PermissionError:
        _allow(name, folder, 0o700)
        opened = os.open(name, FOLDER, dir_fd=folder)
    mode = stat.S_IMODE(os.fstat(opened).st_mode)
    if mode & 0o500 != 0o500:
        os.fchmod(opened, mode | 0o500)
    return opened


def open_plain(name: str, folder: int) -> BinaryIO:
    """Open the plain file `name` in an open folder, whatever its permissions are; never a link.

    Raises:
        Refused: It is something else.
        OSError: It cannot be read.
    """
    status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    _check_plain(status)
    try:
        descriptor = os.open(name, PLAIN, dir_fd=folder)
    except PermissionError:
        _allow(name, folder, 0o600)
        descriptor = os.open(name, PLAIN, dir_fd=folder)
        os.fchmod(descriptor, stat.S_IMODE(status.st_mode))
    opened = os.fdopen(descriptor, "rb")
    try:
        _check_plain(os.fstat(descriptor))  # something else may have been put in its place
    except Refused:
        opened.close()
        raise
    return opened


def _check_plain(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise Refused(f"is {kind_of(status)}, not a plain file")


def kind_of(status: os.stat_result) -> str:
    """Return the kind of a file, as text."""
    return KINDS.get(stat.S_IFMT(status.st_mode), "a plain file")


def _allow(name: str, folder: int, mode: int) -> None:
    """Let the owner read `name`: to the job, which is root inside, it was readable.

    Raises:
        OSError: It is a link, or somebody else's.
    """
    if not hasattr(os, "O_PATH"):  # macOS can change a name without following it
        os.chmod(name, mode, dir_fd=folder, follow_symlinks=False)
        return
    descriptor = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        if stat.S_ISLNK(os.fstat(descriptor).st_mode):
            raise Refused("is a symbolic link")
        Path(f"/proc/self/fd/{descriptor}").chmod(mode)
    finally:
        os.close(descriptor)


def walk(folder: int, top: str) -> Iterator[Entry]:
    """Yield all that is below an open folder, by name; a folder before what is in it.

    However deep it goes, two descriptors are open at once. What is deleted while it is looked at is
    left out.

    Raises:
        OSError: A folder cannot be read, or was moved away while it was; `filename` is its path,
            which begins with `top`.
    """
    here = os.dup(folder)
    levels = [(_listed(here), os.fstat(here), "")]
    path = ""
    try:
        while levels:
            names, itself, parent = levels[-1]
            if not names:
                levels.pop()
                here = _back(here, itself, levels[-1][1]) if levels else here
                continue
            name = names.pop()
            path = parent + name
            try:
                status = os.stat(name, dir_fd=here, follow_symlinks=False)
            except FileNotFoundError:
                continue
            yield Entry(top, path, name, here, status)
            if stat.S_ISDIR(status.st_mode):
                if len(levels) > MAX_DEPTH:
                    raise Refused(f"has more than {MAX_DEPTH} folders one inside the other")
                try:
                    deeper = open_below(name, here)
                except FileNotFoundError:
                    continue
                os.close(here)
                here = deeper
                levels.append((_listed(here), status, f"{path}/"))
    except OSError as error:
        error.filename = f"{top}/{path}"
        raise
    finally:
        os.close(here)


def _listed(folder: int) -> list[str]:
    """Return the names in an open folder, the first one last."""
    return sorted(os.listdir(folder), reverse=True)


def _back(here: int, itself: os.stat_result, expected: os.stat_result) -> int:
    """Return the folder above an open one, which must be where we came from.

    The open one is closed, with the permissions that it had.
    """
    above = os.open("..", FOLDER, dir_fd=here)
    if not os.path.samestat(os.fstat(above), expected):
        os.close(above)
        raise Refused("was moved while it was read")
    if os.fstat(here).st_mode != itself.st_mode:
        os.fchmod(here, stat.S_IMODE(itself.st_mode))
    os.close(here)
    return above


def shown(path: str) -> str:
    """Return a file's path as one short line of plain text, whatever its name is made of."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return text if len(text) <= 2 * SHOWN else f"{text[:SHOWN]} … {text[-SHOWN:]}"


def sentence(error: OSError) -> str:
    """Return what is wrong with a job's file, as its path and the cause."""
    between = " " if isinstance(error, (Refused, FilesGone)) else ": "
    return f"{shown(error.filename)}{between}{error.strerror}"
