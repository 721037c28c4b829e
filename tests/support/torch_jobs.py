"""Jobs of train_torch.py on the stub AWS, whose hosts leave what each of them did (probe.py)."""

from __future__ import annotations

import io
import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from tests.support.entry_points import TRAIN, source
from tests.support.stub_jobs import BUCKET, PYTORCH, Account, channel, unique

SOURCE = source()
PROBE = Path(__file__).parent / "user_scripts" / "hosts" / "probe.py"
EPOCHS = {"epochs": 3, "early_stopping_epochs": 0, "device": "cpu"}
# Which neurons dropout leaves out differs from host to host.
PLAIN = EPOCHS | {"dropout": 0}
SHARDS = (100, 50, 400, 162)  # rows of each object: three hosts get 262, 50 and 400 of them
STEPS = 9  # of an epoch: 570 rows in batches of 64


def upload_replicated(account: Account) -> str:
    """Upload a list of passengers, and return its prefix in S3."""
    prefix = unique("replicated")
    account.put(f"{prefix}/train.csv", TRAIN.read_text())
    return f"s3://{BUCKET}/{prefix}/"


def upload_sharded(account: Account) -> str:
    """Upload the same passengers in four objects of other lengths, and return their prefix."""
    prefix, rows = unique("sharded"), pd.read_csv(TRAIN)
    for number, end in enumerate(np.cumsum(SHARDS)):
        shard = rows[end - SHARDS[number] : end]
        account.put(f"{prefix}/{number}.csv", shard.to_csv(index=False))
    return f"s3://{BUCKET}/{prefix}/"


@dataclass
class Job:
    """A finished job of probe.py."""

    account: Account
    description: dict
    hosts: int

    @property
    def name(self) -> str:
        return self.description["TrainingJobName"]

    def logs(self) -> dict[str, list[str]]:
        names = [f"algo-{number}" for number in range(1, self.hosts + 1)]
        return {name: self.account.log(self.name, name) for name in names}

    def weights(self) -> dict[str, list[str]]:
        """Return the checksums that each host printed, epoch after epoch."""
        weights = {}
        for host, log in self.logs().items():
            pattern = rf"{host}: epoch (\d+), weights ([0-9a-f]{{8}})"
            matches = [match for line in log if (match := re.fullmatch(pattern, line))]
            assert [int(match[1]) for match in matches] == list(range(1, len(matches) + 1))
            weights[host] = [match[2] for match in matches]
        return weights

    def model(self) -> dict[str, bytes]:
        return self.account.unpack(self.name)

    def probes(self) -> list[dict]:
        files = self.model()
        return [json.loads(files[f"probe-algo-{n}.json"]) for n in range(1, self.hosts + 1)]

    def state(self) -> dict[str, torch.Tensor]:
        return torch.load(io.BytesIO(self.model()["model.pt"]), weights_only=True)["state"]

    def parameters(self) -> dict:
        return json.loads(self.model()["parameters.json"])

    def history(self) -> pd.DataFrame:
        files = self.account.unpack(self.name, "output.tar.gz")
        return pd.read_csv(io.BytesIO(files["history.csv"])).set_index("epoch")


def start(
    account, uri, hyperparameters=PLAIN, *, hosts=2, distribution="FullyReplicated", **changes
) -> str:
    """Start a job, and return its name."""
    return account.start(
        files=SOURCE | {"probe.py": PROBE.read_bytes()},
        program="probe.py",
        image=PYTORCH,
        hosts=hosts,
        InputDataConfig=[channel("train", uri, distribution)],
        hyperparameters={name: json.dumps(value) for name, value in hyperparameters.items()},
        **changes,
    )


def run_job(account, *arguments, hosts=2, **changes) -> Job:
    """Run a job to its end, which must be a good one."""
    name = start(account, *arguments, hosts=hosts, **changes)
    job = Job(account, account.wait(name), hosts)
    assert job.description["TrainingJobStatus"] == "Completed", job.logs()
    return job
