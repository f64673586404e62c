"""The rule of confirmation (measurement, section 1), without DNS and SMTP, in simulated time."""

import math
from collections import Counter
from collections.abc import Sequence

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from crawler.scan.confirmation import MOST_REPETITIONS, Confirmation

EVERY_S = 10.0
LIMIT_S = 30.0  # so that a delay of three seconds is a fault


class Network:
    """Ours: down in the given intervals of time. Also the checks, which notice it."""

    every_s = EVERY_S

    def __init__(self, *down: tuple[float, float], patience_s: float = math.inf) -> None:
        self.delays: list[float] = []
        self.rounds: list[float] = []
        self.recoveries = 0
        self._down = down
        self._patience_s = patience_s

    def is_up(self) -> bool:
        now = trio.current_time()
        return not any(start <= now < end for start, end in self._down)

    async def good(self) -> bool:
        self.rounds.append(trio.current_time())
        return self.is_up()

    async def recovered(self) -> bool:
        self.recoveries += 1
        with trio.move_on_after(self._patience_s):
            now = trio.current_time()
            await trio.sleep_until(
                max((end for start, end in self._down if start <= now), default=now)
            )
            return self.is_up()
        return False

    def starved(self, delay_s: float) -> None:
        self.delays.append(delay_s)


class Questions:
    """Pieces of work that take the given time, a task each; each result says what it met."""

    def __init__(
        self, network: Network, durations: Sequence[float], *, proven: bool = False
    ) -> None:
        self.begun: Counter[int] = Counter()
        self.kept: dict[int, tuple[float, bool]] = {}  # when it was kept, and whether it is right
        self.confirmation: Confirmation[int, bool] | None = None
        self._network = network
        self._durations = durations
        self._proven = proven
        self._waiting = list(range(len(durations)))
        self._paused = True
        self._nursery: trio.Nursery | None = None

    def pause(self) -> None:
        self._paused = True

    def resume(self) -> None:
        self._paused = False
        self._start()

    def again(self, keys: Sequence[int]) -> None:
        self._waiting.extend(keys)
        self._start()

    def _start(self) -> None:
        assert self._nursery is not None
        while self._waiting and not self._paused:
            self._nursery.start_soon(self._ask, self._waiting.pop())

    async def _ask(self, key: int) -> None:
        assert self.confirmation is not None
        self.begun[key] += 1
        self.confirmation.began(key)
        await trio.sleep(self._durations[key])
        self.confirmation.done(key, self._network.is_up(), proven=self._proven)

    def keep(self, key: int, right: bool) -> None:
        assert key not in self.kept
        self.kept[key] = trio.current_time(), right

    async def run(self, *, checked: bool = True) -> None:
        checks = self._network if checked else None
        self.confirmation = Confirmation(
            len(self._durations), self, self.keep, checks, shortest_limit_s=LIMIT_S
        )
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            await self.confirmation.run()
            nursery.cancel_scope.cancel()


def simulate(questions: Questions, **options: bool) -> float:
    """Run to the end; how long that took in simulated seconds."""

    async def main() -> float:
        began = trio.current_time()
        await questions.run(**options)
        return trio.current_time() - began

    return trio.run(main, clock=MockClock(autojump_threshold=0))


def test_a_result_counts_once_a_round_begun_after_it_is_good() -> None:
    network = Network()
    questions = Questions(network, [1.0, 2.0, 25.0])
    assert simulate(questions) == pytest.approx(25.0)
    assert questions.kept[0] == questions.kept[1] == (pytest.approx(10.0), True)
    assert questions.kept[2] == (pytest.approx(25.0), True)  # no reason to wait for the third
    assert network.rounds == pytest.approx([0.0, 10.0, 20.0, 25.0])


def test_without_checks_every_result_is_believed_at_once() -> None:
    questions = Questions(Network((0.0, 99.0)), [3.0, 1.0])
    simulate(questions, checked=False)
    assert questions.kept == {0: (3.0, False), 1: (1.0, False)}


def test_nothing_to_do() -> None:
    assert simulate(Questions(Network((0.0, 99.0)), [])) == 0.0


def test_nothing_begins_before_the_first_good_round() -> None:
    questions = Questions(Network((0.0, 50.0)), [1.0])
    simulate(questions)
    assert questions.begun == {0: 1}
    assert questions.kept[0][0] >= 51.0


def test_after_a_bad_round_all_since_the_last_good_one_is_done_again() -> None:
    """The first is confirmed at 10 s, the second is done and the third under way at 20 s."""
    questions = Questions(Network((19.0, 30.0)), [5.0, 12.0, 21.0])
    simulate(questions)
    assert questions.begun == {0: 1, 1: 2, 2: 2}
    assert {right for _, right in questions.kept.values()} == {True}
    assert questions.kept[0][0] == pytest.approx(10.0)
    assert questions.kept[1][0] >= 30.0 + 12.0


def test_what_was_under_way_when_a_round_was_bad_counts_for_nothing_however_late() -> None:
    """It ends long after the network is back, and rounds are good again."""
    questions = Questions(Network((9.0, 11.0)), [100.0])
    simulate(questions)
    assert questions.begun == {0: 2}
    assert questions.kept[0][0] >= 200.0


def test_a_proven_result_needs_no_round() -> None:
    questions = Questions(Network((2.0, 99.0)), [3.0], proven=True)
    assert simulate(questions) == pytest.approx(3.0)
    assert questions.begun == {0: 1}


def test_a_network_that_stays_away_leaves_the_rest_undone() -> None:
    network = Network((15.0, 9999.0), patience_s=60.0)
    questions = Questions(network, [5.0, 18.0])
    assert simulate(questions) == pytest.approx(78.0)  # nothing is left to do at 18 s
    assert list(questions.kept) == [0]


def test_a_network_that_is_away_from_the_start_leaves_everything_undone() -> None:
    questions = Questions(Network((0.0, 9999.0), patience_s=60.0), [5.0])
    simulate(questions)
    assert (questions.begun, questions.kept) == ({}, {})


def test_doubt_makes_the_next_round_a_bad_one_once() -> None:
    network = Network()
    questions = Questions(network, [1.0, 4.0])
    ask = questions._ask

    async def doubtful(key: int) -> None:
        await ask(key)
        if key == 0 and questions.begun[0] == 1:
            assert questions.confirmation is not None
            questions.confirmation.doubt()

    questions._ask = doubtful  # type: ignore[method-assign]
    simulate(questions)
    assert questions.begun == {0: 2, 1: 2}
    assert network.rounds[:2] == pytest.approx([0.0, 1.0])  # at once
    assert network.recoveries == 1


class Slow(Questions):
    """The event loop stands still so long, whenever the first piece of work is at its end."""

    def __init__(self, network: Network, durations: Sequence[float], stall_s: float) -> None:
        super().__init__(network, durations)
        self._stall_s = stall_s
        self.clock = MockClock(autojump_threshold=0)

    async def _ask(self, key: int) -> None:
        await super()._ask(key)
        if key == 0:
            self.clock.jump(self._stall_s)


def run_slow(questions: Slow) -> None:
    trio.run(questions.run, clock=questions.clock)


def test_what_was_under_way_while_our_loop_stood_still_is_done_again() -> None:
    """The second ended before, and is confirmed all the same."""
    network = Network()
    questions = Slow(network, [4.0, 2.0, 8.0], stall_s=5.0)
    run_slow(questions)
    assert network.delays[0] == pytest.approx(5.0, abs=0.5)
    assert questions.begun[1] == 1
    assert questions.begun[2] > 1
    assert network.recoveries == 0
    assert len(questions.kept) == 3


def test_whoever_slows_us_down_each_time_is_not_asked_for_ever() -> None:
    network = Network()
    questions = Slow(network, [4.0], stall_s=5.0)
    run_slow(questions)
    assert questions.begun == {0: 1 + MOST_REPETITIONS}
    assert len(network.delays) == 1 + MOST_REPETITIONS
    assert list(questions.kept) == [0]


def test_a_short_delay_is_no_fault() -> None:
    network = Network()
    questions = Slow(network, [4.0, 8.0], stall_s=LIMIT_S / 10 - 0.5)
    run_slow(questions)
    assert (questions.begun, network.delays) == ({0: 1, 1: 1}, [])


@given(
    durations=st.lists(st.floats(0.01, 60.0), max_size=30),
    gaps=st.lists(st.tuples(st.floats(0.5, 90.0), st.floats(EVERY_S, 90.0)), max_size=4),
)
@settings(max_examples=200, deadline=None)
def test_no_result_of_an_outage_is_kept_and_each_is_kept_once(
    durations: list[float], gaps: list[tuple[float, float]]
) -> None:
    """Outages that last as long as a round is away are seen, whenever they begin and end."""
    down, now = [], 0.0
    for up_s, down_s in gaps:
        down.append((now + up_s, now + up_s + down_s))
        now += up_s + down_s
    questions = Questions(Network(*down), durations)
    simulate(questions)
    assert set(questions.kept) == set(range(len(durations)))
    assert all(right for _, right in questions.kept.values())
