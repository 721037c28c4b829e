"""All lessons on one AWS, from the last but one to the first; then 12, which cleans up; and back.

    python -m lessons.on_stub python -m tests.support.lesson_walk --output build/tests/walk

At the turn there should be nothing that bills, and on the way back every lesson makes again what it
needs. Only 01 and 03 go back, unless --full: the complete way takes minutes. Leaves, beside the
pages, walk.json: the results in their order, and what was left at the turn.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

import boto3
from botocore.exceptions import ClientError

from lessons import run as run_lessons
from stub_aws.instance import namespaces_available
from stub_aws.logs import LOG_GROUP

# Jobs of several hosts need namespaces; so do those of SDK 3, whose own script names /opt/ml.
NEED_NAMESPACES = ("07", "08", "10")


def can_run(lesson: str) -> bool:
    """Return whether a lesson, named by its file's stem, can run on the stub of this machine."""
    return namespaces_available() or not lesson.startswith(NEED_NAMESPACES)


def what_is_left() -> dict[str, list[str]]:
    """Return all that bills or may bill in the account, by kind, as far as the role can see it.

    By calls of its own, not by the program that the lesson cleans up with. More than this the role
    cannot make: its policy knows one bucket, and no endpoint or notebook instance.
    """
    s3, sagemaker, logs = (boto3.client(name) for name in ("s3", "sagemaker", "logs"))
    account = boto3.client("sts").get_caller_identity()["Account"]
    bucket = f"sagemaker-workshop-{account}-{s3.meta.region_name}"
    left: dict[str, list[str]] = {}
    for status in ("InProgress", "Stopping"):
        summaries = sagemaker.list_training_jobs(StatusEquals=status)["TrainingJobSummaries"]
        left[f"jobs {status}"] = [job["TrainingJobName"] for job in summaries]
    summaries = sagemaker.list_notebook_instances()["NotebookInstances"]
    left["notebook instances"] = [one["NotebookInstanceName"] for one in summaries]
    streams = logs.describe_log_streams(logGroupName=LOG_GROUP)["logStreams"]
    left["log streams"] = [stream["logStreamName"] for stream in streams]
    try:
        s3.head_bucket(Bucket=bucket)
    except ClientError as error:
        if error.response["Error"]["Code"] != "404":
            raise
    else:
        objects = s3.list_objects_v2(Bucket=bucket).get("Contents", [])
        uploads = s3.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
        left["bucket"] = [bucket, *(entry["Key"] for entry in [*objects, *uploads])]
    return {kind: names for kind, names in left.items() if names}


def main(argv: list[str] | None = None) -> int:
    """Run the command line, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--timeout", type=int, default=600, help="seconds that one cell may take")
    parser.add_argument("--output", type=Path, required=True, help="where the pages go")
    parser.add_argument("--full", action="store_true", help="all lessons go back")
    arguments = parser.parse_args(argv)
    *lessons, clean_up = (path for path in run_lessons.choose([]) if can_run(path.stem))
    there, back = (
        [*lessons[::-1], clean_up],
        [*lessons, clean_up] if arguments.full else lessons[:3:2],
    )
    results = run_lessons.run(there, arguments.output, arguments.timeout)
    left = what_is_left()
    results += run_lessons.run(back, arguments.output, arguments.timeout)
    walk = {"results": [asdict(result) for result in results], "left": left}
    (arguments.output / "walk.json").write_text(json.dumps(walk, indent=1) + "\n")
    return 0 if all(result.passed for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
