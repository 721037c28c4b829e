"""The workshop under AWS's managed policy AmazonSageMakerFullAccess, which most roles have.

It lets a role make buckets with "sagemaker" in their name, and neither tag nor delete them, nor
list old versions and unfinished uploads, nor delete log streams.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

import workshop
from tests.support.strangers import everything_of
from tests.support.stub_jobs import BUCKET
from tests.support.stub_roles import ADMINISTRATOR, FULL_POLICY, MANAGED, Lab, lab
from workshop import buckets, cleanup

pytestmark = pytest.mark.one_worker

ACCOUNT = "123456789012"


@pytest.fixture(scope="module")
def aws() -> Iterator[Lab]:
    with lab() as ours:
        yield ours


@pytest.fixture
def owner(aws: Lab) -> Iterator[Any]:
    """Return S3 for whoever may do everything; afterwards the workshop's bucket is gone."""
    s3 = aws.boto(ADMINISTRATOR).client("s3")
    yield s3
    if buckets.exists(s3, BUCKET, ACCOUNT):
        aws.boto(ADMINISTRATOR).resource("s3").Bucket(BUCKET).object_versions.delete()
        s3.delete_bucket(Bucket=BUCKET)


def keys(s3: Any) -> list[str]:
    return [one["Key"] for one in s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])]


def test_the_bucket_is_made_without_a_tag_and_noted(
    aws: Lab, owner: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    s3 = aws.boto(MANAGED).client("s3")
    assert buckets.prepare(s3, ACCOUNT) == BUCKET
    line = capsys.readouterr().out
    assert line.startswith(f"made the bucket {BUCKET} without a tag")
    assert "s3:TagResource" in line
    assert buckets.tags_of(owner, BUCKET, ACCOUNT) == []
    note = json.loads(owner.get_object(Bucket=BUCKET, Key=buckets.NOTE)["Body"].read())
    assert (note["made"], tuple(note["prefixes"])) == (True, buckets.PREFIXES)
    # the second lesson uses it, prints nothing, and finds it its own
    assert buckets.prepare(s3, ACCOUNT) == BUCKET
    assert capsys.readouterr().out == ""


def test_the_clean_up_deletes_what_lessons_wrote_and_the_next_lesson_can_begin(
    aws: Lab, owner: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    session = aws.look(MANAGED)
    s3 = session.boto_session.client("s3")
    buckets.prepare(s3, ACCOUNT)
    s3.put_object(Bucket=BUCKET, Key="data/train/list.csv", Body=b"1")
    owner.put_object(Bucket=BUCKET, Key="diary/of-somebody", Body=b"2")
    listed = cleanup.inventory(session)
    assert (listed.bucket, listed.borrowed, listed.objects) == (None, BUCKET, 1)
    assert len(listed.not_listed) == 2
    assert cleanup.delete(session, listed) == ()
    assert f"left the bucket {BUCKET}" in capsys.readouterr().out
    assert keys(owner) == ["diary/of-somebody", buckets.NOTE]
    assert cleanup.remaining(session) == {}
    assert buckets.prepare(s3, ACCOUNT) == BUCKET
    # whoever has our policy uses it, too, and deletes no more than that
    assert buckets.prepare(aws.boto(FULL_POLICY).client("s3"), ACCOUNT) == BUCKET
    cleanup.delete(aws.look(FULL_POLICY), cleanup.inventory(aws.look(FULL_POLICY)))
    assert keys(owner) == ["diary/of-somebody", buckets.NOTE]


def test_a_bucket_of_the_same_name_that_somebody_else_made_is_left_alone(
    aws: Lab, owner: Any
) -> None:
    owner.create_bucket(Bucket=BUCKET)
    owner.put_object(Bucket=BUCKET, Key="data/theirs", Body=b"1")
    before = everything_of(owner, BUCKET)
    with pytest.raises(workshop.WorkshopError, match="the permission s3:GetBucketTagging"):
        buckets.prepare(aws.boto(MANAGED).client("s3"), ACCOUNT)
    with pytest.raises(cleanup.CleanupError, match="the permission s3:GetBucketTagging"):
        cleanup.inventory(aws.look(MANAGED))
    assert everything_of(owner, BUCKET) == before


def test_a_bucket_that_came_since_the_look_keeps_what_is_in_it(
    aws: Lab, owner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In us-east-1, S3 answers 200 to a request without tags for a bucket that is there."""
    owner.create_bucket(Bucket=BUCKET)
    owner.put_object(Bucket=BUCKET, Key="data/theirs", Body=b"1")
    before = everything_of(owner, BUCKET)
    monkeypatch.setattr(buckets, "exists", lambda *_: False)
    with pytest.raises(workshop.WorkshopError, match="holds 'data/theirs' under data/"):
        buckets.prepare(aws.boto(MANAGED).client("s3"), ACCOUNT)
    assert everything_of(owner, BUCKET) == before
