"""Trains scripts as others write them, with the calls that others make, by SageMaker's SDK 2.

    python tests/support/clients/shapes.py BUCKET PREFIX FOLDER

FOLDER has the scripts, s3://BUCKET/PREFIX/ the data. A client program as anybody would write it; it
knows nothing of a stub. `test_stub_shapes.py` runs it. The last line that it prints is how each
job ended, as JSON. Each Estimator has a session of its own, and they run side by side.
"""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import sagemaker
from sagemaker.estimator import Estimator
from sagemaker.inputs import TrainingInput
from sagemaker.pytorch import PyTorch
from sagemaker.sklearn import SKLearn
from sagemaker.xgboost import XGBoost

SKLEARN_IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.4-2-cpu-py3"


def estimators(bucket: str, prefix: str, folder: Path) -> dict[str, tuple[Estimator, object]]:
    """Return by name an Estimator and what it is fitted to."""
    role = sagemaker.get_execution_role()

    def common(kind: type, **arguments: object) -> Estimator:
        settings = {"instance_count": 1, "instance_type": "ml.m5.large"} | arguments
        session = sagemaker.Session(default_bucket=bucket)
        return kind(role=role, sagemaker_session=session, **settings)

    data = f"s3://{bucket}/{prefix}"
    sharded = TrainingInput(f"{data}/shards/", distribution="ShardedByS3Key")
    torch = {"framework_version": "2.6.0", "py_version": "py312"}
    return {
        "absolute": (
            common(
                Estimator,
                image_uri=SKLEARN_IMAGE,
                entry_point="train.py",
                source_dir=str(folder / "absolute"),
                hyperparameters={"K": 5},
                checkpoint_s3_uri=f"{data}/checkpoints",
                checkpoint_local_path="/state",
            ),
            f"{data}/rows.csv",
        ),
        "shell": (
            common(
                SKLearn,
                framework_version="1.4-2",
                entry_point=str(folder / "shell.sh"),
                hyperparameters={"words": "two words!"},
            ),
            f"{data}/rows.csv",
        ),
        "package": (
            common(
                SKLearn,
                framework_version="1.4-2",
                entry_point="train.py",
                source_dir=str(folder / "package"),
                hyperparameters={"deep": 3},
                environment={"PIP_NO_BUILD_ISOLATION": "0", "PIP_NO_INDEX": "1"},
            ),
            None,
        ),
        "dependencies": (
            common(
                SKLearn,
                framework_version="1.4-2",
                entry_point=str(folder / "single" / "train.py"),
                dependencies=[str(folder / "helpers")],
            ),
            None,
        ),
        # torch_distributed is for GPU types; what it starts needs none
        "ddp": (
            common(
                PyTorch,
                entry_point="train.py",
                source_dir=str(folder / "ddp"),
                instance_count=2,
                instance_type="ml.g4dn.xlarge",
                distribution={"torch_distributed": {"enabled": True}},
                **torch,
            ),
            None,
        ),
        "rabit": (
            common(
                XGBoost,
                framework_version="3.0-5",
                entry_point="train.py",
                source_dir=str(folder / "rabit"),
                instance_count=2,
            ),
            {"train": sharded},
        ),
    }


def train(estimator: Estimator, inputs: object) -> dict:
    """Fit, and say how it ended."""
    try:
        estimator.fit(inputs, logs="None")
    except sagemaker.exceptions.UnexpectedStatusException as error:
        return {"status": "Failed", "reason": str(error)}
    job = estimator.latest_training_job
    return {"status": job.describe()["TrainingJobStatus"], "name": job.name}


if __name__ == "__main__":
    bucket, prefix, folder = sys.argv[1:]
    made = estimators(bucket, prefix, Path(folder))
    with ThreadPoolExecutor(len(made)) as pool:
        ended = pool.map(lambda one: train(*one), made.values())
        by_shape = dict(zip(made, ended, strict=True))
    print("\n" + json.dumps(by_shape))
