"""The workshop's resources on AWS: one notebook instance with its bucket and its execution role.

    python -m notebook_instance.instance create    makes them, or starts a stopped instance
    python -m notebook_instance.instance status    prints what exists, and what it costs now
    python -m notebook_instance.instance delete    deletes all of it, and what is in the bucket
    python -m notebook_instance.instance template  prints the CloudFormation template

They are one CloudFormation stack, notebook_instance/template.yaml. A command that costs money or
deletes something prints what, and asks first; `--yes` answers. A resource is ours if it has the
workshop's tag, or the tag by which CloudFormation names a stack of ours; no other resource is
changed, even if it has one of our names. Your own credentials are used, and need permissions for
CloudFormation, SageMaker, S3 and IAM.
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
    """The resources cannot be made, read or deleted; the message says why and what to do."""


@dataclass(frozen=True)
class Target:
    """The account and the region that the calls go to."""

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
        """Return the console's page of the notebook instance, which has a button for JupyterLab."""
        return (
            f"https://{self.region}.console.aws.amazon.com/sagemaker/home?region={self.region}"
            f"#/notebook-instances/{NAME}"
        )


# --- what it costs ------------------------------------------------------------------------------


PRICES = "unknown to this project, see https://aws.amazon.com/sagemaker/ai/pricing/"


def hourly(instance_type: str, region: str) -> str:
    """Return what the instance costs while it runs; an unknown price is never guessed."""
    try:
        return f"${costs.price(instance_type, region, use='notebook').usd:g} an hour while it runs"
    except costs.CostError:
        return f"price in {region} {PRICES}"


def monthly(volume_gb: int, region: str) -> str:
    """Return what the instance's volume costs, running or stopped."""
    if region != costs.ML_VOLUME.region:
        return f"price in {region} {PRICES}"
    return f"${volume_gb * costs.ML_VOLUME.usd:.2f} a month"


def bill(instance_type: str, volume_gb: int, region: str) -> list[str]:
    """Return what the resources cost, as lines of text."""
    return [
        f"  {instance_type}: {hourly(instance_type, region)}",
        f"  volume of {volume_gb} GB, billed until it is deleted: {monthly(volume_gb, region)}",
        "  training jobs and the objects in the bucket come on top; each lesson says how much",
    ]


def objects(count: int, size: int) -> str:
    """Return a number of objects and their bytes together, as text."""
    return f"{count:,} object{'' if count == 1 else 's'}, {size / 1e6:.1f} MB"


def confirmed(question: str, yes: bool) -> bool:
    """Return whether the person answers yes, or has answered before."""
    if yes:
        return True
    try:
        return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        print()
        return False


# --- create -------------------------------------------------------------------------------------


def create(target: Target, asked: argparse.Namespace) -> int:
    """Make the resources, or start a stopped instance, and return the exit code.

    Raises InstanceError or StackError with one sentence when that is not possible.
    """
    stack = stacks.find(target.cloudformation, NAME)
    if stack is not None:
        return _already_there(target, stack, asked.yes)
    repository = asked.repository or _origin()
    if not REPOSITORY.fullmatch(repository):
        raise InstanceError(
            f"The instance can clone only from a public https address, not {repository!r}: give "
            "one with --repository."
        )
    has_bucket, problem = _look_at_bucket(target)
    if problem:
        raise InstanceError(problem)
    print(f"This makes, in {target.region} of account {target.account}:")
    print(f"  {'' if has_bucket else 'a bucket, '}an execution role, and a notebook instance")
    print(f"  that clones {repository}")
    print(*bill(asked.instance_type, asked.volume_gb, target.region), sep="\n")
    print(f"  the instance stops itself after {asked.idle_minutes} idle minutes")
    if not confirmed("Make it?", asked.yes):
        print("Nothing was made.")
        return 1
    parameters = {
        "RepositoryUrl": repository,
        "NotebookInstanceName": NAME,
        "ExecutionRoleName": f"{NAME}-execution-role-{target.region}",  # one name in all regions
        "InstanceType": asked.instance_type,
        "VolumeSizeInGB": str(asked.volume_gb),
        "IdleMinutes": str(asked.idle_minutes),
        "PipExtraIndexUrl": asked.pip_extra_index_url,
        "MakeBucket": "no" if has_bucket else "yes",
    }
    answer = target.cloudformation.create_stack(
        StackName=NAME,
        TemplateBody=instance_template.body(),
        Parameters=[{"ParameterKey": k, "ParameterValue": v} for k, v in parameters.items()],
        Capabilities=["CAPABILITY_NAMED_IAM"],  # the role has a name, which IAM requires to state
        OnFailure="DELETE",  # unfinished resources bill, too
        Tags=[workshop.WORKSHOP_TAG],
    )
    _follow_creation(target, answer["StackId"], asked.instance_type)
    return 0


def _already_there(target: Target, stack: dict[str, Any], yes: bool) -> int:
    _check_ours(stack)
    status = stack["StackStatus"]
    if status == "CREATE_IN_PROGRESS":
        print("It is being made already:")
        _follow_creation(target, stack["StackId"], INSTANCE_TYPE)
        return 0
    if "FAILED" in status or "ROLLBACK" in status or "DELETE" in status:
        raise InstanceError(
            f"The stack {NAME} is left over from a run that failed ({status}): "
            "delete it with `make instance-delete`, then make it again."
        )
    about = _describe(target)
    if about is None:
        raise InstanceError(
            f"The stack {NAME} exists, but its notebook instance does not, so somebody deleted it "
            "in the console: run `make instance-delete`, then make it again."
        )
    if about["NotebookInstanceStatus"] == "Stopped":
        _check_instance(target, about)
        kind = about["InstanceType"]
        print(f"The notebook instance is there and stopped. {kind}: {hourly(kind, target.region)}")
        if not confirmed("Start it?", yes):
            print("It stays stopped.")
            return 1
        target.sagemaker.start_notebook_instance(NotebookInstanceName=about["NotebookInstanceName"])
        _await(target, "InService")
    else:
        print(f"It is there already: {about['NotebookInstanceStatus']}.")
    print(f"Open it: {target.page}")
    return 0


def _follow_creation(target: Target, stack_id: str, instance_type: str) -> None:
    print("CloudFormation works for about 5 minutes, also if you interrupt this.", flush=True)
    happened = _shown(stacks.watch(target.cloudformation, stack_id, set()))
    stack = stacks.find(target.cloudformation, stack_id)
    status = "DELETE_COMPLETE" if stack is None else stack["StackStatus"]
    if status != "CREATE_COMPLETE":
        why = stacks.explain(stacks.first_failure(happened), target.region, instance_type)
        left = "" if status == "DELETE_COMPLETE" else f" The stack is left as {status}."
        raise stacks.StackError(f"{why}{left}")
    print(f"Ready: {target.page}")
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
            "This checkout has no origin: give the address from which the instance can clone the "
            "project, --repository https://…"
        )
    return re.sub(r"^(?:ssh://)?git@([^:/]+)[:/]", r"https://\1/", done.stdout.strip())


def _check_ours(stack: dict[str, Any]) -> None:
    if not buckets.is_ours(stack.get("Tags", [])):
        raise InstanceError(
            f"There is a stack {NAME} without the workshop's tag, so somebody else made it, and it "
            "is not changed: use another account or region."
        )


def _is_made_by_us(target: Target, tags: Sequence[dict[str, str]]) -> bool:
    """Return whether something with these tags is the workshop's."""
    if buckets.is_ours(tags):
        return True
    by_stack = [tag["Value"] for tag in tags if tag["Key"] == STACK_TAG]
    stack = stacks.find(target.cloudformation, by_stack[0]) if by_stack else None
    return bool(stack and stack["StackName"] == NAME and buckets.is_ours(stack.get("Tags", [])))


def _check_instance(target: Target, about: dict[str, Any]) -> None:
    """Raise InstanceError where somebody has replaced our instance by one of their own."""
    pages = target.sagemaker.get_paginator("list_tags")
    listed = pages.paginate(ResourceArn=about["NotebookInstanceArn"])
    tags = [tag for page in listed for tag in page["Tags"]]
    if not _is_made_by_us(target, tags):
        raise InstanceError(_replaced("notebook instance", about["NotebookInstanceName"]))


def _check_role(target: Target) -> None:
    """Raise InstanceError where somebody has replaced our role by one of their own."""
    name = stacks.physical_id(target.cloudformation, NAME, ROLE)
    client = target.boto.client("iam")
    if name is None:
        return
    with suppress(client.exceptions.NoSuchEntityException):
        tags = client.get_role(RoleName=name)["Role"].get("Tags", [])
        if not _is_made_by_us(target, tags):
            raise InstanceError(_replaced("role", name))


def _replaced(kind: str, name: str) -> str:
    return (
        f"The {kind} {name} lacks the workshop's tag, so somebody else made it, and nothing is "
        f"changed, because it would be deleted with the stack {NAME}: delete it where it is yours, "
        f"or {buckets.tag_again()}."
    )


def _look_at_bucket(target: Target, to_delete: bool = False) -> tuple[bool, str]:
    """Return whether the workshop's bucket is there, and what is wrong with one of its name.

    Lessons use it only with the workshop's tag; `to_delete` it, CloudFormation's tag is enough.
    """
    from botocore.exceptions import ClientError

    try:
        if not buckets.exists(target.s3, target.bucket, target.account):
            return False, ""
        tags = buckets.tags_of(target.s3, target.bucket, target.account)
    except ClientError as error:
        if error.response["Error"]["Code"] == "403":
            return False, (
                f"The bucket name {target.bucket} is taken by another account, or you lack the "
                "permission s3:ListBucket on it."
            )
        raise
    if buckets.is_ours(tags) or (to_delete and _is_made_by_us(target, tags)):
        return True, ""
    return False, (
        f"There is a bucket {target.bucket} without the workshop's tag, so somebody else made it, "
        "and it is not changed: use another region, or delete it where it is yours, or "
        f"{buckets.tag_again()}."
    )


# --- status -------------------------------------------------------------------------------------


def status(target: Target, asked: argparse.Namespace) -> int:
    """Print what exists and what it costs now, and return the exit code."""
    stack = stacks.find(target.cloudformation, NAME)
    there, problem = _look_at_bucket(target)
    if stack is None:
        print(f"There is no stack {NAME} in {target.region} of account {target.account}.")
    else:
        _check_ours(stack)
        print(
            f"stack {NAME} in {target.region} of account {target.account}: {stack['StackStatus']}"
        )
        _print_instance(target)
    if there:
        count, size = _content(target)
        known = target.region == costs.S3_STANDARD.region
        month = f"{costs.dollars(costs.storage_per_month(size))} a month" if known else PRICES
        print(f"bucket {target.bucket}: {objects(count, size)}: {month}")
    if problem:
        raise InstanceError(problem)
    if stack is None and not there:
        print("Nothing of it bills.")
    return 0


def _print_instance(target: Target) -> None:
    about = _describe(target)
    if about is None:
        print("  it has no notebook instance")
        return
    kind, volume, now = (
        about[k] for k in ("InstanceType", "VolumeSizeInGB", "NotebookInstanceStatus")
    )
    print(f"notebook instance {about['NotebookInstanceName']}: {now}")
    if reason := about.get("FailureReason"):
        print(f"  {reason}")
    print(*bill(kind, volume, target.region)[:2], sep="\n")
    print(f"  {target.page}")


def _describe(target: Target) -> dict[str, Any] | None:
    """Return the notebook instance of the stack; None where the stack has none (any more)."""
    from botocore.exceptions import ClientError

    arn = stacks.physical_id(target.cloudformation, NAME, INSTANCE)
    if arn is None:
        return None
    try:
        return target.sagemaker.describe_notebook_instance(
            NotebookInstanceName=arn.rpartition("/")[2]
        )
    except ClientError as error:
        if error.response["Error"]["Code"] == "ValidationException":  # RecordNotFound
            return None
        raise


def _content(target: Target) -> tuple[int, int]:
    """Return the number of objects in the bucket, old versions among them, and their bytes."""
    sizes = [entry.size for entry in buckets.versions(target.s3, buckets.Bucket(target.bucket))]
    return len(sizes), sum(sizes)


# --- delete -------------------------------------------------------------------------------------


def delete(target: Target, asked: argparse.Namespace) -> int:
    """Delete the resources with all that is in them, and return the exit code.

    Safe to repeat. Other people's resources stay, whatever their names are. Raises InstanceError or
    StackError with one sentence when something stays.
    """
    stack = stacks.find(target.cloudformation, NAME)
    about = None
    if stack is not None:
        _check_ours(stack)
        about = _describe(target)
        if about is not None:
            _check_instance(target, about)
        _check_role(target)
    there, problem = _look_at_bucket(target, to_delete=True)
    if stack is None and not there:
        if problem:
            raise InstanceError(problem)
        print(f"Nothing of it is in {target.region} of account {target.account}.")
        return 0
    print(f"This deletes, in {target.region} of account {target.account}, for ever:")
    if about is not None:
        print(f"  the notebook instance {about['NotebookInstanceName']}, with all files on it")
    if stack is not None:
        print("  its set-up and its execution role")
    if there:
        count, size = _content(target)
        print(f"  the bucket {target.bucket}, with all in it: {objects(count, size)}")
    print("Logs of training jobs stay; `python -m workshop.cleanup` lists what else is left.")
    if not confirmed("Delete it?", asked.yes):
        print("Nothing was deleted.")
        return 1
    if about is not None:
        _stop(target, about)
    if there:
        problem = _empty(target)
    if stack is not None:  # even if the bucket is not empty: the instance bills more
        _delete_stack(target, stack["StackId"])
    if there and not problem:
        with suppress(target.s3.exceptions.NoSuchBucket):
            target.s3.delete_bucket(Bucket=target.bucket)
        print(f"  deleted the bucket {target.bucket}")
    if problem:
        raise InstanceError(f"The rest is deleted. {problem}")
    print("All of it is deleted; nothing of it bills any more.")
    return 0


def _stop(target: Target, about: dict[str, Any]) -> None:
    if about["NotebookInstanceStatus"] == "Pending":  # cannot be stopped yet
        _await(target, "InService", "Failed")
        about = _describe(target) or about
    if about["NotebookInstanceStatus"] == "InService":
        target.sagemaker.stop_notebook_instance(NotebookInstanceName=about["NotebookInstanceName"])
    if about["NotebookInstanceStatus"] in ("InService", "Stopping"):
        _await(target, "Stopped", "Failed")


def _await(target: Target, *until: str) -> None:
    """Wait for a status of the notebook instance, and show how it changes.

    Raises InstanceError when it fails instead.
    """
    started, last = time.monotonic(), ""
    while True:
        about = _describe(target) or {"NotebookInstanceStatus": "gone"}
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


def _empty(target: Target) -> str:
    """Delete all that is in the bucket, and return why that was not possible, or nothing."""
    bucket = buckets.Bucket(target.bucket)
    try:
        buckets.abort_uploads(target.s3, bucket)
        for count in buckets.empty(target.s3, bucket):
            print(f"  deleted {count:,} object{'' if count == 1 else 's'}", flush=True)
    except (workshop.WorkshopError, *refusals.failures()) as error:
        why = str(error) if isinstance(error, workshop.WorkshopError) else refusals.reason(error)
        return f"The bucket {target.bucket} was not emptied: {why}, then delete again."
    return ""


def _delete_stack(target: Target, stack_id: str) -> None:
    known = {event["EventId"] for event in stacks.events(target.cloudformation, stack_id)}
    target.cloudformation.delete_stack(StackName=stack_id)
    happened = _shown(stacks.watch(target.cloudformation, stack_id, known))
    left = stacks.find(target.cloudformation, stack_id)
    if left is not None and left["StackStatus"] != "DELETE_COMPLETE":
        why = stacks.explain(stacks.first_failure(happened), target.region, INSTANCE_TYPE)
        raise stacks.StackError(f"{why} Remedy that, and run `make instance-delete` again.")


# --- the command line ---------------------------------------------------------------------------


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of the commands, and return the exit code."""
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
        return commands[asked.command](Target(boto), asked)
    except workshop.WorkshopError as error:
        print(error, file=sys.stderr)
    except ClientError as error:
        print(refusal(error), file=sys.stderr)
    except refusals.failures() as error:
        print(f"AWS could not be asked: {refusals.reason(error)}.", file=sys.stderr)
    return 1


def refusal(error: Any) -> str:
    """Return one sentence on a call that AWS refused (a ClientError), and what to do."""
    code, message = error.response["Error"]["Code"], error.response["Error"]["Message"]
    if permission := refusals.named_in(message):
        return (
            f"You lack the permission {permission}: ask the person who manages the account for it, "
            "or use the credentials of somebody who has it."
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
