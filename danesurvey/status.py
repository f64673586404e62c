"""What the database says of runs, for `status` and `runs`."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import datetime
from typing import Any, TypeVar

from crawler.coordinator.waiting import Waiting, rests, waiting
from dane.faults import Refused
from danesurvey import embedded, provisional
from danesurvey.provisional import Provisional
from danesurvey.settings import Settings
from storage import due
from storage import run as storage_run
from storage.database import Connection, connection
from storage.migrate import require
from storage.run import Run

T = TypeVar("T")
Tell = Callable[[Provisional], None]


def latest(settings: Settings) -> dict[str, Any]:
    """The unfinished run, else the last one. Raises Refused if there is none.

    `stages` are those of the latest process that worked on it, `sessions` how many did;
    `running` whether one does now, and `now` what it last said; `waiting`: by stage, how many
    rows wait, and until when.
    """

    async def read(held: Connection) -> tuple[Run, bool, list[Waiting]]:
        found = await _latest(held)
        waits: list[Waiting] = []
        if found.dropped is None and found.finished is None:
            waits = waiting(await due.resting(held, found), rests(settings.client, settings.probe))
        return found, await storage_run.is_coordinated(held), waits

    run, running, waits = _read(settings, read)
    sessions = run.record.get("sessions", [])
    return {
        **plain(run),
        "running": running,
        "sessions": len(sessions),
        "stages": sessions[-1]["stages"] if sessions else [],
        "now": run.record.get("now"),
        "waiting": [{**asdict(one), "next": _time(one.next)} for one in waits],
        **{
            part: run.record.get(part)
            for part in ("outcomes", "local", "quarantined", "questions", "canaries")
        },
    }


def verdicts(settings: Settings, tell: Tell) -> None:
    """Tell of every domain of the unfinished run, else of the last one.

    Raises Refused if there is none, or its rows are gone.
    """

    async def read(held: Connection) -> None:
        run = await _latest(held)
        if run.dropped is not None:
            raise Refused(f"the rows of run {run.run_id} are gone; its data set has the verdicts")
        async for one in provisional.verdicts(held, run, settings):
            tell(one)

    _read(settings, read)


async def _latest(held: Connection) -> Run:
    run = await storage_run.unfinished(held)
    run = run or next(iter(await storage_run.runs(held)), None)
    if run is None:
        raise Refused("no run yet: `danesurvey survey` makes one")
    return run


def every(settings: Settings) -> list[dict[str, Any]]:
    """All runs, the newest first."""
    return [plain(run) for run in _read(settings, storage_run.runs)]


def plain(run: Run) -> dict[str, Any]:
    """A run's own facts as JSON values; times as ISO 8601."""
    return {
        "run": run.run_id,
        "kind": run.kind.value,
        "state": "published" if run.published else "finished" if run.finished else "unfinished",
        **{
            name: _time(getattr(run, name))
            for name in ("started", "finished", "published", "dropped")
        },
    }


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="seconds")


def _read(settings: Settings, read: Callable[[Connection], Awaitable[T]]) -> T:
    async def reading(url: str) -> T:
        async with connection(url) as held:
            await require(held)
            return await read(held)

    with embedded.database(settings) as url:
        return asyncio.run(reading(url))
