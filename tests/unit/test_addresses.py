"""Which addresses a user may make the installation call: the guard against requests into its own network."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.addresses import AddressRefused, BadUrl, check_addresses, may_be_called, parse_url
from worker.guarded_http import resolve

PUBLIC = [
    *("8.8.8.8", "1.1.1.1", "100.63.255.255", "100.128.0.0", "172.32.0.1", "192.0.1.1", "223.255.255.255"),
    "2606:4700:4700::1111",
    "2001:4860:4860::8888",
    "::ffff:8.8.8.8",
]

PRIVATE = [
    *("127.0.0.1", "127.255.255.254", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1"),
    "::1",
    "fd00:ec2::254",
    "fc00::1",
    "::ffff:127.0.0.1",
    "::ffff:7f00:1",
    "::ffff:10.1.2.3",
]

NEVER = {
    "0.0.0.0": "this host",  # noqa: S104  # nothing is bound to it
    "0.1.2.3": "this network",
    "100.64.0.1": "between a provider and its customers",
    "100.100.100.200": "a metadata service",
    "169.254.169.254": "the metadata service",
    "::ffff:169.254.169.254": "the metadata service, written as IPv6",
    "192.0.0.8": "a protocol assignment",
    "192.0.0.170": "NAT64 discovery",
    "192.0.2.1": "documentation",
    "192.88.99.1": "6to4 relays",
    "198.18.0.1": "benchmarks",
    "198.51.100.1": "documentation",
    "203.0.113.1": "documentation",
    "224.0.0.1": "multicast",
    "239.255.255.250": "multicast",
    "240.0.0.1": "reserved",
    "255.255.255.255": "broadcast",
    "::": "unspecified",
    "::127.0.0.1": "loopback in an IPv4-compatible address",
    "::8.8.8.8": "IPv4-compatible",
    "64:ff9b::7f00:1": "loopback behind NAT64",
    "64:ff9b::808:808": "NAT64",
    "64:ff9b:1::1": "local NAT64",
    "100::1": "discard",
    "2001::1": "Teredo",
    "2001:0:4136:e378:8000:63bf:80ff:fffe": "Teredo around loopback",
    "2001:db8::1": "documentation",
    "2002:7f00:1::": "loopback in 6to4",
    "2002:808:808::": "6to4",
    "3fff::1": "documentation",
    "5f00::1": "segment routing",
    "fe80::1": "link-local",
    "fe80::1%eth0": "link-local, on an interface",
    "fec0::1": "site-local",
    "ff02::1": "multicast",
    "localhost": "a name, not an address",
    "": "nothing",
}


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_may_be_called(address: str) -> None:
    assert may_be_called(address, allow_private=False)


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_may_be_called_only_where_the_installation_allows_it(address: str) -> None:
    assert not may_be_called(address, allow_private=False)
    assert may_be_called(address, allow_private=True)


@pytest.mark.parametrize("allow_private", [False, True])
@pytest.mark.parametrize("address", NEVER, ids=lambda address: f"{address} {NEVER[address]}")
def test_other_addresses_may_never_be_called(address: str, allow_private: bool) -> None:
    assert not may_be_called(address, allow_private=allow_private)


@given(st.ip_addresses(v=4) | st.ip_addresses(v=6))
def test_whatever_may_be_called_is_global_to_python_too(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    if may_be_called(str(address), allow_private=False):
        bare = getattr(address, "ipv4_mapped", None) or address
        assert (bare.is_global, bare.is_multicast, bare.is_reserved) == (True, False, False)


# The system takes each of these for an address: no name server is asked.
ODD_SPELLINGS = [
    "0x7f000001",
    "0x7f.1",
    "2130706433",
    "0177.0.0.1",
    "127.1",
    "0",
    "\uff11\uff12\uff17.\uff10.\uff10.\uff11",  # full-width digits
    "127\u30020\u30020\u30021",  # ideographic full stops
    "localhost",
]


@pytest.mark.parametrize("host", ODD_SPELLINGS, ids=ascii)
async def test_odd_spellings_of_loopback_are_judged_by_where_they_lead(host: str) -> None:
    addresses = await resolve(host, 80)
    with pytest.raises(AddressRefused):
        check_addresses(host, addresses, allow_private=False)


@pytest.mark.parametrize("host", ["0177.0.0.1", "\uff11\uff12\uff17.\uff10.\uff10.\uff11"], ids=ascii)
def test_some_odd_spellings_are_no_hosts_to_begin_with(host: str) -> None:
    with pytest.raises(BadUrl, match="is not a URL"):
        parse_url(f"http://{host}/")


def test_one_inner_address_among_public_ones_refuses_the_host() -> None:
    with pytest.raises(AddressRefused, match=r"^'shop\.example' does not lead to a public address$"):
        check_addresses("shop.example", ["8.8.8.8", "10.0.0.1"], allow_private=False)
    check_addresses("shop.example", ["8.8.8.8", "2606:4700:4700::1111"], allow_private=False)


def test_a_refusal_does_not_tell_the_address() -> None:
    with pytest.raises(AddressRefused) as refused:
        check_addresses("db.internal", ["10.20.30.40"], allow_private=False)
    assert "10.20" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("ftp://shop.example/", "must begin with http"),
        ("file:///etc/passwd", "must begin with http"),
        ("gopher://127.0.0.1:6379/_FLUSHALL", "must begin with http"),
        ("//shop.example/", "must begin with http"),
        ("shop.example", "must begin with http"),
        ("", "must begin with http"),
        ("http://user:secret@shop.example/", "user or password"),
        ("http://shop.example\\@127.0.0.1/", "user or password"),
        ("http:///path", "no host"),
        ("http://127.0.0.1%00.shop.example/", "character in its host"),
        ("http://shop.example%2f@evil/", "user or password"),
        ("http://[fe80::1%25eth0]/", "character in its host"),
        ("http://shop.example\n/", "is not a URL"),
        ("http://[::1/", "is not a URL"),
        ("http://shop.example:http/", "is not a URL"),
        ("http://shop.example/" + "a" * 70_000, "is not a URL"),
        ("https://xn--/", "is not a URL"),
        ("https://xn--a--.example/", "is not a URL"),
        ("https://xn--ss.de", "is not a URL"),
        ("https://shop.example/\ud800", "is not a URL"),
    ],
)
def test_what_is_not_a_plain_url_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(BadUrl, match=complaint):
        parse_url(text)


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("HTTPS://Shop.EXAMPLE/", b"shop.example"),
        ("https://bücher.example/", b"xn--bcher-kva.example"),
        ("http://[::FFFF:169.254.169.254]:8080/", b"::ffff:169.254.169.254"),
    ],
)
def test_hosts_have_one_spelling(text: str, host: bytes) -> None:
    assert parse_url(text).raw_host.lower() == host


@pytest.mark.parametrize("port", [0, -1, 65_536, 99_999_999_999])
def test_a_port_that_there_cannot_be(port: int) -> None:
    with pytest.raises(BadUrl, match="has a port that is not one of 1 to 65535"):
        parse_url(f"https://shop.example:{port}/")


@pytest.mark.parametrize("port", [1, 65_535])
def test_the_first_and_the_last_port(port: int) -> None:
    assert parse_url(f"https://shop.example:{port}/").port == port
