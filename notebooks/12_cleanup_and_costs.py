# %% [markdown]
# # 12 · What still bills, what did it cost, and how do I leave nothing behind?
#
# Surprising bills have one of two causes: something was forgotten, or nobody
# looked. This lesson looks. It finds everything that the workshop made in the
# account, says what of it still bills, adds up what the jobs have cost,
# deletes what is left, and proves that nothing remains.
#
# **Questions**
#
# - What bills while I sleep, and what does not?
# - How do I find all that I made, and only that?
# - What has each lesson cost?
# - How do I hear of a bill before it comes?
# - How do I delete everything, and how do I know that it is gone?
#
# **Objectives**
#
# - Tell apart what bills by the second, by the month, and not at all
# - Find jobs, objects, unfinished uploads, logs and instances by tag
# - Compute what jobs have cost, lesson by lesson, from the jobs themselves
# - Write a lifecycle rule and a budget, and know what they cannot do
# - Delete in the right order, twice if need be, and check that it worked
#
# **You need** nothing but the words of lessons 01 and 03. If you have done
# other lessons, their jobs appear here; if not, this lesson makes something
# to find.
#
# **Time** teaching 25 min, exercises 15 min
#
# **Cost on AWS** about $0.02: one short job, and one that we forget, at most
# until its time limit of ten minutes.

# %%
import sys

sys.path[:0] = ["../scripts", "../scripts/training"]

import workshop
from workshop import cleanup, costs, images, jobs

session = workshop.session()
role = workshop.execution_role(session)
channels = workshop.ensure_data(session)
print(workshop.home(session))

# %% [markdown]
# ## Something to find
#
# So that there is something in any case, we leave three things lying about
# that people really leave. First a job that is done: a small model of lesson
# 03.

# %%
from sagemaker.xgboost import XGBoost

results = f"s3://{session.default_bucket()}/jobs"
common = {
    "role": role,
    "sagemaker_session": session,
    "output_path": results,
    "code_location": results,
    "source_dir": "../scripts/training",
    "instance_type": "ml.m5.large",
    "instance_count": 1,
    "max_run": 600,
    "tags": workshop.tags("12"),
    "disable_profiler": True,
    "debugger_hook_config": False,
}
done = XGBoost(
    **common,
    entry_point="train_xgboost.py",
    image_uri=images.uri("xgboost", session.boto_region_name),
    framework_version="3.2-0",
    base_job_name="done",
)
done.fit({"train": channels["train"]}, wait=False)
done_name = done.latest_training_job.name

# %% [markdown]
# Second a job that goes on and on. Somebody typed two zeros too many, started
# it with `wait=False`, and went home.

# %%
from sagemaker.pytorch import PyTorch

forgotten = PyTorch(
    **common,
    entry_point="train_torch.py",
    image_uri=images.uri("pytorch", session.boto_region_name),
    base_job_name="forgotten",
    hyperparameters={"epochs": 100_000, "early_stopping_epochs": 0},
)
forgotten.fit({"train": channels["train"]}, wait=False)
forgotten_name = forgotten.latest_training_job.name

# %% [markdown]
# Third an upload that broke off. Large files travel in parts, and S3 keeps
# the parts that have arrived until somebody completes the upload or gives it
# up. We send one part of 6 MB, and no more.

# %%
bucket = session.default_bucket()
s3 = session.boto_session.client("s3")
begun = {"Bucket": bucket, "Key": "lesson-12/broken-off.bin"}
begun["UploadId"] = s3.create_multipart_upload(**begun)["UploadId"]
s3.upload_part(**begun, PartNumber=1, Body=bytes(6 * 2**20))

# Is it there?
s3.list_objects_v2(Bucket=bucket, Prefix="lesson-12/")["KeyCount"]

# %% [markdown]
# No object is there, and the console shows none. The part is stored and
# billed all the same. A call of its own finds it, if your role may make it:

# %%
broken_off = workshop.if_permitted(s3.list_multipart_uploads, Bucket=bucket)
[one["Key"] for one in broken_off["Uploads"]] if broken_off else "not listed"

# %% [markdown]
# ## What bills, and what does not
#
# | what | bills | until |
# |---|---|---|
# | a training job | by the second, each machine, from the download of the data on | it ends |
# | a notebook instance | by the second while it is up | you stop it |
# | its volume | per GB and month, also while it is stopped | you delete it |
# | objects in S3 | per GB and month | you delete them |
# | unfinished uploads | the same | you abort them |
# | logs | once when they come in, then per GB and month | you delete them |
# | an endpoint (not in this workshop) | by the second, used or not | you delete it |
# | records of ended jobs, tags, roles, an empty bucket | never | |
#
# The first two and the endpoint are machines, and machines are what bills are
# made of. Compare one machine with many files:

# %%
machine = costs.price("ml.m5.large")
print(machine)
print(costs.S3_STANDARD)
gigabytes = machine.usd * 730 / costs.S3_STANDARD.usd
print(f"one machine left on costs as much as {gigabytes:,.0f} GB in S3")

# %% [markdown]
# A month has 730 hours. So: first stop machines, then delete files.
#
# ## Find it by its tag
#
# All that the lessons made carries the tag `workshop`, and jobs carry the
# number of their lesson, too. You have seen the pieces: list the jobs, ask for
# the tags of each, as in lesson 06. `scripts/workshop/cleanup.py` does so for
# everything. Log streams cannot have tags; ours are those whose names begin
# with the name of a job of ours. Looking changes nothing.

# %%
jobs.wait_for(session, done_name)
found = cleanup.inventory(session)
found.table()

# %% [markdown]
# Read it from above: what bills most comes first. The prices are those per
# hour of the machines that run, and per month of what is stored. There is the
# forgotten job, by name and lesson:

# %%
for job in found.running:
    print(f"lesson {job.lesson}: {job.name}")
    print(jobs.console_link(job.description))

# %% [markdown]
# What has no such tag is not in that list, and nothing in this lesson touches
# it. The reverse holds, too: **a tag does not say who you are.** If several
# people do this workshop in one account, then it is everybody's jobs and the
# one bucket of all that you see.

# %%
assert forgotten_name in {job.name for job in found.running}
assert bucket in (found.bucket, found.borrowed)
assert found.uploads >= 1 or found.not_listed

# %% [markdown]
# ## What has it cost?
#
# A job keeps its record when its machine is gone: the billable seconds, the
# type and number of the machines. So the answer needs no bill, and it comes
# at once. (The bill lags behind by up to a day.) A job that still runs counts
# with what it has cost up to now.

# %%
from datetime import datetime, timezone

by_lesson = cleanup.cost_by_lesson(found.jobs, datetime.now(timezone.utc))
by_lesson.round(4)

# %% [markdown]
# Seconds are those of all machines together. As a picture:

# %%
import matplotlib.pyplot as plt

cents = by_lesson["usd"] * 100

fig, ax = plt.subplots(figsize=(7, 1 + 0.4 * len(cents)), layout="constrained")
bars = ax.barh([f"lesson {name}" for name in cents.index], cents, color="#4477aa")
counts = by_lesson["jobs"]
ax.bar_label(bars, [f" {n} job{'s' * (n > 1)}" for n in counts], padding=3)
ax.invert_yaxis()
ax.margins(x=0.2)
ax.set_xlabel("US cents")
ax.set_title("What the seconds of the jobs come to")
plt.show()

# %% [markdown]
# The sum is that of the machines of the jobs alone. Their disks and logs, and
# the storage, come to fractions of a cent at this size (lesson 05 computed
# them); a notebook instance is not in it.
#
# On the bill itself you can have the same split. Somebody with the rights to
# it must first make `workshop` and `lesson` *cost allocation tags*, in the
# console *Billing and Cost Management*. It works from then on, not backwards,
# so do it before a course and not after.
#
# Does the sum agree with the way in which the other lessons computed theirs?
# The jobs that have ended, and those alone. Where they did not run on AWS, the
# second figure is what they would cost there, with the downloads that AWS bills:

# %%
ended = [job.description for job in found.jobs if not job.runs]
bill = costs.bill(workshop.is_billed(session), *ended)
assert bill.here.usd <= by_lesson["usd"].sum() + 1e-9  # the running one comes on top
print(bill)

# %% [markdown]
# ### Exercise 1: a weekend
#
# On Friday at 18:00 somebody closes the browser, and the notebook instance
# (`ml.t3.medium`, with a volume of 20 GB) stays up until Monday at 9:00. What
# does the weekend cost? How many jobs like `done_name` would that have paid
# for? And what does the volume alone cost in a month in which the instance is
# stopped? (`costs.price` takes `use="notebook"`; `costs.ML_VOLUME` is the
# price of the disk.)

# %%
# Your turn

# %% jupyter={"source_hidden": true} tags=["solution"]
hours = (datetime(2026, 1, 5, 9) - datetime(2026, 1, 2, 18)).total_seconds() / 3600
weekend = hours * costs.price("ml.t3.medium", use="notebook").usd
bill = costs.bill(workshop.is_billed(session), jobs.describe(session, done_name))
one_job = (bill.on_aws or bill.here).usd  # what it costs on AWS
stopped_month = 20 * costs.ML_VOLUME.usd

# The hours of a weekend cost more than the jobs of the whole workshop, and the
# volume of a stopped instance costs the same again and again, every month.
print(f"{hours:.0f} hours: ${weekend:.2f}, or {weekend / one_job:,.0f} such jobs")
print(f"the volume, stopped: ${stopped_month:.2f} a month")
assert hours == 63

# %% [markdown]
# ## Before it happens again: a lifecycle rule
#
# A bucket can tidy itself. A *lifecycle rule* deletes what has reached an age,
# and gives up uploads that were never finished, like the one above. Rules are
# set all at once: what you put replaces what was there. So we read first, and
# keep what others have set. And only in a bucket that the workshop made: the
# settings of any other are not ours to change.

# %%
from botocore.exceptions import ClientError

made = found.bucket == bucket
rules = []
try:
    if made:
        rules = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
except ClientError as error:
    if error.response["Error"]["Code"] != "NoSuchLifecycleConfiguration":
        raise
len(rules)

# %% [markdown]
# Ours: artifacts of jobs live for 30 days, unfinished uploads for one.

# %%
ours = {
    "ID": "forget-jobs",
    "Status": "Enabled",
    "Filter": {"Prefix": "jobs/"},
    "Expiration": {"Days": 30},
}
uploads = {
    "ID": "forget-broken-uploads",
    "Status": "Enabled",
    "Filter": {"Prefix": ""},
    "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
}
names = {ours["ID"], uploads["ID"]}
others = [rule for rule in rules if rule["ID"] not in names]
wanted = {"Rules": [*others, ours, uploads]}
where = {"Bucket": bucket, "LifecycleConfiguration": wanted}
if made:
    answer = s3.put_bucket_lifecycle_configuration(**where)
    print(answer["ResponseMetadata"]["HTTPStatusCode"])

# %% [markdown]
# 200 is the web's word for "done". S3 works through the rules about once a
# day, and does not bill what has passed its age, even if it is not gone yet.
# The team of lesson 01, with its ten models a week, would now pay for one
# month of checkpoints and never for a year of them.

# %%
if made:
    kept = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    assert names <= {rule["ID"] for rule in kept}
    print([(rule["ID"], rule["Status"]) for rule in kept])

# %% [markdown]
# ## Before it happens again: a budget
#
# A *budget* sends a mail when the bill passes an amount, or when it is about
# to. To make one you need rights to the account's billing, which a role for
# training has no business having. So here we write the order down, for the
# person who has them. Five dollars a month, for what carries our tag:

# %%
tag = workshop.WORKSHOP_TAG
budget = {
    "BudgetName": "sagemaker-workshop",
    "BudgetType": "COST",
    "TimeUnit": "MONTHLY",
    "BudgetLimit": {"Amount": "5", "Unit": "USD"},
    "CostFilters": {"TagKeyValue": [f"user:{tag['Key']}${tag['Value']}"]},
}

# %% [markdown]
# And whom to tell: at 80 % of what was really spent, and as soon as the
# forecast for the month passes the limit.

# %%
whom = [{"SubscriptionType": "EMAIL", "Address": "you@example.com"}]


def notice(kind, percent):
    when = {"NotificationType": kind, "Threshold": percent}
    how = {"ComparisonOperator": "GREATER_THAN", "ThresholdType": "PERCENTAGE"}
    return {"Notification": when | how, "Subscribers": whom}


notices = [notice("ACTUAL", 80), notice("FORECASTED", 100)]

# %% [markdown]
# Would AWS take it? Its client library knows the form of every request, and
# can check ours without sending it.

# %%
from botocore.validate import ParamValidator

budgets = session.boto_session.client("budgets")
order = {"Budget": budget, "NotificationsWithSubscribers": notices}
form = budgets.meta.service_model.operation_model("CreateBudget").input_shape
account = session.account_id()
problems = ParamValidator().validate({"AccountId": account, **order}, form)
assert not problems.has_errors(), problems.generate_report()

# %% [markdown]
# The form is right. As a file, and the command for whoever may send it:

# %%
import json
from pathlib import Path
from tempfile import TemporaryDirectory

scratch = TemporaryDirectory()
path = Path(scratch.name) / "budget.json"
path.write_text(json.dumps({"AccountId": account, **order}, indent=2))
print(f"aws budgets create-budget --cli-input-json file://{path}")

# %% [markdown]
# Three things that people expect of a budget and that it does not do. It
# **stops nothing**: it tells you, and the machines go on. It is **late**: it
# looks at the bill a few times a day, and the bill itself lags behind. And its
# filter knows only tags that are cost allocation tags. An account without
# anything else in it had better have a second budget, without a filter.
#
# What does stop machines is what you set yourself: `max_run` on every job, and
# an instance that stops itself when nobody uses it.
#
# ### Exercise 2: what fills the bucket?
#
# Before you delete, know what you delete. List all objects (a call to
# `list_objects_v2` brings a thousand at most, `s3.get_paginator` brings all),
# add up their sizes by the first part of the key, and compute what each part
# costs a month. Is it what you expected?

# %%
# Your turn

# %% jupyter={"source_hidden": true} tags=["solution"]
sizes = {}
for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
    for thing in page.get("Contents", []):
        first = thing["Key"].split("/")[0]
        sizes[first] = sizes.get(first, 0) + thing["Size"]

for first, size in sorted(sizes.items(), key=lambda item: -item[1]):
    month = costs.storage_per_month(size)
    print(f"{first:12} {size / 1024:8.0f} KB  {costs.dollars(month)} a month")

# Mostly the scripts that travelled with each job, and the passenger lists. The
# upload that broke off is not in this list, and weighs 6 MB.
assert {"data", "jobs"} <= sizes.keys()
assert not made or sum(sizes.values()) == cleanup.inventory(session).size

# %% [markdown]
# ## Delete
#
# The order matters.
#
# 1. **Running jobs** are stopped, and waited for: until a job has ended it
#    writes its log, and at its end a model.
# 2. Their **log streams** go, and those of no other job.
# 3. **Unfinished uploads and objects** go.
# 4. The **bucket** goes last, for it must be empty, and since its tag is what
#    says that its content is ours. Whatever interrupts you on the way, the
#    rest can still be found. (A bucket that somebody else made, and that you
#    named for the workshop, stays with all that was in it.)
#
# Nothing brings it back. So this is the moment to read the list again.

# %%
print(*cleanup.report(cleanup.inventory(session)), sep="\n")

# %% [markdown]
# **Are you sure?** Where nothing is billed we are. On a real account you
# decide: read the list, then write `SURE = True`, and run this cell and those
# below.

# %%
SURE = not workshop.is_billed(session)
SURE

# %% [markdown]
# Then it happens.

# %%
kept = ()
if SURE:
    kept = cleanup.delete(session, cleanup.inventory(session))
else:
    print("nothing was deleted: set SURE = True in the cell above")

# %% [markdown]
# A role that may not list unfinished uploads has not found ours. We know its
# id, and abort it by that. Where it is gone already, S3 says `NoSuchUpload`.

# %%
if SURE and not broken_off:
    s3.abort_multipart_upload(**begun)

# %% [markdown]
# ## The proof
#
# "Deleted" is what the program says. We ask AWS: look again for all that is
# ours, from the beginning.

# %%
left = cleanup.remaining(session)
assert not SURE or left.keys() <= set(kept)
left

# %% [markdown]
# An empty pair of braces is what we want to see: no running job, no object,
# no unfinished upload, no log, no bucket. (What your role may not delete is
# named here, as it was above.) And not only by the word of our own program:

# %%
end = jobs.describe(session, forgotten_name)["TrainingJobStatus"]
try:
    bucket_answer = s3.head_bucket(Bucket=bucket)["ResponseMetadata"]["HTTPStatusCode"]
except ClientError as error:
    bucket_answer = error.response["Error"]["Code"]
assert not SURE or (end, bucket_answer) == ("Stopped", "404" if made else 200)
end, bucket_answer

# %% [markdown]
# Once more, to be sure? A clean-up that was cut off, by a lost network or an
# impatient hand, is simply run again. It finds what is left, here nothing, and
# does nothing.

# %%
if SURE:
    cleanup.delete(session, cleanup.inventory(session))

# %% [markdown]
# ## What is left on purpose
#
# **The records of the jobs.** They bill nothing, and they are the only account
# of what was done and what it cost: the picture above can be drawn again from
# them. (There is a newer call, `DeleteTrainingJob`, which deletes the record
# of a job that has ended, and with it the right to ask such questions. Our
# role does not have it.) The metrics in CloudWatch cannot be deleted; they
# fade away by themselves, the last after 15 months.

# %%
ended = cleanup.inventory(session).jobs
print(f"{len(ended)} records of jobs")
assert {done_name, forgotten_name} <= {job.name for job in ended}

# %% [markdown]
# **The notebook instance.** If you sit on one, it is the machine that runs
# this cell, and cannot saw off its own branch; nor has its role the right to.
# *Stop* it in the console when you have finished for today: the machine's
# price ends, the volume's does not. *Delete* it when you have finished for
# good: that deletes the volume, with all your files on it. If it was made with
# `make instance`, then `make instance-delete`, from elsewhere, removes it with
# its role and all that was made for it.

# %%
instances = cleanup.inventory(session).instances
for one in instances:
    print(f"{one.name}, {one.kind}, {one.status}: ${one.usd_per_hour} an hour while up")
print(len(instances), "notebook instances carry the workshop's tag")

# %% [markdown]
# ## Key points
#
# - Machines make bills: stop them first, then delete files
# - What you tag you can find again, price, and delete without touching others
# - Job records tell what each lesson cost, at once and for nothing
# - Unfinished uploads bill and are in no listing; a lifecycle rule ends them
# - A budget tells you, late; `max_run` and auto-stop are what stops machines
# - Delete in an order that can be interrupted, then ask AWS what is left
#
# ## Clean up
#
# That was the lesson. From a terminal inside JupyterLab, in the repository's
# folder, `.venv/bin/python -m workshop.cleanup` lists the same, and with
# `--delete` it deletes. (In any other terminal it speaks to the account whose
# keys are set there.) On your own machine one folder is left to remove:

# %%
scratch.cleanup()
