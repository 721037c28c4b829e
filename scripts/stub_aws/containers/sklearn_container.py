"""What the scikit-learn image adds to the training toolkit: the script's start, and modules."""

from sagemaker_training import environment
from script_mode import carry, run_script

# Modules of the image that scripts import and that need not be here.
CARRIES = ("PIL", "matplotlib", "mlio", "pandas", "psutil", "pyarrow", "requests", "yaml")


def main() -> None:
    """Run the learner's script."""
    carry("shared")
    run_script(environment.Environment(), carries=CARRIES)
