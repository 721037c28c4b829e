"""What the PyTorch image adds to the training toolkit: the meeting point of its hosts.

As AWS's `sagemaker-pytorch-training-toolkit` does: `MASTER_ADDR` and `MASTER_PORT` are set, and
nothing is distributed unless the job's `distribution` asks for it.
"""

import os

from sagemaker_training import environment, runner, torch_distributed
from script_mode import run_script

# Modules of the image that scripts import and that need not be here.
CARRIES = (
    *("PIL", "cv2", "h5py", "imageio", "matplotlib", "mpi4py", "numba", "pandas", "requests"),
    *("sagemaker", "scipy", "seaborn", "shap", "sklearn", "torchaudio", "torchdata"),
    *("torchvision", "yaml"),
)


def main() -> None:
    """Run the learner's script with the launcher that the job asks for."""
    env = environment.Environment()
    # 7777 in AWS's image, where each host has a network of its own; see ports.py.
    port = os.environ.pop("STUB_AWS_MASTER_PORT")
    os.environ["MASTER_ADDR"] = env.hosts[0]
    os.environ["MASTER_PORT"] = port
    torch_distributed.MASTER_PORT = port
    # What torchrun takes for a single host, in place of 29500. (On its command line another wins.)
    os.environ["PET_MASTER_PORT"] = port
    run_script(env, launcher(env), carries=CARRIES)


def launcher(env: environment.Environment) -> runner.RunnerType:
    """`torchrun` where `distribution={"torch_distributed": {"enabled": True}}`, else a process."""
    if env.additional_framework_parameters.get("sagemaker_torch_distributed_enabled"):
        return runner.TorchDistributedRunnerType
    return runner.ProcessRunnerType
