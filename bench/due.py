"""What is due: milliseconds a bucket, with a large delegation table and a run half done.

    python -m bench.due [--names 1000000]

A bucket is to cost 1 to 2 ms of PostgreSQL's time at 5 million names (1 200 a bucket), whatever
the size of the run. The reference, in the same run, is to read a bucket's names by their key.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pyarrow as pa

from bench.copy import domain, shards
from crawler.coordinator.wanted import wanted_hosts
from dane import clock
from dane.names import BUCKETS, bucket
from danesurvey.embedded import running
from storage import assessment, due, run
from storage.copy import writer
from storage.database import Connection, connection
from storage.migrate import upgrade
from storage.read import query
from storage.run import RunKind
from storage.schemas import DOMAIN_MX, WANTED_HOST

_SAMPLE = range(0, BUCKETS, 41)
_SHARD = 20_000
_KEY = due.ASK_DOMAIN.empty_table().select(["bucket", "domain"]).schema


async def milliseconds(ask: Callable[[range], Awaitable[pa.RecordBatch]]) -> tuple[float, float]:
    """Median time and mean number of rows of a question about one bucket."""
    times, rows = [], 0
    for start in _SAMPLE:
        began = time.perf_counter()
        rows += (await ask(range(start, start + 1))).num_rows
        times.append(time.perf_counter() - began)
    return 1000 * statistics.median(times), rows / len(_SAMPLE)


async def delegate(opened: Connection, names: int) -> None:
    """Every name as a delegation, in the order of the key, as intake stores them."""
    keys = sorted((bucket(name), name) for name in map(domain, range(names)))
    await opened.copy_records_to_table(
        "delegation",
        records=(
            (number, name, "example", [], ["ns1.provider.example", "ns2.provider.example"])
            for number, name in keys
        ),
        columns=("bucket", "domain", "zone", "ds", "ns"),
    )


async def measure(url: str, names: int) -> None:
    async with connection(url) as opened, writer(url) as store:
        await upgrade(opened)
        await delegate(opened, names)
        current = await run.create(opened, RunKind.FULL, {})
        print(f"{names} names, {names / BUCKETS:.0f} a bucket; one bucket a question:")

        async def reference(buckets: range) -> pa.RecordBatch:
            return await query(
                opened,
                "SELECT bucket, domain FROM delegation WHERE bucket = $1 ORDER BY domain",
                buckets.start,
                schema=_KEY,
            )

        async def domains(buckets: range) -> pa.RecordBatch:
            return await due.domains(opened, current, buckets)

        async def failing(buckets: range) -> pa.RecordBatch:
            return await due.failing_domains(opened, current, 1, clock.now(), 1_000)

        async def unassessed(buckets: range) -> pa.RecordBatch:
            rows, _ = await assessment.domains(opened, current, buckets)
            return rows

        async def report(what: str, ask: Callable[[range], Awaitable[pa.RecordBatch]]) -> None:
            took_ms, rows = await milliseconds(ask)
            print(f"{what:34} {took_ms:8.2f} ms   {rows:8.1f} rows")

        await report("reference: names of the bucket", reference)
        await report("domains, nothing done", domains)
        batches = list(shards(current.run_id, names, _SHARD))
        for batch in batches[: len(batches) // 2]:
            await store.store([(DOMAIN_MX, batch)])
        await report("domains, half the buckets done", domains)
        for batch in batches[len(batches) // 2 :]:
            await store.store([(DOMAIN_MX, batch)])
        await report("domains, all done", domains)
        await report("failing domains, none", failing)
        await report("domains without a verdict, all", unassessed)
        for batch in batches:
            hosts = wanted_hosts(batch)
            if hosts is not None:
                await store.store([(WANTED_HOST, hosts)])
        await report("hosts", lambda buckets: due.hosts(opened, current, buckets))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--names", type=int, default=1_000_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o711)  # as root, the server is another user
        with running(Path(directory) / "state") as url:
            asyncio.run(measure(url, arguments.names))


if __name__ == "__main__":
    main()
