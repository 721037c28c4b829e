"""Runs the first and the last lesson in a bucket that somebody else made; on a stub AWS of its own.

    python -m stub_aws python -m tests.support.borrowed_walk --output=FOLDER

The bucket has the workshop's name and not its tag. Writes FOLDER/borrowed.json: all that the bucket
is and holds, before and after.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

import boto3

from lessons import run as run_lessons

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from workshop import buckets  # noqa: E402

LESSONS = ["01", "12"]
LOCKS = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")


def look(s3: Any, bucket: str, account: str) -> dict[str, Any]:
    """Return what the workshop's role can see of a bucket."""
    try:
        rules = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    except s3.exceptions.ClientError as error:
        rules = error.response["Error"]["Code"]
    return {
        "tags": buckets.tags_of(s3, bucket, account),
        "rules": rules,
        "objects": list(buckets.versions(s3, buckets.Bucket(bucket))),
        "uploads": list(buckets.uploads(s3, buckets.Bucket(bucket))),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--output", type=Path, required=True)
    folder = parser.parse_args().output
    s3, account = boto3.client("s3"), boto3.client("sts").get_caller_identity()["Account"]
    bucket = buckets.bucket_name(account, s3.meta.region_name)
    s3.create_bucket(Bucket=bucket)
    s3.put_public_access_block(  # which AWS gives to every new bucket
        Bucket=bucket, PublicAccessBlockConfiguration=dict.fromkeys(LOCKS, True)
    )
    for key in ("theirs", "database/theirs", f"{buckets.NOTE}.theirs"):
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    s3.create_multipart_upload(Bucket=bucket, Key="theirs-too")
    before = look(s3, bucket, account)
    os.environ[buckets.VARIABLE] = bucket
    code = run_lessons.main([f"--output={folder}", *LESSONS])
    folder.mkdir(parents=True, exist_ok=True)
    both = {"before": before, "after": look(s3, bucket, account)}
    (folder / "borrowed.json").write_text(json.dumps(both), encoding="utf-8")
    return code


if __name__ == "__main__":
    sys.exit(main())
