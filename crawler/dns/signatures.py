"""Does a server's own data validate? RRSIG over RRsets, DNSKEY against DS (RFC 4035 section 5.3).

Pure, over dnspython's records, for the direct questions to authoritative servers: every
reason is a phrase that the zone's operator can act on. Whether a *name* is secure is the
resolver's word alone.

A hostile server can have every signature tried with every key of one key tag
(CVE-2023-50387): only the first few of each are.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import NamedTuple

import dns.dnssec
import dns.exception
import dns.name
import dns.rdata
import dns.rdatatype
import dns.rrset
from dns.rdtypes.ANY.DNSKEY import DNSKEY
from dns.rdtypes.ANY.DS import DS
from dns.rdtypes.ANY.RRSIG import RRSIG

from dane.outcomes import DnsCause

_MOST_SIGNATURES = 4  # of one RRset; more than one algorithm is rare, three are unheard of
_MOST_KEYS = 2  # with one key tag
_MOST_DS = 8
_MOST_DNSKEYS = 32


class Reason(NamedTuple):
    """Why something does not validate: for the zone's operator, and for statistics."""

    phrase: str
    cause: DnsCause


SERIAL_RAISED = Reason(
    "SOA signed before the serial was raised", DnsCause.SERIAL_RAISED_AFTER_SIGNING
)


def signatures_of(section: Iterable[dns.rrset.RRset], rrset: dns.rrset.RRset) -> list[RRSIG]:
    """The RRSIG records over `rrset` in its section."""
    return [
        record
        for other in section
        if other.rdtype == dns.rdatatype.RRSIG and other.name == rrset.name
        for record in other
        if isinstance(record, RRSIG) and record.type_covered == rrset.rdtype
    ]


def defect(
    rrset: dns.rrset.RRset,
    signatures: Sequence[RRSIG],
    zone: dns.name.Name,
    keys: dns.rrset.RRset | None,
    at: float,
) -> Reason | None:
    """Why no signature over `rrset` is good; None if one is. `at`: seconds since 1970.

    keys    the zone's DNSKEY RRset as this server gives it; without one only dates are judged

    Where there are more signatures or keys than are tried, it is our limit that is told.
    """
    tried = signatures[:_MOST_SIGNATURES]
    reasons = [_signature_defect(rrset, one, zone, keys, at) for one in tried]
    if not reasons:
        return Reason(f"no RRSIG with {rrset.rdtype.name}", DnsCause.NO_RRSIG)
    if None in reasons:
        return None
    if rrset.rdtype == dns.rdatatype.SOA and keys is not None:
        before = _with_serial_before(rrset)
        if any(_signature_defect(before, one, zone, keys, at) is None for one in tried):
            return SERIAL_RAISED
    first = reasons[0]
    if first is not None and len(signatures) > len(tried):
        return first._replace(cause=DnsCause.VALIDATOR_LIMIT)
    return first


def _signature_defect(
    rrset: dns.rrset.RRset,
    signature: RRSIG,
    zone: dns.name.Name,
    keys: dns.rrset.RRset | None,
    at: float,
) -> Reason | None:
    kind = rrset.rdtype.name
    if signature.signer != zone:
        phrase = f"RRSIG of {kind} by {signature.signer.to_text()}"
        return Reason(phrase, DnsCause.SIGNATURE_INVALID)
    if signature.expiration < at:
        phrase = f"RRSIG of {kind} expired {_day(signature.expiration)}"
        return Reason(phrase, DnsCause.SIGNATURE_EXPIRED)
    if signature.inception > at:
        phrase = f"RRSIG of {kind} not valid before {_day(signature.inception)}"
        return Reason(phrase, DnsCause.SIGNATURE_NOT_YET_VALID)
    if keys is None:
        return None
    makers = [
        key
        for key in keys
        if isinstance(key, DNSKEY) and dns.dnssec.key_id(key) == signature.key_tag
    ]
    if not makers:
        phrase = f"RRSIG of {kind} by key {signature.key_tag}, which is not in the DNSKEY RRset"
        return Reason(phrase, DnsCause.SIGNATURE_INVALID)
    candidates = dns.rrset.from_rdata_list(zone, keys.ttl, makers[:_MOST_KEYS])
    try:
        dns.dnssec.validate_rrsig(rrset, signature, {zone: candidates}, now=at)
    except dns.exception.UnsupportedAlgorithm:
        return None  # validators call it insecure, not bogus
    except (dns.exception.DNSException, ValueError):
        # ValueError: key material that is none, such as a point that is not on the curve
        more = len(makers) > _MOST_KEYS
        cause = DnsCause.VALIDATOR_LIMIT if more else DnsCause.SIGNATURE_INVALID
        return Reason(f"RRSIG of {kind} does not verify", cause)
    return None


def _with_serial_before(rrset: dns.rrset.RRset) -> dns.rrset.RRset:
    record = rrset[0]
    before = record.replace(serial=(record.serial - 1) % 2**32)
    return dns.rrset.from_rdata(rrset.name, rrset.ttl, before)


def keys_defect(
    keys: dns.rrset.RRset, signatures: Sequence[RRSIG], ds: dns.rrset.RRset, at: float
) -> Reason | None:
    """Why the DNSKEY RRset does not follow from the parent's DS RRset; None if it does."""
    trusted = [
        key
        for key in islice(keys, _MOST_DNSKEYS)
        if any(_fits(keys.name, key, one) for one in islice(ds, _MOST_DS))
    ]
    if not trusted:
        return Reason("no DNSKEY fits the DS at the parent", DnsCause.DS_WITHOUT_KEY)
    anchor = dns.rrset.from_rdata_list(keys.name, keys.ttl, trusted)
    by_anchor = [s for s in signatures if any(dns.dnssec.key_id(k) == s.key_tag for k in trusted)]
    if not by_anchor:
        cause = DnsCause.SIGNATURE_INVALID if signatures else DnsCause.NO_RRSIG
        return Reason("DNSKEY RRset not signed by a key that the DS names", cause)
    return defect(keys, by_anchor, keys.name, anchor, at)


def _fits(zone: dns.name.Name, key: dns.rdata.Rdata, ds: dns.rdata.Rdata) -> bool:
    if not isinstance(ds, DS) or not isinstance(key, DNSKEY):
        return False
    try:
        return bool(dns.dnssec.make_ds(zone, key, ds.digest_type, validating=True) == ds)
    except (dns.exception.DNSException, ValueError):
        return False


def _day(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()
