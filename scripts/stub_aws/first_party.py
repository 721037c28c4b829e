"""What SageMaker does by itself for jobs of its XGBoost image: it defines their metrics.

A job description of such a job holds definitions that nobody asked for, and own ones are refused,
for a script in that image too.
The names are those seen in descriptions of real jobs (images 0.90-1 and 1.5-1), the expression is
theirs too; they find the lines that the image prints, in which a log stream writes a tab as `#011`.
"""

from __future__ import annotations

from typing import Any

REPOSITORY = "sagemaker-xgboost"
CANNOT_OVERRIDE = (
    "You can't override the metric definitions for Amazon SageMaker algorithms. Please retry the "
    "request without specifying metric definitions."
)
IN_BOTH = (
    *("accuracy", "auc", "aucpr", "cox-nloglik", "error", "f1", "gamma-deviance", "gamma-nloglik"),
    *("logloss", "mae", "map", "merror", "mlogloss", "mse", "ndcg", "poisson-nloglik", "rmse"),
    "tweedie-nloglik",
)
IN_VALIDATION_ONLY = ("f1_binary", "precision", "r2", "recall")
NAMES = (
    *(f"{data}:{metric}" for data in ("train", "validation") for metric in IN_BOTH),
    *(f"validation:{metric}" for metric in IN_VALIDATION_ONLY),
)
NUMBER = r"([-+]?[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)"


def defines_metrics(request: dict[str, Any]) -> bool:
    """Return whether a request for a job is for an image whose metrics SageMaker defines."""
    uri: str = request["AlgorithmSpecification"].get("TrainingImage", "")
    return uri.rsplit("/", 1)[-1].partition(":")[0] == REPOSITORY


def needle(name: str) -> str:
    """Return what a line that tells the metric `name` holds, e.g. `#011train-rmse:`."""
    return f"#011{name.replace(':', '-')}:"


def metric_definitions() -> list[dict[str, str]]:
    """Return the `MetricDefinitions` that a job of that image has."""
    return [{"Name": name, "Regex": rf".*\[[0-9]+\].*{needle(name)}{NUMBER}.*"} for name in NAMES]
