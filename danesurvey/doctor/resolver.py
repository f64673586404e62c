"""Checks of the resolver: is it to be believed (docs/measurement.md, section 1)?"""

import gzip
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dns.dnssec
import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.DNSKEY import DNSKEY

from crawler.dns.configuration import trust_anchors
from crawler.dns.control import Control
from crawler.dns.unbound import Unbound
from danesurvey.doctor.check import NotApplicable, Situation, Unwell

_REPLY_S = 10.0
_SOCKETS = 32  # of two processes on a port, one answers all of them once in four billion tries

# What decides whose fault a failure is. Where this Unbound lacks the option it cannot harm.
_OPTIONS = {
    "module-config": "validator iterator",
    "aggressive-nsec": "no",
    "prefetch": "no",
    "serve-expired": "no",
    "infra-keep-probing": "yes",
    "ratelimit": "0",
    "ip-ratelimit": "0",
    "wait-limit": "0",
    "discard-timeout": "0",
    "private-address": "",
}

# Vulnerability, first version that has it, first version without, what it does to a survey.
_HOLES = (
    ("CVE-2023-50387", (0,), (1, 19, 1), "KeyTrap: one zone stalls validation"),
    ("CVE-2023-50868", (0,), (1, 19, 1), "NSEC3 of many iterations stalls validation"),
    ("CVE-2024-1931", (1, 18, 0), (1, 19, 2), "endless loop on trimmed EDE text"),
    ("CVE-2024-8508", (0,), (1, 21, 1), "name compression of large answers stalls it"),
    ("CVE-2025-11411", (0,), (1, 24, 2), "unsolicited NS records can move a zone"),
)
_CHANGELOG = Path("/usr/share/doc/unbound/changelog.Debian.gz")


def ask(
    resolver: Unbound,
    name: str,
    rdtype: RdataType,
    *,
    rdclass: dns.rdataclass.RdataClass = dns.rdataclass.IN,
    checking: bool = True,
    tcp: bool = False,
) -> dns.message.Message:
    """One question over a socket of its own. Raises Unwell if no reply comes."""
    query = dns.message.make_query(name, rdtype, rdclass, want_dnssec=True, payload=4096)
    if not checking:
        query.flags |= dns.flags.CD
    host, port = resolver.address
    try:
        if tcp:
            return dns.query.tcp(query, host, _REPLY_S, port)
        return dns.query.udp_with_fallback(query, host, _REPLY_S, port)[0]
    except (dns.exception.DNSException, OSError, EOFError) as error:
        how = "TCP" if tcp else "UDP"
        raise Unwell(f"no reply to {name} {rdtype.name} by {how}: {error}") from None


def authenticated(reply: dns.message.Message) -> bool:
    return bool(reply.flags & dns.flags.AD)


def starts(situation: Situation) -> str:
    addresses = (resolver.address for resolver in situation.each_resolver)
    return "on loopback: " + ", ".join(f"{host} port {port}" for host, port in addresses)


def alone(situation: Situation) -> str:
    """A nonce given to it over its control socket is in the answer on every socket.

    Two processes can share a port by SO_REUSEPORT; the kernel then gives each some sockets.
    """
    for resolver in situation.each_resolver:
        with _nonce(resolver) as name:
            strangers = sum(not ask(resolver, name, RdataType.TXT).answer for _ in range(_SOCKETS))
        if strangers:
            raise Unwell(
                f"on port {resolver.address[1]} {strangers} of {_SOCKETS} sockets are answered "
                "by another process, or its control socket is another resolver's"
            )
    return f"the same on {_SOCKETS} sockets"


def _control(resolver: Unbound) -> Control:
    """Its control socket. Raises NotApplicable if it is not known."""
    if resolver.control is None:
        raise NotApplicable("[resolver] control is not set: cannot be told")
    return resolver.control


@contextmanager
def _nonce(resolver: Unbound) -> Iterator[str]:
    name = f"{secrets.token_hex(8)}.doctor."
    control = _control(resolver)
    control.ask(f"local_zone {name} static")
    try:
        control.ask(f"local_data {name} 60 IN TXT nonce")
        yield name
    finally:
        control.ask(f"local_zone_remove {name}")


def options(situation: Situation) -> str:
    for resolver in situation.each_resolver:
        control = _control(resolver)
        for name, wanted in _OPTIONS.items():
            found = control.option(name)
            if found is not None and found.strip('"') != wanted:
                raise Unwell(f"{name} is {found!r}, wanted is {wanted!r}")
        if forwards := control.ask("list_forwards").strip():
            raise Unwell(f"it forwards: {forwards.splitlines()[0]}")
    return "as generated"


def root_keys(situation: Situation) -> str:
    reply = ask(
        situation.resolver, "trustanchor.unbound.", RdataType.TXT, rdclass=dns.rdataclass.CH
    )
    found = set(map(int, re.findall(r"\b\d{1,5}\b", " ".join(map(str, reply.answer[:1])))))
    wanted = set(map(_key_tag, trust_anchors(situation.settings.resolver.trust_anchor)))
    if missing := wanted - found:
        raise Unwell(f"unknown to it: {', '.join(map(str, sorted(missing)))}")
    return ", ".join(map(str, sorted(wanted)))


def _key_tag(anchor: str) -> int:
    kind, text = anchor.split(None, 3)[2:]
    record = dns.rdata.from_text("IN", kind, text)
    return dns.dnssec.key_id(record) if isinstance(record, DNSKEY) else int(text.split()[0])


def validates(situation: Situation) -> str:
    canaries = situation.settings.canaries
    for resolver in situation.each_resolver:
        reply = ask(resolver, canaries.signed, RdataType.SOA)
        if reply.rcode() != dns.rcode.NOERROR or not authenticated(reply):
            raise Unwell(f"{canaries.signed} is not secure: {_shown(reply)}")
        reply = ask(resolver, canaries.broken, RdataType.SOA)
        if reply.rcode() != dns.rcode.SERVFAIL:
            raise Unwell(f"{canaries.broken} does not fail: {_shown(reply)}")
        reply = ask(resolver, canaries.broken, RdataType.SOA, checking=False)
        if reply.rcode() != dns.rcode.NOERROR:
            raise Unwell(f"{canaries.broken} fails without validation too: {_shown(reply)}")
    return f"{canaries.signed} is secure, {canaries.broken} is bogus"


def algorithms(situation: Situation) -> str:
    names = situation.settings.canaries.algorithms
    if not names:
        raise NotApplicable("[canaries] algorithms names none")
    for number, name in names.items():
        reply = ask(situation.resolver, name, RdataType.SOA)
        if not authenticated(reply):
            raise Unwell(f"{name} (algorithm {number}) is not secure: {_shown(reply)}")
    return ", ".join(sorted(names, key=int))


def fresh_names(situation: Situation) -> str:
    """Not from any cache: names that nobody has asked for are denied by their servers."""
    zones = situation.settings.canaries.zones
    good = 0
    for zone in zones:
        name = f"{secrets.token_hex(8)}.{zone}".rstrip(".") + "."
        try:
            reply = ask(situation.resolver, name, RdataType.A)
        except Unwell:
            continue
        good += reply.rcode() in (dns.rcode.NXDOMAIN, dns.rcode.NOERROR) and not reply.answer
    text = f"{good} of {len(zones)} zones deny a fresh name"
    if good * 2 < len(zones):
        raise Unwell(text)
    return text


def extended_errors(situation: Situation) -> str:
    reply = ask(situation.resolver, situation.settings.canaries.broken, RdataType.SOA)
    found = [o for o in reply.options if isinstance(o, dns.edns.EDEOption)]
    if not found:
        raise Unwell("a bogus answer comes without an extended error (RFC 8914)")
    return f"EDE {int(found[0].code)}"


def tcp(situation: Situation) -> str:
    reply = ask(situation.resolver, situation.settings.canaries.signed, RdataType.SOA, tcp=True)
    if not authenticated(reply):
        raise Unwell(f"not secure by TCP: {_shown(reply)}")
    return "answers"


def large_answers(situation: Situation) -> str:
    """DNSKEY RRsets are what is large in the DNS, and what a path that drops them breaks."""
    largest = 0
    for zone in situation.settings.canaries.zones:
        reply = ask(situation.resolver, zone, RdataType.DNSKEY)
        if not authenticated(reply):
            raise Unwell(f"DNSKEY of {zone} is not secure: {_shown(reply)}")
        largest = max(largest, len(reply.to_wire()))
    return f"up to {largest} bytes"


def version(situation: Situation) -> str:
    text = _control(situation.resolver).ask("status")
    found = re.search(r"version: ((\d+)\.(\d+)\.(\d+))", text)
    if not found:
        raise Unwell("it does not tell its version")
    number = tuple(map(int, found.groups()[1:]))
    changes = _changelog()
    open_holes = [
        f"{hole} ({what})"
        for hole, since, until, what in _HOLES
        if since <= number < until and hole not in changes
    ]
    if open_holes:
        raise Unwell(f"Unbound {found[1]} has {'; '.join(open_holes)}")
    return f"Unbound {found[1]}"


def _changelog() -> str:
    """Debian closes holes without raising the version: its changelog names them."""
    try:
        with gzip.open(_CHANGELOG, "rt", encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _shown(reply: dns.message.Message) -> str:
    flag = " without AD" if not authenticated(reply) else ""
    return dns.rcode.to_text(reply.rcode()) + flag
