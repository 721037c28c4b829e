"""training/stages.py: seconds add up, memory was really held, the line reads back."""

import subprocess
import sys
import time

import pytest

import stages


def test_seconds_add_up_by_name_in_the_order_of_their_beginning(monkeypatch):
    ticks = iter([0.0, 1.5, 10.0, 12.0, 20.0, 20.25])
    monkeypatch.setattr(time, "perf_counter", lambda: next(ticks))
    clock = stages.Stages()
    for name in ("read", "train", "read"):
        with clock(name):
            pass
    assert clock.seconds == {"read": 1.75, "train": 2.0}
    assert list(clock.seconds) == ["read", "train"]
    assert str(clock).startswith("stages: read 1.750 s, train 2.000 s; peak memory ")


def test_a_stage_that_fails_is_counted_too():
    clock = stages.Stages()
    with pytest.raises(KeyError), clock("read"):
        raise KeyError
    assert clock.seconds["read"] > 0


def test_what_is_printed_is_found_again():
    clock = stages.Stages()
    with clock("read"):
        pass
    log = ["something", "stages: old 1.000 s; peak memory 9.000 GB; CPU 7.500 s", str(clock)]
    read = stages.of_log(log)
    assert read == {
        "read": pytest.approx(clock.seconds["read"], abs=1e-3),
        "peak_memory_gb": pytest.approx(stages.peak_memory() / 2**30, rel=0.5, abs=1e-3),
        "cpu_s": pytest.approx(time.process_time(), rel=0.1),
    }
    assert read["peak_memory_gb"] > 0.005
    assert stages.of_hosts(log) == [{"old": 1.0, "peak_memory_gb": 9.0, "cpu_s": 7.5}, read]


def test_cpu_seconds_are_those_of_work_and_not_of_waiting():
    before = stages.of_log([str(stages.Stages())])["cpu_s"]
    time.sleep(0.3)
    waited = stages.of_log([str(stages.Stages())])["cpu_s"]
    end = time.process_time() + 0.3
    while time.process_time() < end:
        pass
    worked = stages.of_log([str(stages.Stages())])["cpu_s"]
    assert waited - before < 0.2 < worked - waited


def test_a_log_without_the_line_is_refused():
    with pytest.raises(ValueError, match="No line of this log"):
        stages.of_log(["train: 712 rows"])


HOLD = "import sys; sys.path.insert(0, {folder!r}); import stages; held = b'x' * {size}; del held"


@pytest.mark.parametrize("how", ["as it is", "without /proc"])
def test_peak_memory_is_what_was_held_and_given_back(how):
    folder = stages.__file__.rpartition("/")[0]
    code = HOLD.format(folder=folder, size=200 * 2**20)
    if how == "without /proc":
        code += "; import pathlib; stages.STATUS = pathlib.Path('/none')"
    code += "; print(stages.peak_memory())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 200 * 2**20
    if how == "as it is" and stages.STATUS.exists():
        assert int(done.stdout) < 260 * 2**20


@pytest.mark.skipif(not stages.STATUS.exists(), reason="only Linux tells it of the program alone")
def test_peak_memory_is_not_that_of_who_started_the_program():
    code = (
        "import subprocess, sys; held = b'x' * (300 * 2**20); "
        "subprocess.run([sys.executable, '-c', sys.argv[1]], check=True)"
    )
    inner = HOLD.format(folder=stages.__file__.rpartition("/")[0], size=1)
    command = [sys.executable, "-c", code, f"{inner}; print(stages.peak_memory())"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 100 * 2**20
