"""Compute what training costs: a bound before a job, its price after it, and what stays and bills.

Prices are in ``data/instance_prices.csv``, each with its region, date and source. They are on
demand, in US dollars, and one price is one row: a type, a use or a region that has no row is
refused with a sentence, never guessed. A price from a file is a figure of its date. The bill and
https://aws.amazon.com/sagemaker/ai/pricing/ are what counts.

    python -m workshop.costs                                 the prices of the file
    python -m workshop.costs --live                          with those of AWS's Price List today
    python -m workshop.costs --live --region eu-west-1 ml.m5.large ml.c5.xlarge

``--live`` needs an account and the permission ``pricing:GetProducts``; it changes nothing.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from statistics import median
from typing import Any

from workshop.price import CostError as CostError
from workshop.price import Price as Price

PRICE_FILE = Path(__file__).resolve().parent.parent.parent / "data" / "instance_prices.csv"
RECORDED_FILE = PRICE_FILE.with_name("recorded_on_aws.csv")
REGION = "us-east-1"  # the region of every price that we could date and source
SMALLEST_USD = 0.0001


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
        return f"{dollars(self.usd)}: {self.seconds:g} s x {machines} ({rate})"


@dataclass(frozen=True)
class Total:
    """The cost of several jobs together: ``usd`` for ``seconds`` (those of all instances)."""

    usd: float
    seconds: float
    jobs: int

    def __str__(self) -> str:
        jobs = "1 job" if self.jobs == 1 else f"{self.jobs} jobs"
        return f"{dollars(self.usd)} for {jobs} and {self.seconds:g} billable seconds of machines"


@dataclass(frozen=True)
class Bill:
    """What jobs cost: for the seconds that they took here, and for those that AWS would bill.

    ``on_aws`` is None where the jobs ran on AWS: then the seconds are AWS's own.
    """

    here: Total
    on_aws: Total | None = None

    def __str__(self) -> str:
        if self.on_aws is None:
            return str(self.here)
        return (
            f"{dollars(self.here.usd)} for the {self.here.seconds:g} s that this took here, at "
            f"AWS's price; on AWS about {dollars(self.on_aws.usd)}, where each machine takes some "
            f"{startup_s():.0f} s more to download data and image"
        )


@dataclass(frozen=True)
class Saving:
    """The saving of spot: ``share`` of the on-demand price (0 to 1), and that in ``usd``."""

    share: float
    usd: float

    def __str__(self) -> str:
        return f"{dollars(self.usd)} saved, {self.share:.0%} of the price on demand"


def dollars(usd: float) -> str:
    """Return a sum of money as text: no digit below a hundredth of a cent, and never a false 0."""
    if 0 < usd < SMALLEST_USD:
        return f"less than ${SMALLEST_USD}"
    return f"${usd:.{2 if usd >= 1 else 4}f}"


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

#: What jobs print, when CloudWatch takes it in.
CLOUDWATCH_LOGS = Price(
    item="CloudWatch Logs, taken in",
    usd=0.50,
    unit="GB",
    region=REGION,
    as_of="2026-09-27",
    source="AWS CloudWatch pricing page",
    trust="good",
)

#: The disk of a job's instance, while it is there. AWS names 0.14 for other uses of the same disk.
ML_VOLUME = Price(
    item="ML volume (gp2)",
    usd=0.14,
    unit="GB-month",
    region=REGION,
    as_of="2026-09-27",
    source="an example on the SageMaker pricing page, for the disk of an endpoint",
    trust="medium",
)

GB = 2**30  # bytes, as these services bill them
MONTH_S = 730 * 3600  # seconds; AWS counts 730 hours to a month in its examples


@lru_cache
def price_list(path: Path = PRICE_FILE) -> dict[tuple[str, str, str], Price]:
    """Return every price of the file, by (instance type, use, region).

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
    """Return the hourly price of one instance; ``use`` is "training" or "notebook".

    Raises CostError, naming the types that have a price, when the list has none for this one.
    """
    prices = price_list()
    known_price = prices.get((instance_type, use, region))
    if known_price is None:
        known = sorted(
            kind for kind, purpose, location in prices if (purpose, location) == (use, region)
        )
        instead = f"known are {', '.join(known)}" if known else "none is known there"
        raise CostError(
            f"No {use} price for {instance_type!r} in {region!r}: {instead}. "
            f"Look it up at https://aws.amazon.com/sagemaker/ai/pricing/ and add a row, with date "
            f"and source, to data/{PRICE_FILE.name}."
        )
    return known_price


def upper_bound(
    instance_type: str, instance_count: int, max_run_s: float, region: str = REGION
) -> Cost:
    """Return the most that a job's instances can cost: price x instances x ``max_run``.

    ``max_run_s`` is the job's time limit in seconds (``max_run``, MaxRuntimeInSeconds). The bound
    leaves out the up to 2 minutes that a job has to save its model after the limit, the upload and
    the disk.
    Raises CostError for an unknown price, a count below 1, or a limit that is not above 0.
    """
    if not max_run_s > 0:
        raise CostError(f"max_run must be above 0 seconds, not {max_run_s!r}.")
    return _cost(max_run_s, instance_count, price(instance_type, region))


def job_cost(description: Mapping[str, Any], region: str = REGION) -> Cost:
    """Return what a finished job costs: BillableTimeInSeconds x instances x price.

    ``description`` is what DescribeTrainingJob answers; BillableTimeInSeconds is wall-clock time,
    so it counts once per instance. ``region`` chooses the price, whatever region the job ran in.
    Raises CostError for a job that is still running or a price that is unknown.
    """
    seconds = _billable_s(description)
    resources = description["ResourceConfig"]
    hourly = price(resources["InstanceType"], region)
    return _cost(seconds, resources["InstanceCount"], hourly)


def so_far(description: Mapping[str, Any], now: datetime, region: str = REGION) -> Cost:
    """Return what a job has cost by ``now``, whether it still runs or has ended.

    Until a job has its BillableTimeInSeconds, it is billed from TrainingStartTime, when its data
    begins to come (https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DescribeTrainingJob.html).
    For a spot job that runs this is the most that it can be. Raises CostError for an unknown price.
    """
    started = description.get("TrainingStartTime")
    ended = description.get("TrainingEndTime", now)
    running = max(0.0, (ended - started).total_seconds()) if started else 0.0
    seconds = description.get("BillableTimeInSeconds", round(running))
    resources = description["ResourceConfig"]
    hourly = price(resources["InstanceType"], region)
    return _cost(seconds, resources["InstanceCount"], hourly)


def _billable_s(description: Mapping[str, Any]) -> float:
    seconds = description.get("BillableTimeInSeconds")
    if seconds is None:
        name = description.get("TrainingJobName", "?")
        status = description.get("TrainingJobStatus", "unknown")
        raise CostError(
            f"Job {name} (status {status}) has no billable time yet: ask again when it has ended."
        )
    return float(seconds)


def jobs_cost(descriptions: Iterable[Mapping[str, Any]], region: str = REGION) -> Total:
    """Return what finished jobs cost together; ``descriptions`` are answers of DescribeTrainingJob.

    Raises CostError if one of them is still running or has no known price: a sum that leaves
    something out would be wrong.
    """
    costs = [job_cost(description, region) for description in descriptions]
    seconds = sum(cost.seconds * cost.count for cost in costs)
    return Total(sum(cost.usd for cost in costs), seconds, len(costs))


@lru_cache
def startup_s(path: Path = RECORDED_FILE) -> float:
    """Return the seconds that AWS bills on each machine before a script starts.

    It is the median of what was recorded on AWS: the downloads of the data and of the image.
    ``data/README.md`` has the source.
    """
    rows = csv.DictReader(path.read_text(encoding="utf-8").splitlines())
    return median(
        float(row["downloading_data_s"]) + float(row["downloading_image_s"]) for row in rows
    )


def bill(billed: bool, *descriptions: Mapping[str, Any], region: str = REGION) -> Bill:
    """Return what finished jobs cost, in the two figures that every lesson shows.

    Args:
        billed: Whether they ran on AWS (``workshop.is_billed``).
        *descriptions: Answers of DescribeTrainingJob.
        region: It chooses the price.

    Raises CostError as ``jobs_cost`` does.
    """
    here = jobs_cost(descriptions, region)
    if billed:
        return Bill(here)
    waits = [_startup_cost(description, region) for description in descriptions]
    usd = here.usd + sum(wait.usd for wait in waits)
    seconds = here.seconds + sum(wait.seconds * wait.count for wait in waits)
    return Bill(here, Total(usd, seconds, here.jobs))


def _startup_cost(description: Mapping[str, Any], region: str) -> Cost:
    resources = description["ResourceConfig"]
    hourly = price(resources["InstanceType"], region)
    return _cost(startup_s(), resources["InstanceCount"], hourly)


def spot_saving(description: Mapping[str, Any], region: str = REGION) -> Saving:
    """Return what a finished spot job saved: 1 - billable / training time, as SageMaker counts it.

    (https://docs.aws.amazon.com/sagemaker/latest/dg/model-managed-spot-training.html) Raises
    CostError for a job that did not use spot or has not ended.
    """
    name = description.get("TrainingJobName", "?")
    if not description.get("EnableManagedSpotTraining"):
        raise CostError(f"Job {name} did not run on spot instances, so there is no saving.")
    paid = job_cost(description, region)
    trained = description.get("TrainingTimeInSeconds") or 0
    if trained <= 0:
        raise CostError(f"Job {name} has no training time, so there is nothing to compare with.")
    in_full = _cost(trained, paid.count, paid.price).usd
    return Saving(1 - paid.seconds / trained, in_full - paid.usd)


def storage_per_month(size_bytes: float, price: Price = S3_STANDARD) -> float:
    """Return the US dollars for ``size_bytes`` in S3 for a month, without requests."""
    return _size(size_bytes) / GB * price.usd


def log_cost(size_bytes: float) -> float:
    """Return the US dollars for ``size_bytes`` of log that CloudWatch takes in, with nothing free.

    AWS gives a first amount for free, which is not subtracted here.
    """
    return _size(size_bytes) / GB * CLOUDWATCH_LOGS.usd


def disk_cost(description: Mapping[str, Any]) -> float:
    """Return the US dollars for the disks of a finished job's instances, for its billable seconds.

    Types with a disk of their own (g4dn, g5) are not billed for one, and have no volume in their
    description. Raises CostError for a job that is still running.
    """
    paid_s = _billable_s(description)
    resources = description["ResourceConfig"]
    size_gb: int = resources.get("VolumeSizeInGB", 0) * resources["InstanceCount"]
    return size_gb * paid_s / MONTH_S * ML_VOLUME.usd


def _size(size_bytes: float) -> float:
    if not size_bytes >= 0:
        raise CostError(f"A size cannot be below 0 bytes, got {size_bytes!r}.")
    return size_bytes


def _cost(seconds: float, count: int, hourly: Price) -> Cost:
    if count < 1:
        raise CostError(f"A job has at least 1 instance, not {count!r}.")
    return Cost(seconds / 3600 * count * hourly.usd, seconds, count, hourly)


# --- the command line -----------------------------------------------------------------------------


def main(argv: Sequence[str] | None = None) -> int:
    """Print the price list, with ``--live`` beside AWS's own, and return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("types", nargs="*", metavar="TYPE", help="such as ml.m5.large; default all")
    parser.add_argument("--live", action="store_true", help="ask AWS's Price List")
    parser.add_argument("--region", default=REGION, help=f"default {REGION}")
    asked = parser.parse_args(argv)
    try:
        print(*(_live_lines if asked.live else _lines)(asked.types, asked.region), sep="\n")
    except CostError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _lines(types: Sequence[str], region: str) -> list[str]:
    chosen = [price(kind, region) for kind in types] if types else price_list().values()
    return [f"{known}  [{known.trust}] {known.source}" for known in chosen]


def _live_lines(types: Sequence[str], region: str) -> list[str]:
    from workshop import price_api  # only this needs boto3

    live = price_api.training_prices(region)
    filed = {
        kind: known
        for (kind, use, location), known in price_list().items()
        if (use, location) == ("training", region)
    }
    lines = []
    for kind in types or sorted(filed) or sorted(live):
        if kind not in live:
            lines.append(f"{kind}: AWS's Price List has no training price for it in {region}")
        elif kind not in filed:
            lines.append(f"{live[kind]}; not in {PRICE_FILE.name}")
        else:
            change = live[kind].usd / filed[kind].usd - 1
            comparison = f"{change:+.1%} against" if abs(change) > 1e-9 else "as in"
            lines.append(f"{live[kind]}; {comparison} {PRICE_FILE.name} of {filed[kind].as_of}")
    return lines


if __name__ == "__main__":
    sys.exit(main())
