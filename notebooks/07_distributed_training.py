# %% [markdown]
# # 07 · Distributed training: several machines, one model
#
# `instance_count=2` gives you two machines, and a bill for two. It does not
# give you distributed training. Much of what is told about this is not so:
# that SageMaker splits your data by itself, that two machines synchronise
# what they learn, that it chooses the way for you. We check each claim, do it
# wrong once, then right, for XGBoost and for PyTorch, and measure what it
# bought.
#
# **Questions**
#
# - Do I need several machines at all?
# - What does each machine get of my data?
# - How do I know that they train one model, and not one each?
# - How much faster is it with N machines, and what does that cost?
# - What if the model itself does not fit, or a machine is taken away?
#
# **Objectives**
#
# - Choose between a bigger machine and more machines
# - Predict which rows each host gets, with replicated and sharded channels
# - Make a PyTorch script distributed, and prove that it is
# - Train one XGBoost model on several hosts, byte for byte that of one host
# - Measure speed-up, efficiency and cost, and fit the serial fraction
# - Split a network over hosts; resume after a spot interruption
#
# **You need** lessons 03 and 04: estimators, channels, and the two scripts.
# Without an AWS account also a Linux that gives each host a place of its own;
# the README says which.
#
# **Time** teaching 45 min, exercises 30 min
#
# **Cost on AWS** about $0.17: twenty short jobs, 39 starts of the smallest
# machine, at most five at a time. (So ask for a quota of five `ml.m5.large for
# training job usage`, and of two `for spot training job usage`.) A time limit
# of ten minutes bounds each start at $0.02.

# %%
import sys

sys.path[:0] = ["../scripts", "../scripts/training"]

import entry_point
import show_channels
import stages
import titanic
import train_torch
import train_xgboost
import workshop
from simulation import make_titanic
from workshop import costs, hosts_diff, images, jobs

# %% [markdown]
# As always: a session with our bucket, a role, and the passenger lists in S3.

# %%
session = workshop.session()
role = workshop.execution_role(session)
channels = workshop.ensure_data(session)
print(workshop.home(session))

# %% [markdown]
# ## A bigger machine, before more machines
#
# One machine needs no network between its parts and not one more line of
# code. What do bigger ones cost?

# %%
import pandas as pd

prices = pd.read_csv("../data/instance_prices.csv", index_col="instance_type")
ladder = prices[(prices["use"] == "training") & prices.index.str.startswith("ml.m5.")]
ladder = ladder[["vcpu", "memory_gib", "usd_per_hour"]]
ladder.assign(usd_per_vcpu=ladder["usd_per_hour"] / ladder["vcpu"])

# %% [markdown]
# Each row has twice the processors of the one above, at twice the price: a
# processor costs the same in all of them. So four small machines cost what
# one large machine does, and have a network between them.
#
# Does a script use the processors? XGBoost does, with threads. We let it grow
# trees for two hundred thousand simulated passengers, with one thread and
# then with every processor of this machine.

# %%
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import xgboost

PASSENGERS = 200_000
scratch = TemporaryDirectory()
work = Path(scratch.name)
crowd_files = make_titanic.write_list(PASSENGERS, 7, work / "crowd", 4, "csv")
crowd = titanic.read(work / "crowd", titanic.TRAINING_COLUMNS)
matrix = xgboost.QuantileDMatrix(titanic.features(crowd), titanic.labels(crowd))


def seconds(threads):
    start = time.perf_counter()
    parameters = {"objective": "binary:logistic", "max_depth": 6, "nthread": threads}
    xgboost.train(parameters, matrix, 40)
    return time.perf_counter() - start


cores = int(entry_point.cpus())
by_threads = {threads: seconds(threads) for threads in (1, cores)}
print({threads: f"{took:.2f} s" for threads, took in by_threads.items()})

# %% [markdown]
# More threads, less time (if there are several processors, and other programs
# leave them free), and nothing else had to change. So first take a bigger
# machine. Several make sense when the largest is not enough, when the data do
# not fit into one, or when machines of the size you want are not to be had.
#
# ## What each host gets
#
# Now several machines. In a job they are called hosts, `algo-1`, `algo-2` and
# so on. Which rows does each of them see? We cut our 712 passengers into four
# files, of different length, and put them into S3.

# %%
from itertools import pairwise

passengers = pd.read_csv("../data/titanic_train.csv", dtype=str)
cuts = [0, 100, 300, 600, len(passengers)]
(work / "shards").mkdir()
for number, (first, end) in enumerate(pairwise(cuts)):
    file = work / "shards" / f"part-{number}.csv"
    passengers[first:end].to_csv(file, index=False)
    print(workshop.upload(session, file, "data/shards"), end - first, "rows")

# %% [markdown]
# An entry point that trains nothing will do: `show_channels.py` prints what is
# in its folders. The order form is lesson 03's, with a number of machines.

# %%
from sagemaker.inputs import TrainingInput
from sagemaker.xgboost import XGBoost

results = f"s3://{session.default_bucket()}/jobs"
common = {
    "role": role,
    "sagemaker_session": session,
    "source_dir": "../scripts/training",
    "code_location": results,
    "output_path": results,
    "instance_type": "ml.m5.large",
    "max_run": 600,
    "tags": workshop.tags("07"),
    "disable_profiler": True,
    "debugger_hook_config": False,
}
image = images.uri("xgboost", session.boto_region_name)
in_xgboost = {"image_uri": image, "framework_version": "3.2-0"}
started = []


def start(estimator, inputs):
    estimator.fit(inputs, wait=False)
    started.append(estimator.latest_training_job.name)
    return started[-1]


# %% [markdown]
# Two hosts, four files, and the two kinds of channel there are. The first is
# what you get if you say nothing.

# %%
shards = f"s3://{session.default_bucket()}/data/shards/"
kinds = {
    "replicated": TrainingInput(shards),
    "sharded": TrainingInput(shards, distribution="ShardedByS3Key"),
}


def look(inputs, count):
    settings = common | {"instance_count": count, "base_job_name": "channels"}
    settings |= in_xgboost | {"entry_point": "show_channels.py"}
    return start(XGBoost(**settings), {"train": inputs})


looks = {kind: look(inputs, 2) for kind, inputs in kinds.items()}
looked = jobs.wait_for(session, *looks.values())

# %% [markdown]
# What did the hosts print?

# %%


def contents(names):
    """Return a row for each host of each job: what it got."""
    rows = []
    for title, name in names.items():
        for host in show_channels.of_log(jobs.log(session, name)):
            rows.append({"kind": title, **host, "files": " ".join(host["files"])})
    return pd.DataFrame(rows).set_index(["kind", "host"]).drop(columns="channel")


got = contents(looks)
got

# %% [markdown]
# **Nothing is split unless you say so.** By default each host has all files,
# `FullyReplicated`. With `ShardedByS3Key` the files are dealt out like cards,
# in the order of their names, and each host has its own.

# %%
assert list(got.loc["replicated", "rows"]) == [len(passengers)] * 2
assert list(got.loc["sharded", "rows"]) == [100 + 300, 200 + 112]

# %% [markdown]
# ### Exercise 1: predict, then run
#
# Before you run them: what does each host get of (a) one single file,
# sharded over two hosts; (b) four files, sharded over three hosts? Write your
# prediction down as rows for each host, then look.

# %%
# Your turn

# %% jupyter={"source_hidden": true} tags=["solution"]
predicted = {"one file": [len(passengers), 0], "four files": [100 + 112, 200, 300]}
one_file = TrainingInput(channels["train"], distribution="ShardedByS3Key")
names = {"one file": look(one_file, 2), "four files": look(kinds["sharded"], 3)}
jobs.wait_for(session, *names.values())
answer = contents(names)
print(answer)

# A file is never divided: of one file the second host gets nothing, and is paid for
# all the same. Of four files on three hosts the first gets two.
for title, rows in predicted.items():
    assert list(answer.loc[title, "rows"]) == rows

# %% [markdown]
# ## The wrong way: two hosts, two models
#
# Here is what many do. The script is made for one machine; we ask for two.
# `hosts="alone"` makes our script behave like that. Each gets two of the four
# files. After each epoch both print a checksum of their weights: if it is one
# model, it must be one number.

# %%
from sagemaker.pytorch import PyTorch

image = images.uri("pytorch", session.boto_region_name)
network = common | {"entry_point": "train_torch.py", "image_uri": image}
network |= {"metric_definitions": train_torch.METRIC_DEFINITIONS}
learning = {"epochs": 12, "early_stopping_epochs": 0, "dropout": 0.0, "batch_size": 64}


def start_network(count, inputs, name, **more):
    settings = network | {"instance_count": count, "base_job_name": name}
    estimator = PyTorch(**settings, hyperparameters=learning | more)
    return start(estimator, {"train": inputs})


replicated = TrainingInput(channels["train"])
wrong_name = start_network(2, kinds["sharded"], "two-models", hosts="alone")
(wrong,) = jobs.wait_for(session, wrong_name)

# %% [markdown]
# The job is `Completed`; nobody complained. Now the checksums:

# %%
import re


def checksums(name):
    """Return the checksum of the weights after each epoch, a column for each host."""
    pattern = re.compile(r"(\S+): epoch (\d+), weights (\w+)")
    found = map(pattern.match, jobs.log(session, name))
    rows = [match.groups() for match in found if match]
    table = pd.DataFrame(rows, columns=["host", "epoch", "weights"])
    table = table.drop_duplicates(["host", "epoch"], keep="last")
    table["epoch"] = table["epoch"].astype(int)
    return table.pivot(index="epoch", columns="host", values="weights")


two_models = checksums(wrong_name)
two_models.tail(3)

# %% [markdown]
# **Two machines, two models**, from the first epoch on. Each has learnt from
# about half of the passengers and knows nothing of the other. Both have been paid
# for. And both have written files of the same names, so that only one remains.

# %%
assert (two_models["algo-1"] != two_models["algo-2"]).all()
print(costs.verb(workshop.is_billed(session)), costs.job_cost(wrong))

# %% [markdown]
# ## The right way: one process group
#
# SageMaker brings machines, names (`SM_HOSTS`) and a network. The script must see
# to it that they train one model. In PyTorch that takes five things:
#
# 1. the hosts form a *process group*,
# 2. `DistributedDataParallel` averages their gradients in every step,
# 3. each takes its own part of every batch,
# 4. sums that are printed are added up over all,
# 5. one host alone saves.
#
# Two short scripts show it: `loop_one_host.py` is the plainest training loop, and
# `loop_many_hosts.py` the same for many hosts. Lines with `-` are of the first
# alone, lines with `+` of the second:

# %%
difference = hosts_diff.diff(context=2)
print(difference)

# %% [markdown]
# `torch_group.joined` forms the group with `torch.distributed`, and waits for all
# hosts. It is written once, for any script. How many lines does the step take?

# %%
print(hosts_diff.changed(difference), "lines")
assert hosts_diff.changed(difference) <= 20

# %% [markdown]
# `train_torch.py` is built in the same way, and can do more: validate, stop and
# go on, use shards of different length. We run it as one group of two hosts,
# and beside it as a job with one host, for comparison. Each host has all files
# this time: the group shares out the rows of every batch. `batch_size` means the
# full batch, so with two hosts each takes half of it. (The group may learn
# longer; we shall need that below.)

# %%
EPOCHS = 130
right_name = start_network(2, replicated, "one-model", epochs=EPOCHS)
single_name = start_network(1, replicated, "one-host")
right, single = jobs.wait_for(session, right_name, single_name)
one_model = checksums(right_name)
one_model.tail(3)

# %% [markdown]
# One number in each row: after every epoch both hosts hold the same weights,
# to the last bit. That alone is no proof. Two hosts with the same files and the
# same seed would print equal numbers without any group, for they would do the
# same work twice! So we also look at how many rows each has learnt from, which
# the script notes beside its model.

# %%
import json

from sagemaker.s3 import S3Downloader


def output(job, archive="output"):
    """Download and unpack output.tar.gz of a job, or model.tar.gz; its folder."""
    model = job["ModelArtifacts"]["S3ModelArtifacts"]
    folder = work / job["TrainingJobName"] / archive
    uri = model.replace("model.tar.gz", f"{archive}.tar.gz")
    S3Downloader.download(uri, str(folder), sagemaker_session=session)
    workshop.unpack_artifact(folder / f"{archive}.tar.gz", folder)
    return folder


noted = json.loads((output(right, "model") / "parameters.json").read_text())
noted["rows"], noted["hosts"]

# %% [markdown]
# Each learnt from half of the rows, and both hold the same weights: one model.

# %%
each = [counts["train"] for counts in noted["hosts"].values()]
assert sum(each) == noted["rows"]["train"] > max(each)
assert (one_model["algo-1"] == one_model["algo-2"]).all()
assert len(one_model) == EPOCHS

# %% [markdown]
# And do two hosts learn what one host learns? The same rows are in each batch,
# and the mean of two halves' gradients is the gradient of the whole. So the
# losses should lie on one curve. Each job left them in `history.csv`.

# %%
import matplotlib.pyplot as plt


def losses(job):
    return pd.read_csv(output(job) / "history.csv")["train:logloss"]


figure, axes = plt.subplots(figsize=(6, 3), layout="constrained")
ring = {"marker": "o", "markersize": 11, "markerfacecolor": "none", "linestyle": "none"}
axes.plot(losses(single), label="one host", **ring)
axes.plot(losses(right)[:12], label="two hosts, one group", marker=".")
axes.plot(losses(wrong), label="two hosts alone: the history kept", color="gray")
axes.set(xlabel="epoch", ylabel="train loss")
axes.legend()
plt.show()

# %% [markdown]
# Each dot sits in its ring; the grey line has seen other rows. The dots are
# not there to the last bit, though: the sum of two halves is rounded otherwise
# than the sum of the whole.

# %%
gap = (losses(single) - losses(right)[: learning["epochs"]]).abs()
print(f"largest gap: {gap.max():.1e}")
assert len(gap) == learning["epochs"]
assert gap.max() < 1e-3

# %% [markdown]
# For machines with GPUs SageMaker has a switch,
# `distribution={"torch_distributed": {"enabled": True}}`: it starts the script
# once for every GPU, with `torchrun`. The same script then finds its place from
# the variables that `torchrun` sets. On machines without a GPU the SDK
# refuses the switch; there the script's own group, as here, is the way.
#
# ### Exercise 2: find the missing all-reduce
#
# `exercise_all_reduce.py` averages the gradients itself, without
# `DistributedDataParallel`, and has a bug. Here are its checksums, of each layer
# after each epoch. Which layer drifts apart? Open the script, find the line, and
# cure it in a copy.

# %%
exercise = network | {"entry_point": "exercise_all_reduce.py", "instance_count": 2}
exercise |= {"base_job_name": "all-reduce", "metric_definitions": None}
drift_name = start(PyTorch(**exercise), {"train": replicated})
_ = jobs.wait_for(session, drift_name)
said = [line for line in jobs.log(session, drift_name) if ": epoch" in line]
print(*said, sep="\n")

# %%
# Your turn

# %% jupyter={"source_hidden": true} tags=["solution"]
import shutil

# Layer 3, the last: its gradients are left out of the mean by `layers[:-1]`.
cured = shutil.copytree("../scripts/training", work / "cured")
script = cured / "exercise_all_reduce.py"
script.write_text(script.read_text().replace("in layers[:-1]:", "in layers:"))
cure = PyTorch(**exercise | {"source_dir": str(cured)})
cured_name = start(cure, {"train": replicated})
_ = jobs.wait_for(session, cured_name)


def layers(name):
    """Return what each host printed of its layers, in order."""
    log = jobs.log(session, name)
    lines = [line.split(": epoch") for line in log if ": epoch" in line]
    return [[said for host, said in lines if host == f"algo-{n}"] for n in (1, 2)]


before, after = layers(drift_name), layers(cured_name)
assert before[0] != before[1]
assert len(after[0]) == 3
assert after[0] == after[1]

# %% [markdown]
# One forgotten layer, and two hosts part ways, with no error and a loss that
# still falls. Checksums find it at once.
#
# ## XGBoost: one model of all hosts' rows
#
# Trees are grown from histograms: for each feature and each of up to 256 bins,
# the sums of the first and second derivatives of the loss over the passengers
# in it. Histograms of two hosts can be added, and the sum is that of all. So
# nothing needs to be averaged. `train_xgboost.py` forms the group with
# XGBoost's own means (`hosts/xgboost_group.py`).

# %%
trees = common | in_xgboost | {"entry_point": "train_xgboost.py"}


def start_trees(count, inputs, name="trees", **hyperparameters):
    settings = trees | {"instance_count": count, "base_job_name": name}
    estimator = XGBoost(**settings, hyperparameters=hyperparameters)
    return start(estimator, {"train": inputs})


by_hosts = {"one host": (1, "replicated"), "two hosts": (2, "sharded")}
names = {title: start_trees(n, kinds[kind]) for title, (n, kind) in by_hosts.items()}
few, more = jobs.wait_for(session, *names.values())
for title, name in names.items():
    said = [line for line in jobs.log(session, name) if "model checksum" in line]
    print(title, *said, sep="\n  ")

# %% [markdown]
# Three lines, one checksum. Not only do both hosts hold one model: it is the
# model of one host with all files, the same bytes. (A feature with more values
# than bins makes it the same to within a hair, for the bins of several hosts
# are then made from summaries.)

# %%
models = {output(job, "model") / train_xgboost.MODEL_FILE for job in (few, more)}
assert len({path.read_bytes() for path in models}) == 1

# %% [markdown]
# What of the built-in algorithm? It forms such a group by itself. But it does
# not divide your rows: if every host has all files, every host trains on all.

# %%
from sagemaker.estimator import Estimator

from workshop import builtin_data

(work / "builtin").mkdir()
for file in sorted((work / "shards").iterdir()):
    builtin_data.write(titanic.read(file), work / "builtin" / file.name)
    workshop.upload(session, work / "builtin" / file.name, "data/builtin")

# %% [markdown]
# Two jobs of two hosts each, the one with every file on both, the other with
# two files on each.

# %%
of_a_script = ("source_dir", "code_location")
settings = {key: common[key] for key in common if key not in of_a_script}
settings["image_uri"] = XGBoost(**trees, instance_count=1).training_image_uri()
asked = {"num_round": 20, "objective": "binary:logistic", "nthread": 1}
prefix = f"s3://{session.default_bucket()}/data/builtin/"
builtin = {}
for kind in ("FullyReplicated", "ShardedByS3Key"):
    inputs = TrainingInput(prefix, distribution=kind, content_type="text/csv")
    estimator = Estimator(**settings, instance_count=2, hyperparameters=asked)
    builtin[kind] = start(estimator, {"train": inputs})
_ = jobs.wait_for(session, *builtin.values())

# %% [markdown]
# The log of each host says how many rows it has.

# %%
for kind, name in builtin.items():
    said = [line for line in jobs.log(session, name) if "matrix has" in line]
    print(kind, *said, sep="\n  ")

# %% [markdown]
# With the default each host read all 712: twice the machines, twice the bill,
# and no second saved. To divide the work is up to you: at least as many files
# as hosts, and `ShardedByS3Key`.
#
# ## What does it buy?
#
# Now the crowd, in four files, on one, two and four hosts, one job after
# another. Each host has one thread, so that the number of threads is that of
# the hosts.

# %%
for file in crowd_files:
    uri = workshop.upload(session, file, "data/crowd")
crowd_prefix = uri.rpartition("/")[0] + "/"
crowd_channel = TrainingInput(crowd_prefix, distribution="ShardedByS3Key")
work_to_do = {"max_depth": 6, "num_round": 200, "early_stopping_rounds": 0}
work_to_do["nthread"] = 1
counts = [1, 2, 4]
ladder_jobs = {}
for count in counts:
    name = start_trees(count, crowd_channel, f"crowd-{count}", **work_to_do)
    (ladder_jobs[count],) = jobs.wait_for(session, name)

# %% [markdown]
# Every host prints the seconds of its stages, and its CPU seconds: the time
# for which a processor was really at work for it. The slowest host is the one
# that counts.

# %%
rows = {}
for count, job in ladder_jobs.items():
    hosts = pd.DataFrame(stages.of_hosts(jobs.log(session, job["TrainingJobName"])))
    rows[count] = {
        "clock_s": hosts.drop(columns=["peak_memory_gb", "cpu_s"]).sum(axis=1).max(),
        "cpu_s": hosts["cpu_s"].max(),
        "memory_gb": hosts["peak_memory_gb"].max(),
        "billable_s": job["BillableTimeInSeconds"],
        "usd": costs.job_cost(job).usd,
    }
ladder = pd.DataFrame(rows).T.rename_axis("hosts")
ladder.round(6)

# %% [markdown]
# How to read that depends on where it ran. If your calls stay on this machine,
# all hosts share its processors:

# %%
here = not workshop.is_billed(session)
cores_each = {n: min(1.0, cores / n) if here else 1.0 for n in counts}
print("processors for each host's one thread:", cores_each)

# %% [markdown]
# With less than one processor for each host the clock cannot show what more
# hosts would bring; they wait for each other's turn. The CPU seconds of the
# busiest host can: they are what the job would take with a processor for each
# host, and a network that costs nothing. On AWS each host has processors of its
# own and a real network between, so there the clock is what counts. (`clock_s`
# is of the stages alone, `cpu_s` also of Python's start.)
#
# Part of the work is not shared: every host imports its libraries and takes
# part in every sum. If a fraction $s$ of the work is such, then $n$ hosts need
# $s + (1 - s) / n$ of the time (Amdahl, 1967). Which $s$ fits best?

# %%
import numpy as np

took = ladder["cpu_s" if here else "clock_s"]
n = np.array(counts[1:])
share = took.loc[n].to_numpy() / took.loc[1]
x, y = 1 - 1 / n, share - 1 / n  # share = s + (1 - s) / n is y = s x
serial = float(np.clip((x @ y) / (x @ x), 0, 1))
most = 1 / max(serial, 1e-3)
print(f"serial fraction: {serial:.0%}; so never more than {most:.1f} times as fast")

# %% [markdown]
# As a picture: how many times as fast as one host?

# %%
figure, axes = plt.subplots(figsize=(6, 3.4), layout="constrained")
line = np.linspace(1, counts[-1])
axes.plot(line, line, ":", color="gray", label="ideal")
fitted = 1 / (serial + (1 - serial) / line)
axes.plot(line, fitted, label=f"serial fraction {serial:.0%}")
for column, marker in {"cpu_s": "o", "clock_s": "x"}.items():
    axes.plot(counts, ladder.loc[1, column] / ladder[column], marker, label=column)
axes.set(xlabel="hosts", ylabel="times as fast", xticks=counts)
axes.legend()
plt.show()

# %% [markdown]
# The dots bend away from the ideal line: the work divides, the rest does not.
# *Efficiency* says it as one number, speed-up divided by hosts. Had each host a
# processor of its own, the bill would grow by one divided by it. (The `usd`
# above grow by more where hosts had to share processors; and short jobs are
# billed in whole seconds.)

# %%
efficiency = took.loc[1] / took / took.index
print(efficiency.map("{:.0%}".format).to_dict())
assert efficiency.iloc[-1] < 1

# %% [markdown]
# ## When does it pay?
#
# A training of hours has a smaller serial part than ours of seconds, but each
# host on AWS also has to fetch its image and its data, and that is billed. On
# record is a job that somebody ran on one machine in 2024 and published: its
# script took seconds, and its bill was for over two minutes:

# %%
recorded = pd.read_csv("../data/recorded_on_aws.csv", index_col="job")
overhead_s = recorded.loc["script", "billable_s"]
hourly = costs.price("ml.m5.large").usd


def run(hours, hosts, serial=serial):
    """Minutes and dollars of a training that takes one host so many hours."""
    seconds = overhead_s + 3600 * hours * (serial + (1 - serial) / hosts)
    return seconds / 60, hosts * seconds * hourly / 3600


sizes = [1, 2, 4, 8, 16]
plan = {hours: [run(hours, hosts) for hosts in sizes] for hours in (0.05, 1, 8)}
pd.DataFrame(plan, index=pd.Index(sizes, name="hosts")).map(
    lambda pair: f"{pair[0]:.0f} min, ${pair[1]:.2f}"
).add_suffix(" h")

# %% [markdown]
# Read it from left to right. Three minutes of work: more hosts save a minute or
# two and multiply the bill, for each pays its own start. Hours of work: they
# save time, and dollars never. If the serial fraction was measured on this
# machine, nothing went over a real network; on a cluster measure your own, with
# 1, 2 and 4 hosts and a few rounds, before you order 16.
#
# ### Exercise 3: choose for a budget
#
# A training takes one `ml.m5.large` three hours. You may spend $0.60 and want
# it as soon as possible. How many hosts (20 at most, by the default quota), with
# our serial fraction? And with a better script, whose serial fraction is 1 %?

# %%
# Your turn

# %% jupyter={"source_hidden": true} tags=["solution"]


def fastest(budget, hours, fraction):
    """Return the number of hosts that ends first within a budget, minutes, dollars."""
    plans = {hosts: run(hours, hosts, fraction) for hosts in range(1, 21)}
    within = {hosts: plan for hosts, plan in plans.items() if plan[1] <= budget}
    return min(within.items(), key=lambda item: item[1])


for fraction in (serial, 0.01):
    hosts, (minutes, dollars) = fastest(0.60, 3, fraction)
    print(f"serial {fraction:.0%}: {hosts} hosts, {minutes:.0f} min, ${dollars:.2f}")
assert fastest(0.60, 3, 0.01)[1] <= fastest(0.60, 3, max(serial, 0.01))[1]

# %% [markdown]
# The serial fraction decides what a dollar buys. To lower it (larger batches,
# fewer sums, quicker start) often saves more than machines do.
#
# ## Spot: a machine that may be taken away
#
# Capacity that nobody else wants is sold at a discount, *spot*. When somebody
# wants it, AWS takes the machines away in the middle of the work and starts
# the job again later. A script that saves checkpoints goes on where it was.
#
# From AWS one cannot order an interruption. If your calls stay on this machine,
# one can, with a tag; on AWS the tag is a label like any other.

# %%
from sagemaker.utils import name_from_base

spot_name = name_from_base("spot")
wish = {"Key": "spot-interruptions-after-seconds", "Value": "7"}
spot = network | {
    "instance_count": 2,
    "use_spot_instances": True,
    "max_wait": 1200,
    "checkpoint_s3_uri": f"{results}/{spot_name}/checkpoints",
    "tags": [*workshop.tags("07"), wish],
}
longer = learning | {"epochs": EPOCHS, "checkpoint_seconds": 0.5}
estimator = PyTorch(**spot, hyperparameters=longer)
estimator.fit({"train": replicated}, wait=False, job_name=spot_name)
(spot_job,) = jobs.wait_for(session, spot_name)
started.append(spot_name)

# %% [markdown]
# What happened to it, status by status?

# %%
jobs.timeline(spot_job)

# %% [markdown]
# `Interrupted`, then a second `Starting`: the machines were taken away, and
# others came. (No such row? On AWS nobody wanted them; on this machine the job
# was done within seven seconds, and needs more epochs.) Did the second pair
# begin anew?

# %%
spot_log = jobs.log(session, spot_name)
resumed = [line for line in spot_log if "going on after" in line]
print(*(resumed or ["no host went on from a checkpoint"]), sep="\n")

# %% [markdown]
# Where a line says *going on after*, that host went on from its checkpoint. Has
# the interruption changed what was learnt? Our group of two hosts above learnt
# as long, and nobody disturbed it.

# %%
assert (losses(spot_job) - losses(right)).abs().max() < 1e-3
spot_weights = checksums(spot_name)
assert (spot_weights["algo-1"] == spot_weights["algo-2"]).all()
if here:  # on AWS the machines may have other processors, which round otherwise
    assert spot_weights.loc[EPOCHS, "algo-1"] == one_model.loc[EPOCHS, "algo-1"]

# %% [markdown]
# It has not: the same weights at the end. And the price?

# %%
saving = costs.spot_saving(spot_job)
print(saving)

# %% [markdown]
# On AWS, `BillableTimeInSeconds` of a spot job is smaller than its training
# time, by the discount of the day. (If your calls stay on this machine, the
# discount is an assumption; the seconds, the lost ones too, are real.)
#
# ## A network that no machine can hold
#
# So far every host held the whole model. When does that end? A weight that
# learns needs 16 bytes: itself, its gradient, and two running means of Adam's.

# %%
import memory_estimate

sizes_gb = {}
for width in (64, 4096, 32_768):
    network_layers = memory_estimate.layers(11, width, depth=12)
    need = memory_estimate.training(network_layers, rows=64)._asdict()
    sizes_gb[f"width {width}"] = {what: size / 2**30 for what, size in need.items()}
memory = pd.DataFrame(sizes_gb)
memory.loc["together"] = memory.sum()
memory.round(3)

# %% [markdown]
# Our network needs next to nothing. A network with twelve layers of 32,768
# neurons would need 176 GB, more than an H200 has (141). Only then do you split
# the model itself, for splitting costs time. It will not happen by itself: the script says
# which layer lives where. `train_pipeline.py` puts the first layers on the
# first host and the last on the last, with `torch.distributed.pipelining`, and
# batches go through in four parts, so that both hosts have work.

# %%
split = network | {"entry_point": "train_pipeline.py"}
deep = {"width": 256, "depth": 4, "epochs": 5}
split_names = {}
for count in (1, 2):
    settings = split | {"instance_count": count, "base_job_name": f"pipeline-{count}"}
    estimator = PyTorch(**settings, hyperparameters=deep)
    split_names[count] = start(estimator, {"train": replicated})
whole_job, split_job = jobs.wait_for(session, *split_names.values())

# %% [markdown]
# What does each host hold?

# %%
for count, name in split_names.items():
    held = [line for line in jobs.log(session, name) if "bytes of weights" in line]
    print(f"{count} host(s)", *held, sep="\n  ")

# %% [markdown]
# With two hosts each has some of the layers, and no host has all. And it
# learns what the whole network learns:

# %%
gap = (losses(whole_job) - losses(split_job)).abs()
print(f"largest gap of the losses: {gap.max():.1e}")
assert len(gap) == deep["epochs"]
assert gap.max() < 1e-3

# %% [markdown]
# The other way to split, FSDP, gives every host a part of every layer:
# `how="sharded"` in the same script.
#
# ## Data larger than the machine
#
# Two switches help before more machines do. `FastFile` streams a channel from
# S3 when the script reads it, so the disk need not hold it. And
# `external_memory` of our XGBoost script keeps rows on disk, so that memory
# need not. The same crowd, the same work, on two hosts:

# %%
kind = {"distribution": "ShardedByS3Key", "input_mode": "FastFile"}
stream = TrainingInput(crowd_prefix, **kind)
lean_name = start_trees(2, stream, "lean", external_memory=True, **work_to_do)
_ = jobs.wait_for(session, lean_name)
lean = pd.DataFrame(stages.of_hosts(jobs.log(session, lean_name)))
needed = lean[["peak_memory_gb", "cpu_s"]].max().to_frame("on disk")
needed["in memory"] = ladder.loc[2, ["memory_gb", "cpu_s"]].to_numpy()
needed.round(2)

# %% [markdown]
# For a crowd of this size most of the memory is Python and its libraries, so
# hardly any is saved, and it took more work. It counts from millions of rows
# on: `make bench` measures it at ten million.
#
# ## Key points
#
# - A bigger machine first: same price per processor, no network, no new code
# - `instance_count=2` without a group in the script is two models, both paid for
# - A channel is replicated unless you shard it; a file is never divided
# - Print a checksum of the weights and the rows of every host: other weights
#   are two models, the same weights from the same rows is work done twice
# - N hosts with the same whole batch learn what one host learns
# - Measure 1, 2 and 4 before you order 16; more hosts never cost less
# - Spot plus checkpoints saves money; without checkpoints it may cost more
#
# ## Clean up
#
# All jobs have ended, so no machine bills. What is left are their artifacts
# and the lists in S3.

# %%
bucket = session.boto_session.resource("s3").Bucket(session.default_bucket())
leftovers = ["data/shards/", "data/builtin/", "data/crowd/"]
for leftover in [*leftovers, *(f"jobs/{name}/" for name in started)]:
    bucket.objects.filter(Prefix=leftover).delete()
scratch.cleanup()
