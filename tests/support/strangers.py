"""Things that somebody else made, with names of ours: what they are, to the last byte and tag."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

# Of what is not the workshop's, however near.
TAGS = {
    "no tag": [],
    "another tag": [{"Key": "team", "Value": "blue"}],
    "our tag's key": [{"Key": "workshop", "Value": "another"}],
    "nearly our tag": [{"Key": "Workshop", "Value": "sagemaker-training"}],
}

SETTINGS = (
    "bucket_tagging",
    "public_access_block",
    "bucket_lifecycle_configuration",
    "bucket_versioning",
    "bucket_policy",
    "bucket_acl",
)


def everything_of(s3: Any, bucket: str) -> dict[str, Any]:
    """Return all that a bucket is and holds; of a setting that it lacks, what S3 says."""
    settings = {what: _setting(s3, what, bucket) for what in SETTINGS}
    listed = s3.list_object_versions(Bucket=bucket)
    for version in listed.get("Versions", []):
        where = {"Bucket": bucket, "Key": version["Key"]}
        if version["VersionId"] != "null":
            where["VersionId"] = version["VersionId"]
        version["Body"] = s3.get_object(**where)["Body"].read()
        version["Tags"] = s3.get_object_tagging(**where)["TagSet"]
    held = {kind: listed.get(kind, []) for kind in ("Versions", "DeleteMarkers")}
    uploads = s3.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
    return settings | held | {"Uploads": uploads}


def _setting(s3: Any, what: str, bucket: str) -> Any:
    try:
        answer = getattr(s3, f"get_{what}")(Bucket=bucket)
    except ClientError as error:
        return error.response["Error"]["Code"]
    del answer["ResponseMetadata"]
    return answer
