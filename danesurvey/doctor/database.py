"""Checks of PostgreSQL: version, settings, schema."""

import asyncio
from collections.abc import Awaitable, Callable

from danesurvey.doctor.check import NotApplicable, Situation, Unwell
from storage import migrate
from storage.database import Connection, connection

_OLDEST = 15
_WAL_MIB = 1024


def _looked(situation: Situation, look: Callable[[Connection], Awaitable[str]]) -> str:
    url = situation.database_url
    if url is None:
        raise NotApplicable("no database to ask")

    async def looking() -> str:
        async with connection(url) as opened:
            return await look(opened)

    return asyncio.run(looking())


def answers(situation: Situation) -> str:
    async def look(held: Connection) -> str:
        version = held.get_server_version()
        if version.major < _OLDEST:
            raise Unwell(f"PostgreSQL {version.major} is older than {_OLDEST}")
        return f"PostgreSQL {version.major}.{version.minor}"

    return _looked(situation, look)


def encoding(situation: Situation) -> str:
    async def look(held: Connection) -> str:
        found = str(await held.fetchval("SHOW server_encoding"))
        if found != "UTF8":
            raise Unwell(f"the database's encoding is {found}")
        return found

    return _looked(situation, look)


def durable(situation: Situation) -> str:
    async def look(held: Connection) -> str:
        for name in ("fsync", "full_page_writes"):
            if await held.fetchval("SELECT current_setting($1)", name) != "on":
                raise Unwell(f"{name} is off")
        return "fsync and full_page_writes are on"

    return _looked(situation, look)


def write_ahead_log(situation: Situation) -> str:
    async def look(held: Connection) -> str:
        found = int(
            await held.fetchval("SELECT pg_size_bytes(current_setting('max_wal_size')) / 1048576")
        )
        if found < _WAL_MIB:
            raise Unwell(f"max_wal_size is {found} MB: a checkpoint every few seconds of COPY")
        return f"max_wal_size is {found} MB"

    return _looked(situation, look)


def connections(situation: Situation) -> str:
    async def look(held: Connection) -> str:
        allowed = int(await held.fetchval("SHOW max_connections"))
        wanted = situation.settings.database.connections + 4  # COPY, the lock, you with psql
        if allowed < wanted:
            raise Unwell(f"max_connections is {allowed}, wanted are {wanted}")
        return f"{allowed} allowed"

    return _looked(situation, look)


def schema(situation: Situation) -> str:
    async def look(held: Connection) -> str:
        known = await migrate.status(held)
        missing = [one for one in known if one.applied is None]
        if not missing:
            return f"at {known[-1].number:04}"
        return f"{len(missing)} migrations to apply: a survey does"

    return _looked(situation, look)
