"""workshop/costs.py: sums that can be checked on paper, and refusals instead of guesses."""

import csv
import json
import math
import os
import re
import subprocess
import sys

import boto3
import pytest
from botocore.stub import Stubber

from stub_aws.console import prices
from workshop import costs, price_api

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
    assert str(costs.upper_bound("ml.m5.large", 1, max_run_s=1)).startswith(
        "less than $0.0001: 1 s"
    )


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


# --- several jobs, spot, what stays -----------------------------------------------------------


def test_a_list_of_jobs_costs_its_sum_and_counts_each_machine():
    pair = RECORDED | {"ResourceConfig": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 2}}
    total = costs.jobs_cost([RECORDED, pair])
    assert total.usd == pytest.approx(109 / 3600 * (0.115 + 2 * 0.23))
    assert (total.seconds, total.jobs) == (327, 2)
    assert str(total) == "$0.0174 for 2 jobs and 327 billable seconds of machines"


def test_a_bill_has_the_seconds_here_and_those_that_aws_would_bill():
    two = RECORDED | {"BillableTimeInSeconds": 6}
    two["ResourceConfig"] = RECORDED["ResourceConfig"] | {"InstanceCount": 2}
    bill = costs.bill(False, RECORDED, two)
    with costs.RECORDED_FILE.open(newline="") as file:
        rows = list(csv.DictReader(file))
    waits = [float(row["downloading_data_s"]) + float(row["downloading_image_s"]) for row in rows]
    assert waits == [112, 107]
    assert costs.startup_s() == 109.5
    assert bill.here == costs.jobs_cost([RECORDED, two])
    assert bill.on_aws.seconds == 109 + 2 * 6 + 3 * 109.5
    assert bill.on_aws.usd == pytest.approx(0.115 / 3600 * (109 + 2 * 6 + 3 * 109.5))
    assert str(bill) == (
        "$0.0039 for the 121 s that this took here, at AWS's price; on AWS about $0.0144, where "
        "each machine takes some 110 s more to download data and image"
    )


def test_on_aws_the_seconds_are_all_there_is():
    assert costs.bill(True, RECORDED).on_aws is None
    assert str(costs.bill(True, RECORDED)) == str(costs.jobs_cost([RECORDED]))


def test_the_console_and_the_lessons_have_one_figure_for_aws():
    assert costs.startup_s() == prices.STARTUP_S
    listed = prices.read(costs.PRICE_FILE, "us-east-1")
    ours = costs.bill(False, RECORDED).on_aws
    assert f"on AWS about {costs.dollars(ours.usd)}," in prices.bill(RECORDED, None, listed)["cost"]


def test_no_jobs_cost_nothing():
    assert costs.jobs_cost([]).usd == 0
    assert str(costs.jobs_cost([])).startswith("$0.0000 for 0 jobs")


@pytest.mark.parametrize("changes", [{"BillableTimeInSeconds": None}, {"ResourceConfig": None}])
def test_a_sum_leaves_nothing_out_in_silence(changes):
    odd = RECORDED | {"TrainingJobName": "odd"} | changes
    if odd["ResourceConfig"] is None:
        odd["ResourceConfig"] = {"InstanceType": "ml.unheard.of", "InstanceCount": 1}
    with pytest.raises(costs.CostError, match=r"Job odd|ml\.unheard\.of"):
        costs.jobs_cost([RECORDED, odd])


SPOT = RECORDED | {
    "EnableManagedSpotTraining": True,
    "TrainingTimeInSeconds": 400,
    "BillableTimeInSeconds": 100,
}


def test_spot_saving_is_what_sagemaker_prints_and_its_dollars():
    saving = costs.spot_saving(SPOT)
    assert saving.share == pytest.approx(0.75)
    assert saving.usd == pytest.approx(300 / 3600 * 0.115)
    assert str(saving) == "$0.0096 saved, 75% of the price on demand"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"EnableManagedSpotTraining": False}, "did not run on spot"),
        ({"BillableTimeInSeconds": None}, "no billable time yet"),
        ({"TrainingTimeInSeconds": 0}, "no training time"),
    ],
)
def test_no_saving_is_made_up(changes, sentence):
    with pytest.raises(costs.CostError, match=sentence):
        costs.spot_saving(SPOT | changes)


def test_logs_and_disks_bill_by_their_size():
    assert costs.log_cost(2**30) == pytest.approx(0.5)
    month = RECORDED | {"BillableTimeInSeconds": 730 * 3600}
    assert costs.disk_cost(month) == pytest.approx(30 * 0.14)
    assert costs.disk_cost(RECORDED) < costs.job_cost(RECORDED).usd / 10
    without_disk = RECORDED | {"ResourceConfig": {"InstanceType": "ml.g5", "InstanceCount": 1}}
    assert costs.disk_cost(without_disk) == 0
    for size in (-1, math.nan):
        with pytest.raises(costs.CostError, match="below 0"):
            costs.log_cost(size)


@pytest.mark.parametrize("known", [costs.S3_STANDARD, costs.CLOUDWATCH_LOGS, costs.ML_VOLUME])
def test_every_price_in_the_code_has_its_date_and_source(known):
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", known.as_of)
    assert len(known.source) > 10
    assert known.trust in ("high", "good", "medium")


# --- the command line and AWS's Price List ------------------------------------------------------


def test_the_command_line_prints_every_price_and_refuses_an_unknown_one(capsys):
    assert costs.main([]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(costs.price_list())
    assert costs.main(["ml.m5.large"]) == 0
    assert capsys.readouterr().out.startswith("ml.m5.large: $0.115 per hour (us-east-1")
    assert costs.main(["ml.m5.huge"]) == 1
    assert "No training price for 'ml.m5.huge'" in capsys.readouterr().err


def product(usage, *usd, unit="Hrs"):
    """Return one entry of GetProducts, in the form that AWS documents for it."""
    dimensions = {
        f"SKU.TERM.{i}": {"unit": unit, "pricePerUnit": {"USD": text}} for i, text in enumerate(usd)
    }
    term = {"effectiveDate": "2026-09-01T00:00:00Z", "priceDimensions": dimensions}
    return json.dumps(
        {
            "product": {"sku": "SKU", "attributes": {"usagetype": usage, "regionCode": "x"}},
            "terms": {"OnDemand": {"SKU.TERM": term}},
        }
    )


@pytest.fixture
def price_list_of():
    """Return a function that makes a boto3 client which answers with pages, and checks the
    question."""

    def make(*pages, region="us-east-1"):
        client = boto3.client(
            "pricing",
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        stubber = Stubber(client)
        wanted = {
            "ServiceCode": "AmazonSageMaker",
            "Filters": [{"Type": "TERM_MATCH", "Field": "regionCode", "Value": region}],
        }
        for number, page in enumerate(pages):
            answer = {"FormatVersion": "aws_v1", "PriceList": page}
            asked = dict(wanted)
            if number:
                asked["NextToken"] = f"page{number}"
            if number + 1 < len(pages):
                answer["NextToken"] = f"page{number + 1}"
            stubber.add_response("get_products", answer, asked)
        stubber.activate()
        return client

    return make


PAGES = (
    [
        product("USE1-Train:ml.m5.large", "0.1200000000"),
        product("USE1-Host:ml.m5.large", "9"),  # hosting, notebooks: other prices, other rows
        product("USE1-Notebk:ml.t3.medium", "0.05"),
    ],
    [product("USE1-Train:ml.c5.xlarge", "0.204"), product("USE1-Train:ml.c5.new", "3.5")],
)


def test_live_prices_are_those_of_training_on_all_pages(price_list_of):
    prices = price_api.training_prices("us-east-1", price_list_of(*PAGES))
    assert {kind: known.usd for kind, known in prices.items()} == {
        "ml.m5.large": 0.12,
        "ml.c5.xlarge": 0.204,
        "ml.c5.new": 3.5,
    }
    assert prices["ml.m5.large"].as_of == "2026-09-01"
    assert "USE1-Train:ml.m5.large" in prices["ml.m5.large"].source


def test_live_prices_stand_beside_those_of_the_file(price_list_of, monkeypatch, capsys):
    monkeypatch.setattr(price_api, "_client", lambda: price_list_of(*PAGES))
    assert costs.main(["--live"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any("ml.m5.large: $0.12" in line and "+4.3% against" in line for line in lines)
    assert any("ml.c5.xlarge: $0.204" in line and "as in" in line for line in lines)
    assert any(line.startswith("ml.m5.xlarge: AWS's Price List has no") for line in lines)


def test_live_asks_for_the_types_and_the_region_that_one_names(price_list_of, monkeypatch, capsys):
    page = [product("EU-Train:ml.m5.large", "0.128")]
    monkeypatch.setattr(price_api, "_client", lambda: price_list_of(page, region="eu-west-1"))
    assert costs.main(["--live", "--region", "eu-west-1", "ml.m5.large"]) == 0
    output = capsys.readouterr().out
    assert output == (
        "ml.m5.large: $0.128 per hour (eu-west-1, 2026-09-01); not in instance_prices.csv\n"
    )


@pytest.mark.parametrize(
    ("page", "sentence"),
    [
        ([], "no training prices for 'us-east-1'"),
        ([product("USE1-Train:ml.m5.large", "0.1", "0.2")], "2 hourly prices"),
        ([product("USE1-Train:ml.m5.large", "0.1", unit="GB")], "0 hourly prices"),
        (
            [product("USE1-Train:ml.m5.large", "0.1"), product("USE1-Train:ml.m5.large", "0.2")],
            "two prices for USE1-Train:ml.m5.large",
        ),
    ],
)
def test_an_ambiguous_price_list_is_refused(price_list_of, page, sentence):
    with pytest.raises(costs.CostError, match=sentence):
        price_api.training_prices("us-east-1", price_list_of(page))


def test_without_the_permission_live_names_it(monkeypatch, capsys):
    client = boto3.client("pricing", "us-east-1", aws_access_key_id="t", aws_secret_access_key="t")
    stubber = Stubber(client)
    stubber.add_client_error("get_products", "AccessDeniedException", "User … is not authorized")
    stubber.activate()
    monkeypatch.setattr(price_api, "_client", lambda: client)
    assert costs.main(["--live"]) == 1
    message = capsys.readouterr().err
    assert "pricing:GetProducts" in message
    assert message.count("\n") == 1


def test_without_credentials_live_says_so_and_sends_nothing(tmp_path):
    """It runs as a process of its own, as people start it."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")} | {
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    command = [sys.executable, costs.__file__, "--live"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "it needs an account" in done.stderr
    assert done.stderr.count("\n") == 1
