"""HTTP for all parts of the stub: the headers and body of a request, and AWS's errors."""

from __future__ import annotations

import io
import json
import uuid
from collections.abc import Callable
from typing import Any
from xml.sax.saxutils import escape

from werkzeug.wrappers import Response

Environ = dict[str, Any]
WSGIApp = Callable[[Environ, Callable[..., Any]], Any]


def request_headers(environ: Environ) -> dict[str, str]:
    """Return the request's headers by their usual names, e.g. `X-Amz-Date`."""
    headers = {
        name[5:].replace("_", "-").title(): value
        for name, value in environ.items()
        if name.startswith("HTTP_")
    }
    for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if environ.get(name):
            headers[name.replace("_", "-").title()] = environ[name]
    return headers


def error_response(environ: Environ, status: int, code: str, message: str) -> Response:
    """Return an error in the client's protocol: JSON, or the XML of S3 or of IAM."""
    request_id = str(uuid.uuid4())
    headers = {"x-amzn-RequestId": request_id, "x-amzn-ErrorType": code}
    if "HTTP_X_AMZ_TARGET" in environ:
        body = json.dumps({"__type": code, "message": message})
        return Response(body, status, headers, content_type="application/x-amz-json-1.1")
    inner = f"<Code>{escape(code)}</Code><Message>{escape(message)}</Message>"
    form = environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded")
    if not form:  # S3; IAM and STS send forms
        body = f"<Error>{inner}<RequestId>{request_id}</RequestId></Error>"
    else:
        body = (
            f"<ErrorResponse><Error><Type>Sender</Type>{inner}</Error>"
            f"<RequestId>{request_id}</RequestId></ErrorResponse>"
        )
    return Response(body, status, headers, content_type="text/xml")


def read_body(environ: Environ) -> bytes:
    """Return the request's body, and put it back for the next reader."""
    if "stub_aws.body" not in environ:
        length = int(environ.get("CONTENT_LENGTH") or 0)
        environ["stub_aws.body"] = environ["wsgi.input"].read(length)
        environ["wsgi.input"] = io.BytesIO(environ["stub_aws.body"])
    body: bytes = environ["stub_aws.body"]
    return body
