"""Stage assess: a verdict for each MX host, then for each domain (measurement, 6 and 7)."""

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

import pyarrow as pa

from crawler.coordinator.engine import Engine, StagePass, Work, cut
from crawler.coordinator.shards import Shard
from crawler.dns.client import Resolvers
from crawler.scan import assess as assess_scan
from storage import assessment
from storage.database import Connection
from storage.run import Run
from storage.schemas import DOMAIN_VERDICT, HOST_VERDICT

MOST_ROWS = 4_000  # of a shard: as Python objects, with all that they look up, they are large

Read = Callable[[Connection, Run, range], Awaitable[tuple[pa.RecordBatch, pa.RecordBatch]]]


async def assess(engine: Engine) -> None:
    """Hosts first: a domain's verdict reads those of its hosts. Raises Stopped, LocalTrouble."""
    for stage, scan, table, read in (
        ("assess hosts", assess_scan.hosts, HOST_VERDICT, assessment.hosts),
        ("assess domains", assess_scan.domains, DOMAIN_VERDICT, assessment.domains),
    ):
        work = partial(
            Work,
            stage=stage,
            scan=scan,
            context=engine.context(Resolvers(first=()), table),
            tables=(table,),
            counted="status",
        )
        await engine.finish_pass(work, 1, partial(_shards, engine, read), replace=False)


async def _shards(engine: Engine, read: Read, state: StagePass) -> AsyncIterator[Shard]:
    """One shard a range of buckets, with what its rows look up."""
    async for rows, context in engine.bucket_ranges(
        lambda buckets, connection: read(connection, engine.run, buckets),
        lambda found: found[0].num_rows,
        state.progress,
        MOST_ROWS,
    ):
        for part in cut(rows, MOST_ROWS):
            yield Shard(part, context)
