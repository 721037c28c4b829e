"""What the XGBoost image adds to the training toolkit: script mode, and the built-in algorithm."""

from sagemaker_training import entry_point, environment, errors, runner


def main() -> None:
    """Run the learner's script, or the built-in algorithm where the job names no script.

    Raises:
        sagemaker_training.errors.ClientError: There is no script.
    """
    env = environment.Environment()
    if env.user_entry_point is None:
        raise errors.ClientError("The stub AWS does not run the built-in XGBoost algorithm yet.")
    entry_point.run(
        uri=env.module_dir,
        user_entry_point=env.user_entry_point,
        args=env.to_cmd_args(),
        env_vars=env.to_env_vars(),
        runner_type=runner.ProcessRunnerType,
    )
