"""Stage hosts: every MX host of a domain with secure MX gets its addresses and TLSA RRset.

Hosts are few and shared: each is asked once a run, however many domains point at it.
"""

from collections.abc import AsyncIterator, Mapping
from functools import partial
from typing import Any

from crawler.dns.client import Resolvers
from crawler.scan import hosts as hosts_scan
from crawler.survey.engine import Engine, Work
from crawler.survey.opted_out import without_opted_out
from crawler.survey.shards import Shard
from storage import missing
from storage.schemas import MX_HOST


async def hosts(engine: Engine, resolvers: Resolvers) -> None:
    """All passes (measurement, section 3). Raises Stopped, LocalTrouble."""

    def work(options: Mapping[str, Any]) -> Work:
        return Work(
            stage="hosts",
            scan=hosts_scan.scan,
            options={**options, "resolver": resolvers, "schema": MX_HOST.schema},
            tables=(MX_HOST,),
            counted="status",
        )

    run = engine.run

    async def unseen() -> AsyncIterator[Shard]:
        async with engine.connection() as connection:
            rows = engine.settings.survey.shard_rows
            async for batch in missing.hosts(connection, run, rows):
                yield Shard(batch)

    left = partial(without_opted_out, column="host", listed=engine.settings.probe.opt_out)
    await engine.lookup_passes(
        work,
        first=lambda: left(unseen()),
        later=lambda passes: left(
            engine.by_bucket(
                lambda buckets, connection: missing.failing_hosts(connection, run, buckets, passes)
            )
        ),
    )
