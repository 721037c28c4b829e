"""Serves the stub by HTTP: moto for most of AWS, our provider for training, a gate before both."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import Any

from flask import Flask
from moto.backends import SERVICE_NAMES
from moto.core.utils import convert_to_flask_response
from moto.moto_server.werkzeug_app import (
    HTTP_METHODS,
    BackendRequest,
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import make_server

from .account import ACCOUNT_ID
from .authorization import Gate
from .console import Console, PriceList, Reader
from .executor import Executor
from .moto_s3 import mend
from .provider import TrainingProvider, bind
from .proxy import POLL_S
from .quotas import QUOTAS
from .run import Platform
from .store import Store
from .wsgi import Environ, WSGIApp, error_response


class Server:
    """Serves the stub's API on a free port of the loopback address, in threads of this process."""

    def __init__(
        self, region: str, quotas: dict[str, int] | None = None, account_id: str = ACCOUNT_ID
    ) -> None:
        self._http = make_server(
            "127.0.0.1", 0, app=_not_ready, threaded=True, request_handler=_QuietHandler
        )
        self.address: tuple[str, int] = ("127.0.0.1", self._http.server_port)
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self._region = region
        mend()
        self.store = Store()
        self.quotas = QUOTAS if quotas is None else quotas
        platform = Platform(self.store, self.url, region)
        self.executor = Executor(platform)
        provider = bind(platform, self.executor, self.quotas)
        self.gate = Gate(Loud(DomainDispatcherApplication(_app_factory(provider))), account_id)
        self._http.app = self.gate
        self._thread = threading.Thread(
            target=self._http.serve_forever, args=(POLL_S,), daemon=True
        )
        self._thread.start()

    def serve_console(
        self, credentials: Callable[[], dict[str, str]], prices: PriceList | None
    ) -> str:
        """Put the console beside the API, and return its address.

        Args:
            credentials: Of its user; asked for when somebody opens it.
            prices: By which it computes costs; None where there are none.
        """
        console = Console(
            self._http.app,
            self._http.server_port,
            lambda: Reader(self.url, self._region, credentials(), prices),
        )
        self._http.app = console
        return console.url

    def close(self) -> None:
        """End every job, then the server."""
        self.executor.close()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


class _QuietHandler(MotoRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps connections open between a client's calls

    def log_request(self, *_: Any) -> None:
        """Log no line per request: the terminal belongs to the command that runs on the stub."""


def _not_ready(environ: Environ, start_response: Callable[..., Any]) -> Any:
    return error_response(environ, 503, "ServiceUnavailable", "Starting.")(environ, start_response)


def _app_factory(provider: type[TrainingProvider]) -> Callable[[SERVICE_NAMES], Flask]:
    """Return moto's own factory of one application per service, except for SageMaker."""

    def create(service: SERVICE_NAMES) -> Flask:
        return _sagemaker_app(provider) if service == "sagemaker" else create_backend_app(service)

    return create


def _sagemaker_app(provider: type[TrainingProvider]) -> Flask:
    app = Flask("sagemaker")
    app.request_class = BackendRequest
    app.debug = True  # let exceptions out to `Loud`
    view = convert_to_flask_response(provider.dispatch)
    app.add_url_rule("/", endpoint="sagemaker", methods=HTTP_METHODS, view_func=view)
    return app


class Loud:
    """Answers what nobody wrote yet with an error that names the operation (WSGI middleware)."""

    def __init__(self, app: WSGIApp) -> None:
        self._app = app

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Any:
        if environ["PATH_INFO"].startswith("/moto-api"):  # could reset the state; not AWS's
            return self._refuse(environ, environ["PATH_INFO"])(environ, start_response)
        try:
            return self._app(environ, start_response)
        except NotImplementedError as error:
            return self._refuse(environ, operation(environ, str(error)))(environ, start_response)

    @staticmethod
    def _refuse(environ: Environ, what: str) -> Any:
        # 501, since clients would retry a 500 for many seconds.
        return error_response(
            environ, 501, "NotImplemented", f"The stub AWS does not implement {what}."
        )


def operation(environ: Environ, otherwise: str) -> str:
    """Return the name of the operation that a request asks for, e.g. `logs:TestMetricFilter`."""
    service = re.search(r"/([a-z0-9-]+)/aws4_request", environ.get("HTTP_AUTHORIZATION", ""))
    target = environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2]
    if service and target:
        return f"{service[1]}:{target}"
    return otherwise
