"""Rows for tests of the storage: batches of a table from a few named columns."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from dane.names import bucket
from storage.schemas import Table

ASKED = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def batch_of(table: Table, run_id: int, *rows: Mapping[str, Any]) -> pa.RecordBatch:
    """A batch of `table`: what a row does not name is null, empty, zero or false.

    The bucket is that of the first key column after it, unless the row has one.
    """
    full = []
    for row in rows:
        one = {field.name: _nothing(field) for field in table.schema} | dict(row)
        if "bucket" in one:
            one |= {"run_id": run_id, "bucket": row.get("bucket", bucket(one[table.key[2]]))}
        full.append(one)
    return pa.RecordBatch.from_pylist(full, schema=table.schema)


def _nothing(field: "pa.Field[Any]") -> Any:
    if field.nullable:
        return None
    if pa.types.is_list(field.type):
        return []
    if pa.types.is_timestamp(field.type):
        return ASKED
    if pa.types.is_boolean(field.type):
        return False
    if pa.types.is_binary(field.type):
        return b""
    return 0 if pa.types.is_integer(field.type) else ""
