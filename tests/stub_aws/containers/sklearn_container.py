"""What the scikit-learn image adds to the training toolkit: nothing but the script's start."""

from sagemaker_training import entry_point, environment, runner


def main() -> None:
    """Run the learner's script with its hyperparameters as arguments."""
    env = environment.Environment()
    entry_point.run(
        uri=env.module_dir,
        user_entry_point=env.user_entry_point,
        args=env.to_cmd_args(),
        env_vars=env.to_env_vars(),
        runner_type=runner.ProcessRunnerType,
    )
