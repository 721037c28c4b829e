"""What a training job on the stub AWS takes beside its script: from CreateTrainingJob to Completed.

    python -m tests.bench.stub_overhead

The same scripts by hand and as jobs on one host, in turns. What a job takes more is the stub's
share; its aim is at most a second. A part of it is AWS's own: `sagemaker-training` is imported,
fetches the code with boto3 and starts the script, as in any of AWS's images. A job whose container
ends at once shows what is left: namespaces, folders, log, statuses, S3.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lessons.on_stub import POLICY, ROLE_NAME
from stub_aws.aws import StubAWS, forget_the_person
from tests.bench import Row, table, take_turns
from tests.support.stub_jobs import BUCKET, IMAGE, PRELUDE, REPOSITORY, Account

TURNS = 7
AIM_MS = 1000
SCRIPTS = REPOSITORY / "scripts" / "training"
DATA = REPOSITORY / "data" / "titanic_train.csv"
TOOLKIT = "import sagemaker_training.cli.train"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and print a table and the shares."""
    forget_the_person()
    workshop = {"policies": [POLICY], "role_name": ROLE_NAME}
    with StubAWS(**workshop) as stub, tempfile.TemporaryDirectory() as scratch:
        runs = ways(Account(stub.environment, stub.role_arn), Path(scratch))
        rows = [Row(name, values, "ms") for name, values in take_turns(runs, TURNS, "jobs").items()]
    print(table(rows))
    medians = {row.name: row.median for row in rows}
    for script in ("train_xgboost.py", "an empty script"):
        share = medians[f"{script}, as a job"] - medians[f"{script}, by hand"]
        print(f"  {script}: the stub's share is {share:,.0f} ms (aim: at most {AIM_MS:,} ms)")
    return 0


def ways(account: Account, scratch: Path) -> dict[str, Callable[[], float]]:
    """Name -> a function that runs it once and returns milliseconds."""
    account.s3.upload_file(str(DATA), BUCKET, "bench/titanic_train.csv")
    train = {"train": (f"s3://{BUCKET}/bench/", "FullyReplicated")}
    files = {
        path.relative_to(SCRIPTS).as_posix(): path.read_bytes() for path in SCRIPTS.rglob("*.py")
    }
    empty = scratch / "empty.py"
    empty.write_text(PRELUDE, encoding="utf-8")
    folders = {"SM_MODEL_DIR": str(scratch), "SM_OUTPUT_DATA_DIR": str(scratch)}
    ends = {"ContainerEntrypoint": ["/bin/true"]}
    specification = {"TrainingImage": IMAGE, "TrainingInputMode": "File"}

    def by_hand(*arguments: str | Path) -> Callable[[], float]:
        return lambda: command(sys.executable, *arguments, environment=os.environ | folders)

    def job(**request: Any) -> Callable[[], float]:
        return lambda: milliseconds(account.run(**request))

    return {
        "train_xgboost.py, by hand": by_hand(SCRIPTS / "train_xgboost.py"),
        "train_xgboost.py, as a job": job(files=files, program="train_xgboost.py", channels=train),
        "an empty script, by hand": by_hand(empty),
        "an empty script, as a job": job(),
        "AWS's toolkit, its import alone": by_hand("-c", TOOLKIT),
        "a container that ends at once": job(AlgorithmSpecification=specification | ends),
    }


def command(*arguments: str | Path, environment: dict[str, str]) -> float:
    """Run a command; its wall time."""
    start = time.perf_counter()
    subprocess.run(
        arguments, env=environment, cwd=REPOSITORY, stdout=subprocess.DEVNULL, check=True
    )
    return 1000 * (time.perf_counter() - start)


def milliseconds(description: dict[str, Any]) -> float:
    """From a job's creation to its last status.

    Raises:
        RuntimeError: It did not complete.
    """
    if description["TrainingJobStatus"] != "Completed":
        raise RuntimeError(f"the job failed: {description.get('FailureReason')}")
    took = description["LastModifiedTime"] - description["CreationTime"]
    return 1000 * took.total_seconds()


if __name__ == "__main__":
    sys.exit(main())
