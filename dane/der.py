"""The few cuts that a certificate needs, by a minimal DER walk (X.690; RFC 5280 section 4.1).

TLSA records name exact bytes: the whole certificate or its SubjectPublicKeyInfo. Both can
be had from a certificate that a strict library refuses (an odd serial number, an unknown
key type, a wrong date), and then they must be: what our library dislikes is not the
server's fault. This module finds where the fields are. It does not judge their content.
"""

from typing import NamedTuple

_INTEGER = 0x02
_BIT_STRING = 0x03
_OID = 0x06
_SEQUENCE = 0x30
_VERSION = 0xA0
_OPTIONAL_FIELDS = (0x81, 0x82, 0xA1, 0xA2, 0xA3)
"""After the key: issuerUniqueID, subjectUniqueID, extensions."""


class Cut(NamedTuple):
    """The fields of a certificate, each with its tag and length, as in the certificate."""

    issuer: bytes
    subject: bytes
    spki: bytes


class _NotDER(ValueError):
    pass


def _element(data: bytes, at: int, end: int) -> tuple[int, int, int]:
    """Tag, start and end of the content of the element at `at`. Definite lengths only."""
    if at + 2 > end:
        raise _NotDER
    tag, length, start = data[at], data[at + 1], at + 2
    if tag & 0x1F == 0x1F or length == 0x80:
        raise _NotDER  # multi-byte tags occur in no field walked here; BER's open length
    if length > 0x80:
        size = length & 0x7F
        if size > 4 or start + size > end:
            raise _NotDER
        length = int.from_bytes(data[start : start + size], "big")
        start += size
    if start + length > end:
        raise _NotDER
    return tag, start, start + length


def _expect(data: bytes, at: int, end: int, expected: int) -> tuple[int, int]:
    """Start and end of the content of the element at `at`, which has the tag `expected`."""
    tag, start, stop = _element(data, at, end)
    if tag != expected:
        raise _NotDER
    return start, stop


def _check_spki(data: bytes, at: int, end: int) -> int:
    """Where the SubjectPublicKeyInfo at `at` ends."""
    start, stop = _expect(data, at, end, _SEQUENCE)
    algorithm, after_algorithm = _expect(data, start, stop, _SEQUENCE)
    _expect(data, algorithm, after_algorithm, _OID)
    _, after_key = _expect(data, after_algorithm, stop, _BIT_STRING)
    if after_key != stop:
        raise _NotDER
    return stop


def is_spki(data: bytes) -> bool:
    """Whether the bytes are exactly one SubjectPublicKeyInfo in shape."""
    try:
        return _check_spki(data, 0, len(data)) == len(data)
    except _NotDER:
        return False


def cut_certificate(data: bytes) -> Cut | None:
    """The fields of a certificate; None if the bytes are not exactly one in shape."""
    end = len(data)
    try:
        whole, stop = _expect(data, 0, end, _SEQUENCE)
        if stop != end:
            return None
        at, tbs_end = _expect(data, whole, stop, _SEQUENCE)
        _, algorithm_end = _expect(data, tbs_end, stop, _SEQUENCE)
        if _expect(data, algorithm_end, stop, _BIT_STRING)[1] != stop:
            return None
        tag, _, after = _element(data, at, tbs_end)
        if tag == _VERSION:
            at = after
        _, at = _expect(data, at, tbs_end, _INTEGER)  # serial number
        _, at = _expect(data, at, tbs_end, _SEQUENCE)  # signature algorithm
        issuer = at
        _, validity = _expect(data, issuer, tbs_end, _SEQUENCE)
        _, subject = _expect(data, validity, tbs_end, _SEQUENCE)
        _, spki = _expect(data, subject, tbs_end, _SEQUENCE)
        after = spki_end = _check_spki(data, spki, tbs_end)
        while after < tbs_end:
            tag, _, after = _element(data, after, tbs_end)
            if tag not in _OPTIONAL_FIELDS:
                return None
    except _NotDER:
        return None
    return Cut(data[issuer:validity], data[subject:spki], data[spki:spki_end])
