"""The stub AWS as fixtures for pytest, which finds them where this package is installed.

They cost nothing where no test asks for them: only then is the stub imported and started.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .aws import StubAWS


@pytest.fixture(scope="session")
def stub_aws_options() -> dict[str, Any]:
    """Return the arguments of `StubAWS`: override it in your conftest.py to choose others."""
    return {}


@pytest.fixture(scope="session")
def stub_aws(stub_aws_options: dict[str, Any]) -> Iterator[StubAWS]:
    """Start one stub AWS for all tests. They keep apart by names of their own.

    It changes nothing of how this process calls AWS; see `on_stub_aws`.
    """
    from .aws import StubAWS, forget_the_person

    before = dict(os.environ)
    forget_the_person()
    try:
        with StubAWS(**stub_aws_options) as stub:
            yield stub
    finally:
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture
def on_stub_aws(stub_aws: StubAWS, monkeypatch: pytest.MonkeyPatch) -> StubAWS:
    """Lead every AWS call of this test, and of the programs that it starts, to the stub."""
    import boto3

    from .aws import misleads

    for name in filter(misleads, list(os.environ)):
        monkeypatch.delenv(name)
    for name, value in stub_aws.variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    return stub_aws
