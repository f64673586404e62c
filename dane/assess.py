"""The two roll-ups: from lookups and probes to a host, from hosts to a domain.

Measurement, sections 6 and 7, as data: `HOST_CLASS` (in `dane.outcomes`) and `DOMAIN_ROWS`
here. Pure: rows in, verdicts out; `crawler/scan/assess.py` turns Arrow into these values and
back. The fields are named as the columns of the tables they come from.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import MappingProxyType

from dane.attempts import (
    AddressEvidence,
    AddressVerdict,
    Probe,
    assess_address,
    disagree,
    first_status,
    status_with_names,
)
from dane.outcomes import (
    FAILED,
    HOST_CLASS,
    LOCAL,
    BrokenLevel,
    Defect,
    DnsCause,
    DomainStatus,
    HostClass,
    HostStatus,
    LookupOutcome,
    LookupStage,
    NoMailReason,
    RolloverScheme,
)
from dane.readiness import rollover_scheme
from dane.servers import ServerAnswer, disagreeing, failing
from dane.tlsa import parse_text
from dane.witnesses import Evidence, deciding

_NONE: Mapping[str, bytes] = MappingProxyType({})
_RRSIG_NEAR_EXPIRY = timedelta(hours=72)


# --- a host ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class HostLookup:
    """What the DNS said of an MX host (a row of `mx_host`). `status` is None where TLSA is
    there and the probes decide, `opted_out` where nothing was asked."""

    host: str
    status: HostStatus | None
    addresses: Sequence[str]
    address_total: int
    tlsa_base: str | None
    tlsa_usable: int
    defects: Iterable[str]
    last_asked: datetime
    rrsig_expiration: datetime | None = None
    nsec3_iterations: int | None = None
    tlsa: Sequence[str] = ()
    first_look_outcome: str | None = None
    second_look_outcome: str | None = None
    sha1_only: bool = False
    evidence: Sequence[Evidence] = ()
    server_rounds: Sequence[Sequence[ServerAnswer]] = ()  # of its TLSA RRset


@dataclass(frozen=True, slots=True, kw_only=True)
class HostVerdict:
    """A host, whoever points at it (a row of `host_verdict`).

    `usable`: a secure TLSA RRset with a usable record. `inferred`: an address has the result
    that another name of the same operator had there. `accepted_by_lenient`: where the status
    is `name_mismatch`, a sender that also accepts the unexpanded MX name would pass it.
    `undecided`: which limit of ours made all addresses `local_error_smtp` that are. `scheme`: of
    a host that passes, where its certificates are known.
    """

    host: str
    status: HostStatus
    usable: bool
    addresses: tuple[AddressVerdict, ...]
    inferred: bool
    defects: frozenset[str]
    causes: frozenset[str]
    accepted_by_lenient: bool
    undecided: str | None = None
    scheme: RolloverScheme | None = None
    evidence: Evidence | None = None  # of the lookup that fails
    sha1_only: bool = False
    failing_servers: Sequence[str] = ()
    disagreeing_servers: Sequence[str] = ()

    @property
    def host_class(self) -> HostClass:
        return HOST_CLASS[self.status]

    @property
    def looked_up(self) -> bool:
        """False for a host that had opted out before it was asked for: no address is known."""
        return self.status is not HostStatus.OPTED_OUT or bool(self.addresses)


def assess_host(
    lookup: HostLookup, probes: Iterable[Probe], certificates: Mapping[str, bytes] = _NONE
) -> HostVerdict:
    """One host, from its DNS answers and the probes of its addresses (section 6).

    `probes`: those with the host's TLSA RRset and operator, of any SNI name; a name of its own
    is preferred, and without one the others' result is inherited (section 4). `certificates`:
    DER by SHA-256 of what they showed, as far as it is known.
    """
    defects = set(map(str, lookup.defects))
    defects |= signature_defects(
        lookup.rrsig_expiration, lookup.last_asked, lookup.nsec3_iterations
    )
    status, evidence = _looked_up(lookup, defects)
    failing_servers = failing(lookup.server_rounds)
    disagreeing_servers = disagreeing(lookup.server_rounds)
    if failing_servers:
        defects.add(Defect.SOME_SERVERS_FAIL)
    if disagreeing_servers:
        defects.add(Defect.SERVERS_DISAGREE)
    inferred = lenient = False
    undecided: str | None = None
    scheme: RolloverScheme | None = None
    addresses: tuple[AddressVerdict, ...] = ()
    causes: frozenset[str] = frozenset()
    if status is None and lookup.address_total > len(lookup.addresses):
        status = HostStatus.EXCESS
    if status is None:
        by_address: dict[str, list[Probe]] = {one: [] for one in lookup.addresses}
        for probe in probes:
            if probe.address in by_address:
                by_address[probe.address].append(probe)
        rolled: list[AddressEvidence] = [
            assess_address(address, lookup.tlsa_base, attempts)
            for address, attempts in by_address.items()
        ]
        addresses = tuple(one.verdict for one in rolled)
        inferred = any(one.inferred for one in rolled)
        defects.update(*(one.defects for one in rolled))
        status = first_status(one.status for one in addresses)
        if disagree(one.status for one in addresses):
            defects.add(Defect.DIVERGENT)
        if status is HostStatus.MISMATCH:
            causes = frozenset().union(*(one.causes for one in rolled if _mismatches(one)))
        if status is HostStatus.NAME_MISMATCH:
            lenient = status_with_names(addresses, [lookup.host]) is not HostStatus.NAME_MISMATCH
        if status is HostStatus.LOCAL_ERROR_SMTP:
            undecided = _undecided(rolled)
        if status is HostStatus.PASS:
            scheme = _scheme(
                lookup, [one for some in by_address.values() for one in some], certificates
            )
        if scheme is RolloverScheme.SINGLE_KEY:
            defects.add(Defect.SINGLE_KEY)
    return HostVerdict(
        host=lookup.host,
        status=status,
        usable=HOST_CLASS[status] in TLSA_CLASSES and lookup.tlsa_usable > 0,
        addresses=addresses,
        inferred=inferred,
        defects=frozenset(map(str, defects)),
        causes=causes,
        accepted_by_lenient=lenient,
        undecided=undecided,
        scheme=scheme,
        evidence=evidence,
        sha1_only=lookup.sha1_only,
        failing_servers=failing_servers,
        disagreeing_servers=disagreeing_servers,
    )


def _undecided(addresses: Iterable[AddressEvidence]) -> str | None:
    """The limit of ours that a stranger reached, unless there was trouble of our own, too."""
    reasons = [
        one.undecided for one in addresses if one.verdict.status is HostStatus.LOCAL_ERROR_SMTP
    ]
    return reasons[0] if all(reasons) else None


def _scheme(
    lookup: HostLookup, probes: Sequence[Probe], certificates: Mapping[str, bytes]
) -> RolloverScheme | None:
    """None where a certificate that was served is not known."""
    shown = dict.fromkeys(
        tuple(chain) for one in probes for chain in (one.chain, one.other_chain) if chain
    )
    # Of authorities that are not known, none is a root or issuer that could be counted on.
    chains = [[certificates[one] for one in chain if one in certificates] for chain in shown]
    if any(chain[0] not in certificates for chain in shown):
        return None
    before = [
        certificates[leaf] for one in probes for leaf in one.served_before if leaf in certificates
    ]
    records = [parse_text(text) for text in lookup.tlsa]
    at = max((one.connected for one in probes if one.connected), default=lookup.last_asked)
    return rollover_scheme(chains, records, at, before)


_QUESTIONS = {
    HostStatus.TLSA_FAILED: ("TLSA", "CNAME"),
    HostStatus.ADDRESS_FAILED: ("A", "AAAA"),
}
"""What fails where a lookup decides the status."""


def _looked_up(lookup: HostLookup, defects: set[str]) -> tuple[HostStatus | None, Evidence | None]:
    """The status that the DNS decides, with the servers' word on what failed (section 1).

    Of the defects, those about name servers come and go by it.
    """
    status = lookup.status
    if lookup.first_look_outcome and any(one.some_bad for one in lookup.evidence):
        defects.add(Defect.SOME_SERVERS_FAIL)
    if status in _QUESTIONS:
        evidence = deciding(lookup.evidence, _QUESTIONS[status])
        if evidence is not None and evidence.is_ours:
            return HostStatus.LOCAL_ERROR, evidence
        return status, evidence
    tlsa = deciding(lookup.evidence, ("TLSA",))
    denied = tlsa is not None and tlsa.dns_cause is DnsCause.BAD_DENIAL
    if status is None and denied and lookup.second_look_outcome in FAILED:
        defects.add(Defect.ENT_DENIED)  # section 3.4
        return HostStatus.TLSA_FAILED, tlsa
    address = deciding(lookup.evidence, ("A", "AAAA"))
    if address is not None and address.is_ours:
        defects.discard(Defect.ADDRESS_FAMILY_FAILED)
    return status, address


def _mismatches(one: AddressEvidence) -> bool:
    return one.verdict.status is HostStatus.MISMATCH


def signature_defects(
    expiration: datetime | None, asked: datetime, nsec3_iterations: int | None
) -> set[str]:
    """Of the signature over an answer and the parameters of a denial (section 8)."""
    found: set[str] = set()
    if expiration is not None and expiration - asked < _RRSIG_NEAR_EXPIRY:
        found.add(Defect.RRSIG_NEAR_EXPIRY)
    if nsec3_iterations:
        found.add(Defect.NSEC3_ITERATIONS)
    return found


# --- a domain -------------------------------------------------------------------------------

TLSA_CLASSES = frozenset({HostClass.F, HostClass.P, HostClass.P0, HostClass.Q})
"""T: hosts with a secure TLSA RRset."""

_THEIRS_UNREACHED = frozenset(
    {
        HostStatus.TEMPFAIL,
        HostStatus.REFUSED,
        HostStatus.UNREACHABLE,
        HostStatus.RESERVED_ADDRESS,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainLookup:
    """What the DNS said of a domain (a row of `domain_mx`)."""

    domain: str
    outcome: LookupOutcome
    secure: bool
    mx_preference: Sequence[int]
    mx_host: Sequence[str]
    mx_total: int
    last_asked: datetime
    mx_excess_preference: Sequence[int] = ()  # of some hosts beyond the cap
    mx_excess_host: Sequence[str] = ()
    cname_target: str | None = None
    rrsig_expiration: datetime | None = None
    nsec3_iterations: int | None = None
    nsec3param_iterations: int | None = None
    first_look_outcome: str | None = None
    sha1_only: bool = False  # of the MX answer
    evidence: Sequence[Evidence] = ()


@dataclass(frozen=True, slots=True)
class PointedHost:
    """A host as one domain sees it: (domain, host).

    `followed`: False beyond the cap of hosts.
    """

    host: str
    preference: int
    status: HostStatus
    usable: bool
    looked_up: bool = True
    followed: bool = True

    @property
    def host_class(self) -> HostClass:
        return HOST_CLASS[self.status]


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainVerdict:
    """A domain (a row of `domain_verdict`)."""

    domain: str
    status: DomainStatus
    stage: LookupStage | None
    reason: NoMailReason | None
    level: BrokenLevel | None
    mx_secure: bool
    dane_primary: bool
    deliverable: bool | None
    hosts: tuple[PointedHost, ...]
    defects: frozenset[str]
    evidence: Evidence | None = None  # of the MX lookup, where it fails
    sha1_only: bool = False  # of the MX answer, or of one of its hosts


class _View:
    """What the conditions of section 7 look at.

    `hosts`: those that remain, without the ones that have no address. `counted`: without those
    whose address lookup fails either, which are ignored from row 6 on. `known`: without those
    of which nothing was asked either, for they had opted out; they are ignored from row 8 on.
    `primary`: the hosts of the lowest preference that remains, without those beyond the cap.
    """

    def __init__(self, lookup: DomainLookup, pointed: Iterable[PointedHost]) -> None:
        self.lookup = lookup
        self.hosts = [one for one in pointed if one.host_class is not HostClass.NONE]
        self.counted = [one for one in self.hosts if one.host_class is not HostClass.A]
        self.known = [one for one in self.counted if one.looked_up]
        self.classes = frozenset(one.host_class for one in self.hosts)
        lowest = min((one.preference for one in self.hosts), default=0)
        self.primary = [one for one in self.hosts if one.preference == lowest and one.followed]


@dataclass(frozen=True, slots=True)
class DomainRow:
    """One line of section 7; `row` is its number there."""

    row: int
    status: DomainStatus
    applies: Callable[[_View], bool]
    detail: LookupStage | NoMailReason | None = None


def _is_null_mx(lookup: DomainLookup) -> bool:
    """RFC 7505 section 3: a single MX with preference 0 and the root as its host."""
    return list(zip(lookup.mx_preference, lookup.mx_host, strict=True)) == [(0, ".")]


DOMAIN_ROWS: tuple[DomainRow, ...] = (
    DomainRow(1, DomainStatus.INDETERMINATE, lambda see: see.lookup.outcome in LOCAL),
    DomainRow(
        2, DomainStatus.LOOKUP_FAILED, lambda see: see.lookup.outcome in FAILED, LookupStage.MX
    ),
    DomainRow(3, DomainStatus.INSECURE, lambda see: not _is_mx_secure(see.lookup)),
    DomainRow(4, DomainStatus.NO_MAIL, lambda see: _is_null_mx(see.lookup), NoMailReason.NULL_MX),
    DomainRow(
        4,
        DomainStatus.NO_MAIL,
        lambda see: see.lookup.outcome is LookupOutcome.NXDOMAIN,
        NoMailReason.NXDOMAIN,
    ),
    DomainRow(4, DomainStatus.NO_MAIL, lambda see: not see.hosts, NoMailReason.NO_ADDRESS),
    DomainRow(5, DomainStatus.BROKEN, lambda see: HostClass.F in see.classes),
    DomainRow(
        6, DomainStatus.LOOKUP_FAILED, lambda see: HostClass.L in see.classes, LookupStage.TLSA
    ),
    DomainRow(6, DomainStatus.LOOKUP_FAILED, lambda see: not see.counted, LookupStage.ADDRESS),
    DomainRow(7, DomainStatus.INDETERMINATE, lambda see: HostClass.X in see.classes),
    DomainRow(7, DomainStatus.INDETERMINATE, lambda see: not see.known),
    DomainRow(
        8,
        DomainStatus.INSECURE_MX_HOST,
        lambda see: all(one.status is HostStatus.INSECURE for one in see.known),
    ),
    DomainRow(
        8,
        DomainStatus.NO_TLSA,
        lambda see: not any(one.host_class in TLSA_CLASSES for one in see.known),
    ),
    DomainRow(9, DomainStatus.UNUSABLE, lambda see: not any(one.usable for one in see.known)),
    DomainRow(10, DomainStatus.PARTIAL, lambda see: not all(one.usable for one in see.known)),
    DomainRow(11, DomainStatus.DANE, lambda see: HostClass.P in see.classes),
    DomainRow(
        12,
        DomainStatus.UNREACHABLE,
        lambda see: any(one.status in _THEIRS_UNREACHED for one in see.known),
    ),
    DomainRow(12, DomainStatus.INDETERMINATE, lambda _see: True),
)
"""Section 7: the first that applies. Total, since the last always does."""


def assess_domain(lookup: DomainLookup, hosts: Mapping[str, HostVerdict]) -> DomainVerdict:
    """One domain, from its MX answer and the verdicts on its hosts (section 7).

    `hosts`: by name; one that is missing was not looked up, which is `local_error`.
    """
    evidence = deciding(lookup.evidence, ("MX",))
    if lookup.outcome in FAILED and evidence is not None and evidence.is_ours:
        lookup = replace(lookup, outcome=LookupOutcome.LOCAL_RESOLVER)
    mx_secure = _is_mx_secure(lookup)
    pointed = _pointed(lookup, hosts) if mx_secure else ()
    view = _View(lookup, pointed)
    row = next(row for row in DOMAIN_ROWS if row.applies(view))
    level = None
    if row.status is DomainStatus.BROKEN:
        first = any(one.host_class is HostClass.F for one in view.primary)
        level = BrokenLevel.PRIMARY if first else BrokenLevel.BACKUP
    iterations = max(lookup.nsec3_iterations or 0, lookup.nsec3param_iterations or 0)
    defects = signature_defects(lookup.rrsig_expiration, lookup.last_asked, iterations)
    defects.update(*(hosts[one.host].defects for one in pointed if one.host in hosts))
    if "." in lookup.mx_host and len(lookup.mx_host) > 1:
        defects.add(Defect.NULL_MX_MIXED)
    if lookup.first_look_outcome and evidence is not None and evidence.some_bad:
        defects.add(Defect.SOME_SERVERS_FAIL)
    return DomainVerdict(
        domain=lookup.domain,
        status=row.status,
        stage=row.detail if isinstance(row.detail, LookupStage) else None,
        reason=row.detail if isinstance(row.detail, NoMailReason) else None,
        level=level,
        mx_secure=mx_secure,
        dane_primary=mx_secure and _dane_primary(view.primary),
        deliverable=_deliverable(row, view.classes),
        hosts=tuple(one for one in pointed if one.host),
        defects=frozenset(map(str, defects)),
        evidence=evidence,
        sha1_only=lookup.sha1_only
        or any(hosts[one.host].sha1_only for one in pointed if one.host in hosts),
    )


def as_if_signed(lookup: DomainLookup) -> DomainLookup:
    """The same answer of a signed zone: what an unsigned domain would be, all else being equal.

    Its hosts stay as they are: one in its own zone stays unsigned.
    """
    insecure = lookup.outcome is LookupOutcome.INSECURE
    outcome = LookupOutcome.SECURE if insecure else lookup.outcome
    return replace(lookup, outcome=outcome, secure=lookup.secure or outcome not in LOCAL | FAILED)


def _is_mx_secure(lookup: DomainLookup) -> bool:
    """The denominator of the monthly percentage; validated denials included."""
    return lookup.secure and lookup.outcome not in LOCAL | FAILED | {LookupOutcome.INSECURE}


def _pointed(lookup: DomainLookup, hosts: Mapping[str, HostVerdict]) -> tuple[PointedHost, ...]:
    pairs = list(zip(lookup.mx_preference, lookup.mx_host, strict=True))
    names = [lookup.domain, *([lookup.cname_target] if lookup.cname_target else [])]
    pointed = [_point(host, preference, hosts.get(host), names) for preference, host in pairs]
    beyond = list(zip(lookup.mx_excess_preference, lookup.mx_excess_host, strict=True))
    if lookup.mx_total > len(pairs) + len(beyond):  # more than the row has names of
        beyond.append((max(preference for preference, _ in [*pairs, *beyond]), ""))
    pointed += [
        PointedHost(host, preference, HostStatus.EXCESS, usable=False, followed=False)
        for preference, host in beyond
    ]
    return tuple(pointed)


def _point(
    host: str, preference: int, verdict: HostVerdict | None, names: Sequence[str]
) -> PointedHost:
    if host == ".":
        return PointedHost(host, preference, HostStatus.NO_ADDRESS, usable=False)
    if verdict is None:
        return PointedHost(host, preference, HostStatus.LOCAL_ERROR, usable=False)
    status = verdict.status
    if status is HostStatus.NAME_MISMATCH:
        status = status_with_names(verdict.addresses, names)
    return PointedHost(host, preference, status, verdict.usable, verdict.looked_up)


def _dane_primary(primary: Sequence[PointedHost]) -> bool:
    """The published headline: nothing is known against the hosts that mail goes to first, and
    one of them at least was measured and is right."""
    good = all(
        one.host_class in (HostClass.P, HostClass.A)
        or (one.host_class is HostClass.Q and one.usable)
        for one in primary
    )
    return good and any(one.host_class is HostClass.P for one in primary)


_DELIVERS = frozenset({HostClass.P, HostClass.P0})
_MAY_DELIVER = frozenset({HostClass.N, HostClass.Q, HostClass.X})


def _deliverable(row: DomainRow, classes: frozenset[HostClass]) -> bool | None:
    """For a sender that enforces DANE; None: not known, or nothing to enforce."""
    if row.row == 2:
        return False
    if row.row in (1, 3, 4):
        return None
    if classes & _DELIVERS:
        return True
    return None if classes & _MAY_DELIVER else False
