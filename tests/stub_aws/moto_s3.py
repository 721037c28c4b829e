"""Mends moto's S3 where it is wrong: a bucket that is deleted takes its tags with it.

moto keeps tags beside its buckets, by name, and a new bucket of an old name would have the old
one's. The workshop knows its bucket by its tag, so that would be a lie.
"""

from __future__ import annotations

from moto.s3.models import FakeBucket, S3Backend

_delete = S3Backend.delete_bucket


def _delete_with_tags(self: S3Backend, bucket_name: str) -> FakeBucket | None:
    bucket = _delete(self, bucket_name)
    if bucket is not None:  # it was empty, and is gone
        self.tagger.delete_all_tags_for_resource(bucket.arn)
    return bucket


def mend() -> None:
    """Change moto in this process; any number of times."""
    S3Backend.delete_bucket = _delete_with_tags
