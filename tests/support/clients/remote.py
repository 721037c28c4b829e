"""Runs functions as jobs by the decorator `@remote` of SDK 2 or 3; prints what came of them.

    python tests/support/clients/remote.py

The last line is JSON: a value, or the kind of error and what it says.
"""

import json
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import workshop
from workshop import images, sdk_version

if sdk_version.major() == 2:
    from sagemaker.remote_function import remote
    from sagemaker.remote_function.runtime_environment import runtime_environment_manager
else:
    from sagemaker.core.remote_function import remote
    from sagemaker.core.remote_function.runtime_environment import runtime_environment_manager

logging.disable(logging.INFO)
session = workshop.session(sdk=sdk_version.major())
as_a_job = remote(
    image_uri=images.uri("sklearn", session.boto_region_name),
    instance_type="ml.m5.large",
    role=workshop.execution_role(session),
    sagemaker_session=session,
    s3_root_uri=f"s3://{session.default_bucket()}/jobs",
    max_runtime_in_seconds=600,
    # The job of SDK 2 begins with `pip install --upgrade` of the SDK.
    environment_variables={"PIP_NO_INDEX": "1"},
)


@as_a_job
def add(one: int, other: list[int]) -> dict:
    """Return a sum, and the name of the job that made it."""
    import os

    return {"sum": one + sum(other), "job": os.environ["TRAINING_JOB_NAME"]}


@as_a_job
def fail() -> None:
    """Raise an error, in the job."""
    raise KeyError("no such passenger")


def outcome(function: Callable, *arguments: object) -> list:
    """Return what a call gives, or the kind of its error and what that says."""
    try:
        return ["value", function(*arguments)]
    except Exception as error:  # whatever it is, the test looks at it
        return [type(error).__name__, str(error)]


with ThreadPoolExecutor() as side_by_side:  # for most of the time the SDK sleeps
    added, failed = side_by_side.submit(outcome, add, 1, [2, 3]), side_by_side.submit(outcome, fail)
outcomes = {"add": added.result(), "fail": failed.result()}
manager = runtime_environment_manager.RuntimeEnvironmentManager
manager._current_python_version = lambda self: "3.6"
outcomes["another Python"] = outcome(add, 1, [])
print(json.dumps(outcomes))
