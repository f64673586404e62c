"""The compiled reader of registry zone files, where the optional extension `_groups` is.

It reads what registries write, and gives up on the rest, where `crawler.zones.plain` gives the
same some times later. Without a compiler the installation leaves it out.
"""

import pyarrow as pa

from crawler.zones.delegations import NAMES, SCHEMA, Lists, Strings
from crawler.zones.fields import NotPlain
from crawler.zones.master import Kind
from crawler.zones.plain import Block, Edge, Order, Zone

try:
    from crawler.zones._groups import read as _read
except ImportError:
    available = False
else:
    available = True

_ORDER_BITS = {Order.BYTES: 1, Order.LABELS: 2}


def read(block: bytes | memoryview, zone: Zone, *, orders: frozenset[Order]) -> Block | None:
    """Read a block as `plain.read` does; None if it is not understood."""
    found = _read(block, zone.suffix, zone.unsigned_sample) if available else None
    if found is None:
        return None
    records, delegations, order_bits, apex_lines, last_line, *columns = found
    try:
        apex = zone.general(apex_lines.splitlines())
        (last,) = zone.general([last_line])
    except NotPlain:
        return None
    rows = _rows(*columns)
    return Block(
        records=records,
        last_owner=last.owner,
        ends_with_soa=last.kind is Kind.SOA,
        soas=tuple(record.value for record in apex if record.kind is Kind.SOA),
        edges=tuple(_edge(rows, at) for at in sorted({0, len(rows) - 1}) if len(rows)),
        orders=frozenset(order for order in orders if order_bits & _ORDER_BITS[order]),
        delegations=delegations,
        signed=rows.slice(1, max(len(rows) - 2, 0)),
        rows=None,
        dnames=(),
        deep=False,
    )


def _rows(
    domain_ends: bytes,
    domains: bytes,
    ds_starts: bytes,
    ds_ends: bytes,
    ds: bytes,
    ns_starts: bytes,
    ns_ends: bytes,
    ns: bytes,
) -> pa.RecordBatch:
    columns = [
        _strings(domain_ends, domains),
        _lists(ds_starts, _strings(ds_ends, ds)),
        _lists(ns_starts, _strings(ns_ends, ns)),
    ]
    return pa.record_batch(columns, schema=SCHEMA)


def _strings(ends: bytes, text: bytes) -> Strings:
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(text)]
    return pa.Array.from_buffers(pa.string(), len(ends) // 4 - 1, buffers)


def _lists(starts: bytes, values: Strings) -> Lists:
    buffers = [None, pa.py_buffer(starts)]
    return pa.Array.from_buffers(NAMES, len(starts) // 4 - 1, buffers, children=[values])


def _edge(rows: pa.RecordBatch, at: int) -> Edge:
    domain, ds, ns = (column[at].as_py() for column in rows.columns)
    return Edge(Zone.form(domain), domain, frozenset(ds), frozenset(ns))
