"""The line of the stage authority: what each authoritative server does with a failing name.

Only this makes a DNS operator's list something that they can act on (measurement,
section 2): our resolver hides the cause behind SERVFAIL.
"""

import math

import pyarrow as pa

from crawler.coordinator.engine import Engine
from crawler.coordinator.line import StageLine
from crawler.coordinator.shards import Shard
from crawler.coordinator.stage import Stage
from crawler.coordinator.state import StageState
from crawler.scan import authority
from crawler.scan.context import ScanContext
from storage import due
from storage.database import patiently

LONGEST_S = 120.0  # one name whose servers all drop, by UDP and TCP, the resolver's word included
MOST_ROWS = 2_000


class AuthorityLine(StageLine):
    """Names whose last lookup failed, each type once."""

    def __init__(self, engine: Engine, stage: Stage, state: StageState) -> None:
        super().__init__(engine, stage, state)
        self._taken: set[tuple[str, str]] = set()
        # Came back since the latest question began, which may not have seen their rows.
        self._back: set[tuple[str, str]] = set()

    async def take(self, *, last: bool) -> Shard | None:
        engine = self.engine
        self._back.clear()  # the database has the rows of all that came back until now
        self.look_at = math.inf  # unless something wakes it meanwhile
        after = len(engine.settings.client.passes_s) + 2  # lookups, the last one too
        most = MOST_ROWS + len(self._taken)
        rows = await patiently(
            engine.pool, lambda held: due.failures(held, engine.run, after, most)
        )
        listed = engine.opt_out.current()
        free = [
            key not in self._taken and key not in self._back and not listed.covers(names=(key[0],))
            for key in _keys(rows)
        ]
        rows = rows.filter(pa.array(free, pa.bool_())).slice(0, MOST_ROWS)
        if not rows.num_rows:
            return None
        self.look_at = 0.0
        rows = rows.slice(0, engine.fair_rows(rows.num_rows))
        self._taken.update(_keys(rows))
        return Shard(rows)

    def returned(self, shard: Shard, *, whole: bool) -> None:
        self._taken.difference_update(_keys(shard.rows))
        self._back.update(_keys(shard.rows))


def _keys(rows: pa.RecordBatch) -> list[tuple[str, str]]:
    names, types = (map(str, rows.column(name).to_pylist()) for name in ("name", "rrtype"))
    return list(zip(names, types, strict=True))


def longest_s(_: ScanContext, rows: pa.RecordBatch) -> float:
    """How long it takes to ask about `rows`, if every server is silent."""
    return rows.num_rows * LONGEST_S / authority.AT_ONCE
