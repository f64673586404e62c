"""dnspython's reading of a DNS message, in the terms of `crawler.dns.codec`."""

from dataclasses import dataclass, field

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from crawler.dns import rdata
from crawler.dns.codec import Question, Response
from crawler.dns.rdata import (
    DelegationSigner,
    Nsec3Parameters,
    Record,
    Signature,
    StartOfAuthority,
)
from dane.names import from_labels


@dataclass(slots=True)
class Reading:
    rcode: int
    ad: bool
    chain: tuple[str, ...]
    records: list[Record]
    signature: Signature | None
    ede_code: int | None
    ede_text: str | None
    soas: list[StartOfAuthority] = field(default_factory=list)
    nsec3: list[Nsec3Parameters] = field(default_factory=list)


def key(name: dns.name.Name) -> str:
    return from_labels([label for label in name.labels if label])


def read(wire: bytes, question: Question) -> Reading | None:
    """None where dnspython refuses the message, or sees no answer to the question in it."""
    try:
        message = dns.message.from_wire(wire)
        if not isinstance(message, dns.message.QueryMessage):
            return None
        result = message.resolve_chaining()
    except (dns.exception.DNSException, ValueError):
        return None
    if message.rcode() == 3 and result.answer is not None:
        return None
    cnames = [rrset for rrset in result.cnames if rrset.rdtype == dns.rdatatype.CNAME]
    records = [_record(one) for one in result.answer] if result.answer is not None else []
    ede = [one for one in message.options if isinstance(one, dns.edns.EDEOption)]
    reading = Reading(
        rcode=message.rcode(),
        ad=bool(message.flags & dns.flags.AD),
        chain=tuple(key(rrset[0].target) for rrset in cnames),
        records=records,
        signature=_signature(message, result.canonical_name, question.rdtype) if records else None,
        ede_code=int(ede[0].code) if ede else None,
        ede_text=(ede[0].text or "").rstrip("\0").replace("\0", "�") or None if ede else None,
    )
    for rrset in message.authority:
        if rrset.rdclass != dns.rdataclass.IN:
            continue
        for one in rrset:
            if rrset.rdtype == dns.rdatatype.SOA:
                reading.soas.append(StartOfAuthority(key(rrset.name), one.serial, one.minimum))
            elif rrset.rdtype == dns.rdatatype.NSEC3:
                reading.nsec3.append(_nsec3(one))
    return reading


def _nsec3(one: dns.rdata.Rdata) -> Nsec3Parameters:
    return Nsec3Parameters(one.algorithm, one.iterations, len(one.salt), bool(one.flags & 1))


def _record(one: dns.rdata.Rdata) -> Record:
    match one.rdtype:
        case dns.rdatatype.MX:
            return one.preference, key(one.exchange)
        case dns.rdatatype.CNAME | dns.rdatatype.NS:
            return key(one.target)
        case dns.rdatatype.SOA:
            return key(one.rname)
        case dns.rdatatype.DS:
            return DelegationSigner(one.key_tag, one.algorithm, one.digest_type, one.digest)
        case dns.rdatatype.DNSKEY:
            return rdata.READERS[rdata.DNSKEY](wire := one.to_wire(), 0, len(wire), "")
        case dns.rdatatype.NSEC3PARAM:
            return _nsec3(one)
    return one.to_wire()


def _signature(message: dns.message.Message, owner: dns.name.Name, rdtype: int) -> Signature | None:
    rrset = message.get_rrset(
        message.answer,
        owner,
        dns.rdataclass.IN,
        dns.rdatatype.RRSIG,
        dns.rdatatype.RdataType.make(rdtype),
    )
    if rrset is None:
        return None
    best = max(
        rrset,
        key=lambda one: (one.algorithm not in (5, 7), one.expiration, one.algorithm, one.key_tag),
    )
    return Signature(
        key(best.signer),
        best.algorithm,
        best.key_tag,
        best.labels,
        best.original_ttl,
        best.inception,
        best.expiration,
        len(best.signature) * 8,
    )


def differences(wire: bytes, question: Question, response: Response) -> list[str]:
    """What the two readings disagree on. Empty if dnspython or the codec refuses the message."""
    if response.flaw is not None or response.tc:
        return []
    expected = read(wire, question)
    if expected is None:
        return []
    pairs = [
        ("rcode", response.rcode, expected.rcode),
        ("ad", response.ad, expected.ad),
        ("chain", response.chain, expected.chain),
        ("records", set(response.records), set(expected.records)),
        ("ede", (response.ede_code, response.ede_text), (expected.ede_code, expected.ede_text)),
    ]
    best = response.signature
    if best != expected.signature:
        pairs.append(("signature", best, expected.signature))
    if response.denial is not None and not expected.records:
        denial = response.denial
        if len(expected.soas) == 1:
            pairs.append(("soa", denial.soa, expected.soas[0]))
        if len(expected.nsec3) == 1:
            pairs.append(("nsec3", denial.nsec3, expected.nsec3[0]))
    return [f"{what}: {ours!r} != {theirs!r}" for what, ours, theirs in pairs if ours != theirs]
