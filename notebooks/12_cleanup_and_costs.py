# %% [markdown]
# # 12 · What still bills, what did it cost, and how do I leave nothing behind?
#
# Surprising bills have one of two causes: something was forgotten, or nobody
# looked. This lesson looks. It finds all that the workshop made in the account,
# adds up what the jobs have cost, deletes what is left, and checks that nothing
# remains.
#
# **Questions**
#
# - What bills while I sleep, and what does not?
# - How do I find all that I made, and only that?
# - What has each lesson cost?
# - Who warns me before a bill comes?
# - How do I delete everything, and how do I know that it is gone?
#
# **Objectives**
#
# - Distinguish what bills by the second, by the month, and not at all
# - Find jobs, objects, unfinished uploads, logs and instances by tag
# - Compute what jobs have cost, lesson by lesson, from the jobs themselves
# - Write a lifecycle rule and a budget, and know what they cannot do
# - Delete in the right order, and check that it worked
#
# **You need** the terms of lessons 01 and 03. If you have done other lessons,
# their jobs appear here. If not, this lesson makes something to find.
#
# **Time** teaching 35 min, exercises 15 min
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
# We leave three things behind that people really leave. First, a job that has
# ended, as in lesson 03.

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
# Second, a job that goes on and on. Somebody typed two zeros too many, started
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
# Third, an upload that broke off. Large files are uploaded in parts. S3 keeps
# the parts that have arrived until somebody completes or aborts the upload. We
# send one part of 6 MB.

# %%
bucket = session.default_bucket()
s3 = session.boto_session.client("s3")
begun = {"Bucket": bucket, "Key": "lesson-12/broken-off.bin"}
begun["UploadId"] = s3.create_multipart_upload(**begun)["UploadId"]
s3.upload_part(**begun, PartNumber=1, Body=bytes(6 * 2**20))
s3.list_objects_v2(Bucket=bucket, Prefix="lesson-12/")["KeyCount"]

# %% [markdown]
# No object is there, and the console shows none. The part is stored and billed
# all the same. A call of its own lists it, if your role may make that call:

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
# The first two and the endpoint are machines. Compare one machine with many
# files:

# %%
machine = costs.price("ml.m5.large")
print(machine)
print(costs.S3_STANDARD)
gigabytes = machine.usd * 730 / costs.S3_STANDARD.usd
print(f"one machine left on costs as much as {gigabytes:,.0f} GB in S3")

# %% [markdown]
# A month has 730 hours. So: first stop machines, then delete files.
#
# ## Find it
#
# All that the lessons made has the tag `workshop`, and jobs have the number of
# their lesson too. `workshop/cleanup.py` lists the jobs and asks for the tags of
# each, as lesson 06 does. Log streams cannot have tags; ours are those with the
# name of a job of ours. Looking changes nothing.

# %%
jobs.wait_for(session, done_name)
inventory = cleanup.inventory(session)
inventory.table()

# %% [markdown]
# What bills most stands first. The prices are per hour of the machines that run,
# and per month of what is stored. Here is the forgotten job:

# %%
for job in inventory.running:
    print(f"lesson {job.lesson}: {job.name}")
    print(jobs.console_link(job.description))

# %% [markdown]
# What has no such tag is not in the list, and nothing in this lesson changes it.
# But **a tag does not say who you are.** If several people do this workshop in
# one account, you see the jobs of all.

# %%
assert forgotten_name in {job.name for job in inventory.running}
assert bucket in (inventory.bucket, inventory.borrowed)
assert inventory.uploads >= 1 or inventory.not_listed

# %% [markdown]
# ## What has it cost?
#
# The record of a job stays when its machine is gone: the billable seconds, the
# type and the number of machines. So we can compute the cost at once, while the
# bill comes up to a day later. A job that still runs counts with its cost so
# far.

# %%
from datetime import datetime, timezone

by_lesson = cleanup.cost_by_lesson(inventory.jobs, datetime.now(timezone.utc))
by_lesson.round(4)

# %% [markdown]
# The seconds are those of all machines together. As a picture:

# %%
import matplotlib.pyplot as plt

cents = by_lesson["usd"] * 100
fig, ax = plt.subplots(figsize=(7, 1 + 0.4 * len(cents)), layout="constrained")
bars = ax.barh([f"lesson {name}" for name in cents.index], cents, color="#4477aa")
counts = by_lesson["jobs"]
ax.bar_label(bars, [f" {n} job{'s' * (n > 1)}" for n in counts], padding=3)
ax.invert_yaxis()
ax.margins(x=0.2)
ax.set(xlabel="US cents", title="Cost of the jobs' seconds, by lesson")
plt.show()

# %% [markdown]
# These are the machines of the jobs alone. Disks, logs and storage cost
# fractions of a cent at this size. A notebook instance is not in the picture.
#
# The bill itself can be split in the same way. Somebody with the permission must
# first make `workshop` and `lesson` *cost allocation tags*, in the console
# *Billing and Cost Management*. That works only for what comes later, so do it
# before a course.
#
# Here is the sum of the jobs that have ended. Where they did not run on AWS, the
# second figure is what they would cost there, with the downloads that AWS bills:

# %%
ended = [job.description for job in inventory.jobs if not job.runs]
bill = costs.bill(workshop.is_billed(session), *ended)
assert bill.here.usd <= by_lesson["usd"].sum() + 1e-9  # the running one comes on top
print(bill)

# %% [markdown]
# ### Exercise 1: a weekend
#
# On Friday at 18:00 somebody closes the browser. The notebook instance
# (`ml.t3.medium`) stays up until Monday at 9:00. Guess first: does that cost as
# much as 2, 20, 200 or 2,000 jobs like `done_name` on AWS? (`costs.price` takes
# `use="notebook"`.)

# %%
# Your turn

# %% jupyter={"source_hidden": true} tags=["solution"]
hours = (datetime(2026, 1, 5, 9) - datetime(2026, 1, 2, 18)).total_seconds() / 3600
weekend = hours * costs.price("ml.t3.medium", use="notebook").usd
bill = costs.bill(workshop.is_billed(session), jobs.describe(session, done_name))
one_job = (bill.on_aws or bill.here).usd  # what it costs on AWS
print(f"{hours:.0f} hours: ${weekend:.2f}, or {weekend / one_job:,.0f} such jobs")
assert hours == 63

# %% [markdown]
# ## Before it happens again: a lifecycle rule
#
# A *lifecycle rule* of a bucket deletes what has reached an age, and aborts
# uploads that were never finished. Rules are set all at once: what you put
# replaces what was there. So we read first, and keep the rules of others. And we
# do it only in a bucket that the workshop made.

# %%
from botocore.exceptions import ClientError

made = inventory.bucket == bucket
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
ours = {"ID": "forget-jobs", "Status": "Enabled", "Filter": {"Prefix": "jobs/"}}
ours["Expiration"] = {"Days": 30}
uploads = {"ID": "forget-uploads", "Status": "Enabled", "Filter": {"Prefix": ""}}
uploads["AbortIncompleteMultipartUpload"] = {"DaysAfterInitiation": 1}
names = {ours["ID"], uploads["ID"]}
others = [rule for rule in rules if rule["ID"] not in names]
if made:
    wanted = {"Rules": [*others, ours, uploads]}
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration=wanted)
    now = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    assert names <= {rule["ID"] for rule in now}
    print([(rule["ID"], rule["Status"]) for rule in now])

# %% [markdown]
# S3 applies the rules about once a day. It does not bill what has passed its age,
# even if it is not deleted yet.
#
# ## Before it happens again: a budget
#
# A *budget* sends a mail when the bill passes an amount. To make one you need
# permissions on the account's billing, which a role for training should not
# have. So we write the request down for the person who has them: five dollars a
# month, for what has our tag, and a mail at 80 %.

# %%
tag = workshop.WORKSHOP_TAG
budget = {
    "BudgetName": "sagemaker-workshop",
    "BudgetType": "COST",
    "TimeUnit": "MONTHLY",
    "BudgetLimit": {"Amount": "5", "Unit": "USD"},
    "CostFilters": {"TagKeyValue": [f"user:{tag['Key']}${tag['Value']}"]},
}
when = {"NotificationType": "ACTUAL", "ComparisonOperator": "GREATER_THAN"}
mail = {"SubscriptionType": "EMAIL", "Address": "you@example.com"}
notice = {"Notification": when | {"Threshold": 80}, "Subscribers": [mail]}

# %% [markdown]
# boto3 knows the form of every request. It can check ours without sending it.

# %%
from botocore.validate import ParamValidator

request = {"AccountId": session.account_id(), "Budget": budget}
request["NotificationsWithSubscribers"] = [notice]
service = session.boto_session.client("budgets").meta.service_model
form = service.operation_model("CreateBudget").input_shape
problems = ParamValidator().validate(request, form)
assert not problems.has_errors(), problems.generate_report()

# %% [markdown]
# The form is correct. As a file, with the command for whoever may send it:

# %%
import json
from pathlib import Path
from tempfile import TemporaryDirectory

scratch = TemporaryDirectory()
path = Path(scratch.name) / "budget.json"
path.write_text(json.dumps(request, indent=2))
print(f"aws budgets create-budget --cli-input-json file://{path}")

# %% [markdown]
# A budget like this **stops nothing**: it sends a mail, and the machines go on.
# (A *budget action* can go further, and take a role's permissions away.) It is
# **late**: the bill itself comes hours later. And its filter knows only tags
# that are cost allocation tags.
#
# What stops machines is what you set yourself: `max_run` on every job, and an
# instance that stops itself when nobody uses it.
#
# ### Exercise 2: what fills the bucket?
#
# Before you delete, know what you delete. List all objects (`list_objects_v2`
# returns a thousand at most, `s3.get_paginator` returns all), and add up their
# sizes by the first part of the key. Before you do, write down: what will be the
# largest part?

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
    print(f"{first:12} {size / 1000:8.0f} KB  {costs.dollars(month)} a month")

# Mostly the scripts that were uploaded with each job, and the passenger lists. The
# upload that broke off is not in this list, and has 6 MB.
assert {"data", "jobs"} <= sizes.keys()
assert not made or sum(sizes.values()) == cleanup.inventory(session).size

# %% [markdown]
# ## Delete
#
# The order matters, because something may interrupt you.
#
# 1. Running **jobs** are stopped: they bill by the second.
# 2. Their **log streams** are deleted, and those of no other job.
# 3. **Unfinished uploads and objects** are deleted.
# 4. The **bucket** comes last. It must be empty, and its tag is what says that
#    its content is ours. (A bucket that somebody else made stays, with all that
#    was in it.)
#
# Nothing brings it back. So read the list again now.

# %%
print(*cleanup.report(cleanup.inventory(session)), sep="\n")

# %% [markdown]
# **Are you sure?** Where nothing is billed, we are. On a real account you decide:
# write `SURE = True`, and run this cell and those below.

# %%
SURE = not workshop.is_billed(session)
SURE

# %% [markdown]
# Now it happens.

# %%
not_permitted = ()
if SURE:
    not_permitted = cleanup.delete(session, cleanup.inventory(session))
else:
    print("nothing was deleted: set SURE = True in the cell above")

# %% [markdown]
# A role that may not list unfinished uploads has not found ours. We know its id,
# and abort it by that.

# %%
if SURE and not broken_off:
    s3.abort_multipart_upload(**begun)

# %% [markdown]
# ## The proof
#
# "Deleted" is what our program prints. We ask AWS again, from the beginning.

# %%
left = cleanup.remaining(session)
assert not SURE or left.keys() <= set(not_permitted)
left

# %% [markdown]
# An empty pair of braces means: no running job, no object, no unfinished upload,
# no log, no bucket. (What your role may not delete is named here.) AWS's own
# answers, without our program:

# %%
end = jobs.describe(session, forgotten_name)["TrainingJobStatus"]
try:
    bucket_answer = s3.head_bucket(Bucket=bucket)["ResponseMetadata"]["HTTPStatusCode"]
except ClientError as error:
    bucket_answer = error.response["Error"]["Code"]
assert not SURE or (end, bucket_answer) == ("Stopped", "404" if made else 200)
end, bucket_answer

# %% [markdown]
# A clean-up that was interrupted is simply run again. It finds what is left, here
# nothing.

# %%
if SURE:
    cleanup.delete(session, cleanup.inventory(session))

# %% [markdown]
# ## What is left on purpose
#
# **The records of the jobs.** They bill nothing, and they hold what was done and
# what it cost. (A newer call, `DeleteTrainingJob`, deletes the record of a job
# that has ended. Our role lacks the permission for it.) The metrics in
# CloudWatch cannot be deleted; they expire by themselves, the last after 15
# months.

# %%
records = cleanup.inventory(session).jobs
print(f"{len(records)} records of jobs")
assert {done_name, forgotten_name} <= {job.name for job in records}

# %% [markdown]
# **The notebook instance.** If you use one, it runs this very cell, so it cannot
# delete itself; its role may not either. *Stop* it in the console when you have
# finished for today: the machine's price ends, the volume's does not. *Delete*
# it when you have finished for good: that deletes the volume, with all your
# files. If you made it with `make instance`, then `make instance-delete`, run
# elsewhere, removes it with its role and all that was made for it.

# %%
instances = cleanup.inventory(session).instances
for one in instances:
    print(f"{one.name}, {one.kind}, {one.status}: ${one.usd_per_hour} an hour while up")
print(len(instances), "notebook instances have the workshop's tag")

# %% [markdown]
# ## Key points
#
# - Machines make bills: stop them first, then delete files
# - What has a tag can be found again, priced, and deleted without other things
# - The records of jobs hold what each lesson cost, at once
# - Unfinished uploads bill and are in no listing; a lifecycle rule aborts them
# - A budget warns late; `max_run` and auto-stop are what stops machines
# - Delete in an order that can be interrupted, then ask AWS what is left
#
# ## Clean up
#
# That was the lesson. In a terminal inside JupyterLab, in the repository's
# folder, `.venv/bin/python -m workshop.cleanup` lists the same, and with
# `--delete` it deletes. (In any other terminal it uses the account of the
# credentials there.) On your own machine one folder is left to remove:

# %%
scratch.cleanup()
