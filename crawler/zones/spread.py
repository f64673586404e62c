"""Grouping the rows of a zone that is in no order, in bounded memory.

Some files list all NS and then all DS, or nothing in order at all. Their rows are spread by
a hash of the owner over temporary files, each of which is small enough to be sorted in
memory and holds every row of its owners.
"""

import itertools
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pyarrow as pa

from crawler.zones.delegations import (
    ROWS,
    SCHEMA,
    first_of_runs,
    group,
    pc,
    sets_of_runs,
    starts_of_runs,
)

_PARTS = 128
_BUFFERED_ROWS = 200_000


class Spread:
    """Rows (`delegations.ROWS`) in any order in, groups out. A context manager."""

    def __init__(self, directory: Path | None = None) -> None:
        """`directory` holds the temporary files; default: the system's."""
        self._directory = tempfile.TemporaryDirectory(prefix="zone-", dir=directory)
        self._writers: list[pa.ipc.RecordBatchStreamWriter | None] = [None] * _PARTS
        self._buffer: list[pa.RecordBatch] = []
        self._buffered = 0
        self.delegations = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for writer in self._writers:
            if writer is not None:
                writer.close()
        self._directory.cleanup()

    def _path(self, part: int) -> str:
        return str(Path(self._directory.name) / f"{part}.arrow")

    def add(self, rows: pa.RecordBatch) -> None:
        """Take in rows."""
        self._buffer.append(rows)
        self._buffered += len(rows)
        if self._buffered >= _BUFFERED_ROWS:
            self._write()

    def _write(self) -> None:
        rows = pa.Table.from_batches(self._buffer, ROWS).combine_chunks().to_batches()
        self._buffer, self._buffered = [], 0
        for batch in rows:
            owner: Any = batch.column("owner")
            first = first_of_runs(owner)
            owners = owner.filter(first).to_pylist()
            part_of_run = pa.array([zlib.crc32(one) % _PARTS for one in owners], pa.int16())
            run = pc.cumulative_sum(pc.cast(first, pa.int32()))
            part = part_of_run.take(pc.subtract(run, pa.scalar(1, pa.int32())))
            order = pc.sort_indices(part)
            sorted_part: Any = part.take(order)
            batch = batch.take(order)
            starts: list[int] = [*starts_of_runs(sorted_part).to_pylist(), len(batch)]
            for start, stop in itertools.pairwise(starts):
                number: int = sorted_part[start].as_py()
                writer = self._writers[number]
                if writer is None:
                    writer = pa.ipc.new_stream(self._path(number), ROWS)
                    self._writers[number] = writer
                writer.write_batch(batch.slice(start, stop - start))

    def signed(self) -> Iterator[pa.RecordBatch]:
        """The signed delegations (`delegations.SCHEMA`), part by part; counts all of them."""
        if self._buffer:
            self._write()
        for number, writer in enumerate(self._writers):
            if writer is None:
                continue
            writer.close()
            with pa.OSFile(self._path(number), "rb") as file, pa.ipc.open_stream(file) as reader:
                rows = reader.read_all()
            if len(rows) == 0:
                continue
            (batch,) = rows.sort_by("owner").combine_chunks().to_batches()
            owner: Any
            owner, is_ds, value = batch.columns
            first = first_of_runs(owner)
            groups = group(first, is_ds)
            self.delegations += groups.delegations
            domain = pc.binary_slice(owner.filter(first).take(groups.signed), 1, -1).cast(
                pa.string()
            )
            yield pa.record_batch(
                [
                    domain,
                    sets_of_runs(groups.ds_group, value.take(groups.ds_rows)),
                    sets_of_runs(groups.ns_group, value.take(groups.ns_rows)),
                ],
                schema=SCHEMA,
            )
