"""The schema: numbered SQL files of the package `migrations`, applied in order.

`NNNN_name.sql` is one transaction together with its row in `schema_migration`; an advisory
lock keeps two commands from applying the same one. A file that was applied is never changed:
its digest is kept, and a difference refused.
"""

import hashlib
import importlib.resources
import re
from dataclasses import dataclass
from datetime import datetime

from dane import clock
from dane.faults import LocalTrouble, Refused
from storage.database import Connection

_FILE = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")
_LOCK = 0x44414E45_00000001  # "DANE": advisory locks are one number space a database

_TABLE = """
CREATE TABLE IF NOT EXISTS schema_migration (
    number integer PRIMARY KEY,
    name text NOT NULL,
    sha256 text NOT NULL,
    applied timestamptz NOT NULL
)
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema; `applied` is None where this database has not made it."""

    number: int
    name: str
    sql: str
    applied: datetime | None = None

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


def available() -> list[Migration]:
    """The migrations that this version brings, in order."""
    found = []
    for entry in importlib.resources.files("migrations").iterdir():
        if match := _FILE.fullmatch(entry.name):
            found.append(Migration(int(match[1]), match[2], entry.read_text("utf-8")))
    found.sort(key=lambda migration: migration.number)
    numbers = [migration.number for migration in found]
    if numbers != list(range(1, len(numbers) + 1)):
        raise AssertionError(f"migrations are not numbered 1, 2, 3, …: {numbers}")
    return found


async def status(connection: Connection) -> list[Migration]:
    """Every migration of this version with the time it was applied.

    Raises LocalTrouble if the database was changed by a newer version, or by another
    file of the same number.
    """
    known = available()
    if await connection.fetchval("SELECT to_regclass('schema_migration')") is None:
        return known
    rows = await connection.fetch("SELECT number, sha256, applied FROM schema_migration")
    done = {row["number"]: row for row in rows}
    newer = sorted(set(done) - {migration.number for migration in known})
    if newer:
        raise LocalTrouble(
            f"the database's schema is at {newer[-1]:04} and this version knows"
            f" {len(known):04}: update danesurvey"
        )
    for migration in known:
        row = done.get(migration.number)
        if row is not None and row["sha256"] != migration.sha256:
            raise LocalTrouble(
                f"the database was made by another {migration.number:04}_{migration.name}.sql:"
                " use another database, or the version that made it"
            )
    return [
        Migration(one.number, one.name, one.sql, done[one.number]["applied"])
        if one.number in done
        else one
        for one in known
    ]


async def upgrade(connection: Connection) -> list[Migration]:
    """Apply what is missing, each in its own transaction; the migrations applied."""
    version = connection.get_server_version()
    if version < (15,):
        raise LocalTrouble(f"PostgreSQL 15 or newer is needed; this one is {version.major}")
    await connection.execute("SELECT pg_advisory_lock($1)", _LOCK)
    try:
        await connection.execute(_TABLE)
        missing = [one for one in await status(connection) if one.applied is None]
        for migration in missing:
            async with connection.transaction():
                await connection.execute(migration.sql)
                await connection.execute(
                    "INSERT INTO schema_migration (number, name, sha256, applied)"
                    " VALUES ($1, $2, $3, $4)",
                    migration.number,
                    migration.name,
                    migration.sha256,
                    clock.now(),
                )
        return missing
    finally:
        await connection.execute("SELECT pg_advisory_unlock($1)", _LOCK)


async def require(connection: Connection) -> None:
    """Raise LocalTrouble unless the schema is this version's, Refused where there is none."""
    applied = [migration.applied is not None for migration in await status(connection)]
    if not any(applied):
        raise Refused("no survey has run on this database yet: `danesurvey survey` makes a run")
    if not all(applied):
        raise LocalTrouble("the database's schema is out of date: run `danesurvey db upgrade`")
