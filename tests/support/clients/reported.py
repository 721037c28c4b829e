"""Tries with SDK 3 what people reported as lost since SDK 2; prints what happens as JSON.

    python tests/support/clients/reported.py FOLDER

FOLDER is empty and becomes a source_dir. Each function is one report.
"""

import contextlib
import json
import os
import sys
from pathlib import Path

import boto3
from botocore.exceptions import ClientError, NoCredentialsError
from sagemaker.core.helper.session_helper import Session
from sagemaker.core.parameter import ContinuousParameter
from sagemaker.core.training import configs
from sagemaker.train import ModelTrainer
from sagemaker.train.tuner import HyperparameterTuner

import workshop
from workshop import images

session = workshop.session(sdk=3)
role = workshop.execution_role(session)
channel = configs.InputData(
    channel_name="train", data_source=workshop.ensure_data(session)["train"]
)
output = f"s3://{session.default_bucket()}/jobs"
folder = Path(sys.argv[1])
(folder / "train.py").write_text("open('/opt/ml/model/model', 'w').write('m')\n")
(folder / "requirements.txt").write_text("a-package-that-nobody-has==1\n")


def order(session: Session = session, **more: object) -> ModelTrainer:
    """Return a trainer whose job does next to nothing."""
    settings = {
        "training_image": images.uri("sklearn", session.boto_region_name),
        "source_code": configs.SourceCode(source_dir=str(folder), entry_script="train.py"),
        "compute": configs.Compute(instance_type="ml.m5.large", instance_count=1),
        "output_data_config": configs.OutputDataConfig(s3_output_path=output),
        "role": role,
        "sagemaker_session": session,
    }
    return ModelTrainer(**settings | more)


def waiting_with_credentials_of_the_session_alone() -> list[str]:
    """5765: `train(wait=True)` asked for the job's state with other credentials."""
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
    boto = boto3.Session(*(os.environ.pop(name) for name in names))
    boto3.DEFAULT_SESSION = None
    trainer = order(Session(boto_session=boto, default_bucket=session.default_bucket()))
    outcomes = []
    for logs in (False, True):
        try:
            trainer.train([channel], wait=True, logs=logs)
            outcomes.append(trainer._latest_training_job.training_job_status)
        except NoCredentialsError as error:
            outcomes.append(str(error))
    return outcomes


def requirements_that_are_only_there() -> str:
    """SDK 2's image installed a requirements.txt because it was there."""
    trainer = order()
    trainer.train([channel], wait=False, logs=False)
    trainer._latest_training_job.wait()
    return trainer._latest_training_job.training_job_status


def dependencies() -> str:
    """5668: SourceCode has no `dependencies`."""
    try:
        configs.SourceCode(source_dir=str(folder), entry_script="train.py", dependencies=["x"])
    except ValueError as error:
        return str(error)
    return "accepted"


def tuning() -> dict:
    """5508, 5613, 5584: what the tuner passes on. The request is what counts, not its answer."""
    made: list[dict] = []
    for events in (session.boto_session.events, session.sagemaker_client.meta.events):
        events.register(
            "provide-client-params.sagemaker.CreateHyperParameterTuningJob",
            lambda params, **_: made.append(params),
        )
    trainer = order(
        compute=configs.Compute(
            instance_type="ml.m5.large", instance_count=1, enable_managed_spot_training=True
        ),
        stopping_condition=configs.StoppingCondition(
            max_runtime_in_seconds=600, max_wait_time_in_seconds=900
        ),
        checkpoint_config=configs.CheckpointConfig(s3_uri=f"{output}/checkpoints"),
        environment={"A": "b"},
        input_s3_key_prefix="jobs",
        base_job_name="tuned",
    )
    tuner = HyperparameterTuner(
        model_trainer=trainer,
        objective_metric_name="auc",
        metric_definitions=[{"Name": "auc", "Regex": "auc=([0-9.]+);"}],
        hyperparameter_ranges={"C": ContinuousParameter(0.1, 10)},
        max_jobs=2,
    )
    with contextlib.suppress(ClientError):  # the stub tunes nothing, or the role may not
        tuner.tune([channel], wait=False)
    return made[0]


reports = {
    "requirements": requirements_that_are_only_there(),
    "dependencies": dependencies(),
    "tuning": tuning(),
    "waiting": waiting_with_credentials_of_the_session_alone(),
}
print(json.dumps(reports))
