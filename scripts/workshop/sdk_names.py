"""The names of version 2 of the SageMaker SDK, and those of version 3 that replace them.

    .venv/bin/python -m workshop.sdk_names         what version 2 has that a table must answer for
    sdk_names.table()                              lesson 10's tables

`IMPORTS` and `ARGUMENTS` are what people wrote; `is_there` asks the SDK that is installed whether a
name exists. Tests ask both SDKs about every row, and that no argument of version 2 is missing.
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Iterator
from importlib import import_module
from typing import Any

CONFIGS = "sagemaker.core.training.configs"
GONE = ""

# A name of version 2 -> that of version 3, or GONE.
IMPORTS = {
    "sagemaker.Session": "sagemaker.core.helper.session_helper.Session",
    "sagemaker.get_execution_role": "sagemaker.core.helper.session_helper.get_execution_role",
    "sagemaker.estimator.Estimator": "sagemaker.train.ModelTrainer",
    "sagemaker.xgboost.XGBoost": "sagemaker.train.ModelTrainer",
    "sagemaker.sklearn.SKLearn": "sagemaker.train.ModelTrainer",
    "sagemaker.pytorch.PyTorch": "sagemaker.train.ModelTrainer",
    "sagemaker.inputs.TrainingInput": f"{CONFIGS}.InputData",
    "sagemaker.estimator.Estimator.fit": "sagemaker.train.ModelTrainer.train",
    "sagemaker.estimator.Estimator.attach": "sagemaker.core.resources.TrainingJob.get",
    "sagemaker.estimator.Estimator.logs": "sagemaker.core.resources.TrainingJob.wait",
    "sagemaker.image_uris.retrieve": "sagemaker.core.image_uris.retrieve",
    "sagemaker.s3.S3Uploader": "sagemaker.core.s3.S3Uploader",
    "sagemaker.s3.S3Downloader": "sagemaker.core.s3.S3Downloader",
    "sagemaker.analytics.TrainingJobAnalytics": "sagemaker.core.analytics.TrainingJobAnalytics",
    "sagemaker.tuner.HyperparameterTuner": "sagemaker.train.tuner.HyperparameterTuner",
    "sagemaker.remote_function.remote": "sagemaker.core.remote_function.remote",
}

# An argument of an estimator of version 2 -> where it goes in version 3: an argument of
# ModelTrainer or one of its methods, and what class of the configs holds it.
ARGUMENTS = {
    "image_uri": "training_image",
    "role": "role",
    "instance_count": "compute Compute.instance_count",
    "instance_type": "compute Compute.instance_type",
    "keep_alive_period_in_seconds": "compute Compute.keep_alive_period_in_seconds",
    "volume_size": "compute Compute.volume_size_in_gb",
    "volume_kms_key": "compute Compute.volume_kms_key_id",
    "max_run": "stopping_condition StoppingCondition.max_runtime_in_seconds",
    "input_mode": "training_input_mode",
    "output_path": "output_data_config OutputDataConfig.s3_output_path",
    "output_kms_key": "output_data_config OutputDataConfig.kms_key_id",
    "base_job_name": "base_job_name",
    "sagemaker_session": "sagemaker_session",
    "hyperparameters": "hyperparameters",
    "tags": "tags Tag.key",
    "subnets": "networking Networking.subnets",
    "security_group_ids": "networking Networking.security_group_ids",
    "model_uri": GONE,
    "model_channel_name": GONE,
    "metric_definitions": "with_metric_definitions MetricDefinition.regex",
    "encrypt_inter_container_traffic": (
        "networking Networking.enable_inter_container_traffic_encryption"
    ),
    "use_spot_instances": "compute Compute.enable_managed_spot_training",
    "max_wait": "stopping_condition StoppingCondition.max_wait_time_in_seconds",
    "checkpoint_s3_uri": "checkpoint_config CheckpointConfig.s3_uri",
    "checkpoint_local_path": "checkpoint_config CheckpointConfig.local_path",
    "enable_network_isolation": "networking Networking.enable_network_isolation",
    "rules": GONE,
    "debugger_hook_config": GONE,
    "tensorboard_output_config": (
        "with_tensorboard_output_config TensorBoardOutputConfig.s3_output_path"
    ),
    "enable_sagemaker_metrics": GONE,
    "profiler_config": GONE,
    "disable_profiler": GONE,
    "environment": "environment",
    "max_retry_attempts": "with_retry_strategy RetryStrategy.maximum_retry_attempts",
    "source_dir": "source_code SourceCode.source_dir",
    "git_config": GONE,
    "container_log_level": GONE,
    "code_location": "input_s3_key_prefix",
    "entry_point": "source_code SourceCode.entry_script",
    "dependencies": GONE,
    "instance_groups": "compute Compute.instance_groups",
    "training_repository_access_mode": "training_image_config",
    "training_repository_credentials_provider_arn": "training_image_config",
    "container_entry_point": "source_code SourceCode.command",
    "container_arguments": "source_code SourceCode.args",
    "disable_output_compression": "output_data_config OutputDataConfig.compression_type",
    "enable_infra_check": "with_infra_check_config InfraCheckConfig.enable_infra_check",
    "enable_remote_debug": "with_remote_debug_config RemoteDebugConfig.enable_remote_debug",
    "enable_session_tag_chaining": (
        "with_session_chaining_config SessionChainingConfig.enable_session_tag_chaining"
    ),
    "training_plan": "compute Compute.training_plan_arn",
    "instance_placement_config": "compute Compute.instance_placement_config",
    "framework_version": "training_image",
    "py_version": "training_image",
    "image_uri_region": "training_image",
    "distribution": "distributed",
    "compiler_config": GONE,
    "training_recipe": "from_recipe",
    "recipe_overrides": "from_recipe",
}


def is_there(name: str) -> bool:
    """Return whether the installed SDK has a name with dots: a module, and what is in it."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            value: Any = import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for part in parts[end:]:
            fields = getattr(value, "model_fields", {})  # of a class of pydantic's
            value = fields.get(part) or getattr(value, part, None)
        return value is not None
    return False


def new_names(row: str) -> Iterator[str]:
    """Yield the names with dots of a row of ARGUMENTS; none where the argument is gone."""
    argument, _, config = row.partition(" ")
    if argument:
        yield f"sagemaker.train.ModelTrainer.{argument}"
    if config:
        yield f"{CONFIGS}.{config}"


def table() -> list[dict[str, str]]:
    """Return the rows of lesson 10's table of names, each of which this SDK has.

    Raises LookupError where a name of version 3 is not in the installed one.
    """
    missing = [new for new in IMPORTS.values() if not is_there(new)]
    if missing:
        raise LookupError(f"This SDK has no {', '.join(missing)}.")
    return [{"version 2": old, "version 3": new} for old, new in IMPORTS.items()]


def arguments() -> list[str]:
    """Return every argument of the estimators of version 2, which must be installed."""
    estimator = import_module("sagemaker.estimator")
    classes = [estimator.Estimator, estimator.EstimatorBase, estimator.Framework]
    for module, name in (("xgboost", "XGBoost"), ("sklearn", "SKLearn"), ("pytorch", "PyTorch")):
        classes.append(getattr(import_module(f"sagemaker.{module}"), name))
    names = [name for one in classes for name in inspect.signature(one.__init__).parameters]
    return [name for name in dict.fromkeys(names) if name not in ("self", "kwargs")]


def main() -> int:
    """Print, as JSON, what the installed version 2 has."""
    print(
        json.dumps({"arguments": arguments(), "missing": [n for n in IMPORTS if not is_there(n)]})
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
