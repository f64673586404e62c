"""Names and record data in wire form (RFC 1035, 3110, 4034, 5155), read without copying.

`read_name` reads a domain name of a message, compressed or not; `READERS` has one function a
record type that turns its data into what the survey keeps of it. All of them raise
`Malformed`, or IndexError or struct.error past the message's end, and never loop; only
`codec` calls them, and makes outcomes of these.
"""

from collections.abc import Callable
from enum import StrEnum
from functools import lru_cache
from struct import Struct
from typing import NamedTuple

from dane import names

A, NS, CNAME, SOA, MX, TXT, AAAA = 1, 2, 5, 6, 15, 16, 28
OPT, DS, RRSIG, NSEC, DNSKEY, NSEC3, NSEC3PARAM, TLSA = 41, 43, 46, 47, 48, 50, 51, 52

QNAME_AT = 12  # where a message's question begins, and no pointer leads before
_MAX_POINTERS = 127  # a name has no more labels; more than one pointer a label is an attack
_LABEL_BYTES = b"abcdefghijklmnopqrstuvwxyz0123456789-_"
_KEY_BYTES = _LABEL_BYTES + b"."
_EC_BITS = {13: 256, 14: 384, 15: 256, 16: 456}  # RFC 6605, RFC 8080
_RSA = frozenset({1, 5, 7, 8, 10})
_U16 = Struct(">H")


class Flaw(StrEnum):
    """Why a datagram is no readable response to the question."""

    SHORT = "short"  # ends within a record, or a count is higher than what follows
    NOT_A_RESPONSE = "not_a_response"  # QR not set, or another opcode than QUERY
    OTHER_QUESTION = "other_question"
    BAD_NAME = "bad_name"  # forward pointer, reserved label type, over 255 bytes
    BAD_RDATA = "bad_rdata"  # the asked type's data does not have its form
    BAD_OPT = "bad_opt"  # OPT twice, off the root or outside the additional section
    CNAME_LOOP = "cname_loop"
    TRAILING = "trailing"  # bytes after the last record


class Malformed(Exception):
    def __init__(self, flaw: Flaw) -> None:
        self.flaw = flaw


class Signature(NamedTuple):
    """An RRSIG without its signature. Times are seconds since 1970, not serial arithmetic."""

    signer: str
    algorithm: int
    key_tag: int
    labels: int
    original_ttl: int  # seconds
    inception: int
    expiration: int
    bits: int  # length of the signature; for RSA that of the key


class DelegationSigner(NamedTuple):
    key_tag: int
    algorithm: int
    digest_type: int
    digest: bytes


class Key(NamedTuple):
    """A DNSKEY (RFC 4034 section 2). `bits`: RSA modulus, curve, or 0 if it cannot be told."""

    flags: int
    algorithm: int
    bits: int


class Nsec3Parameters(NamedTuple):
    """Of an NSEC3PARAM record or of an NSEC3 record that denies (RFC 5155)."""

    algorithm: int
    iterations: int
    salt_length: int
    opt_out: bool


class StartOfAuthority(NamedTuple):
    zone: str
    serial: int
    minimum: int


class Denial(NamedTuple):
    """What the authority section of a denial shows."""

    soa: StartOfAuthority | None
    nsec: bool  # an NSEC record is there
    nsec3: Nsec3Parameters | None  # of the first; opt_out if any has the flag


MailExchange = tuple[int, str]
"""Preference and host; a plain tuple, for a tenth of a named one's price."""

Record = str | bytes | int | MailExchange | DelegationSigner | Key | Nsec3Parameters


def read_name(wire: bytes, position: int, asked: str = "") -> tuple[str, int]:
    """The key of the name at `position`, and where what follows it begins.

    Pointers must lead back before where the name (or the last pointer's target) began, so
    that every loop ends. `asked` is the question's name if its key has no escapes: then a
    pointer into it, the most frequent kind by far, is a slice of that key, since each byte
    of the question's wire form stands for one character of it.
    """
    length = wire[position]
    if 0 < length < 64 and wire[(after := position + 1 + length)] >= 192:
        # One label before a pointer into the question: `mx1` of `mx1.example.org`.
        offset = ((wire[after] & 63) << 8 | wire[after + 1]) - QNAME_AT
        if 0 <= offset < len(asked) < 190 and (not offset or asked[offset - 1] == "."):
            label = wire[position + 1 : after].lower()
            if after > offset + QNAME_AT and not label.translate(None, _LABEL_BYTES):
                return f"{label.decode('ascii')}.{asked[offset:]}", after + 2
    labels: list[bytes] = []
    after = 0
    limit = position
    pointers = 0
    total = 1
    suffix = ""
    while length := wire[position]:
        if length < 64:
            start = position + 1
            position = start + length
            labels.append(wire[start:position])
            total += length + 1
        elif length >= 192:
            target = (length & 63) << 8 | wire[position + 1]
            pointers += 1
            if target >= limit or target < QNAME_AT or pointers > _MAX_POINTERS:
                raise Malformed(Flaw.BAD_NAME)
            if not after:
                after = position + 2
            offset = target - QNAME_AT
            if offset < len(asked) and (not offset or asked[offset - 1] == "."):
                suffix = asked[offset:]
                total += len(suffix) + 1
                break
            limit = position = target
        else:
            raise Malformed(Flaw.BAD_NAME)
    if total > 255:
        raise Malformed(Flaw.BAD_NAME)
    if suffix and not labels:
        return suffix, after
    text = b".".join(labels).lower()
    if text.translate(None, _KEY_BYTES) or text.count(b".") != len(labels) - 1:
        key = names.from_labels(labels)
    else:
        key = text.decode("ascii")
    return f"{key}.{suffix}" if suffix else key, after or position + 1


@lru_cache(maxsize=16384)  # the hosts of mail providers come again and again
def _uncompressed(wire: bytes) -> str | None:
    """The key of a name that stands by itself; None if it has a pointer, or is no whole name."""
    try:
        key, after = read_name(wire, 0)
    except (Malformed, IndexError):
        return None
    return key if after == len(wire) else None


def data(wire: bytes, start: int, end: int, _: str) -> bytes:
    return wire[start:end]


def _ipv4(wire: bytes, start: int, end: int, _: str) -> bytes:
    if end - start != 4:
        raise Malformed(Flaw.BAD_RDATA)
    return wire[start:end]


def _ipv6(wire: bytes, start: int, end: int, _: str) -> bytes:
    if end - start != 16:
        raise Malformed(Flaw.BAD_RDATA)
    return wire[start:end]


def _whole_name(wire: bytes, start: int, end: int, asked: str) -> str:
    key, after = read_name(wire, start, asked)
    if after != end:
        raise Malformed(Flaw.BAD_RDATA)
    return key


def _mx(wire: bytes, start: int, end: int, asked: str) -> MailExchange:
    host = _uncompressed(wire[start + 2 : end]) or _whole_name(wire, start + 2, end, asked)
    return wire[start] << 8 | wire[start + 1], host


def _responsible(wire: bytes, start: int, end: int, asked: str) -> str:
    """RNAME of an SOA record: all that the survey keeps of one that it asks for."""
    _, position = read_name(wire, start, asked)
    name, position = read_name(wire, position, asked)
    if position + 20 != end:
        raise Malformed(Flaw.BAD_RDATA)
    return name


def _ds(wire: bytes, start: int, end: int, _: str) -> DelegationSigner:
    if end - start < 4:
        raise Malformed(Flaw.BAD_RDATA)
    tag = _U16.unpack_from(wire, start)[0]
    return DelegationSigner(tag, wire[start + 2], wire[start + 3], wire[start + 4 : end])


def _dnskey(wire: bytes, start: int, end: int, _: str) -> Key:
    if end - start < 4:
        raise Malformed(Flaw.BAD_RDATA)
    algorithm = wire[start + 3]
    key = wire[start + 4 : end]
    bits = _rsa_bits(key) if algorithm in _RSA else _EC_BITS.get(algorithm, 0)
    return Key(_U16.unpack_from(wire, start)[0], algorithm, bits)


def _rsa_bits(key: bytes) -> int:
    """Length of the modulus after the exponent (RFC 3110 section 2); 0 if there is none."""
    if not key:
        return 0
    modulus = key[1 + key[0] :] if key[0] else key[3 + int.from_bytes(key[1:3], "big") :]
    return int.from_bytes(modulus, "big").bit_length()


def nsec3_parameters(wire: bytes, start: int, end: int, _: str = "") -> Nsec3Parameters:
    if end - start < 5 or end - start < 5 + wire[start + 4]:
        raise Malformed(Flaw.BAD_RDATA)
    iterations = _U16.unpack_from(wire, start + 2)[0]
    return Nsec3Parameters(wire[start], iterations, wire[start + 4], wire[start + 1] & 1 != 0)


READERS: dict[int, Callable[[bytes, int, int, str], Record]] = {
    A: _ipv4,
    NS: _whole_name,
    CNAME: _whole_name,
    SOA: _responsible,
    MX: _mx,
    AAAA: _ipv6,
    DS: _ds,
    DNSKEY: _dnskey,
    NSEC3PARAM: nsec3_parameters,
}
