"""A machine that looks like a SageMaker notebook instance to its lifecycle scripts, without root.

`Machine` is what tests use. This file is also the program that runs inside, as process 1 of a user,
mount, process and, without a network, network namespace of its own: it lays the file system out,
then runs one command after the other, until its standard input ends and all its processes with it,
as when an instance is stopped. Only the folder SageMaker is the same on the next machine.

Real here: bash, git, flock, timeout, venv, pip, Jupyter, the folders, that root may write where the
user may not mount or change identity. Stood in, by small programs that come first on the PATH:

- `sudo -u ec2-user -i`: a namespace in which the same person is user 1000, without privileges;
- `systemctl`: notes how it is called, and succeeds or fails as the test wants;
- `conda create`: a virtual environment of this Python instead of packages from conda-forge.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
HOME = Path("/home/ec2-user")
PERSISTENT = HOME / "SageMaker"
NAMESPACES = ["--user", "--map-root-user", "--mount", "--pid", "--fork", "--kill-child"]
AS_USER = ["unshare", "--user", "--map-user=1000", "--map-group=1000"]

SUDO = f"""\
#!/bin/bash
if [ "$1 $2 $3" != "-u ec2-user -i" ]; then echo "sudo stand-in: not for $*" >&2; exit 99; fi
shift 3
cd {HOME} || exit 99
exec {" ".join(AS_USER)} env -i HOME={HOME} USER=ec2-user PATH=/usr/local/bin:/usr/bin:/bin "$@"
"""
SYSTEMCTL = """\
#!/bin/bash
echo "$*" >>/run/systemctl-calls
exit "$(cat /run/systemctl-exit)"
"""
CONDA = f"""\
#!/bin/bash
echo "$*" >>{PERSISTENT}/conda-calls
while [ "$1" != --prefix ]; do shift; done
exec "{sys.executable}" -m venv --without-pip "$2"
"""
USERS = f"""\
root:x:0:0:root:/root:/bin/bash
ec2-user:x:1000:1000::{HOME}:/bin/bash
"""


class Machine:
    """A notebook instance that runs from `__enter__` to `__exit__`.

    Args:
        folder: Where its own files go; a new one for each machine.
        persistent: The folder at /home/ec2-user/SageMaker; pass it to the next machine, too.
        network: Whether it has one.
        systemd: Whether `systemctl` succeeds.
    """

    def __init__(
        self, folder: Path, persistent: Path, *, network: bool = True, systemd: bool = True
    ) -> None:
        self._folder, self._persistent = folder, persistent
        self._network = network
        self._systemd = systemd

    def __enter__(self) -> Machine:
        home, tools = self._folder / "home", self._folder / "tools"
        for path, text in (
            (tools / "sudo", SUDO),
            (tools / "systemctl", SYSTEMCTL),
            (home / "anaconda3" / "bin" / "conda", CONDA),
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            path.chmod(0o755)
        (home / "SageMaker").mkdir()
        (self._folder / "passwd").write_text(USERS, encoding="utf-8")
        metadata = {
            "ResourceName": "sagemaker-workshop",
            "ResourceArn": "arn:aws:sagemaker:us-east-1:123456789012:"
            "notebook-instance/sagemaker-workshop",
        }
        (self._folder / "metadata").mkdir()
        (self._folder / "metadata" / "resource-metadata.json").write_text(json.dumps(metadata))
        self._path = f"{tools}:/sbin:/bin:/usr/sbin:/usr/bin"
        program = [sys.executable, __file__, str(self._folder), str(self._persistent)]
        no_network = [] if self._network else ["--net"]
        self._process = subprocess.Popen(
            ["unshare", *NAMESPACES, "--mount-proc", *no_network, *program, *no_network],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.run(["bash", "-c", f"echo {0 if self._systemd else 1} >/run/systemctl-exit"])
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()

    def run(
        self,
        command: list[str],
        *,
        text: str = "",
        timeout_s: float = 60,
        environment: dict[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as root of the machine, with `text` as its standard input, to its end.

        The end is that of all who hold its output streams, as it is for SageMaker. Without an
        `environment` it has the PATH alone.

        Raises:
            TimeoutError: It did not end within `timeout_s` seconds.
        """
        request = {
            "command": command,
            "text": text,
            "timeout_s": timeout_s,
            "environment": {"PATH": self._path} if environment is None else environment,
        }
        print(json.dumps(request), file=self._process.stdin, flush=True)
        answer = json.loads(self._process.stdout.readline())
        if answer is None:
            raise TimeoutError(f"{command} did not end within {timeout_s} s")
        return subprocess.CompletedProcess(command, **answer)

    def as_user(self, *command: str, **arguments: Any) -> subprocess.CompletedProcess[str]:
        """Run a command as ec2-user."""
        return self.run([*AS_USER, *command], **arguments)


# ---- inside --------------------------------------------------------------------------------------


def lay_out(folder: Path, persistent: Path, *, network: bool) -> None:
    """Give this mount namespace the folders of a notebook instance."""
    sys.path.insert(0, str(REPOSITORY / "scripts" / "stub_aws"))
    from host import MS_BIND, MS_PRIVATE, MS_REC, hide, mount, raise_loopback

    mount(None, "/", flags=MS_REC | MS_PRIVATE)
    if not network:
        raise_loopback()
    mount(str(persistent), str(folder / "home" / "SageMaker"), flags=MS_BIND)
    needed = [str(REPOSITORY), sys.prefix, sys.base_prefix, str(folder), str(persistent)]
    shown = {path: path for path in needed} | {str(HOME): str(folder / "home")}
    shown["/opt/ml/metadata"] = str(folder / "metadata")
    spec: dict[str, Any] = {"covered": {}, "filled": ["/opt"], "links": {}}
    for path in ("/home", "/opt"):
        hide(path, folder / "covers" / path[1:], shown, spec)
    mount(str(folder / "passwd"), "/etc/passwd", flags=MS_BIND)
    mount("tmpfs", "/run", kind="tmpfs")


def serve() -> None:
    """Run the commands that come as lines of JSON, and answer each with its end."""
    for line in sys.stdin:
        request = json.loads(line)
        try:
            done = subprocess.run(
                request["command"],
                input=request["text"],
                env=request["environment"],
                timeout=request["timeout_s"],
                cwd="/",
                capture_output=True,
                text=True,
                check=False,
            )
        except subprocess.TimeoutExpired:
            answer = None
        else:
            fields = ("returncode", "stdout", "stderr")
            answer = {name: getattr(done, name) for name in fields}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    lay_out(Path(sys.argv[1]), Path(sys.argv[2]), network="--net" not in sys.argv)
    serve()
    os._exit(0)
