"""What all tests share: the scripts on the path, no way to the network, a stub AWS."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import pytest_socket

from tests.stub_aws.aws import StubAWS, forget_the_person

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "scripts"))
forget_the_person()


def pytest_runtest_setup() -> None:
    """Every test may open connections on this machine and to nowhere else."""
    pytest_socket.socket_allow_hosts(["127.0.0.1", "::1", "localhost"], allow_unix_socket=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests with `mock_aws` come last: it empties the one state of moto, a running stub's too."""
    items.sort(key=lambda item: hasattr(item.module, "mock_aws"))


@pytest.fixture(scope="session")
def stub_aws() -> Iterator[StubAWS]:
    """One stub AWS account for the whole run; tests keep apart by names of their own."""
    with StubAWS() as stub:
        yield stub


@pytest.fixture
def no_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand, not in a job, whatever runs the tests."""
    for name in list(os.environ):
        if name.startswith("SM_"):
            monkeypatch.delenv(name)
