"""Connections to PostgreSQL, and what is said when there is none.

Two clients, each for what it does best: asyncpg for the questions and the run's records,
adbc (`storage.copy`, `storage.export`) for rows by the hundred thousand.

Every connection fault becomes `LocalTrouble` in one line that names host and database and
never the password (the URL itself is in no message: asyncpg's and libpq's may quote it).
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TypeAlias, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

import adbc_driver_manager
import asyncpg

from dane.faults import LocalTrouble, UsageFault

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
T = TypeVar("T")

_CONNECT_S = 10.0
_CLOSE_S = 3.0  # then without farewell
_PAUSE_S = 0.5

# SQLSTATE classes and codes (PostgreSQL manual, appendix A) that are the world's, not ours.
_LOST = (
    "08",  # connection exception
    "57P",  # shutting down, crashed, starting up
)
_TROUBLE = (
    *_LOST,
    "28",  # who we say we are
    "3D000",  # no such database
    "42501",  # privilege
    "53",  # disk full, out of memory, too many connections
    "58",  # I/O error
    "57014",  # cancelled from outside
    "55P03",  # lock not available
)

# What asyncpg raises when the server is unreachable or goes away; `lost` looks closer. An
# operation on a connection that is just going may meet asyncpg's own state machine.
CLIENT_FAULTS = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,  # time-outs and name resolution too
)


class ConnectionLost(LocalTrouble):
    """The server went away in the midst of something that may be done again."""


def whereabouts(url: str) -> str:
    """Host and database of a URL, for a message: never the password."""
    try:
        parts = urlsplit(url)
        host = parse_qs(parts.query).get("host", [parts.hostname or "the local socket"])[0]
        port = parts.port
    except ValueError:
        return "the database of an unreadable URL"
    database = unquote(parts.path.lstrip("/")) or "the default database"
    return f"{database} at {unquote(host)}" + (f" port {port}" if port else "")


def is_lost(sqlstate: str | None) -> bool:
    """Does this SQLSTATE say that the connection or the server went away?"""
    return sqlstate is not None and sqlstate.startswith(_LOST)


def is_trouble(sqlstate: str | None) -> bool:
    """Does this SQLSTATE blame the database's surroundings rather than our SQL?"""
    return sqlstate is not None and sqlstate.startswith(_TROUBLE)


def lost(fault: BaseException) -> bool:
    """Is this the end of a connection, such that another one may do better?"""
    if isinstance(fault, asyncpg.PostgresError):
        return is_lost(fault.sqlstate)
    if isinstance(fault, asyncpg.InterfaceError):
        return "connection" in str(fault) and "closed" in str(fault)
    return isinstance(fault, (OSError, asyncpg.InternalClientError, ConnectionLost))


@contextmanager
def trouble(url: str | None = None) -> Iterator[None]:
    """Turn what is the world's fault into LocalTrouble; bugs pass as they are."""
    where = "" if url is None else f" {whereabouts(url)}"
    try:
        yield
    except CLIENT_FAULTS as fault:
        if lost(fault):
            reason = f"the database{where} cannot be reached: {_one_line(fault)}"
        elif isinstance(fault, asyncpg.PostgresError) and is_trouble(fault.sqlstate):
            reason = f"database{where}: {_one_line(fault)}"
        else:
            raise
        raise LocalTrouble(reason) from None


def _one_line(fault: BaseException) -> str:
    return " ".join(str(fault).split()) or type(fault).__name__


async def open_connection(url: str) -> Connection:
    """One connection. Raises LocalTrouble when there is no database, UsageFault for a bad URL."""
    with trouble(url), _readable():
        return await asyncpg.connect(url, timeout=_CONNECT_S)


@contextmanager
def _readable() -> Iterator[None]:
    """UsageFault for a URL that cannot be parsed, without quoting it."""
    try:
        yield
    except (ValueError, asyncpg.ClientConfigurationError):
        raise UsageFault("database.url is no URL such as postgresql://user@host/name") from None


async def close_connection(opened: Connection) -> None:
    """Close it, also when the server is gone already."""
    try:
        await opened.close(timeout=_CLOSE_S)
    except CLIENT_FAULTS:
        opened.terminate()


@asynccontextmanager
async def connection(url: str) -> AsyncIterator[Connection]:
    """One connection for as long as the block lasts. Raises LocalTrouble."""
    opened = await open_connection(url)
    try:
        yield opened
    finally:
        await close_connection(opened)


@asynccontextmanager
async def pool(url: str, *, connections: int = 8) -> AsyncIterator[Pool]:
    """At most `connections` connections, opened as they are needed, the first one now."""
    with trouble(url), _readable():
        opened = await asyncpg.create_pool(
            url, min_size=0, max_size=connections, timeout=_CONNECT_S
        )
        async with opened.acquire():
            pass
    try:
        yield opened
    finally:
        try:
            await asyncio.wait_for(opened.close(), _CLOSE_S)
        except TimeoutError:
            opened.terminate()


async def patiently(
    pool: Pool, operation: Callable[[Connection], Awaitable[T]], *, patience_s: float = 120.0
) -> T:
    """The result of an operation that may be done twice, on a connection of the pool.

    When the connection is lost (PostgreSQL restarted or recovering) it is done again, for
    `patience_s` at most; then LocalTrouble.
    """
    deadline = time.monotonic() + patience_s
    while True:
        try:
            async with pool.acquire(timeout=_CONNECT_S) as held:
                return await operation(held)  # type: ignore[arg-type]
        except (*CLIENT_FAULTS, ConnectionLost) as fault:
            if not lost(fault) or time.monotonic() > deadline:
                with trouble():
                    raise
        await asyncio.sleep(_PAUSE_S)


def is_adbc_lost(fault: adbc_driver_manager.Error) -> bool:
    """Is the connection gone? libpq has no SQLSTATE to tell then."""
    return is_lost(fault.sqlstate) or (
        fault.sqlstate is None and fault.status_code == adbc_driver_manager.AdbcStatusCode.IO
    )


def adbc_trouble(fault: adbc_driver_manager.Error, url: str) -> Exception:
    """LocalTrouble for what is the world's; a bug of ours as it is."""
    reason = f"database {whereabouts(url)}: {str(fault).splitlines()[0]}"
    if is_adbc_lost(fault):
        return ConnectionLost(reason)
    return LocalTrouble(reason) if is_trouble(fault.sqlstate) else fault
