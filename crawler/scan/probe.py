"""The probe scan: connects to DANE mail servers and compares their chains with the TLSA.

One row in is one key of a probe, (address, TLSA RRset, operator, SNI); one row out is one
attempt at it, with the host status that this attempt alone gives (measurement, section 6;
how attempts and addresses combine is `dane.assess`). Its parts:

    target.py        Key, a row of the shard
    visits.py        which connection is made when
    permission.py    who must not be connected to
    visitor.py       one connection, and what several come to
    recheck.py       the DNS asked again around it
    judgement.py     conversations and records in, a status out
    attempt.py       what is stored of it
    confirmation.py  when it is believed
    probe_checks.py  by which checks: the DNS, and port 25

A server that showed its certificate was there, and so were we. Any other end of a visit may
be our own network's: it counts only if the canaries were good from before the visit until
after it (measurement, section 1), and else the server is visited again.
"""

from collections.abc import Sequence

import pyarrow as pa
import trio

import crawler.scan
from crawler.dns.client import Client
from crawler.scan.attempt import Attempt, OnRow, Rows, without_connection
from crawler.scan.canary_round import Round, attach, canary_rounds
from crawler.scan.confirmation import Confirmation
from crawler.scan.context import ScanContext
from crawler.scan.permission import Permission
from crawler.scan.probe_checks import ProbeChecks
from crawler.scan.recheck import Recheck
from crawler.scan.target import Key, keys_of
from crawler.scan.visitor import Progress, Visitor
from crawler.scan.visits import Visits
from crawler.smtp.etiquette import require_identity
from crawler.smtp.reachability import Reachability
from crawler.smtp.tls import Offer
from dane.faults import Fault


def scan(
    shard: pa.RecordBatch, context: ScanContext, *, on_row: OnRow | None = None
) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    """Probe every row of `shard`: (rows of `smtp_probe`, rows of `certificate`).

    The shard has the columns bucket, address, tlsa_digest, operator, sni, attempt, host, tlsa,
    dns_asked, and may have earlier (its certificates in earlier runs, to tell stale records),
    not_before (when its address may be connected to again) and reached (by the last run: then
    its visit is a canary of port 25); no other shard may hold its
    operators or networks at the same time.
    Rows of a family that is not among `families` are `unprobed`. With `resolvers` answers that
    are too old are asked for again, and a mismatch is matched with fresh records before it
    counts; with `canaries` too, what these do not enclose has no row.
    `on_row` is called in the scan's thread. After `crawler.scan.stop` only the finished rows are
    returned.
    Raises UsageFault without an identity, unless there is no family and so nothing to connect to,
    or for a bad opt-out list.
    """
    schema, certificate_schema = context.schemas
    if context.families:
        require_identity(context.probe)
    probing = _Probing(keys_of(shard), context, Rows(on_row))
    crawler.scan.run(probing.run)
    if probing.fault is not None:
        raise probing.fault
    rows = [{"run_id": context.run_id, **row} for _, row in sorted(probing.rows.probes.items())]
    return (
        attach(pa.RecordBatch.from_pylist(rows, schema=schema), probing.rounds),
        probing.rows.certificates.rows(context.run_id, certificate_schema),
    )


class _Probing:
    """One scan: its parts, put together."""

    def __init__(self, keys: Sequence[Key], context: ScanContext, rows: Rows) -> None:
        self.rows = rows
        self.rounds: Sequence[Round] = ()
        self.fault: Fault | None = None  # ended the scan
        self._port_25 = Reachability()
        self._keys = keys
        self._context = context

    async def run(self) -> None:
        context = self._context
        if not context.resolvers.first:
            await self._visit_all(None, None)
            return
        client = Client(context.resolvers, context.client, try_s=context.client.last_try_s)
        async with client.serving():
            checks: ProbeChecks | None = None
            canaries = canary_rounds(client, context)
            if canaries and context.canaries:
                self.rounds = canaries.rounds
                checks = ProbeChecks(canaries, self._port_25, context.canaries.recovery_s)
            await self._visit_all(Recheck(client, context.resolvers), checks)

    async def _visit_all(self, recheck: Recheck | None, checks: ProbeChecks | None) -> None:
        settings = self._context.probe
        permission = Permission(self._context)
        visitor = Visitor(self._context, permission, recheck)
        visits = Visits(self._keys, settings)
        confirmation: Confirmation[int, Attempt] = Confirmation(
            len(self._keys),
            visits,
            self.rows.add,
            checks,
            shortest_limit_s=min(settings.connect_s, settings.reply_s, settings.tls_s),
        )
        under_way: dict[int, Progress] = {}

        async def visit(target: int, offer: Offer) -> Offer | None:
            if offer is Offer.MODERN:  # the first connection, maybe once more
                confirmation.began(target)
                under_way[target] = Progress(self._keys[target], self._port_25.pauses)
            try:
                outcome = await visitor.visit(under_way[target], offer)
            except Fault as fault:
                self.fault = fault
                nursery.cancel_scope.cancel()
                return None
            if isinstance(outcome, Offer):
                return outcome
            progress = under_way.pop(target)
            if outcome.visited and progress.key.reached and progress.pauses == self._port_25.pauses:
                key = progress.key
                self._port_25.add(key.address, key.operator, reached=outcome.reached)
                if not outcome.reached and self._port_25.down():
                    confirmation.doubt()
            confirmation.done(target, outcome, proven=outcome.proven)
            return None

        for target, key in enumerate(self._keys):
            if (reason := permission.refusal(key)) is not None:
                confirmation.done(target, without_connection(key, reason), proven=True)
            else:
                visits.plan(target)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(visits.run, visit)
            await confirmation.run()
            nursery.cancel_scope.cancel()
