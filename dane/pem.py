"""Digests of PEM texts: what a script publishes that digests a file instead of the DER in it.

`sha256sum fullchain.pem`, or `openssl x509 -pubkey` piped into a digest: a well-formed record
that never matches (RFC 6698 section 2.1.4 digests the DER). The texts are those that common
tools write (RFC 7468 section 2).
"""

import binascii
from collections.abc import Iterator, Sequence

from dane.certificate import Certificate

_LINE = 48  # bytes of DER a line of 64 characters
_MOST_CERTIFICATES = 8
_MOST_BYTES = 4096  # of a certificate


def looked_at(chain: Sequence[Certificate]) -> list[Certificate]:
    """The part of a chain whose texts are made: a mail server needs no more."""
    return [one for one in chain[:_MOST_CERTIFICATES] if len(one.der) <= _MOST_BYTES]


def texts(chain: Sequence[Certificate]) -> Iterator[bytes]:
    """The texts of a chain's certificates, of their keys, and of files with several of them."""
    certificates = [_lines("CERTIFICATE", one.der) for one in chain]
    keys = [_lines("PUBLIC KEY", one.spki) for one in chain if one.spki is not None]
    files = [
        [line for one in certificates[:end] for line in one] for end in range(2, len(chain) + 1)
    ]
    without_leaf = [line for one in certificates[1:] for line in one]
    for lines in (*certificates, *keys, *files, *([without_leaf] if len(chain) > 2 else ())):
        for newline in (b"\n", b"\r\n"):
            text = newline.join(lines)
            yield text + newline
            yield text
    for lines in (*certificates, *keys):  # without the first and the last line
        body = lines[1:-1]
        yield b"".join(body)
        yield b"\n".join(body) + b"\n"


def _lines(label: str, der: bytes) -> list[bytes]:
    body = [
        binascii.b2a_base64(der[at : at + _LINE], newline=False) for at in range(0, len(der), _LINE)
    ]
    return [f"-----BEGIN {label}-----".encode(), *body, f"-----END {label}-----".encode()]
