"""scripts/costs.py: sums that can be done by hand, and refusals instead of guesses."""

import csv
import math
import re

import costs
import pytest

RECORDED = {  # one ml.m5.large, 109 billable seconds: $0.0035 in the record that the price is from
    "TrainingJobName": "recorded",
    "TrainingJobStatus": "Completed",
    "BillableTimeInSeconds": 109,
    "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 30},
}


def write_prices(path, **changes):
    row = {
        "instance_type": "ml.x",
        "use": "training",
        "usd_per_hour": "1.5",
        "region": "us-east-1",
        "as_of": "2026-01-01",
        "source": "a test",
        "trust": "high",
    } | changes
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, row)
        writer.writeheader()
        writer.writerow(row)
    return path


def test_every_shipped_price_has_region_date_source_and_trust():
    with costs.PRICE_FILE.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(costs.price_list()) >= 9  # a repeated row would shadow another
    for row in rows:
        assert re.fullmatch(r"ml\.[a-z0-9]+\.[a-z0-9]+", row["instance_type"])
        assert row["use"] in ("training", "notebook")
        assert float(row["usd_per_hour"]) > 0
        assert int(row["vcpu"]) > 0
        assert float(row["memory_gib"]) > 0
        assert re.fullmatch(r"[a-z]{2}-[a-z]+-\d", row["region"])
        assert re.fullmatch(r"\d{4}(-\d\d-\d\d)?", row["as_of"])
        assert len(row["source"]) > 10
        assert row["trust"] in ("high", "good", "medium")


def test_recorded_job_costs_what_its_record_says():
    cost = costs.job_cost(RECORDED)
    assert round(cost.usd, 4) == 0.0035
    assert cost.usd == pytest.approx(109 / 3600 * 0.115)


def test_billable_seconds_count_once_per_instance():
    pair = RECORDED | {"ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 2}}
    assert costs.job_cost(pair).usd == pytest.approx(2 * costs.job_cost(RECORDED).usd)


def test_bound_is_above_every_job_within_its_limit():
    bound = costs.upper_bound("ml.m5.large", 1, max_run_s=600)
    assert bound.usd == pytest.approx(0.115 / 6)
    assert costs.job_cost(RECORDED).usd < bound.usd


def test_a_cost_shows_how_it_was_computed_and_of_when_its_price_is():
    text = str(costs.upper_bound("ml.m5.large", 2, max_run_s=600))
    for part in ("$0.0383", "600 s", "2 x ml.m5.large", "$0.115", "us-east-1", "2026-08-11"):
        assert part in text


def test_a_very_small_cost_is_not_shown_as_nothing():
    assert str(costs.upper_bound("ml.m5.large", 1, max_run_s=1)).startswith("$0.000032 = 1 s")


def test_storage_price_is_per_gib_and_month():
    assert costs.storage_per_month(2**30) == pytest.approx(0.023)
    assert costs.storage_per_month(0) == 0
    assert costs.S3_STANDARD.source
    assert costs.S3_STANDARD.as_of


@pytest.mark.parametrize(
    ("instance_type", "region", "use"),
    [
        ("ml.m5.huge", "us-east-1", "training"),
        ("m5.large", "us-east-1", "training"),  # EC2's name, and EC2's price is another
        ("ml.m5.large", "eu-west-1", "training"),
        ("ml.m5.large", "us-east-1", "notebook"),
        ("ml.t3.medium", "us-east-1", "training"),  # exists for notebooks only
    ],
)
def test_unknown_price_is_refused_never_guessed(instance_type, region, use):
    with pytest.raises(
        costs.CostError, match=f"No {use} price for '{instance_type}' in '{region}'"
    ):
        costs.price(instance_type, region, use)


def test_refusal_names_what_is_known():
    with pytest.raises(costs.CostError, match=r"known are ml\.c5\.2xlarge.*ml\.m5\.xlarge"):
        costs.price("ml.m5.huge")


@pytest.mark.parametrize("count", [0, -1])
def test_no_instances_is_refused(count):
    with pytest.raises(costs.CostError, match="at least 1 instance"):
        costs.upper_bound("ml.m5.large", count, 600)


@pytest.mark.parametrize("limit", [0, -5, math.nan])
def test_no_time_limit_is_refused(limit):
    with pytest.raises(costs.CostError, match="max_run"):
        costs.upper_bound("ml.m5.large", 1, limit)


def test_running_job_has_no_cost_yet():
    running = {key: RECORDED[key] for key in RECORDED if key != "BillableTimeInSeconds"}
    running["TrainingJobStatus"] = "InProgress"
    with pytest.raises(
        costs.CostError, match=r"recorded \(status InProgress\) has no billable time"
    ):
        costs.job_cost(running)


def test_job_that_failed_at_once_costs_nothing():
    assert costs.job_cost(RECORDED | {"BillableTimeInSeconds": 0}).usd == 0


@pytest.mark.parametrize("usd", ["", "free", "0", "-1", "nan", "inf"])
def test_price_that_is_no_price_is_refused_with_its_line(tmp_path, usd):
    path = write_prices(tmp_path / "prices.csv", usd_per_hour=usd)
    with pytest.raises(costs.CostError, match=r"prices\.csv, line 2: usd_per_hour"):
        costs.price_list(path)


@pytest.mark.parametrize("column", ["as_of", "source", "trust"])
def test_price_without_provenance_is_refused(tmp_path, column):
    path = write_prices(tmp_path / "prices.csv", **{column: ""})
    with pytest.raises(costs.CostError, match="needs its as_of, source and trust"):
        costs.price_list(path)


def test_missing_price_list_says_so(tmp_path):
    with pytest.raises(costs.CostError, match="is missing"):
        costs.price_list(tmp_path / "none.csv")


def test_negative_size_is_refused():
    with pytest.raises(costs.CostError, match="below 0"):
        costs.storage_per_month(-1)
