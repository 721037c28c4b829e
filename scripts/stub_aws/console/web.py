"""Answers the console's requests: who may ask, which page it is, and how browsers treat it.

Three things keep others out. The address of each run holds a secret, so that no page of another
site, and no other user of this machine, knows where to ask. The `Host` header must name the
loopback address, so that a foreign name that resolves to it is refused. And what changes something
is a POST with a header that a foreign page could send only after asking us, which we never allow.
"""

from __future__ import annotations

import hmac
import json
import secrets
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError
from werkzeug.wrappers import Request, Response

from ..wsgi import Environ, WSGIApp
from .reader import Reader, as_json

# No bucket can be called so: a name begins with a letter or a digit (S3, bucket naming rules).
ROOT = "/_console"
STATIC = Path(__file__).with_name("static")
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
FILES = {path.name: path for path in STATIC.iterdir() if path.suffix in TYPES}
PAGES = frozenset({"", "jobs", "objects"})
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
# A script of another site cannot set this header without our consent (a CORS preflight).
CONFIRMATION = "X-Console"


class Refused(Exception):
    """The request gets this status and one sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class Console:
    """Answers below `/_console` and hands everything else on (WSGI middleware).

    Args:
        app: The API.
        port: The server's, on the loopback address.
        make_reader: Makes the reader, at the first request that needs one.
    """

    def __init__(self, app: WSGIApp, port: int, make_reader: Callable[[], Reader]) -> None:
        self._app = app
        self._make_reader = make_reader
        self._reader: Reader | None = None
        self._secret = secrets.token_urlsafe(18)
        self._hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}
        self.url = f"http://127.0.0.1:{port}{ROOT}/{self._secret}/"

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Any:
        path = environ["PATH_INFO"]
        if path != ROOT and not path.startswith(f"{ROOT}/"):
            return self._app(environ, start_response)
        response = self._respond(Request(environ), path)
        for name, value in HEADERS.items():
            response.headers[name] = value
        return response(environ, start_response)

    def _respond(self, request: Request, path: str) -> Response:
        try:
            return self._answer(request, self._inside(request, path))
        except Refused as refused:
            return _json({"error": str(refused)}, refused.status)
        except ClientError as error:
            return _json({"error": _sentence(error)}, _status(error))

    def _inside(self, request: Request, path: str) -> str:
        """Return the path below the secret one.

        Raises:
            Refused: The request is not for us, or does not know the secret.
        """
        if request.headers.get("Host") not in self._hosts:
            raise Refused(403, "The console answers at 127.0.0.1 alone.")
        secret, _, rest = path.removeprefix(ROOT).lstrip("/").partition("/")
        if not hmac.compare_digest(secret.encode(), self._secret.encode()):
            raise Refused(
                403, "Each run has a console at an address of its own; it is printed at the start."
            )
        return rest

    def _answer(self, request: Request, path: str) -> Response:
        first, _, rest = path.partition("/")
        if request.method == "POST":
            return self._act(request, first, rest)
        if request.method != "GET":
            raise Refused(405, "The console knows GET and POST.")
        if first == "api":
            return _json(self._read(request, rest))
        if first == "download":
            bucket, _, key = rest.partition("/")
            return Response(
                status=302, headers={"Location": self.reader.download_link(bucket, key)}
            )
        if first in FILES and not rest:
            return _file(FILES[first])
        if first in PAGES:
            return self._page()
        raise Refused(404, "There is no such page.")

    @property
    def reader(self) -> Reader:
        if self._reader is None:
            self._reader = self._make_reader()
        return self._reader

    def _read(self, request: Request, what: str) -> dict[str, Any]:
        match what.split("/"):
            case ["jobs"]:
                return self.reader.jobs()
            case ["jobs", name]:
                return self.reader.job(name)
            case ["jobs", name, "logs"]:
                return self.reader.logs(name, _tokens(request.args.get("after", "{}")))
            case ["objects"]:
                asked = (request.args.get(name, "") for name in ("bucket", "prefix", "token"))
                bucket, prefix, token = asked
                return self.reader.objects(bucket, prefix, token or None)
        raise Refused(404, "There is no such answer.")

    def _act(self, request: Request, first: str, rest: str) -> Response:
        origin = request.headers.get("Origin")
        if CONFIRMATION not in request.headers or origin not in self._origins:
            raise Refused(403, "Only the console's own page may do that.")
        match [first, *rest.split("/")]:
            case ["api", "jobs", name, "stop"]:
                return _json(self.reader.stop(name))
        raise Refused(404, "There is nothing of that name to do.")

    @property
    def _origins(self) -> set[str]:
        return {f"http://{host}" for host in self._hosts}

    def _page(self) -> Response:
        text = FILES["index.html"].read_text(encoding="utf-8")
        text = text.replace("{base}", f"{ROOT}/{self._secret}/")
        return Response(text, content_type=TYPES[".html"])


def _file(path: Path) -> Response:
    return Response(path.read_bytes(), content_type=TYPES[path.suffix])


def _json(answer: dict[str, Any], status: int = 200) -> Response:
    return Response(as_json(answer), status, content_type="application/json")


def _tokens(text: str) -> dict[str, str]:
    try:
        tokens = json.loads(text)
    except ValueError:
        tokens = None
    if not isinstance(tokens, dict) or not all(isinstance(item, str) for item in tokens.values()):
        raise Refused(400, "`after` must be the tokens of an earlier answer, as JSON.")
    return tokens


def _sentence(error: ClientError) -> str:
    return error.response["Error"].get("Message") or str(error)


def _status(error: ClientError) -> int:
    """Return the API's status; SageMaker has none of its own for what is not there."""
    if _sentence(error) == "Requested resource not found.":
        return HTTPStatus.NOT_FOUND
    return int(error.response["ResponseMetadata"]["HTTPStatusCode"])
