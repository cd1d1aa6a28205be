"""What a front end may be sent: HTTP requests and WebSocket sessions, from quite right to no protocol at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from hypothesis import strategies as st

from tests.fuzzed_documents import ANY_JSON, CURSOR, HOSTILE, JOB, TEXTS, operations

Draw = Callable[..., Any]


@dataclass(frozen=True)
class HttpRequest:
    """A request as bytes are made of it. ``framing`` says how the length of the body is told."""

    method: bytes
    target: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    framing: str = "length"
    spoiling: tuple[tuple[int, int], ...] = ()
    """Positions in thousandths of the whole request, and what is put there."""

    @property
    def is_unsure(self) -> bool:
        """Whether the gateway may have cause to wait for more, so that it has to be told that nothing follows."""
        return self.framing not in ("length", "chunked") or bool(self.spoiling)

    def encoded(self, known: dict[str, str]) -> bytes:
        """The request with the ids and cursors that there are by now."""
        body = filled(self.body, known)
        framing, sent = _FRAMINGS[self.framing](body)
        lines = [b"%s %s HTTP/1.1" % (self.method, self.target), b"host: x", b"connection: close"]
        lines += [b"%s: %s" % header for header in self.headers] + framing
        whole = bytearray(b"\r\n".join(lines) + b"\r\n\r\n" + sent)
        for place, byte in self.spoiling:
            whole[place * (len(whole) - 1) // 1000] = byte
        return bytes(whole)


def filled(text: bytes, known: dict[str, str]) -> bytes:
    """The text with what its marks stand for."""
    for mark in (JOB, CURSOR):
        text = text.replace(mark.encode(), known[mark].encode())
    return text


def _in_chunks(body: bytes) -> bytes:
    parts = [body[:7], body[7:]]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts if part)


_FRAMINGS: Final[dict[str, Callable[[bytes], tuple[list[bytes], bytes]]]] = {
    "length": lambda body: ([b"content-length: %d" % len(body)], body),
    "chunked": lambda body: ([b"transfer-encoding: chunked"], _in_chunks(body) + b"0\r\n\r\n"),
    "none": lambda body: ([], body),
    "longer": lambda body: ([b"content-length: %d" % (len(body) + 9)], body),
    "shorter": lambda body: ([b"content-length: %d" % (len(body) // 2)], body),
    "negative": lambda body: ([b"content-length: -1"], body),
    "huge": lambda body: ([b"content-length: 99999999999999999999"], body),
    "twice": lambda body: ([b"content-length: %d" % len(body), b"content-length: 1"], body),
    "both": lambda body: ([b"content-length: 3", b"transfer-encoding: chunked"], _in_chunks(body) + b"0\r\n\r\n"),
    "unfinished": lambda body: ([b"transfer-encoding: chunked"], _in_chunks(body)),
    "no chunks": lambda body: ([b"transfer-encoding: chunked"], body),
    "unknown": lambda body: ([b"transfer-encoding: gzip"], body),
}


def mostly(usual: st.SearchStrategy[Any], odd: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """The usual three times in four: ``one_of`` takes what it is given several times for one."""
    return st.integers(0, 3).flatmap(lambda drawn: odd if drawn == 3 else usual)


# ---------------------------------------------------------------- bodies


def _dumped(value: Any) -> bytes:
    return json.dumps(value).encode()


@st.composite
def payloads(draw: Draw) -> dict[str, Any]:
    """The members of a request, most of them right."""
    operation = draw(mostly(operations(), operations(spoilt=True)))
    payload: dict[str, Any] = {"query": operation.document, "variables": operation.variables}
    match draw(st.sampled_from([*[""] * 9, "name", "drop", "replace", "add", "variable", "document"])):
        case "name":
            payload["operationName"] = draw(st.sampled_from(["X", "Y", "", None]) | HOSTILE)
        case "drop":
            del payload[draw(st.sampled_from(["query", "variables"]))]
        case "replace":
            payload[draw(st.sampled_from(["query", "variables", "operationName", "extensions"]))] = draw(HOSTILE)
        case "add":
            payload[draw(TEXTS)] = draw(HOSTILE)
        case "variable":
            payload["variables"] |= {draw(st.sampled_from(["v0", "v1", "x"])): draw(HOSTILE)}
        case "document":
            payload["query"] = draw(_broken(operation.document))
    return payload


def _broken(document: str) -> st.SearchStrategy[str]:
    places = st.integers(0, len(document))
    return st.one_of(
        places.map(lambda place: document[:place]),
        places.map(lambda place: document[:place] + document[place + 1 :]),
        st.tuples(
            places, st.text(max_size=3) | st.sampled_from(["{", "}", "...", "$", '"', '"""', "#", "@skip(if: 1)"])
        ).map(lambda both: document[: both[0]] + both[1] + document[both[0] :]),
        st.just(document * 2),
        st.just(f"{document} fragment F on Job {{ ...F }}"),
        st.just("query " + "{ a " * 400 + "}" * 400),
        st.just("{ " + " ".join(f"a{n}: __typename @include(if: true)" for n in range(300)) + " }"),
    )


_ODD_BODIES: Final = st.sampled_from(
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b'{"query": "\xff"}',
        b'{"query": "{ __typename }", "query": 5}',
        rb'{"query": "{ job(id: \"\ud800\") { id } }"}',
        b"\xef\xbb\xbf{}",
        b"[" * 20_000,
        b'{"variables":' * 3000 + b"1" + b"}" * 3000,
        b'{"query": "{ __typename }", "variables": {"a": ' + b"[" * 900 + b"]" * 900 + b"}}",
        b'{"query": "{ __typename }", "variables": {"a": ' + b"9" * 5000 + b"}}",
        b'{"query": "{ __typename }", "variables": {"a": 1e999, "b": -0.0, "c": 1E-9999}}',
        b'{"query": "query ($i: JSON!) { __typename }", "variables": {"i": {"' + b"k" * 70_000 + b'": 1}}}',
        b"{" + b'"a": 1,' * 9000 + b'"query": "{ __typename }"}',
        b"\x00" * 100,
        b"--x\r\ncontent-disposition: form-data; name=operations\r\n\r\n{}\r\n--x--\r\n",
        b"query=%7B+__typename+%7D",
    ]
)


@st.composite
def _mutated(draw: Draw, body: bytes) -> bytes:
    spoilt = bytearray(body)
    match draw(st.sampled_from(["flip", "cut", "double", "end"])):
        case "flip":
            for place in draw(st.lists(st.integers(0, max(len(body) - 1, 0)), min_size=1, max_size=4)):
                spoilt[place] = draw(st.integers(0, 255))
        case "cut":
            del spoilt[draw(st.integers(0, len(body))) :]
        case "double":
            spoilt += body
        case "end":
            spoilt += draw(st.binary(min_size=1, max_size=8))
    return bytes(spoilt)


_WELL_FORMED: Final = payloads().map(_dumped)
_ODD: Final = st.one_of(
    payloads().map(_dumped).flatmap(_mutated),
    st.lists(payloads(), max_size=3).map(_dumped),
    ANY_JSON.map(_dumped),
    _ODD_BODIES,
    st.binary(max_size=60),
)

BODIES: Final = mostly(_WELL_FORMED, _ODD)

# ---------------------------------------------------------------- requests

_JSON: Final = (b"content-type", b"application/json")
_TYPES: Final = st.sampled_from(
    [
        *(
            b"application/json; charset=utf-16",
            b"APPLICATION/JSON",
            b"application/json;",
            b"text/plain",
            b"",
            b"/",
            b";",
        ),
        *(b"multipart/form-data", b"multipart/form-data; boundary=x", b"application/x-www-form-urlencoded"),
        *(
            b"application/graphql",
            b"application/json, text/plain",
            b"\xff\xfe",
            b"application/json\t; a=" + b"b" * 2000,
        ),
    ]
).map(lambda value: (b"content-type", value))
_ACCEPTS: Final = st.sampled_from(
    [
        *(b"application/json", b"application/graphql-response+json", b"text/event-stream", b"*/*", b"text/html", b""),
        *(
            b"application/json;q=0",
            b"text/event-stream;q=0.5, application/json;q=nan",
            b"multipart/mixed; a=1",
            b"q=;,,;=",
        ),
        *(b"\xff", b", " * 500, b"text/event-stream, application/graphql-response+json;q=1e9"),
    ]
).map(lambda value: (b"accept", value))
_OTHERS: Final = st.sampled_from(
    [
        *(
            (b"content-encoding", b"gzip"),
            (b"accept-encoding", b"br;q=x"),
            (b"expect", b"100-continue"),
            (b"expect", b"200-ok"),
        ),
        *(
            (b"origin", b"null"),
            (b"origin", b"\xff"),
            (b"cookie", b"a=b; \x01"),
            (b"x-forwarded-for", b"' or 1"),
            (b"te", b"trailers"),
        ),
        *(
            (b"last-event-id", b"@cursor@"),
            (b"last-event-id", b"\xff"),
            (b"last-event-id", b""),
            (b"authorization", b"Bearer \xe9"),
        ),
        *(
            (b"upgrade", b"websocket"),
            (b"upgrade", b"h2c"),
            (b"connection", b"upgrade"),
            (b"host", b"a b"),
            (b"range", b"bytes=0-"),
        ),
        *(
            (b"sec-websocket-key", b"x"),
            (b"sec-websocket-version", b"99"),
            (b"x" * 900, b"y"),
            (b"x", b"y" * 9000),
            (b"a b", b"c"),
        ),
        *(
            (b"if-none-match", b"*"),
            (b"x-request-id", b"\x7f"),
            (b"", b"x"),
            (b"forwarded", b"for=_"),
            (b"traceparent", b"00-0-0-0"),
        ),
    ]
)
_METHODS: Final = st.sampled_from(
    [
        *[b"POST"] * 14,
        b"GET",
        b"GET",
        b"HEAD",
        b"OPTIONS",
        b"PUT",
        b"DELETE",
        b"TRACE",
        b"CONNECT",
        b"post",
        b"P\xff",
        b"",
        b"PRI",
    ]
)
_TARGETS: Final = st.sampled_from(
    [
        *[b"/graphql"] * 14,
        *(
            b"/graphql/",
            b"/graphql?query=%7B__typename%7D",
            b"/graphql?query=%ff&variables=5&operationName=%00",
            b"/graphql?",
        ),
        *(
            b"/graphql?query=subscription%7BjobEvents%7Btype%7D%7D&variables=%7B",
            b"/graphql?extensions=[",
            b"//graphql",
            b"/",
        ),
        *(
            b"/healthz",
            b"/readyz",
            b"/healthz/../graphql",
            b"*",
            b"",
            b"/%",
            b"/\xff",
            b"http://a/graphql",
            b"/graphql#x",
        ),
        *(b"/" + b"a" * 9000, b"/graphql%00", b"/graphql?a=" + b"%F0%9F" * 300),
    ]
)


@st.composite
def http_requests(draw: Draw) -> HttpRequest:
    """A request of which one thing or another may be odd, and seldom all."""
    request = HttpRequest(b"POST", b"/graphql", (_JSON,), draw(BODIES))
    odd = ["", "", "", "", "", "target", "type", "accept", "accept", "other", "framing", "bytes"]
    for part in draw(st.tuples(st.sampled_from(odd), st.sampled_from(odd))):
        match part:
            case "target":
                request = replace(request, method=draw(_METHODS), target=draw(_TARGETS))
            case "type":
                request = replace(request, headers=draw(st.just(()) | _TYPES.map(lambda header: (header,))))
            case "accept":
                request = replace(request, headers=(*request.headers, draw(_ACCEPTS)))
            case "other":
                request = replace(request, headers=(*request.headers, *draw(st.lists(_OTHERS, min_size=1, max_size=3))))
            case "framing":
                request = replace(request, framing=draw(st.sampled_from(sorted(_FRAMINGS))))
            case "bytes":
                places = st.tuples(st.integers(0, 1000), st.integers(0, 255))
                request = replace(request, spoiling=tuple(draw(st.lists(places, min_size=1, max_size=3))))
    return request
