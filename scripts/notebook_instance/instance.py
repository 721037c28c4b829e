"""The workshop's place on AWS: one notebook instance with its bucket and its execution role.

    python -m notebook_instance.instance create    makes it, or starts it where it has stopped
    python -m notebook_instance.instance status    what is there, and what it costs now
    python -m notebook_instance.instance delete    removes all of it, also what lies in the bucket
    python -m notebook_instance.instance template  prints the CloudFormation template

It is one CloudFormation stack, notebook_instance/template.yaml. Whatever costs money or deletes
something says what, and asks first; `--yes` answers. Ours is what has the workshop's tag, or the
tag by which CloudFormation names a stack of ours; what else has a name of ours is not touched.
Your own credentials are used, and need rights on CloudFormation, SageMaker, S3 and IAM.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import workshop
from notebook_instance import stacks
from notebook_instance import template as instance_template
from workshop import buckets, costs, refusals

NAME = "sagemaker-workshop"  # of the stack, and of the notebook instance in it
INSTANCE = "NotebookInstance"  # its name inside the template
ROLE = "ExecutionRole"
STACK_TAG = "aws:cloudformation:stack-id"  # CloudFormation's own; no person can set it
INSTANCE_TYPE = "ml.t3.medium"
VOLUME_GB = 20
IDLE_MINUTES = 60
REPOSITORY = re.compile(r"https://[A-Za-z0-9._~/+%-]+")


class InstanceError(workshop.WorkshopError):
    """The place cannot be made, read or deleted; the message says why and what to do."""


@dataclass(frozen=True)
class Place:
    """Where the calls go: an account and a region."""

    boto: Any

    @property
    def region(self) -> str:
        return self.boto.region_name

    @cached_property
    def account(self) -> str:
        return self.boto.client("sts").get_caller_identity()["Account"]

    @cached_property
    def cloudformation(self) -> Any:
        return self.boto.client("cloudformation")

    @cached_property
    def sagemaker(self) -> Any:
        return self.boto.client("sagemaker")

    @cached_property
    def s3(self) -> Any:
        return self.boto.client("s3")

    @property
    def bucket(self) -> str:
        return workshop.bucket_name(self.account, self.region)

    @property
    def page(self) -> str:
        """The console's page of the notebook instance; it has the button that opens JupyterLab."""
        return (
            f"https://{self.region}.console.aws.amazon.com/sagemaker/home?region={self.region}"
            f"#/notebook-instances/{NAME}"
        )


# --- what it costs ------------------------------------------------------------------------------


PRICES = "unknown to this project, see https://aws.amazon.com/sagemaker/ai/pricing/"


def hourly(instance_type: str, region: str) -> str:
    """Return what the instance costs while it runs; an unknown price is said, never guessed."""
    try:
        return f"${costs.price(instance_type, region, use='notebook').usd:g} an hour while it runs"
    except costs.CostError:
        return f"price in {region} {PRICES}"


def monthly(volume_gb: int, region: str) -> str:
    """Return what the instance's volume costs, running or stopped; an unknown price is said."""
    if region != costs.ML_VOLUME.region:
        return f"price in {region} {PRICES}"
    return f"${volume_gb * costs.ML_VOLUME.usd:.2f} a month"


def bill(instance_type: str, volume_gb: int, region: str) -> list[str]:
    """Return what the place costs, as lines of text."""
    return [
        f"  {instance_type}: {hourly(instance_type, region)}",
        f"  volume of {volume_gb} GB, billed until it is deleted: {monthly(volume_gb, region)}",
        "  training jobs and the objects in the bucket come on top; each lesson says how much",
    ]


def objects(count: int, size: int) -> str:
    """So many objects of so many bytes together, in words."""
    return f"{count:,} object{'' if count == 1 else 's'}, {size / 1e6:.1f} MB"


def confirmed(question: str, yes: bool) -> bool:
    """Whether the person says yes, or has said so before."""
    if yes:
        return True
    try:
        return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        print()
        return False


# --- create -------------------------------------------------------------------------------------


def create(place: Place, asked: argparse.Namespace) -> int:
    """Make the place, or bring a stopped instance up again; returns the exit code.

    Raises InstanceError or StackError with one sentence when that is not possible.
    """
    stack = stacks.find(place.cloudformation, NAME)
    if stack is not None:
        return _already_there(place, stack, asked.yes)
    repository = asked.repository or _origin()
    if not REPOSITORY.fullmatch(repository):
        raise InstanceError(
            f"The instance can clone only from a public https address, not {repository!r}: give "
            "one with --repository."
        )
    has_bucket, problem = _look_at_bucket(place)
    if problem:
        raise InstanceError(problem)
    print(f"This makes, in {place.region} of account {place.account}:")
    print(f"  {'' if has_bucket else 'a bucket, '}an execution role, and a notebook instance")
    print(f"  that clones {repository}")
    print(*bill(asked.instance_type, asked.volume_gb, place.region), sep="\n")
    print(f"  the instance stops itself after {asked.idle_minutes} idle minutes")
    if not confirmed("Make it?", asked.yes):
        print("Nothing was made.")
        return 1
    parameters = {
        "RepositoryUrl": repository,
        "NotebookInstanceName": NAME,
        "ExecutionRoleName": f"{NAME}-execution-role-{place.region}",  # one name in all regions
        "InstanceType": asked.instance_type,
        "VolumeSizeInGB": str(asked.volume_gb),
        "IdleMinutes": str(asked.idle_minutes),
        "PipExtraIndexUrl": asked.pip_extra_index_url,
        "MakeBucket": "no" if has_bucket else "yes",
    }
    answer = place.cloudformation.create_stack(
        StackName=NAME,
        TemplateBody=instance_template.body(),
        Parameters=[{"ParameterKey": k, "ParameterValue": v} for k, v in parameters.items()],
        Capabilities=["CAPABILITY_NAMED_IAM"],  # the role has a name, and IAM wants that said
        OnFailure="DELETE",  # what is half made bills, too
        Tags=[workshop.WORKSHOP_TAG],
    )
    _follow_creation(place, answer["StackId"], asked.instance_type)
    return 0


def _already_there(place: Place, stack: dict[str, Any], yes: bool) -> int:
    _check_ours(stack)
    status = stack["StackStatus"]
    if status == "CREATE_IN_PROGRESS":
        print("It is being made already:")
        _follow_creation(place, stack["StackId"], INSTANCE_TYPE)
        return 0
    if "FAILED" in status or "ROLLBACK" in status or "DELETE" in status:
        raise InstanceError(
            f"The stack {NAME} is left over from something that did not end well ({status}): "
            "delete it with `make instance-delete`, then make it again."
        )
    about = _describe(place)
    if about is None:
        raise InstanceError(
            f"The stack {NAME} is there, but its notebook instance is not, so somebody deleted it "
            "by hand: run `make instance-delete`, then make it again."
        )
    if about["NotebookInstanceStatus"] == "Stopped":
        _check_instance(place, about)
        kind = about["InstanceType"]
        print(f"The notebook instance is there and stopped. {kind}: {hourly(kind, place.region)}")
        if not confirmed("Start it?", yes):
            print("It stays stopped.")
            return 1
        place.sagemaker.start_notebook_instance(NotebookInstanceName=about["NotebookInstanceName"])
        _await(place, "InService")
    else:
        print(f"It is there already: {about['NotebookInstanceStatus']}.")
    print(f"Open it: {place.page}")
    return 0


def _follow_creation(place: Place, stack_id: str, instance_type: str) -> None:
    print("CloudFormation works; that takes about 5 minutes, and goes on if you leave.", flush=True)
    happened = _shown(stacks.watch(place.cloudformation, stack_id, set()))
    stack = stacks.find(place.cloudformation, stack_id)
    status = "DELETE_COMPLETE" if stack is None else stack["StackStatus"]
    if status != "CREATE_COMPLETE":
        why = stacks.explain(stacks.first_failure(happened), place.region, instance_type)
        left = "" if status == "DELETE_COMPLETE" else f" The stack is left as {status}."
        raise stacks.StackError(f"{why}{left}")
    print(f"Ready: {place.page}")
    print("Its environment takes some minutes more: workshop-environment.log in JupyterLab's list.")


def _shown(happening: Iterator[dict[str, Any]]) -> list[dict[str, Any]]:
    started, happened = time.monotonic(), []
    for event in happening:
        print(stacks.line(event, started), flush=True)
        happened.append(event)
    return happened


def _origin() -> str:
    """Return the address of this checkout's origin, as one that needs no key."""
    done = subprocess.run(
        ["git", "-C", str(Path(__file__).parent), "remote", "get-url", "origin"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise InstanceError(
            "This checkout has no origin, so say where the instance can clone the project from: "
            "--repository https://…"
        )
    return re.sub(r"^(?:ssh://)?git@([^:/]+)[:/]", r"https://\1/", done.stdout.strip())


def _check_ours(stack: dict[str, Any]) -> None:
    if not buckets.is_ours(stack.get("Tags", [])):
        raise InstanceError(
            f"There is a stack {NAME} without the workshop's tag, so somebody else made it, and it "
            "is not touched: use another account or region."
        )


def _is_made_by_us(place: Place, tags: Sequence[dict[str, str]]) -> bool:
    """Return whether something with these tags is the workshop's."""
    if buckets.is_ours(tags):
        return True
    by_stack = [tag["Value"] for tag in tags if tag["Key"] == STACK_TAG]
    stack = stacks.find(place.cloudformation, by_stack[0]) if by_stack else None
    return bool(stack and stack["StackName"] == NAME and buckets.is_ours(stack.get("Tags", [])))


def _check_instance(place: Place, about: dict[str, Any]) -> None:
    """Raise InstanceError where somebody has put an instance of their own in the place of ours."""
    pages = place.sagemaker.get_paginator("list_tags")
    listed = pages.paginate(ResourceArn=about["NotebookInstanceArn"])
    tags = [tag for page in listed for tag in page["Tags"]]
    if not _is_made_by_us(place, tags):
        raise InstanceError(_replaced("notebook instance", about["NotebookInstanceName"]))


def _check_role(place: Place) -> None:
    """Raise InstanceError where somebody has put a role of their own in the place of ours."""
    name = stacks.physical_id(place.cloudformation, NAME, ROLE)
    client = place.boto.client("iam")
    if name is None:
        return
    with suppress(client.exceptions.NoSuchEntityException):
        tags = client.get_role(RoleName=name)["Role"].get("Tags", [])
        if not _is_made_by_us(place, tags):
            raise InstanceError(_replaced("role", name))


def _replaced(kind: str, name: str) -> str:
    return (
        f"The {kind} {name} lacks the workshop's tag, so somebody else made it, and nothing is "
        f"changed, for with the stack {NAME} it would be deleted: delete it where it is yours, or "
        f"{buckets.tag_again()}."
    )


def _look_at_bucket(place: Place, to_delete: bool = False) -> tuple[bool, str]:
    """Return whether the workshop's bucket is there, and what is wrong with one of its name.

    Lessons use it only with the workshop's tag; `to_delete` it, CloudFormation's is proof as well.
    """
    from botocore.exceptions import ClientError

    try:
        if not buckets.exists(place.s3, place.bucket, place.account):
            return False, ""
        tags = buckets.tags_of(place.s3, place.bucket, place.account)
    except ClientError as error:
        if error.response["Error"]["Code"] == "403":
            return False, (
                f"The bucket name {place.bucket} is taken by another account, or you lack the "
                "right s3:ListBucket on it."
            )
        raise
    if buckets.is_ours(tags) or (to_delete and _is_made_by_us(place, tags)):
        return True, ""
    return False, (
        f"There is a bucket {place.bucket} without the workshop's tag, so somebody else made it, "
        "and it is not touched: use another region, or delete it where it is yours, or "
        f"{buckets.tag_again()}."
    )


# --- status -------------------------------------------------------------------------------------


def status(place: Place, asked: argparse.Namespace) -> int:
    """Print what is there and what it costs now; returns the exit code."""
    stack = stacks.find(place.cloudformation, NAME)
    there, problem = _look_at_bucket(place)
    if stack is None:
        print(f"There is no stack {NAME} in {place.region} of account {place.account}.")
    else:
        _check_ours(stack)
        print(f"stack {NAME} in {place.region} of account {place.account}: {stack['StackStatus']}")
        _print_instance(place)
    if there:
        count, size = _content(place)
        known = place.region == costs.S3_STANDARD.region
        month = f"{costs.dollars(costs.storage_per_month(size))} a month" if known else PRICES
        print(f"bucket {place.bucket}: {objects(count, size)}: {month}")
    if problem:
        raise InstanceError(problem)
    if stack is None and not there:
        print("Nothing of it bills.")
    return 0


def _print_instance(place: Place) -> None:
    about = _describe(place)
    if about is None:
        print("  it has no notebook instance")
        return
    kind, volume, now = (
        about[k] for k in ("InstanceType", "VolumeSizeInGB", "NotebookInstanceStatus")
    )
    print(f"notebook instance {about['NotebookInstanceName']}: {now}")
    if reason := about.get("FailureReason"):
        print(f"  {reason}")
    print(*bill(kind, volume, place.region)[:2], sep="\n")
    print(f"  {place.page}")


def _describe(place: Place) -> dict[str, Any] | None:
    """Return the notebook instance of the stack; None where the stack has none, or it is gone."""
    from botocore.exceptions import ClientError

    arn = stacks.physical_id(place.cloudformation, NAME, INSTANCE)
    if arn is None:
        return None
    try:
        return place.sagemaker.describe_notebook_instance(
            NotebookInstanceName=arn.rpartition("/")[2]
        )
    except ClientError as error:
        if error.response["Error"]["Code"] == "ValidationException":  # RecordNotFound
            return None
        raise


def _content(place: Place) -> tuple[int, int]:
    """Return the number of objects in the bucket, old versions among them, and their bytes."""
    sizes = [entry.size for entry in buckets.versions(place.s3, buckets.Bucket(place.bucket))]
    return len(sizes), sum(sizes)


# --- delete -------------------------------------------------------------------------------------


def delete(place: Place, asked: argparse.Namespace) -> int:
    """Remove the place with all that is in it; returns the exit code.

    Safe to repeat. What is somebody else's stays, whatever its name. Raises InstanceError or
    StackError with one sentence when something stays.
    """
    stack = stacks.find(place.cloudformation, NAME)
    about = None
    if stack is not None:
        _check_ours(stack)
        about = _describe(place)
        if about is not None:
            _check_instance(place, about)
        _check_role(place)
    there, problem = _look_at_bucket(place, to_delete=True)
    if stack is None and not there:
        if problem:
            raise InstanceError(problem)
        print(f"Nothing of it is in {place.region} of account {place.account}.")
        return 0
    print(f"This deletes, in {place.region} of account {place.account}, for ever:")
    if about is not None:
        print(f"  the notebook instance {about['NotebookInstanceName']}, with all files on it")
    if stack is not None:
        print("  its set-up and its execution role")
    if there:
        count, size = _content(place)
        print(f"  the bucket {place.bucket}, with all in it: {objects(count, size)}")
    print("Logs of training jobs stay; `python -m workshop.cleanup` lists what else is left.")
    if not confirmed("Delete it?", asked.yes):
        print("Nothing was deleted.")
        return 1
    if about is not None:
        _stop(place, about)
    if there:
        problem = _empty(place)
    if stack is not None:  # whatever became of the bucket, for the instance bills more
        _delete_stack(place, stack["StackId"])
    if there and not problem:
        with suppress(place.s3.exceptions.NoSuchBucket):
            place.s3.delete_bucket(Bucket=place.bucket)
        print(f"  deleted the bucket {place.bucket}")
    if problem:
        raise InstanceError(f"The rest is deleted. {problem}")
    print("All of it is deleted; nothing of it bills any more.")
    return 0


def _stop(place: Place, about: dict[str, Any]) -> None:
    if about["NotebookInstanceStatus"] == "Pending":  # cannot be stopped yet
        _await(place, "InService", "Failed")
        about = _describe(place) or about
    if about["NotebookInstanceStatus"] == "InService":
        place.sagemaker.stop_notebook_instance(NotebookInstanceName=about["NotebookInstanceName"])
    if about["NotebookInstanceStatus"] in ("InService", "Stopping"):
        _await(place, "Stopped", "Failed")


def _await(place: Place, *until: str) -> None:
    """Wait for a status of the notebook instance, and show how it changes.

    Raises InstanceError when it fails instead.
    """
    started, last = time.monotonic(), ""
    while True:
        about = _describe(place) or {"NotebookInstanceStatus": "gone"}
        now = about["NotebookInstanceStatus"]
        if now != last:
            print(f"  {time.monotonic() - started:4.0f} s  notebook instance: {now}", flush=True)
            last = now
        if now in until or now == "gone":
            return
        if now == "Failed":
            raise InstanceError(
                f"The notebook instance failed: {about.get('FailureReason', 'no reason given')}"
            )
        time.sleep(stacks.EVERY_S)


def _empty(place: Place) -> str:
    """Delete all that is in the bucket; returns why it could not, or nothing."""
    bucket = buckets.Bucket(place.bucket)
    try:
        buckets.abort_uploads(place.s3, bucket)
        for count in buckets.empty(place.s3, bucket):
            print(f"  deleted {count:,} object{'' if count == 1 else 's'}", flush=True)
    except (workshop.WorkshopError, *refusals.failures()) as error:
        why = str(error) if isinstance(error, workshop.WorkshopError) else refusals.reason(error)
        return f"The bucket {place.bucket} was not emptied: {why}, then delete again."
    return ""


def _delete_stack(place: Place, stack_id: str) -> None:
    seen = {event["EventId"] for event in stacks.events(place.cloudformation, stack_id)}
    place.cloudformation.delete_stack(StackName=stack_id)
    happened = _shown(stacks.watch(place.cloudformation, stack_id, seen))
    left = stacks.find(place.cloudformation, stack_id)
    if left is not None and left["StackStatus"] != "DELETE_COMPLETE":
        why = stacks.explain(stacks.first_failure(happened), place.region, INSTANCE_TYPE)
        raise stacks.StackError(f"{why} Remedy that, and run `make instance-delete` again.")


# --- the command line ---------------------------------------------------------------------------


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of the commands; returns the exit code."""
    asked = _parser().parse_args(argv)
    if asked.command == "template":
        print(instance_template.body())
        return 0
    import boto3
    from botocore.exceptions import ClientError

    commands = {"create": create, "status": status, "delete": delete}
    try:
        boto = boto3.Session(region_name=asked.region)
        if boto.region_name is None:
            raise InstanceError(
                "No AWS region is chosen: give --region, or set AWS_DEFAULT_REGION."
            )
        return commands[asked.command](Place(boto), asked)
    except workshop.WorkshopError as error:
        print(error, file=sys.stderr)
    except ClientError as error:
        print(refusal(error), file=sys.stderr)
    except refusals.failures() as error:
        print(f"AWS could not be asked: {refusals.reason(error)}.", file=sys.stderr)
    return 1


def refusal(error: Any) -> str:
    """One sentence on a call that AWS refused (a ClientError), and what to do."""
    code, message = error.response["Error"]["Code"], error.response["Error"]["Message"]
    if right := refusals.named_in(message):
        return (
            f"You lack the right {right}: ask whoever manages the account for it, or use the "
            "credentials of somebody who has it."
        )
    if refusals.STALE.match(code):
        return f"Your AWS credentials are not valid, or not any more ({code}): sign in again."
    if code == "AlreadyExistsException":
        return f"A stack {NAME} has just been made by somebody else: see `make instance-status`."
    if code in ("LimitExceededException", "ResourceLimitExceeded"):
        return f"A quota of your account is used up ({message}): see Service Quotas."
    return f"AWS refused {error.operation_name} ({code}): {message}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=["create", "status", "delete", "template"])
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--region", help="default: that of your AWS settings")
    parser.add_argument("--repository", help="public https address to clone; default: the origin")
    parser.add_argument("--instance-type", default=INSTANCE_TYPE, help=f"default {INSTANCE_TYPE}")
    parser.add_argument("--volume-gb", type=int, default=VOLUME_GB, help=f"default {VOLUME_GB}")
    parser.add_argument(
        "--idle-minutes", type=int, default=IDLE_MINUTES, help=f"default {IDLE_MINUTES}"
    )
    parser.add_argument("--pip-extra-index-url", default="", help="such as PyTorch's CPU builds")
    return parser


if __name__ == "__main__":
    sys.exit(main())
