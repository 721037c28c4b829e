# %% [markdown]
# # 04 · One question, three frameworks, four estimators
#
# Who survives? We ask XGBoost, scikit-learn and PyTorch, and we ask them on
# the same passengers, in four training jobs that run side by side. The order
# form stays nearly the same each time, which is the point: once you know one
# estimator, you know them all. At the end stands one table, and the question
# whether any of its differences mean something.
#
# **Questions**
#
# - What do the estimator classes have in common, and what does each add?
# - What is an image, which versions are there, and how long does AWS patch them?
# - How do hyperparameters and further packages reach my script?
# - How do I run several jobs at once?
# - Which model is better, or is that noise? When does a GPU pay?
#
# **Objectives**
#
# - Fill in `XGBoost`, `SKLearn`, `PyTorch` and the generic `Estimator`
# - Name an image in three ways, and see when it ends
# - Start jobs without waiting, and await them together
# - Compare models in quality, time, cost, size and effort, with intervals
# - Compute from which training time on a GPU pays
#
# **You need** lesson 03 for the words used here: estimator, channel,
# artifact. Nothing has to be left over from it.
#
# **Time** teaching 35 min, exercises 25 min
#
# **Cost on AWS** about $0.04: nine short jobs on the smallest machine. A time
# limit of ten minutes bounds each; in the worst case it costs $0.02 a job.

# %% [markdown]
# ## Three scripts, one shape
#
# `train_xgboost.py` you know. `train_sklearn.py` trains a scikit-learn
# *Pipeline*, which fills gaps, scales and encodes before its model, and
# `train_torch.py` a small neural network. All three take their data from
# `titanic`, print metrics of the same names, and offer two functions to load
# and to ask their model: `model_fn` and `predict`.

# %%
import sys

sys.path[:0] = ["../scripts", "../scripts/training"]

import metrics
import titanic
import train_sklearn
import train_torch
import train_xgboost
import workshop
from workshop import code_size, costs, images, jobs

# %% [markdown]
# As always: a session with our bucket, a role for the jobs, and the passenger
# lists in S3.

# %%
session = workshop.session()
role = workshop.execution_role(session)
channels = workshop.ensure_data(session)
print(workshop.home(session))

# %% [markdown]
# How much of a script is its own? We look at the modules that each imports,
# and count lines of code, without comments and docstrings.

# %%
scripts = {"XGBoost": train_xgboost, "SKLearn": train_sklearn, "PyTorch": train_torch}
modules = {name: code_size.modules(one.__file__) for name, one in scripts.items()}
shared = set.intersection(*modules.values())
print("in all three:", ", ".join(sorted(file.name for file in shared)))

# %% [markdown]
# And these are the lines that only one of them has, or that it does not share
# with all.

# %%
rest = {name: files - shared for name, files in modules.items()}
own_lines = {name: sum(map(code_size.lines, files)) for name, files in rest.items()}
own_lines

# %% [markdown]
# What all share stands once. XGBoost and scikit-learn bring their training
# loop with them. In PyTorch you write it: batches, epochs, early stopping,
# checkpoints. That is the effort, and the freedom.

# %%
assert own_lines["PyTorch"] == max(own_lines.values())

# %% [markdown]
# ## What the classes have in common
#
# There is a class for each framework, and a generic one.

# %%
import inspect

from sagemaker.estimator import Estimator, EstimatorBase
from sagemaker.pytorch import PyTorch
from sagemaker.sklearn import SKLearn
from sagemaker.xgboost import XGBoost

# %% [markdown]
# Python can tell us which arguments a class takes. Those of `EstimatorBase`
# all have; what does each add?

# %%
all_have = set(inspect.signature(EstimatorBase).parameters)
print(f"all of them: {len(all_have)} arguments")
for one in (XGBoost, SKLearn, PyTorch, Estimator):
    further = set(inspect.signature(one).parameters) - all_have
    print(f"{one.__name__:9} adds {', '.join(sorted(further))}")

# %% [markdown]
# The same long list for all, and a handful on top. A framework's class can turn
# `framework_version` and `py_version` into the address of an *image*, the
# container that the script runs in. `PyTorch` can also start itself on several
# machines (`distribution`, lesson 07). The generic `Estimator` has nothing to
# choose a version by: it wants `image_uri`, the address itself.
#
# Four arguments say what comes along with your script. They mean the same in
# all four classes:
#
# | argument | what it does |
# |---|---|
# | `entry_point` | the script to start |
# | `source_dir` | its folder: packed with everything in it, unpacked on the machine |
# | `dependencies` | further files or folders, put beside the script |
# | `image_uri` | this image instead of the one that the version stands for |
#
# And one *file* matters. If there is a `requirements.txt` at the top of
# `source_dir`, the container runs `pip install` on it before your script.
# Anywhere else it is a file like any other; exercise 4 shows it.
#
# ## Three ways to name an image
#
# | way | who looks the address up |
# |---|---|
# | `framework_version="…"` | the class, in the SDK's table |
# | `image_uris.retrieve(…)` | you, in the same table |
# | `image_uri="…"` | you, wherever you like |
#
# The first two know what the SDK's table knows. These are its newest images.

# %%
import pandas as pd
from sagemaker import image_uris

newest = {}
for framework in ("xgboost", "sklearn", "pytorch"):
    entry = image_uris.config_for_framework(framework)["training"]["versions"]
    newest[framework] = list(entry)[-1]
newest

# %% [markdown]
# And this is our own table. AWS *patches* an image for about a year: it closes
# security holes in it and publishes it again under the same tag. After its end
# of patch an image still runs, but its holes stay open.

# %%
known = pd.read_csv("../data/images.csv", dtype=str).fillna("")
known = known[known["processor"] != "gpu"].set_index(["framework", "version"])
left = pd.to_datetime(known["end_of_patch"]) - pd.Timestamp.today().normalize()
known["days left"] = left.dt.days
known[["lessons", "python", "end_of_patch", "days left"]]

# %% [markdown]
# A negative number of days: ended. Look the SDK's newest images up in this
# table. Version 2 of the SDK is in maintenance, so its table has stopped, and
# AWS's newer images are not in it. Version 3 has them.

# %%
try:
    image_uris.retrieve("xgboost", session.boto_region_name, "3.2-0")
except ValueError as error:
    print(error)

# %% [markdown]
# An upgrade would bring version 3, which knows this image and has no Estimators.
# So we take the third way. `images.uri` puts the address together: the tag from
# our table, and AWS's account in your region from the SDK.

# %%
machine = "ml.m5.large"
region = session.boto_region_name
image = {name: images.uri(name, region) for name in ("xgboost", "sklearn", "pytorch")}
print(*image.values(), sep="\n")

# %% [markdown]
# Account, region, repository and tag: that is all an image URI is. Do not write
# one down, look it up; in another region it is another account. The tag begins
# with a version. (For XGBoost there is also a "latest", an image of long ago.)
#
# `images.uri` took the images marked `yes` above. They hold the frameworks in
# the versions of this notebook: a model is best opened by what wrote it.

# %%
from importlib.metadata import version

here = {"xgboost": "xgboost", "sklearn": "scikit-learn", "pytorch": "torch"}
for name, package in here.items():
    tag = image[name].rpartition(":")[2]
    print(f"{tag:28} here {package} {version(package)}")
    assert version(package).split(".")[:2] == tag.partition("-")[0].split(".")

# %% [markdown]
# ## Four order forms
#
# What is the same for all four jobs stands once. Every argument of it is in
# lesson 03.

# %%
from datetime import datetime

run = f"04-{datetime.now():%Y-%m-%d-%H-%M-%S}"
results = f"s3://{session.default_bucket()}/jobs/{run}"
common = {
    "source_dir": "../scripts/training",
    "instance_type": machine,
    "instance_count": 1,
    "max_run": 600,
    "role": role,
    "sagemaker_session": session,
    "output_path": results,
    "code_location": results,
    "tags": workshop.tags("04"),
    "disable_profiler": True,
    "debugger_hook_config": False,
}

# %% [markdown]
# One thing is new. SageMaker takes metrics from what a script prints, by
# patterns. For its XGBoost image it brings them along; for all others the
# estimator says them, as `metric_definitions`. Pattern and print stand side by
# side in our module `metrics`, because whoever changes one must change both.

# %%
measured = common | {"metric_definitions": metrics.METRIC_DEFINITIONS}
measured["metric_definitions"][-1]

# %% [markdown]
# Now what differs. For scikit-learn we ask for the plainest model of all, a
# logistic regression, because a comparison without a plain one tells little.
# For PyTorch we allow 30 epochs.

# %%
hyperparameters = {
    "XGBoost": {"max_depth": 3, "eta": 0.1},
    "SKLearn": {"model": "logistic", "C": 0.5, "balanced": False},
    "PyTorch": {"epochs": 30, "learning_rate": 0.003},
    "Estimator": {"model": "forest", "max_depth": 6, "balanced": False},
}

# %% [markdown]
# A class for each framework. Note how little there is to say. (Only `XGBoost`
# wants the version as well as the address.)

# %%
estimators = {}
estimators["XGBoost"] = XGBoost(
    entry_point="train_xgboost.py",
    image_uri=image["xgboost"],
    framework_version="3.2-0",
    hyperparameters=dict(hyperparameters["XGBoost"]),
    **common | {"base_job_name": "titanic-xgboost"},
)

# %% [markdown]
# For scikit-learn the same, and its metrics.

# %%
estimators["SKLearn"] = SKLearn(
    entry_point="train_sklearn.py",
    image_uri=image["sklearn"],
    hyperparameters=dict(hyperparameters["SKLearn"]),
    **measured | {"base_job_name": "titanic-sklearn"},
)

# %% [markdown]
# And for PyTorch.

# %%
estimators["PyTorch"] = PyTorch(
    entry_point="train_torch.py",
    image_uri=image["pytorch"],
    hyperparameters=dict(hyperparameters["PyTorch"]),
    **measured | {"base_job_name": "titanic-pytorch"},
)

# %% [markdown]
# The fourth job goes through the generic `Estimator`: we give it the address of
# the scikit-learn image, and let it train a random forest. In your own work
# this is the class for an image that you built yourself.

# %%
estimators["Estimator"] = Estimator(
    image_uri=image["sklearn"],
    entry_point="train_sklearn.py",
    hyperparameters=dict(hyperparameters["Estimator"]),
    **measured | {"base_job_name": "titanic-generic"},
)

# %% [markdown]
# Four jobs can cost four times the bound of one. We know it before we start.

# %%
bound = costs.upper_bound(machine, 1, common["max_run"])
print(f"at most ${len(estimators) * bound.usd:.2f} for the four")

# %% [markdown]
# ## Start them together
#
# `fit(wait=False)` uploads the code, asks for the job and returns. Each job
# gets a machine of its own, so four take as long as the slowest. (Accounts
# have a limit of machines per type. If yours is lower, `fit` ends with
# `ResourceLimitExceeded`; then run them one by one, with `wait=True`. And if
# your calls stay on this machine, the jobs share it: who finds no room waits.)

# %%
for estimator in estimators.values():
    estimator.fit({"train": channels["train"]}, wait=False)
names = [estimator.latest_training_job.name for estimator in estimators.values()]
names

# %% [markdown]
# They run, and this notebook could do something else, or be closed. We wait.
# `jobs.wait_for` asks every two seconds how each job is, and prints a line
# when that has changed: the name, the seconds since the job was asked for,
# and its new status. It comes back when all have ended, well or not.

# %%
finished = jobs.wait_for(session, *names)
described = dict(zip(estimators, finished, strict=True))
assert all(job["TrainingJobStatus"] == "Completed" for job in finished)

# %% [markdown]
# All four `Completed`. The seconds of a job in that list begin when it was
# asked for, so they contain its wait for a machine, and that is not billed.
#
# ## How hyperparameters travel
#
# You write Python values, the script reads words of a command line. Between
# the two lies the request to AWS, in which every value is text. The log of
# each job shows the command, so we can follow each value on its way.

# %%
stages = ["in Python", "in the request", "command line"]


def travelled(name):
    """Return a row for each hyperparameter of a job: what it was on its way."""
    job = described[name]
    words = jobs.command(jobs.log(session, job["TrainingJobName"]))
    arrived = dict(zip(words[::2], words[1::2], strict=True))
    for key, value in hyperparameters[name].items():
        option = f"--{key}" if len(key) > 1 else f"-{key}"
        sent = job["HyperParameters"][key]
        yield name, key, repr(value), sent, f"{option} {arrived[option]}"


rows = [row for name in described for row in travelled(name)]
travel = pd.DataFrame(rows, columns=["job", "name", *stages]).set_index(["job", "name"])
travel

# %% [markdown]
# Read a row from left to right. `False` becomes `false`, because the SDK sends
# JSON, and then the *word* `False`, because a command line knows only words.
# What the word means is up to the script; exercise 3 is about that. And a name
# of one letter, `C`, arrives with one hyphen.

# %%
assert travel.loc[("SKLearn", "balanced"), "in the request"] == "false"
assert travel.loc[("SKLearn", "balanced"), "command line"] == "--balanced False"

# %% [markdown]
# ## Is the generic Estimator different?
#
# We compare what the two scikit-learn jobs asked AWS for.

# %%
two = {name: described[name] for name in ("SKLearn", "Estimator")}
ran_in = {job["AlgorithmSpecification"]["TrainingImage"] for job in two.values()}
assert ran_in == {image["sklearn"]}
requests = pd.DataFrame({name: job["HyperParameters"] for name, job in two.items()})
requests.fillna("").apply(lambda values: values.str.slice(0, 32))

# %% [markdown]
# The same image, and the same entries that begin with `sagemaker_`, by which
# the SDK tells the container where your code lies and what to start. The
# class of a framework is a convenience: it can look the image up, and it
# refuses what its images cannot do.
#
# (In version 3 of the SDK there is no class per framework any more. Its
# `ModelTrainer` takes `training_image`, as the generic `Estimator` does.)
#
# ## The models come back
#
# We fetch and unpack the four artifacts. Each script opens its own.
#
# One word of caution. XGBoost's file is plain data, and PyTorch's is read with
# `weights_only=True`, so opening them runs nothing. scikit-learn's is a
# *pickle*, and opening a pickle can run any program that its maker put in it.
# So open those of your own jobs, from your own bucket, and **never one that
# somebody sent you**.

# %%
from pathlib import Path
from tempfile import TemporaryDirectory

from sagemaker.s3 import S3Downloader

scratch = TemporaryDirectory()
work = Path(scratch.name)


def fetch(job, name):
    """Download and unpack a job's model into the folder `name`; returns the archive."""
    address = job["ModelArtifacts"]["S3ModelArtifacts"]
    assert address.startswith(f"s3://{session.default_bucket()}/")
    S3Downloader.download(address, str(work / name), sagemaker_session=session)
    workshop.unpack_artifact(work / name / "model.tar.gz", work / name / "model")
    return work / name / "model.tar.gz"


sizes = {name: fetch(job, name).stat().st_size for name, job in described.items()}
sizes

# %% [markdown]
# `model_fn` loads, `predict` takes passengers and gives the chance of survival
# of each. We ask all four about the test list, which none of them has seen.

# %%
test_list = titanic.read("../data/titanic_test.csv")
truth = titanic.labels(test_list)
scripts["Estimator"] = train_sklearn
chances = {}
for name, script in scripts.items():
    model = script.model_fn(work / name / "model")
    chances[name] = script.predict(model, test_list)
pd.DataFrame(chances).head().round(3)

# %% [markdown]
# Four opinions about the same five people. They agree in the large and differ
# in the small.
#
# ## One table
#
# Everything in it is computed from the jobs: quality on the test list, the
# seconds from the job's own clock, the cost from the billable ones.

# %%
told = {"XGBoost": "boosted trees", "SKLearn": "logistic regression"}
told |= {"PyTorch": "neural network", "Estimator": "random forest"}
scores = {name: metrics.evaluate(truth, p) for name, p in chances.items()}

table = pd.DataFrame(scores).T
ran = jobs.table(*finished).set_index(pd.Index(estimators))
clocks = ["training_s", "billable_s", "usd"]
table[clocks] = ran[clocks]
table["artifact_kb"] = pd.Series(sizes) / 1024
table["own_lines"] = pd.Series(own_lines | {"Estimator": own_lines["SKLearn"]})
table.insert(0, "model", pd.Series(told))
table.round({"accuracy": 3, "logloss": 3, "auc": 3, "usd": 6, "artifact_kb": 0})

# %% [markdown]
# Read it by column. Seconds and dollars are of this one run; on AWS they would
# be nearly equal, since on so few passengers a job is mostly downloading. The
# forest has the largest artifact: it keeps every tree as grown. And the lines
# are what somebody has to maintain.
#
# All four know something, that is, have a lower loss than a rule that gives
# everybody the average chance.

# %%
dull = metrics.evaluate(truth, [truth.mean()] * len(truth))
assert (table["logloss"] < dull["logloss"]).all()
assert table["artifact_kb"].idxmax() == "Estimator"

gap = (table["accuracy"].max() - table["accuracy"].min()) * len(truth)
print("Between the most and the least often right model")
print(f"lie {gap:.0f} of {len(truth)} passengers.")

# %% [markdown]
# ## ROC curves
#
# Accuracy cuts at a chance of one half. A ROC curve tries every cut: how many
# survivors does the model find (upwards), and how many victims does it take
# for survivors (to the right)? The further to the upper left, the better. The
# area under it is the AUC of the table.

# %%
import matplotlib.pyplot as plt
from sklearn.metrics import roc_curve

figure, axes = plt.subplots(figsize=(4.8, 4.4))
for name, p in chances.items():
    wrong, found, _ = roc_curve(truth, p)
    axes.plot(wrong, found, label=f"{told[name]} ({scores[name]['auc']:.3f})")
axes.plot([0, 1], [0, 1], color="grey", linestyle=":", label="a coin (0.5)")
axes.set(xlabel="victims taken for survivors", ylabel="survivors found")
axes.set(title="ROC curves on the test list")
axes.legend(title="model (AUC)", loc="lower right")
plt.show()

# %% [markdown]
# Where two curves cross, neither model is better at every cut. Where they run
# together, it does not matter which you take.
#
# ## Which differences are noise?
#
# The test list is a sample. With other passengers the numbers would be others,
# and perhaps another model would lead. How much others? The *bootstrap* asks
# the sample itself: draw as many passengers from the list, with replacement,
# compute the difference of two models on them, and do that 10,000 times. The
# middle 95 % of the differences are an interval.
#
# Two details make it honest. Both models are compared on the same draw, since
# they judge the same people. And we look at six pairs at once, which gives
# chance six tries: each interval gets a sixth of the 5 %.

# %%
from itertools import combinations

import numpy as np

p = pd.DataFrame(chances).astype(float).clip(1e-15, 1 - 1e-15)
given = (1 - truth[:, None] - p).abs()  # the chance given to what happened
per_passenger = {
    "accuracy": ((p >= 0.5) == (truth[:, None] == 1)).astype(float),
    "log loss": -np.log(given),
}
assert np.allclose(per_passenger["accuracy"].mean(), table["accuracy"])
assert np.allclose(per_passenger["log loss"].mean(), table["logloss"])

# %% [markdown]
# A draw is nothing but how often it takes each passenger, so 10,000 draws are
# one matrix, and all differences of a pair one product.

# %%
n = len(truth)
weights = np.random.default_rng(1).multinomial(n, np.full(n, 1 / n), size=10_000) / n
pairs = list(combinations(chances, 2))
tail = 0.05 / len(pairs) / 2
rows = []
for measure, values in per_passenger.items():
    for one, other in pairs:
        difference = (values[one] - values[other]).to_numpy()
        low, high = np.quantile(weights @ difference, [tail, 1 - tail])
        pair = f"{told[one]} - {told[other]}"
        rows.append([measure, pair, difference.mean(), low, high])
noise = pd.DataFrame(rows, columns=["measure", "pair", "difference", "low", "high"])
noise["clear"] = (noise["low"] > 0) | (noise["high"] < 0)
noise.round(3)

# %% [markdown]
# An interval that contains 0 says: the two may well be equally good, and which
# of them leads in the table is noise. A picture shows it at once.

# %%
figure, panels = plt.subplots(1, 2, figsize=(9, 2.6), sharey=True, layout="constrained")
for axes, (measure, part) in zip(panels, noise.groupby("measure"), strict=True):
    reach = [part["difference"] - part["low"], part["high"] - part["difference"]]
    axes.errorbar(part["difference"], part["pair"], xerr=reach, fmt="o", capsize=4)
    axes.axvline(0, color="grey", linestyle=":")
    axes.locator_params(axis="x", nbins=5)
    axes.set(xlabel=f"difference in {measure}", ylim=(-0.6, len(pairs) - 0.4))
plt.show()

# %% [markdown]
# And in a sentence, computed from the intervals:

# %%
for measure, part in noise.groupby("measure"):
    clear = part[part["clear"]]
    open_questions = len(part) - len(clear)
    print(f"{open_questions} of {len(part)} differences in {measure} may be noise")
    print("  clear:", ", ".join(clear["pair"]) or "none")
widest = (noise["high"] - noise["low"])[noise["measure"] == "accuracy"].max()
print(f"An interval for accuracy is up to {widest:.2f} wide.")

# %% [markdown]
# That is the most common error in model comparisons: to crown the first of a
# table like ours. With a list of this size, a lead of some points in accuracy
# cannot be told from luck. (Where log loss finds what accuracy does not: it
# looks at the chances, not only at yes and no.) When quality does not decide,
# the other columns may: fewer lines, a smaller file, a safe format, a model
# that one can explain.
#
# And if you do choose by quality, choose by the *validation* metrics of the
# jobs, and leave the test list for the one that you chose. The best of several
# test results is always a little too good.

# %%
assert widest > 0.02
validation = [f"validation:{measure}" for measure in ("accuracy", "logloss", "auc")]
ran[validation].round(3)

# %% [markdown]
# ## A GPU: what would change?
#
# In the estimator, two words: `instance_type`, and the image for it.

# %%
for kind in (machine, "ml.g5.xlarge"):
    address = images.uri("pytorch", region, gpu=kind.startswith("ml.g"))
    print(f"{kind:13} {address.rpartition('/')[2]}")

# %% [markdown]
# The image with CUDA is the larger one and takes longer to arrive. The script
# must use the device, too: `train_torch.py` does, with its `--device auto`.
# XGBoost has one image for both and wants to be told `device="cuda"`. And
# scikit-learn has none:

# %%
try:
    images.uri("sklearn", region, gpu=True)
except images.ImageError as error:
    print(error)

# %% [markdown]
# A CPU job on a GPU machine would run, and use nothing of what makes it dear.
#
# ## When does it pay?
#
# How many times the price is it? Our price list has two types with a GPU.

# %%
gpus = ["ml.g4dn.xlarge", "ml.g5.xlarge"]
price = {kind: costs.price(kind).usd for kind in [machine, "ml.m5.4xlarge", *gpus]}
ratio = pd.DataFrame(
    {cpu: {gpu: price[gpu] / price[cpu] for gpu in gpus} for cpu in list(price)[:2]}
)
print(costs.price(gpus[0]), costs.price(gpus[1]), sep="\n")
ratio.round(2)

# %% [markdown]
# So many times as fast a GPU must be, at least, for the *same* money. Against
# the smallest machine that is a lot; against a large one it is little. (The
# prices are of that region and those dates.)
#
# It has to be more than that, for what a job does besides training does not
# get any faster. Let `fixed` be the billed seconds of downloading data and
# image. A training of `t` seconds on the CPU, on a GPU that is `speedup` times
# as fast and `r` times as dear, costs the same when
#
# `fixed + t = r * (fixed + t / speedup)`
#
# Solved for `t`, that is the shortest training for which the GPU is cheaper.

# %%
recorded_fixed = 40 + 72  # seconds, of the job recorded on AWS in lesson 03


def break_even(r, speedup, fixed=recorded_fixed):
    """Seconds of training on the CPU from which on the GPU job is cheaper."""
    return np.where(speedup > r, fixed * (r - 1) / (1 - r / speedup), np.inf)


r = ratio.loc["ml.g5.xlarge", machine]
t = break_even(r, 50.0)
assert np.isclose(recorded_fixed + t, r * (recorded_fixed + t / 50))
print(f"50 times as fast: cheaper from {t / 60:.0f} minutes of CPU training on")
print(f"however fast: not below {break_even(r, np.inf) / 60:.0f} minutes")

# %% [markdown]
# The same for every speed of the GPU:

# %%
speedup = np.geomspace(2, 200, 400)
figure, axes = plt.subplots(figsize=(6, 3.2))
for gpu in gpus:
    axes.plot(speedup, break_even(ratio.loc[gpu, machine], speedup) / 60, label=gpu)
axes.set(xscale="log", yscale="log", ylabel=f"training on {machine}")
axes.set(ylim=(5, 24 * 60), yticks=[10, 60, 360, 1440])
axes.set(yticklabels=["10 min", "1 h", "6 h", "1 day"])
axes.set(xlabel="times as fast", title="Above its line, the GPU costs less")
axes.set(xticks=[2, 5, 10, 20, 50, 100, 200], xticklabels=[2, 5, 10, 20, 50, 100, 200])
axes.legend()
plt.show()

# %% [markdown]
# And our network?

# %%
timeline = jobs.timeline(described["PyTorch"])
trained = timeline.groupby("status")["seconds"].sum()["Training"]
print(f"our network was in the status Training for {trained:.1f} s")
assert trained < break_even(r, np.inf)

# %% [markdown]
# Far below either line, and no GPU can change that. It pays for hours of
# training, of networks so large that a step keeps the device busy. A step of
# ours is tiny:

# %%
network = train_torch.model_fn(work / "PyTorch" / "model")
weights_in_it = sum(one.numel() for one in network.parameters())
flop = 6 * weights_in_it * 64  # forward 2, backward 4 for each weight and row
print(f"{weights_in_it:,} weights")
print(f"{flop / 1e6:.0f} million operations for a batch of 64 rows")

# %% [markdown]
# A GPU does trillions of operations a second. It would spend its time waiting
# for the next order. So before you rent one: let a hundred steps run on each,
# compare the rows a second in the log, and put that number into the formula.
# Money is not all, of course. If you wait for the result, an hour less may be
# worth more than the price.
#
# ### Exercise 1: another model by one word
#
# Let the `SKLearn` estimator train `boosting` instead of the logistic
# regression. Nothing but hyperparameters may change. Evaluate the model on the
# test list, and compare it with XGBoost, which boosts trees too. (`C` belongs
# to the logistic regression. What becomes of a job that keeps it?)

# %%
# Your turn

# %% jupyter={"source_hidden": true} tags=["solution"]
boosting = SKLearn(
    entry_point="train_sklearn.py",
    image_uri=image["sklearn"],
    hyperparameters={"model": "boosting", "max_iter": 50},
    **measured | {"base_job_name": "titanic-boosting"},
)
boosting.fit({"train": channels["train"]}, wait=False)
boosting_name = boosting.latest_training_job.name
(boosted,) = jobs.wait_for(session, boosting_name)

fetch(boosted, "boosting")
model = train_sklearn.model_fn(work / "boosting" / "model")
scores["boosting"] = metrics.evaluate(truth, train_sklearn.predict(model, test_list))
assert scores["boosting"]["logloss"] < dull["logloss"]

# With C the script would refuse: "belongs to --model logistic". A setting that
# is passed over in silence is a setting that you believe in wrongly.
pd.DataFrame({name: scores[name] for name in ("XGBoost", "boosting")}).round(3)

# %% [markdown]
# ### Exercise 2: a misspelt hyperparameter
#
# Give the `PyTorch` estimator `epoch` instead of `epochs`. When do you learn
# of it: when the estimator is made, at `fit`, or later? Await the job with
# `jobs.wait_for`, and find the sentence in its log (`jobs.log`). What did it
# cost?

# %%
# Your turn

# %% jupyter={"source_hidden": true} tags=["solution"]
misspelt = PyTorch(
    entry_point="train_torch.py",
    image_uri=image["pytorch"],
    hyperparameters={"epoch": 3},
    **measured | {"base_job_name": "titanic-misspelt"},
)
misspelt.fit({"train": channels["train"]}, wait=False)
misspelt_name = misspelt.latest_training_job.name
(failed,) = jobs.wait_for(session, misspelt_name)

# Neither the class nor AWS knows the arguments of your script. Only the script
# itself can refuse, and it does so on the machine that you rented.
assert failed["TrainingJobStatus"] == "Failed"
sentences = [line for line in jobs.log(session, misspelt_name) if "--epoch;" in line]
assert "did you mean --epochs?" in sentences[0]
print(sentences[0])
print(costs.job_cost(failed))

# %% [markdown]
# ### Exercise 3: a boolean, wrong and right
#
# Write a script of a few lines that takes two arguments: `--wrong` with
# `type=bool` and `--right` with `type=boolean` from our `entry_point`, and
# prints both. Put it into a folder of its own, and run it as a job with both
# hyperparameters `False`. Our modules come along with `dependencies`:
# `entry_point.py`, and `titanic.py`, which it imports. What does the job
# print? And what is `bool("False")`?

# %%
# Your turn

# %% jupyter={"source_hidden": true} tags=["solution"]
folder = work / "booleans"
folder.mkdir()
(folder / "booleans.py").write_text("""
import argparse
from entry_point import boolean

parser = argparse.ArgumentParser()
parser.add_argument("--wrong", type=bool)
parser.add_argument("--right", type=boolean)
print("read:", parser.parse_args())
""")
settings = common | {"source_dir": str(folder), "image_uri": image["sklearn"]}
booleans = SKLearn(
    entry_point="booleans.py",
    dependencies=[f"../scripts/training/{n}.py" for n in ("entry_point", "titanic")],
    hyperparameters={"wrong": False, "right": False},
    **settings | {"base_job_name": "titanic-booleans"},
)
booleans.fit(wait=False)
booleans_name = booleans.latest_training_job.name
jobs.wait_for(session, booleans_name)
log = jobs.log(session, booleans_name)
(read,) = [line for line in log if line.startswith("read:")]
assert "wrong=True" in read
assert "right=False" in read
read, bool("False")  # every text that is not empty is true

# %% [markdown]
# ### Exercise 4: requirements.txt, in its place and not
#
# Make two folders, each with a script that prints one line and a
# `requirements.txt` with the line `scikit-learn==1.9.0`: in one at the top, in
# the other in a subfolder. Run both as jobs. Look into the two
# `sourcedir.tar.gz` that were sent, and search both logs for `Requirement`.
# Does the second job fail?

# %%
# Your turn

# %% jupyter={"source_hidden": true} tags=["solution"]
import json
import tarfile

installers = {}
for place in (".", "settings"):
    folder = work / f"with requirements in {place}"
    (folder / place).mkdir(parents=True)
    (folder / place / "requirements.txt").write_text("scikit-learn==1.9.0\n")
    (folder / "hello.py").write_text("print('hello')\n")
    settings |= {"source_dir": str(folder), "base_job_name": f"hello-{len(installers)}"}
    estimator = SKLearn(entry_point="hello.py", **settings)
    estimator.fit(wait=False)
    installers[place] = estimator.latest_training_job.name
ends = jobs.wait_for(session, *installers.values())

# The second does not fail, which makes it worse: it would fail at the import.
pip_said = {}
for place, job in zip(installers, ends, strict=True):
    assert job["TrainingJobStatus"] == "Completed"
    sent = json.loads(job["HyperParameters"]["sagemaker_submit_directory"])
    (archive,) = S3Downloader.download(sent, str(work), sagemaker_session=session)
    with tarfile.open(archive) as tar:
        print(place, "sent", tar.getnames())
    log = jobs.log(session, job["TrainingJobName"])
    pip_said[place] = [line for line in log if line.startswith("Requirement")]
assert any("scikit-learn==1.9.0" in line for line in pip_said["."])
assert pip_said["settings"] == []

# %% [markdown]
# ## Key points
#
# - One order form for all frameworks; each class takes the address of an image
# - An image has an end: look it up before you choose, and look the address up
#   instead of writing it down
# - `fit(wait=False)`, then await: four jobs take as long as the slowest
# - Hyperparameters arrive as words; the script must refuse what it does not
#   know, and read `False` as false
# - `requirements.txt` works at the top of `source_dir`, nowhere else
# - A lead without an interval is no lead; then effort, size and safety decide
# - A GPU pays when price times time falls, downloads included: compute it
#
# ## Clean up
#
# No machine is left running. The objects of our nine jobs lie under `jobs/` in
# the bucket, and go now. (To keep a model, do not run the next cell.)

# %%
bucket = session.boto_session.resource("s3").Bucket(session.default_bucket())
left = list(bucket.objects.filter(Prefix=f"jobs/{run}/"))
per_month = costs.storage_per_month(sum(thing.size for thing in left))
print(f"{len(left)} objects would cost ${per_month:.6f} a month")

# %% [markdown]
# Next to nothing, but jobs are many and memory is short.

# %%
for thing in left:
    thing.delete()
scratch.cleanup()
