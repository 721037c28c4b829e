"""A stub AWS in a process of its own, with a role for each permission that ours may lack.

A test that deletes must not do so on the stub that all tests of its process share: moto has one
state per process. And roles can be made only from within the stub's process.

    python -m tests.support.stub_roles    prints the environments as JSON, ends when its input does
"""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import boto3
import botocore.session
from botocore.loaders import Loader

from lessons.on_stub import ROLE_NAME
from stub_aws.aws import REGION, StubAWS, forget_the_person
from stub_aws.roles import FULL_ACCESS, create_role
from tests.support.policies import read_policy
from tests.support.stub_jobs import REPOSITORY

if TYPE_CHECKING:
    import sagemaker

EVERYTHING = {"Effect": "Allow", "Action": "*", "Resource": "*"}
MODELS = Loader(include_default_search_paths=True)  # AWS's models are read once for all sessions
ADMINISTRATOR = "administrator"
FULL_POLICY = "full-policy"  # the role with all of the shipped policy
MANAGED = "managed"  # has AWS's AmazonSageMakerFullAccess


def actions(policy: dict[str, Any]) -> list[str]:
    """Return every action that a policy allows, each once, sorted."""
    return sorted({name for one in policy["Statement"] for name in as_list(one["Action"])})


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def without(policy: dict[str, Any], action: str) -> dict[str, Any]:
    """Return a policy without an action, on whatever resource."""
    changed = copy.deepcopy(policy)
    for statement in changed["Statement"]:
        statement["Action"] = [name for name in as_list(statement["Action"]) if name != action]
    changed["Statement"] = [one for one in changed["Statement"] if one["Action"]]
    return changed


def shipped(role_name: str = ROLE_NAME) -> dict[str, Any]:
    """Return the policy that the workshop ships, as it stands for a role of this name."""
    return read_policy("execution_role_policy.json", role_name)


def role_of(action: str) -> str:
    """Return the name of the role that lacks an action."""
    return f"without-{action.replace(':', '-')}"


@dataclass(frozen=True)
class Lab:
    """That stub, seen from outside: the environment of each role, by the action that it lacks."""

    environments: dict[str, dict[str, str]]

    def role_arn(self, lacking: str) -> str:
        name = lacking if lacking in (ADMINISTRATOR, FULL_POLICY) else role_of(lacking)
        return f"arn:aws:iam::123456789012:role/{name}"

    def boto(self, lacking: str) -> boto3.Session:
        """Return boto3 with the permissions of a role; AWS_ENDPOINT_URL leads it to the stub."""
        environment = self.environments[lacking]
        core = botocore.session.Session()
        core.register_component("data_loader", MODELS)
        return boto3.Session(
            botocore_session=core,
            aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
            aws_session_token=environment["AWS_SESSION_TOKEN"],
            region_name=REGION,
        )

    def look(self, lacking: str = FULL_POLICY) -> Any:
        """Return the part of a SageMaker session that most of our scripts need; quicker to make."""
        return SimpleNamespace(boto_session=self.boto(lacking), boto_region_name=REGION)

    def session(self, lacking: str = FULL_POLICY) -> sagemaker.Session:
        """Return SageMaker's session with the permissions of a role."""
        import sagemaker  # prints when it is loaded, which the stub's process must not

        bucket = f"sagemaker-workshop-123456789012-{REGION}"
        return sagemaker.Session(boto_session=self.boto(lacking), default_bucket=bucket)


# What must be the stub's in the process of the tests, too; credentials are given to each session.
SHARED = (
    "AWS_ENDPOINT_URL",
    "AWS_DEFAULT_REGION",
    "AWS_EC2_METADATA_DISABLED",
    "SAGEMAKER_USER_CONFIG_OVERRIDE",
    "SAGEMAKER_ADMIN_CONFIG_OVERRIDE",
)


@contextmanager
def lab() -> Iterator[Lab]:
    """Start the stub with its roles; meanwhile this process's AWS calls lead there."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.support.stub_roles"],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        line = process.stdout.readline()
        if not line:
            raise RuntimeError("the stub with its roles did not start; the cause is printed above")
        environments = json.loads(line)
        before = {name: os.environ.get(name) for name in SHARED}
        os.environ.update({name: environments[FULL_POLICY][name] for name in SHARED})
        try:
            yield Lab(environments)
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value
            process.stdin.close()
            process.wait(60)


def main() -> None:
    forget_the_person()
    with StubAWS() as stub:
        roles = {
            ADMINISTRATOR: create_role(
                ADMINISTRATOR, {"Version": "2012-10-17", "Statement": [EVERYTHING]}
            ),
            FULL_POLICY: create_role(FULL_POLICY, shipped(FULL_POLICY)),
            MANAGED: create_role(MANAGED, FULL_ACCESS),
        }
        for action in actions(shipped()):
            name = role_of(action)
            roles[action] = create_role(name, without(shipped(name), action))
        environments = {name: stub.environment_of(role) for name, role in roles.items()}
        print(json.dumps(environments), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
