"""Direct questions to every authoritative address of the zone at fault (trio).

The resolver hides the cause: REFUSED, NOTIMP, FORMERR, garbage and CNAME loops at the
authority all reach us as SERVFAIL. So every address is asked (`crawler.dns.server`), and what
the replies prove is the cause (`crawler.dns.evidence`; measurement, section 2). Where the
question is for an alias, the chain is followed from zone to zone, for it is the zone at its
end that fails, or one on the way. Where all servers are right, the zones above are looked at:
one that does not delegate rightly is the zone at fault.

Bounds: at most 16 servers and 32 addresses a zone (crawler.dns.delegation), 16 zones, two
tries by UDP and one by TCP, and so many questions a second to one address (`Pace`).
What is not public is not asked, nor is who is on the opt-out list, nor a family that this
machine lacks: those have no entry, and a note.
"""

import random
import secrets
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import trio
from dns.rdatatype import RdataType

from crawler.addresses import Addresses
from crawler.dns import delegation, direct
from crawler.dns.delegation import Delegation, key_of
from crawler.dns.evidence import (
    KEYS,
    WITHOUT_EDNS,
    Entry,
    all_good,
    cause_of,
    denies_empty_non_terminal,
    follows_too_many,
    good_addresses,
)
from crawler.dns.opaque import read_reply
from crawler.dns.server import Question, Server, ZoneFindings, questions
from crawler.dns.settings import ClientSettings
from dane import clock
from dane.outcomes import AuthorityResult, DnsCause
from dane.servers import ServerAnswer

_PAYLOAD = 1232
_TRIES = 2  # by UDP
_MOST_ZONES = 16  # that aliases lead through
_ANCESTORS_ASKED = 2  # servers of a zone above
_LARGE_REPLY = 8192  # bytes
_SILENT_NAMES = 3  # that an address was silent for until it is taken to be so
_NOTE_BYTES = 1000
_MOST_TOLD = 1000  # of the resolver's answers, some kilobytes each


class Pace:
    """At most so many questions a second to one address (0: no limit), over all names."""

    def __init__(self, questions_per_s: float) -> None:
        self._gap_s = 1 / questions_per_s if questions_per_s else 0.0
        self._free: dict[str, float] = {}  # trio time of an address's next turn

    async def turn(self, address: str) -> None:
        at = max(trio.current_time(), self._free.get(address, 0.0))
        self._free[address] = at + self._gap_s
        await trio.sleep_until(at)


@dataclass(slots=True)
class Findings:
    """What the servers of the zone at fault do with the question that fails.

    `zone` is that zone, and `name` the one that fails there: where the question is for an
    alias, they are of the end of its chain, or of the zone on the way that fails first.
    """

    asked: datetime
    name: str  # a key of dane.names
    zone: str | None = None  # None: no zone of the name can be found
    entries: Sequence[Entry] = ()
    remarks: Mapping[str, Sequence[str]] = field(default_factory=dict)  # phrase -> servers
    cause: DnsCause | None = None
    all_good: bool = False  # every server gave a good answer, twice

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
        self._silent: Counter[str] = Counter()  # names in a row, by address
        self._delegated: dict[tuple[dns.name.Name, RdataType], _Step] = {}

    async def examine(self, name: str, rrtype: str) -> Findings:
        """Ask about a key of `dane.names` and a type such as "TLSA"."""
        asked = clock.now()
        rdtype = RdataType.make(rrtype)
        steps = await self._follow(dns.name.from_text(name), rdtype)
        if not steps:
            nowhere = {"no zone of this name can be found": ()}
            return Findings(asked, name, remarks=nowhere, cause=DnsCause.UNKNOWN)
        fault = next((one for one in reversed(steps) if one.cause is not None), None)
        if fault is None and all_good(steps[-1].found.entries, rrtype):
            fault = await self._ancestor_at_fault([one.found.zone for one in steps])
        if fault is not None:
            return _findings(asked, fault)
        last = steps[-1]
        again = await self._step(last.name, rdtype)
        if again is not None and again.cause is not None:
            return _findings(asked, again)
        found = _findings(asked, last)
        found.all_good = all_good(last.found.entries, rrtype)
        beyond = follows_too_many(one.found.entries for one in steps)
        found.cause = DnsCause.VALIDATOR_LIMIT if beyond else DnsCause.UNKNOWN
        return found

    async def compare(self, name: str) -> tuple[str | None, list[ServerAnswer]]:
        """The zone of a TLSA RRset (a key of `dane.names`), and what each server says of it.

        Of an alias, those of the zone that it leads to. A server that was silent for several
        names in a row is not waited for again.
        """
        current, seen = dns.name.from_text(name), set[dns.name.Name]()
        while True:
            found = await delegation.find(current, self._resolve, self._parent)
            if found is None:
                return None, []
            findings = ZoneFindings(found.zone)
            question = Question("TLSA", current, RdataType.TLSA)
            async with trio.open_nursery() as nursery:
                for server, address in found.servers:
                    one = Server(self.exchange, self.refusal, server, address, found, findings)
                    nursery.start_soon(self._ask_one, one, address, server, question, findings)
            seen.add(current)
            target = findings.leads_to
            if target is None or target in seen or len(seen) >= _MOST_ZONES:
                break
            current = target
        answers = [
            ServerAnswer(
                entry.server, entry.address, entry.result, entry.answer, sound=entry.cause is None
            )
            for entry in findings.entries
            if entry.question == question.label
        ]
        return key_of(found.zone), sorted(answers, key=lambda one: one.name)

    async def _ask_one(
        self,
        asked: Server,
        address: str,
        server: str,
        question: Question,
        findings: ZoneFindings,
    ) -> None:
        if self._silent[address] >= _SILENT_NAMES:
            timeout = Entry(server, address, "udp", question.label, AuthorityResult.TIMEOUT)
            findings.entries.append(timeout)
            return
        await asked.ask_one(question)
        last = next((one for one in findings.entries if one.address == address), None)
        silent = last is not None and last.result is AuthorityResult.TIMEOUT
        self._silent[address] = self._silent[address] + 1 if silent else 0

    async def _follow(self, name: dns.name.Name, rdtype: RdataType) -> list["_Step"]:
        """The zones that the question leads through, alias by alias; one of them may fail."""
        steps: list[_Step] = []
        seen = {name}
        while len(steps) < _MOST_ZONES:
            step = await self._step(name, rdtype)
            if step is None:
                break
            steps.append(step)
            target = step.found.leads_to
            if target is None:
                break
            if target in seen:
                step.cause = DnsCause.CNAME_LOOP
                break
            seen.add(target)
            name = target
        return steps

    async def _step(self, name: dns.name.Name, rdtype: RdataType) -> "_Step | None":
        """Ask every server of the name's zone."""
        found = await delegation.find(name, self._resolve, self._parent)
        if found is None:
            return None
        return await self._ask_servers(name, rdtype, found)

    async def _ask_servers(
        self, name: dns.name.Name, rdtype: RdataType, found: Delegation
    ) -> "_Step":
        findings = ZoneFindings(found.zone)
        if found.without_address:
            findings.remarks["no address"] = list(found.without_address)
        asked = questions(name, rdtype, found.zone)
        async with trio.open_nursery() as nursery:
            for server, address in found.servers:
                one = Server(self.exchange, self.refusal, server, address, found, findings)
                nursery.start_soon(one.ask, asked)
        labels = [rdtype.name, KEYS, *(question.label for question in asked), WITHOUT_EDNS]
        order = {label: place for place, label in reversed(list(enumerate(labels)))}
        findings.entries.sort(
            key=lambda e: (e.server, e.address, e.transport != "udp", order[e.question])
        )
        if _all_silent_by_ipv6(findings.entries) and not await self._hears_ipv6():
            findings.entries.clear()
            findings.remarks["IPv6 is silent to us everywhere"] = []
        cause = cause_of(findings.entries, rdtype.name)
        if cause is None and denies_empty_non_terminal(findings.entries):
            cause = DnsCause.BAD_DENIAL
        if not findings.entries and not any(map(self._may_be_asked, found.servers)):
            cause = DnsCause.LAME  # there is no server that anyone could ask
        return _Step(name, findings, cause)

    async def _hears_ipv6(self) -> bool:
        """Whether an IPv6 address of the root answers; also if it has none.

        An address family that is lost in the middle of a run looks like silent servers.
        """
        root = await delegation.find(dns.name.root, self._resolve, self._parent)
        known = [one for one in (root.servers if root else ()) if ":" in one[1]]
        for server, address in random.sample(known, min(len(known), _ANCESTORS_ASKED)):
            if await self._parent(server, address, dns.name.root, RdataType.SOA) is not None:
                return True
        return not known

    def _may_be_asked(self, server: tuple[str, str]) -> bool:
        """Whether the address is a public one; what has opted out is, too."""
        return self._addresses.refusal(server[1]) is None

    async def _ancestor_at_fault(self, zones: Sequence[dns.name.Name]) -> "_Step | None":
        """The zone above that fails to delegate to one of these, if one does."""
        for zone in zones:
            while zone != dns.name.root:
                step = await self._delegates(zone)
                if step is None:
                    return None
                if step.cause is not None and not good_addresses(step.found.entries, "DS"):
                    return step
                zone = step.found.zone
        return None

    async def _delegates(self, zone: dns.name.Name) -> "_Step | None":
        """What some servers of the zone above say of its DS; asked for once, for many names."""
        key = zone, RdataType.DS
        if key not in self._delegated:
            if len(self._delegated) >= _MOST_TOLD:
                self._delegated.clear()
            found = await delegation.find(zone.parent(), self._resolve, self._parent)
            if found is None:
                return None
            found.servers = random.sample(found.servers, min(len(found.servers), _ANCESTORS_ASKED))
            self._delegated[key] = await self._ask_servers(zone, RdataType.DS, found)
        return self._delegated[key]

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
        self,
        address: str,
        name: dns.name.Name,
        rdtype: RdataType,
        /,
        *,
        tcp: bool,
        edns: bool = True,
    ) -> dns.message.Message:
        """One question at the server's pace. Raises DNSException, OSError, EOFError."""
        if edns:
            query = dns.message.make_query(name, rdtype, want_dnssec=True, payload=_PAYLOAD)
        else:
            query = dns.message.make_query(name, rdtype, use_edns=False)
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
    # dnspython takes some 40 µs a record: a stranger's 64 KiB must not hold up the others.
    if len(wire) > _LARGE_REPLY:
        reply = await trio.to_thread.run_sync(read_reply, wire, abandon_on_cancel=True)
    else:
        reply = read_reply(wire)
    if wire[:2] != asked[:2] or not query.is_response(reply):
        raise dns.query.BadResponse
    return reply


def _all_silent_by_ipv6(entries: Sequence[Entry]) -> bool:
    return bool(entries) and all(
        ":" in entry.address and entry.result is AuthorityResult.TIMEOUT for entry in entries
    )


@dataclass(slots=True)
class _Step:
    """One zone that the question leads through."""

    name: dns.name.Name
    found: ZoneFindings
    cause: DnsCause | None


def _findings(asked: datetime, step: _Step) -> Findings:
    return Findings(
        asked,
        key_of(step.name),
        key_of(step.found.zone),
        step.found.entries,
        step.found.remarks,
        step.cause,
    )
