"""What one or two connections to a server come to: the status of one attempt.

Measurement, section 6, from `mismatch` down, as far as one attempt decides it; how attempts
and addresses combine is `dane.assess`. Pure: conversations and records in, a status out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from crawler.smtp.probe import Conversation
from crawler.smtp.tls import Offer
from dane import clock
from dane.certificate import read_certificate
from dane.identity import any_name_matches
from dane.outcomes import HOST_CLASS, Defect, HostClass, HostStatus, Undecided, Verdict
from dane.tlsa import TLSARecord
from dane.verify import Verification, verify
from dane.work import MOST_STEPS, Exhausted

# A chain that we cannot read is our shortcoming, never the server's mismatch.
_STATUS: dict[Verdict, HostStatus] = {
    Verdict.MATCH: HostStatus.PASS,
    Verdict.TA_EXPIRED: HostStatus.TA_EXPIRED,
    Verdict.MISMATCH: HostStatus.MISMATCH,
    Verdict.UNUSABLE: HostStatus.UNUSABLE,
    Verdict.CERT_UNPARSED: HostStatus.LOCAL_ERROR_SMTP,
}


@dataclass(frozen=True, slots=True)
class Judged:
    """A conversation, and what its chain came to. `undecided`: why the status is our limit."""

    talk: Conversation
    status: HostStatus
    verification: Verification | None = None
    undecided: Undecided | None = None


def judge(
    talks: Sequence[Conversation],
    records: Sequence[TLSARecord],
    base: str,
    at: datetime,
    earlier: Sequence[bytes] = (),
    steps: int = MOST_STEPS,
) -> tuple[Judged, set[Defect]]:
    """The conversation that counts of one or two, its status, and the defects that they show.

    A failed handshake counts only if the second, legacy one fails too. What a sender sees
    counts, so a handshake for the other key type gives a defect, never the status. `base`: the
    TLSA base domain, the one reference name that all domains of the host share (a domain's own
    ones: `dane.attempts.status_with_names`). `earlier`: certificates (DER) that the server
    showed in earlier runs. `steps`: the budget of work for each chain (`dane.work`).
    Raises Exhausted where fewer than MOST_STEPS do not suffice.
    """
    defects = {Defect.STARTTLS_INJECTION for talk in talks if talk.injected}
    each = [_judge_one(talk, records, base, at, earlier, steps) for talk in talks]
    if steps < MOST_STEPS and any(
        judged.verification and judged.verification.over_budget for judged in each
    ):
        raise Exhausted
    first, *more = each
    if not more:
        return first, defects
    (second,) = more
    if second.talk.offer is Offer.LEGACY:
        if second.talk.status is None:
            defects.add(Defect.LEGACY_TLS)
        error = f"{first.talk.error}; then, with legacy TLS: {second.talk.error or 'fine'}"
        return replace(second, talk=replace(second.talk, error=error)), defects
    if (
        second.talk.status is None
        and first.status is not second.status
        and HostClass.F
        in (
            HOST_CLASS[first.status],
            HOST_CLASS[second.status],
        )
    ):
        defects.add(Defect.KEY_TYPE_DIVERGENCE)
    return first, defects


def _judge_one(
    talk: Conversation,
    records: Sequence[TLSARecord],
    base: str,
    at: datetime,
    earlier: Sequence[bytes],
    steps: int,
) -> Judged:
    if talk.status is not None:
        return Judged(talk, talk.status, undecided=talk.undecided)
    verification = verify(talk.chain, records, (), at, earlier, steps)
    undecided = None
    if verification.verdict is Verdict.CERT_UNPARSED:
        undecided = Undecided.OVER_BUDGET if verification.over_budget else Undecided.UNREADABLE
        talk = replace(talk, error=_why_undecided(undecided, talk.chain))
    status = _STATUS[verification.verdict]
    # Not by `verify`: the records are stored as what they match, whatever the name.
    if verification.name_decides and not any_name_matches(verification.leaf_names, [base]):
        status = HostStatus.NAME_MISMATCH
    return Judged(talk, status, verification, undecided)


def _why_undecided(undecided: Undecided, chain: Sequence[bytes]) -> str:
    """What keeps us from a verdict on the chain."""
    if undecided is Undecided.OVER_BUDGET:
        return "the chain and the TLSA records ask for more work than one chain gets"
    unread = [str(i) for i, der in enumerate(chain) if read_certificate(der).facts is None]
    if unread:
        return f"our library cannot read certificate {', '.join(unread)} of the chain (leaf: 0)"
    return "our library cannot check a signature of the chain"


def untouched(status: HostStatus, reason: str) -> Judged:
    """The record of a connection that was not made."""
    talk = Conversation(
        offer=Offer.MODERN,
        status=status,
        error=reason,
        connected=clock.now(),
        duration_ms=0,
    )
    return Judged(talk, status)
