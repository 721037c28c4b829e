"""What a script prints reaches the log, and the reason of a failure, in whole lines."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys

import pytest

from stub_aws.instance import CONTAINERS
from tests.support.stub_jobs import IMAGE, PYTORCH, XGBOOST_IMAGE, Account

IMAGES = [IMAGE, XGBOOST_IMAGE, PYTORCH]


@pytest.fixture(scope="module")
def account(stub_aws) -> Account:
    return Account(stub_aws.environment)


@pytest.fixture(params=IMAGES, ids=lambda uri: re.search(r"/([^:]+):", uri)[1])
def image(request) -> str:
    return request.param


# What keeps this job's own cores busy while it prints.
LOAD = """
load = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(3)]
"""


PRINT = """
print("begin")
for n in range(200):
    print("loss:", n, "of", 200)
    time.sleep(0.002)
print("end")
[process.kill() for process in load]
"""


def test_each_print_is_one_event_on_a_busy_machine(account, image) -> None:
    log = account.log(account.run(LOAD + PRINT, image=image)["TrainingJobName"])
    printed = log[log.index("begin") + 1 : log.index("end")]
    assert printed == [f"loss: {n} of 200" for n in range(200)]


def test_the_reason_of_a_failure_is_whole_and_always_the_same(account, image) -> None:
    script = LOAD + "print('begins', 'now')\n[p.kill() for p in load]\nint('12,5')\n"
    reasons = {account.run(script, image=image)["FailureReason"] for _ in range(5)}
    (reason,) = reasons
    assert reason.startswith(
        'AlgorithmError: ExecuteUserScriptError:\nExitCode 1\nErrorMessage "ValueError: invalid '
        "literal for int() with base 10: '12,5'\"\nCommand \""
    )


def test_two_hundred_failures_have_one_reason(monkeypatch, capfd) -> None:
    """Without a job around each, so that they take seconds; other processes keep the cores busy."""
    monkeypatch.syspath_prepend(str(CONTAINERS))
    whole_lines = importlib.import_module("whole_lines")
    command = [sys.executable, "-S", "-u", "-c", "print('loss:', 1)\nint('12,5')"]

    def reason() -> tuple[int, tuple[str, ...]]:
        code, messages, _ = whole_lines.create(command, None, 1, cwd="/", capture_error=True)
        return code, tuple(messages)

    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(4)]
    try:
        reasons = {reason() for _ in range(200)}
    finally:
        for process in busy:
            process.kill()
            process.wait()
    assert reasons == {(1, ("", "ValueError: invalid literal for int() with base 10: '12,5'\n"))}
    assert capfd.readouterr().out.splitlines().count("loss: 1") == 200


def test_a_reason_has_the_last_lines_of_the_traceback(account, image) -> None:
    reason = account.run("raise ValueError('Age: 12,5')", image=image)["FailureReason"]
    assert ("ErrorMessage \"raise ValueError('Age: 12,5')\n ValueError: Age: 12,5\"\n") in reason


def test_blanks_at_the_beginning_of_a_line_stay(account, image) -> None:
    name = account.run("print('\\n    a  b\\n1   2  3\\n')", image=image)["TrainingJobName"]
    log = account.log(name)
    index = log.index("    a  b")
    assert log[index - 1 : index + 3] == ["", "    a  b", "1   2  3", ""]


def test_a_line_that_nothing_ends_and_pieces_of_characters_arrive(account, image) -> None:
    script = """
for byte in "née é\\n".encode() + "the end".encode():
    os.write(1, bytes([byte])); time.sleep(0.001)
"""
    log = account.log(account.run(script, image=image)["TrainingJobName"])
    assert "née é" in log
    assert "the end" in log


def test_what_a_script_leaves_running_with_its_output_open_holds_nothing_up(account, image) -> None:
    script = (
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], "
        "start_new_session=True)\nprint('done')"
    )
    job = account.run(script, image=image)
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    assert "done" in account.log(job["TrainingJobName"])


def test_a_long_log_after_the_name_of_an_error_costs_nothing(account, image) -> None:
    script = "print('no Exception yet')\nfor n in range(100_000): print(n)\nsys.exit('the end')"
    job = account.run(script, image=image)
    assert len(job["FailureReason"]) == 1024
    assert job["FailureReason"].startswith(
        'AlgorithmError: ExecuteUserScriptError:\nExitCode 1\nErrorMessage "no Exception yet\n 0\n'
    )
