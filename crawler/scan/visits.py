"""The connections of a probe scan, in the order that etiquette allows (trio).

The `Work` of its confirmation: a server that is to be visited again keeps its distance.
"""

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import trio

from crawler.scan.open_files import within_open_files
from crawler.scan.target import Key
from crawler.smtp.etiquette import Schedule
from crawler.smtp.settings import ProbeSettings
from crawler.smtp.tls import Offer
from dane import clock

Visit = Callable[[int, Offer], Awaitable[Offer | None]]
"""Visits the target of that number: what the next connection to it is to offer, if any."""


@dataclass(frozen=True, slots=True)
class _Connection:
    """One connection to make: to which target, offering what."""

    target: int
    offer: Offer


class Visits:
    """Makes the connections to planned targets while `run` lasts. Begins paused."""

    def __init__(self, keys: Sequence[Key], settings: ProbeSettings) -> None:
        self._keys = keys
        self._schedule: Schedule[_Connection] = Schedule(
            sessions=within_open_files(settings.sessions),
            new_per_s=settings.new_per_s,
            per_operator=settings.per_operator,
            address_interval_s=settings.address_interval_s,
        )
        self._paused = True
        self._changed = trio.Event()

    def pause(self) -> None:
        self._paused = True

    def resume(self) -> None:
        self._paused = False
        self._changed.set()

    def again(self, keys: Sequence[int]) -> None:
        for target in keys:
            self.plan(target)
        self._changed.set()

    async def run(self, visit: Visit) -> None:
        """Make connections as they come due, until cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                now = trio.current_time()
                connection = None if self._paused else self._schedule.take(now)
                if connection is not None:
                    nursery.start_soon(self._connect, connection, visit)
                    continue
                wait_s = None if self._paused else self._schedule.wait_s(now)
                with trio.move_on_after(math.inf if wait_s is None else wait_s):
                    await self._changed.wait()
                self._changed = trio.Event()

    def plan(self, target: int) -> None:
        """Have a target visited, by its number."""
        key = self._keys[target]
        welcome = -math.inf
        if key.not_before is not None:
            wait_s = (key.not_before - clock.now()).total_seconds()
            welcome = trio.current_time() + wait_s
        self._schedule.add(_Connection(target, Offer.MODERN), key.address, key.operator, welcome)

    async def _connect(self, connection: _Connection, visit: Visit) -> None:
        further = await visit(connection.target, connection.offer)
        following = None if further is None else _Connection(connection.target, further)
        self._schedule.finished(connection, trio.current_time(), following)
        self._changed.set()
