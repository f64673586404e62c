"""The scans: plain functions, an Arrow batch in, an Arrow batch out, that run trio inside.

Each keeps what it has finished where a cancellation leaves it, and runs its trio part with
`run`, so that `stop` can end it from another thread: the rows done so far are returned.
"""

import threading
from collections.abc import Awaitable, Callable

import trio

_scopes: dict[trio.lowlevel.TrioToken, trio.CancelScope] = {}
_lock = threading.Lock()


def run(main: Callable[[], Awaitable[None]]) -> bool:
    """Run `main` on a trio loop of this thread; False if `stop` ended it early."""

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

    return trio.run(until_stopped)


def stop() -> None:
    """Cancel every scan that runs in this process. Safe from any thread."""
    with _lock:
        for token, scope in _scopes.items():
            token.run_sync_soon(scope.cancel)
