"""The answer that a script's `output_fn` returns."""

from __future__ import annotations

from typing import Any


class Response:
    """An HTTP answer whose type is what the client accepts.

    On an endpoint of AWS's it is Flask's; a training job serves nothing, and only keeps it.
    """

    def __init__(
        self,
        response: Any = None,
        accept: str | None = None,
        status: int = 200,
        mimetype: str | None = None,
    ) -> None:
        self.response = response
        self.status_code = status
        self.mimetype = accept or mimetype

    def get_data(self, as_text: bool = False) -> bytes | str:
        """Return the body, as bytes or as text."""
        body = self.response or b""
        content = body.encode() if isinstance(body, str) else bytes(body)
        return content.decode() if as_text else content
