"""The data set's files: where they are, how they are written, how a run takes its place.

`dataset/{public,restricted}/<table>/month=YYYY-MM/run=ID/part-N.parquet`, with
`manifest.json` beside (`reports.manifest`). A run is written into a staging directory
that no reader's pattern matches, synced, and moved into place table by table; the
manifest is renamed last, and only what it lists is published. Nothing in a file depends
on when or where it was written: the same run exports byte-identical.
"""

import os
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from dane.faults import LocalTrouble, UsageFault
from reports.columns import PublishedTable
from reports.dictionary import TABLES
from storage.export import ROW_GROUP, write

PART_ROWS = 32 * ROW_GROUP
"""About how many rows of a large table a part holds."""

_MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])")


def month_of(moment: datetime) -> str:
    """`YYYY-MM` of a time with zone; the month of a run is that of its start, UTC."""
    return f"{moment:%Y-%m}"


def check_month(text: str) -> str:
    """The text, if it is a month. Raises UsageFault: it becomes part of a path."""
    if not _MONTH.fullmatch(text):
        raise UsageFault(f"{text!r} is not a month; write it as 2026-11")
    return text


def months_before(month: str, count: int) -> str:
    """The month `count` months earlier."""
    year, number = map(int, month.split("-"))
    years, index = divmod(12 * year + number - 1 - count, 12)
    return f"{years:04}-{index + 1:02}"


@dataclass(frozen=True, slots=True, order=True)
class RunKey:
    """One run's place in the data set; sorts by month, then run."""

    month: str
    run_id: int

    def partition(self) -> str:
        return f"month={self.month}/run={self.run_id}"


@dataclass(frozen=True, slots=True)
class Files:
    """The Parquet files of one run under `root`: the data set or a staging directory."""

    root: Path
    key: RunKey

    def directory(self, table: PublishedTable) -> Path:
        return self.root / table.path / self.key.partition()

    def parts(self, table: PublishedTable) -> list[Path]:
        """The table's files by part number; empty if the run has none."""
        found = self.directory(table).glob("part-*.parquet")
        return sorted(found, key=lambda path: int(path.stem.removeprefix("part-")))

    def read(self, table: PublishedTable) -> pa.Table:
        """The whole table in memory, in its order; without rows if the run has none."""
        parts = [pq.ParquetFile(part).read() for part in self.parts(table)]
        return pa.concat_tables(parts) if parts else table.schema.empty_table()


def write_table(
    files: Files, table: PublishedTable, rows: Iterable[pa.RecordBatch | pa.Table]
) -> None:
    """Write a whole table as its one part; columns are chosen by name.

    Batches may have any size: row groups end at fixed row numbers, so that the borders of
    batches leave no trace in the file. Raises LocalTrouble for a full disk.
    """
    path = files.directory(table) / "part-0.parquet"
    write(path, table.schema, _declared(rows, table.schema))


def _declared(
    rows: Iterable[pa.RecordBatch | pa.Table], schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    """The rows with the schema's columns, in its order."""
    for part in rows:
        whole = pa.Table.from_batches([part]) if isinstance(part, pa.RecordBatch) else part
        yield from whole.select(schema.names).cast(schema).to_batches()


class Dataset:
    """The directory `dataset/`. Faults: a directory that cannot be read or written."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def files(self, key: RunKey) -> Files:
        return Files(self.directory, key)

    def stage(self, key: RunKey) -> Files:
        """An empty staging directory for the run; what earlier attempts left is removed."""
        staging = self.directory / f".staging-{key.month}-{key.run_id}"
        try:
            for left in self.directory.glob(".staging-*"):
                shutil.rmtree(left)
            staging.mkdir(parents=True)
        except OSError as error:
            raise LocalTrouble(f"cannot write to {self.directory}: {error.strerror}") from error
        return Files(staging, key)

    def commit(self, staged: Files) -> None:
        """Move every staged table into place, synced; then the staging directory goes.

        A run that was there is replaced. The caller writes the manifest after this.
        """
        for table in TABLES:
            source, target = staged.directory(table), self.files(staged.key).directory(table)
            for part in staged.parts(table):
                sync(part)
            sync(source)
            _make_durable(target.parent)
            replaced = staged.root / f"replaced-{table.access}-{table.name}"
            if target.exists():
                target.rename(replaced)
            source.rename(target)
            sync(target.parent)
        shutil.rmtree(staged.root)

    def discard(self, staged: Files) -> None:
        """Forget a staged run."""
        shutil.rmtree(staged.root, ignore_errors=True)


def _make_durable(directory: Path) -> None:
    """Create a directory and sync each parent that got a new entry."""
    missing = [directory, *directory.parents]
    created = list(_take_while_missing(missing))
    directory.mkdir(parents=True, exist_ok=True)
    for one in created:
        sync(one.parent)


def _take_while_missing(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if path.exists():
            return
        yield path


def sync(path: Path) -> None:
    """fsync a file or a directory."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_file(path: Path, content: bytes) -> None:
    """Write a file under a temporary name, sync it, rename it, sync the directory."""
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    temporary.rename(path)
    sync(path.parent)
