"""When a notebook instance stops itself: decided before a real Jupyter, done on the stub AWS.

The server is the one of this environment, started as a person's would be. Only the clock is played
with: "an hour later" is a number that is handed to the decision.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from jupyter_client import BlockingKernelClient

from notebook_instance import template as instance_template
from stub_aws.aws import StubAWS
from stub_aws.roles import create_role
from tests.support.policies import read_policy
from tests.support.stub_jobs import eventually, make_client

SCRIPT = instance_template.FOLDER / "auto_stop.py"
sys.path.insert(0, str(SCRIPT.parent))
import auto_stop  # noqa: E402

TOKEN = "a-token"
HOUR = 3600.0


class Server:
    """A Jupyter server on a free port of this machine, with a runtime folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.runtime = folder / "runtime"
        self.state = folder / ".workshop"
        self.state.mkdir()
        self.environment = os.environ | {
            "HOME": str(folder),
            "JUPYTER_RUNTIME_DIR": str(self.runtime),
            "JUPYTER_CONFIG_DIR": str(folder / "config"),
        }
        command = [sys.executable, "-m", "jupyter_server", "--no-browser", "--port=0"]
        command += ["--ip=127.0.0.1", f"--IdentityProvider.token={TOKEN}", "--allow-root"]
        self.process = subprocess.Popen(
            [*command, f"--ServerApp.root_dir={folder}"],
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.url = ""
        eventually("Jupyter's description of itself", self._described)
        eventually("an answer of Jupyter", self._answers)

    def _described(self) -> bool:
        for about in self.runtime.glob("jpserver-*.json"):
            with contextlib.suppress(ValueError):  # there, but not yet written
                self.url = json.loads(about.read_text())["url"]
        return bool(self.url)

    def _answers(self) -> bool:
        try:
            return bool(self.api("GET", "status"))
        except urllib.error.URLError:
            return False

    def api(self, method: str, path: str, **body: Any) -> Any:
        """One call of the server's REST API."""
        request = urllib.request.Request(  # noqa: S310 - our own server
            f"{self.url}api/{path}",
            method=method,
            data=json.dumps(body).encode() if body else None,
            headers={"Authorization": f"token {TOKEN}"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - our own server
            return json.loads(answer.read() or b"null")

    def clear(self) -> None:
        """End every kernel and terminal."""
        for kernel in self.api("GET", "kernels"):
            self.api("DELETE", f"kernels/{kernel['id']}")
        for terminal in self.api("GET", "terminals"):
            self.api("DELETE", f"terminals/{terminal['name']}")

    def decide(self, after_s: float, started: float = 0.0) -> tuple[bool, str]:
        """Return the decision so many seconds from now, one idle hour being the limit."""
        now = time.time() + after_s
        return auto_stop.decide(self.runtime, self.state, HOUR, now, started)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("jupyter"))
    yield server
    server.process.terminate()
    server.process.wait(30)


@pytest.fixture
def server(running: Server) -> Iterator[Server]:
    yield running
    running.clear()


@pytest.fixture
def execute(server: Server) -> Iterator[Callable[[str], BlockingKernelClient]]:
    """Start a kernel of the server, and send it code as a notebook would."""
    clients = []

    def run(code: str) -> BlockingKernelClient:
        kernel = server.api("POST", "kernels", name="python3")
        client = BlockingKernelClient(
            connection_file=str(server.runtime / f"kernel-{kernel['id']}.json")
        )
        client.load_connection_file()
        client.start_channels()
        client.wait_for_ready(60)
        clients.append(client)
        client.execute(code)
        return client

    yield run
    for client in clients:
        client.stop_channels()


# ---- the decision --------------------------------------------------------------------------------


def test_nobody_there(server: Server) -> None:
    """Without kernels and terminals the start of the machine counts."""
    started = time.time()
    idle, why = server.decide(HOUR - 60, started)
    assert not idle
    assert why == "last used 59 minutes ago, the limit is 60"
    assert server.decide(HOUR + 1, started)[0]


def test_a_busy_kernel_keeps_it_up_however_long(
    server: Server, execute: Callable[[str], BlockingKernelClient]
) -> None:
    execute("import time; time.sleep(600)")
    # The greeting of a new kernel makes it busy and idle again, too: this one stays busy.
    stays = (False, "busy kernels: 1")
    eventually("a busy kernel", lambda: server.decide(100 * HOUR) == stays)
    time.sleep(0.3)
    assert server.decide(100 * HOUR) == stays


def test_a_kernel_counts_from_its_last_execution(
    server: Server, execute: Callable[[str], BlockingKernelClient]
) -> None:
    client = execute("6 * 7")
    assert client.get_shell_msg(timeout=60)["content"]["status"] == "ok"
    eventually("an idle kernel", lambda: server.decide(HOUR + 60)[0])
    idle, why = server.decide(HOUR - 60)
    assert (idle, why) == (False, "last used 59 minutes ago, the limit is 60")


def test_a_terminal_counts_from_its_last_use(server: Server) -> None:
    server.api("POST", "terminals", cwd="")
    assert not server.decide(HOUR - 60)[0]
    assert server.decide(HOUR + 60)[0]


def test_to_be_asked_is_no_activity(server: Server) -> None:
    server.api("GET", "kernels")
    before = server.api("GET", "status")["last_activity"]
    server.decide(0)
    assert server.api("GET", "status")["last_activity"] == before


def test_a_build_keeps_it_up(server: Server) -> None:
    lock = server.state / "building"
    with subprocess.Popen(
        ["flock", lock, sys.executable, "-c", "print('held', flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as build:
        assert build.stdout.readline() == "held\n"
        assert server.decide(100 * HOUR) == (False, "the environment is being built")
        build.communicate("\n")
    assert lock.exists()  # a build that has ended, however it ended
    assert server.decide(100 * HOUR)[0]


def described(runtime: Path, **changes: Any) -> Path:
    """Return a folder with the description of a server, as Jupyter writes it."""
    runtime.mkdir()
    about = {"pid": os.getpid(), "port": 1, "hostname": "localhost", "base_url": "/"}
    about |= {"secure": False, "token": TOKEN} | changes
    (runtime / f"jpserver-{about['pid']}.json").write_text(json.dumps(about))
    return runtime


@pytest.mark.parametrize("changes", [{}, {"token": "wrong"}], ids=["no answer", "wrong token"])
def test_without_an_answer_it_stays(
    changes: dict[str, str], server: Server, tmp_path: Path
) -> None:
    port = int(server.url.split(":")[2].split("/")[0]) if changes else 1
    runtime = described(tmp_path / "runtime", port=port, **changes)
    idle, why = auto_stop.decide(runtime, server.state, HOUR, time.time() + 100 * HOUR, 0)
    assert not idle
    assert why.startswith(f"no usable answer from Jupyter at http://localhost:{port}/")


def test_what_a_dead_server_has_left_is_passed_over(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address that notebook instances are known to use is asked instead."""
    ended = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True
    )
    runtime = described(tmp_path / "runtime", pid=int(ended.stdout))
    assert auto_stop.servers(runtime) == [auto_stop.USUAL]
    monkeypatch.setattr(auto_stop, "USUAL", {"url": server.url, "token": TOKEN})
    assert auto_stop.decide(runtime, server.state, HOUR, time.time(), 0)[0]


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """Return a process that runs, and is no Jupyter."""
    with subprocess.Popen(["sleep", "300"]) as sleep:
        yield sleep
        sleep.kill()


def age(path: Path, seconds: float) -> None:
    os.utime(path, (time.time() - seconds,) * 2)


def test_a_dead_server_whose_number_another_process_has_is_passed_over(
    process: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    """It would never answer, and the instance would never stop."""
    runtime = described(tmp_path / "runtime", pid=process.pid)
    (description,) = runtime.iterdir()
    assert auto_stop.servers(runtime) != [auto_stop.USUAL]  # it may be the server
    age(description, 2 * auto_stop.ANOTHER_AFTER_S)
    assert auto_stop.servers(runtime) == [auto_stop.USUAL]


def test_a_server_that_ended_and_was_not_waited_for_is_dead(
    process: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    runtime = described(tmp_path / "runtime", pid=process.pid)
    process.kill()
    eventually("its end", lambda: auto_stop.servers(runtime) == [auto_stop.USUAL])


DESCRIPTION = json.dumps({"pid": 0, "port": 8888, "url": "http://localhost:8888/", "token": TOKEN})
DAMAGED = {
    "empty": "",
    "half written": DESCRIPTION[: len(DESCRIPTION) // 2],
    "without a process": DESCRIPTION.replace('"pid"', '"id"'),
    "without a port": DESCRIPTION.replace('"port"', '"part"'),
    "with an odd port": DESCRIPTION.replace("8888,", '"many",'),
    "a list": "[1]",
    "a word": '"jupyter"',
    "not text": "\udcff",
}


@pytest.mark.parametrize("text", DAMAGED.values(), ids=DAMAGED)
def test_a_description_that_cannot_be_read_keeps_it_up_as_long_as_its_server_runs(
    text: str, server: Server, tmp_path: Path, process: subprocess.Popen[bytes], monkeypatch: Any
) -> None:
    runtime = described(tmp_path / "runtime", pid=process.pid)
    (description,) = runtime.iterdir()
    text = text.replace('"pid": 0', f'"pid": {process.pid}')
    description.write_bytes(text.encode(errors="surrogateescape"))
    monkeypatch.setattr(auto_stop, "USUAL", {"url": server.url, "token": TOKEN})
    later = time.time() + 100 * HOUR
    idle, why = auto_stop.decide(runtime, server.state, HOUR, later, 0)
    assert (idle, why) == (
        False,
        f"jpserver-{process.pid}.json of a running server is empty, unfinished or damaged",
    )
    process.kill()
    process.wait()
    assert auto_stop.decide(runtime, server.state, HOUR, later, 0)[0]


class Odd(http.server.BaseHTTPRequestHandler):
    """Answers what Jupyter does not: this text, after a status or alone."""

    answer = b""

    def do_GET(self) -> None:
        self.wfile.write(self.answer)

    def log_message(self, *_: Any) -> None:
        """No line on the terminal."""


OK = b"HTTP/1.1 200 OK\r\n\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_8.7\r\n",
        OK + b"<html>",
        OK + b"{}",
        OK + b"[1]",
        OK + b"[{}]",
        OK + b'[{"last_activity": null}]',
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[]",
    ],
)
def test_an_answer_that_is_not_jupyters_keeps_it_up(
    answer: bytes, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(Odd, "answer", answer)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Odd) as odd:
        threading.Thread(target=odd.serve_forever, args=(0.05,), daemon=True).start()
        runtime = described(tmp_path / "runtime", port=odd.server_port)
        idle, why = auto_stop.decide(runtime, tmp_path, HOUR, time.time() + 100 * HOUR, 0)
        odd.shutdown()
    assert not idle
    assert why.startswith("no usable answer from Jupyter at http://localhost:")
    assert "\n" not in why


def test_servers_that_listen_everywhere_are_asked_here(tmp_path: Path) -> None:
    runtime = described(tmp_path / "runtime", hostname="*", secure=True, port=8443)
    assert [server["url"] for server in auto_stop.servers(runtime)] == ["https://localhost:8443/"]


class Idle(http.server.BaseHTTPRequestHandler):
    """A Jupyter in which nothing has ever run."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"[]")

    def log_message(self, *_: Any) -> None:
        """No line on the terminal."""


def test_a_certificate_of_its_own_is_no_hindrance(server: Server, tmp_path: Path) -> None:
    """On a notebook instance Jupyter speaks HTTPS with a certificate that nobody has signed."""
    secure = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("another.example").configure_cert(secure)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Idle) as jupyter:
        jupyter.socket = secure.wrap_socket(jupyter.socket, server_side=True)
        threading.Thread(target=jupyter.serve_forever, args=(0.05,), daemon=True).start()
        runtime = described(tmp_path / "runtime", secure=True, port=jupyter.server_port)
        decision = auto_stop.decide(runtime, server.state, HOUR, time.time(), 0)
        jupyter.shutdown()
    assert decision[0], decision[1]


# ---- and what follows from it --------------------------------------------------------------------

NAME = "sagemaker-workshop"


@pytest.fixture(scope="module")
def notebook_instance(stub_aws: StubAWS, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Return an instance on the stub, its metadata file, variables with the permissions of
    auto-stop alone."""
    role = create_role("auto-stop-tests", read_policy("auto_stop_policy.json"))
    administrator = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    everything = create_role(
        "auto-stop-tests-all", {"Version": "2012-10-17", "Statement": [administrator]}
    )
    client = make_client(stub_aws.environment_of(everything), "sagemaker")
    arn = client.create_notebook_instance(
        NotebookInstanceName=NAME, InstanceType="ml.t3.medium", RoleArn=role
    )["NotebookInstanceArn"]
    metadata = tmp_path_factory.mktemp("metadata") / "resource-metadata.json"
    metadata.write_text(json.dumps({"ResourceName": NAME, "ResourceArn": arn}))
    environment = stub_aws.environment_of(role)
    environment.pop("AWS_DEFAULT_REGION")  # the instance's own name tells it
    environment.pop("AWS_REGION")
    yield client, metadata, environment
    client.stop_notebook_instance(NotebookInstanceName=NAME)
    client.delete_notebook_instance(NotebookInstanceName=NAME)


def run_script(server: Server, notebook_instance: Any, *arguments: str) -> str:
    """Return what the script prints, run as the timer does."""
    _, metadata, environment = notebook_instance
    settings = {"JUPYTER_RUNTIME_DIR": str(server.runtime)}
    command = [sys.executable, str(SCRIPT), "--state", str(server.state)]
    done = subprocess.run(
        [*command, "--metadata", str(metadata), *arguments],
        env=environment | settings,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_stops_this_instance_when_idle_and_only_then(
    server: Server, notebook_instance: Any
) -> None:
    client = notebook_instance[0]

    def status() -> str:
        about = client.describe_notebook_instance(NotebookInstanceName=NAME)
        return about["NotebookInstanceStatus"]

    a_year = str(365 * 24 * 60)
    assert " staying: last used " in run_script(server, notebook_instance, "--idle-minutes", a_year)
    assert status() == "InService"
    no_time = ("--idle-minutes", "0.0001")
    assert " stopping: " in run_script(server, notebook_instance, *no_time, "--check")
    assert status() == "InService"
    assert " stopping: " in run_script(server, notebook_instance, *no_time)
    assert status() in ("Stopping", "Stopped")


@pytest.mark.parametrize("text", [None, "", "{}", '{"ResourceName": "a", "ResourceArn": "b"}'])
def test_an_instance_that_cannot_be_stopped_says_so_in_a_line(
    server: Server, tmp_path: Path, text: str | None, capsys: Any, monkeypatch: Any
) -> None:
    metadata = tmp_path / "metadata.json"
    if text is not None:
        metadata.write_text(text)
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(server.runtime))
    where = ["--state", str(server.state), "--metadata", str(metadata)]
    assert auto_stop.main(["--idle-minutes", "0.0001", *where]) == 1
    stopping, problem = capsys.readouterr().out.splitlines()
    assert " stopping: " in stopping
    assert " it could not be stopped, and is tried again: " in problem


def test_a_stop_that_aws_refuses_is_a_line_too(notebook_instance: Any, monkeypatch: Any) -> None:
    _, metadata, environment = notebook_instance
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "invented")
    assert "SignatureDoesNotMatch" in auto_stop.stop(metadata)
