"""What the PyTorch image adds to the training toolkit: the meeting point of its hosts.

As AWS's `sagemaker-pytorch-training-toolkit` does: `MASTER_ADDR` and `MASTER_PORT` are set, and
nothing is distributed unless the job's `distribution` asks for it.
"""

import os

from sagemaker_training import environment, runner
from script_mode import run_script

MASTER_PORT = "7777"


def main() -> None:
    """Run the learner's script with the launcher that the job asks for."""
    env = environment.Environment()
    os.environ["MASTER_ADDR"] = env.hosts[0]
    os.environ["MASTER_PORT"] = MASTER_PORT
    run_script(env, launcher(env))


def launcher(env: environment.Environment) -> runner.RunnerType:
    """`torchrun` where `distribution={"torch_distributed": {"enabled": True}}`, else a process."""
    if env.additional_framework_parameters.get("sagemaker_torch_distributed_enabled"):
        return runner.TorchDistributedRunnerType
    return runner.ProcessRunnerType
