# %% [markdown]
# # 01 · Who am I here, where is my data, and what does it cost?
#
# A notebook on SageMaker looks like any other notebook, until a cell says
# `AccessDenied`. This lesson makes the four things visible that decide what
# your code may do and what it costs: an identity, a region, a bucket and a
# role. Every later lesson builds on them.
#
# **Questions**
#
# - Who am I to AWS, and what is a role?
# - Where does my data lie, and who may read it?
# - Do I read a file into memory, or make a local copy?
# - What does it cost to keep data there?
# - What do I do when AWS says `AccessDenied`?
#
# **Objectives**
#
# - Find out identity, role, region and the address that calls go to
# - Upload a file to S3, list it, check that it arrived whole
# - Read it back both ways, and say when which is better
# - Compute the monthly price of a data set
# - Read a permission error and name the one right that is missing
#
# **You need** the workshop's kernel. That is all: this lesson makes the
# bucket itself.
#
# **Time** teaching 20 min, exercises 10 min
#
# **Cost on AWS** less than $0.01: a few requests, and 60 KB in a bucket. On a
# notebook instance the instance bills too, about $0.05 an hour.

# %% [markdown]
# ## The right version of the SDK
#
# The lessons share a few small modules, which lie in `scripts/`. The first
# cell of every lesson lets Python find them.

# %%
import sys

sys.path[:0] = ["../scripts", "../scripts/training"]

import titanic
import workshop
from workshop import buckets, costs

# %% [markdown]
# SageMaker has a Python SDK, the package `sagemaker`, and it exists in two
# worlds. **Version 2** has `Session`, `Estimator` and `fit()`, and nearly
# every example you will find is written for it. **Version 3** replaced them
# by `ModelTrainer` and `train()`, so code for the one does not run on the
# other. A plain `pip install sagemaker` brings version 3. These lessons use
# version 2, and say at each turn what version 3 calls it.

# %%
workshop.check_sdk()

# %% [markdown]
# It begins with a 2. With any other version the cell would have ended in one
# sentence that says what to do, rather than an `ImportError` ten cells later.
#
# Version 2 is in maintenance since 2026-07-06: it gets critical fixes and
# nothing new. Its support ends on 2027-07-06, as the package itself says.

# %%
from importlib.metadata import metadata

about = metadata("sagemaker").get_payload().splitlines()
phases = ("Maintenance mode  ", "End-of-Support  ")
print(*[line for line in about if line.startswith(phases)], sep="\n")

# %% [markdown]
# One more thing to know about this SDK: it reports to AWS which of its
# functions you use, unless its configuration file says `TelemetryOptOut`.
#
# ## Where am I?
#
# A *session* bundles what every call to AWS needs: credentials, a region, an
# address to call. On a SageMaker notebook instance all three are simply
# there. Elsewhere they come from the environment variables and files that the
# `aws` command reads too.

# %%
import sagemaker

session = sagemaker.Session()
print(workshop.home(session))

# %% [markdown]
# That sentence comes from the environment itself, and so can be trusted. Read
# it whenever you open a notebook: it says where you are, where calls go, and
# whether they end up on a bill. If they do, three things of this workshop cost
# money: jobs, by the second while they run (the head of each lesson says how
# much); storage, by size and month; and a notebook instance, by the second
# until you stop it.
#
# The *region* is the place where machines and data stand. A bucket and the
# jobs that read it must be in the same one.

# %%
region = session.boto_region_name
region

# %% [markdown]
# ## Who am I?
#
# AWS answers that question itself, and nobody needs a permission to ask it.
# Whatever else fails, this call works, so it is the first thing to try when
# something does not.

# %%
sts = session.boto_session.client("sts")
identity = sts.get_caller_identity()
account = identity["Account"]
identity["Arn"]

# %% [markdown]
# That is an ARN, an *Amazon Resource Name*, the full name that everything has
# in AWS. Its parts stand between colons.

# %%
names = ["", "partition", "service", "region", "account", "what"]
parts = dict(zip(names, identity["Arn"].split(":", 5), strict=True))
{name: parts[name] for name in names[1:]}

# %% [markdown]
# Look at `what`. If it begins with `assumed-role/`, you act as a **role**: a
# set of permissions that is worn like a coat, by a person, a notebook or a
# machine, and only for some hours. If it begins with `user/`, you act as
# yourself, for good.
#
# The difference matters, because a training job needs a coat of its own. It
# runs on a machine that is not yours, when you may have long gone home, and
# SageMaker lends it a role, never a user. On SageMaker the role of the
# notebook is commonly lent to the jobs too, and the SDK finds it with one
# call, `sagemaker.get_execution_role()`. That call fails for a user. So the
# lessons ask `workshop.execution_role`, which first looks whether you named a
# role in the variable `SAGEMAKER_ROLE_ARN`.

# %%
role = workshop.execution_role(session)
role

# %% [markdown]
# The ARN of a role, in the same account as you. Lent to a job it is called the
# job's *execution role*. Two different rights are at work when you start a job
# with it: *you* need `iam:PassRole` to lend this role to SageMaker, and *the
# role* needs to let itself be lent.

# %%
assert ":role/" in role
assert role.split(":")[4] == account

# %% [markdown]
# ## A bucket for the workshop
#
# Data for training lives in S3, in a *bucket*. Bucket names are shared by
# everyone on AWS, so ours carries the account and the region. It also carries
# the word `sagemaker`, for a reason that costs many people an afternoon: the
# policy that AWS gives to SageMaker roles by default opens only buckets with
# that word in their name.
#
# `workshop.session` returns a session whose default bucket is this one, and
# makes the bucket if it is not there. A bucket of that name which somebody
# else made is not used: the call then says so, and how you can name a bucket.
# From now on we use that session.

# %%
session = workshop.session()
bucket = session.default_bucket()
bucket

# %% [markdown]
# Who may read it? First the door to the world. S3 has four locks against
# public access, and all four should be shut. (AWS's managed policy for SageMaker
# does not let a role ask for them. Then `if_permitted` prints so, and we go on.)

# %%
s3 = session.boto_session.client("s3")
locks = workshop.if_permitted(s3.get_public_access_block, Bucket=bucket)
locks and locks["PublicAccessBlockConfiguration"]

# %% [markdown]
# All `True`: no setting on a single object can open the bucket to strangers,
# not even by accident. Inside the account, whoever has a role with
# `s3:GetObject` for this bucket may read it, and nobody else.
#
# The bucket also carries a tag. Tags cost nothing, the bill can be split by
# them, and the last lesson finds by them what to delete. The call that made
# the bucket tagged it, so a bucket without this tag is not the workshop's. (A
# bucket that you named yourself keeps the tags that it has, or none.)

# %%
assert not locks or all(locks["PublicAccessBlockConfiguration"].values())
workshop.if_permitted(buckets.tags_of, s3, bucket, account)

# %% [markdown]
# ## Upload
#
# Our data is a passenger list of the Titanic in two files: one to train on,
# one to test with at the end. `data/README.md` says where it comes from.

# %%
from pathlib import Path

train_file = Path("../data/titanic_train.csv")
test_file = Path("../data/titanic_test.csv")
{path.name: path.stat().st_size for path in (train_file, test_file)}

# %% [markdown]
# Sizes are in bytes. One call uploads a file and returns its address, the S3
# URI: `s3://`, the bucket, and the *key*.

# %%
uri = session.upload_data(str(train_file), bucket=bucket, key_prefix="data/train")
uri

# %% [markdown]
# It looks like a path with folders, but S3 has no folders. A key is one long
# name, and the slashes are part of it. What looks like a folder is a
# *prefix*: "all keys that begin with `data/train/`". A training job is given
# a prefix, and takes **every** object under it. Hence one prefix per purpose,
# with nothing else in it.

# %%
session.upload_data(str(test_file), bucket=bucket, key_prefix="data/test")

objects = s3.list_objects_v2(Bucket=bucket, Prefix="data/")["Contents"]
{thing["Key"]: thing["Size"] for thing in objects}

# %% [markdown]
# Both are there, with the sizes of the files on disk. Did they also arrive
# *whole*? S3 gives each object an `ETag`. For a file below 8 MB that is not
# encrypted with a key of your own, it is the MD5 sum of its bytes, which we
# can compute here too.

# %%
import hashlib

here = hashlib.md5(train_file.read_bytes(), usedforsecurity=False)
there = s3.head_object(Bucket=bucket, Key="data/train/titanic_train.csv")
here.hexdigest(), there["ETag"]

# %% [markdown]
# The same number twice. So "is it already there?" can be answered without
# moving the file, and that is how `workshop.ensure_data` works: it uploads
# what is missing or differs, nothing else. Every later lesson starts with it,
# and can therefore be run alone.

# %%
assert there["ETag"] == f'"{here.hexdigest()}"'
channels = workshop.ensure_data(session)
channels

# %% [markdown]
# ## Read it back: into memory
#
# There are two ways from S3 into your notebook. The first never touches the
# disk: open the object, and read from it as it comes over the network.

# %%
answer = s3.get_object(Bucket=bucket, Key="data/train/titanic_train.csv")
passengers = titanic.read(answer["Body"])
passengers.head()

# %% [markdown]
# `titanic.read` is our own reader. It does what `pandas.read_csv` does, and
# checks every column and value on the way, so that a damaged file stops here
# and not in a job that bills.
#
# What does the table weigh in memory, compared to the file?

# %%
in_memory = passengers.memory_usage(deep=True).sum()
print(f"{len(passengers)} passengers")
print(f"{answer['ContentLength'] / 1024:.0f} KB in S3")
print(f"{in_memory / 1024:.0f} KB in memory")

# %% [markdown]
# The two sizes differ, and for text they often differ by much. Before you
# read a large object into memory, read the first rows of it and measure.
#
# ## Read it back: a local copy
#
# The second way makes a file first. We put it into a temporary folder, which
# the last cell of the lesson removes.

# %%
from tempfile import TemporaryDirectory

from sagemaker.s3 import S3Downloader

scratch = TemporaryDirectory()
S3Downloader.download(channels["train"], scratch.name, sagemaker_session=session)

# %% [markdown]
# The answer is a list of the files that were written: all that lay under the
# prefix. They are the same bytes as ours.

# %%
copy = Path(scratch.name) / "titanic_train.csv"
assert copy.read_bytes() == train_file.read_bytes()
assert titanic.read(copy).equals(passengers)

# %% [markdown]
# Both ways give the same table. Which one, when?
#
# | | into memory | local copy |
# |---|---|---|
# | you read it | once | again and again |
# | it must fit into | memory | the disk (5 GB on a default notebook instance) |
# | works for | tools that read streams, such as pandas | every tool |
# | leaves behind | nothing | a file, which can grow stale |
#
# A training job does the second by default: it copies the whole prefix to its
# own disk before your script starts.
#
# ## What does it cost to keep it?
#
# S3 bills for three things: what you store, per gigabyte and month; requests,
# fractions of a cent per thousand; and what leaves for the internet. Storage
# is the one that goes on while you sleep. The price we use is written down
# with its date and where it was read.

# %%
print(costs.S3_STANDARD)
print("source:", costs.S3_STANDARD.source)

# %% [markdown]
# Prices differ between regions and change over the years. A price without
# region and date is a rumour.

# %%
stored = sum(thing["Size"] for thing in objects)
per_month = costs.storage_per_month(stored)
print(f"{stored / 1024:.0f} KB cost {costs.dollars(per_month)} a month")

# %% [markdown]
# Far below a cent. The other direction says more: how much could lie there
# for one dollar a month?

# %%
gigabyte = 2**30
one_dollar = 1 / costs.storage_per_month(gigabyte)
print(f"${1:.0f} a month keeps {one_dollar:.0f} GB")

# %% [markdown]
# Keeping data is cheap. What makes bills are machines that run, and data that
# many jobs leave behind and nobody remembers.
#
# ## AccessDenied: a stranger
#
# We said that nobody from outside may read the bucket. Let us try. A client
# that does not sign its requests is what anybody on the internet is to S3.

# %%
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

stranger = session.boto_session.client("s3", config=Config(signature_version=UNSIGNED))

# %% [markdown]
# `ClientError` is what every refusal of AWS arrives as. It carries a code to
# decide by and a message to read.

# %%
try:
    stranger.get_object(Bucket=bucket, Key="data/train/titanic_train.csv")
except ClientError as error:
    refusal = error.response["Error"]
    print(refusal["Code"], "-", refusal["Message"])

# %% [markdown]
# The door is shut. Now suppose that a colleague without an AWS account needs
# this one file. Opening the bucket would be the wrong cure. S3 has a better
# one: an address that is signed in *your* name, for *one* object, for a
# *short* time.

# %%
assert refusal["Code"] == "AccessDenied"
signer = session.boto_session.client("s3", config=Config(signature_version="s3v4"))
what = {"Bucket": bucket, "Key": "data/train/titanic_train.csv"}
link = signer.generate_presigned_url("get_object", Params=what, ExpiresIn=60)

# %% [markdown]
# Whoever has the link can read this file in the next 60 seconds, with no
# credentials at all, even in a browser. Treat it like a password.

# %%
import pandas as pd

shared = pd.read_csv(link)
assert shared["Name"].equals(passengers["Name"])
len(shared)

# %% [markdown]
# The same passengers, read by nobody in particular. The link gives no more
# than you have: it was made by your own right to `s3:GetObject`.
#
# ## AccessDenied: you
#
# More often it is you whom AWS refuses. Here is a question that sounds
# harmless: who else may sign in to this account? It needs the permission
# `iam:ListUsers`, and neither the workshop's policy nor AWS's managed policy for
# SageMaker gives it. So the next cell ends in an `AccessDenied`, which is a kind
# of `ClientError`. (If your role may do more, you see a list instead.)

# %% tags=["raises-exception"]
iam = session.boto_session.client("iam")
iam.list_users()

# %% [markdown]
# Do not let the length frighten you: **read the last line first.** After the
# code, `AccessDenied`, it names the three things that matter: *who* asked (the
# ARN from above), for *which action*, and *on what*.
#
# What may a role for this workshop do? Its policy is a file of this project.
# Here is the part of it about identities.

# %%
import json

folder = Path("../scripts/notebook_instance")
policy = json.loads((folder / "execution_role_policy.json").read_text())
for statement in policy["Statement"]:
    actions = statement["Action"]
    actions = [actions] if isinstance(actions, str) else actions
    if any(action.startswith("iam:") for action in actions):
        print(*actions, "on", statement["Resource"])

# %% [markdown]
# `iam:PassRole` lets you pass one role to a job. A list of all users is not
# there, and training needs none.
#
# So there are two cures. Mostly you meant something that you may do. Who *you*
# are, for example, AWS answers to everybody:

# %%
sts.get_caller_identity()["Arn"]

# %% [markdown]
# And where you really need the permission, ask the person who manages the
# account for exactly that action on exactly that resource, in the form that IAM
# takes. A request like this one is granted in a minute; "please give me access"
# is not.

# %%
wanted = {"Effect": "Allow", "Action": "iam:ListUsers", "Resource": "*"}
print(f"For {role}, please add:")
print(json.dumps(wanted, indent=2))

# %% [markdown]
# ### Exercise 1: a note in the bucket
#
# Write a line of text into an object with the key `notes/hello.txt`
# (`s3.put_object` takes `Bucket`, `Key` and `Body`, and the body is bytes).
# Read it back into memory. Then delete it with `s3.delete_object`, and show
# that nothing is left under `notes/`.

# %%
# Your turn

# %% jupyter={"source_hidden": true} tags=["solution"]
note = b"Women and children first."
s3.put_object(Bucket=bucket, Key="notes/hello.txt", Body=note)

body = s3.get_object(Bucket=bucket, Key="notes/hello.txt")["Body"]
assert body.read() == note

s3.delete_object(Bucket=bucket, Key="notes/hello.txt")
left = s3.list_objects_v2(Bucket=bucket, Prefix="notes/")
assert left["KeyCount"] == 0  # and there is no "Contents" at all
left["KeyCount"]

# %% [markdown]
# ### Exercise 2: the forgotten checkpoints
#
# A team trains ten models a week, and each job leaves 2 GB of checkpoints in
# S3. Nobody deletes any. What do they pay per month after one year, and what
# did they pay in that year altogether?

# %%
# Your turn

# %% jupyter={"source_hidden": true} tags=["solution"]
weekly = costs.storage_per_month(10 * 2 * gigabyte)
last_month = 52 * weekly
whole_year = sum(weeks * weekly * 12 / 52 for weeks in range(1, 53))
print(f"after a year ${last_month:.2f} a month, ${whole_year:.2f} so far")

# %% [markdown]
# Not ruinous, and it never stops growing. A *lifecycle rule*, which deletes
# old objects by itself, is the cure, and a later lesson sets one.
#
# ## Key points
#
# - `get_caller_identity` says who you are; it needs no permission
# - A job runs with a role; `get_execution_role` finds yours, or you name it
# - A bucket has keys, not folders; a job takes every object under a prefix
# - Read once: into memory. Read often, or with any tool: a local copy
# - A price has a region, a date and a source
# - In an `AccessDenied`, look for who, which action, on what; then ask for
#   that, and no more
#
# ## Clean up
#
# The two files stay, because every other lesson reads them. They are the only
# thing of this lesson that bills, the amount that you computed above, and the
# last lesson deletes them. The local copy goes now.

# %%
scratch.cleanup()
assert not copy.exists()
