"""What a script can ask of its environment: `training_env().hosts`, `.channel_input_dirs` …"""

from sagemaker_training.environment import Environment

TrainingEnv = Environment


def training_env() -> Environment:
    """Return the environment of this job."""
    return Environment()
