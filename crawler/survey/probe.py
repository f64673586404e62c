"""Stage probe: every (address, TLSA RRset, operator, SNI) of the run is connected to.

Shards are cut so that an operator's names and a network's addresses (/24, /48) stay in one
shard: whoever counts the connections to them then counts all of them.
"""

import ipaddress
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable
from functools import partial

import pyarrow as pa

from crawler.dns.client import Resolvers
from crawler.scan import probe as probe_scan
from crawler.survey.engine import Engine, Work
from crawler.survey.shards import Shard
from storage import missing
from storage.schemas import CERTIFICATE, SMTP_PROBE

FETCH_ROWS = 20_000


async def probe(
    engine: Engine, resolvers: Resolvers, operator: Callable[[str], str], families: Iterable[int]
) -> None:
    """All attempts (measurement, sections 4 and 6). Raises Stopped, LocalTrouble.

    `operator` names the operator of an MX host; `families` are those that this machine has.
    """
    settings = engine.settings.probe
    run = engine.run
    base_s = engine.settings.survey.shard_deadline_s

    async def targets(attempt: int) -> AsyncIterator[Shard]:
        async with engine.connection() as connection:
            found = [
                batch
                async for batch in missing.probes(
                    connection,
                    run,
                    attempt,
                    FETCH_ROWS,
                    operator=operator,
                    names_per_key=settings.names_per_key,
                )
            ]
        if found:
            rows = pa.Table.from_batches(found).combine_chunks().to_batches()[0]
            rows = rows.drop_columns(["attempt"])
            for shard in by_operator(rows, engine.parallel):
                # if all were one operator's and each took a whole session
                longest_s = shard.num_rows * settings.session_s / settings.per_operator
                yield Shard(shard, deadline_s=base_s + longest_s)

    for attempt, rest_s in enumerate((0.0, *settings.attempts_after_s), start=1):
        work = Work(
            stage="probe",
            scan=probe_scan.scan,
            options={
                "schema": SMTP_PROBE.schema,
                "certificate_schema": CERTIFICATE.schema,
                "probe": settings,
                "run_id": run.run_id,
                "attempt": attempt,
                "new_per_s": settings.new_per_s / engine.parallel,
                "families": tuple(families),
                "resolver": resolvers,
                "client": engine.client,
            },
            tables=(SMTP_PROBE, CERTIFICATE),
            counted="status",
            retry_wait_s=engine.settings.survey.worker_lost_wait_s,
        )
        await engine.finish_pass(
            work, attempt, partial(targets, attempt), replace=False, rest_s=rest_s
        )


def by_operator(rows: pa.RecordBatch, parts: int) -> list[pa.RecordBatch]:
    """At most `parts` batches of about the same size; no operator or network is in two.

    `rows` has the columns `operator` and `address`. Targets that share an operator or a
    network belong together, also over several steps (union-find).
    """
    parent: dict[str, str] = {}

    def root(node: str) -> str:
        while parent.setdefault(node, node) != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    operators = rows.column("operator").to_pylist()
    networks = [network(str(address)) for address in rows.column("address").to_pylist()]
    for one, other in zip(operators, networks, strict=True):
        parent[root(f"o {one}")] = root(f"n {other}")
    groups: dict[str, list[int]] = defaultdict(list)
    for index, other in enumerate(networks):
        groups[root(f"n {other}")].append(index)
    shards: list[list[int]] = [[] for _ in range(parts)]
    for group in sorted(groups.values(), key=len, reverse=True):
        min(shards, key=len).extend(group)
    return [rows.take(pa.array(sorted(indices))) for indices in shards if indices]


def network(address: str) -> str:
    """The /24 of an IPv4 address, the /48 of an IPv6 address."""
    bits = 24 if ipaddress.ip_address(address).version == 4 else 48
    return str(ipaddress.ip_network(f"{address}/{bits}", strict=False))
