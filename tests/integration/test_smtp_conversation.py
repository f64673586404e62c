"""One connection to real servers on loopback: TLS, bounds, deadlines, whose fault it is."""

import dataclasses
import resource
import socket
import ssl

import pytest
import trio
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from crawler.smtp.probe import MAX_SESSION, Conversation, _Wire, converse
from crawler.smtp.settings import ProbeSettings
from crawler.smtp.tls import Offer, key_type, server_name
from dane.outcomes import HostStatus
from tests.smtp_servers import EHLO, SMTP, Server, Town, hangs_up, never_answers, tls_context

PATIENT = ProbeSettings(lab_addresses=("127.0.0.0/8",), connect_s=5, reply_s=5, tls_s=5)
HASTY = dataclasses.replace(PATIENT, reply_s=0.2, tls_s=0.2, session_s=1.0)


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def town() -> Town:
    return Town()


def talk(
    town: Town,
    server: Server,
    settings: ProbeSettings = PATIENT,
    *,
    offer: Offer = Offer.MODERN,
    sni: str = "mx.example",
    address: str | None = None,
) -> Conversation:
    address = town.add(server, address)
    with town:
        at_port = dataclasses.replace(settings, port=town.port)
        return trio.run(converse, address, sni, offer, at_port, "survey.example")


def test_a_good_server(town: Town, ca: trustme.CA) -> None:
    leaf = ca.issue_cert("mx.example")
    server = SMTP(tls_context(leaf))
    seen = talk(town, server)
    assert seen.status is None
    assert seen.error is None
    assert seen.tls_version == "TLSv1.3"
    assert seen.cipher
    assert (seen.smtp_code, seen.smtp_text) == (220, "2.0.0 Ready")
    assert not seen.injected
    sent = x509.load_pem_x509_certificate(leaf.cert_chain_pems[0].bytes())
    assert seen.chain == (sent.public_bytes(Encoding.DER),)
    assert server.heard == [
        b"EHLO survey.example\r\n",
        b"STARTTLS\r\n",
        b"EHLO survey.example\r\n",
        b"QUIT\r\n",
    ]
    assert server.names == ["mx.example"]


def test_over_ipv6(town: Town, ca: trustme.CA) -> None:
    seen = talk(town, SMTP(tls_context(ca.issue_cert("mx.example"))), address="::1")
    assert seen.status is None


def test_the_chain_is_as_presented(town: Town) -> None:
    root = trustme.CA()
    middle = root.create_child_ca()
    leaf = middle.issue_cert("mx.example")
    stranger = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    pems = [
        leaf.private_key_and_cert_chain_pem.bytes(),
        stranger.cert_pem.bytes(),
        root.cert_pem.bytes(),
        root.cert_pem.bytes(),
    ]
    with trustme.Blob(b"".join(pems)).tempfile() as path:
        context.load_cert_chain(path)
    seen = talk(town, SMTP(context))
    expected = [
        *x509.load_pem_x509_certificates(b"".join(b.bytes() for b in leaf.cert_chain_pems)),
        x509.load_pem_x509_certificate(stranger.cert_pem.bytes()),
        *[x509.load_pem_x509_certificate(root.cert_pem.bytes())] * 2,
    ]
    assert seen.chain == tuple(one.public_bytes(Encoding.DER) for one in expected)


@pytest.mark.parametrize(
    ("base", "sni"),
    [
        ("mx.example", b"mx.example"),
        ("_x-1.mx_2.example", b"_x-1.mx_2.example"),
        ("caf\\233.example", None),
        ("a\\032b.example", None),
        ("*.example", None),
        (".", None),
    ],
)
def test_which_names_are_sent_as_sni(base: str, sni: bytes | None) -> None:
    assert server_name(base) == sni


def test_odd_names_reach_the_server_or_are_left_out(town: Town, ca: trustme.CA) -> None:
    server = SMTP(tls_context(ca.issue_cert("mx.example")))
    assert talk(town, server, sni="_x-1.mx_2.example").status is None
    assert talk(Town(), server, sni="caf\\233.example").status is None
    assert talk(Town(), server, sni="x" * 63 + "." + "y" * 63).status is None
    assert server.names == ["_x-1.mx_2.example", None, "x" * 63 + "." + "y" * 63]


def test_old_tls_needs_the_legacy_offer(ca: trustme.CA) -> None:
    old = tls_context(ca.issue_cert("mx.example"), newest=ssl.TLSVersion.TLSv1_1)
    assert talk(Town(), SMTP(old)).status is HostStatus.TLS_FAILED
    seen = talk(Town(), SMTP(old), offer=Offer.LEGACY)
    assert seen.status is None
    assert seen.tls_version == "TLSv1.1"


def test_each_kind_of_key_can_be_asked_for(ca: trustme.CA) -> None:
    both = tls_context(
        ca.issue_cert("mx.example", key_type=trustme.KeyType.RSA),
        ca.issue_cert("mx.example", key_type=trustme.KeyType.ECDSA),
    )
    kinds = {}
    for offer in (Offer.RSA, Offer.ECDSA):
        seen = talk(Town(), SMTP(both), offer=offer)
        assert seen.status is None
        kinds[offer] = key_type(seen.chain[0])
    assert kinds == {
        Offer.RSA: ("rsa", "rsa-2048"),
        Offer.ECDSA: ("ecdsa", "ecdsa-secp256r1"),
    }
    only_rsa = tls_context(ca.issue_cert("mx.example", key_type=trustme.KeyType.RSA))
    assert talk(Town(), SMTP(only_rsa), offer=Offer.ECDSA).status is HostStatus.TLS_FAILED


async def alerts(stream: trio.SocketStream) -> None:
    await stream.receive_some(4096)
    await stream.send_all(bytes((21, 3, 3, 0, 2, 2, 112)))  # fatal unrecognized_name


async def talks_plain(stream: trio.SocketStream) -> None:
    await stream.receive_some(4096)
    await stream.send_all(b"500 what?\r\n" * 20)
    await never_answers(stream)


async def closes(stream: trio.SocketStream) -> None:
    await stream.receive_some(4096)


@pytest.mark.parametrize("instead", [alerts, talks_plain, closes])
def test_a_broken_handshake(town: Town, instead: Server) -> None:
    seen = talk(town, SMTP(instead_of_tls=instead))
    assert seen.status is HostStatus.TLS_FAILED
    assert seen.error
    assert seen.chain == ()


def test_a_stalled_handshake_is_no_verdict(town: Town) -> None:
    seen = talk(town, SMTP(instead_of_tls=never_answers), HASTY)
    assert seen.status is HostStatus.TEMPFAIL
    assert seen.error == "time-out during the handshake"


def test_plaintext_after_the_220_is_told_and_not_read(ca: trustme.CA, town: Town) -> None:
    context = tls_context(ca.issue_cert("mx.example"))
    seen = talk(town, SMTP(context, starttls=b"220 go\r\n250-evil\r\n250 STARTTLS\r\n"))
    assert seen.injected
    assert seen.status is None


def test_plaintext_that_waits_unread_is_told_too() -> None:
    async def main() -> tuple[bool, bool]:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)
            wire = _Wire(ours)
            nothing = wire.discard_waiting()
            theirs.send(b"250 injected\r\n")
            await trio.lowlevel.wait_readable(ours)
            return nothing, wire.discard_waiting()

    assert trio.run(main) == (False, True)


async def drips(stream: trio.SocketStream) -> None:
    for byte in b"220 " + b"x" * 2000 + b"\r\n":
        await stream.send_all(bytes((byte,)))
        await trio.sleep(0.05)


async def babbles(stream: trio.SocketStream) -> None:
    while True:
        await stream.send_all(b"220-" + b"x" * 1000 + b"\r\n")


async def endless_line(stream: trio.SocketStream) -> None:
    while True:
        await stream.send_all(b"x" * 4096)


async def nuls(stream: trio.SocketStream) -> None:
    await stream.send_all(b"220 \0\0\r\n\0\0\r\n")
    await never_answers(stream)


@pytest.mark.parametrize("server", [drips, babbles, endless_line, nuls, never_answers, hangs_up])
def test_bombs_and_tarpits_end_by_themselves(town: Town, server: Server) -> None:
    seen = talk(town, server, HASTY)
    assert seen.status is HostStatus.TEMPFAIL
    assert seen.error
    assert "\0" not in (seen.smtp_text or "")


def test_the_whole_session_has_a_deadline(town: Town, ca: trustme.CA) -> None:
    """Each reply in time, all of them together not."""

    async def slow(stream: trio.SocketStream) -> None:
        for reply in (b"220 a\r\n", b"250-a\r\n250 STARTTLS\r\n"):
            await trio.sleep(0.3)
            await stream.send_all(reply)
        await never_answers(stream)

    settings = dataclasses.replace(PATIENT, session_s=0.8)
    assert talk(town, slow, settings).error == "time-out while waiting for the reply to STARTTLS"


def test_bytes_inside_tls_are_bounded_too(town: Town, ca: trustme.CA) -> None:
    context = tls_context(ca.issue_cert("mx.example"))
    sent = 0

    async def flood(stream: trio.SocketStream) -> None:
        nonlocal sent
        tls = trio.SSLStream(stream, context, server_side=True)
        await tls.do_handshake()
        while True:
            await tls.send_all(b"250-" + b"x" * 1000 + b"\r\n")
            sent += 1000

    seen = talk(town, SMTP(instead_of_tls=flood))
    assert seen.status is None, "the handshake was done: the chain counts"
    assert len(seen.chain) == 1
    assert "over" in str(seen.error)


def test_a_handshake_that_floods(town: Town) -> None:
    """Handshake records without end: of the kind that OpenSSL ignores, but for the count."""

    async def flood(stream: trio.SocketStream) -> None:
        await stream.receive_some(4096)
        warning = bytes((21, 3, 3, 0, 2, 1, 90))  # alert, warning, user_canceled
        while True:
            await stream.send_all(warning * 1000)

    seen = talk(town, SMTP(instead_of_tls=flood))
    assert seen.status is HostStatus.TLS_FAILED


def test_a_chain_over_100_kib_is_a_failed_handshake(town: Town) -> None:
    root = trustme.CA()
    leaf = root.issue_cert("mx.example")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    filler = trustme.CA().issue_cert(*[f"filler-{n}.example" for n in range(400)])
    pem = leaf.private_key_and_cert_chain_pem.bytes() + filler.cert_chain_pems[0].bytes() * 14
    with trustme.Blob(pem).tempfile() as path:
        context.load_cert_chain(path)
    seen = talk(town, SMTP(context))
    assert seen.status is HostStatus.TLS_FAILED
    assert seen.chain == ()
    assert MAX_SESSION > 100 * 1024


def test_nobody_listens() -> None:
    town = Town()
    address = town.add(hangs_up)
    with town:
        settings = dataclasses.replace(PATIENT, port=town.port)
        elsewhere = address.replace(".1", ".2")
        seen = trio.run(converse, elsewhere, "mx.example", Offer.MODERN, settings, "me.example")
    assert (seen.status, seen.error) == (HostStatus.UNREACHABLE, "ECONNREFUSED")


def test_a_full_backlog_is_a_time_out() -> None:
    with socket.socket() as listening:
        listening.bind(("127.77.200.1", 0))
        listening.listen(0)
        port = listening.getsockname()[1]
        waiting = []
        try:
            for _ in range(3):  # fill the queue of connections that nobody accepts
                waiting.append(socket.socket())
                waiting[-1].setblocking(False)
                waiting[-1].connect_ex(("127.77.200.1", port))
            settings = dataclasses.replace(PATIENT, port=port, connect_s=0.2)
            seen = trio.run(
                converse, "127.77.200.1", "mx.example", Offer.MODERN, settings, "me.example"
            )
        finally:
            for one in waiting:
                one.close()
    assert (seen.status, seen.error) == (HostStatus.UNREACHABLE, "time-out while connecting")


def test_no_file_descriptor_left_is_our_trouble() -> None:
    async def with_none_left() -> Conversation:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        held = socket.socket()
        resource.setrlimit(resource.RLIMIT_NOFILE, (held.fileno(), hard))
        try:
            return await converse("127.0.0.1", "mx.example", Offer.MODERN, PATIENT, "me.example")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            held.close()

    seen = trio.run(with_none_left)
    assert (seen.status, seen.error) == (HostStatus.LOCAL_ERROR_SMTP, "EMFILE")


def test_helo_is_no_substitute(town: Town) -> None:
    server = SMTP(ehlo=b"502 5.5.1 unknown command\r\n")
    assert talk(town, server).status is HostStatus.REFUSED
    assert server.heard == [b"EHLO survey.example\r\n", b"QUIT\r\n"]


def test_starttls_in_an_error_is_no_offer(town: Town) -> None:
    server = SMTP(ehlo=EHLO.replace(b"250", b"450"))
    assert talk(town, server).status is HostStatus.TEMPFAIL
