# %% [markdown]
# # 04 · Three frameworks, four estimators, and a script of your own
#
# Who survives? We ask XGBoost, scikit-learn and PyTorch, in four training jobs
# that run at the same time. The estimators differ in a few arguments only, so if
# you know one, you know them all. Then you do it alone: other data, your own
# script, your own job.
#
# **Questions**
#
# - What do the estimator classes have in common, and what does each add?
# - What is an image, which versions are there, and how long does AWS patch them?
# - How do hyperparameters and further packages reach my script?
# - Which model is better, or is the difference chance?
# - How do I train on my own data?
#
# **Objectives**
#
# - Fill in `XGBoost`, `SKLearn`, `PyTorch` and the generic `Estimator`
# - Name an image in three ways, and find the end of its patches
# - Start several jobs and wait for them together
# - Compare models by the interval of their difference
# - Write a script for data of your own, run it as a job, and use its model
#
# **You need** lesson 03 for the terms used here: estimator, channel, artifact.
# Nothing has to be left over from it.
#
# **Time** teaching 35 min, exercises 30 min
#
# **Cost on AWS** about $0.03: eight short jobs on the smallest machine. A time
# limit of ten minutes bounds each at about $0.02.

# %% [markdown]
# ## Three scripts, one interface
#
# `train_xgboost.py` is the longer script of lesson 03. `train_sklearn.py` trains
# a scikit-learn *Pipeline*: it fills gaps, scales and encodes before the model.
# `train_torch.py` trains a small neural network. All three take the same channel
# and print metrics of the same names. Each has two functions to use its model:
# `model_fn` loads it, and `predict` returns probabilities.

# %%
import sys

sys.path[:0] = ["../scripts", "../scripts/training"]

import train_sklearn
import train_torch
import train_xgboost
import workshop
from workshop import costs, images, jobs

# %% [markdown]
# As in lesson 03, we need a session, a role and data in S3. The passengers are
# simulated: what we find says nothing about real people.

# %%
session = workshop.session()
role = workshop.execution_role(session)
channels = workshop.ensure_data(session)
print(workshop.home(session))

# %% [markdown]
# ## What the classes have in common
#
# There is a class for each framework, and a generic one. Python can print which
# arguments a class takes. All have those of `EstimatorBase`. What does each add?

# %%
import inspect

from sagemaker.estimator import Estimator, EstimatorBase
from sagemaker.pytorch import PyTorch
from sagemaker.sklearn import SKLearn
from sagemaker.xgboost import XGBoost

of_all = set(inspect.signature(EstimatorBase).parameters)
for one in (XGBoost, SKLearn, PyTorch, Estimator):
    added = set(inspect.signature(one).parameters) - of_all
    print(f"{one.__name__:9} adds {', '.join(sorted(added))}")

# %% [markdown]
# The class of a framework can find the address of an *image*, the container in
# which the script runs, by `framework_version` and `py_version`. `PyTorch` can
# also start processes on several machines (`distribution`, lesson 07). The
# generic `Estimator` knows no versions: it needs the address, `image_uri`.
#
# Three arguments say which code a job gets, in all four classes:
#
# | argument | what it does |
# |---|---|
# | `entry_point` | the script to start |
# | `source_dir` | its folder: all of it is packed, and unpacked on the machine |
# | `dependencies` | further files or folders, put beside the script |
#
# If there is a file `requirements.txt` at the top of `source_dir`, the container
# runs `pip install` on it before it starts your script.
#
# ## Three ways to name an image
#
# | way | who finds the address |
# |---|---|
# | `framework_version="…"` | the class, in the SDK's table |
# | `image_uris.retrieve(…)` | you, in the same table |
# | `image_uri="…"` | you, from any source |
#
# AWS *patches* an image for about a year: it closes security holes and publishes
# the image again under the same tag. After the *end of patch* the image still
# runs, but new holes stay open. Our own table has these dates.

# %%
import pandas as pd

known = pd.read_csv("../data/images.csv", dtype=str).fillna("")
known = known[known["processor"] != "gpu"].set_index(["framework", "version"])
known["left"] = pd.to_datetime(known["end_of_patch"]) - pd.Timestamp.today().floor("D")
known[["lessons", "python", "end_of_patch", "left"]]

# %% [markdown]
# A negative number means that the end has passed. The first two ways know only
# the SDK's table, and version 2 of the SDK gets no new images any more.

# %%
from sagemaker import image_uris

try:
    image_uris.retrieve("xgboost", session.boto_region_name, "3.2-0")
except ValueError as error:
    print(error)

# %% [markdown]
# So we take the third way. `images.uri` makes the address: the tag from our
# table, and the account of AWS in your region from the SDK. It takes the images
# marked `yes` above. This notebook has the same versions of the frameworks: a
# model is best opened by the library that wrote it.

# %%
region = session.boto_region_name
image = {name: images.uri(name, region) for name in ("xgboost", "sklearn", "pytorch")}
print(*image.values(), sep="\n")

# %% [markdown]
# Account, region, repository and tag: an image URI has no other parts. Do not
# copy one from an example, look it up. In another region the account differs.
#
# ## Four estimators
#
# First the complete call for scikit-learn. Compared with lesson 03, only
# `metric_definitions` is new. SageMaker finds metrics in the log by these
# patterns. For its XGBoost image it has its own; for all other images you give
# them.

# %%
from datetime import datetime

run = f"04-{datetime.now():%Y-%m-%d-%H-%M-%S}"
results = f"s3://{session.default_bucket()}/jobs/{run}"

logistic = SKLearn(
    entry_point="train_sklearn.py",
    source_dir="../scripts/training",
    hyperparameters={"model": "logistic", "C": 0.5, "balanced": False},
    metric_definitions=[
        {"Name": "validation:logloss", "Regex": r"validation:logloss=([0-9.]+);"},
    ],
    image_uri=image["sklearn"],
    instance_type="ml.m5.large",
    instance_count=1,
    max_run=600,
    role=role,
    sagemaker_session=session,
    output_path=results,
    code_location=results,
    base_job_name="titanic-sklearn",
    tags=workshop.tags("04"),
    disable_profiler=True,
    debugger_hook_config=False,
)

# %% [markdown]
# Most of it is the same for every job of this lesson, so we write it once.

# %%
common = {"instance_type": "ml.m5.large", "instance_count": 1, "max_run": 600}
common |= {"role": role, "sagemaker_session": session, "tags": workshop.tags("04")}
common |= {"source_dir": "../scripts/training", "output_path": results}
common |= {"code_location": results}
common |= {"disable_profiler": True, "debugger_hook_config": False}
measured = {"metric_definitions": logistic.metric_definitions}

# %% [markdown]
# Now XGBoost. This class wants the version as well as the address.

# %%
boosted = XGBoost(
    entry_point="train_xgboost.py",
    image_uri=image["xgboost"],
    framework_version="3.2-0",
    hyperparameters={"max_depth": 3, "eta": 0.1},
    **common,
)

# %% [markdown]
# And PyTorch, for 30 passes over the data (*epochs*).

# %%
network = PyTorch(
    entry_point="train_torch.py",
    image_uri=image["pytorch"],
    hyperparameters={"epochs": 30, "learning_rate": 0.003},
    **common | measured,
)

# %% [markdown]
# The generic `Estimator` gets the address of the scikit-learn image, and trains a
# random forest. The request is of the same kind: the class of a framework is a
# convenience. In your own work, the generic class is for an image that you built
# yourself.

# %%
forest = Estimator(
    entry_point="train_sklearn.py",
    image_uri=image["sklearn"],
    hyperparameters={"model": "forest", "max_depth": 6, "balanced": False},
    **common | measured | {"base_job_name": "titanic-generic"},
)

# %% [markdown]
# ## Start them together
#
# `fit(wait=False)` uploads the code, requests the job and returns. Each job gets
# a machine of its own on AWS, so four jobs take as long as the slowest. (If your quota of
# machines is lower, `fit` ends with `ResourceLimitExceeded`. Then run them one by
# one.) We know before what they can cost.

# %%
estimators = {"XGBoost": boosted, "SKLearn": logistic}
estimators |= {"PyTorch": network, "Estimator": forest}
bound = costs.upper_bound("ml.m5.large", 1, 600).usd
print("together at most", costs.dollars(4 * bound))
for estimator in estimators.values():
    estimator.fit({"train": channels["train"]}, wait=False)

# %% [markdown]
# They run now, and you could close this notebook. We wait. `jobs.wait_for` prints
# each new status, with the seconds since the job was requested. It returns when
# all jobs have ended, whatever their status; each has a time limit of ten minutes.

# %%
names = [estimator.latest_training_job.name for estimator in estimators.values()]
finished = jobs.wait_for(session, *names)
described = dict(zip(estimators, finished, strict=True))
assert all(job["TrainingJobStatus"] == "Completed" for job in finished)

# %% [markdown]
# One table shows all four.

# %%
table = jobs.table(*finished).set_index(pd.Index(estimators))
table[["status", "billable_s", "validation:logloss"]].round(3)

# %% [markdown]
# ## How hyperparameters reach the script
#
# You write Python values, and the script reads a command line. Between the two is
# the request to AWS, in which every value is text.

# %%
sent = described["SKLearn"]["HyperParameters"]
arrived = jobs.command(jobs.log(session, described["SKLearn"]["TrainingJobName"]))
print("sent:   ", {name: sent[name] for name in ("model", "C", "balanced")})
print("arrived:", " ".join(arrived))
print("bool:   ", bool("False"))

# %% [markdown]
# `False` became `false` in the request, and arrived as the text `False`. Python's
# `bool` takes every text that is not empty for true. So an argument with
# `type=bool` is true, whatever you send. Our scripts compare the text instead. And a name of
# one letter, `C`, arrives with one hyphen.

# %%
assert sent["balanced"] == "false"
assert arrived[arrived.index("--balanced") + 1] == "False"

# %% [markdown]
# ### Exercise 1: another model
#
# Let `SKLearn` train `boosting` with `max_iter` 50 instead of the logistic
# regression, which is the only model that takes `C`. Only hyperparameters may
# change. Before you start the job, write down: which of the two has the lower log
# loss on the validation rows? Compare with `jobs.table`.

# %%
# Your turn

# %% jupyter={"source_hidden": true} tags=["solution"]
boosting = SKLearn(
    entry_point="train_sklearn.py",
    image_uri=image["sklearn"],
    hyperparameters={"model": "boosting", "max_iter": 50},
    **common | measured | {"base_job_name": "titanic-boosting"},
)
boosting.fit({"train": channels["train"]}, wait=False)
(with_boosting,) = jobs.wait_for(session, boosting.latest_training_job.name)
assert with_boosting["TrainingJobStatus"] == "Completed"

# The validation rows are so few that the difference may be chance. A later section
# shows how to find out.
jobs.table(described["SKLearn"], with_boosting)["validation:logloss"]

# %% [markdown]
# ## The models come back
#
# A word of caution first. XGBoost's file is plain data, and PyTorch's is read with
# `weights_only=True`, so opening them runs no code. scikit-learn's is a *pickle*:
# to open a pickle can run any program that its maker put in it. Open those of your
# own jobs, and **never one that somebody sent you**.

# %%
from pathlib import Path
from tempfile import TemporaryDirectory

from sagemaker.s3 import S3Downloader

scratch = TemporaryDirectory()
work = Path(scratch.name)
for name, job in described.items():
    address = job["ModelArtifacts"]["S3ModelArtifacts"]
    S3Downloader.download(address, str(work / name), sagemaker_session=session)
    workshop.unpack_artifact(work / name / "model.tar.gz", work / name / "model")

# %% [markdown]
# We open the test list, which no training has seen, and use it once: all four
# models predict for the same passengers. For comparison, a *baseline* without
# features gives everybody the share of survivors in the training list.

# %%
import numpy as np

import metrics
import titanic

test_list = titanic.read("../data/titanic_test.csv")
truth = titanic.labels(test_list)
modules = {"SKLearn": train_sklearn, "Estimator": train_sklearn}
modules |= {"XGBoost": train_xgboost, "PyTorch": train_torch}
p = {}
for name, module in modules.items():
    p[name] = module.predict(module.model_fn(work / name / "model"), test_list)
share = titanic.labels(titanic.read("../data/titanic_train.csv")).mean()
p["baseline"] = np.full(len(truth), share)
scores = pd.DataFrame({n: metrics.evaluate(truth, values) for n, values in p.items()}).T
scores.round(2)

# %% [markdown]
# All four models have a lower loss than the baseline. Which of them is the best?

# %%
assert (scores["logloss"].drop("baseline") < scores.loc["baseline", "logloss"]).all()

# %% [markdown]
# ## Which differences are chance?
#
# The test list is a sample. Other passengers would give other numbers, and perhaps
# another winner. The *bootstrap* shows how much: draw as many passengers from the
# list, with replacement, and compute the difference of two models on them. Do that
# 10,000 times. The middle 95 % of these differences are an interval.
#
# Both models are compared on the same draw. We read six intervals at once, which
# gives chance six opportunities, so each interval gets a sixth of the 5 %
# (*Bonferroni*).

# %%
from itertools import combinations

pairs = list(combinations(modules, 2))
n, tail = len(truth), 0.05 / len(pairs) / 2
weights = np.random.default_rng(1).multinomial(n, np.full(n, 1 / n), size=10_000) / n
rows = {}
for one, other in pairs:
    of_truth = [np.where(truth == 1, p[name], 1 - p[name]) for name in (one, other)]
    loss = -np.log(np.clip(of_truth, 1e-15, 1))
    gap = loss[0] - loss[1]
    interval = np.quantile(weights @ gap, [tail, 1 - tail])
    rows[f"{one} - {other}"] = [gap.mean(), *interval]
noise = pd.DataFrame(rows, index=["difference", "low", "high"]).T

# %% [markdown]
# A picture shows which intervals contain 0: there, the two models may be equally
# good.

# %%
import matplotlib.pyplot as plt

reach = [noise["difference"] - noise["low"], noise["high"] - noise["difference"]]
figure, axes = plt.subplots(figsize=(6, 2.6))
axes.errorbar(noise["difference"], noise.index, xerr=reach, fmt="o", capsize=4)
axes.axvline(0, color="grey", linestyle=":")
axes.set(xlabel="difference in log loss on the test list (left: the first is better)")
plt.show()
print((noise["low"] * noise["high"] <= 0).sum(), "of the intervals contain 0")

# %% [markdown]
# A common mistake in comparing models is to declare the first row of a table the
# winner. If quality does not decide, other things may: a smaller file, a
# safer format, a model that one can explain, less code to maintain.
#
# To *choose* a model, use validation rows, and keep the test list for the one that
# you chose. One limit: XGBoost and PyTorch used their validation rows to stop
# early, so their validation results are a little too good.
#
# ## A GPU: what would change?
#
# Two arguments: `instance_type`, and the image for it, `images.uri("pytorch", …,
# gpu=True)`. The script must use the device as well; `train_torch.py` does so by
# itself.
#
# When is it cheaper? A GPU job pays for the download of image and data as well: on
# AWS about two minutes. Even an infinitely fast GPU has to pay these at its
# higher price. So how many minutes must the CPU train, before a GPU can be cheaper?

# %%
fixed = costs.startup_s()  # seconds of downloads, as recorded on AWS
ratio = costs.price("ml.g5.xlarge").usd / costs.price("ml.m5.large").usd
print(f"{ratio:.0f} times the price: at least {fixed * (ratio - 1) / 60:.0f} minutes")

# %% [markdown]
# Our network trains for seconds: no GPU can make it cheaper. Before you rent one,
# run a hundred steps on each machine, compare rows per second, and multiply by the
# prices.
#
# ### Exercise 2: a requirements.txt in the wrong folder
#
# A folder holds `hello.py`, which prints one line, and `settings/requirements.txt`
# with the line `scikit-learn==1.9.0`. You run it as a job. What happens?
#
# 1. pip installs what the file lists
# 2. The job fails before the script starts
# 3. The job completes, with a warning in the log
# 4. The job completes, and nothing mentions the file
#
# Choose an answer. Then run the job, and search its log. Does it change when the
# file lies beside `hello.py`?

# %%
# Your turn

# %% jupyter={"source_hidden": true} tags=["solution"]
logs = {}
for subfolder in ("settings", "."):
    folder = work / f"hello-{len(logs)}"
    (folder / subfolder).mkdir(parents=True)
    (folder / "hello.py").write_text("print('hello')\n")
    (folder / subfolder / "requirements.txt").write_text("scikit-learn==1.9.0\n")
    options = common | {"source_dir": str(folder), "base_job_name": "hello"}
    hello = SKLearn("hello.py", image_uri=image["sklearn"], **options)
    hello.fit(logs=False)
    logs[subfolder] = jobs.log(session, hello.latest_training_job.name)

# Answer 4: a script that needs the package would fail at its import. At the top,
# pip reads the file.
assert all("hello" in lines for lines in logs.values())
assert not any("scikit-learn==1.9.0" in line for line in logs["settings"])
assert any("scikit-learn==1.9.0" in line for line in logs["."])

# %% [markdown]
# ## Your own data, your own script
#
# Now without any file of this workshop. A pump has three sensors, and we want to
# predict its vibration. The data are made here; imagine a file of your own. The
# last 500 readings are held out: they are our test.

# %%
rng = np.random.default_rng(4)
limits = {"temperature": (10, 90), "pressure": (1, 9), "speed": (500, 3000)}
pump = pd.DataFrame({name: rng.uniform(*ends, 2500) for name, ends in limits.items()})
pump["vibration"] = pump["speed"] / 1000 + ((pump["temperature"] - 40) / 30) ** 2
pump["vibration"] += rng.normal(0, 0.3, len(pump))
known_readings, new_readings = pump.iloc[:2000], pump.iloc[2000:]

# %% [markdown]
# ### Exercise 3: from a table to a model, alone
#
# This is the longer exercise: plan 20 minutes.
#
# 1. Write `train_pump.py` with `%%writefile`, into a folder that holds nothing
#    else. It has one hyperparameter, reads the CSV files of the channel, trains
#    any scikit-learn regression, prints an error as a metric, and saves the model
#    in `SM_MODEL_DIR`. Lesson 02 shows how.
# 2. Upload `known_readings` as a CSV file to S3.
# 3. Run the script as a job, with an estimator of your choice.
# 4. Download the model, and predict the vibration of `new_readings`. How large is
#    the error, compared with the mean of `known_readings` as the only prediction?
#
# First run your script in a terminal, or with `%run`: that is free.

# %%
# Your turn

# %% jupyter={"source_hidden": true} tags=["solution"]
pump_folder = work / "pump"
pump_folder.mkdir()

# %% [markdown]
# The script of one solution:

# %% jupyter={"source_hidden": true} tags=["solution"]
# %%writefile {pump_folder}/train_pump.py
"""Learn the vibration of a pump from its sensors."""

import argparse
import os
from pathlib import Path

import joblib
import pandas as pd
from sklearn.ensemble import HistGradientBoostingRegressor

parser = argparse.ArgumentParser()
parser.add_argument("--max_iter", type=int, default=100)
parser.add_argument("--train", default=os.environ.get("SM_CHANNEL_TRAIN"))
parser.add_argument("--model_dir", default=os.environ.get("SM_MODEL_DIR"))
args = parser.parse_args()

files = sorted(Path(args.train).glob("*.csv"))
readings = pd.concat([pd.read_csv(file) for file in files], ignore_index=True)
inputs, target = readings.drop(columns="vibration"), readings["vibration"]
model = HistGradientBoostingRegressor(max_iter=args.max_iter, random_state=1)
model.fit(inputs, target)
print(f"train:mae={(model.predict(inputs) - target).abs().mean():.4f};")
joblib.dump(model, Path(args.model_dir, "model.joblib"))

# %% [markdown]
# It runs here first, and then the data go to S3:

# %% jupyter={"source_hidden": true} tags=["solution"]
import boto3

channel = work / "pump_data"
channel.mkdir()
known_readings.to_csv(channel / "readings.csv", index=False)
options = f"--train {channel} --model_dir {work}"
# %run {pump_folder}/train_pump.py {options}

bucket = session.default_bucket()
s3 = boto3.client("s3")
key = f"jobs/{run}/pump/readings.csv"
s3.upload_file(str(channel / "readings.csv"), bucket, key)

# %% [markdown]
# The job:

# %% jupyter={"source_hidden": true} tags=["solution"]
pump_job = SKLearn(
    entry_point="train_pump.py",
    source_dir=str(pump_folder),
    image_uri=image["sklearn"],
    hyperparameters={"max_iter": 100},
    metric_definitions=[{"Name": "train:mae", "Regex": r"train:mae=([0-9.]+);"}],
    instance_type="ml.m5.large",
    instance_count=1,
    max_run=600,
    role=role,
    sagemaker_session=session,
    output_path=results,
    code_location=results,
    base_job_name="pump",
    tags=logistic.tags,
)
pump_job.fit({"train": f"s3://{bucket}/jobs/{run}/pump/"}, logs=False)

# %% [markdown]
# And its model, which predicts for readings that it has never seen:

# %% jupyter={"source_hidden": true} tags=["solution"]
import tarfile

import joblib

key = pump_job.model_data.removeprefix(f"s3://{bucket}/")
s3.download_file(bucket, key, str(work / "pump.tar.gz"))
with tarfile.open(work / "pump.tar.gz") as archive:
    (member,) = [one for one in archive if one.name.endswith("model.joblib")]
    pump_model = joblib.load(archive.extractfile(member))
predicted = pump_model.predict(new_readings.drop(columns="vibration"))
error = (predicted - new_readings["vibration"]).abs().mean()
constant = (known_readings["vibration"].mean() - new_readings["vibration"]).abs().mean()
print(f"mean absolute error {error:.2f}; with the mean as prediction {constant:.2f}")
assert error < constant / 2
assert [file.name for file in pump_folder.iterdir()] == ["train_pump.py"]

# %% [markdown]
# ## Key points
#
# - One description of a job for all frameworks; each class takes an image's address
# - An image has an end of patch: look it up before you choose
# - `fit(wait=False)`, then wait: four jobs take as long as the slowest
# - Hyperparameters arrive as text; the script must read `False` as false
# - `requirements.txt` works at the top of `source_dir`, nowhere else
# - A difference without an interval says little
# - A script, a CSV file in S3 and an estimator: more is not needed
#
# ## Clean up
#
# No machine is left running. The objects of our jobs in S3 bill by their size.
# They are under one prefix, and we delete them now. (To keep a model, do not run
# the next cell.)

# %%
storage = session.boto_session.resource("s3").Bucket(session.default_bucket())
for item in storage.objects.filter(Prefix=f"jobs/{run}/"):
    item.delete()
scratch.cleanup()
