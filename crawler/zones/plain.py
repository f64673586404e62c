"""The fast reader of registry zone files: one plain record a line, as columns.

A block of whole lines is read as a byte array: the positions of its separators are found
by comparison (SIMD in Arrow), three fields a line (owner; TTL, class and type; RDATA) are
laid over the same bytes by their offsets, and everything after that works on columns. No
line is ever split or made a Python object; only signed delegations are copied out.

Where the optional extension `_sieve` is there, it drops first what no signed delegation has:
nearly all lines. Without it the result is the same, and comes some times later.

The reader gives up on a block (`read` returns None) as soon as it is not plain: comments,
quotes, parentheses, escapes, relative or blank owners, owners outside the zone, names with
unusual bytes, records that differ in layout. The general reader (`crawler.zones.master`)
then reads that block; both give the same.
"""

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Any, TypeAlias

import pyarrow as pa

from crawler.zones.delegations import (
    ROWS,
    SCHEMA,
    Binaries,
    Booleans,
    Integers,
    Strings,
    first_of_runs,
    group,
    index,
    pc,
    sets_of_runs,
    where,
)
from crawler.zones.master import MAX_LINE, Kind, MasterFile, Record, ds_text, kind_of
from dane import names
from dane.faults import Refused

Sieve: TypeAlias = Callable[[bytes, bytes], tuple[bytes, int, int, int] | None]
try:
    from crawler.zones._sieve import sieve as _compiled
except ImportError:
    sieve: Sieve | None = None
else:
    sieve = _compiled

# Each makes a line more than fields between blanks (RFC 1035 section 5.1); CR is CRLF
_SPECIAL = (b";", b'"', b"(", b")", b"\\", b"\r")
_NAME_BYTES = b"abcdefghijklmnopqrstuvwxyz0123456789-_."
# A DS as `delegations.SCHEMA` has it: numbers without leading zeros, an undivided digest
_BYTE = "(?:0|[1-9][0-9]?|1[0-9]{2}|2[0-4][0-9]|25[0-5])"
_TAG = "(?:0|[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
_DS_TEXT = f"^{_TAG} {_BYTE} {_BYTE} (?:[0-9a-f][0-9a-f])+$"

# What the kinds of records are in an int8 column; None: not plain
_NOT_PLAIN, _OTHER, _SOA, _NS, _DS = range(5)
_CODES = {
    None: _NOT_PLAIN,
    Kind.OTHER: _OTHER,
    Kind.SOA: _SOA,
    Kind.NS: _NS,
    Kind.DS: _DS,
}
_CODE = pa.int8()

_TAB, _NEWLINE, _SPACE = (pa.scalar(byte, pa.uint8()) for byte in b"\t\n ")
_LOWER = bytes(range(256)).lower()
_BLANKS_TO_SPACE = _LOWER.replace(b"\t", b" ")


class _NotPlain(Exception):
    """The block needs the general reader."""


class Order(Enum):
    """The two orders in which registry files come; the value stands for the dot.

    Of the bytes as written (`sort`), and of the labels (RFC 4034 section 6.1): for names of
    one depth that is the order of the bytes with the dot before every other byte.
    """

    BYTES = b"."
    LABELS = b"\x01"

    def form(self, owner: bytes) -> bytes:
        """What is compared of an owner."""
        return owner.replace(b".", self.value)


ORDERS = frozenset(Order)
_ORDER_BITS = {Order.BYTES: 1, Order.LABELS: 2}  # as `_sieve` gives them
_DOT_BEFORE_ALL = bytes(range(256)).replace(b".", Order.LABELS.value)


@dataclass(frozen=True, slots=True)
class Zone:
    """The zone as the reader compares it: an owner follows a newline and ends with its dot."""

    apex: str  # a key

    @property
    def owner(self) -> bytes:
        """The apex as an owner."""
        return b"\n." if self.apex == "." else self.form(self.apex)

    @property
    def suffix(self) -> bytes:
        """How every owner below the apex ends."""
        return b"." if self.apex == "." else f".{self.apex}.".encode()

    @staticmethod
    def form(key: str) -> bytes:
        """A key as an owner."""
        return f"\n{key}.".encode()

    def check(self, owners: Binaries) -> Booleans:
        """Which owners are the apex; all others must be below it. Raises _NotPlain."""
        below = pc.ends_with(owners, self.suffix)
        apex = pc.equal(owners, pa.scalar(self.owner, pa.binary()))
        if pc.or_(below, apex).false_count:
            raise _NotPlain("a relative name, or one outside the zone")
        return apex

    def general(self, lines: Iterable[bytes]) -> list[Record]:
        """What the general reader makes of some lines. Raises _NotPlain."""
        try:
            return list(MasterFile(self.apex).read(lines))
        except Refused as refused:
            raise _NotPlain(str(refused)) from None


@dataclass(frozen=True, slots=True)
class Edge:
    """The first or the last group of a block: its owner's rows may go on in the next block."""

    owner: bytes  # as `Zone.form` has it
    domain: str
    ds: list[str]
    ns: list[str]


@dataclass(frozen=True, slots=True)
class Block:
    """What a block of lines holds."""

    records: int
    last_owner: str  # for a blank owner in the next block
    soas: tuple[str, ...]  # RDATA
    ends_with_soa: bool
    edges: tuple[Edge, ...]  # none, the only, or the first and the last group
    orders: frozenset[Order]  # of those asked for, in which the owners of the groups ascend
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


def _layout(line: bytes) -> tuple[int, bool]:
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
    raise _NotPlain("another layout")


@lru_cache(maxsize=4)
def _thirds(room: int, before: int) -> tuple[Integers, Integers]:
    """Of three fields a line of `before` + 1: which line it is, and which of the line's fields."""
    three = pa.scalar(3, pa.int32())
    line = pc.divide(index(room), three)
    third = pc.subtract(index(room), pc.multiply(line, three))
    return line, pa.array([0, 1, before], pa.int32()).take(third)


@lru_cache(maxsize=4)
def _strides(room: int, before: int) -> tuple[Integers, Integers]:
    """Where lines of `before` + 1 fields begin; and by turns their fields 1 and `before`."""
    width = pa.scalar(before + 1, pa.int32())
    two = pa.scalar(2, pa.int32())
    line = pc.divide(index(2 * room), two)
    second = pc.subtract(index(2 * room), pc.multiply(line, two))
    field = pa.array([1, before], pa.int32()).take(second)
    return pc.multiply(index(room), width), pc.add(pc.multiply(line, width), field)


def _room(count: int) -> int:
    """A round number of at least so many: the key of few cached tables."""
    return 1 << count.bit_length()


def _without(data: Integers, run: Booleans) -> Integers:
    """The bytes without those that `run` marks: separators before another one."""
    dropped = pc.equal(data.slice(0, len(run)).filter(run), pa.scalar(10, pa.uint8()))
    if dropped.true_count:
        raise _NotPlain("a blank line or a blank owner")
    return data.filter(pa.concat_arrays([pc.invert(run), pa.array([True])]))


class _Fields:
    """Owner, middle and RDATA of each line laid over a block, each after its separator."""

    def __init__(self, block: bytes, before: int, only_tabs: bool) -> None:
        """`before` fields stand before the RDATA. Raises _NotPlain."""
        highest = pa.scalar(10 if only_tabs else 32, pa.uint8())
        data: Any = pa.Array.from_buffers(pa.uint8(), len(block), [None, pa.py_buffer(block)])
        separator = pc.less_equal(data, highest)
        at = where(separator)
        self.lines, over = divmod(len(at) - 1, before + 1)
        starts, middles = _strides(_room(self.lines + 1), before)
        self._start = at.take(starts.slice(0, self.lines + 1))
        even = only_tabs and not over
        if even and not pc.not_equal(data.take(self._start), _NEWLINE).true_count:
            # every separator begins a field: `at` has the offsets of all fields
            self._data = data.buffers()[1]
            self._width, self._rdata = before + 1, before
            self._field = self._binary(at)
            middle = self._binary(at.take(middles.slice(0, 2 * self.lines)))
            self.middle = middle.take(pc.multiply(index(self.lines), pa.scalar(2, pa.int32())))
        else:
            run = pc.and_(separator.slice(0, len(data) - 1), separator.slice(1))
            if run.true_count:
                data = _without(data, run)
                at = where(pc.less_equal(data, highest))
            fields = self._uneven(data, at, before, only_tabs)
            self._data = data.buffers()[1]
            self._width, self._rdata = 3, 2
            self._field = self._binary(
                pa.concat_arrays([at.take(fields), self._start.slice(self.lines)])
            )
            self.middle = self._take(index(self.lines), 1)
        lengths = pc.subtract(self._start.slice(1), self._start.slice(0, self.lines))
        if pc.max(lengths).as_py() > MAX_LINE:
            raise _NotPlain("a line over 64 KiB")

    def _binary(self, offsets: Integers) -> Binaries:
        """The block from each offset to the next."""
        return pa.Array.from_buffers(
            pa.binary(), len(offsets) - 1, [None, offsets.buffers()[1], self._data]
        )

    def _uneven(self, data: Integers, at: Integers, before: int, only_tabs: bool) -> Integers:
        """Which of the separators `at` begin the three fields, where lines differ in number."""
        byte = data.take(at)
        newline = pc.equal(byte, _NEWLINE)
        known = newline.true_count + pc.equal(byte, _TAB).true_count
        if not only_tabs:
            known += pc.equal(byte, _SPACE).true_count
        if known != len(at):
            raise _NotPlain("control characters")
        first = where(newline)
        self.lines = len(first) - 1
        self._start = at.take(first)
        count = pc.subtract(first.slice(1), first.slice(0, self.lines))
        if pc.min(count).as_py() <= before:
            raise _NotPlain("a blank or a short line")
        line, field = _thirds(_room(3 * self.lines), before)
        of_line = first.take(line.slice(0, 3 * self.lines))
        return pc.add(of_line, field.slice(0, 3 * self.lines))

    def owner(self, lines: Integers) -> Binaries:
        """The owners of some lines, copied."""
        return self._take(lines, 0)

    def rdata(self, lines: Integers) -> Binaries:
        """The RDATA of some lines, copied."""
        return self._take(lines, self._rdata)

    def _take(self, lines: Integers, field: int) -> Binaries:
        width, add = pa.scalar(self._width, pa.int32()), pa.scalar(field, pa.int32())
        return self._field.take(pc.add(pc.multiply(lines, width), add))

    def line(self, line: int) -> bytes:
        """One line without its newline."""
        first, after = self._start[line].as_py() + 1, self._start[line + 1].as_py()
        return memoryview(self._data)[first:after].tobytes()


def _names(values: Binaries) -> Strings:
    """Keys of names in lower case, each after a separator and with its final dot."""
    data = _bytes_of(values)
    if len(data.translate(None, _NAME_BYTES)) != len(values):
        raise _NotPlain("a name with unusual bytes")
    if b".." in data or any(separator + b"." in data for separator in (b"\t", b"\n", b" ")):
        raise _NotPlain("an empty label, or the root")
    if pc.ends_with(values, b".").false_count:
        raise _NotPlain("a relative name")
    keys = pc.binary_slice(values, 1, -1).view(pa.string())
    long = pc.greater(pc.binary_length(keys), pa.scalar(63, pa.int32()))
    if long.true_count:
        try:
            for key in keys.filter(long).to_pylist():
                names.to_labels(key)
        except names.NameFault as error:
            raise _NotPlain(str(error)) from None
    return keys


def _often_repeated_names(values: Binaries) -> Strings:
    """Keys of names as written, each after a separator: name servers serve many zones."""
    encoded = values.dictionary_encode()
    return _names(_translated(encoded.dictionary, _LOWER)).take(encoded.indices)


def _ds_texts(values: Binaries) -> Strings:
    """DS texts of RDATA, each after its separator."""
    values = pc.binary_slice(_translated(values, _BLANKS_TO_SPACE), 1, MAX_LINE)
    good = pc.match_substring_regex(values, _DS_TEXT)
    if good.false_count:
        try:
            mended = [
                ds_text(value.split()) for value in values.filter(pc.invert(good)).to_pylist()
            ]
        except ValueError as error:
            raise _NotPlain(str(error)) from None
        values = pc.replace_with_mask(values, pc.invert(good), pa.array(mended, pa.binary()))
    return values.view(pa.string())


class _Rows:
    """The NS and DS records below the apex: their lines, and the groups of one owner."""

    def __init__(
        self, fields: _Fields, zone: Zone, kind: Integers, orders: frozenset[Order]
    ) -> None:
        self._line = where(pc.greater_equal(kind, pa.scalar(_NS, _CODE)))
        self._fields = fields
        self._zone = zone
        written = fields.owner(self._line)
        self.begins = first_of_runs(written)
        self.owner = _translated(written.filter(self.begins), _LOWER)  # of each group
        apex = zone.check(self.owner)
        if apex.true_count:
            keep = pc.invert(apex.take(self.groups()))
            self._line, written = self._line.filter(keep), written.filter(keep)
            self.begins = self.begins.filter(keep)
            self.owner = self.owner.filter(pc.invert(apex))
        self.orders = self._ascending(orders)
        if not self.orders and self._repeats():  # one owner, written in different cases
            owner = _translated(written, _LOWER)
            self.begins = first_of_runs(owner)
            self.owner = owner.filter(self.begins)
            self.orders = self._ascending(orders)
        self.is_ds = pc.equal(kind.take(self._line), pa.scalar(_DS, _CODE))

    def __len__(self) -> int:
        return len(self._line)

    def groups(self) -> Integers:
        """The group of each row."""
        counted = pc.cumulative_sum(pc.cast(self.begins, pa.int32()))
        return pc.subtract(counted, pa.scalar(1, pa.int32()))

    def _ascending(self, orders: frozenset[Order]) -> frozenset[Order]:
        """In which of some orders the owners of the groups ascend."""
        found = set()
        for order in orders:
            owner = self.owner
            if order is Order.LABELS:
                owner = _translated(owner, _DOT_BEFORE_ALL)
            before, after = owner.slice(0, max(len(owner) - 1, 0)), owner.slice(1)
            if not pc.greater_equal(before, after).true_count:
                found.add(order)
        return frozenset(found)

    def _repeats(self) -> bool:
        return bool(first_of_runs(self.owner).false_count)

    def domains(self, groups: Integers) -> Strings:
        return _names(self.owner.take(groups))

    def ds(self, rows: Integers) -> Strings:
        return _ds_texts(self._fields.rdata(self._line.take(rows)))

    def ns(self, rows: Integers) -> Strings:
        return _often_repeated_names(self._fields.rdata(self._line.take(rows)))

    def edge(self, group: int, first: int, after: int) -> Edge:
        """The group of the rows from `first` to before `after`, by the general reader."""
        lines = map(self._fields.line, self._line.slice(first, after - first).to_pylist())
        records = self._zone.general(lines)
        return Edge(
            self.owner[group].as_py(),
            records[0].owner,
            [record.value for record in records if record.kind is Kind.DS],
            [record.value for record in records if record.kind is Kind.NS],
        )

    def signed(self, first: int, after: int) -> tuple[int, pa.RecordBatch]:
        """Of the rows of all groups but the first and the last: delegations, signed ones."""
        rows = after - first
        groups = group(self.begins.slice(first, rows), self.is_ds.slice(first, rows))
        if len(groups.signed) == 0:
            return groups.delegations, _NO_SIGNED
        one, at = pa.scalar(1, pa.int32()), pa.scalar(first, pa.int32())
        return groups.delegations, pa.record_batch(
            [
                self.domains(pc.add(groups.signed, one)),
                sets_of_runs(groups.ds_group, self.ds(pc.add(groups.ds_rows, at))),
                sets_of_runs(groups.ns_group, self.ns(pc.add(groups.ns_rows, at))),
            ],
            schema=SCHEMA,
        )

    def all(self) -> pa.RecordBatch:
        """Every row (`delegations.ROWS`)."""
        ds_rows, ns_rows = where(self.is_ds), where(pc.invert(self.is_ds))
        values = pa.concat_arrays([self.ds(ds_rows), self.ns(ns_rows)])
        order = pc.sort_indices(pa.concat_arrays([ds_rows, ns_rows]))
        owner = self.owner.take(self.groups())
        return pa.record_batch([owner, self.is_ds, values.take(order)], schema=ROWS)


def _kinds(middle: Binaries) -> Integers:
    """The code of each line's kind, from its TTL, class and type."""
    encoded = middle.dictionary_encode()
    texts = encoded.dictionary.to_pylist()
    codes = [_CODES[kind_of(text)] for text in texts]
    if _NOT_PLAIN in codes or any(b"\n" in text for text in texts):
        raise _NotPlain("not TTL, class and type")
    return pa.Array.from_buffers(_CODE, len(codes), [None, pa.py_buffer(bytes(codes))]).take(
        encoded.indices
    )


_NO_SIGNED = pa.record_batch([[], [], []], schema=SCHEMA)


def read(
    block: bytes, zone: Zone, *, orders: frozenset[Order] = ORDERS, with_rows: bool = False
) -> Block | None:
    """Read a block of whole lines, the first after a newline; None if it is not plain.

    The owners are compared in the `orders` only. With `with_rows` the block holds all rows
    instead of groups.
    """
    try:
        return _read(block, zone, orders, with_rows)
    except _NotPlain:
        return None


def _read(block: bytes, zone: Zone, orders: frozenset[Order], with_rows: bool) -> Block:
    dropped = delegated = 0
    if sieve is None or with_rows:
        if any(mark in block for mark in _SPECIAL):
            raise _NotPlain("a special character")
    else:
        sieved = sieve(block, zone.suffix)
        if sieved is None:
            raise _NotPlain("a line that depends on another, or is out of the zone")
        block, dropped, delegated, found = sieved
        orders = frozenset(order for order in orders if found & _ORDER_BITS[order])
    before, only_tabs = _layout(block[1 : block.index(b"\n", 1)])
    fields = _Fields(block, before, only_tabs)
    kind = _kinds(fields.middle)
    others = where(pc.less(kind, pa.scalar(_NS, _CODE)))
    apex = zone.check(_translated(fields.owner(others), _LOWER))
    is_soa = pc.equal(kind.take(others), pa.scalar(_SOA, _CODE))
    if pc.and_not(is_soa, apex).true_count:
        raise _NotPlain("an SOA that is not of the apex")
    places = others.filter(is_soa).to_pylist()
    soas = zone.general(map(fields.line, places))
    rows = _Rows(fields, zone, kind, orders)
    edges: tuple[Edge, ...] = ()
    count, signed = 0, _NO_SIGNED
    if len(rows) and not with_rows:
        starts = where(rows.begins)
        last = starts[-1].as_py()
        edges = (rows.edge(len(starts) - 1, last, len(rows)),)
        if len(starts) > 1:
            first = starts[1].as_py()
            edges = (rows.edge(0, 0, first), *edges)
            count, signed = rows.signed(first, last)
    end = fields.lines - 1
    return Block(
        records=fields.lines + dropped,
        last_owner=zone.general([fields.line(end)])[0].owner,
        ends_with_soa=end in places,
        soas=tuple(soa.value for soa in soas),
        edges=edges,
        orders=rows.orders,
        delegations=count + delegated,
        signed=signed,
        rows=rows.all() if with_rows else None,
    )
