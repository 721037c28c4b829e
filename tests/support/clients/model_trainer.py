"""Trains with `ModelTrainer`: that of SDK 3, or where there is only SDK 2, that of its `modules`.

    python tests/support/clients/model_trainer.py BUCKET S3_URI_OF_TRAIN SOURCE_DIR

A client program as anybody would write it; it knows nothing of a stub. `test_clients.py` runs
it. SOURCE_DIR has the entry points and a requirements.txt. The last line that it prints is what
became of its jobs, as JSON.
"""

import json
import sys

try:
    from sagemaker.core.helper.session_helper import Session
    from sagemaker.core.training.configs import Compute, InputData, OutputDataConfig, SourceCode
    from sagemaker.train import ModelTrainer
except ModuleNotFoundError:
    from sagemaker.modules import Session
    from sagemaker.modules.configs import Compute, InputData, OutputDataConfig, SourceCode
    from sagemaker.modules.train import ModelTrainer

IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:3.2-0"
HYPERPARAMETERS = {"num_round": 20, "seed": 7}
COMMAND = "python -m needed && python train_xgboost.py --num_round 20 --seed 7"


def main(bucket: str, uri: str, folder: str) -> None:
    sources = {
        "entry-script": SourceCode(source_dir=folder, entry_script="train_xgboost.py"),
        "command": SourceCode(source_dir=folder, command=COMMAND, requirements="requirements.txt"),
    }
    session = Session(default_bucket=bucket)
    trainers = {
        name: ModelTrainer(
            training_image=IMAGE,
            base_job_name=name,  # it adds the second alone: two jobs in one second need two names
            source_code=source,
            sagemaker_session=session,
            compute=Compute(instance_type="ml.m5.large", instance_count=1),
            hyperparameters=HYPERPARAMETERS if source.entry_script else {},
            output_data_config=OutputDataConfig(s3_output_path=f"s3://{bucket}/output"),
        )
        for name, source in sources.items()
    }
    data = [InputData(channel_name="train", data_source=uri)]
    for trainer in trainers.values():
        trainer.train(input_data_config=data, wait=False, logs=False)
    print(json.dumps({name: finished(trainer) for name, trainer in trainers.items()}))


def finished(trainer: ModelTrainer) -> dict:
    """Wait for a trainer's job, showing its log, and say what became of it."""
    job = trainer._latest_training_job
    job.wait(logs=True)
    return {
        "status": job.training_job_status,
        "model": job.model_artifacts.s3_model_artifacts,
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
