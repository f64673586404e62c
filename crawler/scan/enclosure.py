"""Rows enclosed by two good canaries, or no rows (measurement, section 1).

A scan's lookups run in a window; between them canaries are looked at. A good round confirms
all rows that were done before it was begun. After a bad one everything since the last good
one is thrown away, the resolvers are flushed until a round is good again, and the names are
asked again. If that takes longer than `recovery_s`, what is confirmed is returned and the
rest is simply still missing.
"""

from collections import deque
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Generic, TypeVar

import pyarrow as pa
import trio

from crawler.dns.canaries import Canaries, Health
from crawler.dns.client import Client
from crawler.dns.lookup import Lookup
from crawler.dns.window import Times, Window
from crawler.scan import columns
from crawler.scan.context import LookupKind, ScanContext
from crawler.scan.looks import Look, attach
from crawler.scan.recovery import recovered

T = TypeVar("T")
Row = tuple[Any, ...]
_SHARE_OF = 2000  # names whose share of SERVFAIL is watched
_MAX_SERVFAIL_SHARE = 0.05


class Enclosure(Generic[T]):
    """Looks up `count` names. `rows` has what is believed.

    begin, servers     as for `Window`
    row                makes the row of a result: a tuple that holds only plain values and
                       tuples, for the garbage collector need not look at those again and again
                       (lists and objects for 20 000 names would double the CPU time)
    servfail           whether a result is a failure of theirs
    """

    def __init__(
        self,
        count: int,
        begin: Callable[[int], Lookup[T]],
        row: Callable[[int, T, Times], Row],
        context: ScanContext,
        *,
        servfail: Callable[[T], bool],
        servers: Callable[[int], Hashable | None] = lambda _: None,
    ) -> None:
        self.rows: list[Row] = []
        self.looks: Sequence[Look] = ()
        self._count = count
        self._begin = begin
        self._row = row
        self._servers = servers
        assert context.canaries is not None
        self._context = context
        self._settings = context.canaries
        self._servfail = servfail
        # Failures are expected of later lookups: they are of what failed.
        first = context.lookup is LookupKind.FIRST
        usual = 3 * context.usual_failing_share
        self._share = max(_MAX_SERVFAIL_SHARE, usual) if first else None
        self._recent: deque[bool] = deque()
        self._failures = 0  # among `_recent`
        self._unconfirmed: list[tuple[int, Row]] = []
        self._hurry = trio.CancelScope()  # around the wait for the next round

    async def run(self) -> None:
        """Returns when all rows are confirmed, or the network did not come back in time."""
        if not self._count:
            return
        settings = self._context.client
        client = Client(self._context.resolvers, settings, try_s=self._context.try_s)
        async with client.serving():
            canaries = Canaries(client, self._settings)
            self.looks = canaries.looks
            window = Window(
                client,
                iter(range(self._count)),
                self._begin,
                self._done,
                servers=self._servers,
                per_s=settings.questions_per_s_per_name_server_set,
            )
            window.pause()
            if await canaries.look() is not Health.GOOD and not await self._recovered(canaries):
                return
            window.resume()
            while len(self.rows) < self._count:
                with trio.move_on_after(self._settings.every_s) as self._hurry:
                    await window.rested()
                if not await self._round(canaries, window):
                    return

    def batch(self, names: Sequence[str], schema: pa.Schema) -> pa.RecordBatch:
        """`rows`, whose values are the columns `names`, with the looks beside them."""
        return attach(columns.batch(names, self.rows, schema), self.looks)

    def _done(self, index: int, result: T, times: Times) -> None:
        self._unconfirmed.append((index, self._row(index, result, times)))
        if self._share is not None:
            failure = self._servfail(result)
            self._recent.append(failure)
            self._failures += failure
            if len(self._recent) > _SHARE_OF:
                self._failures -= self._recent.popleft()
            if self._too_many_fail():
                self._hurry.cancel()

    def _too_many_fail(self) -> bool:
        return (
            self._share is not None
            and len(self._recent) == _SHARE_OF
            and self._failures > self._share * _SHARE_OF
        )

    async def _round(self, canaries: Canaries, window: Window[T]) -> bool:
        """Confirm what was done before, or throw it away; False to give up."""
        suspicious = self._too_many_fail()
        enclosed = len(self._unconfirmed)
        if await canaries.look() is Health.GOOD and not suspicious:
            self.rows.extend(row for _, row in self._unconfirmed[:enclosed])
            del self._unconfirmed[:enclosed]
            return True
        if suspicious:
            # Asked again after a flush with good canaries on both sides, it is theirs.
            self._share = None
        window.pause()
        window.ask_again([index for index, _ in self._unconfirmed])
        self._unconfirmed.clear()
        self._recent.clear()
        self._failures = 0
        if not await self._recovered(canaries):
            return False
        window.resume()
        return True

    async def _recovered(self, canaries: Canaries) -> bool:
        return await recovered(canaries, self._context.resolvers, self._settings)
