"""Delegations as Arrow columns: from rows of owners, NS and DS to sets a name.

A *row* is one NS or DS record below the apex. Rows of one owner stand together where a file
is in the order of its owners; a *group* is such a run of rows. What a scan yields of each
signed delegation (a group with NS and DS) is its name, its DS set and its NS set.
"""

from dataclasses import dataclass
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute

# pyarrow-stubs lack many of the kernels: untyped here, and the aliases say what an array holds
pc: Any = pyarrow.compute
Binaries: TypeAlias = Any
Strings: TypeAlias = Any
Booleans: TypeAlias = Any
Integers: TypeAlias = Any  # int32
Lists: TypeAlias = Any

NAMES: Any = pa.list_(pa.field("item", pa.string(), nullable=False))

_COLUMNS: list[Any] = [
    pa.field("domain", pa.string(), nullable=False),
    pa.field("ds", NAMES, nullable=False),  # "key-tag algorithm digest-type digest", sorted
    pa.field("ns", NAMES, nullable=False),  # keys, sorted
]
SCHEMA = pa.schema(_COLUMNS)
"""One signed delegation a row; names are keys (`dane.names`)."""

_ROW: list[Any] = [
    pa.field("owner", pa.binary(), nullable=False),
    pa.field("is_ds", pa.bool_(), nullable=False),
    pa.field("value", pa.string(), nullable=False),
]
ROWS = pa.schema(_ROW)
"""One NS or DS record a row."""

_arange: Any = pa.arange  # type: ignore[attr-defined]  # newer than the stubs
_TRUE = pa.array([True])
_SEGMENT = 1 << 18
_INDEX: Integers = _arange(0, 1 << 16).cast(pa.int32())


def index(count: int) -> Integers:
    """0, 1, … count - 1, cached."""
    global _INDEX  # a cache that only grows
    if count > len(_INDEX):
        _INDEX = _arange(0, count + (count >> 2)).cast(pa.int32())
    return _INDEX.slice(0, count)


def number(value: int) -> Integers:
    """An array of one number (`pa.array` looks for pandas at every call, for 100 µs)."""
    return index(value + 1).slice(value)


def where(mask: Booleans) -> Integers:
    """The indices of the true values (twice as fast as `pc.indices_nonzero`).

    In segments: the indices that are filtered stay in the processor's cache.
    """
    if len(mask) <= _SEGMENT:
        return index(len(mask)).filter(mask)
    parts = []
    for at in range(0, len(mask), _SEGMENT):
        part = mask.slice(at, _SEGMENT)
        parts.append(pc.add(index(len(part)).filter(part), pa.scalar(at, pa.int32())))
    return pa.concat_arrays(parts)


def first_of_runs(values: Any) -> Booleans:
    """Whether each value begins a run of equal values."""
    if len(values) == 0:
        return _TRUE.slice(1)
    differs = pc.not_equal(values.slice(1), values.slice(0, len(values) - 1))
    return pa.concat_arrays([_TRUE, differs])


def starts_of_runs(values: Any) -> Integers:
    """The index at which each run of equal values begins."""
    return where(first_of_runs(values))


def sets_of_runs(group: Integers, values: Strings) -> Lists:
    """The values of each run of equal groups, sorted and each once.

    The groups must be in ascending order.
    """
    if len(values) > 1:
        last = len(values) - 1
        same = pc.equal(group.slice(1), group.slice(0, last))
        if pc.and_(same, pc.less_equal(values.slice(1), values.slice(0, last))).true_count:
            group, values = _sorted_sets(group, values)
    offsets = pa.concat_arrays([starts_of_runs(group), number(len(values))])
    return pa.ListArray.from_arrays(offsets, values, type=NAMES)


def _sorted_sets(group: Integers, values: Strings) -> tuple[Integers, Strings]:
    """Sort the values within each group, and drop the repeated ones."""
    several = _in_larger_groups(group)  # most groups have one value and need no sorting
    rows = where(several)
    subset = pa.table({"group": group.filter(several), "value": values.filter(several)})
    keys = [("group", "ascending"), ("value", "ascending")]
    order = pc.sort_indices(subset, sort_keys=keys)
    values = values.take(pc.replace_with_mask(index(len(values)), several, rows.take(order)))
    keep = pc.or_(first_of_runs(group), first_of_runs(values))
    return group.filter(keep), values.filter(keep)


def _in_larger_groups(group: Integers) -> Booleans:
    """Whether each row's group has another row."""
    first = first_of_runs(group)
    last = pa.concat_arrays([first.slice(1), _TRUE])
    return pc.invert(pc.and_(first, last))


@dataclass(frozen=True, slots=True)
class Groups:
    """Groups of rows: how many are delegations, and which rows belong to the signed ones."""

    delegations: int  # groups with an NS
    signed: Integers  # groups with NS and DS
    ns_rows: Integers  # of the signed groups
    ns_group: Integers  # group of each of ns_rows
    ds_rows: Integers
    ds_group: Integers


def group(first: Booleans, is_ds: Booleans) -> Groups:
    """Group rows that stand together; `first` marks the first row of each group."""
    starts, ds_rows = where(first), where(is_ds)
    if len(ds_rows) == 0:
        none = index(0)
        return Groups(len(starts), none, none, none, none, none)
    of_row = pc.subtract(pc.cumulative_sum(pc.cast(first, pa.int32())), pa.scalar(1, pa.int32()))
    ds_group = of_row.take(ds_rows)
    heads = starts_of_runs(ds_group)
    with_ds = ds_group.take(heads)
    only_ds = pc.equal(_lengths(heads, len(ds_rows)), _lengths(starts, len(first)).take(with_ds))
    signed = with_ds.filter(pc.invert(only_ds))  # DS without NS is no delegation
    if len(signed) < len(with_ds):
        keep = _marks(signed, len(starts)).take(ds_group)
        ds_rows, ds_group = ds_rows.filter(keep), ds_group.filter(keep)
    ns_rows = where(pc.and_not(_marks(signed, len(starts)).take(of_row), is_ds))
    return Groups(
        len(starts) - only_ds.true_count,
        signed,
        ns_rows,
        of_row.take(ns_rows),
        ds_rows,
        ds_group,
    )


def _lengths(starts: Integers, end: int) -> Integers:
    """The length of each run, given where each begins and where the last one ends."""
    ends = pa.concat_arrays([starts.slice(1), number(end)])
    return pc.subtract(ends, starts)


def _marks(places: Integers, count: int) -> Booleans:
    """True at some places, each named once, of `count`."""
    true = pc.equal(places, places)
    return pc.fill_null(pc.scatter(true, places, max_index=count - 1), False)
