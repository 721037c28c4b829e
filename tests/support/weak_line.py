"""A connection to the stub AWS that fails, or whose credentials expire, when a test says so."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

WORKS, CUT, EXPIRED = "works", "cut", "expired"

# https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html, and as botocore reads them.
S3_SAYS = (
    "<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>"
)
STS_SAYS = f"<ErrorResponse>{S3_SAYS}</ErrorResponse>"
JSON_SAYS = '{"__type": "ExpiredTokenException", "message": "The security token is expired"}'


class WeakLine:
    """Passes requests on to `address`, as long as its `state` is WORKS."""

    def __init__(self, address: str) -> None:
        self.state = WORKS
        self.address = urlsplit(address).netloc
        line = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                line.answer(self)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _answer  # noqa: N815 - its names

            def log_message(self, *_: Any) -> None:
                """No line on the terminal."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        if self.state == CUT:
            request.close_connection = True
        elif self.state == EXPIRED:
            self._refuse(request)
        else:
            self._pass_on(request, body)

    def _refuse(self, request: BaseHTTPRequestHandler) -> None:
        if "X-Amz-Target" in request.headers:
            refusal = JSON_SAYS
        else:
            refusal = STS_SAYS if request.path == "/" else S3_SAYS
        body = b"" if request.command == "HEAD" else refusal.encode()
        self._send(request, 400, {"Content-Length": str(len(body))}, body)

    def _pass_on(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        connection = http.client.HTTPConnection(self.address)
        # With the headers as they are: they are signed, the host's name too.
        connection.putrequest(
            request.command, request.path, skip_host=True, skip_accept_encoding=True
        )
        for name, value in request.headers.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        read = answer.read()
        headers = {k: v for k, v in answer.getheaders() if k.lower() != "transfer-encoding"}
        if request.command != "HEAD":
            headers["Content-Length"] = str(len(read))
        self._send(request, answer.status, headers, read)
        connection.close()

    @staticmethod
    def _send(
        request: BaseHTTPRequestHandler, status: int, headers: dict[str, str], body: bytes
    ) -> None:
        request.send_response_only(status)
        for name, value in headers.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(body)


@contextmanager
def weak_line(address: str) -> Iterator[WeakLine]:
    """Open a line to the server at an address, for as long as the block takes."""
    line = WeakLine(address)
    thread = threading.Thread(target=line.server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield line
    line.server.shutdown()
    line.server.server_close()
    thread.join()
