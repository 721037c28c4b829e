"""workshop/safe_tar.py: what it refuses, what it lets through, and that nothing lands elsewhere."""

from __future__ import annotations

import io
import os
import random
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from workshop import safe_tar

UNSAFE = safe_tar.UnsafeArchiveError


def file(name: str, content: str = "x", mode: int = 0o644) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), mode
    return info, content.encode()


def other(name: str, kind: bytes, target: str = "") -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info, b""


def folder(name: str) -> tuple[tarfile.TarInfo, bytes]:
    return other(name, tarfile.DIRTYPE)


def symlink(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    return other(name, tarfile.SYMTYPE, target)


def hard_link(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    return other(name, tarfile.LNKTYPE, target)


def with_null(name: str) -> tuple[tarfile.TarInfo, bytes]:
    """Return a file whose name holds a null character, as only an extended header can."""
    info, content = file(name)
    info.pax_headers = {"path": f"{name}\0"}
    return info, content


def make(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    return path


def tree(top: Path) -> dict[str, str]:
    """Return all that is below a folder: the content of files, and where links lead."""
    entries = {}
    for path in sorted(top.rglob("*")):
        if path.is_symlink():
            entries[str(path.relative_to(top))] = f"-> {path.readlink()}"
        elif path.is_dir():
            entries[str(path.relative_to(top))] = "folder"
        else:
            entries[str(path.relative_to(top))] = path.read_text()
    return entries


OUTSIDE = "would be extracted outside the destination"
LEADS_OUT = "would link to outside the destination"
ABSOLUTE = "is a link to an absolute path"
NOTHING = "is a link to nothing in the archive"
REFUSED = {
    "up": ([file("../evil")], OUTSIDE),
    "up, further in": ([file("a/../../evil")], OUTSIDE),
    "up, after a slash": ([file("/../evil")], OUTSIDE),
    "up, as a folder": ([folder("..")], OUTSIDE),
    "up and back": ([file("a/../evil")], OUTSIDE),
    "a null character": ([with_null("evil")], OUTSIDE),
    "a link to an absolute path": ([symlink("l", "/etc/passwd")], ABSOLUTE),
    "a link up": ([symlink("l", "..")], LEADS_OUT),
    "a link up, further in": ([folder("a"), symlink("a/l", "../../a")], LEADS_OUT),
    "a link up over a folder": ([folder("a"), symlink("l", "a/../..")], LEADS_OUT),
    # Read as text it stays inside: a/up/../evil. But a/up is a link to the top.
    "a link up through another": (
        [file("a/evil"), symlink("a/up", ".."), symlink("l", "a/up/../evil")],
        LEADS_OUT,
    ),
    "the same, before that other": (
        [file("a/evil"), symlink("l", "a/up/../evil"), symlink("a/up", "..")],
        LEADS_OUT,
    ),
    "a link to nothing": ([symlink("l", "none")], NOTHING),
    "a link through a file": ([file("f"), symlink("l", "f/../f")], NOTHING),
    "a link to itself": ([symlink("l", "l")], NOTHING),
    "links in a circle": ([symlink("l", "m"), symlink("m", "l")], NOTHING),
    "a hard link up": ([hard_link("l", "../secret")], OUTSIDE),
    "a hard link to an absolute path": ([hard_link("l", "/etc/passwd")], ABSOLUTE),
    "a hard link to nothing": ([hard_link("l", "none")], "is no file before it"),
    "a hard link to what comes later": ([hard_link("l", "f"), file("f")], "is no file before it"),
    "a hard link to a link": (
        [file("f"), symlink("s", "f"), hard_link("l", "s")],
        "is no file before it",
    ),
    "a hard link to a folder": ([folder("a"), hard_link("l", "a")], "is no file before it"),
    "a file below a link": ([folder("a"), symlink("l", "a"), file("l/f")], "no folder"),
    "a folder below a link": ([folder("a"), symlink("l", "a"), folder("l/f")], "no folder"),
    "a link below a link": ([folder("a"), symlink("l", "a"), symlink("l/f", "f")], "no folder"),
    "a file below a file": ([file("f"), file("f/g")], "no folder"),
    "a file in the place of a link": ([file("f"), symlink("l", "f"), file("l")], "place of a link"),
    "a folder in the place of a link": (
        [folder("a"), symlink("l", "a"), folder("l")],
        "place of a link",
    ),
    "a link in the place of a file": ([file("f"), file("l"), symlink("l", "f")], "place of a file"),
    "a second link": (
        [file("f"), symlink("l", "f"), symlink("l", "..")],
        "place of a link",
    ),
    "a file in the place of a folder": ([folder("a"), file("a")], "place of a folder"),
    "a file as the folder itself": ([file("./")], "place of a folder"),
    "a FIFO": ([other("f", tarfile.FIFOTYPE)], "special file"),
    "a character device": ([other("f", tarfile.CHRTYPE)], "special file"),
    "a block device": ([other("f", tarfile.BLKTYPE)], "special file"),
    "an unknown kind": ([other("f", b"V")], "special file"),
}


@pytest.mark.parametrize(("members", "sentence"), REFUSED.values(), ids=REFUSED)
def test_what_is_unsafe_is_refused_and_nothing_unpacked(tmp_path, members, sentence):
    archive = make(tmp_path / "a.tar.gz", file("good"), *members)
    with pytest.raises(UNSAFE, match=sentence):
        safe_tar.unpack(archive, tmp_path / "in" / "out")
    assert [path.name for path in tmp_path.rglob("*")] == ["a.tar.gz"]


LET_THROUGH = {
    "as tar packs the folder .": (
        [folder("./"), file("./f"), folder("./a"), file("./a/g")],
        {"f": "x", "a": "folder", "a/g": "x"},
    ),
    "a slash at the front": ([file("/etc/f")], {"etc": "folder", "etc/f": "x"}),
    "an empty folder": ([folder("a/b")], {"a": "folder", "a/b": "folder"}),
    "the later of two": ([file("f", "old"), file("f", "new")], {"f": "new"}),
    "a folder twice": ([folder("a"), file("a/f"), folder("a")], {"a": "folder", "a/f": "x"}),
    "two dots in a name": ([file("a..b"), file("..c")], {"a..b": "x", "..c": "x"}),
    "links": (
        [symlink("l", "f"), file("f"), folder("a"), symlink("a/up", "../f"), symlink("b", "a/")],
        {"l": "-> f", "f": "x", "a": "folder", "a/up": "-> ../f", "b": "-> a"},
    ),
    "links through links": (
        [symlink("now", "best"), symlink("best", "a/1"), file("a/1/f"), symlink("g", "now/f")],
        {"a": "folder", "a/1": "folder", "a/1/f": "x", "best": "-> a/1"}
        | {"g": "-> now/f", "now": "-> best"},
    ),
    "a link to the whole": ([folder("a"), symlink("a/up", "..")], {"a": "folder", "a/up": "-> .."}),
    "hard links": (
        [file("f"), hard_link("a/l", "./f"), hard_link("f", "f")],
        {"f": "x", "a": "folder", "a/l": "x"},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("members", "expected"), LET_THROUGH.values(), ids=LET_THROUGH)
def test_what_is_safe_is_unpacked(tmp_path, members, expected):
    archive, target = make(tmp_path / "a.tar.gz", *members), tmp_path / "in" / "out"
    for _ in range(2):  # again, over what is there
        files = safe_tar.unpack(archive, target)
        assert tree(target) == dict(sorted(expected.items()))
        assert files == [target / name for name in sorted(expected) if (target / name).is_file()]


def test_other_files_of_the_folder_stay(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "mine").write_text("mine")
    safe_tar.unpack(make(tmp_path / "a.tar.gz", file("a/f"), file("g")), tmp_path)
    (tmp_path / "a.tar.gz").unlink()
    assert tree(tmp_path) == {"a": "folder", "a/f": "x", "a/mine": "mine", "g": "x"}


def test_a_link_comes_in_the_place_of_a_file(tmp_path):
    target = tmp_path / "out"
    safe_tar.unpack(make(tmp_path / "1.tar.gz", file("best", "old"), file("1")), target)
    safe_tar.unpack(make(tmp_path / "2.tar.gz", file("1", "new"), symlink("best", "1")), target)
    assert tree(target) == {"1": "new", "best": "-> 1"}


def test_nothing_is_written_through_a_link_that_was_there(tmp_path):
    """One archive may leave a link to the top; the next must not climb by it."""
    target, secret = tmp_path / "out", tmp_path / "secret"
    secret.write_text("secret")
    safe_tar.unpack(make(tmp_path / "1.tar.gz", folder("a/b"), symlink("a/b/l", "../..")), target)
    second = make(tmp_path / "2.tar.gz", folder("a/b/l"), symlink("m", "a/b/l/.."))
    safe_tar.unpack(second, target)
    assert (target / "m").resolve() == target / "a" / "b"
    (target / "f").symlink_to(secret)
    (target / "g").symlink_to(tmp_path)
    safe_tar.unpack(make(tmp_path / "3.tar.gz", file("f"), file("g/secret")), target)
    assert secret.read_text() == "secret"
    assert (target / "f").read_text() == (target / "g" / "secret").read_text() == "x"


PERMISSIONS = {
    0o4755: 0o755,
    0o2777: 0o755,
    0o1666: 0o644,
    0o000: 0o600,
    0o600: 0o600,
    0o611: 0o600,
}


@pytest.mark.parametrize(("mode", "expected"), PERMISSIONS.items(), ids=oct)
def test_permissions_are_those_of_data(tmp_path, mode, expected):
    (path,) = safe_tar.unpack(make(tmp_path / "a.tar.gz", file("f", mode=mode)), tmp_path / "out")
    assert path.stat().st_mode & 0o7777 == expected


def test_a_folder_without_permissions_can_be_entered(tmp_path):
    closed = folder("a")
    closed[0].mode = 0
    safe_tar.unpack(make(tmp_path / "a.tar.gz", closed, file("a/f")), tmp_path / "out")
    assert (tmp_path / "out" / "a").stat().st_mode & 0o700 == 0o700


def test_all_belongs_to_whoever_unpacks(tmp_path):
    """Root could give files away, as a bare `tarfile` does."""
    members = file("f"), folder("a")
    for info, _ in members:
        info.uid = info.gid = 12345
    safe_tar.unpack(make(tmp_path / "a.tar.gz", *members), tmp_path / "out")
    owners = {(path.stat().st_uid, path.stat().st_gid) for path in (tmp_path / "out").iterdir()}
    assert owners == {(os.geteuid(), (tmp_path / "out").stat().st_gid)}


def test_a_negative_size_is_damage(tmp_path):
    """It makes `tarfile` read the same member without end, so it runs in a process of its own."""
    first, second = (tarfile.TarInfo(name).tobuf(tarfile.GNU_FORMAT) for name in "fg")
    header = bytearray(second)
    header[124:136] = tarfile.itn(-512, 12, tarfile.GNU_FORMAT)
    header[148:156] = b"%06o\0 " % tarfile.calc_chksums(bytes(header))[0]
    (tmp_path / "a.tar").write_bytes(first + bytes(header) + bytes(1024))
    program = (
        "import safe_tar, pathlib; safe_tar.unpack(pathlib.Path('a.tar'), pathlib.Path('out'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(safe_tar.__file__).parent)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stderr.splitlines()[-1].endswith("ReadError: 'g' has a negative size")
    assert not (tmp_path / "out").exists()


# ---- many archives, made by chance ----

NAMES = ("a", "b", "a/b", "a/b/c", "b/d", "./a", "/b", "a/..", "../a", "a/../../b", ".", "b/c/..")
TARGETS = (*NAMES, "..", "../b", "../..", "../../b", "a/b/..", "b/../..", "/etc/passwd")


def random_members(seed: int) -> list[tuple[tarfile.TarInfo, bytes]]:
    choose = random.Random(seed)  # noqa: S311 - no secret
    kinds = (file, folder, symlink, symlink, hard_link)
    members = []
    for kind in choose.choices(kinds, k=choose.randint(1, 6)):
        # Most names are harmless, or hardly an archive would be let through.
        name = choose.choice(NAMES if choose.random() < 0.1 else NAMES[:7])
        linked = (choose.choice(TARGETS),) if kind in (symlink, hard_link) else ()
        members.append(kind(name, *linked))
    return members


def refused_by_the_filter(archive: Path, target: Path) -> bool:
    """Return whether Python's own filter refuses it. False where it fails in another way."""
    try:
        with tarfile.open(archive) as tar:
            tar.extractall(target, filter="data")
    except tarfile.FilterError:
        return True
    except (OSError, KeyError):
        return False
    return False


def test_nothing_lands_outside_whatever_the_archive(tmp_path):
    verdicts = {"refused": 0, "let through": 0}
    for seed in range(1500):
        top = tmp_path / str(seed)
        target = top / "in" / "out"
        target.mkdir(parents=True)
        archive = make(top / "a.tar.gz", *random_members(seed))
        before = tree(target)
        try:
            safe_tar.unpack(archive, target)
            verdicts["let through"] += 1
        except UNSAFE:
            verdicts["refused"] += 1
            assert tree(target) == before, seed
        else:
            inside = [path.resolve(strict=True) for path in target.rglob("*")]
            assert all(path.is_relative_to(target) for path in inside), seed
            if hasattr(tarfile, "data_filter"):
                assert not refused_by_the_filter(archive, top / "filtered"), seed
        left = {path.name for path in top.iterdir()} - {"filtered"}
        assert left == {"a.tar.gz", "in"}, seed
        assert [path.name for path in (top / "in").iterdir()] == ["out"], seed
    assert min(verdicts.values()) > 100, verdicts
