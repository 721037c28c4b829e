"""What the XGBoost image adds to the training toolkit: script mode, and the built-in algorithm."""

import logging
import os

from builtin_xgboost.errors import ToolkitError
from sagemaker_training import environment
from script_mode import carry, run_script

# Modules of the image that scripts import and that need not be here.
CARRIES = (
    *("PIL", "dask", "matplotlib", "mlio", "pandas", "psutil", "pyarrow", "requests", "scipy"),
    *("sklearn", "yaml"),
)
LOG_FORMAT = "[%(asctime)s:%(levelname)s] %(message)s"
LOG_TIME = "%Y-%m-%d:%H:%M:%S"


def main() -> None:
    """Run the learner's script, or the built-in algorithm where the job names no script.

    Raises:
        builtin_xgboost.errors.ToolkitError: The built-in algorithm cannot do what the job asks.
    """
    env = environment.Environment()
    if env.user_entry_point is None:
        # An instance of AWS's is alone on its cores, where this changes nothing; here others want
        # them too, and threads that wait in a loop would keep them.
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
        import builtin_xgboost.train  # and XGBoost itself, for which no script need wait

        logging.basicConfig(format=LOG_FORMAT, datefmt=LOG_TIME, level=logging.INFO, force=True)
        try:
            builtin_xgboost.train.run(env)
        except ToolkitError as error:
            # The toolkit writes the traceback before the message into a failure reason, which
            # SageMaker cuts after 1024 characters.
            raise error.with_traceback(None) from None
        return
    carry("xgboost", "shared")
    run_script(env, carries=CARRIES)
