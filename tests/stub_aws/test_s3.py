"""The stub's S3 where moto's is mended: the tags of buckets, and odd keys in its listings."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from stub_aws.roles import create_role
from tests.support.stub_jobs import make_client, unique

EVERYTHING = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
TAGS = [{"Key": "a", "Value": "b"}, {"Key": "c", "Value": ""}]
ODD = ["a b+c/ü%25", "control\x01character", "not\ufffexml", "<&>"]


@pytest.fixture(scope="module", params=["us-east-1", "eu-west-1"])
def s3(request, stub_aws):
    role = create_role(unique("role"), {"Version": "2012-10-17", "Statement": [EVERYTHING]})
    return make_client(stub_aws.environment_of(role), "s3", region_name=request.param)


def create(s3, name, tags=None):
    region = s3.meta.region_name
    where = {} if region == "us-east-1" else {"LocationConstraint": region}
    configuration = where | ({"Tags": tags} if tags else {})
    s3.create_bucket(
        Bucket=name, **({"CreateBucketConfiguration": configuration} if configuration else {})
    )


@pytest.fixture
def bucket(s3):
    name = unique("bucket")
    create(s3, name, TAGS)
    yield name
    s3.delete_bucket(Bucket=name)


def tags(s3, bucket):
    try:
        return s3.get_bucket_tagging(Bucket=bucket)["TagSet"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchTagSet":
            raise
        return []


def test_a_bucket_is_made_with_its_tags_and_they_go_with_it(s3, bucket):
    assert tags(s3, bucket) == TAGS
    s3.delete_bucket(Bucket=bucket)
    create(s3, bucket)
    assert tags(s3, bucket) == []


def test_a_bucket_that_is_there_gets_no_tags_by_being_made_again(s3, bucket):
    with pytest.raises(s3.exceptions.BucketAlreadyOwnedByYou):
        create(s3, bucket, [{"Key": "new", "Value": "new"}])
    assert tags(s3, bucket) == TAGS


def test_old_versions_are_listed_whatever_their_keys(s3, bucket):
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    for key in ODD:
        s3.put_object(Bucket=bucket, Key=key)
        s3.delete_object(Bucket=bucket, Key=key)
    pages = s3.get_paginator("list_object_versions").paginate(
        Bucket=bucket, PaginationConfig={"PageSize": 1}
    )
    kinds = ("Versions", "DeleteMarkers")
    versions = [
        (kind, one["Key"], one["VersionId"])
        for page in pages
        for kind in kinds
        for one in page.get(kind, [])
    ]
    assert sorted((kind, key) for kind, key, _ in versions) == sorted(
        (kind, key) for kind in kinds for key in ODD
    )
    for _, key, version in versions:
        s3.delete_object(Bucket=bucket, Key=key, VersionId=version)


def test_suspended_versions_are_deleted_one_by_one(s3, bucket):
    where = {"Bucket": bucket, "Key": "a"}
    s3.put_object(**where)  # the version "null"
    for status in ("Enabled", "Suspended"):
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})
        if status == "Enabled":
            old = s3.put_object(**where)["VersionId"]
    s3.delete_object(**where)
    listed = s3.list_object_versions(Bucket=bucket)
    assert [one["VersionId"] for one in listed["Versions"]] == [old]
    assert [one["VersionId"] for one in listed["DeleteMarkers"]] == ["null"]
    for version in ("null", old):
        s3.delete_object(**where, VersionId=version)
    assert "Versions" not in s3.list_object_versions(Bucket=bucket)


def test_unfinished_uploads_are_listed_whatever_their_keys(s3, bucket):
    keys = [key for key in ODD if "\x01" not in key and "\ufffe" not in key]
    uploads = {key: s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"] for key in keys}
    listed = s3.list_multipart_uploads(Bucket=bucket, EncodingType="url")["Uploads"]
    assert sorted(one["Key"] for one in listed) == ["%3C%26%3E", "a+b%2Bc/%C3%BC%2525"]
    for key, upload in uploads.items():
        s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload)
