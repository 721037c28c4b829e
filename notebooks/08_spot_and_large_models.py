# %% [markdown]
# # 08 · Spot machines, and models that fit no machine
#
# Two questions are left about machines. Can they be cheaper, if we accept that
# AWS may take them away? And what if one machine cannot hold the model? The
# first needs checkpoints, the second a split network. We order both for real.
#
# **Questions**
#
# - What does a spot machine save, and what does an interruption cost?
# - What must a script do to go on where it was?
# - How much memory does a network need while it learns?
# - How do several hosts hold one network?
#
# **Objectives**
#
# - Order a spot job with checkpoints, and read what happened to it
# - Compute when spot costs more than a machine on demand
# - Estimate the memory of a training, and say when one machine is not enough
# - Split a network over hosts, by layers and by parts of layers
#
# **You need** lesson 07: hosts and process groups. Without an AWS account also
# a Linux that isolates the hosts of a job; the README says which.
#
# **Time** teaching 25 min, exercises 15 min
#
# **Cost on AWS** about $0.04: five short jobs, seven starts of the smallest
# machine. (So ask for a quota of one `ml.m5.large for spot training job usage`.)
# A time limit of ten minutes bounds each start at $0.02.

# %%
import sys

sys.path[:0] = ["../scripts", "../scripts/training"]

import workshop
from workshop import costs, figures, images, jobs

session = workshop.session()
role = workshop.execution_role(session)
channels = workshop.ensure_data(session)
print(workshop.home(session))

# %% [markdown]
# ## Spot: a machine that may be taken away
#
# AWS sells capacity that nobody else uses at a discount: *spot*. When somebody
# pays the full price for it, AWS takes the machine away in the middle of the
# work, and starts the job again when there is capacity. A script that saves
# *checkpoints*, its complete state, can go on from the last one. Three
# arguments order this:
#
# - `use_spot_instances=True`;
# - `max_wait`: the longest time for running and waiting together. It must be at
#   least `max_run`;
# - `checkpoint_s3_uri`: where SageMaker copies the folder `/opt/ml/checkpoints`
#   while the job runs, and from where it restores it after an interruption.
#
# Nobody can order an interruption from AWS. The stand-in on this machine makes
# them if a tag asks for it: here after 6 seconds, and then after 12 seconds of
# the second attempt. On AWS this tag is a label like any other.

# %%
from sagemaker.pytorch import PyTorch
from sagemaker.utils import name_from_base

results = f"s3://{session.default_bucket()}/jobs"
spot_name = name_from_base("spot")
interruptions = {"Key": "spot-interruptions-after-seconds", "Value": "6 12"}

# %% [markdown]
# The passengers of our training are simulated, so it says nothing about real
# people. Its 2,000 epochs are there to last for some seconds.

# %%
common = {
    "entry_point": "train_torch.py",
    "source_dir": "../scripts/training",
    "image_uri": images.uri("pytorch", session.boto_region_name),
    "role": role,
    "sagemaker_session": session,
    "code_location": results,
    "output_path": results,
    "instance_type": "ml.m5.large",
    "max_run": 600,
    "disable_profiler": True,
    "debugger_hook_config": False,
}
long = {"epochs": 2000, "early_stopping_epochs": 0, "checkpoint_seconds": 0.5}

# %% [markdown]
# Beside the spot job we start the same training on demand, for comparison.

# %%
import train_torch

common["metric_definitions"] = train_torch.METRIC_DEFINITIONS
spot = PyTorch(
    **common,
    instance_count=1,
    hyperparameters=long,
    use_spot_instances=True,
    max_wait=1200,
    checkpoint_s3_uri=f"{results}/{spot_name}/checkpoints",
    tags=[*workshop.tags("08"), interruptions],
)
spot.fit({"train": channels["train"]}, wait=False, job_name=spot_name)

# %% [markdown]
# `start` keeps the names of jobs, for the clean-up.

# %%
started = [spot_name]


def start(hyperparameters, count=1, **more):
    settings = common | {"tags": workshop.tags("08"), "instance_count": count} | more
    estimator = PyTorch(**settings, hyperparameters=hyperparameters)
    estimator.fit({"train": channels["train"]}, wait=False)
    started.append(estimator.latest_training_job.name)
    return started[-1]


spot_job, _ = jobs.wait_for(session, spot_name, start(long))

# %% [markdown]
# What happened to the spot job?

# %%
history = jobs.timeline(spot_job)
history[["status", "seconds"]].round(1)

# %% [markdown]
# Each `Interrupted`, with another `Starting` after it, is a machine that was
# taken away. (Is there no such row? On AWS nobody wanted the machine, or on this
# one the job ended first.) Did the next machine begin again, or go on?

# %%
log = jobs.log(session, spot_name)
resumed = [line for line in log if "going on after" in line]
print(*(resumed or ["no machine went on from a checkpoint"]), sep="\n")

# %% [markdown]
# *Going on after* is what our script prints when it has found a checkpoint. An
# interruption before the first checkpoint loses everything until then. So save
# often: `checkpoint_seconds` says how often our script does. Do not wait for a
# signal at the end: whether a script gets one depends on the image (lesson 06).
#
# Did the interruptions change what was learned? Compare the losses of the last
# epoch, which depend on all steps before. (The network has long memorised its
# rows by then, so the validation loss is bad. That is not the subject here.)

# %%
last = {}
for title, name in {"spot": spot_name, "on demand": started[-1]}.items():
    lines = jobs.log(session, name)
    last[title] = {line for line in lines if line.startswith("[2000] ")}
print(last)
if not workshop.is_billed(session):  # on AWS two processors may round differently
    assert last["spot"] == last["on demand"] != set()

# %% [markdown]
# They did not. Our script's checkpoint holds the weights, the state of the
# optimizer, the epoch and the state of the random numbers; a script that saves
# the weights alone would go on differently. And the price?

# %%
print(costs.spot_saving(spot_job))

# %% [markdown]
# AWS bills fewer seconds than the job trained, by the discount of the day. On
# the stand-in that discount is an assumption, but the seconds are real: those
# that an interruption lost are billed, too.
#
# ## When spot is more expensive
#
# Suppose that interruptions come by chance, on average one in so many hours of
# work. Without checkpoints a job must get through without any: it repeats what
# it lost, again and again. With a rate of r an hour, work of T hours then takes
# (exp(r T) - 1) / r hours on average. With checkpoints each interruption costs
# only a new start, say six minutes. AWS publishes no rates for training jobs, so
# we assume one in five hours, and a discount of 70 %.

# %%
import numpy as np
import pandas as pd

RATE, DISCOUNT, RESTART = 1 / 5, 0.7, 0.1  # an hour, of the price, hours
hours = np.array([1, 2, 4, 8, 12, 16])
without = (np.exp(RATE * hours) - 1) / RATE
with_checkpoints = hours * (1 + RATE * RESTART)
price = pd.DataFrame({"without": without, "with": with_checkpoints}, index=hours)
price = price.div(hours, axis=0) * (1 - DISCOUNT)

# %% [markdown]
# As a part of the price on demand:

# %%
axes = price.plot(style=["C1o--", "C0s-"], xlabel="hours of work")
axes.set(ylabel="cost, on demand = 1", ylim=(0, 2.5))
axes.axhline(1, linestyle=":", color="black")
axes.legend(["spot without checkpoints", "spot with checkpoints", "on demand"])
figures.show(
    axes.figure,
    "Cost of spot as a part of the cost on demand, by hours of work. With checkpoints "
    "it stays at 0.3. Without, it grows, and is above 1 from about ten hours on.",
)

# %% [markdown]
# With checkpoints the saving stays. Without them a long job costs more than on
# demand, and nobody knows when it ends.
#
# ### Exercise 1: how long may it be?
#
# Somebody has a script without checkpoints, and a training of eight hours. At
# which rate of interruptions does spot cost as much as on demand? Guess first:
# one in 2, in 4, in 8 hours?

# %%
# Your turn

# %% jupyter={"source_hidden": true} tags=["solution"]
between = np.array([2, 3, 4, 5, 6, 7, 8, 10])
relative = 0.3 * (np.exp(8 / between) - 1) * between / 8
answer = pd.Series(relative, index=between).round(2)
print(answer)

# One interruption in about four hours: half of the training's length.
assert answer[3] > 1 > answer[5]

# %% [markdown]
# ## How much memory does a network need?
#
# So far every host held the complete model. A weight that learns needs 16 bytes:
# 4 for itself, 4 for its gradient, and 8 for two running means of the optimizer
# Adam. The activations, what each layer passes on, are added for every row of a
# batch.

# %%
import memory_estimate

sizes = {}
for width in (64, 4096, 32_768):
    layers = memory_estimate.layers(11, width, depth=12)
    need = memory_estimate.training(layers, rows=64)._asdict()
    sizes[f"width {width}"] = {part: size / 1e9 for part, size in need.items()}
memory = pd.DataFrame(sizes).rename_axis("GB")
memory.loc["together"] = memory.sum()
memory.round(3)

# %% [markdown]
# Ours needs next to nothing. Twelve layers of 32,768 neurons need more than the
# 141 GB of the GPU H200.

# %%
assert memory["width 32768"]["together"] > 141 > memory["width 4096"]["together"]

# %% [markdown]
# First take what costs less than a split: a machine with more memory, numbers of
# 16 bits, smaller batches. Splitting costs time, since the hosts wait for each
# other.
#
# ## One network on two hosts
#
# SageMaker does not split a network for you: the script says what lives where.
# There are two ways.
#
# - *Pipeline*: the first layers are on the first host, the last on the last. A
#   batch goes through in several parts, so that both hosts have work.
# - *Sharded* (FSDP): each host has a part of every layer, and gets the rest from
#   the others for the moment in which it needs them.
#
# `train_pipeline.py` can do both. We run a pipeline on two hosts, and the
# unsplit network on one. (Our network would fit into one: it is small, so that
# we can compare.)

# %%
deep = {"width": 256, "depth": 4, "epochs": 5}
one_name, two_name = [start(deep, n, entry_point="train_pipeline.py") for n in (1, 2)]
one_job, two_job = jobs.wait_for(session, one_name, two_name)

# %% [markdown]
# What does each host hold?

# %%
for name in (one_name, two_name):
    lines = [line for line in jobs.log(session, name) if "bytes of weights" in line]
    print(*lines, "", sep="\n")

# %% [markdown]
# With two hosts each holds some of the layers, and none holds all. Does the
# split network learn the same?

# %%
losses = [
    dict(jobs.metric_values(job, jobs.log(session, job["TrainingJobName"])))
    for job in (one_job, two_job)
]
print([loss["train:logloss"] for loss in losses])
assert abs(losses[0]["train:logloss"] - losses[1]["train:logloss"]) < 1e-3

# %% [markdown]
# It does, up to rounding.
#
# ### Exercise 2: parts of every layer
#
# Run the same network with the hyperparameter `how` set to `sharded`, on two
# hosts. First write down how many bytes of weights each host will hold.

# %%
# Your turn

# %% jupyter={"source_hidden": true} tags=["solution"]
import re

sharded_name = start(deep | {"how": "sharded"}, 2, entry_point="train_pipeline.py")
_ = jobs.wait_for(session, sharded_name)
held = [line for line in jobs.log(session, sharded_name) if "bytes of weights" in line]
print(*held, sep="\n")

# About half of 802,820 on each: both hosts have a part of all layers. (The last layer
# has one output and cannot be divided, so one host holds a little more.)
shares = [re.search(r"([\d,]+) bytes of weights$", line) for line in held]
shares = [int(share[1].replace(",", "")) for share in shares if share]
assert len(shares) == 2
assert max(shares) < 0.51 * 802_820

# %% [markdown]
# And if it is the *data* that do not fit? Then the model need not be split. The
# input mode `FastFile` streams a channel from S3 while the script reads it, so
# the disk need not hold it. `external_memory` of our `train_xgboost.py` keeps
# rows on disk, so that memory need not hold them.
#
# ## Key points
#
# - Spot saves most of the price, and the machine may go at any time
# - A checkpoint holds all that the next machine needs, not the weights alone
# - Without checkpoints a long spot job can cost more than one on demand
# - A weight that learns needs 16 bytes with Adam, before the first row is read
# - Split a network only when it fits no machine; the script decides how
#
# ## Clean up
#
# All jobs have ended, so no machine bills. We delete what they left in S3.

# %%
bucket = session.boto_session.resource("s3").Bucket(session.default_bucket())
for name in started:
    bucket.objects.filter(Prefix=f"jobs/{name}/").delete()
