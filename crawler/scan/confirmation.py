"""When a result of a scan is believed (measurement, section 1).

A name server that is silent and a network of ours that is down look alike. So a scan checks
now and then, with names that are known to work (canaries), whether what it hears can be
believed. The theory, which knows neither DNS nor SMTP:

1. A good round of checks says nothing of what comes after it, and a bad one may have become
   bad at any moment since the last good one. So a result counts only if a round was good
   before its work began and another one, begun after the work was done, is good too.
2. After a bad round all results since the last good one are thrown away, and so is what was
   under way: it is worked out again. First the checks must be good again (`recovered`: what
   our own outage left in caches is forgotten). If they do not become good, the scan ends with
   what is confirmed; the rest has no row and is asked for another day.
3. A result that proves by itself that the other side was reached (a certificate) needs no
   round.
4. Time limits are ours to keep. When our own event loop stands still (a slow computation, a
   machine that was suspended), limits pass although the other side answered. So results of
   such a moment, and what was under way, are worked out again too; nothing else is thrown
   away, for rounds before and after it still say the same. Each piece of work is repeated for
   that reason MOST_REPETITIONS times at most: else a stranger who makes us slow at each visit
   would keep a scan at work for ever.

The rule is one class, `Confirmation`. Whoever does the work is a `Work`: it is told to pause,
to resume, and what to do again. It tells `began` and `done`.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, Protocol, TypeVar

import trio

K = TypeVar("K", bound=Hashable)
K_contra = TypeVar("K_contra", bound=Hashable, contravariant=True)
R = TypeVar("R")

MOST_REPETITIONS = 2
_WATCHED_EVERY_S = 0.25
_SHORTEST_DELAY_S = 1.0  # below that a busy machine is no fault


class Work(Protocol[K_contra]):
    """Does the pieces of work, named by keys. Begins paused. No method may block."""

    def pause(self) -> None:
        """Begin nothing until `resume`."""

    def resume(self) -> None:
        """Go on, or begin."""

    def again(self, keys: Sequence[K_contra]) -> None:
        """Do these once more, from their beginning."""


class Checks(Protocol):
    """Tells whether what we hear can be believed. `every_s`: between two rounds."""

    @property
    def every_s(self) -> float: ...

    async def good(self) -> bool:
        """One round."""

    async def recovered(self) -> bool:
        """After a bad round: return True once rounds are good again, False to give up."""

    def starved(self, delay_s: float) -> None:
        """Our own event loop stood still so long."""


class Confirmation(Generic[K, R]):
    """`keep` gets each result once, when it is believed.

    count             of the pieces of work
    checks            None: every result is believed at once
    shortest_limit_s  the shortest time limit that the work keeps
    """

    def __init__(
        self,
        count: int,
        work: Work[K],
        keep: Callable[[K, R], None],
        checks: Checks | None,
        *,
        shortest_limit_s: float,
    ) -> None:
        self._left = count
        self._work = work
        self._keep = keep
        self._checks = checks
        self._longest_delay_s = max(_SHORTEST_DELAY_S, shortest_limit_s / 10)
        self._epoch = 0  # one more whenever what is under way loses its credit
        self._begun: dict[K, int] = {}  # the epoch in which it began
        self._held: list[tuple[K, R]] = []  # done, and not yet believed; in order
        self._enclosed = 0  # of those, how many were done when the current round began
        self._timely = 0  # likewise, when our event loop was last seen to run
        self._seen = 0.0  # trio time of that
        self._repeated: Counter[K] = Counter()  # since we were too slow
        self._doubtful = False
        self._hurry = trio.Event()

    def began(self, key: K) -> None:
        """A piece of work begins; of one that has several steps, the first counts."""
        self._begun.setdefault(key, self._epoch)

    def done(self, key: K, result: R, *, proven: bool = False) -> None:
        """It is done. `proven`: the result itself shows that the other side was reached."""
        epoch = self._begun.pop(key, self._epoch)
        if proven or self._checks is None:
            self._believe(key, result)
        elif epoch != self._epoch:
            self._work.again([key])
        else:
            self._held.append((key, result))
            if len(self._held) >= self._left:
                self._hurry.set()

    def doubt(self) -> None:
        """Take the next round for a bad one, and have it at once."""
        self._doubtful = True
        self._hurry.set()

    async def run(self) -> None:
        """Return when everything is believed, or when the checks do not recover."""
        if not self._left:
            return
        if self._checks is None:
            self._work.resume()
            while self._left:
                await self._hurry.wait()
                self._hurry = trio.Event()
            return
        if not await self._checks.good() and not await self._checks.recovered():
            return
        self._seen = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_the_loop, self._checks)
            self._work.resume()
            while self._left:
                with trio.move_on_after(self._checks.every_s):
                    await self._hurry.wait()
                self._hurry = trio.Event()
                if self._left and not await self._round(self._checks):
                    break
            nursery.cancel_scope.cancel()

    async def _round(self, checks: Checks) -> bool:
        """Believe what was done before it, or throw it away; False to give up."""
        self._look_for_delay(checks)
        doubtful, self._doubtful = self._doubtful, False
        self._enclosed = len(self._held)
        good = await checks.good()
        self._look_for_delay(checks)
        if good and not doubtful:
            believed, self._enclosed = self._held[: self._enclosed], 0
            del self._held[: len(believed)]
            self._timely = max(0, self._timely - len(believed))
            for key, result in believed:
                self._believe(key, result)
            return True
        self._work.pause()
        self._epoch += 1
        self._discard(0)
        if not await checks.recovered():
            return False
        self._work.resume()
        return True

    def _believe(self, key: K, result: R) -> None:
        self._left -= 1
        self._repeated.pop(key, None)
        self._keep(key, result)
        if len(self._held) >= self._left:  # nothing is under way
            self._hurry.set()

    def _discard(self, start: int) -> None:
        """Have what was done from there on done again."""
        keys = [key for key, _ in self._held[start:]]
        del self._held[start:]
        self._enclosed = min(self._enclosed, start)
        self._timely = min(self._timely, start)
        self._work.again(keys)

    async def _watch_the_loop(self, checks: Checks) -> None:
        """Notice when this task is called late: then so were all others."""
        while True:
            await trio.sleep(_WATCHED_EVERY_S)
            self._look_for_delay(checks)

    def _look_for_delay(self, checks: Checks) -> None:
        before, self._seen = self._seen, trio.current_time()
        delay_s = self._seen - before - _WATCHED_EVERY_S
        if delay_s > self._longest_delay_s:
            checks.starved(delay_s)
            self._repeat_what_was_late()
        self._timely = len(self._held)

    def _repeat_what_was_late(self) -> None:
        """Have done again what was done since the loop was seen to run, or is under way."""
        tired = {key for key, times in self._repeated.items() if times >= MOST_REPETITIONS}
        late = self._held[self._timely :]
        stays = [(key, result) for key, result in late if key in tired]
        self._repeated.update(key for key, _ in late if key not in tired)
        self._repeated.update(key for key in self._begun if key not in tired)
        self._epoch += 1
        for key in tired & self._begun.keys():
            self._begun[key] = self._epoch
        start = self._timely
        self._held[start:] = [held for held in late if held[0] not in tired]
        self._discard(start)
        self._held.extend(stays)
