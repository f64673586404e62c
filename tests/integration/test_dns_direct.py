"""Direct questions over real sockets: shared ones, closed ones, and ones that stay silent."""

import os
from collections.abc import Awaitable, Callable, Sequence

import dns.exception
import pytest
import trio
from trio.testing import MockClock

from crawler.dns.direct import exchange, shared_sockets
from tests.integration.scripted_resolver import Resolver, echo, scripted

QUESTION = b"\0\0\1\0\0\1\0\0\0\0\0\0\1a\0\0\1\0\1"
LIMIT_S = 0.5

Ask = Callable[[bool], Awaitable[bytes]]


def run(
    resolver: Resolver,
    main: Callable[[Ask], Awaitable[None]],
    *,
    shared: bool = True,
    clock: MockClock | None = None,
) -> None:
    """`main` with a function that asks one question, over shared sockets or not."""
    address, port = resolver.address

    async def ask(tcp: bool) -> bytes:
        wire = os.urandom(2) + QUESTION[2:]
        reply = await exchange(wire, address, port, tcp=tcp, timeout_s=LIMIT_S)
        assert reply[:2] == wire[:2]
        return reply

    async def sharing() -> None:
        async with shared_sockets():
            await main(ask)

    trio.run(sharing if shared else main, *(() if shared else (ask,)), clock=clock)


@pytest.mark.parametrize(("shared", "sockets"), [(True, 1), (False, 4)])
def test_a_server_is_asked_over_one_socket_of_each_kind(shared: bool, sockets: int) -> None:
    async def main(ask: Ask) -> None:
        for tcp in (False, True):
            for _ in range(4):
                await ask(tcp)

    with scripted(lambda wire, _: [echo(wire)], lambda wire, _: [echo(wire)]) as resolver:
        run(resolver, main, shared=shared)
    assert len(set(resolver.senders)) == sockets
    assert resolver.connections == sockets


def test_questions_at_once_do_not_share_a_socket() -> None:
    async def main(ask: Ask) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(ask, False)

    with scripted(lambda wire, _: [echo(wire)]) as resolver:
        run(resolver, main)
    assert len(set(resolver.senders)) == 3


def test_a_connection_that_the_server_closed_is_opened_again() -> None:
    """It answers one question on each connection, and says nothing to a second."""

    def once(wire: bytes, number: int) -> Sequence[bytes] | None:
        return [echo(wire)] if number % 2 == 0 else None

    async def main(ask: Ask) -> None:
        await ask(True)
        await ask(True)

    with scripted(lambda *_: [], once) as resolver:
        run(resolver, main)
    assert resolver.connections == 2


def test_a_second_question_that_is_left_unanswered_says_nothing_of_the_server() -> None:
    def silent_to_the_second(wire: bytes, number: int) -> Sequence[bytes]:
        return [] if number == 1 else [echo(wire)]

    async def main(ask: Ask) -> None:
        await ask(True)
        await ask(True)

    with scripted(lambda *_: [], silent_to_the_second) as resolver:
        run(resolver, main)
    assert resolver.connections == 2


def test_silence_is_a_time_out_and_its_socket_is_not_used_again() -> None:
    async def main(ask: Ask) -> None:
        with pytest.raises(dns.exception.Timeout):
            await ask(False)
        await ask(False)

    with scripted(lambda wire, number: [echo(wire)] if number else []) as resolver:
        run(resolver, main)
    assert len(set(resolver.senders)) == 2


def test_a_late_reply_to_another_question_is_passed_over() -> None:
    async def main(ask: Ask) -> None:
        await ask(False)
        await ask(False)

    with scripted(lambda wire, _: [b"\xff\xff" + echo(wire)[2:], echo(wire), echo(wire)]) as it:
        run(it, main)


def test_a_connection_that_was_idle_for_a_second_is_not_used_again() -> None:
    clock = MockClock()

    async def main(ask: Ask) -> None:
        await ask(True)
        clock.jump(1.5)
        await ask(True)

    with scripted(lambda *_: [], lambda wire, _: [echo(wire)]) as resolver:
        run(resolver, main, clock=clock)
    assert resolver.connections == 2
