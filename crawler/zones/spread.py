"""Grouping the rows of a zone that is in no order, in bounded memory.

Some files list all NS and then all DS, or nothing in order at all. Their rows are spread by
a hash of the owner over temporary files, each of which is small enough to be sorted in
memory and holds every row of its owners.

A name below another name with NS or DNAME is occluded (RFC 1034 section 4.2.1, RFC 6672
section 2.4, RFC 5936 section 3.5): no answer comes from there, so it is no delegation of the
zone. The two names need not be in one part. Each owner that is more than one label below the
apex asks, in the part of every name between it and the apex, whether that name is a cut; what
is kept in memory of all parts are the cuts that were asked for.
"""

import itertools
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Self

import pyarrow as pa

from crawler.zones.delegations import (
    ROWS,
    SCHEMA,
    Binaries,
    first_of_runs,
    group,
    pc,
    sets_of_runs,
    starts_of_runs,
)
from crawler.zones.plain import Zone
from dane.faults import Refused

_PARTS = 128
_BUFFERED_ROWS = 200_000
_MOST_OCCLUDING = 500_000  # of some 150 bytes each; a registry's zone has a few, or none

_MARK: list[Any] = [
    pa.field("owner", pa.binary(), nullable=False),
    pa.field("asked", pa.bool_(), nullable=False),  # else it has a DNAME
]
_MARKS = pa.schema(_MARK)


class _Parts:
    """Temporary files of one schema, with the rows of an owner in the same one."""

    def __init__(self, directory: Path, schema: pa.Schema) -> None:
        directory.mkdir()
        self._directory = directory
        self._schema = schema
        self._writers: list[pa.ipc.RecordBatchStreamWriter | None] = [None] * _PARTS

    def close(self) -> None:
        for writer in self._writers:
            if writer is not None:
                writer.close()

    def _path(self, part: int) -> str:
        return str(self._directory / f"{part}.arrow")

    def write(self, batch: pa.RecordBatch, owners: list[bytes], run: Any) -> None:
        """Rows, the owners of their runs, and the number of each row's run."""
        part_of_run = pa.array([zlib.crc32(one) % _PARTS for one in owners], pa.int16())
        part = part_of_run.take(run)
        order = pc.sort_indices(part)
        sorted_part: Any = part.take(order)
        batch = batch.take(order)
        starts: list[int] = [*starts_of_runs(sorted_part).to_pylist(), len(batch)]
        for start, stop in itertools.pairwise(starts):
            number: int = sorted_part[start].as_py()
            writer = self._writers[number]
            if writer is None:
                writer = pa.ipc.new_stream(self._path(number), self._schema)
                self._writers[number] = writer
            writer.write_batch(batch.slice(start, stop - start))

    def read(self, number: int) -> pa.Table | None:
        """All rows of a part; None if there are none. Nothing is written to it afterwards."""
        writer = self._writers[number]
        if writer is None:
            return None
        writer.close()
        with pa.OSFile(self._path(number), "rb") as file, pa.ipc.open_stream(file) as reader:
            return reader.read_all()


class Spread:
    """Rows (`delegations.ROWS`) in any order in, groups out. A context manager."""

    def __init__(self, zone: Zone, directory: Path | None = None) -> None:
        """`directory` holds the temporary files; default: the system's."""
        self._zone = zone
        self._directory = tempfile.TemporaryDirectory(prefix="zone-", dir=directory)
        self._rows = _Parts(Path(self._directory.name) / "rows", ROWS)
        self._marks = _Parts(Path(self._directory.name) / "marks", _MARKS)
        self._buffer: list[pa.RecordBatch] = []
        self._buffered = 0
        self.delegations = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._rows.close()
        self._marks.close()
        self._directory.cleanup()

    def add(self, rows: pa.RecordBatch) -> None:
        """Take in rows."""
        self._buffer.append(rows)
        self._buffered += len(rows)
        if self._buffered >= _BUFFERED_ROWS:
            self._write()

    def add_dnames(self, owners: Iterable[bytes]) -> None:
        """Take in names with DNAME, as owners."""
        self._mark(set(owners), asked=False)

    def _mark(self, owners: set[bytes], *, asked: bool) -> None:
        if owners:
            marked = list(owners)
            batch = pa.record_batch([marked, [asked] * len(marked)], schema=_MARKS)
            self._marks.write(batch, marked, pa.array(range(len(marked)), pa.int32()))

    def _write(self) -> None:
        rows = pa.Table.from_batches(self._buffer, ROWS).combine_chunks().to_batches()
        self._buffer, self._buffered = [], 0
        for batch in rows:
            owner: Any = batch.column("owner")
            first = first_of_runs(owner)
            owners = owner.filter(first).to_pylist()
            run = pc.cumulative_sum(pc.cast(first, pa.int32()))
            self._rows.write(batch, owners, pc.subtract(run, pa.scalar(1, pa.int32())))
            asked = {above for one in self._deep(owners) for above in self._zone.between(one)}
            self._mark(asked, asked=True)

    def _deep(self, owners: list[bytes]) -> Iterator[bytes]:
        """The owners that are more than one label below the apex."""
        dots = self._zone.dots
        return (one for one in owners if one.count(b".") > dots)

    def signed(self) -> Iterator[pa.RecordBatch]:
        """The signed delegations (`delegations.SCHEMA`), part by part; counts all of them.

        Raises Refused.
        """
        if self._buffer:
            self._write()
        cuts = self._occluding()
        for number in range(_PARTS):
            rows = self._rows.read(number)
            if rows is None:
                continue
            (batch,) = rows.sort_by("owner").combine_chunks().to_batches()
            batch = self._not_occluded(batch, cuts)
            if len(batch) == 0:
                continue
            owner: Any
            owner, is_ds, value = batch.columns
            first = first_of_runs(owner)
            groups = group(first, is_ds)
            self.delegations += groups.delegations
            domains = pc.binary_slice(owner.filter(first), 1, -1).cast(pa.string())
            domain = domains.take(groups.signed)
            if self._zone.unsigned_sample:
                yield self._sampled(batch, set(domain.to_pylist()))
            yield pa.record_batch(
                [
                    domain,
                    sets_of_runs(groups.ds_group, value.take(groups.ds_rows)),
                    sets_of_runs(groups.ns_group, value.take(groups.ns_rows)),
                ],
                schema=SCHEMA,
            )

    def _sampled(self, batch: pa.RecordBatch, signed: set[str]) -> pa.RecordBatch:
        """Of rows in the order of their owners: those in the sample of delegations without DS."""
        ns: dict[str, set[str]] = {}
        for owner, is_ds, value in zip(
            *(column.to_pylist() for column in batch.columns), strict=True
        ):
            domain = owner[1:-1]
            if not is_ds and self._zone.keeps_unsigned(domain):
                ns.setdefault(domain.decode(), set()).add(value)
        picked = sorted(ns.keys() - signed)
        sets = [sorted(ns[domain]) for domain in picked]
        return pa.record_batch([picked, [[]] * len(picked), sets], schema=SCHEMA)

    def _occluding(self) -> set[bytes]:
        """The names with NS or DNAME that have owners of NS or DS below them. Raises Refused."""
        found: set[bytes] = set()
        for number in range(_PARTS):
            marks = self._marks.read(number)
            if marks is None:
                continue
            asked: Binaries = pc.unique(marks.filter(pc.field("asked"))["owner"])
            if len(asked) == 0:
                continue
            above = [marks.filter(~pc.field("asked"))["owner"].combine_chunks()]
            if (rows := self._rows.read(number)) is not None:
                above.append(rows.filter(~pc.field("is_ds"))["owner"].combine_chunks())
            found.update(asked.filter(pc.is_in(asked, pa.concat_arrays(above))).to_pylist())
            if len(found) > _MOST_OCCLUDING:
                raise Refused(f"over {_MOST_OCCLUDING} delegations have delegations below them")
        return found

    def _not_occluded(self, batch: pa.RecordBatch, cuts: set[bytes]) -> pa.RecordBatch:
        """The rows, in the order of their owners, without those below a cut."""
        if not cuts:
            return batch
        owner: Any = batch.column("owner")
        owners = owner.filter(first_of_runs(owner)).to_pylist()
        between = self._zone.between
        occluded = [one for one in self._deep(owners) if not cuts.isdisjoint(between(one))]
        if not occluded:
            return batch
        return batch.filter(pc.invert(pc.is_in(owner, pa.array(occluded, pa.binary()))))
