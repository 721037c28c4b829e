"""A proxy that passes HTTPS calls of AWS to the stub, and refuses all others.

`AWS_ENDPOINT_URL` leads almost every AWS call to the stub. SageMaker's SDK 2 names the regional STS
endpoint itself in three places (`get_execution_role`, `default_bucket`, `account_id`); those
follow `HTTPS_PROXY` to here. For STS hosts the proxy ends TLS with a certificate of the run's own
authority and passes the bytes to the stub. The SDKs also report to an address of AWS which of their
functions are in use; that is answered here, and discarded. Everything else is refused: nothing
reaches the network.
"""

from __future__ import annotations

import contextlib
import re
import selectors
import socket
import socketserver
import ssl
import threading
from pathlib import Path

import trustme

from .clients import regions

STS_HOST = re.compile(r"sts(\.[a-z0-9-]+)?\.amazonaws\.com")
TELEMETRY_HOST = re.compile(r"sm-pysdk-t-([a-z0-9-]+)\.s3\.\1\.amazonaws\.com")
CHUNK = 64 * 1024
POLL_S = 0.05  # within this time the server notices that it must end


class Proxy:
    """A CONNECT proxy on the loopback address, in a thread.

    Args:
        target: Host and port of the stub's HTTP server.
        folder: Where the certificate authority's public certificate is written.
    """

    def __init__(self, target: tuple[str, int], folder: Path) -> None:
        authority = trustme.CA()
        self.certificate = folder / "ca.pem"
        authority.cert_pem.write_to_path(self.certificate)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert(*sts_hosts(), *telemetry_hosts()).configure_cert(context)
        self._server = _Server(("127.0.0.1", 0), _Connection)
        self._server.context = context
        self._server.target = target
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(POLL_S,), daemon=True
        )
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def sts_hosts() -> list[str]:
    """Return the names of STS: the global one and those of all regions that botocore knows."""
    return ["sts.amazonaws.com", *(f"sts.{region}.amazonaws.com" for region in regions("sts"))]


def telemetry_hosts() -> list[str]:
    """Return the hosts that the SDKs report to, one for each region."""
    return [f"sm-pysdk-t-{one}.s3.{one}.amazonaws.com" for one in regions("sagemaker")]


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    context: ssl.SSLContext
    target: tuple[str, int]


class _Connection(socketserver.StreamRequestHandler):
    server: _Server

    def handle(self) -> None:
        request = self.rfile.readline(CHUNK).decode("latin-1").split()
        while self.rfile.readline(CHUNK) not in (b"\r\n", b"\n", b""):
            pass  # the headers of a CONNECT carry nothing that we need
        if len(request) != 3:
            return
        method, address, _ = request
        host = address.rpartition(":")[0]
        telemetry = TELEMETRY_HOST.fullmatch(host)
        if method != "CONNECT" or not (telemetry or STS_HOST.fullmatch(host)):
            self._refuse(address)
            return
        self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with contextlib.suppress(OSError):  # either side may close the connection at any time
            inside = self.server.context.wrap_socket(self.connection, server_side=True)
            with inside:
                if telemetry:
                    inside.recv(CHUNK)
                    inside.sendall(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
                    return
                with socket.create_connection(self.server.target) as stub:
                    relay(inside, stub)

    def _refuse(self, address: str) -> None:
        body = f"The stub AWS lets nothing out to the network: {address} was refused.\n".encode()
        self.wfile.write(
            b"HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain\r\nConnection: close\r\n"
            b"Content-Length: " + str(len(body)).encode() + b"\r\n\r\n" + body
        )


def relay(inside: ssl.SSLSocket, stub: socket.socket) -> None:
    """Copy bytes both ways until one side ends."""
    other: dict[socket.socket, socket.socket] = {inside: stub, stub: inside}
    with selectors.DefaultSelector() as selector:
        for end in other:
            selector.register(end, selectors.EVENT_READ, data=end)
        while True:
            ready: list[socket.socket] = [key.data for key, _ in selector.select()]
            # TLS may hold decrypted bytes that the selector does not see.
            for end in ready:
                data = end.recv(CHUNK)
                while end is inside and inside.pending():
                    data += inside.recv(CHUNK)
                if not data:
                    return
                other[end].sendall(data)
