"""What is raised wherever a request is not served; HTTP makes an answer of it (stream/http/server.py)."""

from __future__ import annotations

from collections.abc import Mapping


class RequestRefused(Exception):
    """A request that is not served; the text is shown to whoever sent it."""

    def __init__(
        self,
        status: int,
        text: str,
        retry_after_s: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """status: of HTTP. retry_after_s: when to ask again, where that is known. headers: of the answer."""
        super().__init__(text)
        self.status = status
        self.retry_after_s = retry_after_s
        self.headers = headers or {}
