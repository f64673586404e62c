"""Batches into PostgreSQL: whole shards, each row once, strange text unharmed."""

import os
import signal
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import adbc_driver_manager
import pyarrow as pa
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dane.faults import LocalTrouble
from dane.names import bucket
from storage import run
from storage.copy import Writer, writer
from storage.database import Connection, patiently, pool
from storage.read import query
from storage.run import Run, RunKind
from storage.schemas import CERTIFICATE, DOMAIN_MX, MX_HOST, OBSERVATIONS, WANTED_HOST, Table
from tests.storage_rows import ASKED, batch_of

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def current(connection: Connection) -> Run:
    return await run.create(connection, RunKind.FULL, {})


@pytest_asyncio.fixture
async def store(database_url: str) -> AsyncIterator[Writer]:
    async with writer(database_url) as opened:
        yield opened


async def _rows(connection: Connection, table: Table) -> pa.RecordBatch:
    columns = ", ".join(f'"{name}"' for name in table.schema.names)
    return await query(
        connection,
        f"SELECT {columns} FROM {table.name} ORDER BY {', '.join(table.key)}",
        schema=table.schema,
    )


@pytest.mark.parametrize("table", OBSERVATIONS, ids=lambda table: table.name)
async def test_what_is_stored_comes_back(
    connection: Connection, store: Writer, current: Run, table: Table
) -> None:
    key = table.key[2]
    full = {
        field.name: _something(field.type) for field in table.schema if field.name not in table.key
    }
    batch = batch_of(table, current.run_id, {key: "a.example"}, {key: "b.example", **full})
    assert (await store.store([(table, batch)])).rows == 2
    assert await _rows(connection, table) == batch


def _something(kind: pa.DataType) -> Any:
    if pa.types.is_list(kind):
        return [_something(kind.value_type)] * 2
    if pa.types.is_timestamp(kind):
        return datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
    if pa.types.is_boolean(kind):
        return True
    if pa.types.is_integer(kind):
        return -1 if kind.bit_width == 64 else 2 ** (kind.bit_width - 1) - 1
    return "text"


async def test_a_row_is_stored_once(connection: Connection, store: Writer, current: Run) -> None:
    batch = batch_of(DOMAIN_MX, current.run_id, {"domain": "a.example"})
    more = batch_of(DOMAIN_MX, current.run_id, {"domain": "b.example"}, {"domain": "a.example"})
    await store.store([(DOMAIN_MX, batch)])
    with pytest.raises(adbc_driver_manager.IntegrityError):
        await store.store([(DOMAIN_MX, more)])
    assert await _rows(connection, DOMAIN_MX) == batch


async def test_a_later_pass_replaces_its_rows_only(
    connection: Connection, store: Writer, current: Run
) -> None:
    first = batch_of(
        DOMAIN_MX,
        current.run_id,
        {"domain": "a.example", "outcome": "servfail", "passes": 1},
        {"domain": "b.example", "outcome": "secure", "passes": 1},
    )
    again = batch_of(
        DOMAIN_MX, current.run_id, {"domain": "a.example", "outcome": "secure", "passes": 2}
    )
    await store.store([(DOMAIN_MX, first)])
    await store.store([(DOMAIN_MX, again)], replace=True)
    rows = await connection.fetch("SELECT domain, outcome, passes FROM domain_mx ORDER BY domain")
    assert [tuple(row) for row in rows] == [("a.example", "secure", 2), ("b.example", "secure", 1)]


async def test_the_parts_of_a_shard_are_stored_together(
    connection: Connection, store: Writer, current: Run
) -> None:
    domains = batch_of(DOMAIN_MX, current.run_id, {"domain": "a.example"})
    twice = batch_of(MX_HOST, current.run_id, {"host": "mx.example"}, {"host": "mx.example"})
    with pytest.raises(adbc_driver_manager.IntegrityError):
        await store.store([(DOMAIN_MX, domains), (MX_HOST, twice)])
    assert (await _rows(connection, DOMAIN_MX)).num_rows == 0


async def test_a_known_certificate_is_left_alone(connection: Connection, store: Writer) -> None:
    def certificate(run_id: int) -> dict[str, Any]:
        return {"sha256": "00ff", "der": b"\x00\x01\\x", "first_run": run_id, "names": "a\nb"}

    await store.store([(CERTIFICATE, batch_of(CERTIFICATE, 0, certificate(1), certificate(1)))])
    await store.store([(CERTIFICATE, batch_of(CERTIFICATE, 0, certificate(2)))], replace=True)
    rows = await connection.fetch("SELECT * FROM certificate")
    assert [tuple(row) for row in rows] == [("00ff", b"\x00\x01\\x", 1, "a\nb")]


async def test_a_wanted_host_is_stored_once_and_the_domain_with_fewest_hosts_counts(
    connection: Connection, store: Writer, current: Run
) -> None:
    def wanted(**hosts: int) -> pa.RecordBatch:
        rows = [{"host": f"{host}.net", "hosts": count} for host, count in hosts.items()]
        return batch_of(WANTED_HOST, current.run_id, *rows)

    first = await store.store([(WANTED_HOST, wanted(a=3, b=2))])
    assert first.wanted == {bucket("a.net"), bucket("b.net")}
    again = await store.store([(WANTED_HOST, wanted(b=5, c=1))])
    assert again.wanted == {bucket("c.net")}
    await store.store([(WANTED_HOST, wanted(a=1))])
    rows = await connection.fetch("SELECT host, hosts FROM wanted_host ORDER BY host")
    assert [tuple(row) for row in rows] == [("a.net", 1), ("b.net", 2), ("c.net", 1)]


async def test_nothing_is_nothing(store: Writer, current: Run) -> None:
    nothing = await store.store([(DOMAIN_MX, batch_of(DOMAIN_MX, current.run_id))])
    assert nothing.rows == 0


async def test_a_batch_of_another_shape_is_refused(store: Writer, current: Run) -> None:
    batch = batch_of(DOMAIN_MX, current.run_id, {"domain": "a.example"})
    with pytest.raises(ValueError, match="another schema"):
        await store.store([(MX_HOST, batch)])
    mixed = pa.Table.from_batches(
        [batch, batch_of(DOMAIN_MX, current.run_id + 1, {"domain": "b.example"})]
    ).combine_chunks()
    with pytest.raises(ValueError, match="several runs"):
        await store.store([(DOMAIN_MX, mixed.to_batches()[0])])


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(st.text(max_size=40), max_size=4), st.none() | st.text(max_size=40))
async def test_text_of_strangers_survives(
    connection: Connection, store: Writer, current: Run, words: list[str], text: str | None
) -> None:
    batch = batch_of(
        MX_HOST,
        current.run_id,
        {"host": "before.example", "defects": ["x"]},
        {"host": "mx.example", "defects": words, "ede_text": text},
        {"host": "nul.example", "defects": ["a\0b", "\0"], "ede_text": '\0\t\\N\n\r"'},
    )
    await store.store([(MX_HOST, batch)], replace=True)
    rows = {
        row["host"]: (row["defects"], row["ede_text"])
        for row in await connection.fetch("SELECT host, defects, ede_text FROM mx_host")
    }
    assert rows == {
        "before.example": (["x"], None),
        "mx.example": (
            [word.replace("\0", "\ufffd") for word in words],
            text and text.replace("\0", "\ufffd"),
        ),
        "nul.example": (["a\ufffdb", "\ufffd"], '\ufffd\t\\N\n\r"'),
    }


async def test_a_lost_connection_is_opened_again(
    connection: Connection, store: Writer, current: Run
) -> None:
    await store.store([(DOMAIN_MX, batch_of(DOMAIN_MX, current.run_id, {"domain": "a.example"}))])
    await connection.execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    batch = batch_of(DOMAIN_MX, current.run_id, {"domain": "a.example"}, {"domain": "b.example"})
    await store.store([(DOMAIN_MX, batch)], replace=True)
    assert await _rows(connection, DOMAIN_MX) == batch


async def test_a_database_that_stays_away_is_local_trouble() -> None:
    batch = batch_of(CERTIFICATE, 0, {"sha256": "00"})
    async with writer("postgresql://u:secret@127.0.0.1:1/survey", patience_s=0) as opened:
        with pytest.raises(LocalTrouble) as caught:
            await opened.store([(CERTIFICATE, batch)])
    assert "secret" not in str(caught.value)
    assert "survey at 127.0.0.1 port 1" in str(caught.value)


async def test_a_question_is_asked_again_after_a_crash_of_the_server(
    database_url: str, current: Run
) -> None:
    """A backend that is killed makes PostgreSQL recover: every connection is lost."""
    async with pool(database_url, connections=2) as connections:
        pid = await connections.fetchval("SELECT pg_backend_pid()")
        killed = False

        async def count(held: Connection) -> Any:
            nonlocal killed
            if not killed:
                killed = True
                os.kill(pid, signal.SIGKILL)
            return await held.fetchval("SELECT count(*) FROM run")

        assert await patiently(connections, count) == 1
        assert current.started > ASKED
