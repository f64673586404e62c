"""Stage hosts: every MX host of a domain with secure MX gets its addresses and TLSA RRset.

Hosts are few and shared: each is asked once a run, however many domains point at it.
"""

from collections.abc import AsyncGenerator
from dataclasses import replace

from crawler.coordinator.engine import Engine, StagePass, Work
from crawler.coordinator.lookups import lookup_passes
from crawler.coordinator.node import Scan
from crawler.coordinator.shards import Shard
from crawler.dns.client import Resolvers
from crawler.scan import hosts as hosts_scan
from crawler.scan.context import LookupKind
from storage import due
from storage.schemas import MX_HOST


async def hosts(
    engine: Engine,
    resolvers: Resolvers,
    *,
    to_the_end: bool = True,
    scan: Scan = hosts_scan.scan,
) -> None:
    """All passes (measurement, section 3). Raises Stopped, LocalTrouble."""

    def work(lookup: LookupKind) -> Work:
        return Work(
            stage="hosts",
            scan=scan,
            context=replace(engine.context(resolvers, MX_HOST), lookup=lookup),
            tables=(MX_HOST,),
            counted="status",
        )

    run = engine.run

    def first(state: StagePass) -> AsyncGenerator[Shard]:
        return engine.by_bucket(
            lambda buckets, connection: due.hosts(connection, run, buckets), state
        )

    def later(passes: int, state: StagePass) -> AsyncGenerator[Shard]:
        return engine.side_by_side(
            lambda buckets, connection: due.failing_hosts(connection, run, buckets, passes),
            state,
        )

    await lookup_passes(engine, work, first, later, to_the_end=to_the_end)
