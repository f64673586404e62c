"""The schema: applied once, in order, by one command at a time; equal to what is declared."""

import asyncio
import subprocess
import sys

import pyarrow as pa
import pytest

from dane.faults import LocalTrouble, Refused
from storage import migrate
from storage.database import Connection
from storage.database import connection as connected
from storage.schemas import CERTIFICATE, OBSERVATIONS, Table

_TYPE = {
    pa.int16(): "smallint",
    pa.int32(): "integer",
    pa.int64(): "bigint",
    pa.bool_(): "boolean",
    pa.string(): "text",
    pa.binary(): "bytea",
    pa.timestamp("us", tz="UTC"): "timestamp with time zone",
}


def _sql_type(kind: pa.DataType) -> str:
    if pa.types.is_list(kind):
        return f"{_TYPE[kind.value_type]}[]"
    return _TYPE[kind]


@pytest.mark.parametrize("table", [*OBSERVATIONS, CERTIFICATE], ids=lambda table: table.name)
@pytest.mark.asyncio
async def test_tables_are_those_declared(connection: Connection, table: Table) -> None:
    rows = await connection.fetch(
        "SELECT attname, format_type(atttypid, atttypmod) AS type, attnotnull"
        " FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 ORDER BY attnum",
        table.name,
    )
    assert [tuple(row) for row in rows] == [
        (field.name, _sql_type(field.type), not field.nullable) for field in table.schema
    ]
    key = await connection.fetch(
        "SELECT a.attname FROM pg_index i"
        " CROSS JOIN unnest(i.indkey::smallint[]) WITH ORDINALITY AS k (number, position)"
        " JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number"
        " WHERE i.indrelid = $1::regclass AND i.indisprimary ORDER BY k.position",
        table.name,
    )
    assert tuple(row["attname"] for row in key) == table.key


@pytest.mark.asyncio
async def test_names_are_ordered_by_their_bytes(connection: Connection) -> None:
    keys = await connection.fetch(
        "SELECT c.collname FROM pg_attribute a JOIN pg_collation c ON c.oid = a.attcollation"
        " WHERE a.attrelid = ANY($1::regclass[])"
        " AND a.attname IN ('domain', 'host', 'name', 'address', 'sha256')",
        [table.name for table in (*OBSERVATIONS, CERTIFICATE)],
    )
    assert {row["collname"] for row in keys} == {"C"}


@pytest.mark.asyncio
async def test_a_second_upgrade_does_nothing(connection: Connection) -> None:
    assert await migrate.upgrade(connection) == []
    assert all(migration.applied for migration in await migrate.status(connection))
    await migrate.require(connection)
    await connection.execute("DELETE FROM schema_migration WHERE number = 1")
    with pytest.raises(LocalTrouble, match="danesurvey db upgrade"):
        await migrate.require(connection)


@pytest.mark.asyncio
async def test_upgrades_at_once_apply_each_migration_once(
    connection: Connection, database_url: str
) -> None:
    await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    with pytest.raises(Refused, match="no survey has run"):
        await migrate.require(connection)

    async def upgrade() -> list[migrate.Migration]:
        async with connected(database_url) as other:
            return await migrate.upgrade(other)

    applied = await asyncio.gather(*(upgrade() for _ in range(4)))
    assert sorted(len(one) for one in applied) == [0, 0, 0, len(migrate.available())]


@pytest.mark.asyncio
async def test_a_migration_that_fails_leaves_nothing(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = migrate.available()
    bad = migrate.Migration(len(known) + 1, "bad", "CREATE TABLE half (); SELECT 1 / 0")
    monkeypatch.setattr(migrate, "available", lambda: [*known, bad])
    with pytest.raises(Exception, match="division by zero"):
        await migrate.upgrade(connection)
    assert await connection.fetchval("SELECT to_regclass('half')") is None
    assert (await migrate.status(connection))[-1].applied is None


@pytest.mark.asyncio
async def test_a_newer_schema_is_refused(connection: Connection) -> None:
    await connection.execute("INSERT INTO schema_migration VALUES (99, 'later', '', now())")
    with pytest.raises(LocalTrouble, match="update danesurvey"):
        await migrate.upgrade(connection)


@pytest.mark.asyncio
async def test_a_changed_migration_is_refused(connection: Connection) -> None:
    await connection.execute("UPDATE schema_migration SET sha256 = 'other' WHERE number = 1")
    with pytest.raises(LocalTrouble, match="0001_survey"):
        await migrate.status(connection)


def test_the_command_tells_and_upgrades(database_url: str) -> None:
    def danesurvey(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                sys.executable,
                "-c",
                "from danesurvey.cli import main; main()",
                "--set",
                f"database.url={database_url}",
                *arguments,
            ],
            capture_output=True,
            text=True,
            check=False,
        )

    told = danesurvey("db", "status")
    assert told.returncode == 0, told.stderr
    assert "0001 survey" in told.stdout
    assert "missing" not in told.stdout
    again = danesurvey("db", "upgrade")
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "nothing to do\n")
