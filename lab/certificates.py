"""The lab's certificate authorities and the certificates of its mail hosts.

Keys come from the seed, signatures are deterministic, dates follow the clock of the day the
lab was built. Two labs of one seed and one start time have the same certificates.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import NameOID

from lab import keys
from lab.scenarios.scenario import Chain
from lab.signer import DAY_S

_FILLER_CERTIFICATES = 300
_SPAN = (-365 * DAY_S, 3650 * DAY_S)


@dataclass(frozen=True, slots=True)
class Authority:
    """One certificate authority: who signs it (None: itself) and when it is valid."""

    issuer: str | None = None
    valid_s: tuple[int, int] = _SPAN
    may_sign: bool = True  # basicConstraints CA


AUTHORITIES = {
    "lab": Authority(),
    "other": Authority(),
    "intermediate": Authority(issuer="lab"),
    "expired": Authority(valid_s=(-400 * DAY_S, -30 * DAY_S)),
    "not-a-ca": Authority(issuer="lab", may_sign=False),
}
"""Certificate authorities by name."""


class Certificates:
    """Issues certificates; all dates are relative to `now` (seconds since 1970)."""

    def __init__(self, seed: int, now: float) -> None:
        self._seed = seed
        self._now = datetime.fromtimestamp(int(now), UTC)
        self._authorities: dict[str, x509.Certificate] = {}

    def authority(self, name: str) -> x509.Certificate:
        """The certificate of an authority."""
        if name not in self._authorities:
            one = AUTHORITIES[name]
            self._authorities[name] = self._certificate(
                f"authority/{name}",
                common_name=f"danesurvey lab authority {name}",
                names=(),
                public_key=keys.ecdsa(self._seed, f"authority/{name}").public_key(),
                issuer=one.issuer or name,
                valid_s=one.valid_s,
                is_authority=one.may_sign,
            )
        return self._authorities[name]

    def part(self, host: str, chain: Chain, name: str) -> x509.Certificate:
        """One certificate of a host's chain, by the names that `Chain.send` knows."""
        match name:
            case "leaf":
                return self._leaf(host, chain)
            case "stranger":
                return self.stranger
            case "ca" if chain.authority is not None:
                return self.authority(chain.authority)
            case "second" if chain.second_key is not None:
                return self._leaf(host, replace(chain, key=chain.second_key))
            case "root" if chain.authority is not None:
                return self.authority(AUTHORITIES[chain.authority].issuer or chain.authority)
        if name.startswith("authority:"):
            return self.authority(name.removeprefix("authority:"))
        raise ValueError(f"{host} has no certificate {name!r}")

    def association(
        self, host: str, chain: Chain, part: str, selector: int, matching_type: int
    ) -> bytes:
        """The data of a TLSA record for one certificate of a chain (RFC 6698 section 2.1)."""
        if part == "leaf" and selector == 1:
            # the key alone: a hundred thousand certificates need not be made for their keys
            data = _spki(self._private(host, chain).public_key())
        elif selector == 1:
            data = _spki(self.part(host, chain, part).public_key())
        else:
            data = self.part(host, chain, part).public_bytes(Encoding.DER)
        match matching_type:
            case 0:
                return data
            case 1:
                return hashlib.sha256(data).digest()
            case 2:
                return hashlib.sha512(data).digest()
        raise ValueError(f"no data for matching type {matching_type}")

    def pems(self, host: str, chain: Chain) -> Iterator[bytes]:
        """Key and sent chain in one, as `SSLContext.load_cert_chain` reads it; one a key type."""
        yield self._pem(host, chain)
        if chain.second_key is not None:
            yield self._pem(host, replace(chain, key=chain.second_key))

    def _pem(self, host: str, chain: Chain) -> bytes:
        private = self._private(host, chain)
        out = [private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())]
        for name in chain.send:
            sent = self.filler if name == "filler" else [self.part(host, chain, name)]
            out += [one.public_bytes(Encoding.PEM) for one in sent]
        return b"".join(out)

    def _private(self, host: str, chain: Chain) -> keys.Private:
        if chain.key.startswith("ecdsa"):
            return keys.ecdsa(self._seed, f"leaf/{host}/{chain.key}")
        return keys.checked_in_rsa(chain.key)

    def _leaf(self, host: str, chain: Chain) -> x509.Certificate:
        private = self._private(host, chain)
        return self._certificate(
            f"leaf/{host}/{chain.key}",
            common_name=chain.common_name or "",
            names=(host,) if chain.names is None else chain.names,
            public_key=private.public_key(),
            issuer=chain.authority,
            valid_s=chain.valid_s,
            is_authority=False,
            self_signing_key=private,
            with_sha1=chain.with_sha1,
        )

    @cached_property
    def stranger(self) -> x509.Certificate:
        """A certificate that no server of the lab has."""
        return self._certificate(
            "stranger",
            common_name="stranger",
            names=("stranger.lab",),
            public_key=keys.ecdsa(self._seed, "stranger").public_key(),
            issuer="other",
            valid_s=_SPAN,
            is_authority=False,
        )

    @cached_property
    def filler(self) -> list[x509.Certificate]:
        """Some 100 kB of certificates that belong to nothing."""
        return [
            self._certificate(
                f"filler/{n}",
                common_name=f"filler {n}",
                names=tuple(f"filler-{n}-{k}.lab" for k in range(4)),
                public_key=keys.ecdsa(self._seed, f"filler/{n}").public_key(),
                issuer="other",
                valid_s=_SPAN,
                is_authority=False,
            )
            for n in range(_FILLER_CERTIFICATES)
        ]

    def _certificate(
        self,
        label: str,
        *,
        common_name: str,
        names: tuple[str, ...],
        public_key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey,
        issuer: str | None,
        valid_s: tuple[int, int],
        is_authority: bool,
        self_signing_key: keys.Private | None = None,
        with_sha1: bool = False,
    ) -> x509.Certificate:
        subject = x509.Name(
            [x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else []
        )
        signing: keys.Private
        if issuer is None:
            assert self_signing_key is not None
            signing, issuer_name = self_signing_key, subject
        else:
            signing = keys.ecdsa(self._seed, f"authority/{issuer}")
            own = label == f"authority/{issuer}"
            issuer_name = subject if own else self.authority(issuer).subject
        serial = int.from_bytes(hashlib.sha256(f"{self._seed}/{label}".encode()).digest()[:15])
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer_name)
            .public_key(public_key)
            .serial_number(serial | 1)
            .not_valid_before(self._now + timedelta(seconds=valid_s[0]))
            .not_valid_after(self._now + timedelta(seconds=valid_s[1]))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        )
        if names:
            alternatives = [x509.DNSName(name) for name in names]
            builder = builder.add_extension(
                x509.SubjectAlternativeName(alternatives), critical=not common_name
            )
        deterministic = isinstance(signing, ec.EllipticCurvePrivateKey) or None
        signed = builder.sign(signing, hashes.SHA256(), ecdsa_deterministic=deterministic)
        if with_sha1:
            assert isinstance(signing, rsa.RSAPrivateKey)
            return _signed_with_sha1(signed, signing)
        return signed


def _spki(key: CertificatePublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


_SHA256_WITH_RSA = bytes.fromhex("2a864886f70d01010b")
_SHA1_WITH_RSA = bytes.fromhex("2a864886f70d010105")


def _signed_with_sha1(certificate: x509.Certificate, key: rsa.RSAPrivateKey) -> x509.Certificate:
    """The same certificate signed with SHA-1, which the library no longer does by itself.

    The two algorithms' identifiers are of one length, so nothing else moves.
    """
    old = certificate.public_bytes(Encoding.DER)
    tbs = certificate.tbs_certificate_bytes.replace(_SHA256_WITH_RSA, _SHA1_WITH_RSA)
    signature = key.sign(tbs, padding.PKCS1v15(), hashes.SHA1())
    new = old.replace(certificate.tbs_certificate_bytes, tbs)
    new = new.replace(_SHA256_WITH_RSA, _SHA1_WITH_RSA)
    return x509.load_der_x509_certificate(new.replace(certificate.signature, signature))
