"""Mail servers that make a client compute, wait or remember as much as TLS lets them.

Each is an `instead_of_tls` of `tests.smtp_servers.SMTP`. After an ordinary handshake they write
records of their own, sealed with the connection's keys, for no TLS library sends such floods.
"""

import functools
import hmac
import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from math import lcm
from pathlib import Path
from tempfile import TemporaryDirectory

import trio
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from OpenSSL import SSL

from tests.oracle.chains import AT
from tests.smtp_servers import tls_context
from tests.support.bombs import one_name
from tests.support.tls_server import handshake

_LEAF = trustme.CA().issue_cert("mx.example")
_HANDSHAKE, _ALERT, _APPLICATION = 22, 21, 23
_FLOOD = 16 * 1024 * 1024
"""Bytes that a flood sends at most: far beyond what a session takes."""

Hostile = Callable[[trio.SocketStream], Awaitable[None]]


class Sealer:
    """Records from the server with AES-256-GCM and SHA-384 (RFC 8446 sections 5.2, 7.2 and 7.3)."""

    def __init__(self, secret: bytes, sent: int) -> None:
        """`sent`: records that the TLS library sealed with the secret."""
        self._secret = secret
        self._start()
        self._sequence = sent

    def _start(self) -> None:
        self._key = AESGCM(self._expand(b"key", 32))
        self._iv = int.from_bytes(self._expand(b"iv", 12), "big")
        self._sequence = 0

    def _expand(self, label: bytes, length: int) -> bytes:
        name = b"tls13 " + label
        info = length.to_bytes(2, "big") + bytes((len(name),)) + name + b"\0"
        return hmac.digest(self._secret, info + b"\1", "sha384")[:length]

    def record(self, kind: int, payload: bytes) -> bytes:
        header = bytes((_APPLICATION, 3, 3)) + (len(payload) + 1 + 16).to_bytes(2, "big")
        nonce = (self._iv ^ self._sequence).to_bytes(12, "big")
        self._sequence += 1
        return header + self._key.encrypt(nonce, payload + bytes((kind,)), header)

    def update(self) -> None:
        """Go on with the keys of after a KeyUpdate."""
        self._secret = self._expand(b"traffic upd", 48)
        self._start()


class Sealer12:
    """The same for TLS 1.2 (RFC 5246 sections 5 and 6.3, RFC 5288 section 3)."""

    def __init__(self, master: bytes, client_random: bytes, server_random: bytes) -> None:
        seed = b"key expansion" + server_random + client_random
        block, a = b"", seed
        while len(block) < 72:
            a = hmac.digest(master, a, "sha384")
            block += hmac.digest(master, a + seed, "sha384")
        self._key, self._fixed = AESGCM(block[32:64]), block[68:72]
        self._sequence = 1  # the Finished was 0

    def record(self, kind: int, payload: bytes) -> bytes:
        number = self._sequence.to_bytes(8, "big")
        self._sequence += 1
        meant = number + bytes((kind, 3, 3)) + len(payload).to_bytes(2, "big")
        sealed = number + self._key.encrypt(self._fixed + number, payload, meant)
        return bytes((kind, 3, 3)) + len(sealed).to_bytes(2, "big") + sealed


async def _handshake(stream: trio.SocketStream, newest: int) -> tuple[SSL.Connection, bytes, int]:
    """The server's connection; of TLS 1.3, its traffic secret and how many records it sealed."""
    secrets: dict[bytes, bytes] = {}

    def keep(_: SSL.Connection, line: bytes) -> None:
        name, _random, secret = line.split()
        secrets[name] = bytes.fromhex(secret.decode())

    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_max_proto_version(newest)
    context.set_cipher_list(b"ECDHE-ECDSA-AES256-GCM-SHA384")
    context.set_tls13_ciphersuites(b"TLS_AES_256_GCM_SHA384")
    context.set_options(SSL.OP_NO_TICKET)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_keylog_callback(keep)
    key = load_pem_private_key(_LEAF.private_key_pem.bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    context.use_privatekey(key)
    context.use_certificate(x509.load_pem_x509_certificate(_LEAF.cert_chain_pems[0].bytes()))
    tls = SSL.Connection(context, None)
    tls.set_accept_state()
    done = False
    while not done:
        try:
            tls.do_handshake()
            done = True
        except SSL.WantReadError:
            pass
        flight = b""
        with suppress(SSL.WantReadError):
            flight = tls.bio_read(1 << 20)
        await stream.send_all(flight)
        if not done:
            tls.bio_write(await stream.receive_some(1 << 16))
    tickets = 0
    while flight:  # the last one: what comes behind the client's Finished
        tickets += 1
        flight = flight[5 + int.from_bytes(flight[3:5], "big") :]
    return tls, secrets.get(b"SERVER_TRAFFIC_SECRET_0", b""), tickets


async def _pour(stream: trio.SocketStream, records: Iterator[bytes]) -> None:
    """Send until the client has had enough, whatever it says meanwhile."""
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_drain, stream)
            sent = 0
            while sent < _FLOOD:
                data = next(records)
                sent += len(data)
                await stream.send_all(data)
            nursery.cancel_scope.cancel()
    except* (trio.BrokenResourceError, trio.ClosedResourceError):
        pass


async def _drain(stream: trio.SocketStream) -> None:
    with suppress(trio.BrokenResourceError):
        while await stream.receive_some(1 << 16):
            pass


def _flood13(records: Callable[[Sealer], Iterator[bytes]]) -> Hostile:
    async def serve(stream: trio.SocketStream) -> None:
        _, secret, sent = await _handshake(stream, SSL.TLS1_3_VERSION)
        await _pour(stream, records(Sealer(secret, sent)))

    return serve


def _key_updates(sealer: Sealer, request: int) -> Iterator[bytes]:
    while True:
        part = []
        for _ in range(500):
            part.append(sealer.record(_HANDSHAKE, bytes((24, 0, 0, 1, request))))
            sealer.update()
        yield b"".join(part)


def _tickets(sealer: Sealer) -> Iterator[bytes]:
    ticket = bytes(4) + bytes(4) + b"\0" + b"\0\1x" + b"\0\0"
    message = bytes((4,)) + len(ticket).to_bytes(3, "big") + ticket
    while True:
        yield sealer.record(_HANDSHAKE, message * (16_000 // len(message)))


def _empty_records(sealer: Sealer) -> Iterator[bytes]:
    while True:
        yield b"".join(sealer.record(_APPLICATION, b"") for _ in range(500))


def _single_bytes(sealer: Sealer) -> Iterator[bytes]:
    yield sealer.record(_APPLICATION, b"2")
    while True:
        yield b"".join(sealer.record(_APPLICATION, b"5") for _ in range(500))


async def renegotiations(stream: trio.SocketStream) -> None:
    """HelloRequest without end, in TLS 1.2."""
    tls, _, _ = await _handshake(stream, SSL.TLS1_2_VERSION)
    sealer = Sealer12(tls.master_key(), tls.client_random(), tls.server_random())

    def records() -> Iterator[bytes]:
        while True:
            yield b"".join(sealer.record(_HANDSHAKE, bytes(4)) for _ in range(500))

    await _pour(stream, records())


def _with_context(context: ssl.SSLContext) -> Hostile:
    async def serve(stream: trio.SocketStream) -> None:
        await handshake(stream, context)
        await _drain(stream)

    return serve


@functools.cache
def rsa_16384() -> ssl.SSLContext:
    """A key of the largest modulus and exponent that OpenSSL checks signatures with. Its primes
    are many and small, so that it is quickly made; a client does not see that."""
    exponent = (1 << 64) - 59
    primes: list[int] = []
    while len(primes) < 16:
        numbers = rsa.generate_private_key(65537, 2048).private_numbers()
        primes += [one for one in (numbers.p, numbers.q) if (one - 1) % exponent]
    parts = primes[:8], primes[8:]
    p, q = (functools.reduce(int.__mul__, part) for part in parts)
    orders = [lcm(*(one - 1 for one in part)) for part in parts]
    d = pow(exponent, -1, lcm(*orders))
    key = rsa.RSAPrivateNumbers(
        p, q, d, d % orders[0], d % orders[1], pow(q, -1, p), rsa.RSAPublicNumbers(exponent, p * q)
    ).private_key(unsafe_skip_rsa_key_validation=True)
    name = x509.Name([])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1,
                                AT - timedelta(days=999), AT + timedelta(days=999))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("mx.example")]), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    return _loaded(pem + certificate.public_bytes(Encoding.PEM))


@functools.cache
def long_chain(mebibytes: int) -> ssl.SSLContext:
    """A chain of so many MiB, of which 100 KiB are what a client takes."""
    names = [f"filler-{n}.example" for n in range(400)]
    filler = trustme.CA().issue_cert(*names).cert_chain_pems[0].bytes()
    count = mebibytes * (1 << 20) // (len(filler) * 3 // 4) + 1
    return _loaded(_LEAF.private_key_and_cert_chain_pem.bytes() + filler * count)


@functools.cache
def many_of_one_name(count: int) -> ssl.SSLContext:
    """Authorities of one name, which OpenSSL looks through when it orders the chain."""
    chain = one_name(count).chain[1:]
    pem = b"".join(ssl.DER_cert_to_PEM_cert(der).encode() for der in chain)
    return _loaded(_LEAF.private_key_and_cert_chain_pem.bytes() + pem)


def _loaded(pem: bytes) -> ssl.SSLContext:
    context = tls_context()
    with TemporaryDirectory() as directory:
        path = Path(directory, "chain.pem")
        path.write_bytes(pem)
        context.load_cert_chain(path)
    return context


HOSTILE: dict[str, Callable[[], Hostile]] = {
    "KeyUpdate flood, each asks for ours": lambda: _flood13(lambda s: _key_updates(s, 1)),
    "KeyUpdate flood": lambda: _flood13(lambda s: _key_updates(s, 0)),
    "session tickets without end": lambda: _flood13(_tickets),
    "empty records without end": lambda: _flood13(_empty_records),
    "a reply of one byte a record": lambda: _flood13(_single_bytes),
    "TLS 1.2 renegotiation flood": lambda: renegotiations,
    "RSA-16384 with an exponent of 64 bits": lambda: _with_context(rsa_16384()),
    "a chain of 16 MiB": lambda: _with_context(long_chain(16)),
    "250 authorities of one name": lambda: _with_context(many_of_one_name(250)),
}
"""What it is, and the server."""
