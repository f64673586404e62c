"""Signed delegations as a file: CSV, JSON lines or Parquet.

CSV: a header; the elements of a list are parted by `;`, the fields of a DS by spaces. A name
that begins with a hyphen is written with the escape `\\045` (RFC 1035 section 5.1), since a
spreadsheet takes a cell that begins with `-` for a formula; `=`, `+` and `@` are always
escaped in keys.
"""

import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from crawler.zones.delegations import SCHEMA, Lists, Strings, pc
from dane.faults import LocalTrouble

_ROW_GROUP = 131_072


class Format(StrEnum):
    """How delegations are written."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"


def write(batches: Iterable[pa.RecordBatch], form: Format, out: BinaryIO) -> None:
    """Write delegations (`delegations.SCHEMA`)."""
    match form:
        case Format.CSV:
            _write_csv(batches, out)
        case Format.JSONL:
            for batch in batches:
                rows = (json.dumps(row, separators=(",", ":")) for row in batch.to_pylist())
                out.writelines(f"{row}\n".encode() for row in rows)
        case Format.PARQUET:
            with pyarrow.parquet.ParquetWriter(out, SCHEMA, compression="zstd") as writer:
                for group in _grouped(batches):
                    writer.write_table(group)


def _write_csv(batches: Iterable[pa.RecordBatch], out: BinaryIO) -> None:
    out.write(b"domain,ds,ns\n")
    texts = pa.schema([(name, pa.string()) for name in SCHEMA.names])
    options = pyarrow.csv.WriteOptions(include_header=False, quoting_style="none")
    with pyarrow.csv.CSVWriter(out, texts, write_options=options) as writer:
        for batch in batches:
            domain, ds, ns = batch.columns
            cells = [_cells(domain), _joined(ds), _cells(_joined(ns))]
            writer.write_batch(pa.record_batch(cells, schema=texts))


def _joined(lists: Lists) -> Strings:
    # the kernel knows lists of nullable strings only
    return pc.binary_join(lists.cast(pa.list_(pa.string())), ";")


def _cells(names: Strings) -> Strings:
    """Cells that no spreadsheet takes for a formula."""
    if not pc.any(pc.starts_with(names, "-")).as_py():
        return names
    return pc.replace_substring_regex(names, "^-", r"\\045")


def _grouped(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """The batches in row groups of about 131 072."""
    waiting: list[pa.RecordBatch] = []
    for batch in batches:
        waiting.append(batch)
        if sum(map(len, waiting)) >= _ROW_GROUP:
            yield pa.Table.from_batches(waiting, SCHEMA)
            waiting = []
    yield pa.Table.from_batches(waiting, SCHEMA)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A new file that takes the place of `path` when it is whole, and leaves nothing else.

    Behind a symbolic link it is the file that the link names. A device or pipe is written to,
    for a file in its place would be the end of it. Raises LocalTrouble.
    """
    try:
        if path.exists() and not path.is_file():
            with path.open("wb") as out:
                yield out
            return
        path = Path(os.path.realpath(path))
        handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as out:
                yield out
                out.flush()
                os.fsync(out.fileno())
            os.chmod(name, 0o644)
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise LocalTrouble(f"{path}: {error.strerror}") from None
