"""scripts/workshop/buckets.py: what the workshop did not make it never tags, empties or deletes."""

import json
import re
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws
from moto.s3.responses import S3Response

from stub_aws import moto_s3
from tests.support.strangers import TAGS, everything_of
from workshop import buckets

ACCOUNT = "123456789012"
NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
ON = {"Status": "Enabled"}
OURS = [buckets.WORKSHOP_TAG]


# S3 treats the first of these differently.
BOTH_REGIONS = pytest.mark.parametrize("s3", ["us-east-1", "eu-west-1"], indirect=True)


@pytest.fixture
def s3(request, monkeypatch):
    """S3 of an empty account."""
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", buckets.VARIABLE):
        monkeypatch.delenv(name, raising=False)
    moto_s3.mend()
    with mock_aws():
        yield boto3.client("s3", region_name=getattr(request, "param", "eu-west-1"))


@pytest.fixture
def own(s3):
    """Return the name under which the workshop makes its bucket."""
    return buckets.bucket_name(ACCOUNT, s3.meta.region_name)


def make(s3, name, tags=(), region=None):
    """Make a bucket as somebody else would."""
    region = region or s3.meta.region_name
    where = {} if region == "us-east-1" else {"LocationConstraint": region}
    boto3.client("s3", region_name=region).create_bucket(
        Bucket=name, **({"CreateBucketConfiguration": where} if where else {})
    )
    if tags:
        s3.put_bucket_tagging(Bucket=name, Tagging={"TagSet": list(tags)})
    return name


def put(s3, bucket, *keys):
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode(errors="replace"))


def keys(s3, bucket):
    return {one["Key"] for one in s3.list_objects_v2(Bucket=bucket).get("Contents", [])}


def borrow(s3, monkeypatch, bucket):
    monkeypatch.setenv(buckets.VARIABLE, bucket)
    assert buckets.prepare(s3, ACCOUNT) == bucket


def clear(s3):
    """Empty what is ours, as the clean-up does."""
    for bucket in buckets.find(s3, ACCOUNT).ours:
        buckets.abort_uploads(s3, bucket)
        for _ in buckets.empty(s3, bucket):
            assert not bucket.made or bucket.prefixes == ("",)


# --- made -----------------------------------------------------------------------------------------


@BOTH_REGIONS
def test_the_call_that_makes_the_bucket_tags_it(s3, own, monkeypatch):
    def refuse(**_):
        raise AssertionError("tagged by a second call")

    monkeypatch.setattr(s3, "put_bucket_tagging", refuse)
    buckets.ensure_bucket(s3, own, ACCOUNT)
    assert s3.get_bucket_tagging(Bucket=own)["TagSet"] == OURS
    assert buckets.find(s3, ACCOUNT) == ((buckets.Bucket(own),), None)


@BOTH_REGIONS
@pytest.mark.parametrize("tags", [[], OURS], ids=["somebody else", "another of our kernels"])
def test_a_bucket_that_was_made_since_the_look_is_ours_only_with_the_tag(
    s3, own, monkeypatch, tags
):
    """Without tags in the request S3 answers 200 in us-east-1, as if it had made the bucket."""
    make(s3, own, tags)
    before = everything_of(s3, own)
    monkeypatch.setattr(buckets, "exists", lambda *_: False)
    if tags:
        buckets.ensure_bucket(s3, own, ACCOUNT)
    else:
        with pytest.raises(buckets.WorkshopError, match="without the workshop's tag"):
            buckets.ensure_bucket(s3, own, ACCOUNT)
    assert everything_of(s3, own) == before


@BOTH_REGIONS
def test_a_server_that_drops_the_tags_of_a_new_bucket_gets_them_again(s3, own, monkeypatch):
    monkeypatch.setattr(S3Response, "_bucket_response_put", moto_s3._put)
    buckets.ensure_bucket(s3, own, ACCOUNT)
    assert s3.get_bucket_tagging(Bucket=own)["TagSet"] == OURS


def test_the_tag_on_a_bucket_of_another_name_is_no_proof(s3, monkeypatch):
    """Somebody may tag buckets of their own so, to find them on the bill."""
    theirs = make(s3, "somebody-elses-sagemaker-bucket", OURS)
    put(s3, theirs, "data/theirs")
    before = everything_of(s3, theirs)
    monkeypatch.setenv(buckets.VARIABLE, theirs)
    assert buckets.find(s3, ACCOUNT) == ((), None)
    clear(s3)
    assert everything_of(s3, theirs) == before


# --- borrowed -------------------------------------------------------------------------------------


@pytest.mark.parametrize("tags", TAGS.values(), ids=TAGS)
@pytest.mark.parametrize("name", ["its own", "another"])
def test_what_was_in_a_borrowed_bucket_stays_and_ours_goes(s3, own, monkeypatch, tags, name):
    bucket = make(s3, own if name == "its own" else "sagemaker-of-the-department", tags)
    put(s3, bucket, "theirs", "database/1", "lessons/theirs", "sagemaker-workshop.json.txt")
    s3.create_multipart_upload(Bucket=bucket, Key="theirs-too")
    before = everything_of(s3, bucket)
    borrow(s3, monkeypatch, bucket)
    put(s3, bucket, "data/train/a.csv", "jobs/name/output/model.tar.gz", "lesson-08/x")
    s3.create_multipart_upload(Bucket=bucket, Key="lesson-08/broken-off")
    borrow(s3, monkeypatch, bucket)  # the next lesson
    buckets_in_use = buckets.find(s3, ACCOUNT)
    assert buckets_in_use == (
        (buckets.Bucket(bucket, made=False, prefixes=buckets.PREFIXES),),
        None,
    )
    assert [upload.key for upload in buckets.uploads(s3, buckets_in_use.ours[0])] == [
        "lesson-08/broken-off"
    ]
    clear(s3)
    assert everything_of(s3, bucket) == before


def test_a_borrowed_bucket_with_versions_keeps_all_but_ours(s3, monkeypatch):
    bucket = make(s3, "sagemaker-versions")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration=ON)
    put(s3, bucket, "theirs", "theirs", "gone")
    s3.delete_object(Bucket=bucket, Key="gone")
    before = everything_of(s3, bucket)
    borrow(s3, monkeypatch, bucket)
    put(s3, bucket, "data/a", "data/a", "jobs/b")
    s3.delete_object(Bucket=bucket, Key="jobs/b")
    clear(s3)
    assert everything_of(s3, bucket) == before


def lay_object(s3, bucket):
    put(s3, bucket, "data/theirs.csv")


def lay_old_version(s3, bucket):
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration=ON)
    put(s3, bucket, "jobs/theirs")
    s3.delete_object(Bucket=bucket, Key="jobs/theirs")


def lay_upload(s3, bucket):
    s3.create_multipart_upload(Bucket=bucket, Key="lesson-05/theirs")


@pytest.mark.parametrize("lay", [lay_object, lay_old_version, lay_upload])
def test_a_bucket_with_things_where_the_lessons_write_is_not_borrowed(s3, monkeypatch, lay):
    bucket = make(s3, "sagemaker-in-use")
    lay(s3, bucket)
    before = everything_of(s3, bucket)
    monkeypatch.setenv(buckets.VARIABLE, bucket)
    with pytest.raises(buckets.WorkshopError, match=r"holds '\S*theirs\S*' under \S+/, where"):
        buckets.prepare(s3, ACCOUNT)
    assert buckets.find(s3, ACCOUNT).ours == ()
    clear(s3)
    assert everything_of(s3, bucket) == before


def test_a_note_of_an_older_workshop_is_completed_where_the_new_prefixes_are_free(s3, monkeypatch):
    bucket = make(s3, "sagemaker-older")
    put(s3, bucket, "data/ours", "jobs/theirs")
    note = {"prefixes": ["data/"]}
    s3.put_object(Bucket=bucket, Key=buckets.NOTE, Body=json.dumps(note).encode())
    monkeypatch.setenv(buckets.VARIABLE, bucket)
    with pytest.raises(buckets.WorkshopError, match="holds 'jobs/theirs' under jobs/"):
        buckets.prepare(s3, ACCOUNT)
    assert buckets.note_in(s3, bucket) == ("data/",)
    s3.delete_object(Bucket=bucket, Key="jobs/theirs")
    borrow(s3, monkeypatch, bucket)
    assert set(buckets.note_in(s3, bucket)) == set(buckets.PREFIXES)


@pytest.mark.parametrize("text", ["", "hello", "[]", "{}", '{"prefixes": [""]}', '{"prefixes": 1}'])
def test_a_file_of_the_notes_name_that_is_no_note_is_left(s3, monkeypatch, text):
    bucket = make(s3, "sagemaker-note")
    s3.put_object(Bucket=bucket, Key=buckets.NOTE, Body=text.encode())
    before = everything_of(s3, bucket)
    monkeypatch.setenv(buckets.VARIABLE, bucket)
    for call in (buckets.prepare, buckets.find):
        with pytest.raises(buckets.WorkshopError, match="that the workshop did not write"):
            call(s3, ACCOUNT)
    assert everything_of(s3, bucket) == before


def test_a_bucket_that_is_not_there_or_elsewhere_is_not_borrowed(s3, monkeypatch):
    monkeypatch.setenv(buckets.VARIABLE, "sagemaker-misspelt")
    with pytest.raises(buckets.WorkshopError, match="no bucket sagemaker-misspelt, which SAGE"):
        buckets.prepare(s3, ACCOUNT)
    assert s3.list_buckets()["Buckets"] == []
    make(s3, "sagemaker-misspelt", region="ap-south-1")
    with pytest.raises(buckets.WorkshopError, match=r"is in ap-south-1, .*REGION=ap-south-1"):
        buckets.prepare(s3, ACCOUNT)
    assert keys(s3, "sagemaker-misspelt") == set()


def test_a_bucket_of_another_account_is_not_borrowed(s3, monkeypatch):
    """moto allows it to everybody; S3 refuses a bucket of another account than the expected one."""
    make(s3, "sagemaker-of-others")
    monkeypatch.setenv(buckets.VARIABLE, "sagemaker-of-others")

    def head(**request):
        assert request["ExpectedBucketOwner"] == ACCOUNT
        raise ClientError({"Error": {"Code": "403", "Message": "Forbidden"}}, "HeadBucket")

    monkeypatch.setattr(s3, "head_bucket", head)
    with pytest.raises(buckets.WorkshopError, match="belongs to another account"):
        buckets.prepare(s3, ACCOUNT)
    assert keys(s3, "sagemaker-of-others") == set()


def test_the_setting_may_name_the_workshops_own_bucket(s3, own, monkeypatch):
    borrow(s3, monkeypatch, own)  # it is not there, and made
    borrow(s3, monkeypatch, own)
    assert buckets.find(s3, ACCOUNT) == ((buckets.Bucket(own),), None)
    assert keys(s3, own) == set()  # and needs no note


def test_a_made_and_a_borrowed_bucket_are_both_listed(s3, own, monkeypatch):
    buckets.ensure_bucket(s3, own, ACCOUNT)
    borrow(s3, monkeypatch, make(s3, "sagemaker-borrowed"))
    buckets_in_use = buckets.find(s3, ACCOUNT)
    assert [(bucket.name, bucket.made) for bucket in buckets_in_use.ours] == [
        (own, True),
        ("sagemaker-borrowed", False),
    ]


def test_lessons_write_where_a_borrowed_bucket_is_ours():
    """Read every prefix or key that a lesson names, except in the lists of its exercises."""
    written = set()
    for path in sorted(NOTEBOOKS.glob("*.py")):
        text = path.read_text(encoding="utf-8")
        for pattern in (
            r"default_bucket\(\)\}/([^\"]+)",
            r"(?:\"Bucket\": \w+, \"Key\": |Key=|key_prefix=)f?\"([^\"]+)\"",
            r"workshop\.upload\([^)]*, f?\"([^\"]+)\"\)",
            r"\bPrefix=f?\"([^\"]+)\"",
            r" prefix = f?\"(\w[^\"]+)\"\n.*workshop\.upload",
            r"\b(?:leftovers|prefixes) = \[\"([^\"]+)\"",
        ):
            written |= {(path.name, key) for key in re.findall(pattern, text)}
    assert len(written) > 20
    assert len({name for name, _ in written}) >= 6
    outside = {one for one in written if not f"{one[1]}/".startswith(buckets.PREFIXES)}
    assert outside == set()


# --- emptied --------------------------------------------------------------------------------------


def switch(s3, bucket, status):
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})


@pytest.mark.parametrize("history", [(), ("Enabled",), ("Enabled", "Suspended")])
def test_a_bucket_of_ours_is_emptied_whatever_its_history(s3, own, history):
    buckets.ensure_bucket(s3, own, ACCOUNT)
    put(s3, own, "before", "before-too")
    for status in history:
        switch(s3, own, status)
        put(s3, own, "before", "now")
        s3.delete_object(Bucket=own, Key="before-too")
    clear(s3)
    assert everything_of(s3, own)["Versions"] == everything_of(s3, own)["DeleteMarkers"] == []
    s3.delete_bucket(Bucket=own)


ODD_KEYS = ["a\x01b", "tab\t", "return\r", "del\x7f", "c1\x85", "not-xml\uffff", "<&>'\"", "ü+ %25"]


@pytest.mark.parametrize("versioned", [False, True])
def test_keys_that_xml_cannot_carry_go_too(s3, own, versioned):
    buckets.ensure_bucket(s3, own, ACCOUNT)
    if versioned:
        switch(s3, own, "Enabled")
    put(s3, own, *ODD_KEYS, *ODD_KEYS)
    clear(s3)
    s3.delete_bucket(Bucket=own)


def test_an_unfinished_upload_is_listed_by_its_own_key(s3, own):
    buckets.ensure_bucket(s3, own, ACCOUNT)
    key = "a b+c/ü%25"
    upload = s3.create_multipart_upload(Bucket=own, Key=key)["UploadId"]
    s3.upload_part(Bucket=own, Key=key, UploadId=upload, PartNumber=1, Body=b"12345")
    (unfinished,) = buckets.uploads(s3, buckets.Bucket(own))
    assert unfinished == (key, upload)
    assert buckets.size_of_parts(s3, own, unfinished) == 5
    assert buckets.abort_uploads(s3, buckets.Bucket(own)) == 1
    s3.delete_bucket(Bucket=own)


def test_uploads_are_listed_to_the_last_page(s3, own, monkeypatch):
    """moto has one page; this plays two, with keys as S3 writes them then."""
    page = {"EncodingType": "url", "IsTruncated": False, "Uploads": []}
    first = page | {
        "IsTruncated": True,
        "NextKeyMarker": "a+b%01",
        "NextUploadIdMarker": "1",
        "Uploads": [{"Key": "a+b%01", "UploadId": "1"}],
    }
    last = page | {"Uploads": [{"Key": "c%2Bd", "UploadId": "2"}]}
    asked = []

    def answer(**request):
        asked.append(request.get("KeyMarker"))
        return last if request.get("KeyMarker") else first

    monkeypatch.setattr(s3, "list_multipart_uploads", answer)
    assert list(buckets.uploads(s3, buckets.Bucket(own))) == [("a b\x01", "1"), ("c+d", "2")]
    assert asked == [None, "a b\x01"]


def test_what_s3_keeps_is_named(s3, own, monkeypatch):
    buckets.ensure_bucket(s3, own, ACCOUNT)
    put(s3, own, "locked", "free")
    error = {"Key": "locked", "Code": "AccessDenied", "Message": "Object is locked"}
    monkeypatch.setattr(s3, "delete_objects", lambda **_: {"Errors": [error]})
    with pytest.raises(buckets.WorkshopError, match=r"^1 of 2 objects could not .* 'locked' \(Acc"):
        clear(s3)
