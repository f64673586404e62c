"""The probe scan: connects to DANE mail servers and compares their chains with the TLSA.

One row in is one key of a probe, (address, TLSA RRset, operator, SNI); one row out is one
attempt at it, with the host status that this attempt alone gives (measurement, section 6;
how attempts and addresses combine is `dane.assess`). What a strange server does is its row's
status; an exception of ours is that row's `local_error_smtp`, and no other row's.

A server that showed its certificate was there, and so were we. Any other end of a visit may
be our own network's: it counts only if the canaries were good from before the visit until
after it (measurement, section 1), and else the server is visited again.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import trio

import crawler.scan
from crawler.addresses import Addresses
from crawler.dns.canaries import Canaries, Health
from crawler.dns.client import Client, Resolvers
from crawler.dns.settings import CanarySettings
from crawler.opt_out import OptOut
from crawler.scan.context import Family, ScanContext
from crawler.scan.judgement import Judged, judge, untouched
from crawler.scan.looks import Look, attach
from crawler.scan.open_files import within_open_files
from crawler.scan.recheck import Fresh, Recheck
from crawler.scan.recovery import recovered
from crawler.scan.target import Key, keys_of
from crawler.smtp.etiquette import Schedule, missing_identity, require_identity
from crawler.smtp.probe import Conversation, converse
from crawler.smtp.tls import Offer, key_type
from dane import clock
from dane.certificate import sha256_hex
from dane.faults import Fault
from dane.outcomes import HOST_CLASS, Defect, HostClass, HostStatus

_OTHER_KEY: dict[str, Offer] = {"rsa": Offer.ECDSA, "ecdsa": Offer.RSA}

_LAB_EHLO_NAME = "lab.invalid"
_MAX_STORED = 64 * 1024
"""Bytes of one chain whose certificates are kept; of the rest only the digests are."""

OnRow = Callable[[dict[str, Any], Mapping[str, bytes]], None]
"""Gets a row that will not change any more, without its run, and all certificates seen."""


@dataclass(frozen=True, slots=True)
class _Target:
    """One connection to make: for which row, offering what."""

    row: int
    offer: Offer


def scan(
    shard: pa.RecordBatch, context: ScanContext, *, on_row: OnRow | None = None
) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    """Probe every row of `shard`: (rows of `smtp_probe`, rows of `certificate`).

    The shard has the columns bucket, address, tlsa_digest, operator, sni, attempt, host, tlsa,
    dns_asked, and may have earlier (its certificates in earlier runs, to tell stale records);
    no other shard may hold its operators or networks at the same time.
    Rows of a family that is not among `families` are `unprobed`. With `resolvers` answers that
    are too old are asked for again, and a mismatch is matched with fresh records before it
    counts; with `canaries` too, what these do not enclose has no row.
    `on_row` is called in the scan's thread. After `crawler.scan.stop` only the finished rows are
    returned.
    Raises UsageFault without an identity, or for a bad opt-out list.
    """
    schema, certificate_schema = context.schemas
    require_identity(context.probe)
    probing = _Probing(keys_of(shard), context, on_row)
    crawler.scan.run(probing.run)
    if probing.fault is not None:
        raise probing.fault
    rows = [{"run_id": context.run_id, **row} for row in probing.rows if row is not None]
    certificates = [
        {"sha256": digest, "der": der, "first_run": context.run_id}
        for digest, der in sorted(probing.certificates.items())
    ]
    return (
        attach(pa.RecordBatch.from_pylist(rows, schema=schema), probing.looks),
        pa.RecordBatch.from_pylist(certificates, schema=certificate_schema),
    )


class _Probing:
    """The shard's progress: which connections are still to be made, and the rows so far."""

    def __init__(self, keys: list[Key], context: ScanContext, on_row: OnRow | None) -> None:
        settings = context.probe
        self.context = context
        self.at = context.at
        self.on_row = on_row
        self.keys = keys
        self.settings = settings
        self.families = context.families
        self.addresses = Addresses(settings.lab_addresses)
        self.opt_out = OptOut(settings.opt_out)
        self.schedule: Schedule[_Target] = Schedule(
            sessions=within_open_files(settings.sessions),
            new_per_s=settings.new_per_s,
            per_operator=settings.per_operator,
            address_interval_s=settings.address_interval_s,
        )
        self.talks: list[list[Conversation]] = [[] for _ in keys]
        self.rows: list[dict[str, Any] | None] = [None] * len(keys)
        self.enclosed = False  # by canaries
        self.looks: Sequence[Look] = ()
        self.epoch = 0  # one more with each bad canary
        self.begun = [0] * len(keys)  # the epoch of each row's first visit
        self.unconfirmed: dict[int, dict[str, Any]] = {}
        self.paused = False
        self.rested = trio.Event()  # no visit is left to make, but rows are unconfirmed
        self.certificates: dict[str, bytes] = {}
        self.changed = trio.Event()
        self.fault: Fault | None = None
        self.recheck: Recheck | None = None
        self.anonymous = bool(missing_identity(settings))
        self.ehlo_name = settings.ehlo_name or _LAB_EHLO_NAME

    async def run(self) -> None:
        resolver, canaries = self.context.resolvers, self.context.canaries
        client = self.context.client
        if not resolver.first:
            await self.visit_all()
            return
        async with Client(resolver, client, try_s=client.last_try_s).serving() as asking:
            self.recheck = Recheck(asking, resolver)
            if canaries is None:
                await self.visit_all()
                return
            watch = Canaries(asking, canaries)
            self.enclosed, self.looks = True, watch.looks
            if await watch.look() is Health.GOOD or await recovered(watch, resolver, canaries):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(
                        self.confirm, watch, resolver, canaries, nursery.cancel_scope
                    )
                    await self.visit_all()
                    nursery.cancel_scope.cancel()

    async def visit_all(self) -> None:
        for row, key in enumerate(self.keys):
            if (reason := self.not_contacted(key)) is not None:
                self.keep(row, self.made(row, [reason.talk], reason))
            else:
                self.schedule.add(_Target(row, Offer.MODERN), key.address, key.operator)
        async with trio.open_nursery() as nursery:
            while self.fault is None:
                if self.schedule.done:
                    if not self.unconfirmed:
                        break
                    self.rested.set()
                now = trio.current_time()
                target = None if self.paused else self.schedule.take(now)
                if target is not None:
                    nursery.start_soon(self.visit, target)
                    continue
                wait_s = None if self.paused else self.schedule.wait_s(now)
                with trio.move_on_after(math.inf if wait_s is None else wait_s):
                    await self.changed.wait()
                self.changed = trio.Event()
            if self.fault is not None:
                nursery.cancel_scope.cancel()

    async def confirm(
        self,
        watch: Canaries,
        resolver: Resolvers,
        settings: CanarySettings,
        scope: trio.CancelScope,
    ) -> None:
        """Believe what good canaries enclose, and plan the rest again; cancel the scope when
        the network does not come back."""
        while True:
            with trio.move_on_after(settings.every_s):
                await self.rested.wait()
            self.rested = trio.Event()
            enclosed = list(self.unconfirmed)
            if await watch.look() is Health.GOOD:
                for row in enclosed:
                    self.keep(row, self.unconfirmed.pop(row))
            else:
                self.epoch += 1
                self.paused = True
                for row in self.unconfirmed:
                    key = self.keys[row]
                    self.schedule.add_again(
                        _Target(row, Offer.MODERN), key.address, key.operator, trio.current_time()
                    )
                self.unconfirmed.clear()
                if not await recovered(watch, resolver, settings):
                    scope.cancel()
                self.paused = False
            self.changed.set()

    def not_contacted(self, key: Key) -> Judged | None:
        """Why this address must be left alone, if it must. Asked again at each connection."""
        if (refusal := self.addresses.refusal(key.address)) is not None:
            return untouched(HostStatus.RESERVED_ADDRESS, refusal)
        names = (key.host, key.sni)
        if self.opt_out.covers(names=names, operator=key.operator, address=key.address):
            return untouched(HostStatus.OPTED_OUT, "on the opt-out list")
        family: Family = 6 if ":" in key.address else 4
        if family not in self.families:
            return untouched(HostStatus.UNPROBED, f"no IPv{family} here")
        if self.ehlo_name in names:
            return untouched(HostStatus.UNPROBED, "the server's own name is our EHLO name")
        if self.anonymous and not self.addresses.is_lab(key.address):
            return untouched(HostStatus.UNPROBED, "not in the lab, and no identity is set")
        return None

    async def visit(self, target: _Target) -> None:
        row = target.row
        key, talks = self.keys[row], self.talks[row]
        if not talks:
            self.begun[row] = self.epoch
        again: _Target | None = None
        try:
            reason = await self.refresh(row)
            if reason is not None:
                again = self.finish(row, [reason.talk], reason)
            elif (reason := self.not_contacted(key)) is not None:
                self.keep(row, self.made(row, [reason.talk], reason))
            else:
                talks.append(
                    await converse(
                        key.address, key.sni, target.offer, self.settings, self.ehlo_name
                    )
                )
                offer = self.next_offer(talks)
                if offer is None:
                    again = self.finish(row, talks, *await self.judge(row, talks))
                else:
                    again = _Target(row, offer)
        except Fault as fault:
            self.fault = fault
        except Exception as bug:  # noqa: BLE001 - one session's bug is that session's row
            reason = untouched(HostStatus.LOCAL_ERROR_SMTP, repr(bug)[:200])
            self.keep(row, self.made(row, [reason.talk], reason))
        self.schedule.finished(target, trio.current_time(), again)
        self.changed.set()

    def next_offer(self, talks: Sequence[Conversation]) -> Offer | None:
        """What to offer in one more connection, if one is needed (measurement, section 4)."""
        if len(talks) > 1:
            return None
        (talk,) = talks
        if talk.status is HostStatus.TLS_FAILED:
            return Offer.LEGACY
        if talk.status is None and self.settings.both_key_types and talk.chain:
            kind = key_type(talk.chain[0])
            return _OTHER_KEY.get(kind[0]) if kind else None
        return None

    async def refresh(self, row: int) -> Judged | None:
        """Ask again for old DNS answers; the reason if there is nothing to connect for now."""
        key = self.keys[row]
        age_s = (clock.now() - key.dns_asked).total_seconds()
        if self.recheck is None or age_s <= self.settings.dns_max_age_s:
            return None
        if self.not_contacted(key) is not None:
            return None  # nor is anything asked about it
        fresh = await self.recheck.before(key.host, key.address, key.sni)
        if (reason := _withdrawn(fresh)) is not None:
            return reason
        self.keys[row] = replace(key, tlsa=fresh.tlsa, dns_asked=fresh.asked)
        return None

    async def judge(self, row: int, talks: Sequence[Conversation]) -> tuple[Judged, set[Defect]]:
        """As `judge`; what the certificate decides against the server, with fresh records too."""
        key = self.keys[row]
        found = judge(talks, key.records, key.sni, self.at or clock.now(), key.earlier)
        blamed = found[0].verification and HOST_CLASS[found[0].status] is HostClass.F
        if self.recheck is None or not blamed:
            return found
        fresh = await self.recheck.after_mismatch(key.sni)
        if fresh is None or fresh.tlsa == key.tlsa:
            return found
        if (reason := _withdrawn(fresh)) is not None:
            return reason, set()
        self.keys[row] = key = replace(key, tlsa=fresh.tlsa, dns_asked=fresh.asked)
        return judge(talks, key.records, key.sni, self.at or clock.now(), key.earlier)

    def finish(
        self,
        row: int,
        talks: Sequence[Conversation],
        judged: Judged,
        defects: Iterable[Defect] = (),
    ) -> _Target | None:
        """Keep what a row's connections showed, until a canary confirms it if need be; the
        target to visit again if a canary was bad meanwhile."""
        shown = self.made(row, talks, judged, defects)
        if not self.enclosed or all(talk.chain for talk in talks):
            self.keep(row, shown)
        elif self.begun[row] == self.epoch:
            self.unconfirmed[row] = shown
        else:
            return _Target(row, Offer.MODERN)
        return None

    def keep(self, row: int, shown: dict[str, Any]) -> None:
        self.rows[row] = shown
        if self.on_row is not None:
            self.on_row(shown, self.certificates)

    def made(
        self,
        row: int,
        talks: Sequence[Conversation],
        judged: Judged,
        defects: Iterable[Defect] = (),
    ) -> dict[str, Any]:
        """Make the row of what its connections showed."""
        key = self.keys[row]
        talk, result = judged.talk, judged.verification
        digests = [sha256_hex(der) for der in talk.chain]
        kept = 0
        for digest, der in zip(digests, talk.chain, strict=True):
            kept += len(der)
            if kept <= _MAX_STORED:
                self.certificates[digest] = der
        kind = key_type(talk.chain[0]) if talk.chain else None
        self.talks[row] = []
        return {
            "bucket": key.bucket,
            "address": key.address,
            "tlsa_digest": key.tlsa_digest,
            "operator": key.operator,
            "sni": key.sni,
            "attempt": key.attempt,
            "host": key.host,
            "status": judged.status,
            "tlsa": key.tlsa,
            "record_result": [one.result for one in result.records] if result else [],
            "record_cause": [one.cause or "" for one in result.records] if result else [],
            "matched_record": result.matched_record if result else None,
            "matched_depth": result.matched_depth if result else None,
            "name_decides": result.name_decides if result else False,
            "leaf_names": result.leaf_names if result else (),
            "chain": digests,
            "tls_version": talk.tls_version,
            "cipher": talk.cipher,
            "key_type": kind[1] if kind else None,
            "smtp_code": talk.smtp_code,
            "smtp_text": talk.smtp_text,
            "error": talk.error,
            "defects": sorted({*defects, *(result.defects if result else ())}),
            "dns_asked": key.dns_asked,
            "connected": talks[0].connected,
            "duration_ms": sum(one.duration_ms for one in talks),
        }


def _withdrawn(fresh: Fresh) -> Judged | None:
    """Why there is nothing to connect for, if so; what is our fault is tried again later."""
    if fresh.withdrawn is None:
        return None
    status = HostStatus.LOCAL_ERROR_SMTP if fresh.ours else HostStatus.UNPROBED
    return untouched(status, fresh.withdrawn)
