"""The parts of a distributed training's time: found again where we know them, with their bands."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from workshop import scaling

FIXED, DIVIDED, ADDED = 3.0, 0.02, 0.001


def measurements(noise: float = 0.0, seed: int = 0, runs: int = 1) -> pd.DataFrame:
    """Return what trainings of known parts would take, with relative errors of this size."""
    chance = np.random.default_rng(seed)
    rows = []
    for work in (50, 400):
        for hosts in (1, 2, 4):
            for _ in range(runs):
                seconds = FIXED + work * (DIVIDED / hosts + ADDED * np.log2(hosts))
                rows.append((work, hosts, seconds * np.exp(noise * chance.normal())))
    return pd.DataFrame(rows, columns=["work", "hosts", "seconds"])


def test_the_parts_are_found_again():
    parts = scaling.fit(measurements()).parts()
    assert parts["best"].tolist() == pytest.approx([FIXED, DIVIDED, ADDED], rel=1e-6)


def test_fixed_seconds_of_a_short_job_do_not_grow_with_a_long_one():
    """The serial fraction of a job of seconds, applied to hours, is wrong by several times."""
    model = scaling.fit(measurements())
    short = model.seconds(400, 4).best / model.seconds(400, 1).best  # 5.8 s of 11 s
    assert short > 0.5
    eight_hours = model.minutes(8, 4).best / model.minutes(8, 1).best
    assert eight_hours == pytest.approx(1 / 4 + ADDED / DIVIDED * 2, rel=1e-3)  # 0.35


def test_minutes_of_one_host_are_its_hours_and_the_start():
    band = scaling.fit(measurements()).minutes(1, 1, start_s=120)
    assert band.best == pytest.approx(60 + FIXED / 60 + 2)


def test_bands_hold_the_truth_as_often_as_they_say():
    truth = FIXED + 20_000 * (DIVIDED / 16 + ADDED * 4)
    hits = [
        band.low <= truth <= band.high
        for seed in range(60)
        for band in [scaling.fit(measurements(0.05, seed)).seconds(20_000, 16)]
    ]
    assert 0.75 <= np.mean(hits) <= 1.0


def test_bands_are_wider_where_measurements_scatter_more_and_where_hosts_were_not_measured():
    def width(noise: float, hosts: int) -> float:
        band = scaling.fit(measurements(noise, seed=3)).minutes(8, hosts)
        return (band.high - band.low) / band.best

    assert width(0.05, 16) > 2 * width(0.01, 16)
    assert width(0.05, 16) > 2 * width(0.05, 2)


def test_too_little_is_refused():
    with pytest.raises(ValueError, match="at least four measurements, not 3"):
        scaling.fit(measurements()[:3])
    same = measurements().assign(seconds=3.0, hosts=1)
    with pytest.raises(ValueError, match="took no longer"):
        scaling.fit(same)


def test_a_band_is_written_with_the_digits_that_count():
    assert str(scaling.Band(93.271, 88.04, 120.9)) == "93.3 (88 to 121)"
