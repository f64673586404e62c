"""Zone snapshots and the delegations of the last good one, in PostgreSQL.

A zone's new names replace the old ones in one transaction, and only the rows that differ are
written: the names come in by COPY into a temporary table and are compared there.
"""

import zlib
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute

from dane import clock
from dane.names import BUCKETS
from storage.database import Connection

KEPT_SNAPSHOTS = 3
"""A name is forgotten when so many accepted snapshots in a row are without it."""

_pc: Any = pyarrow.compute  # the stubs lack some of the kernels
_COPY = ("bucket", "domain", "ds", "ns")
_LISTS = pa.list_(pa.string())
_COPY_BYTES = 1 << 20
_WORK_MEM = "64MB"  # for two joins over all names; the default spills them to disk many times


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One look at a zone. Sizes in bytes; what is not known is None."""

    zone: str
    source: str  # file, czds, axfr or list
    origin: str
    seconds: float = 0.0
    reason: str | None = None  # why it was refused
    serial: int | None = None
    sha256: str | None = None
    received: int | None = None
    size: int | None = None
    records: int | None = None
    delegations: int | None = None
    signed: int | None = None


@dataclass(frozen=True, slots=True)
class Changes:
    """What a snapshot changed."""

    snapshot_id: int
    added: int  # names
    removed: int  # names
    written: int  # rows inserted, updated or deleted


async def latest(connection: Connection, zone: str) -> Snapshot | None:
    """The last accepted snapshot of a zone."""
    row = await connection.fetchrow(
        "SELECT zone, source, origin, seconds, reason, serial, sha256, received, size, records,"
        " delegations, signed FROM zone_snapshot WHERE zone = $1 AND accepted"
        " ORDER BY snapshot_id DESC LIMIT 1",
        zone,
    )
    return None if row is None else Snapshot(**dict(row))


async def refuse(connection: Connection, snapshot: Snapshot) -> int:
    """Keep a refused snapshot, with its reason; the names stay as they are."""
    return await _insert(connection, snapshot, None, None)


async def replace(
    connection: Connection,
    snapshot: Snapshot,
    batches: Iterable[pa.RecordBatch],
    *,
    sampled_one_of: int | None = None,
) -> Changes:
    """Make a snapshot's names (columns domain, ds, ns) the zone's, in one transaction.

    A list's ds column is null. Names with an empty DS set are one in `sampled_one_of` of the
    zone's unsigned delegations. A name that another zone's delegation has stays with that.
    """
    async with connection.transaction():
        await connection.execute(
            'CREATE TEMPORARY TABLE incoming (bucket smallint, domain text COLLATE "C",'
            ' ds text[] COLLATE "C", ns text[] COLLATE "C", sampled_one_of integer)'
            " ON COMMIT DROP"
        )
        await connection.copy_to_table(
            "incoming",
            source=_copy_data(batches),
            columns=list(_COPY),
            format="csv",
            delimiter="\t",
            quote="\x01",
            null="",
        )
        if sampled_one_of is not None:
            await connection.execute(
                "UPDATE incoming SET sampled_one_of = $1 WHERE ds = '{}'", sampled_one_of
            )
        await connection.execute(f"SET LOCAL work_mem = '{_WORK_MEM}'")
        await connection.execute("ANALYZE incoming")
        is_first = not await _count(connection, _ANY, snapshot.zone)
        await connection.execute(_COMPARE)
        added = await _count(connection, "SELECT count(*) FROM changed WHERE is_new")
        snapshot_id = await _insert(connection, snapshot, added, None)
        written = _rows(await connection.execute(_MERGE, snapshot.zone))
        removed = _rows(await connection.execute(_MARK_MISSING, snapshot.zone, snapshot_id))
        written += removed
        written += _rows(await connection.execute(_FORGET, snapshot.zone, KEPT_SNAPSHOTS))
        await connection.execute(
            "UPDATE zone_snapshot SET removed = $2 WHERE snapshot_id = $1", snapshot_id, removed
        )
        if is_first:
            await connection.execute("ANALYZE delegation")
        return Changes(snapshot_id, added, removed, written)


_ANY = "SELECT count(*) FROM (SELECT FROM delegation WHERE zone = $1 LIMIT 1) d"
_COMPARE = """
CREATE TEMPORARY TABLE changed ON COMMIT DROP AS
SELECT i.*, d.domain IS NULL OR d.missing_since IS NOT NULL AS is_new
FROM incoming i LEFT JOIN delegation d USING (bucket, domain)
WHERE d.domain IS NULL
   OR d.missing_since IS NOT NULL
   OR (d.ds, d.ns, d.sampled_one_of) IS DISTINCT FROM (i.ds, i.ns, i.sampled_one_of)
"""
_MERGE = """
INSERT INTO delegation AS d (bucket, domain, zone, ds, ns, sampled_one_of)
SELECT bucket, domain, $1, ds, ns, sampled_one_of FROM changed
ORDER BY bucket, domain  -- as the engine reads them
ON CONFLICT (bucket, domain) DO UPDATE
SET zone = excluded.zone, ds = excluded.ds, ns = excluded.ns,
    sampled_one_of = excluded.sampled_one_of, missing_since = NULL
WHERE d.zone = excluded.zone OR d.missing_since IS NOT NULL
   OR (d.ds IS NULL AND excluded.ds IS NOT NULL)
"""
_MARK_MISSING = """
UPDATE delegation d SET missing_since = $2
WHERE d.zone = $1 AND d.missing_since IS NULL
  AND NOT EXISTS (SELECT FROM incoming i WHERE i.bucket = d.bucket AND i.domain = d.domain)
"""
# $2 - 1 accepted snapshots after the one that first missed a name, it goes
_FORGET = """
DELETE FROM delegation WHERE zone = $1 AND missing_since <= (
    SELECT snapshot_id FROM zone_snapshot WHERE zone = $1 AND accepted
    ORDER BY snapshot_id DESC OFFSET $2::integer - 1 LIMIT 1)
"""


async def _insert(
    connection: Connection, snapshot: Snapshot, added: int | None, removed: int | None
) -> int:
    values = {
        "zone": snapshot.zone,
        "source": snapshot.source,
        "origin": snapshot.origin,
        "taken": clock.now(),
        "accepted": snapshot.reason is None,
        "reason": snapshot.reason,
        "serial": snapshot.serial,
        "sha256": snapshot.sha256,
        "received": snapshot.received,
        "size": snapshot.size,
        "records": snapshot.records,
        "delegations": snapshot.delegations,
        "signed": snapshot.signed,
        "added": added,
        "removed": removed,
        "seconds": snapshot.seconds,
    }
    places = ", ".join(f"${number}" for number in range(1, len(values) + 1))
    return await _count(
        connection,
        f"INSERT INTO zone_snapshot ({', '.join(values)}) VALUES ({places}) RETURNING snapshot_id",
        *values.values(),
    )


async def _count(connection: Connection, sql: str, *values: object) -> int:
    return int(await connection.fetchval(sql, *values))


def _rows(status: str) -> int:
    """The number of rows in a command's status, such as `INSERT 0 12`."""
    return int(status.rsplit(" ", 1)[1])


async def _copy_data(batches: Iterable[pa.RecordBatch]) -> AsyncIterator[bytes]:
    for batch in batches:
        for data in _copy_text(batch):
            yield data


def _copy_text(batch: pa.RecordBatch) -> Iterator[bytes]:
    """The rows as COPY reads them: tab-separated, array literals, no quoting."""
    domain: Any
    domain, ds, ns = batch.columns
    buckets = [zlib.crc32(one.encode()) % BUCKETS for one in domain.to_pylist()]
    number = pa.array(buckets, pa.int16()).cast(pa.string())
    columns = (number, domain, _pc.coalesce(_literal(ds), ""), _literal(ns))
    lines = _pc.binary_join_element_wise(_pc.binary_join_element_wise(*columns, "\t"), "", "\n")
    text = memoryview(lines.buffers()[2] or b"")
    for at in range(0, len(text), _COPY_BYTES):
        yield bytes(text[at : at + _COPY_BYTES])


def _literal(lists: Any) -> Any:
    """`{"a","b"}` (PostgreSQL manual, section 8.15.2), with backslashes escaped."""
    joined = _pc.binary_join(lists.cast(_LISTS), '","')
    if _pc.any(_pc.match_substring(joined, "\\")).as_py():
        joined = _pc.replace_substring(joined, "\\", "\\\\")
    empty = _pc.equal(_pc.list_value_length(lists), 0)
    quoted = _pc.binary_join_element_wise('{"', joined, '"}', "")
    return _pc.if_else(empty, "{}", quoted)
