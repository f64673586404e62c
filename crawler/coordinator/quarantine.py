"""Rows that no scan can take: set aside with the reason, and stored as our fault, never theirs.

The row gets its place in the observations (so that it is not missing and asked again)
with an outcome of class X, and a line in table `quarantine` for the developer to read.
"""

from typing import Any

import pyarrow as pa

from dane import clock
from dane.outcomes import HOST_CLASS, DomainStatus, HostStatus, LookupOutcome
from storage.copy import Writer
from storage.database import Connection, Pool, patiently
from storage.run import Run
from storage.schemas import (
    AUTHORITY,
    DOMAIN_MX,
    DOMAIN_POLICY,
    DOMAIN_VERDICT,
    HOST_VERDICT,
    MX_HOST,
    SMTP_PROBE,
    TLSA_SERVER,
    Table,
)

NEVER_AGAIN = 32_767  # passes: the largest smallint

_OURS: dict[str, dict[str, Any]] = {
    DOMAIN_MX.name: {"outcome": LookupOutcome.UNANSWERED.value, "passes": NEVER_AGAIN},
    MX_HOST.name: {"status": HostStatus.LOCAL_ERROR.value, "passes": NEVER_AGAIN},
    SMTP_PROBE.name: {"status": HostStatus.LOCAL_ERROR_SMTP.value},
    AUTHORITY.name: {"note": "not asked: our own fault"},
    TLSA_SERVER.name: {"settled": True},
    HOST_VERDICT.name: {
        "status": HostStatus.LOCAL_ERROR.value,
        "class": HOST_CLASS[HostStatus.LOCAL_ERROR].value,
    },
    DOMAIN_VERDICT.name: {"status": DomainStatus.INDETERMINATE.value},
    DOMAIN_POLICY.name: {
        "mta_sts_outcome": LookupOutcome.UNANSWERED.value,
        "tlsrpt_outcome": LookupOutcome.UNANSWERED.value,
    },
}


async def set_aside(
    pool: Pool, writer: Writer, run: Run, table: Table, rows: pa.RecordBatch, reason: str
) -> None:
    """Store the one row of `rows` as ours, and say why in table `quarantine`."""
    ours = _OURS[table.name]
    asked = rows.to_pylist()[0]
    given = {name: value for name, value in asked.items() if value is not None}
    row = {name: value for name, value in given.items() if name in table.schema.names}
    row = {**blank(table.schema), **row, **ours, "run_id": run.run_id}
    key = " ".join(str(row[column]) for column in table.key[2:])

    async def record(connection: Connection) -> None:
        await connection.execute(
            'INSERT INTO quarantine (run_id, "table", key, reason, at) SELECT $1, $2, $3, $4, $5'
            " WHERE NOT EXISTS (SELECT FROM quarantine"
            ' WHERE run_id = $1 AND "table" = $2 AND key = $3)',
            run.run_id,
            table.name,
            key,
            reason,
            clock.now(),
        )

    await patiently(pool, record)
    batch = pa.RecordBatch.from_pylist([row], schema=table.schema)
    await writer.store([(table, batch)], replace=True)


def blank(schema: pa.Schema) -> dict[str, Any]:
    """A row that says nothing."""
    return {field.name: None if field.nullable else _nothing(field.type) for field in schema}


def _nothing(kind: pa.DataType) -> Any:
    if pa.types.is_list(kind):
        return []
    if pa.types.is_timestamp(kind):
        return clock.now()
    if pa.types.is_boolean(kind):
        return False
    return 0 if pa.types.is_integer(kind) else ""
