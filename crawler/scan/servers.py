"""DANE hosts to what each server of their zone says of the TLSA RRset: rows of `tlsa_server`.

Measurement, section 8: before it breaks anything, a server that fails, or that disagrees with
the others, is found by asking them all. What is not settled is asked once more, half an hour
later or more, as a round of its own; `dane.servers` says what both show.
"""

from typing import Any

import pyarrow as pa

from crawler.dns.authority import Authorities
from crawler.scan.authority import ask_directly
from crawler.scan.canary_round import attach
from crawler.scan.columns import batch
from crawler.scan.context import ScanContext
from dane import clock
from dane.servers import is_settled

_COLUMNS = (
    *("run_id", "bucket", "host", "round", "name", "zone", "settled"),
    *("server", "address", "result", "answer", "sound", "asked"),
)


def scan(shard: pa.RecordBatch, context: ScanContext) -> pa.RecordBatch:
    """Ask all servers about each host's TLSA RRset: one row each of `tlsa_server`.

    shard   bucket, host, name (of the TLSA RRset), round

    Bounds and manners are those of `crawler.scan.authority`.
    """
    (schema,) = context.schemas
    columns = (shard.column(c).to_pylist() for c in ("bucket", "host", "name", "round"))
    hosts: list[tuple[int, str, str, int]] = list(zip(*columns, strict=True))

    async def compare(authorities: Authorities, index: int) -> tuple[Any, ...]:
        bucket, host, name, number = hosts[index]
        asked_us = clock.microseconds()
        zone, answers = await authorities.compare(name)
        return (
            *(context.run_id, bucket, host, number, name, zone, is_settled(answers)),
            [one.server for one in answers],
            [one.address for one in answers],
            [one.result.value for one in answers],
            [one.answer for one in answers],
            [one.sound for one in answers],
            asked_us,
        )

    rows, rounds = ask_directly(len(hosts), compare, context)
    return attach(batch(_COLUMNS, rows, schema), rounds)
