"""Reads the prices of instances, by which the console computes what jobs cost.

They are in a CSV file with a header that has the columns `instance_type` and `usd_per_hour`. Where
it has them too, `region` and `use` choose the rows that count (those of the stub's region, and
`training`), and `as_of`, a date, is shown beside a price. Other columns are ignored.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

NEEDED = ("instance_type", "usd_per_hour")

# What AWS bills on each machine before the script starts, and this machine does not take: the
# downloads of data and image, as two jobs recorded them (outputs stored in a public notebook).
STARTUP_S = 109.5


class PriceError(ValueError):
    """A price file cannot be used; the message says which line and why."""


@dataclass(frozen=True)
class Price:
    """US dollars for an hour of one instance of a type."""

    instance_type: str
    usd_per_hour: float
    region: str
    as_of: str

    def __str__(self) -> str:
        origin = ", ".join(part for part in (self.region, self.as_of) if part)
        return f"${self.usd_per_hour:g} per hour, {origin}"


PriceList = Mapping[str, Price]


def read(file: Path, region: str) -> PriceList:
    """Return the prices of training in a region, by instance type.

    Raises:
        PriceError: The file is missing, or not as this module's docstring says.
    """
    try:
        with file.open(encoding="utf-8", newline="") as lines:
            table = csv.DictReader(lines)
            header = table.fieldnames or []
            if missing := [name for name in NEEDED if name not in header]:
                raise PriceError(
                    f"The price file {file} lacks the column {' and '.join(missing)}: its first "
                    "line must name the columns."
                )
            rows = [(table.line_num, row) for row in table]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise PriceError(f"The price file {file} cannot be read: {error}.") from error
    prices = [
        _price(row, region, f"{file}, line {line}")
        for line, row in rows
        if row.get("use") in (None, "training") and row.get("region") in (None, region)
    ]
    return {price.instance_type: price for price in prices}


def _price(row: Mapping[str, str | None], region: str, line: str) -> Price:
    try:
        usd = float(row["usd_per_hour"] or "")
    except ValueError:
        usd = math.nan
    if not 0 < usd < math.inf:
        raise PriceError(f"{line}: usd_per_hour must be a number above zero.")
    instance_type = row["instance_type"]
    if not instance_type:
        raise PriceError(f"{line}: instance_type is empty.")
    return Price(instance_type, usd, region, row.get("as_of") or "")


def bill(
    description: Mapping[str, Any], moment: datetime, prices: PriceList | None
) -> dict[str, Any]:
    """Return what a job's instances have cost by a moment, whether it still runs or has ended.

    Until a job has its BillableTimeInSeconds, it is billed from TrainingStartTime, when its data
    begins to come. For a spot job that runs this is the most that it can be.

    Returns:
        `billed_seconds`, those of all instances together; `usd`, None where no price is known; and
        `cost`, the sum as a sentence, with what it would be on AWS.
    """
    start = description.get("TrainingStartTime")
    end = description.get("TrainingEndTime", moment)
    running = max(0.0, (end - start).total_seconds()) if start else 0.0
    seconds = description.get("BillableTimeInSeconds", round(running))
    resources = description["ResourceConfig"]
    count, instance_type = resources["InstanceCount"], resources["InstanceType"]
    machines = f"{seconds:g} s x {count} x {instance_type}"
    if prices is None:
        usd, cost = None, f"{machines}; the stub AWS has no prices (see --prices)"
    elif instance_type not in prices:
        usd, cost = None, f"{machines}; the stub AWS has no price of this type"
    else:
        price = prices[instance_type]
        usd = seconds * count / 3600 * price.usd_per_hour
        on_aws = usd + STARTUP_S * count / 3600 * price.usd_per_hour
        cost = f"{machines} ({price}); on AWS about ${on_aws:.4f}, with some {STARTUP_S:.0f} s "
        cost += "more on each machine to download data and image"
    return {"billed_seconds": seconds * count, "usd": usd, "cost": cost}
