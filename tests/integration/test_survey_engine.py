"""The engine's dealings with resolvers: flushes, and the questions a second that scans share."""

import asyncio
import dataclasses
from pathlib import Path

import pytest

from crawler.dns.configuration import CONTROL
from crawler.dns.settings import CanarySettings, ClientSettings, ResolverSettings
from crawler.dns.unbound import Unbound, home
from crawler.smtp.settings import ProbeSettings
from crawler.survey.cluster import workers
from crawler.survey.engine import CrawlSettings, Engine, Stopped
from crawler.survey.settings import SurveySettings
from dane.faults import LocalTrouble
from storage import run as runs
from storage.copy import writer
from storage.database import connection, pool
from storage.run import RunKind
from tests.integration.dns_world import free_port

# nobody is asked anything here, and if somebody were, it would be this machine
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
    settings = CrawlSettings(
        resolver=given,
        client=ClientSettings(),
        canaries=CanarySettings(),
        probe=ProbeSettings(),
        survey=survey,
    )
    impatient = dataclasses.replace(settings, survey=dataclasses.replace(survey, patience_s=0.0))
    async with (
        pool(database_url) as database,
        connection(database_url) as held,
        writer(database_url) as store,
        workers(survey, tmp_path / "workers") as client,
    ):
        run = await runs.create(held, RunKind.FULL, {})
        resolvers = [Unbound(given, tmp_path)]
        stopping = asyncio.Event()

        def engine(with_settings: CrawlSettings) -> Engine:
            return Engine(database, store, run, client, with_settings, resolvers, stopping, {})

        with pytest.raises(LocalTrouble, match="cannot be flushed"):
            await engine(impatient).flush()

        flushing = asyncio.create_task(engine(settings).flush())
        tried, _ = await asyncio.wait({flushing}, timeout=0.5)
        assert not tried
        unbound = Unbound(started, tmp_path)
        await asyncio.to_thread(unbound.__enter__)
        try:
            await asyncio.wait_for(flushing, 30)
        finally:
            await asyncio.to_thread(unbound.__exit__, None, None, None)

        flushing = asyncio.create_task(engine(settings).flush())
        stopping.set()
        with pytest.raises(Stopped):
            await asyncio.wait_for(flushing, 30)


@pytest.mark.asyncio
async def test_scans_share_the_questions_a_second_whoever_joins(
    database_url: str, tmp_path: Path
) -> None:
    alone = CrawlSettings(
        resolver=ResolverSettings(),
        client=ClientSettings(questions_per_s_per_name_server_set=60.0),
        canaries=CanarySettings(),
        probe=ProbeSettings(),
        survey=SurveySettings(workers=1),
    )
    joined = dataclasses.replace(alone.survey, scheduler="tls://survey.example.net:8786")
    async with (
        pool(database_url) as database,
        connection(database_url) as held,
        writer(database_url) as store,
        workers(alone.survey, tmp_path / "workers") as client,
    ):
        run = await runs.create(held, RunKind.FULL, {})
        for survey in (alone.survey, joined):
            settings = dataclasses.replace(alone, survey=survey)
            engine = Engine(database, store, run, client, settings, (), asyncio.Event(), {})
            # one worker: two scans, and two shards more in flight for whom joins
            engine.parallel = 2
            at_once = 2 if survey is alone.survey else engine.in_flight
            assert engine.client.questions_per_s_per_name_server_set * at_once == 60.0
        assert engine.in_flight == 4
