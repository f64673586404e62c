"""Which rows of a run are due: the one question that every stage asks.

Asked bucket by bucket with the key, never of a whole table a shard. The questions are the
`.sql` files beside this module; each says which index carries it. $1 is the run everywhere.
"""

import functools
import importlib.resources
import itertools
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime
from typing import Any

import asyncpg
import pyarrow as pa

from dane.names import bucket
from dane.outcomes import DomainStatus, HostStatus
from storage.database import Connection
from storage.read import query, to_batch
from storage.run import Run, RunKind, runs_before
from storage.schemas import (
    AUTHORITY,
    DOMAIN_MX,
    MX_HOST,
    NAMES,
    SMTP_PROBE,
    TIME,
    TLSA_SERVER,
    WANTED_HOST,
)

_cursors = itertools.count(1)
_EARLIER = ("passes", "first_asked", "ede_code", "ede_text", "last_asked")
_RECENT_RUNS = 3  # whose servers should still be there
_EARLIER_RUNS = 60  # two months of daily ones


def _optional(schema: pa.Schema, *names: str) -> "list[pa.Field[Any]]":
    return [schema.field(name).with_nullable(True) for name in names]


ASK_DOMAIN = pa.schema(
    [
        DOMAIN_MX.schema.field("bucket"),
        DOMAIN_MX.schema.field("domain"),
        pa.field("ns", NAMES, nullable=False),  # the delegation's NS set: who is asked
        *_optional(DOMAIN_MX.schema, *_EARLIER),  # of the earlier passes; null before the first
    ]
)

ASK_POLICY = pa.schema([ASK_DOMAIN.field(name) for name in ("bucket", "domain", "ns")])

ASK_HOST = pa.schema(
    [
        MX_HOST.schema.field("bucket"),
        MX_HOST.schema.field("host"),
        *_optional(MX_HOST.schema, *_EARLIER),
    ]
)

ASK_PROBE = pa.schema(
    [
        SMTP_PROBE.schema.field(name)
        for name in (
            "bucket",
            "address",
            "tlsa_digest",
            "operator",
            "sni",
            "attempt",
            "host",
            "tlsa",
            "dns_asked",
        )
    ]
    + [
        # certificates (DER) that this server showed in earlier runs; of a first attempt none
        pa.field(
            "earlier", pa.list_(pa.field("item", pa.binary(), nullable=False)), nullable=False
        ),
        # no connection to the address earlier than this; null: none was made lately
        pa.field("not_before", TIME, nullable=True),
        # whether one of the last runs saw a certificate there: a canary of port 25
        pa.field("reached", pa.bool_(), nullable=False),
    ]
)

ASK_AUTHORITY = pa.schema(
    [
        AUTHORITY.schema.field("bucket"),
        AUTHORITY.schema.field("name"),
        AUTHORITY.schema.field("rrtype"),
        pa.field("ns", NAMES, nullable=False),  # empty where it is not known
    ]
)

ASK_SERVERS = pa.schema(
    [TLSA_SERVER.schema.field(name) for name in ("bucket", "host", "name", "round")]
)

# Which verdicts of the base run choose a domain for a run that is not full.
_CHOSEN = {
    RunKind.DANE: (
        DomainStatus.DANE,
        DomainStatus.PARTIAL,
        DomainStatus.UNUSABLE,
        DomainStatus.BROKEN,
        DomainStatus.UNREACHABLE,
        DomainStatus.LOOKUP_FAILED,
        DomainStatus.INDETERMINATE,
    ),
    RunKind.SUSPECTS: (DomainStatus.BROKEN, DomainStatus.LOOKUP_FAILED),
}

# A status of one attempt that another attempt may better, or confirm (measurement, section 6).
ASK_AGAIN = [
    status.value
    for status in (
        HostStatus.MISMATCH,
        HostStatus.TA_EXPIRED,
        HostStatus.NAME_MISMATCH,
        HostStatus.NO_STARTTLS,
        HostStatus.STARTTLS_REJECTED,
        HostStatus.TLS_FAILED,
        HostStatus.TEMPFAIL,
        HostStatus.REFUSED,
        HostStatus.UNREACHABLE,
        HostStatus.LOCAL_ERROR_SMTP,
    )
]


def chosen_statuses(kind: RunKind) -> list[str]:
    """Which verdicts of the base run choose a domain for a run of this kind, not a full one."""
    return [status.value for status in _CHOSEN[kind]]


@functools.cache
def _sql(name: str) -> str:
    return (importlib.resources.files("storage.due") / f"{name}.sql").read_text("utf-8")


async def domains(connection: Connection, run: Run, buckets: range) -> pa.RecordBatch:
    """Domains of the run that have no row (ASK_DOMAIN)."""
    bounds = (run.run_id, buckets.start, buckets.stop)
    if run.base is None:
        return await query(connection, _sql("domains"), *bounds, schema=ASK_DOMAIN)
    return await query(
        connection,
        _sql("chosen_domains"),
        *bounds,
        run.base,
        chosen_statuses(run.kind),
        schema=ASK_DOMAIN,
    )


async def failing_domains(
    connection: Connection, run: Run, passes: int, until: datetime, rows: int
) -> pa.RecordBatch:
    """Domains that fail after `passes` lookups, the last one by `until` (ASK_DOMAIN)."""
    return await query(
        connection,
        _sql("failing_domains"),
        run.run_id,
        passes,
        until,
        rows,
        schema=ASK_DOMAIN,
    )


async def next_domain(
    connection: Connection, run: Run, passes: int, after: datetime
) -> datetime | None:
    """When the next one of those was last asked."""
    return await _moment(connection, "next_domain", run.run_id, passes, after)


async def hosts(connection: Connection, run: Run, buckets: range) -> pa.RecordBatch:
    """MX hosts of the run's secure MX RRsets that have no row (ASK_HOST)."""
    return await query(
        connection,
        _sql("hosts"),
        run.run_id,
        buckets.start,
        buckets.stop,
        schema=ASK_HOST,
    )


async def unwanted_hosts(
    connection: Connection, run: Run, rows: int
) -> AsyncIterator[pa.RecordBatch]:
    """MX hosts that `wanted_host` lacks, `rows` a batch (WANTED_HOST): none, see its `.sql`.

    The connection is in use until the iterator is exhausted or closed.
    """
    async for lacking in _held(connection, _sql("unwanted_hosts"), rows, run.run_id):
        yield to_batch(
            [(run.run_id, bucket(row["host"]), row["host"], row["hosts"]) for row in lacking],
            WANTED_HOST.schema,
        )


async def failing_hosts(
    connection: Connection, run: Run, passes: int, until: datetime, rows: int
) -> pa.RecordBatch:
    """MX hosts of which a lookup fails after `passes` lookups, the last one by `until`

    (ASK_HOST).
    """
    return await query(
        connection,
        _sql("failing_hosts"),
        run.run_id,
        passes,
        until,
        rows,
        schema=ASK_HOST,
    )


async def next_host(
    connection: Connection, run: Run, passes: int, after: datetime
) -> datetime | None:
    """When the next one of those was last asked."""
    return await _moment(connection, "next_host", run.run_id, passes, after)


async def hosts_to_probe(connection: Connection, run: Run, buckets: range) -> list[dict[str, Any]]:
    """MX hosts with a secure TLSA RRset: host, operator, addresses, tlsa_digest, sni, tlsa,

    dns_asked, hosts (see `targets.sql`).
    """
    rows = await connection.fetch(_sql("targets"), run.run_id, buckets.start, buckets.stop)
    return list(map(dict, rows))


async def reached(connection: Connection, run: Run, addresses: Iterable[str]) -> set[str]:
    """Those of the addresses whose servers showed a certificate in one of the last runs."""
    earlier = await runs_before(connection, run.run_id, _RECENT_RUNS)
    wanted = sorted(set(addresses))
    buckets = [bucket(address) for address in wanted]
    rows = await connection.fetch(_sql("reached"), earlier, buckets, wanted)
    return {row["address"] for row in rows}


async def probed(
    connection: Connection, run: Run, addresses: Sequence[str]
) -> list[dict[str, Any]]:
    """First attempts at these addresses: address, tlsa_digest, operator, sni."""
    buckets = [bucket(address) for address in addresses]
    return list(map(dict, await connection.fetch(_sql("probed"), run.run_id, buckets, addresses)))


async def probed_by(
    connection: Connection, run: Run, rows: int
) -> AsyncIterator[list[dict[str, Any]]]:
    """How many targets have a row: operator, address, targets; `rows` a portion.

    The connection is in use until the iterator is exhausted or closed.
    """
    async for portion in _held(connection, _sql("probed_by"), rows, run.run_id):
        yield list(map(dict, portion))


async def targets_again(
    connection: Connection, run: Run, attempt: int, until: datetime, rows: int
) -> list[dict[str, Any]]:
    """What the attempt before `attempt` did not settle, made by `until`: columns of ASK_PROBE."""
    earlier = await runs_before(connection, run.run_id, _EARLIER_RUNS)
    found = await connection.fetch(
        _sql("targets_again"), run.run_id, attempt, ASK_AGAIN, earlier, until, rows
    )
    return list(map(dict, found))


async def next_target(
    connection: Connection, run: Run, attempt: int, after: datetime
) -> datetime | None:
    """When the next one of those was connected to."""
    return await _moment(connection, "next_target", run.run_id, attempt, ASK_AGAIN, after)


async def resting(connection: Connection, run: Run) -> list[dict[str, Any]]:
    """What failed and may be asked again: stage, passes, rows, first (see `resting.sql`)."""
    return list(map(dict, await connection.fetch(_sql("resting"), run.run_id)))


async def failures(connection: Connection, run: Run, passes: int, rows: int) -> pa.RecordBatch:
    """Names that failed `passes` lookups or more, whose authorities were not asked

    (ASK_AUTHORITY).
    """
    return await query(connection, _sql("failures"), run.run_id, passes, rows, schema=ASK_AUTHORITY)


async def policies(connection: Connection, run: Run, buckets: range) -> tuple[pa.RecordBatch, None]:
    """Domains with a TLSA host whose policies were not asked for (ASK_POLICY), and None."""
    rows = await query(
        connection, _sql("policies"), run.run_id, buckets.start, buckets.stop, schema=ASK_POLICY
    )
    return rows, None


async def _moment(connection: Connection, name: str, *arguments: Any) -> datetime | None:
    moment: datetime | None = await connection.fetchval(_sql(name), *arguments)
    return moment


async def servers(connection: Connection, run: Run, first: int, rows: int) -> pa.RecordBatch:
    """Hosts with a TLSA RRset whose servers were not asked for it yet, from bucket `first` on

    (ASK_SERVERS).
    """
    return await query(connection, _sql("servers"), run.run_id, first, rows, schema=ASK_SERVERS)


async def servers_again(
    connection: Connection, run: Run, until: datetime, rows: int
) -> pa.RecordBatch:
    """Hosts of which the first round, asked by `until`, is not settled (ASK_SERVERS)."""
    arguments = (run.run_id, until, rows)
    return await query(connection, _sql("servers_again"), *arguments, schema=ASK_SERVERS)


async def next_servers(connection: Connection, run: Run) -> datetime | None:
    """When the first of these was asked."""
    return await _moment(connection, "next_servers", run.run_id)


async def _held(
    connection: Connection, sql: str, rows: int, *arguments: Any
) -> AsyncIterator[list[asyncpg.Record]]:
    """The rows of a query in portions, from a cursor that outlives its transaction.

    It is closed at the end, and otherwise with the connection, or when a pool gets that back.
    """
    name = f"due_{next(_cursors)}"
    await connection.execute(f"DECLARE {name} CURSOR WITH HOLD FOR {sql}", *arguments)
    while found := await connection.fetch(f"FETCH {rows} FROM {name}"):
        yield found
    await connection.execute(f"CLOSE {name}")
