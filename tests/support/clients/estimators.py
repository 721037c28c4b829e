"""Trains with the Estimators of SageMaker's SDK 2, and looks at the jobs in each way it offers.

    python tests/support/clients/estimators.py BUCKET S3_URI_OF_TRAIN SOURCE_DIR

A client program as anybody would write it; it knows nothing of a stub. `test_clients.py` runs
it. The last line that it prints is what it found, as JSON. The SDK sleeps 5 s in `logs()` and again
in `attach()` whatever the job does, so the Estimators work side by side, each with its own session.
"""

import json
import sys
from concurrent.futures import ThreadPoolExecutor

import sagemaker
from sagemaker.analytics import TrainingJobAnalytics
from sagemaker.estimator import Estimator
from sagemaker.pytorch import PyTorch
from sagemaker.sklearn import SKLearn
from sagemaker.xgboost import XGBoost

# The registries of AWS's images in us-east-1; the SDK's own table does not know these images.
ALGORITHMS = "683313688378.dkr.ecr.us-east-1.amazonaws.com"
FRAMEWORKS = "763104351884.dkr.ecr.us-east-1.amazonaws.com"

# Not for the XGBoost image, whose metrics are SageMaker's own.
METRICS = {
    "metric_definitions": [{"Name": "train:auc", "Regex": r"\btrain:auc=([0-9.]+);"}],
}


def estimators(bucket: str, folder: str) -> dict[str, Estimator]:
    """Return one Estimator of each kind, with the hyperparameters that the test uses locally."""
    xgboost = {"entry_point": "train_xgboost.py", "hyperparameters": {"num_round": 20, "seed": 7}}
    sklearn = {"entry_point": "train_sklearn.py", "hyperparameters": {"model": "logistic"}}
    torch = {"entry_point": "train_torch.py", "hyperparameters": {"epochs": 3}}
    xgboost["image_uri"] = f"{ALGORITHMS}/sagemaker-xgboost:3.2-0"
    sklearn["image_uri"] = f"{ALGORITHMS}/sagemaker-scikit-learn:1.9-0-cpu-py3"
    torch["image_uri"] = f"{FRAMEWORKS}/pytorch:2.13-cpu-amzn2023-sagemaker"
    kinds = {
        "XGBoost": (XGBoost, xgboost | {"framework_version": "3.2-0"}),
        "Estimator": (Estimator, xgboost),
        "SKLearn": (SKLearn, sklearn | METRICS),
        "PyTorch": (PyTorch, torch | METRICS),
    }
    role = sagemaker.get_execution_role()
    return {
        name: kind(
            role=role,
            sagemaker_session=sagemaker.Session(default_bucket=bucket),
            instance_count=1,
            instance_type="ml.m5.large",
            source_dir=folder,
            **arguments,
        )
        for name, (kind, arguments) in kinds.items()
    }


def attach(kind: type, name: str, session: sagemaker.Session) -> str:
    """Attach by the class of a framework; return what it says where it cannot."""
    try:
        return kind.attach(name, sagemaker_session=session).model_data
    except ValueError as error:
        return str(error)


def train(estimator: Estimator, uri: str) -> dict:
    """Train, and say what the SDK knows of the job: described, attached to, analysed, listed."""
    estimator.fit({"train": uri}, wait=False)
    estimator.logs()
    name = estimator.latest_training_job.name
    session = estimator.sagemaker_session
    attached = Estimator.attach(name, sagemaker_session=session)
    asked = TrainingJobAnalytics(name, ["train:auc"], sagemaker_session=session).dataframe()
    listed = session.sagemaker_client.list_training_jobs(NameContains=name)
    return {
        "status": estimator.latest_training_job.describe()["TrainingJobStatus"],
        "model": estimator.model_data,
        "attached": [attached.model_data, attached.hyperparameters()],
        "by its class": attach(type(estimator), name, session),
        "train:auc": asked["value"].tolist() if len(asked) else [],
        "listed": [job["TrainingJobName"] for job in listed["TrainingJobSummaries"]] == [name],
    }


if __name__ == "__main__":
    bucket, uri, folder = sys.argv[1:]
    made = estimators(bucket, folder)
    with ThreadPoolExecutor(len(made)) as pool:
        by_framework = dict(
            zip(made, pool.map(lambda one: train(one, uri), made.values()), strict=True)
        )
    print("\n" + json.dumps(by_framework))
