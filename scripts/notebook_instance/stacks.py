"""CloudFormation stacks: find one, watch it while it is made or deleted, say why it failed.

Clients are boto3's for "cloudformation". Importing is cheap.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any

import workshop
from workshop import refusals

EVERY_S = 5.0  # between two looks at a stack that changes
LOGS = "/aws/sagemaker/NotebookInstances"


class StackError(workshop.WorkshopError):
    """A stack is not as it should be; the message says why and what to do."""


def find(client: Any, name: str) -> dict[str, Any] | None:
    """Return the description of the stack with this name or id, or None where there is none."""
    from botocore.exceptions import ClientError

    try:
        return client.describe_stacks(StackName=name)["Stacks"][0]
    except ClientError as error:
        if "does not exist" in error.response["Error"]["Message"]:
            return None
        raise


def physical_id(client: Any, stack: str, logical_id: str) -> str | None:
    """Return the physical id of a stack's resource; None where it has no such resource (now)."""
    for resource in client.describe_stack_resources(StackName=stack)["StackResources"]:
        if resource.get("LogicalResourceId") == logical_id:
            gone = resource.get("ResourceStatus") == "DELETE_COMPLETE"
            return None if gone else resource.get("PhysicalResourceId")
    return None


def events(client: Any, stack_id: str) -> list[dict[str, Any]]:
    """Return all events of a stack, the oldest first; by its id, also of a deleted stack."""
    pages = client.get_paginator("describe_stack_events").paginate(StackName=stack_id)
    return [event for page in pages for event in page["StackEvents"]][::-1]


def watch(client: Any, stack_id: str, known: set[str]) -> Iterator[dict[str, Any]]:
    """Yield the events of a stack as they come, until it changes no more.

    `known` are the ids of earlier events, which are not yielded.
    """
    while True:
        # The status first: an event between the two calls is not lost then.
        status = find(client, stack_id)
        for event in events(client, stack_id):
            if event["EventId"] not in known:
                known.add(event["EventId"])
                yield event
        if status is None or not status["StackStatus"].endswith("_IN_PROGRESS"):
            return
        time.sleep(EVERY_S)


def line(event: dict[str, Any], started: float) -> str:
    """Return one event as a line of text; `started` is a time of time.monotonic."""
    minutes, seconds = divmod(int(time.monotonic() - started), 60)
    what = f"{event['LogicalResourceId']} ({event.get('ResourceType', '?')})"
    return f"  {minutes:2}:{seconds:02}  {event['ResourceStatus']:<20} {what}"


def first_failure(happened: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the event that caused all later failures, whose reason is only that they were
    cancelled."""
    for event in happened:
        reason = event.get("ResourceStatusReason", "")
        if event["ResourceStatus"].endswith("_FAILED") and "cancelled" not in reason:
            return event
    return None


def explain(event: dict[str, Any] | None, region: str, instance_type: str) -> str:
    """Return one sentence on why a resource failed, and what to do."""
    if event is None:
        return "CloudFormation gives no reason; its console shows all events of the stack."
    reason = event.get("ResourceStatusReason", "no reason given")
    what = f"{event['LogicalResourceId']} failed"
    if limit := re.search(r"service limit '([^']+)' is (\d+)", reason):
        return (
            f"{what}: in {region} your account may have {limit[2]} of '{limit[1]}' "
            "(ResourceLimitExceeded); request an increase in Service Quotas, or choose another "
            "type with --instance-type."
        )
    if denied := refusals.named_in(reason):
        return (
            f"{what}: you lack the permission {denied}; ask the person who manages the account for "
            "it."
        )
    if re.search(r"already exist|AlreadyExists|duplicate", reason, re.IGNORECASE):
        return (
            f"{what}: its name is taken by something that this stack has not made. "
            f"{_short(reason)} Delete that, where it is yours, and try again."
        )
    if re.search(r"lifecycle config", reason, re.IGNORECASE):
        return (
            f"{what} while it was set up: {_short(reason)} What the scripts printed is in "
            f"CloudWatch, log group {LOGS}."
        )
    unknown = r"not (supported|available|offered)|unsupported|enum value set|unrecognized instance"
    if instance_type in reason and re.search(unknown, reason, re.IGNORECASE):
        return (
            f"{what}: {region} does not offer {instance_type} for notebook instances; choose "
            "another type with --instance-type, or another region with --region."
        )
    return f"{what}: {_short(reason)}"


def _short(reason: str) -> str:
    """Return AWS's reason without the request's numbers after it."""
    inner = re.search(r'returned message: "(.*?)"', reason, re.DOTALL)
    text = re.sub(
        r"\s*\((Service|RequestToken|Request ID)[^)]*\)", "", inner[1] if inner else reason
    )
    return text.strip().rstrip(".") + "."
