# %% [markdown]
# # 06 · Watch a job, find out why it failed, stop it
#
# A training job runs on a machine that you cannot log in to. You learn about
# it from four sources: its status, its log, its metrics, and its failure
# reason. In this lesson you read all four, stop a job, lose a kernel on
# purpose, and break seven jobs in seven ways.
#
# **Questions**
#
# - What is my job doing now, and what has it cost so far?
# - Where are its log and its metrics?
# - I interrupted the cell, or my kernel died. Does the job still run?
# - What is left of a job that is stopped?
# - It failed. Where is the reason?
#
# **Objectives**
#
# - Read a job's statuses, and draw them
# - Follow a log and a metric while the job runs
# - Look at a job in the console
# - Find jobs by name and by tag
# - Stop a job by a call and by its time limit, and keep what it learnt
# - Trace seven common failures to their causes
#
# **You need** lesson 03 for the words used here: estimator, channel, status.
# Nothing has to be left over from it.
#
# **Time** teaching 45 min, exercises 20 min
#
# **Cost on AWS** about $0.05: nine short jobs on the smallest machine. A time
# limit of ten minutes bounds each; in the worst case it costs $0.02 a job.

# %%
import logging
import sys

sys.path[:0] = ["../scripts", "../scripts/training"]
logging.getLogger("sagemaker").setLevel(logging.CRITICAL)  # else red lines at each call

import train_torch
import workshop
from workshop import costs, figures, images, jobs, live

session = workshop.session()
role = workshop.execution_role(session)
channels = workshop.ensure_data(session)
print(workshop.home(session))

# %% [markdown]
# ## A job to watch
#
# We train a neural network on the passenger list. (The passengers are
# simulated, so we conclude nothing about real people.) The network is larger
# than the list needs, and it trains for all of its 200 *epochs*. An epoch is
# one pass through the training rows.

# %%
from sagemaker.pytorch import PyTorch

results = f"s3://{session.default_bucket()}/jobs"
size = {"width": 256, "depth": 3, "early_stopping_epochs": 0}
first = PyTorch(
    entry_point="train_torch.py",
    source_dir="../scripts/training",
    image_uri=images.uri("pytorch", session.boto_region_name),
    hyperparameters={**size, "epochs": 200},
    metric_definitions=train_torch.METRIC_DEFINITIONS,
    instance_type="ml.m5.large",
    instance_count=1,
    max_run=600,
    role=role,
    sagemaker_session=session,
    base_job_name="watched-network",
    output_path=results,
    code_location=results,
    tags=workshop.tags("06"),
    disable_profiler=True,
    debugger_hook_config=False,
)

# %% [markdown]
# With `wait=False`, `fit` orders the job and returns at once. Keep the name:
# everything that follows needs no more.

# %%
train = {"train": channels["train"]}
first.fit(train, wait=False)
first_name = first.latest_training_job.name
first_name

# %% [markdown]
# On AWS a machine takes two or three minutes to start. Every cell that waits
# uses this function. It prints what it waits for, and it gives up after a time
# limit.

# %%
import time


def wait_until(what, condition, *arguments, seconds=900):
    """Call `condition` every second; return its value as soon as it is true."""
    print(f"waiting for {what}, at most {seconds} s")
    end = time.monotonic() + seconds
    while not (value := condition(*arguments)):
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {seconds} s")
        time.sleep(1)
    return value


# %% [markdown]
# ## The log
#
# What a job prints goes to the service CloudWatch Logs. All training jobs of
# a region share one *log group*. Each machine of a job writes a *log stream*
# in it, which appears when the container starts.

# %%
logs = session.boto_session.client("logs")
group = {"logGroupName": "/aws/sagemaker/TrainingJobs"}


def first_stream():
    try:
        prefix = f"{first_name}/"
        page = logs.describe_log_streams(**group, logStreamNamePrefix=prefix)
    except logs.exceptions.ResourceNotFoundException:  # no job has logged here yet
        return None
    return next((stream["logStreamName"] for stream in page["logStreams"]), None)


stream = wait_until("the first log stream", first_stream)
stream

# %% [markdown]
# The name consists of the job, the machine (`algo-1` is the first), and the
# start in milliseconds. `get_log_events` returns some lines and a *token*. With
# that token, the next call returns only the lines that came later.

# %%
query = {**group, "logStreamName": stream, "startFromHead": True}
page = logs.get_log_events(**query)
time.sleep(3)
more = logs.get_log_events(**query, nextToken=page["nextForwardToken"])
print(len(page["events"]), "lines, and", len(more["events"]), "new ones after 3 s")

# %% [markdown]
# From here on `jobs.LogTail` makes these calls for all machines of a job, and
# `jobs.describe` asks for its description (`describe_training_job`).
# We follow the job to its end and print every fiftieth validation loss. The
# order matters: ask for the status first, and read the log after it. The other
# way round you miss what is printed between the two calls.

# %%
sagemaker_client = session.boto_session.client("sagemaker")
tail = jobs.LogTail(session, first_name)


def has_ended(name):
    """Return a job's description if the job has ended."""
    job = sagemaker_client.describe_training_job(TrainingJobName=name)
    return None if job["TrainingJobStatus"] in ("InProgress", "Stopping") else job


def print_and_ask():
    job = has_ended(first_name)
    for line in tail.new():
        if line.startswith(("[50] val", "[100] val", "[150] val", "[200] val")):
            print(line)
    return job


description = wait_until("the end of the job", print_and_ask)

# %% [markdown]
# ## The statuses
#
# The description now holds all statuses of the job, with their times.

# %%
life = jobs.timeline(description)
life[["status", "message", "seconds"]]

# %% [markdown]
# The same as a picture. The time before the dotted line is not billed.

# %%
import matplotlib.pyplot as plt

begun = (life["started"] - life["started"][0]).dt.total_seconds()
billed_from = begun[life["status"] != "Starting"].min()
figure, axes = plt.subplots(figsize=(7, 2.2), layout="constrained")
axes.barh(life["status"], life["seconds"], left=begun)
axes.axvline(billed_from, color="black", linestyle=":", label="billed from here")
axes.invert_yaxis()
axes.set_xlabel("seconds since the first status")
axes.legend()
figures.show(figure, "Timeline of the job: most of the time is in the status Training.")

# %% [markdown]
# There are two statuses. Programs use `TrainingJobStatus`: `InProgress`,
# `Stopping`, and the three ends `Completed`, `Failed` and `Stopped`. The finer
# `SecondaryStatus` and its messages are for people; AWS has changed them
# before.

# %%
members = ("TrainingJobStatus", "SecondaryStatus", "BillableTimeInSeconds")
{name: description[name] for name in members}

# %% [markdown]
# ## Metrics
#
# SageMaker searches every line of the log with the *metric definitions* of the
# job. Each is a pattern, and the part in parentheses becomes a number. (Jobs in
# the XGBoost image have definitions of SageMaker's own.)

# %%
log = jobs.log(session, first_name)
definition = train_torch.METRIC_DEFINITIONS[-2]
definition, next(line for line in log if definition["Name"] in line)

# %% [markdown]
# A loose pattern such as `loss=(.*)` would also take the semicolon, which is
# no number. The numbers go to CloudWatch, on AWS up to some minutes late, and the
# SDK returns them as a table. One second is the finest `period`.

# %%
from sagemaker.analytics import TrainingJobAnalytics

names = ["train:logloss", "validation:logloss"]
analytics = TrainingJobAnalytics(first_name, names, sagemaker_session=session, period=1)
wait_until("metrics in CloudWatch", lambda: len(analytics.dataframe(True)))
points = analytics.dataframe()
curves = points.pivot_table(index="timestamp", columns="metric_name", values="value")
figure, axes = plt.subplots(figsize=(6, 3), layout="constrained")
curves.plot(ax=axes, style=["o-", "s--"], xlabel="seconds", ylabel="log loss")
figures.show(figure, "Over time the training loss falls and the validation loss rises.")

# %% [markdown]
# CloudWatch keeps one mean a second and knows no epochs. For a figure to publish
# let the script write a file, as ours does (`history.csv` in `output.tar.gz`).
# The training loss falls to the end. The validation loss turns early and rises:
# the network learns its rows by heart (*overfitting*).

# %%
values = jobs.metric_values(description, log)
noted = [value for name, value in values if name == "validation:logloss"]
print("best epoch:", noted.index(min(noted)) + 1, "of 200")
assert noted[199] > min(noted)

# %% [markdown]
# ## The console
#
# The console shows the same on one page. On AWS:
#
# 1. Sign in, and choose your region at the top right.
# 2. Search for *Amazon SageMaker AI*, and open it.
# 3. On the left choose *Training*, then *Training jobs*.
# 4. Click the job's name. The page begins with status and settings; *Monitor*
#    has the metrics and the link *View logs*. *Stop* is at the top.
#
# Without AWS: `make workshop` prints the address of a console on this machine.
# It lists all jobs; click a name. The page has a timeline, the losses, the
# log, the settings and a *Stop* button. Either way, this link leads to the
# job's page:

# %%
print(jobs.console_link(description))

# %% [markdown]
# ### Exercise 1: read the page
#
# Open the link. Without any call, write down: how many seconds are billed? What
# is the last validation loss? Which image ran? Then compare with the
# description of the job.

# %%
# Your turn

# %% jupyter={"source_hidden": true} tags=["solution"]
shown = {
    "billed": description["BillableTimeInSeconds"],
    "image": description["AlgorithmSpecification"]["TrainingImage"],
}
for metric in description["FinalMetricDataList"]:
    shown[metric["MetricName"]] = metric["Value"]
assert {"billed", "validation:logloss"} <= shown.keys()
shown

# %% [markdown]
# ## You stop looking. Does the job stop?
#
# `live.watch` draws status, cost, metrics and the last lines again and again.
# The square button of the notebook, *interrupt the kernel*, sends the kernel
# the signal `SIGINT`, which Python turns into a `KeyboardInterrupt`. We start
# a job that would train for hours, and a timer presses the button for us.

# %%
network = {
    "source_dir": "../scripts/training",
    "image_uri": first.image_uri,
    "metric_definitions": train_torch.METRIC_DEFINITIONS,
}
common = {
    "instance_type": "ml.m5.large",
    "instance_count": 1,
    "max_run": 600,
    "role": role,
    "sagemaker_session": session,
    "output_path": results,
    "code_location": results,
    "tags": workshop.tags("06"),
    "disable_profiler": True,
    "debugger_hook_config": False,
}
endless = common | network | {"entry_point": "train_torch.py"}
forever = {**size, "epochs": 100_000}
long = PyTorch(**endless, hyperparameters=forever, base_job_name="watched-network")
long.fit(train, wait=False)
long_name = long.latest_training_job.name

# %% [markdown]
# Five seconds later:

# %%
import os
import signal
import threading

threading.Timer(5, os.kill, [os.getpid(), signal.SIGINT]).start()
try:
    live.watch(session, long_name)
except KeyboardInterrupt:
    print("interrupted: nobody is looking any more")
print(jobs.describe(session, long_name)["TrainingJobStatus"])

# %% [markdown]
# **It goes on, and it bills.** Closing the notebook or the laptop does not stop
# it either. Only three things do: its own end, its time limit, and a call.
#
# ## After the kernel has restarted
#
# Suppose that the kernel died, and the name is lost.

# %%
del long, long_name

# %% [markdown]
# Ask for what runs now, by a part of the name. In a shared account colleagues
# may use the same names, so we also ask for each job's tags.

# %%
our_tag = {"Key": "lesson", "Value": "06"}


def is_ours(job):
    tags = sagemaker_client.list_tags(ResourceArn=job["TrainingJobArn"])["Tags"]
    return our_tag in tags


query = {"NameContains": "watched-network", "StatusEquals": "InProgress"}
running = sagemaker_client.list_training_jobs(**query)["TrainingJobSummaries"]
ours = [job["TrainingJobName"] for job in running if is_ours(job)]
newest = ours[0]  # the list begins with the newest
newest

# %% [markdown]
# ## Stop
#
# First we let it learn something.

# %%
tail, losses = jobs.LogTail(session, newest), []


def twenty_losses():
    for name, value in jobs.metric_values(description, tail.new()):
        if name == "validation:logloss":
            losses.append(value)
    return len(losses) >= 20


wait_until("twenty validation losses", twenty_losses)

# %% [markdown]
# The call to stop returns at once. The job ends a little later.

# %%
sagemaker_client.stop_training_job(TrainingJobName=newest)
stopped = wait_until("the stopped job", has_ended, newest)
assert stopped["TrainingJobStatus"] == "Stopped"

# %% [markdown]
# What is left of it? SageMaker packs `/opt/ml/model` however the job ended.

# %%
import json
from pathlib import Path
from tempfile import TemporaryDirectory

from sagemaker.s3 import S3Downloader

scratch = TemporaryDirectory()
folder = Path(scratch.name)
artifact = stopped["ModelArtifacts"]["S3ModelArtifacts"]
S3Downloader.download(artifact, str(folder / "stopped"), sagemaker_session=session)
workshop.unpack_artifact(folder / "stopped" / "model.tar.gz", folder / "stopped")
parameters = json.loads((folder / "stopped" / "parameters.json").read_text())
net = train_torch.model_fn(folder / "stopped")
parameters["epochs"], parameters["metrics"]["validation"]

# %% [markdown]
# A model is there: that of the best epoch so far. It is there because the
# script saves **while it trains**. Whenever the validation loss improves, it
# writes the model beside the old one and renames it, so that the file is always
# complete.
#
# Do not count on a warning. When a job is stopped, SageMaker sends the signal
# `SIGTERM` to the container, and two minutes later it kills it. What the signal
# does depends on the image: the built-in XGBoost handles it, but the toolkit
# that runs *your* script does not pass it on. A script that saves only at its
# end leaves nothing. So:
#
# - keep the best model in `SM_MODEL_DIR` as you go;
# - keep *checkpoints*, the state from which a training can go on, as you go.
#   Lesson 08 has more on them;
# - nothing else is promised.

# %%
assert parameters["epochs"]["finished"] is False
assert parameters["metrics"]["validation"]["logloss"] < losses[0]

# %% [markdown]
# ## A gallery of failures
#
# Now we break jobs. Two failures come from `fit` itself and cost nothing. Five
# come from the machine and are billed; we order them together.

# %%
from sagemaker.xgboost import XGBoost

image = images.uri("xgboost", session.boto_region_name)
small = common | {"image_uri": image, "framework_version": "3.2-0"}
sound = small | {"source_dir": "../scripts/training", "entry_point": "train_xgboost.py"}
gallery = {}


def start(what, estimator, inputs=train):
    estimator.base_job_name = "gallery-" + what.replace(" ", "-")
    estimator.fit(inputs, wait=False)
    gallery[what] = estimator.latest_training_job.name


# %% [markdown]
# **A bug in the script.** The column is called `Age`, and this script reads
# `age`.

# %%
own = folder / "own"
own.mkdir()

# %% [markdown]
# The script:

# %%
# %%writefile {own}/broken.py
import os
from pathlib import Path

import pandas as pd

files = Path(os.environ["SM_CHANNEL_TRAIN"]).iterdir()
table = pd.concat(map(pd.read_csv, files))
print(len(table), "passengers, of mean age", table["age"].mean())

# %% [markdown]
# **Out of memory.** This script compares each of ten million passengers with
# every other. The table would need 728 TiB.

# %%
# %%writefile {own}/hungry.py
import numpy as np

passengers = 10_000_000
print("distances between all of", passengers, "passengers", flush=True)
distances = np.zeros((passengers, passengers))

# %% [markdown]
# **A bad hyperparameter**, a **missing channel** (it is called `trian`), and a
# **time limit** of ten seconds complete the five.

# %%
faulty = small | {"source_dir": str(own)}
start("script error", XGBoost(**faulty, entry_point="broken.py"))
start("memory", XGBoost(**faulty, entry_point="hungry.py"))
start("hyperparameter", XGBoost(**sound, hyperparameters={"max_depth": "deep"}))
start("channel", XGBoost(**sound), {"trian": channels["train"]})
start("time limit", PyTorch(**endless | {"max_run": 10}, hyperparameters=forever))

# %% [markdown]
# Meanwhile the two that never become a job. `fit` raises a `ClientError`.
#
# **No permission for the data.** SageMaker lists each channel with the job's
# *role* before it accepts the job. Here is a bucket that is not yours.

# %%
from botocore.exceptions import ClientError

elsewhere = {"train": f"s3://{session.default_bucket()}-elsewhere/train/"}
try:
    XGBoost(**sound).fit(elsewhere, wait=False)
except ClientError as error:
    denied = error.response["Error"]
    print(denied["Code"], "-", denied["Message"])

# %% [markdown]
# The message fits three causes: the bucket does not exist, the prefix is empty,
# or the role may not list it. Check them in this order. The third needs
# `s3:ListBucket` and `s3:GetObject` for the *role*, not for you.
#
# **A quota of zero.** New accounts may have no large machines at all.

# %%
large = sound | {"instance_type": "ml.p4d.24xlarge", "instance_count": 100}
try:
    XGBoost(**large).fit(train, wait=False)
except ClientError as error:
    quota = error.response["Error"]
    print(quota["Code"], "-", quota["Message"])

# %% [markdown]
# Take a smaller type, or request more in the console *Service Quotas*, under
# exactly the name in quotes. That can take days.
#
# Now the five. `FailureReason` is the first thing to read.

# %%
ends = {}
for what, name in gallery.items():
    ends[what] = wait_until(what, has_ended, name)
for what, job in ends.items():
    reason = " ".join(job.get("FailureReason", "(none)").split())
    print(f"{what}: {job['TrainingJobStatus']}\n    {reason[:160]}\n")

# %% [markdown]
# **Script error** and **memory**: the reason says `ExecuteUserScriptError`, so
# "your script failed", and the exit code. The cause is at the end of the log.

# %%
signs = ("KeyError", "numpy.", "MemoryError", '  File "/opt/ml/code')
for what in ("script error", "memory"):
    lines = jobs.log(session, gallery[what])
    print(*[line for line in lines if line.startswith(signs)], sep="\n")

# %% [markdown]
# A `MemoryError` is the friendly form. When memory runs out slowly, the system
# kills the process: the log just ends, and the exit code is 137 or -9. Use less
# at once, or a larger machine. And run a script locally on a few rows first
# (lesson 02).
#
# **Hyperparameter** and **channel**: the reason is a full sentence, because our
# script wrote it to the file `/opt/ml/output/failure`. The second one names a
# local default, since there was no channel `train`. Compare the channels that
# the job had:

# %%
[channel["ChannelName"] for channel in ends["channel"]["InputDataConfig"]]

# %% [markdown]
# **Time limit**: nothing failed, so there is no reason, and the job counts as
# `Stopped`. Only the finer status says why. It is stopped as by your call, so
# the same holds: only what was saved on the way is left.

# %%
late = ends["time limit"]
late["TrainingJobStatus"], late["SecondaryStatus"]

# %% [markdown]
# | failure | sign | look at |
# |---|---|---|
# | script error | job `Failed` | the log's last traceback |
# | out of memory | job `Failed` | the log's end; exit code 137 |
# | bad hyperparameter | job `Failed` | `FailureReason`, if the script writes one |
# | missing channel | job `Failed` | `InputDataConfig`, compared with the script |
# | time limit | job `Stopped` | `SecondaryStatus` |
# | no permission for the data | `fit` raises | the message: bucket, prefix, role |
# | quota of zero | `fit` raises | the message: the quota's name |

# %%
assert {job["TrainingJobStatus"] for job in ends.values()} == {"Failed", "Stopped"}
assert late["SecondaryStatus"] == "MaxRuntimeExceeded"
assert "ExecuteUserScriptError" in ends["script error"]["FailureReason"]
assert "max_depth" in ends["hyperparameter"]["FailureReason"]
assert "no such file" in ends["channel"]["FailureReason"]
assert quota["Code"] == "ResourceLimitExceeded"

# %% [markdown]
# ### Exercise 2: why has it failed?
#
# A colleague's script fails. Do not read it: run the two cells, and find the
# cause from status, reason and log. Which line of the log shows it?

# %% jupyter={"source_hidden": true}
# %%writefile {own}/riddle.py
import csv
import os
from pathlib import Path

rows = []
for path in Path(os.environ["SM_CHANNEL_TRAIN"]).iterdir():
    with path.open(newline="") as file:
        rows += csv.DictReader(file)
print("read", len(rows), "passengers", flush=True)
rows = [row for row in rows if row["Embarked"] == "Southampton"]
print("kept", len(rows), "who came aboard at Southampton", flush=True)
survived = sum(int(row["Survived"]) for row in rows)
print("share of survivors", survived / len(rows))

# %%
riddle = XGBoost(**faulty, entry_point="riddle.py", base_job_name="riddle")
riddle.fit(train, wait=False)
riddle_name = riddle.latest_training_job.name

# %%
# Your turn

# %% jupyter={"source_hidden": true} tags=["solution"]
(failed,) = jobs.wait_for(session, riddle_name)
riddle_log = jobs.log(session, riddle_name)
clues = ("read ", "kept ", "Traceback", "  File", "ZeroDivisionError")
print(*[line for line in riddle_log if line.startswith(clues)], sep="\n")

# The traceback says: a division by zero. The cause comes before it: 0 passengers
# were kept, because the list has "S" where the script looks for "Southampton".
assert failed["TrainingJobStatus"] == "Failed"
assert any(line.startswith("kept 0 ") for line in riddle_log)

# %% [markdown]
# ### Exercise 3: stop a job that does not learn
#
# Somebody typed `1e-9` for the learning rate, so the weights hardly move. Write
# a watchman. It collects `validation:logloss`, as above, and stops the job when
# the last twenty values are not at least 0.001 better than the best before
# them. A model that answers 0.5 for everybody has a loss of 0.693. Before you
# run it: after how many epochs will it stop the job? What does that save?

# %%
stuck = PyTorch(
    **endless,
    hyperparameters={**forever, "learning_rate": 1e-9},
    base_job_name="stuck-network",
)
stuck.fit(train, wait=False)
stuck_name = stuck.latest_training_job.name

# %%
# Your turn

# %% jupyter={"source_hidden": true} tags=["solution"]
stuck_tail, values, patience = jobs.LogTail(session, stuck_name), [], 20


def no_longer_better():
    for name, value in jobs.metric_values(description, stuck_tail.new()):
        if name == "validation:logloss":
            values.append(value)
    if len(values) <= patience:
        return False
    return min(values[-patience:]) > min(values[:-patience]) - 0.001


wait_until("a loss that no longer falls", no_longer_better)
session.stop_training_job(stuck_name)
(stuck_end,) = jobs.wait_for(session, stuck_name)
assert stuck_end["TrainingJobStatus"] == "Stopped"
assert min(values) > 0.65, "it was to learn nothing"
print(f"best {min(values):.3f} among {len(values)} values; guessing gives 0.693")
print("cost:", costs.bill(workshop.is_billed(session), stuck_end))
print("limit:", costs.upper_bound("ml.m5.large", 1, common["max_run"]))

# The answer is 21 at the earliest. Here epochs are so short that many more have
# passed before we look at the log.

# %% [markdown]
# A watchman in a notebook dies with the notebook. For long jobs put it into the
# script, as early stopping, and always set `max_run`.
#
# ## Key points
#
# - Programs use `TrainingJobStatus`, people read `SecondaryStatus`
# - Logs and metrics are in CloudWatch, not in S3; ask for the status first
# - A metric is a pattern over the log; CloudWatch keeps one value a second
# - Interrupting a cell stops the view; only a call or a limit stops the job
# - A name or a tag is enough to find a job again
# - Save the best model and checkpoints while you train; count on no signal
# - Failed? Read `FailureReason`, then the end of the log, then the settings
#
# ## Clean up
#
# First we make sure that none of our jobs runs.

# %%
query = {"StatusEquals": "InProgress"}
for job in sagemaker_client.list_training_jobs(**query)["TrainingJobSummaries"]:
    if is_ours(job):
        sagemaker_client.stop_training_job(TrainingJobName=job["TrainingJobName"])
        jobs.wait_for(session, job["TrainingJobName"])

# %% [markdown]
# Then we delete the objects in S3. Job records cost nothing, and a few
# kilobytes of log cost next to nothing.

# %%
every = [first_name, newest, *gallery.values(), riddle_name, stuck_name]
bucket = session.boto_session.resource("s3").Bucket(session.default_bucket())
for job_name in every:
    bucket.objects.filter(Prefix=f"jobs/{job_name}/").delete()
scratch.cleanup()
