"""Resource records as their text and their canonical wire form, side by side.

Name servers read the text, signatures are made over the wire form (RFC 4034 section 6.2).
Both are built here once, by hand: a hundred thousand zones pass through, and a general
parser costs ten times as much. Names are keys (`dane.names`): lower case, no final dot.
"""

import base64
import socket
import struct
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from dane.names import to_labels

A, NS, CNAME, SOA, MX, TXT, AAAA = 1, 2, 5, 6, 15, 16, 28
DNAME, DS, RRSIG, NSEC, DNSKEY, NSEC3, NSEC3PARAM, TLSA = 39, 43, 46, 47, 48, 50, 51, 52

MNEMONIC = {
    A: "A",
    NS: "NS",
    CNAME: "CNAME",
    SOA: "SOA",
    MX: "MX",
    TXT: "TXT",
    AAAA: "AAAA",
    DNAME: "DNAME",
    DS: "DS",
    RRSIG: "RRSIG",
    NSEC: "NSEC",
    DNSKEY: "DNSKEY",
    NSEC3: "NSEC3",
    NSEC3PARAM: "NSEC3PARAM",
    TLSA: "TLSA",
}


class Rdata(NamedTuple):
    """The data of one record: type code, presentation form, canonical wire form."""

    type: int
    text: str
    wire: bytes


@lru_cache(maxsize=1024)
def wire_name(key: str) -> bytes:
    """Uncompressed wire form of a name's key. Raises NameFault."""
    if key == ".":
        return b"\0"
    # to_labels is the one place that knows escapes; the plain names need none of it
    labels = to_labels(key) if "\\" in key else key.encode("ascii").split(b".")
    return b"".join(bytes((len(one),)) + one for one in labels) + b"\0"


def absolute(key: str) -> str:
    """A key with its final dot, as a zone file needs it."""
    return key if key == "." else key + "."


def a(address: str) -> Rdata:
    return Rdata(A, address, socket.inet_aton(address))


def aaaa(address: str) -> Rdata:
    return Rdata(AAAA, address, socket.inet_pton(socket.AF_INET6, address))


def address(text: str) -> Rdata:
    """A or AAAA, by the look of the address."""
    return aaaa(text) if ":" in text else a(text)


@lru_cache(maxsize=1024)  # of few operators, for a hundred thousand domains
def ns(host: str) -> Rdata:
    return Rdata(NS, absolute(host), wire_name(host))


def cname(target: str) -> Rdata:
    return Rdata(CNAME, absolute(target), wire_name(target))


def dname(target: str) -> Rdata:
    return Rdata(DNAME, absolute(target), wire_name(target))


@lru_cache(maxsize=1024)  # likewise of few providers
def mx(preference: int, host: str) -> Rdata:
    return Rdata(
        MX, f"{preference} {absolute(host)}", struct.pack("!H", preference) + wire_name(host)
    )


def txt(text: str) -> Rdata:
    raw = text.encode("ascii")
    return Rdata(TXT, f'"{text}"', bytes((len(raw),)) + raw)


def tlsa(usage: int, selector: int, matching_type: int, data: bytes) -> Rdata:
    wire = bytes((usage, selector, matching_type)) + data
    if not data:  # the presentation form has no way to write an empty field: RFC 3597
        return Rdata(TLSA, rf"\# {len(wire)} {wire.hex()}", wire)
    return Rdata(TLSA, f"{usage} {selector} {matching_type} {data.hex()}", wire)


def soa(server: str, mailbox: str, serial: int, negative_ttl_s: int) -> Rdata:
    timers = (serial, 7200, 3600, 1209600, negative_ttl_s)
    return Rdata(
        SOA,
        f"{absolute(server)} {absolute(mailbox)} {' '.join(map(str, timers))}",
        wire_name(server) + wire_name(mailbox) + struct.pack("!5I", *timers),
    )


def ds(key_tag: int, algorithm: int, digest_type: int, digest: bytes) -> Rdata:
    return Rdata(
        DS,
        f"{key_tag} {algorithm} {digest_type} {digest.hex()}",
        struct.pack("!HBB", key_tag, algorithm, digest_type) + digest,
    )


def dnskey(flags: int, algorithm: int, public_key: bytes) -> Rdata:
    return Rdata(
        DNSKEY,
        f"{flags} 3 {algorithm} {base64.b64encode(public_key).decode()}",
        struct.pack("!HBB", flags, 3, algorithm) + public_key,
    )


def type_bitmap(types: Iterable[int]) -> bytes:
    """Windows of type bits (RFC 4034 section 4.1.2)."""
    windows: dict[int, bytearray] = {}
    for code in types:
        bits = windows.setdefault(code >> 8, bytearray(32))
        bits[(code & 0xFF) >> 3] |= 0x80 >> (code & 7)
    out = bytearray()
    for number in sorted(windows):
        bits = windows[number].rstrip(b"\0")
        out += bytes((number, len(bits))) + bits
    return bytes(out)


def _types_text(types: Iterable[int]) -> str:
    return " ".join(MNEMONIC.get(code, f"TYPE{code}") for code in sorted(types))


def nsec(next_name: str, types: Iterable[int]) -> Rdata:
    types = list(types)
    return Rdata(
        NSEC,
        f"{absolute(next_name)} {_types_text(types)}",
        wire_name(next_name) + type_bitmap(types),
    )


def nsec3param(iterations: int, salt: bytes) -> Rdata:
    return Rdata(
        NSEC3PARAM,
        f"1 0 {iterations} {salt.hex() or '-'}",
        struct.pack("!BBHB", 1, 0, iterations, len(salt)) + salt,
    )


def nsec3(
    *, opt_out: bool, iterations: int, salt: bytes, next_hash: bytes, types: Iterable[int]
) -> Rdata:
    types = list(types)
    return Rdata(
        NSEC3,
        f"1 {opt_out:d} {iterations} {salt.hex() or '-'} {base32hex(next_hash)} "
        f"{_types_text(types)}".rstrip(),
        struct.pack("!BBHB", 1, opt_out, iterations, len(salt))
        + salt
        + bytes((len(next_hash),))
        + next_hash
        + type_bitmap(types),
    )


def base32hex(raw: bytes) -> str:
    """Base 32 with the extended hex alphabet, lower case, no padding (RFC 5155 section 3.3)."""
    return base64.b32hexencode(raw).decode().rstrip("=").lower()
