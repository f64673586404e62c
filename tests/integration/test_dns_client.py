"""The client against resolvers that drop, repeat, delay, garble, truncate and shed."""

import os
import random
import resource
import socket
from collections.abc import Awaitable, Callable, Sequence

import pytest
import trio

from crawler.dns.client import Client, Resolvers
from crawler.dns.codec import PADDED, Question, Response
from crawler.dns.lookup import Answer, Lookup, lookup
from crawler.dns.rdata import MX, Flaw
from crawler.dns.settings import ClientSettings
from crawler.dns.window import Times, Window
from dane.faults import LocalTrouble
from dane.outcomes import LookupOutcome
from tests.integration.scripted_resolver import Resolver, echo, mx_record, scripted, truncated

SETTINGS = ClientSettings(window=200, resend_s=0.2, questions_per_s_per_name_server_set=0)


def serving(
    resolver: Resolver,
    main: Callable[[Client], Awaitable[None]],
    *,
    settings: ClientSettings = SETTINGS,
    try_s: float = 0.5,
) -> None:
    async def run() -> None:
        client = Client(Resolvers((resolver.address,)), settings, try_s=try_s)
        with trio.fail_after(60):
            async with client.serving():
                await main(client)

    trio.run(run)


def ask(resolver: Resolver, name: str = "example.com", *, try_s: float = 0.5) -> Response | None:
    responses: list[Response | None] = []

    async def main(client: Client) -> None:
        responses.append(await client.ask(Question(name, MX)))

    serving(resolver, main, try_s=try_s)
    return responses[0]


def _name(index: int) -> str:
    """Every seventh is longer than what is padded to one length."""
    return f"n{index}.{'long.' * (20 if index % 7 == 0 else 0)}example"


def look_up(
    resolver: Resolver, count: int, *, settings: ClientSettings = SETTINGS, try_s: float = 0.5
) -> dict[int, list[Answer]]:
    """All answers by number: each must have just one."""
    found: dict[int, list[Answer]] = {}

    async def main(client: Client) -> None:
        def done(index: int, answer: Answer, _: Times) -> None:
            found.setdefault(index, []).append(answer)

        window = Window(client, iter(range(count)), lambda index: lookup(_name(index), MX), done)
        await window.rested()

    serving(resolver, main, settings=settings, try_s=try_s)
    return found


def answer(wire: bytes) -> bytes:
    return echo(wire, records=[mx_record()])


def test_an_answer() -> None:
    with scripted(lambda wire, _: [answer(wire)]) as resolver:
        response = ask(resolver)
    assert response is not None
    assert response.records == [(10, "example.com")]
    assert len(resolver.arrivals) == 1


def test_the_time_before_the_first_question_is_no_silence() -> None:
    async def main(client: Client) -> None:
        await client.ask(Question("example.com", MX))
        assert not client.silent  # else the first second of every scan would be lost

    with scripted(lambda wire, _: [answer(wire)]) as resolver:
        serving(resolver, main, settings=ClientSettings(resend_s=30.0), try_s=60.0)


def test_a_silent_resolver_is_asked_twice_and_given_up() -> None:
    with scripted(lambda _, __: []) as resolver:
        assert ask(resolver) is None
    first, second = (wire for _, wire in resolver.arrivals)
    assert first[2:] == second[2:]
    assert first[:2] != second[:2]


def test_nobody_there() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        address = taken.getsockname()
    assert ask(Resolver(address)) is None


def test_too_few_file_descriptors_are_our_trouble() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 8, hard))
    try:
        with pytest.raises(LocalTrouble, match="open-file limit"):
            Client(Resolvers((("127.0.0.1", 53),), threads=2), SETTINGS, try_s=1.0)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(
    "nonsense",
    [
        lambda wire: b"",
        lambda wire: wire[:1],
        lambda wire: wire,
        lambda wire: bytes((wire[0] ^ 1,)) + answer(wire)[1:],
        lambda wire: answer(wire).replace(b"example", b"exanple"),
        lambda wire: answer(wire)[:14],
    ],
    ids=["empty", "one byte", "the question", "another id", "another name", "half a question"],
)
def test_what_is_no_answer_is_not_taken_for_one(nonsense: Callable[[bytes], bytes]) -> None:
    with scripted(lambda wire, _: [nonsense(wire), answer(wire)]) as resolver:
        response = ask(resolver)
    assert response is not None
    assert response.flaw is None


def test_a_malformed_answer_is_an_outcome() -> None:
    with scripted(lambda wire, _: [answer(wire) + b"!"]) as resolver:
        response = ask(resolver)
        found = look_up(resolver, 1)
    assert response is not None
    assert response.flaw is Flaw.TRAILING
    assert found[0][0].outcome is LookupOutcome.LOCAL_RESOLVER


def test_every_name_is_done_exactly_once_whatever_the_network_does() -> None:
    chance = random.Random(5)

    def unreliable(wire: bytes, _: int) -> Sequence[bytes]:
        match chance.randrange(10):
            case 0:
                return []
            case 1:
                return [answer(wire)] * 3
            case 2:
                return [chance.randbytes(40), wire, answer(wire)]
            case 3:
                return [echo(wire, rcode=2)]
            case 4:
                return [answer(wire)[:-2]]
        return [answer(wire)]

    with scripted(unreliable) as resolver:
        found = look_up(resolver, 3000)
    assert sorted(found) == list(range(3000))
    assert {len(answers) for answers in found.values()} == {1}


def test_questions_that_are_sent_together_arrive_one_by_one() -> None:
    with scripted(lambda wire, _: [answer(wire)]) as resolver:
        found = look_up(resolver, 1000, try_s=10.0)
    assert {response.outcome for (response,) in found.values()} == {LookupOutcome.SECURE}
    assert {len(wire) for _, wire in resolver.arrivals} == {PADDED, 2 * PADDED}
    assert len({wire[12:] for _, wire in resolver.arrivals}) == 1000


def test_the_window_bounds_what_is_in_flight() -> None:
    """However many names there are: no more are begun than the window and the slow ones hold."""
    begun = done = most = 0

    with scripted(lambda wire, _: [answer(wire)]) as resolver:

        async def main(client: Client) -> None:
            def begin(index: int) -> Lookup[Answer]:
                nonlocal begun, most
                begun += 1
                most = max(most, begun - done)
                return lookup(f"n{index}.example", MX)

            def finished(_: int, __: Answer, ___: Times) -> None:
                nonlocal done
                done += 1

            await Window(client, iter(range(20_000)), begin, finished).rested()

        serving(resolver, main, try_s=5.0)
    assert done == begun == 20_000
    assert most <= 2 * SETTINGS.window


def test_names_of_one_server_set_are_spaced_and_hold_up_nobody() -> None:
    order: list[int] = []

    with scripted(lambda wire, _: [answer(wire)]) as resolver:

        async def main(client: Client) -> None:
            window = Window(
                client,
                iter(range(120)),
                lambda index: lookup(f"n{index}.example", MX),
                lambda index, *_: order.append(index),
                servers=lambda index: ("ns.example",) if index < 20 else None,
                per_s=20.0,
            )
            await window.rested()

        serving(resolver, main)
    spaced = [at for at, wire in resolver.arrivals if int(wire[14 : 13 + wire[12]]) < 20]
    assert spaced[-1] - spaced[0] >= 18 / 20
    assert set(order[:101]) >= set(range(20, 120))


def test_truncated_answers_come_by_tcp_in_any_order() -> None:
    held: list[bytes] = []

    def by_tcp(wire: bytes, _: int) -> Sequence[bytes]:
        held.append(answer(wire))
        if len(held) < 10:
            return []
        replies = list(reversed(held))
        held.clear()
        return replies

    with scripted(lambda wire, _: [truncated(wire)], by_tcp) as resolver:
        found = look_up(resolver, 50)
    assert {answers[0].outcome for answers in found.values()} == {LookupOutcome.SECURE}
    assert len(found) == 50


def test_a_tcp_connection_that_ends_is_opened_again() -> None:
    def by_tcp(wire: bytes, number: int) -> Sequence[bytes] | None:
        return None if number % 3 == 0 else [answer(wire)]

    with scripted(lambda wire, _: [truncated(wire)], by_tcp) as resolver:
        found = look_up(resolver, 10, try_s=5.0)
    assert {answers[0].outcome for answers in found.values()} == {LookupOutcome.SECURE}
    assert len(found) == 10


def test_a_tcp_connection_that_stalls_has_a_deadline() -> None:
    with scripted(lambda wire, _: [truncated(wire)], lambda _, __: []) as resolver:
        found = look_up(resolver, 3)
    assert {answers[0].outcome for answers in found.values()} == {LookupOutcome.UNANSWERED}


class Until:
    """Called each tick; `met` is set once the condition holds."""

    def __init__(self, client: Client, condition: Callable[[], bool]) -> None:
        self.ticks = 0
        self.met = trio.Event()
        self._condition = condition
        client.each_tick(self)

    def tick(self) -> None:
        self.ticks += 1
        if self._condition():
            self.met.set()


def test_the_window_shrinks_while_load_is_shed_and_recovers() -> None:
    """The resolver loses every other datagram of the first 2 000, then is well again."""
    windows: list[float] = []

    def shedding(wire: bytes, number: int) -> Sequence[bytes]:
        return [] if number < 2000 and number % 2 else [answer(wire)]

    with scripted(shedding) as resolver:

        async def main(client: Client) -> None:
            def recovered() -> bool:
                windows.append(client.window)
                return min(windows) < client.window == SETTINGS.window

            until = Until(client, recovered)
            window = Window(
                client,
                iter(range(10**9)),
                lambda index: lookup(f"n{index}.example", MX),
                lambda *_: None,
            )
            async with trio.open_nursery() as nursery:
                nursery.start_soon(window.rested)
                await until.met.wait()
                nursery.cancel_scope.cancel()

        serving(resolver, main)
    assert min(windows) <= SETTINGS.window / 2


def test_names_that_are_never_answered_are_no_sign_of_shedding() -> None:
    """One in five is slow to death: the others go on in a full window."""
    windows: set[float] = set()

    with scripted(lambda wire, _: [] if wire[13:14] in b"05" else [answer(wire)]) as resolver:

        async def main(client: Client) -> None:
            given_up: list[int] = []

            def done(index: int, one: Answer, _: Times) -> None:
                if one.outcome is LookupOutcome.UNANSWERED:
                    given_up.append(index)

            Until(client, lambda: windows.add(client.window) is not None)
            names = [f"{n % 10}n{n}.example" for n in range(1000)]
            window = Window(client, iter(range(1000)), lambda index: lookup(names[index], MX), done)
            await window.rested()
            assert len(given_up) == 200
            assert client.lost == 0

        serving(resolver, main)
    assert windows == {SETTINGS.window}


def test_a_resolver_that_stands_still_does_not_use_up_the_names() -> None:
    """Once nothing at all comes back, no more than one name is begun a tick."""
    begun: list[int] = []

    with scripted(lambda _, __: []) as resolver:

        async def main(client: Client) -> None:
            def begin(index: int) -> Lookup[Answer]:
                begun.append(index)
                return lookup(f"n{index}.example", MX)

            silent = Until(client, lambda: client.silent)
            window = Window(client, iter(range(10**9)), begin, lambda *_: None)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(window.rested)
                await silent.met.wait()
                before = len(begun)
                later = Until(client, lambda: later.ticks > 20)
                await later.met.wait()
                assert len(begun) - before <= later.ticks + 1
                nursery.cancel_scope.cancel()

        serving(resolver, main)
