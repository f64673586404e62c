"""A row that no scan can take has its place in the observations, as our own fault."""

from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest

from crawler.coordinator.quarantine import set_aside
from storage import due
from storage import run as runs
from storage.assessment import DOMAIN
from storage.copy import writer
from storage.database import connection, pool
from storage.run import RunKind
from storage.schemas import (
    AUTHORITY,
    DOMAIN_MX,
    DOMAIN_VERDICT,
    HOST_VERDICT,
    MX_HOST,
    SMTP_PROBE,
    Table,
)

NOW = datetime(2026, 1, 2, tzinfo=UTC)
PROBE: dict[str, Any] = {
    "bucket": 1,
    "address": "192.0.2.1",
    "tlsa_digest": "00",
    "operator": "example",
    "sni": "mx.example",
    "attempt": 1,
    "host": "mx.example",
    "tlsa": ["3 1 1 00"],
    "dns_asked": NOW,
}
CASES: list[tuple[Table, pa.Schema, dict[str, Any], str, str, str]] = [
    (
        DOMAIN_MX,
        due.ASK_DOMAIN,
        {"bucket": 1, "domain": "a.example", "ns": []},
        "outcome",
        "unanswered",
        "a.example",
    ),
    (
        MX_HOST,
        due.ASK_HOST,
        {"bucket": 1, "host": "mx.example"},
        "status",
        "local_error",
        "mx.example",
    ),
    (
        SMTP_PROBE,
        due.ASK_PROBE,
        PROBE,
        "status",
        "local_error_smtp",
        "192.0.2.1 00 example mx.example 1",
    ),
    (
        AUTHORITY,
        due.ASK_AUTHORITY,
        {"bucket": 1, "name": "a.example", "rrtype": "MX", "ns": []},
        "note",
        "not asked: our own fault",
        "a.example MX",
    ),
    (
        HOST_VERDICT,
        due.ASK_HOST,
        {"bucket": 1, "host": "mx.example"},
        "status",
        "local_error",
        "mx.example",
    ),
    (
        DOMAIN_VERDICT,
        DOMAIN,
        {"run_id": 1, "bucket": 1, "domain": "a.example", "outcome": "secure", "secure": True}
        | {"mx_preference": [10], "mx_host": ["mx.example"], "mx_total": 1, "ns": [], "ds": []}
        | {"mx_excess_preference": [], "mx_excess_host": []}
        | {"last_asked": NOW},
        "status",
        "indeterminate",
        "a.example",
    ),
]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("table", "schema", "row", "column", "word", "key"), CASES, ids=[one[0].name for one in CASES]
)
async def test_a_row_is_set_aside(
    database_url: str,
    table: Table,
    schema: pa.Schema,
    row: dict[str, Any],
    column: str,
    word: str,
    key: str,
) -> None:
    async with (
        connection(database_url) as opened,
        pool(database_url) as database,
        writer(database_url) as store,
    ):
        run = await runs.create(opened, RunKind.FULL, {})
        blank = {field.name: None for field in schema}
        rows = pa.RecordBatch.from_pylist([{**blank, **row}], schema=schema)
        for _ in range(2):  # done again after a lost connection
            await set_aside(database, store, run, table, rows, "its worker died")
        (found,) = await opened.fetch(f"SELECT * FROM {table.name}")
        assert found[column] == word
        assert found["bucket"] == 1
        (line,) = await opened.fetch("SELECT * FROM quarantine")
        assert (line["table"], line["key"], line["reason"]) == (table.name, key, "its worker died")
