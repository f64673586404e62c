"""Names on the opt-out list are left out of what a stage asks for (docs/ethics.md)."""

from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from crawler.coordinator.shards import Shard
from crawler.opt_out import OptOut


async def without_opted_out(
    shards: AsyncGenerator[Shard], column: str, listed: Path | None
) -> AsyncGenerator[Shard]:
    """The shards without the rows whose `column` (names) is on the list, and without empty ones."""
    if listed is None:
        async for shard in shards:
            yield shard
        return
    opt_out = OptOut(listed)
    async for shard in shards:
        names = shard.rows.column(column).to_pylist()
        kept = pa.array([not opt_out.covers(names=(str(name),)) for name in names])
        rows = shard.rows.filter(kept)
        if rows.num_rows:
            yield replace(shard, rows=rows)
