"""What ``http.request`` proves with who calls: named in a job's input, told by a file of the worker's own, sent to a few
origins only."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, Self, TypeAlias

import httpx
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    RootModel,
    SecretStr,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from jobs.addresses import BadUrl, parse_url
from jobs.errors import JobgateError
from worker.http_headers import HEADER_NAME, HEADER_VALUE, SET_BY_WORKER

_NAME: Final = r"^[A-Za-z0-9_.-]{1,100}$"
_DEFAULT_PORTS: Final = {"https": 443, "http": 80}
_SHORTEST: Final = 4
"""The mask of anything shorter would make answers grow beyond what a result may hold."""
_Sent: TypeAlias = tuple[str, str, tuple[str, ...]]
"""Name and value of the header that is sent, and the secrets in it."""


class BadCredentials(JobgateError):
    """The file of credentials is of no use; the message says where, and shows no value."""


@dataclass(frozen=True, slots=True)
class Credential:
    """A header that proves who calls, and where it may be sent."""

    header: str
    """Its name, in lower case."""
    value: str = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)
    """What must not be told of an answer that quotes it, the longest first."""
    origins: frozenset[str]
    products: frozenset[str] | None = None
    """Whose jobs may name it; None: those of all."""
    envs: frozenset[str] | None = None

    def is_for(self, product: str, env: str) -> bool:
        """Whether a job of this product and env may name it."""
        return (self.products is None or product in self.products) and (self.envs is None or env in self.envs)


Credentials: TypeAlias = Mapping[str, Credential]
"""By the name that inputs call them by."""


def load_credentials(path: str, *, allow_http: bool) -> Credentials:
    """The credentials of a file; none where the path is empty. Raises :class:`BadCredentials`.

    ``allow_http``: they may be sent to origins without TLS.
    """
    if not path:
        return {}
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise BadCredentials(f"the credentials in {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise BadCredentials(f"the credentials in {path} are not text in UTF-8") from None
    try:
        return read_credentials(text, allow_http=allow_http)
    except BadCredentials as error:
        raise BadCredentials(f"the credentials in {path}: {error}") from None


def read_credentials(text: str, *, allow_http: bool) -> Credentials:
    """The credentials that a JSON text tells. Raises :class:`BadCredentials`."""
    try:
        entries = _FILE.validate_python(json.loads(text))
    except ValidationError as error:
        raise BadCredentials("; ".join(_explained(error))) from None
    except (ValueError, RecursionError):
        raise BadCredentials("not JSON") from None
    return {name: _credential(name, entry, allow_http=allow_http) for name, entry in entries.items()}


def origin_of(url: httpx.URL) -> str:
    """Scheme, host and port of a URL, always with the port."""
    host = f"[{url.host}]" if ":" in url.host else url.host
    return f"{url.scheme}://{host}:{url.port or _DEFAULT_PORTS[url.scheme]}"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Bearer(RootModel[SecretStr]):
    def sent(self) -> _Sent:
        token = self.root.get_secret_value()
        return "authorization", f"Bearer {token}", (token,)


class _Basic(_Strict):
    user: Annotated[str, Field(pattern=r"^[\x20-\x7e]*$")]
    password: SecretStr

    @field_validator("user")
    @classmethod
    def _has_no_colon(cls, user: str) -> str:
        if ":" in user:
            raise ValueError("must not have a colon")
        return user

    def sent(self) -> _Sent:
        password = self.password.get_secret_value()
        both = b64encode(f"{self.user}:{password}".encode()).decode()
        return "authorization", f"Basic {both}", (both, password)


class _Header(_Strict):
    name: str
    value: SecretStr

    def sent(self) -> _Sent:
        value = self.value.get_secret_value()
        return self.name, value, (value,)


class _Entry(_Strict):
    origins: Annotated[list[str], Field(min_length=1)]
    bearer: _Bearer | None = None
    basic: _Basic | None = None
    header: _Header | None = None
    products: list[str] | None = None
    envs: list[str] | None = None

    @property
    def ways(self) -> list[_Bearer | _Basic | _Header]:
        """How it proves who calls: one, once it is checked."""
        return [way for way in (self.bearer, self.basic, self.header) if way is not None]

    @model_validator(mode="after")
    def _has_one_way(self) -> Self:
        if len(self.ways) != 1:
            raise ValueError("must have one of bearer, basic, header")
        return self


_FILE: Final = TypeAdapter(dict[Annotated[str, Field(pattern=_NAME)], _Entry])


def _credential(name: str, entry: _Entry, *, allow_http: bool) -> Credential:
    [way] = entry.ways
    header, value, secrets = way.sent()
    if not HEADER_NAME.fullmatch(header) or header.lower() in SET_BY_WORKER:
        raise BadCredentials(f"{name}.header.name is not a header that may be set")
    if not HEADER_VALUE.fullmatch(value) or not value.isascii():
        raise BadCredentials(f"{name}: what is sent must be one line of ASCII")
    if min(map(len, secrets)) < _SHORTEST:
        raise BadCredentials(f"{name}: a secret must have {_SHORTEST} characters at least")
    return Credential(
        header.lower(),
        value,
        tuple(sorted({value, *secrets}, key=len, reverse=True)),
        frozenset(_origin(name, origin, allow_http=allow_http) for origin in entry.origins),
        None if entry.products is None else frozenset(entry.products),
        None if entry.envs is None else frozenset(entry.envs),
    )


def _origin(name: str, text: str, *, allow_http: bool) -> str:
    try:
        url = parse_url(text)
    except BadUrl as error:
        raise BadCredentials(f"{name}.origins: {text[:80]!r} {error}") from None
    if url.path not in ("", "/") or url.query or url.fragment or "?" in text or "#" in text:
        raise BadCredentials(f"{name}.origins: {text[:80]!r} is more than scheme, host and port")
    if url.scheme != "https" and not allow_http:
        raise BadCredentials(
            f"{name}.origins: {text[:80]!r} must begin with https://, so that nobody on the way can read it"
        )
    return origin_of(url)


def _explained(error: ValidationError) -> Iterator[str]:
    for problem in error.errors(include_url=False):
        place = ".".join(str(step) for step in problem["loc"]) or "the top"
        yield f"{place[:200]}: {_plain(problem)}"


def _plain(problem: Any) -> str:
    return str(problem["msg"]).removeprefix("Value error, ")
