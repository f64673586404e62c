"""The TLS client side of a probe, without I/O: an engine on two memory BIOs.

Nothing is verified here: DANE decides about the chain (`dane.verify`), and a host name
check or a public CA would only hide what the server sends. What the engine gives is the
chain exactly as presented (DER, in the order sent), the version, the cipher and the key.

OpenSSL itself refuses a certificate message over 100 KiB (SSL_MAX_CERT_LIST_DEFAULT), as
it does in the mail servers that use it: a longer chain is a failed handshake.
"""

import functools
import ssl
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Literal

from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa

from dane.certificate import read_certificate

_SNI_BYTES = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789-_.")


class Offer(StrEnum):
    """What a handshake offers to the server."""

    MODERN = "modern"  # TLS 1.2 and 1.3, what a sender of today offers
    LEGACY = "legacy"  # TLS 1.0 and up, weak keys and ciphers too: a second try
    RSA = "rsa"  # TLS 1.2 with ciphers that need an RSA certificate
    ECDSA = "ecdsa"  # TLS 1.2 with ciphers that need an ECDSA certificate


# TLS 1.3 ciphers say nothing of the certificate's key, and `ssl` can set the signature
# algorithms that do from Python 3.15 on only: the key is chosen by TLS 1.2 ciphers. So the
# second key of a server that speaks TLS 1.3 only is never seen. An OpenSSL configuration file
# could set them, but for every context of the process.
_LIMITS: dict[Offer, tuple[ssl.TLSVersion, ssl.TLSVersion, str]] = {
    Offer.MODERN: (
        ssl.TLSVersion.TLSv1_2,
        ssl.TLSVersion.MAXIMUM_SUPPORTED,
        "DEFAULT:@SECLEVEL=2",
    ),
    # MINIMUM_SUPPORTED is TLS 1.0: PROTOCOL_TLS_CLIENT shuts SSL 3.0 out by an option.
    Offer.LEGACY: (
        ssl.TLSVersion.MINIMUM_SUPPORTED,
        ssl.TLSVersion.MAXIMUM_SUPPORTED,
        "DEFAULT:@SECLEVEL=0",
    ),
    Offer.RSA: (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2, "aRSA:!PSK:!eNULL:@SECLEVEL=2"),
    Offer.ECDSA: (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2, "aECDSA:!eNULL:@SECLEVEL=2"),
}
_OP_LEGACY_SERVER_CONNECT = 0x4  # a server without RFC 5746; named in Python 3.12's ssl


class TLSFailure(Exception):
    """The handshake failed by an alert, a protocol error or the end of the stream."""


@functools.cache
def context(offer: Offer) -> ssl.SSLContext:
    """The client context of an offer, one a process."""
    oldest, newest, ciphers = _LIMITS[offer]
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    made.set_ciphers(ciphers)
    made.minimum_version = oldest
    made.maximum_version = newest
    if offer is Offer.LEGACY:
        made.options |= _OP_LEGACY_SERVER_CONNECT
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
    True; then `encrypt` and `decrypt`.
    """

    __slots__ = ("_from_server", "_tls", "_to_server", "done")

    def __init__(self, offer: Offer, sni: bytes | None) -> None:
        self.done = False
        self._from_server = ssl.MemoryBIO()
        self._to_server = ssl.MemoryBIO()
        # As bytes the name passes Python's IDNA codec by, which refuses underscores.
        self._tls = context(offer).wrap_bio(
            self._from_server, self._to_server, server_side=False, server_hostname=sni
        )

    def receive(self, data: bytes) -> None:
        """Take bytes from the server; b"" is the end of its stream."""
        if data:
            self._from_server.write(data)
        else:
            self._from_server.write_eof()

    def data_to_send(self) -> bytes:
        return self._to_server.read()

    def handshake(self) -> bool:
        """Go on with the handshake; True when it is done. Raises TLSFailure."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError as error:
            raise TLSFailure(describe(error)) from error
        self.done = True
        return True

    def encrypt(self, data: bytes) -> None:
        """Protect data for the server; it comes out of `data_to_send`. Raises TLSFailure."""
        try:
            self._tls.write(data)
        except ssl.SSLError as error:
            raise TLSFailure(describe(error)) from error

    def decrypt(self) -> bytes | None:
        """Text of the server; None if more has to arrive first, b"" at its end."""
        try:
            return self._tls.read(16 * 1024)
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLError:
            return b""

    @property
    def version(self) -> str | None:
        """Such as `TLSv1.3`."""
        return self._tls.version()

    @property
    def cipher(self) -> str | None:
        """OpenSSL's name of the cipher suite."""
        used = self._tls.cipher()
        return used[0] if used else None

    def chain(self) -> tuple[bytes, ...]:
        """The certificates as presented: DER, leaf first if the server keeps to the RFC."""
        return tuple(_presented(self._tls))


def _presented(tls: ssl.SSLObject) -> Sequence[bytes]:
    """The unverified chain: public from Python 3.13 on, under `_sslobj` before."""
    public: Any = getattr(tls, "get_unverified_chain", None)
    if public is not None:
        chain: Sequence[bytes] = public()
        return chain
    private: Any = tls._sslobj  # type: ignore[attr-defined]
    der = 2  # _ssl.ENCODING_DER
    return [one.public_bytes(der) for one in private.get_unverified_chain() or ()]


def describe(error: ssl.SSLError) -> str:
    """OpenSSL's reason in a few words, such as `tlsv1 unrecognized name` (no source lines)."""
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return "connection closed during the handshake"
    return (error.reason or error.__class__.__name__).replace("_", " ").lower()


KeyFamily = Literal["rsa", "ecdsa", "other"]


def key_type(certificate: bytes) -> tuple[KeyFamily, str] | None:
    """Family and name (`rsa-2048`, `ecdsa-secp256r1`, `ed25519`) of a certificate's key.

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
    return "other", type(key).__name__.removesuffix("PublicKey").lower()
