"""Orders jobs of every kind with the estimators of SDK 2; prints the requests that they made.

python tests/support/clients/orders_2.py SOURCE_DIR
"""

import json
import sys

from sagemaker.estimator import Estimator
from sagemaker.inputs import TrainingInput
from sagemaker.pytorch import PyTorch
from sagemaker.sklearn import SKLearn
from sagemaker.xgboost import XGBoost

import workshop
from workshop import images, job_requests

session = workshop.session()
made = job_requests.record(session)
data = workshop.ensure_data(session)["train"]
output = f"s3://{session.default_bucket()}/jobs"
image = {name: images.uri(name, "us-east-1") for name in ("xgboost", "sklearn", "pytorch")}
common = {"instance_type": "ml.m5.large", "instance_count": 1, "max_run": 600, "volume_size": 10}
common |= {"role": workshop.execution_role(session), "sagemaker_session": session}
common |= {"output_path": output, "tags": workshop.tags("10"), "environment": {"A": "b"}}
script = common | {"source_dir": sys.argv[1], "code_location": output}
metrics = {"metric_definitions": [{"Name": "auc", "Regex": "auc=([0-9.]+);"}]}
tree = script | {"image_uri": image["xgboost"], "framework_version": "3.2-0"}
tree["hyperparameters"] = {"num_round": 20, "seed": 7}
spot = {"use_spot_instances": True, "max_wait": 900, "checkpoint_s3_uri": f"{output}/checkpoints"}
estimators = [
    XGBoost("train_xgboost.py", base_job_name="a", **tree),
    SKLearn(
        "train_sklearn.py",
        image_uri=image["sklearn"],
        hyperparameters={"model": "logistic", "balanced": False},
        **script | metrics,
    ),
    PyTorch("train_torch.py", image_uri=image["pytorch"], hyperparameters={"epochs": 1}, **script),
    Estimator(image["xgboost"], hyperparameters={"num_round": 2}, **common),
    XGBoost("train_xgboost.py", **tree | spot),
    XGBoost("show_channels.py", **tree | {"instance_count": 2, "hyperparameters": {}}),
]
for estimator in estimators:
    divided = {"distribution": "ShardedByS3Key"} if estimator.instance_count == 2 else {}
    channel = TrainingInput(data, content_type="text/csv", **divided)
    estimator.fit({"train": channel}, wait=False)
print(json.dumps(made))
