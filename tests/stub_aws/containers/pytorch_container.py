"""What the PyTorch image adds to the training toolkit: the meeting point of its hosts.

As AWS's `sagemaker-pytorch-training-toolkit` does: `MASTER_ADDR` and `MASTER_PORT` are set, the
script's errors are captured into the failure reason, and nothing is distributed unless the job's
`distribution` asks for it.
"""

import os

from sagemaker_training import entry_point, environment, runner

MASTER_PORT = "7777"


def main() -> None:
    """Run the learner's script with the launcher that the job asks for."""
    env = environment.Environment()
    os.environ["MASTER_ADDR"] = env.hosts[0]
    os.environ["MASTER_PORT"] = MASTER_PORT
    entry_point.run(
        uri=env.module_dir,
        user_entry_point=env.user_entry_point,
        args=env.to_cmd_args(),
        env_vars=env.to_env_vars(),
        capture_error=True,
        runner_type=launcher(env),
    )


def launcher(env: environment.Environment) -> runner.RunnerType:
    """`torchrun` where `distribution={"torch_distributed": {"enabled": True}}`, else a process."""
    if env.additional_framework_parameters.get("sagemaker_torch_distributed_enabled"):
        return runner.TorchDistributedRunnerType
    return runner.ProcessRunnerType
