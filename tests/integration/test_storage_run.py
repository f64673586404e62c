"""Runs: one at a time, with partitions of their own, dropped once published."""

import pytest

from dane.faults import LocalTrouble
from storage import run
from storage.database import Connection
from storage.database import connection as connected
from storage.run import RunKind
from storage.schemas import OBSERVATIONS

pytestmark = pytest.mark.asyncio


async def _finished(connection: Connection, kind: RunKind, *, published: bool) -> int:
    made = await run.create(connection, kind, {})
    await run.finish(connection, made.run_id)
    if published:
        await run.publish(connection, made.run_id)
    return made.run_id


async def _partitions(connection: Connection) -> set[str]:
    rows = await connection.fetch(
        "SELECT relname FROM pg_class WHERE relispartition AND relkind = 'r'"
    )
    return {row["relname"] for row in rows}


async def test_a_run_has_a_partition_of_every_table(connection: Connection) -> None:
    made = await run.create(connection, RunKind.FULL, {"version": "1"})
    assert await _partitions(connection) == {
        f"{table.name}_{made.run_id}" for table in OBSERVATIONS
    }
    assert await run.unfinished(connection) == made
    assert made.record == {"version": "1"}


async def test_an_unfinished_run_is_gone_on_with(connection: Connection) -> None:
    made = await run.create(connection, RunKind.FULL, {})
    with pytest.raises(LocalTrouble, match="unfinished"):
        await run.create(connection, RunKind.FULL, {})
    await run.finish(connection, made.run_id)
    assert await run.unfinished(connection) is None
    assert (await run.latest(connection, RunKind.FULL)).run_id == made.run_id  # type: ignore[union-attr]


async def test_chosen_runs_start_from_the_last_one(connection: Connection) -> None:
    with pytest.raises(LocalTrouble, match="full run"):
        await run.create(connection, RunKind.DANE, {})
    full = await _finished(connection, RunKind.FULL, published=False)
    daily = await run.create(connection, RunKind.DANE, {})
    assert daily.base == full
    await run.finish(connection, daily.run_id)
    suspects = await run.create(connection, RunKind.SUSPECTS, {})
    assert suspects.base == daily.run_id
    await run.finish(connection, suspects.run_id)
    assert (await run.create(connection, RunKind.DANE, {})).base == full


async def test_the_record_grows(connection: Connection) -> None:
    made = await run.create(connection, RunKind.FULL, {"a": 1, "b": 2})
    await run.note(connection, made.run_id, b=[3], c={"d": "é"})
    assert (await run.get(connection, made.run_id)).record == {"a": 1, "b": [3], "c": {"d": "é"}}


async def test_no_such_run(connection: Connection) -> None:
    with pytest.raises(KeyError):
        await run.get(connection, 7)


async def test_only_published_runs_are_dropped_and_the_last_ones_stay(
    connection: Connection,
) -> None:
    first = await _finished(connection, RunKind.FULL, published=True)
    kept = await _finished(connection, RunKind.FULL, published=False)
    last = [await _finished(connection, RunKind.FULL, published=True) for _ in range(2)]
    assert await run.drop_old(connection, {RunKind.FULL: 2}) == [first]
    assert {name for name in await _partitions(connection) if name.startswith("domain_mx_")} == {
        f"domain_mx_{run_id}" for run_id in (kept, *last)
    }
    dropped = await run.get(connection, first)
    assert dropped.dropped is not None
    assert [one.run_id for one in await run.runs(connection)] == [*reversed(last), kept, first]
    assert await run.drop_old(connection, {RunKind.FULL: 2}) == []


async def test_the_base_of_an_unfinished_run_stays(connection: Connection) -> None:
    base = await _finished(connection, RunKind.FULL, published=True)
    daily = await run.create(connection, RunKind.DANE, {})
    assert await run.drop_old(connection, {RunKind.FULL: 0}) == []
    await run.finish(connection, daily.run_id)
    assert await run.drop_old(connection, {RunKind.FULL: 0}) == [base]


async def test_a_second_coordinator_is_refused(database_url: str) -> None:
    async with run.coordinating(database_url) as coordination:
        with pytest.raises(LocalTrouble, match="another survey"):
            async with run.coordinating(database_url):
                raise AssertionError("two coordinators")
        await coordination.hold()
    async with run.coordinating(database_url):
        pass


async def test_the_lock_is_taken_again_after_a_restart(
    connection: Connection, database_url: str
) -> None:
    async with run.coordinating(database_url) as coordination:
        await _end_others(connection)
        await coordination.hold()
        with pytest.raises(LocalTrouble, match="another survey"):
            async with run.coordinating(database_url):
                raise AssertionError("two coordinators")
        await _end_others(connection)
        async with connected(database_url) as thief:
            await thief.execute("SELECT pg_advisory_lock($1)", run.LOCK)
            with pytest.raises(LocalTrouble, match="another survey"):
                await coordination.hold()


async def _end_others(connection: Connection) -> None:
    await connection.execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
