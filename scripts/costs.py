"""What a training job costs: a bound before it runs, and its price once it has ended.

Prices stand in ``data/instance_prices.csv``, each with its region, date and source. They are on
demand, in US dollars, and one price is one row: a type, a use or a region that has no row is
refused with a sentence, never guessed. A price from a file is a figure of its date; the bill, and
https://aws.amazon.com/sagemaker/ai/pricing/, decide.

Command line:  python scripts/costs.py            (prints the table)
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

PRICE_FILE = Path(__file__).resolve().parents[1] / "data" / "instance_prices.csv"
REGION = "us-east-1"  # the region of every price that we could date and source


class CostError(ValueError):
    """A cost that cannot be computed honestly; the message says what is missing and what to do."""


@dataclass(frozen=True)
class Price:
    """One price: ``usd`` per ``unit``, where it holds, when it was read, from where."""

    item: str
    usd: float
    unit: str
    region: str
    as_of: str
    source: str
    trust: str

    def __str__(self) -> str:
        return f"{self.item}: ${self.usd:g} per {self.unit} ({self.region}, {self.as_of})"


@dataclass(frozen=True)
class Cost:
    """``usd`` for ``seconds`` on ``count`` instances at ``price``; as text it shows the sum."""

    usd: float
    seconds: float
    count: int
    price: Price

    def __str__(self) -> str:
        machines = f"{self.count} x {self.price.item}"
        rate = f"${self.price.usd:g} per {self.price.unit}, {self.price.region}, {self.price.as_of}"
        digits = 4 if self.usd >= 0.001 else 6
        return f"${self.usd:.{digits}f} = {self.seconds:g} s x {machines} ({rate})"


#: Storage in the bucket, first tier. S3 bills GB as 2**30 bytes, by the hour, over the month.
S3_STANDARD = Price(
    item="S3 Standard",
    usd=0.023,
    unit="GB-month",
    region=REGION,
    as_of="2026-09-18",
    source="AWS bulk price file for S3",
    trust="high",
)


@lru_cache
def price_list(path: Path = PRICE_FILE) -> dict[tuple[str, str, str], Price]:
    """Every price of the file, by (instance type, use, region).

    Raises CostError for a file that is missing, a row without date or source, or a price that is
    not a positive number.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise CostError(
            f"The price list {path} is missing: restore it from the project."
        ) from error
    prices = {}
    for number, row in enumerate(csv.DictReader(text.splitlines()), start=2):
        prices[(row["instance_type"], row["use"], row["region"])] = _price(row, path, number)
    return prices


def _price(row: dict[str, str], path: Path, line: int) -> Price:
    try:
        usd = float(row["usd_per_hour"])
    except ValueError:
        usd = float("nan")
    if not 0 < usd < float("inf"):
        raise CostError(f"{path.name}, line {line}: usd_per_hour must be a number above zero.")
    if not (row["as_of"] and row["source"] and row["trust"]):
        raise CostError(f"{path.name}, line {line}: a price needs its as_of, source and trust.")
    item = row["instance_type"]
    return Price(item, usd, "hour", row["region"], row["as_of"], row["source"], row["trust"])


def price(instance_type: str, region: str = REGION, use: str = "training") -> Price:
    """The hourly price of one instance; ``use`` is "training" or "notebook".

    Raises CostError, naming the types that have a price, when the list has none for this one.
    """
    prices = price_list()
    found = prices.get((instance_type, use, region))
    if found is None:
        known = sorted(kind for kind, its_use, place in prices if (its_use, place) == (use, region))
        instead = f"known are {', '.join(known)}" if known else "none is known there"
        raise CostError(
            f"No {use} price for {instance_type!r} in {region!r}: {instead}. "
            f"Look it up at https://aws.amazon.com/sagemaker/ai/pricing/ and add a row, with date "
            f"and source, to data/{PRICE_FILE.name}."
        )
    return found


def upper_bound(
    instance_type: str, instance_count: int, max_run_s: float, region: str = REGION
) -> Cost:
    """The most that a job's instances can cost: price x instances x ``max_run``.

    ``max_run_s`` is the job's time limit in seconds (``max_run``, MaxRuntimeInSeconds). Not in it:
    the up to 2 minutes that a job has to save its model after the limit, the upload, the disk.
    Raises CostError for an unknown price, a count below 1, or a limit that is not above 0.
    """
    if not max_run_s > 0:
        raise CostError(f"max_run must be above 0 seconds, not {max_run_s!r}.")
    return _cost(max_run_s, instance_count, price(instance_type, region))


def job_cost(description: Mapping[str, Any], region: str = REGION) -> Cost:
    """What a finished job costs: BillableTimeInSeconds x instances x price.

    ``description`` is what DescribeTrainingJob answers; BillableTimeInSeconds is wall-clock time,
    so it counts once per instance. ``region`` chooses the price, whatever region the job ran in.
    Raises CostError for a job that is still running or a price that is unknown.
    """
    seconds = description.get("BillableTimeInSeconds")
    if seconds is None:
        name = description.get("TrainingJobName", "?")
        status = description.get("TrainingJobStatus", "unknown")
        raise CostError(
            f"Job {name} (status {status}) has no billable time yet: ask again when it has ended."
        )
    resources = description["ResourceConfig"]
    hourly = price(resources["InstanceType"], region)
    return _cost(seconds, resources["InstanceCount"], hourly)


def storage_per_month(size_bytes: float, price: Price = S3_STANDARD) -> float:
    """US dollars for keeping ``size_bytes`` in S3 for a month, requests not counted."""
    if size_bytes < 0:
        raise CostError(f"A size cannot be below 0 bytes, got {size_bytes!r}.")
    return size_bytes / 2**30 * price.usd


def _cost(seconds: float, count: int, hourly: Price) -> Cost:
    if count < 1:
        raise CostError(f"A job has at least 1 instance, not {count!r}.")
    return Cost(seconds / 3600 * count * hourly.usd, seconds, count, hourly)


if __name__ == "__main__":
    for known in price_list().values():
        print(f"{known}  [{known.trust}] {known.source}")
