"""`python -m stub_aws COMMAND` from outside: exit codes, signals, environment, no way out."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest
import pytest_socket

from tests.support.stub_jobs import (
    PATIENCE_S,
    REPOSITORY,
    STUB,
    Account,
    Meeting,
    StubProcess,
    eventually,
    processes_with,
    unique,
    without_console,
)

# Variables of a person who works with the real AWS, and behind a proxy: all of them mislead.
PERSON = {
    "AWS_PROFILE": "no-such-profile",
    "AWS_ACCESS_KEY_ID": "AKIAPERSON",
    "AWS_SECRET_ACCESS_KEY": "persons-secret",
    "AWS_SESSION_TOKEN": "persons-token",
    "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9",
    "AWS_CONFIG_FILE": "/persons/config",
    "AWS_CA_BUNDLE": "/persons/ca.pem",
    "AWS_REGION": "eu-central-1",
    "SAGEMAKER_ROLE": "persons-role",
    "SM_MODEL_DIR": "/persons/model",
    "HTTP_PROXY": "http://127.0.0.1:9",
    "https_proxy": "http://127.0.0.1:9",
    "no_proxy": "",
}


def run(*command, **variables):
    """Run a command on a stub of its own and wait for its end."""
    return subprocess.run(
        [*STUB, *command],
        cwd=REPOSITORY,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )


@pytest.fixture(scope="module")
def stub():
    """Return a stub started by a person with misleading settings, whose temporary files can be
    counted."""
    with tempfile.TemporaryDirectory() as folder, StubProcess(TMPDIR=folder, **PERSON) as process:
        process.folder = Path(folder)
        yield process


# --- the command --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("pass", 0),
        ("raise SystemExit(7)", 7),
        ("import os; os.kill(os.getpid(), 9)", 137),
        ("import os; os.kill(os.getpid(), 15)", 143),
    ],
)
def test_the_exit_code_is_that_of_the_command_and_nothing_else_is_said(script, code):
    done = run(sys.executable, "-c", script)
    assert (done.returncode, done.stdout, without_console(done.stderr)) == (code, "", "")


def test_a_command_that_does_not_exist_is_said_in_one_line():
    done = run("no-such-command", "--with", "arguments")
    assert done.returncode == 127
    assert done.stderr == ("stub AWS: cannot run no-such-command: No such file or directory\n")


def test_without_a_command_it_says_how_it_is_used():
    done = run()
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: python -m stub_aws [OPTION...] COMMAND")
    assert done.stderr.endswith("error: there is no COMMAND to run\n")


def test_help_shows_every_option():
    done = run("--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: python -m stub_aws [OPTION...] COMMAND")
    for option in ("--policy", "--role-name", "--account", "--region", "--prices", "--record"):
        assert f"\n  {option} " in done.stdout


def test_what_follows_the_command_is_the_commands():
    script = "import sys; print(sys.argv[1:])"
    done = run("--", sys.executable, "-c", script, "--region", "mars", "--")
    assert done.stdout == "['--region', 'mars', '--']\n"


def test_the_command_keeps_its_input_and_output():
    done = subprocess.run(
        [*STUB, sys.executable, "-c", "import sys; print(sys.stdin.read()[::-1])"],
        cwd=REPOSITORY,
        input="abc",
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.stdout == "cba\n"


# --- the environment ----------------------------------------------------------------------------


def test_no_variable_of_the_person_reaches_the_command(stub):
    environment = stub.environment
    persons = {value for value in PERSON.values() if value}
    assert not persons & set(environment.values())
    assert "AWS_PROFILE" not in environment
    assert "AWS_ENDPOINT_URL_S3" not in environment
    proxies = {n.upper(): v for n, v in environment.items() if n.upper().endswith("_PROXY")}
    assert proxies.keys() == {"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"}
    assert proxies["HTTPS_PROXY"].startswith("http://127.0.0.1:")
    assert environment["AWS_ENDPOINT_URL"].startswith("http://127.0.0.1:")
    assert environment["PATH"] == os.environ["PATH"]
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        assert Path(environment[name]).read_text() == ""


def test_a_job_runs_whatever_the_settings_of_the_person_are(stub):
    """The stub's own clients must not follow them either."""
    account = stub.account
    description = account.run(
        "(MODEL / 'm').touch(); tell(env=dict(os.environ))",
        channels={"train": (account.put("data/a.csv", "x"), "FullyReplicated")},
    )
    assert description["TrainingJobStatus"] == "Completed", description.get("FailureReason")
    variables = account.facts(description["TrainingJobName"])["env"]
    secrets = {"AKIAPERSON", "persons-secret", "persons-token", "no-such-profile", "persons-role"}
    assert not secrets & set(variables.values())
    assert variables["AWS_REGION"] == "us-east-1"


def test_credentials_are_new_in_every_run(stub):
    with StubProcess() as other:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
            assert stub.environment[name] != other.environment[name]


# --- the network --------------------------------------------------------------------------------

TRY = """
import sys, urllib.request
try:
    urllib.request.urlopen(sys.argv[1], timeout=20)
except OSError as error:
    print(error)
"""


@pytest.mark.parametrize("url", ["https://example.com/", "http://example.com/"])
def test_nothing_else_reaches_the_network(stub, url):
    done = subprocess.run(
        [sys.executable, "-c", TRY, url],
        env=stub.environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert "403" in done.stdout, done


def test_the_refusal_says_who_refuses(stub):
    proxy = stub.environment["HTTPS_PROXY"].removeprefix("http://").split(":")
    with socket.create_connection((proxy[0], int(proxy[1])), timeout=PATIENCE_S) as connection:
        connection.sendall(b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n")
        answer = connection.makefile().read()
    assert answer.startswith("HTTP/1.1 403 ")
    assert "The stub AWS lets nothing out to the network: example.com:443 was refused." in answer


REPORT = """
import requests
host = "sm-pysdk-t-eu-west-1.s3.eu-west-1.amazonaws.com"
print(requests.get(f"https://{host}/telemetry?x-failureReason=" + "long " * 2000).status_code)
"""


def test_what_the_sdks_report_of_their_use_is_taken_and_goes_nowhere(stub):
    """A refusal would stand in the notebook as an error, with a traceback."""
    command = [sys.executable, "-c", REPORT]
    done = subprocess.run(
        command, env=stub.environment, capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert (done.stdout, done.stderr) == ("204\n", "")


OTHERS = (
    "sts.example.com",
    "stsXamazonaws.com",
    "s3.amazonaws.com",
    "sm-pysdk-t-eu-west-1.s3.eu-west-2.amazonaws.com",  # whoever owns a bucket of such a name
    "sm-pysdk-t-eu-west-1.s3.eu-west-1.amazonaws.com.example.com",
)


@pytest.mark.parametrize("host", OTHERS)
def test_only_the_names_of_sts_and_of_reports_pass_the_proxy(stub, host):
    proxy = stub.environment["HTTPS_PROXY"].removeprefix("http://").split(":")
    with socket.create_connection((proxy[0], int(proxy[1])), timeout=PATIENCE_S) as connection:
        connection.sendall(f"CONNECT {host}:443 HTTP/1.1\r\n\r\n".encode())
        assert connection.makefile().readline().startswith("HTTP/1.1 403 ")


def test_a_test_that_tries_a_public_address_is_refused():
    with (
        socket.socket() as tester,  # 192.0.2.1 is for documentation: no machine has it
        pytest.warns(UserWarning, match=r"192\.0\.2\.1"),
        pytest.raises(pytest_socket.SocketConnectBlockedError),
    ):
        tester.connect(("192.0.2.1", 80))


def test_it_listens_on_the_loopback_address_alone(stub):
    listening = [
        connection.laddr
        for connection in psutil.Process(stub.process.pid).net_connections()
        if connection.status == psutil.CONN_LISTEN
    ]
    ports = {
        int(stub.environment[n].rpartition(":")[2]) for n in ("AWS_ENDPOINT_URL", "HTTP_PROXY")
    }
    assert {address.port for address in listening} == ports
    assert {address.ip for address in listening} == {"127.0.0.1"}


# --- its end ------------------------------------------------------------------------------------

RUNS_ON = """
meet()
os.execv(sys.executable, [sys.executable, "-c", "import time; time.sleep(900)", os.environ["MARK"]])
"""


def run_on(account: Account) -> str:
    """Start a job that will not end by itself, and return what marks its process."""
    mark = unique("runs-on")
    with Meeting() as meeting:
        request = account.request(RUNS_ON, meeting=meeting)
        request["Environment"]["MARK"] = mark
        account.sagemaker.create_training_job(**request)
        meeting.wait()
    eventually("the job's process", lambda: processes_with(mark))
    return mark


def test_the_end_of_the_command_ends_its_jobs_and_leaves_no_file():
    with tempfile.TemporaryDirectory() as folder, StubProcess(TMPDIR=folder) as stub:
        mark = run_on(stub.account)
        assert list(Path(folder).glob("stub-aws-*"))
        code, stderr = stub.end()
        assert (code, without_console(stderr)) == (0, "")
        assert processes_with(mark) == []
        assert list(Path(folder).iterdir()) == []


def test_sigkill_of_the_stub_leaves_no_process_of_a_job():
    with StubProcess() as stub:
        mark = run_on(stub.account)
        stub.process.kill()
        eventually("the end of the job's process", lambda: processes_with(mark) == [])


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_ends_command_jobs_and_stub_in_order(name):
    with tempfile.TemporaryDirectory() as folder, StubProcess(TMPDIR=folder) as stub:
        mark = run_on(stub.account)
        stub.process.send_signal(getattr(signal, name))
        code, stderr = stub.end()
        assert (code, without_console(stderr)) == (128 + signal.SIGTERM, "")
        assert processes_with(mark) == []
        assert list(Path(folder).iterdir()) == []


CATCHES_CTRL_C = """
import sys
try:
    print("ready", flush=True)
    sys.stdin.read()
except KeyboardInterrupt:
    print("asked to stop", flush=True)
    sys.stdin.read()
    sys.exit(5)
"""


def test_ctrl_c_is_the_commands_to_decide():
    """A terminal sends it to the whole group: Jupyter asks back, and must keep its AWS then."""
    with subprocess.Popen(
        [*STUB, sys.executable, "-c", CATCHES_CTRL_C],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout.readline() == "ready\n"
        os.killpg(process.pid, signal.SIGINT)
        assert process.stdout.readline() == "asked to stop\n"
        assert process.poll() is None
        process.stdin.close()
        assert process.wait(PATIENCE_S) == 5


def test_ctrl_c_does_not_reach_a_job():
    with StubProcess() as stub:
        mark = run_on(stub.account)
        (job_process,) = processes_with(mark)
        assert os.getpgid(job_process.pid) != os.getpgid(stub.process.pid)
        assert os.getsid(job_process.pid) != os.getsid(stub.process.pid)
