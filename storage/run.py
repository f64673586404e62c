"""Runs: made with their partitions, gone on with, finished, published, dropped.

One run is under way at a time, and one coordinator works on it: an advisory lock of
PostgreSQL, held as long as its connection lives, refuses the second.
"""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import asyncpg

from dane import clock
from dane.faults import LocalTrouble
from storage.database import (
    CLIENT_FAULTS,
    Connection,
    close_connection,
    lost,
    open_connection,
)
from storage.schemas import OBSERVATIONS, Table

LOCK = 0x44414E45_00000002


class RunKind(StrEnum):
    FULL = "full"  # every signed delegation
    DANE = "dane"  # domains with DANE, or whose lookup failed, in the last full run
    SUSPECTS = "suspects"  # domains that the last run found broken or failing


@dataclass(frozen=True, slots=True)
class Run:
    """One run. `base` is the run whose verdicts chose the names, None for every delegation."""

    run_id: int
    kind: RunKind
    base: int | None
    started: datetime
    finished: datetime | None
    published: datetime | None  # published and verified
    dropped: datetime | None  # when its observations were dropped
    record: Mapping[str, Any]  # settings, versions, resolver, zones, counts


class Coordination:
    """The advisory lock of the one coordinator."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: Connection | None = None

    async def hold(self) -> None:
        """Take the lock, or see that it is still held.

        After a restart of PostgreSQL it is taken again. Raises LocalTrouble if another
        coordinator has it, or there is no database.
        """
        if self._connection is not None:
            try:
                await self._connection.execute("SELECT 1")
            except CLIENT_FAULTS as fault:
                if not lost(fault):
                    raise
                await self.release()
            else:
                return
        opened = await open_connection(self._url)
        if not await opened.fetchval("SELECT pg_try_advisory_lock($1)", LOCK):
            await close_connection(opened)
            raise LocalTrouble(
                "another survey is running on this database; `danesurvey status` shows it"
            )
        self._connection = opened

    async def release(self) -> None:
        opened, self._connection = self._connection, None
        if opened is not None:
            await close_connection(opened)


@asynccontextmanager
async def coordinating(url: str) -> AsyncIterator[Coordination]:
    """Be the one coordinator of this database. Raises LocalTrouble if there is another."""
    coordination = Coordination(url)
    await coordination.hold()
    try:
        yield coordination
    finally:
        await coordination.release()


async def is_coordinated(connection: Connection) -> bool:
    """Is a coordinator at work on this database?"""
    return bool(
        await connection.fetchval(
            "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            " AND classid = $1::bigint >> 32 AND objid = $1::bigint & 4294967295)",
            LOCK,
        )
    )


async def create(connection: Connection, kind: RunKind, record: Mapping[str, Any]) -> Run:
    """A new run with its partitions, in one transaction.

    Raises LocalTrouble when one is unfinished, or one of `kind` has no run to start from.
    """
    async with connection.transaction():
        base = await _base(connection, kind)
        try:
            run_id = await connection.fetchval(
                "INSERT INTO run (kind, base, started, record) VALUES ($1, $2, $3, $4)"
                " RETURNING run_id",
                kind.value,
                base,
                clock.now(),
                json.dumps(record),
            )
        except asyncpg.UniqueViolationError:
            raise LocalTrouble("a run is unfinished: `danesurvey survey` goes on with it") from None
        for table in OBSERVATIONS:
            await connection.execute(
                f"CREATE TABLE {table.name}_{run_id} PARTITION OF {table.name}"
                f" FOR VALUES IN ({run_id})"
            )
    return await get(connection, run_id)


async def _base(connection: Connection, kind: RunKind) -> int | None:
    if kind is RunKind.FULL:
        return None
    kinds = (RunKind.FULL,) if kind is RunKind.DANE else (RunKind.FULL, RunKind.DANE)
    base = await latest(connection, *kinds)
    if base is None:
        raise LocalTrouble(f"a run of {kind} names starts from a full run, and there is none")
    return base.run_id


async def get(connection: Connection, run_id: int) -> Run:
    """Raises KeyError for a run that never was."""
    row = await connection.fetchrow("SELECT * FROM run WHERE run_id = $1", run_id)
    if row is None:
        raise KeyError(run_id)
    return _run(row)


async def runs(connection: Connection) -> list[Run]:
    """All runs, the newest first."""
    return [_run(row) for row in await connection.fetch("SELECT * FROM run ORDER BY run_id DESC")]


async def unfinished(connection: Connection) -> Run | None:
    row = await connection.fetchrow("SELECT * FROM run WHERE finished IS NULL")
    return None if row is None else _run(row)


async def latest(connection: Connection, *kinds: RunKind) -> Run | None:
    """The last finished run of these kinds (of any, if none is given) that has its rows."""
    row = await connection.fetchrow(
        "SELECT * FROM run WHERE finished IS NOT NULL AND dropped IS NULL"
        " AND kind = ANY($1::text[]) ORDER BY run_id DESC LIMIT 1",
        [kind.value for kind in kinds or RunKind],
    )
    return None if row is None else _run(row)


async def runs_before(connection: Connection, run_id: int, most: int) -> list[int]:
    """The ids of the last `most` runs before this one that have their rows, the newest first."""
    rows = await connection.fetch(
        "SELECT run_id FROM run WHERE run_id < $1 AND dropped IS NULL"
        " ORDER BY run_id DESC LIMIT $2",
        run_id,
        most,
    )
    return [row["run_id"] for row in rows]


async def note(connection: Connection, run_id: int, **parts: Any) -> None:
    """Set these keys of the run's record."""
    await connection.execute(
        "UPDATE run SET record = record || $2::jsonb WHERE run_id = $1", run_id, json.dumps(parts)
    )


async def analyze(connection: Connection, table: Table, run_id: int) -> None:
    """Statistics of the run's rows now: its partitions grow faster than PostgreSQL looks."""
    await connection.execute(f"ANALYZE {table.name}_{run_id}")


async def finish(connection: Connection, run_id: int) -> None:
    await connection.execute(
        "UPDATE run SET finished = $2 WHERE run_id = $1 AND finished IS NULL", run_id, clock.now()
    )


async def publish(connection: Connection, run_id: int) -> None:
    """Say that the run's data set was written and verified."""
    await connection.execute(
        "UPDATE run SET published = $2 WHERE run_id = $1 AND published IS NULL", run_id, clock.now()
    )


async def drop_old(connection: Connection, keep: Mapping[RunKind, int]) -> list[int]:
    """Drop the observations of published runs older than the last `keep[kind]`; their ids.

    A run that is still the base of an unfinished one stays.
    """
    dropped = []
    for kind, newest in keep.items():
        rows = await connection.fetch(
            "SELECT run_id, published FROM run"
            " WHERE kind = $1 AND finished IS NOT NULL AND dropped IS NULL"
            " AND run_id NOT IN"
            "  (SELECT base FROM run WHERE base IS NOT NULL AND finished IS NULL)"
            " ORDER BY run_id DESC OFFSET $2",
            kind.value,
            newest,
        )
        for row in rows:
            if row["published"] is None:
                continue
            async with connection.transaction():
                for table in OBSERVATIONS:
                    await connection.execute(f"DROP TABLE {table.name}_{row['run_id']}")
                await connection.execute(
                    "UPDATE run SET dropped = $2 WHERE run_id = $1", row["run_id"], clock.now()
                )
            dropped.append(row["run_id"])
    return sorted(dropped)


def _run(row: asyncpg.Record) -> Run:
    return Run(
        run_id=row["run_id"],
        kind=RunKind(row["kind"]),
        base=row["base"],
        started=row["started"],
        finished=row["finished"],
        published=row["published"],
        dropped=row["dropped"],
        record=json.loads(row["record"]),
    )
