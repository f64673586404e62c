"""The TLS engine against a server in memory, and against one whose bytes are broken."""

import random
import ssl

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from crawler.smtp.tls import Offer, TLSEngine, TLSFailure, key_type
from tests.smtp_servers import tls_context

CA = trustme.CA()
LEAF = CA.issue_cert("mx.example")
SERVER = tls_context(LEAF)


def flight(engine: TLSEngine) -> tuple[ssl.SSLObject, ssl.MemoryBIO, bytes]:
    """A server's side, and its answer to the client's hello."""
    assert not engine.handshake()
    from_client, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    from_client.write(engine.data_to_send())
    server = SERVER.wrap_bio(from_client, to_client, server_side=True)
    with pytest.raises(ssl.SSLWantReadError):
        server.do_handshake()
    return server, from_client, to_client.read()


def test_a_handshake_byte_by_byte() -> None:
    engine = TLSEngine(Offer.MODERN, b"mx.example")
    server, from_client, answer = flight(engine)
    for i in range(len(answer)):
        assert not engine.done
        engine.receive(answer[i : i + 1])
        engine.handshake()
    assert engine.done
    from_client.write(engine.data_to_send())
    server.do_handshake()
    assert (engine.version, server.version()) == ("TLSv1.3", "TLSv1.3")
    leaf = x509.load_pem_x509_certificate(LEAF.cert_chain_pems[0].bytes())
    assert engine.chain() == (leaf.public_bytes(Encoding.DER),)
    assert engine.decrypt() is None
    engine.encrypt(b"QUIT\r\n")
    from_client.write(engine.data_to_send())
    assert server.read() == b"QUIT\r\n"
    engine.receive(b"")
    assert engine.decrypt() == b""


@pytest.mark.parametrize(
    ("bytes_from_server", "reason"),
    [
        (b"", "connection closed during the handshake"),
        (b"500 unknown command\r\n", "wrong version number"),
        (bytes((21, 3, 3, 0, 2, 2, 112)), "tlsv1 unrecognized name"),
        (bytes((21, 3, 3, 0, 2, 2, 40)), "tls alert handshake failure"),
    ],
)
def test_failures_are_said_in_words(bytes_from_server: bytes, reason: str) -> None:
    engine = TLSEngine(Offer.LEGACY, None)
    assert not engine.handshake()
    engine.receive(bytes_from_server)
    with pytest.raises(TLSFailure, match=reason):
        engine.handshake()


def test_broken_flights() -> None:
    """Any change to the server's bytes ends in a handshake, a failure, or more waiting."""
    dice = random.Random(3)
    outcomes: set[object] = set()
    for _ in range(1500):
        engine = TLSEngine(dice.choice(list(Offer)), b"mx.example")
        try:
            _, _, answer = flight(engine)
        except ssl.SSLError:
            continue  # this offer and this server have nothing in common
        broken = bytearray(answer)
        for _ in range(dice.randrange(1, 4)):
            match dice.randrange(3):
                case 0:
                    broken[dice.randrange(len(broken))] = dice.randrange(256)
                case 1:
                    del broken[dice.randrange(len(broken)) :]
                    broken += b"\0"
                case _:
                    broken[dice.randrange(len(broken)) : 0] = dice.randbytes(dice.randrange(9))
        engine.receive(bytes(broken))
        try:
            outcomes.add(engine.handshake())
        except TLSFailure:
            outcomes.add(TLSFailure)
        if engine.done:
            engine.chain()
    assert {TLSFailure, False} <= outcomes


def test_keys_have_names() -> None:
    rsa = CA.issue_cert("mx.example", key_type=trustme.KeyType.RSA)
    names = []
    for leaf in (LEAF, rsa):
        certificate = x509.load_pem_x509_certificate(leaf.cert_chain_pems[0].bytes())
        names.append(key_type(certificate.public_bytes(Encoding.DER)))
    assert names == [("ecdsa", "ecdsa-secp256r1"), ("rsa", "rsa-2048")]
    assert key_type(b"") is None
    assert key_type(b"\x30\x82\xff\xff") is None
