# %% [markdown]
# # 03 · The same script as a managed training job
#
# In lesson 02 your script ran on the machine in front of you. Now SageMaker runs
# it: it rents a machine, copies code and data to it, starts the script, stores
# the model and gives the machine back. You pay for the seconds in between. The
# script does not change by a single character.
#
# **Questions**
#
# - What happens between `fit()` and the finished model?
# - What does each argument of an estimator do?
# - What can a job cost at most, and what did it cost?
# - Is the model the same as the one that was trained locally?
#
# **Objectives**
#
# - Start a training job with the `XGBoost` estimator
# - Bound its cost before, and compute it after
# - Read its log, its statuses and its times
# - Get the model back, unpack it safely, and evaluate it
# - Check that a job and a local run give the same model
#
# **You need** lessons 01 and 02 for the terms used here: role, bucket, entry
# point. Nothing has to be left over from them.
#
# **Time** teaching 35 min, exercises 15 min
#
# **Cost on AWS** about $0.02: four short jobs on the smallest machine. A time
# limit of ten minutes bounds each at about $0.02.

# %% [markdown]
# ## What is going to happen
#
# ```
#     this notebook                S3 bucket               training instance
#  ┌─────────────────┐      ┌───────────────────┐      ┌──────────────────────┐
#  │ scripts/        │ ─1─> │ sourcedir.tar.gz  │ ─3─> │ /opt/ml/code         │
#  │ data/           │ ─1─> │ data/train/       │ ─3─> │ /opt/ml/input/data   │
#  │                 │      └───────────────────┘      │                      │
#  │ fit()           │ ─2─>       SageMaker       ─3─> │ 4  train_minimal.py  │
#  │ log, metrics    │ <─4─       CloudWatch      <─4─ │    prints            │
#  │                 │      ┌───────────────────┐      │                      │
#  │ model           │ <─6─ │ model.tar.gz      │ <─5─ │ /opt/ml/model        │
#  └─────────────────┘      └───────────────────┘      └──────────────────────┘
# ```
#
# 1. Code and data go to S3.
# 2. You request a training job.
# 3. SageMaker starts a machine and copies code and data onto it.
# 4. The script runs. What it prints becomes the log.
# 5. What it saved in `/opt/ml/model` goes to S3 as the job's *artifact*.
#    SageMaker gives the machine back.
# 6. You download the model.
#
# The notebook and the machine have no connection with each other. Everything goes
# through S3 and SageMaker, so a job goes on when you close the notebook.

# %%
import sys

sys.path[:0] = ["../scripts", "../scripts/training"]

import workshop
from workshop import costs, images, jobs

session = workshop.session()
print(workshop.home(session))

# %% [markdown]
# A job needs two things that you have from lesson 01. One is the ARN of an
# execution role: AWS gives the job the permissions of this role. On a notebook
# instance the SDK finds it. Elsewhere you name one in a variable.

# %%
import os

import boto3
import sagemaker

role = os.environ.get("SAGEMAKER_ROLE_ARN") or sagemaker.get_execution_role(session)
role

# %% [markdown]
# The other is training data in S3. The passengers are simulated, with numbers
# like those of the Titanic: what we find says nothing about real people.

# %%
bucket = session.default_bucket()
s3 = boto3.client("s3")
s3.upload_file("../data/titanic_train.csv", bucket, "data/train/titanic_train.csv")

# %% [markdown]
# From here on, two functions do these lines: `workshop.execution_role`, and
# `workshop.ensure_data`, which uploads only what is not yet there.

# %%
assert role == workshop.execution_role(session)
channels = workshop.ensure_data(session)
channels["train"]

# %% [markdown]
# ## The estimator
#
# An *estimator* is the SDK's object that describes a training job. Two of its
# arguments need a line of their own. The *image* holds Python and XGBoost; lesson
# 04 explains how to choose it. And all results go under one prefix of our bucket,
# so that we find them again.

# %%
from datetime import datetime

image = images.uri("xgboost", session.boto_region_name)
run = f"03-{datetime.now():%Y-%m-%d-%H-%M-%S}"
results = f"s3://{bucket}/jobs/{run}"

# %% [markdown]
# Now the complete description. `train_minimal.py` is the script that you wrote in
# lesson 02, with the same text.

# %%
from sagemaker.xgboost import XGBoost

estimator = XGBoost(
    entry_point="train_minimal.py",
    source_dir="../scripts/training",
    hyperparameters={"max_depth": 3, "num_round": 20},
    image_uri=image,
    framework_version="3.2-0",
    instance_type="ml.m5.large",
    instance_count=1,
    max_run=600,
    role=role,
    sagemaker_session=session,
    output_path=results,
    code_location=results,
    base_job_name="titanic-minimal",
    tags=workshop.tags("03"),
    disable_profiler=True,
    debugger_hook_config=False,
)

# %% [markdown]
# | argument | what it does |
# |---|---|
# | `entry_point` | the script to start |
# | `source_dir` | its folder. All of it is packed and uploaded: keep data out of it |
# | `hyperparameters` | become the command line: `--max_depth 3 --num_round 20` |
# | `image_uri` | the address of the image |
# | `framework_version` | this class asks for it, although the address decides |
# | `instance_type`, `instance_count` | which machine, and how many (lesson 07) |
# | `max_run` | the time limit in seconds. The default is a *day*: always set it |
# | `role` | the execution role |
# | `output_path`, `code_location` | where results and code go |
# | `base_job_name` | the job's name begins with it |
# | `tags` | labels, by which the bill can be split |
# | the last two | switch off extras that would write more objects to S3 |
#
# (Version 3 of the SDK has other classes and names; lesson 10 is about it.) Nothing
# has been started yet, and nothing costs anything.
#
# ## What can it cost at most?
#
# Ask this *before* `fit()`: the price per hour, times the machines, times
# `max_run`.

# %%
bound = costs.upper_bound("ml.m5.large", 1, 600)
print(bound)

# %% [markdown]
# This is SageMaker's price, which is higher than EC2's price of the same machine.
# The bound is not exact to the cent. At the time limit SageMaker stops the job,
# but the script has up to two minutes to end, and then the results are uploaded.
# These seconds are billed too: 720 instead of 600 would be a fifth more.
#
# ## The data
#
# `TrainingInput` says how a channel reaches the script. The channel `train`
# becomes the folder `/opt/ml/input/data/train`, and the variable
# `SM_CHANNEL_TRAIN` holds this path.

# %%
from sagemaker.inputs import TrainingInput

train_input = TrainingInput(
    channels["train"],
    content_type="text/csv",
    input_mode="File",
    distribution="FullyReplicated",
)

# %% [markdown]
# Only the address is necessary. `File`, the default, copies everything under the
# prefix before the script starts. (`FastFile` streams it while the script reads,
# which is better for large data.) `FullyReplicated`, the default too, gives every
# machine all of it. The job does not get the test list: we need it at the end.
#
# ## fit
#
# `fit()` uploads the code, starts the job, and prints its log until it ends. We
# measure the time as well. On AWS this takes about three minutes, so read the
# next section meanwhile.

# %%
import time

start = time.perf_counter()
estimator.fit({"train": train_input})
waited = time.perf_counter() - start

# %% [markdown]
# ## Read the log
#
# The log is long, because the container prints all its settings before it starts
# the script. It stays in the service CloudWatch after the job has ended. Any
# program can read it there, by the job's name.

# %%
job_name = estimator.latest_training_job.name
logs = boto3.client("logs")
group = {"logGroupName": "/aws/sagemaker/TrainingJobs"}
listed = logs.describe_log_streams(**group, logStreamNamePrefix=f"{job_name}/")
stream = listed["logStreams"][0]["logStreamName"]
page = logs.get_log_events(**group, logStreamName=stream, startFromHead=True)
[event["message"] for event in page["events"]][-3:]

# %% [markdown]
# A long log has several pages, and several machines have several streams. From
# here on `jobs.log` reads them all. The most useful line is the command that the
# container ran: with it you can repeat the job on your own machine.

# %%
log = jobs.log(session, job_name)
next(line for line in log if "train_minimal" in line and " --max_depth" in line)

# %% [markdown]
# And these lines the script printed, as it did in lesson 02. (A log writes a tab
# as `#011`.)

# %%
print(*[line for line in log if "logloss:" in line or "accuracy=" in line], sep="\n")

# %% [markdown]
# SageMaker searches the log for *metrics*, by patterns. For the XGBoost image it
# uses patterns of its own, and accepts no others. They match XGBoost's lines of
# log loss. They do not match `validation:accuracy=`, so it is in the log alone.
# For other images you give the patterns yourself (lesson 04).
#
# Everything that SageMaker knows about the job is in one answer.

# %%
client = boto3.client("sagemaker")
description = client.describe_training_job(TrainingJobName=job_name)
description["TrainingJobStatus"], description["FinalMetricDataList"]

# %% [markdown]
# `Completed` means one thing only: the script ended with exit code 0. The metrics
# say whether the model is any good. From here on `jobs.table` shows the main
# facts of one job or several. Each job also has a page in the console, which is
# the subject of lesson 06.

# %%
print(jobs.console_link(description))
jobs.table(description).T

# %% [markdown]
# ## Where did the time go?
#
# A job passes through statuses. SageMaker notes the time of each change.

# %%
timeline = jobs.timeline(description)
timeline[["status", "message", "seconds"]]

# %% [markdown]
# During `Downloading`, data and image come to the machine. During `Training` your
# script runs, and during `Uploading` its results are stored. Three different
# times are often confused:

# %%
import pandas as pd

clocks = {
    "you waited for fit()": waited,
    "the job took (TrainingTime)": description["TrainingTimeInSeconds"],
    "you are billed for (BillableTime)": description["BillableTimeInSeconds"],
}
assert waited > description["TrainingTimeInSeconds"]
pd.Series(clocks).round(1)

# %% [markdown]
# Your wait includes the upload of the code and the start of a machine, which are
# not billed. To compare two machines or two scripts, use the job's own time.
#
# If your AWS calls stay on this machine (the sentence at the top says so), the
# job ran here too. On AWS it takes longer. For comparison, we plot a record of a
# similar job: 712 rows, XGBoost, one `ml.m5.large`, on AWS in November 2024. (Its
# last phase includes the upload.)

# %%
import matplotlib.pyplot as plt

recorded = {"Starting": 42, "Downloading": 40 + 72, "Training": 13}  # seconds
greys = {"Starting": "1.0", "Downloading": "0.8", "Training": "0.4", "Uploading": "0.0"}
ours = timeline.groupby("status")["seconds"].sum()
both = pd.DataFrame({"this job": ours, "recorded on AWS": pd.Series(recorded)})
both = both.reindex(list(greys)).T
both.plot.barh(stacked=True, color=greys, edgecolor="black", figsize=(8, 2.2))
plt.xlabel("seconds")
plt.legend(ncols=4, loc="upper center", bbox_to_anchor=(0.5, 1.3), frameon=False)
plt.show()

# %% [markdown]
# Of the two minutes and three quarters on AWS, the script ran for seconds. Most
# of the time went into getting the machine, the data and the image. All but the
# first phase is billed. A job is worth it when training is long, when the machine
# is larger than yours, or when many jobs run at once.
#
# ## What did it cost?
#
# Billable seconds, times machines, times price:

# %%
billed = workshop.is_billed(session)
print(costs.bill(billed, description))

# %% [markdown]
# If the job ran here, there are two figures: the price of *these* seconds, and about
# what AWS would bill.
#
# The following jobs have most arguments in common. We write these once.

# %%
settings = {"image_uri": image, "framework_version": "3.2-0", "role": role}
settings |= {"instance_type": "ml.m5.large", "instance_count": 1, "max_run": 600}
settings |= {"source_dir": "../scripts/training", "sagemaker_session": session}
settings |= {"output_path": results, "code_location": results}
settings |= {"disable_profiler": True, "debugger_hook_config": False}
settings["tags"] = workshop.tags("03")

# %% [markdown]
# ### Exercise 1: a deeper tree, without waiting
#
# Before you start, write down: with `max_depth` 6 instead of 3, will the training
# loss fall? Will the validation loss?
#
# Start the job, and let `fit` return at once with `wait=False`. Call
# `client.describe_training_job` every few seconds, until the status is no longer
# `InProgress`, but for 15 minutes at most. Show both jobs with `jobs.table`.

# %%
# Your turn

# %% jupyter={"source_hidden": true} tags=["solution"]
deeper = XGBoost(
    entry_point="train_minimal.py",
    hyperparameters={"max_depth": 6, "num_round": 20},
    base_job_name="titanic-deeper",
    **settings,
)
deeper.fit({"train": train_input}, wait=False)
deeper_name = deeper.latest_training_job.name

deadline = time.monotonic() + 15 * 60
while True:
    second = client.describe_training_job(TrainingJobName=deeper_name)
    if second["TrainingJobStatus"] != "InProgress":
        break
    assert time.monotonic() < deadline, f"{deeper_name} runs longer than 15 minutes"
    time.sleep(3)

# A deeper tree fits its training rows more closely. The gap between the two
# losses shows how much of that it learned by heart.
assert second["TrainingJobStatus"] == "Completed"
two_jobs = jobs.table(description, second)
assert two_jobs["train:logloss"].iloc[1] < two_jobs["train:logloss"].iloc[0]
two_jobs["gap"] = two_jobs["validation:logloss"] - two_jobs["train:logloss"]
two_jobs.T

# %% [markdown]
# ## The model comes back
#
# SageMaker packed `/opt/ml/model` into `model.tar.gz` and put it into S3. The
# description holds its address. We read the one file that we want from the archive.
# To unpack all of it is a risk: an archive may hold names such as `../../.bashrc`,
# which would overwrite your files.

# %%
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

scratch = TemporaryDirectory()
work = Path(scratch.name)
address = urlsplit(description["ModelArtifacts"]["S3ModelArtifacts"])
s3.download_file(address.netloc, address.path[1:], str(work / "model.tar.gz"))
with tarfile.open(work / "model.tar.gz") as archive:
    (member,) = [one for one in archive if one.name.endswith(".ubj")]
    saved = archive.extractfile(member).read()

# %% [markdown]
# XGBoost opens the file. It was written by the version that this notebook has: a
# model is best opened by the library that wrote it. `train_minimal` makes the
# same features here as in the job.

# %%
import xgboost

import train_minimal

model = xgboost.Booster(model_file=bytearray(saved))
passengers = train_minimal.read("../data/titanic_train.csv")
model.predict(train_minimal.matrix(passengers.head(3))).round(2)

# %% [markdown]
# Three probabilities of survival: your first predictions from a model that was
# trained by a job. From here on we unpack with `workshop.unpack_artifact`, which
# refuses an unsafe archive with one sentence.
#
# ## The longer script
#
# Is the model of a job the same as a local one, and how good is it? To answer, we
# take the longer script of lesson 02. It fixes its *seed*, the start of its random
# numbers, and stops early. Only three arguments change. With `logs=False`, `fit`
# prints statuses alone.

# %%
hyperparameters = {"max_depth": 3, "eta": 0.1, "num_round": 100, "seed": 1}
longer = XGBoost(
    entry_point="train_xgboost.py",
    hyperparameters=dict(hyperparameters),  # the SDK adds entries to what it gets
    base_job_name="titanic-xgboost",
    **settings,
)
longer.fit({"train": train_input}, logs=False)
address = urlsplit(longer.model_data)
s3.download_file(address.netloc, address.path[1:], str(work / "longer.tar.gz"))
job_files = workshop.unpack_artifact(work / "longer.tar.gz", work / "job")

# %% [markdown]
# ## Is it the same model?
#
# Now the same training locally: the same script, data and hyperparameters,
# without SageMaker.

# %%
import subprocess

command = [sys.executable, "../scripts/training/train_xgboost.py"]
command += [f"--{name}={value}" for name, value in hyperparameters.items()]
command += [f"--{folder}={work}/local" for folder in ("model_dir", "output_data_dir")]
command += ["--train=../data/titanic_train.csv"]
done = subprocess.run(command, check=True, capture_output=True)

# %% [markdown]
# We compare the two files by a checksum, and the two models by their predictions.

# %%
import hashlib

import numpy as np

import train_xgboost

file = {name: work / name / train_xgboost.MODEL_FILE for name in ("job", "local")}
checksums = [hashlib.sha256(one.read_bytes()).hexdigest() for one in file.values()]
models = {name: train_xgboost.model_fn(work / name) for name in file}
answers = {n: train_xgboost.predict(m, passengers) for n, m in models.items()}
difference = np.abs(answers["job"] - answers["local"]).mean()
print(f"same file: {checksums[0] == checksums[1]}, mean difference {difference:.4f}")

# %% [markdown]
# On one machine the two files are equal, byte for byte: SageMaker adds nothing
# to the training. On AWS the job may have another type of processor, which may
# round differently. Then files can differ, and only predictions can be compared.

# %%
assert checksums[0] == checksums[1] or workshop.is_billed(session)
assert difference < 0.01

# %% [markdown]
# ## How good is it?
#
# Now we open the test list, once. We compare the model with a rule that uses no
# features: everybody gets the share of survivors in the *training* list.

# %%
import metrics
import titanic

test_list = titanic.read("../data/titanic_test.csv")
truth = test_list["Survived"]
constant = np.full(len(truth), passengers["Survived"].mean())
probabilities = train_xgboost.predict(models["job"], test_list)
scores = metrics.evaluate(truth, probabilities)
baseline = metrics.evaluate(truth, constant)
pd.DataFrame({"one value for all": baseline, "the model": scores}).round(2)

# %% [markdown]
# The model has learned something: more correct answers, and a lower loss. How
# far to trust such numbers is in lesson 02.

# %%
assert scores["accuracy"] > baseline["accuracy"]
assert scores["logloss"] < baseline["logloss"]

# %% [markdown]
# ### Exercise 2: a job that fails
#
# Misspell a hyperparameter of `train_xgboost.py` on purpose: `max_dept`. Call
# `fit` with `logs=False`, and catch the `UnexpectedStatusException` that it
# raises. Before you do, write down: where will you find the cause, and what will
# the failed job cost?

# %%
# Your turn

# %% jupyter={"source_hidden": true} tags=["solution"]
from sagemaker.exceptions import UnexpectedStatusException

misspelt = {"max_dept": 4}
wrong = XGBoost("train_xgboost.py", hyperparameters=misspelt, **settings)
try:
    wrong.fit({"train": train_input}, logs=False)
except UnexpectedStatusException as error:
    print(type(error).__name__)

wrong_name = wrong.latest_training_job.name
failed = client.describe_training_job(TrainingJobName=wrong_name)
assert failed["TrainingJobStatus"] == "Failed"
assert "did you mean --max_depth?" in failed["FailureReason"]
print(failed["FailureReason"])
print(costs.bill(billed, failed))  # like any other job

# %% [markdown]
# A run in the terminal, as in lesson 02, shows the same sentence free of charge.
#
# ## Key points
#
# - A job is your script on a rented machine; S3 is the only way in and out
# - Bound the cost before (`max_run`), compute it after (billable seconds)
# - The log shows the command line; the description shows the rest
# - Your wait, the job's time and the billed time are three numbers
# - Unpack archives with a check of their names; keep model and versions together
# - The same script, data, seed and machine give the same model
#
# ## Clean up
#
# No machine is left running: a job gives its machine back when it ends, whatever
# its status. What stays and bills are the objects in S3. (The record of a job is
# free, and a few kilobytes of log are nearly so.)

# %%
left = list(boto3.resource("s3").Bucket(bucket).objects.filter(Prefix=f"jobs/{run}/"))
size = sum(item.size for item in left)
print(f"{len(left)} objects, {size / 2**10:.0f} KiB")
print(f"a GiB would cost ${costs.storage_per_month(2**30):.3f} a month")

# %% [markdown]
# So these cost next to nothing. But a team that trains ten models of a gigabyte a day,
# and never cleans up, will see a bill. So we delete them. (To keep your model, do
# not run the next cell.)

# %%
for item in left:
    item.delete()
scratch.cleanup()
