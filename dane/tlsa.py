"""TLSA records: both forms, which ones are usable, what is odd about a set (RFC 6698, 7671).

A record is kept as published, however odd: an unknown usage, a digest of the wrong length
or RDATA too short to have fields makes a record *unusable*, never the answer malformed
(RFC 7671 section 4; measurement, section 5).
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from dane.certificate import parses_as_certificate, parses_as_spki
from dane.outcomes import Defect

PKIX_TA, PKIX_EE, DANE_TA, DANE_EE = 0, 1, 2, 3
CERT, SPKI = 0, 1
FULL, SHA2_256, SHA2_512 = 0, 1, 2

DIGESTS: dict[int, Callable[[bytes], bytes]] = {
    SHA2_256: lambda data: hashlib.sha256(data).digest(),
    SHA2_512: lambda data: hashlib.sha512(data).digest(),
}
"""Matching type -> digest (RFC 6698 section 7.4)."""

_DIGEST_BYTES = {SHA2_256: 32, SHA2_512: 64}
EMPTY_DIGESTS = {kind: digest(b"") for kind, digest in DIGESTS.items()}
"""What a script publishes that digests the output of a failed command."""

MOST_RECORDS = 12
"""Some large senders look at no more."""

_ABSENT = -1


class TLSAFault(ValueError):
    """The text is not a TLSA record."""


@dataclass(frozen=True, slots=True, order=True)
class TLSARecord:
    """One record as published. Fields are -1 where the RDATA is too short to have them;
    `data` is then the whole RDATA."""

    usage: int
    selector: int
    matching_type: int
    data: bytes

    def text(self) -> str:
        """`3 1 1 <lower-case hex>`; the generic form of RFC 3597 for RDATA without fields."""
        if self.usage == _ABSENT:
            return f"\\# {len(self.data)} {self.data.hex()}".rstrip()
        return f"{self.usage} {self.selector} {self.matching_type} {self.data.hex()}".rstrip()


def parse_rdata(rdata: bytes) -> TLSARecord:
    """The record of a wire-form RDATA of any length (RFC 6698 section 2.1)."""
    if len(rdata) < 3:
        return TLSARecord(_ABSENT, _ABSENT, _ABSENT, bytes(rdata))
    return TLSARecord(rdata[0], rdata[1], rdata[2], bytes(rdata[3:]))


def parse_text(text: str) -> TLSARecord:
    """The record of a presentation form: `3 1 1 HEX` (blanks within the hex allowed, RFC 6698
    section 2.2) or `\\# LENGTH HEX` (RFC 3597). Raises TLSAFault."""
    fields = text.split()
    if fields[:1] == ["\\#"]:
        rdata = _hex("".join(fields[2:]))
        if len(fields) < 2 or fields[1] != str(len(rdata)):
            raise TLSAFault("the length after \\# is not that of the data")
        return parse_rdata(rdata)
    if len(fields) < 3:
        raise TLSAFault("a TLSA record is: usage selector matching-type hex")
    numbers = [
        int(one) if one.isascii() and one.isdigit() and len(one) < 4 else _ABSENT
        for one in fields[:3]
    ]
    if not all(0 <= one <= 255 for one in numbers):
        raise TLSAFault("usage, selector and matching type are numbers from 0 to 255")
    usage, selector, matching_type = numbers
    return TLSARecord(usage, selector, matching_type, _hex("".join(fields[3:])))


def _hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise TLSAFault("the association data is not hexadecimal") from None


def usable(record: TLSARecord) -> bool:
    """Whether an SMTP client can use the record at all (RFC 7671 section 4, RFC 7672 section
    3.1.3: usages 0 and 1 are not for SMTP)."""
    if record.usage not in (DANE_TA, DANE_EE) or record.selector not in (CERT, SPKI):
        return False
    if record.matching_type == FULL:
        parses = parses_as_certificate if record.selector == CERT else parses_as_spki
        return parses(record.data)
    return _DIGEST_BYTES.get(record.matching_type) == len(record.data)


def strongest(records: Iterable[TLSARecord]) -> frozenset[TLSARecord]:
    """Which of some usable records stay after digest agility (RFC 7671 section 9): per usage
    and selector every Full(0) record and those with the strongest digest published."""
    usable_records = frozenset(records)
    best: dict[tuple[int, int], int] = {}
    for one in usable_records:
        group = one.usage, one.selector
        best[group] = max(best.get(group, FULL), one.matching_type)
    return frozenset(
        one for one in usable_records if one.matching_type in (FULL, best[one.usage, one.selector])
    )


def rrset_digest(records: Iterable[TLSARecord]) -> str:
    """SHA-256, hex, of the sorted texts joined by newlines: the identity of an RRset."""
    return hashlib.sha256("\n".join(sorted(one.text() for one in records)).encode()).hexdigest()


def _is_empty_digest(record: TLSARecord) -> bool:
    return EMPTY_DIGESTS.get(record.matching_type) == record.data


def _has_bad_digest_length(record: TLSARecord) -> bool:
    expected = _DIGEST_BYTES.get(record.matching_type)
    return expected is not None and expected != len(record.data)


_RECORD_DEFECTS: tuple[tuple[Defect, Callable[[TLSARecord], bool]], ...] = (
    (Defect.PKIX_USAGE, lambda record: record.usage in (PKIX_TA, PKIX_EE)),
    (Defect.UNKNOWN_SELECTOR, lambda record: record.selector > SPKI),
    (Defect.UNKNOWN_MATCHING_TYPE, lambda record: record.matching_type > SHA2_512),
    (Defect.BAD_DIGEST_LENGTH, _has_bad_digest_length),
    (Defect.EMPTY_DIGEST, _is_empty_digest),
    (Defect.FULL_DATA, lambda record: record.matching_type == FULL),
)
"""Of one record, usable or not (measurement, section 8)."""


def defects(records: Sequence[TLSARecord]) -> frozenset[Defect]:
    """What is odd about a TLSA RRset, by the records alone (measurement, section 8)."""
    found = {defect for defect, holds in _RECORD_DEFECTS if any(map(holds, records))}
    if len(records) > MOST_RECORDS:
        found.add(Defect.TOO_MANY)
    if max(Counter(records).values(), default=0) > 1:
        found.add(Defect.DUPLICATE)
    good = {record for record in records if usable(record)}
    if good and all(record.matching_type != SHA2_256 for record in good):
        found.add(Defect.NO_SHA256)
    if any(record.usage == DANE_TA and record.selector == SPKI for record in good):
        found.add(Defect.TA_SPKI)
    return frozenset(found)
