"""XGBoost on several hosts: how they find each other, then real jobs whose hosts train one model.

The oracle is one host: the same rows give the same bytes of model on any number of them.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest

from entry_point import UsageError
from hosts import rendezvous, xgboost_group
from hosts.group import Group
from tests.support.entry_points import SCRIPTS, TEST, TRAIN, TRAINING, Run, source
from tests.support.ports import free_port
from tests.support.stub_jobs import (
    BUCKET,
    XGBOOST_IMAGE,
    Account,
    eventually,
    needs_namespaces,
    unique,
)
from titanic import DataError

pytestmark = pytest.mark.one_worker  # its jobs take long, and are done once for all tests

# --- the rendezvous -------------------------------------------------------------------------------

FIRST, OTHERS = "127.0.0.1", ["algo-2", "algo-3"]  # of these names only the first is looked up


@pytest.fixture
def port():
    return free_port(FIRST)


def listens(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port)).close()
    except ConnectionRefusedError:
        return False
    return True


def test_all_get_the_messages_of_all_in_the_order_of_the_names(port):
    received = {}

    def exchange(here):
        names = [FIRST, *OTHERS]
        received[here] = rendezvous.exchange(names, here, {"from": here}, port, patience=10)

    def start(here):
        threads.append(threading.Thread(target=exchange, args=(here,)))
        threads[-1].start()

    def stranger(says):
        with socket.create_connection((FIRST, port)) as caller:
            caller.sendall(says)

    threads = []
    start("algo-3")  # who comes before there is anybody to come to
    start(FIRST)
    eventually("the first host", lambda: listens(FIRST, port))
    for says in (b"", b"GET / HTTP/1.0\r\n\r\n", b"5\n", b'["algo-9", 1]\n', b"[[], 1]\n"):
        stranger(says)  # for whom the first host does not wait
    start("algo-2")
    for thread in threads:
        thread.join()
    everyone = [{"from": name} for name in (FIRST, *OTHERS)]
    assert received == {FIRST: everyone, OTHERS[0]: everyone, OTHERS[1]: everyone}


def test_one_host_waits_for_nobody():
    assert rendezvous.exchange(["nowhere"], "nowhere", 5) == [5]
    with xgboost_group.joined(["nowhere"], "nowhere") as alone:
        assert (alone.rank, alone.size, alone.names) == (0, 1, ["nowhere"])
        (values,) = alone.all_gather(np.arange(3))
        assert values.tolist() == [0, 1, 2]


def test_hosts_that_do_not_connect_are_named(port):
    with pytest.raises(UsageError, match=rf"^algo-2, algo-3 did not connect to {FIRST}:{port}"):
        rendezvous.exchange([FIRST, *OTHERS], FIRST, None, port, patience=0.2)


def test_a_first_host_that_does_not_answer_is_named(port):
    with pytest.raises(UsageError, match=f"^{FIRST}, the first host of this job, does not answer"):
        rendezvous.exchange([FIRST, "algo-2"], "algo-2", None, port, patience=0.3)


def test_a_host_does_not_take_itself_for_the_first_host(port, monkeypatch):
    """As TCP permits where the system gives a caller the port that it calls."""
    to_itself = socket.socket()
    to_itself.bind((FIRST, port))
    to_itself.connect((FIRST, port))
    connect = socket.create_connection
    answers = [lambda *_: to_itself]

    def create_connection(*arguments):
        return (answers.pop() if answers else connect)(*arguments)

    monkeypatch.setattr(socket, "create_connection", create_connection)
    with pytest.raises(UsageError, match=r"does not answer on port \d+ \(Connection refused\)"):
        rendezvous.connect(FIRST, port, time.monotonic() + 0.3)
    assert not answers
    assert to_itself.fileno() == -1, "it keeps the port that the first host needs"


def test_a_first_host_that_ends_is_named(port, monkeypatch):
    monkeypatch.setattr(rendezvous, "CAUSE_FIRST_S", 0)
    with socket.create_server((FIRST, port)) as first:
        threading.Thread(target=lambda: first.accept()[0].close()).start()
        with pytest.raises(UsageError, match=r"ended before all hosts had connected to it; "):
            rendezvous.exchange([FIRST, "algo-2"], "algo-2", None, port, patience=5)


def test_a_port_that_is_taken_is_named(port):
    with socket.create_server((FIRST, port)), pytest.raises(UsageError) as refused:
        rendezvous.exchange([FIRST, "algo-2"], FIRST, None, port)
    assert str(refused.value) == (
        f"{FIRST}:{port}, the rendezvous of this job's hosts, cannot be listened on (Address "
        "already in use); another program may have that port"
    )


# --- what the hosts have together -----------------------------------------------------------------


class Gathered(Group):
    """A group whose other hosts have these values."""

    def __init__(self, *values: list[int]) -> None:
        super().__init__([f"algo-{number + 1}" for number in range(len(values))], 0)
        self._values = values

    def all_gather(self, values):
        return [values, *(np.array(one, dtype=values.dtype) for one in self._values[1:])]


def test_hosts_start_from_the_share_of_survivors_among_all_rows():
    y = np.array([1, 0, 0], dtype=np.int8)
    assert xgboost_group.base_score(y, Gathered([1, 3])) == pytest.approx(1 / 3)
    assert xgboost_group.base_score(y, Gathered([1, 3], [4, 4], [0, 1])) == pytest.approx(5 / 8)
    assert xgboost_group.base_score(y, Gathered([1, 3], [297, 297])) == pytest.approx(298 / 300)
    assert 0 < xgboost_group.base_score(y[1:], Gathered([0, 2], [0, 2])) < 1e-5  # XGBoost refuses 0


def test_a_host_without_a_row_is_refused():
    y = np.array([1, 0], dtype=np.int8)
    with pytest.raises(DataError) as refused:
        xgboost_group.base_score(y, Gathered([1, 2], [0, 0], [1, 1]))
    assert str(refused.value) == (
        "3 rows to train on are too few for 3 hosts: algo-2 has none; take fewer hosts"
    )


# --- XGBoost's own group --------------------------------------------------------------------------

GATHER = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np
import entry_point
from hosts import xgboost_group

entry_point.spare("sklearn")  # as the script: half of the time to import XGBoost is for it
names, here = sys.argv[2].split(","), sys.argv[3]
with xgboost_group.joined(names, here) as group:
    values = np.arange(group.rank, dtype=np.float32) / 3   # the first has none
    gathered = [group.all_gather(values), group.all_gather(np.array([~group.rank], dtype=np.int8))]
print([[value.tolist() for value in one] for one in gathered])
"""


@needs_namespaces  # which tells of Linux, where all of 127/8 is this machine
def test_members_are_in_the_order_of_their_names_however_they_come():
    names = [f"127.99.{os.getpid() % 250}.{number}" for number in (1, 2, 3)]
    running = []
    for here in names[::-1]:
        command = [sys.executable, "-c", GATHER, TRAINING, ",".join(names), here]
        running.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
    thirds = [[], [0.0], [0.0, float(np.float32(1) / np.float32(3))]]
    try:
        for process in running:
            printed, _ = process.communicate(
                timeout=120
            )  # at a load of 15 on two cores it took 46 s
            assert process.returncode == 0
            assert json.loads(printed.splitlines()[-1]) == [thirds, [[-1], [-2], [-3]]]
    finally:
        for process in running:  # one that failed would leave the others waiting
            process.kill()


# --- real jobs ------------------------------------------------------------------------------------

# Deep and quick to learn by heart, so that it stops early; other seeds hold out other rows.
HYPERPARAMETERS = {"num_round": "300", "eta": "0.3", "max_depth": "6", "early_stopping_rounds": "5"}
ENDLESS = {"num_round": "100000", "early_stopping_rounds": "0", "log_every": "100"}
SHARDED, REPLICATED = "ShardedByS3Key", "FullyReplicated"


class Jobs:
    """Jobs of train_xgboost.py; those that a module needs run beside each other."""

    def __init__(self, account: Account) -> None:
        self.account, self._source = account, source()

    def put(self, *cuts: int, file: Path = TRAIN, rows: str | None = None) -> str:
        """Return the list's rows in several files, the first with ``cuts[0]`` rows, and so on."""
        header, *rows = (rows or file.read_text(encoding="utf-8")).splitlines()
        prefix = unique("rows")
        edges = [0, *np.cumsum(cuts).tolist(), len(rows)]
        for number, (start, end) in enumerate(itertools.pairwise(edges)):
            text = "\n".join([header, *rows[start:end], ""])
            self.account.put(f"{prefix}/part-{number}.csv", text)
        return f"s3://{BUCKET}/{prefix}/"

    def start(
        self, hosts: int, hyperparameters=HYPERPARAMETERS, **channels: tuple[str, str]
    ) -> str:
        return self.account.start(
            files=self._source,
            program="train_xgboost.py",
            image=XGBOOST_IMAGE,
            hosts=hosts,
            hyperparameters=hyperparameters,
            channels=channels,
        )

    def line(self, name: str, host: str) -> tuple[int, int, str]:
        """Return the rows to train and to validate on, and the model's checksum, as a host printed
        them."""
        log = "\n".join(self.account.log(name, host))
        numbers = re.findall(
            rf"^{host}: ([\d,]+) rows of train and ([\d,]+) rows of validation, "
            r"model checksum ([0-9a-f]{12})$",
            log,
            re.MULTILINE,
        )
        assert len(numbers) == 1, log
        train, validation, checksum = numbers[0]
        return int(train.replace(",", "")), int(validation.replace(",", "")), checksum


def many_fares() -> str:
    """Ten times as many passengers, hardly two of whom have paid the same."""
    frame = pd.concat([pd.read_csv(TRAIN)] * 10)
    frame["Fare"] *= np.random.default_rng(1).uniform(0.8, 1.2, len(frame))
    assert frame["Fare"].nunique() > 6000
    return frame.to_csv(index=False)


@pytest.fixture(scope="module")
def jobs(stub_aws):
    return Jobs(Account(stub_aws.environment))


@pytest.fixture(scope="module")
def trained(jobs):
    """Jobs on the same passengers, all of them started: name of the case -> name of the job."""
    one_file, two = jobs.put(), jobs.put(600)
    header, row = TRAIN.read_text().splitlines()[:2]
    bad = jobs.put(700)
    wrong = "\n".join([header, row.replace(row.split(",")[1], "maybe", 1), ""])
    jobs.account.put(bad.partition(f"{BUCKET}/")[2] + "part-1.csv", wrong)
    none = jobs.account.put(f"{unique('none')}/README.txt", "no passengers").rpartition("/")[0]
    test, tests = jobs.put(file=TEST), jobs.put(20, file=TEST)
    return {
        "one": jobs.start(1, train=(one_file, REPLICATED)),
        "replicated": jobs.start(3, train=(one_file, REPLICATED)),
        "sharded": jobs.start(2, train=(two, SHARDED)),
        "an idle host": jobs.start(3, train=(two, SHARDED), validation=(test, REPLICATED)),
        "more files": jobs.start(
            2, train=(jobs.put(100, 200, 50), SHARDED), validation=(tests, SHARDED)
        ),
        "many fares": jobs.start(2, train=(jobs.put(3000, rows=many_fares()), SHARDED)),
        "a bad row": jobs.start(2, train=(bad, SHARDED)),
        "no data": jobs.start(2, train=(none + "/", SHARDED)),
    }


def artifact(jobs, name) -> tuple[bytes, dict]:
    described = jobs.account.wait(name)
    reason = described.get("FailureReason", "")
    assert described["TrainingJobStatus"] == "Completed", reason
    files = jobs.account.unpack(name)
    assert set(files) == {"xgboost-model.ubj", "parameters.json"}  # one host alone saves
    return files["xgboost-model.ubj"], json.loads(files["parameters.json"])


@pytest.fixture
def by_hand(tmp_path, capsys, no_job):
    """Return what one host makes of the passengers, by hand: model and record."""

    def train(*own_arguments: object) -> tuple[bytes, dict]:
        run = Run(SCRIPTS["train_xgboost"], tmp_path, capsys)
        assert (
            run(
                *own_arguments,
                *(
                    argument
                    for name in HYPERPARAMETERS
                    for argument in (f"--{name}", HYPERPARAMETERS[name])
                ),
            )
            == 0
        )
        return run.bytes(), run.parameters()

    return train


@needs_namespaces
@pytest.mark.parametrize(
    ("case", "hosts", "own_arguments"),
    [
        ("replicated", 3, ()),
        ("sharded", 2, ()),
        ("an idle host", 2, ("--validation", TEST)),
        ("more files", 2, ("--validation", TEST)),
    ],
)
def test_several_hosts_make_the_model_of_one(jobs, trained, by_hand, case, hosts, own_arguments):
    model, recorded = artifact(jobs, trained[case])
    expected, alone = by_hand(*own_arguments)
    assert model == expected
    shares = recorded.pop("hosts")
    assert list(shares) == [f"algo-{number + 1}" for number in range(hosts)]
    for part, count in alone["rows"].items():
        counts = [rows[part] for rows in shares.values()]
        assert sum(counts) == count  # each row on one host: else the model were another
        assert all(0 < rows_of_host < count for rows_of_host in counts)
    metrics, of_one = recorded.pop("metrics"), alone.pop("metrics")
    for part, values in of_one.items():
        assert metrics[part] == pytest.approx(values, rel=1e-9)
    assert recorded == alone
    assert (
        recorded["rounds"]["trained"] == recorded["rounds"]["kept"] + 5
    )  # all stopped early, together
    lines = {host: jobs.line(trained[case], host) for host in shares}
    assert len({checksum for _, _, checksum in lines.values()}) == 1
    for host, rows in shares.items():
        assert lines[host][:2] == (rows["train"], rows["validation"])


@needs_namespaces
def test_of_many_values_the_hosts_make_a_model_as_good(jobs, trained, by_hand, tmp_path):
    """XGBoost merges summaries of each host's values: the bins of one host are a little others."""
    (tmp_path / "many.csv").write_text(many_fares())
    model, recorded = artifact(jobs, trained["many fares"])
    expected, alone = by_hand("--train", tmp_path / "many.csv")
    assert model != expected  # else the test has too few values, and says nothing
    assert recorded["rows"] == alone["rows"]
    assert recorded["metrics"]["train"]["logloss"] < 0.3
    for part, values in alone["metrics"].items():
        assert recorded["metrics"][part] == pytest.approx(values, abs=0.02)
    checksums = [jobs.line(trained["many fares"], host)[2] for host in ("algo-1", "algo-2")]
    assert checksums[0] == checksums[1]


@needs_namespaces
def test_a_job_of_one_host_makes_the_model_that_is_made_by_hand(jobs, trained, by_hand):
    assert artifact(jobs, trained["one"]) == by_hand()


@needs_namespaces
def test_rows_follow_the_channel(jobs, trained):
    rows = len(pd.read_csv(TRAIN))
    artifact(jobs, trained["sharded"])
    printed = [jobs.line(trained["sharded"], host) for host in ("algo-1", "algo-2")]
    assert [train + validation for train, validation, _ in printed] == [600, rows - 600]
    artifact(jobs, trained["more files"])
    printed = [jobs.line(trained["more files"], host) for host in ("algo-1", "algo-2")]
    assert [train for train, _, _ in printed] == [100 + 50, rows - (100 + 50)]
    assert [validation for _, validation, _ in printed] == [20, len(pd.read_csv(TEST)) - 20]
    artifact(jobs, trained["replicated"])
    printed = [jobs.line(trained["replicated"], f"algo-{n}")[0] for n in (1, 2, 3)]
    assert max(printed) - min(printed) <= 1


@needs_namespaces
def test_only_the_first_host_prints_metrics(jobs, trained):
    artifact(jobs, trained["sharded"])
    first, second = (jobs.account.log(trained["sharded"], host) for host in ("algo-1", "algo-2"))
    for start in ("[1]#011train-logloss:", "validation:auc=", "stages: ", "trained ", "saved "):
        assert any(line.startswith(start) for line in first), start
        assert not any(line.startswith(start) for line in second), start


@needs_namespaces
def test_a_host_without_files_says_so_and_ends_well(jobs, trained):
    artifact(jobs, trained["an idle host"])
    log = jobs.account.log(trained["an idle host"], "algo-3")
    (warning,) = [line for line in log if line.startswith("warning: ")]
    assert warning == (
        "warning: algo-3 takes no part in the training (/opt/ml/input/data/train: expected at "
        "least one .csv or .parquet file, found nothing); a sharded channel needs as many files as "
        "there are hosts, 3, or more"
    )
    assert not any("checksum" in line for line in log)


@needs_namespaces
def test_where_no_host_has_data_one_sentence_says_so(jobs, trained):
    described = jobs.account.wait(trained["no data"])
    assert described["TrainingJobStatus"] == "Failed"
    assert (
        "none of the 2 hosts has data: /opt/ml/input/data/train: expected at least one .csv"
        in (described["FailureReason"])
    )


@needs_namespaces
def test_a_bad_row_on_the_second_host_is_the_reason(jobs, trained):
    """And not that the first host has lost the second: that host leaves it time to end first."""
    described = jobs.account.wait(trained["a bad row"])
    assert described["TrainingJobStatus"] == "Failed"
    assert "part-1.csv, row 1 (line 2), column" in described["FailureReason"]


def script_of(name: str, host: str) -> psutil.Process | None:
    """Return the process of a host's entry point."""
    for process in psutil.process_iter():
        try:
            if any(argument.endswith("train_xgboost.py") for argument in process.cmdline()):
                environment = process.environ()
                here = (environment.get("TRAINING_JOB_NAME"), environment.get("SM_CURRENT_HOST"))
                if here == (name, host):
                    return process
        except psutil.Error:
            continue  # it ended meanwhile
    return None


@needs_namespaces
def test_a_host_that_dies_ends_the_job_and_the_others(jobs):
    """Be it the one with the tracker or another."""
    train = (jobs.put(300), SHARDED)
    names = {host: jobs.start(2, ENDLESS, train=train) for host in ("algo-1", "algo-2")}
    for victim, name in names.items():
        eventually("a round", lambda of=name: any("[100]" in row for row in jobs.account.log(of)))
        script_of(name, victim).send_signal(signal.SIGKILL)
        start = time.monotonic()
        described = jobs.account.wait(name)
        assert time.monotonic() - start < 15
        assert described["TrainingJobStatus"] == "Failed"
        assert "ExitCode -9" in described["FailureReason"]


class ByHand:
    """Two hosts without a platform, on addresses of their own: nobody ends what they do not end.

    Attributes:
        names: The hosts' names.
    """

    def __init__(self, folder: Path, network: int) -> None:
        self.names = [f"127.98.{os.getpid() % 250}.{network + number}" for number in (0, 1)]
        self.folder = folder
        self.processes = [self._start(name) for name in self.names]

    def _start(self, name: str) -> subprocess.Popen:
        folders = {"model_dir": self.folder / name, "output_data_dir": self.folder / name}
        arguments = [str(argument) for key in folders for argument in (f"--{key}", folders[key])]
        arguments += [
            argument for key, value in ENDLESS.items() for argument in (f"--{key}", value)
        ]
        with (self.folder / f"{name}.log").open("w") as log:
            return subprocess.Popen(
                [sys.executable, str(SCRIPTS["train_xgboost"].file), *arguments],
                env=os.environ | {"SM_HOSTS": json.dumps(self.names), "SM_CURRENT_HOST": name},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def end(self) -> None:
        for process in self.processes:  # where a test has failed before they did
            process.kill()
            process.wait()

    def log(self, number: int) -> str:
        return (self.folder / f"{self.names[number]}.log").read_text()


@pytest.fixture
def pairs(tmp_path, no_job):  # none of which ends by itself
    pairs = [ByHand(tmp_path, network) for network in (10, 20)]
    yield pairs
    for pair in pairs:
        pair.end()


@needs_namespaces
def test_the_host_that_is_left_ends_by_itself_with_a_sentence(tmp_path, pairs):
    """It ends whether the platform ends it or not."""
    for victim, pair in enumerate(pairs):
        eventually("a round", lambda of=pair: "[100]" in of.log(0))
        pair.processes[victim].kill()
    killed = time.monotonic()
    for victim, pair in enumerate(pairs):
        assert pair.processes[1 - victim].wait(timeout=20) == 1
        # Not at once: a host that ended of an error of its own is to be the first.
        assert time.monotonic() - killed > rendezvous.CAUSE_FIRST_S / 2
        gone, left = pair.names[victim], pair.names[1 - victim]
        output = pair.log(1 - victim)
        assert output.splitlines()[-1] == (
            f"train_xgboost.py: another host of this job ({gone}) ended, or fell silent, before "
            f"the training did, so {left} cannot go on; its log says why"
        )
        assert "Traceback" not in output
    script = SCRIPTS["train_xgboost"]
    # The first hosts have saved their best model on the way; no other host has, nor an output.
    saved = {f"{pair.names[0]}/{name}" for pair in pairs for name in script.promised}
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.glob("*/[!.]*")}
    assert left == saved
    for pair in pairs:
        assert script.module.model_fn(tmp_path / pair.names[0]).num_boosted_rounds() > 0
