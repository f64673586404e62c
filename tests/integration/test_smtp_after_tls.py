"""What counts once STARTTLS is agreed: the handshake, and little of what comes after it."""

import dataclasses
import ssl
from collections.abc import Awaitable, Callable

import pytest
import trio
import trustme

from crawler.smtp.tls import Offer
from dane.outcomes import AfterTLS, HostStatus
from tests.smtp_servers import SMTP, read_line, tls_context
from tests.support.conversations import PATIENT, talk
from tests.support.tls_server import handshake

CA = trustme.CA()
LEAF = CA.issue_cert("mx.example")
VERSIONS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)


class Inside(SMTP):
    """Does something of its own once the handshake is done, instead of SMTP."""

    def __init__(
        self, context: ssl.SSLContext, act: Callable[[trio.abc.Stream], Awaitable[None]]
    ) -> None:
        super().__init__(context)
        self._act = act

    async def inside(self, stream: trio.abc.Stream) -> None:
        await self._act(stream)
        await stream.aclose()


def replies(data: bytes) -> Callable[[trio.abc.Stream], Awaitable[None]]:
    async def act(stream: trio.abc.Stream) -> None:
        await read_line(stream)
        await stream.send_all(data)

    return act


async def closes(stream: trio.abc.Stream) -> None:
    await read_line(stream)


async def says_nothing(stream: trio.abc.Stream) -> None:
    await trio.sleep(3)


@pytest.mark.parametrize("newest", VERSIONS)
@pytest.mark.parametrize(
    ("act", "after_tls"),
    [
        (replies(b"250 mx.example\r\n"), None),
        (replies(b"421 4.3.2 not now\r\n"), AfterTLS.SHUTDOWN),
        (replies(b"450 4.3.2 not now\r\n"), AfterTLS.TRANSIENT),
        (replies(b"550 5.7.1 not you\r\n"), AfterTLS.PERMANENT),
        (replies(b"hello?\r\n"), AfterTLS.GARBLED),
        (closes, AfterTLS.CLOSED),
        (says_nothing, AfterTLS.SILENT),
    ],
)
def test_what_happens_after_the_handshake_is_recorded_and_decides_nothing(
    act: Callable[[trio.abc.Stream], Awaitable[None]],
    after_tls: AfterTLS | None,
    newest: ssl.TLSVersion,
) -> None:
    settings = dataclasses.replace(PATIENT, reply_s=0.5)
    seen = talk(Inside(tls_context(LEAF, newest=newest), act), settings)
    assert (seen.status, seen.after_tls) == (None, after_tls)
    assert len(seen.chain) == 1
    # Known although the stream has ended: what the handshake agreed on.
    assert seen.tls_version == ("TLSv1.3" if newest is ssl.TLSVersion.TLSv1_3 else "TLSv1.2")
    assert seen.cipher
    assert seen.tls_group == "x25519"
    assert (seen.smtp_code, seen.smtp_text) == (220, "2.0.0 Ready")


@pytest.mark.parametrize("newest", VERSIONS)
@pytest.mark.parametrize("offer", [Offer.MODERN, Offer.LEGACY])
def test_a_demanded_client_certificate_fails_the_handshake(
    newest: ssl.TLSVersion, offer: Offer
) -> None:
    """A TLS 1.3 server says so only after our Finished (RFC 8446 section 4.4.2.4)."""
    context = tls_context(LEAF, newest=newest)
    context.verify_mode = ssl.CERT_REQUIRED
    CA.configure_trust(context)

    async def demands(stream: trio.SocketStream) -> None:
        assert await handshake(stream, context) is None

    seen = talk(SMTP(instead_of_tls=demands), offer=offer)
    assert (seen.status, seen.after_tls) == (HostStatus.TLS_FAILED, None)
    assert seen.error is not None
    assert "alert" in seen.error


def test_an_alert_after_the_servers_reply_is_after_the_handshake() -> None:
    async def act(stream: trio.abc.Stream) -> None:
        await read_line(stream)
        await stream.send_all(b"250 mx.example\r\n")
        await read_line(stream)
        assert isinstance(stream, trio.SSLStream)
        plain = stream.transport_stream
        await plain.send_all(bytes((21, 3, 3, 0, 2, 2, 40)))  # in the clear: a protocol error

    seen = talk(Inside(tls_context(LEAF), act))
    assert (seen.status, seen.after_tls, len(seen.chain)) == (None, None, 1)


@pytest.mark.parametrize("code", [220, 250, 299])
def test_any_2xx_to_starttls_is_consent(code: int) -> None:
    seen = talk(SMTP(tls_context(LEAF), starttls=b"%d go ahead\r\n" % code))
    assert (seen.status, seen.smtp_code, len(seen.chain)) == (None, code, 1)
    assert not seen.injected


def test_421_before_tls_is_no_verdict() -> None:
    for server in (
        SMTP(greeting=b"421 4.3.2 busy\r\n"),
        SMTP(ehlo=b"421 4.3.2 busy\r\n"),
        SMTP(starttls=b"421 4.3.2 busy\r\n"),
    ):
        assert talk(server).status is HostStatus.TEMPFAIL


def test_bytes_of_the_server_before_our_hello_are_an_injection() -> None:
    """What the server sends between its 220 and our ClientHello is in the clear, and a client
    that reads it after the handshake takes it for protected."""
    context = tls_context(LEAF)
    assert talk(SMTP(context, starttls=b"220 go\r\n250 injected\r\n")).injected
    assert not talk(SMTP(context, starttls=b"220-go\r\n220 on\r\n")).injected
