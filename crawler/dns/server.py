"""One address of an authoritative server, asked question after question (trio).

RD=0, by UDP and then by TCP: the failing type, the SOA and an address beside it, a name that
was made up, and once DNSKEY, which the replies are judged by. After two questions in a row
without a reply the rest is not asked by that transport.
"""

import errno
import hashlib
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
from dns.rdatatype import RdataType

from crawler.dns import signatures
from crawler.dns.delegation import Delegation, rrset_of
from crawler.dns.evidence import EMPTY_NON_TERMINAL, KEYS, UNANSWERED, WITHOUT_EDNS, Entry
from crawler.dns.reply import Zone, answer_flaw, chain_end, is_final, judge
from crawler.dns.signatures import Reason
from dane import clock
from dane.outcomes import AuthorityResult, DnsCause

_MOST_ALIASES = 16  # within one zone; beyond, no resolver of ours follows either
_MOST_SILENT = 2  # questions in a row without a reply
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


class Exchange(Protocol):
    """Asks one question at the server's pace. Raises DNSException, OSError, EOFError."""

    async def __call__(
        self,
        address: str,
        name: dns.name.Name,
        rdtype: RdataType,
        /,
        *,
        tcp: bool,
        edns: bool = True,
    ) -> dns.message.Message: ...


@dataclass(frozen=True, slots=True)
class Question:
    label: str
    name: dns.name.Name
    rdtype: RdataType


@dataclass(slots=True)
class ZoneFindings:
    """What the servers of one zone do with questions about one name."""

    zone: dns.name.Name
    entries: list[Entry] = field(default_factory=list)
    remarks: dict[str, list[str]] = field(default_factory=dict)  # phrase -> who; [] for the zone
    leads_to: dns.name.Name | None = None  # the alias's target in another zone


class _Outcome(NamedTuple):
    """Of one question by one transport."""

    result: AuthorityResult
    reason: Reason | None = None
    reply: dns.message.Message | None = None
    leads_to: dns.name.Name | None = None
    aliases: int = 0
    answer: str = ""


def questions(name: dns.name.Name, rdtype: RdataType, zone: dns.name.Name) -> tuple[Question, ...]:
    """The failing type, its neighbours, and a name that nobody asked for before."""
    host = name
    while host.labels[0].startswith(b"_") and host != zone:
        host = host.parent()
    asked = [
        Question(rdtype.name, name, rdtype),
        Question("SOA", zone, RdataType.SOA),
        Question("A", host, RdataType.A),
    ]
    if rdtype == RdataType.TLSA and name.parent().labels[0].lower() == b"_tcp":
        asked.append(Question(EMPTY_NON_TERMINAL, name.parent(), RdataType.A))
    try:
        invented = dns.name.Name((secrets.token_hex(6).encode(),)).concatenate(zone)
    except dns.name.NameTooLong:
        pass
    else:
        asked.append(Question("invented", invented, rdtype))
    return tuple({question.label: question for question in asked}.values())


class Server:
    """One address of one server. `refusal` says why it must not be asked, if so."""

    def __init__(
        self,
        exchange: Exchange,
        refusal: Callable[[str, str], str | None],
        server: str,
        address: str,
        found: Delegation,
        findings: ZoneFindings,
    ) -> None:
        self._exchange = exchange
        self._refusal = refusal
        self._server = server
        self._address = address
        self._found = found
        self._findings = findings
        self._zone: Zone | None = None

    async def ask(self, asked: Sequence[Question]) -> None:
        """Ask all of it; the findings have what comes of it."""
        if refusal := self._refusal(self._server, self._address):
            self._remark(f"not asked at {self._address}: {refusal}")
            return
        try:
            for transport in ("udp", "tcp"):
                silent = 0
                for question in asked:
                    outcome = await self._outcome(question, tcp=transport == "tcp")
                    self._note(transport, question.label, outcome)
                    if outcome.leads_to is not None and question is asked[0]:
                        self._findings.leads_to = outcome.leads_to
                    if question.rdtype == RdataType.SOA and transport == "udp":
                        await self._ask_without_edns(question, outcome.result)
                    silent = silent + 1 if outcome.result is AuthorityResult.TIMEOUT else 0
                    if silent == _MOST_SILENT:
                        break
        except OSError as error:  # one of _OURS: says nothing about them
            self._remark(f"not asked at {self._address}: {error.strerror or error}")

    async def ask_one(self, question: Question) -> None:
        """Ask one question, by UDP once more where that gets no answer, and then by TCP.

        The findings get one entry for it.
        """
        if refusal := self._refusal(self._server, self._address):
            self._remark(f"not asked at {self._address}: {refusal}")
            return
        try:
            for transport in ("udp", "udp", "tcp"):
                outcome = await self._outcome(question, tcp=transport == "tcp")
                whole = outcome.reply is not None and not outcome.reply.flags & dns.flags.TC
                if whole and outcome.result in (AuthorityResult.ANSWER, AuthorityResult.NXDOMAIN):
                    break
        except OSError as error:  # one of _OURS: says nothing about them
            self._remark(f"not asked at {self._address}: {error.strerror or error}")
            return
        self._note(transport, question.label, outcome)
        self._findings.leads_to = outcome.leads_to or self._findings.leads_to

    def _note(self, transport: str, label: str, outcome: _Outcome) -> None:
        result, reason, reply, _, aliases, answer = outcome
        entry = Entry(
            self._server, self._address, transport, label, result, aliases=aliases, answer=answer
        )
        if reason is not None:
            self._remark(reason.phrase)
            entry = replace(entry, cause=reason.cause)
        if reply is not None:
            entry = replace(
                entry,
                truncated=bool(reply.flags & dns.flags.TC),
                edns=reply.edns >= 0,
                size=len(reply.wire or b""),
            )
        self._findings.entries.append(entry)

    def _remark(self, phrase: str) -> None:
        self._findings.remarks.setdefault(phrase, []).append(self._server)

    async def _ask_without_edns(self, soa: Question, with_edns: AuthorityResult) -> None:
        """Where EDNS gets no data: does the same question without it?"""
        if with_edns not in UNANSWERED:
            return
        try:
            reply = await self._exchange(self._address, soa.name, soa.rdtype, tcp=False, edns=False)
        except (dns.exception.DNSException, EOFError):
            return
        except OSError as error:
            _raise_if_ours(error)
            return
        if rrset_of(reply.answer, soa.name, soa.rdtype):
            self._remark("answers only without EDNS")
            self._note("udp", WITHOUT_EDNS, _Outcome(AuthorityResult.ANSWER, reply=reply))

    async def _outcome(self, question: Question, *, tcp: bool) -> _Outcome:
        try:
            return await self._judged(question, tcp=tcp)
        except dns.exception.DNSException as error:
            return _failure(error)
        except EOFError:
            closed = Reason("closes TCP connections without an answer", DnsCause.UNKNOWN)
            return _Outcome(AuthorityResult.TIMEOUT, closed)
        except OSError as error:
            _raise_if_ours(error)
            how = "TCP" if tcp else "UDP"
            told = Reason(f"{how}: {error.strerror or error}", DnsCause.UNKNOWN)
            return _Outcome(AuthorityResult.TIMEOUT, told)

    async def _judged(self, question: Question, *, tcp: bool) -> _Outcome:
        """The last reply, judged. A server may give one alias of the zone a reply: then the next

        is asked for.
        """
        zone, name = self._found.zone, question.name
        seen = {name}
        while True:
            reply = await self._exchange(self._address, name, question.rdtype, tcp=tcp)
            if reply.rcode() in _TELLING and self._zone is None:
                self._zone = await self._judged_by()
            judged_by = self._zone or Zone(zone, self._found.ds is not None, None, clock.seconds())
            end = chain_end(reply, name)
            if (
                end is not None
                and end != name
                and end.is_subdomain(zone)
                and not is_final(reply, end, question.rdtype)
                and len(seen) <= _MOST_ALIASES
            ):
                if flaw := answer_flaw(reply, judged_by):
                    return _Outcome(*flaw, reply)
                if end in seen:
                    return _Outcome(AuthorityResult.CNAME_LOOP, None, reply)
                seen.add(end)
                name = end
                continue
            result, reason = judge(reply, name, question.rdtype, judged_by)
            aliases = len(seen) - 1 + _aliases(reply)
            answer = "" if end is None else _digest(reply, end, question.rdtype)
            told = _Outcome(result, reason, reply, aliases=aliases, answer=answer)
            if name != question.name and _is_referral(reply, zone):
                return told._replace(reason=None, leads_to=name)
            if end is not None and not end.is_subdomain(zone) and reason is None:
                return told._replace(leads_to=end)
            return told

    async def _judged_by(self) -> Zone:
        """This server's own keys, which its data is judged by; asked once."""
        ds, name, at = self._found.ds, self._found.zone, clock.seconds()
        if ds is None:
            return Zone(name, False, None, at)
        keys = None
        for transport in ("udp", "tcp"):
            outcome = await self._keys(ds, at, tcp=transport == "tcp")
            self._note(transport, KEYS, outcome)
            reply = outcome.reply
            if reply is not None and not reply.flags & dns.flags.TC:
                keys = rrset_of(reply.answer, name, RdataType.DNSKEY)
                break
        return Zone(name, True, keys, at)

    async def _keys(self, ds: dns.rrset.RRset, at: float, *, tcp: bool) -> _Outcome:
        """DNSKEY by one transport, judged by the DS at the parent."""
        name = self._found.zone
        try:
            reply = await self._exchange(self._address, name, RdataType.DNSKEY, tcp=tcp)
        except dns.exception.DNSException as error:
            return _failure(error)
        except EOFError:
            return _Outcome(AuthorityResult.TIMEOUT)
        except OSError as error:
            _raise_if_ours(error)
            return _Outcome(AuthorityResult.TIMEOUT)
        result, reason = judge(reply, name, RdataType.DNSKEY, Zone(name, False, None, at))
        if reply.flags & dns.flags.TC or result is not AuthorityResult.ANSWER:
            return _Outcome(result, reason, reply)
        keys = rrset_of(reply.answer, name, RdataType.DNSKEY)
        if keys is None:
            missing = Reason("no DNSKEY, though the parent has a DS", DnsCause.DNSKEY_MISSING)
            return _Outcome(result, missing, reply)
        made_from = signatures.signatures_of(reply.answer, keys)
        return _Outcome(result, signatures.keys_defect(keys, made_from, ds, at), reply)


def _failure(error: dns.exception.DNSException) -> _Outcome:
    if isinstance(error, dns.exception.Timeout):
        return _Outcome(AuthorityResult.TIMEOUT)
    malformed = Reason("malformed answer", DnsCause.UNKNOWN)
    return _Outcome(AuthorityResult.FORMERR, malformed)


def _aliases(reply: dns.message.Message) -> int:
    return sum(rrset.rdtype == RdataType.CNAME for rrset in reply.answer)


def _digest(reply: dns.message.Message, name: dns.name.Name, rdtype: RdataType) -> str:
    """Of the records at a name, whatever their order; empty without any."""
    rrset = rrset_of(reply.answer, name, rdtype)
    if rrset is None:
        return ""
    return hashlib.sha256(b"".join(sorted(one.to_wire() for one in rrset))).hexdigest()


def _is_referral(reply: dns.message.Message, zone: dns.name.Name) -> bool:
    """To a zone below."""
    below = (rrset for rrset in reply.authority if rrset.rdtype == RdataType.NS)
    return not reply.answer and any(
        rrset.name != zone and rrset.name.is_subdomain(zone) for rrset in below
    )


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
