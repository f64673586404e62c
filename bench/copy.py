"""Storing `domain_mx` rows: from Arrow to committed in PostgreSQL, every column and the key.

    python -m bench.copy [--rows 1000000] [--shard 20000]

The reference is PostgreSQL alone in the same run: the same shards as ready-made binary COPY
data, so without the conversion from Arrow. The bar is 100 000 rows/s (docs/design.md,
section 7).
"""

import argparse
import asyncio
import io
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from crawler.coordinator.quarantine import blank
from dane.names import BUCKETS, bucket
from danesurvey.embedded import running
from storage import run
from storage.copy import Writer, writer
from storage.database import Connection, connection
from storage.migrate import upgrade
from storage.run import Run, RunKind
from storage.schemas import DOMAIN_MX

BAR_ROWS_PER_S = 100_000
_ASKED = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
# A signed domain with two MX hosts at a provider, as most are.
_ROW = {
    "run_id": 0,
    "bucket": 0,
    "domain": "",
    "outcome": "secure",
    "secure": True,
    "passes": 1,
    "questions": 3,
    "first_asked": _ASKED,
    "last_asked": _ASKED,
    "mx_preference": [10, 20],
    "mx_host": ["mx1.provider.example", "mx2.provider.example"],
    "mx_total": 2,
    "rrsig_signer": "",
    "rrsig_algorithm": 13,
    "rrsig_key_tag": 12345,
    "rrsig_labels": 2,
    "rrsig_original_ttl": 3600,
    "rrsig_inception": _ASKED,
    "rrsig_expiration": _ASKED,
    "dnskey_outcome": "secure",
    "dnskey_algorithm": [13, 13],
    "dnskey_bits": [256, 256],
    "dnskey_flags": [256, 257],
}


def domain(number: int) -> str:
    return f"domain-number-{number}.example"


def shards(run_id: int, rows: int, shard: int) -> Iterator[pa.RecordBatch]:
    """`rows` rows in the order of their buckets, as a survey stores them."""
    by_bucket: list[list[str]] = [[] for _ in range(BUCKETS)]
    for name in map(domain, range(rows)):
        by_bucket[bucket(name)].append(name)
    names = [name for names in by_bucket for name in names]
    alike = pa.RecordBatch.from_pylist(
        [{**blank(DOMAIN_MX.schema), **_ROW, "run_id": run_id}] * min(shard, rows),
        schema=DOMAIN_MX.schema,
    )
    for start in range(0, rows, shard):
        part = names[start : start + shard]
        batch = alike.slice(0, len(part))
        for column, values in (
            ("bucket", [bucket(name) for name in part]),
            ("domain", part),
            ("rrsig_signer", part),
        ):
            field = DOMAIN_MX.schema.field(column)
            index = DOMAIN_MX.schema.get_field_index(column)
            batch = batch.set_column(index, field, pa.array(values, field.type))
        yield batch


async def store_all(store: Writer, batches: list[pa.RecordBatch]) -> float:
    """Seconds to store the batches, one transaction each."""
    started = time.perf_counter()
    for batch in batches:
        await store.store([(DOMAIN_MX, batch)])
    return time.perf_counter() - started


async def _alone(opened: Connection, current: Run, shard: int) -> float:
    """Seconds for PostgreSQL to take in the same rows from ready-made COPY data."""
    table = f"domain_mx_{current.run_id}"
    ready: list[bytearray] = []

    async def collect(part: bytes) -> None:
        ready[-1] += part

    for start in range(0, await opened.fetchval(f"SELECT count(*) FROM {table}"), shard):
        ready.append(bytearray())
        await opened.copy_from_query(
            f"SELECT * FROM {table} ORDER BY bucket, domain OFFSET $1 LIMIT $2",
            start,
            shard,
            output=collect,
            format="binary",
        )
    await opened.execute(f"TRUNCATE {table}")
    started = time.perf_counter()
    for data in ready:
        await opened.copy_to_table(table, source=io.BytesIO(data), format="binary")
    return time.perf_counter() - started


async def measure(url: str, rows: int, shard: int) -> None:
    async with connection(url) as opened, writer(url) as store:
        await upgrade(opened)
        current = await run.create(opened, RunKind.FULL, {})
        batches = list(shards(current.run_id, rows, shard))
        ours = rows / await store_all(store, batches)
        alone = rows / await _alone(opened, current, shard)
        size = await opened.fetchval(
            "SELECT pg_total_relation_size($1::regclass)", f"domain_mx_{current.run_id}"
        )
    print(f"{rows} rows of {len(DOMAIN_MX.schema)} columns in shards of {shard}")
    print(f"Arrow to committed        {ours:10,.0f} rows/s   bar {BAR_ROWS_PER_S:,}")
    print(f"PostgreSQL's COPY alone   {alone:10,.0f} rows/s   ratio {ours / alone:.2f}")
    print(f"on disk, with the key     {size / rows:10.0f} bytes a row")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--shard", type=int, default=20_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o711)  # as root, the server is another user
        with running(Path(directory) / "state") as url:
            asyncio.run(measure(url, arguments.rows, arguments.shard))


if __name__ == "__main__":
    main()
