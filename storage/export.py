"""Parquet files from PostgreSQL, the same bytes for the same rows, whole or not at all.

Rows come in the order of the query (names are COLLATE "C": bytes), are cast to the declared
schema without metadata and written in row groups of 131 072 (with larger ones, joins between
months run out of memory in DuckDB). Nothing in a file depends on when or where it is written.

A file appears under its name when it is complete: temporary name, fsync, rename, fsync of the
directory.
"""

import contextlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import adbc_driver_manager
import adbc_driver_postgresql.dbapi as adbc
import pyarrow as pa
import pyarrow.parquet as pq

from dane.faults import LocalTrouble
from storage.database import adbc_trouble
from storage.schemas import Table

ROW_GROUP = 131_072
_FETCH = ROW_GROUP // 8  # rows that libpq holds at once
_CURSOR = "export"


def export(
    url: str,
    query: str,
    arguments: Sequence[object],
    path: Path,
    schema: pa.Schema,
    order: Sequence[str] = (),
) -> int:
    """Write the rows of a query, columns in the order of `schema`; the number of rows.

    A column that is a list of structs is made of one list of the query for each field of the
    struct, in their order and of equal length. `order` is by what the query sorts its rows.
    One row group is in memory at a time. Blocks: from a coroutine, `asyncio.to_thread`.
    Raises LocalTrouble (database, disk), pa.ArrowInvalid for rows that the schema does not
    hold.
    """
    return write(path, schema, _fetch(url, query, arguments, schema), order)


def export_table(url: str, table: Table, run_id: int, path: Path) -> int:
    """Write the rows of one run of a table in the order of its key; the number of rows."""
    columns = ", ".join(f'"{name}"' for name in table.schema.names)
    query = f"SELECT {columns} FROM {table.name} WHERE run_id = $1 ORDER BY {', '.join(table.key)}"
    return export(url, query, (run_id,), path, table.schema, table.key)


def write(
    path: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch], order: Sequence[str] = ()
) -> int:
    """Write batches of any size as one file, with a page index; the number of rows. The file
    says that its rows are sorted by `order`. Raises LocalTrouble."""
    plain = schema.remove_metadata()
    sorting = pq.SortingColumn.from_ordering(plain, [(name, "ascending") for name in order])
    rows = 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with (
            _appearing(path) as temporary,
            pq.ParquetWriter(
                temporary,
                plain,
                compression="zstd",
                version="2.6",
                write_page_index=True,
                sorting_columns=sorting or None,
            ) as writer,
        ):
            for group in _row_groups(batches):
                writer.write_table(group, row_group_size=ROW_GROUP)
                rows += group.num_rows
    except OSError as fault:
        raise LocalTrouble(f"{path} cannot be written: {fault.strerror or fault}") from None
    return rows


def _row_groups(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """The same rows, ROW_GROUP at a time, the last ones fewer.

    Each in one chunk: the borders of chunks would show in the pages of the file.
    """
    held: list[pa.RecordBatch] = []
    free = ROW_GROUP
    for batch in batches:
        rest = batch
        while rest.num_rows:
            part = rest.slice(0, free)
            rest = rest.slice(part.num_rows)
            held.append(part)
            free -= part.num_rows
            if not free:
                yield pa.Table.from_batches(held).combine_chunks()
                held, free = [], ROW_GROUP
    if held:
        yield pa.Table.from_batches(held).combine_chunks()


@contextlib.contextmanager
def _appearing(path: Path) -> Iterator[Path]:
    """A temporary path that becomes `path`, durably, when the block ends well."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        os.fchmod(handle, 0o644)
        yield Path(name)
        os.fsync(handle)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
    finally:
        os.close(handle)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _fetch(
    url: str, query: str, arguments: Sequence[object], schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    """The rows in batches of _FETCH, through a cursor on the server."""
    try:
        with adbc.connect(url) as connection, connection.cursor() as cursor:
            # COPY, adbc's way to stream, takes neither parameters nor FETCH.
            cursor.adbc_statement.set_options(**{"adbc.postgresql.use_copy": "false"})
            cursor.execute(
                f"DECLARE {_CURSOR} NO SCROLL CURSOR FOR {query}", tuple(arguments) or None
            )
            while True:
                cursor.execute(f"FETCH {_FETCH} FROM {_CURSOR}")
                table = cursor.fetch_arrow_table()
                if not table.num_rows:
                    return
                yield _cast(table, schema)
    except adbc_driver_manager.Error as fault:
        raise adbc_trouble(fault, url) from None


def _cast(table: pa.Table, schema: pa.Schema) -> pa.RecordBatch:
    """The rows as one batch of the declared schema."""
    given = iter(table.columns)
    columns = []
    for field in schema:
        if pa.types.is_list(field.type) and pa.types.is_struct(field.type.value_type):
            item = field.type.value_type
            lists: list[Any] = [next(given).combine_chunks() for _ in range(item.num_fields)]
            fields = [item.field(number) for number in range(item.num_fields)]
            values = [
                one.flatten().cast(part.type) for one, part in zip(lists, fields, strict=True)
            ]
            structs = pa.StructArray.from_arrays(values, fields=fields)
            columns.append(pa.ListArray.from_arrays(lists[0].offsets, structs).cast(field.type))
        else:
            columns.append(next(given).cast(field.type).combine_chunks())
    return pa.record_batch(columns, schema=schema)


def query_columns(schema: pa.Schema) -> list[str]:
    """The columns that a query has for this schema: `name_field` for a list of structs."""
    names = []
    for field in schema:
        if pa.types.is_list(field.type) and pa.types.is_struct(field.type.value_type):
            item = field.type.value_type
            names += [f"{field.name}_{item.field(n).name}" for n in range(item.num_fields)]
        else:
            names.append(field.name)
    return names
