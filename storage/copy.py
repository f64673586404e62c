"""Arrow batches into PostgreSQL: COPY in binary, by adbc, one transaction a shard.

adbc turns Arrow into PostgreSQL's binary COPY format in C++ (no text, so no escaping, and
tabs or backslashes in a name are bytes like others). PostgreSQL's text holds every Unicode
character but NUL, which becomes U+FFFD here.

A row is stored once: its key is the table's primary key, and a second row of the same key is
a bug and fails the transaction. Later lookups say `replace=True`: rows of the same keys go
first, in the same transaction. A certificate is the same in every run, so a known one is
left alone. A wanted MX host is stored with the domains that name it, and known ones stay.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import adbc_driver_manager
import adbc_driver_postgresql.dbapi as adbc
import pyarrow as pa
import pyarrow.compute as pc

from storage.database import adbc_trouble, is_adbc_lost
from storage.schemas import CERTIFICATE, WANTED_HOST, Table

_PAUSE_S = 0.5


class Stored(NamedTuple):
    """How many rows were stored, and the buckets of MX hosts that nobody had wanted before."""

    rows: int
    wanted: frozenset[int]


class Writer:
    """A connection of its own for storing, and the thread that it blocks."""

    def __init__(self, url: str, patience_s: float) -> None:
        self._url = url
        self._patience_s = patience_s
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="copy")
        self._connection: adbc.Connection | None = None

    async def store(
        self, parts: Sequence[tuple[Table, pa.RecordBatch]], *, replace: bool = False
    ) -> Stored:
        """Store the parts of one shard in one transaction.

        A lost connection is opened again for `patience_s`. Whether the transaction was
        committed is not known then, so it is done again as with `replace`, and every MX host
        of it counts as new.

        Raises LocalTrouble (no database, disk full); ValueError for a batch that does not
        have its table's schema, or rows of more than one run.
        """
        for table, batch in parts:
            _check(table, batch)
        filled = [(table, batch) for table, batch in parts if batch.num_rows]
        if not filled:
            return Stored(0, frozenset())
        loop = asyncio.get_running_loop()
        deadline = time.monotonic() + self._patience_s
        wanted: set[int] = set()
        while True:
            try:
                wanted |= await loop.run_in_executor(self._thread, self._store, filled, replace)
            except adbc_driver_manager.Error as fault:
                if not is_adbc_lost(fault) or time.monotonic() > deadline:
                    raise adbc_trouble(fault, self._url) from None
            else:
                return Stored(sum(batch.num_rows for _, batch in filled), frozenset(wanted))
            replace = True
            wanted |= {
                int(str(bucket))
                for table, batch in filled
                if table == WANTED_HOST
                for bucket in batch.column("bucket").to_pylist()
            }
            await asyncio.sleep(_PAUSE_S)

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown()

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _store(self, parts: Sequence[tuple[Table, pa.RecordBatch]], replace: bool) -> set[int]:
        if self._connection is None:
            self._connection = adbc.connect(self._url)
        wanted: set[int] = set()
        try:
            with self._connection.cursor() as cursor:
                for table, batch in parts:
                    if table == CERTIFICATE:
                        _insert_new(cursor, table, batch)
                        continue
                    if table == WANTED_HOST:
                        wanted |= _insert_wanted(cursor, table, batch)
                        continue
                    if replace:
                        _delete(cursor, table, batch)
                    cursor.adbc_ingest(_target(table, batch), _without_nul(batch), mode="append")
            self._connection.commit()
        except BaseException:
            self._close()  # whatever was begun is rolled back with it
            raise
        return wanted


@asynccontextmanager
async def writer(url: str, *, patience_s: float = 120.0) -> AsyncIterator[Writer]:
    """A writer for as long as the block lasts; `patience_s` is for a database that restarts."""
    opened = Writer(url, patience_s)
    try:
        yield opened
    finally:
        await opened.close()


def _target(table: Table, batch: pa.RecordBatch) -> str:
    """The partition of the batch's run: PostgreSQL need not route row by row."""
    return f"{table.name}_{batch.column('run_id')[0].as_py()}"


def _check(table: Table, batch: pa.RecordBatch) -> None:
    if not batch.schema.equals(table.schema):
        raise ValueError(f"a batch for {table.name} has another schema: {batch.schema}")
    if "run_id" in table.key and len(pc.unique(batch.column("run_id"))) > 1:
        raise ValueError(f"a batch for {table.name} has rows of several runs")


def _delete(cursor: adbc.Cursor, table: Table, batch: pa.RecordBatch) -> None:
    """Delete the rows that have a key of the batch."""
    keys = batch.select([name for name in table.key if name != "run_id"])
    same = " AND ".join(f"t.{name} = k.{name}" for name in keys.schema.names)
    cursor.execute(
        f"DELETE FROM {_target(table, batch)} t USING {_as_rows(keys, 'k')} WHERE {same}",
        _in_one_row(keys),
    )


def _insert_new(cursor: adbc.Cursor, table: Table, batch: pa.RecordBatch) -> None:
    """Insert the rows whose key is not there yet."""
    cursor.execute(
        f"INSERT INTO {table.name} SELECT * FROM {_as_rows(batch, 'new')} ON CONFLICT DO NOTHING",
        _in_one_row(batch),
    )


def _insert_wanted(cursor: adbc.Cursor, table: Table, batch: pa.RecordBatch) -> set[int]:
    """Insert MX hosts in the order of the key; the buckets of those that are new.

    Of several domains that want a host, the one with the fewest hosts counts. A host stands
    in the batch once.
    """
    cursor.execute(
        f"INSERT INTO {_target(table, batch)} AS known SELECT * FROM {_as_rows(batch, 'new')}"
        " ORDER BY bucket, host"
        " ON CONFLICT (run_id, bucket, host) DO UPDATE SET hosts = excluded.hosts"
        " WHERE excluded.hosts < known.hosts RETURNING bucket",
        _in_one_row(batch),
    )
    return {int(row[0]) for row in cursor.fetchall()}


_ARRAY_TYPE = {
    pa.int16(): "smallint[]",
    pa.int32(): "integer[]",
    pa.string(): "text[]",
    pa.binary(): "bytea[]",
}


def _as_rows(batch: pa.RecordBatch, name: str) -> str:
    """SQL for the rows that `_in_one_row` gives as parameters."""
    arrays = ", ".join(
        f"${number}::{_ARRAY_TYPE[column.type]}"
        for number, column in enumerate(batch.columns, start=1)
    )
    return f"unnest({arrays}) AS {name} ({', '.join(batch.schema.names)})"


def _in_one_row(batch: pa.RecordBatch) -> pa.RecordBatch:
    """One row of arrays: a parameter a column."""
    return pa.record_batch(
        [
            pa.ListArray.from_arrays(pa.array([0, len(column)], pa.int32()), column)
            for column in batch.columns
        ],
        names=batch.schema.names,
    )


def _without_nul(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with U+FFFD for NUL, the one character that PostgreSQL's text does not hold."""
    dirty = [i for i, field in enumerate(batch.schema) if _has_nul(batch.column(i), field.type)]
    for i in dirty:
        values = batch.column(i).to_pylist()
        clean = pa.array([_clean(value) for value in values], batch.schema.field(i).type)
        batch = batch.set_column(i, batch.schema.field(i), clean)
    return batch


def _has_nul(column: Any, kind: pa.DataType) -> bool:
    if pa.types.is_list(kind):
        column, kind = column.flatten(), kind.value_type
    return pa.types.is_string(kind) and bool(pc.any(pc.match_substring(column, "\0")).as_py())


def _clean(value: Any) -> Any:
    if isinstance(value, list):
        return [one.replace("\0", "\ufffd") for one in value]
    return value and value.replace("\0", "\ufffd")
