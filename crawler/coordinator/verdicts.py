"""The line of a stage assess: a verdict for each MX host, or for each domain."""

import math
from collections import deque
from functools import partial
from typing import Protocol

import pyarrow as pa

from crawler.coordinator.engine import Engine, cut
from crawler.coordinator.frontier import Frontier, buckets_of
from crawler.coordinator.line import StageLine
from crawler.coordinator.shards import Shard
from crawler.coordinator.stage import Stage
from crawler.coordinator.state import StageState
from dane.names import BUCKETS
from storage.database import Connection, patiently
from storage.run import Run

MOST_ROWS = 4_000  # of a shard: as Python objects, with all that they look up, they are large


class DueVerdicts(Protocol):
    """The rows without a verdict of some buckets, and the rows that their verdicts look up."""

    async def __call__(
        self, connection: Connection, run: Run, buckets: range
    ) -> tuple[pa.RecordBatch, pa.RecordBatch | None]: ...


class VerdictLine(StageLine):
    def __init__(self, engine: Engine, stage: Stage, state: StageState) -> None:
        super().__init__(engine, stage, state)
        self._due: DueVerdicts = stage.due
        self._frontier = Frontier()
        self._ready: deque[Shard] = deque()
        self._taken: set[str] = set()  # names that are in `_ready` or under way
        # Came back since the latest question began, which may not have seen their rows.
        self._back: set[str] = set()

    @property
    def slots(self) -> int:
        return self.engine.nodes + 1  # the next one is at a worker already

    async def take(self, *, last: bool) -> Shard | None:
        engine, frontier = self.engine, self._frontier
        while not self._ready:
            buckets = frontier.take()
            if buckets is None:
                self.look_at = math.inf
                return None
            self._back.clear()
            rows, related = await patiently(
                engine.pool, partial(self._due, run=engine.run, buckets=buckets)
            )
            names = self._names(rows)
            free = [name not in self._taken and name not in self._back for name in names]
            rows = rows.filter(pa.array(free, pa.bool_()))
            self._taken.update(self._names(rows))
            wanted = min(engine.fair_rows(frontier.rows + rows.num_rows), MOST_ROWS)
            frontier.had(buckets, rows.num_rows, wanted)
            self._ready.extend(Shard(part, related) for part in cut(rows, MOST_ROWS))
        return self._ready.popleft()

    def returned(self, shard: Shard, *, whole: bool) -> None:
        names = self._names(shard.rows)
        self._taken.difference_update(names)
        self._back.update(names)
        if not whole:
            self._frontier.open(buckets_of(shard.rows))

    def _names(self, rows: pa.RecordBatch) -> list[str]:
        return list(map(str, rows.column(self.of.tables[0].key[2]).to_pylist()))

    async def reopen(self, *, at_the_end: bool) -> None:
        if not at_the_end:
            self._frontier.open(range(BUCKETS))
