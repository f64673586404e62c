"""The engine's dealings with resolvers: flushes, and the questions a second that scans share."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pyarrow as pa
import pytest

from crawler.coordinator.cluster import SLOTS, workers
from crawler.coordinator.crawl import crawl
from crawler.coordinator.dispatcher import Stopped, Time
from crawler.coordinator.engine import FIRST_ROWS, SMALLEST_SHARD, CrawlSettings, Engine
from crawler.coordinator.flushes import Flushes
from crawler.coordinator.settings import SurveySettings
from crawler.coordinator.shards import Progress
from crawler.coordinator.stages import RESOLVE, STAGES
from crawler.dns.client import Resolvers
from crawler.dns.configuration import CONTROL
from crawler.dns.settings import CanarySettings, ClientSettings, ResolverSettings
from crawler.dns.unbound import Unbound, home
from crawler.scan.context import ScanContext
from crawler.smtp.settings import ProbeSettings
from dane.faults import LocalTrouble
from dane.outcomes import LookupOutcome
from storage import run as runs
from storage.copy import writer
from storage.database import connection, pool
from storage.run import RunKind
from storage.schemas import DOMAIN_MX
from tests.integration.dns_world import free_port
from tests.integration.test_storage_due import delegate
from tests.storage_rows import batch_of

# nobody is asked anything here, and if somebody were, it would be this machine
NOBODY = Resolvers(first=(("127.0.0.1", 9),))
HINTS = ". 3600 IN NS a.\na. 3600 IN A 127.0.0.1\n"


@pytest.mark.asyncio
async def test_waits_for_a_resolver_then_gives_up_or_stops(
    database_url: str, tmp_path: Path
) -> None:
    hints = tmp_path / "root.hints"
    hints.write_text(HINTS)
    started = ResolverSettings(port=free_port(), root_hints=hints, threads=1)
    control = home(tmp_path, second_look=False) / CONTROL
    given = ResolverSettings(address=f"127.0.0.1:{started.port}", control=control)
    survey = SurveySettings(workers=1)
    settings = dataclasses.replace(crawl_settings(), resolver=given, survey=survey)
    impatient = dataclasses.replace(settings, survey=dataclasses.replace(survey, patience_s=0.0))
    async with (
        pool(database_url) as database,
        connection(database_url) as held,
        writer(database_url) as store,
        workers(survey, tmp_path / "workers") as client,
    ):
        run = await runs.create(held, RunKind.FULL, {})
        unbounds = [Unbound(given, tmp_path)]
        stopping = asyncio.Event()

        def engine(with_settings: CrawlSettings) -> Engine:
            return Engine(
                database, store, run, client, with_settings, unbounds, NOBODY, stopping, {}
            )

        with pytest.raises(LocalTrouble, match="cannot be flushed"):
            await Flushes(engine(impatient)).flush()

        flushing = asyncio.create_task(Flushes(engine(settings)).flush())
        tried, _ = await asyncio.wait({flushing}, timeout=0.5)
        assert not tried
        unbound = Unbound(started, tmp_path)
        await asyncio.to_thread(unbound.__enter__)
        try:
            await asyncio.wait_for(flushing, 30)
        finally:
            await asyncio.to_thread(unbound.__exit__, None, None, None)

        crawling = asyncio.create_task(crawl(engine(settings), ["resolve"]))
        stopping.set()
        with pytest.raises(Stopped):
            await asyncio.wait_for(crawling, 30)


@asynccontextmanager
async def engine_of(url: str, directory: Path, settings: CrawlSettings) -> AsyncIterator[Engine]:
    """An engine with one worker, of a new run."""
    alone = dataclasses.replace(settings.survey, workers=1, scheduler=None)
    async with (
        pool(url) as database,
        connection(url) as held,
        writer(url) as store,
        workers(alone, directory / "workers") as client,
    ):
        run = await runs.create(held, RunKind.FULL, {})
        yield Engine(database, store, run, client, settings, (), NOBODY, asyncio.Event(), {})


def crawl_settings(
    client: ClientSettings | None = None, scheduler: str | None = None
) -> CrawlSettings:
    return CrawlSettings(
        resolver=ResolverSettings(),
        client=client or ClientSettings(),
        canaries=CanarySettings(),
        probe=ProbeSettings(),
        survey=SurveySettings(scheduler=scheduler),
    )


@pytest.mark.asyncio
@pytest.mark.parametrize(("scheduler", "scans"), [(None, 2), ("tls://survey.example.net:8786", 4)])
async def test_scans_share_the_questions_a_second_whoever_joins(
    database_url: str, tmp_path: Path, scheduler: str | None, scans: int
) -> None:
    settings = crawl_settings(
        ClientSettings(questions_per_s_per_name_server_set=60.0, window=1000), scheduler
    )
    async with engine_of(database_url, tmp_path, settings) as engine:
        engine.nodes = 2  # in a cluster two more may join before these have their answers
        client = engine.client(0.5)
        assert client.questions_per_s_per_name_server_set == 60.0 * 0.5 / scans
        assert client.window == 500


def test_all_stages_together_ask_no_more_than_one_share() -> None:
    at_once = [stage for stage in STAGES if stage.time is not Time.OVER]
    shares = [share for stage in at_once for share in (stage.share, stage.later_share)]
    assert sum(shares) == pytest.approx(1.0)
    # the others begin when these have ended, each when the one before it has
    assert all(stage.share <= 1.0 for stage in STAGES if stage.time is Time.OVER)
    lines = {stage.name for stage in STAGES} | {
        f"{stage.name} again" for stage in STAGES if stage.later_share
    }
    assert lines == set(SLOTS)


@pytest.mark.asyncio
async def test_a_shard_takes_as_long_as_it_should_by_what_the_last_ones_took(
    database_url: str, tmp_path: Path
) -> None:
    settings = crawl_settings()
    survey = settings.survey
    async with engine_of(database_url, tmp_path, settings) as engine:
        progress = Progress()
        assert engine.shard_rows(progress) == FIRST_ROWS
        progress.took(10.0, 1000)
        assert engine.shard_rows(progress) == int(survey.shard_s / 0.01)
        progress.took(30.0, 1000)  # the latest counts as much as all before it
        assert engine.shard_rows(progress) == int(survey.shard_s / 0.02)
        progress.took(1e6, 1)
        assert engine.shard_rows(progress) == SMALLEST_SHARD
        for _ in range(60):
            progress.took(1e-6, 1000)
        assert engine.shard_rows(progress) == survey.shard_rows


def mended_at_last(shard: pa.RecordBatch, context: ScanContext) -> pa.RecordBatch:
    """What `crawler.scan.resolve` gives of names whose servers are silent until the last pass."""
    outcome = LookupOutcome.NXDOMAIN if context.last_lookup else LookupOutcome.UNANSWERED
    asked = zip(*(shard.column(name).to_pylist() for name in ("domain", "passes")), strict=True)
    rows = [
        {"domain": name, "outcome": outcome, "passes": 1 + (passes or 0)} for name, passes in asked
    ]
    return batch_of(DOMAIN_MX, context.run_id, *rows)


@pytest.mark.asyncio
async def test_the_last_lookup_is_at_the_end_of_the_run(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = crawl_settings(ClientSettings(passes_s=(0.0, 0.0, 0.0), flush_every_s=0.0))
    stage = dataclasses.replace(RESOLVE, scan=mended_at_last)
    monkeypatch.setattr("crawler.coordinator.crawl.STAGES", (stage,))
    async with (
        connection(database_url) as held,
        engine_of(database_url, tmp_path, settings) as engine,
    ):

        async def rows() -> set[tuple[str, int]]:
            return {tuple(row) for row in await held.fetch("SELECT outcome, passes FROM domain_mx")}

        await delegate(held, "a.example", "b.example")
        await crawl(engine, ["resolve"])
        assert await rows() == {("nxdomain", 5)}
        assert engine.stages[0].progress.rows_in == 2 * 5
        await crawl(engine, ["resolve"])
        assert engine.stages[1].progress.rows_in == 0
