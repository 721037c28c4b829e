"""Metrics: the numbers are right, and SageMaker can read them from the lines that are printed."""

from __future__ import annotations

import re

import numpy as np
import pytest

import metrics
from metrics import METRIC_DEFINITIONS, evaluate
from tests.support.entry_points import metrics_in


def test_metric_definitions_fit_what_sagemaker_allows():
    assert len(METRIC_DEFINITIONS) <= 40
    for definition in METRIC_DEFINITIONS:
        assert set(definition) == {"Name", "Regex"}
        assert 1 <= len(definition["Name"]) <= 255
        assert 1 <= len(definition["Regex"]) <= 500
        assert re.compile(definition["Regex"]).groups == 1


@pytest.mark.parametrize("value", [0.0, 1.0, 0.5, 1e-9, 123456.0, 1.5e300, 1 / 3])
def test_any_number_that_is_printed_is_read(value, capsys):
    for definition in METRIC_DEFINITIONS:
        metrics.print_metric(definition["Name"], value)
        read = metrics_in(capsys.readouterr().out)
        assert read.pop(definition["Name"]) == [pytest.approx(value, rel=1e-5)]
        assert not any(read.values())


def test_what_is_no_number_is_not_printed(capsys):
    metrics.print_metric("train:auc", float("nan"))
    metrics.print_metric("train:auc", float("inf"))
    assert capsys.readouterr().out == ""


def test_metrics_agree_with_scikit_learn():
    import sklearn.metrics

    random = np.random.default_rng(0)
    for size in (10, 200, 5000):
        y = random.permutation(np.arange(size) % 3 == 0).astype(int)
        p = np.round(random.random(size) * 0.7 + 0.3 * y, 2)  # rounded, so that there are ties
        result = evaluate(y, p)
        assert result["accuracy"] == pytest.approx(sklearn.metrics.accuracy_score(y, p >= 0.5))
        assert result["auc"] == pytest.approx(sklearn.metrics.roc_auc_score(y, p))
        safe = np.clip(p, 1e-15, 1 - 1e-15)
        assert result["logloss"] == pytest.approx(sklearn.metrics.log_loss(y, safe))


def test_metrics_by_hand():
    result = evaluate(np.array([1, 0, 1, 0]), np.array([0.9, 0.1, 0.4, 0.4], dtype=np.float32))
    assert result["accuracy"] == 0.75
    assert result["auc"] == 0.875  # three of four pairs right, one tied
    expected = -np.log([0.9, 0.9, 0.4, 0.6]).mean()
    assert result["logloss"] == pytest.approx(expected, rel=1e-6)
    assert np.isnan(evaluate(np.array([1, 1]), np.array([0.2, 0.3]))["auc"])
    certain_and_wrong = evaluate(np.array([1]), np.array([0.0]))
    assert np.isfinite(certain_and_wrong["logloss"])


@pytest.mark.parametrize(
    ("y", "p"),
    [([1, 0], [0.5]), ([], []), ([1], [1.5]), ([1], [-0.1]), ([1], [np.nan]), ([[1]], [[0.5]])],
)
def test_metrics_refuse_what_is_no_probability(y, p):
    with pytest.raises(ValueError, match="expected"):
        evaluate(np.array(y), np.array(p))
