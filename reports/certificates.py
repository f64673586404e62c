"""Certificates described: what the DER of a certificate says, as columns.

Servers send what they like: a certificate that cannot be parsed, or only in part, keeps
its bytes and has nulls for the rest. Nothing here judges a certificate (`dane.certificate`,
`dane.verify` do).
"""

import warnings
from collections.abc import Callable
from typing import Any, TypeVar

import pyarrow as pa
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.utils import CryptographyDeprecationWarning

from dane.certificate import Certificate
from reports.dictionary import CERTIFICATES

T = TypeVar("T")

_KEY_TYPES: tuple[tuple[type, str, int | None], ...] = (
    (rsa.RSAPublicKey, "rsa", None),
    (ec.EllipticCurvePublicKey, "ecdsa", None),
    (ed25519.Ed25519PublicKey, "ed25519", 256),
    (ed448.Ed448PublicKey, "ed448", 456),
    (dsa.DSAPublicKey, "dsa", None),
)
_UNREADABLE = (ValueError, TypeError, UnsupportedAlgorithm)


def describe(rows: pa.RecordBatch) -> pa.RecordBatch:
    """Rows of (sha256, der, first_run) with the columns that the certificates tell."""
    described = [{**row, **_columns(Certificate(row["der"]))} for row in rows.to_pylist()]
    return pa.RecordBatch.from_pylist(described, schema=CERTIFICATES.schema)


def _columns(certificate: Certificate) -> dict[str, Any]:
    key_type, key_bits = _key(certificate)
    columns: dict[str, Any] = {
        "key_type": key_type,
        "key_bits": key_bits,
        "names": list(certificate.facts.dns_ids) if certificate.facts else [],
    }
    parsed = certificate.parsed
    if parsed is None:
        return columns
    with warnings.catch_warnings():
        # an odd length or country code in a name: theirs, and not worth a word here
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        warnings.simplefilter("ignore", UserWarning)
        return columns | {
            "subject": _readable(lambda: parsed.subject.rfc4514_string()),
            "issuer": _readable(lambda: parsed.issuer.rfc4514_string()),
            "serial_number": _readable(lambda: f"{parsed.serial_number:x}"),
            "not_before": _readable(lambda: parsed.not_valid_before_utc),
            "not_after": _readable(lambda: parsed.not_valid_after_utc),
            "signature_algorithm": _readable(lambda: parsed.signature_algorithm_oid.dotted_string),
            "self_issued": _readable(lambda: certificate.self_issued),
        }


def _key(certificate: Certificate) -> tuple[str | None, int | None]:
    key = certificate.key
    if key is None:
        return None, None
    for kind, name, bits in _KEY_TYPES:
        if isinstance(key, kind):
            return name, bits or getattr(key, "key_size", None)
    return "other", None


def _readable(read: Callable[[], T]) -> T | None:
    try:
        return read()
    except _UNREADABLE:
        return None
