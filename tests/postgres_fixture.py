"""A real PostgreSQL for tests: one server a session, one database a test from a template.

Loaded by tests/conftest.py: `postgres_url`, `database_url`, `connection` (asyncpg, to the database
of the test) and `state_dir`.
"""

import asyncio
import contextlib
import itertools
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
import pytest_asyncio

from danesurvey.embedded import running
from storage.database import Connection
from storage.database import connection as connected
from storage.migrate import upgrade

_TEMPLATE = "template_survey"
_PLENTY = 4 << 30  # bytes
_numbers = itertools.count(1)


@pytest.fixture
def state_dir() -> Iterator[Path]:
    """A new state directory that the embedded server's user can reach."""
    with reachable_directory() as directory:
        yield directory / "state"


@contextlib.contextmanager
def reachable_directory() -> Iterator[Path]:
    """A temporary directory that everybody may pass through; in memory if there is plenty."""
    memory = Path("/dev/shm")
    plenty = memory.is_dir() and shutil.disk_usage(memory).free > _PLENTY
    path = Path(tempfile.mkdtemp(prefix="danesurvey-test-", dir=memory if plenty else None))
    path.chmod(0o711)
    try:
        yield path
    finally:
        shutil.rmtree(path)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The server of this session, with the migrated template database.

    TEST_POSTGRES_URL names another server, of another version say, whose databases
    `test_N` and `template_survey` are ours.
    """
    with contextlib.ExitStack() as stack:
        url = os.environ.get("TEST_POSTGRES_URL")
        if url is None:
            directory = stack.enter_context(reachable_directory())
            url = stack.enter_context(running(directory / "state"))
        asyncio.run(_make_template(url))
        yield url


@pytest.fixture
def database_url(postgres_url: str) -> Iterator[str]:
    """An empty, migrated database of this test's own."""
    name = f"test_{next(_numbers)}"
    asyncio.run(_execute(postgres_url, f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE}"))
    yield in_database(postgres_url, name)
    asyncio.run(_execute(postgres_url, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest_asyncio.fixture
async def connection(database_url: str) -> AsyncIterator[Connection]:
    async with connected(database_url) as opened:
        yield opened


def in_database(url: str, name: str) -> str:
    """The URL of another database of the same server."""
    return urlsplit(url)._replace(path=f"/{name}").geturl()


async def _make_template(url: str) -> None:
    await _execute(url, f"DROP DATABASE IF EXISTS {_TEMPLATE}")
    await _execute(url, f"CREATE DATABASE {_TEMPLATE}")
    async with connected(in_database(url, _TEMPLATE)) as template:
        await upgrade(template)


async def _execute(url: str, sql: str) -> None:
    opened = await asyncpg.connect(url)
    try:
        await opened.execute(sql)
    finally:
        await opened.close()
