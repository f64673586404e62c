"""The fast reader of registry zone files: one plain record a line, as columns.

A block of whole lines is read as a byte array: the positions of its separators are found
by comparison (SIMD in Arrow), three fields a line (owner; TTL, class and type; RDATA) are
laid over the same bytes by their offsets, and everything after that works on columns. No
line is ever split or made a Python object; only signed delegations are copied out.

The reader gives up on a block (`read` returns None) as soon as it is not plain: comments,
quotes, parentheses, escapes, relative or blank owners, owners outside the zone, names with
unusual bytes, records that differ in layout. The general reader (`crawler.zones.master`)
then reads that block; both give the same.
"""

import struct
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from crawler.zones.delegations import (
    ROWS,
    SCHEMA,
    Binaries,
    Booleans,
    Integers,
    Strings,
    group,
    index,
    pc,
    sets_of_runs,
    starts_of_runs,
    where,
)
from crawler.zones.master import MAX_LINE, Kind, MasterFile, ds_text, kind_of
from dane import names
from dane.faults import Refused

# Each makes a line more than fields between blanks (RFC 1035 section 5.1); CR is CRLF
_SPECIAL = (b";", b'"', b"(", b")", b"\\", b"\r")
_NAME_BYTES = b"abcdefghijklmnopqrstuvwxyz0123456789-_."
# A DS as `delegations.SCHEMA` has it: numbers without leading zeros, an undivided digest
_BYTE = "(?:0|[1-9][0-9]?|1[0-9]{2}|2[0-4][0-9]|25[0-5])"
_TAG = "(?:0|[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
_DS = f"^{_TAG} {_BYTE} {_BYTE} (?:[0-9a-f][0-9a-f])+$"

# What the kinds of records are in an int8 column; None: not plain
_OTHER, _NS, _DS_KIND, _SOA, _NOT_PLAIN = 0, 1, 2, 3, -1
_CODES = {
    Kind.OTHER: _OTHER,
    Kind.NS: _NS,
    Kind.DS: _DS_KIND,
    Kind.SOA: _SOA,
    None: _NOT_PLAIN,
}
_CODE = pa.int8()

_LOWER = bytes(range(256)).lower()
_BLANKS_TO_SPACE = _LOWER.replace(b"\t", b" ")


@dataclass(frozen=True, slots=True)
class Zone:
    """The zone as the reader compares it: its apex, and how owners are put in order.

    Two orders occur in registry files: of the bytes as written (`sort`), and of the labels
    (RFC 4034 section 6.1; for names of one depth it is the order of the bytes with the dot
    before all others). Owners are compared with their dots replaced by `dot`.
    """

    apex: str  # a key
    dot: bytes = b"."

    @property
    def table(self) -> bytes:
        """Translates an owner as written to the form that is compared."""
        return _LOWER.replace(b".", self.dot)

    @property
    def owner(self) -> bytes:
        """The apex as the reader sees it as an owner: after a newline, with its final dot."""
        return b"\n" + self._dotted

    @property
    def suffix(self) -> bytes:
        """How every owner below the apex ends."""
        return self._dotted if self.apex == "." else self.dot + self._dotted

    @property
    def _dotted(self) -> bytes:
        name = b"." if self.apex == "." else self.apex.encode() + b"."
        return name.replace(b".", self.dot)

    def form(self, key: str) -> bytes:
        """A key in the form that is compared."""
        return b"\n" + (key.encode() + b".").replace(b".", self.dot)


@dataclass(frozen=True, slots=True)
class Soa:
    """An SOA record of the apex in a block."""

    record: int  # its place among the block's records
    value: str


@dataclass(frozen=True, slots=True)
class Edge:
    """The first or the last group of a block: its owner's rows may go on in the next block."""

    owner: bytes  # in the form that is compared
    domain: str
    ds: list[str]
    ns: list[str]


@dataclass(frozen=True, slots=True)
class Block:
    """What a block of lines holds."""

    records: int
    last_owner: str  # for a blank owner in the next block
    soas: tuple[Soa, ...]
    edges: tuple[Edge, ...]  # none, the only, or the first and the last group
    in_order: bool  # owners of NS and DS strictly ascending from group to group
    delegations: int  # of the groups between the edges
    signed: pa.RecordBatch  # of the groups between the edges; `delegations.SCHEMA`
    rows: pa.RecordBatch | None  # `delegations.ROWS`, if asked for


def _bytes_of(values: Binaries) -> bytes:
    """All values of an array that was made by `take` or `filter`, one after the other."""
    data = values.buffers()[2]
    if data is None or len(values) == 0:
        return b""
    (first,) = struct.unpack_from("<i", values.buffers()[1], 4 * values.offset)
    (last,) = struct.unpack_from("<i", values.buffers()[1], 4 * (values.offset + len(values)))
    return memoryview(data)[first:last].tobytes()


def _translated(values: Binaries, table: bytes) -> Binaries:
    """Each value translated byte by byte. The array must come from `take` (no offset)."""
    return pa.Array.from_buffers(
        pa.binary(),
        len(values),
        [None, values.buffers()[1], pa.py_buffer(_bytes_of(values).translate(table))],
    )


def _layout(line: bytes) -> tuple[int, bool] | None:
    """How many fields stand before the RDATA, and whether only tabs part them."""
    by_tab = line.split(b"\t")
    by_blank = line.split()
    for fields, only_tabs in ((by_tab, True), (by_blank, False)):
        for count in (3, 2, 1):
            middle = fields[1 : 1 + count]
            if (
                len(fields) > 1 + count
                and all(field and b" " not in field for field in fields[: 1 + count])
                and kind_of(b" ".join(middle)) is not None
            ):
                return 1 + count, only_tabs
    return None


class _NotPlain(Exception):
    """The block needs the general reader."""


class _Thirds:
    """0, 0, 0, 1, 1, 1, … and 0, 1, 2, 0, 1, 2, …: which line, which of its three fields."""

    def __init__(self) -> None:
        self._line = self._field = index(0)

    def of(self, lines: int) -> tuple[Integers, Integers]:
        count = 3 * lines
        if count > len(self._line):
            three = pa.scalar(3, pa.int32())
            line = pc.divide(index(2 * count), three)
            self._field = pc.subtract(index(2 * count), pc.multiply(line, three))
            self._line = line
        return self._line.slice(0, count), self._field.slice(0, count)


_THIRDS = _Thirds()


def _without(data: Integers, run: Booleans) -> Integers:
    """The bytes without those that `run` marks: separators before another one."""
    dropped = pc.equal(data.slice(0, len(run)).filter(run), pa.scalar(10, pa.uint8()))
    if dropped.true_count:
        raise _NotPlain("a blank line or a blank owner")
    return data.filter(pa.concat_arrays([pc.invert(run), pa.array([True])]))


class _Fields:
    """Three fields a line laid over a block: owner, middle, RDATA, each after its separator."""

    def __init__(self, block: bytes, before: int, only_tabs: bool) -> None:
        """`before` fields stand before the RDATA. Raises _NotPlain."""
        data: Any = pa.Array.from_buffers(pa.uint8(), len(block), [None, pa.py_buffer(block)])
        highest = pa.scalar(10 if only_tabs else 32, pa.uint8())
        separator = pc.less_equal(data, highest)
        run = pc.and_(separator.slice(0, len(data) - 1), separator.slice(1))
        if run.true_count:
            data = _without(data, run)
            separator = pc.less_equal(data, highest)
        at = where(separator)
        byte = data.take(at)
        newline = pc.equal(byte, pa.scalar(10, pa.uint8()))
        known = newline.true_count + pc.equal(byte, pa.scalar(9, pa.uint8())).true_count
        if not only_tabs:
            known += pc.equal(byte, pa.scalar(32, pa.uint8())).true_count
        if known != len(at):
            raise _NotPlain("control characters")
        first = where(newline)  # of the separators, the one before each owner
        self.lines = len(first) - 1
        fields = pc.subtract(first.slice(1), first.slice(0, self.lines))
        if pc.min(fields).as_py() <= before:
            raise _NotPlain("a blank or a short line")
        self._data = data
        self._start = at.take(first)
        lengths = pc.subtract(self._start.slice(1), self._start.slice(0, self.lines))
        if pc.max(lengths).as_py() > MAX_LINE:
            raise _NotPlain("a line over 64 KiB")
        line, field = _THIRDS.of(self.lines)
        offset = pa.array([0, 1, before], pa.int32()).take(field)
        offsets = pa.concat_arrays(
            [at.take(pc.add(first.take(line), offset)), self._start.slice(self.lines)]
        )
        self._field = pa.Array.from_buffers(
            pa.binary(),
            3 * self.lines,
            [None, offsets.buffers()[1], data.buffers()[1]],
        )

    def take(self, lines: Integers, field: int) -> Binaries:
        """Field 0 (owner), 1 (middle) or 2 (RDATA) of some lines, copied."""
        three, add = pa.scalar(3, pa.int32()), pa.scalar(field, pa.int32())
        return self._field.take(pc.add(pc.multiply(lines, three), add))

    def line(self, line: int) -> bytes:
        """One line without its newline."""
        first, after = self._start[line].as_py() + 1, self._start[line + 1].as_py()
        return bytes(self._data.slice(first, after - first).to_pylist())


def _names(values: Binaries) -> Strings:
    """Keys of names in lower case, each after a separator and with its final dot."""
    data = _bytes_of(values)
    if len(data.translate(None, _NAME_BYTES)) != len(values) or b".." in data:
        raise _NotPlain("a name with unusual bytes")
    if len(values) and not pc.all(pc.ends_with(values, b".")).as_py():
        raise _NotPlain("a relative name")
    keys = pc.binary_slice(values, 1, -1).cast(pa.string())
    length = pc.binary_length(keys)
    if len(values) and pc.min(length).as_py() == 0:
        raise _NotPlain("the root as a name")
    if len(values) and pc.max(length).as_py() > 63:
        for key in keys.filter(pc.greater(length, pa.scalar(63, pa.int32()))).to_pylist():
            try:
                names.to_labels(key)
            except names.NameFault as error:
                raise _NotPlain(str(error)) from None
    if any(mark in data for mark in (b"\t.", b"\n.", b" .")):
        raise _NotPlain("an empty label")
    return keys


def _ds_texts(values: Binaries) -> Strings:
    """DS texts of RDATA, each after its separator."""
    values = pc.binary_slice(_translated(values, _BLANKS_TO_SPACE), 1, MAX_LINE)
    good = pc.match_substring_regex(values, _DS)
    if good.false_count:
        try:
            mended = [
                ds_text(value.split()) for value in values.filter(pc.invert(good)).to_pylist()
            ]
        except ValueError as error:
            raise _NotPlain(str(error)) from None
        values = pc.replace_with_mask(values, pc.invert(good), pa.array(mended, pa.binary()))
    return values.cast(pa.string())


class _Reader:
    """Reads one block; see `read`."""

    def __init__(self, block: bytes, zone: Zone) -> None:
        if any(mark in block for mark in _SPECIAL) or not block.isascii():
            raise _NotPlain("a special character")
        self._zone = zone
        layout = _layout(block[1 : block.index(b"\n", 1)])
        if layout is None:
            raise _NotPlain("another layout")
        before, only_tabs = layout
        self._fields = _Fields(block, before, only_tabs)
        every = index(self._fields.lines)
        owner = self._fields.take(every, 0)
        if only_tabs and b" " in _bytes_of(owner):
            raise _NotPlain("a space where a tab is expected")
        self._owner = _translated(owner, zone.table)
        self._kind = self._kinds(self._fields.take(every, 1))
        apex = self._apex()
        self.soas = self._soas(apex)
        delegating = pc.and_not(
            pc.or_(
                pc.equal(self._kind, pa.scalar(_NS, _CODE)),
                pc.equal(self._kind, pa.scalar(_DS_KIND, _CODE)),
            ),
            apex,
        )
        self._line = where(delegating)  # of each row
        self.owner = self._owner.take(self._line)
        self.is_ds = pc.equal(self._kind.take(self._line), pa.scalar(_DS_KIND, _CODE))

    @property
    def records(self) -> int:
        return self._fields.lines

    @property
    def last_owner(self) -> str:
        owner = self._owner[self.records - 1].as_py()[1:].replace(self._zone.dot, b".")
        try:
            return names.canonical(owner.decode())
        except names.NameFault as error:
            raise _NotPlain(str(error)) from None

    def _kinds(self, middle: Binaries) -> Integers:
        encoded = middle.dictionary_encode()
        codes = [_CODES[kind_of(text)] for text in encoded.dictionary.to_pylist()]
        if _NOT_PLAIN in codes:
            raise _NotPlain("not TTL, class and type")
        return pa.array(codes, _CODE).take(encoded.indices)

    def _apex(self) -> Booleans:
        """Which lines are of the apex; all others must be below it."""
        below = pc.ends_with(self._owner, self._zone.suffix)
        apex = pc.equal(self._owner, pa.scalar(self._zone.owner, pa.binary()))
        if pc.or_(below, apex).false_count:
            raise _NotPlain("a relative name, or one outside the zone")
        return apex

    def _soas(self, apex: Booleans) -> tuple[Soa, ...]:
        lines = where(pc.equal(self._kind, pa.scalar(_SOA, _CODE)))
        if len(lines) == 0:
            return ()
        if apex.take(lines).false_count:
            raise _NotPlain("an SOA that is not of the apex")
        try:
            return tuple(
                Soa(line, record.value)
                for line in lines.to_pylist()
                for record in MasterFile(self._zone.apex).read([self._fields.line(line)])
            )
        except Refused as refused:
            raise _NotPlain(str(refused)) from None

    def domains(self, rows: Integers) -> Strings:
        owners = self.owner.take(rows)
        if self._zone.dot != b".":
            owners = _translated(owners, bytes.maketrans(self._zone.dot, b"."))
        return _names(owners)

    def ds(self, rows: Integers) -> Strings:
        return _ds_texts(self._fields.take(self._line.take(rows), 2))

    def ns(self, rows: Integers) -> Strings:
        return _names(_translated(self._fields.take(self._line.take(rows), 2), _LOWER))

    def edge(self, first: int, after: int) -> Edge:
        """The group of the rows from `first` to before `after`."""
        is_ds = self.is_ds.slice(first, after - first)
        at = pa.scalar(first, pa.int32())
        return Edge(
            self.owner[first].as_py(),
            self.domains(pa.array([first], pa.int32()))[0].as_py(),
            self.ds(pc.add(where(is_ds), at)).to_pylist(),
            self.ns(pc.add(where(pc.invert(is_ds)), at)).to_pylist(),
        )

    def signed(self, first: int, after: int) -> tuple[int, pa.RecordBatch]:
        """How many delegations the rows are, and the signed ones."""
        rows = after - first
        groups = group(self.owner.slice(first, rows), self.is_ds.slice(first, rows))
        if len(groups.signed) == 0:
            return groups.delegations, _NO_SIGNED
        at = pa.scalar(first, pa.int32())
        return groups.delegations, pa.record_batch(
            [
                self.domains(pc.add(groups.starts.take(groups.signed), at)),
                sets_of_runs(groups.ds_group, self.ds(pc.add(groups.ds_rows, at))),
                sets_of_runs(groups.ns_group, self.ns(pc.add(groups.ns_rows, at))),
            ],
            schema=SCHEMA,
        )

    def rows(self) -> pa.RecordBatch:
        ds_rows, ns_rows = where(self.is_ds), where(pc.invert(self.is_ds))
        values = pa.concat_arrays([self.ds(ds_rows), self.ns(ns_rows)])
        at = pa.concat_arrays([ds_rows, ns_rows])
        return pa.record_batch(
            [self.owner, self.is_ds, values.take(pc.sort_indices(at))], schema=ROWS
        )


_NO_SIGNED = pa.record_batch([[], [], []], schema=SCHEMA)


def read(lines: bytes, zone: Zone, *, with_rows: bool = False) -> Block | None:
    """Read a block of whole lines, the last one with its newline; None if it is not plain."""
    try:
        reader = _Reader(b"\n" + lines, zone)
        edges: tuple[Edge, ...] = ()
        in_order, count, signed = True, 0, _NO_SIGNED
        rows = len(reader.owner)
        if with_rows:
            in_order = False
        elif rows:
            starts = starts_of_runs(reader.owner)
            first, last = starts[min(1, len(starts) - 1)].as_py(), starts[-1].as_py()
            edges = (reader.edge(last, rows),)
            if len(starts) > 1:
                edges = (reader.edge(0, first), *edges)
                count, signed = reader.signed(first, last)
                in_order = not pc.greater(
                    reader.owner.slice(0, rows - 1), reader.owner.slice(1)
                ).true_count
        return Block(
            records=reader.records,
            last_owner=reader.last_owner,
            soas=reader.soas,
            edges=edges,
            in_order=in_order,
            delegations=count,
            signed=signed,
            rows=reader.rows() if with_rows else None,
        )
    except _NotPlain:
        return None
