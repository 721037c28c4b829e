"""The workshop's bucket, and what in a bucket is the workshop's.

**Made.** The workshop makes one bucket for an account and a region, and tags it in the same call.
So a bucket of that name has the tag, or somebody else made it: a run cannot be cut off between the
two. With tags S3 also refuses to make a bucket that exists already; without them it would answer
200 in us-east-1. All that is in a made bucket is the workshop's, with every old version.

**Borrowed.** A bucket that the workshop did not make is never used unless the variable
SAGEMAKER_WORKSHOP_BUCKET names it. Then nothing may be under the prefixes that the lessons write
to, and a note in the bucket, sagemaker-workshop.json, records that. From then on what is under the
prefixes of the note is the workshop's. The rest and the bucket itself are not: the bucket is never
tagged, its settings stay as they are, and it is never deleted.

**Made without a tag.** AWS's managed policy AmazonSageMakerFullAccess lets a role make buckets, and
neither tag nor delete them, nor list old versions and unfinished uploads. Under it the workshop
makes its bucket without a tag, prints so, and writes the same note into it, with "made": true. Then
the rules of a borrowed bucket hold, without the variable, and the note stays.

Clients are boto3's for "s3". Importing is cheap.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from typing import Any, NamedTuple, TypeVar
from urllib.parse import unquote_plus

from workshop import refusals
from workshop.refusals import WorkshopError

WORKSHOP_TAG = {"Key": "workshop", "Value": "sagemaker-training"}
VARIABLE = "SAGEMAKER_WORKSHOP_BUCKET"
NOTE = "sagemaker-workshop.json"
# What the lessons write to; tests/workshop/test_buckets.py reads it from them.
PREFIXES = ("data/", "jobs/", "notes/", *(f"lesson-{number:02}/" for number in range(1, 13)))
T = TypeVar("T")
BATCH = 1000  # objects that S3 deletes by one request at most

# A request to delete several objects is XML, which cannot hold these characters (or not as they
# are): an object with such a key is deleted by a request of its own, with the key in its address.
# https://www.w3.org/TR/xml/#charsets
ODD = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


@dataclass(frozen=True)
class Bucket:
    """A bucket with things of ours: all in it if we `made` it, else what is under `prefixes`.

    One that we made without a tag is not `made` in this sense, and `keeps_note`: the note takes the
    place of the tag for as long as there is the bucket.
    """

    name: str
    made: bool = True
    prefixes: tuple[str, ...] = ("",)
    keeps_note: bool = False


class Version(NamedTuple):
    """One version of an object, or a delete marker; `id` is "null" where none was kept."""

    key: str
    id: str
    size: int


class Upload(NamedTuple):
    """An upload in parts that was begun and never finished."""

    key: str
    id: str


def bucket_name(account: str, region: str) -> str:
    """Return the workshop's bucket for an account and a region.

    Bucket names are shared by all of AWS, hence the account; the word "sagemaker" is in it because
    AWS's managed policy AmazonSageMakerFullAccess opens only buckets that carry it.
    """
    return f"sagemaker-workshop-{account}-{region}"


def is_ours(tags: Sequence[dict[str, str]]) -> bool:
    """Return whether the workshop's tag is among these."""
    return any(WORKSHOP_TAG.items() <= tag.items() for tag in tags)


def chosen(account: str, region: str) -> str:
    """Return the name of the bucket to use: what the variable names, else the workshop's own."""
    return os.environ.get(VARIABLE) or bucket_name(account, region)


# --- making and borrowing -------------------------------------------------------------------------


def prepare(s3: Any, account: str) -> str:
    """Make sure of the bucket that the lessons use, and return its name.

    Raises WorkshopError when it cannot be made, or may not be used.
    """
    own = bucket_name(account, s3.meta.region_name)
    name = chosen(account, s3.meta.region_name)
    if name != own or (os.environ.get(VARIABLE) and _is_somebody_elses(s3, own, account)):
        borrow_bucket(s3, name, account)
    else:
        ensure_bucket(s3, name, account)
    return name


def ensure_bucket(s3: Any, bucket: str, account: str) -> None:
    """Make `bucket` if it is missing: private, tagged, in the region of the client `s3`.

    Raises WorkshopError when somebody else made it, or a permission is missing.
    """
    try:
        if not exists(s3, bucket, account) and _create(s3, bucket, account):
            return
        if not _is_made(s3, bucket, account):
            raise WorkshopError(not_ours(bucket))
    except refusals.failures() as error:
        raise WorkshopError(_problem(error, bucket)) from error


def not_ours(bucket: str) -> str:
    """Return what to read where the bucket of our name is not ours."""
    return (
        f"There is a bucket {bucket} without the workshop's tag, so the workshop did not make it "
        f"and leaves it alone: set {VARIABLE}={bucket} to use it all the same (only what the "
        f"workshop puts into it is deleted again), or choose another region, or {tag_again()}."
    )


def tag_again() -> str:
    """Return what to do with a thing of the workshop's own that has lost its tag."""
    tag = f"{WORKSHOP_TAG['Key']}={WORKSHOP_TAG['Value']}"
    return f"tag it {tag} where it is the workshop's own and has lost its tag"


def borrow_bucket(s3: Any, bucket: str, account: str) -> None:
    """Use `bucket`, which somebody else made and the variable names, from now on or as before.

    Raises WorkshopError when that is not possible without touching what is there.
    """
    try:
        if not exists(s3, bucket, account):
            raise WorkshopError(
                f"There is no bucket {bucket}, which {VARIABLE} names: name one that is there, or "
                "unset the variable, and the workshop makes a bucket of its own."
            )
        _check_region(s3, bucket)
        noted = note_in(s3, bucket)
        if set(PREFIXES) <= set(noted):
            return
        for prefix in [prefix for prefix in PREFIXES if prefix not in noted]:
            _check_free(s3, bucket, prefix)
        _write_note(s3, bucket, tuple(dict.fromkeys((*noted, *PREFIXES))), first=not noted)
    except refusals.failures() as error:
        raise WorkshopError(_problem(error, bucket)) from error


def exists(s3: Any, bucket: str, account: str) -> bool:
    """Return whether the account has such a bucket. Raises ClientError for one of another."""
    from botocore.exceptions import ClientError

    try:
        s3.head_bucket(Bucket=bucket, ExpectedBucketOwner=account)
    except ClientError as error:
        if error.response["Error"]["Code"] in ("404", "NoSuchBucket"):
            return False
        raise
    return True


def tags_of(s3: Any, bucket: str, account: str) -> list[dict[str, str]]:
    """Return the tags of a bucket. Raises ClientError where there is none of the account."""
    from botocore.exceptions import ClientError

    try:
        answer = s3.get_bucket_tagging(Bucket=bucket, ExpectedBucketOwner=account)
        tags: list[dict[str, str]] = answer["TagSet"]
        return tags
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchTagSet":
            return []
        raise


def _is_made(s3: Any, bucket: str, account: str) -> bool:
    """Return whether the workshop made the bucket of its own name.

    The note comes first: a role under which a bucket was made without a tag cannot read tags.
    """
    return _is_noted_as_made(s3, bucket) or is_ours(tags_of(s3, bucket, account))


def _is_noted_as_made(s3: Any, bucket: str) -> bool:
    """Return whether the workshop made a bucket without a tag, by the note in it."""
    return bool(_note(s3, bucket).get("made"))


def _if_permitted(call: Callable[[], T], otherwise: T) -> T:
    """Return what a call to AWS returns, or another value where the role lacks the permission."""
    from botocore.exceptions import ClientError

    try:
        return call()
    except ClientError as error:
        if refusals.missing_permission(error):
            return otherwise
        raise


def _is_somebody_elses(s3: Any, bucket: str, account: str) -> bool:
    try:
        return exists(s3, bucket, account) and not _is_made(s3, bucket, account)
    except refusals.failures() as error:
        raise WorkshopError(_problem(error, bucket)) from error


def _create(s3: Any, bucket: str, account: str) -> bool:
    """Make a bucket with our tag; False where somebody has just made one of that name."""
    from botocore.exceptions import ClientError

    region = s3.meta.region_name
    # us-east-1 is S3's default, and the only region that a request must not name.
    location = {} if region == "us-east-1" else {"LocationConstraint": region}
    try:
        s3.create_bucket(
            Bucket=bucket, CreateBucketConfiguration={**location, "Tags": [WORKSHOP_TAG]}
        )
    except s3.exceptions.BucketAlreadyOwnedByYou:
        return False
    except ClientError as error:
        if "s3:TagResource" not in (refusals.missing_permission(error) or ""):
            raise
        return _create_without_tag(s3, bucket, location)
    if not is_ours(tags_of(s3, bucket, account)):
        # Not on AWS: some servers that speak S3 drop the tags of a new bucket. It was made above.
        s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": [WORKSHOP_TAG]})
    # AWS makes new buckets so; this states it, for whoever reads the bucket's settings.
    s3.put_public_access_block(
        Bucket=bucket,
        PublicAccessBlockConfiguration={
            "BlockPublicAcls": True,
            "IgnorePublicAcls": True,
            "BlockPublicPolicy": True,
            "RestrictPublicBuckets": True,
        },
    )
    return True


def _create_without_tag(s3: Any, bucket: str, location: dict[str, str]) -> bool:
    """Make a bucket with our note in it; False where somebody has just made one of that name."""
    settings = {"CreateBucketConfiguration": location} if location else {}
    try:
        s3.create_bucket(Bucket=bucket, **settings)
    except s3.exceptions.BucketAlreadyOwnedByYou:
        return False
    for prefix in PREFIXES:  # in us-east-1, S3 answers so for a bucket that was there, too
        _check_free(s3, bucket, prefix)
    _write_note(s3, bucket, PREFIXES, first=True, made=True)
    print(
        f"made the bucket {bucket} without a tag, because your role lacks the permission "
        "s3:TagResource: the clean-up will delete what the lessons put into it, and leave the "
        "empty bucket, which costs nothing"
    )
    return True


def _check_region(s3: Any, bucket: str) -> None:
    """Raise WorkshopError for a bucket in another region, whose data a job of ours cannot read."""
    region = s3.head_bucket(Bucket=bucket).get("BucketRegion", s3.meta.region_name)
    if region != s3.meta.region_name:
        raise WorkshopError(
            f"The bucket {bucket}, which {VARIABLE} names, is in {region}, and this session is in "
            f"{s3.meta.region_name}: name one that is there, or set AWS_DEFAULT_REGION={region}."
        )


def _check_free(s3: Any, bucket: str, prefix: str) -> None:
    """Raise WorkshopError where anything lies under a prefix, an old version or a part of an upload
    too: the lessons would write over it, and the clean-up would delete it."""
    begun = uploads(s3, Bucket(bucket, made=False, prefixes=(prefix,)))
    present = [one.key for one in islice(_under(s3, bucket, prefix), 1)]
    present += [one.key for one in islice(begun, 1)]
    for key in present:
        raise WorkshopError(
            f"The bucket {bucket} holds {key!r} under {prefix}, "
            "where the workshop writes, so it is not used: name a bucket with nothing under "
            f"{', '.join(PREFIXES[:3])} and lesson-…/, or move that away with all its old versions."
        )


def note_in(s3: Any, bucket: str) -> tuple[str, ...]:
    """Return the prefixes that are the workshop's in a borrowed bucket; none where it has no note.

    Raises WorkshopError where somebody else wrote a file of that name.
    """
    return tuple(_note(s3, bucket).get("prefixes", ()))


def _note(s3: Any, bucket: str) -> dict[str, Any]:
    """Return what the workshop's note in a bucket says; nothing where there is none."""
    try:
        body = s3.get_object(Bucket=bucket, Key=NOTE)["Body"].read()
    except s3.exceptions.NoSuchKey:
        return {}
    with suppress(ValueError, KeyError, TypeError):
        note: dict[str, Any] = json.loads(body)
        prefixes = note["prefixes"]
        if prefixes and all(isinstance(one, str) and one for one in prefixes):
            return note
    raise WorkshopError(
        f"The bucket {bucket} holds a file {NOTE} that the workshop did not write: name another "
        f"bucket in {VARIABLE}, or rename that file."
    )


def _write_note(
    s3: Any, bucket: str, prefixes: tuple[str, ...], first: bool, made: bool = False
) -> None:
    why = "it made it, without a permission to tag it" if made else f"{VARIABLE} named it"
    note = {
        "what": f"The workshop on SageMaker training uses this bucket because {why}. When this was "
        "written, nothing lay under these prefixes; scripts/workshop/cleanup.py deletes what lies "
        "there, this file, and nothing else.",
        "prefixes": prefixes,
        "made": made,
    }
    never_over_another = {"IfNoneMatch": "*"} if first else {}
    s3.put_object(
        Bucket=bucket, Key=NOTE, Body=json.dumps(note, indent=2).encode(), **never_over_another
    )


def _problem(error: Any, bucket: str) -> str:
    code = refusals.code_of(error)
    if code in ("403", "AccessDenied", "BucketAlreadyExists"):
        permission = refusals.missing_permission(error)
        or_permission = f", or your role lacks the permission {permission}" if permission else ""
        return (
            f"The bucket {bucket} cannot be used ({error.operation_name}: {code}): it belongs to "
            f"another account{or_permission}. The policy that the workshop needs is "
            f"{refusals.POLICY}."
        )
    if code == "OperationAborted":
        return (
            f"AWS is still busy with deleting an earlier bucket {bucket}: try again in a few "
            "minutes, or in an hour at most."
        )
    return f"The bucket {bucket} could not be set up: {refusals.reason(error)}."


# --- looking --------------------------------------------------------------------------------------


class Buckets(NamedTuple):
    """The buckets with things of ours, and the one that only has our bucket's name."""

    ours: tuple[Bucket, ...]
    left_alone: str | None


def find(s3: Any, account: str) -> Buckets:
    """Return what of buckets is ours, here and now. Changes nothing.

    Raises what boto3 does, and WorkshopError as `note_in` does.
    """
    own = bucket_name(account, s3.meta.region_name)
    asked = os.environ.get(VARIABLE)
    ours, left_alone = [], None
    for name in dict.fromkeys((own, asked or own)):
        if not exists(s3, name, account):
            continue
        note = _note(s3, name)
        # A tag is proof for the one name alone under which the workshop makes buckets.
        noted = name == own and bool(note.get("made"))
        if name == own and not noted and is_ours(tags_of(s3, name, account)):
            ours.append(Bucket(name))
        elif (noted or name == asked) and (prefixes := tuple(note.get("prefixes", ()))):
            ours.append(Bucket(name, made=False, prefixes=prefixes, keeps_note=noted))
        elif name == own:
            left_alone = name
    return Buckets(tuple(ours), left_alone)


def versions(s3: Any, bucket: Bucket) -> Iterator[Version]:
    """Yield every object of ours with its old versions and delete markers.

    The note of a borrowed bucket comes last. Where the role may not list versions, only the newest
    of each object is there.
    """
    for prefix in bucket.prefixes:
        yield from _under(s3, bucket.name, prefix)
    if not bucket.made and not bucket.keeps_note:
        yield from (entry for entry in _under(s3, bucket.name, NOTE) if entry.key == NOTE)


def _under(s3: Any, bucket: str, prefix: str) -> Iterator[Version]:
    where = {"Bucket": bucket, "Prefix": prefix}
    pages = iter(s3.get_paginator("list_object_versions").paginate(**where))
    first: dict[str, Any] | None = _if_permitted(partial(next, pages), None)
    if first is None:
        for page in s3.get_paginator("list_objects_v2").paginate(**where):
            for entry in page.get("Contents", []):
                yield Version(entry["Key"], "null", entry["Size"])
        return
    for page in chain((first,), pages):
        for kind in ("Versions", "DeleteMarkers"):
            for entry in page.get(kind, []):
                yield Version(entry["Key"], entry["VersionId"], entry.get("Size", 0))


def may_list_versions(s3: Any, bucket: str) -> bool:
    """Return whether the role may list a bucket's old versions and delete markers."""
    list_versions = partial(s3.list_object_versions, Bucket=bucket, MaxKeys=1)
    return bool(_if_permitted(list_versions, {}))


def may_list_uploads(s3: Any, bucket: str) -> bool:
    """Return whether the role may list a bucket's unfinished uploads."""
    list_uploads = partial(s3.list_multipart_uploads, Bucket=bucket, MaxUploads=1)
    return bool(_if_permitted(list_uploads, {}))


def uploads(s3: Any, bucket: Bucket) -> Iterator[Upload]:
    """Yield our unfinished uploads, which no listing of objects shows.

    None where the role may not list them.
    """
    for prefix in bucket.prefixes:
        # boto3's paginator does not decode the keys here, and would send them back encoded twice.
        request = {"Bucket": bucket.name, "Prefix": prefix, "EncodingType": "url"}
        while True:
            page: dict[str, Any]
            page = _if_permitted(partial(s3.list_multipart_uploads, **request), {})
            plain = unquote_plus if page.get("EncodingType") == "url" else str
            for upload in page.get("Uploads", []):
                yield Upload(plain(upload["Key"]), upload["UploadId"])
            if not page.get("IsTruncated"):
                break
            request["KeyMarker"] = plain(page["NextKeyMarker"])
            request["UploadIdMarker"] = page["NextUploadIdMarker"]


def size_of_parts(s3: Any, bucket: str, upload: Upload) -> int:
    """Return how many bytes of an upload arrived; 0 where its key cannot be in an answer."""
    if ODD.search(upload.key):
        return 0
    which = {"Bucket": bucket, "Key": upload.key, "UploadId": upload.id}
    pages = s3.get_paginator("list_parts").paginate(**which)
    return sum(part["Size"] for page in pages for part in page.get("Parts", []))


# --- deleting -------------------------------------------------------------------------------------


def abort_uploads(s3: Any, bucket: Bucket) -> int:
    """Abort our unfinished uploads in a bucket, and return how many there were."""
    count = 0
    for upload in list(uploads(s3, bucket)):
        with suppress(s3.exceptions.NoSuchUpload):  # somebody has completed or aborted it
            s3.abort_multipart_upload(Bucket=bucket.name, Key=upload.key, UploadId=upload.id)
        count += 1
    return count


def empty(s3: Any, bucket: Bucket) -> Iterator[int]:
    """Delete all that is ours in a bucket with every old version, and yield numbers of objects.

    Raises WorkshopError where S3 keeps something.
    """
    for by_version in (False, True):
        # Without versioning a plain deletion is enough, and needs no permission to delete versions.
        # Where versioning was on, it leaves a marker, which the second pass deletes by its id.
        entries = list(versions(s3, bucket))
        for start in range(0, len(entries), BATCH):
            batch = entries[start : start + BATCH]
            _delete(s3, bucket.name, [_address(entry, by_version) for entry in batch])
            yield len(batch)


def _address(entry: Version, by_version: bool) -> dict[str, str]:
    plain = entry.id == "null" and not by_version
    return {"Key": entry.key} if plain else {"Key": entry.key, "VersionId": entry.id}


def _delete(s3: Any, bucket: str, wanted: Sequence[dict[str, str]]) -> None:
    together = [one for one in wanted if not ODD.search(one["Key"])]
    failed = []
    if together:
        answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": together, "Quiet": True})
        failed = answer.get("Errors", [])  # S3 answers 200 and lists what it did not delete
    for one in wanted:
        if ODD.search(one["Key"]):
            s3.delete_object(Bucket=bucket, **one)
    if failed:
        first = failed[0]
        raise WorkshopError(
            f"{len(failed)} of {len(wanted):,} objects could not be deleted, the first is "
            f"{first.get('Key')!r} ({first.get('Code')}: {first.get('Message')}). You need "
            "s3:DeleteObject and s3:DeleteObjectVersion on the bucket's objects, and what is "
            "locked stays until its lock ends"
        )
