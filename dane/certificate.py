"""One certificate as a server sent it: what can be read of it, and whether a key signed it.

Nothing here raises on hostile bytes. Three states are kept apart all the way up: yes, no,
and *not readable with our library* (None), because the last must never be called a
mismatch (measurement, section 5). RFC 5280 sections 4.1, 4.2 and 6.1.
"""

import hashlib
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, lru_cache
from typing import Any, cast

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import (
    dsa,
    ec,
    ed448,
    ed25519,
    mldsa,
    padding,
    rsa,
)
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import load_der_public_key
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID, SignatureAlgorithmOID

from dane.constraints import Constraints
from dane.der import Cut, cut_certificate, is_spki
from dane.identity import presented_name

# Of an odd serial number and the like in a stranger's certificate: nobody here can mend it.
warnings.filterwarnings("ignore", category=CryptographyDeprecationWarning)

_UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""What cryptography raises on bytes or algorithms that it refuses."""

_UNDERSTOOD = frozenset(
    {
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
        ExtensionOID.ISSUER_ALTERNATIVE_NAME,
        ExtensionOID.NAME_CONSTRAINTS,
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
        ExtensionOID.SUBJECT_KEY_IDENTIFIER,
        ExtensionOID.CERTIFICATE_POLICIES,
        ExtensionOID.POLICY_MAPPINGS,
        ExtensionOID.POLICY_CONSTRAINTS,
        ExtensionOID.INHIBIT_ANY_POLICY,
        ExtensionOID.CRL_DISTRIBUTION_POINTS,
        ExtensionOID.FRESHEST_CRL,
        ExtensionOID.TLS_FEATURE,
    }
)
"""Critical extensions that do not stop a path (RFC 5280 section 4.2). Policies and
revocation have no part in DANE for SMTP: no policy is asked for, no CRL is fetched."""

_SERVER_PURPOSES = frozenset(
    {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}
)

_RSA_PKCS1 = frozenset(
    {
        SignatureAlgorithmOID.RSA_WITH_MD5,
        SignatureAlgorithmOID.RSA_WITH_SHA1,
        SignatureAlgorithmOID.RSA_WITH_SHA224,
        SignatureAlgorithmOID.RSA_WITH_SHA256,
        SignatureAlgorithmOID.RSA_WITH_SHA384,
        SignatureAlgorithmOID.RSA_WITH_SHA512,
        SignatureAlgorithmOID.RSA_WITH_SHA3_224,
        SignatureAlgorithmOID.RSA_WITH_SHA3_256,
        SignatureAlgorithmOID.RSA_WITH_SHA3_384,
        SignatureAlgorithmOID.RSA_WITH_SHA3_512,
    }
)
_ECDSA = frozenset(
    {
        SignatureAlgorithmOID.ECDSA_WITH_SHA1,
        SignatureAlgorithmOID.ECDSA_WITH_SHA224,
        SignatureAlgorithmOID.ECDSA_WITH_SHA256,
        SignatureAlgorithmOID.ECDSA_WITH_SHA384,
        SignatureAlgorithmOID.ECDSA_WITH_SHA512,
        SignatureAlgorithmOID.ECDSA_WITH_SHA3_224,
        SignatureAlgorithmOID.ECDSA_WITH_SHA3_256,
        SignatureAlgorithmOID.ECDSA_WITH_SHA3_384,
        SignatureAlgorithmOID.ECDSA_WITH_SHA3_512,
    }
)
_DSA = frozenset(
    {
        SignatureAlgorithmOID.DSA_WITH_SHA1,
        SignatureAlgorithmOID.DSA_WITH_SHA224,
        SignatureAlgorithmOID.DSA_WITH_SHA256,
        SignatureAlgorithmOID.DSA_WITH_SHA384,
        SignatureAlgorithmOID.DSA_WITH_SHA512,
    }
)


_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?"
_HOST_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})+", re.ASCII)
_MOST_BYTES_KEPT = 4096
_MOST_KEPT = 256
"""Certificates and keys that are kept. With all that was read of it, a certificate takes up to
35 times its bytes."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What path validation asks of one certificate (RFC 5280 sections 4.2 and 6.1)."""

    not_before: datetime
    not_after: datetime
    is_v1: bool
    is_ca: bool | None  # basicConstraints; None: no such extension
    path_length: int | None
    signs_certificates: bool | None  # keyUsage keyCertSign; None: no such extension
    serves: bool  # keyUsage, if present, lets a TLS server use the key
    server_purpose: bool  # extended key usage, if present, includes TLS servers
    understood: bool  # no critical extension is unknown
    dns_ids: tuple[str, ...]  # dNSName entries of the subjectAltName
    common_names: tuple[str, ...]
    general_names: tuple[x509.GeneralName, ...]  # all that name constraints may speak of
    constraints: Constraints | None


class Certificate:
    """One certificate; each view is made when first asked for, and kept."""

    def __init__(self, der: bytes) -> None:
        self.der = der

    @cached_property
    def cut(self) -> Cut | None:
        """The raw fields; None where the bytes are not a certificate even in shape."""
        return cut_certificate(self.der)

    @cached_property
    def spki(self) -> bytes | None:
        """SubjectPublicKeyInfo, DER."""
        return self.cut.spki if self.cut else None

    @cached_property
    def parsed(self) -> x509.Certificate | None:
        """None where the library refuses the certificate."""
        if self.cut is None:
            return None
        try:
            return x509.load_der_x509_certificate(self.der)
        except _UNREADABLE:
            return None

    @cached_property
    def key(self) -> CertificatePublicKeyTypes | None:
        """None where the library cannot use the key."""
        return load_key(self.spki) if self.spki is not None else None

    @cached_property
    def facts(self) -> Facts | None:
        """None where the certificate, or any of its extensions, cannot be read."""
        if self.parsed is None:
            return None
        try:
            return _read(self.parsed)
        except _UNREADABLE:
            return None

    @property
    def reading_steps(self) -> int:
        """What `facts` costs (`dane.work`): most for extensions of many short entries."""
        return 20 + len(self.der) // 3

    @cached_property
    def self_issued(self) -> bool:
        """Whether issuer and subject are one name (RFC 5280 section 6.1)."""
        return is_issuer_name(self, self)

    @cached_property
    def issuer_key(self) -> tuple[object, ...] | bytes:
        """The issuer's name in the form in which RFC 5280 section 7.1 compares names."""
        return _comparable(self, "issuer")

    @cached_property
    def subject_key(self) -> tuple[object, ...] | bytes:
        """The subject's name, likewise."""
        return _comparable(self, "subject")

    @property
    def names(self) -> tuple[str, ...]:
        """What the name check compares: DNS-IDs, and the CN only if there is none (RFC 7672
        section 3.2.3). Empty where the certificate cannot be read."""
        if self.facts is None:
            return ()
        return self.facts.dns_ids or self.facts.common_names


def read_certificate(der: bytes) -> Certificate:
    """A certificate by its bytes. Authorities are shared by thousands of servers, so the last
    few certificates are kept, unless they are huge."""
    return _kept(der) if len(der) <= _MOST_BYTES_KEPT else Certificate(der)


@lru_cache(maxsize=_MOST_KEPT)
def _kept(der: bytes) -> Certificate:
    return Certificate(der)


def parses_as_certificate(data: bytes) -> bool:
    """Whether a Cert(0) Full(0) record has a certificate in it. An algorithm unknown to us is
    no reason against it; a key that its own algorithm refuses is."""
    cut = cut_certificate(data)
    return cut is not None and _key_is_sound(cut.spki)


def parses_as_spki(data: bytes) -> bool:
    """Whether an SPKI(1) Full(0) record has a SubjectPublicKeyInfo in it; likewise."""
    return is_spki(data) and _key_is_sound(data)


def _key_is_sound(spki: bytes) -> bool:
    try:
        load_der_public_key(spki)
    except UnsupportedAlgorithm:
        return True
    except ValueError:
        return False
    return True


def load_key(spki: bytes) -> CertificatePublicKeyTypes | None:
    """The public key of a SubjectPublicKeyInfo; None where the library cannot use it."""
    return _kept_key(spki) if len(spki) <= _MOST_BYTES_KEPT else _load_key(spki)


@lru_cache(maxsize=_MOST_KEPT)
def _kept_key(spki: bytes) -> CertificatePublicKeyTypes | None:
    return _load_key(spki)


def _load_key(spki: bytes) -> CertificatePublicKeyTypes | None:
    try:
        return load_der_public_key(spki)  # type: ignore[return-value]
    except _UNREADABLE:
        return None


def is_issuer_name(issuer: Certificate, subject: Certificate) -> bool:
    """Whether the one's subject is the other's issuer (RFC 5280 sections 6.1.3 and 7.1)."""
    if issuer.cut is None or subject.cut is None:
        return False
    # The slow comparison only matters where the same name was encoded in two ways.
    return issuer.cut.subject == subject.cut.issuer or issuer.subject_key == subject.issuer_key


def is_signed_by(certificate: Certificate, key: CertificatePublicKeyTypes | None) -> bool | None:
    """Whether the key made the certificate's signature; None where we cannot tell."""
    parsed = certificate.parsed
    if parsed is None or key is None:
        return None
    algorithm = parsed.signature_algorithm_oid
    if algorithm not in _KNOWN_ALGORITHMS:
        return None
    for kind, algorithms, check in _SCHEMES:
        if isinstance(key, kind):
            if algorithm not in algorithms:
                return False
            try:
                check(key, parsed)
            except InvalidSignature:
                return False
            except _UNREADABLE:
                return None
            return True
    return None


def verification_steps(key: CertificatePublicKeyTypes | None) -> int:
    """What checking one signature by the key costs (`dane.work`), measured with OpenSSL 4.0.

    RSA costs the square of the modulus for each bit of the public exponent, which may be as
    long as the modulus up to 3072 bits, and 64 bits beyond (OPENSSL_RSA_MAX_PUBEXP_BITS).
    """
    if isinstance(key, rsa.RSAPublicKey):
        return 10 + key.key_size**2 * key.public_numbers().e.bit_length() // 2048**2
    if isinstance(key, ec.EllipticCurvePublicKey):
        return 50 if isinstance(key.curve, ec.SECP256R1) else key.key_size * 3 // 2
    if isinstance(key, dsa.DSAPublicKey):
        return key.key_size**2 // 16_000
    return 220


def _digest(parsed: x509.Certificate) -> hashes.HashAlgorithm:
    digest = parsed.signature_hash_algorithm
    assert digest is not None  # only algorithms that hash for themselves name none
    return digest


def _check_rsa(key: rsa.RSAPublicKey, parsed: x509.Certificate) -> None:
    # By the identifier, since the library names no padding for the oldest digests.
    scheme: padding.AsymmetricPadding = padding.PKCS1v15()
    if parsed.signature_algorithm_oid not in _RSA_PKCS1:
        scheme = cast(padding.PSS, parsed.signature_algorithm_parameters)
    key.verify(parsed.signature, parsed.tbs_certificate_bytes, scheme, _digest(parsed))


def _check_ecdsa(key: ec.EllipticCurvePublicKey, parsed: x509.Certificate) -> None:
    key.verify(parsed.signature, parsed.tbs_certificate_bytes, ec.ECDSA(_digest(parsed)))


def _check_dsa(key: dsa.DSAPublicKey, parsed: x509.Certificate) -> None:
    key.verify(parsed.signature, parsed.tbs_certificate_bytes, _digest(parsed))


_MLDSAKey = mldsa.MLDSA44PublicKey | mldsa.MLDSA65PublicKey | mldsa.MLDSA87PublicKey


def _check_whole(
    key: ed25519.Ed25519PublicKey | ed448.Ed448PublicKey | _MLDSAKey, parsed: x509.Certificate
) -> None:
    key.verify(parsed.signature, parsed.tbs_certificate_bytes)


_SCHEMES: tuple[
    tuple[type, frozenset[x509.ObjectIdentifier], Callable[[Any, x509.Certificate], None]], ...
] = (
    (rsa.RSAPublicKey, _RSA_PKCS1 | {SignatureAlgorithmOID.RSASSA_PSS}, _check_rsa),
    (ec.EllipticCurvePublicKey, _ECDSA, _check_ecdsa),
    (dsa.DSAPublicKey, _DSA, _check_dsa),
    (ed25519.Ed25519PublicKey, frozenset({SignatureAlgorithmOID.ED25519}), _check_whole),
    (ed448.Ed448PublicKey, frozenset({SignatureAlgorithmOID.ED448}), _check_whole),
    (mldsa.MLDSA44PublicKey, frozenset({SignatureAlgorithmOID.ML_DSA_44}), _check_whole),
    (mldsa.MLDSA65PublicKey, frozenset({SignatureAlgorithmOID.ML_DSA_65}), _check_whole),
    (mldsa.MLDSA87PublicKey, frozenset({SignatureAlgorithmOID.ML_DSA_87}), _check_whole),
)
"""Kind of key, the signature algorithms that such a key can have made, how to check one."""

_KNOWN_ALGORITHMS = frozenset().union(*(algorithms for _, algorithms, _ in _SCHEMES))


def _read(parsed: x509.Certificate) -> Facts:
    is_ca: bool | None = None
    path_length: int | None = None
    signs: bool | None = None
    serves = server_purpose = understood = True
    dns_ids: list[str] = []
    general_names: list[x509.GeneralName] = []
    if parsed.subject.rdns:
        general_names.append(x509.DirectoryName(parsed.subject))
    constraints: Constraints | None = None
    for extension in parsed.extensions:
        value = extension.value
        if isinstance(value, x509.BasicConstraints):
            is_ca, path_length = value.ca, value.path_length
        elif isinstance(value, x509.KeyUsage):
            signs = value.key_cert_sign
            serves = value.digital_signature or value.key_encipherment or value.key_agreement
        elif isinstance(value, x509.ExtendedKeyUsage):
            server_purpose = not _SERVER_PURPOSES.isdisjoint(value)
        elif isinstance(value, x509.SubjectAlternativeName):
            general_names.extend(value)
            dns_ids = [presented_name(one) for one in value.get_values_for_type(x509.DNSName)]
        elif isinstance(value, x509.NameConstraints):
            constraints = Constraints(value)
        if extension.critical and extension.oid not in _UNDERSTOOD:
            understood = False
    common_names = [
        one.value
        for one in parsed.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        if isinstance(one.value, str)
    ]
    if not dns_ids:
        # Where the CN stands in for a DNS-ID, constraints on DNS-IDs hold for it too.
        hosts = filter(_HOST_NAME.fullmatch, common_names)
        general_names.extend(map(x509.DNSName, hosts))
    return Facts(
        not_before=parsed.not_valid_before_utc,
        not_after=parsed.not_valid_after_utc,
        is_v1=parsed.version is x509.Version.v1,
        is_ca=is_ca,
        path_length=path_length,
        signs_certificates=signs,
        serves=serves,
        server_purpose=server_purpose,
        understood=understood,
        dns_ids=tuple(dns_ids),
        common_names=tuple(map(presented_name, common_names)),
        general_names=tuple(general_names),
        constraints=constraints,
    )


def _comparable(certificate: Certificate, which: str) -> tuple[object, ...] | bytes:
    """Attribute types and values, without regard to case, outer and repeated blanks and the
    kind of string; the raw bytes where the name cannot be read."""
    raw: bytes = getattr(certificate.cut, which)
    if certificate.parsed is None:
        return raw
    try:
        name: x509.Name = getattr(certificate.parsed, which)
    except _UNREADABLE:
        return raw
    return tuple(
        frozenset(
            (
                one.oid,
                " ".join(one.value.split()).casefold() if isinstance(one.value, str) else one.value,
            )
            for one in rdn
        )
        for rdn in name.rdns
    )


def sha256_hex(der: bytes) -> str:
    """The identity of a certificate."""
    return hashlib.sha256(der).hexdigest()
