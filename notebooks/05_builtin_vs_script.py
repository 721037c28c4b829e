# %% [markdown]
# # 05 · Built-in algorithm or your own script?
#
# SageMaker's XGBoost image can be used in two ways. You bring a script, as in
# lesson 03. Or you bring no code at all: the image has an algorithm *built
# in*, which reads your file, trains and saves. Which of the two should you
# take? We let both train on the same passengers and compare what comes out,
# how long it took, what it cost, and what it asked of us. And we walk into
# the trap that most people meet first.
#
# **Questions**
#
# - What does a built-in algorithm do for me, and what does it want from me?
# - How can a job be `Completed` and its model nonsense?
# - Are the two models as good as each other? As fast? As dear?
# - When do I write a script?
#
# **Objectives**
#
# - Train with the built-in XGBoost, from CSV, Parquet and libsvm
# - Check a file before a job is paid for it
# - Prove on predictions that two models agree, over several seeds
# - Compare jobs by phase, memory, cost and effort, from what AWS recorded
# - Find out from a log alone that a job was fed the wrong file
#
# **You need** lesson 03 for the words used here: estimator, channel,
# artifact, billable seconds. Nothing has to be left over from it.
#
# **Time** teaching 35 min, exercises 25 min
#
# **Cost on AWS** about $0.08: eighteen short jobs on the smallest machine, at
# most four at a time. A time limit of ten minutes bounds each at $0.02.

# %%
import sys

sys.path[:0] = ["../scripts", "../scripts/training"]

import metrics
import stages
import titanic
import train_xgboost
import workshop
from workshop import builtin_data, costs, images, jobs

# %% [markdown]
# As always: a session with our bucket, a role for the jobs, and the passenger
# lists in S3.

# %%
session = workshop.session()
role = workshop.execution_role(session)
channels = workshop.ensure_data(session)
print(workshop.home(session))

# %% [markdown]
# ## One image, two ways in
#
# For a built-in algorithm there is no class of its own. One takes the generic
# `Estimator` and gives it the address of an image (lesson 04).

# %%
from sagemaker.estimator import Estimator

image = images.uri("xgboost", session.boto_region_name)
image

# %% [markdown]
# Order forms for both, with the same second half. Only the script's has an
# `entry_point`.

# %%
from sagemaker.xgboost import XGBoost

results = f"s3://{session.default_bucket()}/jobs"
common = {
    "role": role,
    "sagemaker_session": session,
    "instance_type": "ml.m5.large",
    "instance_count": 1,
    "max_run": 600,
    "output_path": results,
    "tags": workshop.tags("05"),
    "disable_profiler": True,
    "debugger_hook_config": False,
}
our_script = {
    "entry_point": "train_xgboost.py",
    "source_dir": "../scripts/training",
    "code_location": results,
    "image_uri": image,
    "framework_version": "3.2-0",
}

# %% [markdown]
# Two short functions start a job of each kind and return its name at once.
# Names of jobs we keep in a list, so that nothing is forgotten at the end.

# %%
started = []


def start(estimator, inputs):
    estimator.fit(inputs, wait=False)
    started.append(estimator.latest_training_job.name)
    return started[-1]


def start_builtin(inputs, **hyperparameters):
    settings = common | {"image_uri": image, "base_job_name": "titanic-builtin"}
    return start(Estimator(**settings, hyperparameters=hyperparameters), inputs)


def start_script(inputs, **hyperparameters):
    settings = common | our_script | {"base_job_name": "titanic-script"}
    return start(XGBoost(**settings, hyperparameters=hyperparameters), inputs)


# %% [markdown]
# Is it really the same image? Ask the other estimator for its own.

# %%
assert XGBoost(**common, **our_script).training_image_uri() == image

# %% [markdown]
# It is. The image looks whether the job names a script. If so, it runs that
# script; if not, it runs its own algorithm.
#
# ## The trap
#
# The shortest job that one can write: here is our passenger list, as it is,
# now train. `num_round`, the number of trees, is the only hyperparameter that
# the algorithm insists on.

# %%
from sagemaker.inputs import TrainingInput

raw = {"train": TrainingInput(channels["train"], content_type="text/csv")}
raw_name = start_builtin(raw, num_round=50)
(raw_job,) = jobs.wait_for(session, raw_name)

# %% [markdown]
# No error, and its error even fell while it trained. Let us see it in the
# table.

# %%
jobs.table(raw_job).T

# %% [markdown]
# `Completed`. But there is no loss and no accuracy in it, only `train:rmse`, the
# typical error, and that is far above 1, for a question whose answer is 0 or
# 1. We never said what the question is! So XGBoost took its own default, the
# regression of a number. Which number?
#
# Fetch the model, and ask it about the test list, read by the same reader that
# the algorithm has. (That reader is old; XGBoost says so itself, and we let
# the notebook pass over it.)

# %%
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import xgboost
from sagemaker.s3 import S3Downloader

scratch = TemporaryDirectory()
work = Path(scratch.name)


def fetch(job):
    """Download and unpack a job's model; returns the folder."""
    uri = job["ModelArtifacts"]["S3ModelArtifacts"]
    folder = work / job["TrainingJobName"]
    S3Downloader.download(uri, str(folder), sagemaker_session=session)
    workshop.unpack_artifact(folder / "model.tar.gz", folder)
    return folder


def as_the_algorithm_reads(file):
    with warnings.catch_warnings(action="ignore"):
        return xgboost.DMatrix(f"{file}?format=csv&label_column=0")


# %% [markdown]
# Beside each answer stands what the passenger's number is.

# %%
import pandas as pd

test_file = "../data/titanic_test.csv"
raw_model = builtin_data.load_model(fetch(raw_job))
raw_answers = raw_model.predict(as_the_algorithm_reads(test_file))
test_list = titanic.read(test_file)
raw_table = test_list[["PassengerId", "Name", "Survived"]].assign(model=raw_answers[1:])
raw_table.head()

# %% [markdown]
# **It predicts passenger numbers.** The algorithm takes the first column for
# the label, whatever stands in it, and in our file that is `PassengerId`. All
# answers that should lie between 0 and 1 are numbers of passengers.

# %%
print(f"answers from {raw_answers.min():.0f} to {raw_answers.max():.0f}")
assert raw_job["TrainingJobStatus"] == "Completed"
assert jobs.table(raw_job)["train:rmse"].item() > 10
assert (raw_answers > 1).mean() > 0.9

# %% [markdown]
# It gave one answer more than there are passengers, too (the cell above left
# it out). The log says why, in the one line of it that tells what the
# algorithm has read.

# %%
raw_log = jobs.log(session, raw_name)
print(*[line for line in raw_log if "matrix has" in line], sep="\n")
print("rows in our list:", len(titanic.read("../data/titanic_train.csv")))

# %% [markdown]
# One row more than the list has: the header was taken for a passenger. The
# columns are all but the first, `Name` and `Ticket` among them, whose text was
# skipped in silence. Four mistakes, and not one error. The same is on record
# for the real AWS, from the outputs of a public notebook:

# %%
recorded = pd.read_csv("../data/recorded_on_aws.csv", index_col="job")
recorded.loc["built-in, raw file", ["run_on", "image", "note"]].to_dict()

# %% [markdown]
# ## What it wants
#
# Numbers only, the label first, no header. A validation part, if there should
# be one, as a file of its own in a channel of its own. The script did all
# this by itself; now it is our part. To be fair, we hold out the very rows
# that the script holds out: same function, same seed.

# %%
passengers = titanic.read("../data/titanic_train.csv")


def prepare(seed, ending=".csv", rows=passengers):
    """Write train and validation for the built-in XGBoost; returns their folder."""
    aside = titanic.hold_out(titanic.labels(rows), 0.2, seed)
    folder = work / f"seed-{seed}{ending}-{len(rows)}"
    for part, chosen in {"train": rows[~aside], "validation": rows[aside]}.items():
        (folder / part).mkdir(parents=True)
        builtin_data.write(chosen, folder / part / f"{part}{ending}")
    return folder


prepared = prepare(seed=1)
print((prepared / "train" / "train.csv").read_text()[:150])

# %% [markdown]
# Each line begins with 0 or 1, then come the features of
# `titanic.features`, in their order. An unknown age is an empty field, which
# the algorithm takes for unknown, as the script does.
#
# ## Check it before it is paid
#
# Since the algorithm does not complain, somebody else must.
# `builtin_data.check` reads a file as the algorithm would, and counts.

# %%
checked = builtin_data.check(prepared / "train")
print(checked)
assert checked.features == len(titanic.FEATURES)

# %% [markdown]
# A file that would be misread ends in a `DataError` instead, with one sentence
# that says what to do. Here is our raw list again:

# %% tags=["raises-exception"]
builtin_data.check("../data/titanic_train.csv")

# %% [markdown]
# What else do people hand in? We make the usual mistakes on purpose, with
# pandas, and let the check speak.

# %%
table = titanic.features(passengers)
table["Survived"] = titanic.labels(passengers)
label_first = table[["Survived", *titanic.FEATURES]]
plain = {"header": False, "index": False}
mistakes = {
    "label last": (table, plain),
    "row numbers": (label_first, {"header": False}),
    "truth values": (label_first.assign(Female=table["Female"] == 1), plain),
    "semicolons": (label_first, plain | {"sep": ";"}),
}
for mistake, (frame, options) in mistakes.items():
    frame.to_csv(work / "wrong.csv", **options)
    try:
        print(mistake, "->", builtin_data.check(work / "wrong.csv"))
    except titanic.DataError as error:
        print(f"{mistake}: {str(error).split('wrong.csv, ')[1]}")

# %% [markdown]
# All four are refused here, for nothing. (pandas writes truth values as `True`
# and `False`, and `get_dummies` makes truth values: that is how they get in.)
#
# One thing no check of a file can see. If the first column holds 0 and 1 but is
# not the label, such as `Female`, then the file is in order and the model
# predicts who is a woman. Hence the third number above, how many are labelled
# 1: compare it with what you know of your data.

# %%
aside = titanic.hold_out(titanic.labels(passengers), 0.2, 1)
assert checked.positives == titanic.labels(passengers)[~aside].sum()

# %% [markdown]
# ## Both, on the same rows
#
# The hyperparameters are the same for both; the names are XGBoost's own. The
# built-in algorithm has to be told more, which our script knows by itself:
# that the question is yes or no (`objective`), by which loss to measure
# (`eval_metric`; the last one decides when to stop), and that one thread is
# enough for so few rows (`nthread`; it takes all CPUs otherwise, and they wait
# for each other). And it needs a channel `validation`.

# %%
hyperparameters = {"max_depth": 3, "eta": 0.1, "num_round": 200}
hyperparameters |= {"early_stopping_rounds": 10}
told = {"objective": "binary:logistic", "eval_metric": "auc,logloss", "nthread": 1}
for_builtin = hyperparameters | told


def upload(folder):
    """Upload prepared files; returns the channels of a job."""
    inputs = {}
    for file in sorted(folder.glob("*/*")):
        prefix = f"lesson-05/{folder.name}/{file.parent.name}"
        uri = workshop.upload(session, file, prefix)
        content_type = builtin_data.CONTENT_TYPES[file.suffix]
        inputs[file.parent.name] = TrainingInput(uri, content_type=content_type)
    return inputs


# %% [markdown]
# Before it runs: what can the pair cost at most?

# %%
bound = costs.upper_bound(common["instance_type"], 2, common["max_run"])
print("both together at most", bound)

# %% [markdown]
# Off they go, side by side. `jobs.wait_for` tells each status as it comes.

# %%
pair = [
    start_builtin(upload(prepared), **for_builtin, seed=1),
    start_script({"train": channels["train"]}, **hyperparameters, seed=1),
]
builtin_job, script_job = jobs.wait_for(session, *pair)

# %% [markdown]
# Did the algorithm read what we meant this time?

# %%
builtin_log = jobs.log(session, pair[0])
print(*[line for line in builtin_log if "matrix has" in line], sep="\n")
assert any(f"Train matrix has {checked.rows} rows" in line for line in builtin_log)

# %% [markdown]
# As many rows as the check has counted. Comparing these two numbers takes a
# second and would have found every mistake of the trap.
#
# ## Do they agree?
#
# Two models, from two programs. We ask both about everybody in the test list.

# %%
import numpy as np


def answers(job):
    """Return the probabilities of survival that a model gives to the test list."""
    folder = fetch(job)
    with_script = (folder / train_xgboost.MODEL_FILE).exists()
    load = train_xgboost.model_fn if with_script else builtin_data.load_model
    model = load(folder)
    return train_xgboost.predict(model, test_list), model.num_boosted_rounds()


builtin_answers, builtin_trees = answers(builtin_job)
script_answers, script_trees = answers(script_job)
difference = np.abs(builtin_answers - script_answers).max()
print(f"largest difference about {len(test_list)} passengers: {difference:.7f}")

# %% [markdown]
# **They agree about every single passenger.** Same library, same version, same
# rows, same hyperparameters: there is no secret better XGBoost in the built-in
# algorithm, nor in the script. If two such models of yours differ, look for
# what went in differently.

# %%
assert np.allclose(builtin_answers, script_answers, atol=1e-6)

# %% [markdown]
# And they stopped at the same tree: each watched the validation rows, and
# kept the model up to the best round.

# %%
print(f"trees kept: built-in {builtin_trees}, script {script_trees}, of at most 200")
assert builtin_trees == script_trees

# %% [markdown]
# The jobs' own metrics differ a little, although the models do not: the
# built-in algorithm reports its *last* round, which is some rounds after the
# best, the script the model that it saved.

# %%
both = jobs.table(builtin_job, script_job).set_axis(["built-in", "script"])
both[["status", "billable_s", "train:logloss", "validation:logloss"]].T

# %% [markdown]
# ## Other formats
#
# CSV is not the only thing it reads. **Parquet** holds typed columns, is
# smaller and quicker to read; label first again, and the names of the columns
# do not count. **libsvm** writes `place:value` and leaves out what is unknown;
# for tables with very many empty cells. One call each:

# %%
formats = [".parquet", ".libsvm"]
alternatives = [prepare(seed=1, ending=ending) for ending in formats]
print((alternatives[1] / "train" / "train.libsvm").read_text()[:110])
for folder in alternatives:
    print(folder.name, builtin_data.check(folder / "train"))

# %% [markdown]
# Beware of the default. If a channel has no `content_type`, the algorithm
# takes it for libsvm, whatever the file is called.

# %%
uploaded = [upload(folder) for folder in alternatives]
given = [start_builtin(inputs, **for_builtin, seed=1) for inputs in uploaded]
for ending, job in zip(formats, jobs.wait_for(session, *given), strict=True):
    same = np.allclose(answers(job)[0], builtin_answers, atol=1e-6)
    print(f"{ending}: {job['TrainingJobStatus']}, same answers as from CSV: {same}")
    assert same

# %% [markdown]
# The same model from all three. So choose by convenience: CSV that one can
# read, Parquet when there is much of it.
#
# ## Once is not enough
#
# One pair of jobs with one seed is an anecdote. The seed chooses which rows
# are held out, and so where training stops. We repeat with four more. Two
# pairs run at a time, for a new account may not rent more machines at once.

# %%
seeds = {1: (builtin_job, script_job)}
for batch in [(2, 3), (4, 5)]:
    names = []
    for seed in batch:
        files = upload(prepare(seed))
        names.append(start_builtin(files, **for_builtin, seed=seed))
        on_list = {"train": channels["train"]}
        names.append(start_script(on_list, **hyperparameters, seed=seed))
    done = jobs.wait_for(session, *names)
    seeds |= dict(zip(batch, zip(done[::2], done[1::2], strict=True), strict=True))

# %% [markdown]
# Every model is asked about the test list: a row per job.

# %%
truth = titanic.labels(test_list)
rows = []
for seed, pair_of_jobs in seeds.items():
    for kind, job in zip(["built-in", "script"], pair_of_jobs, strict=True):
        chances, trees = answers(job)
        scores = metrics.evaluate(truth, chances)
        rows.append({"kind": kind, "seed": seed, **scores, "trees": trees})
scores = pd.DataFrame(rows)
scores.set_index(["seed", "kind"])[["accuracy", "logloss", "trees"]].unstack()

# %% [markdown]
# A mean over seeds, with the 95 % interval of that mean (Student's *t*, since
# five are few). It says how much the choice of the held-out rows matters. How
# much the choice of the *test* rows matters is in lesson 02, and it is more.

# %%
from scipy import stats


def mean_and_interval(values):
    half = stats.sem(values) * stats.t.ppf(0.975, len(values) - 1)
    return f"{values.mean():.3f} ± {half:.3f}"


quality = scores.groupby("kind")[["accuracy", "auc", "logloss"]].agg(mean_and_interval)
quality.T

# %% [markdown]
# In a picture: a ring for the built-in algorithm, a dot for the script. The
# band is the interval of the mean.

# %%
import matplotlib.pyplot as plt

figure, panels = plt.subplots(1, 3, figsize=(9, 3), layout="constrained")
ring = {"s": 110, "facecolors": "none", "edgecolors": "tab:blue", "linewidths": 2}
marks = {"built-in": ring, "script": {"s": 25, "color": "tab:orange"}}
for axes, measure in zip(panels, ["accuracy", "auc", "logloss"], strict=True):
    for kind, mark in marks.items():
        one = scores[scores["kind"] == kind]
        axes.scatter(one["seed"], one[measure], label=kind, **mark)
    half = stats.sem(one[measure]) * stats.t.ppf(0.975, len(one) - 1)
    axes.axhspan(*(one[measure].mean() + half * np.array([-1, 1])), alpha=0.15)
    axes.set(title=measure, xlabel="seed", xticks=list(seeds))
figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
plt.show()

# %% [markdown]
# Each dot sits in its ring: in quality there is nothing to choose between.
# Whoever reports that one of the two "performs better" has fed them
# differently.

# %%
by_kind = scores.pivot(index="seed", columns="kind")
for measure in ("accuracy", "auc", "logloss"):
    gap = by_kind[measure]["built-in"] - by_kind[measure]["script"]
    assert gap.abs().max() < 1e-5

# %% [markdown]
# ## Where the time went
#
# SageMaker notes when each status began and ended. `jobs.phases` sums the
# seconds up: five jobs of each kind, here is their median.

# %%
builtin_jobs, script_jobs = zip(*seeds.values(), strict=True)
phases = pd.DataFrame(
    {
        "built-in": jobs.phases(*builtin_jobs).median(),
        "script": jobs.phases(*script_jobs).median(),
    }
).reindex(jobs.PHASES)
phases.round(1)

# %% [markdown]
# On which machine? If your calls stay on this one, these are its seconds, and
# there are no machines to get and no images to fetch. So beside them we draw
# what was recorded on AWS: one job of each kind on an `ml.m5.large`, in 2024.
# In that record the upload counts as part of the training.

# %%
on_aws = pd.DataFrame(
    {
        "Starting": recorded["starting_s"],
        "Downloading": recorded["downloading_data_s"] + recorded["downloading_image_s"],
        "Training": recorded["training_to_end_s"],
    }
).sort_index()
figure, panels = plt.subplots(1, 2, figsize=(9, 2.2), layout="constrained")
bars = {"these jobs (median of five)": phases.T, "recorded on AWS": on_aws}
for axes, (title, seconds) in zip(panels, bars.items(), strict=True):
    seconds = seconds.reindex(columns=jobs.PHASES)
    seconds.plot.barh(stacked=True, ax=axes, legend=False)
    axes.set(title=title, xlabel="seconds", ylabel="")
    axes.invert_yaxis()
figure.legend(jobs.PHASES, loc="outside lower center", ncols=4, frameon=False)
plt.show()

# %% [markdown]
# On AWS the two are alike: most of a short job is the machine's start and the
# downloads, for both kinds. What the kinds can differ in is only the small
# part called `Training`. (One run each, of different work: the built-in one
# was fed the raw file. It shows the size of things, not a winner.)

# %%
outside = 1 - on_aws["Training"] / on_aws.sum(axis=1)
print(outside.map("{:.0%}".format).to_frame("not training").T)
assert outside.min() > 0.5

# %% [markdown]
# ## Inside the training
#
# Our script prints what its stages took, and the most memory that it held.
# That is one `print` in a script of one's own.

# %%
from_log = stages.of_log(jobs.log(session, script_job["TrainingJobName"]))
from_log

# %% [markdown]
# The built-in algorithm prints no such line, and we cannot add one. But
# CloudWatch keeps the time of every line, to the millisecond. So we can still
# see when it had read its files, and when it grew its last tree.

# %%


def builtin_stages(job):
    """Seconds of reading and of training, from the times of the log's lines."""
    log = jobs.events(session, job["TrainingJobName"])
    when = {
        "start": log[log["line"].str.contains("algorithm mode")]["time"].min(),
        "read": log[log["line"].str.contains("Train matrix has")]["time"].min(),
        "train": log[log["line"].str.contains("train-logloss")]["time"].max(),
    }
    read = (when["read"] - when["start"]).total_seconds()
    return {"read": read, "train": (when["train"] - when["read"]).total_seconds()}


builtin_stages(builtin_job)

# %% [markdown]
# Its memory we cannot see in this way. On AWS, CloudWatch samples the whole
# machine once a minute (`MemoryUtilization`), which says little about a job of
# seconds. What can be done is to repeat its work by hand; we do that below,
# with more passengers.
#
# ## What did it cost?

# %%
billed = workshop.is_billed(session)
print("built-in:", costs.bill(billed, *builtin_jobs))
print("script:  ", costs.bill(billed, *script_jobs))

# %% [markdown]
# The algorithm itself is free: there is no price on it, only on the machine's
# seconds. Disk and log come on top, and are small.

# %%
model_size = (fetch(builtin_job) / "model.tar.gz").stat().st_size
extras = {
    "machine": costs.job_cost(builtin_job).usd,
    "disk": costs.disk_cost(builtin_job),
    "log": costs.log_cost(sum(len(line) for line in builtin_log)),
    "model, a month": costs.storage_per_month(model_size),
}
{name: costs.dollars(usd) for name, usd in extras.items()}

# %% [markdown]
# What would those jobs cost with the seconds that AWS recorded?

# %%
hourly = costs.price("ml.m5.large")
(recorded["billable_s"] / 3600 * hourly.usd).round(4).to_frame(f"USD, {hourly.as_of}")

# %% [markdown]
# ## What did they need from you?
#
# Code, first. We count lines: what runs in the job, and what ran here to
# prepare the file.

# %%
from workshop import code_size


def lines_of(files):
    return sum(map(code_size.lines, files))


in_the_job = lines_of(code_size.modules("../scripts/training/train_xgboost.py"))
before_it = lines_of([builtin_data.__file__, titanic.__file__])
effort = {
    "built-in": {"lines in the job": 0, "lines before it": before_it},
    "script": {"lines in the job": in_the_job, "lines before it": 0},
}
effort

# %% [markdown]
# So "no code" is half of the truth. The built-in algorithm runs without any,
# but the knowledge of the data has to be somewhere: features, hold-out, checks.
# It moves in front of the job, and has to be repeated in front of every later
# prediction. The script carries it along.
#
# ## One table

# %%
of_kind = {"built-in": builtin_jobs, "script": script_jobs}
summary = quality.T
for kind, its_jobs in of_kind.items():
    total = costs.jobs_cost(its_jobs)
    column = {
        "billable seconds a job": f"{total.seconds / total.jobs:.1f}",
        "USD a job": costs.dollars(total.usd / total.jobs),
        **effort[kind],
        "files to upload": 2 if kind == "built-in" else 1,
        "hyperparameters it must have": 1 if kind == "built-in" else 0,
    }
    for name, value in column.items():
        summary.loc[name, kind] = str(value)
summary.loc["peak memory (GB)"] = ["not told", f"{from_log['peak_memory_gb']:.2f}"]
summary.rename_axis(index=None, columns=None)

# %% [markdown]
# The rest does not fit into numbers:
#
# | | built-in | script |
# |---|---|---|
# | you must know | its file format, its names, its silence | Python, and XGBoost's own interface |
# | features, checks | before the job | in the job, and in serving the same |
# | loss, metrics, stopping | from a list | whatever you write |
# | libraries and models | XGBoost | anything that you can install |
# | several machines | built in | you write it (lesson 07) |
# | runs on your laptop | no | yes, the same file |
# | wrong data | trains | refuses, if you make it |
#
# ## Which one?
#
# **Take the built-in algorithm** when
#
# 1. your data are already a table of numbers, and something else than you
#    (a pipeline, Data Wrangler) makes and checks it;
# 2. its list of objectives and metrics has yours;
# 3. you want several machines or a GPU, or SageMaker's automatic tuning,
#    without writing anything for it.
#
# **Take a script** when
#
# 1. features are made from raw columns, and the same code should make them
#    again for every later prediction;
# 2. you want to see, test and debug on your own machine what will run;
# 3. you need a loss, a metric, a library or a check that is not on the list.
#
# **Decide by neither** accuracy, speed nor price: it is the same library on
# the same machine.
#
# ## Many passengers
#
# Does that hold for larger data? Here is the same comparison on a longer list.
# `PASSENGERS` is small so that the lesson stays quick. Set it to `1_000_000`
# and run the cells of this section again: the list is then 76 MB, and it takes
# minutes instead of seconds.

# %%
PASSENGERS = 20_000

# %% [markdown]
# We simulate the list, and prepare it for the built-in algorithm, with a
# watch on the preparation. (A job would be billed for none of it, but somebody
# waits.)

# %%
from simulation import make_titanic

crowd = work / "crowd"
make_titanic.main(["--passengers", str(PASSENGERS), "--seed", "1", "--out", str(crowd)])
clock = stages.Stages()
with clock("read"):
    crowd_list = titanic.read(crowd)
with clock("write"):
    crowd_files = prepare(seed=1, rows=crowd_list)
with clock("check"):
    print(builtin_data.check(crowd_files / "train"))
clock.seconds

# %% [markdown]
# Then a job of each kind. From 100,000 rows on the script uses more than one
# thread, and then the built-in algorithm may, too.

# %%
for_crowd = dict(for_builtin)
if PASSENGERS >= 100_000:
    del for_crowd["nthread"]

crowd_uri = workshop.upload(session, crowd / "titanic.csv", "lesson-05/crowd")
crowd_names = [
    start_builtin(upload(crowd_files), **for_crowd, seed=1),
    start_script({"train": crowd_uri}, **hyperparameters, seed=1),
]
crowd_builtin, crowd_script = jobs.wait_for(session, *crowd_names)

# %% [markdown]
# And the memory of the built-in algorithm? We do its work by hand, in a
# process of its own, so that nothing but its own memory counts: read the file
# with the reader that it has, and train with the same hyperparameters.

# %%
import json
import subprocess

by_hand = """
import json, sys, warnings
sys.path[:0] = ["../scripts", "../scripts/training"]
warnings.simplefilter("ignore")
import stages, xgboost
folder, parameters = sys.argv[1], json.loads(sys.argv[2])
parts = {
    part: xgboost.DMatrix(f"{folder}/{part}/{part}.csv?format=csv&label_column=0")
    for part in ("train", "validation")
}
rounds, patience = parameters.pop("num_round"), parameters.pop("early_stopping_rounds")
parameters["eval_metric"] = parameters["eval_metric"].split(",")
watched = [(matrix, part) for part, matrix in parts.items()]
xgboost.train(parameters, parts["train"], rounds, watched, verbose_eval=False,
              early_stopping_rounds=patience)
print(stages.peak_memory() / 2**30)
"""
all_of_them = json.dumps(for_crowd | {"seed": 1})
command = [sys.executable, "-c", by_hand, str(crowd_files), all_of_them]
done = subprocess.run(command, capture_output=True, text=True, check=True)
builtin_memory = float(done.stdout)

# %% [markdown]
# Side by side, in seconds and GB:

# %%
crowd_log = stages.of_log(jobs.log(session, crowd_names[1]))
crowd_table = pd.DataFrame(
    {
        "built-in": {
            "before the job": sum(clock.seconds.values()),
            **builtin_stages(crowd_builtin),
            "peak_memory_gb": builtin_memory,
            "billable": crowd_builtin["BillableTimeInSeconds"],
        },
        "script": crowd_log | {"billable": crowd_script["BillableTimeInSeconds"]},
    }
)
crowd_table.round(2)

# %% [markdown]
# `read` and `train` are what both have. The script also imports its libraries,
# makes features (`prepare`) and measures itself (`evaluate`) within the job;
# for the built-in algorithm the features were made before it, and sorting them
# into bins counts as `train`. On few rows all of this is small against the
# start of Python. Is it still the same model?

# %%
crowd_answers = [answers(job)[0] for job in (crowd_builtin, crowd_script)]
print(f"largest difference: {np.abs(np.subtract(*crowd_answers)).max():.7f}")

# %% [markdown]
# ### Exercise 1: another machine, another bound
#
# `fit` is about to rent a machine. What is the most that a job with
# `max_run=3600` can cost on each training type in
# `data/instance_prices.csv`? Sort them. Then ask for a type that is not in
# the file, say `ml.m5.24xlarge`: what do you get instead of a guess? And for
# which `max_run` does the dearest of them cost no more than one dollar?

# %%
# Your turn

# %% jupyter={"source_hidden": true} tags=["solution"]
machines = pd.read_csv("../data/instance_prices.csv").query("use == 'training'")
kinds = machines["instance_type"]
bounds = {kind: costs.upper_bound(kind, 1, 3600).usd for kind in kinds}
print(pd.Series(bounds, name="USD at most").sort_values())

try:
    costs.upper_bound("ml.m5.24xlarge", 1, 3600)
except costs.CostError as error:
    print(error)

dearest = max(bounds, key=bounds.get)
longest = 1 / bounds[dearest] * 3600
assert costs.upper_bound(dearest, 1, longest).usd <= 1.000001
print(f"{dearest}: one dollar buys {longest:.0f} s")

# %% [markdown]
# ### Exercise 2: early stopping, and none
#
# Start the built-in algorithm once more on `prepared`, but leave the channel
# `validation` out, and keep `early_stopping_rounds`. Start the script with
# `validation_fraction=0`. How many trees do the two models have? What
# do the two jobs say about it?

# %%
# Your turn

# %% jupyter={"source_hidden": true} tags=["solution"]
train_only = {"train": upload(prepared)["train"]}
all_rows = hyperparameters | {"validation_fraction": 0}
unwatched = [
    start_builtin(train_only, **for_builtin, seed=1),
    start_script({"train": channels["train"]}, **all_rows),
]
unwatched_jobs = jobs.wait_for(session, *unwatched)
unwatched_trees = [answers(job)[1] for job in unwatched_jobs]

# Both grow every tree: without rows to watch there is nothing to stop by. The
# script's log says `validation: none`; the built-in algorithm's says nothing of it.
assert unwatched_trees == [200, 200]
unwatched_log = jobs.log(session, unwatched[1])
print(*[line for line in unwatched_log if line.startswith("validation")])

# %% [markdown]
# ### Exercise 3: a wrong file, found by its log
#
# A colleague wrote the file below, and her job is `Completed`. Upload it, run
# the job, and find out **from its log alone** what is wrong with the file.
# Compare with the log of `builtin_job`. Which two numbers give it away? What
# does `builtin_data.check` say?

# %%
hers = work / "hers" / "train" / "train.csv"
hers.parent.mkdir(parents=True)
label_first.to_csv(hers, header=False)  # pandas writes the rows' numbers, too

# %%
# Your turn

# %% jupyter={"source_hidden": true} tags=["solution"]
her_name = start_builtin(upload(work / "hers"), num_round=5)
jobs.wait_for(session, her_name)
read = []
for name in (her_name, pair[0]):
    log = jobs.log(session, name)
    read.append(next(line for line in log if "Train matrix has" in line))
print(*read, sep="\n")

# One column more than there are features: the row's number came first, and so it
# is the label. Its metric is the second sign: an rmse far above 1.
assert f"{len(titanic.FEATURES) + 1} columns" in read[0]
print(next(line for line in jobs.log(session, her_name) if "train-rmse" in line))
try:
    builtin_data.check(hers)
except titanic.DataError as error:
    print(error)

# %% [markdown]
# ## Key points
#
# - One image, two ways in: a built-in algorithm, or your script
# - The built-in one takes the first column for the label and complains of
#   nothing: a header, text, a row number all train. Check the file first, and
#   compare the rows and columns in the log
# - Fed the same, both give the same model, at the same price
# - On AWS, a short job is mostly the machine's start and the downloads
# - "No code" moves the code for your data in front of the job
# - Compare over several seeds, with the job's own clock, on the same rows
#
# ## Clean up
#
# All machines are gone with their jobs. What stays and bills are the files and
# the models of this lesson in S3.

# %%
bucket = session.boto_session.resource("s3").Bucket(session.default_bucket())
prefixes = ["lesson-05/", *(f"jobs/{name}/" for name in started)]
left = [thing for prefix in prefixes for thing in bucket.objects.filter(Prefix=prefix)]
size = sum(thing.size for thing in left)
print(f"{len(left)} objects, {size / 1024:.0f} KB of {len(started)} jobs:")
print(f"{costs.dollars(costs.storage_per_month(size))} a month")

# %% [markdown]
# We delete them. (To keep a model, do not run this cell.)

# %%
for thing in left:
    thing.delete()
scratch.cleanup()
