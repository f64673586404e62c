"""Which rows of a run are due: the one question that every stage asks.

Asked bucket by bucket with the key, never of a whole table a shard. The questions are the
`.sql` files beside this module; each says which index carries it. $1 is the run everywhere.
"""

import functools
import importlib.resources
import itertools
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any

import asyncpg
import pyarrow as pa

from dane.names import bucket
from dane.outcomes import DomainStatus, HostStatus
from storage.database import Connection
from storage.read import query, to_batch
from storage.run import Run, RunKind, runs_before
from storage.schemas import AUTHORITY, DOMAIN_MX, MX_HOST, NAMES, SMTP_PROBE, WANTED_HOST

_cursors = itertools.count(1)
_EARLIER = ("passes", "first_asked", "ede_code", "ede_text")
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
    # certificates (DER) that this server showed in earlier runs; of a first attempt none
    + [pa.field("earlier", pa.list_(pa.field("item", pa.binary(), nullable=False)), nullable=False)]
)

ASK_AUTHORITY = pa.schema(
    [
        AUTHORITY.schema.field("bucket"),
        AUTHORITY.schema.field("name"),
        AUTHORITY.schema.field("rrtype"),
        pa.field("ns", NAMES, nullable=False),  # empty where it is not known
    ]
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
_ASK_AGAIN = (
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
        [status.value for status in _CHOSEN[run.kind]],
        schema=ASK_DOMAIN,
    )


async def failing_domains(
    connection: Connection, run: Run, buckets: range, passes: int
) -> pa.RecordBatch:
    """Domains that fail and were asked in fewer than `passes` passes (ASK_DOMAIN)."""
    return await query(
        connection,
        _sql("failing_domains"),
        run.run_id,
        buckets.start,
        buckets.stop,
        passes,
        schema=ASK_DOMAIN,
    )


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
    connection: Connection, run: Run, buckets: range, passes: int
) -> pa.RecordBatch:
    """MX hosts of which a lookup fails, asked in fewer than `passes` passes (ASK_HOST)."""
    return await query(
        connection,
        _sql("failing_hosts"),
        run.run_id,
        buckets.start,
        buckets.stop,
        passes,
        schema=ASK_HOST,
    )


async def probes(
    connection: Connection,
    run: Run,
    attempt: int,
    rows: int,
    *,
    operator: Callable[[str], str],
    names_per_key: int,
) -> AsyncIterator[pa.RecordBatch]:
    """Targets of this attempt that have no row, about `rows` a batch (ASK_PROBE).

    The first attempt: of each (address, TLSA RRset, operator) the `names_per_key` SNI names
    whose digest is lowest, the same ones whenever it is asked. A later attempt: what the one
    before it did not settle, with what the server showed in earlier runs. `operator` names the
    operator of an MX host. The connection is in use until the iterator is exhausted or closed.
    """
    if attempt > 1:
        again = [status.value for status in _ASK_AGAIN]
        earlier = await runs_before(connection, run.run_id, _EARLIER_RUNS)
        async for found in _held(
            connection, _sql("targets_again"), rows, run.run_id, attempt, again, earlier
        ):
            yield to_batch(found, ASK_PROBE)
        return
    # SNI names of each operator at one (address, TLSA RRset): in the query's order, so only
    # one key's are held
    names: dict[str, set[str]] = {}
    key: tuple[str, str] | None = None
    held: list[Sequence[Any]] = []
    async for found in _held(connection, _sql("targets"), rows, run.run_id):
        for row in found:
            address, digest, sni, host = (
                row[name] for name in ("address", "tlsa_digest", "sni", "host")
            )
            if key != (address, digest):
                key = (address, digest)
                names.clear()
            whose = operator(host)
            taken = names.setdefault(whose, set())
            if sni in taken or len(taken) == names_per_key:
                continue
            taken.add(sni)
            if whose not in row["done"]:
                held.append(
                    (
                        bucket(address),
                        address,
                        digest,
                        whose,
                        sni,
                        1,
                        host,
                        row["tlsa"],
                        row["dns_asked"],
                        [],
                    )
                )
        if len(held) >= rows:
            yield to_batch(held, ASK_PROBE)
            held = []
    if held:
        yield to_batch(held, ASK_PROBE)


async def reached(connection: Connection, run: Run, addresses: Iterable[str]) -> set[str]:
    """Those of the addresses whose servers showed a certificate in one of the last runs."""
    earlier = await runs_before(connection, run.run_id, _RECENT_RUNS)
    wanted = sorted(set(addresses))
    buckets = [bucket(address) for address in wanted]
    rows = await connection.fetch(_sql("reached"), earlier, buckets, wanted)
    return {row["address"] for row in rows}


async def unexplained(connection: Connection, run: Run, buckets: range) -> pa.RecordBatch:
    """Names whose lookup failed and whose authorities were not asked (ASK_AUTHORITY)."""
    return await query(
        connection,
        _sql("failures"),
        run.run_id,
        buckets.start,
        buckets.stop,
        schema=ASK_AUTHORITY,
    )


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
