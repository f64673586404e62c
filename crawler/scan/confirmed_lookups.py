"""Lookups in a window whose rows are confirmed by canaries (measurement, section 1)."""

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Generic, TypeVar

import pyarrow as pa

from crawler.dns.client import Client
from crawler.dns.lookup import Lookup
from crawler.dns.window import Times, Window
from crawler.scan import columns
from crawler.scan.canary_round import Round, attach, canary_rounds
from crawler.scan.confirmation import Confirmation
from crawler.scan.context import ScanContext
from crawler.scan.failing_share import FailingShare

T = TypeVar("T")
Row = tuple[Any, ...]


class ConfirmedLookups(Generic[T]):
    """Looks up `count` names. `rows` has what is believed.

    begin, servers   as for `Window`
    row              makes the row of a result: a tuple that holds only plain values and tuples,
                     for the garbage collector need not look at those again and again (lists and
                     objects for 20 000 names would double the CPU time)
    failed           whether a result is a failure of theirs
    """

    def __init__(
        self,
        count: int,
        begin: Callable[[int], Lookup[T]],
        row: Callable[[int, T, Times], Row],
        context: ScanContext,
        *,
        failed: Callable[[T], bool],
        servers: Callable[[int], Hashable | None] = lambda _: None,
    ) -> None:
        self.rows: list[Row] = []
        self._rounds: Sequence[Round] = ()
        self._count = count
        self._begin = begin
        self._row = row
        self._context = context
        self._failed = failed
        self._servers = servers
        self._share = FailingShare(context)

    async def run(self) -> None:
        """Return when all rows are confirmed, or when the network did not come back in time."""
        if not self._count:
            return
        context = self._context
        client = Client(context.resolvers, context.client, try_s=context.try_s)
        async with client.serving():
            checks = canary_rounds(client, context)
            self._rounds = checks.rounds if checks else ()
            self._window = Window(
                client,
                iter(range(self._count)),
                self._started,
                self._done,
                servers=self._servers,
                per_s=context.client.questions_per_s_per_name_server_set,
            )
            self._window.pause()
            self._confirmation: Confirmation[int, Row] = Confirmation(
                self._count,
                self,
                lambda _, row: self.rows.append(row),
                checks,
                shortest_limit_s=context.try_s,
            )
            await self._confirmation.run()

    def batch(self, names: Sequence[str], schema: pa.Schema) -> pa.RecordBatch:
        """`rows`, whose values are the columns `names`, with the rounds of canaries beside."""
        return attach(columns.batch(names, self.rows, schema), self._rounds)

    def pause(self) -> None:
        self._window.pause()
        self._share.forget()

    def resume(self) -> None:
        self._window.resume()

    def again(self, keys: Sequence[int]) -> None:
        self._window.again(keys)

    def _started(self, index: int) -> Lookup[T]:
        self._confirmation.began(index)
        return self._begin(index)

    def _done(self, index: int, result: T, times: Times) -> None:
        self._confirmation.done(index, self._row(index, result, times))
        if self._share.add(self._failed(result)):
            self._confirmation.doubt()
