"""The task ``http.request``: calls a URL, so that many a job needs no handler of its own."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final, NoReturn

from jobs.addresses import AddressRefused, BadUrl, parse_url
from jobs.json_values import JsonValue, NotJson, check_json
from worker.context import TaskContext
from worker.guarded_http import Answer, ConnectionLost, GuardedHttp, Request, Resolve, TimedOut, Unreachable, resolve
from worker.http_credentials import Credential, Credentials, origin_of
from worker.http_headers import HEADER_NAME, HEADER_VALUE, PROVING, SET_BY_WORKER
from worker.masking import hidden, without_secrets
from worker.tasks import INVALID_INPUT, TaskDefinition, TaskError, define

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
MAX_TIMEOUT_MS: Final = 600_000

_DEFAULTS: Final = {"user-agent": "jobgate", "accept": "*/*"}
_FIELDS: Final = frozenset(("url", "method", "headers", "json", "body", "credential", "timeoutMs", "expectStatus"))
_PROVING: Final = "|".join("".join(f"[{c.upper()}{c}]" if c.isalpha() else c for c in name) for name in PROVING)
# Also behind a scheme that is wrong, and where the password has a slash, as far as that cannot be a path.
_WITH_USER: Final = r"^([^/?#]*/+)?([^/?#]*@|[^/?#:\[]*:[0-9]*[^0-9/?#][^@]*@)"
_SCHEMA: Final = {
    "properties": {
        "url": {
            "not": {
                "type": "string",
                "title": "a URL with a user or password: name a credential instead",
                "pattern": _WITH_USER,
            }
        },
        "headers": {
            "propertyNames": {
                "not": {
                    "title": "a header that proves who calls: name a credential instead",
                    "pattern": f"^({_PROVING})$",
                }
            }
        },
    }
}
"""No more than what has to be refused before it is stored; the rest is the handler's to check. The titles are told instead of
what is refused."""
# Neither a terminal nor a text file expects them, and written as JSON each is six bytes.
_CONTROLS: Final = dict.fromkeys({*range(0x20), 0x7F} - {ord("\t"), ord("\n"), ord("\r")}, "\N{REPLACEMENT CHARACTER}")
_MAX_HEADERS: Final = 16 * 1024
_EXCERPT: Final = 200


def http_request_task(
    allow_private: bool, resolve: Resolve = resolve, credentials: Credentials | None = None
) -> TaskDefinition:
    """The task. ``allow_private``: it may call private and loopback addresses, too."""
    handler = HttpRequest(GuardedHttp(allow_private=allow_private, resolve=resolve), credentials or {})
    return define("http.request", handler, input=_SCHEMA)


class HttpRequest:
    """Calls a URL: {"url": "https://…", "method": "POST", "headers": {}, "json": {}, "timeoutMs": 15000}.

    Answers {"status", "headers", "json" or "body", "truncated", "durationMs"}. Redirects are answered, not followed. Any
    other status than 2xx and 3xx fails with HTTP_404 and the like, unless "expectStatus": [404] lists it. With
    "credential": "billing" the worker proves who calls by what its settings have under this name.
    """

    def __init__(self, http: GuardedHttp, credentials: Credentials) -> None:
        self._http = http
        self._credentials = credentials

    async def __call__(self, context: TaskContext, value: JsonValue) -> JsonValue:
        given = _checked(value)
        request = _request(given)
        expected = _expected(given)
        timeout = _timeout(given)
        credential = self._credential(context, given, request)
        secrets: Sequence[str] = ()
        if credential is not None:
            request = replace(request, headers={**request.headers, credential.header: credential.value})
            secrets = credential.secrets
        answer = without_secrets(await self._send(request, timeout), secrets)
        if not 200 <= answer.status < 400 and answer.status not in expected:
            raise TaskError(f"HTTP_{answer.status}", _complaint(request, answer))
        return hidden(_told(answer), secrets)

    def _credential(self, context: TaskContext, given: dict[str, Any], request: Request) -> Credential | None:
        name = given.get("credential")
        if name is None:
            return None
        if not isinstance(name, str):
            _refuse("credential", "must be a string")
        found = self._credentials.get(name)
        if found is None or not found.is_for(context.product, context.env):
            # Of one for others, no more is told than of one that there is not.
            where = f"{context.product}/{context.env}"
            raise TaskError("CREDENTIAL_UNKNOWN", f"this worker has no credential {name[:100]!r} for {where}")
        origin = origin_of(request.url)
        if origin not in found.origins:
            raise TaskError("CREDENTIAL_REFUSED", f"the credential {name!r} may not be sent to {origin[:200]}")
        return found

    async def _send(self, request: Request, timeout: timedelta) -> Answer:
        try:
            return await self._http.send(request, timeout)
        except AddressRefused as error:
            raise TaskError("ADDRESS_REFUSED", str(error)) from error
        except Unreachable as error:
            raise TaskError("HTTP_UNREACHABLE", str(error)) from error
        except ConnectionLost as error:
            raise TaskError("HTTP_CONNECTION_LOST", str(error)) from error
        except TimedOut as error:
            raise TaskError("HTTP_TIMEOUT", str(error)) from error


def _refuse(field: str, complaint: str) -> NoReturn:
    raise TaskError(INVALID_INPUT, f"{field} {complaint}")


def _checked(value: JsonValue) -> dict[str, Any]:
    if not isinstance(value, dict):
        _refuse("the input", "must be an object")
    for field in value.keys() - _FIELDS:
        _refuse(repr(field[:100]), f"is not one of {', '.join(sorted(_FIELDS))}")
    return value


def _request(given: dict[str, Any]) -> Request:
    method = given.get("method", "GET")
    if method not in METHODS:
        _refuse("method", f"must be one of {', '.join(METHODS)}")
    if not isinstance(given.get("url"), str):
        _refuse("url", "must be a string")
    try:
        url = parse_url(given["url"])
    except BadUrl as error:
        _refuse("url", str(error))
    defaults, content = _content(given)
    return Request(method, url, _DEFAULTS | defaults | _headers(given), content)


def _content(given: dict[str, Any]) -> tuple[dict[str, str], bytes | None]:
    """The body, and the header that goes with it unless the caller gives another."""
    if "json" in given and "body" in given:
        _refuse("body", "and json cannot both be given")
    if "json" in given:
        return {"content-type": "application/json"}, json.dumps(given["json"], separators=(",", ":")).encode()
    if "body" not in given:
        return {}, None
    if not isinstance(given["body"], str):
        _refuse("body", "must be a string")
    return {"content-type": "text/plain; charset=utf-8"}, given["body"].encode()


def _headers(given: dict[str, Any]) -> dict[str, str]:
    headers = given.get("headers", {})
    if not isinstance(headers, dict):
        _refuse("headers", "must be an object")
    for name, value in headers.items():
        if not HEADER_NAME.fullmatch(name):
            _refuse("headers", f"has {name[:100]!r}, which is not the name of a header")
        if name.lower() in PROVING:
            _refuse(f"headers.{name}", "proves who calls: name a credential instead")
        if name.lower() in SET_BY_WORKER:
            _refuse(f"headers.{name}", "is set by the worker")
        if not isinstance(value, str) or not HEADER_VALUE.fullmatch(value):
            _refuse(f"headers.{name}", "must be one line of text")
    return {name.lower(): value for name, value in headers.items()}


def _timeout(given: dict[str, Any]) -> timedelta:
    value = given.get("timeoutMs", 15_000)
    if type(value) not in (int, float) or not 1 <= value <= MAX_TIMEOUT_MS:
        _refuse("timeoutMs", f"must be a number from 1 to {MAX_TIMEOUT_MS}")
    return timedelta(milliseconds=value)


def _expected(given: dict[str, Any]) -> list[int]:
    statuses = given.get("expectStatus", [])
    if not isinstance(statuses, list) or not all(type(status) is int and 100 <= status <= 599 for status in statuses):
        _refuse("expectStatus", "must be a list of statuses such as 404")
    return statuses


def _told(answer: Answer) -> dict[str, JsonValue]:
    """The answer as a result: never more than a job may hold, so that a run cannot fail for what somebody else sent."""
    told = {
        "status": answer.status,
        "headers": _kept(answer.headers),
        "truncated": answer.is_truncated,
        "durationMs": round(answer.duration.total_seconds() * 1000),
    }
    if "json" in answer.headers.get("content-type", ""):
        parsed = told | _parsed(answer.body)
        if "json" in parsed and _is_storable(parsed):
            return parsed
    return told | {"body": _text(answer)}


def _parsed(body: bytes) -> dict[str, JsonValue]:
    """``{"json": …}``, or nothing when the body is not JSON, e.g. because it was cut."""
    try:
        return {"json": json.loads(body)}
    # Deeper than the interpreter's stack, the parser gives up with the second.
    except (ValueError, RecursionError):
        return {}


def _is_storable(value: JsonValue) -> bool:
    try:
        check_json(value)
    except NotJson:
        return False
    return True


def _text(answer: Answer) -> str:
    # Only these two are in use, and other codecs of Python's can be made to take their time.
    is_latin = "iso-8859-1" in answer.headers.get("content-type", "").lower()
    return answer.body.decode("latin-1" if is_latin else "utf-8", errors="replace").translate(_CONTROLS)


def _kept(headers: Mapping[str, str]) -> dict[str, str]:
    """As many headers as fit into :data:`_MAX_HEADERS` characters, in the order in which they came."""
    kept, room = {}, _MAX_HEADERS
    for name, value in headers.items():
        room -= len(name) + len(value)
        if room < 0:
            break
        kept[name] = value.translate(_CONTROLS)
    return kept


def _complaint(request: Request, answer: Answer) -> str:
    # Without the path and the query, where secrets may be: an error is shown to more people than an input.
    said = _text(answer)[:_EXCERPT].strip()
    return f"{request.method} {request.url.host} answered {answer.status}" + (f": {said}" if said else "")
