"""Script mode, as all images have it: the learner's script runs as a process of its own."""

from sagemaker_training import entry_point, environment, runner


def run_script(
    env: environment.Environment,
    launcher: runner.RunnerType = runner.ProcessRunnerType,
) -> None:
    """Run the learner's script with its hyperparameters as arguments.

    What it printed of an error is in the failure reason.

    Raises:
        sagemaker_training.errors.ExecuteUserScriptError: It ended with another exit code than 0.
    """
    entry_point.run(
        uri=env.module_dir,
        user_entry_point=env.user_entry_point,
        args=env.to_cmd_args(),
        env_vars=env.to_env_vars(),
        capture_error=True,
        runner_type=launcher,
    )
