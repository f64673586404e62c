"""Direct questions to every authoritative address of a name whose lookup fails (trio).

The resolver hides the cause: REFUSED, NOTIMP, FORMERR, garbage and CNAME loops at the
authority all reach us as SERVFAIL. Each address is asked, with RD=0, by UDP and then by TCP,
the failing type, an address and the SOA beside it, and a name that was made up
(measurement, section 2). dnspython carries the questions; they are few.

Bounds: at most 16 servers and 32 addresses a name (crawler.dns.delegation), two tries by
UDP and one by TCP, and so many questions a second to one address (`Pace`). After two
questions in a row without a reply the rest is not asked of that address by that transport.
What is not public is not asked, nor is who is on the opt-out list, nor a family that this
machine lacks: those have no entry, and a note.
"""

import errno
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype
import dns.rrset
import trio
from dns.rdatatype import RdataType

from crawler.addresses import Addresses
from crawler.dns import delegation, direct, signatures
from crawler.dns.delegation import Delegation, rrset_of
from crawler.dns.opaque import read_reply
from crawler.dns.reply import Judged, Zone, chain_end, is_final, judge
from crawler.dns.settings import ClientSettings
from dane import clock
from dane.outcomes import AuthorityResult

_PAYLOAD = 1232
_TRIES = 2  # by UDP
_MOST_ALIASES = 8
_MOST_SILENT = 2  # questions in a row without a reply
_NOTE_BYTES = 1000
_MOST_TOLD = 1000  # of the resolver's answers, some kilobytes each
_TELLING = (dns.rcode.NOERROR, dns.rcode.NXDOMAIN)  # with data, or a denial
# Of our own side: no route or address in this family, no more sockets, a local firewall.
_OURS = frozenset(
    {
        errno.ENETUNREACH,
        errno.ENETDOWN,
        errno.EADDRNOTAVAIL,
        errno.EAFNOSUPPORT,
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOBUFS,
        errno.EPERM,
        errno.EACCES,
    }
)


class Pace:
    """At most so many questions a second to one address (0: no limit), over all names."""

    def __init__(self, questions_per_s: float) -> None:
        self._gap_s = 1 / questions_per_s if questions_per_s else 0.0
        self._free: dict[str, float] = {}  # trio time of an address's next turn

    async def turn(self, address: str) -> None:
        at = max(trio.current_time(), self._free.get(address, 0.0))
        self._free[address] = at + self._gap_s
        await trio.sleep_until(at)


@dataclass(frozen=True, slots=True)
class Entry:
    """One question to one address."""

    server: str  # a key of dane.names
    address: str
    transport: str  # udp, tcp
    question: str  # a type, or "invented"
    result: AuthorityResult


@dataclass(slots=True)
class Findings:
    """What the authorities of one name do."""

    asked: datetime
    entries: list[Entry] = field(default_factory=list)
    remarks: dict[str, list[str]] = field(default_factory=dict)  # phrase -> who; [] for the zone

    @property
    def note(self) -> str | None:
        """One line for the operator of the zone: what is wrong, and where unless everywhere."""
        everywhere = {entry.server for entry in self.entries}
        lines = [
            phrase
            if not who or set(who) == everywhere
            else f"{', '.join(sorted(set(who)))}: {phrase}"
            for phrase, who in sorted(self.remarks.items())
        ]
        return "; ".join(lines)[:_NOTE_BYTES] or None


@dataclass(slots=True)
class _Told:
    """The resolver's answer to one question, for all names that need it."""

    done: trio.Event = field(default_factory=trio.Event)
    reply: dns.message.Message | None = None


@dataclass(frozen=True, slots=True)
class _Question:
    label: str
    name: dns.name.Name
    rdtype: RdataType


class Authorities:
    """Asks. One for all names of a scan: it keeps the pace. `resolver`: (address, port).

    `opted_out` says of a server (a key of `dane.names`) and its address whether they are on
    the opt-out list now. `port` of the authoritative servers is 53 but in tests.
    """

    def __init__(
        self,
        resolver: tuple[str, int],
        addresses: Addresses,
        settings: ClientSettings,
        *,
        opted_out: Callable[[str, str], bool] = lambda server, address: False,
        port: int = 53,
    ) -> None:
        self._resolver = resolver
        self._opted_out = opted_out
        self._addresses = addresses
        self._pace = Pace(settings.questions_per_s_per_name_server_set)
        self._udp_s = settings.direct_try_s
        self._tcp_s = 2 * settings.direct_try_s  # connection included
        self._resolver_s = 5 * settings.direct_try_s
        self._port = port
        self._told: dict[tuple[dns.name.Name, RdataType], _Told] = {}

    async def examine(self, name: str, rrtype: str) -> Findings:
        """Ask about a key of `dane.names` and a type such as "TLSA"."""
        wanted = dns.name.from_text(name)
        findings = Findings(clock.now())
        found = await delegation.find(wanted, self._resolve, self._parent)
        if found is None:
            findings.remarks["no zone of this name can be found"] = []
            return findings
        for server in found.without_address:
            findings.remarks.setdefault("no address", []).append(server)
        rdtype = RdataType.make(rrtype)
        questions = _questions(wanted, rdtype, found.zone)
        async with trio.open_nursery() as nursery:
            for server, address in found.servers:
                one = _Server(self, server, address, found, findings)
                nursery.start_soon(one.ask, questions)
        order = {label: i for i, label in enumerate(q.label for q in questions)}
        findings.entries.sort(
            key=lambda e: (e.server, e.address, e.transport != "udp", order[e.question])
        )
        return findings

    def refusal(self, server: str, address: str) -> str | None:
        """Why this server must not be asked, in a few words; None if it may be."""
        if self._opted_out(server, address):
            return "on the opt-out list"
        return self._addresses.refusal(address)

    async def _resolve(self, name: dns.name.Name, rdtype: RdataType) -> dns.message.Message | None:
        """The resolver's word, asked for once: names share their TLD, its servers, operators."""
        key = name, rdtype
        if told := self._told.get(key):
            await told.done.wait()
            return told.reply
        if len(self._told) >= _MOST_TOLD:
            self._told.clear()  # what many names need is back at once
        told = self._told[key] = _Told()
        try:
            told.reply = await self._ask_resolver(name, rdtype)
        finally:
            if told.reply is None:  # those that waited have it; who comes later asks again
                self._told.pop(key, None)
            told.done.set()
        return told.reply

    async def _ask_resolver(
        self, name: dns.name.Name, rdtype: RdataType
    ) -> dns.message.Message | None:
        query = dns.message.make_query(name, rdtype, want_dnssec=True, payload=_PAYLOAD)
        query.flags |= dns.flags.CD
        host, port = self._resolver
        try:
            reply = await _ask(query, host, port, tcp=False, timeout_s=self._resolver_s)
            if reply.flags & dns.flags.TC:
                reply = await _ask(query, host, port, tcp=True, timeout_s=self._resolver_s)
        except (dns.exception.DNSException, OSError, EOFError):
            return None
        return reply if reply.rcode() in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN) else None

    async def _parent(
        self, server: str, address: str, name: dns.name.Name, rdtype: RdataType
    ) -> dns.message.Message | None:
        if self.refusal(server, address):
            return None
        try:
            return await self.exchange(address, name, rdtype, tcp=False)
        except (dns.exception.DNSException, OSError, EOFError):
            return None

    async def exchange(
        self, address: str, name: dns.name.Name, rdtype: RdataType, *, tcp: bool
    ) -> dns.message.Message:
        """One question at the server's pace. Raises DNSException, OSError, EOFError."""
        query = dns.message.make_query(name, rdtype, want_dnssec=True, payload=_PAYLOAD)
        query.flags &= ~dns.flags.RD
        for remaining in reversed(range(1 if tcp else _TRIES)):
            await self._pace.turn(address)
            try:
                timeout_s = self._tcp_s if tcp else self._udp_s
                return await _ask(query, address, self._port, tcp=tcp, timeout_s=timeout_s)
            except dns.exception.Timeout:
                if not remaining:
                    raise
        raise AssertionError("unreachable: the last try returns or raises")


async def _ask(
    query: dns.message.Message, address: str, port: int, *, tcp: bool, timeout_s: float
) -> dns.message.Message:
    """The reply to a query. Raises DNSException, OSError, EOFError."""
    query.id = 0  # as that of what `read_reply` gives
    asked = secrets.token_bytes(2) + query.to_wire()[2:]
    wire = await direct.exchange(asked, address, port, tcp=tcp, timeout_s=timeout_s)
    reply = read_reply(wire)
    if wire[:2] != asked[:2] or not query.is_response(reply):
        raise dns.query.BadResponse
    return reply


def _questions(
    name: dns.name.Name, rdtype: RdataType, zone: dns.name.Name
) -> tuple[_Question, ...]:
    """The failing type, its neighbours, and a name that nobody asked for before."""
    host = name
    while host.labels[0].startswith(b"_") and host != zone:
        host = host.parent()
    try:
        invented = dns.name.Name((secrets.token_hex(6).encode(),)).concatenate(zone)
    except dns.name.NameTooLong:
        invented = None
    asked = [
        _Question(rdtype.name, name, rdtype),
        _Question("SOA", zone, RdataType.SOA),
        _Question("A", host, RdataType.A),
    ]
    if invented is not None:
        asked.append(_Question("invented", invented, rdtype))
    return tuple({question.label: question for question in asked}.values())


class _Server:
    """One address of one server, asked question after question."""

    def __init__(
        self,
        authorities: Authorities,
        server: str,
        address: str,
        found: Delegation,
        findings: Findings,
    ) -> None:
        self._authorities = authorities
        self._server = server
        self._address = address
        self._found = found
        self._findings = findings
        self._zone: Zone | None = None

    async def ask(self, questions: tuple[_Question, ...]) -> None:
        if refusal := self._authorities.refusal(self._server, self._address):
            self._remark(f"not asked at {self._address}: {refusal}")
            return
        try:
            for transport in ("udp", "tcp"):
                silent = 0
                for question in questions:
                    result, note = await self._result(question, tcp=transport == "tcp")
                    self._findings.entries.append(
                        Entry(self._server, self._address, transport, question.label, result)
                    )
                    if note:
                        self._remark(note)
                    silent = silent + 1 if result is AuthorityResult.TIMEOUT else 0
                    if silent == _MOST_SILENT:
                        break
        except OSError as error:  # one of _OURS: says nothing about them
            self._remark(f"not asked at {self._address}: {error.strerror or error}")

    def _remark(self, phrase: str) -> None:
        self._findings.remarks.setdefault(phrase, []).append(self._server)

    async def _result(self, question: _Question, *, tcp: bool) -> Judged:
        try:
            name, reply = await self._reply(question, tcp=tcp)
            if reply is None:
                return AuthorityResult.CNAME_LOOP, None
            if reply.rcode() in _TELLING and self._zone is None:
                self._zone = await self._judged_by()
        except dns.exception.Timeout:
            return AuthorityResult.TIMEOUT, None
        except EOFError:
            return AuthorityResult.TIMEOUT, "closes TCP connections without an answer"
        except dns.exception.DNSException:
            return AuthorityResult.FORMERR, "malformed answer"
        except OSError as error:
            _raise_if_ours(error)
            how = "TCP" if tcp else "UDP"
            return AuthorityResult.TIMEOUT, f"{how}: {error.strerror or error}"
        zone = self._zone or Zone(
            self._found.zone, self._found.ds is not None, None, clock.seconds()
        )
        return judge(reply, name, question.rdtype, zone)

    async def _reply(
        self, question: _Question, *, tcp: bool
    ) -> tuple[dns.name.Name, dns.message.Message | None]:
        """The last reply and what it replies to; no reply but a circle of aliases: None.

        A server may give one alias of the zone a reply: then the next is asked for.
        """
        name = question.name
        seen = {name}
        while True:
            reply = await self._authorities.exchange(self._address, name, question.rdtype, tcp=tcp)
            end = chain_end(reply, name)
            if (
                end is None
                or end == name
                or not end.is_subdomain(self._found.zone)
                or is_final(reply, end, question.rdtype)
                or len(seen) > _MOST_ALIASES
            ):
                return name, reply
            if end in seen:
                return name, None
            seen.add(end)
            name = end

    async def _judged_by(self) -> Zone:
        """This server's own keys, which its data is judged by; asked once."""
        ds, name, at = self._found.ds, self._found.zone, clock.seconds()
        if ds is None:
            return Zone(name, False, None, at)
        try:
            reply = await self._authorities.exchange(
                self._address, name, RdataType.DNSKEY, tcp=False
            )
            if reply.flags & dns.flags.TC:
                reply = await self._authorities.exchange(
                    self._address, name, RdataType.DNSKEY, tcp=True
                )
        except (dns.exception.DNSException, EOFError):
            return Zone(name, True, None, at)
        except OSError as error:
            _raise_if_ours(error)
            return Zone(name, True, None, at)
        keys = rrset_of(reply.answer, name, RdataType.DNSKEY)
        if keys is not None:
            made_from = signatures.signatures_of(reply.answer, keys)
            if note := signatures.keys_defect(keys, made_from, ds, at):
                self._remark(note)
        elif reply.rcode() == dns.rcode.NOERROR:
            self._remark("no DNSKEY, though the parent has a DS")
        return Zone(name, True, keys, at)


def _raise_if_ours(error: OSError) -> None:
    for one in _causes(error):
        if one.errno in _OURS:
            raise one


def _causes(error: BaseException) -> Iterator[OSError]:
    """The OS errors in an error: trio joins those of several addresses."""
    if isinstance(error, OSError) and error.errno is not None:
        yield error
    for one in (error.__cause__, *getattr(error.__cause__, "exceptions", ())):
        if isinstance(one, OSError):
            yield one
