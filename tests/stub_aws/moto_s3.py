"""Mends moto's S3 where it is wrong: the tags of buckets, and odd keys in two listings.

- A bucket that is deleted takes its tags with it. moto keeps tags beside its buckets, by name, and
  a new bucket of an old name would have the old one's. The workshop knows its bucket by its tag, so
  that would be a lie.
- CreateBucket gives the bucket the tags that the request carries, which moto drops. With tags it is
  refused where the caller has that bucket already, in us-east-1 too.
- ListObjectVersions and ListMultipartUploads obey `encoding-type=url`. Without that a key with a
  control character makes an answer that is not XML.
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
_put = S3Response._bucket_response_put
_serialized = S3Response.serialized


def _delete_with_tags(self: S3Backend, bucket_name: str) -> FakeBucket | None:
    bucket = _delete(self, bucket_name)
    if bucket is not None:  # it was empty, and is gone
        self.tagger.delete_all_tags_for_resource(bucket.arn)
    return bucket


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
    S3Response._bucket_response_put = _put_with_tags
    S3Response.serialized = _serialized_as_asked
