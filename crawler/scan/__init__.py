"""The scans: plain functions, an Arrow batch in, an Arrow batch out, that run trio inside.

Each keeps what it has finished where a cancellation leaves it, and runs its trio part with
`run`, so that `stop` can end it from another thread: the rows done so far are returned.
"""

import threading
from collections.abc import Awaitable, Callable, Iterator

import trio

from dane.faults import Fault

_scopes: dict[trio.lowlevel.TrioToken, trio.CancelScope] = {}
_lock = threading.Lock()


def run(main: Callable[[], Awaitable[None]]) -> bool:
    """Run `main` on a trio loop of this thread; False if `stop` ended it early.

    A Fault that a task of a nursery raises, such as an opt-out list that became unreadable, is
    raised itself: whoever started the scan handles faults, not groups.
    """

    async def until_stopped() -> bool:
        token = trio.lowlevel.current_trio_token()
        with trio.CancelScope() as scope:
            with _lock:
                _scopes[token] = scope
            try:
                await main()
            finally:
                with _lock:
                    del _scopes[token]
        return not scope.cancelled_caught

    try:
        return trio.run(until_stopped)
    except ExceptionGroup as group:
        fault = next(_faults(group), None)
        if fault is None:
            raise
    # Out here it has no group for context: Dask could not send that to the coordinator.
    fault.__context__ = None
    raise fault


def _faults(group: ExceptionGroup[Exception]) -> Iterator[Fault]:
    for one in group.exceptions:
        if isinstance(one, Fault):
            yield one
        elif isinstance(one, ExceptionGroup):
            yield from _faults(one)


def stop() -> None:
    """Cancel every scan that runs in this process. Safe from any thread."""
    with _lock:
        for token, scope in _scopes.items():
            token.run_sync_soon(scope.cancel)
