"""A job's way out of its own view of the machine: each is tried by a real job's script.

A script is root in its namespaces. By mistake or on purpose it may try to take away what covers the
person's folders. What counts is that those are neither seen nor changed; the errors show that each
way was tried, and where it failed.
"""

import ctypes
import os
import sys
from pathlib import Path

import pytest

from tests.support.stub_jobs import BUCKET, REPOSITORY, Account, needs_namespaces, unique

pytestmark = needs_namespaces

CANARY = unique("canary")
FOLDERS = {"checkout": REPOSITORY, "home": Path.home().resolve(), "tmp": Path("/tmp").resolve()}

WAYS = r"""
import ctypes, errno, glob
LIBC = ctypes.CDLL(None, use_errno=True)
BIND, MOVE, RECURSIVE, REMOUNT, LAZILY = 4096, 8192, 16384, 32, 2
NEW_NAMESPACES = 0x10000000 | 0x00020000

def call(name, *arguments):
    encoded = [a.encode() if isinstance(a, str) else a for a in arguments]
    result = getattr(LIBC, name)(*encoded)
    return "done" if result != -1 else errno.errorcode[ctypes.get_errno()]

def mount(source, target, flags=0, kind=None, options=None):
    return call("mount", source, target, kind, ctypes.c_ulong(flags), options)

def look(folder):
    visible = os.path.exists(os.path.join(folder, CANARY))
    if visible:
        Path(folder, CANARY + "-" + way).write_text("by a job")
    return visible

def unmount(folder, flags=0):
    return call("umount2", folder, flags), look(folder)

def unmount_lazily(folder):
    return unmount(folder, LAZILY)

def move(folder):
    return mount(folder, "/mnt", MOVE), look(folder)

def bind_what_holds_it(folder):
    return mount(os.path.dirname(folder), "/mnt", BIND), look("/mnt/" + os.path.basename(folder))

def unmount_in_a_copy(folder):
    if mount("/", "/mnt", BIND | RECURSIVE) != "done":
        return "no copy", False
    return call("umount2", "/mnt" + folder, LAZILY), look("/mnt" + folder)

def overlay_what_holds_it(folder):
    os.makedirs("/tmp/upper", exist_ok=True)
    os.makedirs("/tmp/work", exist_ok=True)
    options = f"lowerdir={os.path.dirname(folder)},upperdir=/tmp/upper,workdir=/tmp/work,userxattr"
    return mount("overlay", "/mnt", 0, "overlay", options), look("/mnt/" + os.path.basename(folder))

def clone_what_holds_it(folder):
    descriptor = LIBC.syscall(428, -100, os.path.dirname(folder).encode(), 1)  # open_tree, CLONE
    if descriptor == -1:
        return errno.errorcode[ctypes.get_errno()], False
    return "done", look(f"/proc/self/fd/{descriptor}/{os.path.basename(folder)}")

def open_by_handle(folder):
    at = os.open(os.path.dirname(folder), os.O_RDONLY)
    handle = ctypes.create_string_buffer(bytes.fromhex(HANDLES[folder]))
    descriptor = LIBC.open_by_handle_at(at, handle, os.O_RDONLY | os.O_DIRECTORY)
    if descriptor == -1:
        return errno.errorcode[ctypes.get_errno()], False
    return "done", look(f"/proc/self/fd/{descriptor}")

def leave_chroot():
    os.makedirs("/tmp/inner", exist_ok=True)
    os.chroot("/tmp/inner")
    for _ in range(50):
        os.chdir("..")
    os.chroot(".")

def enter_new_namespaces():
    if call("unshare", NEW_NAMESPACES) != "done":
        raise OSError(ctypes.get_errno(), "unshare")
    for name, text in (("uid_map", "0 0 1"), ("gid_map", "0 0 1")):
        Path("/proc/self", name).write_text(text)

def unmount_outside_of_a_chroot(folder):
    leave_chroot()
    return unmount(folder)

def unmount_in_new_namespaces(folder):
    leave_chroot()  # in one nobody may make any
    enter_new_namespaces()
    return unmount(folder)

def unmount_after_a_pivot(folder):
    leave_chroot()
    enter_new_namespaces()
    mount("/", "/mnt", BIND | RECURSIVE)
    os.chdir("/mnt")
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    subprocess.run(["pivot_root", ".", "."], check=True)
    call("umount2", ".", LAZILY)
    os.chdir("/")
    return unmount(folder)

def unmount_by_nsenter(folder):
    done = subprocess.run(["nsenter", "--mount=/proc/1/ns/mnt", "umount", folder],
                          capture_output=True, text=True)
    return ("done" if done.returncode == 0 else "refused"), look(folder)

def go_by_proc(folder):
    doors = [*glob.glob("/proc/[0-9]*/cwd"), *glob.glob("/proc/[0-9]*/fd/*")]
    doors += [root + folder for root in glob.glob("/proc/[0-9]*/root")]
    visible = any([look(door) for door in doors])
    outside = [os.readlink(door) for door in glob.glob("/proc/1/fd/*") + ["/proc/1/cwd"]]
    return sorted({name.partition(":")[0] for name in outside}), visible

def tried(folder):
    reading, writing = os.pipe()
    if os.fork() == 0:
        try:
            outcome = globals()[way](folder)
        except (OSError, subprocess.CalledProcessError) as error:
            outcome = f"{type(error).__name__}: {error}", False
        os.write(writing, json.dumps(outcome).encode())
        os._exit(0)
    os.close(writing)
    with open(reading) as pipe:
        return json.load(pipe)

for way in NAMES:
    tell(**{way: {name: tried(folder) for name, folder in FOLDERS.items()}})
"""

LOCKED = {"EINVAL"}
EXPECTED = {
    "unmount": LOCKED,
    "unmount_lazily": LOCKED,
    "move": LOCKED,
    "bind_what_holds_it": LOCKED,
    "unmount_in_a_copy": LOCKED,
    "overlay_what_holds_it": LOCKED,
    "clone_what_holds_it": LOCKED,
    "open_by_handle": {"EPERM"},
    "unmount_in_new_namespaces": {"EINVAL"},
    "unmount_after_a_pivot": {"EINVAL"},
    "unmount_by_nsenter": {"refused"},
    "unmount_outside_of_a_chroot": {"EINVAL"},
}


@pytest.fixture(scope="module")
def account(stub_aws):
    return Account(stub_aws.environment, stub_aws.role_arn)


def handle_of(folder: Path) -> str:
    """Return what open_by_handle_at(2) opens a folder with, where its file system gives one."""
    handle = ctypes.create_string_buffer((128).to_bytes(4, sys.byteorder), 8 + 128)
    mount = ctypes.c_int()
    call = ctypes.CDLL(None, use_errno=True).name_to_handle_at
    if call(-100, os.fsencode(folder), handle, ctypes.byref(mount), 0):
        pytest.skip(f"{folder}: {os.strerror(ctypes.get_errno())}")
    return handle.raw.hex()


@pytest.fixture(scope="module", params=["the machine's root", "a root of its own"])
def tried(request, account):
    """Return what a job prints of every way, in both kinds of root folder that a host may have."""
    changes = {}
    if request.param == "a root of its own":
        uri = f"s3://{BUCKET}/{unique('checkpoints')}"
        changes["CheckpointConfig"] = {"S3Uri": uri, "LocalPath": f"/{unique('state')}"}
    values = {
        "CANARY": CANARY,
        "NAMES": [*EXPECTED, "go_by_proc"],
        "FOLDERS": {name: str(folder) for name, folder in FOLDERS.items()},
        "HANDLES": {str(folder): handle_of(folder) for folder in FOLDERS.values()},
    }
    script = "".join(f"{name} = {value!r}\n" for name, value in values.items()) + WAYS
    canaries = [folder / CANARY for folder in FOLDERS.values()]
    try:
        for canary in canaries:
            canary.write_text("alive")
        description = account.run(script, **changes)
        name = description["TrainingJobName"]
        assert description["TrainingJobStatus"] == "Completed", account.log(name)
        facts = account.facts(name)
        assert [canary.read_text() for canary in canaries] == ["alive"] * len(canaries)
        yield facts, sorted(p.name for c in canaries for p in c.parent.glob(f"{CANARY}-*"))
    finally:
        for canary in canaries:
            for path in canary.parent.glob(f"{CANARY}*"):
                path.unlink()


@pytest.mark.parametrize("way", [*EXPECTED, "go_by_proc"])
def test_no_way_leads_to_the_persons_folders(tried, way):
    facts, written = tried
    assert {name: visible for name, (_, visible) in facts[way].items()} == dict.fromkeys(
        FOLDERS, False
    )
    assert f"{CANARY}-{way}" not in written


@pytest.mark.parametrize(("way", "errors"), EXPECTED.items())
def test_every_way_was_tried_and_is_locked(tried, way, errors):
    facts, _ = tried
    assert {outcome for outcome, _ in facts[way].values()} <= errors


WAYS_TO_WRITE = """
import errno, ctypes
LIBC = ctypes.CDLL(None, use_errno=True)
BIND, MOVE, REMOUNT = 4096, 8192, 32
channel = os.environ["SM_CHANNEL_TRAIN"].encode()

def write(folder):
    try:
        Path(os.fsdecode(folder), "a.csv").write_text("by a job")
        return "written"
    except OSError as error:
        return errno.errorcode[error.errno]

def tried(result, folder=channel):
    return ["done" if result == 0 else errno.errorcode[ctypes.get_errno()], write(folder)]

def mount(source, target, flags):
    return LIBC.mount(source, target, None, ctypes.c_ulong(flags), None)

tell(
    remounted=tried(mount(None, channel, REMOUNT | BIND)),
    remounted_alone=tried(mount(None, channel, REMOUNT)),
    unmounted=tried(LIBC.umount2(channel, 0)),
    unmounted_lazily=tried(LIBC.umount2(channel, 2)),
    moved=tried(mount(channel, b"/mnt", MOVE)),
    bound=tried(mount(channel, b"/mnt", BIND), b"/mnt"),
    above=tried(mount(b"/opt/ml/input/data", b"/srv", BIND), b"/srv/train"),
    again=Path(os.fsdecode(channel), "a.csv").read_text(),
)
"""


def test_a_read_only_channel_stays_so(account):
    key = account.put(f"{unique('data')}/a.csv", "from S3")
    channels = {"train": (key.rpartition("/")[0], "FullyReplicated")}
    request = account.request(WAYS_TO_WRITE, channels=channels)
    request["InputDataConfig"][0]["InputMode"] = "FastFile"
    account.sagemaker.create_training_job(**request)
    description = account.wait(request["TrainingJobName"])
    name = description["TrainingJobName"]
    assert description["TrainingJobStatus"] == "Completed", account.log(name)
    assert account.facts(name) == {
        "remounted": ["EPERM", "EROFS"],
        "remounted_alone": ["EPERM", "EROFS"],
        "unmounted": ["EINVAL", "EROFS"],
        "unmounted_lazily": ["EINVAL", "EROFS"],
        "moved": ["EINVAL", "EROFS"],
        "bound": ["done", "EROFS"],
        "above": ["EINVAL", "ENOENT"],
        "again": "from S3",
    }
