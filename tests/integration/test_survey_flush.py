"""A resolver that cannot be flushed is waited for: it may be back before the next pass."""

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
