"""Stops this SageMaker notebook instance when nobody has used it for a while.

    python auto_stop.py --idle-minutes 60          decides once, and says why; a timer asks again
    python auto_stop.py --idle-minutes 60 --check  only says what it would do

It asks the Jupyter servers of this user on this machine. It never stops the instance while a kernel
is busy, while the environment is being built, within the idle time of a start, or when a server
does not answer: then nobody knows what would be lost. Kernels and terminals count by their last
activity; an open browser tab alone does not, so what is only read or typed for that long is idle.
All is standard library but the call that stops: boto3, with sagemaker:StopNotebookInstance.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import ssl
import sys
import time
import urllib.request
from datetime import datetime
from pathlib import Path

KEPT = Path("/home/ec2-user/SageMaker")
METADATA = Path("/opt/ml/metadata/resource-metadata.json")
# What notebook instances are known to listen on; used where no server has left its description.
USUAL = {"url": "https://localhost:8443/", "token": ""}


def servers(runtime: Path) -> list[dict[str, str]]:
    """The address and token of each server whose process lives, from Jupyter's own descriptions."""
    found = []
    for path in sorted([*runtime.glob("jpserver-*.json"), *runtime.glob("nbserver-*.json")]):
        about = json.loads(path.read_text(encoding="utf-8"))
        if Path("/proc", str(about["pid"])).exists():
            scheme = "https" if about.get("secure") else "http"
            host = about.get("hostname") or "localhost"
            host = "localhost" if host in ("0.0.0.0", "::", "*") else host  # noqa: S104 - not bound
            url = f"{scheme}://{host}:{about['port']}{about.get('base_url', '/')}"
            found.append({"url": url, "token": about.get("token", "")})
    return found or [USUAL]


def ask(server: dict[str, str], what: str) -> list[dict]:
    """The server's kernels or terminals, without counting as activity.

    Raises OSError or ValueError when it does not answer, or answers something else.
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
    if not isinstance(listed, list):
        raise ValueError(f"{what} is not a list")
    return listed


def is_building(state: Path) -> bool:
    """Whether environment.sh, or something that it has started, holds its lock."""
    try:
        with (state / "building").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def last_activity(listed: list[dict]) -> float:
    """The latest of these kernels' or terminals' activities, in seconds since 1970; 0 for none."""
    times = (entry["last_activity"].replace("Z", "+00:00") for entry in listed)
    return max((datetime.fromisoformat(text).timestamp() for text in times), default=0.0)


def decide(
    runtime: Path, state: Path, idle_s: float, now: float, started: float
) -> tuple[bool, str]:
    """Whether to stop, and the reason.

    Args:
        runtime: Jupyter's runtime folder.
        state: Where environment.sh has its lock.
        idle_s: How long nothing must have happened, in seconds.
        now, started: This moment and the start of this machine, in seconds since 1970.
    """
    if is_building(state):
        return False, "the environment is being built"
    latest = started
    for server in servers(runtime):
        try:
            kernels, terminals = ask(server, "kernels"), ask(server, "terminals")
            latest = max(latest, last_activity(kernels), last_activity(terminals))
        except (OSError, ValueError, KeyError) as error:
            return False, f"no usable answer from Jupyter at {server['url']} ({error!r})"
        busy = sum(kernel.get("execution_state") == "busy" for kernel in kernels)
        if busy:
            return False, f"busy kernels: {busy}"
    quiet = f"last used {(now - latest) / 60:.0f} minutes ago, the limit is {idle_s / 60:g}"
    return now - latest >= idle_s, quiet


def stop(metadata: Path) -> None:
    """Ask SageMaker to stop the instance that this is (its name and region: ``metadata``)."""
    import boto3

    about = json.loads(metadata.read_text(encoding="utf-8"))
    client = boto3.client("sagemaker", region_name=about["ResourceArn"].split(":")[3])
    client.stop_notebook_instance(NotebookInstanceName=about["ResourceName"])


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--idle-minutes", type=float, required=True)
    parser.add_argument("--check", action="store_true", help="stop nothing")
    parser.add_argument("--state", type=Path, default=KEPT / ".workshop")
    parser.add_argument("--metadata", type=Path, default=METADATA)
    asked = parser.parse_args(argv)
    share = Path(os.environ.get("JUPYTER_DATA_DIR", Path.home() / ".local/share/jupyter"))
    runtime = Path(os.environ.get("JUPYTER_RUNTIME_DIR", share / "runtime"))
    now = time.time()
    started = now - time.clock_gettime(time.CLOCK_BOOTTIME)
    idle, why = decide(runtime, asked.state, asked.idle_minutes * 60, now, started)
    moment = datetime.now().astimezone().isoformat(timespec="seconds")
    print(f"{moment} {'stopping' if idle else 'staying'}: {why}", flush=True)
    if idle and not asked.check:
        stop(asked.metadata)
    return 0


if __name__ == "__main__":
    sys.exit(main())
