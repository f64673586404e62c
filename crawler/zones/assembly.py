"""From blocks and records, in the order of the file, to the zone's signed delegations.

What comes out is staged in a temporary file: nothing of a zone may be used before its last
byte has been read and the whole has been accepted.
"""

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol, Self

import pyarrow as pa

from crawler.zones.delegations import ROWS, SCHEMA, pc
from crawler.zones.master import Kind, Record
from crawler.zones.plain import ORDERS, Block, Edge, Order, Zone
from crawler.zones.spread import Spread
from dane.faults import Refused

_STAGED_ROWS = 8192
# Of one owner: a message has 65 535 bytes (RFC 1035 section 4.2.2), a record at least 12
_MAX_RECORDS = 65_535 // 12


class ReadAgain(Exception):
    """One reading in order is not enough: read again, without relying on an order.

    The owners stand in none; or one is more than one label below the apex, and a cut above it
    may stand anywhere.
    """


class Stage:
    """Delegations (`delegations.SCHEMA`) in a temporary file. A context manager."""

    def __init__(self, directory: Path | None = None) -> None:
        """`directory` holds the temporary file; default: the system's."""
        self._file = tempfile.TemporaryFile(prefix="zone-", dir=directory)  # noqa: SIM115
        self._writer = pa.ipc.new_stream(self._file, SCHEMA)
        self._rows: list[tuple[str, list[str], list[str]]] = []
        self.signed = 0  # the others are of the sample of those without DS

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Forget all that was staged."""
        self._writer.close()
        self._file.close()

    def add(self, batch: pa.RecordBatch) -> None:
        """Stage a batch."""
        if len(batch):
            self._writer.write_batch(batch)
            self.signed += pc.greater(pc.list_value_length(batch.column("ds")), 0).true_count

    def add_row(self, domain: str, ds: set[str], ns: set[str]) -> None:
        """Stage one delegation."""
        self._rows.append((domain, sorted(ds), sorted(ns)))
        if len(self._rows) >= _STAGED_ROWS:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            domain, ds, ns = zip(*self._rows, strict=True)
            self._rows = []
            self.add(pa.record_batch([domain, ds, ns], schema=SCHEMA))

    def finish(self) -> None:
        """Nothing more comes."""
        self._flush()
        self._writer.close()
        self._file.flush()

    def batches(self) -> Iterator[pa.RecordBatch]:
        """All that was staged, after `finish`; may be asked for again."""
        self._file.seek(0)
        yield from pa.ipc.open_stream(self._file)


class Assembly(Protocol):
    """How NS and DS rows become delegations."""

    orders: frozenset[Order]  # in which a block's owners are to be compared

    @property
    def needs_rows(self) -> bool: ...

    def add_block(self, block: Block) -> None: ...

    def add_record(self, record: Record) -> None: ...

    def finish(self) -> int:
        """How many delegations there are in all."""
        ...


class Ordered:
    """Takes each owner's rows as complete when the next owner begins; that needs an order.

    Raises ReadAgain as soon as the owners so far ascend in neither order (only an order of the
    whole file proves that no owner comes twice), or one is deeper than one label below the apex.
    """

    needs_rows = False

    def __init__(self, stage: Stage, zone: Zone) -> None:
        self.orders = ORDERS
        self._stage = stage
        self._zone = zone
        self._delegations = 0
        self._owner = b""
        self._domain = ""
        self._ds: set[str] = set()
        self._ns: set[str] = set()

    def _keep(self, orders: Iterable[Order]) -> None:
        self.orders = frozenset(orders)
        if not self.orders:
            raise ReadAgain

    def _begin(self, owner: bytes, domain: str) -> None:
        """The rows that follow are this owner's."""
        if owner == self._owner:
            return
        self._keep(one for one in self.orders if one.form(owner) > one.form(self._owner))
        self._end()
        self._owner, self._domain = owner, domain

    def _end(self) -> None:
        if self._ns:
            self._delegations += 1
            if self._ds or self._zone.keeps_unsigned(self._domain.encode()):
                self._stage.add_row(self._domain, self._ds, self._ns)
        self._ds, self._ns = set(), set()

    def _edge(self, edge: Edge) -> None:
        self._begin(edge.owner, edge.domain)
        self._ds.update(edge.ds)
        self._ns.update(edge.ns)
        self._check_size()

    def add_block(self, block: Block) -> None:
        """Take in a block of the fast reader."""
        if block.deep:
            raise ReadAgain
        if block.edges:
            self._keep(self.orders & block.orders)
            self._edge(block.edges[0])
            self._delegations += block.delegations
            self._stage.add(block.signed)
            self._edge(block.edges[-1])

    def add_record(self, record: Record) -> None:
        """Take in a record of the general reader that is below the apex."""
        if record.kind is Kind.DNAME:
            return
        owner = Zone.form(record.owner)
        if owner.count(b".") > self._zone.dots:
            raise ReadAgain
        self._begin(owner, record.owner)
        (self._ds if record.kind is Kind.DS else self._ns).add(record.value)
        self._check_size()

    def _check_size(self) -> None:
        if len(self._ds) + len(self._ns) > _MAX_RECORDS:
            raise Refused(f"{self._domain}: more NS and DS records than any answer holds")

    def finish(self) -> int:
        """How many delegations there are in all."""
        self._end()
        return self._delegations


class Unordered:
    """Takes rows in any order."""

    needs_rows = True
    orders: frozenset[Order] = frozenset()

    def __init__(self, stage: Stage, spread: Spread) -> None:
        self._stage = stage
        self._spread = spread
        self._records: list[Record] = []

    def add_block(self, block: Block) -> None:
        """Take in a block of the fast reader."""
        assert block.rows is not None
        if len(block.rows):
            self._spread.add(block.rows)
        self._spread.add_dnames(block.dnames)

    def add_record(self, record: Record) -> None:
        """Take in a record of the general reader that is below the apex."""
        if record.kind is Kind.DNAME:
            self._spread.add_dnames([Zone.form(record.owner)])
            return
        self._records.append(record)
        if len(self._records) >= _STAGED_ROWS:
            self._flush()

    def _flush(self) -> None:
        if self._records:
            columns = [
                [Zone.form(record.owner) for record in self._records],
                [record.kind is Kind.DS for record in self._records],
                [record.value for record in self._records],
            ]
            self._records = []
            self._spread.add(pa.record_batch(columns, schema=ROWS))

    def finish(self) -> int:
        """How many delegations there are in all."""
        self._flush()
        for batch in self._spread.signed():
            self._stage.add(batch)
        return self._spread.delegations


class Serials:
    """The SOA records of a zone: the first, and whether the last record repeats it."""

    def __init__(self) -> None:
        self.first: str | None = None
        self.repeats = 0
        self.last_at = 0  # how many records there were up to the last one that is known

    def add(self, value: str) -> None:
        """An SOA record of the apex. Raises Refused."""
        if self.first is None:
            self.first = value
        elif value == self.first:
            self.repeats += 1
        else:
            raise Refused("two different SOA records: two zones, or two versions of one")

    def closes(self, records: int) -> bool:
        """Whether the last of so many records repeats the first SOA (as in AXFR)."""
        return self.repeats > 0 and self.last_at == records

    @property
    def serial(self) -> int:
        assert self.first is not None
        return int(self.first.split()[2])
