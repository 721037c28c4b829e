"""Says what the stub's answers are worth: real, computed or absent, by operation and field.

`python -m stub_aws.fidelity` writes the tables into FIDELITY.md beside this file, from the code
and botocore's model of the API; a test proves them up to date, and another compares the description
of a real job with `FIELDS`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from moto.core.utils import get_service_model

from .answers import ECHOED
from .images import IMAGES
from .members import TREATMENT, Treatment
from .provider import FROM_MOTO, TRAINING
from .quotas import DEFAULT_QUOTA, QUOTAS

PAGE = Path(__file__).with_name("FIDELITY.md")
BEGIN, END = "<!-- tables: begin -->", "<!-- tables: end -->"

# Fields of DescribeTrainingJob that are more than an echo of the request.
FIELDS = {
    "TrainingJobArn": ("computed", "of the stub's account and region"),
    "TrainingJobStatus": ("real", "follows from the secondary status"),
    "SecondaryStatus": ("real", "what the job is doing"),
    "SecondaryStatusTransitions": ("real", "measured times, AWS's messages; see the table below"),
    "CreationTime": ("real", "measured"),
    "LastModifiedTime": ("real", "measured"),
    "TrainingStartTime": ("real", "measured: the download of the data begins"),
    "TrainingEndTime": ("real", "measured: the artifacts are in S3"),
    "TrainingTimeInSeconds": (
        "computed",
        "time in the statuses that AWS bills, rounded, 1 or more",
    ),
    "BillableTimeInSeconds": (
        "computed",
        "the same; for spot jobs times an assumed price ratio of 0.3",
    ),
    "FailureReason": ("real", "the failure file or exit code of the container, or the S3 error"),
    "ModelArtifacts": ("real", "only when the model is in S3"),
    "FinalMetricDataList": ("real", "last value of each metric in the log"),
    "EnableNetworkIsolation": ("real", "as asked for; enforced for one host with namespaces"),
    "EnableManagedSpotTraining": ("real", "as asked for; interruptions are ordered by tags"),
    "EnableInterContainerTrafficEncryption": ("echo", "nothing is encrypted on the loopback"),
    "VpcConfig": ("echo", "there is no VPC"),
    "DebugHookConfig": ("echo", "no Debugger runs"),
    "ProfilerConfig": ("echo", "no profiler runs"),
    "ExperimentConfig": ("echo", "no experiment is recorded"),
    "RetryStrategy": ("echo", "nothing is retried"),
    "RemoteDebugConfig": ("echo", "only false is accepted"),
    "InfraCheckConfig": ("echo", "only false is accepted"),
    "WarmPoolStatus": ("computed", "no instance is kept; the account of it is"),
    "ProfilingStatus": ("real", "Disabled: no profiler runs"),
}


def field_table() -> str:
    """Return the table of DescribeTrainingJob's fields, in the order of the API's model."""
    model = get_service_model("sagemaker").operation_model("DescribeTrainingJob")
    rows = [f"| `{name}` | {' | '.join(field_kind(name))} |" for name in model.output_shape.members]
    return "\n".join(["| field | is | |", "|---|---|---|", *rows])


def field_kind(name: str) -> tuple[str, str]:
    """Return what a field of DescribeTrainingJob is (real, computed, echo, absent), and a note."""
    if name in FIELDS:
        return FIELDS[name]
    if name == "TrainingJobName" or name in ECHOED:
        return "real", "as asked for, and obeyed"
    return "absent", ""


def operation_table() -> str:
    """Return the table of the operations that answer; every other one is refused by name."""
    rows = [f"| `{name}` | ours |" for name in sorted(TRAINING)]
    rows += [f"| `{name}` | moto's, which starts nothing |" for name in sorted(FROM_MOTO)]
    return "\n".join(["| operation | whose |", "|---|---|", *rows])


def member_table(operation: str) -> str:
    """Return what becomes of every member of a request, as `members.py` says."""
    rows = [
        f"| `{path}` | {treatment.kind} | {treatment.note}{accepted(treatment)} |"
        for path, treatment in TREATMENT[operation].items()
    ]
    return "\n".join(["| member, and all below it | is | |", "|---|---|---|", *rows])


def accepted(treatment: Treatment) -> str:
    """Return the values of a member that are accepted, where not all are."""
    if not treatment.values:
        return ""
    return " (accepted: " + ", ".join(f"`{json.dumps(one)}`" for one in treatment.values) + ")"


def image_table() -> str:
    """Return the table of the images that have a stand-in."""
    rows = [
        f"| `{image.repository}` | {image.package} {public(image.installed)} "
        f"| `{image.training_module}` |"
        for image in IMAGES.values()
    ]
    return "\n".join(["| image | stand-in | toolkit entry |", "|---|---|---|", *rows])


def public(version: str | None) -> str:
    """Return a version without the name of its build: the page is the same on every machine."""
    return (version or "not installed").partition("+")[0]


def tables() -> str:
    """Return all of the generated part of the page."""
    zero = ", ".join(f"`{name}`" for name, limit in QUOTAS.items() if limit == 0)
    return "\n\n".join(
        [
            "### SageMaker's operations",
            operation_table(),
            "### CreateTrainingJob",
            member_table("CreateTrainingJob"),
            "### ListTrainingJobs",
            member_table("ListTrainingJobs"),
            "### DescribeTrainingJob",
            field_table(),
            "### Images",
            image_table(),
            "### Quotas",
            f"{DEFAULT_QUOTA} instances of each type for training jobs, and 0 of {zero}.",
        ]
    )


def with_tables(text: str) -> str:
    """Return `text` with the generated part between its marks made anew."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{tables()}\n\n{END}{after}"


def main() -> int:
    """Write the page anew."""
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
