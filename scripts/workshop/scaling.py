"""Fit how long a distributed training takes, and plan a longer one, with the uncertainty.

    seconds = fixed + work x (divided / hosts + added x log2(hosts))

``fixed`` is what every host does once (start, imports), ``divided`` what the hosts share, ``added``
what they have to exchange: an all-reduce among n hosts takes about log2(n) rounds of messages.
``work`` is the length of the training, in rounds or epochs. Only trainings of different length on
different numbers of hosts tell the three apart.

    model = scaling.fit(measured)       # a table with the columns work, hosts, seconds
    model.parts()                       # each part, and its band
    model.minutes(3, 8, start_s=112)    # of what takes one host three hours, on eight hosts
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAMES = ("fixed", "divided", "added")
DRAWS = 2000
PERCENT = (5, 95)  # a band leaves out 5 % on each side


class Band(NamedTuple):
    """A number with the band in which it probably lies."""

    best: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.best:.3g} ({self.low:.3g} to {self.high:.3g})"


@dataclass(frozen=True)
class Model:
    """The three parts, in seconds: the best fit, and draws that are as likely (a row each)."""

    best: np.ndarray[Any, Any]
    draws: np.ndarray[Any, Any]

    def parts(self) -> pd.DataFrame:
        """Return a row for each part: its best value, and the ends of its band."""
        bands = [_band(best, draws) for best, draws in zip(self.best, self.draws.T, strict=True)]
        return pd.DataFrame(bands, index=pd.Index(NAMES, name="part"))

    def seconds(self, work: float, hosts: int) -> Band:
        """Return how long a training of this length takes on so many hosts."""
        terms = _terms(np.array([work]), np.array([hosts]))[0]
        return _band(float(self.best @ terms), self.draws @ terms)

    def minutes(self, hours: float, hosts: int, start_s: float = 0.0) -> Band:
        """Return how long something takes that is divided into ``hours`` of one host.

        ``start_s`` is added for every job: how long a machine needs until the script begins.
        """
        work = 3600 * hours / self.draws[:, 1]
        longer = _terms(work, np.full(len(work), hosts))
        best = self.seconds(3600 * hours / self.best[1], hosts).best
        seconds = (self.draws * longer).sum(axis=1)
        return Band(*((start_s + value) / 60 for value in _band(best, seconds)))

    def plot(self, hours: float, hosts: Sequence[int], start_s: float, measured: int) -> Axes:
        """Draw how many times as fast so many hosts are as one, with the band and the ideal.

        A line marks how many hosts have been ``measured``.
        """
        from matplotlib import pyplot

        _, axes = pyplot.subplots(figsize=(7, 3.6), layout="constrained")
        one = self.minutes(hours, 1, start_s).best
        bands = [self.minutes(hours, count, start_s) for count in hosts]
        best, low, high = np.array(bands).T
        axes.fill_between(hosts, one / high, one / low, alpha=0.4, label="band of nine in ten")
        axes.plot(hosts, one / best, color="tab:blue", label="best fit")
        axes.plot(hosts, hosts, ":", color="black", label="ideal")
        axes.axvline(measured, linestyle="--", color="gray", label="measured up to here")
        axes.set(xlabel="hosts", ylabel="times as fast as one host", ylim=(0, max(hosts)))
        axes.legend()
        return axes


def fit(measured: pd.DataFrame, seed: int = 1) -> Model:
    """Fit the parts to measurements, a row each, with the columns work, hosts and seconds.

    Errors are taken to be relative. Their size is estimated from the scatter around the fit, and
    the fit is repeated on measurements with errors of that size. Raises ValueError for fewer than
    four measurements, or where a longer training took no longer.
    """
    columns = (measured[name].to_numpy(dtype=float) for name in ("work", "hosts", "seconds"))
    work, hosts, seconds = columns
    free = len(seconds) - len(NAMES)
    if free < 1:
        raise ValueError(f"three parts need at least four measurements, not {len(seconds)}")
    terms = _terms(work, hosts)
    best = _fit(terms, seconds)
    if best[1] <= 0:
        raise ValueError("a longer training took no longer: measure longer ones")
    scatter = np.sqrt(np.sum((terms @ best / seconds - 1) ** 2) / free)
    chance = np.random.default_rng(seed)
    sizes = scatter * np.sqrt(free / chance.chisquare(free, DRAWS))  # it is only an estimate itself
    errors = np.exp(sizes[:, None] * chance.normal(size=(DRAWS, len(seconds))))
    draws = np.array([_fit(terms, seconds * error) for error in errors])
    return Model(best, draws[draws[:, 1] > 0])


def _terms(work: np.ndarray[Any, Any], hosts: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.array([np.ones(len(work)), work / hosts, work * np.log2(hosts)]).T


def _fit(terms: np.ndarray[Any, Any], seconds: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the parts, none below zero, with the smallest sum of squared relative errors."""
    from scipy.optimize import nnls  # type: ignore[import-untyped]

    parts, _ = nnls(terms / seconds[:, None], np.ones(len(seconds)))
    return np.asarray(parts)


def _band(best: float, draws: np.ndarray[Any, Any]) -> Band:
    low, high = np.percentile(draws, PERCENT)
    return Band(float(best), float(low), float(high))
