"""What one reply of an authoritative server comes to: an AuthorityResult and a note (pure).

The results are those of measurement, section 2. `answer` is data or a denial of the type
that a validator could accept; the note says what is wrong beside the result, in a phrase
that the server's operator can act on.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.CNAME import CNAME

from crawler.dns import denial, signatures
from crawler.dns.delegation import rrset_of
from crawler.dns.signatures import Reason
from dane.outcomes import AuthorityResult, DnsCause

_BY_RCODE = {
    dns.rcode.FORMERR: AuthorityResult.FORMERR,
    dns.rcode.SERVFAIL: AuthorityResult.SERVFAIL,
    dns.rcode.NOTIMP: AuthorityResult.NOTIMP,
    dns.rcode.REFUSED: AuthorityResult.REFUSED,
    dns.rcode.NOTAUTH: AuthorityResult.REFUSED,  # RFC 2136 section 2.2: not our zone
    dns.rcode.BADVERS: AuthorityResult.FORMERR,  # it does not know EDNS
}
_PLAIN = frozenset({dns.rcode.FORMERR, dns.rcode.SERVFAIL, dns.rcode.NOTIMP, dns.rcode.REFUSED})

_MOST_RRSETS = 16  # of a section: a denial needs 4, the longest honest chain of aliases 9

Judged = tuple[AuthorityResult, Reason | None]
"""The result, and what is wrong beside it."""


@dataclass(frozen=True, slots=True)
class Zone:
    """What the replies are judged by."""

    name: dns.name.Name
    signed: bool  # there is a DS
    keys: dns.rrset.RRset | None  # as this very server gives them
    at: float  # seconds since 1970


def chain_end(reply: dns.message.Message, name: dns.name.Name) -> dns.name.Name | None:
    """Where the answer's CNAME records lead from `name`; None if in a circle."""
    seen = {name}
    aliases = {rrset.name: rrset[0].target for rrset in reply.answer if isinstance(rrset[0], CNAME)}
    while name in aliases:
        name = aliases[name]
        if name in seen:
            return None
        seen.add(name)
    return name


def is_final(reply: dns.message.Message, end: dns.name.Name, rdtype: RdataType) -> bool:
    """False if the reply has aliases up to `end` and says nothing about `end` itself."""
    if reply.rcode() != dns.rcode.NOERROR or rrset_of(reply.answer, end, rdtype):
        return True
    return any(rrset.rdtype == RdataType.SOA for rrset in reply.authority)


def judge(reply: dns.message.Message, name: dns.name.Name, rdtype: RdataType, zone: Zone) -> Judged:
    """The result of one reply to the question `name`, `rdtype`."""
    rcode = reply.rcode()
    if rcode not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        unusual = None if rcode in _PLAIN else Reason(dns.rcode.to_text(rcode), DnsCause.UNKNOWN)
        return _BY_RCODE.get(rcode, AuthorityResult.SERVFAIL), unusual
    end = chain_end(reply, name)
    if end is None:
        return AuthorityResult.CNAME_LOOP, None
    if reply.flags & dns.flags.TC:
        return AuthorityResult.ANSWER, None  # the same question by TCP tells more
    if flaw := answer_flaw(reply, zone):
        return flaw
    if not end.is_subdomain(zone.name) or rrset_of(reply.answer, end, rdtype):
        return AuthorityResult.ANSWER, None
    return _judge_denial(reply, end, rdtype, zone)


def answer_flaw(reply: dns.message.Message, zone: Zone) -> Judged | None:
    """What is wrong with the records of the answer section that are of this zone."""
    if not zone.signed:
        return None
    for rrset in _of_zone(reply.answer, zone):
        made_from = signatures.signatures_of(reply.answer, rrset)
        if not made_from:
            if _follows_from_dname(reply.answer, rrset):
                continue
            missing = Reason(f"no RRSIG with {rrset.rdtype.name}", DnsCause.NO_RRSIG)
            return AuthorityResult.NO_RRSIG, missing
        if reason := signatures.defect(rrset, made_from, zone.name, zone.keys, zone.at):
            return AuthorityResult.ANSWER, reason
        labels = made_from[0].labels
        if labels < len(rrset.name.labels) - 1 - (rrset.name.labels[0] == b"*"):
            proof, reason = _proof(reply, zone)
            reason = reason or _denial_reason(
                denial.expansion_defect(proof, rrset.name, labels, zone.name)
            )
            if reason:
                return AuthorityResult.BAD_DENIAL, reason
    return None


def _of_zone(section: Iterable[dns.rrset.RRset], zone: Zone) -> list[dns.rrset.RRset]:
    """What this zone has signed, or should have; at most as much as is looked at."""
    signed = (
        rrset
        for rrset in section
        if rrset.rdtype != RdataType.RRSIG and rrset.name.is_subdomain(zone.name)
    )
    return list(islice(signed, _MOST_RRSETS))


def _follows_from_dname(answer: Sequence[dns.rrset.RRset], rrset: dns.rrset.RRset) -> bool:
    """A CNAME made from a DNAME has no signature of its own (RFC 6672 section 5.3.1)."""
    return rrset.rdtype == RdataType.CNAME and any(
        other.rdtype == RdataType.DNAME and rrset.name.is_subdomain(other.name) for other in answer
    )


def _judge_denial(
    reply: dns.message.Message, name: dns.name.Name, rdtype: RdataType, zone: Zone
) -> Judged:
    exists = reply.rcode() == dns.rcode.NOERROR
    if not reply.flags & dns.flags.AA:
        referral = next((r.name for r in reply.authority if r.rdtype == RdataType.NS), None)
        if referral is not None and referral.is_subdomain(zone.name) and referral != zone.name:
            return AuthorityResult.ANSWER, Reason(
                f"refers to {referral.to_text()}", DnsCause.UNKNOWN
            )
        return AuthorityResult.REFUSED, Reason(
            "not authoritative for the zone (lame)", DnsCause.LAME
        )
    result = AuthorityResult.ANSWER if exists else AuthorityResult.NXDOMAIN
    if not zone.signed:
        return result, None
    if not any(rrset.rdtype == RdataType.RRSIG for rrset in reply.authority):
        return AuthorityResult.NO_RRSIG, Reason("no RRSIG with the denial", DnsCause.NO_RRSIG)
    proof, reason = _proof(reply, zone)
    reason = reason or _denial_reason(denial.defect(proof, name, rdtype, zone.name, exists=exists))
    return (AuthorityResult.BAD_DENIAL, reason) if reason else (result, None)


def _denial_reason(phrase: str | None) -> Reason | None:
    if phrase is None:
        return None
    missing = phrase in (denial.NO_PROOF, denial.NO_WILDCARD_PROOF)
    return Reason(phrase, DnsCause.DENIAL_MISSING if missing else DnsCause.BAD_DENIAL)


def _proof(reply: dns.message.Message, zone: Zone) -> tuple[list[dns.rrset.RRset], Reason | None]:
    """What the authority section proves with, and what is wrong with its signatures."""
    found = _of_zone(reply.authority, zone)
    for rrset in found:
        made_from = signatures.signatures_of(reply.authority, rrset)
        if reason := signatures.defect(rrset, made_from, zone.name, zone.keys, zone.at):
            return found, reason
    return found, None
