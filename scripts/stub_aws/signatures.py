"""Finds and verifies the Signature Version 4 of a request, in the header or in the URL.

(IAM user guide, "AWS Signature Version 4 for API requests".) botocore, which signs for boto3, signs
the request again with the secret that moto has; both signatures must be the same.
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import parse_qs, urlencode

from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from .wsgi import Environ, read_body, request_headers

TIMESTAMP = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True)
class Signature:
    """The fields of a request's signature."""

    access_key: str
    region: str
    service: str
    timestamp: str
    signed_headers: tuple[str, ...]
    value: str
    token: str | None
    seconds: int | None = None  # how long a presigned URL is valid; None for a signed header

    @property
    def expired(self) -> bool:
        """Return whether a presigned URL has expired."""
        if self.seconds is None:
            return False
        since = datetime.strptime(self.timestamp, TIMESTAMP).replace(tzinfo=timezone.utc)
        return datetime.now(timezone.utc) > since + timedelta(seconds=self.seconds)

    def matches(self, environ: Environ, credentials: Credentials) -> bool:
        """Return whether these credentials sign the request to the same value."""
        auth = self._auth(credentials)
        request = self._request(environ)
        text = auth.string_to_sign(request, auth.canonical_request(request))
        return hmac.compare_digest(self.value, auth.signature(text, request))

    def _auth(self, credentials: Credentials) -> Any:
        if self.seconds is not None:
            return S3SigV4QueryAuth(credentials, self.service, self.region, self.seconds)
        kind = S3SigV4Auth if self.service == "s3" else SigV4Auth
        return kind(credentials, self.service, self.region)

    def _request(self, environ: Environ) -> AWSRequest:
        """Return the request as its sender signed it."""
        query = environ.get("QUERY_STRING", "")
        if self.seconds is not None:
            fields = parse_qs(query, keep_blank_values=True)
            fields.pop("X-Amz-Signature", None)
            query = urlencode(fields, doseq=True)
        path = (environ.get("RAW_URI") or environ["PATH_INFO"]).partition("?")[0]
        headers = {
            name: value
            for name, value in request_headers(environ).items()
            if name.lower() in self.signed_headers
        }
        # S3 signs the hash in a header, so there is no need to read a large object here.
        body = b"" if self.service == "s3" else read_body(environ)
        url = path + (f"?{query}" if query else "")
        request = AWSRequest(environ["REQUEST_METHOD"], url, headers, body)
        request.context["timestamp"] = self.timestamp
        return request


def find(environ: Environ) -> Signature | None:
    """Return the signature of a request, or None when it has none."""
    header = environ.get("HTTP_AUTHORIZATION", "")
    parts = dict(re.findall(r"(Credential|SignedHeaders|Signature)=([^,\s]+)", header))
    if parts:
        scope, headers, value = (
            parts.get(name, "") for name in ("Credential", "SignedHeaders", "Signature")
        )
        timestamp = environ.get("HTTP_X_AMZ_DATE", "")
        return _signature(
            scope, timestamp, headers, value, environ.get("HTTP_X_AMZ_SECURITY_TOKEN")
        )
    fields = {name: values[0] for name, values in parse_qs(environ.get("QUERY_STRING", "")).items()}
    if "X-Amz-Signature" not in fields:
        return None
    return _signature(
        fields.get("X-Amz-Credential", ""),
        fields.get("X-Amz-Date", ""),
        fields.get("X-Amz-SignedHeaders", ""),
        fields["X-Amz-Signature"],
        fields.get("X-Amz-Security-Token"),
        int(fields.get("X-Amz-Expires", "0")),
    )


def _signature(
    scope: str,
    timestamp: str,
    headers: str,
    value: str,
    token: str | None,
    seconds: int | None = None,
) -> Signature | None:
    try:
        access_key, _date, region, service, _ = scope.split("/")
    except ValueError:  # not of the form key/date/region/service/aws4_request
        return None
    signed = tuple(headers.lower().split(";"))
    return Signature(access_key, region, service, timestamp, signed, value, token, seconds)
