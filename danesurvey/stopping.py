"""SIGINT and SIGTERM: what was done is kept, and everything is gone within ten seconds.

The first signal asks: scans return what they have, and it is stored. A second one, or
GRACE_S, ends the process on the spot, which is as safe as `kill -9`: the workers and the
resolvers end with their parent, and PostgreSQL's keeper stops it.
"""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn, TypeVar

from crawler.survey.engine import Stopped

T = TypeVar("T")

SIGNALS = (signal.SIGINT, signal.SIGTERM)
STOPPED = 130  # exit code: everything that was done is kept
GRACE_S = 8.0


@contextmanager
def stoppable() -> Iterator[None]:
    """Outside of an event loop a signal raises Stopped for as long as the block lasts."""
    before = {number: signal.signal(number, _raise_stopped) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _raise_stopped(number: int, frame: FrameType | None) -> NoReturn:
    raise Stopped


@contextmanager
def stop_event() -> Iterator[asyncio.Event]:
    """Inside an event loop: an event that the first signal sets."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        if stopping.is_set():
            _end_now("stopped at once")
        stopping.set()
        print("danesurvey: stopping; again to stop at once", file=sys.stderr, flush=True)
        last = threading.Timer(GRACE_S, _end_now, ("stopped",))
        last.daemon = True
        last.start()

    for number in SIGNALS:
        loop.add_signal_handler(number, on_signal)
    yield stopping
    # The handlers stay until the loop is closed: what comes after this is short.


def _end_now(why: str) -> NoReturn:
    print(f"danesurvey: {why}; `danesurvey survey` goes on", file=sys.stderr, flush=True)
    os._exit(STOPPED)


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
