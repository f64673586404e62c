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

_NAMES: Any = pa.list_(pa.field("item", pa.string(), nullable=False))

_COLUMNS: list[Any] = [
    pa.field("domain", pa.string(), nullable=False),
    pa.field("ds", _NAMES, nullable=False),  # "key-tag algorithm digest-type digest", sorted
    pa.field("ns", _NAMES, nullable=False),  # keys, sorted
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
_INDEX: Integers = _arange(0, 1 << 16).cast(pa.int32())


def index(count: int) -> Integers:
    """0, 1, … count - 1, cached."""
    global _INDEX  # a cache that only grows
    if count > len(_INDEX):
        _INDEX = _arange(0, count + (count >> 2)).cast(pa.int32())
    return _INDEX.slice(0, count)


def where(mask: Booleans) -> Integers:
    """The indices of the true values (twice as fast as `pc.indices_nonzero`)."""
    return index(len(mask)).filter(mask)


def change(values: Any) -> Booleans:
    """Whether each value but the first differs from the one before it."""
    return pc.not_equal(values.slice(1), values.slice(0, max(len(values) - 1, 0)))


def starts_of_runs(values: Any) -> Integers:
    """The index at which each run of equal values starts."""
    if len(values) == 0:
        return index(0)
    return pa.concat_arrays([index(1), pc.add(where(change(values)), pa.scalar(1, pa.int32()))])


def sets_of_runs(group: Integers, values: Strings) -> Lists:
    """The values of each run of equal groups, sorted and each once.

    The groups must be in ascending order.
    """
    if len(values) > 1:
        same = pc.equal(group.slice(1), group.slice(0, len(group) - 1))
        unsorted = pc.and_(same, pc.less_equal(values.slice(1), values.slice(0, len(values) - 1)))
        if unsorted.true_count:
            order = pc.sort_indices(
                pa.table({"group": group, "value": values}),
                sort_keys=[("group", "ascending"), ("value", "ascending")],
            )
            group, values = group.take(order), values.take(order)
            keep = pa.concat_arrays([pa.array([True]), pc.or_(change(group), change(values))])
            group, values = group.filter(keep), values.filter(keep)
    offsets = pa.concat_arrays([starts_of_runs(group), pa.array([len(values)], pa.int32())])
    return pa.ListArray.from_arrays(offsets, values, type=_NAMES)


@dataclass(frozen=True, slots=True)
class Groups:
    """Groups of rows: how many are delegations, and which rows belong to the signed ones."""

    starts: Integers  # first row of each group
    delegations: int  # groups with an NS
    signed: Integers  # groups with NS and DS
    ns_rows: Integers  # of the signed groups
    ns_group: Integers  # group of each of ns_rows
    ds_rows: Integers
    ds_group: Integers


def group(owner: Binaries, is_ds: Booleans) -> Groups:
    """Group rows that stand together."""
    starts = starts_of_runs(owner)
    ds_rows = where(is_ds)
    if len(ds_rows) == 0:
        none = index(0)
        return Groups(starts, len(starts), none, none, none, none, none)
    of_row = pc.cast(
        pc.cumulative_sum(pa.concat_arrays([index(1), pc.cast(change(owner), pa.int32())])),
        pa.int32(),
    )
    ns_rows = where(pc.invert(is_ds))
    ns_group, ds_group = of_row.take(ns_rows), of_row.take(ds_rows)
    with_ns = ns_group.take(starts_of_runs(ns_group))
    signed = ds_group.take(starts_of_runs(ds_group))
    if len(with_ns) < len(starts):  # DS without NS is no delegation
        delegated = pc.is_in(signed, value_set=with_ns)
        if delegated.true_count < len(signed):
            signed = signed.filter(delegated)
            keep = pc.is_in(ds_group, value_set=signed)
            ds_rows, ds_group = ds_rows.filter(keep), ds_group.filter(keep)
    keep = pc.is_in(index(len(starts)), value_set=signed).take(ns_group)
    return Groups(
        starts,
        len(with_ns),
        signed,
        ns_rows.filter(keep),
        ns_group.filter(keep),
        ds_rows,
        ds_group,
    )
