"""Which URLs and addresses an installation may be made to call: what its users name must not reach its own network."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

import httpx

from jobs.errors import JobgateError

SCHEMES: Final = ("http", "https")

_PORTS: Final = range(1, 65_536)
_HEXADECIMAL: Final = re.compile(r"0x[0-9a-f]*")


class BadUrl(JobgateError):
    """The text is not a URL that may be called; the message says why."""


class AddressRefused(JobgateError):
    """The host does not lead to addresses that may be called."""

    def __init__(self, host: str) -> None:
        # Which address it was stays untold: whoever names hosts must not learn how an inner network numbers them.
        self.host = host
        super().__init__(f"{host[:200]!r} does not lead to a public address")


def parse_url(text: str) -> httpx.URL:
    """The URL with its host in the one spelling that is resolved, sent and checked. Raises :class:`BadUrl`.

    Nothing but what this answers may be called: two parsers that disagree about the host are how guards are passed.
    """
    try:
        url = httpx.URL(text)
        host = url.host
    except httpx.InvalidURL as error:
        raise BadUrl(f"is not a URL: {error}") from None
    # A host is decoded only when it is asked for, and not everything that begins with xn-- can be.
    except UnicodeError:
        raise BadUrl("is not a URL: it cannot be decoded") from None
    if url.scheme not in SCHEMES:
        raise BadUrl("must begin with http:// or https://")
    if url.userinfo:
        raise BadUrl("must not hold a user or password")
    if not host:
        raise BadUrl("has no host")
    if b"%" in url.raw_host:
        raise BadUrl("has a character in its host that no host has")
    if url.port is not None and url.port not in _PORTS:
        raise BadUrl(f"has a port that is not one of {_PORTS[0]} to {_PORTS[-1]}")
    return url


def check_host(url: httpx.URL, *, allow_private: bool) -> None:
    """Raise :class:`AddressRefused` for a host that is an address, in whatever spelling, and may not be called.

    For what is stored and called later: a name is resolved only then, and its addresses are checked then.
    """
    if _ends_in_number(url.host) and not may_be_called(url.host, allow_private=allow_private):
        raise AddressRefused(url.host)


def _ends_in_number(host: str) -> bool:
    """Whether it is an address: no domain ends in a number, but ``2130706433`` and ``0x7f.1`` are addresses to resolvers."""
    last = host.rstrip(".").rpartition(".")[2].lower()
    return ":" in host or last.isdigit() or _HEXADECIMAL.fullmatch(last) is not None


def check_addresses(host: str, addresses: Iterable[str], *, allow_private: bool) -> None:
    """Raise :class:`AddressRefused` unless every one of ``addresses``, to which ``host`` was resolved, may be called.

    All, since an attacker who adds one inner address to the answer hopes that it is the one that will be tried.
    """
    if not all(may_be_called(address, allow_private=allow_private) for address in addresses):
        raise AddressRefused(host)


def may_be_called(address: str, *, allow_private: bool) -> bool:
    """Whether the address is public or, if ``allow_private``, in a private network or of this machine."""
    bare = _unwrapped(address)
    if bare is None:
        return False
    if _is_in(bare, _PRIVATE_4, _PRIVATE_6):
        return allow_private
    return _is_in(bare, _UNICAST_4, _UNICAST_6) and not _is_in(bare, _SPECIAL_4, _SPECIAL_6)


def _unwrapped(address: str) -> IPv4Address | IPv6Address | None:
    """As a packet is addressed: an IPv4 address that is written as IPv6 is sent over IPv4. None when it is no address."""
    try:
        # A zone names an interface; the address is judged without it.
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return None
    return parsed.ipv4_mapped or parsed if isinstance(parsed, IPv6Address) else parsed


def _is_in(
    address: IPv4Address | IPv6Address, networks_4: tuple[IPv4Network, ...], networks_6: tuple[IPv6Network, ...]
) -> bool:
    if isinstance(address, IPv4Address):
        return any(address in network for network in networks_4)
    return any(address in network for network in networks_6)


# Tables of our own, after the IANA registries of special-purpose addresses: `ipaddress` changes its mind from one version
# of Python to the next, and calls multicast, NAT64, 6to4, fec0::/10 and ::127.0.0.1 global.

_PRIVATE_4: Final = tuple(map(IPv4Network, ("10.0.0.0/8", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")))
_PRIVATE_6: Final = tuple(map(IPv6Network, ("::1/128", "fc00::/7")))

_UNICAST_4: Final = tuple(map(IPv4Network, ("0.0.0.0/1", "128.0.0.0/2", "192.0.0.0/3")))
_UNICAST_6: Final = (IPv6Network("2000::/3"),)
"""All that is given out for global unicast. Outside lie NAT64, IPv4-compatible, link-local, site-local and multicast."""

_SPECIAL_4: Final = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # this network
            "100.64.0.0/10",  # between a provider and its customers; metadata services, too
            "169.254.0.0/16",  # link-local: the metadata services of most clouds, never allowed
            "192.0.0.0/24",  # protocol assignments
            "192.0.2.0/24",  # documentation
            "192.88.99.0/24",  # 6to4 relays
            "198.18.0.0/15",  # benchmarks
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
        ),
    )
)
_SPECIAL_6: Final = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # protocol assignments, Teredo among them, which wraps an IPv4 address
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4, which wraps an IPv4 address
            "3fff::/20",  # documentation
        ),
    )
)
