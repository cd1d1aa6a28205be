"""What a page may load and do, as a content security policy: exactly what stands in it, and nothing that was put in later."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser
from typing import Final

_ALWAYS: Final = (
    "default-src 'none'; connect-src 'self'; img-src 'self' data:; font-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def content_policy(page: str) -> str:
    """The ``Content-Security-Policy`` of a page: scripts and style sheets by their whole addresses, scripts in place by hash.

    Of styles in place there is no telling: libraries of user interfaces write them while they run.
    """
    found = _Found()
    found.feed(page)
    found.close()
    return f"{_ALWAYS}; script-src {_listed(found.scripts)}; style-src {_listed(found.styles)} 'unsafe-inline'"


def _listed(sources: list[str]) -> str:
    return " ".join(sources) or "'none'"


class _Found(HTMLParser):
    """The sources that a page names or has."""

    def __init__(self) -> None:
        super().__init__()
        self.scripts: list[str] = []
        self.styles: list[str] = []
        self._in_place: list[str] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        source = given.get("src") if tag == "script" else given.get("href")
        if tag == "script" and source:
            self.scripts.append(source)
        elif tag == "link" and given.get("rel") == "stylesheet" and source:
            self.styles.append(source)
        self._in_place = [] if tag == "script" and not source else None

    def handle_data(self, data: str) -> None:
        if self._in_place is not None:
            self._in_place.append(data)

    def handle_endtag(self, tag: str) -> None:
        if self._in_place is not None:
            digest = sha256("".join(self._in_place).encode()).digest()
            self.scripts.append(f"'sha256-{b64encode(digest).decode()}'")
        self._in_place = None
