"""One price, and the error of a cost that cannot be computed."""

from __future__ import annotations

from dataclasses import dataclass


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
