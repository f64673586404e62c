"""The whole run, composed: database, resolvers, workers, the stages in order, publication.

Only this module knows all parts. An unfinished run goes on where it stopped: every stage
asks what is missing, so a stage that is done costs a look at its buckets.
"""

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from crawler.coordinator.cluster import security, workers
from crawler.coordinator.crawl import crawl
from crawler.coordinator.dispatcher import Stopped
from crawler.coordinator.engine import CrawlSettings, Engine
from crawler.coordinator.intake import intake
from crawler.dns.client import Resolvers
from crawler.dns.configuration import has_route
from crawler.dns.unbound import Unbound
from crawler.scan.context import Family
from dane import clock
from dane.faults import Refused, UsageFault
from danesurvey import display, embedded, metrics, owner, record
from danesurvey.address_space import require_address_space
from danesurvey.doctor import refuse_falsified
from danesurvey.progress import Watch
from danesurvey.resolvers import resolvers_of, running
from danesurvey.settings import Settings
from danesurvey.stopping import STOPPED, Stop, stoppable, unless_stopped
from storage import run as runs
from storage.copy import Writer, writer
from storage.database import Connection, Pool, patiently, pool
from storage.owner import claim
from storage.run import Coordination, Run, RunKind

if TYPE_CHECKING:  # with DuckDB it is no part of a crawl's memory
    from reports.publish import Published

__all__ = ["STAGES", "STOPPED", "Done", "Request", "survey"]

STAGES = ("intake", "resolve", "hosts", "probe", "assess", "publish")
_DNS_STAGES = {"resolve", "hosts", "probe"}
_LOOK_S = 1.0  # between two looks at how far it is
_TELL_S = 5.0  # between two updates of what `danesurvey status` shows


@dataclass(frozen=True, slots=True)
class Request:
    """What the command line asks for."""

    stages: Sequence[str] = STAGES
    kind: RunKind = RunKind.FULL
    accept_shrink: bool = False
    force: bool = False  # publish in spite of refusals
    run_id: int | None = None  # to publish; default: the unfinished run, or the last one


@dataclass(frozen=True, slots=True)
class Done:
    """What came of it."""

    run: Run | None
    published: "Published | None"
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


def survey(settings: Settings, request: Request) -> Done:
    """Do what `request` says. Raises Stopped, Refused by the preflight, the parts' Faults."""
    if settings.survey.scheduler is not None:
        security(settings.survey)  # before anything is started
    require_address_space()
    owner.claim(settings)
    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(stoppable())
        url = stack.enter_context(embedded.database(settings))
        return asyncio.run(_survey(settings, request, url, stack, stop))


async def _survey(
    settings: Settings, request: Request, url: str, stack: contextlib.ExitStack, stop: Stop
) -> Done:
    crawls = [name for name in request.stages if name not in ("intake", "publish")]
    published = None
    stopping = stop.in_loop()
    async with (
        runs.coordinating(url) as coordination,
        pool(url, connections=settings.database.connections) as database,
    ):
        # Only the one coordinator starts resolvers: a second would start them over the
        # first one's.
        unbounds: Sequence[Unbound] = ()
        if _DNS_STAGES & set(request.stages):
            unbounds = await unless_stopped(stopping, _resolvers(settings, request, stack))
        await patiently(database, partial(claim, owner=owner.owner_of(settings)))
        zones = await unless_stopped(stopping, _intake(settings, request, database))
        if not crawls and "publish" not in request.stages:
            return Done(None, None, zones)
        run = await _run(settings, request, database, unbounds)
        if crawls:
            async with writer(url) as store:
                session = _Session(settings, database, store, coordination, run, unbounds)
                await session.crawl(crawls, stopping)
        if "publish" in request.stages:
            published = await unless_stopped(
                stopping, _publish(settings, request, database, url, run)
            )
        return Done(run, published, zones)


async def _resolvers(
    settings: Settings, request: Request, stack: contextlib.ExitStack
) -> Sequence[Unbound]:
    """Started and examined, in a thread: that takes a while, and blocks."""
    unbounds = await asyncio.to_thread(stack.enter_context, running(settings))
    await asyncio.to_thread(refuse_falsified, settings, unbounds, probing="probe" in request.stages)
    return unbounds


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
        progress=display.talk,
        accept_shrink=request.accept_shrink,
    )


async def _run(
    settings: Settings, request: Request, database: Pool, unbounds: Sequence[Unbound]
) -> Run:
    """The unfinished run, or a new one; for publication alone, the one that is named, or the last.

    Raises UsageFault where there is none to publish.
    """
    if request.run_id is not None:
        try:
            return await patiently(database, partial(runs.get, run_id=request.run_id))
        except KeyError:
            raise UsageFault(f"no run {request.run_id}; `danesurvey status` lists them") from None
    run = await patiently(database, runs.unfinished)
    if run is not None:
        display.talk(f"run {run.run_id} ({run.kind}), begun {run.started:%Y-%m-%d %H:%M}, goes on")
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
        raise UsageFault("no domains to survey: name zones in [[zones]] (docs/zones.md)")

    async def create(held: Connection) -> Run:
        # After a lost connection it may have been made already.
        return await runs.unfinished(held) or await runs.create(
            held, request.kind, await record.of_start(held, settings, unbounds)
        )

    run = await patiently(database, create)
    display.talk(f"run {run.run_id} ({run.kind}) begins")
    return run


class _Session:
    """What one process does of a run: its stages between intake and publication."""

    def __init__(
        self,
        settings: Settings,
        database: Pool,
        store: Writer,
        coordination: Coordination,
        run: Run,
        unbounds: Sequence[Unbound],
    ) -> None:
        self._settings = settings
        self._database = database
        self._store = store
        self._coordination = coordination
        self._run = run
        self._unbounds = unbounds
        self._began = clock.seconds()

    async def crawl(self, stages: Sequence[str], stopping: asyncio.Event) -> None:
        """The stages in order. Raises Stopped, LocalTrouble."""
        async with contextlib.AsyncExitStack() as stack:
            engine = await stack.enter_async_context(self._engine(stopping))
            watch = Watch(engine)
            await stack.enter_async_context(
                metrics.served(watch, self._settings.survey.metrics_port)
            )
            await stack.enter_async_context(display.shown(watch))
            crawling = asyncio.create_task(crawl(engine, stages, await self._visited_until()))
            telling = asyncio.create_task(self._tell(watch))
            stopped: Stopped | None = None
            try:
                await asyncio.wait({crawling, telling}, return_when=asyncio.FIRST_COMPLETED)
                # telling ends only by a fault: no database, or another coordinator
                (telling if telling.done() else crawling).result()
            except Stopped as asked:
                stopped = asked
            finally:
                for task in (crawling, telling):
                    task.cancel()
                await asyncio.gather(crawling, telling, return_exceptions=True)
            # Not after a fault: there may be no database, and the last note is seconds old.
            await self._note(watch, ended=True)
            if stopped is not None:
                raise stopped

    @asynccontextmanager
    async def _engine(self, stopping: asyncio.Event) -> AsyncIterator[Engine]:
        settings = self._settings
        crawl_settings = CrawlSettings(
            resolver=settings.resolver,
            client=settings.client,
            canaries=settings.canaries,
            probe=settings.probe,
            survey=settings.survey,
        )
        both: tuple[tuple[Family, socket.AddressFamily], ...]
        both = (4, socket.AF_INET), (6, socket.AF_INET6)
        families = [
            number for number, family in both if settings.probe.lab_addresses or has_route(family)
        ]
        last = await patiently(self._database, lambda held: runs.latest(held, self._run.kind))
        async with workers(settings.survey, settings.state_dir / "workers") as client:
            yield Engine(
                self._database,
                self._store,
                self._run,
                client,
                crawl_settings,
                self._unbounds,
                resolvers_of(self._unbounds) if self._unbounds else Resolvers(first=()),
                stopping,
                record.failing_shares(last.record if last else {}),
                families,
            )

    async def _visited_until(self) -> datetime | None:
        """When the last connection of an earlier process may have ended."""
        known = await patiently(self._database, runs.runs)
        told = [
            session["until"] for run in known for session in run.record.get("sessions", ())[-1:]
        ]
        return datetime.fromtimestamp(max(told) + 2 * _TELL_S, UTC) if told else None

    async def _tell(self, watch: Watch) -> None:
        """Keep what `danesurvey status` shows, and the lock, for as long as the crawl lasts."""
        told = 0.0
        while True:
            await watch.look()
            if time.monotonic() - told >= _TELL_S:
                told = time.monotonic()
                await patiently(self._database, lambda _: self._coordination.hold())
                await self._note(watch)
            await asyncio.sleep(_LOOK_S)

    async def _note(self, watch: Watch, *, ended: bool = False) -> None:
        """What this session did so far, into the run's record."""
        session = {
            "began": self._began,
            "until": clock.seconds(),
            "stages": watch.stages(),
            "resolver": [
                await asyncio.to_thread(one.statistics) for one in self._unbounds if ended
            ],
        }
        note = partial(
            runs.note,
            run_id=self._run.run_id,
            now=watch.now(),
            sessions=[*self._run.record.get("sessions", ()), session],
            canaries=watch.engine.canaries.as_record(),
        )
        await patiently(self._database, note)


async def _publish(
    settings: Settings, request: Request, database: Pool, url: str, run: Run
) -> "Published":
    """Export, verify, and mark the run published and finished.

    Until then it is unfinished, so that a publication which was cut off is gone on with. One
    that is refused ends the run all the same: the next survey is a new one, and this one can
    still be published by force. Raises Refused.
    """
    from crawler.zones.settings import open_zones
    from reports.publish import publish, unassessed

    complete = not await patiently(database, partial(unassessed, run=run))
    if complete:
        await patiently(database, partial(_count, run_id=run.run_id))
    try:
        published = await patiently(
            database,
            lambda held: publish(
                held,
                run.run_id,
                settings.publish,
                settings.publish.directory or settings.state_dir,
                url=url,
                open_zones=open_zones(settings.zones),
                force=request.force,
            ),
        )
    except Refused:
        if complete:
            await patiently(database, partial(runs.finish, run_id=run.run_id))
        raise
    await patiently(database, partial(runs.finish, run_id=run.run_id))
    daily = settings.survey.keep_daily_runs
    keep = {RunKind.FULL: settings.survey.keep_full_runs}
    keep |= {RunKind.DANE: daily, RunKind.SUSPECTS: daily}
    await patiently(database, lambda held: runs.drop_old(held, keep))
    return published


async def _count(held: Connection, run_id: int) -> None:
    """Into the run's record: what it counted."""
    run = await runs.get(held, run_id)
    await runs.note(held, run_id, **await record.of_end(held, run))
