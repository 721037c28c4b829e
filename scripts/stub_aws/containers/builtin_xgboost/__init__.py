"""The built-in algorithm of SageMaker's XGBoost image ("algorithm mode"): a job without a script.

What it accepts, refuses, logs and saves is what AWS's image does; where that is surprising, a line
that begins with `stub AWS:` says so. The image is `aws/sagemaker-xgboost-container` on GitHub.
"""

STUB = "stub AWS:"


def say(sentence: str) -> None:
    """Print what only the stub says, marked as such, into the job's log."""
    print(f"{STUB} {sentence}", flush=True)
