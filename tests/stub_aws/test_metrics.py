"""Log lines and metric expressions that would hold up the stub: none does."""

import contextlib
import os
import re
import threading
import time

import pytest
import regex
from botocore.exceptions import ClientError

from stub_aws import first_party, metrics, output
from stub_aws.metrics import Expression, Expressions
from tests.support.stub_jobs import LOG_GROUP, PATIENCE_S, Account, Meeting, eventually, unique

# Exponential in the length of a line; a limit of time is all that helps.
HOPELESS = r"(a|aa)+$"


@pytest.fixture(scope="module")
def account(stub_aws) -> Account:
    return Account(stub_aws.environment, stub_aws.role_arn)


# --- expressions ----------------------------------------------------------------------------------

LINES = (
    "[0]#011train-rmse:12.5#011validation-rmse:1e-3",
    "[12:00:01] [7]#011train-auc:0.91#011validation-auc:-0.5E+2",
    "train:loss=0.25;validation:loss=nan; precision 1e-3 and precision 2E-3",
    "Epoch 3/10 - loss: 0.5 - accuracy: .75",
    "loss=(.*?); [a-z] {e} $ ^ \\ ünïcode ½ #033[31m",
    "",
)
EXPRESSIONS = (
    *(item["Regex"] for item in first_party.metric_definitions()),
    *(r"loss=(.*?);", r"valid:loss=(\S+?);", r"precision (\S+)", r"loss: ([0-9.]+)"),
    *(r"\btrain:auc=([0-9.]+);", r"(?i)LOSS[:=] ?([^ ;]+)", r"Epoch (\d+)/\d+ - .*accuracy: (.*)$"),
    *(r"(?P<value>[-+]?\d*\.?\d+(?:[eE][-+]?\d+)?)", r"[[a-z]+ \{(.)\}", r"(?<!x)(\d)\b(?=;)"),
)


@pytest.mark.parametrize("text", EXPRESSIONS)
@pytest.mark.filterwarnings("ignore:Possible nested set:FutureWarning")
def test_an_expression_finds_what_pythons_own_finds(text):
    ours, pythons = regex.compile(text, regex.VERSION0), re.compile(text)
    for line in LINES:
        assert [(match.span(), match.groups()) for match in ours.finditer(line)] == [
            (match.span(), match.groups()) for match in pythons.finditer(line)
        ]


@pytest.mark.parametrize(
    ("text", "line", "values"),
    [
        (r"loss=(.*?);", "loss=0.25; loss=1e3;", [0.25, 1000.0]),
        (r"loss=(.*?);", "loss=nan; loss=inf; loss=-Infinity; loss=; loss=one;", []),
        (r"loss=.*?;", "loss=0.25;", []),  # no group, no value
    ],
)
def test_values_are_finite_numbers(text, line, values):
    assert Expression(text).values(line) == values


def test_an_expression_that_takes_too_long_for_a_line_is_switched_off_and_no_other_one(monkeypatch):
    monkeypatch.setattr(metrics, "LINE_LIMIT_S", 0.2)
    definitions = [{"Name": "a", "Regex": HOPELESS}, {"Name": "loss", "Regex": "loss=(.*?);"}]
    expressions = Expressions({"MetricDefinitions": definitions})
    line = "a" * 60 + "b loss=1;"
    assert expressions.find(line) == ([("loss", 1.0)], ["a"])
    began = time.monotonic()
    assert expressions.find(line) == ([("loss", 1.0)], [])
    assert time.monotonic() - began < 0.1


def test_one_that_is_slow_on_every_line_is_switched_off_too(monkeypatch):
    monkeypatch.setattr(metrics, "TOTAL_LIMIT_S", 0.05)
    expressions = Expressions({"MetricDefinitions": [{"Name": "a", "Regex": HOPELESS}]})
    lines = 0
    while not expressions.find("a" * 24 + "b")[1]:
        lines += 1
        assert lines < 1000


def test_an_ordinary_one_is_never_switched_off(monkeypatch):
    monkeypatch.setattr(metrics, "TOTAL_LIMIT_S", 0.001)
    expressions = Expressions({"MetricDefinitions": [{"Name": "loss", "Regex": "loss=(.*?);"}]})
    assert all(expressions.find("step 1 loss=0.5;") == ([("loss", 0.5)], []) for _ in range(2000))


@pytest.mark.parametrize(
    "text", ["loss=(", "[0-9", "*", "(?P<1>x)", "\\", "(?<=a+)b" * 0 + "a{2,1}"]
)
def test_what_is_no_expression_is_refused_when_the_job_is_created(account, text):
    request = account.request("", metrics={"loss": text})
    with pytest.raises(ClientError) as caught:
        account.sagemaker.create_training_job(**request)
    error = caught.value.response["Error"]
    assert error["Code"] == "ValidationException"
    assert error["Message"].startswith(
        "Invalid MetricDefinitions. The Regex of the metric 'loss' is not a valid regular "
        "expression: "
    )
    with pytest.raises(ClientError, match=r"Requested resource not found\."):
        account.describe(request["TrainingJobName"])


# --- lines ----------------------------------------------------------------------------------------


def test_a_hopeless_expression_holds_up_neither_its_own_job_nor_another(account):
    lines = "print('a' * 60 + 'b'); print('loss=0.5;'); print('x' * 300_000)"
    with Meeting() as meeting:
        name = account.start(
            f"{lines}\nsys.stdout.flush(); meet()",
            meeting=meeting,
            metrics={"hopeless": HOPELESS, "loss": "loss=(.*?);"},
        )
        meeting.wait()
        began = time.monotonic()
        assert account.run("", max_run=60)["TrainingJobStatus"] == "Completed"
        assert time.monotonic() - began < PATIENCE_S / 2
        meeting.release()
        job = account.wait(name)
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    assert [(m["MetricName"], m["Value"]) for m in job["FinalMetricDataList"]] == [("loss", 0.5)]
    notices = [line for line in account.log(name) if line.startswith("stub AWS: the expression")]
    assert len(notices) == 1
    assert notices[0].startswith("stub AWS: the expression of the metric hopeless takes too long")


HUNG = [(r"(a+)+$", "'a' * 40 + 'b'"), (r".*loss=(.*);.*", "'x' * 250_000")]


@pytest.mark.parametrize(("text", "line"), HUNG)
def test_the_expressions_that_once_hung_the_stub_take_no_time(account, text, line):
    began = time.monotonic()
    job = account.run(f"print({line}); print('loss=1;')", metrics={"m": text})
    assert job["TrainingJobStatus"] == "Completed"
    assert time.monotonic() - began < PATIENCE_S / 3


def test_metrics_that_are_no_finite_numbers_are_left_out(account):
    job = account.run(
        "print('loss=0.5;'); print('loss=nan;'); print('loss=inf;'); print('auc=nan;')",
        metrics={"loss": "loss=(.*?);", "auc": "auc=(.*?);"},
    )
    assert [(m["MetricName"], m["Value"]) for m in job["FinalMetricDataList"]] == [("loss", 0.5)]


def test_control_characters_are_written_as_the_log_driver_writes_them(account):
    script = r"""
os.write(1, b"tab\there\n10%\r20%\r\n\x1b[31mred\x1b[0m \x00\x7f\n\xc2\x85\xe2\x80\xa8line\n")
"""
    log = account.log(account.run(script)["TrainingJobName"])
    assert "tab#011here" in log
    assert "10%#01520%#015" in log
    assert "#033[31mred#033[0m #000#177" in log
    assert "\x85\u2028line" in log


def test_a_line_that_is_longer_than_an_event_comes_in_several(account):
    script = """
os.write(1, ("ü" * 400_000 + "\\n").encode() + b"\\t" * 200_000 + b"\\nlast\\n")
"""
    log = account.log(account.run(script)["TrainingJobName"])
    events = [line for line in log if set(line) == {"ü"}]
    assert len("".join(events)) == 400_000
    assert max(len(event.encode()) for event in log) <= 256 * 1024 - 26
    assert "".join(line for line in log if set(line) == set("#01")) == "#011" * 200_000
    assert "last" in log


def test_a_log_stream_that_is_deleted_while_the_job_runs_is_made_again(account):
    script = """
print("before", flush=True)
meet()
for number in range(3000):
    print("after", "x" * 100)
"""
    with Meeting() as meeting:
        name = account.start(script, meeting=meeting)
        meeting.wait()
        eventually("the first line", lambda: "before" in account.log(name))
        (stream,) = account.streams(name)
        account.client("logs").delete_log_stream(logGroupName=LOG_GROUP, logStreamName=stream)
        meeting.release()
        job = account.wait(name)
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    assert sum(line.startswith("after") for line in account.log(name)) == 3000


def test_a_fault_of_the_stub_in_a_reader_ends_the_job_and_not_only_the_thread(account, monkeypatch):
    from stub_aws.logs import LogStream

    write = LogStream.write

    def faulty(self, line):
        if "break" in line:
            raise RuntimeError("a fault of the stub")
        write(self, line)

    monkeypatch.setattr(LogStream, "write", faulty)
    mark = unique("full-pipe")
    job = account.run(f"print('break', flush=True)\nwhile True: print('{mark}' * 100)")
    assert job["FailureReason"].startswith("InternalServerError: ")


# --- the reader of a host's output ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "lines"),
    [
        (b"one\ntwo\n", ["one", "two"]),
        (b"no end", ["no end"]),
        (b"\n\nx\n", ["", "", "x"]),
        (b"\xff\n", ["\ufffd"]),
        (b"x" * 10 + b"\n", ["xxxxxxxx", "xx"]),
        (b"x" * 7 + "ü\n".encode(), ["xxxxxxx", "ü"]),
        ("😀😀😀\n".encode(), ["😀😀", "😀"]),
    ],
)
def test_output_is_divided_into_lines(monkeypatch, written, lines):
    monkeypatch.setattr(output, "MAX_LINE", 8)
    reading, writing = pipe()
    log: list[str] = []
    reader = output.Output(reading, log.append)
    for position in range(len(written)):
        writing.write(written[position : position + 1])
    writing.close()
    assert reader.join()
    assert log == lines


def pipe():
    reading, writing = os.pipe()
    return os.fdopen(reading, "rb", buffering=0), os.fdopen(writing, "wb", buffering=0)


def test_a_pipe_that_somebody_keeps_open_is_read_no_longer_than_there_is_something_in_it():
    reading, writing = pipe()
    log: list[str] = []
    with writing:
        writing.write(b"the last line\n")
        reader = output.Output(reading, log.append)
        reader.finish()
        assert reader.join()
        assert (log, reader.held, reader.late) == (["the last line"], True, False)


def test_a_pipe_into_which_somebody_writes_for_ever_is_left(monkeypatch):
    monkeypatch.setattr(output, "DRAIN_S", 0.3)
    reading, writing = pipe()
    ended = threading.Event()

    def write() -> None:
        with contextlib.suppress(BrokenPipeError):
            while not ended.is_set():
                writing.write(b"and on\n" * 1000)

    writer = threading.Thread(target=write)
    lines: list[str] = []

    def keep(line: str) -> None:
        lines.append(line)
        time.sleep(0.001)  # the writer is quicker: the pipe is never empty

    reader = output.Output(reading, keep)
    writer.start()
    try:
        eventually("a line", lambda: lines)
        reader.finish()
        assert not reader.join()
        assert reader.late
    finally:
        ended.set()
        writer.join(PATIENCE_S)
        writing.close()
