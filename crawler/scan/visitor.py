"""One server: asked about once more, connected to, and judged (measurement, section 4)."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import trio

from crawler.scan.attempt import Attempt, without_connection
from crawler.scan.context import ScanContext
from crawler.scan.judgement import Judged, judge, untouched
from crawler.scan.permission import Permission
from crawler.scan.recheck import Fresh, Recheck
from crawler.scan.target import Key
from crawler.smtp.probe import Conversation, converse
from crawler.smtp.tls import KeyFamily, Offer, can_choose_key_type, key_type
from dane import clock
from dane.faults import Fault
from dane.outcomes import HOST_CLASS, Defect, HostClass, HostStatus
from dane.work import SHORT_STEPS, Exhausted

_OTHER_KEY: dict[KeyFamily, Offer] = {
    "rsa": Offer.ECDSA,
    "ecdsa": Offer.RSA,
    "other": Offer.RSA,
}
_LAB_EHLO_NAME = "lab.invalid"


@dataclass(slots=True)
class Progress:
    """A target with its newest TLSA records, and the connections made so far."""

    key: Key
    pauses: int = 0  # of the scan, before its first connection
    talks: list[Conversation] = field(default_factory=list)


class Visitor:
    """Makes the connections of a scan. `recheck`: None if nothing is asked again."""

    def __init__(
        self, context: ScanContext, permission: Permission, recheck: Recheck | None
    ) -> None:
        self._settings = context.probe
        self._at = context.at
        self._ehlo_name = context.probe.ehlo_name or _LAB_EHLO_NAME
        self._recheck = recheck
        self._permission = permission

    async def visit(self, progress: Progress, offer: Offer) -> Attempt | Offer:
        """One connection: what all of them came to, or what the next one is to offer.

        What a strange server does is its result; an exception of ours is that server's
        `local_error_smtp`, and no other one's. Raises Fault.
        """
        try:
            return await self._visit(progress, offer)
        except Fault:
            raise
        except Exception as bug:  # noqa: BLE001 - one session's bug is that session's row
            reason = untouched(HostStatus.LOCAL_ERROR_SMTP, repr(bug)[:200])
            return without_connection(progress.key, reason)

    async def _visit(self, progress: Progress, offer: Offer) -> Attempt | Offer:
        if (reason := self._permission.refusal(progress.key)) is not None:
            return without_connection(progress.key, reason)
        if (reason := await self._refresh(progress)) is not None:
            return without_connection(progress.key, reason, proven=False)
        key, talks = progress.key, progress.talks
        # Once more, for asking took a while.
        if (reason := self._permission.refusal(key)) is not None:
            return without_connection(key, reason)
        talks.append(await converse(key.address, key.sni, offer, self._settings, self._ehlo_name))
        further = self._next_offer(key, talks)
        if further is not None:
            return further
        judged, defects = await self._judge(progress)
        # A server that refuses the other kind of key was there in the first handshake.
        shown = all(talk.chain for talk in talks if talk.offer in (Offer.MODERN, Offer.LEGACY))
        return Attempt(progress.key, talks, judged, defects, proven=shown)

    async def _refresh(self, progress: Progress) -> Judged | None:
        """Ask again for old DNS answers; the reason if there is nothing to connect for now."""
        key = progress.key
        age_s = (clock.now() - key.dns_asked).total_seconds()
        if self._recheck is None or age_s <= self._settings.dns_max_age_s:
            return None
        fresh = await self._recheck.before(key.host, key.address, key.sni)
        if (reason := _withdrawn(fresh)) is not None:
            return reason
        progress.key = replace(key, tlsa=fresh.tlsa, dns_asked=fresh.asked)
        return None

    def _next_offer(self, key: Key, talks: Sequence[Conversation]) -> Offer | None:
        """What to offer in one more connection, if one is needed (measurement, section 4)."""
        if len(talks) > 1:
            return None
        (talk,) = talks
        if talk.status is HostStatus.TLS_FAILED:
            return Offer.LEGACY
        wanted = self._settings.both_key_types and key.attempt == 1 and can_choose_key_type()
        if talk.status is None and wanted and talk.chain:
            kind = key_type(talk.chain[0])
            return _OTHER_KEY[kind[0]] if kind else None
        return None

    async def _judge(self, progress: Progress) -> tuple[Judged, set[Defect]]:
        """As `judge`; what the certificate decides against the server, with fresh records too."""
        key = progress.key
        judged, defects = await self._judged(progress)
        blamed = judged.verification and HOST_CLASS[judged.status] is HostClass.F
        if self._recheck is None or not blamed:
            return judged, defects
        fresh = await self._recheck.after_mismatch(key.sni)
        if fresh is None or fresh.tlsa == key.tlsa:
            return judged, defects
        if (reason := _withdrawn(fresh)) is not None:
            return reason, set()
        progress.key = replace(key, tlsa=fresh.tlsa, dns_asked=fresh.asked)
        return await self._judged(progress)

    async def _judged(self, progress: Progress) -> tuple[Judged, set[Defect]]:
        """As `judge`; in a thread where a chain asks for more work than the loop can spare."""
        key, at = progress.key, self._at or clock.now()
        work = partial(judge, progress.talks, key.records, key.sni, at, key.earlier)
        try:
            return work(SHORT_STEPS)
        except Exhausted:
            return await trio.to_thread.run_sync(work)


def _withdrawn(fresh: Fresh) -> Judged | None:
    """Why there is nothing to connect for, if so; what is our fault is tried again later."""
    if fresh.withdrawn is None:
        return None
    status = HostStatus.LOCAL_ERROR_SMTP if fresh.ours else HostStatus.UNPROBED
    return untouched(status, fresh.withdrawn)
