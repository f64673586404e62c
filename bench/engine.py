"""The engine alone: its pace and its memory, with lookups that take no time.

    python -m bench.engine [--domains 10000,200000,1000000]

Everything of a survey but DNS and SMTP is real: what is missing from PostgreSQL, shards to
two Dask workers over TLS, rows committed, verdicts. The scans are made up: every domain has
its mail at one of a few thousand providers, and no host has TLSA (a probe would need one).
The bar is 300 MB resident for the coordinator and for each worker, flat from 10 000 to a
million domains (docs/design.md, section 7).
"""

import argparse
import asyncio
import dataclasses
import multiprocessing
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from bench.copy import shards
from bench.due import delegate
from crawler.coordinator import crawl as crawling
from crawler.coordinator.cluster import memory, workers
from crawler.coordinator.engine import CrawlSettings, Engine
from crawler.coordinator.quarantine import blank
from crawler.coordinator.settings import SurveySettings
from crawler.coordinator.stages import HOSTS, RESOLVE, STAGES
from crawler.coordinator.state import Doing
from crawler.dns.client import Resolvers
from crawler.dns.settings import CanarySettings, ClientSettings, ResolverSettings
from crawler.scan.context import ScanContext
from crawler.smtp.settings import ProbeSettings
from danesurvey.embedded import running
from danesurvey.progress import resident
from storage import run as runs
from storage.copy import writer
from storage.database import connection, pool
from storage.migrate import upgrade
from storage.run import RunKind
from storage.schemas import DOMAIN_MX, MX_HOST

BAR_BYTES = 300_000_000
PROVIDERS = 5_000
_ASKED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
_HOST: dict[str, Any] = {
    "operator": "provider.example",
    "status": "absent",
    "passes": 1,
    "questions": 5,
    "first_asked": _ASKED,
    "last_asked": _ASKED,
    "a_outcome": "secure",
    "a_secure": True,
    "aaaa_outcome": "nodata",
    "aaaa_secure": False,
    "addresses": ["192.0.2.1"],
    "address_total": 1,
    "cname_chain": [],
    "cname_secure": False,
    "tlsa_outcome": "nxdomain",
    "tlsa": [],
    "tlsa_usable": 0,
    "defects": [],
}


def resolved(shard: pa.RecordBatch, context: ScanContext) -> pa.RecordBatch:
    """Every domain of the shard, with MX at one of the providers."""
    names = [str(name) for name in shard.column("domain").to_pylist()]
    (alike,) = shards(context.run_id, len(names), len(names))
    providers = [f"provider-{hash(name) % PROVIDERS}.example" for name in names]
    columns = {
        "bucket": shard.column("bucket"),
        "domain": shard.column("domain"),
        "mx_host": pa.array([[f"mx1.{one}", f"mx2.{one}"] for one in providers]),
    }
    for name, values in columns.items():
        field = DOMAIN_MX.schema.field(name)
        alike = alike.set_column(
            DOMAIN_MX.schema.get_field_index(name), field, values.cast(field.type)
        )
    return alike


def found(shard: pa.RecordBatch, context: ScanContext) -> pa.RecordBatch:
    """Every MX host of the shard: an address, no TLSA."""
    keys = shard.select(["bucket", "host"]).to_pylist()
    return pa.RecordBatch.from_pylist(
        [{**blank(MX_HOST.schema), **_HOST, **key, "run_id": context.run_id} for key in keys],
        schema=MX_HOST.schema,
    )


async def _delegate(url: str, domains: int) -> None:
    async with connection(url) as opened:
        await upgrade(opened)
        await delegate(opened, domains)


def prepare(url: str, domains: int) -> None:
    """The delegations, made in another process: its memory is not the coordinator's."""
    asyncio.run(_delegate(url, domains))


async def measure(url: str, directory: Path, domains: int) -> None:
    survey = SurveySettings(workers=2)
    settings = CrawlSettings(
        resolver=ResolverSettings(),
        client=ClientSettings(),
        canaries=CanarySettings(),
        probe=ProbeSettings(),
        survey=survey,
    )
    made_up = {RESOLVE.name: resolved, HOSTS.name: found}
    crawling.STAGES = tuple(
        dataclasses.replace(stage, scan=made_up.get(stage.name, stage.scan)) for stage in STAGES
    )
    async with (
        pool(url) as database,
        connection(url) as opened,
        writer(url) as store,
        workers(survey, directory) as client,
    ):
        run = await runs.create(opened, RunKind.FULL, {})
        nobody = Resolvers(first=(("127.0.0.1", 9),))
        stopping = asyncio.Event()
        engine = Engine(database, store, run, client, settings, (), nobody, stopping, {})
        most: dict[str, int] = {}
        by_stage: dict[str, int] = {}

        async def watch() -> None:
            while True:
                for name, size in (await memory(client)).items():
                    most[name] = max(size, most.get(name, 0))
                now = resident()
                most["coordinator"] = max(now, most.get("coordinator", 0))
                for one in engine.stages:
                    if one.doing is Doing.RUNNING:
                        by_stage[one.stage] = max(now, by_stage.get(one.stage, 0))
                await asyncio.sleep(0.2)

        before = resident()
        watching = asyncio.create_task(watch())
        began = time.monotonic()
        await crawling.crawl(engine, ["resolve", "hosts", "assess"])
        wall_s = time.monotonic() - began
        watching.cancel()
        size = await opened.fetchval(
            "SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits"
            " WHERE inhrelid::regclass::text LIKE '%\\_' || $1",
            str(run.run_id),
        )
    print(f"{domains:,} domains in {wall_s:.1f} s")
    for one in engine.stages:
        took_s = (one.ended or 0) - (one.began or 0)
        rows = one.progress.rows_in
        print(
            f"  {one.stage:15} {rows:>9,} rows {took_s:7.1f} s {rows / took_s:>9,.0f} rows/s"
            f"   coordinator {by_stage.get(one.stage, 0) / 1e6:4.0f} MB"
        )
    print(f"  in the database {int(size) / domains:.0f} bytes a domain")
    print(f"  coordinator before {before / 1e6:.0f} MB; at most, of {BAR_BYTES / 1e6:.0f} MB:")
    for name, size in sorted(most.items()):
        print(f"    {name:12} {size / 1e6:5.0f} MB {'' if size <= BAR_BYTES else 'ABOVE THE BAR'}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--domains", default="10000,200000,1000000")
    sizes = parser.parse_args().domains.split(",")
    if len(sizes) > 1:  # each in a process of its own: memory is not given back
        for size in sizes:
            subprocess.run([sys.executable, "-m", "bench.engine", "--domains", size], check=True)
        return
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o711)
        with running(Path(directory) / "state") as url:
            child = multiprocessing.get_context("spawn").Process(
                target=prepare, args=(url, int(sizes[0]))
            )
            child.start()
            child.join()
            asyncio.run(measure(url, Path(directory) / "workers", int(sizes[0])))


if __name__ == "__main__":
    main()
