"""Starts and stops a stub AWS, and says which environment variables lead a program to it."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from string import Template
from types import TracebackType
from typing import Any

from moto.iam.models import iam_backends
from moto.sts.models import sts_backends

from .authorization import ACCOUNT_ID
from .console import RIGHTS
from .proxy import Proxy
from .server import Server

REGION = "us-east-1"
ROLE_NAME = "sagemaker-workshop-execution-role"
CONSOLE_ROLE_NAME = "console"
POLICIES = Path(__file__).resolve().parents[1] / "notebook_instance"

# Variables that would lead a client past the stub, or to the person's own account.
REMOVED_PREFIXES = ("AWS_", "SAGEMAKER_", "SM_")
PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


class StubAWS:
    """A stub AWS account on the loopback address. Use it in a `with` statement.

    Attributes:
        url: The endpoint of its API.
        console_url: Its pages for a browser. Whoever knows this address may use them.
        environment: A whole environment for a child process whose AWS calls shall come here.
        role_arn: The execution role, with exactly the policy that the workshop ships.
    """

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="stub-aws-")
        self._server = Server(REGION)
        self._proxy = Proxy(self._server.address, Path(self._folder.name))
        self.url = self._server.url
        self.store = self._server.store
        self.gate = self._server.gate
        self.role_arn = create_role(ROLE_NAME, read_policy("execution_role_policy.json"))
        console_role = create_role(CONSOLE_ROLE_NAME, RIGHTS)
        self.console_url = self._server.serve_console(lambda: credentials(console_role))
        self.environment = self._environment()

    def __enter__(self) -> StubAWS:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End every job and take everything down."""
        self._server.close()
        self._proxy.close()
        self._folder.cleanup()

    def environment_of(self, role_arn: str) -> dict[str, str]:
        """Like `environment`, but acting as another role."""
        return self.environment | credentials(role_arn)

    def _environment(self) -> dict[str, str]:
        folder = Path(self._folder.name)
        nothing = folder / "none"
        nothing.touch()
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(REMOVED_PREFIXES) and name.upper() not in PROXY_VARIABLES
        }
        proxies = {"HTTP_PROXY": self._proxy.url, "HTTPS_PROXY": self._proxy.url}
        # localhost too: Jupyter and its kernels speak to each other there.
        proxies["NO_PROXY"] = "127.0.0.1,localhost,::1"
        return {
            **kept,
            **credentials(self.role_arn),
            **proxies,
            **{name.lower(): value for name, value in proxies.items()},
            "AWS_ENDPOINT_URL": self.url,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
            "AWS_CA_BUNDLE": str(self._proxy.certificate),
            "REQUESTS_CA_BUNDLE": str(self._proxy.certificate),
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": str(nothing),
            "AWS_SHARED_CREDENTIALS_FILE": str(nothing),
            # Empty, for of any setting the SDK checks the whole file again, 20 times in each job
            # (0.05 s each).
            "SAGEMAKER_USER_CONFIG_OVERRIDE": str(nothing),
            "SAGEMAKER_ADMIN_CONFIG_OVERRIDE": str(nothing),
            "SAGEMAKER_SUPPRESS_V2_WARNING": "1",
            "SAGEMAKER_CONSOLE_URL": self.console_url,
        }


def forget_the_person() -> None:
    """Take the person's AWS settings out of this process: boto3, also inside moto, obeys them."""
    for name in [name for name in os.environ if name.startswith(REMOVED_PREFIXES)]:
        del os.environ[name]
    os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull


def read_policy(name: str) -> dict[str, Any]:
    """A policy document that the workshop ships, with this account's values filled in."""

    class AwsTemplate(Template):
        braceidpattern = r"[A-Za-z:]+"

    text = AwsTemplate((POLICIES / name).read_text(encoding="utf-8"))
    values = {
        "AWS::Partition": "aws",
        "AWS::Region": REGION,
        "AWS::AccountId": ACCOUNT_ID,
        "ExecutionRoleName": ROLE_NAME,
        "NotebookInstanceName": "sagemaker-workshop",
    }
    return json.loads(text.substitute(values))


def create_role(name: str, policy: dict[str, Any], trust: dict[str, Any] | None = None) -> str:
    """Make an IAM role with one inline policy and return its ARN."""
    iam = iam_backends[ACCOUNT_ID]["aws"]
    role = iam.create_role(
        role_name=name,
        assume_role_policy_document=json.dumps(trust or read_policy("execution_role_trust.json")),
        path="/",
        permissions_boundary=None,
        description="",
        tags=[],
        max_session_duration="3600",
    )
    iam.put_role_policy(name, "policy", json.dumps(policy))
    return role.arn


def credentials(role_arn: str) -> dict[str, str]:
    """Fresh credentials of a role as environment variables; `get_execution_role` finds the role."""
    assumed = sts_backends[ACCOUNT_ID]["aws"].assume_role(
        region_name=REGION,
        role_session_name="SageMaker",
        role_arn=role_arn,
        policy=None,
        duration=3600 * 12,
        external_id=None,
    )
    return {
        "AWS_ACCESS_KEY_ID": assumed.access_key_id,
        "AWS_SECRET_ACCESS_KEY": assumed.secret_access_key,
        "AWS_SESSION_TOKEN": assumed.session_token,
    }
