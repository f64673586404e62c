"""Names on the opt-out list are never handed to a lookup."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pyarrow as pa

from crawler.coordinator.opted_out import without_opted_out
from crawler.coordinator.shards import Shard


def left(listed: Path | None, *shards: list[str]) -> list[list[str]]:
    async def source() -> AsyncIterator[Shard]:
        for names in shards:
            yield Shard(pa.RecordBatch.from_pydict({"domain": names}), deaths=1)

    async def main() -> list[list[str]]:
        found = []
        async for shard in without_opted_out(source(), "domain", listed):
            assert shard.deaths == 1
            found.append(shard.rows.column("domain").to_pylist())
        return found

    return asyncio.run(main())


def test_they_and_all_below_are_left_out(tmp_path: Path) -> None:
    listed = tmp_path / "opt-out"
    listed.write_text("leave.example\n")
    shards = (["a.example", "leave.example", "b.leave.example"], ["leave.example"], ["c.example"])
    assert left(listed, *shards) == [["a.example"], ["c.example"]]
    assert left(None, *shards) == list(shards)
