# %% [markdown]
# # 02 · Write the script, and check it before you pay
#
# A training job is your script on a rented machine. Mistakes are found sooner,
# and free of charge, on the machine in front of you. In this lesson you write a
# script that SageMaker can run, check it and its data, and measure the model.
#
# **Questions**
#
# - What must a script do so that SageMaker can run it?
# - Which checks catch most of the mistakes, and what can they not catch?
# - How good is the model, and how far can I trust that number?
# - How much time and memory does training take on more data?
#
# **Objectives**
#
# - Write an entry point, and run it in a terminal
# - Set a bar that a model must clear
# - Check data, learning, saving and prediction before paying for a machine
# - Report an accuracy with its uncertainty, and compare two rules fairly
# - Measure time and memory, and project them to more data
#
# **You need** the workshop's kernel. No earlier lesson and no AWS account.
#
# **Time** teaching 40 min, exercises 15 min
#
# **Cost on AWS** nothing: all of it runs on this machine. (On a notebook
# instance, the instance itself bills about $0.05 an hour.)

# %% [markdown]
# ## What SageMaker asks of a script
#
# The script that a job starts is its *entry point*. It is an ordinary program.
# SageMaker and the script agree on five things:
#
# - **Hyperparameters**, the settings of a training, come as `--name value`.
# - **Data** lie in a folder for each *channel*. The variable
#   `SM_CHANNEL_TRAIN` holds the path of the channel called `train`.
# - **The model** goes into the folder that `SM_MODEL_DIR` names. SageMaker
#   packs that folder and stores it in S3.
# - **Printed text** becomes the log, and metrics are found in the log.
# - **The exit code** says how it ended: 0 means Completed, all else Failed.
#
# All files of this lesson go into a temporary folder.

# %%
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path[:0] = ["../scripts", "../scripts/training"]

scratch = TemporaryDirectory()
work = Path(scratch.name)

# %% [markdown]
# `%%writefile` saves a cell as a file. The script begins with what it is for,
# what it imports, and which columns it learns from.

# %%
# %%writefile {work}/train_minimal.py
"""Train a small model with XGBoost: the least that an entry point needs.

python scripts/training/train_minimal.py --train data/titanic_train.csv
"""

import argparse
import os
from pathlib import Path

import pandas as pd
import xgboost

FEATURES = ["Pclass", "Female", "Age", "SibSp", "Parch", "Fare"]

# %% [markdown]
# Next it reads its arguments. What the command line leaves out, SageMaker's
# variables supply. (`-a` appends to the file.)

# %%
# %%writefile -a {work}/train_minimal.py


def arguments(argv=None):
    """Return the command line's arguments; SageMaker's variables are the defaults."""
    model_dir = os.environ.get("SM_MODEL_DIR", "build/minimal")
    parser = argparse.ArgumentParser()
    parser.add_argument("--max_depth", type=int, default=3)
    parser.add_argument("--num_round", type=int, default=20)
    parser.add_argument("--train", default=os.environ.get("SM_CHANNEL_TRAIN", "data"))
    parser.add_argument("--model_dir", default=model_dir)
    return parser.parse_args(argv)


# %% [markdown]
# Then the data. A channel is a folder and may hold several files, so we read
# them all.

# %%
# %%writefile -a {work}/train_minimal.py


def read(channel):
    """Return the passengers in the CSV files of a folder, or in one file."""
    channel = Path(channel)
    files = [channel] if channel.is_file() else sorted(channel.glob("*.csv"))
    passengers = pd.concat([pd.read_csv(file) for file in files], ignore_index=True)
    passengers["Female"] = passengers["Sex"] == "female"
    return passengers


def matrix(passengers):
    """Return features and labels in the form that XGBoost reads."""
    return xgboost.DMatrix(passengers[FEATURES], passengers["Survived"])


# %% [markdown]
# Last, it trains on four fifths of the passengers. The others are held
# out for *validation*: the model does not learn from them, so they can say how
# good it is.

# %%
# %%writefile -a {work}/train_minimal.py


def main(argv=None):
    """Train, print the accuracy on passengers that were held out, save the model."""
    args = arguments(argv)
    passengers = read(args.train)
    held_out = passengers.index % 5 == 0
    train, validation = matrix(passengers[~held_out]), matrix(passengers[held_out])
    settings = {"objective": "binary:logistic", "max_depth": args.max_depth}
    evals = [(train, "train"), (validation, "validation")]
    model = xgboost.train(settings, train, args.num_round, evals=evals, verbose_eval=5)

    correct = (model.predict(validation) >= 0.5) == validation.get_label()
    print(f"validation:accuracy={correct.mean():.3f};")
    Path(args.model_dir).mkdir(parents=True, exist_ok=True)
    model.save_model(Path(args.model_dir, "xgboost-model.ubj"))


if __name__ == "__main__":
    main()

# %% [markdown]
# ## Run it in a terminal
#
# We start it in a process of its own, as a terminal would.


# %%
def terminal(*arguments, **variables):
    """Run Python with these arguments; print its output and return how it ended."""
    command = [sys.executable, *map(str, arguments)]
    env = os.environ | {name: str(value) for name, value in variables.items()}
    ended = subprocess.run(command, env=env, capture_output=True, text=True)
    print(ended.stdout + ended.stderr)
    return ended


script = work / "train_minimal.py"
train_file = Path("../data/titanic_train.csv")
first = terminal(script, "--train", train_file, "--model_dir", work / "first")

# %% [markdown]
# `logloss` is the error that training makes smaller. Now as SageMaker starts
# it: the folders come from variables, and only hyperparameters are arguments.

# %%
import shutil

channel = work / "channel"
channel.mkdir()
shutil.copy(train_file, channel)
folders = {"SM_CHANNEL_TRAIN": channel, "SM_MODEL_DIR": work / "second"}
second = terminal(script, "--max_depth", 3, **folders)

# %% [markdown]
# Both runs print the same lines, and they leave the same model, byte for byte.
# One script works here and on SageMaker. Lesson 03 runs this very script as a
# job.

# %%
assert first.returncode == second.returncode == 0
one, two = (work / name / "xgboost-model.ubj" for name in ("first", "second"))
assert one.read_bytes() == two.read_bytes()

# %% [markdown]
# ### Exercise 1: one more hyperparameter
#
# The learning rate of XGBoost is called `eta`. Change your script so that it
# accepts `--eta`, with 0.3 as the default, and passes it to XGBoost. Two lines
# change. Run it with `--eta 0.01`. Before you do, write down: will the log loss
# after 20 rounds be higher or lower?

# %%
# Your turn

# %% jupyter={"source_hidden": true} tags=["solution"]
depth = 'parser.add_argument("--max_depth", type=int, default=3)'
text = script.read_text()
eta = 'parser.add_argument("--eta", type=float, default=0.3)'
text = text.replace(depth, f"{depth}\n    {eta}")
depth = '"max_depth": args.max_depth'
text = text.replace(depth, f'{depth}, "eta": args.eta')
(work / "train_eta.py").write_text(text)
slow = terminal(work / "train_eta.py", "--eta", 0.01, **folders)


# Higher: with small steps, 20 rounds are too few.
def last_loss(output):
    return float(output.split("train-logloss:")[-1].split()[0])


assert slow.returncode == 0
assert last_loss(slow.stdout) > last_loss(first.stdout)

# %% [markdown]
# ## What the script grows into
#
# Our script trusts its data. What happens when somebody exports the list again,
# and the sex of every third passenger is in capitals?

# %%
import pandas as pd

damaged = pd.read_csv(train_file)
damaged.loc[::3, "Sex"] = damaged.loc[::3, "Sex"].str.upper()
damaged.to_csv(work / "damaged.csv", index=False)
quiet = terminal(script, "--train", work / "damaged.csv", "--model_dir", work / "bad")

# %% [markdown]
# It exits with 0, and SageMaker would report Completed. It took every `FEMALE`
# for a man. The folder `scripts/training` holds a longer sister of our script,
# `train_xgboost.py`. It checks every value, stops when the validation loss no
# longer falls, goes on after an interruption, and trains on several machines.

# %%
robust = "../scripts/training/train_xgboost.py"
refused = terminal(robust, "--train", work / "damaged.csv")
misspelt = terminal(robust, "--train", train_file, "--max_dept", 4)

# %% [markdown]
# One sentence each: what was expected, what was found, and where. On SageMaker
# it becomes the reason of the failed job. The second refusal matters too: a
# misspelt hyperparameter that is ignored trains with a default that you did not
# want. The check has a limit: a fare in pence is a number like a fare in pounds,
# and nothing here would notice.

# %%
assert quiet.returncode == 0
assert refused.returncode == misspelt.returncode == 1
assert "row 1" in refused.stderr
assert "max_depth" in misspelt.stderr

# %% [markdown]
# ## The bar
#
# The passengers are simulated, with numbers like those of the Titanic: what we
# find says nothing about real people. A row is one passenger.

# %%
import titanic

passengers = titanic.read(train_file)
titanic.features(passengers).head()

# %% [markdown]
# `Name`, `Ticket`, `Cabin` and `PassengerId` are no features. Each names one
# person or place: a model could learn them by heart and would know nothing about
# the next passenger.
#
# How good is it to use no model at all? We take two simple rules from the
# training list.

# %%
survived = titanic.labels(passengers) == 1
rules = {
    "nobody survived": lambda frame: frame["Sex"] == "neither",
    "women survived": lambda frame: frame["Sex"] == "female",
}
for name, rule in rules.items():
    print(f"{name}: accuracy {(rule(passengers) == survived).mean():.1%}")

# %% [markdown]
# The first figure is the floor and the second is the bar. A model that cannot
# beat a rule with one feature is not worth a machine.
#
# ## Check 1: does it learn?
#
# `%run` runs a script inside the notebook.

# %%
arguments = f"--train {train_file} --model_dir {work}/model"
# %run {robust} {arguments} --output_data_dir {work}/model

# %% [markdown]
# The script prints the loss after each round. It stops when the validation loss
# no longer falls (*early stopping*), and saves the best round. `history.csv`
# holds the numbers for a plot.

# %%
import matplotlib.pyplot as plt

history = pd.read_csv(work / "model" / "history.csv", index_col="round")
best = history["validation:logloss"].idxmin()
axes = history.plot(figsize=(6, 3.2), ylabel="log loss", style=["-", "--"])
axes.axvline(best, color="grey", linestyle=":", label=f"best: round {best}")
axes.legend()
plt.show()

# %% [markdown]
# Both lines fall, and then they part. From there on the model learns these
# passengers by heart rather than what passengers have in common.

# %%
assert history["train:logloss"].iloc[-1] < history["train:logloss"].iloc[0]
assert history["validation:logloss"].min() < history["validation:logloss"].iloc[0]

# %% [markdown]
# ### Exercise 2: without early stopping
#
# Train with `max_depth=10`, `num_round=200` and `early_stopping_rounds=0`. Before
# you do, write down: which way will the two lines of the learning curve go? Plot
# the curve.

# %%
# Your turn

# %% jupyter={"source_hidden": true} tags=["solution"]
long = ["--max_depth", 10, "--num_round", 200, "--early_stopping_rounds", 0]
to = ["--model_dir", work / "long", "--output_data_dir", work / "long"]
terminal(robust, "--train", train_file, *long, *to)
curve = pd.read_csv(work / "long" / "history.csv", index_col="round")
curve.plot(figsize=(6, 3.2), ylabel="log loss", style=["-", "--"])

# The training loss goes on falling; the validation loss turns and rises.
assert curve["train:logloss"].iloc[-1] < history["train:logloss"].iloc[-1]
assert curve["validation:logloss"].iloc[-1] > curve["validation:logloss"].min()

# %% [markdown]
# ## Check 2: does anything reach the model?
#
# With deep trees, a model must be able to learn a hundred rows by heart. If it
# cannot, then the features carry nothing: columns were lost, or all their values
# became the same. To see which faults this check catches, we inject two. One
# makes all features equal. The other shuffles the labels, so that each belongs
# to another passenger.

# %%
import numpy as np

hundred = passengers.head(100)
shuffled = np.random.default_rng(0).permutation(hundred["Survived"])
lists = {
    "as it is": hundred,
    "features all equal": hundred.assign(**hundred.iloc[0][list(titanic.SOURCES)]),
    "labels shuffled": hundred.assign(Survived=shuffled),
}

# %% [markdown]
# The script's `main` takes the same arguments as the command line. These two
# helpers train on a list, and score a model.

# %%
import json
from contextlib import redirect_stdout
from io import StringIO

import metrics
import train_xgboost


def train(name, frame, **hyperparameters):
    """Train on these passengers into the folder `name`; return the model."""
    folder = work / name
    frame.to_csv(work / f"{name}.csv", index=False)
    folders = {"model_dir": folder, "output_data_dir": folder}
    settings = hyperparameters | folders | {"train": work / f"{name}.csv"}
    with redirect_stdout(StringIO()):
        ended = train_xgboost.main([f"--{k}={v}" for k, v in settings.items()])
    assert ended == 0
    return train_xgboost.model_fn(folder)


def noted(name):
    """Return what the script wrote down beside a model."""
    return json.loads((work / name / "parameters.json").read_text())


def scores(model, frame):
    """Return accuracy, log loss and AUC of a model on these passengers."""
    return metrics.evaluate(titanic.labels(frame), train_xgboost.predict(model, frame))


# %% [markdown]
# Now the three lists, each scored on the very rows that it was trained on.

# %%
free = {"max_depth": 12, "eta": 0.5, "lambda": 0, "min_child_weight": 0}
free["validation_fraction"] = 0
by_heart = {}
for name, frame in lists.items():
    by_heart[name] = scores(train(name, frame, **free), frame)["accuracy"]
pd.Series(by_heart).to_frame("accuracy on its own 100 rows").round(2)

# %% [markdown]
# The check catches equal features: the model cannot do better than one answer
# for all. It does **not** catch shuffled labels. A free model learns nonsense by
# heart just as well.

# %%
assert min(by_heart["as it is"], by_heart["labels shuffled"]) >= 0.95
assert by_heart["features all equal"] < 0.8

# %% [markdown]
# ## Check 3: do labels and features belong together?
#
# For that we need passengers that the model has not learnt from. We compare the
# AUC on the rows held out: the probability that a random survivor gets a higher
# score than a random victim. Guessing has 0.5. In the second list, the labels
# are shuffled. In the third, a wrong join has moved them all by one row.

# %%
label = passengers["Survived"]
joins = {
    "as it is": label,
    "labels shuffled": np.random.default_rng(1).permutation(label),
    "labels moved by a row": np.roll(label, 1),
}


def held_out_auc(name, frame):
    """Train on a list; return the AUC that the script noted for the rows held out."""
    train(name, frame)
    return noted(name)["metrics"]["validation"]["auc"]


aucs = {}
for name, labels in joins.items():
    aucs[name] = held_out_auc(name, passengers.assign(Survived=labels))
pd.Series(aucs).to_frame("AUC on rows held out").round(2)

# %% [markdown]
# A list that is no better than its shuffled copy is broken. The wrong join is
# found. What this check cannot find is a *leak*: a column that exists only
# because the outcome is known. We inject one: survivors get their fare back.

# %%
refunded = passengers["Fare"].where(passengers["Survived"] == 0, 0)
leak = held_out_auc("leak", passengers.assign(Fare=refunded))
print(f"AUC with a leak {leak:.3f}, without {aucs['as it is']:.3f}")

# %% [markdown]
# With a leak the result is better than without. Nothing fails, and the model is
# useless for the next passenger, whose outcome nobody knows. Against leaks only
# a question helps: *would I know this value at the time of the prediction?*

# %%
broken = [aucs["labels shuffled"], aucs["labels moved by a row"]]
assert max(broken) < 0.7 < aucs["as it is"] < leak

# %% [markdown]
# ## Check 4: is the file the model, and the same each time?
#
# Before it saved, the script noted its own result in `parameters.json`. The
# loaded file must give the same result. A second training with the same data and
# the same *seed* (the start of its random numbers) must give the same file.

# %%
model = train_xgboost.model_fn(work / "model")
note = noted("model")
seed = note["hyperparameters"]["seed"]
held_out = passengers[titanic.hold_out(titanic.labels(passengers), 0.2, seed)]
loaded = scores(model, held_out)
train("again", passengers)
files = [work / name / train_xgboost.MODEL_FILE for name in ("model", "again")]
pd.DataFrame({"when saved": note["metrics"]["validation"], "loaded": loaded}).round(3)

# %% [markdown]
# Both columns agree, and so do the two files. Training is *reproducible* here.
# On another type of machine the last digits may differ. What the check cannot
# find is a feature that another program computes differently from ours.

# %%
assert loaded == note["metrics"]["validation"]
assert files[0].read_bytes() == files[1].read_bytes()

# %% [markdown]
# ## Check 5: does one passenger alone get the same answer?
#
# In use, rows come one at a time. We ask for twenty passengers one by one, and
# compare. We also inject a fault: a feature that depends on the other rows,
# "older than the average".

# %%
together = train_xgboost.predict(model, held_out)
alone = [train_xgboost.predict(model, held_out.iloc[[i]])[0] for i in range(20)]
ages = held_out["Age"].dropna()
older = ages > ages.mean()
older_alone = ages.map(lambda age: age > np.mean([age]))
print(f"our features: largest difference {np.abs(together[:20] - alone).max()}")
print(f"older than the average: {(older != older_alone).sum()} of {len(ages)} change")

# %% [markdown]
# Our features come from their own row alone, so nothing changes. The faulty
# feature changes without an error, and the model would be worse in use than in
# our tests.

# %%
assert np.array_equal(together[:20], alone)
assert (older != older_alone).any()

# %% [markdown]
# ## How good is it?
#
# Now, once, we open the test list, which neither training nor early stopping has
# seen. Other passengers would give another accuracy; a confidence interval says
# by how much. We read three intervals at once, so each is made wider
# (*Bonferroni*): all three together hold with a confidence of 95 %.

# %%
from scipy.stats import binomtest

test_list = titanic.read("../data/titanic_test.csv")
truth = titanic.labels(test_list) == 1
hits = {name: (rule(test_list) == truth).to_numpy() for name, rule in rules.items()}
hits["XGBoost"] = (train_xgboost.predict(model, test_list) >= 0.5) == truth
table = pd.DataFrame({"accuracy": {name: hit.mean() for name, hit in hits.items()}})
for name, hit in hits.items():
    test = binomtest(int(hit.sum()), len(hit))
    interval = test.proportion_ci(1 - 0.05 / len(hits), method="wilson")
    table.loc[name, ["low", "high"]] = interval.low, interval.high
table.round(2)

# %% [markdown]
# A picture shows at once which intervals overlap.

# %%
spread = [table["accuracy"] - table["low"], table["high"] - table["accuracy"]]
axes = plt.figure(figsize=(6, 2)).gca()
axes.errorbar(table["accuracy"], table.index, xerr=spread, fmt="o", capsize=4)
axes.set(xlabel="accuracy on the test list, with interval", xlim=(0, 1))
axes.margins(y=0.3)
plt.show()

# %% [markdown]
# The intervals are wide. On a test list of this size, nobody can tell two models
# apart that differ by a point. For two rules on the *same* passengers there is a
# sharper comparison: only those count about whom the two disagree.

# %%
disagree = hits["XGBoost"] != hits["women survived"]
wins = int(hits["XGBoost"][disagree].sum())
p_value = binomtest(wins, int(disagree.sum())).pvalue
print(f"they disagree about {disagree.sum()} of {len(test_list)} passengers")
print(f"and XGBoost is correct about {wins} of these (p = {p_value:.2f})")

# %% [markdown]
# If the two rules were equally good, a result at least this uneven would have
# the probability `p`. Below 0.05 one commonly says that one of them is better.
# Above it, we have *not shown* that boosting beats a rule of one feature. A
# small test list cannot say more.

# %%

# %% [markdown]
# ### Exercise 3: how long, and how much memory?
#
# Before we rent a machine we want to know which one. Time `train_xgboost.py`
# for 20 rounds on the list repeated 1, 100 and 1000 times, each in a process of
# its own. Then project seconds and peak memory to 10 million passengers. Use the
# *slope*, the time for each further row: on a short list, nearly all the time
# goes into starting Python and importing libraries.
#
# (`resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss` is the peak memory of
# processes that have ended, in KiB on Linux and in bytes on macOS.)

# %%
# Your turn

# %% jupyter={"source_hidden": true} tags=["solution"]
import resource
import time


def measure(times):
    """Return rows, seconds and peak memory (GiB) of training on the list, repeated."""
    pd.concat([passengers] * times).to_csv(work / "longer.csv", index=False)
    start = time.perf_counter()
    command = [sys.executable, robust, "--num_round", "20"]
    command += ["--train", work / "longer.csv", "--model_dir", work / "timed"]
    subprocess.run(command, check=True, capture_output=True)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    unit = 1 if sys.platform == "darwin" else 1024
    return len(passengers) * times, seconds, peak * unit / 2**30


columns = ["rows", "seconds", "memory_gib"]
measured = pd.DataFrame([measure(times) for times in (1, 100, 1000)], columns=columns)
per_row = measured.diff().iloc[-1] / measured["rows"].diff().iloc[-1]
further = 10_000_000 - measured["rows"].iloc[-1]
projected = measured.iloc[-1] + per_row * further
# A straight line over a factor of fourteen is a rule of thumb; it can be wrong by half.
assert measured["seconds"].iloc[-1] < 1000 * measured["seconds"].iloc[0]
projected.round(1)

# %% [markdown]
# Which machine has that much memory? Prices are in US dollars an hour, as of the
# date beside them. For our short list the smallest is enough, and the next
# lesson rents it.

# %%
machines = pd.read_csv("../data/instance_prices.csv")
machines = machines[machines["use"] == "training"].sort_values("usd_per_hour")
machines[["instance_type", "vcpu", "memory_gib", "usd_per_hour", "as_of"]].head(3)

# %% [markdown]
# ## Key points
#
# - An entry point is an ordinary program: arguments and `SM_*` variables in,
#   `SM_MODEL_DIR`, printed metrics and an exit code out
# - Know the bar: the accuracy of no model, and of the simplest rule
# - Each check finds some faults and not others. A free model learns even
#   shuffled labels by heart; a leak makes every result better
# - An accuracy needs its interval; compare two models on the passengers they
#   disagree about
# - Project time and memory from the slope, not from one small run
#
# ## Clean up
#
# Nothing of this lesson is on AWS and nothing bills. Its files lie in a
# temporary folder, which we remove now.

# %%
scratch.cleanup()
assert not work.exists()
