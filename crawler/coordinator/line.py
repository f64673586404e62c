"""A line of a stage: what the dispatcher hands out, bound to the run."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute

from crawler.coordinator import node
from crawler.coordinator.dispatcher import Line
from crawler.coordinator.engine import Engine
from crawler.coordinator.quarantine import set_aside
from crawler.coordinator.shards import Errand, Shard
from crawler.coordinator.stage import Stage
from crawler.coordinator.state import StageState
from crawler.scan.canary_round import rounds_of
from crawler.scan.context import LookupKind, ScanContext
from storage.copy import Stored
from storage.schemas import Table

pc: Any = pyarrow.compute  # the stubs lack some of the kernels


class StageLine(Line):
    """Shards of `stage`, of which a worker scans one at a time; `share`: of the DNS questions."""

    def __init__(self, engine: Engine, stage: Stage, state: StageState) -> None:
        super().__init__(state)
        self.engine = engine
        self.of = stage
        self.stage = stage.name
        self.time = stage.time
        self.waits_for = stage.waits_for
        self.reads = stage.reads
        self.resource = stage.name
        self.share = stage.share
        self.listeners: list[Callable[[pa.RecordBatch, Stored], None]] = []  # told what is stored

    @property
    def slots(self) -> int:
        return self.engine.nodes

    def context(self, shard: Shard) -> ScanContext:
        return self.engine.context(self.of.tables, share=self.share, lookup=shard.kind)

    def errand(self, shard: Shard) -> Errand:
        context = self.context(shard)
        deadline_s = self.engine.settings.survey.shard_deadline_s
        return Errand(
            scan=self.of.scan,
            context=context,
            deadline_s=deadline_s + self.of.longest_s(context, shard.rows),
            resource=self.resource,
        )

    def parts(self, batches: Sequence[pa.RecordBatch]) -> list[tuple[Table, pa.RecordBatch]]:
        """What to store of a scan's results."""
        return list(zip(self.of.tables, batches, strict=True))

    async def keep(self, shard: Shard, batches: Sequence[pa.RecordBatch]) -> int:
        replace = shard.kind is not LookupKind.FIRST
        stored = await self.engine.store(self.parts(batches), replace=replace)
        rows = batches[0]
        self.count(rows)
        for tell in self.listeners:
            tell(rows, stored)
        return rows.num_rows

    def count(self, rows: pa.RecordBatch) -> None:
        """Rows that are stored, for the display."""
        progress = self.progress
        self.engine.add_rounds(rounds_of(rows))
        progress.rows_in += rows.num_rows
        if "questions" in rows.schema.names:
            progress.questions += pc.sum(rows.column("questions")).as_py() or 0
        counted = Counter(progress.outcomes)
        for one in pc.value_counts(rows.column(self.of.counted)).to_pylist():
            counted[one["values"] or "probe"] += one["counts"]  # hosts: not settled yet
        progress.outcomes = dict(counted)
        node.give_back_memory()

    async def set_aside(self, rows: pa.RecordBatch, reason: str) -> None:
        engine = self.engine
        table = self.of.tables[0]
        await set_aside(engine.pool, engine.writer, engine.run, table, rows, reason)
