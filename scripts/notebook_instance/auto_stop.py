"""Stops this SageMaker notebook instance when nobody has used it for a while.

    python auto_stop.py --idle-minutes 60          decides once, prints why; a timer runs it again
    python auto_stop.py --idle-minutes 60 --check  only prints what it would do

It asks the Jupyter servers of this user on this machine. It never stops the instance while a kernel
is busy, while the environment is being built, within the idle time of a start, or when a running
server does not answer or cannot be found: then work could be lost. Kernels and terminals count by
their last activity; an open browser tab alone does not, so a notebook that is only read or typed
into for that long is idle.
It needs only the standard library, except to stop: boto3, with sagemaker:StopNotebookInstance.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import re
import ssl
import sys
import time
import urllib.request
from datetime import datetime
from http.client import HTTPException
from pathlib import Path

PERSISTENT = Path("/home/ec2-user/SageMaker")
METADATA = Path("/opt/ml/metadata/resource-metadata.json")
# Notebook instances listen on this address; used where no server has left its description.
USUAL = {"url": "https://localhost:8443/", "token": ""}


# A process that began so long after a description was written did not write it: it has the number
# of a server that has ended. It is not 0, because setting the clock moves these times.
ANOTHER_AFTER_S = 60


def servers(runtime: Path) -> list[dict[str, str]]:
    """Return the address and token of each running server, from Jupyter's own descriptions.

    Raises ValueError when the description of a running server has no address.
    """
    running = []
    for path in sorted(runtime.glob("[jn][pb]server-*.json")):
        try:
            about = json.loads(path.read_text(encoding="utf-8"))
            pid, where = about["pid"], _address(about)
        except (OSError, ValueError, LookupError, TypeError, AttributeError):  # half written, say
            named = re.search(r"-(\d+)\.json$", path.name)  # Jupyter names it by its process
            pid, where = named and named[1], None
        if pid is None or not _lives(pid, path):
            continue
        if where is None:
            raise ValueError(f"{path.name} of a running server is empty, unfinished or damaged")
        running.append(where)
    return running or [USUAL]


def _address(about: dict) -> dict[str, str]:
    scheme = "https" if about.get("secure") else "http"
    host = about.get("hostname") or "localhost"
    host = "localhost" if host in ("0.0.0.0", "::", "*") else host  # noqa: S104 - not bound
    url = f"{scheme}://{host}:{int(about['port'])}{about.get('base_url', '/')}"
    return {"url": url, "token": about.get("token", "")}


def _lives(pid: int | str, description: Path) -> bool:
    """Return whether the process that wrote a description still runs."""
    try:
        fields = Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()
        written = description.stat().st_mtime
    except (FileNotFoundError, ProcessLookupError):
        return False
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return fields[0] != "Z" and time.time() - age <= written + ANOTHER_AFTER_S


def ask(server: dict[str, str], what: str) -> list[dict]:
    """Return the server's kernels or terminals, without counting as activity.

    Raises OSError, ValueError or HTTPException when it does not answer, or something else.
    """
    trust = ssl.create_default_context()
    trust.check_hostname, trust.verify_mode = (
        False,
        ssl.CERT_NONE,
    )  # its own certificate, this machine
    request = urllib.request.Request(  # noqa: S310 - http or https, by `servers`
        f"{server['url']}api/{what}?no_track_activity=1",
        headers={"Authorization": f"token {server['token']}"} if server["token"] else {},
    )
    direct = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trust)
    )
    with direct.open(request, timeout=20) as answer:
        listed = json.load(answer)
    if not isinstance(listed, list) or not all(isinstance(entry, dict) for entry in listed):
        raise ValueError(f"{what} is not a list")
    return listed


def is_building(state: Path) -> bool:
    """Return whether environment.sh, or something that it has started, holds its lock."""
    try:
        with (state / "building").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def last_activity(listed: list[dict]) -> float:
    """Return the time of these kernels' or terminals' latest activity, in seconds since 1970.

    It is 0 where there is none.
    """
    times = (str(entry["last_activity"]).replace("Z", "+00:00") for entry in listed)
    return max((datetime.fromisoformat(text).timestamp() for text in times), default=0.0)


def decide(
    runtime: Path, state: Path, idle_s: float, now: float, started: float
) -> tuple[bool, str]:
    """Return whether to stop, and the reason.

    Args:
        runtime: Jupyter's runtime folder.
        state: Where environment.sh has its lock.
        idle_s: How long nothing must have happened, in seconds.
        now, started: This moment and the start of this machine, in seconds since 1970.
    """
    if is_building(state):
        return False, "the environment is being built"
    latest = started
    try:
        asked = servers(runtime)
    except ValueError as error:
        return False, str(error)
    for server in asked:
        try:
            kernels, terminals = ask(server, "kernels"), ask(server, "terminals")
            latest = max(latest, last_activity(kernels), last_activity(terminals))
        except (OSError, ValueError, KeyError, HTTPException) as error:
            return False, f"no usable answer from Jupyter at {server['url']} ({error!r})"
        busy = sum(kernel.get("execution_state") == "busy" for kernel in kernels)
        if busy:
            return False, f"busy kernels: {busy}"
    quiet = f"last used {(now - latest) / 60:.0f} minutes ago, the limit is {idle_s / 60:g}"
    return now - latest >= idle_s, quiet


def stop(metadata: Path) -> str:
    """Ask SageMaker to stop this instance, whose name and region are in ``metadata``.

    Return why that was not possible, or nothing.
    """
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        about = json.loads(metadata.read_text(encoding="utf-8"))
        client = boto3.client("sagemaker", region_name=about["ResourceArn"].split(":")[3])
        client.stop_notebook_instance(NotebookInstanceName=about["ResourceName"])
    except (OSError, ValueError, LookupError, TypeError, BotoCoreError, ClientError) as error:
        return repr(error)
    return ""


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--idle-minutes", type=float, required=True)
    parser.add_argument("--check", action="store_true", help="stop nothing")
    parser.add_argument("--state", type=Path, default=PERSISTENT / ".workshop")
    parser.add_argument("--metadata", type=Path, default=METADATA)
    asked = parser.parse_args(argv)
    share = Path(os.environ.get("JUPYTER_DATA_DIR", Path.home() / ".local/share/jupyter"))
    runtime = Path(os.environ.get("JUPYTER_RUNTIME_DIR", share / "runtime"))
    now = time.time()
    started = now - time.clock_gettime(time.CLOCK_BOOTTIME)
    idle, why = decide(runtime, asked.state, asked.idle_minutes * 60, now, started)
    moment = datetime.now().astimezone().isoformat(timespec="seconds")
    print(f"{moment} {'stopping' if idle else 'staying'}: {why}", flush=True)
    if idle and not asked.check and (problem := stop(asked.metadata)):
        print(f"{moment} it could not be stopped, and is tried again: {problem}", flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
