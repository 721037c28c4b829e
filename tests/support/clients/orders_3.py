"""Orders the jobs of orders_2.py with SDK 3's ModelTrainer; prints the requests that it made.

python tests/support/clients/orders_3.py SOURCE_DIR
"""

import json
import sys

from sagemaker.core.training import configs
from sagemaker.train import ModelTrainer

import workshop
from workshop import images, job_requests

session = workshop.session(sdk=3)
made = job_requests.record(session)
data = workshop.ensure_data(session)["train"]
output = f"s3://{session.default_bucket()}/jobs"
image = {name: images.uri(name, "us-east-1") for name in ("xgboost", "sklearn", "pytorch")}
common = {"role": workshop.execution_role(session), "sagemaker_session": session}
common |= {"output_data_config": configs.OutputDataConfig(s3_output_path=output)}
common |= {"stopping_condition": configs.StoppingCondition(max_runtime_in_seconds=600)}
common |= {"environment": {"A": "b"}}
common["tags"] = [configs.Tag(key=t["Key"], value=t["Value"]) for t in workshop.tags("10")]
few = {"num_round": 20, "seed": 7}
divided = {"s3_data_distribution_type": "ShardedByS3Key", "s3_data_type": "S3Prefix"}


def machine(count=1, **more):
    """Return the machines of a job."""
    return configs.Compute(
        instance_type="ml.m5.large", instance_count=count, volume_size_in_gb=10, **more
    )


def order(framework, script, hyperparameters, compute=None, **more):
    """Return the trainer of a job."""
    code = configs.SourceCode(source_dir=sys.argv[1], entry_script=script) if script else None
    return ModelTrainer(
        training_image=image[framework],
        source_code=code,
        hyperparameters=hyperparameters,
        compute=compute or machine(),
        **common | more,
    )


trainers = [
    order("xgboost", "train_xgboost.py", few, base_job_name="a"),
    order("sklearn", "train_sklearn.py", {"model": "logistic", "balanced": False}),
    order("pytorch", "train_torch.py", {"epochs": 1}),
    order("xgboost", None, {"num_round": 2}),
    order(
        "xgboost",
        "train_xgboost.py",
        few,
        machine(enable_managed_spot_training=True),
        stopping_condition=configs.StoppingCondition(
            max_runtime_in_seconds=600, max_wait_time_in_seconds=900
        ),
        checkpoint_config=configs.CheckpointConfig(s3_uri=f"{output}/checkpoints"),
    ),
    order("xgboost", "show_channels.py", {}, machine(2)),
]
trainers[1].with_metric_definitions([configs.MetricDefinition(name="auc", regex="auc=([0-9.]+);")])
for number, trainer in enumerate(trainers):
    trainer.base_job_name = f"job-{number}"
    source = data if number < 5 else configs.S3DataSource(s3_uri=data, **divided)
    channel = configs.InputData(channel_name="train", data_source=source, content_type="text/csv")
    trainer.train([channel], wait=False, logs=False)
print(json.dumps(made))
