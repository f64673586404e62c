"""RDATA of DS, NS and SOA, as text and as the wire form that RFC 3597 lets a file have."""

import re

from dane import names

_HEX = re.compile(rb"(?:[0-9A-Fa-f]{2})+")
# DNSSEC algorithm mnemonics that RFC 4034 section 5.3 allows in a DS (RFC 4034 appendix A.1
# and the IANA registry)
_ALGORITHMS = {
    b"RSAMD5": 1,
    b"DH": 2,
    b"DSA": 3,
    b"ECC": 4,
    b"RSASHA1": 5,
    b"DSA-NSEC3-SHA1": 6,
    b"RSASHA1-NSEC3-SHA1": 7,
    b"RSASHA256": 8,
    b"RSASHA512": 10,
    b"ECC-GOST": 12,
    b"ECDSAP256SHA256": 13,
    b"ECDSAP384SHA384": 14,
    b"ED25519": 15,
    b"ED448": 16,
    b"INDIRECT": 252,
    b"PRIVATEDNS": 253,
    b"PRIVATEOID": 254,
}


def number(text: bytes, limit: int) -> int:
    if not text.isdigit() or len(text) > 10 or int(text) > limit:
        raise ValueError(f"{text.decode('ascii', 'replace')!r} is no number up to {limit}")
    return int(text)


def ds_text(fields: list[bytes]) -> str:
    """`key-tag algorithm digest-type digest`, digest in lower-case hex (RFC 4034 section 5.3).

    The digest may come in several parts. Raises ValueError for what is no DS.
    """
    if len(fields) < 4:
        raise ValueError("a DS needs key tag, algorithm, digest type and digest")
    tag, algorithm, digest_type, *parts = fields
    digest = b"".join(parts)
    if not _HEX.fullmatch(digest):
        raise ValueError("the digest of a DS is no hexadecimal number")
    known = _ALGORITHMS.get(algorithm.upper())
    return (
        f"{number(tag, 65535)} {number(algorithm, 255) if known is None else known} "
        f"{number(digest_type, 255)} {digest.decode().lower()}"
    )


def generic(words: list[bytes]) -> bytes:
    r"""The wire RDATA of `\# length hex…` (RFC 3597 section 5)."""
    digits = b"".join(words[2:])
    if len(words) < 2 or (digits and not _HEX.fullmatch(digits)):
        raise ValueError("bad RFC 3597 RDATA")
    wire = bytes.fromhex(digits.decode())
    if len(wire) != number(words[1], 65535):
        raise ValueError("RFC 3597 RDATA of another length than it says")
    return wire


def wire_name(wire: bytes, at: int) -> tuple[str, int]:
    """The key of the uncompressed name at an offset, and where it ends."""
    end = at
    while end < len(wire) and wire[end]:
        end += 1 + wire[end]
    return names.from_wire(wire[at : end + 1]), end + 1
