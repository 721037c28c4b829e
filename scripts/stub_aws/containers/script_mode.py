"""Script mode, as all images have it: the learner's script runs as a process of its own."""

import re
import sys
from collections.abc import Collection
from pathlib import Path

from sagemaker_training import entry_point, environment, errors, runner

OF_IMAGES = Path(__file__).with_name("of_images")


def carry(*folders: str) -> None:
    """Let the job's script find modules that its image carries; what is installed comes first."""
    sys.path += [str(OF_IMAGES / folder) for folder in folders]  # the script gets this path


def run_script(
    env: environment.Environment,
    launcher: runner.RunnerType = runner.ProcessRunnerType,
    carries: Collection[str] = (),
) -> None:
    """Run the learner's script with its hyperparameters as arguments.

    What it printed of an error is in the failure reason.

    Args:
        carries: Modules that the image has and that may be missing here: the log says so.

    Raises:
        sagemaker_training.errors.ExecuteUserScriptError: It ended with another exit code than 0.
    """
    try:
        entry_point.run(
            uri=env.module_dir,
            user_entry_point=env.user_entry_point,
            args=env.to_cmd_args(),
            env_vars=env.to_env_vars(),
            capture_error=True,
            runner_type=launcher,
        )
    except errors.ExecuteUserScriptError as error:
        missing = re.search(r"ModuleNotFoundError: No module named '(\w+)", str(error.output))
        if missing and missing[1] in carries:
            print(
                f"stub AWS: the image carries {missing[1]}, and the Python that runs this job does "
                "not: install it there, or name it in the job's requirements.txt.",
                flush=True,
            )
        raise
