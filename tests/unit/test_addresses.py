"""The rule that keeps the survey off addresses that are not public."""

import ipaddress
import random
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest

from crawler import addresses
from crawler.addresses import Addresses
from dane.faults import UsageFault

# both ends of each network are tested
REFUSED = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/29",
    "192.0.0.8/32",
    "192.0.0.11/32",
    "192.0.0.170/31",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "255.255.255.255/32",
    "::/128",
    "::1/128",
    "::/96",
    "::ffff:0:0/96",
    "::ffff:0:0:0/96",
    "64:ff9b:1::/48",
    "100::/64",
    "100:0:0:1::/64",
    "2001::/32",
    "2001:2::/48",
    "2001:10::/28",
    "2001:5::/32",
    "2001:1ff:ffff::/48",
    "2001:db8::/32",
    "3fff::/20",
    "5f00::/16",
    "fc00::/7",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
    "1fff:ffff::/32",
    "4000::/3",
    "8000::/3",
    "e000::/4",
    "200::/7",
    # IANA IPv6 Global Unicast Address Assignments: reserved, returned (6bone), never given out
    "2d00::/8",
    "2e00::/7",
    "3000::/4",
    "3ffe::/16",
    "3fff:1000::/20",
    "2000::/16",
    "2001:1000::/23",
    "2001:4e00::/23",
    "2001:6000::/19",
    "2001:c000::/18",
    "2003:4000::/18",
    "2004::/14",
    "2100::/8",
    "2500::/8",
]
PUBLIC = [
    "1.0.0.0/8",
    "8.8.8.0/24",
    "9.0.0.0/8",
    "11.0.0.0/8",
    "100.0.0.0/10",
    "100.128.0.0/9",
    "126.0.0.0/8",
    "128.0.0.0/16",
    "169.253.0.0/16",
    "169.255.0.0/16",
    "172.0.0.0/12",
    "172.32.0.0/11",
    "191.0.0.0/8",
    "192.0.0.9/32",
    "192.0.0.10/32",
    "192.0.1.0/24",
    "192.0.3.0/24",
    "192.31.196.0/24",
    "192.52.193.0/24",
    "192.88.98.0/24",
    "192.88.100.0/24",
    "192.167.0.0/16",
    "192.169.0.0/16",
    "192.175.48.0/24",
    "198.17.0.0/16",
    "198.20.0.0/16",
    "198.51.99.0/24",
    "198.51.101.0/24",
    "203.0.112.0/24",
    "203.0.114.0/24",
    "223.255.255.0/24",
    "2001:1::1/128",
    "2001:1::2/128",
    "2001:1::3/128",
    "2001:3::/32",
    "2001:4:112::/48",
    "2001:20::/28",
    "2001:30::/28",
    "2001:200::/23",
    "2001:db7::/32",
    "2001:db9::/32",
    "2003::/18",
    "2001:800::/22",
    "2001:1c00::/22",
    "2001:4c00::/23",
    "2001:5000::/20",
    "2001:b000::/20",
    "2400::/12",
    "2410::/12",
    "2600::/12",
    "2610::/23",
    "2630::/12",
    "2800::/12",
    "2a10::/12",
    "2c00::/12",
    "2620:4f:8000::/48",
    "2a00::/12",
    "2c0f:ffff::/32",
]
# every way to write an IPv4 address into an IPv6 one; Teredo carries its client inverted
CARRIERS = {
    "mapped": lambda v4: f"::ffff:{v4}",
    "compatible": lambda v4: f"::{v4}",
    "translated": lambda v4: f"::ffff:0:{v4}",
    "nat64": lambda v4: f"64:ff9b::{v4}",
    "local nat64": lambda v4: f"64:ff9b:1::{v4}",
    "6to4": lambda v4: str(ipaddress.IPv6Address(0x2002 << 112 | int(v4) << 80 | 1)),
    "teredo client": lambda v4: str(
        ipaddress.IPv6Address(0x20010000 << 96 | 0x08080808 << 64 | int(v4) ^ 0xFFFFFFFF)
    ),
    "teredo server": lambda v4: str(
        ipaddress.IPv6Address(0x20010000 << 96 | int(v4) << 64 | 0x08080808 ^ 0xFFFFFFFF)
    ),
}
EDGES_4 = [n for n in REFUSED if ":" not in n]


def ends(network: str) -> set[str]:
    parsed = ipaddress.ip_network(network)
    return {str(parsed[0]), str(parsed[-1])}


EDGES = [(a, False) for n in REFUSED for a in sorted(ends(n))] + [
    (a, True) for n in PUBLIC for a in sorted(ends(n))
]
WRAPPED = [
    (carrier, address)
    for carrier in CARRIERS
    for network in EDGES_4
    for address in sorted(ends(network))
]


def test_there_are_enough_edges() -> None:
    assert len(EDGES) + len(WRAPPED) >= 200


@pytest.mark.parametrize(("address", "public"), EDGES)
def test_both_ends_of_every_registered_network(address: str, public: bool) -> None:
    assert (Addresses().refusal(address) is None) is public


@pytest.mark.parametrize(("carrier", "address"), WRAPPED)
def test_no_wrapping_hides_an_address(carrier: str, address: str) -> None:
    wrapped = CARRIERS[carrier](ipaddress.IPv4Address(address))
    assert Addresses().refusal(wrapped) is not None


@pytest.mark.parametrize(
    ("carrier", "public"),
    [("mapped", False), ("compatible", False), ("nat64", True), ("6to4", True)],
)
def test_a_public_address_inside(carrier: str, public: bool) -> None:
    wrapped = CARRIERS[carrier](ipaddress.IPv4Address("8.8.8.8"))
    assert (Addresses().refusal(wrapped) is None) is public


@pytest.mark.parametrize(
    "text",
    ["", "localhost", "127.1", "0x7f.0.0.1", "2130706433", "010.0.0.1", "127.0.0.1 ", "1.2.3.4/32",
     "fe80::1%eth0", "2a00::1%1", "[::1]", "٣.٣.٣.٣", "1.2.3.4\x00", "::ffff:1.2.3.4%lo"],
)  # fmt: skip
def test_what_is_no_plain_address_is_refused(text: str) -> None:
    assert Addresses().refusal(text) is not None


def test_a_lab_lets_its_own_networks_through_and_no_more() -> None:
    lab = Addresses(["127.20.0.0/16", "fd00:20::/32"])
    assert lab.refusal("127.20.3.4") is None
    assert lab.refusal("fd00:20::1") is None
    assert lab.refusal("127.0.0.1") == "loopback"
    assert lab.refusal("::ffff:127.20.3.4") == "IPv4-mapped"
    assert lab.refusal("fd00:21::1") == "unique local"


@pytest.mark.parametrize("network", ["lab", "127.0.0.1/8", "127.0.0.0/33", ""])
def test_a_lab_network_that_is_none(network: str) -> None:
    with pytest.raises(UsageFault, match="lab_addresses"):
        Addresses([network])


def _edges() -> Iterator[IPv4Address | IPv6Address]:
    """Both ends of every network of the tables, what is beside them, and many others."""
    dice = random.Random(1)
    for network, _ in (*addresses._IPV4, *addresses._IPV6):
        first, last = int(network[0]), int(network[-1])
        for number in (first - 1, first, last, last + 1):
            with suppress(ValueError):
                yield type(network[0])(number)
    for _ in range(3000):
        yield IPv4Address(dice.getrandbits(32))
        for prefix, bits in ((0x2002, 112), (0x2001, 112), (0x64FF9B << 64, 32), (0, 128)):
            yield IPv6Address(prefix << bits | dice.getrandbits(bits))


def test_the_refused_networks_hold_what_is_refused_and_nothing_else() -> None:
    refused = [ip_network(one) for one in addresses.refused_networks()]
    rule = Addresses()
    for address in _edges():
        found = any(address in one for one in refused)
        assert found is (rule.refusal(str(address)) is not None), address


def test_a_lab_lets_its_own_through() -> None:
    loopback = ("127.0.0.0/8", "::1/128")
    refused = [ip_network(one) for one in addresses.refused_networks(loopback)]
    for text, expected in (
        ("127.20.0.1", False),
        ("::1", False),
        ("10.0.0.1", True),
        ("::2", True),
    ):
        assert any(ip_address(text) in one for one in refused) is expected
