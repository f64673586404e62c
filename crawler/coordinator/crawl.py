"""The stages of a run, from start to end: flushes, the count of workers, and the dispatcher."""

import asyncio
from collections.abc import Collection
from datetime import datetime

from crawler.coordinator import policies
from crawler.coordinator.dispatcher import Dispatcher
from crawler.coordinator.engine import Engine
from crawler.coordinator.flushes import Flushes
from crawler.coordinator.stages import AUTHORITIES, POLICIES, PROBE, SERVERS, STAGES, lines

_ASSESS = "assess"


async def crawl(
    engine: Engine, names: Collection[str], visited_until: datetime | None = None
) -> None:
    """The stages of these names; `probe` includes the authorities, and `assess` is two stages
    and the policies.

    `visited_until`: when the last connection of an earlier process may have ended. Raises
    Stopped, LocalTrouble.
    """
    stages = [
        stage
        for stage in STAGES
        if stage.name in names
        or (stage in (AUTHORITIES, SERVERS) and PROBE.name in names)
        or (stage.name.startswith(_ASSESS) and _ASSESS in names)
        or (stage is POLICIES and _ASSESS in names and policies.are_asked(engine))
    ]
    flushes = Flushes(engine)
    made = lines(engine, stages, flushes, visited_until)
    dispatcher = Dispatcher(
        engine.workers, engine.settings.survey, made, engine.stopping, engine.stage_changed
    )
    flushes.changed = dispatcher.changed
    tasks = [
        asyncio.create_task(work)
        for work in (dispatcher.run(), dispatcher.fetch(), flushes.run(), engine.count_nodes())
    ]
    try:
        # Only the dispatcher ends by itself; the others by a fault.
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
