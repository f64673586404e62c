"""Domain names: wire-exact, lower-cased keys and their one presentation form.

The key of a name is its presentation form in lower case without the final dot (the root
is `.`), with every byte that is not a letter, digit, hyphen or underscore escaped as
`\\DDD` (RFC 1035 section 5.1). Equal names have equal keys (RFC 4343: ASCII case only),
and the wire form can be had back exactly. No IDNA here: names are bytes. Whose a name is,
the Public Suffix List tells (`registrable_domain`, `operator`).
"""

import zlib
from collections.abc import Mapping
from functools import cache, lru_cache
from importlib.metadata import version

from publicsuffixlist import PublicSuffixList

_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789-_")
_LABEL_BYTE = [chr(b) if b in _PLAIN else f"\\{b:03d}" for b in range(256)]
BUCKETS = 4096


class NameFault(ValueError):
    """The text or the bytes are not a domain name."""


def from_labels(labels: list[bytes]) -> str:
    """The key of a name given as labels without the root label."""
    if not labels:
        return "."
    return ".".join("".join(map(_LABEL_BYTE.__getitem__, label.lower())) for label in labels)


def to_labels(text: str) -> list[bytes]:
    """Labels (lower case, without the root) of a presentation form, final dot or not.

    Raises NameFault for an empty label, a label over 63 or a name over 255 bytes, a bad escape.
    """
    raw = text.encode("utf-8", "surrogateescape").lower()
    if raw in (b".", b""):
        if not raw:
            raise NameFault("an empty name")
        return []
    labels: list[bytes] = []
    label = bytearray()
    i, n = 0, len(raw)
    while i < n:
        c = raw[i]
        if c == 0x5C:  # backslash
            digits = raw[i + 1 : i + 4]
            if len(digits) == 3 and digits.isdigit():
                value = int(digits)
                if value > 255:
                    raise NameFault(f"escape \\{value} is over 255")
                label += bytes((value,)).lower()
                i += 4
                continue
            if i + 1 >= n or raw[i + 1 : i + 2].isdigit():
                raise NameFault("a bad escape")
            label.append(raw[i + 1])
            i += 2
            continue
        if c == 0x2E:
            if not label:
                raise NameFault("an empty label")
            labels.append(bytes(label))
            label.clear()
        else:
            label.append(c)
        i += 1
    if label:
        labels.append(bytes(label))
    if any(len(one) > 63 for one in labels):
        raise NameFault("a label over 63 bytes")
    if sum(map(len, labels)) + len(labels) + 1 > 255:
        raise NameFault("a name over 255 bytes")
    return labels


def canonical(text: str) -> str:
    """The key of a name given in any case, with or without the final dot. Raises NameFault."""
    return from_labels(to_labels(text))


def to_wire(key: str) -> bytes:
    """Uncompressed wire form (RFC 1035 section 3.1), lower case."""
    return b"".join(bytes((len(one),)) + one for one in to_labels(key)) + b"\0"


def from_wire(wire: bytes) -> str:
    """The key of an uncompressed wire form. Raises NameFault if it is not exactly one name."""
    labels: list[bytes] = []
    i = 0
    while i < len(wire):
        length = wire[i]
        if length == 0:
            if i + 1 != len(wire) or len(wire) > 255:
                break
            return from_labels(labels)
        if length > 63 or i + 1 + length > len(wire):
            break
        labels.append(wire[i + 1 : i + 1 + length])
        i += 1 + length
    raise NameFault("not one uncompressed name")


def bucket(key: str) -> int:
    """0..4095: the shard of a name. CRC-32 (ISO 3309) of the key's bytes, modulo 4096."""
    return zlib.crc32(key.encode("ascii")) & (BUCKETS - 1)


@cache
def _public_suffixes() -> PublicSuffixList:
    return PublicSuffixList()


def public_suffix_list_version() -> str:
    """The edition of the Public Suffix List in use; its last part is a date."""
    return version("publicsuffixlist")


@lru_cache(maxsize=65536)
def registrable_domain(key: str) -> str:
    """The name under a public suffix that contains `key`: whom it was registered by. A name
    that is a public suffix itself, or the root, stands for itself."""
    return _public_suffixes().privatesuffix(key) or key


def operator(key: str, merges: Mapping[str, str]) -> str:
    """Who operates a host: its registrable domain, or what that is merged into (providers use
    several domains). `merges`: registrable domain -> operator."""
    domain = registrable_domain(key)
    return merges.get(domain, domain)
