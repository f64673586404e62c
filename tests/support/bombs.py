"""Chains and TLSA RRsets that are made to cost a verifier as much as they can.

Each is what a mail server may send (100 KiB of certificates at most, OpenSSL's own bound) or
what a zone may hold (64 KiB of records), unless its line says otherwise.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache, partial
from hashlib import sha256

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from dane.tlsa import TLSARecord
from tests.oracle.chains import AT, BASE

_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Bomb:
    """A chain (DER, the leaf first) and the records to verify it against."""

    chain: tuple[bytes, ...]
    tlsa: tuple[TLSARecord, ...]


@cache
def _key(number: int) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _certificate(
    subject: str | x509.Name,
    issuer: str | x509.Name,
    key: CertificatePublicKeyTypes,
    signer: ec.EllipticCurvePrivateKey,
    serial: int,
    *extensions: x509.ExtensionType,
) -> bytes:
    builder = x509.CertificateBuilder(
        _name(issuer) if isinstance(issuer, str) else issuer,
        _name(subject) if isinstance(subject, str) else subject,
        key,
        serial,
        AT - _DAY,
        AT + _DAY,
    )
    for one in extensions:
        builder = builder.add_extension(one, critical=False)
    return builder.sign(signer, hashes.SHA256()).public_bytes(Encoding.DER)


_CA = x509.BasicConstraints(ca=True, path_length=None)


def _hosts(count: int) -> list[x509.GeneralName]:
    return [x509.DNSName(f"{i}.{BASE}") for i in range(count)]


def _record(usage: int, selector: int, matching_type: int, data: bytes) -> TLSARecord:
    return TLSARecord(usage, selector, matching_type, data)


def _random_digest(number: int) -> bytes:
    return sha256(number.to_bytes(4, "big")).digest()


def self_issued(authorities: int, names: int, subtrees: int, records: int) -> Bomb:
    """Authorities of one name and one key, so that each issued every other, each with name
    constraints that the leaf's names keep; no path ends, for the record is of a stranger."""
    excluded = [x509.DNSName(f"{i}.x") for i in range(subtrees)]
    constraints = x509.NameConstraints(None, excluded) if subtrees else None
    extra = [constraints] if constraints else []
    key = _key(0)
    chain = [
        _certificate(BASE, "CA", _key(1).public_key(), key, 1,
                     x509.SubjectAlternativeName(_hosts(names) or [x509.DNSName(BASE)])),
        *(_certificate("CA", "CA", key.public_key(), key, 2 + i, _CA, *extra)
          for i in range(authorities)),
    ]  # fmt: skip
    wrong = _certificate("CA", "CA", key.public_key(), key, 999, x509.BasicConstraints(False, None))
    anchors = [_record(2, 0, 0, wrong)] + [
        _record(2, 0, 0, wrong[:-1] + bytes([i])) for i in range(records - 1)
    ]
    return Bomb(tuple(chain), tuple(anchors))


def names_by_constraints(names: int, subtrees: int) -> Bomb:
    """One leaf of many names below a line of authorities of many subtrees."""
    chain = [
        _certificate(BASE, "CA 0", _key(1).public_key(), _key(2), 1,
                     x509.SubjectAlternativeName(_hosts(names))),
        *(
            _certificate(
                f"CA {i}", f"CA {i + 1}", _key(2).public_key(), _key(2), 2 + i, _CA,
                x509.NameConstraints([x509.DNSName(f"{n}.{BASE}") for n in range(subtrees)], None),
            )
            for i in range(8)
        ),
    ]  # fmt: skip
    return Bomb(tuple(chain), (_record(2, 0, 1, sha256(chain[-1]).digest()),))


def directories_by_constraints(names: int, subtrees: int) -> Bomb:
    """The same with directory names, whose comparison is dear."""

    def directory(number: int) -> x509.DirectoryName:
        parts = ["a", "b", "c", str(number)]
        return x509.DirectoryName(
            x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, one) for one in parts])
        )

    chain = [
        _certificate(BASE, "CA", _key(1).public_key(), _key(2), 1,
                     x509.SubjectAlternativeName([directory(i) for i in range(names)])),
        _certificate("CA", "CA", _key(2).public_key(), _key(2), 2, _CA,
                     x509.NameConstraints([directory(i) for i in range(subtrees)], None)),
    ]  # fmt: skip
    return Bomb(tuple(chain), (_record(2, 0, 1, sha256(chain[-1]).digest()),))


def records_by_certificates(certificates: int, records: int) -> Bomb:
    """A line of authorities, and records of keys that signed nothing."""
    chain = [
        _certificate(BASE, "CA 0", _key(1).public_key(), _key(2), 1),
        *(_certificate(f"CA {i}", f"CA {i + 1}", _key(2).public_key(), _key(2), 2 + i, _CA)
          for i in range(certificates)),
    ]  # fmt: skip
    point = _key(1).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    off = [point[:-32] + _random_digest(i) for i in range(2)]
    keys = [
        ec.derive_private_key(1000 + i, ec.SECP256R1())
        .public_key()
        .public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        for i in range(records)
    ]
    return Bomb(tuple(chain), tuple(_record(2, 1, 0, one) for one in [*keys, *off]))


def digests_by_certificates(certificates: int, records: int) -> Bomb:
    """Records that fit nothing: each asks for its cause among all certificates."""
    bomb = records_by_certificates(certificates, 0)
    return Bomb(bomb.chain, tuple(_record(2, i % 2, 1, _random_digest(i)) for i in range(records)))


def one_name(certificates: int) -> Bomb:
    """Certificates of one name and a key each: as many signatures as pairs."""
    chain = [
        _certificate(BASE, "CA", _key(0).public_key(), _key(0), 1),
        *(_certificate("CA", "CA", _key(i).public_key(), _key(certificates), 1, _CA)
          for i in range(certificates)),
    ]  # fmt: skip
    return Bomb(tuple(chain), (_record(2, 0, 1, sha256(chain[-1]).digest()),))


def slow_rsa(certificates: int, bits: int, exponent_bits: int) -> Bomb:
    """Authorities of one name with RSA keys of the dearest public exponent. (None of them signed
    anything; the signature algorithm says RSA, so that each is tried.)"""
    signer = rsa.generate_private_key(65537, 2048)

    def key(number: int) -> rsa.RSAPublicKey:
        modulus = int.from_bytes(_random_digest(number) * (bits // 256), "big")
        modulus |= 1 << (bits - 1) | 1
        return rsa.RSAPublicNumbers((1 << exponent_bits) - 1, modulus).public_key()

    def made(subject: str, public_key: CertificatePublicKeyTypes, serial: int) -> bytes:
        builder = x509.CertificateBuilder(
            _name("CA"), _name(subject), public_key, serial, AT - _DAY, AT + _DAY
        ).add_extension(_CA, critical=True)
        der = builder.sign(signer, hashes.SHA256()).public_bytes(Encoding.DER)
        return _with_signature_of(der, bits // 8)

    chain = [
        made(BASE, signer.public_key(), 1),
        *(made("CA", key(i), 2 + i) for i in range(certificates)),
    ]
    return Bomb(tuple(chain), (_record(2, 0, 1, sha256(chain[-1]).digest()),))


def _with_signature_of(der: bytes, length: int) -> bytes:
    """The certificate with a signature of that length, which is what a key of that size asks for
    before it computes anything. X.690: a BIT STRING is the last part."""
    body = _element_of(der)
    signature = b"\0" + bytes([0x3F]) * length
    return _tagged(0x30, body[: -(256 + 1 + 4)] + _tagged(0x03, signature))


def _element_of(der: bytes) -> bytes:
    size = der[1] & 0x7F if der[1] & 0x80 else 0
    return der[2 + size :]


def _tagged(tag: int, content: bytes) -> bytes:
    size = len(content).to_bytes(2, "big").lstrip(b"\0")  # all of them are over 127 bytes
    return bytes([tag, 0x80 | len(size)]) + size + content


def tiny_names(count: int) -> Bomb:
    """The most names that a certificate can have."""
    leaf = _certificate(BASE, "CA", _key(1).public_key(), _key(2), 1,
                        x509.SubjectAlternativeName([x509.DNSName("a")] * count))  # fmt: skip
    ca = _certificate("CA", "CA", _key(2).public_key(), _key(2), 2, _CA)
    return Bomb((leaf, ca), (_record(2, 0, 1, sha256(ca).digest()),))


def dotted_name(length: int) -> Bomb:
    """A name that is nothing but dots, below constraints."""
    names = x509.SubjectAlternativeName([x509.DNSName("a." * (length // 2))])
    leaf = _certificate(BASE, "CA", _key(1).public_key(), _key(2), 1, names)
    ca = _certificate("CA", "CA", _key(2).public_key(), _key(2), 2, _CA,
                      x509.NameConstraints([x509.DNSName("b")], None))  # fmt: skip
    return Bomb((leaf, ca), (_record(2, 0, 1, sha256(ca).digest()),))


def long_subject(attributes: int, certificates: int) -> Bomb:
    """Names of many attributes, which must be compared one by one."""
    long_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a")] * attributes)
    chain = [
        _certificate(BASE, long_name, _key(1).public_key(), _key(2), 1),
        *(_certificate(long_name, long_name, _key(2).public_key(), _key(2), 2 + i, _CA)
          for i in range(certificates)),
    ]  # fmt: skip
    return Bomb(tuple(chain), (_record(2, 0, 0, chain[-1]),))


def big_chain(mebibytes: int) -> Bomb:
    """More than TLS lets a server send, as `danesurvey verify` may be given it."""
    extra = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), bytes(1 << 20))
    chain = [
        _certificate(BASE, "CA 0", _key(1).public_key(), _key(2), 1),
        *(_certificate(f"CA {i}", f"CA {i + 1}", _key(2).public_key(), _key(2), 2 + i, _CA, extra)
          for i in range(mebibytes)),
    ]  # fmt: skip
    return Bomb(tuple(chain), (_record(2, 0, 1, sha256(chain[-1]).digest()),))


BOMBS: Mapping[str, Callable[[], Bomb]] = {
    "self-issued authorities with name constraints, one record": partial(self_issued, 40, 40, 8, 1),
    "self-issued authorities with name constraints, three records": partial(
        self_issued, 40, 40, 8, 3
    ),
    "many names by many constraints": partial(names_by_constraints, 1500, 220),
    "many directory names by many constraints": partial(directories_by_constraints, 700, 700),
    "many keys from DNS by many certificates": partial(records_by_certificates, 120, 600),
    "many digests by many certificates": partial(digests_by_certificates, 250, 1600),
    "250 certificates of one name": partial(one_name, 250),
    "RSA-3072 with an exponent of 3071 bits": partial(slow_rsa, 80, 3072, 3071),
    "RSA-16384 with an exponent of 64 bits": partial(slow_rsa, 20, 16384, 64),
    "32 000 names of one letter": partial(tiny_names, 32_000),
    "a name of 60 000 dots": partial(dotted_name, 60_000),
    "names of 900 attributes": partial(long_subject, 900, 3),
    "a chain of 16 MiB": partial(big_chain, 16),
}
"""What it is, and how it is made."""


def honest(records: Sequence[tuple[int, int]] = ((3, 1), (2, 0), (2, 1))) -> Bomb:
    """What a mail server sends: RSA-2048 leaf with five names, RSA-4096 issuers."""
    root, issuer, server = (rsa.generate_private_key(65537, bits) for bits in (4096, 4096, 2048))

    def made(
        subject: str, issuer_name: str, key: rsa.RSAPrivateKey, signer: rsa.RSAPrivateKey,
        *extensions: x509.ExtensionType,
    ) -> x509.Certificate:  # fmt: skip
        builder = x509.CertificateBuilder(
            _name(issuer_name), _name(subject), key.public_key(), 7, AT - _DAY, AT + _DAY
        )
        for one in extensions:
            builder = builder.add_extension(one, critical=False)
        return builder.sign(signer, hashes.SHA256())

    certificates = (
        made(BASE, "issuer", server, issuer, x509.SubjectAlternativeName(
            [x509.DNSName(BASE), *_hosts(4)])),
        made("issuer", "root", issuer, root, _CA),
        made("root", "root", root, root, _CA),
    )  # fmt: skip
    chain = tuple(one.public_bytes(Encoding.DER) for one in certificates)
    spki = [
        one.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        for one in certificates
    ]
    return Bomb(
        chain,
        tuple(
            _record(usage, selector, 1, sha256((spki if selector else chain)[place]).digest())
            for usage, selector in records
            for place in ([0] if usage == 3 else [1, 2])
        ),
    )
