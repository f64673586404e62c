"""Stage probe: every (address, TLSA RRset, operator, SNI) of the run is connected to.

An operator's names and a network's addresses (/24, /48) are never in two shards that are at
work at the same time: whoever counts the connections to them counts all of them. So there are
as many lines of shards as scans at once, and of each line one shard after the other goes out.
"""

from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import replace
from functools import partial

import pyarrow as pa

from crawler.coordinator.engine import Engine, StagePass, Work
from crawler.coordinator.shards import Shard
from crawler.dns.client import Resolvers
from crawler.scan import probe as probe_scan
from crawler.scan.context import Family
from crawler.smtp.etiquette import network
from crawler.smtp.settings import ProbeSettings
from storage import due
from storage.database import patiently
from storage.schemas import CERTIFICATE, SMTP_PROBE

FETCH_ROWS = 20_000
SHARD_S = 300.0  # of new connections at their rate: long beside the last session's end
CONNECTIONS_A_ROW = 2  # a failed handshake, or another key type, is one more


async def probe(
    engine: Engine,
    resolvers: Resolvers,
    operator: Callable[[str], str],
    families: Iterable[Family],
) -> None:
    """All attempts (measurement, sections 4 and 6). Raises Stopped, LocalTrouble.

    operator   names the operator of an MX host
    families   those that this machine has
    """
    settings = engine.settings.probe
    run = engine.run

    async def targets(attempt: int, state: StagePass) -> AsyncIterator[Shard]:
        async with engine.connection() as connection:
            found = [
                batch
                async for batch in due.probes(
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
            rows = await _with_reached(engine, rows)
            most = max(1, int(SHARD_S * settings.new_per_s / engine.parallel))
            for line in by_operator(rows, engine.parallel):
                first, *after = (Shard(one) for one in in_turn(line, most))
                yield Shard(first.rows, after=tuple(after))

    def work() -> Work:
        context = engine.context(resolvers, SMTP_PROBE, CERTIFICATE)
        context = replace(context, families=frozenset(families))
        return Work(
            stage="probe",
            scan=probe_scan.scan,
            context=context,
            tables=(SMTP_PROBE, CERTIFICATE),
            counted="status",
            deadline_s=partial(_longest_s, context.probe),
            retry_wait_s=engine.settings.survey.worker_lost_wait_s,
        )

    begun = engine.begun("probe")
    for attempt, rest_s in enumerate((0.0, *settings.attempts_after_s), start=1):
        # Not the end: where a run goes on, a later attempt may have been cut short.
        if (begun or attempt > 1) and not await _any_left(engine, attempt, operator):
            continue
        await engine.finish_pass(
            work, attempt, partial(targets, attempt), replace=False, rest_s=rest_s
        )


async def _with_reached(engine: Engine, rows: pa.RecordBatch) -> pa.RecordBatch:
    """The rows with a column that says whose visit is a canary of port 25."""
    addresses = [str(address) for address in rows.column("address").to_pylist()]
    reached = await patiently(engine.pool, lambda held: due.reached(held, engine.run, addresses))
    return rows.append_column("reached", pa.array([one in reached for one in addresses]))


async def _any_left(engine: Engine, attempt: int, operator: Callable[[str], str]) -> bool:
    """Is there anything that the attempts before did not settle?"""
    names = engine.settings.probe.names_per_key
    async with engine.connection() as connection:
        async for _ in due.probes(
            connection, engine.run, attempt, 1, operator=operator, names_per_key=names
        ):
            return True
    return False


def _longest_s(settings: ProbeSettings, rows: pa.RecordBatch) -> float:
    """How long probing `rows` may take, if every session takes as long as it may."""
    of_operator, of_address = (
        max(Counter(rows.column(name).to_pylist()).values()) for name in ("operator", "address")
    )
    return CONNECTIONS_A_ROW * max(
        rows.num_rows / settings.new_per_s,
        of_operator * settings.session_s / settings.per_operator,
        of_address * (settings.address_interval_s + settings.session_s),
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


def in_turn(rows: pa.RecordBatch, most: int) -> list[pa.RecordBatch]:
    """Batches of about `most` rows, each with its part of every operator's addresses.

    An address is in one of them only, so that its connections keep their distance.
    """
    count = -(-rows.num_rows // most)
    operators, addresses = (rows.column(name).to_pylist() for name in ("operator", "address"))
    turn: dict[object, int] = {}
    for _, address in sorted(zip(operators, addresses, strict=True), key=str):
        turn.setdefault(address, len(turn) % count)
    batches: list[list[int]] = [[] for _ in range(count)]
    for index, address in enumerate(addresses):
        batches[turn[address]].append(index)
    return [rows.take(pa.array(indices)) for indices in batches if indices]
