# %% [markdown]
# # 07 · Distributed training: several machines, one model
#
# `instance_count=2` gives you two machines and a bill for two, but not
# distributed training. SageMaker never combines what two machines learn: the
# script does. We write that step out, do it wrong once, then right, and measure
# what it buys.
#
# **Questions**
#
# - Do I need several machines at all?
# - How do several processes train one model?
# - What does each machine get of my data?
# - How much faster is it with N machines, and what does that cost?
#
# **Objectives**
#
# - Explain process group, gradient and all-reduce, and write the step out
# - Predict which rows each host gets, with replicated and sharded channels
# - Make a PyTorch script distributed, and prove that it is
# - Measure speed-up, fit its parts, and plan with their uncertainty
#
# **You need** lessons 03 and 04: estimators, channels, and the two scripts.
# Without an AWS account also a Linux that isolates the hosts of a job; the
# README says which.
#
# **Time** teaching 45 min, exercises 25 min
#
# **Cost on AWS** about $0.14: fifteen short jobs, 32 starts of the smallest
# machine, at most five at a time. (So ask for a quota of five `ml.m5.large for
# training job usage`.) A time limit of ten minutes bounds each start at $0.02.

# %%
import sys

sys.path[:0] = ["../scripts", "../scripts/training"]

import workshop
from workshop import costs, figures, hosts_diff, images, jobs, scaling

session = workshop.session()
role = workshop.execution_role(session)
channels = workshop.ensure_data(session)
print(workshop.home(session))

# %% [markdown]
# ## A bigger machine, before more machines
#
# One machine needs no network and no new line of code. What do bigger ones cost?

# %%
import pandas as pd

prices = pd.read_csv("../data/instance_prices.csv", index_col="instance_type")
larger = prices.query("use == 'training' and instance_type.str.startswith('ml.m5.')")
larger[["vcpu", "memory_gib", "usd_per_hour"]]

# %% [markdown]
# Twice the processors, twice the price. XGBoost and PyTorch use all
# processors of a machine without being asked. So take a bigger machine first.
# Several make sense when the largest is not enough, or is not available.
#
# ## One step of several processes, written out
#
# Training repeats one step. It computes the *gradient*, which says for each
# weight how the loss changes when the weight grows, and moves the weights
# against it. The gradient of all rows is the sum of the gradients of each row.
# So two processes can share the work: each computes the gradient of its own
# rows, and they add the results up.
#
# Processes that know each other are a *process group*. Each has a *rank*: 0, 1
# and so on. An *all-reduce* takes a tensor from each process, and gives the sum
# back to all of them.

# %%
from pathlib import Path
from tempfile import TemporaryDirectory

scratch = TemporaryDirectory()
work = Path(scratch.name)

# %% [markdown]
# Our script learns that y is 3 x, from eight rows.

# %%
# %%writefile {work}/by_hand.py
"""Learn y = 3 x, on several processes with different rows. Each step is written out."""

import os

import torch
import torch.distributed as dist

dist.init_process_group("gloo")  # waits until all processes are there
rank, size = dist.get_rank(), dist.get_world_size()
x = torch.arange(1.0, 9.0)[rank::size]  # own rows: every size-th, from rank on
y = 3 * x
weight = torch.zeros(1)
for step in range(1, 4):
    gradient = (2 * x * (weight * x - y)).sum().reshape(1)
    own = gradient.item()
    dist.all_reduce(gradient)  # now it is the sum of all processes
    weight -= 0.002 * gradient
    print(
        f"step {step}, process {rank} of {size}: own gradient {own:.0f}, "
        f"sum {gradient.item():.0f}, weight {weight.item():.4f}",
        flush=True,
    )
dist.destroy_process_group()
os._exit(0)  # at once: threads of gloo may still run, and can make a normal end fail

# %% [markdown]
# `torchrun`, a part of PyTorch, starts a script in several processes and sets
# the variables by which they find each other. First two processes, then one.

# %%
import os
import subprocess


def torchrun(processes, script, **variables):
    variables |= {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": ""}  # lines do not mix
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--no-python", "--nproc_per_node", str(processes)]
    command += [sys.executable, str(work / script)]
    options = {"env": {**os.environ, **variables}, "timeout": 120}
    return sorted(subprocess.check_output(command, text=True, **options).splitlines())


two, one = torchrun(2, "by_hand.py"), torchrun(1, "by_hand.py")
print(*two, *one, sep="\n")

# %% [markdown]
# The own gradients differ, because the rows differ. The sum is the same in both
# processes, so the weight is too. One process with all rows gets the same one.
# **This is distributed training**: different rows, one sum, the same step.

# %%
assert {line[-6:] for line in two} == {line[-6:] for line in one}

# %% [markdown]
# ## What each host gets
#
# In a job the machines are called hosts, `algo-1`, `algo-2` and so on. Which
# rows does each get? We keep 200 of our passengers for validation, and cut the
# rest into four files. (The passengers are simulated: nothing here is about real
# people.)

# %%
from itertools import pairwise

passengers = pd.read_csv("../data/titanic_train.csv", dtype=str)
cuts = {"shards": [0, 64, 192, 352, 512], "held_out": [512, len(passengers)]}
for prefix, ends in cuts.items():
    (work / prefix).mkdir()
    for first, end in pairwise(ends):
        file = work / prefix / f"from-{first:03}.csv"
        passengers[first:end].to_csv(file, index=False)
        print(workshop.upload(session, file, f"data/07/{prefix}"), end - first, "rows")

# %% [markdown]
# The settings of our jobs are those of lesson 03.

# %%
data = f"s3://{session.default_bucket()}/data/07"
results = f"s3://{session.default_bucket()}/jobs"
common = {"role": role, "sagemaker_session": session, "tags": workshop.tags("07")}
common |= {"instance_type": "ml.m5.large", "max_run": 600}
common |= {"code_location": results, "output_path": results}
common |= {"disable_profiler": True, "debugger_hook_config": False}
image = images.uri("xgboost", session.boto_region_name)
in_xgboost = common | {"image_uri": image, "framework_version": "3.2-0"}
in_xgboost |= {"source_dir": "../scripts/training"}

# %% [markdown]
# `start` starts a job; `log_of` also waits for its end, and returns its log.

# %%
started = []


def start(estimator, **inputs):
    estimator.fit(inputs, wait=False)
    started.append(estimator.latest_training_job.name)
    return started[-1]


def log_of(estimator, **inputs):
    jobs.wait_for(session, start(estimator, **inputs))
    return jobs.log(session, started[-1])


# %% [markdown]
# `show_channels.py` prints what is in its folders. We run it on two hosts, with
# the two kinds of channel. The first is the default.

# %%
from sagemaker.inputs import TrainingInput
from sagemaker.xgboost import XGBoost

import show_channels

replicated = TrainingInput(f"{data}/shards/")
sharded = TrainingInput(f"{data}/shards/", distribution="ShardedByS3Key")


def contents(channel, count):
    settings = in_xgboost | {"entry_point": "show_channels.py", "instance_count": count}
    log = log_of(XGBoost(**settings, base_job_name="channels"), train=channel)
    return pd.DataFrame(show_channels.of_log(log))


got = {"replicated": contents(replicated, 2), "sharded": contents(sharded, 2)}
pd.concat(got)[["host", "files", "rows"]]

# %% [markdown]
# **Nothing is split unless you ask for it.** By default each host has all
# files: `FullyReplicated`. With `ShardedByS3Key` each host has about as many
# files as the others, and no file is on two. (The stand-in deals them out in the
# order of their names. AWS does not document which host gets which file, so our
# checks hold for any order.)

# %%
assert list(got["replicated"]["rows"]) == [512, 512]
assert got["sharded"]["rows"].sum() == 512
assert sorted(got["sharded"]["files"].sum()) == got["replicated"]["files"][0]

# %% [markdown]
# ### Exercise 1: predict, then run
#
# What does each host get of (a) one single file, sharded over two hosts; (b)
# four files, sharded over three hosts? Write down how many files each host has,
# then look.

# %%
# Your turn

# %% jupyter={"source_hidden": true} tags=["solution"]
one_file = TrainingInput(channels["train"], distribution="ShardedByS3Key")
answers = [contents(one_file, 2), contents(sharded, 3)]
print(*answers, sep="\n")

# A file is never divided. Of one file one host gets nothing, and is paid for all the
# same. Of four files on three hosts one host gets two.
assert [sorted(table["files"].str.len()) for table in answers] == [[0, 1], [1, 1, 2]]

# %% [markdown]
# ## The wrong way: two hosts, two models
#
# Now a script for passengers, in two files. The first reads a channel.

# %%
# %%writefile {work}/passengers.py
"""Read a channel with passengers, as tensors."""

import os
from pathlib import Path

import pandas as pd
import torch


def read(channel):
    """Return the inputs, each scaled to about 1, and the labels of a channel."""
    files = sorted(Path(os.environ[channel]).glob("*.csv"))
    rows = pd.concat([pd.read_csv(file) for file in files])
    rows["Female"] = rows["Sex"] == "female"
    x = rows[["Pclass", "Female", "Age", "SibSp", "Parch", "Fare"]].fillna(30)
    x = torch.tensor((x / [3, 1, 80, 8, 6, 100]).to_numpy(dtype="float32"))
    return x, torch.tensor(rows["Survived"].to_numpy(dtype="float32"))


# %% [markdown]
# The second trains, for one machine. After each *epoch*, one pass over its rows,
# it prints a checksum of all weights, then training loss and validation loss.

# %%
# %%writefile {work}/train_one.py
"""Train a small network, on one machine."""

import os
import zlib
from pathlib import Path

import torch
from passengers import read

name = os.environ["SM_CURRENT_HOST"]
x, y = read("SM_CHANNEL_TRAIN")
held_x, held_y = read("SM_CHANNEL_VALIDATION")
torch.manual_seed(1)
first, last = torch.nn.Linear(6, 64), torch.nn.Linear(64, 1)
net = torch.nn.Sequential(first, torch.nn.ReLU(), last)
optimizer = torch.optim.Adam(net.parameters(), lr=0.003)
loss_of = torch.nn.functional.binary_cross_entropy_with_logits

# %% [markdown]
# Then the loop. (`-a` appends to the file.)

# %%
# %%writefile -a {work}/train_one.py
for epoch in range(1, 49):
    for batch in torch.randperm(len(y)).split(64):
        optimizer.zero_grad()
        loss_of(net(x[batch])[:, 0], y[batch]).backward()
        optimizer.step()
    losses = [loss_of(net(a)[:, 0], b).item() for a, b in [(x, y), (held_x, held_y)]]
    weights = torch.nn.utils.parameters_to_vector(net.parameters()).detach().numpy()
    checksum = f"{zlib.crc32(weights.tobytes()):08x}"
    print(f"{name}: epoch {epoch:02}, {checksum}, {losses[0]:.4f}, {losses[1]:.4f}")
torch.save(net.state_dict(), Path(os.environ["SM_MODEL_DIR"], "weights.pt"))

# %% [markdown]
# Many people order such a script on two machines. Each gets two of the files.

# %%
from sagemaker.pytorch import PyTorch

held_out = TrainingInput(f"{data}/held_out/")
in_pytorch = {"image_uri": images.uri("pytorch", session.boto_region_name), **common}


def start_network(script, channel, count):
    files = {"source_dir": str(work), "entry_point": script}
    estimator = PyTorch(**in_pytorch, **files, instance_count=count)
    return start(estimator, train=channel, validation=held_out)


# %%
wrong_name = start_network("train_one.py", sharded, 2)
(wrong,) = jobs.wait_for(session, wrong_name)

# %% [markdown]
# The job is `Completed`, without a warning. What did the two hosts print?


# %%
def epochs(name):
    pattern = r"(?P<host>\S+): epoch (?P<epoch>\d+), (?P<weights>\w{8}), "
    pattern += r"(?P<train>[\d.]+), (?P<validation>[\d.]+)"
    table = pd.Series(jobs.log(session, name)).str.extract(pattern).dropna()
    kinds = {"epoch": int, "train": float, "validation": float}
    return table.astype(kinds).pivot(index="epoch", columns="host")


two_models = epochs(wrong_name)
two_models.tail(2)

# %% [markdown]
# **Two machines, two models**, from the first epoch on. Each has learned from
# half of the rows. Both are paid for. And both have written a file of the same
# name, so only one model remains.

# %%
assert (two_models["weights", "algo-1"] != two_models["weights", "algo-2"]).all()
print(costs.bill(workshop.is_billed(session), wrong))

# %% [markdown]
# ## The right way: one process group
#
# Five changes make the script distributed; comments number them. First, form
# the group. `torchrun` sets `RANK` and `WORLD_SIZE`. In a plain job nothing
# sets them, but SageMaker names the hosts.

# %%
# %%writefile {work}/train_group.py
"""Train a small network, on all processes of a group."""

import json
import os
import zlib
from pathlib import Path

import torch
import torch.distributed as dist
from passengers import read

name = os.environ["SM_CURRENT_HOST"]
if "RANK" not in os.environ:  # not started by torchrun: one process on each host
    hosts = json.loads(os.environ["SM_HOSTS"])
    os.environ["RANK"] = str(hosts.index(name))
    os.environ["WORLD_SIZE"] = str(len(hosts))
dist.init_process_group("gloo")  # 1. all processes form a group
rank, size = dist.get_rank(), dist.get_world_size()

# %% [markdown]
# `DistributedDataParallel` wraps the network: every `backward()` then ends with
# an all-reduce, which gives all processes the mean of their gradients.

# %%
# %%writefile -a {work}/train_group.py
x, y = read("SM_CHANNEL_TRAIN")
held_x, held_y = read("SM_CHANNEL_VALIDATION")
torch.manual_seed(1)
first, last = torch.nn.Linear(6, 64), torch.nn.Linear(64, 1)
net = torch.nn.Sequential(first, torch.nn.ReLU(), last)
net = torch.nn.parallel.DistributedDataParallel(net)  # 2. gradients become their mean
optimizer = torch.optim.Adam(net.parameters(), lr=0.003)
loss_of = torch.nn.functional.binary_cross_entropy_with_logits

# %% [markdown]
# All processes draw the same batch, from the same rows with the same seed, and
# each takes its part of it. (The parts must be equally large for the mean to be
# exact: 64 rows on two hosts are.)

# %%
# %%writefile -a {work}/train_group.py
for epoch in range(1, 49):
    for batch in torch.randperm(len(y)).split(64):
        own = batch[rank::size]  # 3. each process has its own rows
        optimizer.zero_grad()
        loss_of(net(x[own])[:, 0], y[own]).backward()
        optimizer.step()
    losses = [loss_of(net(a)[:, 0], b).item() for a, b in [(x, y), (held_x, held_y)]]
    weights = torch.nn.utils.parameters_to_vector(net.parameters()).detach().numpy()
    checksum = f"{zlib.crc32(weights.tobytes()):08x}"
    print(f"{name}: epoch {epoch:02}, {checksum}, {losses[0]:.4f}, {losses[1]:.4f}")
if rank == 0:  # 4. one process saves
    torch.save(net.state_dict(), Path(os.environ["SM_MODEL_DIR"], "weights.pt"))
dist.destroy_process_group()  # 5. leave the group, and end at once, as in by_hand.py
print(end="", flush=True)
os._exit(0)

# %% [markdown]
# We try it in two processes of this machine first.

# %%
variables = {"SM_CHANNEL_TRAIN": f"{work}/shards", "SM_MODEL_DIR": str(work)}
variables |= {"SM_CHANNEL_VALIDATION": f"{work}/held_out", "SM_CURRENT_HOST": "here"}
print(*torchrun(2, "train_group.py", **variables)[-2:], sep="\n")

# %% [markdown]
# Then on two hosts, and on one for comparison. Each host has all files now.

# %%
names = [start_network("train_group.py", replicated, count) for count in (2, 1)]
_ = jobs.wait_for(session, *names)
one_model, single = map(epochs, names)
one_model.tail(2)

# %% [markdown]
# Both hosts print the same checksum: one model. That alone proves little. Two
# hosts with the same files and seed print equal numbers without a group too, by
# the same work done twice. The proof is that each used half of every
# batch, and that the losses are those of one host with full batches. (Not to the
# last digit: the sum of two halves is rounded differently from the sum of all.)

# %%
titles = {"one host": single, "group": one_model, "alone": two_models}
printed = pd.concat(titles, axis=1)
losses = printed.xs("validation", axis=1, level=1)
assert (losses["group", "algo-1"] - losses["one host", "algo-1"]).abs().max() < 1e-2
if not workshop.is_billed(session):  # on AWS two processors may round differently
    assert (one_model["weights", "algo-1"] == one_model["weights", "algo-2"]).all()

# %% [markdown]
# How good are they on the validation rows, which are the same for all?

# %%
ax = losses[::3].plot(style=["o", "k", "k", "C1--", "C1:"], ylabel="validation loss")
ax.legend(ax.lines, losses.columns.map(", ".join))
figures.show(
    ax.figure,
    "Validation loss by epoch. All four curves fall. The points of one host lie on the "
    "line of the group; both hosts alone end above them.",
)

# %% [markdown]
# Alone, both are worse. Training losses do not show it: each host alone fits its
# few rows well.

# %%
print(printed.iloc[-1].unstack(1)[["train", "validation"]])
end = losses.iloc[-1]
assert end["alone"].mean() > end["group"].mean()

# %% [markdown]
# Our `train_torch.py` is built in the same way. It also resumes, and uses shards
# of different length. Here is the step to many hosts in its core; `+` is what
# they need. `torch_group.joined` forms the group, with a time limit.

# %%
print(hosts_diff.diff(context=0))

# %% [markdown]
# And the switch `distribution={"torch_distributed": {"enabled": True}}`? It
# starts the script with `torchrun`, one process for each GPU. It is supported on
# GPU and Trainium types alone. For CPU types the SDK refuses it, except where you
# pass `image_uri`: there it does not check. Our script needs it on no type.
#
# ### Exercise 2: find the missing all-reduce
#
# `exercise_all_reduce.py` writes the all-reduce out for three layers, and has a
# bug. Which layer's checksum differs between the hosts? Find the line in the
# script, and mend it in a copy.

# %%
exercise = in_pytorch | {"entry_point": "exercise_all_reduce.py", "instance_count": 2}


def layers(folder):
    log = log_of(PyTorch(**exercise, source_dir=str(folder)), train=replicated)
    return sorted(line for line in log if ": epoch" in line)


before = layers("../scripts/training")
print(*before, sep="\n")

# %%
# Your turn

# %% jupyter={"source_hidden": true} tags=["solution"]
import shutil

# Layer 3, the last: `layers[:-1]` leaves its gradients out of the mean.
mended = shutil.copytree("../scripts/training", work / "mended")
script = mended / "exercise_all_reduce.py"
script.write_text(script.read_text().replace("in layers[:-1]:", "in layers:"))
after = layers(mended)
differ = [{line.partition(": ")[2] for line in lines} for lines in (before, after)]
assert [len(lines) for lines in differ] == [6, 3]

# %% [markdown]
# ## XGBoost, and what several hosts buy
#
# Trees grow from sums over rows. So again each host sums over its rows, and an
# all-reduce adds the sums up: `train_xgboost.py` does it with XGBoost's own
# functions. (The built-in algorithm forms its group by itself. But it divides no
# rows: with a replicated channel every host trains on all of them.)
#
# The time of a training has three parts. Some is *fixed*: every host starts
# Python and imports libraries. Some is *divided* among the hosts. And more hosts
# *add* some, to communicate. Only trainings of different length on different
# numbers of hosts tell the three apart. We take 200,000 passengers, and one
# thread for each host.

# %%
from simulation import make_titanic

for file in make_titanic.write_list(200_000, 7, work / "crowd", 4, "csv"):
    workshop.upload(session, file, "data/07/crowd")
crowd = TrainingInput(f"{data}/crowd/", distribution="ShardedByS3Key")
trees = in_xgboost | {"entry_point": "train_xgboost.py"}


# %% [markdown]
# Each host prints a checksum of its trees, the seconds of its stages, and its CPU
# seconds. The slowest host counts.

# %%
import stages

measured = []
for rounds, hosts in [(50, 1), (50, 2), (50, 4), (400, 1), (400, 2), (400, 4)]:
    asked = {"num_round": rounds, "early_stopping_rounds": 0, "nthread": 1}
    estimator = XGBoost(**trees, hyperparameters=asked, instance_count=hosts)
    log = log_of(estimator, train=crowd)
    assert len({line.split()[-1] for line in log if "model checksum" in line}) == 1
    table = pd.DataFrame(stages.of_hosts(log))
    clock = table.drop(columns=["peak_memory_gb", "cpu_s"]).sum(axis=1).max()
    measured.append([rounds, hosts, clock, table["cpu_s"].max()])
measured = pd.DataFrame(measured, columns=["work", "hosts", "clock_s", "cpu_s"])

# %% [markdown]
# On AWS we take the clock. On the stand-in the hosts share processors and wait
# for each other; there the CPU seconds say what one machine for each host would
# need, but without the time of a real network.

# %%
measured["seconds"] = measured["clock_s" if workshop.is_billed(session) else "cpu_s"]
measured.round(1)

# %% [markdown]
# Now the fit: seconds = fixed + rounds (divided / hosts + added log2 hosts).
# Six measurements of three numbers leave an uncertainty. `scaling.fit` repeats
# the fit with errors as large as the scatter of ours: nine in ten results lie
# from `low` to `high`.

# %%
model = scaling.fit(measured)
model.parts().round(4)

# %% [markdown]
# Can we trust it? We leave the last row out, and predict it from the others.

# %%
predicted = scaling.fit(measured[:-1]).seconds(400, 4)
print(f"predicted {predicted}, measured {measured['seconds'].iloc[-1]:.3g} seconds")

# %% [markdown]
# ## When does it pay?
#
# On AWS each host first downloads data and image, and that is billed: almost two
# minutes in the jobs on record.

# %%
start_s = costs.startup_s()
per_minute = costs.price("ml.m5.large").usd / 60


# %%
def plan(hours, hosts):
    _, low, high = model.minutes(hours, hosts, start_s)
    dollars = [hosts * minutes * per_minute for minutes in (low, high)]
    return f"{low:.0f} to {high:.0f} min, ${dollars[0]:.2f} to ${dollars[1]:.2f}"


plans = {hours: {n: plan(hours, n) for n in (1, 2, 4, 8, 16)} for hours in (0.05, 8)}
pd.DataFrame(plans).rename_axis("hosts").add_suffix(" hours")

# %% [markdown]
# Minutes of work: more hosts save a minute or two and multiply the bill, for each
# pays its own start. Hours of work: they save time, but no money. And the further
# from what we measured, the wider the band:

# %%
axes = model.plot(8, range(1, 17), start_s, measured=4)
figures.show(
    axes.figure,
    "Speed-up of eight hours of work, by hosts. The band lies below the ideal line, "
    "and gets wider to the right of four hosts, where nothing was measured.",
)

# %% [markdown]
# The band covers the scatter of six short jobs, not what they did not contain,
# such as a real network. So measure on your machines, with 1, 2 and 4 hosts,
# before you order 16.
#
# ### Exercise 3: choose for a budget
#
# A training takes one `ml.m5.large` three hours. You may spend $0.60 and want
# it as soon as possible. How many hosts (20 at most) by the best fit? And if
# everything comes out at the upper end of the band?

# %%
# Your turn

# %% jupyter={"source_hidden": true} tags=["solution"]
chosen = {}
for end in ("best", "high"):
    minutes = {n: getattr(model.minutes(3, n, start_s), end) for n in range(1, 21)}
    within = {n: m for n, m in minutes.items() if n * m * per_minute <= 0.60}
    chosen[end] = min(within, key=within.get)
    print(f"{end}: {chosen[end]} hosts, {within[chosen[end]]:.0f} min")

# Communication decides. Who must keep to the budget plans with the upper end.
assert 1 <= chosen["high"] <= chosen["best"] <= 20

# %% [markdown]
# ## Key points
#
# - A bigger machine first: same price per processor, no network, no new code
# - `instance_count=2` without a process group is two models, both paid for
# - A channel is replicated unless you shard it; a file is never divided
# - Compare checksums, rows and *validation* loss with those of one host
# - Fit what is fixed, divided and added apart, and plan with the band
#
# ## Clean up
#
# All jobs have ended, so no machine bills. We delete what they left in S3.

# %%
bucket = session.boto_session.resource("s3").Bucket(session.default_bucket())
for leftover in ["data/07/", *(f"jobs/{name}/" for name in started)]:
    bucket.objects.filter(Prefix=leftover).delete()
scratch.cleanup()
