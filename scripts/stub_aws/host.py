"""The supervisor of one host of a training job: process 1 of its "instance".

The stub starts it with a JSON specification as its only argument, by `unshare` where the kernel
allows a user, mount, UTS and process namespace of its own. It then makes the host look like
SageMaker's (an `/opt/ml` of its own, its own `/etc/hosts`, hostname, `/tmp` and home), locks that
view, runs the container's command, and ends with the command's exit code.

Its standard input is its lifeline. A line `stop` asks the processes of the job to end (SIGTERM),
`kill` ends them; so does the end of the stream, whatever killed the stub. Nothing of this package
is imported, and where there are namespaces only the standard library, so that it starts in
milliseconds. Without a process namespace what a job leaves running becomes a child of this process
where the system can do that (Linux), and `psutil` finds it.
"""

import contextlib
import ctypes
import fcntl
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

# From <sys/mount.h>. A process for each mount, as `mount` is, would take longer than all the rest.
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_NOATIME, MS_NODIRATIME, MS_BIND, MS_REC, MS_PRIVATE = 1 << 10, 1 << 11, 1 << 12, 1 << 14, 1 << 18
CLONE_NEWNS, CLONE_NEWUSER = 0x00020000, 0x10000000  # from <sched.h>
NOT_SET_UP = 125  # the exit code when there is no host for the command


def main() -> int:
    spec = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    if spec["namespace"]:
        try:
            enter_namespace(spec)
        except OSError as error:
            print(f"stub AWS: this host could not be set up: {error}", flush=True)
            return NOT_SET_UP
    else:
        adopt_orphans()
    child = subprocess.Popen(
        spec["command"],
        env=spec["environment"],
        cwd=spec["working_directory"],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    threading.Thread(target=follow_lifeline, args=(child.pid, spec), daemon=True).start()
    code = wait_for_all(child.pid, spec["namespace"])
    end_all(child.pid, spec)
    return code if code >= 0 else 128 - code  # as a shell says "ended by signal N"


def follow_lifeline(group: int, spec: dict) -> None:
    for line in sys.stdin:
        if line.strip() == "kill":
            break
        send(group, signal.SIGTERM)
    end_all(group, spec)
    os._exit(137)


def end_all(group: int, spec: dict) -> None:
    """End what still runs. With a process namespace the kernel does the rest when we end."""
    send(group, signal.SIGKILL)
    if not spec["namespace"]:
        for process in end_escaped(spec["environment"]["SAGEMAKER_BASE_DIR"]):
            print(f"stub AWS: process {process.pid} of this job could not be ended", flush=True)


def adopt_orphans() -> None:
    """Become the parent of every process that the job detaches from its own, as process 1 is."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER


def end_escaped(mark: str) -> list:
    """End the processes that left the group, as daemons do. Return those that will not end.

    They are our children, where the system lets us adopt them, or have this host's environment.
    """
    import psutil  # not needed, and not to be waited for, where there are namespaces

    here = psutil.Process()
    escaped = set()
    for _ in range(100):  # one may start another while we look
        marked = {process for process in psutil.process_iter() if carries_mark(process, mark)}
        escaped = marked | set(here.children(recursive=True))
        if not escaped:
            break
        for process in escaped:
            with contextlib.suppress(psutil.Error):  # it has ended, or is another user's
                process.kill()
        psutil.wait_procs(escaped, timeout=0.1)
    return sorted(escaped, key=lambda process: process.pid)


def carries_mark(process, mark: str) -> bool:
    """Return whether a process (of psutil's) has the environment of a host.

    `mark` is the host's base folder. A process that has cleared its environment does not have it.
    """
    import psutil

    try:
        return bool(process.environ().get("SAGEMAKER_BASE_DIR") == mark)
    except psutil.Error:
        return False  # it has ended, or is another user's


def send(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)


def wait_for_all(pid: int, isolated: bool) -> int:
    """Return the exit code of process `pid`. What it leaves running ends with it.

    After a stop its children may still be saving what they have: they are waited for.
    """
    ended, status = 0, 0
    while ended != pid:
        ended, status = os.waitpid(-1, 0)
    code = os.waitstatus_to_exitcode(status)
    while code == -signal.SIGTERM and others_live(pid, isolated):
        time.sleep(0.02)
    return code


def others_live(group: int, isolated: bool) -> bool:
    """Return whether other processes of this container still run."""
    children = True
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        children = False
    return children if isolated else group_lives(group)


def group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


# ---- Inside the namespaces ---------------------------------------------------------------------


class Pins(contextlib.ExitStack):
    """Open files, by which they are reached whatever is mounted over their paths meanwhile."""

    def pin(self, path: str) -> str:
        """Return another path of the same file. No mount option misreads it, as it may a comma."""
        descriptor = os.open(path, os.O_PATH)
        self.callback(os.close, descriptor)
        return f"/proc/self/fd/{descriptor}"


def enter_namespace(spec: dict) -> None:
    """Give the host the file system of a SageMaker instance, seen by no other process.

    Raises:
        OSError: The kernel refuses.
    """
    mount(None, "/", flags=MS_REC | MS_PRIVATE)
    share_cores(spec["cores"], spec["cores_file"])
    if spec["offline"]:
        raise_loopback()
    mount(spec["hosts_file"], "/etc/hosts", flags=MS_BIND)
    socket.sethostname(spec["hostname"])
    # No pin may be left when the job starts: its processes could look behind a cover by it.
    with Pins() as pins:
        arrange(spec, Path(pins.pin(spec["root"])), pins)
    lock()
    if spec["appearing"] or spec["writable_root"]:
        os.chroot(".")


def arrange(spec: dict, root: Path, pins: Pins) -> None:
    """Mount all that differs from this machine, and change to the root folder of the job."""
    for number, path in enumerate(spec["overlaid"]):
        protect(path, pins.pin(path), root / "written" / str(number))
    shown = {target: pins.pin(source) for target, source in spec["binds"].items()}
    shown |= {path: pins.pin(path) for path in spec["kept"]}
    for path, cover in spec["covered"].items():
        hide(path, root / "covers" / cover, shown, spec)
    for path in spec["read_only"]:
        make_read_only(path)
    appearing = {target: shown[target] for target in spec["appearing"]}
    is_new = appearing or spec["writable_root"]
    os.chdir(new_root(root / "root", appearing) if is_new else "/")


def lock() -> None:
    """Let no process of the job unmount, move or make writable again what is mounted now.

    The kernel holds together what a mount namespace inherits from that of another user namespace
    (mount_namespaces(7), "Restrictions on mount namespaces"), so the job gets one more of each.
    """
    call("unshare", CLONE_NEWUSER | CLONE_NEWNS)
    for name, text in (("setgroups", "deny"), ("uid_map", "0 0 1"), ("gid_map", "0 0 1")):
        Path("/proc/self", name).write_text(text, encoding="ascii")


def share_cores(cores: list[int], listed: str) -> None:
    """Keep the host to its cores, and let what counts them (os.cpu_count) see no others."""
    if len(cores) < len(os.sched_getaffinity(0)):
        os.sched_setaffinity(0, cores)
        mount(listed, "/sys/devices/system/cpu/online", flags=MS_BIND)


def raise_loopback() -> None:
    """Set the loopback device up (IFF_UP): in a new network namespace it is down."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as device:
        fcntl.ioctl(device, 0x8914, struct.pack("16sh", b"lo", 0x41))  # SIOCSIFFLAGS, UP | RUNNING


def make_read_only(path: str) -> None:
    """Remount a path, with the flags that the mount has: a user namespace may not clear
    them."""
    mount(path, path, flags=MS_BIND)
    flags = os.statvfs(path).f_flag
    names = {os.ST_NOSUID: MS_NOSUID, os.ST_NODEV: MS_NODEV, os.ST_NOEXEC: MS_NOEXEC}
    names |= {os.ST_NOATIME: MS_NOATIME, os.ST_NODIRATIME: MS_NODIRATIME}
    preserved = sum(flag for name, flag in names.items() if flags & name)
    mount(None, path, flags=MS_REMOUNT | MS_BIND | MS_RDONLY | preserved)


def new_root(new: Path, appearing: dict[str, str]) -> Path:
    """Make a root in which folders appear where the real one has none, such as `/state`."""
    new.mkdir()
    mount("tmpfs", str(new), kind="tmpfs")
    for entry in Path("/").iterdir():
        twin = new / entry.name
        if str(entry) in appearing:
            continue
        if entry.is_symlink():
            twin.symlink_to(entry.readlink())
        elif is_folder(entry):
            twin.mkdir()
            mount(str(entry), str(twin), flags=MS_BIND | MS_REC)
    for target, source in appearing.items():
        point = new / target.lstrip("/")
        point.mkdir(parents=True, exist_ok=True)
        mount(source, str(point), flags=MS_BIND)
    return new


def protect(path: str, pinned: str, scratch: Path) -> None:
    """Let the job change `path` (install a package, say) in a layer that is thrown away after."""
    upper, work = scratch / "upper", scratch / "work"
    upper.mkdir(parents=True)
    work.mkdir()
    # volatile: nothing of it need reach the disk, for which the host's end would wait.
    options = f"lowerdir={pinned},upperdir={upper},workdir={work},userxattr,volatile"
    mount("overlay", path, kind="overlay", options=options)


def hide(path: str, stage: Path, shown: dict[str, str], spec: dict) -> None:
    """Put an empty folder in the place of `path`, with only what is `shown` in it.

    In it are also the covered folders that it holds, and the links by which Python is found. A
    folder that is `filled` keeps all that it has.
    """
    shown, links = dict(shown), dict(spec["links"])
    if path in spec["filled"]:
        for entry in os.scandir(path):
            if entry.path in shown:
                continue
            if entry.is_symlink():
                links[entry.path] = str(Path(entry).readlink())
            else:
                shown[entry.path] = entry.path
    stage.mkdir(parents=True)
    for other in inside(spec["covered"], path):
        (stage / other).mkdir(parents=True, exist_ok=True)
    for link, target in inside(links, path).items():
        point = stage / link
        point.parent.mkdir(parents=True, exist_ok=True)
        point.symlink_to(target)
    for name, source in sorted(inside(shown, path).items()):  # a folder before what is in it
        point = stage / name
        if is_folder(source):
            point.mkdir(parents=True, exist_ok=True)
        else:
            point.parent.mkdir(parents=True, exist_ok=True)
            point.touch()
        mount(source, str(point), flags=MS_BIND | MS_REC)
    mount(str(stage), path, flags=MS_BIND | MS_REC)


def inside(paths: dict[str, str], folder: str) -> dict[str, str]:
    """Return those of `paths` that are in `folder`, by their paths from there."""
    start = f"{folder}/"
    return {path.removeprefix(start): to for path, to in paths.items() if path.startswith(start)}


def is_folder(path: str | Path) -> bool:
    """Return whether it is a folder. Path.is_dir raises an error where we may not look."""
    return os.path.isdir(path)  # noqa: PTH112


def mount(
    source: str | None, target: str, *, kind: str | None = None, flags: int = 0, options: str = ""
) -> None:
    """Call mount(2).

    Raises:
        OSError: The kernel refuses.
    """
    names = [name and os.fsencode(name) for name in (source, target, kind)]
    call("mount", *names, ctypes.c_ulong(flags), os.fsencode(options), about=target)


def call(name: str, *arguments: object, about: str | None = None) -> None:
    """Call a function of the C library that Python's own library lacks.

    Raises:
        OSError: It failed, on the file `about`.
    """
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}", about)


if __name__ == "__main__":
    # Not sys.exit: a thread may be blocked on the lifeline, which would delay the end.
    sys.stdout.flush()
    os._exit(main())
