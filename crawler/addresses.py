"""Which addresses may be connected to: public ones, and in a lab the lab's own.

The names surveyed are strangers', and their addresses lead where strangers want. Refused is
what the IANA special-purpose registries (RFC 6890) do not call globally reachable, what
IANA has not given out, and an IPv6 address that a tunnel or translator would turn into such
an IPv4 address: IPv4-mapped and -compatible (RFC 4291), 6to4 (RFC 3056), NAT64 (RFC 6052,
RFC 8215), Teredo (RFC 4380).

The rule is for the address that is given to `connect`, never for a name. The tables stand
here because those of `ipaddress` differ between versions of Python.
"""

import ipaddress
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from dane.faults import UsageFault

_Network = IPv4Network | IPv6Network

# IANA IPv4 Special-Purpose Address Registry, multicast and class E. None: globally
# reachable. The first line that holds an address decides, so exceptions stand first.
_IPV4 = tuple(
    (IPv4Network(network), reason)
    for network, reason in (
        ("192.0.0.9/32", None),  # Port Control Protocol anycast
        ("192.0.0.10/32", None),  # TURN anycast
        ("0.0.0.0/8", "this network"),
        ("10.0.0.0/8", "private use"),
        ("100.64.0.0/10", "shared address space"),
        ("127.0.0.0/8", "loopback"),
        ("169.254.0.0/16", "link local"),
        ("172.16.0.0/12", "private use"),
        ("192.0.0.0/24", "IETF protocol assignments"),
        ("192.0.2.0/24", "documentation"),
        ("192.88.99.0/24", "6to4 relay anycast"),
        ("192.168.0.0/16", "private use"),
        ("198.18.0.0/15", "benchmarking"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
    )
)

# IANA IPv6 Global Unicast Address Assignments: what the regional registries have. Of the blocks
# that grow the whole /8 stands here: since 2006 each registry gets its next /12 beside its last
# one (2410::/12, 2630::/12, 2a10::/12), and a new one must not be called reserved. Where nobody
# lives nobody is disturbed.
_ALLOCATED = (
    *("2001:200::/23", "2001:400::/22", "2001:800::/21", "2001:1200::/23", "2001:1400::/22"),
    *("2001:1800::/21", "2001:2000::/19", "2001:4000::/21", "2001:4800::/22", "2001:4c00::/23"),
    *("2001:5000::/20", "2001:8000::/19", "2001:a000::/19", "2003::/18"),
    *("2400::/8", "2600::/8", "2800::/8", "2a00::/8", "2c00::/8"),
)
# IANA IPv6 Special-Purpose Address Registry, for what lies inside 2000::/3; all outside is
# special or not given out. The names are for the reader of the refusal.
_IPV6 = tuple(
    (IPv6Network(network), reason)
    for network, reason in (
        ("64:ff9b::/96", None),  # NAT64: the IPv4 address inside decides
        ("2002::/16", None),  # 6to4: likewise
        ("2001:1::1/128", None),  # Port Control Protocol anycast
        ("2001:1::2/128", None),  # TURN anycast
        ("2001:1::3/128", None),  # DNS-SD Service Registration Protocol anycast
        ("2001:3::/32", None),  # AMT
        ("2001:4:112::/48", None),  # AS112
        ("2001:20::/28", None),  # ORCHIDv2
        ("2001:30::/28", None),  # DRIP
        ("2001::/32", "Teredo"),
        ("2001::/23", "IETF protocol assignments"),
        ("2001:db8::/32", "documentation"),
        ("3fff::/20", "documentation"),
        *((network, None) for network in _ALLOCATED),
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("::ffff:0:0/96", "IPv4-mapped"),
        ("::/96", "IPv4-compatible"),
        ("64:ff9b:1::/48", "NAT64 of local use"),
        ("100::/64", "discard only"),
        ("5f00::/16", "segment routing"),
        ("fc00::/7", "unique local"),
        ("fe80::/10", "link local"),
        ("fec0::/10", "site local"),
        ("ff00::/8", "multicast"),
        ("::/0", "not allocated"),
    )
)

# Networks whose public addresses carry an IPv4 address, and the bits to the right of it.
_CARRIERS = ((IPv6Network("64:ff9b::/96"), 0), (IPv6Network("2002::/16"), 80))
# All well-known networks whose addresses carry an IPv4 address, and the bits to its right.
_EMBEDDINGS = (
    *_CARRIERS,
    (IPv6Network("::ffff:0:0/96"), 0),  # IPv4-mapped
    (IPv6Network("::ffff:0:0:0/96"), 0),  # IPv4-translated (RFC 2765 section 2.1)
    (IPv6Network("::/96"), 0),  # IPv4-compatible
)
_TEREDO = IPv6Network("2001::/32")
_ISATAP = 0x5EFE  # RFC 5214 section 6.1
_THIS_NETWORK = IPv4Network("0.0.0.0/8")
_LEAST_EMBEDDED = 8  # bits of an IPv4 prefix: less is the embedding itself, not a network in it


class Addresses:
    """The rule, with a lab's networks let through (`[probe] lab_addresses`).

    Raises UsageFault for a network that is none.
    """

    def __init__(self, lab_networks: Iterable[str] = ()) -> None:
        self._lab: list[_Network] = []
        for text in lab_networks:
            try:
                self._lab.append(ipaddress.ip_network(text))
            except ValueError as error:
                raise UsageFault(f"[probe] lab_addresses: {error}") from error

    def is_lab(self, address: str) -> bool:
        """Whether `address` is in one of the lab's networks. Raises ValueError if it is none."""
        return self._in_lab(ipaddress.ip_address(address))

    def refusal(self, address: str) -> str | None:
        """Why `address` must not be connected to, in a few words; None if it may be."""
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return "not an address"
        if self._in_lab(parsed):
            return None
        if isinstance(parsed, IPv4Address):
            return _refusal_4(parsed)
        if parsed.scope_id is not None:
            return "an address with a zone"
        return _refusal_6(parsed)

    def _in_lab(self, address: IPv4Address | IPv6Address) -> bool:
        return any(address in network for network in self._lab)


def refused_networks(allowed: Iterable[str] = ()) -> list[str]:
    """The networks of all addresses that are refused, but for the `allowed` ones."""
    beside = [ipaddress.ip_network(text) for text in allowed]
    ipv4 = _refused(_IPV4)
    inside = (
        IPv6Network((int(carrier[0]) | int(one[0]) << shift, 128 - shift - (32 - one.prefixlen)))
        for carrier, shift in _CARRIERS
        for one in ipv4
        if isinstance(one, IPv4Network)
    )
    found: list[_Network] = [*ipv4, *_refused(_IPV6), *inside]
    for network in beside:
        found = _without(found, network)
    of_4 = ipaddress.collapse_addresses(one for one in found if isinstance(one, IPv4Network))
    of_6 = ipaddress.collapse_addresses(one for one in found if isinstance(one, IPv6Network))
    return [str(one) for one in (*of_4, *of_6)]


def _refused(table: Iterable[tuple[_Network, str | None]]) -> list[_Network]:
    """The networks of the lines that refuse, without what lines before them let through."""
    let_through: list[_Network] = []
    found: list[_Network] = []
    for network, reason in table:
        if reason is None:
            let_through.append(network)
            continue
        parts: list[_Network] = [network]
        for one in let_through:
            parts = _without(parts, one)
        found += parts
    return found


def _without(networks: Iterable[_Network], taken: _Network) -> list[_Network]:
    left: list[_Network] = []
    for network in networks:
        if network.version != taken.version or not network.overlaps(taken):
            left.append(network)
        elif network.supernet_of(taken):  # type: ignore[arg-type]  # of one version
            left += network.address_exclude(taken)  # type: ignore[arg-type]
    return left


def _refusal_4(address: IPv4Address) -> str | None:
    return next((reason for network, reason in _IPV4 if address in network), None)


def _refusal_6(address: IPv6Address) -> str | None:
    for network, shift in _CARRIERS:
        if address in network:
            inner = _refusal_4(IPv4Address(int(address) >> shift & 0xFFFFFFFF))
            return inner and f"{inner}, inside {network}"
    return next(reason for network, reason in _IPV6 if address in network)


def embedded_ipv4(address: IPv6Address) -> Iterator[IPv4Address]:
    """The IPv4 addresses that a tunnel or translator may read in an IPv6 address.

    Beside the well-known forms all of RFC 6052 section 2.2 with any prefix, since a network's
    own translation prefix cannot be told from its other addresses.
    """
    number = int(address)
    for network, shift in _EMBEDDINGS:
        if address in network:
            yield IPv4Address(number >> shift & 0xFFFFFFFF)
            return
    if address in _TEREDO:  # RFC 4380 section 4: the server, and the client with all bits turned
        yield IPv4Address(number >> 64 & 0xFFFFFFFF)
        yield IPv4Address(~number & 0xFFFFFFFF)
        return
    if number >> 32 & 0xFDFFFFFF == _ISATAP:
        yield IPv4Address(number & 0xFFFFFFFF)
        return
    if number >> 56 & 0xFF:  # RFC 6052 section 2.2: bits 64 to 71 are zero, the suffix is, too
        return
    joined = number >> 64 << 56 | number & (1 << 56) - 1
    for shift in (56, 48, 40, 32, 24, 0):  # prefixes of 32, 40, 48, 56, 64 and 96 bits
        inner = IPv4Address(joined >> shift & 0xFFFFFFFF)
        if not joined & (1 << shift) - 1 and inner not in _THIS_NETWORK:
            yield inner


def ipv4_network_in(network: IPv6Network) -> IPv4Network | None:
    """The IPv4 network that an IPv6 network of a well-known form stands for."""
    for carrier, shift in _EMBEDDINGS:
        if network.subnet_of(carrier):
            length = min(32, network.prefixlen - carrier.prefixlen)
            inner = IPv4Address(int(network.network_address) >> shift & 0xFFFFFFFF)
            if length < _LEAST_EMBEDDED or inner in _THIS_NETWORK:
                return None
            return IPv4Network((inner, length), strict=False)
    return None
