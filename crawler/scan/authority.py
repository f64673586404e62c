"""Confirmed failures to what each authoritative server does: rows of `authority`.

Measurement, section 2, last paragraph. One row a name and type; its lists are parallel, an
entry a (server, address, transport, question).
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pyarrow as pa
import trio

from crawler.addresses import Addresses
from crawler.dns import direct
from crawler.dns.authority import Authorities, Findings
from crawler.dns.client import Client
from crawler.dns.settings import ResolverSettings
from crawler.opt_out import OptOut
from crawler.scan import run
from crawler.scan.canary_round import Round, attach, canary_rounds
from crawler.scan.columns import batch
from crawler.scan.confirmation import Confirmation
from crawler.scan.context import ScanContext
from crawler.scan.tasks import Tasks
from crawler.smtp.settings import ProbeSettings
from dane.names import operator

AT_ONCE = 100  # names; each asks all its addresses at once
_LOOPBACK = ("127.0.0.0/8", "::1/128")

_COLUMNS = (
    *("run_id", "bucket", "name", "rrtype"),
    *("zone", "failed_name", "dns_cause", "all_good"),
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

    What is not enclosed by two good rounds of canaries has no row, nor has what
    `crawler.scan.stop` left undone.
    """
    (schema,) = context.schemas
    names: list[tuple[int, str, str]] = list(
        zip(*(shard.column(c).to_pylist() for c in ("bucket", "name", "rrtype")), strict=True)
    )

    async def examine(authorities: Authorities, index: int) -> tuple[Any, ...]:
        bucket, name, rrtype = names[index]
        findings = await authorities.examine(name, rrtype)
        return context.run_id, bucket, name, rrtype, *_lists(findings)

    rows, rounds = ask_directly(len(names), examine, context)
    return attach(batch(_COLUMNS, rows, schema), rounds)


def ask_directly(
    count: int,
    examine: Callable[[Authorities, int], Awaitable[tuple[Any, ...]]],
    context: ScanContext,
) -> tuple[list[tuple[Any, ...]], Sequence[Round]]:
    """The row that `examine` makes of each of `count` names, and the rounds of canaries."""
    listed, table = OptOut(context.probe.opt_out), context.operator_merges
    authorities = Authorities(
        context.resolvers.first[0],
        Addresses(context.lab_networks),
        context.client,
        opted_out=lambda server, address: listed.covers(
            names=(server,), operator=operator(server, table), address=address
        ),
    )
    rows: list[tuple[Any, ...]] = []
    rounds: Sequence[Round] = ()

    async def main() -> None:
        nonlocal rounds
        client = Client(context.resolvers, context.client, try_s=context.try_s)
        async with client.serving(), direct.shared_sockets(), trio.open_nursery() as nursery:
            checks = canary_rounds(client, context)
            rounds = checks.rounds if checks else ()
            tasks: Tasks[int] = Tasks(range(count))
            confirmation: Confirmation[int, tuple[Any, ...]] = Confirmation(
                count,
                tasks,
                lambda _, row: rows.append(row),
                checks,
                shortest_limit_s=context.client.direct_try_s,
            )

            async def ask(index: int) -> None:
                confirmation.began(index)
                confirmation.done(index, await examine(authorities, index))

            for _ in range(min(AT_ONCE, count)):
                nursery.start_soon(tasks.take_in_turn, ask)
            await confirmation.run()
            nursery.cancel_scope.cancel()

    run(main)
    return rows, rounds


def _lists(findings: Findings) -> tuple[Any, ...]:
    entries = findings.entries
    return (
        findings.zone,
        findings.name,
        findings.cause,
        findings.all_good,
        [entry.server for entry in entries],
        [entry.address for entry in entries],
        [entry.transport for entry in entries],
        [entry.question for entry in entries],
        [entry.result.value for entry in entries],
        findings.note,
        int(findings.asked.timestamp() * 1_000_000),
    )
