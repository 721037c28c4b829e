"""Corrects moto's S3: tags of buckets, odd keys in listings, suspended versions.

- A bucket that is deleted takes its tags with it. moto keeps tags beside its buckets, by name, and
  a new bucket of an old name would have the old one's. The workshop knows its bucket by its tag, so
  that would be a lie.
- CreateBucket gives the bucket the tags that the request carries, which moto drops. With tags it is
  refused where the caller has that bucket already, in us-east-1 too.
- ListObjectVersions and ListMultipartUploads obey `encoding-type=url`. Without that a key with a
  control character makes an answer that is not XML.
- Where versioning is suspended, a deletion takes the version that it names, or, if it names none,
  puts a marker in the place of the version "null". moto takes all versions of the key.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote_plus

import xmltodict
from moto.core.responses import ActionResult
from moto.s3.exceptions import BucketAlreadyOwnedByYou
from moto.s3.models import FakeBucket, S3Backend
from moto.s3.responses import S3Response

LISTED = {
    "ListObjectVersions": ("Versions", "DeleteMarkers", "CommonPrefixes"),
    "ListMultipartUploads": ("Uploads",),
}
ENCODED = ("Delimiter", "Key", "KeyMarker", "NextKeyMarker", "Prefix")

_delete = S3Backend.delete_bucket
_delete_object = S3Backend.delete_object
_put = S3Response._bucket_response_put
_serialized = S3Response.serialized


def _delete_with_tags(self: S3Backend, bucket_name: str) -> FakeBucket | None:
    bucket = _delete(self, bucket_name)
    if bucket is not None:  # it was empty, and is gone
        self.tagger.delete_all_tags_for_resource(bucket.arn)
    return bucket


def _delete_one_version(
    self: S3Backend, bucket_name: str, key_name: str, version_id: str | None = None, **more: Any
) -> Any:
    bucket = self.get_bucket(bucket_name)
    if bucket.versioning_status != "Suspended":
        return _delete_object(self, bucket_name, key_name, version_id, **more)
    bucket.versioning_status = "Enabled"
    try:
        done = _delete_object(self, bucket_name, key_name, version_id, **more)
    finally:
        bucket.versioning_status = "Suspended"
    if version_id is None and (there := bucket.keys.getlist(key_name, [])):
        *older, marker = there
        marker._version_id = "null"
        remaining = [one for one in older if one.version_id not in (None, "null")]
        bucket.keys.setlist(key_name, [*remaining, marker])
    return done


def _put_with_tags(self: S3Response, request: Any, bucket_name: str, querystring: Any) -> Any:
    tags = _tags_at_creation(self.body)
    if tags and bucket_name in self.backend.buckets:
        raise BucketAlreadyOwnedByYou(bucket_name=bucket_name)
    answer = _put(self, request, bucket_name, querystring)
    if tags:
        self.backend.put_bucket_tagging(bucket_name, tags)
    return answer


def _tags_at_creation(body: bytes | str) -> dict[str, str]:
    text = body if isinstance(body, str) else body.decode(errors="replace")
    if "<CreateBucketConfiguration" not in text:
        return {}
    asked = xmltodict.parse(text, force_list=("Tag",))["CreateBucketConfiguration"] or {}
    listed = (asked.get("Tags") or {}).get("Tag", [])
    return {tag["Key"]: tag.get("Value") or "" for tag in listed}


def _serialized_as_asked(self: S3Response, answer: ActionResult) -> Any:
    lists = LISTED.get(self.data.get("Action", ""))
    result = answer.result
    if lists and isinstance(result, dict) and self.querystring.get("encoding-type") == ["url"]:
        result["EncodingType"] = "url"
        for entry in [result, *(entry for name in lists for entry in result.get(name, []))]:
            for name in ENCODED:
                if entry.get(name):
                    entry[name] = quote_plus(entry[name], safe="/")
    return _serialized(self, answer)


def mend() -> None:
    """Change moto in this process; any number of times."""
    S3Backend.delete_bucket = _delete_with_tags
    S3Backend.delete_object = _delete_one_version
    S3Response._bucket_response_put = _put_with_tags
    S3Response.serialized = _serialized_as_asked
