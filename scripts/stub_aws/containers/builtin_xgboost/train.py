"""Runs the built-in algorithm on one host: hyperparameters, channels, data, training, the model."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import xgboost as xgb
from sagemaker_training.environment import Environment

from . import callbacks, channels, crossvalidation, data, distributed, hyperparameters, metrics, say
from .callbacks import Folders
from .errors import AlgorithmError, UserError

DIVIDE = (
    "data across instances properly. See https://docs.aws.amazon.com/sagemaker/latest/dg/"
    "xgboost.html#Instance-XGBoost-distributed-training-divide-data. "
)
# Parts of XGBoost's messages which the image takes for the person's fault. XGBoost 3.2 has other
# messages for some of them, which the image does not know, as far as its public source shows.
USERS_FAULTS = (
    "label must be in [0,1] for logistic regression",
    "label must be in [0, num_class)",
    "Target is multiclass but average='binary'",
    "feature_names mismatch",
    "Check failed: preds.size() == info.labels_.size()",
    "Check failed: !auc_error AUC: the dataset only contains pos or neg samples",
    "base_score must be in (0,1) for logistic loss",
    "PoissonRegression: label must be nonnegative",
    "TweedieRegression: label must be nonnegative",
    "Parameter reg_lambda should be greater equal to 0",
)
NO_GPUS = "Dask training is only available for `gpu_hist` training on GPU instances."
NOT_DASK_FORMAT = "Dask training is only supported for CSV and Parquet input."
NOT_REPLICATED = "Dask distributed training requires FullyReplicated data."


@dataclass
class Matrices:
    """The rows of this host: to train on, to validate on, and both for cross-validation."""

    train: xgb.DMatrix | None
    validation: xgb.DMatrix | None
    both: xgb.DMatrix | None


def run(env: Environment) -> None:
    """Train as the job of this environment asks.

    Raises:
        KeyError: There is no channel `train`, or `eval_metric` comes without `objective`; the image
            fails in the same way.
        UserError: A hyperparameter, a channel or the data is not as the algorithm needs it.
        AlgorithmError: XGBoost cannot train on it.
    """
    logging.info("Running XGBoost Sagemaker in algorithm mode")
    configuration = Path(env.input_config_dir)
    texts = read_json(configuration / "hyperparameters.json")
    described = read_json(configuration / "inputdataconfig.json")
    checkpoints = read_json(configuration / "checkpointconfig.json").get("LocalPath")
    if checkpoints:
        checkpoints = inside(checkpoints)
    if "train" not in described:
        say(f"the built-in XGBoost reads the channel `train`; this job has {list(described)}.")
        raise KeyError("SM_CHANNEL_TRAIN")  # where the image looks it up

    values = hyperparameters.validate(texts)
    configured = channels.validate(described)
    logging.info(f"Determined {env.num_gpus} GPU(s) available on the instance.")
    if values.pop("use_dask_gpu_training", "false") == "true":
        refuse_dask(configured, len(env.hosts))
    matrices = read(env, configured, values)
    folders = Folders(Path(env.model_dir), Path(checkpoints) if checkpoints else None, master=True)
    if len(env.hosts) > 1:
        train_together(env, values, configured, matrices, folders)
    else:
        check_rows(env, configured, matrices)
        logging.info("Single node training.")
        train(values, matrices, folders, Path(env.output_data_dir))


def read_json(path: Path) -> dict[str, Any]:
    """Return the content of a configuration file; empty when the job has none."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def inside(path: str) -> str:
    """Return where a path below `/opt/ml` is on a host that has no `/opt/ml` of its own."""
    return path.replace("/opt/ml", os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"), 1)


def refuse_dask(configured: Mapping[str, Mapping[str, str]], hosts: int) -> None:
    """Raise UserError: there are no GPUs that Dask could train on."""
    faults = [NO_GPUS]
    kind = channels.data_format(configured["train"]["ContentType"])
    if kind not in (channels.CSV, channels.PARQUET):
        faults.append(NOT_DASK_FORMAT)
    distributions = {channel["S3DistributionType"] for channel in configured.values()}
    if distributions != {"FullyReplicated"} and hosts > 1:
        faults.append(NOT_REPLICATED)
    raise UserError(
        f"Some configurations unsuitable for Dask GPU training were found: {'. '.join(faults)}"
    )


# ---- Data --------------------------------------------------------------------------------------


def read(
    env: Environment, configured: Mapping[str, Mapping[str, str]], values: Mapping[str, Any]
) -> Matrices:
    """Return this host's rows. Both channels are read as `train` is configured, as in the image."""
    kind = channels.data_format(configured["train"]["ContentType"])
    options = {
        "csv_weights": values.get("csv_weights") == 1,
        "pipe": configured["train"]["TrainingInputMode"] == "Pipe",
    }
    folders = [
        Path(env.channel_input_dirs[name]) for name in channels.DATA_CHANNELS if name in configured
    ]
    if len(folders) == 2:
        data.warn_of_same_files(*folders)
    parts = [data.load([folder], kind, **options) for folder in folders]
    train, validation = parts[0], parts[1] if len(parts) == 2 else None
    both = train
    if "_kfold" in values and train is not None and validation is not None:
        logging.info("Read both train and validation data into one DMatrix")
        both = data.load(folders, kind, **options)
    return Matrices(train, validation, both)


def check_rows(
    env: Environment, configured: Mapping[str, Mapping[str, str]], matrices: Matrices
) -> None:
    """Raise UserError unless each channel of this only host has rows."""
    if matrices.train is None:
        path = env.channel_input_dirs["train"]
        raise UserError(f"No data in training channel path {path}")
    if "validation" in configured and matrices.validation is None:
        path = env.channel_input_dirs["validation"]
        raise UserError(f"No data in validation channel path {path}")


# ---- Several hosts -----------------------------------------------------------------------------


def train_together(
    env: Environment,
    values: dict[str, Any],
    configured: Mapping[str, Mapping[str, str]],
    matrices: Matrices,
    folders: Folders,
) -> None:
    """Train with the other hosts; a host without data logs that, and ends with success."""
    host, output = env.current_host, Path(env.output_data_dir)
    logging.info(f"Distributed node training with {len(env.hosts)} hosts: {env.hosts}")
    has_data = has_all_data(host, configured, matrices)
    able = distributed.hosts_with_data(env.hosts, host, has_data)
    if not has_data:
        logging.warning(f"Host {host} not being used for distributed training.")
        if not able:
            say("no host has data: as in the image, all end well and there is no model.")
        sys.exit(0)
    if len(able) == 1:
        train(values, matrices, folders, output)
        return
    with distributed.group(able, host, distributed.SECOND_PORT) as master:
        train(values, matrices, Folders(folders.model, folders.checkpoints, master), output)


def has_all_data(
    host: str, configured: Mapping[str, Mapping[str, str]], matrices: Matrices
) -> bool:
    """Return whether this host has rows of each channel; the log names what it lacks."""
    unused = (
        f"Will broadcast to cluster and this host {host} will not be used in distributed training. "
    )
    if matrices.train is None:
        logging.warning(
            f"Host {host} does not have training data. {unused}Please divide the training {DIVIDE}"
        )
    without_validation = "validation" in configured and matrices.validation is None
    if without_validation:
        logging.warning(
            f"Host {host} does not have validation data in the validation channel : "
            f"{configured['validation']}. {unused}Please divide the validation {DIVIDE}"
        )
    return matrices.train is not None and not without_validation


# ---- Training ----------------------------------------------------------------------------------


def train(values: dict[str, Any], matrices: Matrices, folders: Folders, output: Path) -> None:
    """Train and save, once or for each fold.

    Raises:
        UserError: XGBoost does not accept labels or parameters.
        AlgorithmError: XGBoost fails otherwise.
    """
    # There are rows here: see `check_rows` and `has_all_data`.
    rows, both = cast("xgb.DMatrix", matrices.train), cast("xgb.DMatrix", matrices.both)
    logging.info(f"Train matrix has {rows.num_row()} rows and {rows.num_col()} columns")
    if matrices.validation is not None:
        logging.info(f"Validation matrix has {matrices.validation.num_row()} rows")
    training = Training(values, matrices.validation is not None, folders)
    try:
        if training.folds:
            models = training.cross_validate(both, training.folds, output)
        else:
            models = {callbacks.MODEL: training.once(rows, matrices.validation)}
    except (xgb.core.XGBoostError, ValueError, TypeError, AttributeError) as error:
        if any(fault in str(error) for fault in USERS_FAULTS):
            raise UserError(str(error)) from None
        raise AlgorithmError(f"XGB train call failed with exception:\n {error}") from None
    if folders.master:
        folders.model.mkdir(parents=True, exist_ok=True)
        for name, model in models.items():
            callbacks.save(model, folders.model / name)


class Training:
    """The settings of one job's training: XGBoost's, and those that the image itself uses."""

    def __init__(self, values: Mapping[str, Any], validated: bool, folders: Folders) -> None:
        parameters = dict(values)
        self._folders = folders
        self._rounds: int = parameters.pop("num_round")
        self.folds: int | None = parameters.pop("_kfold", None)
        self._repeats: int = parameters.pop("_num_cv_round", 1)
        self._save_on_termination = parameters.pop("save_model_on_termination", "false") == "true"
        tuning_metric = parameters.pop("_tuning_objective_metric", None)
        named = parameters.pop("eval_metric", None)
        if tuning_metric:
            logging.info(f"Setting up HPO optimized metric to be : {tuning_metric.split(':')[1]}")
        native, ours = metrics.split(named, tuning_metric)
        if native:
            parameters["eval_metric"] = native
        if "updater" in parameters:
            parameters["updater"] = ",".join(parameters["updater"])
        self._custom_metric = metrics.custom_metric(ours, parameters.get("objective"))
        self._stopping = (
            parameters.pop("early_stopping_rounds", None),
            [tuning_metric.split(":")[1]] if tuning_metric else named or [],
            validated,
        )
        # For the data's loader; XGBoost would warn of a parameter that it does not know.
        parameters.pop("csv_weights", None)
        self._parameters = parameters

    def once(self, rows: xgb.DMatrix, validation: xgb.DMatrix | None) -> xgb.Booster:
        """Train on the training rows, watching them and those of the validation channel."""
        watched = [(rows, "train")]
        if validation is not None:
            watched.append((validation, "validation"))
        return self._train(watched, callbacks.MODEL, self._folders, {})

    def cross_validate(self, rows: xgb.DMatrix, folds: int, output: Path) -> dict[str, xgb.Booster]:
        """Return a model of each fold; their mean metrics in the log, their predictions in
        `output`."""
        logging.info(
            f"Run {self._repeats}-round of {folds}-fold cross validation with {rows.num_row()} rows"
        )
        objective: Any = self._parameters.get("objective")
        classified = "num_class" in self._parameters or objective.startswith("binary:")
        labels = rows.get_label()
        strata = labels if classified else None
        predictions = crossvalidation.Predictions(labels, classified)
        models: dict[str, xgb.Booster] = {}
        results: list[crossvalidation.EvalsResult] = []
        splits = crossvalidation.folds(len(labels), folds, self._repeats, strata)
        for training_rows, held_out_rows in splits:
            logging.info(f"Train cross validation fold {len(models) % folds + 1}")
            number = len(models)
            name = f"{callbacks.MODEL}-{number}"
            held_out = rows.slice(held_out_rows)
            watched = [(rows.slice(training_rows), "train"), (held_out, "validation")]
            results.append({})
            models[name] = self._train(watched, name, self._folders_of(number), results[-1])
            predictions.record(held_out_rows, models[name].predict(held_out))
            if len(models) % folds == 0:
                logging.info(f"The metrics of round {len(models) // folds} cross validation")
                self._print(results[-folds:])
        predictions.save(output)
        if self._repeats > 1:
            logging.info(f"The overall metrics of {self._repeats}-round cross validation")
            self._print(results)
        return models

    def _print(self, results: list[crossvalidation.EvalsResult]) -> None:
        print(crossvalidation.report(self._rounds, results), flush=True)

    def _folders_of(self, fold: int) -> Folders:
        job = self._folders
        checkpoints = job.checkpoints and job.checkpoints / f"model-{fold}"
        return Folders(job.model, checkpoints, job.master)

    def _train(
        self,
        watched: list[tuple[xgb.DMatrix, str]],
        name: str,
        folders: Folders,
        results: crossvalidation.EvalsResult,
    ) -> xgb.Booster:
        checkpoint, first_round = callbacks.last_checkpoint(folders.checkpoints)
        after_each_round = callbacks.make(
            folders,
            first_round=first_round,
            model_name=name,
            early_stopping=callbacks.early_stopping(*self._stopping, folders.master),
            save_on_termination=self._save_on_termination,
        )
        return xgb.train(
            self._parameters,
            watched[0][0],
            num_boost_round=self._rounds - first_round,
            evals=watched,
            evals_result=results,
            custom_metric=self._custom_metric,
            callbacks=[callbacks.InOrder(after_each_round)],
            xgb_model=checkpoint,
            verbose_eval=False,
        )
