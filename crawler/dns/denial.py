"""Does a denial prove what it says? NSEC (RFC 4035 section 5.4) and NSEC3 (RFC 5155 section 8).

Pure, over dnspython's messages; signatures are `crawler.dns.signatures`' part. Here only:
whether the NSEC or NSEC3 records that a server sent with a negative answer, or with one
expanded from a wildcard, suffice for a validator. A record that lies below or above a zone
cut where it has no say (RFC 6840 section 4) does not count.
"""

import base64
from collections.abc import Iterable, Sequence

import dns.dnssec
import dns.name
import dns.rdatatype
import dns.rrset
from dns.rdtypes.ANY.NSEC import NSEC
from dns.rdtypes.ANY.NSEC3 import NSEC3

MOST_ITERATIONS = 150
"""Beyond, validators call the zone insecure and look no further (RFC 9276 section 3.2)."""

NO_PROOF = "no NSEC or NSEC3 with the denial"
NO_WILDCARD_PROOF = "no NSEC or NSEC3 with the wildcard's answer"

_SHA1 = 1  # the only hash of RFC 5155
_WILDCARD = dns.name.Name((b"*",))


def defect(
    authority: Iterable[dns.rrset.RRset],
    name: dns.name.Name,
    rdtype: dns.rdatatype.RdataType,
    zone: dns.name.Name,
    *,
    exists: bool,
) -> str | None:
    """Why the records of an authority section do not deny `name` and `rdtype`; None if they do.

    exists    True for NODATA (only the type is denied), False for NXDOMAIN
    """
    spans = _Spans.of(authority, zone)
    if spans is None:
        return NO_PROOF
    if spans.too_many_iterations:
        return None
    if exists:
        return _nodata_defect(spans, name, rdtype)
    encloser = spans.closest_encloser(name)
    if encloser is None:
        return "the denial proves no closest encloser"
    if not spans.covers(_next_closer(name, encloser)):
        return "the denial does not cover the name"
    if not spans.covers(_WILDCARD.concatenate(encloser)):
        return "the denial does not cover the wildcard"
    return None


def expansion_defect(
    authority: Iterable[dns.rrset.RRset], name: dns.name.Name, labels: int, zone: dns.name.Name
) -> str | None:
    """Why an answer expanded from a wildcard of `labels` labels lacks its proof; None if not."""
    spans = _Spans.of(authority, zone)
    if spans is None:
        return NO_WILDCARD_PROOF
    encloser = dns.name.Name(name.labels[-(labels + 1) :])
    if spans.too_many_iterations or spans.covers(_next_closer(name, encloser)):
        return None
    return "the wildcard's answer does not deny the name itself"


def _nodata_defect(
    spans: "_Spans", name: dns.name.Name, rdtype: dns.rdatatype.RdataType
) -> str | None:
    # Of all types only DS is the parent's at a zone cut (RFC 4035 section 3.1.4.1).
    if types := spans.types_at(name, at_parent=rdtype == dns.rdatatype.DS):
        if rdtype in types:
            return f"the denial says that the name has {rdtype.name}"
        if dns.rdatatype.CNAME in types:
            return "the denial says that the name is an alias"
        return None
    if spans.is_empty_non_terminal(name):
        return None
    encloser = spans.closest_encloser(name)
    if encloser is None:
        return "the denial proves no closest encloser"
    closer = _next_closer(name, encloser)
    types = spans.types_at(_WILDCARD.concatenate(encloser))
    if spans.covers(closer) and (spans.opts_out(closer) or (types and rdtype not in types)):
        return None
    return f"the denial does not show that the name has no {rdtype.name}"


def _next_closer(name: dns.name.Name, encloser: dns.name.Name) -> dns.name.Name:
    """One label more than `encloser` (RFC 5155 section 1.3)."""
    return dns.name.Name(name.labels[-(len(encloser.labels) + 1) :])


class _Spans:
    """The NSEC records, or the NSEC3 records, of one denial."""

    too_many_iterations = False

    @staticmethod
    def of(authority: Iterable[dns.rrset.RRset], zone: dns.name.Name) -> "_Spans | None":
        found = [rrset for rrset in authority if rrset.name.is_subdomain(zone)]
        nsec = [(r.name, r[0]) for r in found if isinstance(r[0], NSEC)]
        if nsec:
            return _NsecSpans(nsec)
        nsec3 = [
            (r.name, r[0]) for r in found if isinstance(r[0], NSEC3) and r[0].algorithm == _SHA1
        ]
        return _Nsec3Spans(nsec3, zone) if nsec3 else None

    def types_at(self, name: dns.name.Name, *, at_parent: bool = False) -> frozenset[int]:
        """The types at `name`; empty if no record is of just this name.

        at_parent    the parent's record at a zone cut counts, and not the child's
        """
        raise NotImplementedError

    def covers(self, name: dns.name.Name) -> bool:
        """True if a record shows that `name` does not exist."""
        raise NotImplementedError

    def closest_encloser(self, name: dns.name.Name) -> dns.name.Name | None:
        """The longest existing ancestor of `name`, as far as the records show one."""
        raise NotImplementedError

    def is_empty_non_terminal(self, name: dns.name.Name) -> bool:
        return False

    def opts_out(self, name: dns.name.Name) -> bool:
        """True if `name` may be an unsigned delegation."""
        return False


class _NsecSpans(_Spans):
    def __init__(self, records: Sequence[tuple[dns.name.Name, NSEC]]) -> None:
        self._records = records

    def types_at(self, name: dns.name.Name, *, at_parent: bool = False) -> frozenset[int]:
        for owner, record in self._records:
            types = _types(record.windows)
            if owner == name and _has_say(types, at_parent):
                return types
        return frozenset()

    def _covering(self, name: dns.name.Name) -> tuple[dns.name.Name, NSEC] | None:
        for owner, record in self._records:
            after = name > owner
            inside = after and name < record.next if owner < record.next else after
            if inside and not (name.is_subdomain(owner) and _cuts(_types(record.windows))):
                return owner, record
        return None

    def covers(self, name: dns.name.Name) -> bool:
        return self._covering(name) is not None and not self.is_empty_non_terminal(name)

    def is_empty_non_terminal(self, name: dns.name.Name) -> bool:
        found = self._covering(name)
        return found is not None and found[1].next.is_subdomain(name)

    def closest_encloser(self, name: dns.name.Name) -> dns.name.Name | None:
        found = self._covering(name)
        if found is None:
            return None
        return _common(name, (found[0], found[1].next))


def _common(name: dns.name.Name, others: Iterable[dns.name.Name]) -> dns.name.Name:
    """The longest ancestor that `name` shares with one of the others."""
    shared = max(name.fullcompare(other)[2] for other in others)
    return dns.name.Name(name.labels[-shared:])


class _Nsec3Spans(_Spans):
    def __init__(self, records: Sequence[tuple[dns.name.Name, NSEC3]], zone: dns.name.Name) -> None:
        self._zone = zone
        first = records[0][1]
        self._parameters = (first.salt, first.iterations, first.algorithm)
        self.too_many_iterations = first.iterations > MOST_ITERATIONS
        self._records = [
            (owner.labels[0].upper(), record)
            for owner, record in records
            if (record.salt, record.iterations, record.algorithm) == self._parameters
            and owner.parent() == zone
        ]
        self._hashes: dict[dns.name.Name, bytes] = {}

    def _hash(self, name: dns.name.Name) -> bytes:
        if name not in self._hashes:
            self._hashes[name] = dns.dnssec.nsec3_hash(name, *self._parameters).encode()
        return self._hashes[name]

    def types_at(self, name: dns.name.Name, *, at_parent: bool = False) -> frozenset[int]:
        for owner, record in self._records:
            if owner == self._hash(name):
                types = _types(record.windows)
                # an empty non-terminal has no types, but is there all the same
                return types | {0} if _has_say(types, at_parent) else frozenset()
        return frozenset()

    def _covering(self, name: dns.name.Name) -> NSEC3 | None:
        wanted = self._hash(name)
        for owner, record in self._records:
            following = base64.b32hexencode(record.next).rstrip(b"=")
            if owner < following:
                inside = owner < wanted < following
            else:  # the last of the zone
                inside = wanted > owner or wanted < following
            if inside:
                return record
        return None

    def covers(self, name: dns.name.Name) -> bool:
        return self._covering(name) is not None

    def opts_out(self, name: dns.name.Name) -> bool:
        found = self._covering(name)
        return found is not None and bool(found.flags & 1)

    def closest_encloser(self, name: dns.name.Name) -> dns.name.Name | None:
        hashes = dict(self._records)
        while name != self._zone and name.is_subdomain(self._zone):
            name = name.parent()
            record = hashes.get(self._hash(name))
            if record is not None:
                return None if _cuts(_types(record.windows)) else name
        return None


def _types(windows: Iterable[tuple[int, bytes]]) -> frozenset[int]:
    """The types of a bitmap (RFC 4034 section 4.1.2)."""
    return frozenset(
        window * 256 + index * 8 + bit
        for window, bitmap in windows
        for index, byte in enumerate(bitmap)
        for bit in range(8)
        if byte & 0x80 >> bit
    )


def _is_parent_side(types: frozenset[int]) -> bool:
    """A record of the parent at a zone cut: it has no say about the child's types."""
    return dns.rdatatype.NS in types and dns.rdatatype.SOA not in types


def _has_say(types: frozenset[int], at_parent: bool) -> bool:
    return dns.rdatatype.SOA not in types if at_parent else not _is_parent_side(types)


def _cuts(types: frozenset[int]) -> bool:
    """Names below do not belong to this zone, or are redirected (RFC 6672)."""
    return _is_parent_side(types) or dns.rdatatype.DNAME in types
