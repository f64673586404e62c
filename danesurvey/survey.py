"""The whole run, composed: database, resolvers, workers, the stages in order, publication.

Only this module knows all parts. An unfinished run goes on where it stopped: every stage
asks what is missing, so a stage that is done costs a look at its buckets.
"""

import asyncio
import contextlib
import importlib.metadata
import json
import platform
import signal
import socket
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import dask.system

from crawler.dns.configuration import has_route
from crawler.dns.unbound import Unbound
from crawler.operators import merges
from crawler.survey.assess import assess
from crawler.survey.authority import authority
from crawler.survey.cluster import THREADS_PER_WORKER, workers
from crawler.survey.engine import CrawlSettings, Engine
from crawler.survey.hosts import hosts
from crawler.survey.intake import intake
from crawler.survey.probe import probe
from crawler.survey.resolve import resolve
from dane.faults import UsageFault
from dane.names import operator
from danesurvey import display, embedded
from danesurvey.doctor import refuse_falsified
from danesurvey.resolvers import resolvers_of, running
from danesurvey.settings import Settings
from reports.publish import Published, publish
from storage import run as runs
from storage.copy import writer
from storage.database import Connection, Pool, patiently, pool
from storage.migrate import upgrade
from storage.run import Run, RunKind

STAGES = ("intake", "resolve", "hosts", "probe", "assess", "publish")
_DNS_STAGES = {"resolve", "hosts", "probe"}
_TELL_S = 5.0  # between two updates of what `danesurvey status` shows
STOPPED = 130  # exit code after SIGINT or SIGTERM: everything that was done is kept


@dataclass(frozen=True, slots=True)
class Request:
    """What the command line asks for."""

    stages: Sequence[str] = STAGES
    kind: RunKind = RunKind.FULL
    accept_shrink: bool = False
    force: bool = False  # publish in spite of refusals


@dataclass(frozen=True, slots=True)
class Done:
    """What came of it."""

    run: Run | None
    published: Published | None
    zones: Sequence[Any] = ()

    def as_json(self) -> str:
        """One object; `directory` is where the data set is."""
        return json.dumps(
            {
                "run": self.run.run_id if self.run else None,
                "directory": str(self.published.directory) if self.published else None,
                "rows": dict(self.published.rows) if self.published else None,
            }
        )

    def as_text(self) -> str:
        if self.published is None:
            return f"run {self.run.run_id}: done" if self.run else "done"
        rows = sum(self.published.rows.values())
        return f"run {self.published.key.run_id}: {rows:,} rows in {self.published.directory}"


@contextmanager
def database_url(settings: Settings) -> Iterator[str]:
    """The database to use, for as long as the block lasts. Raises LocalTrouble."""
    if settings.database.url is not None:
        yield settings.database.url
    else:
        with embedded.running(settings.state_dir) as url:
            yield url


def survey(settings: Settings, request: Request) -> Done:
    """Do what `request` says. Raises Stopped, Refused by the preflight, the parts' Faults."""
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(database_url(settings))
        unbounds: list[Unbound] = []
        if _DNS_STAGES & set(request.stages):
            unbounds = stack.enter_context(running(settings))
            refuse_falsified(settings, unbounds, probing="probe" in request.stages)
        return asyncio.run(_survey(settings, request, url, unbounds))


async def _survey(
    settings: Settings, request: Request, url: str, resolvers: Sequence[Unbound]
) -> Done:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    async with (
        runs.coordinating(url) as coordination,
        pool(url, connections=settings.database.connections) as database,
    ):
        await patiently(database, upgrade)
        await patiently(database, lambda _: coordination.hold())
        zones = await _intake(settings, request, database)
        crawls = [name for name in request.stages if name not in ("intake", "publish")]
        if not crawls and "publish" not in request.stages:
            return Done(None, None, zones)
        run = await _run(settings, request, database)
        if crawls:
            async with (
                writer(url) as store,
                _engine(settings, database, store, run, resolvers, stopping) as engine,
                display.shown(engine),
            ):
                await _crawl(engine, crawls, resolvers)
        published = None
        if "publish" in request.stages:
            published = await _publish(settings, request, database, url, run)
        return Done(run, published, zones)


async def _intake(settings: Settings, request: Request, database: Pool) -> Sequence[Any]:
    """A run works on the names that it began with: nothing is taken in while one is unfinished."""
    if "intake" not in request.stages:
        return ()
    whole = len(request.stages) > 1
    if whole and (not settings.zones or await patiently(database, runs.unfinished) is not None):
        return ()
    return await intake(
        database,
        settings.zones,
        settings.intake,
        state_dir=settings.state_dir,
        progress=display.intake_line,
        accept_shrink=request.accept_shrink,
    )


async def _run(settings: Settings, request: Request, database: Pool) -> Run:
    """The unfinished run, or a new one; for publication alone, the last one."""
    run = await patiently(database, runs.unfinished)
    if run is not None:
        return run
    if tuple(request.stages) == ("publish",):
        run = await patiently(database, runs.latest)
        if run is None:
            raise UsageFault("no run to publish: `danesurvey survey` makes one")
        return run
    known = await patiently(
        database, lambda held: held.fetchval("SELECT EXISTS (SELECT FROM delegation)")
    )
    if not known:
        raise UsageFault("no domains to survey: name zones in [[zones]] (docs/operations.md)")
    return await patiently(
        database, lambda held: runs.create(held, request.kind, _record(settings))
    )


def _record(settings: Settings) -> dict[str, Any]:
    """Of a run's start. Settings hold no secrets: those stay in files and the environment."""
    plain = settings.model_dump(mode="json", exclude={"database"})
    return {
        "settings": plain,
        "software": {
            "danesurvey": importlib.metadata.version("danesurvey"),
            "python": platform.python_version(),
        },
        "host": {"system": platform.platform(), "cores": dask.system.CPU_COUNT},
    }


@asynccontextmanager
async def _engine(
    settings: Settings,
    database: Pool,
    store: Any,
    run: Run,
    resolvers: Sequence[Unbound],
    stopping: asyncio.Event,
) -> AsyncIterator[Engine]:
    crawl = CrawlSettings(
        resolver=settings.resolver,
        client=settings.client,
        canaries=settings.canaries,
        probe=settings.probe,
        survey=settings.survey,
    )
    processes = settings.survey.workers or dask.system.CPU_COUNT
    async with workers(settings.survey, settings.state_dir / "workers") as client:
        yield Engine(
            database,
            store,
            run,
            client,
            processes * THREADS_PER_WORKER,
            crawl,
            resolvers,
            stopping,
        )


async def _crawl(engine: Engine, stages: Sequence[str], unbounds: Sequence[Unbound]) -> None:
    """The stages between intake and publication, in order; then what they counted is kept."""
    resolvers = resolvers_of(unbounds)
    of = partial(operator, merges=merges(engine.settings.probe.operator_merges))
    lab = bool(engine.settings.probe.lab_addresses)
    families = tuple(
        number
        for number, family in ((4, socket.AF_INET), (6, socket.AF_INET6))
        if lab or has_route(family)
    )
    began = time.time()
    telling = asyncio.create_task(_tell(engine))
    try:
        for stage in stages:
            if stage == "resolve":
                await resolve(engine, resolvers)
            elif stage == "hosts":
                await hosts(engine, resolvers)
            elif stage == "probe":
                await probe(engine, resolvers, of, families)
                await authority(engine, resolvers)
            elif stage == "assess":
                await assess(engine)
    finally:
        telling.cancel()
        lines = [display.describe(one, time.time()) for one in engine.passes]
        statistics = [one.statistics() for one in unbounds]
        with contextlib.suppress(asyncio.CancelledError):
            await patiently(
                engine.pool,
                lambda held: runs.note(
                    held,
                    engine.run.run_id,
                    progress=lines,
                    **{f"session {began:.0f}": {"passes": lines, "resolver": statistics}},
                ),
            )


async def _tell(engine: Engine) -> None:
    """Keep what `danesurvey status` shows, for as long as the crawl lasts."""
    while True:
        await asyncio.sleep(_TELL_S)
        lines = [display.describe(one, time.time()) for one in engine.passes]
        await patiently(engine.pool, partial(_note, engine.run.run_id, lines))


async def _note(run_id: int, lines: Sequence[Any], held: Connection) -> None:
    await runs.note(held, run_id, progress=lines)


async def _publish(
    settings: Settings, request: Request, database: Pool, url: str, run: Run
) -> Published:
    """Export, verify, and mark the run finished and published. Raises Refused."""
    if run.finished is None:
        await patiently(database, lambda held: runs.finish(held, run.run_id))
    published = await patiently(
        database,
        lambda held: publish(
            held,
            run.run_id,
            settings.publish,
            settings.publish.directory or settings.state_dir,
            url=url,
            force=request.force,
        ),
    )
    await patiently(
        database,
        lambda held: runs.drop_old(held, {RunKind.FULL: settings.survey.keep_full_runs}),
    )
    return published
