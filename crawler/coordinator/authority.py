"""Stage authority: what each authoritative server does with a name whose lookup fails.

Only this makes a DNS operator's list something that they can act on (measurement,
section 2): our resolver hides the cause behind SERVFAIL.
"""

from collections.abc import AsyncIterator

from crawler.coordinator.engine import Engine, StagePass, Work
from crawler.coordinator.opted_out import without_opted_out
from crawler.coordinator.shards import Shard
from crawler.dns.client import Resolvers
from crawler.scan import authority as authority_scan
from storage import due
from storage.schemas import AUTHORITY

LONGEST_S = 120.0  # one name whose servers all drop, by UDP and TCP, the resolver's word included


async def authority(engine: Engine, resolvers: Resolvers) -> None:
    """One pass over the names that fail after all passes. Raises Stopped, LocalTrouble."""
    run = engine.run
    settings = engine.settings

    def work() -> Work:
        return Work(
            stage="authority",
            scan=authority_scan.scan,
            context=engine.context(resolvers, AUTHORITY),
            tables=(AUTHORITY,),
            counted="rrtype",
            deadline_s=lambda rows: rows.num_rows * LONGEST_S / authority_scan.AT_ONCE,
        )

    def ask(state: StagePass) -> AsyncIterator[Shard]:
        unexplained = engine.by_bucket(
            lambda buckets, connection: due.unexplained(connection, run, buckets), state
        )
        return without_opted_out(unexplained, "name", settings.probe.opt_out)

    await engine.finish_pass(work, 1, ask, replace=False)
