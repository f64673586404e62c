"""Policies beside DANE: rows of `domain_policy` (RFC 8461, RFC 8460).

Two TXT questions a domain with a TLSA host: does it publish an MTA-STS record, and a TLSRPT
record? Nothing is fetched over HTTPS, so the mode of MTA-STS is not known.
"""

from collections.abc import Callable, Hashable, Iterable
from typing import Any, NamedTuple

import pyarrow as pa

from crawler.dns.lookup import Answer, Lookup, lookup
from crawler.dns.rdata import TXT
from crawler.dns.window import Times
from crawler.scan import run
from crawler.scan.confirmed_lookups import ConfirmedLookups
from crawler.scan.context import ScanContext
from dane.names import NameFault
from dane.outcomes import LookupOutcome
from dane.policies import has_mta_sts, has_tlsrpt

_COLUMNS = (
    *("run_id", "bucket", "domain", "mta_sts_outcome", "mta_sts", "tlsrpt_outcome", "tlsrpt"),
    "last_asked",
)


class _Policies(NamedTuple):
    mta_sts: Answer | None  # None: no room for the prefix in 255 bytes, so there is none
    tlsrpt: Answer | None


def scan(shard: pa.RecordBatch, context: ScanContext) -> pa.RecordBatch:
    """Look up a shard's domains: one row each of `domain_policy`, in any order.

    shard   bucket, domain, ns (names of its servers; spaces the questions to each set)

    What is not confirmed by canaries has no row.
    """
    (schema,) = context.schemas
    domains: list[Any] = shard.column("domain").to_pylist()
    buckets = shard.column("bucket").to_pylist()
    sets: list[Any] = shard.column("ns").to_pylist()

    def servers(index: int) -> Hashable | None:
        return tuple(sorted(sets[index])) if sets[index] else None

    def row(index: int, found: _Policies, times: Times) -> tuple[Any, ...]:
        return (
            context.run_id,
            buckets[index],
            domains[index],
            *_said(found.mta_sts, has_mta_sts),
            *_said(found.tlsrpt, has_tlsrpt),
            times.last_us,
        )

    lookups = ConfirmedLookups(
        len(domains),
        lambda index: _look_up(domains[index], context.last_lookup),
        row,
        context,
        failed=lambda found: any(one is not None and one.failed for one in found),
        servers=servers,
    )
    run(lookups.run)
    return lookups.batch(_COLUMNS, schema)


def _look_up(domain: str, last_lookup: bool) -> Lookup[_Policies]:
    answers: list[Answer | None] = []
    for prefix in ("_mta-sts", "_smtp._tls"):
        try:
            answers.append((yield from lookup(f"{prefix}.{domain}", TXT, last_lookup)))
        except NameFault:
            answers.append(None)
    return _Policies(*answers)


def _said(
    answer: Answer | None, has_record: Callable[[Iterable[bytes]], bool]
) -> tuple[LookupOutcome | None, bool | None]:
    """The outcome, and whether there is a valid record; null where that is not known."""
    if answer is None:
        return None, False
    if answer.failed or answer.local:
        return answer.outcome, None
    return answer.outcome, has_record(one for one in answer.records if isinstance(one, bytes))
