"""One address of an MX host: from its attempts and the names in its certificate to a status.

The lower half of measurement section 6, from `mismatch` down, which holds per address.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from dane.identity import any_name_matches
from dane.outcomes import HOST_CLASS, Defect, HostClass, HostStatus, MismatchCause

_ORDER = {status: place for place, status in enumerate(HostStatus)}
"""Section 6 from top to bottom."""

_OURS = frozenset({HostStatus.LOCAL_ERROR_SMTP, HostStatus.UNPROBED, HostStatus.OPTED_OUT})
"""Says nothing about the server, so it neither outweighs nor contradicts what does."""

_LEFTOVER_AFTER = timedelta(days=30)

_ALL_ATTEMPTS = frozenset({HostStatus.NO_STARTTLS, HostStatus.STARTTLS_REJECTED})
"""Only believed if no attempt of the run went otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One attempt at one address (a row of `smtp_probe`). `sni` is the TLSA base domain that it
    was made for, and the only name that `status` has been checked against."""

    address: str
    sni: str
    attempt: int
    status: HostStatus
    leaf_names: Sequence[str]  # at least those that can cover a name in question
    record_cause: Iterable[str]
    defects: Iterable[str]
    chain: Sequence[str] = ()  # SHA-256 of each certificate, hex
    other_chain: Sequence[str] = ()  # of the handshake for the other kind of key
    served_before: Sequence[str] = ()  # leafs of earlier runs
    undecided: str | None = None
    connected: datetime | None = None
    # of each record that matched in an earlier run and does not: when that was first seen
    unmatched_since: Sequence[datetime | None] = ()

    @property
    def has_leftover(self) -> bool:
        """Whether a record is of a certificate that went over 30 days ago (section 8)."""
        if self.connected is None:
            return False
        before = self.connected - _LEFTOVER_AFTER
        return any(since is not None and since < before for since in self.unmatched_since)


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressVerdict:
    """`names`: of the leaf's names, where the status is `name_mismatch`, at least those that can
    cover a name in question; `leaf`: its SHA-256, by which the others are looked up."""

    address: str
    status: HostStatus
    names: tuple[str, ...] = ()
    leaf: str = ""


@dataclass(frozen=True, slots=True)
class AddressEvidence:
    """An address with what its attempts showed beside the status. `causes`: of the records, in
    the last attempt that gave the status (only later attempts know what earlier runs saw)."""

    verdict: AddressVerdict
    inferred: bool
    defects: frozenset[str]
    causes: frozenset[str]
    undecided: str | None = None


def assess_address(address: str, base: str | None, probes: Sequence[Probe]) -> AddressEvidence:
    """One address by its probes; `base`: the host's TLSA base domain."""
    own = [one for one in probes if one.sni == base]
    if own or not probes:
        return _roll_attempts(address, own, inferred=False)
    by_sni: dict[str, list[Probe]] = {}
    for one in probes:
        by_sni.setdefault(one.sni, []).append(one)
    samples = [_roll_attempts(address, by_sni[sni], inferred=True) for sni in sorted(by_sni)]
    common = Counter(one.verdict.status for one in samples)
    # The result of most names; of two equally common ones, the better: guessing never blames.
    return max(samples, key=lambda one: (common[one.verdict.status], _goodness(one.verdict.status)))


def _roll_attempts(address: str, probes: Sequence[Probe], *, inferred: bool) -> AddressEvidence:
    attempts = sorted(probes, key=lambda one: one.attempt)
    telling = [one for one in attempts if one.status not in _OURS] or attempts
    status = status_of_attempts([one.status for one in telling])
    defects = frozenset[str]().union(*(map(str, one.defects) for one in attempts))
    if disagree(one.status for one in attempts):
        defects |= {Defect.FLAPPING}
    shown = [one for one in telling if one.status is status]
    if shown and shown[-1].has_leftover:
        defects |= {Defect.LEFTOVER_RECORD}
    leaf, names = "", tuple[str, ...]()
    if status is HostStatus.NAME_MISMATCH:
        leaf, names = next(iter(shown[-1].chain), ""), tuple(shown[-1].leaf_names)
    causes = frozenset(map(str, shown[-1].record_cause)) & _CAUSES if shown else frozenset[str]()
    return AddressEvidence(
        AddressVerdict(address=address, status=status, names=names, leaf=leaf),
        inferred,
        defects,
        causes,
        shown[-1].undecided if shown else None,
    )


_CAUSES = frozenset(map(str, MismatchCause))


def _goodness(status: HostStatus) -> tuple[bool, int]:
    """Which attempt stands where they disagree: any other before F; of F, the one that came
    nearest to `pass`; of the others, the one that was measured furthest."""
    place = _ORDER[status]
    return (False, place) if HOST_CLASS[status] is HostClass.F else (True, -place)


def status_of_attempts(statuses: Sequence[HostStatus]) -> HostStatus:
    """The status of an address by its attempts in one run.

    F needs two agreeing attempts, else the better one stands (section 6); a single attempt
    stands alone. None at all: `unprobed`.
    """
    if not statuses:
        return HostStatus.UNPROBED
    counts = Counter(statuses)
    agreed = [
        status
        for status, count in counts.items()
        if HOST_CLASS[status] is HostClass.F
        and count >= 2
        and (status not in _ALL_ATTEMPTS or count == len(statuses))
    ]
    if agreed:
        return first_status(agreed)
    return max(counts, key=_goodness)


def attempts_needed(status: HostStatus | str) -> int:
    """How many attempts must end so before it is believed (section 6)."""
    status = HostStatus(status)
    if HOST_CLASS[status] is not HostClass.F:
        return 1
    return 3 if status in _ALL_ATTEMPTS else 2


def first_status(statuses: Iterable[HostStatus]) -> HostStatus:
    """The first line of section 6 among these; a host without addresses was not probed."""
    return min(statuses, key=_ORDER.__getitem__, default=HostStatus.UNPROBED)


def disagree(statuses: Iterable[HostStatus]) -> bool:
    """Whether these end on different lines of section 6, one of them F (section 8)."""
    seen = set(statuses) - _OURS
    return len(seen) > 1 and any(HOST_CLASS[one] is HostClass.F for one in seen)


def status_with_names(addresses: Iterable[AddressVerdict], names: Sequence[str]) -> HostStatus:
    """The host's status if these were reference names too."""
    return first_status(
        HostStatus.PASS
        if one.status is HostStatus.NAME_MISMATCH and any_name_matches(one.names, names)
        else one.status
        for one in addresses
    )
