"""AWS's own Price List, asked for the prices of training instances (``costs.py --live``).

The Price List is a public catalogue behind a service that requires credentials and the permission
``pricing:GetProducts``. A price is found by its *usage type*, ``USE1-Train:ml.m5.large``: the
attribute that names the instance is empty in most rows.
https://docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/price-changes.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from workshop.price import CostError, Price

SERVICE = "AmazonSageMaker"
ENDPOINT = "us-east-1"  # a few regions serve the catalogue of all; this is one of them
TRAINING = re.compile(r"(?:[A-Z]+\d*-)?Train:(ml\.[a-z0-9-]+\.[a-z0-9]+)")


def training_prices(region: str, client: Any = None) -> dict[str, Price]:
    """Return today's on-demand price of every training instance in ``region``, by instance type.

    ``client`` is boto3's of the service "pricing"; without one, it is made here. Raises CostError
    when there is no account, no permission, no connection, or no price for that region.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        client = client or _client()
        prices = dict(_prices(_products(client, region), region))
    except ClientError as error:
        raise CostError(_refusal(error)) from error
    except BotoCoreError as error:
        raise CostError(
            f"AWS's Price List cannot be asked ({error}); it needs an account. The prices of the "
            "file, each with its date, are there without --live."
        ) from error
    if not prices:
        raise CostError(
            f"AWS's Price List has no training prices for {region!r}; is it a region's name, "
            "such as eu-west-1?"
        )
    return prices


def _client() -> Any:
    import boto3

    return boto3.client("pricing", region_name=ENDPOINT)


def _refusal(error: Any) -> str:
    details = error.response["Error"]
    code = details.get("Code", "")
    if "AccessDenied" in code or code == "UnauthorizedOperation":
        return (
            "Your role may not read AWS's Price List: ask for the action pricing:GetProducts on "
            "resource *, which shows public prices only."
        )
    return f"AWS's Price List refused to answer ({code}: {details.get('Message', '')})."


def _products(client: Any, region: str) -> Iterator[Mapping[str, Any]]:
    pages = client.get_paginator("get_products").paginate(
        ServiceCode=SERVICE,
        Filters=[{"Type": "TERM_MATCH", "Field": "regionCode", "Value": region}],
    )
    for page in pages:
        for product in page["PriceList"]:
            yield json.loads(product)


def _prices(products: Iterator[Mapping[str, Any]], region: str) -> Iterator[tuple[str, Price]]:
    usd_of: dict[str, float] = {}
    for product in products:
        usage = product["product"]["attributes"].get("usagetype", "")
        match = TRAINING.fullmatch(usage)
        if not match:
            continue
        kind, (usd, since) = match[1], _hourly(product, usage)
        if usd_of.setdefault(kind, usd) != usd:
            raise CostError(
                f"AWS's Price List has two prices for {usage}: {usd_of[kind]} and {usd}."
            )
        source = f"AWS Price List API (usage type {usage})"
        yield kind, Price(kind, usd, "hour", region, since, source, "high")


def _hourly(product: Mapping[str, Any], usage: str) -> tuple[float, str]:
    """Return the price of an hour on demand in US dollars, and the day from which it holds."""
    prices = [
        (float(dimension["pricePerUnit"]["USD"]), term["effectiveDate"][:10])
        for term in product.get("terms", {}).get("OnDemand", {}).values()
        for dimension in term["priceDimensions"].values()
        if dimension["unit"] in ("Hrs", "hours", "Hours") and "USD" in dimension["pricePerUnit"]
    ]
    if len(prices) != 1:
        raise CostError(f"AWS's Price List has {len(prices)} hourly prices for {usage}, not one.")
    return prices[0]
