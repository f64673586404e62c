"""Confirmed failures to what each authoritative server does: rows of `authority`.

Measurement, section 2, last paragraph. One row a name and type; its lists are parallel, an
entry a (server, address, transport, question).
"""

from typing import Any

import pyarrow as pa
import trio

from crawler.addresses import Addresses
from crawler.dns.authority import Authorities, Findings
from crawler.dns.client import Resolvers
from crawler.dns.settings import ClientSettings
from crawler.scan import run
from crawler.scan.columns import batch

AT_ONCE = 100  # names; each asks all its addresses at once

_COLUMNS = (
    *("run_id", "bucket", "name", "rrtype"),
    *("server", "address", "transport", "question", "result", "note", "asked"),
)


def scan(
    shard: pa.RecordBatch,
    *,
    schema: pa.Schema,
    client: ClientSettings,
    resolver: Resolvers,
    run_id: int,
    lab_addresses: tuple[str, ...] = (),
) -> pa.RecordBatch:
    """Ask the authorities of each row's (name, rrtype): one row each of `schema`.

    shard          bucket, name, rrtype
    client         `questions_per_s_per_name_server_set` counts for each address in this
                   process: where several work at once, each gets its part of it
    lab_addresses  networks of a lab's name servers; else only public ones are asked

    After `crawler.scan.stop` the names that were not finished have no row.
    """
    names: list[tuple[int, str, str]] = list(
        zip(*(shard.column(c).to_pylist() for c in ("bucket", "name", "rrtype")), strict=True)
    )
    authorities = Authorities(resolver.first[0], Addresses(lab_addresses), client)
    rows: list[tuple[Any, ...]] = []

    async def examine(bucket: int, name: str, rrtype: str) -> None:
        findings = await authorities.examine(name, rrtype)
        rows.append((run_id, bucket, name, rrtype, *_lists(findings)))

    async def work(remaining: list[tuple[int, str, str]]) -> None:
        while remaining:
            await examine(*remaining.pop())

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(min(AT_ONCE, len(names))):
                nursery.start_soon(work, names)

    run(main)
    return batch(_COLUMNS, rows, schema)


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
