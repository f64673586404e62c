"""The line of the stage servers: all authoritative servers of each DANE host, in two rounds.

Of full runs only (measurement, section 8): the first round as hosts are stored, the second one
of what is not settled, `client.servers_again_s` later. It holds up no last lookup.
"""

import math
import time
from datetime import timedelta
from typing import Any

import pyarrow as pa

from crawler.coordinator.engine import Engine
from crawler.coordinator.line import StageLine
from crawler.coordinator.shards import Shard
from crawler.coordinator.stage import Stage
from crawler.coordinator.state import StageState
from dane import clock
from storage import due
from storage.database import patiently
from storage.run import RunKind

MOST_ROWS = 2_000


class ServersLine(StageLine):
    """Hosts with a TLSA RRset, each round once."""

    def __init__(self, engine: Engine, stage: Stage, state: StageState) -> None:
        super().__init__(engine, stage, state)
        self._taken: set[tuple[str, int]] = set()
        self._bucket = 0  # before it there is nothing left of the first round

    def wake(self) -> None:
        super().wake()
        self._bucket = 0

    async def take(self, *, last: bool) -> Shard | None:
        if self.engine.run.kind is not RunKind.FULL:
            self.look_at = math.inf
            return None
        rows = self._free(await self._first_round())
        if not rows.num_rows:
            rows = self._free(await self._second_round())
        if not rows.num_rows:
            self.look_at = await self._next_date()
            return None
        rows = rows.slice(0, self.engine.fair_rows(rows.num_rows))
        self._taken.update(_keys(rows))
        return Shard(rows)

    async def _first_round(self) -> pa.RecordBatch:
        engine = self.engine
        most = MOST_ROWS + len(self._taken)
        rows = await patiently(
            engine.pool, lambda held: due.servers(held, engine.run, self._bucket, most)
        )
        buckets: list[Any] = rows.column("bucket").to_pylist()
        if buckets:
            self._bucket = buckets[0]
        return rows

    async def _second_round(self) -> pa.RecordBatch:
        engine = self.engine
        until = clock.now() - timedelta(seconds=engine.settings.client.servers_again_s)
        most = MOST_ROWS + len(self._taken)
        return await patiently(
            engine.pool, lambda held: due.servers_again(held, engine.run, until, most)
        )

    def _free(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """Those that are not under way, and have not opted out."""
        listed = self.engine.opt_out.current()
        free = [
            key not in self._taken and not listed.covers(names=(key[0],)) for key in _keys(rows)
        ]
        return rows.filter(pa.array(free, pa.bool_())).slice(0, MOST_ROWS)

    async def _next_date(self) -> float:
        """When the next second round is due, in monotonic time; never where none is."""
        engine = self.engine
        if self._taken:
            return math.inf  # woken when they are back
        asked = await patiently(engine.pool, lambda held: due.next_servers(held, engine.run))
        if asked is None:
            return math.inf
        passed_s = (clock.now() - asked).total_seconds()
        wait_s = engine.settings.client.servers_again_s - passed_s
        # What is past its date and not free has opted out.
        return time.monotonic() + wait_s if wait_s > 0 else math.inf

    def returned(self, shard: Shard, *, whole: bool) -> None:
        self._taken.difference_update(_keys(shard.rows))


def _keys(rows: pa.RecordBatch) -> list[tuple[str, int]]:
    hosts: list[Any] = rows.column("host").to_pylist()
    rounds: list[Any] = rows.column("round").to_pylist()
    return list(zip(hosts, rounds, strict=True))
