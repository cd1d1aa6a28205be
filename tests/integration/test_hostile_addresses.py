"""No spelling, no name server and no redirect leads the one outbound client into the installation's own network.

Each of them aims at a listener on loopback that would take any connection, and counts those that came: none.
"""

import itertools
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any, Final

import httpcore
import pytest

from jobs.addresses import AddressRefused, BadUrl, parse_url
from tests.receivers import answering, serving
from worker.guarded_http import GuardedHttp, Request, Unreachable

SOON: Final = timedelta(seconds=10)
PUBLIC: Final = ("8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "9.9.9.9", "8.8.4.4")
WRAPPED: Final = {
    "::ffff:127.0.0.1": "IPv4-mapped",
    "::ffff:7f00:1": "IPv4-mapped, in hexadecimal",
    "::127.0.0.1": "IPv4-compatible",
    "2002:7f00:1::": "6to4",
    "64:ff9b::7f00:1": "NAT64",
    "64:ff9b:1::7f00:1": "local NAT64",
    "2001:0:4136:e378:8000:63bf:80ff:fffe": "Teredo",
    "::1": "IPv6",
    "fe80::1%lo": "link-local, with a zone",
}
SPELLINGS: Final = [
    *("127.0.0.1", "127.0.0.1.", "127.1", "127.0.1", "127.127.127.127", "0", "0.0.0.0"),  # noqa: S104  # nothing is bound
    *("2130706433", "0x7f000001", "0x7f.1", "0x7f.0.0.0x1", "0X7F000001", "017700000001", "0177.0.0.1", "127.0.0.01"),
    *("127.0.0.1%00", "127.0.0.1%2e", "%31%32%37.0.0.1", "localhost", "LOCALHOST.", "localhost.localdomain"),
    *("\uff11\uff12\uff17.\uff10.\uff10.\uff11", "127\u30020\u30020\u30021", "\u2460\u2461\u2466.0.0.1", "1２7.0.0.1"),
    *(f"[{address.partition('%')[0]}]" for address in WRAPPED),
    *("[::ffff:169.254.169.254]", "[0:0:0:0:0:ffff:127.0.0.1]", "[::ffff:0:127.0.0.1]", "[::1%25lo]", "[::]"),
    *("shop.example@127.0.0.1", "shop.example\\@127.0.0.1", "127.0.0.1#@shop.example", "127.0.0.1\t", " 127.0.0.1"),
]


class Inward(httpcore.AsyncNetworkBackend):
    """A network on which the public is not at home, and all else is this machine. It notes what was called."""

    def __init__(self) -> None:
        self.called: list[str] = []

    async def connect_tcp(self, host: str, port: int, *_: Any, **__: Any) -> httpcore.AsyncNetworkStream:
        self.called.append(host)
        if host in PUBLIC:
            raise httpcore.ConnectError("not at home")
        return await httpcore.AnyIOBackend().connect_tcp("127.0.0.1", port)


class Names:
    """A name server that gives one answer after the other, from the first again when it is through."""

    def __init__(self, answers: Iterable[Sequence[str]]) -> None:
        self._answers = itertools.cycle(answers)

    async def __call__(self, _: str, __: int) -> Sequence[str]:
        return next(self._answers)


async def attempt(http: GuardedHttp, url: str) -> type[Exception]:
    """Call it, and tell how that was refused."""
    with pytest.raises((AddressRefused, BadUrl, Unreachable)) as refused:
        await http.send(Request("GET", parse_url(url), {}), SOON)
    return refused.type


@pytest.mark.parametrize("host", SPELLINGS, ids=ascii)
async def test_no_spelling_of_an_inner_address_is_connected_to(host: str) -> None:
    async with serving(answering("200 OK")) as server:
        await attempt(GuardedHttp(allow_private=False), server.url(host=host))
    assert server.connections == 0


@pytest.mark.parametrize("address", WRAPPED, ids=WRAPPED.get)
async def test_a_name_that_leads_to_a_wrapped_inner_address_is_refused(address: str) -> None:
    network = Inward()
    http = GuardedHttp(allow_private=False, resolve=Names([[address]]), network=network)
    async with serving(answering("200 OK")) as server:
        assert await attempt(http, server.url(host="rebinding.example")) is AddressRefused
    assert (network.called, server.connections) == ([], 0)


async def test_of_a_name_that_alternates_only_the_public_answers_are_called() -> None:
    network = Inward()
    names = Names([["8.8.8.8"], ["127.0.0.1"], ["::ffff:127.0.0.1"], ["1.1.1.1"], ["::1"]])
    http = GuardedHttp(allow_private=False, resolve=names, network=network)
    async with serving(answering("200 OK")) as server:
        refusals = [await attempt(http, server.url(host="rebinding.example")) for _ in range(20)]
    assert refusals == [Unreachable, AddressRefused, AddressRefused, Unreachable, AddressRefused] * 4
    assert (network.called, server.connections) == (["8.8.8.8", "1.1.1.1"] * 4, 0)


@pytest.mark.parametrize("place", range(len(PUBLIC) + 1))
@pytest.mark.parametrize("inner", ["127.0.0.1", "::1", "64:ff9b::7f00:1"])
async def test_an_inner_address_anywhere_among_the_answers_refuses_them_all(inner: str, place: int) -> None:
    """Also behind those that would be tried."""
    network = Inward()
    answers = [*PUBLIC[:place], inner, *PUBLIC[place:]]
    http = GuardedHttp(allow_private=False, resolve=Names([answers]), network=network)
    async with serving(answering("200 OK")) as server:
        assert await attempt(http, server.url(host="mixed.example")) is AddressRefused
    assert (network.called, server.connections) == ([], 0)


@pytest.mark.parametrize(
    "status", ["301 Moved Permanently", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"]
)
async def test_no_redirect_is_followed(status: str) -> None:
    http = GuardedHttp(allow_private=True)
    async with (
        serving(answering("200 OK")) as inner,
        serving(answering(status, Location=inner.url("/latest/meta-data/"), Refresh=f"0; url={inner.url()}")) as outer,
    ):
        answer = await http.send(Request("POST", parse_url(outer.url()), {}, b"x"), SOON)
    assert (answer.status, outer.connections, inner.connections) == (int(status[:3]), 1, 0)
