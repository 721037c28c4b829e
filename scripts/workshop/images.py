"""Training images: their addresses, and until when AWS patches them, from data/images.csv.

    python -m workshop.images        the images of the lessons, with the days that each has left

A job names its image by an address, an account of AWS in the job's region, a repository and a tag:

    683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:3.2-0

The table of version 2 of the SDK has stopped at images that AWS no longer patches. So the tags come
from data/images.csv, and from the SDK only its lists of accounts, which are read as files: this
module imports no version of the SDK.
"""

from __future__ import annotations

import csv
import json
import sys
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from workshop import DATA, WorkshopError

TABLE = DATA / "images.csv"
# Where the two versions of the SDK keep their tables, below the folder of the package `sagemaker`.
SDK_TABLES = ("image_uri_config", "core/image_uri_config")
# China and the isolated regions of governments have domains of their own.
DOMAINS = {
    "cn": "amazonaws.com.cn",
    "iso": "c2s.ic.gov",
    "isob": "sc2s.sgov.gov",
    "isoe": "cloud.adc-e.uk",
    "isof": "csp.hci.ic.gov",
}
CPU, GPU, BOTH = "cpu", "gpu", "both"
RENEW_DAYS = 60  # before its end, an image of the lessons must be replaced


class ImageError(WorkshopError):
    """There is no such image; the message says what there is instead."""


@dataclass(frozen=True)
class Image:
    """A row of data/images.csv, whose columns data/README.md explains."""

    framework: str
    version: str
    processor: str
    lessons: bool
    repository: str
    accounts_of: str
    tag: str
    python: str
    ga: date | None
    end_of_patch: date
    as_of: date
    source: str

    def days_left(self, today: date) -> int:
        """Return for how many days after ``today`` AWS patches it; negative when it has ended."""
        return (self.end_of_patch - today).days


@lru_cache
def table() -> tuple[Image, ...]:
    """Return all images that we know, those of a framework from the newest to the oldest."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        return tuple(_image(row) for row in csv.DictReader(file))


def _image(row: dict[str, str]) -> Image:
    values: dict[str, Any] = dict(row)
    values["lessons"] = row["lessons"] == "yes"
    for name in ("ga", "end_of_patch", "as_of"):
        values[name] = date.fromisoformat(row[name]) if row[name] else None
    return Image(**values)


def find(framework: str, version: str | None = None, gpu: bool = False) -> Image:
    """Return the image of a framework: of a version, or the one that the lessons order.

    Raises ImageError when there is none; the message names those that there are.
    """
    of_it = [image for image in table() if image.framework == framework]
    if not of_it:
        known = ", ".join(dict.fromkeys(image.framework for image in table()))
        raise ImageError(f"There is no image of {framework!r} in {TABLE.name}, only of {known}.")
    asked = [one for one in of_it if (one.lessons if version is None else one.version == version)]
    if not asked:
        known = ", ".join(dict.fromkeys(image.version for image in of_it))
        raise ImageError(
            f"There is no image of {framework} {version} in {TABLE.name}, only of {known}."
        )
    fitting = [image for image in asked if image.processor in (GPU if gpu else CPU, BOTH)]
    if not fitting:
        kind, remedy = ("CPUs", "without") if gpu else ("GPUs", "with")
        raise ImageError(
            f"The images of {framework} {asked[0].version} in {TABLE.name} are for {kind} alone: "
            f"choose an instance type {remedy} a GPU."
        )
    return fitting[0]


def uri(framework: str, region: str, version: str | None = None, gpu: bool = False) -> str:
    """Return the address of an image in a region; without a version, of the lessons' image.

    Raises ImageError when framework, version or region is unknown.
    """
    image = find(framework, version, gpu)
    return f"{_registry(image, region)}/{image.repository}:{image.tag}"


def _registry(image: Image, region: str) -> str:
    accounts = _accounts(image.framework, image.accounts_of)
    if region not in accounts:
        raise ImageError(
            f"AWS has no {image.framework} images in the region {region!r} that the SageMaker SDK "
            f"installed here knows, only in {', '.join(sorted(accounts))}."
        )
    domains = [DOMAINS[part] for part in region.split("-")[:2] if part in DOMAINS]
    return f"{accounts[region]}.dkr.ecr.{region}.{(domains or ['amazonaws.com'])[0]}"


@lru_cache
def _accounts(framework: str, repository: str) -> dict[str, str]:
    """Return the account of AWS that holds a repository, by region, from the SDK's own table."""
    entries = _sdk_table(framework)["training"]["versions"].values()
    of_it: list[dict[str, str]] = [
        entry["registries"] for entry in entries if entry["repository"] == repository
    ]
    if not of_it:
        raise ImageError(
            f"The SageMaker SDK installed here has no accounts for the repository {repository}: "
            "choose the workshop's kernel, or run `make workshop`."
        )
    return of_it[-1]  # the newest version's


def _sdk_table(framework: str) -> dict[str, Any]:
    package = find_spec("sagemaker")
    for folder in package.submodule_search_locations or () if package else ():
        for tables in SDK_TABLES:
            file = Path(folder, tables, f"{framework}.json")
            if file.is_file():
                sdk_table: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
                return sdk_table
    raise ImageError(
        "The accounts of AWS's images come from the SageMaker SDK, and this kernel has none with a "
        f"table of {framework}: choose the workshop's kernel, or run `make workshop`."
    )


def to_renew(today: date) -> list[str]:
    """Return a sentence for each image of the lessons that ends within RENEW_DAYS after ``today``.

    It says what to do about it. An empty list means that all are patched for longer.
    """
    return [
        f"AWS patches the image {image.repository}:{image.tag} until {image.end_of_patch} only: "
        f"add {image.framework}'s next image to data/images.csv with its source, mark it and no "
        f"longer this one with `yes` in the column lessons, and put its version of the framework "
        "into requirements.in (`make lock`) and into the lessons that name it."
        for image in table()
        if image.lessons and image.days_left(today) <= RENEW_DAYS
    ]


def main() -> int:
    """Print the images of the lessons; return 1 when one of them must be replaced."""
    today = date.today()
    for image in table():
        if image.lessons:
            name = f"{image.repository}:{image.tag}"
            print(f"{name:48} until {image.end_of_patch}, {image.days_left(today)} days left")
    sentences = to_renew(today)
    print(*sentences, sep="\n", end="\n" if sentences else "")
    return 1 if sentences else 0


if __name__ == "__main__":
    sys.exit(main())
