"""Query results as Arrow batches of a declared schema.

For the questions of a run (thousands of rows); `storage.export` reads whole tables.
"""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from storage.database import Connection


async def query(
    connection: Connection, sql: str, *arguments: Any, schema: pa.Schema
) -> pa.RecordBatch:
    """The rows of a query, whose columns stand in the order of `schema`."""
    return to_batch(await connection.fetch(sql, *arguments), schema)


def to_batch(rows: Sequence[Any], schema: pa.Schema) -> pa.RecordBatch:
    """Rows as columns. Raises pa.ArrowInvalid for values that the schema does not hold."""
    columns = zip(*rows, strict=True) if rows else ((),) * len(schema)
    return pa.record_batch(
        [pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)],
        schema=schema,
    )
