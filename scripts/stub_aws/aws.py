"""Starts and stops a stub AWS, and says which environment variables lead a program to it."""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from moto.moto_api._internal.models import moto_api_backend

from . import account, roles
from .account import ACCOUNT_ID, REGION
from .console import PERMISSIONS, prices
from .proxy import Proxy
from .roles import FULL_ACCESS, TRUST, Document, Policy
from .server import Server

ROLE_NAME = "sagemaker-execution-role"
CONSOLE_ROLE_NAME = "console"

# Variables that would lead a client past the stub, or to the person's own account.
REMOVED_PREFIXES = ("AWS_", "SAGEMAKER_", "SM_")
PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")

_one = threading.Lock()  # moto has one state in a process, which two stubs would share


class StubAWS:
    """Runs a stub AWS account on the loopback address. Use it in a `with` statement.

    Args:
        account_id: The number of the account, 12 digits.
        region: Its region.
        role_name: The name of the execution role.
        policies: What the execution role may do: ARNs of policies that AWS manages, files (see
            `roles.read_policy` for what they may ask for) or documents.
        prices_file: The prices of instances, for the costs that the console shows (see
            `console/prices.py`); without it there are none.

    Attributes:
        url: The endpoint of its API.
        console_url: Its pages for a browser. Whoever knows this address may use them.
        variables: The environment variables that lead a program's AWS calls here.
        environment: A full environment for a child process: this one's, and those variables.
        role_name: The name of the execution role.
        role_arn: The execution role: the environment acts in it, and jobs may have it.

    Raises:
        AccountError: There is no such account or region.
        PolicyError: A policy cannot be used.
        PriceError: The price file cannot be used.
        RuntimeError: This process has a stub AWS already.
    """

    def __init__(
        self,
        *,
        account_id: str = ACCOUNT_ID,
        region: str = REGION,
        role_name: str = ROLE_NAME,
        policies: Sequence[Policy | Path] = (FULL_ACCESS,),
        prices_file: Path | None = None,
    ) -> None:
        account.check(account_id, region)
        values = roles.policy_values(account_id, region, role_name)
        documents = [
            roles.read_policy(policy, values) if isinstance(policy, Path) else policy
            for policy in policies
        ]
        price_list = prices.read(prices_file, region) if prices_file else None
        if not _one.acquire(blocking=False):
            raise RuntimeError("A process can have one stub AWS at a time: close the other first.")
        with contextlib.ExitStack() as undo:
            undo.callback(_one.release)
            undo.callback(moto_api_backend.reset)  # the next one begins empty
            self.account_id, self.region, self.role_name = account_id, region, role_name
            self.role_arn = self.create_role(role_name, *documents)
            console_role = self.create_role(CONSOLE_ROLE_NAME, PERMISSIONS)
            folder = tempfile.TemporaryDirectory(prefix="stub-aws-")
            undo.callback(folder.cleanup)
            server = Server(region, account_id=account_id)
            undo.callback(server.close)
            proxy = Proxy(server.address, Path(folder.name))
            undo.callback(proxy.close)
            self.url = server.url
            self.store = server.store
            self.gate = server.gate
            self.console_url = server.serve_console(
                lambda: roles.credentials(console_role), price_list
            )
            self.variables = self._variables(Path(folder.name), proxy)
            persons = {name: value for name, value in os.environ.items() if not misleads(name)}
            self.environment = {**persons, **self.variables}
            self._undo = undo.pop_all()

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
        """End every job, take everything down and forget it."""
        self._undo.close()

    def create_role(self, name: str, *policies: Policy, trust: Document = TRUST) -> str:
        """Make another role with these policies in the account, and return its ARN.

        Raises:
            PolicyError: AWS would refuse one of the policies.
        """
        return roles.create_role(name, *policies, trust=trust, account_id=self.account_id)

    def environment_of(self, role_arn: str) -> dict[str, str]:
        """Return an environment like `environment`, but acting as another role."""
        return self.environment | roles.credentials(role_arn)

    def _variables(self, folder: Path, proxy: Proxy) -> dict[str, str]:
        nothing = folder / "none"
        nothing.touch()
        proxies = {"HTTP_PROXY": proxy.url, "HTTPS_PROXY": proxy.url}
        # localhost too: Jupyter and its kernels speak to each other there.
        proxies["NO_PROXY"] = "127.0.0.1,localhost,::1"
        return {
            **roles.credentials(self.role_arn),
            **proxies,
            **{name.lower(): value for name, value in proxies.items()},
            "AWS_ENDPOINT_URL": self.url,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_REGION": self.region,
            "AWS_CA_BUNDLE": str(proxy.certificate),
            "REQUESTS_CA_BUNDLE": str(proxy.certificate),
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": str(nothing),
            "AWS_SHARED_CREDENTIALS_FILE": str(nothing),
            # Empty: if it held a setting, the SDK would check the file again, 20 times in each job
            # (0.05 s each).
            "SAGEMAKER_USER_CONFIG_OVERRIDE": str(nothing),
            "SAGEMAKER_ADMIN_CONFIG_OVERRIDE": str(nothing),
            "SAGEMAKER_SUPPRESS_V2_WARNING": "1",
            "SAGEMAKER_CONSOLE_URL": self.console_url,
        }


def misleads(name: str) -> bool:
    """Return whether an environment variable would lead a client past the stub."""
    return name.startswith(REMOVED_PREFIXES) or name.upper() in PROXY_VARIABLES


def forget_the_person() -> None:
    """Take the person's AWS settings out of this process: boto3, also inside moto, obeys them."""
    for name in [name for name in os.environ if name.startswith(REMOVED_PREFIXES)]:
        del os.environ[name]
    os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull
