"""Stage resolve: every signed domain of the run gets its row of MX and DNSSEC facts."""

from collections.abc import AsyncGenerator
from dataclasses import replace

from crawler.coordinator.engine import Engine, StagePass, Work
from crawler.coordinator.lookups import lookup_passes
from crawler.coordinator.node import Scan
from crawler.coordinator.opted_out import without_opted_out
from crawler.coordinator.shards import Shard
from crawler.dns.client import Resolvers
from crawler.scan import resolve as resolve_scan
from crawler.scan.context import LookupKind
from storage import due
from storage.schemas import DOMAIN_MX


async def resolve(
    engine: Engine,
    resolvers: Resolvers,
    *,
    to_the_end: bool = True,
    scan: Scan = resolve_scan.scan,
) -> None:
    """All passes (measurement, sections 2 and 3). Raises Stopped, LocalTrouble."""

    def work(lookup: LookupKind) -> Work:
        return Work(
            stage="resolve",
            scan=scan,
            context=replace(engine.context(resolvers, DOMAIN_MX), lookup=lookup),
            tables=(DOMAIN_MX,),
            counted="outcome",
        )

    run = engine.run

    def left(shards: AsyncGenerator[Shard]) -> AsyncGenerator[Shard]:
        return without_opted_out(shards, "domain", engine.settings.probe.opt_out)

    def first(state: StagePass) -> AsyncGenerator[Shard]:
        return left(
            engine.by_bucket(
                lambda buckets, connection: due.domains(connection, run, buckets), state
            )
        )

    def later(passes: int, state: StagePass) -> AsyncGenerator[Shard]:
        return left(
            engine.side_by_side(
                lambda buckets, connection: due.failing_domains(connection, run, buckets, passes),
                state,
            )
        )

    await lookup_passes(engine, work, first, later, to_the_end=to_the_end)
