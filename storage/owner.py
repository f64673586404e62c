"""Whose a database is: the survey's, or one lab's. What is mixed can never be told apart."""

from dane.faults import Refused
from storage.database import Connection
from storage.migrate import Migration, upgrade

SURVEY = "the survey of the Internet"


def lab(identity: str) -> str:
    """The owner that stands for a lab."""
    return f"lab {identity}"


async def claim(connection: Connection, owner: str) -> list[Migration]:
    """Bring the schema up to date and write `owner` into a database that has none yet; the
    migrations applied.

    Raises Refused for a database of another owner; for a lab also for one that holds anything
    that no owner stands for. Such a database is left as it is.
    """
    if await connection.fetchval("SELECT to_regclass('schema_migration')") is None:
        stranger = await connection.fetchval(
            "SELECT relname FROM pg_class WHERE relnamespace = current_schema::regnamespace LIMIT 1"
        )
        if stranger is not None and owner != SURVEY:
            raise Refused(
                f"the database holds {stranger!r}, which is not this lab's: give the lab a"
                " database of its own (leave database.url unset)"
            )
    elif await connection.fetchval("SELECT to_regclass('owner')") is not None:
        await _refuse_other(connection, owner)
    applied = await upgrade(connection)
    async with connection.transaction():
        await connection.execute("LOCK TABLE owner")
        await _refuse_other(connection, owner)
        if await connection.fetchval("SELECT owner FROM owner") is None:
            await connection.execute("INSERT INTO owner (owner) VALUES ($1)", owner)
    return applied


async def _refuse_other(connection: Connection, owner: str) -> None:
    held = await connection.fetchval("SELECT owner FROM owner")
    if (
        held is None
        and owner != SURVEY
        and await connection.fetchval(
            "SELECT EXISTS (SELECT FROM run) OR EXISTS (SELECT FROM delegation)"
        )
    ):
        held = SURVEY
    if held not in (None, owner):
        raise Refused(
            f"the database belongs to {held}, not to {owner}: set another database.url or state_dir"
        )
