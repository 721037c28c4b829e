"""Makes the stub's own clients of itself. No proxy that the person has set misleads them."""

from __future__ import annotations

import functools
import threading
from typing import Any

import boto3
from botocore.config import Config

STRAIGHT = Config(proxies={}, use_fips_endpoint=False, use_dualstack_endpoint=False)

_lock = threading.Lock()  # a session is not safe in several threads at once, its clients are


@functools.cache
def _session() -> boto3.session.Session:
    return boto3.session.Session()


def make_client(
    service: str, endpoint: str, region: str, credentials: dict[str, str], **settings: Any
) -> Any:
    """Return a boto3 client of the stub; `credentials` are named as environment variables are.

    `settings` are further ones of botocore's Config.
    """
    config = STRAIGHT.merge(Config(**settings))
    keys = {name.lower(): value for name, value in credentials.items()}
    with _lock:
        return _session().client(
            service, region_name=region, endpoint_url=endpoint, config=config, **keys
        )


@functools.cache
def regions(service: str) -> list[str]:
    """Return the regions of a service that botocore knows."""
    with _lock:
        names: list[str] = _session().get_available_regions(service)
        return names
