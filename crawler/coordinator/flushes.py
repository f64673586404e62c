"""Flushes of the resolvers' caches between two lookups of a name (measurement, section 1).

Two lookups count as two only with a flush between them: Unbound goes on failing a server from
its own cache long after the server is back. A flush is made when a row waits for one, at most
one in `client.flush_every_s`, and never while last lookups are under way: it would begin their
109 s anew.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from datetime import datetime

from crawler.coordinator.engine import Engine
from dane.faults import LocalTrouble

log = logging.getLogger(__name__)

_PAUSE_S = 1.0  # after a flush that failed; doubles
_LONGEST_PAUSE_S = 10.0


class Unflushed:
    """From when on rows of a stage were asked that no flush has followed.

    A flush counts for a row if it began after the row was stored, by the clock of the
    coordinator. The rows stored since the last one began are told by the earliest time at
    which one of them was asked.
    """

    def __init__(self) -> None:
        self._since: datetime | None = None
        self._before: datetime | None = None  # while a flush is under way

    def stored(self, asked: datetime | None) -> None:
        """Rows that fail were stored, the first of them last asked then."""
        if asked is not None and (self._since is None or asked < self._since):
            self._since = asked

    def covers(self, asked: datetime) -> bool:
        """Whether a row that was last asked then may still wait for a flush."""
        return any(one is not None and asked >= one for one in (self._since, self._before))

    def flush_begins(self) -> None:
        self._before, self._since = self._since, None

    def flush_ends(self) -> None:
        self._before = None


class Flushes:
    """All flushes of one process."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._waiting: Sequence[Unflushed] = ()
        self._wake: Callable[[], object] = lambda: None
        self._last_under_way: Callable[[], bool] = lambda: False
        self._wanted = asyncio.Event()
        self.last_ended = asyncio.Event()  # set when a shard of last lookups is back
        self.changed: Callable[[], object] = lambda: None

    def serve(
        self,
        waiting: Sequence[Unflushed],
        wake: Callable[[], object],
        last_under_way: Callable[[], bool],
    ) -> None:
        """Who waits for flushes; `wake` is called after each."""
        self._waiting, self._wake, self._last_under_way = waiting, wake, last_under_way

    def want(self) -> None:
        """A row waits."""
        self._wanted.set()

    @property
    def wanted(self) -> bool:
        return self._wanted.is_set()

    async def run(self) -> None:
        """For as long as the crawl lasts. Raises LocalTrouble."""
        every_s = self._engine.settings.client.flush_every_s
        self.want()  # what an earlier process left in the caches
        began = -every_s
        while True:
            await self._wanted.wait()
            await asyncio.sleep(max(0.0, began + every_s - time.monotonic()))
            while self._last_under_way():
                await self.last_ended.wait()
                self.last_ended.clear()
            began = time.monotonic()
            for one in self._waiting:
                one.flush_begins()
            await self.flush()
            for one in self._waiting:
                one.flush_ends()
                self._wanted.clear()
            self._wake()
            self.changed()

    async def flush(self) -> None:
        """Flush them all, and wait for resolvers that stand still.

        Raises LocalTrouble when they have done so for `survey.patience_s`.
        """
        began = time.monotonic()
        pause_s = _PAUSE_S
        while (trouble := await self._engine.flush_once()) is not None:
            if time.monotonic() - began > self._engine.settings.survey.patience_s:
                raise LocalTrouble(f"the resolvers cannot be flushed: {trouble}")
            log.warning("%s: flushed again in %g s", trouble, pause_s)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
