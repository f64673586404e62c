"""A bounded window of names: many lookups in flight, without a task for any of them.

`Window` takes names from a source as the client has room, begins the lookup of each (a
generator, see `lookup`), and passes responses to it until it returns. So the memory is that
of the names in flight, however many the source has.

Questions to names under one name-server set are spaced (measurement, section 9: 50 a second
to one name-server address): a name whose turn has not come waits, unbegun or between two
questions, without taking up room.
"""

import heapq
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Generic, NamedTuple, TypeVar

import trio

from crawler.dns.client import TICK_S, Client
from crawler.dns.codec import Question, Response
from crawler.dns.lookup import Lookup

T = TypeVar("T")
_MOST_WAITING = 100_000
_EARLY_S = 0.005  # a turn may come so much early: that of all who ask within one round
_MOST_PACES = 10_000  # then those that nobody waits for are forgotten


class Times(NamedTuple):
    """How a name was asked for. Microseconds since 1970."""

    questions: int
    first_us: int
    last_us: int


class _Name(Generic[T]):
    """One name in flight: the client's `Asker`."""

    __slots__ = ("_window", "first_us", "index", "pace", "questions", "steps")

    def __init__(self, window: "Window[T]", index: int, pace: "_Pace[T] | None") -> None:
        self._window = window
        self.index = index
        self.pace = pace
        self.steps: Lookup[T] | None = None
        self.questions = 0
        self.first_us = 0

    def answered(self, response: Response | None) -> None:
        self._window.go_on(self, response)


class _Pace(Generic[T]):
    """One name-server set: when it may be asked next, and who waits for that."""

    __slots__ = ("free_at", "waiting")

    def __init__(self) -> None:
        self.free_at = 0.0
        self.waiting: deque[tuple[_Name[T], Question | None]] = deque()


class Window(Generic[T]):
    """`done(index, result, times)` is called once for each name; `rested` waits for that.

    source     numbers of names, asked in this order
    begin      the lookup of a name
    servers    the key of the name-server set of a name; None: not spaced
    per_s      questions a second to one set; 0: as many as there are
    """

    def __init__(
        self,
        client: Client,
        source: Iterator[int],
        begin: Callable[[int], Lookup[T]],
        done: Callable[[int, T, Times], None],
        *,
        servers: Callable[[int], Hashable | None] = lambda _: None,
        per_s: float = 0.0,
    ) -> None:
        self._client = client
        self._source = source
        self._again: deque[int] = deque()
        self._begin = begin
        self._done = done
        self._servers = servers
        self._interval_s = 1 / per_s if per_s else 0.0
        self._paces: dict[Hashable, _Pace[T]] = {}
        self._due: list[tuple[float, int, _Pace[T]]] = []  # heap of paces with somebody waiting
        self._waiting = 0
        self._open = 0  # names begun, or waiting to be
        self._exhausted = False
        self._paused = False
        self._idle = trio.Event()
        client.each_tick(self)

    async def rested(self) -> None:
        """Return when all names of the source and those of `again` are done."""
        self._fill()
        if not self._rest():
            self._idle = trio.Event()
            await self._idle.wait()

    def pause(self) -> None:
        """Begin no name until `resume`. Those in flight go on."""
        self._paused = True

    def resume(self) -> None:
        self._paused = False
        self._fill()

    def again(self, indices: Sequence[int]) -> None:
        """Put names back whose results are not believed."""
        self._again.extend(indices)

    def tick(self) -> None:
        if len(self._paces) > _MOST_PACES:
            now = self._client.now
            busy = {k: v for k, v in self._paces.items() if v.waiting or v.free_at > now}
            self._paces = busy
        self._fill()
        if self._client.silent:
            self._one_more()
        self._rest()

    def go_on(self, name: _Name[T], response: Response | None) -> None:
        """The response to the question that `name` had open; the client calls this."""
        assert name.steps is not None
        try:
            question = name.steps.send(response)
        except StopIteration as stop:
            self._open -= 1
            times = Times(name.questions, name.first_us, self._client.now_us)
            self._done(name.index, stop.value, times)
            self._fill()
            if not self._open:
                self._rest()
        else:
            self._put(name, question)

    def _fill(self) -> None:
        while self._client.has_room and self._one_more():
            pass

    def _one_more(self) -> bool:
        """Ask for one more name: who waited for its turn comes first. False if there is none."""
        if self._due and self._due[0][0] <= self._client.now + _EARLY_S:
            self._release()
            return True
        return not self._paused and self._waiting < _MOST_WAITING and self._start()

    def _start(self) -> bool:
        """Begin the next name, or let it wait for its turn; False if there is none."""
        if self._again:
            index = self._again.popleft()
        else:
            following = next(self._source, None)
            if following is None:
                self._exhausted = True
                return False
            index = following
        pace: _Pace[T] | None = None
        if self._interval_s and (key := self._servers(index)) is not None:
            pace = self._paces.get(key)
            if pace is None:
                pace = self._paces[key] = _Pace()
        name = _Name(self, index, pace)
        self._open += 1
        if pace is None or self._takes(pace):
            self._first(name)
        else:
            self._wait(pace, name, None)
        return True

    def _takes(self, pace: _Pace[T]) -> bool:
        """Whether the servers may be asked now; then that is counted."""
        now = self._client.now
        if pace.waiting or pace.free_at > now + _EARLY_S:
            return False
        pace.free_at = max(pace.free_at, now) + self._interval_s
        return True

    def _first(self, name: _Name[T]) -> None:
        name.steps = self._begin(name.index)
        name.first_us = self._client.now_us
        try:
            question = next(name.steps)
        except StopIteration as stop:  # decided without a question
            self._open -= 1
            self._done(name.index, stop.value, Times(0, name.first_us, name.first_us))
        else:
            name.questions = 1
            self._client.submit(question, name)

    def _put(self, name: _Name[T], question: Question) -> None:
        """Ask a further question of a name when its servers' turn has come."""
        name.questions += 1
        if name.pace is None or self._takes(name.pace):
            self._client.submit(question, name)
        else:
            self._wait(name.pace, name, question)

    def _wait(self, pace: _Pace[T], name: _Name[T], question: Question | None) -> None:
        if not pace.waiting:
            heapq.heappush(self._due, (pace.free_at, id(pace), pace))
        # Names begun go before names unbegun, so that few are half done at any time.
        if question is None:
            pace.waiting.append((name, question))
        else:
            pace.waiting.appendleft((name, question))
        self._waiting += 1

    def _release(self) -> None:
        """Let one of those ask whose servers' turn it is."""
        _, _, pace = heapq.heappop(self._due)
        name, question = pace.waiting.popleft()
        self._waiting -= 1
        # From its own time, not from now, for a rate above that of the ticks is to be kept.
        pace.free_at = max(pace.free_at, self._client.now - TICK_S) + self._interval_s
        if pace.waiting:
            heapq.heappush(self._due, (pace.free_at, id(pace), pace))
        if question is not None:
            self._client.submit(question, name)
        elif self._paused:
            self._open -= 1
            self._again.append(name.index)
        else:
            self._first(name)

    def _rest(self) -> bool:
        """Notice that nothing is left to do. While paused there is: `resume` will come."""
        nothing = self._exhausted and not (self._open or self._again or self._paused)
        if nothing:
            self._idle.set()
        return nothing
