"""The fast reader of registry zone files: one plain record a line, as columns.

Fields are laid over a block of lines (`crawler.zones.fields`), and everything after that
works on columns: no line is made a Python object, only signed delegations are copied out.
Where the optional extension is there, it has done this before (`crawler.zones.compiled`),
and only the blocks that it does not understand come here.

The reader gives up on a block (`read` returns None) as soon as it is not plain: comments,
quotes, parentheses, escapes, relative or blank owners, owners outside the zone, names with
unusual bytes, records that differ in layout. The general reader (`crawler.zones.master`)
then reads that block; both give the same.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum

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
from crawler.zones.fields import Fields, NotPlain, bytes_of, layout, translated
from crawler.zones.master import MAX_LINE, Kind, MasterFile, Record, kind_of
from crawler.zones.rdata import ds_text
from dane import names
from dane.faults import Refused
from dane.sample import is_sampled

# Each makes a line more than fields between blanks (RFC 1035 section 5.1); CR is CRLF
_SPECIAL = (b";", b'"', b"(", b")", b"\\", b"\r")
_NAME_BYTES = b"abcdefghijklmnopqrstuvwxyz0123456789-_."
# A DS as `delegations.SCHEMA` has it: numbers without leading zeros, an undivided digest
_BYTE = "(?:0|[1-9][0-9]?|1[0-9]{2}|2[0-4][0-9]|25[0-5])"
_TAG = "(?:0|[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
_DS_TEXT = f"^{_TAG} {_BYTE} {_BYTE} (?:[0-9a-f][0-9a-f])+$"

# What the kinds of records are in an int8 column; None: not plain
_NOT_PLAIN, _OTHER, _SOA, _DNAME, _NS, _DS = range(6)
_CODES = {
    None: _NOT_PLAIN,
    Kind.OTHER: _OTHER,
    Kind.SOA: _SOA,
    Kind.DNAME: _DNAME,
    Kind.NS: _NS,
    Kind.DS: _DS,
}
_CODE = pa.int8()

_LOWER = bytes(range(256)).lower()
_BLANKS_TO_SPACE = _LOWER.replace(b"\t", b" ")


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
_DOT_BEFORE_ALL = bytes(range(256)).replace(b".", Order.LABELS.value)


@dataclass(frozen=True, slots=True)
class Zone:
    """The zone as the reader compares it: an owner follows a newline and ends with its dot."""

    apex: str  # a key
    unsigned_sample: int = 0  # one in so many delegations without DS is kept, too; 0: none

    def keeps_unsigned(self, domain: bytes) -> bool:
        """Whether a delegation without DS (a key) is in the sample."""
        return self.unsigned_sample > 0 and is_sampled(domain, self.unsigned_sample)

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

    @property
    def dots(self) -> int:
        """The dots of an owner one label below the apex; of deeper ones there are more."""
        return 1 if self.apex == "." else self.apex.count(".") + 2

    def between(self, owner: bytes) -> Iterator[bytes]:
        """The names between an owner and the apex, as owners: a cut there occludes it."""
        at = 0
        for _ in range(owner.count(b".") - self.dots):
            at = owner.index(b".", at) + 1
            yield b"\n" + owner[at:]

    def check(self, owners: Binaries) -> Booleans:
        """Which owners are the apex; all others must be below it. Raises NotPlain."""
        below = pc.ends_with(owners, self.suffix)
        apex = pc.equal(owners, pa.scalar(self.owner, pa.binary()))
        if pc.or_(below, apex).false_count:
            raise NotPlain("a relative name, or one outside the zone")
        return apex

    def general(self, lines: Iterable[bytes]) -> list[Record]:
        """What the general reader makes of some lines. Raises NotPlain."""
        try:
            return list(MasterFile(self.apex).read(lines))
        except Refused as refused:
            raise NotPlain(str(refused)) from None


@dataclass(frozen=True, slots=True)
class Edge:
    """The first or the last group of a block: its owner's rows may go on in the next block."""

    owner: bytes  # as `Zone.form` has it
    domain: str
    ds: frozenset[str]
    ns: frozenset[str]


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
    dnames: tuple[bytes, ...]  # owners of DNAME, as `Zone.form` has it, with the rows
    deep: bool  # a group is more than one label below the apex


def _names(values: Binaries) -> Strings:
    """Keys of names in lower case, each after a separator and with its final dot."""
    data = bytes_of(values)
    if len(data.translate(None, _NAME_BYTES)) != len(values):
        raise NotPlain("a name with unusual bytes")
    if b".." in data or any(separator + b"." in data for separator in (b"\t", b"\n", b" ")):
        raise NotPlain("an empty label, or the root")
    if pc.ends_with(values, b".").false_count:
        raise NotPlain("a relative name")
    keys = pc.binary_slice(values, 1, -1).view(pa.string())
    long = pc.greater(pc.binary_length(keys), pa.scalar(63, pa.int32()))
    if long.true_count:
        try:
            for key in keys.filter(long).to_pylist():
                names.to_labels(key)
        except names.NameFault as error:
            raise NotPlain(str(error)) from None
    return keys


def _often_repeated_names(values: Binaries) -> Strings:
    """Keys of names as written, each after a separator: name servers serve many zones."""
    encoded = values.dictionary_encode()
    return _names(translated(encoded.dictionary, _LOWER)).take(encoded.indices)


def _ds_texts(values: Binaries) -> Strings:
    """DS texts of RDATA, each after its separator."""
    values = pc.binary_slice(translated(values, _BLANKS_TO_SPACE), 1, MAX_LINE)
    good = pc.match_substring_regex(values, _DS_TEXT)
    if good.false_count:
        try:
            mended = [
                ds_text(value.split()) for value in values.filter(pc.invert(good)).to_pylist()
            ]
        except ValueError as error:
            raise NotPlain(str(error)) from None
        values = pc.replace_with_mask(values, pc.invert(good), pa.array(mended, pa.binary()))
    return values.view(pa.string())


class _Rows:
    """The NS and DS records below the apex: their lines, and the groups of one owner."""

    def __init__(
        self, fields: Fields, zone: Zone, kind: Integers, orders: frozenset[Order]
    ) -> None:
        self._line = where(pc.greater_equal(kind, pa.scalar(_NS, _CODE)))
        self._fields = fields
        self._zone = zone
        written = fields.take(self._line, 0)
        self.begins = first_of_runs(written)
        self.owner = translated(written.filter(self.begins), _LOWER)  # of each group
        apex = zone.check(self.owner)
        if apex.true_count:
            keep = pc.invert(apex.take(self.groups()))
            self._line, written = self._line.filter(keep), written.filter(keep)
            self.begins = self.begins.filter(keep)
            self.owner = self.owner.filter(pc.invert(apex))
        self.orders = self._ascending(orders)
        if not self.orders and self._repeats():  # one owner, written in different cases
            owner = translated(written, _LOWER)
            self.begins = first_of_runs(owner)
            self.owner = owner.filter(self.begins)
            self.orders = self._ascending(orders)
        self.keys = _names(self.owner)
        self.is_ds = pc.equal(kind.take(self._line), pa.scalar(_DS, _CODE))

    def __len__(self) -> int:
        return len(self._line)

    def deep(self) -> bool:
        """Whether an owner is more than one label below the apex."""
        dots = pc.count_substring(self.owner, pattern=".")
        return bool(pc.greater(dots, pa.scalar(self._zone.dots, pa.int32())).true_count)

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
                owner = translated(owner, _DOT_BEFORE_ALL)
            before, after = owner.slice(0, max(len(owner) - 1, 0)), owner.slice(1)
            if not pc.greater_equal(before, after).true_count:
                found.add(order)
        return frozenset(found)

    def _repeats(self) -> bool:
        return bool(first_of_runs(self.owner).false_count)

    def ds(self, rows: Integers) -> Strings:
        return _ds_texts(self._fields.take(self._line.take(rows), 2))

    def ns(self, rows: Integers) -> Strings:
        return _often_repeated_names(self._fields.take(self._line.take(rows), 2))

    def edge(self, group: int, first: int, after: int) -> Edge:
        """The group of the rows from `first` to before `after`, by the general reader."""
        lines = map(self._fields.line, self._line.slice(first, after - first).to_pylist())
        records = self._zone.general(lines)
        return Edge(
            self.owner[group].as_py(),
            records[0].owner,
            frozenset(record.value for record in records if record.kind is Kind.DS),
            frozenset(record.value for record in records if record.kind is Kind.NS),
        )

    def signed(self, first: int, after: int) -> tuple[int, pa.RecordBatch]:
        """Of the rows of all groups but the first and the last: delegations, signed ones."""
        rows = after - first
        groups = group(self.begins.slice(first, rows), self.is_ds.slice(first, rows))
        signed = _NO_SIGNED
        if len(groups.signed):
            one, at = pa.scalar(1, pa.int32()), pa.scalar(first, pa.int32())
            signed = pa.record_batch(
                [
                    self.keys.take(pc.add(groups.signed, one)),
                    sets_of_runs(groups.ds_group, self.ds(pc.add(groups.ds_rows, at))),
                    sets_of_runs(groups.ns_group, self.ns(pc.add(groups.ns_rows, at))),
                ],
                schema=SCHEMA,
            )
        if self._zone.unsigned_sample:
            signed = _sorted([signed, self._sampled(set(groups.signed.to_pylist()), after)])
        return groups.delegations, signed

    def _sampled(self, signed: set[int], after: int) -> pa.RecordBatch:
        """Those in the sample of the groups without DS, but the first and the last group."""
        starts = where(self.begins).to_pylist()
        domains, ns = [], []
        for number, key in enumerate(self.keys.to_pylist()[1:-1]):
            if number in signed or not self._zone.keeps_unsigned(key.encode()):
                continue
            begin, end = starts[number + 1], starts[number + 2]
            if self.is_ds[begin].as_py():  # DS without NS is no delegation
                continue
            domains.append(key)
            ns.append(sorted(set(self.ns(index(end).slice(begin)).to_pylist())))
        return pa.record_batch([domains, [[]] * len(domains), ns], schema=SCHEMA)

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
        raise NotPlain("not TTL, class and type")
    return pa.Array.from_buffers(_CODE, len(codes), [None, pa.py_buffer(bytes(codes))]).take(
        encoded.indices
    )


def _sorted(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    """One batch, in the order of the domains."""
    (batch,) = pa.Table.from_batches(batches, SCHEMA).combine_chunks().to_batches() or [_NO_SIGNED]
    return batch.sort_by("domain")


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
    except NotPlain:
        return None


def _read(block: bytes, zone: Zone, orders: frozenset[Order], with_rows: bool) -> Block:
    if any(mark in block for mark in _SPECIAL):
        raise NotPlain("a special character")
    before, only_tabs = layout(block[1 : block.index(b"\n", 1)])
    fields = Fields(block, before, only_tabs)
    kind = _kinds(fields.take(index(fields.lines), 1))
    others = where(pc.less(kind, pa.scalar(_NS, _CODE)))
    apex = zone.check(translated(fields.take(others, 0), _LOWER))
    is_soa = pc.equal(kind.take(others), pa.scalar(_SOA, _CODE))
    if pc.and_not(is_soa, apex).true_count:
        raise NotPlain("an SOA that is not of the apex")
    places = others.filter(is_soa).to_pylist()
    soas = zone.general(map(fields.line, places))
    rows = _Rows(fields, zone, kind, orders)
    dname = where(pc.equal(kind, pa.scalar(_DNAME, _CODE))) if with_rows else index(0)
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
        records=fields.lines,
        last_owner=zone.general([fields.line(end)])[0].owner,
        ends_with_soa=end in places,
        soas=tuple(soa.value for soa in soas),
        edges=edges,
        orders=rows.orders,
        delegations=count,
        signed=signed,
        rows=rows.all() if with_rows else None,
        dnames=tuple(translated(fields.take(dname, 0), _LOWER).to_pylist()),
        deep=rows.deep(),
    )
