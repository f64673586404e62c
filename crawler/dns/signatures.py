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

import dns.dnssec
import dns.exception
import dns.name
import dns.rdata
import dns.rdatatype
import dns.rrset
from dns.rdtypes.ANY.DNSKEY import DNSKEY
from dns.rdtypes.ANY.DS import DS
from dns.rdtypes.ANY.RRSIG import RRSIG

_MOST_SIGNATURES = 4  # of one RRset; more than one algorithm is rare, three are unheard of
_MOST_KEYS = 2  # with one key tag
_MOST_DS = 8
_MOST_DNSKEYS = 32

SERIAL_RAISED = "SOA signed before the serial was raised"


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
) -> str | None:
    """Why no signature over `rrset` is good; None if one is. `at`: seconds since 1970.

    keys    the zone's DNSKEY RRset as this server gives it; without one only dates are judged
    """
    signatures = signatures[:_MOST_SIGNATURES]
    reasons = [_signature_defect(rrset, one, zone, keys, at) for one in signatures]
    if not reasons:
        return f"no RRSIG with {rrset.rdtype.name}"
    if None in reasons:
        return None
    if rrset.rdtype == dns.rdatatype.SOA and keys is not None:
        before = _with_serial_before(rrset)
        if any(_signature_defect(before, one, zone, keys, at) is None for one in signatures):
            return SERIAL_RAISED
    return reasons[0]


def _signature_defect(
    rrset: dns.rrset.RRset,
    signature: RRSIG,
    zone: dns.name.Name,
    keys: dns.rrset.RRset | None,
    at: float,
) -> str | None:
    kind = rrset.rdtype.name
    if signature.signer != zone:
        return f"RRSIG of {kind} by {signature.signer.to_text()}"
    if signature.expiration < at:
        return f"RRSIG of {kind} expired {_day(signature.expiration)}"
    if signature.inception > at:
        return f"RRSIG of {kind} not valid before {_day(signature.inception)}"
    if keys is None:
        return None
    makers = [
        key
        for key in keys
        if isinstance(key, DNSKEY) and dns.dnssec.key_id(key) == signature.key_tag
    ][:_MOST_KEYS]
    if not makers:
        return f"RRSIG of {kind} by key {signature.key_tag}, which is not in the DNSKEY RRset"
    candidates = dns.rrset.from_rdata_list(zone, keys.ttl, makers)
    try:
        dns.dnssec.validate_rrsig(rrset, signature, {zone: candidates}, now=at)
    except dns.exception.UnsupportedAlgorithm:
        return None  # validators call it insecure, not bogus
    except (dns.exception.DNSException, ValueError):
        # ValueError: key material that is none, such as a point that is not on the curve
        return f"RRSIG of {kind} does not verify"
    return None


def _with_serial_before(rrset: dns.rrset.RRset) -> dns.rrset.RRset:
    record = rrset[0]
    before = record.replace(serial=(record.serial - 1) % 2**32)
    return dns.rrset.from_rdata(rrset.name, rrset.ttl, before)


def keys_defect(
    keys: dns.rrset.RRset, signatures: Sequence[RRSIG], ds: dns.rrset.RRset, at: float
) -> str | None:
    """Why the DNSKEY RRset does not follow from the parent's DS RRset; None if it does."""
    trusted = [
        key
        for key in islice(keys, _MOST_DNSKEYS)
        if any(_fits(keys.name, key, one) for one in islice(ds, _MOST_DS))
    ]
    if not trusted:
        return "no DNSKEY fits the DS at the parent"
    anchor = dns.rrset.from_rdata_list(keys.name, keys.ttl, trusted)
    by_anchor = [s for s in signatures if any(dns.dnssec.key_id(k) == s.key_tag for k in trusted)]
    if not by_anchor:
        return "DNSKEY RRset not signed by a key that the DS names"
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
