"""Private keys that are the same every time.

ECDSA P-256 keys are derived from the lab's seed and a label; RSA keys cannot be derived
reproducibly, so a few are checked in beside this module (they guard nothing). The same
keys serve zones (algorithms 13, 8, 7 and 5) and certificates.
"""

import hashlib
import struct
from dataclasses import dataclass
from functools import cache
from importlib import resources

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from lab import records
from lab.records import Rdata

RSASHA1, RSASHA1_NSEC3, RSASHA256, ECDSAP256SHA256 = 5, 7, 8, 13
_RSA_DIGEST: dict[int, type[hashes.SHA1] | type[hashes.SHA256]] = {
    RSASHA1: hashes.SHA1,
    RSASHA1_NSEC3: hashes.SHA1,
    RSASHA256: hashes.SHA256,
}

_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_DETERMINISTIC = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)

Private = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def ecdsa(seed: int, label: str) -> ec.EllipticCurvePrivateKey:
    """The P-256 key of a label."""
    digest = hashlib.sha512(f"{seed}/{label}".encode()).digest()
    scalar = int.from_bytes(digest, "big") % (_P256_ORDER - 1) + 1
    return ec.derive_private_key(scalar, ec.SECP256R1())


@cache
def checked_in_rsa(name: str) -> rsa.RSAPrivateKey:
    """One of the RSA keys beside this module: `2048-0` to `2048-3`, `1024-0`."""
    pem = resources.files("lab").joinpath("rsa", f"{name}.pem").read_bytes()
    key = load_pem_private_key(pem, None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


@dataclass(frozen=True, slots=True)
class ZoneKey:
    """A combined signing key of a zone: one DNSKEY, flags 257."""

    algorithm: int
    private: Private
    rdata: Rdata
    tag: int

    def sign(self, message: bytes) -> bytes:
        """Signature in DNS form (RFC 6605 section 4, RFC 5702 section 3)."""
        if isinstance(self.private, rsa.RSAPrivateKey):
            digest = _RSA_DIGEST[self.algorithm]()
            return self.private.sign(message, padding.PKCS1v15(), digest)
        r, s = decode_dss_signature(self.private.sign(message, _DETERMINISTIC))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    def ds(self, zone: str) -> Rdata:
        """The DS of this key at a zone, SHA-256 (RFC 4509)."""
        digest = hashlib.sha256(records.wire_name(zone) + self.rdata.wire).digest()
        return records.ds(self.tag, self.algorithm, 2, digest)


def zone_key(seed: int, label: str, algorithm: int = ECDSAP256SHA256) -> ZoneKey:
    """The key of a zone. With an algorithm of RSA one of the checked-in keys, chosen by the

    label.
    """
    private: Private
    if algorithm == ECDSAP256SHA256:
        private = ecdsa(seed, f"zone/{label}")
        numbers = private.public_key().public_numbers()
        public = numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")
    elif algorithm in _RSA_DIGEST:
        choice = hashlib.sha256(label.encode()).digest()[0] % 4
        private = checked_in_rsa(f"2048-{choice}")
        rsa_numbers = private.public_key().public_numbers()
        exponent = rsa_numbers.e.to_bytes(3, "big")
        public = bytes((len(exponent),)) + exponent + rsa_numbers.n.to_bytes(256, "big")
    else:
        raise ValueError(f"no keys for algorithm {algorithm}")
    rdata = records.dnskey(257, algorithm, public)
    return ZoneKey(algorithm, private, rdata, _key_tag(rdata.wire))


def _key_tag(rdata: bytes) -> int:
    """RFC 4034 appendix B."""
    if len(rdata) & 1:
        rdata += b"\0"
    total: int = sum(struct.unpack(f"!{len(rdata) // 2}H", rdata))
    return (total + (total >> 16)) & 0xFFFF
