# %% [markdown]
# # 02 · Train here first: checks that cost nothing
#
# A training job is your script on a rented machine. Whatever is wrong with
# the script or the data is found sooner, and free of charge, on the machine
# in front of you. In this lesson we run the script as SageMaker will run it,
# ask it the questions that one asks before paying, and find out how good the
# model is, and how sure we can be of that.
#
# **Questions**
#
# - How do I run a training script by hand?
# - Which checks catch most of the mistakes?
# - How good is the model, and how far can I trust that number?
# - How long will it take on more data, and how much memory must I rent?
#
# **Objectives**
#
# - Run one script from a terminal, from a notebook, and as a function
# - Set a bar that a model must clear to be worth anything
# - Check data, learning, saving and serving before paying for a machine
# - Report an accuracy with its uncertainty, and compare two rules fairly
# - Measure time and memory, and project them to more data
#
# **You need** the workshop's kernel. No earlier lesson and no AWS account.
#
# **Time** teaching 30 min, exercises 15 min
#
# **Cost on AWS** nothing: all of it runs on this machine. (On a notebook
# instance, the instance itself bills about $0.05 an hour.)

# %% [markdown]
# ## The script
#
# Three modules of the project do the work. `train_xgboost` is the script that
# we will later hand to SageMaker, `titanic` reads and checks passenger lists,
# and `metrics` says how good predictions are.

# %%
import subprocess
import sys

sys.path[:0] = ["../scripts", "../scripts/training"]

import metrics
import titanic
import train_xgboost

# %% [markdown]
# The script that a job starts is its *entry point*. It is an ordinary program:
# hyperparameters come in as `--name value`, and so do the folders to read from
# and write to. We start it as a terminal would, in a process of its own.

# %%
script = "../scripts/training/train_xgboost.py"


def terminal(*words):
    """Run the script with these arguments; print its text, return how it ended."""
    command = [sys.executable, script, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True)
    print(done.stdout + done.stderr)
    return done


# %% [markdown]
# Its help is its manual.

# %%
terminal("--help").returncode

# %% [markdown]
# The last group is the whole secret of "one script, three homes". On
# SageMaker, environment variables such as `SM_CHANNEL_TRAIN` say where the
# data are. Here they are not set, and the defaults of the script apply.
#
# What if we misspell a hyperparameter?

# %%
misspelt = terminal("--max_dept", 4)
misspelt.returncode

# %% [markdown]
# It refuses, and says why. That is worth more than it seems. A script that
# quietly ignores what it does not know trains for an hour, on a rented
# machine, with a default that you did not want.
#
# The number below is the *exit code*. A program ends with 0 when all went
# well and with something else when not. SageMaker decides by nothing but this
# number whether a job has Completed or Failed.

# %%
assert misspelt.returncode == 1
assert "max_depth" in misspelt.stderr

# %% [markdown]
# ## Look at the data
#
# The passenger list comes in two files. The model learns from the first. The
# second stays closed until we evaluate, or it would tell us nothing about
# passengers that the model has never seen.

# %%
from pathlib import Path

train_file = Path("../data/titanic_train.csv")
passengers = titanic.read(train_file)
passengers.head()

# %% [markdown]
# `titanic.read` has checked every column and value already. What a schema
# cannot see is how much is missing.

# %%
gaps = passengers.isna().mean()
gaps[gaps > 0].map("{:.1%}".format).to_frame("missing")

# %% [markdown]
# These gaps are real: nobody knew those ages. A common reflex is to fill them
# with the mean or the median. We leave them empty, since XGBoost learns at
# each question which way the passengers without an answer should go.
#
# What does a model see of a passenger?

# %%
titanic.features(passengers).head()

# %% [markdown]
# Numbers only. `Name`, `Ticket`, `Cabin` and `PassengerId` are not there: each
# names one person or place, so that a model could learn them by heart, and
# would be helpless with the next passenger. Every feature is made from its
# own row alone. We come back to why that matters.
#
# ## The bar
#
# Before any model: how good is no model at all? The dullest rule says of
# everybody what is true of most.

# %%
survived = titanic.labels(passengers) == 1
print(f"{survived.mean():.1%} survived")

# %% [markdown]
# So a rule that says "died" of everyone is right in all the other cases. A
# second rule needs just one look at the list.

# %%
by_sex = passengers.groupby("Sex", observed=True)["Survived"].mean()
by_sex.map("{:.1%}".format).to_frame("survived")

# %% [markdown]
# "Women survived, men died" uses one feature out of nine and no learning at
# all. A model that cannot beat these two rules is not worth a machine. We
# write both down, as functions from passengers to yes or no.

# %%
rules = {
    "nobody survived": lambda frame: frame["Sex"] == "neither",
    "women survived": lambda frame: frame["Sex"] == "female",
}
for name, says in rules.items():
    print(f"{name}: {(says(passengers) == survived).mean():.1%} right")

# %% [markdown]
# The first figure is the floor and the second the bar.
#
# ## Run it
#
# `%run` runs a script inside the notebook, so that its lines appear while it
# works. Whatever this lesson writes goes into a temporary folder.

# %%
from tempfile import TemporaryDirectory

scratch = TemporaryDirectory()
work = Path(scratch.name)
folders = f"--model_dir {work}/model --output_data_dir {work}/model"
# %run {script} --train {train_file} {folders}

# %% [markdown]
# Read it from the top. It read the list, and put a part of it aside for
# *validation*: rows that it does not learn from, and on which it measures
# itself after each round. It printed the loss as it went, stopped when the
# validation loss no longer fell, and saved.
#
# Lines such as `validation:accuracy=…;` have that odd form for a reason:
# SageMaker finds metrics in the text by a pattern, and this one cannot be
# mistaken. Here is what was saved.

# %%
{path.name: path.stat().st_size for path in sorted((work / "model").iterdir())}

# %% [markdown]
# `xgboost-model.ubj` is the model, in XGBoost's own format, which any later
# version can read. (A pickle cannot promise that, and runs code when it is
# opened.) `parameters.json` says how it came about. `history.csv` is the loss
# after each round.
#
# ## Check 1: does it learn?
#
# The loss on the training rows must fall. The loss on the validation rows
# should fall with it, and then level off.

# %%
import matplotlib.pyplot as plt
import pandas as pd

history = pd.read_csv(work / "model" / "history.csv", index_col="round")
axes = history.plot(figsize=(6, 3.2), ylabel="log loss", title="Learning curve")
best = history["validation:logloss"].idxmin()
axes.axvline(best, color="grey", linestyle=":", label=f"best: round {best}")
axes.legend()
plt.show()

# %% [markdown]
# The two lines fall together and then part: from there on the model learns
# these passengers rather than passengers. The dotted line is the round with
# the lowest validation loss, and the saved model ends there.

# %%
assert history["train:logloss"].iloc[-1] < history["train:logloss"].iloc[0]
assert history["validation:logloss"].min() < history["validation:logloss"].iloc[0]
assert train_xgboost.model_fn(work / "model").num_boosted_rounds() == best

# %% [markdown]
# ## Check 2: can it learn 100 rows by heart?
#
# The quickest test there is. With deep trees, many rounds and nothing to hold
# it back, a model must be able to memorise a hundred rows. If it cannot, then
# features and labels do not belong together: a shifted column, a wrong join,
# a label that is not the label.
#
# We will run the script several times from here on, so let us call it as a
# function. `main` takes the same words as the command line and returns the
# exit code. Its text we keep for ourselves.

# %%
from contextlib import redirect_stdout
from io import StringIO


def run_script(name, **arguments):
    """Train into the folder `name` of our scratch space; returns the folder."""
    folder = work / name
    arguments |= {"model_dir": folder, "output_data_dir": folder}
    words = [f"--{key}={value}" for key, value in arguments.items()]
    with redirect_stdout(StringIO()):
        assert train_xgboost.main(words) == 0
    return folder


# %% [markdown]
# Now the first hundred rows, with every brake released.

# %%
hundred = passengers.head(100)
hundred.to_csv(work / "hundred.csv", index=False)
brakes_off = {"max_depth": 12, "eta": 0.5, "lambda": 0, "min_child_weight": 0}
brakes_off |= {"train": work / "hundred.csv", "validation_fraction": 0}
by_heart = run_script("by_heart", **brakes_off)

recited = train_xgboost.predict(train_xgboost.model_fn(by_heart), hundred)
by_heart_scores = metrics.evaluate(titanic.labels(hundred), recited)
by_heart_scores

# %% [markdown]
# It knows nearly all of them, so features and labels belong together. As a
# model it is useless, of course, and that is not what it was for.

# %%
assert by_heart_scores["accuracy"] >= 0.95

# %% [markdown]
# ## Check 3: does a bad file stop it?
#
# Data change behind your back. Somebody exports the list again, and one age
# is now a word. What happens?

# %%
damaged = passengers.astype({"Age": object})
damaged.loc[41, "Age"] = "about thirty"
damaged.to_csv(work / "damaged.csv", index=False)

stopped = terminal("--train", work / "damaged.csv")
assert stopped.returncode == 1
assert "row 42" in stopped.stderr

# %% [markdown]
# One sentence: which file, which row, which column, what was expected, what
# was found. On SageMaker the same sentence becomes the reason of the failed
# job. Many scripts would have turned the word into a gap and gone on.
#
# ## Check 4: is the file the model?
#
# What is shipped is not the model in memory but the file. Before the script
# saved, it measured itself on the rows that it held out, and wrote the result
# into `parameters.json`. Load the file, and it must get the same result on
# the same rows.

# %%
import json

model = train_xgboost.model_fn(work / "model")
noted = json.loads((work / "model" / "parameters.json").read_text())
seed = noted["hyperparameters"]["seed"]
aside = titanic.hold_out(titanic.labels(passengers), 0.2, seed)
held_out = passengers[aside]
answers = train_xgboost.predict(model, held_out)
loaded = metrics.evaluate(titanic.labels(held_out), answers)
pd.DataFrame({"when saved": noted["metrics"]["validation"], "loaded": loaded})

# %% [markdown]
# The two columns agree. If they did not, something would be lost between the
# two: the number of rounds, the order of the features, a setting that is not
# in the file.

# %%
assert loaded == noted["metrics"]["validation"]

# %% [markdown]
# ## Check 5: the same again?
#
# Train once more, with the same data and the same seed, and compare the two
# files byte by byte.

# %%
import hashlib


def checksum(folder):
    model_file = folder / train_xgboost.MODEL_FILE
    return hashlib.sha256(model_file.read_bytes()).hexdigest()


again = run_script("again", train=train_file)
checksum(work / "model"), checksum(again)

# %% [markdown]
# Identical. Training is *reproducible*: if two models of ours ever differ,
# then something that went in was different. In lesson 03 this lets us prove
# that SageMaker trained the very same model.

# %%
assert checksum(work / "model") == checksum(again)

# %% [markdown]
# ## Check 6: does one passenger alone get the same answer?
#
# In training, rows come by the hundred. In use, they come one at a time. If a
# feature is computed from the whole table, such as "age above the average", a
# passenger alone gets another answer than the same passenger in a crowd. No
# error is raised, the model is just worse in use than in your tests.

# %%
import numpy as np

alone = [train_xgboost.predict(model, held_out.iloc[[i]])[0] for i in range(20)]
print(f"largest difference: {np.abs(answers[:20] - alone).max()}")

# %% [markdown]
# None at all. That is what "every feature is made from its own row" buys.

# %%
assert np.array_equal(answers[:20], alone)

# %% [markdown]
# ## How good is it?
#
# Now we may open the test list: passengers that neither training nor early
# stopping has seen.

# %%
test_list = titanic.read("../data/titanic_test.csv")
truth = titanic.labels(test_list)
chances = train_xgboost.predict(model, test_list)
scores = metrics.evaluate(truth, chances)
scores

# %% [markdown]
# Accuracy is the share of passengers it is right about. The other two look at
# the probabilities behind the yes and no: log loss punishes confidence in the
# wrong thing, and AUC is the chance that a random survivor is ranked above a
# random victim.
#
# Would *other* passengers give the same accuracy? Hardly: the test list is a
# sample, and small. A confidence interval says how far off it may be.

# %%
from scipy.stats import binomtest

right = {name: (says(test_list) == truth).to_numpy() for name, says in rules.items()}
right["XGBoost"] = (chances >= 0.5) == truth
table = pd.DataFrame({"accuracy": {name: hits.mean() for name, hits in right.items()}})
for name, hits in right.items():
    interval = binomtest(int(hits.sum()), len(hits)).proportion_ci(method="wilson")
    table.loc[name, ["low", "high"]] = interval.low, interval.high
table.round(3)

# %% [markdown]
# `low` to `high` is the 95 % interval. A picture shows at once what overlaps.

# %%
spread = [table["accuracy"] - table["low"], table["high"] - table["accuracy"]]
figure, axes = plt.subplots(figsize=(6, 2))
axes.errorbar(table["accuracy"], table.index, xerr=spread, fmt="o", capsize=4)
axes.set(xlabel="accuracy on the test list, with 95 % interval", ylim=(-0.5, 2.5))
plt.show()

# %% [markdown]
# The bars are wide: with a test list of this size, an accuracy is known to
# within several points. Whoever reports three digits, or chooses between two
# models because one is a point better, reads noise.
#
# For two rules on the *same* passengers there is a sharper comparison. Only
# those count about whom the two disagree.

# %%
assert (table["high"] - table["low"]).min() > 0.05

disagree = right["XGBoost"] != right["women survived"]
wins = int(right["XGBoost"][disagree].sum())
p_value = binomtest(wins, int(disagree.sum())).pvalue
print(f"they disagree about {disagree.sum()} of {len(test_list)} passengers")
print(f"and XGBoost is right about {wins} of these (p = {p_value:.3f})")

# %% [markdown]
# `p` is the chance to see a split at least this uneven if the two rules were
# equally good. Below 0.05 one would commonly say that one of them is better.
# If it is above, then all our boosting has *not shown* that it beats a rule
# of one word. That is no shame. It is what a small test list can tell, and it
# is worth knowing before one rents a larger machine.
#
# Where does it err, and what does it look at?

# %%
said = np.where(chances >= 0.5, 1, 0)
confusion = pd.crosstab(truth.astype(int), said)
gain = pd.Series(model.get_score(importance_type="total_gain")).sort_values()

figure, (left, middle) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
left.imshow(confusion, cmap="Blues")
for (row, column), count in np.ndenumerate(confusion.to_numpy()):
    tile = {"facecolor": "white", "edgecolor": "none"}
    left.text(column, row, count, ha="center", va="center", bbox=tile)
outcomes = ["died", "survived"]
left.set(xticks=[0, 1], yticks=[0, 1], xticklabels=outcomes, yticklabels=outcomes)
left.set(xlabel="the model says", ylabel="the truth", title="Passengers")
(gain / gain.sum()).plot.barh(ax=middle, title="Share of the gain in loss")
plt.show()

# %% [markdown]
# On the diagonal of the left picture it is right. The right picture says how
# much each feature contributed to the fall of the loss. Sex leads, as the bar
# above made us expect; had `Fare` or a port led, we should be suspicious.

# %%
assert gain.idxmax() == "Female"

# %% [markdown]
# ## How long, and how much memory?
#
# Before renting a machine we want to know which. So we time the script, in a
# process of its own as a job would run it, for 20 rounds, on longer and longer
# lists: the same passengers, repeated.

# %%
import resource
import time


def measure(times):
    """Rows, seconds and peak memory (GB) of training on the list, repeated."""
    longer = work / "longer.csv"
    pd.concat([passengers] * times).to_csv(longer, index=False)
    arguments = {"train": longer, "num_round": 20}
    arguments |= {"model_dir": work / "timed", "output_data_dir": work / "timed"}
    words = [f"--{key}={value}" for key, value in arguments.items()]
    start = time.perf_counter()
    subprocess.run([sys.executable, script, *words], check=True, capture_output=True)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    bytes_each = 1 if sys.platform == "darwin" else 1024  # Linux counts in KiB
    return len(passengers) * times, seconds, peak * bytes_each / 2**30


measured = pd.DataFrame(
    [measure(times) for times in (1, 100, 1000)],
    columns=["rows", "seconds", "memory_gb"],
)
measured.round(2)

# %% [markdown]
# The list grew a thousandfold and the time by far less. On the short list
# nearly all of it goes into starting Python and importing libraries. So a
# measurement on a small file says nothing about a large one. The *slope*
# does, the time per further row.

# %%
assert measured["seconds"].iloc[-1] < 1000 * measured["seconds"].iloc[0]

per_row = measured.diff().iloc[-1]
further = 10_000_000 - measured["rows"].iloc[-1]
projected = measured.iloc[-1] + per_row * further / per_row["rows"]
print(f"10 million passengers: {projected['seconds']:.0f} s for 20 rounds")
print(f"and {projected['memory_gb']:.1f} GB of memory, on this machine")

# %% [markdown]
# A projection by a straight line is a rule of thumb, not a promise: it holds
# as long as the memory suffices. It answers the first question about a
# machine, how much memory to rent.

# %%
machines = pd.read_csv("../data/instance_prices.csv")
machines = machines[machines["use"] == "training"].sort_values("usd_per_hour")
large_enough = machines[machines["memory_gib"] > projected["memory_gb"]]
large_enough[["instance_type", "vcpu", "memory_gib", "usd_per_hour", "as_of"]]

# %% [markdown]
# The cheapest that is large enough stands at the top. Prices are in US
# dollars an hour, as of the date beside them. For our short
# list even the smallest is plenty, and the next lesson rents it.
#
# ### Exercise 1: take off the brake
#
# Train with `max_depth=10`, `num_round=200` and `early_stopping_rounds=0`.
# Before you do: which way will the two lines of the learning curve go? Plot
# it, and compare the accuracy on the test list with the one from above.

# %%
# Your turn

# %% jupyter={"source_hidden": true} tags=["solution"]
no_brake = {"max_depth": 10, "num_round": 200, "early_stopping_rounds": 0}
deep = run_script("deep", train=train_file, **no_brake)
curve = pd.read_csv(deep / "history.csv", index_col="round")
curve.plot(figsize=(6, 3.2), ylabel="log loss", title="No brake")

# The training loss goes on falling, the validation loss turns and climbs.
assert curve["train:logloss"].iloc[-1] < history["train:logloss"].iloc[-1]
assert curve["validation:logloss"].iloc[-1] > curve["validation:logloss"].min()

deep_chances = train_xgboost.predict(train_xgboost.model_fn(deep), test_list)
metrics.evaluate(truth, deep_chances), scores

# %% [markdown]
# ### Exercise 2: is there a leak?
#
# Here is a check that catches what all the others miss. Shuffle the column
# `Survived` of the training list, so that it has nothing to do with the
# passengers any more, and train on that. Which AUC do you expect on the rows
# held out? (`parameters.json` has it, among the `metrics`.) What would it
# mean if it came out near 1?

# %%
# Your turn

# %% jupyter={"source_hidden": true} tags=["solution"]
shuffled = passengers.copy()
shuffled["Survived"] = np.random.default_rng(0).permutation(shuffled["Survived"])
shuffled.to_csv(work / "shuffled.csv", index=False)

nonsense = run_script("nonsense", train=work / "shuffled.csv")
parameters = json.loads((nonsense / "parameters.json").read_text())
auc = parameters["metrics"]["validation"]["auc"]

# About a coin's 0.5, give or take chance. Near 1 would mean that the label hides
# in the features: then the model "knows" what nobody can know.
assert auc < 0.75
auc

# %% [markdown]
# ## Key points
#
# - A SageMaker script is an ordinary program: run it by hand first
# - Know the bar: the accuracy of no model, and of the simplest rule
# - Before paying: gaps, learning curve, 100 rows by heart, a bad file, save
#   and load, the same bytes twice, one row alone, shuffled labels
# - An accuracy without its interval is half a number; compare two models on
#   the passengers they disagree about
# - Time and memory are projected from the slope, not from one small run
#
# ## Clean up
#
# Nothing of this lesson is on AWS and nothing bills. The models and lists
# that it made lie in a temporary folder, which goes now.

# %%
scratch.cleanup()
assert not work.exists()
