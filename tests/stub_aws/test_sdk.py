"""The SageMaker SDK on the stub AWS: `fit` as learners call it, interrupted and failing."""

import contextlib
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import boto3
import pytest
from botocore.exceptions import ClientError

from stub_aws import provider
from tests.support.stub_jobs import (
    BUCKET,
    ONCE,
    PATIENCE_S,
    PRELUDE,
    XGBOOST_IMAGE,
    Account,
    Meeting,
    eventually,
    unique,
)

ROLE = "arn:aws:iam::123456789012:role/sagemaker-workshop-execution-role"
SDK_AGENT = ONCE.merge(boto3.session.Config(user_agent_extra="AWS-SageMaker-Python-SDK/2.257.7"))


@pytest.fixture(scope="module")
def account(stub_aws):
    return Account(stub_aws.environment, stub_aws.role_arn)


@pytest.fixture(scope="module")
def sdk(stub_aws):
    """Return the module `sagemaker`, with this process's environment as on the stub."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in stub_aws.environment.items():
            patch.setenv(name, value)
        patch.setattr(boto3, "DEFAULT_SESSION", None)
        import sagemaker

        yield sagemaker


@pytest.fixture
def estimator(sdk, tmp_path):
    """Return a function that makes an XGBoost estimator for a script."""
    from sagemaker.xgboost import XGBoost

    def make(script, meeting=None, **changes):
        (tmp_path / "train.py").write_text(PRELUDE + script)
        arguments = {
            "entry_point": "train.py",
            "source_dir": str(tmp_path),
            "image_uri": XGBOOST_IMAGE,
            "framework_version": "3.2-0",
            "role": sdk.get_execution_role(),
            "instance_count": 1,
            "instance_type": "ml.m5.large",
            "sagemaker_session": sdk.Session(default_bucket=BUCKET),
            "environment": {"MEETING_PORT": str(meeting.port)} if meeting else None,
        }
        return XGBoost(**arguments | changes)

    return make


# --- who and where --------------------------------------------------------------------------------


def test_the_sdk_finds_role_account_and_bucket(sdk):
    """Three calls for which it names the real STS endpoint itself: they come by the proxy."""
    session = sdk.Session()
    assert sdk.get_execution_role(session) == ROLE
    assert session.account_id() == "123456789012"
    session = sdk.Session(default_bucket=BUCKET)
    assert session.default_bucket() == BUCKET
    assert session.boto_region_name == "us-east-1"


def test_the_sdk_names_its_default_bucket_by_the_account(stub_aws, sdk, monkeypatch):
    from stub_aws.roles import create_role

    statement = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    administrator = create_role(
        unique("administrator"), {"Version": "2012-10-17", "Statement": [statement]}
    )
    for name, value in stub_aws.environment_of(administrator).items():
        monkeypatch.setenv(name, value)
    assert sdk.Session().default_bucket() == "sagemaker-us-east-1-123456789012"


# --- fit ------------------------------------------------------------------------------------------


def test_fit_with_default_arguments_trains_and_shows_the_log(account, sdk, estimator, capsys):
    train = account.put(f"{unique('sdk')}/train.csv", "1,2")
    model = estimator(
        """
print("[1]\\ttrain-rmse:0.5")
print("[2]\\ttrain-rmse:0.25")
(MODEL / "weights").write_text(Path(os.environ["SM_CHANNEL_TRAINING"], "train.csv").read_text())
tell(argv=sys.argv[1:])
""",
        hyperparameters={"depth": 5, "name": "a b"},
        output_path=f"s3://{BUCKET}/output",
    )
    model.fit(train)  # one URI is the channel `training`
    name = model.latest_training_job.name
    printed = capsys.readouterr().out
    assert "[2]#011train-rmse:0.25" in printed
    assert "Training seconds:" in printed
    assert account.facts(name)["argv"] == ["--depth", "5", "--name", "a b"]
    assert account.unpack(name) == {"weights": b"1,2"}
    assert model.model_data == f"s3://{BUCKET}/output/{name}/output/model.tar.gz"
    description = account.describe(name)
    assert [(m["MetricName"], m["Value"]) for m in description["FinalMetricDataList"]] == [
        ("train:rmse", 0.25)
    ]
    metrics = sdk.analytics.TrainingJobAnalytics(name, ["train:rmse"]).dataframe()
    assert metrics["value"].mean() == pytest.approx(0.375)


def test_own_metric_definitions_are_refused_for_the_xgboost_image(account, estimator):
    model = estimator("", metric_definitions=[{"Name": "loss", "Regex": "loss=(.*?);"}])
    with pytest.raises(ClientError, match="You can't override the metric definitions") as caught:
        model.fit()
    assert caught.value.response["Error"]["Code"] == "ValidationException"


def test_a_job_that_is_not_waited_for_is_in_progress_at_once(account, estimator):
    with Meeting() as meeting:
        model = estimator("meet(); (MODEL / 'm').touch()", meeting)
        model.fit(wait=False)
        name = model.latest_training_job.name
        assert account.describe(name)["TrainingJobStatus"] == "InProgress"
        meeting.wait()
        assert account.describe(name)["SecondaryStatus"] == "Training"
        meeting.release()
    assert account.wait(name)["TrainingJobStatus"] == "Completed"


def test_a_failed_job_raises_with_its_reason(account, estimator):
    from sagemaker.exceptions import UnexpectedStatusException

    model = estimator("sys.exit(6)")
    with pytest.raises(
        UnexpectedStatusException, match=r"(?s)Failed\. Reason: .*ExitCode 6"
    ) as caught:
        model.fit(logs=False)
    assert caught.value.actual_status == "Failed"
    reason = account.describe(model.latest_training_job.name)["FailureReason"]
    assert reason in str(caught.value)


def test_ctrl_c_during_fit_leaves_the_job_running(account, estimator):
    with Meeting() as meeting:
        model = estimator("meet(); (MODEL / 'm').touch()", meeting)

        def interrupt():
            meeting.wait()
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

        with ThreadPoolExecutor(1) as pool:
            interrupting = pool.submit(interrupt)
            # A `finally: return` in the SDK's telemetry swallows the KeyboardInterrupt: `fit` just
            # returns, as if the job had ended.
            with contextlib.suppress(KeyboardInterrupt):
                model.fit()
            interrupting.result(PATIENCE_S)
        name = model.latest_training_job.name
        assert account.describe(name)["SecondaryStatus"] == "Training"
        meeting.release()
    assert account.wait(name)["TrainingJobStatus"] == "Completed"
    assert account.run("")["TrainingJobStatus"] == "Completed"  # and the stub is well


# --- how the SDK asks -----------------------------------------------------------------------------


def test_the_first_description_for_the_sdk_is_held_until_the_job_has_ended(account):
    """`fit` would describe a running job again only after 30 s."""
    sdk_client = account.client("sagemaker", config=SDK_AGENT)
    with Meeting() as meeting, ThreadPoolExecutor(1) as pool:
        name = account.start("meet()", meeting=meeting)
        held = pool.submit(sdk_client.describe_training_job, TrainingJobName=name)
        meeting.wait()
        assert account.describe(name)["TrainingJobStatus"] == "InProgress"  # boto3 is not held
        assert not held.done()
        meeting.release()
        assert held.result(PATIENCE_S)["TrainingJobStatus"] == "Completed"


def test_a_program_that_polls_sees_the_job_train_and_stops_it(sdk, estimator):
    with Meeting() as meeting:
        model = estimator("meet(); time.sleep(600)", meeting)
        model.fit(wait=False)
        meeting.wait()
        time.sleep(provider.FIT_ASKS_WITHIN_S)  # as a program that polls has it between its calls
        began = time.monotonic()
        assert model.latest_training_job.describe()["SecondaryStatus"] == "Training"
        assert time.monotonic() - began < 10
        model.latest_training_job.stop()
        meeting.release()
    eventually(
        "the end",
        lambda: (
            model.latest_training_job.describe()["TrainingJobStatus"]
            in ("Stopped", "Failed", "Completed")
        ),
    )
    assert model.latest_training_job.describe()["TrainingJobStatus"] == "Stopped"


def test_a_long_job_is_described_while_it_runs(account, monkeypatch):
    monkeypatch.setattr(provider, "FIRST_DESCRIBE_HOLD_S", 0)
    sdk_client = account.client("sagemaker", config=SDK_AGENT)
    with Meeting() as meeting:
        name = account.start("meet()", meeting=meeting)
        meeting.wait()
        first = sdk_client.describe_training_job(TrainingJobName=name)
        monkeypatch.undo()
        second = sdk_client.describe_training_job(TrainingJobName=name)
        assert first["TrainingJobStatus"] == second["TrainingJobStatus"] == "InProgress"
        meeting.release()
    eventually("the end", lambda: account.describe(name)["TrainingJobStatus"] == "Completed")
