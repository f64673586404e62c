"""Confirmed failures to what each authoritative server does: rows of `authority`.

Measurement, section 2, last paragraph. One row a name and type; its lists are parallel, an
entry a (server, address, transport, question).
"""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import trio

from crawler.addresses import Addresses
from crawler.dns.authority import Authorities, Findings
from crawler.dns.canaries import Canaries, Health
from crawler.dns.client import Client
from crawler.dns.settings import ResolverSettings
from crawler.opt_out import OptOut
from crawler.scan import run
from crawler.scan.columns import batch
from crawler.scan.context import ScanContext
from crawler.scan.looks import Look, attach
from crawler.scan.recovery import recovered
from crawler.smtp.settings import ProbeSettings
from dane.names import operator

AT_ONCE = 100  # names; each asks all its addresses at once
PORTION = 500  # names between two looks at the canaries: a minute or so
_LOOPBACK = ("127.0.0.0/8", "::1/128")

_COLUMNS = (
    *("run_id", "bucket", "name", "rrtype"),
    *("server", "address", "transport", "question", "result", "note", "asked"),
)


def lab_networks(resolver: ResolverSettings, probe: ProbeSettings) -> tuple[str, ...]:
    """`ScanContext.lab_networks`: where a lab's name servers are; none outside a lab."""
    return (*_LOOPBACK, *probe.lab_addresses) if resolver.query_localhost else ()


def scan(shard: pa.RecordBatch, context: ScanContext) -> pa.RecordBatch:
    """Ask the authorities of each row's (name, rrtype): one row each of `authority`.

    shard   bucket, name, rrtype

    `client.questions_per_s_per_name_server_set` counts for each address here: where several
    scans work at once, each gets its part of it. Only `lab_networks` and public addresses are
    asked, and no server that is on the opt-out list by name, operator or address.

    Canaries are looked at before, during and after each PORTION of names. After a bad look it
    is done once more; after a second one, or `crawler.scan.stop`, the names of that portion and
    the rest have no row.
    """
    (schema,) = context.schemas
    run_id, resolver, client = context.run_id, context.resolvers, context.client
    canaries = context.canaries
    assert canaries is not None
    names: list[tuple[int, str, str]] = list(
        zip(*(shard.column(c).to_pylist() for c in ("bucket", "name", "rrtype")), strict=True)
    )
    listed, table = OptOut(context.probe.opt_out), context.operator_merges
    authorities = Authorities(
        resolver.first[0],
        Addresses(context.lab_networks),
        client,
        opted_out=lambda server, address: listed.covers(
            names=(server,), operator=operator(server, table), address=address
        ),
    )
    rows: list[tuple[Any, ...]] = []
    looks: Sequence[Look] = ()

    async def work(remaining: list[tuple[int, str, str]], done: list[tuple[Any, ...]]) -> None:
        while remaining:
            bucket, name, rrtype = remaining.pop()
            findings = await authorities.examine(name, rrtype)
            done.append((run_id, bucket, name, rrtype, *_lists(findings)))

    async def enclosed(watch: Canaries, portion: list[tuple[int, str, str]]) -> bool:
        """Do a portion; False if a canary was bad: its time-outs may be our own network's."""
        remaining, done = list(portion), list[tuple[Any, ...]]()
        async with trio.open_nursery() as watching:
            watching.start_soon(_until_bad, watch, canaries.every_s, watching.cancel_scope)
            async with trio.open_nursery() as nursery:
                for _ in range(min(AT_ONCE, len(portion))):
                    nursery.start_soon(work, remaining, done)
            watching.cancel_scope.cancel()
        if len(done) < len(portion) or await watch.look() is not Health.GOOD:
            return False
        rows.extend(done)
        return True

    async def main() -> None:
        nonlocal looks
        async with Client(resolver, client, try_s=context.try_s).serving() as asker:
            watch = Canaries(asker, canaries)
            looks = watch.looks
            good = await watch.look() is Health.GOOD or await recovered(watch, resolver, canaries)
            for start in range(0, len(names), PORTION):
                portion = names[start : start + PORTION]
                good = good and (
                    await enclosed(watch, portion)
                    or (
                        await recovered(watch, resolver, canaries)
                        and await enclosed(watch, portion)
                    )
                )

    run(main)
    return attach(batch(_COLUMNS, rows, schema), looks)


async def _until_bad(watch: Canaries, every_s: float, scope: trio.CancelScope) -> None:
    """Look at the canaries now and then; cancel the scope when they are bad."""
    health = Health.GOOD
    while health is Health.GOOD:
        await trio.sleep(every_s)
        health = await watch.look()
    scope.cancel()


def _lists(findings: Findings) -> tuple[Any, ...]:
    entries = findings.entries
    return (
        [entry.server for entry in entries],
        [entry.address for entry in entries],
        [entry.transport for entry in entries],
        [entry.question for entry in entries],
        [entry.result.value for entry in entries],
        findings.note,
        int(findings.asked.timestamp() * 1_000_000),
    )
