"""The line of the stage policies: MTA-STS and TLSRPT of each domain with a TLSA host.

After the verdicts, which say who has a TLSA host; once a full run, with all patience.
"""

from dataclasses import replace

import pyarrow as pa

from crawler.coordinator.engine import Engine
from crawler.coordinator.shards import Shard
from crawler.coordinator.verdicts import VerdictLine
from crawler.scan.context import LookupKind, ScanContext
from storage.run import RunKind


class PolicyLine(VerdictLine):
    """Domains that were not asked, bucket by bucket, without those that opted out."""

    async def take(self, *, last: bool) -> Shard | None:
        while (shard := await super().take(last=last)) is not None:
            listed = self.engine.opt_out.current()
            names = map(str, shard.rows.column("domain").to_pylist())
            free = pa.array([not listed.covers(names=(name,)) for name in names], pa.bool_())
            rows = shard.rows.filter(free)
            if rows.num_rows:
                return replace(shard, rows=rows, kind=LookupKind.LAST)
        return None


def are_asked(engine: Engine) -> bool:
    """Whether this run asks for policies, in this process."""
    asked = engine.settings.client.policies and engine.run.kind is RunKind.FULL
    return asked and bool(engine.resolvers.first)


def longest_s(context: ScanContext, rows: pa.RecordBatch) -> float:
    """How long two questions after each other may take."""
    return 2 * context.client.last_try_s
