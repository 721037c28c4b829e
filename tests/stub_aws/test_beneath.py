"""The stub's view of a job's files: every path means what it means to the job, or is refused."""

import errno
import os
import re
import tarfile
from pathlib import Path

import pytest

from stub_aws import beneath, packing
from stub_aws.beneath import FilesGone, Refused, View, shown
from stub_aws.ends import Patience
from stub_aws.packing import Left, Packer, UploadError


@pytest.fixture
def host(tmp_path):
    """Return the folders of one host, and beside them what is not the job's."""
    for folder in ("ml/output/data", "ml/model", "cover", "state", "person"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "person" / "secret").write_text("secret")
    (tmp_path / "ml" / "output" / "why").write_text("why")
    (tmp_path / "cover" / "why").write_text("temporary")
    (tmp_path / "state" / "why").write_text("apart")
    return tmp_path


@pytest.fixture
def view(host):
    folders = {"/opt/ml": host / "ml", "/tmp": host / "cover", "/opt/ml/apart": host / "state"}
    return View(folders)


def read(view: View, path: str) -> str:
    with view.open_file(path) as file:
        return file.read().decode()


@pytest.mark.parametrize(
    ("target", "content"),
    [
        ("why", "why"),
        ("./../output//why", "why"),
        ("/opt/ml/output/why", "why"),
        ("/opt/ml/../../opt/ml/output/why", "why"),
        ("/../opt/ml/output/why", "why"),  # there is nothing above the root
        ("/tmp/why", "temporary"),
        ("../../../tmp/why", "temporary"),
        ("/opt/ml/apart/why", "apart"),  # another folder of the host, put there
        ("../apart/../output/why", "why"),
    ],
)
def test_a_link_means_what_it_means_to_the_job(host, view, target, content):
    (host / "ml" / "output" / "failure").symlink_to(target)
    assert read(view, "/opt/ml/output/failure") == content


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("/etc/passwd", "leads out of the job's own files, to /etc/passwd"),
        ("../../../person/secret", "leads out of the job's own files, to /person/secret"),
        ("../../../../../..{root}/person/secret", "leads .*to {root}/person/secret"),
        ("{root}/person/secret", "leads .*to {root}/person/secret"),
        ("/proc/self/root/etc/passwd", "leads out of the job's own files, to /proc/self/root/etc"),
        ("/opt", "leads out of the job's own files, to /opt"),
        ("/", "leads out of the job's own files, to /"),
        ("nothing/at/all", "leads to /opt/ml/output/nothing/at/all, which is not there"),
        ("failure", "is a link that never ends"),
        ("/".join(["data/.."] * 200) + "/why", "has too many parts"),
        ("data", "is a folder, not a plain file"),
    ],
)
def test_a_link_that_leads_out_or_nowhere_is_refused(host, view, target, why):
    root = str(host)
    (host / "ml" / "output" / "failure").symlink_to(target.format(root=root))
    with pytest.raises(Refused) as caught:
        view.open_file("/opt/ml/output/failure")
    assert re.match(why.format(root=re.escape(root)), caught.value.strerror)
    assert caught.value.filename == "/opt/ml/output/failure"


def test_a_chain_of_links_ends_at_the_fortieth(host, view):
    output = host / "ml" / "output"
    (output / "link-0").symlink_to("why")
    for number in range(1, 41):
        (output / f"link-{number}").symlink_to(f"link-{number - 1}")
    assert read(view, "/opt/ml/output/link-39") == "why"
    with pytest.raises(Refused, match="never ends"):
        view.open_file("/opt/ml/output/link-40")


def test_what_is_not_there_is_told_from_a_host_whose_files_are_gone(host, view):
    with pytest.raises(FileNotFoundError):
        view.open_file("/opt/ml/output/none")
    assert list(view.walk("/opt/ml/none")) == []
    (host / "ml").rename(host / "away")
    for look in (view.open_file, view.open_folder, lambda path: list(view.walk(path))):
        with pytest.raises(FilesGone, match="was deleted while the job ran"):
            look("/opt/ml/output/why")


def test_a_host_whose_own_folder_became_a_link_is_not_followed(host, view):
    (host / "ml").rename(host / "away")
    (host / "ml").symlink_to(host / "away")
    with pytest.raises(OSError, match=r"Not a directory|Too many levels") as caught:
        view.open_file("/opt/ml/output/why")
    assert caught.value.filename == "/opt/ml/output/why"


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_what_is_put_in_a_files_place_after_the_look_is_not_opened(host, view, monkeypatch, kind):
    """Between the look and the opening a process of the job may do anything."""
    path = host / "ml" / "output" / "why"
    look = beneath._check_plain
    looks = []

    def swap(status):
        look(status)
        if not looks:
            path.unlink()
            path.symlink_to(host / "person" / "secret") if kind == "link" else os.mkfifo(path)
        looks.append(status)

    monkeypatch.setattr(beneath, "_check_plain", swap)
    with pytest.raises(OSError, match=r"Too many levels|not a plain file"):
        view.open_file("/opt/ml/output/why")


def test_what_is_put_in_a_folders_place_is_not_entered(host, view, monkeypatch):
    link = View._link

    def swap(self, parents, name):
        target = link(self, parents, name)
        if name == "why":
            (host / "ml" / "output").rename(host / "ml" / "moved")
            (host / "ml" / "output").symlink_to(host / "person")
        return target

    monkeypatch.setattr(View, "_link", swap)
    with pytest.raises(OSError, match=r"Not a directory|Too many levels"):
        view.open_file("/opt/ml/output/why")


# --- walking --------------------------------------------------------------------------------------


def test_a_walk_comes_in_the_order_of_names_and_follows_nothing(host, view):
    model = host / "ml" / "model"
    for name in ("b/c/d", "a/x", "b.txt", "z"):
        (model / name).parent.mkdir(parents=True, exist_ok=True)
        (model / name).touch()
    (model / "link").symlink_to(host / "person")
    entries = [(entry.path, entry.kind) for entry in view.walk("/opt/ml/model")]
    assert entries == [
        ("a", "a folder"),
        ("a/x", "a plain file"),
        ("b", "a folder"),
        ("b/c", "a folder"),
        ("b/c/d", "a plain file"),
        ("b.txt", "a plain file"),
        ("link", "a symbolic link"),
        ("z", "a plain file"),
    ]


def test_a_walk_has_two_descriptors_open_however_deep_it_goes(host, view):
    folder = host / "ml" / "model"
    for _ in range(50):
        folder /= "d"
        folder.mkdir()

    def opened() -> int:
        return len(list(Path("/dev/fd").iterdir()))

    before = opened()
    most = max(opened() for _ in view.walk("/opt/ml/model"))
    assert most - before <= 2
    assert opened() == before


def test_a_folder_that_is_moved_away_meanwhile_leads_the_walk_nowhere_else(host, view):
    inner = host / "ml" / "model" / "a" / "b"
    inner.mkdir(parents=True)
    (inner / "x").touch()
    paths = []

    def follow() -> None:
        for entry in view.walk("/opt/ml/model"):
            paths.append(entry.path)
            if entry.path == "a/b/x":
                inner.rename(host / "person" / "b")

    with pytest.raises(Refused, match="was moved while it was read"):
        follow()
    assert paths == ["a", "a/b", "a/b/x"]


def test_what_is_deleted_meanwhile_is_left_out(host, view):
    model = host / "ml" / "model"
    for name in "abc":
        (model / name).mkdir()
    paths = []
    for entry in view.walk("/opt/ml/model"):
        paths.append(entry.path)
        if entry.path == "a":
            (model / "a").rmdir()
            (model / "b").rmdir()
    assert paths == ["a", "c"]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/opt/ml/ü", "/opt/ml/ü"),
        (os.fsdecode(b"/a\xff"), "/a\\xff"),
        ("a\nb\x1b\u202e", "a\\nb\\x1b\\u202e"),
        ("x" * 1000, "x" * 200 + " … " + "x" * 200),
    ],
)
def test_a_path_is_shown_as_one_line_of_text(path, text):
    assert shown(path) == text


# --- packing --------------------------------------------------------------------------------------


class Endless(Patience):
    def __init__(self) -> None:
        """Never lose it."""

    def check(self, *_: object) -> None:
        """Go on."""


def pack(view: View, archive: Path) -> bool:
    return Packer(Endless(), print).pack([Left("algo-1", view)], "/opt/ml/model", archive)


def test_a_file_that_becomes_shorter_while_it_is_packed_is_named(host, view, tmp_path, monkeypatch):
    file = host / "ml" / "model" / "big"
    file.write_bytes(b"x" * 1_000_000)
    read = packing._Pieces.read

    def cut(self, size):
        os.truncate(file, 1000)
        return read(self, size)

    monkeypatch.setattr(packing._Pieces, "read", cut)
    with pytest.raises(UploadError, match=r"/opt/ml/model/big became shorter \(algo-1\)"):
        Packer(Endless(), print).pack(
            [Left("algo-1", view)], "/opt/ml/model", tmp_path / "a.tar.gz"
        )


def test_a_disk_without_room_for_the_archive_is_the_reason(host, view, tmp_path, monkeypatch):
    (host / "ml" / "model" / "m").touch()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tarfile.TarFile, "addfile", full)
    with pytest.raises(UploadError) as caught:
        Packer(Endless(), print).pack(
            [Left("algo-1", view)], "/opt/ml/model", tmp_path / "a.tar.gz"
        )
    assert str(caught.value) == (
        "ClientError: Artifact upload failed:a.tar.gz cannot be written on this machine: "
        "No space left on device"
    )
