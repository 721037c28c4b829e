"""IAM roles of a stub AWS: makes them in moto, gives them their policies, assumes them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from moto.iam.aws_managed_policies import aws_managed_policies_data
from moto.iam.exceptions import MalformedPolicyDocument
from moto.iam.models import AWSManagedPolicy, IAMBackend, iam_backends
from moto.sts.models import sts_backends

from .account import ACCOUNT_ID, REGION, account_of

PARTITION = "aws"
OF_AWS = f"arn:{PARTITION}:iam::aws:policy/"  # how the ARN of a policy begins that AWS manages
FULL_ACCESS = f"{OF_AWS}AmazonSageMakerFullAccess"
SESSION_S = 12 * 3600

# Who may assume a role that a training job shall have.
TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": "sagemaker.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
    ],
}

Document = Mapping[str, Any]
# The ARN of a policy that AWS manages, or a document.
Policy = str | Document


class PolicyError(ValueError):
    """A policy cannot be used; the message says which and why."""


def read_policy(file: Path, values: Mapping[str, str]) -> dict[str, Any]:
    """Return the policy document in a file.

    As in a CloudFormation template, `${NAME}` in it stands for one of `values`. IAM's own
    variables, such as `${aws:username}`, stay.

    Raises:
        PolicyError: The file cannot be read, is not JSON, or asks for a value that is not there.
    """
    try:
        text = file.read_text(encoding="utf-8")
        document = json.loads(fill_in(text, values))
    except OSError as error:
        raise PolicyError(f"The policy {file} cannot be read: {error.strerror}.") from error
    except KeyError as error:
        known = ", ".join(f"${{{name}}}" for name in values)
        raise PolicyError(
            f"The policy {file} asks for ${{{error.args[0]}}}. Known are {known}: write the value "
            "itself into the file."
        ) from error
    except ValueError as error:
        raise PolicyError(f"The policy {file} is not JSON: {error}.") from error
    if not isinstance(document, dict):
        raise PolicyError(f"The policy {file} is not a JSON object.")
    return document


def fill_in(text: str, values: Mapping[str, str]) -> str:
    """Return `text` with `${NAME}` replaced by the value of that name.

    Raises:
        KeyError: There is no such value; its argument is the name.
    """
    return re.sub(r"\$\{(\w+(?:::\w+)?)\}", lambda match: values[match[1]], text)


def policy_values(account_id: str, region: str, role_name: str) -> dict[str, str]:
    """Return what a policy file may ask for: CloudFormation's pseudo parameters, and the role."""
    return {
        "AWS::Partition": PARTITION,
        "AWS::Region": region,
        "AWS::AccountId": account_id,
        "ExecutionRoleName": role_name,
    }


def create_role(
    name: str, *policies: Policy, trust: Document = TRUST, account_id: str = ACCOUNT_ID
) -> str:
    """Make an IAM role with these policies and return its ARN.

    Raises:
        PolicyError: AWS would refuse one of the policies.
    """
    iam = iam_backends[account_id][PARTITION]
    role = iam.create_role(
        role_name=name,
        assume_role_policy_document=json.dumps(trust),
        path="/",
        permissions_boundary=None,
        description="",
        tags=[],
        max_session_duration=str(SESSION_S),
    )
    for number, policy in enumerate(policies, start=1):
        if isinstance(policy, str):
            attach(iam, name, policy)
            continue
        try:
            iam.put_role_policy(name, f"policy-{number}", json.dumps(policy))
        except MalformedPolicyDocument as error:
            raise PolicyError(f"Policy {number} of the role {name}: {error.message}") from error
    arn: str = role.arn
    return arn


def attach(iam: IAMBackend, role_name: str, arn: str) -> None:
    """Attach a policy that AWS manages to a role.

    Raises:
        PolicyError: AWS has no such policy, or moto does not carry it.
    """
    if arn not in iam.managed_policies:
        documents = json.loads(aws_managed_policies_data)
        policy_name = arn.rpartition("/")[2]
        policy = policy_name in documents and AWSManagedPolicy.from_data(
            policy_name, iam.account_id, iam.region_name, documents[policy_name]
        )
        if not policy or policy.arn != arn:
            raise PolicyError(f"AWS manages no policy {arn}, as far as the stub AWS knows.")
        iam.managed_policies[arn] = policy
    iam.attach_role_policy(arn, role_name)


def credentials(role_arn: str, seconds: int = SESSION_S) -> dict[str, str]:
    """Return fresh credentials of a role as environment variables.

    By the name of its session the SDK's `get_execution_role` finds the role.
    """
    assumed = sts_backends[account_of(role_arn)][PARTITION].assume_role(
        region_name=REGION,  # of no effect: it only tells moto the partition
        role_session_name="SageMaker",
        role_arn=role_arn,
        policy="",
        duration=seconds,
        external_id="",
    )
    return {
        "AWS_ACCESS_KEY_ID": assumed.access_key_id,
        "AWS_SECRET_ACCESS_KEY": assumed.secret_access_key,
        "AWS_SESSION_TOKEN": assumed.session_token,
    }
