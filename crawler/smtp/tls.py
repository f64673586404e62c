"""The TLS client side of a probe, without I/O: an engine on OpenSSL's memory BIOs.

The OpenSSL is that of the `cryptography` package, by pyOpenSSL: the same on every machine,
where Python's `ssl` has whatever the system has. Nothing is verified here: DANE decides about
the chain (`dane.verify`), and a host name check or a public CA would only hide what the server
sends. What the engine gives is the chain exactly as presented (DER, in the order sent), the
version, the cipher, the group of the key exchange and the key.

OpenSSL itself refuses a certificate message over 100 KiB (SSL_MAX_CERT_LIST_DEFAULT), as
it does in the mail servers that use it: a longer chain is a failed handshake.
"""

import functools
from enum import StrEnum
from typing import Any, Literal

from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from OpenSSL import SSL, crypto

from crawler.smtp.dh_group import MOST_BITS, GroupSize
from dane.certificate import read_certificate

_SNI_BYTES = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789-_.")


class Offer(StrEnum):
    """What a handshake offers to the server."""

    MODERN = "modern"  # TLS 1.2 and 1.3, what a sender of today offers
    LEGACY = "legacy"  # TLS 1.0 and up, weak keys and ciphers too: a second try
    RSA = "rsa"  # as MODERN, for servers with an RSA certificate only
    ECDSA = "ecdsa"  # as MODERN, for servers with an ECDSA or EdDSA certificate only


# Postfix's `medium` ciphers, which it asks for with DANE: ARIA, Camellia and CCM are not in
# OpenSSL's default list.
_POSTFIX = "HIGH:MEDIUM:!aNULL:!eNULL:!PSK:!SRP"
_RSA_SIGNATURES = ":".join(
    f"{scheme}{digest}"
    for digest in ("256", "384", "512")
    for scheme in ("rsa_pss_rsae_sha", "rsa_pss_pss_sha", "RSA+SHA")
)
_ECDSA_SIGNATURES = "ECDSA+SHA256:ECDSA+SHA384:ECDSA+SHA512:ed25519:ed448"
_ALL_TLS13 = (
    "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256"
    ":TLS_AES_128_CCM_SHA256:TLS_AES_128_CCM_8_SHA256"
)

_CIPHERS: dict[Offer, str] = {
    Offer.MODERN: f"{_POSTFIX}:@SECLEVEL=2",
    Offer.LEGACY: "ALL:!aNULL:!eNULL:!PSK:!SRP:@SECLEVEL=0",
    Offer.RSA: f"{_POSTFIX}:!aECDSA:!aDSS:@SECLEVEL=2",
    Offer.ECDSA: f"{_POSTFIX}:!aRSA:!aDSS:@SECLEVEL=2",
}
_SIGNATURES: dict[Offer, str] = {Offer.RSA: _RSA_SIGNATURES, Offer.ECDSA: _ECDSA_SIGNATURES}
"""TLS 1.3 ciphers say nothing of the certificate's key; the signature algorithms choose it."""

_OP_NO_RENEGOTIATION = 0x40000000

_LIMITS = frozenset(
    {
        "modulus too large",
        "unable to find public key parameters",
        "unknown certificate type",
        "unknown pkey type",
        "unsupported",
        "unsupported algorithm",
        "unsupported elliptic curve",
        "unsupported signature type",
    }
)
"""OpenSSL's words where it is this side that cannot do what the server offers."""

_ALERTS = ("tls alert", "tlsv1 ", "tlsv13 ")
"""How OpenSSL's words for a received alert begin."""


_LARGE_GROUP_BITS = 2048


class TLSFailure(Exception):
    """The handshake failed by an alert, a protocol error or the end of the stream.

    `alert`: the server sent one. `unsupported`: by a limit of this side."""

    def __init__(self, reason: str, *, unsupported: bool = False) -> None:
        super().__init__(reason)
        self.alert = reason.startswith(_ALERTS)
        self.unsupported = unsupported


_BINDING: Any = getattr(SSL, "_lib", None)


def can_choose_key_type() -> bool:
    """Whether a context's signature algorithms can be set. pyOpenSSL has no call for that, only
    its binding has, which is private."""
    return hasattr(_BINDING, "SSL_CTX_set1_sigalgs_list")


@functools.cache
def context(offer: Offer) -> SSL.Context:
    """The client context of an offer, one a process."""
    made = SSL.Context(SSL.TLS_CLIENT_METHOD)
    made.set_cipher_list(_CIPHERS[offer].encode())
    made.set_min_proto_version(SSL.TLS1_VERSION if offer is Offer.LEGACY else SSL.TLS1_2_VERSION)
    made.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    made.set_options(_OP_NO_RENEGOTIATION)
    if offer is Offer.LEGACY:
        made.set_options(SSL.OP_LEGACY_SERVER_CONNECT)  # a server without RFC 5746
        made.set_tls13_ciphersuites(_ALL_TLS13.encode())
    if offer in _SIGNATURES:
        algorithms = _SIGNATURES[offer].encode()
        if _BINDING.SSL_CTX_set1_sigalgs_list(made._context, algorithms) != 1:
            raise RuntimeError(f"OpenSSL refuses the signature algorithms {_SIGNATURES[offer]}")
    return made


def server_name(base: str) -> bytes | None:
    """The SNI for a TLSA base domain (RFC 7672 section 8.1), or None for no SNI.

    Names with bytes other than letters, digits, hyphen and underscore get none: RFC 6066
    section 3 has only host names, and some TLS stacks break the handshake off.
    """
    name = base.encode("ascii", "replace")
    if name == b"." or not _SNI_BYTES.issuperset(name):
        return None
    return name


class TLSEngine:
    """One client handshake and the protected stream behind it.

    Feed it with `receive`, send what `data_to_send` gives, call `handshake` until it is
    True; then `encrypt` and `decrypt`. A call of `handshake` computes for as long as the
    server's choices ask for, up to some 60 ms, and may be made in another thread: where
    `computes_long` says so.
    """

    __slots__ = ("_group_size", "_tls", "cipher", "done", "group", "version")

    def __init__(self, offer: Offer, sni: bytes | None) -> None:
        self.done = False
        self.version: str | None = None  # such as `TLSv1.3`
        self.cipher: str | None = None  # OpenSSL's name of the cipher suite
        self.group: str | None = None  # of the key exchange, such as `X25519MLKEM768`
        self._group_size = GroupSize()
        self._tls = SSL.Connection(context(offer), None)
        self._tls.set_connect_state()
        if sni is not None:
            self._tls.set_tlsext_host_name(sni)

    def receive(self, data: bytes) -> None:
        """Take bytes from the server; b"" is the end of its stream."""
        if data:
            if not self.done:
                self._group_size.receive(data)
            self._tls.bio_write(data)
        else:
            self._tls.bio_shutdown()

    def data_to_send(self) -> bytes:
        sent = b""
        try:
            while part := self._tls.bio_read(64 * 1024):
                sent += part
        except SSL.WantReadError:
            pass
        return sent

    @property
    def computes_long(self) -> bool:
        """Whether the next step of the handshake may take more than some 5 ms.

        A thread for each step would cost as much CPU as all else of a session, so only a large
        finite-field group is worth one: the named groups of TLS 1.3 and every kind of signature
        take less, or 30 ms where a server insists on ffdhe8192.
        """
        return (self._group_size.bits or 0) > _LARGE_GROUP_BITS

    def handshake(self) -> bool:
        """Go on with the handshake; True when it is done. Raises TLSFailure."""
        bits = self._group_size.bits
        if bits is not None and bits > MOST_BITS:
            raise TLSFailure(f"a Diffie-Hellman group of {bits} bits", unsupported=True)
        try:
            self._tls.do_handshake()
        except SSL.WantReadError:
            return False
        except SSL.Error as error:
            reason = describe(error)
            raise TLSFailure(reason, unsupported=reason in _LIMITS) from error
        self.done = True
        self.version = self._tls.get_protocol_version_name()
        self.cipher = self._tls.get_cipher_name()
        self.group = self._tls.get_group_name()
        return True

    def encrypt(self, data: bytes) -> None:
        """Protect data for the server; it comes out of `data_to_send`. Raises TLSFailure."""
        try:
            self._tls.sendall(data)
        except SSL.Error as error:
            raise TLSFailure(describe(error)) from error

    def decrypt(self) -> bytes | None:
        """Text of the server; None if more has to arrive first, b"" at its end. Raises TLSFailure
        for an alert."""
        try:
            return self._tls.recv(16 * 1024)
        except SSL.WantReadError:
            return None
        except (SSL.ZeroReturnError, SSL.SysCallError):
            return b""
        except SSL.Error as error:
            raise TLSFailure(describe(error)) from error

    def chain(self) -> tuple[bytes, ...]:
        """The certificates as presented: DER, leaf first if the server keeps to the RFC."""
        presented = self._tls.get_peer_cert_chain() or ()
        return tuple(crypto.dump_certificate(crypto.FILETYPE_ASN1, one) for one in presented)


def describe(error: SSL.Error) -> str:
    """OpenSSL's reason in a few words, such as `tlsv1 unrecognized name` (no source lines)."""
    if isinstance(error, SSL.ZeroReturnError | SSL.SysCallError):
        return "connection closed during the handshake"
    reasons = [reason for _, _, reason in error.args[0] if reason] if error.args else []
    return reasons[0].replace("_", " ").lower() if reasons else "a TLS error without a reason"


KeyFamily = Literal["rsa", "ecdsa", "other"]


def key_type(certificate: bytes) -> tuple[KeyFamily, str] | None:
    """Family and name (`rsa-2048`, `ecdsa-secp256r1`, `ed25519`, `ml-dsa-65`) of a certificate's
    key.

    None if the certificate or its key cannot be read.
    """
    key = read_certificate(certificate).key
    if key is None:
        return None
    if isinstance(key, rsa.RSAPublicKey):
        return "rsa", f"rsa-{key.key_size}"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return "ecdsa", f"ecdsa-{key.curve.name}"
    if isinstance(key, dsa.DSAPublicKey):
        return "other", f"dsa-{key.key_size}"
    name = type(key).__name__.removesuffix("PublicKey").lower()
    return "other", name.replace("mldsa", "ml-dsa-")
