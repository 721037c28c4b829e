"""The training toolkit by its former name, which the XGBoost and scikit-learn images still carry.

(`sagemaker-containers` became `sagemaker-training`.) What scripts import from it leads there.
"""

from sagemaker_training import entry_point

from ._env import training_env

__all__ = ["entry_point", "training_env"]
