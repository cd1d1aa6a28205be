"""What a WebSocket may be sent: sessions of ``graphql-transport-ws``, and of nothing that there is."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from hypothesis import strategies as st

from tests.fuzzed_documents import ANY_JSON, HOSTILE, TEXTS
from tests.fuzzing import mostly, payloads

Draw = Callable[..., Any]


@dataclass(frozen=True)
class Step:
    """Something that a client does. ``kind``: ``text`` and ``binary`` are whole messages, ``fragments`` one in several frames,
    ``broken`` goes below all frames.
    """

    kind: str
    content: bytes = b""
    connection: int = 0


@dataclass(frozen=True)
class Session:
    """What clients do who come together; each connects when it is first needed."""

    protocols: tuple[str, ...]
    steps: tuple[Step, ...]


_IDS: Final = st.sampled_from(["1", "1", "2", "3", "4", "5", "6", "7", "é", "x" * 300, ""])
_KINDS: Final = [
    "connection_init",
    "ping",
    "pong",
    "subscribe",
    "complete",
    "next",
    "error",
    "connection_ack",
    "start",
    "",
]


@st.composite
def messages(draw: Draw) -> Any:
    """A message of the protocol, whole or not."""
    kind = draw(st.sampled_from([*_KINDS, *["subscribe"] * 40, "complete", "ping"]))
    message: dict[str, Any] = {"type": kind}
    if kind in ("subscribe", "complete", "next", "error", "start"):
        message["id"] = draw(_IDS)
    if kind in ("subscribe", "start"):
        message["payload"] = draw(payloads())
    elif draw(st.booleans()):
        message["payload"] = draw(HOSTILE | st.just({}))
    match draw(st.sampled_from([*[""] * 15, "drop", "replace", "add"])):
        case "drop":
            del message[draw(st.sampled_from(sorted(message)))]
        case "replace":
            message[draw(st.sampled_from(["type", "id", "payload"]))] = draw(HOSTILE)
        case "add":
            message[draw(TEXTS)] = draw(HOSTILE)
    return message


def frame(head: int, content: bytes, mask: bytes = bytes(4)) -> bytes:
    """A frame as a client sends it, its content under 64 KB; the mask is taken to change nothing."""
    length = bytes([0x80 | len(content)]) if len(content) < 126 else b"\xfe" + len(content).to_bytes(2)
    return bytes([head]) + length + mask + content


def in_fragments(content: bytes) -> bytes:
    """The frames of a text: cut in the middle of a character, too, and with a ping in between, as is allowed."""
    cut = len(content) // 2
    return frame(0x01, content[:cut]) + frame(0x89, b"p") + frame(0x80, content[cut:])


def _encoded(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode(errors="surrogatepass")


_ODD_TEXTS: Final = st.sampled_from(
    [
        *(
            b"",
            b"5",
            b"[]",
            b"null",
            b"{",
            b"NaN",
            b'"\xed\xa0\x80"',
            b"\xff",
            b'{"type": "ping", "payload": {"a": NaN}}',
        ),
        *(b"[" * 5000, b'{"type":' * 2000, b'{"type": "ping", "payload": {"a": ' + b"9" * 5000 + b"}}", b"\x00"),
        *(
            rb'{"type": "subscribe", "id": "\ud800", "payload": {"query": "{ __typename }"}}',
            b'{"type": "ping", "type": 5}',
        ),
        rb'{"type": "subscribe", "id": "1", "payload": {"query": "{ __typename }", "variables": {"a": "\udfff"}}}',
    ]
)
_RAW: Final = st.one_of(
    st.binary(min_size=1, max_size=20),
    st.sampled_from(
        [
            *(
                frame(0x83, b""),
                frame(0xA1, b"{}"),
                frame(0x81, b"\xc3("),
                frame(0x80, b"{}"),
                b"\x81\x02{}",
                b"\x81\xff" + b"\xff" * 12,
            ),
            *(
                frame(0x01, b"{") + frame(0x01, b"}"),
                frame(0x89, b"x" * 200),
                frame(0x88, b"\x00"),
                frame(0x88, b"\x03\xe8" + b"\xff"),
            ),
            *(
                frame(0x88, (3000).to_bytes(2)),
                frame(0x88, (65535).to_bytes(2)),
                frame(0xC1, b"\x00\x00\xff\xff"),
                b"GET / HTTP/1.1\r\n\r\n",
            ),
        ]
    ),
)
_TEXTS: Final = mostly(messages().map(_encoded), mostly(messages().map(_encoded), ANY_JSON.map(_encoded) | _ODD_TEXTS))


@st.composite
def _steps(draw: Draw) -> Step:
    which = draw(st.sampled_from([0, 0, 0, 0, 1, 2]))
    match draw(st.sampled_from([*["text"] * 20, *["fragments"] * 3, "binary", "raw", "vanish"])):
        case "text":
            return Step("text", draw(_TEXTS), which)
        case "binary":
            return Step("binary", draw(_TEXTS | st.binary(max_size=20)), which)
        case "fragments":
            return Step("fragments", draw(_TEXTS)[:60_000], which)
        case "raw":
            return Step("broken", draw(_RAW), which)
        case _:
            return Step("vanish", b"", which)


_PROTOCOLS: Final = st.sampled_from(
    [
        *[("graphql-transport-ws",)] * 40,
        *(
            ("graphql-ws",),
            ("graphql-ws", "graphql-transport-ws"),
            (),
            ("x",),
            ("GRAPHQL-TRANSPORT-WS",),
            ("x" * 500, "a", "b"),
        ),
    ]
)
_INIT: Final = Step("text", b'{"type": "connection_init"}')


@st.composite
def sessions(draw: Draw) -> Session:
    """A few steps, most of them behind the greeting."""
    greeting = (_INIT,) if draw(st.integers(0, 9)) else ()
    return Session(draw(_PROTOCOLS), (*greeting, *draw(st.lists(_steps(), min_size=1, max_size=8))))
