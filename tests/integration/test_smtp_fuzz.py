"""Whole sessions against servers that send anything, at any moment, over real sockets."""

import random
from dataclasses import replace

import pytest
import trio
import trustme

from crawler.smtp.probe import Conversation, converse
from crawler.smtp.settings import ProbeSettings
from crawler.smtp.tls import Offer
from dane.outcomes import HOST_CLASS, HostClass
from tests.smtp_servers import EHLO, Town, tls_context

SETTINGS = ProbeSettings(
    lab_addresses=("127.0.0.0/8",), connect_s=10, reply_s=0.5, tls_s=0.5, session_s=1
)
AT_ONCE = 50
PIECES = (
    b"220 mx.example\r\n",
    EHLO,
    b"220 go\r\n",
    b"250 ok\r\n",
    b"421 busy\r\n",
    b"454 no\r\n",
    b"554 no\r\n",
    b"220-" + b"x" * 1500 + b"\r\n",
    b"x" * 3000,
    b"\0\r\n",
    bytes((22, 3, 3, 0, 4, 2, 0, 0, 0)),  # a handshake record: an empty ServerHello
    bytes((21, 3, 3, 0, 2, 1, 0)),  # a close_notify
    bytes((23, 3, 3, 255, 255)) + b"y" * 500,
)


class Anything:
    """Each connection gets the next random script: mostly what fits, then what does not."""

    def __init__(self, seed: int) -> None:
        self._dice = random.Random(seed)
        self._context = tls_context(trustme.CA().issue_cert("mx.example"))

    async def __call__(self, stream: trio.SocketStream) -> None:
        dice = random.Random(self._dice.random())
        for fitting in (b"220 mx.example\r\n", EHLO, b"220 go\r\n"):
            if dice.random() < 0.15:
                await self._babble(stream, dice)
            else:
                await stream.send_all(fitting)
            if fitting != b"220 go\r\n" and not await stream.receive_some(4096):
                return
        if dice.random() < 0.5:
            await self._babble(stream, dice)
            return
        tls = trio.SSLStream(stream, self._context, server_side=True)
        await tls.do_handshake()
        await self._babble(tls, dice)

    async def _babble(self, stream: trio.abc.SendStream, dice: random.Random) -> None:
        for _ in range(dice.randrange(4)):
            piece = bytearray(dice.choice(PIECES))
            if dice.random() < 0.5:
                piece[dice.randrange(len(piece))] = dice.randrange(256)
            await stream.send_all(bytes(piece))


def outcomes(count: int, seed: int) -> list[Conversation]:
    town = Town()
    address = town.add(Anything(seed))
    settings = replace(SETTINGS, port=town.port)
    found: list[Conversation] = []

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(AT_ONCE):
                nursery.start_soon(some, count // AT_ONCE)

    async def some(number: int) -> None:
        for _ in range(number):
            found.append(
                await converse(address, "mx.example", Offer.MODERN, settings, "survey.example")
            )

    with town:
        trio.run(main)
    return found


def check(found: list[Conversation]) -> None:
    for one in found:
        assert one.duration_ms < 1000 * (SETTINGS.connect_s + SETTINGS.session_s)
        if one.status is None:
            assert len(one.chain) == 1
        else:
            assert one.chain == ()
            assert HOST_CLASS[one.status] in (HostClass.F, HostClass.Q)
            assert one.error or one.smtp_code
        assert len(one.smtp_text or "") <= 500
        assert (one.smtp_text or "").replace("\n", "").isprintable()
    assert {one.status is None for one in found} == {True, False}


def test_sessions_with_anything() -> None:
    found = outcomes(1000, seed=5)
    assert len(found) == 1000
    check(found)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_many_sessions_with_anything() -> None:
    check(outcomes(50_000, seed=6))
