# %% [markdown]
# # 01 · Who am I here, where are my data, and what do they cost?
#
# A notebook on SageMaker looks like any other notebook, until a cell ends in
# `AccessDenied`. Four things decide what your code may do and what it costs: an
# identity, a region, a role and a bucket. This lesson shows all four. Every
# later lesson builds on them.
#
# **Questions**
#
# - Who am I to AWS, and what is a role?
# - Where are my data, and who may read them?
# - Do I read a file into memory, or make a local copy?
# - What does it cost to keep data there?
# - What do I do when AWS answers `AccessDenied`?
#
# **Objectives**
#
# - Find your identity, role, region and the address that calls go to
# - Upload a file to S3, list it, and check that it arrived complete
# - Read it back in two ways, and choose between them
# - Compute the monthly price of a data set
# - Read a permission error, and name the one permission that is missing
#
# **You need** the workshop's kernel (the Python that runs the cells of this
# notebook). Nothing else: this lesson makes the bucket.
#
# **Time** teaching 30 min, exercises 10 min
#
# **Cost on AWS** less than $0.01: a few requests, and 60 KB in a bucket. On a
# notebook instance the instance bills too, about $0.05 an hour.

# %% [markdown]
# ## Two packages
#
# The lessons share a few small modules in `scripts/`. The first cell of every
# lesson lets Python find them.

# %%
import sys

sys.path[:0] = ["../scripts", "../scripts/training"]

import boto3
import sagemaker

import titanic
import workshop
from workshop import costs

# %% [markdown]
# An *SDK* (software development kit) is a package with which a program uses a
# service. We use two. **`boto3`** is AWS's SDK for Python: one method for each
# call of each service. **`sagemaker`** stands on top of it and adds what people
# do with SageMaker, such as training.
#
# `sagemaker` exists in two versions that do not understand each other's code.
# Version 2 has `Session`, `Estimator` and `fit()`. Version 3 replaced them by
# `ModelTrainer` and `train()`, and a plain `pip install sagemaker` brings it.
# These lessons use version 2; lesson 10 uses version 3.

# %%
workshop.check_sdk()

# %% [markdown]
# It begins with a 2. Version 2 is in maintenance: it gets critical fixes and
# nothing new. The package itself says until when.

# %%
from importlib.metadata import metadata

about = metadata("sagemaker").get_payload().splitlines()
phases = ("Maintenance mode  ", "End-of-Support  ")
print(*[line for line in about if line.startswith(phases)], sep="\n")

# %% [markdown]
# This SDK reports to AWS which of its functions you use, unless its
# configuration file holds `TelemetryOptOut`.
#
# ## Where am I?
#
# A *session* holds what every call to AWS needs: credentials, a region, and an
# address. On a SageMaker notebook instance all three are there. Elsewhere they
# come from environment variables and the files of the `aws` command.

# %%
session = sagemaker.Session()
print(workshop.home(session))

# %% [markdown]
# Read this sentence whenever you open a notebook. It says where you are, where
# calls go, and whether they are billed. Three things of this workshop can be
# billed: jobs, by the second while they run; storage, by size and month; and a
# notebook instance, by the second until you stop it.
#
# The *region* is the location of machines and data. A bucket and the jobs that
# read it must be in the same one.

# %%
region = session.boto_region_name
region

# %% [markdown]
# ## Who am I?
#
# This call needs no permission. Whatever else fails, it works. So it is the
# first thing to try when something does not.

# %%
sts = boto3.client("sts")
identity = sts.get_caller_identity()
account = identity["Account"]
identity["Arn"]

# %% [markdown]
# That is an ARN, an *Amazon Resource Name*: the full name of anything in AWS.
# Its parts stand between colons.

# %%
names = ["", "partition", "service", "region", "account", "what"]
parts = dict(zip(names, identity["Arn"].split(":", 5), strict=True))
{name: parts[name] for name in names[1:]}

# %% [markdown]
# Look at `what`. If it begins with `assumed-role/`, you act as a **role**: a set
# of permissions that a person, a notebook or a machine *assumes* for some hours.
# If it begins with `user/`, you act as a user, with permissions of your own.
#
# *IAM* is AWS's service for identities and permissions. A *policy* is a list of
# permissions. A role has policies, and a *trust policy* that says who may assume
# it.
#
# A training job needs a role, because it runs on another machine, when you may
# be away. You *pass* a role to the job: its *execution role*. On SageMaker,
# mostly the notebook's own role is passed. This call finds it:

# %%
try:
    print(sagemaker.get_execution_role(session))
except ValueError as error:
    print(error)

# %% [markdown]
# For a user the call fails, since only a role can be passed. From here on
# `workshop.execution_role` makes this call. It looks first whether you named a
# role in the variable `SAGEMAKER_ROLE_ARN`.

# %%
role = workshop.execution_role(session)
assert ":role/" in role
assert role.split(":")[4] == account
role

# %% [markdown]
# Two permissions are needed to start a job with it: *you* need `iam:PassRole`
# for this role, and the trust policy of *the role* must allow SageMaker to
# assume it.
#
# ## A bucket for the workshop
#
# S3 keeps files as *objects* in a *bucket*. A name of a bucket belongs to one
# account in all regions of a *partition* (a separate part of AWS, such as
# China). Ours holds account and region, so nobody needs to invent one. It
# also holds the word `sagemaker`: AWS's usual policy for SageMaker roles opens
# only buckets with that word in their name. This call would make it:
#
# ```python
# s3.create_bucket(
#     Bucket=f"sagemaker-workshop-{account}-{region}",
#     CreateBucketConfiguration={
#         "LocationConstraint": region,  # not in us-east-1
#         "Tags": [{"Key": "workshop", "Value": "sagemaker-training"}],
#     },
# )
# ```
#
# From here on `workshop.session` does it, where the bucket is missing. It uses
# no bucket of somebody else: our name can be guessed, so each call that must
# meet our bucket names the expected owner (`ExpectedBucketOwner`).

# %%
session = workshop.session()
bucket = session.default_bucket()
bucket

# %% [markdown]
# Who may read it? S3 has four locks against public access. All four should be
# closed. (AWS's managed policy for SageMaker lets no role ask for them. Then
# `if_permitted` prints so, and we go on.)

# %%
s3 = boto3.client("s3")
owned = {"Bucket": bucket, "ExpectedBucketOwner": account}
locks = workshop.if_permitted(s3.get_public_access_block, **owned)
locks and locks["PublicAccessBlockConfiguration"]

# %% [markdown]
# `True` means closed: no setting of a single object can open the bucket to
# strangers. Inside the account, only roles with `s3:GetObject` for this bucket
# may read it.
#
# The bucket has a *tag*, a label. By tags the bill can be split, and the last
# lesson finds what to delete.

# %%
assert not locks or all(locks["PublicAccessBlockConfiguration"].values())

# %% [markdown]
# ## Upload
#
# Our data are passengers like those of the Titanic, in two files: one to train
# on, one to test with at the end. They are simulated from published figures, so
# what we find says nothing about real people.

# %%
from pathlib import Path

train_file = Path("../data/titanic_train.csv")
key = "data/train/titanic_train.csv"
s3.upload_file(str(train_file), bucket, key)

# %% [markdown]
# An object has a *key*. A key looks like a path with folders, but S3 has no
# folders: the slashes are part of the name. What looks like a folder is a
# *prefix*. A training job gets a prefix and takes **every** object under it. So
# each purpose has a prefix of its own, with nothing else in it.

# %%
objects = s3.list_objects_v2(Bucket=bucket, Prefix="data/")["Contents"]
{thing["Key"]: thing["Size"] for thing in objects}

# %% [markdown]
# Did it arrive complete? S3 gives each object an `ETag`. For a file below 8 MB
# without a key of your own for encryption, it is the MD5 sum of the bytes. We
# can compute that here too.

# %%
import hashlib

here = hashlib.md5(train_file.read_bytes(), usedforsecurity=False)
there = s3.head_object(Bucket=bucket, Key=key)
assert there["ETag"] == f'"{here.hexdigest()}"'
here.hexdigest(), there["ETag"]

# %% [markdown]
# The same number twice. So one can ask "is it there already?" without moving the
# file. From here on `workshop.ensure_data` does so: it uploads what is missing
# or differs, both files, and returns the *S3 URI* of each prefix.

# %%
channels = workshop.ensure_data(session)
channels

# %% [markdown]
# ## Read it back: into memory, or as a local copy
#
# The first way needs no disk: open the object, and read from it as it comes over
# the network.

# %%
answer = s3.get_object(Bucket=bucket, Key=key)
passengers = titanic.read(answer["Body"])
print(f"{len(passengers)} passengers, {answer['ContentLength'] / 1000:.0f} KB in S3")
print(f"{passengers.memory_usage(deep=True).sum() / 1000:.0f} KB in memory")

# %% [markdown]
# `titanic.read` is our own reader. It reads as `pandas.read_csv` does, and checks
# every column and value, so that a damaged file stops here and not in a job that
# is billed.
#
# The two sizes differ. Before you read a large object into memory, read its
# first rows and measure.
#
# The second way makes a file first. The last cell of the lesson removes it.

# %%
from tempfile import TemporaryDirectory

scratch = TemporaryDirectory()
copy = Path(scratch.name) / "titanic_train.csv"
s3.download_file(bucket, key, str(copy))
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
#
# A training job makes a local copy by default: it copies the complete prefix to
# its own disk before your script starts.
#
# ## What does it cost to keep it?
#
# S3 bills what you store, by gigabyte and month; requests, in fractions of a
# cent per thousand; and what leaves for the internet. A price without region and
# date says little, so ours has both, and its source.

# %%
print(costs.S3_STANDARD)
print("source:", costs.S3_STANDARD.source)
stored = sum(thing["Size"] for thing in objects)
per_month = costs.storage_per_month(stored)
print(f"{stored / 1000:.0f} KB: {costs.dollars(per_month)} a month")

# %% [markdown]
# The other direction says more: how much could lie there for one dollar a month?

# %%
gib = 2**30  # bytes; S3's bill calls this a GB
one_dollar = 1 / costs.storage_per_month(gib)
print(f"$1 a month keeps {one_dollar:.0f} GiB")

# %% [markdown]
# Keeping data is cheap. Machines that run are expensive, and so are data that
# many jobs leave behind and nobody remembers.
#
# ## AccessDenied: a stranger
#
# May nobody from outside read the bucket? A client that does not sign its
# requests is what anybody on the internet is to S3. AWS's refusals arrive as
# `ClientError`, with a code and a message.

# %%
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

stranger = boto3.client("s3", config=Config(signature_version=UNSIGNED))
try:
    stranger.get_object(Bucket=bucket, Key=key)
except ClientError as error:
    refusal = error.response["Error"]
    print(refusal["Code"], "-", refusal["Message"])
assert refusal["Code"] == "AccessDenied"

# %% [markdown]
# Suppose that a colleague without an AWS account needs this one file. Do not
# open the bucket. S3 can sign an address in *your* name, for *one* object, for a
# *short* time. Whoever has it can read this file in the next 60 seconds. Keep it
# secret like a password.

# %%
import pandas as pd

signer = boto3.client("s3", config=Config(signature_version="s3v4"))
which = {"Bucket": bucket, "Key": key}
link = signer.generate_presigned_url("get_object", Params=which, ExpiresIn=60)
shared = pd.read_csv(link)
assert shared["Name"].equals(passengers["Name"])
len(shared)

# %% [markdown]
# ## AccessDenied: you
#
# More often AWS refuses you. Here is a question that looks harmless: who else may
# sign in to this account? It needs the permission `iam:ListUsers`. Neither the
# workshop's policy nor AWS's managed policy for SageMaker gives it. So the next
# cell ends in an `AccessDenied`, which is a kind of `ClientError`. (If your role
# may do more, you see a list instead.)

# %% tags=["raises-exception"]
boto3.client("iam").list_users()

# %% [markdown]
# The text is long. **Read the last line first.** After the code it names the
# three things that matter: *who* asked (the ARN from above), for *which action*,
# and *on what*.
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
# there, and training needs none. If you really need a permission, ask the person
# who manages the account for exactly that action on exactly that resource, in
# the form that IAM takes. Such a request is granted in a minute; "please give me
# access" is not.

# %%
wanted = {"Effect": "Allow", "Action": "iam:ListUsers", "Resource": "*"}
print(f"For {role}, please add:")
print(json.dumps(wanted, indent=2))

# %% [markdown]
# ### Exercise 1: a note in the bucket
#
# Write a line of text into an object with the key `notes/hello.txt`
# (`s3.put_object` takes `Bucket`, `Key` and `Body`, and the body is bytes). Read
# it back into memory. Then delete it with `s3.delete_object`, and show that
# nothing is left under `notes/`.

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
# A team trains ten models a week. Each job leaves 2 GiB of checkpoints in S3, and
# nobody deletes any. What do they pay in a month after one year? Guess first:
# $2, $24, $240 or $2,400?

# %%
# Your turn

# %% jupyter={"source_hidden": true} tags=["solution"]
weekly = costs.storage_per_month(10 * 2 * gib)
print(f"after a year ${52 * weekly:.2f} a month")
assert round(52 * weekly) == 24

# %% [markdown]
# That grows for ever. A *lifecycle rule*, which deletes old objects by itself, is
# the cure, and the last lesson sets one.
#
# ## Key points
#
# - `get_caller_identity` says who you are, and needs no permission
# - A job runs with a role; `get_execution_role` finds yours, or you name it
# - A bucket has keys and no folders; a job takes every object under a prefix
# - Read once: into memory. Read often, or with any tool: a local copy
# - A price has a region, a date and a source
# - In an `AccessDenied`, look for who, which action, and on what; then ask for
#   that, and no more
#
# ## Clean up
#
# The two files stay, because every other lesson reads them. They are the only
# thing of this lesson that is billed, and the last lesson deletes them. The
# local copy goes now.

# %%
scratch.cleanup()
assert not copy.exists()
