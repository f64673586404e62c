"""The lab's certificate authorities and the certificates of its mail hosts.

Keys come from the seed, signatures are deterministic, dates follow the clock of the day the
lab was built: two labs of one seed and one start time have the same certificates.
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
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

_FILLER_CERTIFICATES = 250
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


@dataclass(frozen=True, slots=True)
class Issued:
    """A host's certificates by part name, what it sends, and its private key as PEM."""

    parts: dict[str, x509.Certificate]
    sent: list[x509.Certificate]
    private_key: bytes

    def pem(self) -> bytes:
        """Key and chain in one file, as `SSLContext.load_cert_chain` reads it."""
        return self.private_key + b"".join(one.public_bytes(Encoding.PEM) for one in self.sent)


class Certificates:
    """Issues certificates. `now` is the moment that all dates are relative to (UTC)."""

    def __init__(self, seed: int, now: datetime) -> None:
        self._seed = seed
        self._now = now.replace(microsecond=0)
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

    def issue(self, host: str, chain: Chain) -> Issued:
        """The certificates of a host, all parts and those that it sends."""
        private: keys.Private
        if chain.key == "ecdsa":
            private = keys.ecdsa(self._seed, f"leaf/{host}")
        else:
            private = keys.checked_in_rsa(chain.key)
        names = (host,) if chain.names is None else chain.names
        leaf = self._certificate(
            f"leaf/{host}",
            common_name=chain.common_name or "",
            names=names,
            public_key=private.public_key(),
            issuer=chain.authority,
            valid_s=chain.valid_s,
            is_authority=False,
            self_signing_key=private,
        )
        parts = {"leaf": leaf, "stranger": self.stranger}
        if chain.authority is not None:
            parts["ca"] = self.authority(chain.authority)
            issuer = AUTHORITIES[chain.authority].issuer
            parts["root"] = self.authority(issuer or chain.authority)
        sent: list[x509.Certificate] = []
        for part in chain.send:
            sent.extend(self.filler if part == "filler" else [parts[part]])
        pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return Issued(parts, sent, pem)

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
        return builder.sign(signing, hashes.SHA256(), ecdsa_deterministic=deterministic)


def association(certificate: x509.Certificate, selector: int, matching_type: int) -> bytes:
    """The data of a TLSA record for a certificate (RFC 6698 section 2.1)."""
    if selector == 0:
        data = certificate.public_bytes(Encoding.DER)
    else:
        data = certificate.public_key().public_bytes(
            Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        )
    match matching_type:
        case 0:
            return data
        case 1:
            return hashlib.sha256(data).digest()
        case 2:
            return hashlib.sha512(data).digest()
    raise ValueError(f"no data for matching type {matching_type}")


def utc(now: float) -> datetime:
    """Seconds since 1970 as an aware time."""
    return datetime.fromtimestamp(int(now), UTC)
