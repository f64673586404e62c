"""A line of the opt-out list to what a person plainly means by it.

Several entries may stand in a line, apart by spaces, commas or semicolons. Understood are:

    example.org  *.example.org  .example.org  EXAMPLE.ORG.  bücher.example
    @example.org  <postmaster@example.org>  mailto:postmaster@example.org
    https://www.example.org/contact  mx.example.org:25  _25._tcp.mx.example.org
    org.                        a whole top-level domain: with a dot, so that it is meant
    192.0.2.1  [192.0.2.1]:25  192.0.2.0/24  192.0.2.0/255.255.255.0
    192.0.2.*  192.0.2.0-255  192.0.2.0 - 192.0.2.255  1.2.0.192.in-addr.arpa
    2001:db8::1  [IPv6:2001:db8::1]  2001:db8::/32  2001:db8:1:*  2001:db8::1-2001:db8::9
    ::ffff:192.0.2.0/120        the IPv4 network in it, as with NAT64 and 6to4

All else is refused: prose, AS numbers, one bare word, a name in the midst of which a `*` stands.
"""

import ipaddress
import re
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from urllib.parse import urlsplit

from crawler.addresses import ipv4_network_in
from dane.names import NameFault, canonical

Network = IPv4Network | IPv6Network

_SEPARATORS = re.compile(r"[\s,;]+")
_ADDRESS = r"(?:(?:\d{1,3}\.){3}\d{1,3}|[0-9a-fA-F]*:[0-9a-fA-F:.]*)"
_RANGE_WITH_SPACES = re.compile(
    rf"({_ADDRESS})\s+[-\u2010-\u2015]\s+(?=\d{{1,3}}(?:\s|$)|{_ADDRESS})"
)
_RANGE = re.compile(r"([0-9a-fA-F:.]*[0-9a-fA-F:])[-\u2010-\u2015]([0-9a-fA-F:.]+)")
_WILDCARD_4 = re.compile(r"((?:\d{1,3}\.){1,3})\*(?:\.\*)*")
_WILDCARD_6 = re.compile(r"((?:[0-9a-fA-F]{1,4}:){1,7})\*(?::\*)*")
_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.ASCII | re.IGNORECASE)
_AUTONOMOUS_SYSTEM = re.compile(r"asn?[-:]?\d+", re.ASCII | re.IGNORECASE)
_LITERAL = re.compile(r"\[(?:ipv6:)?([0-9a-f:.]+)\](?::\d{1,5})?", re.ASCII | re.IGNORECASE)
_PORT = re.compile(r"([^:]+):\d{1,5}", re.ASCII)
_LABEL = re.compile(r"[a-z0-9_-]+", re.ASCII)
_TOP_LEVEL = re.compile(r"[a-z]+|xn--[a-z0-9-]+", re.ASCII)  # RFC 3696 section 2
_REVERSE = {".in-addr.arpa": (4, 10, 8), ".ip6.arpa": (32, 16, 4)}  # labels, base, bits each
_FIRST_OCTET_OF_MASK = 240  # no address of a host begins so (RFC 1112 section 4)


class NotUnderstood(ValueError):
    """The line is no entry; the text says which word and why."""


def read_line(line: str) -> Iterator[str | Network]:
    """The names (keys of `dane.names`) and networks of a line. Raises NotUnderstood."""
    text = _RANGE_WITH_SPACES.sub(r"\1-", line.partition("#")[0].strip())
    for word in filter(None, _SEPARATORS.split(text)):
        bare = _without_mailbox(word.strip("\"'"))
        networks = _networks(word, bare)
        if not networks and "/" in bare:
            bare = _host_of_url(word, bare)
            networks = _networks(word, bare)
        yield from networks or (_name(word, bare),)


def _networks(word: str, text: str) -> tuple[Network, ...]:
    """The networks that a word means; none if it is not written as one."""
    if literal := _LITERAL.fullmatch(text):
        text = literal[1]
    elif (ported := _PORT.fullmatch(text)) and _address(ported[1]):
        text = ported[1]
    if wildcard := _WILDCARD_4.fullmatch(text):
        octets = wildcard[1].count(".")
        text = f"{wildcard[1]}{'.'.join('0' * (4 - octets))}/{8 * octets}"
    elif wildcard := _WILDCARD_6.fullmatch(text):
        text = f"{wildcard[1]}:/{16 * wildcard[1].count(':')}"
    elif both := _RANGE.fullmatch(text):
        return _range(word, *both.groups())
    elif reverse := _reverse(text):
        text = reverse
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return ()
    if "%" in text:
        raise NotUnderstood(f"{word!r}: a zone makes sense on its own machine only")
    if isinstance(network, IPv6Network):
        inside = ipv4_network_in(network)
        return (network,) if inside is None else (network, inside)
    if network.prefixlen and int(network.network_address) >> 24 >= _FIRST_OCTET_OF_MASK:
        raise NotUnderstood(f"{word!r} is no host's address (a mask follows a slash)")
    return (network,)


def _range(word: str, first: str, last: str) -> tuple[Network, ...]:
    """`192.0.2.0-192.0.2.255`, `192.0.2.0-255`; none if the first part is no address."""
    start = _address(first)
    if start is None:
        return ()
    if isinstance(start, IPv4Address) and last.isdecimal():
        last = f"{first.rpartition('.')[0]}.{last}"
    end = _address(last)
    try:
        if isinstance(start, IPv4Address) and isinstance(end, IPv4Address):
            return tuple(ipaddress.summarize_address_range(start, end))
        if isinstance(start, IPv6Address) and isinstance(end, IPv6Address):
            return tuple(ipaddress.summarize_address_range(start, end))
    except ValueError:  # the last one is before the first one
        pass
    raise NotUnderstood(f"{word!r} is no range of addresses")


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _reverse(text: str) -> str | None:
    """The network below which a name of the reverse tree stands (RFC 1035 section 3.5)."""
    name = text.lower().removesuffix(".")
    for suffix, (most, base, bits) in _REVERSE.items():
        labels = name.removesuffix(suffix).split(".")[::-1]
        if not name.endswith(suffix) or len(labels) > most:
            continue
        try:
            parts = [int(label, base) for label in labels]
        except ValueError:
            return None
        if all(0 <= part < 1 << bits for part in parts):
            number = 0
            for part in parts + [0] * (most - len(parts)):
                number = number << bits | part
            kind = IPv4Address if base == 10 else IPv6Address
            return f"{kind(number)}/{bits * len(parts)}"
    return None


def _without_mailbox(text: str) -> str:
    """The part of a mail address that names a host (RFC 5321 section 4.1.2)."""
    if text.startswith("<") and text.endswith(">"):
        text = text[1:-1]
    if _URL.match(text):
        return text
    return re.sub("^mailto:", "", text, flags=re.IGNORECASE).rpartition("@")[2]


def _name(word: str, text: str) -> str:
    """The name that a word means. Raises NotUnderstood."""
    if ported := _PORT.fullmatch(text):
        text = ported[1]
    given = text
    while text.startswith(("*.", ".")):
        text = text.partition(".")[2]
    try:
        if not text.isascii():
            import idna  # its tables take a while to load

            text = idna.encode(text, uts46=True).decode("ascii")
        key = canonical(text)
    except (NameFault, UnicodeError) as fault:
        raise NotUnderstood(f"{word!r}: {fault}") from None
    labels = key.split(".")
    while len(labels) > 1 and labels[0].startswith("_"):  # where a service's records are
        del labels[0]
    if _AUTONOMOUS_SYSTEM.fullmatch(key):
        raise NotUnderstood(f"{word!r}: write an AS as its networks")
    # Our own lists print other bytes escaped (dane.names).
    plain = "\\" in text or all(map(_LABEL.fullmatch, labels))
    if not plain or not _TOP_LEVEL.fullmatch(labels[-1]):
        raise NotUnderstood(f"{word!r} is no name, address or network")
    if len(labels) == 1 and "." not in given:
        raise NotUnderstood(f"{word!r} is one word; a whole top-level domain is written {key}.")
    if labels[-1] == "arpa" and labels[-2:-1] in (["in-addr"], ["ip6"]):
        raise NotUnderstood(f"{word!r}: write the network, not its name in the reverse tree")
    return ".".join(labels)


def _host_of_url(word: str, text: str) -> str:
    """The host of a URL, without `www.`: mail is for the domain. Raises NotUnderstood."""
    if not _URL.match(text):
        _, _, path = text.partition("/")
        if path.isdecimal():
            raise NotUnderstood(f"{word!r} is no network")
        text = f"https://{text}"
    try:
        host = urlsplit(text).hostname
    except ValueError as error:
        raise NotUnderstood(f"{word!r}: {error}") from None
    if not host:
        raise NotUnderstood(f"{word!r} names no host")
    return host.removeprefix("www.")
