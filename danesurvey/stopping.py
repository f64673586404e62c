"""SIGINT, SIGTERM, SIGHUP: what was done is kept, and everything is gone within ten seconds.

The first signal asks: scans return what they have, and it is stored. Another one, or
GRACE_S, ends the process on the spot, which is as safe as `kill -9`: the workers and the
resolvers end with their parent, and PostgreSQL's keeper stops it.
"""

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn, TypeVar

from crawler.coordinator.cluster import STOPPING
from crawler.coordinator.dispatcher import Stopped

T = TypeVar("T")

STOPPED = 130  # exit code: everything that was done is kept
GRACE_S = 8.0
AGAIN_S = 1.0  # sooner it is the same request: timeout(1) signals the process, then its group


class Stop:
    """Whether the operator has asked; made by `stoppable`."""

    def __init__(self) -> None:
        self.asked = False
        self._asked_at = 0.0
        nohup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        self.signals = [one for one in STOPPING if not (nohup and one is signal.SIGHUP)]

    def in_loop(self) -> asyncio.Event:
        """From now on, in this event loop, the first signal sets the event.

        Until the loop is closed.
        """
        event = asyncio.Event()
        loop = asyncio.get_running_loop()

        def on_signal() -> None:
            self._ask()
            event.set()

        for number in self.signals:
            loop.add_signal_handler(number, on_signal)
        return event

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """Outside of an event loop; once, so that nothing interrupts the end."""
        if self._ask():
            raise Stopped

    def _ask(self) -> bool:
        """Is it for the first time?"""
        if self.asked:
            if time.monotonic() - self._asked_at > AGAIN_S:
                _end_now("stopped at once")
            return False
        self.asked, self._asked_at = True, time.monotonic()
        _say("stopping; again to stop at once")
        last = threading.Timer(GRACE_S, _end_now, ("stopped",))
        last.daemon = True
        last.start()
        return True


@contextmanager
def stoppable() -> Iterator[Stop]:
    """A signal ends the block with Stopped, whatever the interrupted part made of it."""
    stop = Stop()
    before = {number: signal.signal(number, stop.on_signal) for number in stop.signals}
    try:
        yield stop
    except Exception as error:
        if stop.asked and not isinstance(error, Stopped):
            raise Stopped from error
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_now(why: str) -> NoReturn:
    _say(f"{why}; `danesurvey survey` goes on")
    os._exit(STOPPED)


def _say(line: str) -> None:
    with suppress(OSError):  # the terminal may be what has gone
        print(f"danesurvey: {line}", file=sys.stderr, flush=True)


async def unless_stopped(stopping: asyncio.Event, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which a stop cancels. Raises Stopped."""
    task = asyncio.create_task(work)
    stop = asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise Stopped
    finally:
        stop.cancel()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
