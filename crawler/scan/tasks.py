"""Pieces of work that are a task each: the `Work` of a `Confirmation` whose steps wait (trio)."""

from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from typing import Generic, TypeVar

import trio

K = TypeVar("K", bound=Hashable)


class Tasks(Generic[K]):
    """The keys that wait. Each task that calls `take_in_turn` does one after the other."""

    def __init__(self, keys: Iterable[K]) -> None:
        self._waiting = deque(keys)
        self._paused = True
        self._changed = trio.Event()

    def pause(self) -> None:
        self._paused = True

    def resume(self) -> None:
        self._paused = False
        self._wake()

    def again(self, keys: Sequence[K]) -> None:
        self._waiting.extend(keys)
        self._wake()

    async def take_in_turn(self, work: Callable[[K], Awaitable[None]]) -> None:
        """Do what waits, until cancelled."""
        while True:
            while self._paused or not self._waiting:
                await self._changed.wait()
            await work(self._waiting.popleft())

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
