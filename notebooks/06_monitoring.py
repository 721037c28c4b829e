# %% [markdown]
# # 06 · Watch a job, find out why it failed, stop it
#
# A training job runs on a machine that you cannot log in to. What you know of
# it you know from four places: its status, its log, its metrics, and the
# reason that it gives when it fails. This lesson visits all four, stops a job
# from the outside, loses a kernel on purpose, and then breaks seven jobs in
# seven ways, to learn where each cause is found.
#
# **Questions**
#
# - What is my job doing right now, and what has it cost so far?
# - Where are its log and its metrics, and how soon do I see them?
# - I interrupted the cell, or my kernel died. What became of the job?
# - It failed. Where does it say why?
#
# **Objectives**
#
# - Read a job's life from its statuses, and draw it
# - Follow a log while it grows, and a metric while it falls
# - Find jobs by name and by tag, and take one up again after a restart
# - Stop a job by hand, by its metric, and by its time limit
# - Trace seven common failures to their causes, and name the cure
#
# **You need** lesson 03 for the words used here: estimator, channel, status.
# Nothing has to be left over from it.
#
# **Time** teaching 35 min, exercises 20 min
#
# **Cost on AWS** about $0.05: nine short jobs on the smallest machine. A time
# limit of ten minutes bounds each; in the worst case it costs $0.02 a job.

# %%
import sys

sys.path[:0] = ["../scripts", "../scripts/training"]

import train_torch
import workshop
from workshop import costs, images, jobs, live

session = workshop.session()
role = workshop.execution_role(session)
channels = workshop.ensure_data(session)
print(workshop.home(session))

# %% [markdown]
# ## A job to watch
#
# We need a job that takes a little while. A neural network will do, one that
# is larger than our few rows deserve. First what all jobs of this lesson have
# in common. Note the tags: we shall search by them.

# %%
results = f"s3://{session.default_bucket()}/jobs"
common = {
    "role": role,
    "sagemaker_session": session,
    "output_path": results,
    "code_location": results,
    "instance_type": "ml.m5.large",
    "instance_count": 1,
    "max_run": 600,
    "tags": workshop.tags("06"),
    "disable_profiler": True,
    "debugger_hook_config": False,
}

# %% [markdown]
# And the network. `early_stopping_epochs` 0 lets it train all of its 200
# epochs, whether it still gets better or not.

# %%
from sagemaker.pytorch import PyTorch

network = common | {
    "entry_point": "train_torch.py",
    "source_dir": "../scripts/training",
    "image_uri": images.uri("pytorch", session.boto_region_name),
    "metric_definitions": train_torch.METRIC_DEFINITIONS,
    "base_job_name": "watched-network",
}
size = {"width": 256, "depth": 3, "early_stopping_epochs": 0}

# %% [markdown]
# `fit` with `wait=False` orders the job and returns at once.

# %%
train = {"train": channels["train"]}
first = PyTorch(**network, hyperparameters={**size, "epochs": 200})
first.fit(train, wait=False)
first_name = first.latest_training_job.name
first_name

# %% [markdown]
# Everything that follows needs no more than this name. Keep the names of your
# jobs.
#
# ## The console
#
# The quickest look at a job is its page in the console. Open this address
# while the job runs:

# %%
print(jobs.console_link(jobs.describe(session, first_name)))

# %% [markdown]
# You find there the status and its history, the settings, the metrics as
# charts, the log, links to what went in and came out, and a button *Stop*. In
# the AWS console you come to the same page by *SageMaker AI*, *Training*,
# *Training jobs*, and a click on the name; its log is one more click away,
# under *View logs*. For everything that the page shows there is a call, and
# the rest of this lesson makes those calls.
#
# ## The log, while it grows
#
# What a job prints goes to the service CloudWatch Logs. All training jobs of
# a region share one *log group*, and each machine of a job writes a *log
# stream* in it. The stream appears when the container starts.

# %%
import time

logs = session.boto_session.client("logs")
where = {"logGroupName": "/aws/sagemaker/TrainingJobs"}


def streams(job_name):
    try:
        prefix = f"{job_name}/"
        found = logs.describe_log_streams(**where, logStreamNamePrefix=prefix)
    except logs.exceptions.ResourceNotFoundException:  # no job has logged here yet
        return []
    return [stream["logStreamName"] for stream in found["logStreams"]]


# %% [markdown]
# One machine, so there will be one stream.

# %%
while not streams(first_name):
    time.sleep(1)
(stream,) = streams(first_name)
stream

# %% [markdown]
# Job, machine, and the moment when it began, in milliseconds. `algo-1` is
# what every job's first machine is called.
#
# A call to `get_log_events` brings some lines and a *token*. With the token
# the next call goes on where this one ended, so nothing comes twice.

# %%
page = logs.get_log_events(**where, logStreamName=stream, startFromHead=True)
token = page["nextForwardToken"]
print(len(page["events"]), "lines so far")

# %% [markdown]
# A moment later:

# %%
time.sleep(3)
again = {"logStreamName": stream, "startFromHead": True, "nextToken": token}
more = logs.get_log_events(**where, **again)
print(len(more["events"]), "new lines")

# %% [markdown]
# `jobs.LogTail` does this for all machines of a job. Let us follow the job to
# its end and print the loss of every fiftieth epoch.

# %%
tail = jobs.LogTail(session, first_name)
while True:
    status = jobs.describe(session, first_name)["TrainingJobStatus"]
    for line in tail.new():
        if "50] validation:logloss" in line or "00] validation:logloss" in line:
            print(line)
    if status not in jobs.RUNNING:
        break
    time.sleep(1)

# %% [markdown]
# Mind the order: first ask for the status, then read the log. The other way
# round you lose what was printed between the two questions.
#
# ## The life of a job
#
# Now it has ended, and its description holds its whole life.

# %%
description = jobs.describe(session, first_name)
life = jobs.timeline(description)
life[["status", "message", "seconds"]]

# %% [markdown]
# The same as a picture. Grey is not billed.

# %%
import matplotlib.pyplot as plt

colours = {"Downloading": "orange", "Training": "steelblue", "Uploading": "seagreen"}
begun = (life["started"] - life["started"][0]).dt.total_seconds()
plt.figure(figsize=(8, 2))
tones = [colours.get(status, "lightgrey") for status in life["status"]]
plt.barh(life["status"], life["seconds"], left=begun, color=tones)
plt.gca().invert_yaxis()
plt.xlabel("seconds since the job was created")
plt.show()

# %% [markdown]
# There are two statuses, a coarse one and a fine one. Programs decide by the
# coarse one, `TrainingJobStatus`: `InProgress`, `Stopping`, and the three
# ends `Completed`, `Failed` and `Stopped`. People read the fine one.

# %%
description["TrainingJobStatus"], description["SecondaryStatus"]

# %% [markdown]
# The messages are for people too. AWS has changed their words before, so let
# no program depend on them.
#
# The description is long. These are the members to know:

# %%
told = ("CreationTime", "TrainingStartTime", "TrainingEndTime")
for name in (*told, "TrainingTimeInSeconds", "BillableTimeInSeconds", "ModelArtifacts"):
    print(f"{name:22} {description[name]}")

# %% [markdown]
# ## Metrics
#
# SageMaker knows nothing of losses. It looks at every line of the log with
# the patterns that you gave, the *metric definitions*; what stands in the
# parentheses becomes a number.

# %%
log = jobs.log(session, first_name)
definition = train_torch.METRIC_DEFINITIONS[-2]
definition, next(line for line in log if definition["Name"] in line)

# %% [markdown]
# A pattern as loose as `loss=(.*)` would take the semicolon too, and then it
# is no number and no metric. So spell out the digits. (The built-in
# algorithms, and every job in the XGBoost image, have definitions of
# SageMaker's own, and take no others.)
#
# The numbers go to CloudWatch, and the SDK brings them back as a table.
# Unless told otherwise it averages over a minute; `period=1` is the finest
# that there is. On AWS the numbers arrive up to some minutes late.

# %%
from sagemaker.analytics import TrainingJobAnalytics

names = ["train:logloss", "validation:logloss"]
while True:
    kept = {"sagemaker_session": session, "period": 1}
    seen = TrainingJobAnalytics(first_name, names, **kept).dataframe()
    if len(seen):
        break
    time.sleep(10)
seen.groupby("metric_name").agg(["count", "min", "max"])["value"]

# %% [markdown]
# How many values has the script itself written down? It left a
# `history.csv` in its output folder, which the job packed into
# `output.tar.gz`.

# %%
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
from sagemaker.s3 import S3Downloader

scratch = TemporaryDirectory()
folder = Path(scratch.name)
packed = f"{results}/{first_name}/output/output.tar.gz"
S3Downloader.download(packed, scratch.name, sagemaker_session=session)
workshop.unpack_artifact(folder / "output.tar.gz", folder)
history = pd.read_csv(folder / "history.csv", index_col="epoch")
len(history)

# %% [markdown]
# Two hundred, one for each epoch. CloudWatch has one for each second, the mean of
# all that were printed in it, and no word of epochs. Side by side:

# %%
curves = seen.pivot_table(index="timestamp", columns="metric_name", values="value")
_, (left, right) = plt.subplots(1, 2, figsize=(9, 3), sharey=True)
curves.plot(ax=left, marker="o", xlabel="seconds", title="CloudWatch")
history.plot(ax=right, title="the script's own")
plt.show()

# %% [markdown]
# The same story, told coarsely and finely. CloudWatch is there while the job
# runs, and for alarms; keep what you want to publish in a file of your own.
#
# And the story is worth reading: the training loss goes on falling while the
# validation loss has long turned and rises. The network learns its rows by
# heart. With early stopping it would have ended at the lowest point.

# %%
validation = history["validation:logloss"]
print("best epoch:", validation.idxmin(), "of", len(history))
assert validation.iloc[-1] > validation.min()

# %% [markdown]
# ## A live view
#
# Status, seconds, money, metrics and the last lines in one picture that is
# drawn over while the job runs: that is `live.watch`, for a job that would
# train for hours. We look at it for a few seconds only. Then somebody presses
# the square button, *interrupt the kernel*: what that button does is to send
# the kernel the signal `SIGINT`, and a timer can do the same.

# %%
long = PyTorch(**network, hyperparameters={**size, "epochs": 100_000})
long.fit(train, wait=False)
long_name = long.latest_training_job.name

# %% [markdown]
# In Python the signal becomes a `KeyboardInterrupt`.

# %%
import os
import signal
import threading

threading.Timer(7, os.kill, [os.getpid(), signal.SIGINT]).start()
try:
    live.watch(session, long_name)
except KeyboardInterrupt:
    print("interrupted: nobody is looking any more")

# %% [markdown]
# Has that stopped the job?

# %%
print(jobs.describe(session, long_name)["TrainingJobStatus"])

# %% [markdown]
# **It goes on, and it bills.** Neither the button, nor closing the notebook,
# nor shutting down your laptop stops a job. Three things do: its own end, its
# time limit, and a call to stop it.
#
# ## After the kernel has restarted
#
# Worse: suppose that the kernel died, and all variables with it. The machine
# trains on, and you do not even have its name.

# %%
del long, long_name

# %% [markdown]
# The account knows. Ask for what runs at this moment, by a part of the name,
# which is why `base_job_name` should say something.

# %%
sagemaker_client = session.boto_session.client("sagemaker")
query = {"NameContains": "watched-network", "StatusEquals": "InProgress"}
found = sagemaker_client.list_training_jobs(**query)["TrainingJobSummaries"]
[(job["TrainingJobName"], job["SecondaryStatus"]) for job in found]

# %% [markdown]
# In an account that you share, colleagues may use the same names, and a tag
# tells whose is whose. The list does not show tags; they are one more call
# for each job. So narrow the list down first.

# %%
our_tag = {"Key": "lesson", "Value": "06"}


def is_ours(job):
    tags = sagemaker_client.list_tags(ResourceArn=job["TrainingJobArn"])["Tags"]
    return our_tag in tags


ours = [job["TrainingJobName"] for job in found if is_ours(job)]
newest = ours[0]  # the list begins with the newest
newest

# %% [markdown]
# There it is, and the name is all we need: the view can be taken up again. (For
# a finished job, `PyTorch.attach(name)` gives you the estimator back; for one
# that still runs it waits for the end first.)
#
# ## Stop
#
# Before we stop it, let it learn something: we wait until it has told twenty
# losses.

# %%
tail, told = jobs.LogTail(session, newest), []
while len(told) < 20:
    time.sleep(1)
    told += [line for line in tail.new() if "] validation:logloss" in line]
told[-1]

# %% [markdown]
# Then we stop it. The call returns at once; the job does not end at once.

# %%
session.stop_training_job(newest)
stopped = live.watch(session, newest)

# %% [markdown]
# A stopped job gets the signal `SIGTERM` and **two minutes** to put its
# things in order. What then lies in `/opt/ml/model` is uploaded as usual. Our
# script uses the time to save the model of its best epoch, so nothing that it
# had learnt is lost. A script that saves only at its end, and there are many,
# would leave nothing.

# %%
assert stopped["TrainingJobStatus"] == "Stopped"
estimator = PyTorch.attach(newest, sagemaker_session=session)
estimator.model_data

# %% [markdown]
# `attach` prints the statuses once more, and now the estimator, too, has
# survived the kernel. (`XGBoost.attach` and `SKLearn.attach` look the image up
# in the SDK's table, do not find it there, and fail with a `ValueError`;
# `Estimator.attach` takes any job.)
#
# ## A gallery of failures
#
# Now we break jobs. Two failures come at once, from `fit` itself, and cost
# nothing; five come from the machine and are billed. We order the five
# together, and read them when all have ended. XGBoost starts quickest, so we
# take its image.

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
# **A bug in the script.** The column is called `Age`, and this script says
# `age`.

# %%
own = folder / "own"
own.mkdir()
(own / "broken.py").write_text("""\
import os
import pandas as pd

folder = os.environ["SM_CHANNEL_TRAIN"]
table = pd.concat(pd.read_csv(f"{folder}/{name}") for name in os.listdir(folder))
print(len(table), "passengers, of mean age", table["age"].mean())
""")
faulty = small | {"source_dir": str(own)}
start("script error", XGBoost(**faulty, entry_point="broken.py"))

# %% [markdown]
# **A bad hyperparameter**, a word where a number should be.

# %%
start("hyperparameter", XGBoost(**sound, hyperparameters={"max_depth": "deep"}))

# %% [markdown]
# **A missing channel.** The script wants `train`, and we call it `trian`.

# %%
start("channel", XGBoost(**sound), {"trian": channels["train"]})

# %% [markdown]
# **Out of memory.** A script that compares every passenger with every other
# is quickly written. For ten million passengers the table would need 728
# tebibytes.

# %%
(own / "hungry.py").write_text("""\
import numpy as np

passengers = 10_000_000
print("distances between all of", passengers, "passengers", flush=True)
distances = np.zeros((passengers, passengers))
""")
start("memory", XGBoost(**faulty, entry_point="hungry.py"))

# %% [markdown]
# **The time limit.** A network that trains on and on, and ten seconds for it.

# %%
hasty = network | {"max_run": 10}
endless = {**size, "epochs": 100_000}
start("time limit", PyTorch(**hasty, hyperparameters=endless))

# %% [markdown]
# While they run: the two that never become a job. Both raise a `ClientError`
# in the cell that calls `fit`.
#
# **No right to the data.** SageMaker lists each channel *with the job's role*
# before it takes the order. A bucket that is not yours:

# %%
from botocore.exceptions import ClientError

elsewhere = {"train": f"s3://{session.default_bucket()}-elsewhere/train/"}
try:
    XGBoost(**sound).fit(elsewhere, wait=False)
except ClientError as error:
    no_right = error.response["Error"]
    print(no_right["Code"], "-", no_right["Message"])

# %% [markdown]
# One message for three causes: the bucket is not there, the prefix is empty,
# or the role may not list it. Check them in this order. For the third the
# cure is `s3:ListBucket` and `s3:GetObject` for the *role*, not for you.
#
# **A quota of zero.** New accounts may have no machine at all of the large
# types. (A hundred of them, so that no account has that many by chance.)

# %%
large = sound | {"instance_type": "ml.p4d.24xlarge", "instance_count": 100}
try:
    XGBoost(**large).fit(train, wait=False)
except ClientError as error:
    quota = error.response["Error"]
    print(quota["Code"], "-", quota["Message"])

# %% [markdown]
# It names the quota and its value. The cure is a smaller type, or a request
# in the console *Service Quotas*, for exactly the name in quotes; allow a day
# or two. Each type has quotas of its own for training, for spot training and
# for endpoints.
#
# Meanwhile the machines have done their worst.

# %%
descriptions = jobs.wait_for(session, *gallery.values())
ended = dict(zip(gallery, descriptions, strict=True))
jobs.table(*descriptions)[["status", "billable_s", "usd"]]

# %% [markdown]
# Each of them is billed, from the moment when the data began to come. Now the
# reasons. The first look is always at `FailureReason`:

# %%
for what, job in ended.items():
    reason = " ".join(job.get("FailureReason", "(none)").split())
    print(f"{what}:\n    {reason[:160]}\n")

# %% [markdown]
# **Bug in the script.** The reason says `ExecuteUserScriptError`, which is the
# toolkit's word for "your script failed", and the exit code. Some images add
# the script's last words, others leave them empty. The traceback is in the
# log, near its end.

# %%
broken = jobs.log(session, gallery["script error"])
for line in broken:
    if line.startswith("KeyError") or ("  File" in line and "broken.py" in line):
        print(line)

# %% [markdown]
# The cure costs nothing: run the script on your own machine first, on a few
# rows, as in lesson 02.
#
# **Hyperparameter and channel.** Here the reason is a whole sentence, with
# the name of the argument in it, because *our script wrote it*: what a script
# leaves in the file `/opt/ml/output/failure` becomes the reason. Without that
# file you get an exit code and must read the log.

# %%
for what in ("hyperparameter", "channel"):
    print(ended[what]["FailureReason"])

# %% [markdown]
# The second sentence speaks of a file that nobody mentioned. That is the
# script's default for running by hand: it found no channel `train`, since
# there was none. Compare the channels that the job really had:

# %%
[channel["ChannelName"] for channel in ended["channel"]["InputDataConfig"]]

# %% [markdown]
# **Memory.** A `MemoryError` in the log is the polite form. When memory runs
# short bit by bit, the system kills the process without a word: the log just
# breaks off, and the exit code is 137, or -9 (killed by signal 9). The cure is
# less at once (smaller batches, fewer columns, 32 instead of 64 bits), or a
# larger machine. Here only the first would help.

# %%
hungry = jobs.log(session, gallery["memory"])
next(line for line in hungry if "MemoryError" in line or "Unable to allocate" in line)

# %% [markdown]
# **Time limit.** There is no reason at all, for nothing has failed: the job
# counts as `Stopped`. The fine status tells.

# %%
late = ended["time limit"]
late["TrainingJobStatus"], late["SecondaryStatus"]

# %% [markdown]
# It got the same signal and the same two minutes as a job that you stop. The
# cure is a larger `max_run`, *after* you know why it took so long. And since
# a limit can always strike: save checkpoints on the way.
#
# All seven, and where the cause is found:
#
# | failure | seen | look at |
# |---|---|---|
# | script error | job `Failed` | the log's last traceback |
# | bad hyperparameter | job `Failed` | `FailureReason`, if the script writes one |
# | missing channel | job `Failed` | `InputDataConfig` against the script |
# | no right to the data | `fit` raises | the message: bucket, prefix, role |
# | quota of zero | `fit` raises | the message: the quota's name |
# | out of memory | job `Failed` | the log's end; exit code 137 |
# | time limit | job `Stopped` | `SecondaryStatus` |

# %%
assert {job["TrainingJobStatus"] for job in ended.values()} == {"Failed", "Stopped"}
assert late["SecondaryStatus"] == "MaxRuntimeExceeded"
assert "ExecuteUserScriptError" in ended["script error"]["FailureReason"]
assert "KeyError: 'age'" in broken
assert "max_depth" in ended["hyperparameter"]["FailureReason"]
assert "no such file" in ended["channel"]["FailureReason"]
assert quota["Code"] == "ResourceLimitExceeded"

# %% [markdown]
# ### Exercise 1: why has it failed?
#
# The next cell is folded. Run it and do **not** unfold it: it starts a job
# that fails. Find out why, as you would with a colleague's job: status,
# reason, log. What would you change in the script?

# %% jupyter={"source_hidden": true}
(own / "riddle.py").write_text("""\
import csv, os

rows = []
folder = os.environ["SM_CHANNEL_TRAIN"]
for name in os.listdir(folder):
    rows += csv.DictReader(open(f"{folder}/{name}", newline=""))
print("read", len(rows), "passengers", flush=True)
rows = [row for row in rows if row["Embarked"] == "Southampton"]
print("kept", len(rows), "who came aboard at Southampton", flush=True)
survived = sum(int(row["Survived"]) for row in rows)
print("share of survivors", survived / len(rows))
""")
riddle = XGBoost(**faulty, entry_point="riddle.py", base_job_name="riddle")
riddle.fit(train, wait=False)
riddle_name = riddle.latest_training_job.name

# %%
# Your turn: the job's name is in riddle_name

# %% jupyter={"source_hidden": true} tags=["solution"]
(failed,) = jobs.wait_for(session, riddle_name)
riddle_log = jobs.log(session, riddle_name)
clues = ("read ", "kept ", "Traceback", "  File", "ZeroDivisionError")
print(*[line for line in riddle_log if line.startswith(clues)], sep="\n")

# The reason says: exit code 1. The traceback at the log's end says: a division by
# zero. Both are true, and neither is the cause. It stands before: 0 passengers were
# kept, for the list writes "S" where the script looks for "Southampton". A script
# should stop there, with a sentence that says so.
assert failed["TrainingJobStatus"] == "Failed"
assert any(line.startswith("kept 0 ") for line in riddle_log)

# %% [markdown]
# ### Exercise 2: stop a job that does not learn
#
# This network is given steps that are far too large (`learning_rate` 30), and
# would go on for a hundred thousand epochs. Write the watchman: follow the log
# with `jobs.LogTail`, collect `validation:logloss` with
# `jobs.metric_values(description, lines)`, and stop the job when twenty values
# in a row have brought no better one than before. What has it cost, and what
# would it have cost up to its limit?

# %%
wild = PyTorch(**network, hyperparameters={**endless, "learning_rate": 30})
wild.fit(train, wait=False)
wild_name = wild.latest_training_job.name

# %%
# Your turn

# %% jupyter={"source_hidden": true} tags=["solution"]
description = jobs.describe(session, wild_name)
tail, losses = jobs.LogTail(session, wild_name), []
patience = 20

while len(losses) <= patience or min(losses[-patience:]) < min(losses[:-patience]):
    time.sleep(1)
    told = jobs.metric_values(description, tail.new())
    losses += [value for name, value in told if name == "validation:logloss"]

session.stop_training_job(wild_name)
(wild_end,) = jobs.wait_for(session, wild_name)
assert wild_end["TrainingJobStatus"] == "Stopped"
print(f"best {min(losses):.3f} among {len(losses)} values; guessing gives 0.693")
print("cost:", costs.bill(workshop.is_billed(session), wild_end))
print("limit:", costs.upper_bound("ml.m5.large", 1, common["max_run"]))

# %% [markdown]
# A watchman that lives in a notebook dies with the notebook. For long jobs
# put it where the training is, as early stopping in the script; and keep
# `max_run` as the last line of defence.
#
# ## Key points
#
# - Programs decide by `TrainingJobStatus`, people read `SecondaryStatus`
# - Logs and metrics are in CloudWatch, not in S3; ask for the status first
# - A metric is a pattern over the log; at best one value a second is kept
# - Interrupting a cell stops the view; only a call or a limit stops the job
# - A name or a tag is enough to take up a job again
# - Stopping sends `SIGTERM` and gives two minutes: a script should use them
# - Failed? `FailureReason` first, then the end of the log, then the settings
#
# ## Clean up
#
# First of all make sure that none of our jobs is running.

# %%
still = sagemaker_client.list_training_jobs(StatusEquals="InProgress")
running = [job for job in still["TrainingJobSummaries"] if is_ours(job)]
for job in running:
    session.stop_training_job(job["TrainingJobName"])
len(running)

# %% [markdown]
# Then the objects in S3. Records of jobs and a few kilobytes of log cost
# nothing.

# %%
every = [first_name, newest, *gallery.values(), riddle_name, wild_name]
bucket = session.boto_session.resource("s3").Bucket(session.default_bucket())
for job_name in every:
    bucket.objects.filter(Prefix=f"jobs/{job_name}/").delete()
scratch.cleanup()
