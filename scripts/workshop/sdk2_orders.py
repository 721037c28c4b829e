"""Order six jobs with version 2 of the SDK, wait for them, and print what it sent to AWS.

    .venv/bin/python scripts/workshop/sdk2_orders.py JSON

Lesson 10 runs this program, because its own kernel has version 3. JSON holds `role`, `output`, the
addresses of the images (`xgboost`, `sklearn`, `pytorch`), the data of each kind of job (`data`) and
`both lists`, a prefix with two objects. The last line that it prints is JSON, too: `requests` and
`names` of the jobs. It is the only module here that imports an SDK.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from sagemaker.estimator import Estimator
from sagemaker.inputs import TrainingInput
from sagemaker.pytorch import PyTorch
from sagemaker.sklearn import SKLearn
from sagemaker.xgboost import XGBoost

import workshop
from workshop import job_requests, jobs

SOURCE = str(Path(__file__).resolve().parents[1] / "training")
Hyperparameters = dict[str, Any]
FEW: Hyperparameters = {"num_round": 20, "seed": 7}
LOGISTIC: Hyperparameters = {"model": "logistic", "balanced": False}
EPOCHS: Hyperparameters = {"epochs": 3}
TREES: Hyperparameters = {"num_round": 20}
AUC = [{"Name": "validation:auc", "Regex": "validation:auc=([0-9.]+);"}]


def estimators(settings: dict[str, Any], session: workshop.Session) -> dict[str, Any]:
    """Return the estimators of lessons 03 to 07 by the kind of their jobs."""
    output = settings["output"]
    common: dict[str, Any] = {"instance_type": "ml.m5.large", "instance_count": 1}
    common |= {"max_run": 600, "tags": workshop.tags("10")}
    common |= {"role": settings["role"], "sagemaker_session": session, "output_path": output}
    common |= {"disable_profiler": True, "debugger_hook_config": False}
    script = common | {"source_dir": SOURCE, "code_location": output}
    tree = script | {"image_uri": settings["xgboost"], "framework_version": "3.2-0"}
    sklearn = script | {"image_uri": settings["sklearn"], "metric_definitions": AUC}
    torch = script | {"image_uri": settings["pytorch"], "metric_definitions": AUC}
    spot = tree | {"use_spot_instances": True, "max_wait": 1200}
    spot |= {"checkpoint_s3_uri": f"{output}/checkpoints"}
    return {
        "XGBoost": XGBoost("train_xgboost.py", hyperparameters=dict(FEW), **tree),
        "SKLearn": SKLearn("train_sklearn.py", hyperparameters=LOGISTIC, **sklearn),
        "PyTorch": PyTorch("train_torch.py", hyperparameters=EPOCHS, **torch),
        "built-in": Estimator(settings["xgboost"], hyperparameters=TREES, **common),
        "spot": XGBoost("train_xgboost.py", hyperparameters=dict(FEW), **spot),
        "two hosts": XGBoost("show_channels.py", **tree | {"instance_count": 2}),
    }


def inputs(settings: dict[str, Any]) -> dict[str, TrainingInput]:
    """Return the channel of each kind of job; of two hosts each gets other files."""
    text: dict[str, Any] = {"content_type": "text/csv"}
    sharded = TrainingInput(settings["both lists"], distribution="ShardedByS3Key", **text)
    channels = {kind: TrainingInput(uri, **text) for kind, uri in settings["data"].items()}
    return channels | {"two hosts": sharded}


def main(settings: dict[str, Any]) -> None:
    """Start all jobs, wait for them together, print what was sent."""
    session = workshop.session()
    made = job_requests.record(session)
    orders, channels = estimators(settings, session), inputs(settings)
    for kind, estimator in orders.items():
        estimator.base_job_name = f"old-{kind.replace(' ', '-').lower()}"
        estimator.fit({"train": channels[kind]}, wait=False)
    names = [estimator.latest_training_job.name for estimator in orders.values()]
    jobs.wait_for(session, *names)
    print(json.dumps({"requests": made, "names": names}))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
