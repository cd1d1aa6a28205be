"""Looking for secrets where none may be: in all that was ever written to the servers of the tests, and in what was logged.

Keys, tokens and secrets of webhooks are known by their shape, whoever has made them; others are noted by those who make them.
"""

from __future__ import annotations

import base64
import json
import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar, cast
from urllib.parse import quote

import redis
from pymongo import MongoClient

SHAPES: Final = {
    "an API key": re.compile(rb"jg_[A-Za-z0-9]{8}_[A-Za-z0-9_-]{43}"),
    "an API key in base64": re.compile(rb"amdf[A-Za-z0-9+/_-]{69}"),
    "an API key in hex": re.compile(rb"6a675f(?:[0-9a-f]{2}){52}"),
    "a token": re.compile(rb"eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{16,}"),
    "the secret of a webhook": re.compile(rb"whsec_[A-Za-z0-9+/]{32,}"),
}
"""What is usable of itself. Hashes, ids and what is sealed have none of these shapes."""

_AROUND: Final = 80

Text = TypeVar("Text", str, bytes)

NOTED: Final[dict[bytes, str]] = {}
"""Spellings of secrets without a shape, and what each is."""

HITS: Final[list[str]] = []
"""What was found where nothing may be; a test run that has some fails."""


def secret(value: Text, what: str) -> Text:
    """A secret that has no shape, to be looked for from now on."""
    for spelling in spellings(value.encode() if isinstance(value, str) else value):
        NOTED[spelling] = what
    return value


def spellings(value: bytes) -> set[bytes]:
    """Ways to write a secret: as it is, in hex, in an address, in JSON, and in base64, there also in the midst of more."""
    ways = {value, value.hex().encode(), value.hex().upper().encode(), quote(value, safe="").encode()}
    try:
        ways |= {
            json.dumps(value.decode())[1:-1].encode(),
            json.dumps(value.decode())[1:-1].replace("/", "\\/").encode(),
        }
    except UnicodeDecodeError:
        ways.add(repr(value)[2:-1].encode())
    for before in range(3):
        # Of the first and last character, some bits are those of what stands beside it.
        whole = base64.b64encode(b"\0" * before + value).rstrip(b"=")
        inner = whole[-(-before * 8 // 6) : len(whole) if (before + len(value)) % 3 == 0 else -1]
        ways |= {inner, inner.replace(b"+", b"-").replace(b"/", b"_")}
    return ways


def findings(place: str, data: bytes, exact: Mapping[bytes, str] = NOTED) -> list[str]:
    """What secrets there are in ``data``, each with some of what stands around it."""
    found = [(what, match.start()) for what, shape in SHAPES.items() for match in shape.finditer(data)]
    found += [(what, data.index(spelling)) for spelling, what in exact.items() if spelling in data]
    return [f"{what} in {place}: …{data[max(0, at - _AROUND) : at + _AROUND]!r}…" for what, at in found]


def mongodb_content(url: str) -> Iterator[tuple[str, bytes]]:
    """All that is in all databases, and all that was ever written to any: the log that members of a replica set have of it."""
    with MongoClient[dict[str, Any]](url) as client:
        for database in client.list_database_names():
            for collection in client[database].list_collection_names(filter={"type": {"$ne": "view"}}):
                for batch in client[database][collection].find_raw_batches():
                    # The annotation of the driver has documents.
                    yield f"{database}.{collection}", cast("bytes", batch)


def redis_content(url: str) -> Iterator[tuple[str, bytes]]:
    """All that is in all databases of a Redis."""
    for number in range(16):
        with redis.Redis.from_url(url, db=number) as client:
            for key in client.scan_iter(count=1000):
                yield f"Redis {number}", key + b" " + repr(_value(client, key)).encode() + b" " + _raw(client, key)


def _value(client: Any, key: bytes) -> Any:
    match client.type(key):
        case b"string":
            return client.get(key)
        case b"hash":
            return client.hgetall(key)
        case b"list":
            return client.lrange(key, 0, -1)
        case b"set":
            return client.smembers(key)
        case b"zset":
            return client.zrange(key, 0, -1, withscores=True)
        case b"stream":
            return client.xrange(key)
    return None


def _raw(client: Any, key: bytes) -> bytes:
    return bytes(client.get(key) or b"") if client.type(key) == b"string" else b""


def keep_all_writes(url: str) -> None:
    """From now on, have a Redis of the tests write down all that is written to it, in the order in which it was."""
    with redis.Redis.from_url(url) as client:
        for name, value in (("appendfsync", "no"), ("auto-aof-rewrite-percentage", "0"), ("appendonly", "yes")):
            client.config_set(name, value)
        # What is written until the file is there is added to it then.
        while client.info("persistence")["aof_rewrite_in_progress"]:
            pass


def files_content(folder: Path) -> Iterator[tuple[str, bytes]]:
    """What servers have said, and what a Redis has written down."""
    for pattern in ("*.log", "*.aof"):
        for file in folder.rglob(pattern):
            yield file.name, file.read_bytes()


def search(contents: Iterator[tuple[str, bytes]]) -> list[str]:
    """What secrets there are in contents, each place once."""
    return list(dict.fromkeys(finding for place, data in contents for finding in findings(place, data)))


class Watching(logging.Handler):
    """Looks at whatever is logged within this process."""

    def emit(self, record: logging.LogRecord) -> None:
        """Note what secrets a line of the log holds."""
        HITS.extend(findings(f"the log of {record.name}", self.format(record).encode(errors="backslashreplace")))
