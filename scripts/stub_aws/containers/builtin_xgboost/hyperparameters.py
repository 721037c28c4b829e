"""The hyperparameters of the built-in XGBoost: which there are, their ranges, what goes together.

The list and the ranges are those of the image and of the developer guide ("XGBoost
hyperparameters"); messages have the image's wording. Everything arrives as a string.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .errors import UserError
from .metrics import MAXIMIZED, MINIMIZED

METRICS = [*MAXIMIZED, *MINIMIZED]


class Interval:
    """An interval such as `(0, 1]` or `[1, +inf)`, written as the image writes it."""

    def __init__(self, text: str) -> None:
        self._text = text
        if not (match := re.fullmatch(r"([\[(])(.+), (.+)([\])])", text)):
            raise ValueError(f"{text!r} is not an interval")
        opening, low, high, closing = match.groups()
        self._low, self._high = float(low), float(high)
        self._low_open, self._high_open = opening == "(", closing == ")"

    def __contains__(self, value: float) -> bool:
        above = self._low < value if self._low_open else self._low <= value
        below = value < self._high if self._high_open else value <= self._high
        return above and below

    def __str__(self) -> str:
        return self._text


class EvalMetrics:
    """The evaluation metrics by name, and those with a threshold such as `error@0.7`."""

    def __contains__(self, metric: str) -> bool:
        if "<function" in metric:
            raise UserError(f"User defined evaluation metric {metric} is not supported yet.")
        if "@" not in metric:
            return metric in METRICS
        name, threshold = (part.strip() for part in metric.split("@")[:2])
        if name not in ("error", "ndcg", "map"):
            raise UserError(
                f"Metric '{metric}' is not supported. Parameter 'eval_metric' with customized "
                "threshold should be one of these options: 'error', 'ndcg', 'map'."
            )
        try:
            float(threshold)
        except ValueError:
            raise UserError(f"Threshold value 't' in '{name}@t' expects float input.") from None
        return True

    def __str__(self) -> str:
        return str(METRICS)


# ---- Kinds of values ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Kind:
    """How a value is read, what it may be, and whether every item of it is meant."""

    parse: Callable[[str], Any]
    allowed: Any
    each: bool = False

    def check(self, name: str, value: Any) -> None:
        """Raise UserError unless `value` is allowed."""
        if not self.each:
            if value not in self.allowed:
                raise UserError(f"Hyperparameter {name}: {value} is not in {self.allowed}")
        elif any(item not in self.allowed for item in flat(value)):
            raise UserError(f"Hyperparameter {name}: value {value} not in range {self.allowed}")


def flat(value: Any) -> list[Any]:
    """Return the items of a list, tuple or list of lists."""
    return [part for item in value for part in (item if isinstance(item, list) else [item])]


def integer(interval: str) -> Kind:
    return Kind(int, Interval(interval))


def real(interval: str) -> Kind:
    return Kind(float, Interval(interval))


def choice(*values: str) -> Kind:
    return Kind(str, list(values))


def literal(text: str) -> Any:
    """Return a list or tuple written as Python writes it. (The image evaluates any expression.)"""
    try:
        value = ast.literal_eval(text)
    except SyntaxError as error:
        raise ValueError(text) from error
    if not isinstance(value, list | tuple):
        raise ValueError(text)
    return value


def comma_separated(text: str) -> list[str]:
    return text.split(",")


TREE_GROWERS = ("grow_colmaker", "distcol", "grow_histmaker", "grow_local_histmaker")
LINEAR_UPDATERS = ("shotgun", "coord_descent")
UPDATERS = [
    *TREE_GROWERS,
    *("grow_skmaker", "sync", "refresh", "prune"),
    *LINEAR_UPDATERS,
]
OBJECTIVES = (
    *("aft_loss_distribution", "binary:logistic", "binary:logitraw", "binary:hinge"),
    *("count:poisson", "multi:softmax", "multi:softprob"),
    *("rank:pairwise", "rank:ndcg", "rank:map"),
    *("reg:linear", "reg:squarederror", "reg:logistic", "reg:gamma", "reg:pseudohubererror"),
    *("reg:squaredlogerror", "reg:tweedie", "survival:aft", "survival:cox"),
)
ANY_POSITIVE = "[0, +inf)"
SHARE = "[0, 1]"
FLAG = "[0, 1]"

KINDS: dict[str, Kind] = {
    "num_round": integer("[1, +inf)"),
    "csv_weights": integer(FLAG),
    "early_stopping_rounds": integer("[1, +inf)"),
    "booster": choice("gbtree", "gblinear", "dart"),
    "verbosity": integer("[0, 3]"),
    "nthread": integer("[1, +inf)"),
    "eta": real(SHARE),
    "gamma": real(ANY_POSITIVE),
    "max_depth": integer(ANY_POSITIVE),
    "min_child_weight": real(ANY_POSITIVE),
    "max_delta_step": real(ANY_POSITIVE),
    "subsample": real("(0, 1]"),
    "colsample_bytree": real("(0, 1]"),
    "colsample_bylevel": real("(0, 1]"),
    "colsample_bynode": real("(0, 1]"),
    "lambda": real(ANY_POSITIVE),
    "alpha": real(ANY_POSITIVE),
    "tree_method": choice("auto", "exact", "approx", "hist", "gpu_hist"),
    "sketch_eps": real("(0, 1)"),
    "scale_pos_weight": real("(0, +inf)"),
    "updater": Kind(comma_separated, UPDATERS, each=True),
    "dsplit": choice("row", "col"),
    "refresh_leaf": integer(FLAG),
    "process_type": choice("default", "update"),
    "grow_policy": choice("depthwise", "lossguide"),
    "max_leaves": integer(ANY_POSITIVE),
    "max_bin": integer(ANY_POSITIVE),
    "predictor": choice("auto", "cpu_predictor", "gpu_predictor"),
    "monotone_constraints": Kind(literal, [-1, 0, 1], each=True),
    "interaction_constraints": Kind(literal, Interval("[1, +inf)"), each=True),
    "sample_type": choice("uniform", "weighted"),
    "normalize_type": choice("tree", "forest"),
    "rate_drop": real(SHARE),
    "one_drop": integer(FLAG),
    "skip_drop": real(SHARE),
    "lambda_bias": real(SHARE),
    "tweedie_variance_power": real("(1, 2)"),
    "objective": choice(*OBJECTIVES),
    "num_class": integer("[2, +inf)"),
    "base_score": real(ANY_POSITIVE),
    "_kfold": integer("[2, +inf)"),
    "_num_cv_round": integer("[1, +inf)"),
    "_tuning_objective_metric": choice(*(f"validation:{metric}" for metric in METRICS)),
    "eval_metric": Kind(comma_separated, EvalMetrics(), each=True),
    "seed": integer("(-2147483648, 2147483647)"),
    "num_parallel_tree": integer("[1, +inf)"),
    "save_model_on_termination": choice("true", "false"),
    "aft_loss_distribution": choice("normal", "logistic", "extreme"),
    "aft_loss_distribution_scale": real(ANY_POSITIVE),
    "single_precision_histogram": choice("true", "false"),
    "deterministic_histogram": choice("true", "false"),
    "sampling_method": choice("uniform", "gradient_based"),
    "prob_buffer_row": integer("(1.0, +inf)"),
    "use_dask_gpu_training": choice("true", "false"),
}
REQUIRED = ("num_round",)
ALIASES = {
    "learning_rate": "eta",
    "min_split_loss": "gamma",
    "reg_lambda": "lambda",
    "reg_alpha": "alpha",
}


def validate(texts: Mapping[str, str]) -> dict[str, Any]:
    """Return the job's hyperparameters as numbers, texts and lists, under XGBoost's own names.

    Raises:
        UserError: One is missing, unknown, unreadable, out of range, or does not fit another.
        KeyError: `eval_metric` without `objective`: the image fails in the same way.
    """
    renamed = {ALIASES.get(name, name): text for name, text in texts.items()}
    for name in REQUIRED:
        if name not in renamed:
            raise UserError(f"Missing required hyperparameter: {name}")
    values = {name: _parse(name, text) for name, text in renamed.items()}
    for name, value in values.items():
        KINDS[name].check(name, value)
    for name, check in DEPENDENCIES.items():
        if name in values:
            check(values[name], values)
    return values


def _parse(name: str, text: str) -> Any:
    if name not in KINDS:
        raise UserError(f"Extraneous hyperparameter found: {name}")
    try:
        return KINDS[name].parse(text)
    except ValueError as error:
        raise UserError(f"Hyperparameter {name}: could not parse value", error) from None


# ---- What goes together ------------------------------------------------------------------------


def check_objective(objective: str, values: Mapping[str, Any]) -> None:
    if objective in ("multi:softmax", "multi:softprob") and "num_class" not in values:
        raise UserError("Require input for parameter 'num_class' for multi-classification")


def check_eval_metric(metrics: list[str], values: Mapping[str, Any]) -> None:
    objective = values["objective"]
    if "auc" in metrics and not objective.startswith(("binary:", "rank:")):
        raise UserError("Metric 'auc' can only be applied for classification and ranking problems.")
    if "aft-nloglik" in metrics and objective != "survival:aft":
        raise UserError("Metric 'aft-nloglik' can only be applied for 'survival:aft' objective.")


def check_updater(updaters: list[str], values: Mapping[str, Any]) -> None:
    if values.get("booster") == "gblinear":
        if len(updaters) != 1 or updaters[0] not in LINEAR_UPDATERS:
            options = ", ".join(f"'{name}'" for name in LINEAR_UPDATERS)
            raise UserError(f"Linear updater should be one of these options: {options}.")
    elif values.get("process_type") == "update":
        if not set(updaters) <= {"refresh", "prune"}:
            raise UserError(
                "process_type 'update' can only be used with updater 'refresh' and 'prune'"
            )
    elif set(updaters) & set(LINEAR_UPDATERS):
        raise UserError(  # 'shortgun' is the image's spelling
            "Tree updater should be selected from these options: 'grow_colmaker', 'distcol', "
            "'grow_histmaker', 'grow_local_histmaker', 'grow_skmaker', 'grow_quantile_histmaker', "
            "'sync', 'refresh', 'prune', 'shortgun', 'coord_descent'."
        )
    elif sum(name in TREE_GROWERS for name in updaters) > 1:
        raise UserError(
            "Only one tree grow plugin can be selected. Choose one from the"
            "following: 'grow_colmaker', 'distcol', 'grow_histmaker', "
            "'grow_local_histmaker', 'grow_skmaker'"
        )


def check_monotone_constraints(_: Any, values: Mapping[str, Any]) -> None:
    if values.get("tree_method") not in ("exact", "hist"):
        raise UserError(
            "monotone_constraints can be used only when the tree_method parameter is set to "
            "either 'exact' or 'hist'."
        )


def check_interaction_constraints(_: Any, values: Mapping[str, Any]) -> None:
    if values.get("tree_method") not in ("exact", "hist", "approx"):
        raise UserError(
            "interaction_constraints can be used only when the tree_method parameter is set to "
            "either 'exact', 'hist' or 'approx'."
        )


DEPENDENCIES: dict[str, Callable[[Any, Mapping[str, Any]], None]] = {
    "updater": check_updater,
    "objective": check_objective,
    "eval_metric": check_eval_metric,
    "monotone_constraints": check_monotone_constraints,
    "interaction_constraints": check_interaction_constraints,
}
