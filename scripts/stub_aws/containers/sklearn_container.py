"""What the scikit-learn image adds to the training toolkit: nothing but the script's start."""

from sagemaker_training import environment
from script_mode import run_script


def main() -> None:
    """Run the learner's script."""
    run_script(environment.Environment())
