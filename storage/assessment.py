"""What the two roll-ups read: hosts with their probes, domains with their hosts' verdicts.

Each answer is a pair: the rows to assess, and the rows that they look up. A host that a
thousand domains of the buckets point at is in the second batch once.
"""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dane.names import bucket
from storage.database import Connection
from storage.read import query
from storage.run import Run, runs_before
from storage.schemas import DOMAIN_MX, HOST_VERDICT, MX_HOST, SMTP_PROBE, TIME
from storage.shown import OF_PROBE, names_of, with_certificates

NAMES = pa.list_(pa.field("item", pa.string(), nullable=False))


def _fields(schema: pa.Schema, *names: str) -> "list[pa.Field[Any]]":
    return [schema.field(name) for name in names]


def _sql_columns(schema: pa.Schema, alias: str) -> str:
    return ", ".join(f'{alias}."{name}"' for name in schema.names)


_EVIDENCE = pa.field("evidence", pa.string())
"""Rows of `authority` about the questions that failed, as JSON; null if there are none."""

_ROUNDS = pa.field("server_rounds", pa.string())
"""Rows of `tlsa_server` about the host, by round, as JSON; null if there are none."""

HOST = MX_HOST.schema.append(_EVIDENCE).append(_ROUNDS)

DOMAIN = pa.schema(
    [
        *_fields(
            DOMAIN_MX.schema,
            "run_id",
            "bucket",
            "domain",
            "outcome",
            "secure",
            "mx_preference",
            "mx_host",
            "mx_total",
            "mx_excess_preference",
            "mx_excess_host",
            "cname_target",
            "rrsig_expiration",
            "nsec3_iterations",
            "nsec3param_iterations",
            "last_asked",
            "first_look_outcome",
            "sha1_only",
        ),
        pa.field("ns", NAMES, nullable=False),
        pa.field("zone", pa.string()),
        pa.field("ds", NAMES, nullable=False),
        pa.field("sampled_one_of", pa.int32()),
        _EVIDENCE,
    ]
)
"""Of a domain: its MX row, and its delegation: NS set, zone (null: unknown), DS set, and, if it
stands for so many unsigned ones, their number."""
_BESIDE = ("ns", "zone", "ds", "sampled_one_of", "evidence")

_ABOUT = """
  (SELECT json_agg(json_build_object('name', a.name, 'rrtype', a.rrtype, 'zone', a.zone,
      'failed_name', a.failed_name, 'dns_cause', a.dns_cause, 'all_good', a.all_good,
      'server', a.server) ORDER BY a.name, a.rrtype)::text
   FROM authority a
   WHERE a.run_id = $1 AND a.bucket BETWEEN $2 AND $3"""

# Each table is bounded by the buckets: the planner does not carry a range through a join, and
# without statistics it would read a whole table instead.
_HOSTS = f"""
SELECT {_sql_columns(MX_HOST.schema, "h")}, {_ABOUT}
     AND a.bucket = h.bucket AND a.rrtype <> 'MX' AND a.name = ANY (h.failed_names)
     AND h.failed_names <> '{{}}') AS evidence,
  (SELECT json_agg(json_build_object('server', t.server, 'address', t.address,
      'result', t.result, 'answer', t.answer, 'sound', t.sound) ORDER BY t.round)::text
   FROM tlsa_server t
   WHERE t.run_id = $1 AND t.bucket BETWEEN $2 AND $3 AND t.bucket = h.bucket
     AND t.host = h.host AND EXISTS (
       SELECT FROM tlsa_server again
       WHERE again.run_id = $1 AND again.bucket = h.bucket AND again.host = h.host
         AND again.round = 2 AND again.bucket BETWEEN $2 AND $3)) AS server_rounds
FROM mx_host h
WHERE h.run_id = $1 AND h.bucket BETWEEN $2 AND $3
  AND NOT EXISTS (
    SELECT FROM host_verdict v
    WHERE v.run_id = $1 AND v.bucket = h.bucket AND v.host = h.host
      AND v.bucket BETWEEN $2 AND $3)
ORDER BY h.bucket, h.host
"""

PROBE = SMTP_PROBE.schema.append(
    pa.field("unmatched_since", pa.list_(pa.field("item", TIME)), nullable=False)
)
"""Of a probe: its row; and for each record that matched there in an earlier run and does not now,
when the server was first seen with another certificate after that. Empty where nothing is odd."""

RELATED_PROBE = pa.schema([*PROBE, *OF_PROBE])
"""With what the certificates hold that it showed."""

RELATED_VERDICT = HOST_VERDICT.schema.append(
    # per address, of its leaf's names those that can cover a domain in question, blanks between
    pa.field("covering_names", NAMES, nullable=False)
)

_EARLIER_RUNS = 60  # two months of daily ones

# Looked up for the few servers with records that match nothing beside one that does.
_PROBES = f"""
SELECT {_sql_columns(SMTP_PROBE.schema, "p")},
  CASE WHEN p.status <> 'pass' OR cardinality(p.record_result) < 2
      OR p.record_result <@ '{{match,superseded,unusable}}'::text[] THEN '{{}}'
  ELSE ARRAY(
    SELECT CASE WHEN one.result IN ('match', 'superseded', 'unusable') THEN NULL ELSE (
      SELECT min(e.connected) FROM smtp_probe e
      WHERE e.run_id = ANY ($4::integer[]) AND e.bucket = p.bucket AND e.address = p.address
        AND e.operator = p.operator AND e.sni = p.sni AND cardinality(e.chain) > 0
        AND e.connected > (
          SELECT max(m.connected) FROM smtp_probe m
          WHERE m.run_id = ANY ($4::integer[]) AND m.bucket = p.bucket AND m.address = p.address
            AND m.operator = p.operator AND m.sni = p.sni
            AND EXISTS (
              SELECT FROM unnest(m.tlsa, m.record_result) AS other (record, result)
              WHERE other.record = one.record AND other.result = 'match'))) END
    FROM unnest(p.tlsa, p.record_result) WITH ORDINALITY AS one (record, result, place)
    ORDER BY one.place) END AS unmatched_since
FROM unnest($2::smallint[], $3::text[]) AS k (bucket, address)
JOIN smtp_probe p ON p.run_id = $1 AND p.bucket = k.bucket AND p.address = k.address
ORDER BY p.bucket, p.address, p.tlsa_digest, p.operator, p.sni, p.attempt
"""

_DOMAINS = f"""
SELECT {", ".join(f"d.{name}" for name in DOMAIN.names if name not in _BESIDE)},
       coalesce(g.ns, '{{}}') AS ns, g.zone, coalesce(g.ds, '{{}}') AS ds,
       g.sampled_one_of, {_ABOUT}
     AND a.bucket = d.bucket AND a.rrtype = 'MX' AND a.name = d.domain
     AND (d.outcome IN ('bogus', 'servfail') OR d.first_look_outcome IS NOT NULL)) AS evidence
FROM domain_mx d
LEFT JOIN delegation g ON g.bucket = d.bucket AND g.domain = d.domain
  AND g.bucket BETWEEN $2 AND $3
WHERE d.run_id = $1 AND d.bucket BETWEEN $2 AND $3
  AND NOT EXISTS (
    SELECT FROM domain_verdict v
    WHERE v.run_id = $1 AND v.bucket = d.bucket AND v.domain = d.domain
      AND v.bucket BETWEEN $2 AND $3)
ORDER BY d.bucket, d.domain
"""

_NAMED = f"""
SELECT {_sql_columns(MX_HOST.schema, "h")}
FROM unnest($2::smallint[], $3::text[]) AS k (bucket, host)
JOIN mx_host h ON h.run_id = $1 AND h.bucket = k.bucket AND h.host = k.host
ORDER BY h.bucket, h.host
"""

_VERDICTS = f"""
SELECT {_sql_columns(HOST_VERDICT.schema, "v")}
FROM unnest($2::smallint[], $3::text[]) AS k (bucket, host)
JOIN host_verdict v ON v.run_id = $1 AND v.bucket = k.bucket AND v.host = k.host
ORDER BY v.bucket, v.host
"""


async def hosts(
    connection: Connection, run: Run, buckets: range
) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    """MX hosts of `buckets` without verdict (HOST), and their probes (RELATED_PROBE)."""
    rows = await query(connection, _HOSTS, run.run_id, buckets[0], buckets[-1], schema=HOST)
    return rows, await _probes(connection, run, rows)


async def domains(
    connection: Connection, run: Run, buckets: range
) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    """Domains of `buckets` without verdict (DOMAIN), their hosts' verdicts (RELATED_VERDICT)."""
    rows = await query(connection, _DOMAINS, run.run_id, buckets[0], buckets[-1], schema=DOMAIN)
    names = _distinct(rows.column("mx_host"))
    verdicts = await query(
        connection,
        _VERDICTS,
        run.run_id,
        [bucket(name) for name in names],
        names,
        schema=HOST_VERDICT.schema,
    )
    return rows, await with_covering_names(connection, rows, verdicts)


async def with_covering_names(
    connection: Connection, domains: pa.RecordBatch, verdicts: pa.RecordBatch
) -> pa.RecordBatch:
    """Verdicts on MX hosts (HOST_VERDICT) with the domains' names that their leaves cover

    (RELATED_VERDICT).
    """
    wanted = [
        str(name)
        for column in ("domain", "cname_target")
        for name in domains.column(column).drop_null().to_pylist()
    ]
    leafs = _distinct(verdicts.column("address_leaf"))
    covering = await names_of(connection, [one for one in leafs if one], wanted)
    names_by_address = [
        [" ".join(covering.get(leaf, ())) for leaf in leafs_of_host]
        for leafs_of_host in _lists(verdicts.column("address_leaf"))
    ]
    field = RELATED_VERDICT.field("covering_names")
    return verdicts.append_column(field, pa.array(names_by_address, field.type))


def _lists(column: "pa.Array[Any]") -> list[list[str]]:
    """A column of lists, none of them null."""
    return [list(map(str, one or ())) for one in column.to_pylist()]


async def looked_up(
    connection: Connection, run: Run, names: Sequence[str]
) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    """MX hosts of these names (MX_HOST), and their addresses' probes (PROBE)."""
    rows = await query(
        connection, _NAMED, run.run_id, list(map(bucket, names)), names, schema=MX_HOST.schema
    )
    return rows, await _probes(connection, run, rows)


async def _probes(connection: Connection, run: Run, hosts: pa.RecordBatch) -> pa.RecordBatch:
    addresses = _distinct(hosts.column("addresses"))
    earlier = await runs_before(connection, run.run_id, _EARLIER_RUNS)
    probes = await query(
        connection,
        _PROBES,
        run.run_id,
        [bucket(address) for address in addresses],
        addresses,
        earlier,
        schema=PROBE,
    )
    names = map(str, hosts.column("host").to_pylist())
    return await with_certificates(connection, probes, names, earlier)


def _distinct(lists: "pa.Array[Any]") -> list[str]:
    """The sorted distinct members of a column of lists."""
    return sorted(map(str, pc.unique(pc.list_flatten(lists)).to_pylist()))
