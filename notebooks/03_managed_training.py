# %% [markdown]
# # 03 · The same script as a managed training job
#
# In lesson 02 the script ran here. Now SageMaker runs it: it rents a machine,
# brings code and data to it, starts the script, collects the model and gives
# the machine back. You pay for the seconds in between. The script does not
# change by a single character, and at the end we prove that the model did not
# either.
#
# **Questions**
#
# - What happens between `fit()` and the finished model?
# - What does each argument of an estimator do?
# - What can a job cost at most, and what did it cost?
# - Is it the same model as the one trained by hand?
#
# **Objectives**
#
# - Start a training job with the `XGBoost` estimator
# - Bound its cost before, and compute it after
# - Read its log, its statuses and its times
# - Get the model back, unpack it safely, and evaluate it
# - Prove that a job and a run by hand gave the same bytes
#
# **You need** lesson 01 for the words used here: role, bucket, channel.
# Nothing has to be left over from it; this lesson uploads what it needs.
#
# **Time** teaching 25 min, exercises 15 min
#
# **Cost on AWS** about $0.02: three short jobs on the smallest machine. A time
# limit of ten minutes bounds each; in the worst case it costs $0.02 a job.

# %% [markdown]
# ## What is going to happen
#
# ```
#     this notebook                S3 bucket               training instance
#  ┌─────────────────┐      ┌───────────────────┐      ┌──────────────────────┐
#  │ scripts/        │ ─1─> │ sourcedir.tar.gz  │ ─3─> │ /opt/ml/code         │
#  │ data/           │ ─1─> │ data/train/       │ ─3─> │ /opt/ml/input/data   │
#  │                 │      └───────────────────┘      │                      │
#  │ fit()           │ ─2─>       SageMaker       ─3─> │ 4  train_xgboost.py  │
#  │ log, metrics    │ <─4─       CloudWatch      <─4─ │    prints            │
#  │                 │      ┌───────────────────┐      │                      │
#  │ model           │ <─6─ │ model.tar.gz      │ <─5─ │ /opt/ml/model        │
#  └─────────────────┘      └───────────────────┘      └──────────────────────┘
# ```
#
# 1. Code and data go to S3.
# 2. You ask for a job.
# 3. SageMaker starts a machine and copies code and data onto it.
# 4. The script runs, and what it prints becomes the log.
# 5. What it left in `/opt/ml/model` goes to S3 as the job's *artifact*, and the
#    machine is gone.
# 6. You fetch the model.
#
# Notebook and instance never touch each other. All that passes between them
# passes through S3, which is why a job goes on when you close the notebook.

# %%
import sys

sys.path[:0] = ["../scripts", "../scripts/training"]

import metrics
import titanic
import train_xgboost
import workshop
from workshop import costs, images, jobs

# %% [markdown]
# Three lines make sure of what lesson 01 was about: a session with our
# bucket, a role to lend to the job, and the passenger lists in S3.

# %%
session = workshop.session()
role = workshop.execution_role(session)
channels = workshop.ensure_data(session)
print(workshop.home(session))

# %% [markdown]
# ## The estimator
#
# An *estimator* is the order form for a job. We fill it in three parts.
#
# **What to run.** `entry_point` is the script, `source_dir` the folder that
# goes with it; all of the folder is packed and uploaded, so keep data out of
# it. `image_uri` is the address of the image, a container in which XGBoost and
# Python are installed. Choose its version, and choose the same version for the
# notebook: a model is best opened by the library that wrote it.

# %%
image = images.uri("xgboost", session.boto_region_name)
what_to_run = {
    "entry_point": "train_xgboost.py",
    "source_dir": "../scripts/training",
    "image_uri": image,
    "framework_version": "3.2-0",
}
image

# %% [markdown]
# An account of AWS, your region, a name and a version. The address alone
# decides; this class wants the version as an argument, too. Lesson 04 says why
# we look the address up ourselves.
#
# **On what.** One machine of a type. More machines would not make this script
# faster; lesson 07 is about that. `max_run` is the longest that the job may
# take, in seconds. Without it, a job that hangs is stopped after a *day*.
# Always set it.

# %%
on_what = {
    "instance_type": "ml.m5.large",
    "instance_count": 1,
    "max_run": 600,
}

# %% [markdown]
# **With whose rights, and where to.** `role` is lent to the job, which reads
# and writes S3 with it. Code and results go under the prefix `jobs/` of our
# bucket. The tags appear on the bill. The last two switch off extras of the
# SDK that would write more objects into the bucket.

# %%
from datetime import datetime

prefix = f"jobs/03-{datetime.now():%Y-%m-%d-%H-%M-%S}"
results = f"s3://{session.default_bucket()}/{prefix}"
whose_and_where = {
    "role": role,
    "sagemaker_session": session,
    "output_path": results,
    "code_location": results,
    "base_job_name": "titanic-xgboost",
    "tags": workshop.tags("03"),
    "disable_profiler": True,
    "debugger_hook_config": False,
}

# %% [markdown]
# **Hyperparameters** become the command line of the script. They travel as
# text, so `3` arrives as `--max_depth 3`, and `True` as the word `True`. Our
# script reads such words properly; `argparse` with `type=bool` would take
# `"False"` for true.
#
# **Metrics** need no argument here. Whatever a script prints that matches a
# pattern becomes a metric, and for its XGBoost image SageMaker has patterns
# of its own: they find the lines that XGBoost prints after its rounds. It
# refuses any others for this image. The other frameworks bring theirs along,
# as the argument `metric_definitions`; lesson 04 is about those.
#
# We pass a *copy* of the hyperparameters, because the SDK writes entries of
# its own into the dictionary that it is given.

# %%
from sagemaker.xgboost import XGBoost

hyperparameters = {"max_depth": 3, "eta": 0.1, "num_round": 100, "seed": 1}
settings = what_to_run | on_what | whose_and_where
estimator = XGBoost(
    **settings,
    hyperparameters=dict(hyperparameters),
)
assert estimator.training_image_uri() == image

# %% [markdown]
# The form is complete. Nothing has been started yet, and nothing costs anything.
#
# ## What can it cost at most?
#
# Ask that *before* `fit()`. The price per hour, times the machines, times
# `max_run`:

# %%
limit = on_what["max_run"]
bound = costs.upper_bound(on_what["instance_type"], on_what["instance_count"], limit)
print(bound)

# %% [markdown]
# It is a SageMaker price, which is higher than the price of the same machine
# on EC2, and it is of that region and day. Whatever goes wrong in the job, it
# cannot cost noticeably more: at the limit it gets two minutes to save, then
# it is ended.
#
# ## The data
#
# `TrainingInput` says how a channel reaches the script. The name of the
# channel, `train`, becomes the folder `/opt/ml/input/data/train`, and the
# variable `SM_CHANNEL_TRAIN` tells the script where that is.

# %%
from sagemaker.inputs import TrainingInput

inputs = {
    "train": TrainingInput(
        channels["train"],
        content_type="text/csv",
        input_mode="File",
        distribution="FullyReplicated",
    )
}

# %% [markdown]
# All but the address could be left out, for these are the defaults. `File`
# copies everything under the prefix before the script starts. (`FastFile`
# streams it while the script reads, which pays for large data.)
# `FullyReplicated` gives every machine all of it. SageMaker never splits a
# file for you.
#
# The test list stays out of the job. It is ours, for the end.
#
# ## fit
#
# `fit()` uploads the code, starts the job, and prints its log until it ends.
# We take the time with a watch of our own.

# %%
import time

start = time.perf_counter()
estimator.fit(inputs)
waited = time.perf_counter() - start

# %% [markdown]
# ## Read the log
#
# It is long, since the container introduces itself before it starts the
# script, and it is worth reading once. The log is kept after the job, in the
# service CloudWatch, and can be fetched again by the job's name.

# %%
job_name = estimator.latest_training_job.name
log = jobs.log(session, job_name)
print(f"{job_name}: {len(log)} lines")

# %% [markdown]
# The most useful line is the command that the container ran. There are our
# hyperparameters, and the folders come from `SM_*` variables. With this line
# you can repeat on your own machine whatever a job did.

# %%
next(line for line in log if "train_xgboost" in line and " --max_depth" in line)

# %% [markdown]
# And then the script speaks, in the very lines that it printed in lesson 02.

# %%
print(*[line for line in log if "-logloss:" in line], sep="\n")

# %% [markdown]
# A log writes a tab as `#011`. From these lines SageMaker took the metrics, by
# its own patterns; the last line is that of the finished model. Everything it
# knows of the job is one call away, and one row of a table says the most of
# it.

# %%
description = session.describe_training_job(job_name)
jobs.table(description).T

# %% [markdown]
# `Completed` means one thing only: the script ended with exit code 0. Whether
# the model is any good, the metrics must tell.
#
# Every job also has a page in the console, where you can look at it without
# code. This is its address:

# %%
print(jobs.console_link(description))

# %% [markdown]
# Settings, metrics and the way to the log are there. Lesson 06 is about it.
#
# ## Where did the time go?
#
# A job passes through statuses, and each change is kept with its time.

# %%
timeline = jobs.timeline(description)
timeline[["status", "message", "seconds"]]

# %% [markdown]
# While it is `Downloading`, data and image come to the machine; `Training` is
# your script, `Uploading` its results.
#
# Three clocks have run meanwhile, and they are often mixed up.

# %%
clocks = {
    "you waited for fit()": waited,
    "the job took (TrainingTime)": description["TrainingTimeInSeconds"],
    "you are billed for (BillableTime)": description["BillableTimeInSeconds"],
}
for name, seconds in clocks.items():
    print(f"{name:34} {seconds:6.1f} s")
assert waited > description["TrainingTimeInSeconds"]

# %% [markdown]
# Your wait includes the upload of the code, the queue, the start of a machine
# and the polling of the SDK. None of that is billed. To compare two machines,
# or two scripts, take the job's own clock and never the watch around `fit()`.
#
# How does that look on rented machines? For comparison, here is the record of
# a job like ours: 712 rows, XGBoost, one `ml.m5.large`, on AWS in November
# 2024. (Its last phase includes the upload.)

# %%
import matplotlib.pyplot as plt
import pandas as pd

recorded = {"Starting": 42, "Downloading": 40 + 72, "Training": 13}  # seconds
phases = ["Starting", "Downloading", "Training", "Uploading"]
ours = timeline.groupby("status")["seconds"].sum()
both = pd.DataFrame({"this job": ours, "recorded on AWS": pd.Series(recorded)})
both.reindex(phases).T.plot.barh(stacked=True, figsize=(8, 2.2), xlabel="seconds")
plt.legend(ncols=4, loc="upper center", bbox_to_anchor=(0.5, 1.3), frameon=False)
plt.show()

# %% [markdown]
# Of the recorded two minutes and three quarters the script ran for seconds.
# The rest is the price of a fresh machine: getting it, and bringing data and
# image to it. All but the first phase is billed. A job pays off when the
# training is long, or the machine larger than yours, or when many should run
# at once. For a job of seconds, this machine is the better one.
#
# Which machine was ours? We asked for one type; the container counted the
# CPUs that it found.

# %%
kinds = pd.read_csv("../data/instance_prices.csv", index_col="instance_type")
asked = description["ResourceConfig"]["InstanceType"]
found = next(line for line in log if line.startswith("SM_NUM_CPUS="))
print(f"asked for {asked} with {kinds.loc[asked, 'vcpu']} CPUs, the job saw {found}")

# %% [markdown]
# If your calls stay on this machine (the sentence at the top says so), then
# the job ran here too, and its seconds are this machine's. On AWS they are
# those of the type that you asked for.
#
# ## What did it cost?
#
# Billable seconds, times machines, times price:

# %%
cost = costs.job_cost(description)
print(cost)
print(f"{cost.usd / bound.usd:.1%} of the bound")

# %% [markdown]
# Far below the bound, as it should be: the bound is for the day when
# something hangs. The sum is in words, too, so that you can check it: it is
# what these seconds come to on that type, at that region's price of that day.
#
# ## The model comes back
#
# The job packed `/opt/ml/model` into `model.tar.gz` and put it into S3, next
# to the code that made it.

# %%
from pathlib import Path
from tempfile import TemporaryDirectory

from sagemaker.s3 import S3Downloader

scratch = TemporaryDirectory()
work = Path(scratch.name)
S3Downloader.download(estimator.model_data, scratch.name, sagemaker_session=session)

# %% [markdown]
# An archive can hold names such as `../../.bashrc`, and then unpacking it
# overwrites your files. So do not unpack with a bare `extractall()`. Our
# helper lets nothing outside its folder be written: it refuses such names, and
# links and devices that lead elsewhere.

# %%
job_files = workshop.unpack_artifact(work / "model.tar.gz", work / "job")
[path.name for path in job_files]

# %% [markdown]
# `parameters.json` says with what the model was made, on that machine:

# %%
import json

parameters = json.loads((work / "job" / "parameters.json").read_text())
parameters["versions"], parameters["rounds"]

# %% [markdown]
# ## Is it the same model?
#
# Now the same call by hand: same script, same data, same hyperparameters, on
# this machine, without SageMaker.

# %%
words = [f"--{name}={value}" for name, value in hyperparameters.items()]
folders = [f"--model_dir={work}/hand", f"--output_data_dir={work}/hand"]
exit_code = train_xgboost.main([*words, *folders, "--train=../data/titanic_train.csv"])
assert exit_code == 0

# %% [markdown]
# Same metrics to the last digit, and that could still be luck. A checksum of
# the two files cannot be.

# %%
import hashlib


def checksum(folder):
    model = work / folder / train_xgboost.MODEL_FILE
    return hashlib.sha256(model.read_bytes()).hexdigest()


checksum("job"), checksum("hand")

# %% [markdown]
# **The same model, byte for byte.** So SageMaker adds nothing to the training
# and takes nothing away. What you try out here is what runs there.

# %%
assert checksum("job") == checksum("hand")

# %% [markdown]
# Not every script can promise this. Ours fixes its seed, its tree method and
# the order of its rows. Without a seed, or with another version of the
# library, the two would differ, and nobody could say whether it matters.
#
# The test list has waited long enough. How good is the model that came back,
# compared to a rule that gives everybody the average chance?

# %%
test_list = titanic.read("../data/titanic_test.csv")
truth = test_list["Survived"]
chances = train_xgboost.predict(train_xgboost.model_fn(work / "job"), test_list)
scores = metrics.evaluate(truth, chances)
dull = metrics.evaluate(truth, [truth.mean()] * len(truth))
pd.DataFrame({"the average for all": dull, "the model": scores})

# %% [markdown]
# It knows something: more right answers, a lower loss, and survivors are
# ranked above victims. (An AUC of 0.5 is a coin's.) How far to trust such
# numbers is in lesson 02.
#
# And the model by hand? The same file gives the same answers, so these are
# its numbers too.

# %%
assert scores["accuracy"] > dull["accuracy"]
assert scores["logloss"] < dull["logloss"]

by_hand = train_xgboost.predict(train_xgboost.model_fn(work / "hand"), test_list)
assert (by_hand == chances).all()

# %% [markdown]
# ## In version 3 of the SDK
#
# The job is the same, the order form has other names. This is for reading:
# these lessons run on version 2.
#
# ```python
# from sagemaker.train import ModelTrainer
# from sagemaker.train.configs import (
#     Compute, InputData, SourceCode, StoppingCondition
# )
#
# trainer = ModelTrainer(
#     training_image=image,                    # image_uri
#     source_code=SourceCode(
#         source_dir="../scripts/training", entry_script="train_xgboost.py"
#     ),
#     compute=Compute(instance_type="ml.m5.large", instance_count=1),
#     stopping_condition=StoppingCondition(max_runtime_in_seconds=600),
#     hyperparameters=hyperparameters,
#     role=role,
#     base_job_name="titanic-xgboost",
# )
# train = InputData(channel_name="train", data_source=channels["train"])
# trainer.train(input_data_config=[train])     # fit
# ```
#
# ### Exercise 1: a deeper tree, without waiting
#
# Start a job like ours with `max_depth` 6, and let `fit` return at once with
# `wait=False`. Ask for its status every few seconds with
# `session.describe_training_job` until it is no longer `InProgress`. Then
# show both jobs in one table. Which model fits the training rows better, and
# which the validation rows? What has the depth bought?

# %%
# Your turn

# %% jupyter={"source_hidden": true} tags=["solution"]
deeper = XGBoost(
    **settings,
    hyperparameters=hyperparameters | {"max_depth": 6},
)
deeper.fit(inputs, wait=False)
deeper_name = deeper.latest_training_job.name

while True:
    second = session.describe_training_job(deeper_name)
    if second["TrainingJobStatus"] != "InProgress":
        break
    print(second["SecondaryStatus"])
    time.sleep(3)

# More depth fits the rows it has seen more closely. Whether that helps with
# others, the validation rows tell, and the gap between the two says how much
# was learnt by heart.
assert second["TrainingJobStatus"] == "Completed"
both_jobs = jobs.table(description, second)
both_jobs["gap"] = both_jobs["validation:logloss"] - both_jobs["train:logloss"]
both_jobs.T

# %% [markdown]
# ### Exercise 2: a job that fails
#
# Misspell a hyperparameter on purpose, say `max_dept`, and call `fit` with
# `logs=False`. Catch the `UnexpectedStatusException` that it raises. Where
# does the description of the job say what was wrong? What does the failure
# cost?

# %%
# Your turn

# %% jupyter={"source_hidden": true} tags=["solution"]
from sagemaker.exceptions import UnexpectedStatusException

wrong = XGBoost(**settings, hyperparameters={"max_dept": 4})
try:
    wrong.fit(inputs, logs=False)
except UnexpectedStatusException as error:
    print(type(error).__name__)

failed = session.describe_training_job(wrong.latest_training_job.name)
assert failed["TrainingJobStatus"] == "Failed"
assert "did you mean --max_depth?" in failed["FailureReason"]
print(failed["FailureReason"])
print(costs.job_cost(failed))

# %% [markdown]
# A failed job is billed like any other. Trying the arguments by hand first,
# as in lesson 02, would have shown the same sentence for nothing.
#
# ## Key points
#
# - A job is your script on a rented machine; S3 is the only way in and out
# - Bound the cost before (`max_run`), compute it after (billable seconds)
# - The log shows the command line; the description shows the rest
# - Your wait, the job's time and the billed time are three numbers
# - Unpack archives with a filter; keep model and versions together
# - The same script, data and seed give the same model, here and there
#
# ## Clean up
#
# No machine is left running: a job gives its machine back when it ends,
# whatever its status. What stays and bills are the objects in S3. (The record
# of a job costs nothing, nor do a few kilobytes of log.)

# %%
bucket = session.boto_session.resource("s3").Bucket(session.default_bucket())
left = list(bucket.objects.filter(Prefix=f"{prefix}/"))
for thing in left:
    print(f"{thing.size:8} bytes  {thing.key.split('/', 1)[1]}")
per_month = costs.storage_per_month(sum(thing.size for thing in left))
print(f"${per_month:.6f} a month")

# %% [markdown]
# Next to nothing. But a team that trains ten models a day, each of a
# gigabyte, and never cleans up, has a bill one day. So we leave no trace. (To
# keep your model, do not run the next cell.)

# %%
for thing in left:
    thing.delete()
scratch.cleanup()
