"""Headers that have browsers treat every answer as what it is, and nothing more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_ALL_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}

DATA_HEADERS: Final[Mapping[str, str]] = {
    **_ALL_HEADERS,
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
"""For all but pages: an answer that a browser is led to show as one can do nothing."""

# GraphiQL loads its scripts from elsewhere and has some in place, so that nothing can be said of those.
_PAGE_HEADERS: Final[Mapping[str, str]] = {
    **_ALL_HEADERS,
    "Content-Security-Policy": "frame-ancestors 'none'; base-uri 'none'; object-src 'none'; form-action 'none'",
}


class SafeHeaders:
    """Middleware that adds them to HTTP answers; those that an answer has already stay."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                _complete(MutableHeaders(scope=message))
            await send(message)

        await self._app(scope, receive, send_safely)


def _complete(headers: MutableHeaders) -> None:
    is_page = headers.get("Content-Type", "").startswith("text/html")
    for name, value in (_PAGE_HEADERS if is_page else DATA_HEADERS).items():
        headers.setdefault(name, value)
