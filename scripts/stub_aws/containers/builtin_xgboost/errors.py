"""The image's three kinds of failure. Their names are what people find in a job's log."""

TOOLKIT = "sagemaker_algorithm_toolkit.exceptions"  # what the image's tracebacks call their home


class ToolkitError(Exception):
    """A failure of the job, told in one message."""

    def __init__(self, message: str, caused_by: Exception | None = None) -> None:
        suffix = f" (caused by {type(caused_by).__name__})" if caused_by else ""
        super().__init__(message + suffix)


class UserError(ToolkitError):
    """The person can avoid it: a hyperparameter, a channel, the data."""

    __module__ = TOOLKIT


class AlgorithmError(ToolkitError):
    """Something went wrong inside."""

    __module__ = TOOLKIT
