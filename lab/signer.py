"""Signs a zone: RRSIG and NSEC or NSEC3 (RFC 4034, RFC 5155), by hand for speed.

A zone of five RRsets takes some 200 µs, a tenth of a general signer's time. What is broken
on purpose is not broken here: `lab.spoil` changes the signed zone afterwards, so that the
signer stays right and each fault is one visible change.
"""

import base64
import hashlib
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from dane.names import to_labels
from lab import records
from lab.keys import ZoneKey
from lab.records import Rdata, absolute, wire_name

HOUR_S = 3600
DAY_S = 24 * HOUR_S


@dataclass(frozen=True, slots=True)
class Validity:
    """Inception and expiration of signatures, seconds since 1970."""

    inception: int
    expiration: int

    @classmethod
    def around(cls, now: float, *, before_s: int = HOUR_S, after_s: int = 14 * DAY_S) -> "Validity":
        return cls(int(now) - before_s, int(now) + after_s)


@dataclass(frozen=True, slots=True)
class Nsec3:
    """Parameters of hashed denial (RFC 5155 section 3.1; RFC 9276 recommends these defaults)."""

    iterations: int = 0
    salt: bytes = b""
    opt_out: bool = False

    def hash(self, name: str) -> bytes:
        digest = hashlib.sha1(wire_name(name) + self.salt).digest()
        for _ in range(self.iterations):
            digest = hashlib.sha1(digest + self.salt).digest()
        return digest


@dataclass(slots=True)
class Zone:
    """The unsigned content of a zone: RRsets by (owner, type), one TTL for all."""

    origin: str
    ttl_s: int = 300
    rrsets: dict[tuple[str, int], list[Rdata]] = field(default_factory=dict)

    def add(self, owner: str, *rdata: Rdata) -> None:
        for one in rdata:
            self.rrsets.setdefault((owner, one.type), []).append(one)


@dataclass(frozen=True, slots=True)
class Line:
    """One record of a zone file; `covers` is the type that an RRSIG is for, else 0."""

    owner: str
    ttl_s: int
    rdata: Rdata
    covers: int = 0

    def __str__(self) -> str:
        mnemonic = records.MNEMONIC.get(self.rdata.type, f"TYPE{self.rdata.type}")
        return f"{absolute(self.owner)} {self.ttl_s} IN {mnemonic} {self.rdata.text}"


def unsigned(zone: Zone) -> Iterator[Line]:
    """The zone without any signature."""
    for (owner, _), rdata in zone.rrsets.items():
        for one in rdata:
            yield Line(owner, zone.ttl_s, one)


def sign(zone: Zone, key: ZoneKey, denial: Nsec3 | None, validity: Validity) -> Iterator[Line]:
    """The zone with DNSKEY, RRSIG and its denial chain; `denial` None means NSEC."""
    signed = Zone(zone.origin, zone.ttl_s, dict(zone.rrsets))
    signed.rrsets[zone.origin, records.DNSKEY] = [key.rdata]
    if denial is not None:
        parameters = records.nsec3param(denial.iterations, denial.salt)
        signed.rrsets[zone.origin, records.NSEC3PARAM] = [parameters]
    cuts = {owner for owner, code in zone.rrsets if code == records.NS and owner != zone.origin}
    types: dict[str, set[int]] = {}
    for owner, code in signed.rrsets:
        if not _below_a_cut(owner, zone.origin, cuts):
            types.setdefault(owner, set()).add(code)
    for owner in cuts & types.keys():  # glue at the cut itself is not of this zone
        types[owner] &= {records.NS, records.DS}

    signer = _Rrsig(key, zone.origin, validity)
    for (owner, code), rdata in signed.rrsets.items():
        for one in rdata:
            yield Line(owner, zone.ttl_s, one)
        if code in types.get(owner, ()) and not (code == records.NS and owner in cuts):
            yield Line(owner, zone.ttl_s, signer.over(owner, zone.ttl_s, rdata), code)
    chain = _nsec(types) if denial is None else _nsec3(zone.origin, types, denial, cuts)
    for owner, one in chain:
        yield Line(owner, zone.ttl_s, one)
        yield Line(owner, zone.ttl_s, signer.over(owner, zone.ttl_s, [one]), one.type)


def rrsig(
    key: ZoneKey, zone: str, validity: Validity, owner: str, ttl_s: int, rdata: list[Rdata]
) -> Rdata:
    """The signature over one RRset, for an answer that is in no zone file."""
    return _Rrsig(key, zone, validity).over(owner, ttl_s, rdata)


class _Rrsig:
    """Makes the RRSIGs of one zone: what does not change between them is packed once."""

    def __init__(self, key: ZoneKey, zone: str, validity: Validity) -> None:
        self._key = key
        self._signer = wire_name(zone)
        self._validity = validity
        self._text = (
            f"{timestamp(validity.expiration)} {timestamp(validity.inception)} "
            f"{key.tag} {absolute(zone)} "
        )

    def over(self, owner: str, ttl_s: int, rdata: list[Rdata]) -> Rdata:
        """The RRSIG over one RRset (RFC 4034 section 3.1.8.1)."""
        code = rdata[0].type
        labels = 0 if owner == "." else owner.count(".") + 1
        if "\\" in owner:
            labels = len(to_labels(owner))
        if owner.startswith("\\042."):  # the asterisk of a wildcard does not count
            labels -= 1
        prefix = struct.pack(
            "!HBBIIIH",
            code,
            self._key.algorithm,
            labels,
            ttl_s,
            self._validity.expiration,
            self._validity.inception,
            self._key.tag,
        )
        head = wire_name(owner) + struct.pack("!HHI", code, 1, ttl_s)
        wires = [one.wire for one in rdata]
        if len(wires) > 1:
            wires = sorted(set(wires))
        body = b"".join(head + struct.pack("!H", len(wire)) + wire for wire in wires)
        signature = self._key.sign(prefix + self._signer + body)
        mnemonic = records.MNEMONIC.get(code, f"TYPE{code}")
        return Rdata(
            records.RRSIG,
            f"{mnemonic} {self._key.algorithm} {labels} {ttl_s} {self._text}"
            f"{base64.b64encode(signature).decode()}",
            prefix + self._signer + signature,
        )


def timestamp(at: int) -> str:
    """A time as RRSIG presents it (RFC 4034 section 3.2)."""
    return time.strftime("%Y%m%d%H%M%S", time.gmtime(at))


def _parents(name: str, origin: str) -> Iterator[str]:
    """Names strictly between `name` and `origin`, nearest first (a key has no plain dot inside
    a label, so it can be cut at its dots)."""
    while len(name := name.partition(".")[2]) > (0 if origin == "." else len(origin)):
        yield name


def _below_a_cut(owner: str, origin: str, cuts: set[str]) -> bool:
    return bool(cuts) and any(parent in cuts for parent in _parents(owner, origin))


def _nsec(types: dict[str, set[int]]) -> Iterator[tuple[str, Rdata]]:
    """The chain in canonical order (RFC 4034 section 6.1), back to the apex."""
    ordered = sorted(types, key=lambda name: to_labels(name)[::-1])
    for owner, following in zip(ordered, ordered[1:] + ordered[:1], strict=True):
        yield owner, records.nsec(following, types[owner] | {records.NSEC, records.RRSIG})


def _nsec3(
    origin: str, types: dict[str, set[int]], denial: Nsec3, cuts: set[str]
) -> Iterator[tuple[str, Rdata]]:
    """The hashed chain, empty non-terminals included (RFC 5155 section 7.1)."""
    covered = {
        owner: codes
        for owner, codes in types.items()
        if not (denial.opt_out and owner in cuts and records.DS not in codes)
    }
    for owner in list(covered):
        for parent in _parents(owner, origin):
            covered.setdefault(parent, set())
    hashed = sorted((denial.hash(owner), owner) for owner in covered)
    suffix = "" if origin == "." else f".{origin}"
    for (digest, owner), (following, _) in zip(hashed, hashed[1:] + hashed[:1], strict=True):
        codes = covered[owner]
        if codes and codes != {records.NS}:
            codes = codes | {records.RRSIG}
        yield (
            records.base32hex(digest) + suffix,
            records.nsec3(
                opt_out=denial.opt_out,
                iterations=denial.iterations,
                salt=denial.salt,
                next_hash=following,
                types=codes,
            ),
        )
