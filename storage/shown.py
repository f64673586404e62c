"""What the certificates that servers showed hold, for the verdicts: names and bytes.

A certificate may have ten thousand names and be shown by a thousand hosts. So what a verdict
needs of it is looked up by its digest, once for all rows: of its names, those that can cover one
of the names in question; of its bytes, those of certificates of an ordinary size.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa

from storage.database import Connection
from storage.schemas import NAMES

LARGEST_READ = 8192
"""Bytes; a larger certificate has no part in the rollover scheme of its host."""
_MOST_SERVED = 8

SHOWN = pa.struct(
    [
        pa.field("sha256", pa.string(), nullable=False),
        pa.field("der", pa.binary(), nullable=False),
    ]
)

OF_PROBE: "list[pa.Field[Any]]" = [
    # where the status is name_mismatch: names of the leaf that can cover a host in question
    pa.field("covering_names", NAMES, nullable=False),
    # certificates of this row that no row before it has
    pa.field("certificates", pa.list_(pa.field("item", SHOWN, nullable=False)), nullable=False),
    # leafs that the address showed in earlier runs, likewise among `certificates`
    pa.field("served_before", pa.list_(pa.field("item", pa.string(), nullable=False)), False),
]
"""Columns beside those of a probe."""

_NAMES = """
SELECT c.sha256, ARRAY(
    SELECT name FROM unnest(string_to_array(c.names, E'\\n')) AS name WHERE name = ANY ($2::text[])
  ) AS names
FROM certificate c WHERE c.sha256 = ANY ($1::text[])
"""

_DER = """
SELECT sha256, der FROM certificate WHERE sha256 = ANY ($1::text[]) AND octet_length(der) <= $2
"""

_SERVED = """
SELECT p.bucket, p.address, p.operator, (array_agg(DISTINCT leaf.sha256))[1:$4] AS leafs
FROM unnest($1::smallint[], $2::text[]) AS k (bucket, address)
JOIN smtp_probe p ON p.run_id = ANY ($3::integer[]) AND p.bucket = k.bucket
  AND p.address = k.address
CROSS JOIN LATERAL (VALUES (p.chain[1]), (p.other_chain[1])) AS leaf (sha256)
WHERE leaf.sha256 IS NOT NULL
GROUP BY p.bucket, p.address, p.operator
"""


def covering(names: Iterable[str]) -> list[str]:
    """The presented names that cover one of these: each itself, and the wildcard beside it."""
    found: dict[str, None] = {}
    for name in names:
        found[name] = None
        _, dot, parent = name.partition(".")
        if dot and parent:
            found[f"*.{parent}"] = None
    return list(found)


async def names_of(
    connection: Connection, leafs: Sequence[str], names: Iterable[str]
) -> dict[str, list[str]]:
    """By SHA-256 of a leaf, those of its names that cover one of `names`."""
    if not leafs:
        return {}
    rows = await connection.fetch(_NAMES, list(leafs), covering(names))
    return {row["sha256"]: list(row["names"]) for row in rows}


async def with_certificates(
    connection: Connection, probes: pa.RecordBatch, hosts: Iterable[str], earlier: Sequence[int]
) -> pa.RecordBatch:
    """The probes with the columns OF_PROBE. `hosts`: names that a leaf may have to cover.
    `earlier`: the runs before this one whose rows are kept."""
    rows = probes.select(
        ["bucket", "address", "operator", "status", "chain", "other_chain"]
    ).to_pylist()
    mismatching = {row["chain"][0] for row in rows if row["status"] == "name_mismatch"}
    names = await names_of(connection, sorted(mismatching), hosts)
    passing = [row for row in rows if row["status"] == "pass"]
    keys = sorted({(row["bucket"], row["address"]) for row in passing})
    served = await connection.fetch(
        _SERVED, [key[0] for key in keys], [key[1] for key in keys], list(earlier), _MOST_SERVED
    )
    before = {(row["bucket"], row["address"], row["operator"]): row["leafs"] for row in served}
    wanted = {one for row in passing for one in (*row["chain"], *row["other_chain"])}
    wanted.update(*before.values())
    found = await connection.fetch(_DER, sorted(wanted), LARGEST_READ)
    ders = {row["sha256"]: row["der"] for row in found}
    columns: dict[str, list[Any]] = {field.name: [] for field in OF_PROBE}
    for row in rows:
        passes = row["status"] == "pass"
        served_before = before.get((row["bucket"], row["address"], row["operator"]), [])
        digests = [*row["chain"], *row["other_chain"], *served_before] if passes else []
        leaf = row["chain"][0] if row["chain"] else ""
        columns["covering_names"].append(names.get(leaf, []) if leaf in mismatching else [])
        columns["certificates"].append(
            [
                {"sha256": digest, "der": ders.pop(digest)}
                for digest in dict.fromkeys(digests)
                if digest in ders
            ]
        )
        columns["served_before"].append(served_before if passes else [])
    for field in OF_PROBE:
        probes = probes.append_column(field, pa.array(columns[field.name], field.type))
    return probes
