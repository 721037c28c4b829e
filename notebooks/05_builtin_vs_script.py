# %% [markdown]
# # 05 · Built-in algorithm or your own script?
#
# SageMaker's XGBoost image can be used in two ways. You bring a script, as in
# lesson 03. Or you bring no script: an algorithm is *built in*, which reads your
# file, trains and saves. Both train on the same passengers here. You compare
# the models, the time, the cost and the work. First you walk into the trap that
# most people meet.
#
# **Questions**
#
# - What does a built-in algorithm do for me, and what does it need from me?
# - How can a job be `Completed` and its model be useless?
# - Are the two models equally good?
# - When do I write a script?
#
# **Objectives**
#
# - Train with the built-in XGBoost
# - Check a file before you pay for a job
# - Show with predictions that two models agree
# - Compare time, cost and effort
# - Find out from a log that a job read the wrong file
#
# **You need** lessons 02 and 03: the script `train_minimal.py`, estimator,
# channel, artifact. Nothing has to be left over from them.
#
# **Time** teaching 35 min, exercises 20 min
#
# **Cost on AWS** about $0.03: six short jobs on the smallest machine, at most
# two at a time. A time limit of ten minutes bounds each at $0.02.

# %%
import logging
import sys

sys.path[:0] = ["../scripts", "../scripts/training"]
logging.getLogger("sagemaker").setLevel(logging.CRITICAL)  # else red lines at each call

import workshop
from workshop import builtin_data, costs, figures, images, jobs

session = workshop.session()
role = workshop.execution_role(session)
channels = workshop.ensure_data(session)
print(workshop.home(session))

# %% [markdown]
# ## The trap
#
# For a built-in algorithm you give the generic `Estimator` the address of the
# image, and no `entry_point`. The image looks whether the job names a script.
# If it does not, its own algorithm runs. Here is the shortest job: our list as
# it is. `num_round`, the number of trees, is the only hyperparameter that must
# be there.

# %%
from sagemaker.estimator import Estimator
from sagemaker.inputs import TrainingInput

image = images.uri("xgboost", session.boto_region_name)
results = f"s3://{session.default_bucket()}/jobs"
raw = Estimator(
    image_uri=image,
    hyperparameters={"num_round": 50},
    instance_type="ml.m5.large",
    instance_count=1,
    max_run=600,
    role=role,
    sagemaker_session=session,
    base_job_name="titanic-builtin",
    output_path=results,
    tags=workshop.tags("05"),
    disable_profiler=True,
)
our_list = TrainingInput(channels["train"], content_type="text/csv")
raw.fit({"train": our_list}, wait=False)
started = [raw.latest_training_job.name]
(raw_job,) = jobs.wait_for(session, *started)

# %% [markdown]
# `Completed`. But its metric is `train:rmse`, a typical error, for a question
# whose answer is 0 or 1. We never said what the question is, so XGBoost learnt
# to predict a number. Which number? We ask the model about the test list, read
# as the algorithm reads it. (The passengers are simulated: their numbers say
# nothing about real people.)

# %%
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import xgboost
from sagemaker.s3 import S3Downloader

scratch = TemporaryDirectory()
work = Path(scratch.name)


def fetch(job):
    """Download and unpack a job's model; return the folder."""
    folder = work / job["TrainingJobName"]
    uri = job["ModelArtifacts"]["S3ModelArtifacts"]
    S3Downloader.download(uri, str(folder), sagemaker_session=session)
    workshop.unpack_artifact(folder / "model.tar.gz", folder)
    return folder


# %% [markdown]
# Beside each answer we put the number of the passenger.

# %%
test_file = "../data/titanic_test.csv"
with warnings.catch_warnings(action="ignore"):  # XGBoost warns that this reader is old
    as_read = xgboost.DMatrix(f"{test_file}?format=csv&label_column=0")
raw_answers = builtin_data.load_model(fetch(raw_job)).predict(as_read)
test_list = pd.read_csv(test_file)
test_list[["PassengerId", "Name"]].assign(model=raw_answers[1:]).head()

# %% [markdown]
# **It predicts passenger numbers.** The algorithm takes the first column for the
# label, and in our file that is `PassengerId`. There is also one answer too
# many. The log says why:

# %%
raw_log = jobs.log(session, started[0])
print(*[line for line in raw_log if "matrix has" in line], sep="\n")
print("rows in our list:", len(pd.read_csv("../data/titanic_train.csv")))

# %% [markdown]
# The header was taken for a passenger. Text columns such as `Name` were skipped
# without a message. Four mistakes, and no error.

# %%
assert raw_job["TrainingJobStatus"] == "Completed"
assert jobs.table(raw_job)["train:rmse"].item() > 10
assert (raw_answers > 1).mean() > 0.9

# %% [markdown]
# ## What it needs
#
# Numbers only, the label first, no header. Validation rows, if you want any,
# go into a channel of their own. `train_minimal.py` does this inside the job;
# for the built-in algorithm it happens before the job, in a script like this.
# It makes the same features and holds out the same rows.

# %%
# %%writefile {work}/prepare.py
"""Write the passenger list as the built-in XGBoost reads it."""

from pathlib import Path

import pandas as pd

COLUMNS = ["Survived", "Pclass", "Female", "Age", "SibSp", "Parch", "Fare"]


def write(source, folder):
    """Write train/train.csv and validation/validation.csv into the folder."""
    passengers = pd.read_csv(source)
    passengers["Female"] = (passengers["Sex"] == "female").astype(int)
    held_out = passengers.index % 5 == 0
    parts = {"train": passengers[~held_out], "validation": passengers[held_out]}
    for part, rows in parts.items():
        path = Path(folder, part, f"{part}.csv")
        path.parent.mkdir(parents=True)
        rows[COLUMNS].to_csv(path, header=False, index=False)


# %% [markdown]
# The first lines of the result. An unknown age is an empty field.

# %%
sys.path.insert(0, scratch.name)
import prepare

ready = work / "ready"
prepare.write("../data/titanic_train.csv", ready)
print((ready / "train" / "train.csv").read_text()[:80])

# %% [markdown]
# ## Check it before you pay
#
# The algorithm does not complain, so we check the file ourselves.
# `builtin_data.check` reads a file as the algorithm would, and counts. We say how
# many features it must have.

# %%
checked = builtin_data.check(ready / "train", features=6)
print(checked)

# %% [markdown]
# A file that would be misread ends in a `DataError`. Here is the raw list again:

# %% tags=["raises-exception"]
builtin_data.check("../data/titanic_train.csv", features=6)

# %% [markdown]
# We make the usual mistakes on purpose. The last one is injected to see what the
# check **cannot** find: `Female` stands first, and the file is in order.

# %%
import titanic

table = pd.read_csv(ready / "train" / "train.csv", names=prepare.COLUMNS)
plain = {"header": False, "index": False}
female_first = ["Female", *table.columns.drop("Female")]

# %% [markdown]
# Each is written with pandas, and checked.

# %%
mistakes = {
    "label last": (table[[*prepare.COLUMNS[1:], "Survived"]], plain),
    "row numbers": (table, {"header": False}),
    "truth values": (table.assign(Female=table["Female"] == 1), plain),
    "semicolons": (table, plain | {"sep": ";"}),
    "another 0/1 column first": (table[female_first], plain),
}
for mistake, (frame, options) in mistakes.items():
    frame.to_csv(work / "wrong.csv", **options)
    try:
        accepted = builtin_data.check(work / "wrong.csv", features=6)
        print(f"{mistake}: accepted, {accepted}")
    except titanic.DataError as error:
        print(f"{mistake}: {str(error).split('wrong.csv, ')[1]}")

# %% [markdown]
# That model would predict who is a woman. Only the count of rows labelled 1 gives
# it away: compare it with what you know of your data.

# %%
assert checked.positives == table["Survived"].sum()

# %% [markdown]
# ## Both, on the same rows
#
# The script's job gets `train_minimal.py` in a folder of its own. The built-in
# algorithm gets the prepared files, and needs to know that the question is yes
# or no (`objective`). `common` holds what is the same as above.

# %%
import shutil

from sagemaker.xgboost import XGBoost

common = {
    "instance_type": "ml.m5.large",
    "instance_count": 1,
    "max_run": 600,
    "role": role,
    "sagemaker_session": session,
    "image_uri": image,
    "output_path": results,
    "tags": workshop.tags("05"),
    "disable_profiler": True,
}
trees = {"max_depth": 3, "num_round": 20}
my_job = work / "my_job"
my_job.mkdir()
shutil.copy("../scripts/training/train_minimal.py", my_job)

# %% [markdown]
# `start` orders a job and returns its name at once.


# %%
def start(estimator, inputs):
    estimator.fit(inputs, wait=False)
    started.append(estimator.latest_training_job.name)
    return started[-1]


def start_builtin(inputs, **hyperparameters):
    settings = common | {"base_job_name": "titanic-builtin"}
    question = {"objective": "binary:logistic", **hyperparameters}
    builtin = Estimator(**settings, hyperparameters=question)
    return start(builtin, inputs)


def upload(folder):
    """Upload prepared files; return the channels of a job."""
    inputs = {}
    for file in sorted(folder.glob("*/*.csv")):
        uri = workshop.upload(session, file, f"lesson-05/{folder.name}/{file.stem}")
        inputs[file.stem] = TrainingInput(uri, content_type="text/csv")
    return inputs


# %% [markdown]
# Give every channel its `content_type`. Without one the algorithm takes the file
# for libsvm, whatever its name is. (It also reads Parquet.)

# %%
script = XGBoost(
    **common,
    entry_point="train_minimal.py",
    source_dir=str(my_job),
    framework_version="3.2-0",
    code_location=results,
    hyperparameters=dict(trees),
    base_job_name="titanic-script",
    debugger_hook_config=False,
)

# %% [markdown]
# Off they go, side by side.

# %%
ready_inputs = upload(ready)
pair = [
    start_builtin(ready_inputs, **trees),
    start(script, {"train": channels["train"]}),
]
builtin_job, script_job = jobs.wait_for(session, *pair)

# %% [markdown]
# Did the algorithm read what we meant? Compare the rows in its log with the
# check. This takes a second and finds a header or a column too many.

# %%
builtin_log = jobs.log(session, pair[0])
print(*[line for line in builtin_log if "matrix has" in line], sep="\n")
assert any(f"Train matrix has {checked.rows} rows" in line for line in builtin_log)

# %% [markdown]
# ## Do they agree?
#
# We ask both models about every passenger of the test list. For that we need no
# outcomes, so the test list stays unused as a measure of quality.

# %%
import numpy as np

import train_minimal

test = train_minimal.matrix(train_minimal.read(test_file))
builtin_model = builtin_data.load_model(fetch(builtin_job))
builtin_model.feature_names = train_minimal.FEATURES
script_model = xgboost.Booster()
script_model.load_model(fetch(script_job) / "xgboost-model.ubj")
difference = np.abs(builtin_model.predict(test) - script_model.predict(test)).max()
print(f"largest difference about {len(test_list)} passengers: {difference:.1e}")

# %% [markdown]
# **They agree about every passenger.** The library, its version, the rows and the
# hyperparameters are the same, so the model is. If two models of yours differ,
# look for what went in differently.

# %%
assert difference < 1e-5

# %% [markdown]
# ## Time and cost

# %%
both = jobs.table(builtin_job, script_job).set_axis(["built-in", "script"])
billed = workshop.is_billed(session)
print("built-in:", costs.bill(billed, builtin_job))
print("script:  ", costs.bill(billed, script_job))
both[["billable_s", "train:logloss", "validation:logloss"]].T.round(3)

# %% [markdown]
# One job of each kind does not show which is faster. The algorithm has no price of
# its own; you pay for the machine. What was recorded on AWS (one job of each kind,
# `ml.m5.large`, 2024) shows the sizes:

# %%
import matplotlib.pyplot as plt

recorded = pd.read_csv("../data/recorded_on_aws.csv", index_col="job")
on_aws = pd.DataFrame(
    {
        "starting": recorded["starting_s"],
        "downloading": recorded.filter(like="downloading").sum(axis=1),
        "training, uploading": recorded["training_to_end_s"],
    }
)

# %% [markdown]
# One bar for each job, from its start to its end.

# %%
axes = on_aws.plot.barh(stacked=True, figsize=(8, 2), color=["0.8", "C0", "C1"])
axes.figure.set_layout_engine("constrained")
for bars, hatch in zip(axes.containers, ["", "//", ".."], strict=True):
    plt.setp(bars, hatch=hatch)
axes.set(xlabel="seconds", ylabel="", xlim=(0, None))
axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
alt = "Two bars: of both jobs, starting and downloading take about nine tenths."
figures.show(axes.figure, alt)

# %% [markdown]
# Most of a short job is the machine's start and the downloads, for both kinds.

# %%
assert (on_aws["training, uploading"] < on_aws.sum(axis=1) / 2).all()

# %% [markdown]
# ## What did they need from you?
#
# We count lines of code: those that you write for each way.

# %%
from workshop import code_size

before = code_size.lines(work / "prepare.py")
inside = code_size.lines(my_job / "train_minimal.py")
effort = {
    "built-in": {"before the job": before, "in the job": 0},
    "script": {"before the job": 0, "in the job": inside},
}
pd.DataFrame(effort)

# %% [markdown]
# "No code" is half of the truth. Features and hold-out must be somewhere. For the
# built-in algorithm they stand before the job, and you repeat them before every
# prediction. The script carries them along. Training, saving and metrics are what
# the built-in algorithm saves you.
#
# | | built-in | script |
# |---|---|---|
# | you must know | its file format and its names | Python, and XGBoost's interface |
# | loss, metrics, stopping | from a list | whatever you write |
# | libraries and models | XGBoost | anything that you can install |
# | several machines | built in | you write it (lesson 07) |
# | runs on your laptop | no | yes, the same file |
# | wrong data | trains | refuses, if you make it |
#
# **Take the built-in algorithm** when your data are already a checked table of
# numbers, its list has your objective and metric, or you want several machines or
# automatic tuning without writing code.
#
# **Take a script** when features are made from raw columns, when you want to test
# what will run on your own machine, or when you need a loss, a library or a check
# that is not on the list.
#
# **Accuracy, speed and price decide nothing**: it is the same library on the same
# machine.
#
# ### Exercise 1: early stopping, and none
#
# Start the built-in algorithm twice with `num_round=200`,
# `early_stopping_rounds=5` and `eval_metric="logloss"`: once with both channels
# of `ready_inputs`, once with `train` alone. Before you run it, write down: how
# many trees will each model have? (`model.num_boosted_rounds()`)

# %%
# Your turn

# %% jupyter={"source_hidden": true} tags=["solution"]
stopping = {"max_depth": 3, "num_round": 200}
stopping |= {"early_stopping_rounds": 5, "eval_metric": "logloss"}
alone = {"train": ready_inputs["train"]}
two = [start_builtin(inputs, **stopping) for inputs in (ready_inputs, alone)]
models = map(builtin_data.load_model, map(fetch, jobs.wait_for(session, *two)))
counts = [model.num_boosted_rounds() for model in models]
print("trees with and without validation:", counts)

# Without rows to watch there is nothing to stop by, and on AWS no message says so.
# The same happens without eval_metric: then it has no loss to watch.
assert counts[0] < 200
assert counts[1] == 200

# %% [markdown]
# The validation rows have chosen the number of trees. So their loss is too good
# for a report, and it cannot fairly choose between a model that was stopped by
# it and one that was not. For both you need rows that nothing was chosen by.
#
# ### Exercise 2: a wrong file, found by its log
#
# A colleague wrote the file below, and her job is `Completed`. Run the job, and
# find out **from its log alone** what is wrong with the file. Which two numbers
# give it away? What does `builtin_data.check` say?

# %%
hers = work / "hers" / "train" / "train.csv"
hers.parent.mkdir(parents=True)
table.to_csv(hers, header=False)
her_job = Estimator(**common, hyperparameters={"num_round": 5})
her_name = start(her_job, upload(work / "hers"))

# %%
# Your turn

# %% jupyter={"source_hidden": true} tags=["solution"]
jobs.wait_for(session, her_name)
her_log, our_log = jobs.log(session, her_name), jobs.log(session, pair[0])
hers_read = next(line for line in her_log if "Train matrix has" in line)
ours_read = next(line for line in our_log if "Train matrix has" in line)
print(hers_read, ours_read, sep="\n")
print(next(line for line in her_log if "train-rmse" in line))

# One column more than there are features: the number of the row comes first, and
# so it is the label. The second sign is an rmse far above 1.
assert f"{len(prepare.COLUMNS)} columns" in hers_read
try:
    builtin_data.check(hers, features=6)
except titanic.DataError as error:
    print(error)

# %% [markdown]
# ## Key points
#
# - One image, two ways in: a built-in algorithm, or your script
# - The built-in one takes the first column for the label, and trains on anything.
#   Check the file first, and compare rows and columns in the log
# - With the same input both give the same model, at the same price
# - On AWS, a short job is mostly the machine's start and the downloads
# - "No code" moves the code for your data in front of the job
#
# ## Clean up
#
# The machines are gone with their jobs. Files and models in S3 still bill, so we
# delete them. (To keep a model, do not run this cell.)

# %%
bucket = session.boto_session.resource("s3").Bucket(session.default_bucket())
for prefix in ["lesson-05/", *(f"jobs/{name}/" for name in started)]:
    bucket.objects.filter(Prefix=prefix).delete()
scratch.cleanup()
