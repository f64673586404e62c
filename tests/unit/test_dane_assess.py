"""The two tables of measurement, sections 6 and 7: total, exclusive, and right line by line.

`_domain_by_the_letter` says section 7 a second time, in the words of the page and not with
the code's table; hypothesis compares the two.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dane.assess import (
    DOMAIN_ROWS,
    DomainLookup,
    DomainVerdict,
    HostLookup,
    HostVerdict,
    assess_domain,
    assess_host,
)
from dane.attempts import AddressVerdict
from dane.outcomes import (
    FAILED,
    HOST_CLASS,
    LOCAL,
    Defect,
    DomainStatus,
    HostClass,
    HostStatus,
    LookupOutcome,
)
from tests.attempts import probe

_NOW = datetime(2026, 6, 1, tzinfo=UTC)
_MEASURED = frozenset({HostStatus.TEMPFAIL, HostStatus.REFUSED, HostStatus.UNREACHABLE,
                       HostStatus.RESERVED_ADDRESS})  # fmt: skip


# --- hosts ----------------------------------------------------------------------------------


def lookup(status: str | None = None, **other: Any) -> HostLookup:
    return HostLookup(
        **{
            "host": "mx.example.org",
            "status": None if status is None else HostStatus(status),
            "addresses": ["192.0.2.1"],
            "address_total": len(other.get("addresses", ["192.0.2.1"])),
            "tlsa_base": "mx.example.org",
            "tlsa_usable": 1,
            "defects": (),
            "last_asked": _NOW,
            **other,
        }
    )


@pytest.mark.parametrize(
    "status",
    ["local_error", "excess", "no_address", "address_failed", "insecure", "tlsa_failed", "absent"],
)
def test_what_the_dns_decides_needs_no_probe(status: str) -> None:
    verdict = assess_host(lookup(status, defects=["mx_alias"]), [probe("pass")])
    assert verdict.status == status
    assert verdict.addresses == ()
    assert not verdict.usable
    assert verdict.defects == {"mx_alias"}
    assert verdict.host_class is HOST_CLASS[HostStatus(status)]


@pytest.mark.parametrize(
    ("statuses", "expected", "divergent"),
    [
        (["pass"], "pass", False),
        (["pass", "pass"], "pass", False),
        (["mismatch", "pass"], "mismatch", True),
        (["pass", "tls_failed"], "tls_failed", True),
        (["no_starttls", "ta_expired"], "ta_expired", True),
        (["pass", "unreachable"], "pass", False),
        (["unreachable", "tempfail"], "tempfail", False),
        (["unusable", "refused"], "unusable", False),
        (["mismatch", "unreachable"], "mismatch", True),
        (["mismatch", "unprobed"], "mismatch", False),
        (["mismatch", "local_error_smtp"], "mismatch", False),
    ],
)
def test_the_host_takes_the_first_line_that_any_address_has(
    statuses: list[str], expected: str, divergent: bool
) -> None:
    addresses = [f"192.0.2.{i}" for i in range(len(statuses))]
    probes = [
        probe(status, n, address=address)
        for address, status in zip(addresses, statuses, strict=True)
        for n in (1, 2, 3)
    ]
    verdict = assess_host(lookup(addresses=addresses), probes)
    assert verdict.status == expected
    assert (Defect.DIVERGENT in verdict.defects) is divergent
    assert [str(one.status) for one in verdict.addresses] == statuses
    assert verdict.usable


def test_addresses_that_were_not_probed_and_probes_of_other_addresses() -> None:
    verdict = assess_host(lookup(), [probe("mismatch", address="198.51.100.1")])
    assert (verdict.status, verdict.inferred) == (HostStatus.UNPROBED, False)
    assert assess_host(lookup(addresses=[]), []).status is HostStatus.UNPROBED


def test_addresses_beyond_the_cap_are_excess() -> None:
    verdict = assess_host(lookup(address_total=33), [probe("mismatch")])
    assert verdict.status is HostStatus.EXCESS
    assert verdict.host_class is HostClass.X


def test_usable_is_a_flag_beside_the_class() -> None:
    assert assess_host(lookup(), [probe("tempfail")]).usable
    assert not assess_host(lookup(tlsa_usable=0), [probe("tempfail")]).usable
    assert not assess_host(lookup(tlsa_usable=0), [probe("unusable")]).usable


def test_causes_are_told_of_a_mismatch_only() -> None:
    causes = ["unknown", ""]
    broken = assess_host(lookup(), [probe("mismatch", record_cause=causes)])
    assert broken.causes == {"unknown"}
    assert not assess_host(lookup(), [probe("tls_failed", record_cause=causes)]).causes


def test_causes_are_those_of_the_addresses_that_do_not_match() -> None:
    found = assess_host(
        lookup(addresses=["192.0.2.1", "192.0.2.2"], address_total=2),
        [
            probe("pass", address="192.0.2.1", record_cause=["", "stale_certificate"]),
            probe("mismatch", address="192.0.2.2", record_cause=["wrong_usage", "unknown"]),
        ],
    )
    assert found.causes == {"unknown", "wrong_usage"}


def test_what_a_lenient_sender_accepts_is_recorded_and_not_counted() -> None:
    alias = lookup(host="alias.example.org", tlsa_base="mx.example.net")
    for names, lenient in ((["alias.example.org"], True), (["other.example"], False)):
        one = probe("name_mismatch", sni="mx.example.net", leaf_names=names)
        verdict = assess_host(alias, [one])
        assert verdict.status is HostStatus.NAME_MISMATCH
        assert verdict.accepted_by_lenient is lenient
        assert verdict.addresses[0].names == tuple(names)


@pytest.mark.parametrize(
    ("hours", "iterations", "expected"),
    [
        (71, None, {"rrsig_near_expiry"}),
        (-1, 0, {"rrsig_near_expiry"}),
        (72, 0, set()),
        (None, 10, {"nsec3_iterations"}),
        (None, None, set()),
    ],
)
def test_signatures_and_denials(
    hours: int | None, iterations: int | None, expected: set[str]
) -> None:
    expiration = None if hours is None else _NOW + timedelta(hours=hours)
    host = lookup("absent", rrsig_expiration=expiration, nsec3_iterations=iterations)
    assert assess_host(host, []).defects == expected
    domain = _domain_lookup([], rrsig_expiration=expiration, nsec3param_iterations=iterations)
    assert assess_domain(domain, {}).defects == expected


# --- domains --------------------------------------------------------------------------------


def _domain_lookup(pairs: Sequence[tuple[int, str]], **other: Any) -> DomainLookup:
    return DomainLookup(
        **{
            "domain": "example.org",
            "outcome": LookupOutcome.SECURE,
            "secure": True,
            "mx_preference": [preference for preference, _ in pairs],
            "mx_host": [host for _, host in pairs],
            "mx_total": len(pairs),
            "last_asked": _NOW,
            **other,
        }
    )


def _host(name: str, status: HostStatus, usable: bool, **other: Any) -> HostVerdict:
    return HostVerdict(
        **{
            "host": name,
            "status": status,
            "usable": usable,
            "addresses": (AddressVerdict(address="192.0.2.1", status=status),),
            "inferred": False,
            "defects": frozenset(),
            "causes": frozenset(),
            "accepted_by_lenient": False,
            **other,
        }
    )


def _can_be_usable(status: HostStatus) -> bool:
    return HOST_CLASS[status] in (HostClass.F, HostClass.P, HostClass.Q)


_KINDS = [
    (status, usable)
    for status in HostStatus
    for usable in (False, True)
    if _can_be_usable(status) or not usable
    if status is not HostStatus.PASS or usable
]
"""Every status with every flag that it can have: `pass` only where a record is usable."""

Seen = list[tuple[int, HostStatus, bool]]


def _assess(seen: Seen, **other: Any) -> DomainVerdict:
    pairs = [(preference, f"mx{i}.example") for i, (preference, _, _) in enumerate(seen)]
    hosts = {
        f"mx{i}.example": _host(f"mx{i}.example", status, usable)
        for i, (_, status, usable) in enumerate(seen)
    }
    return assess_domain(_domain_lookup(pairs, **other), hosts)


def _domain_by_the_letter(seen: Seen) -> tuple[str, str | None, bool, bool | None]:
    """Status, what stands beside it, dane_primary and deliverable, by rows 4 to 12."""
    hosts = [(p, HOST_CLASS[s], s, u) for p, s, u in seen if HOST_CLASS[s] is not HostClass.NONE]
    if not hosts:
        return "no_mail", "no_address", False, None
    classes = [one[1] for one in hosts]
    lowest = min(one[0] for one in hosts)
    first = [one for one in hosts if one[0] == lowest]
    primary = all(
        c is HostClass.P or c is HostClass.A or (c is HostClass.Q and u) for _, c, _, u in first
    ) and any(c is HostClass.P for _, c, _, _ in first)
    deliverable: bool | None = False
    if any(c in (HostClass.P, HostClass.P0) for c in classes):
        deliverable = True
    elif any(c in (HostClass.N, HostClass.Q, HostClass.X) for c in classes):
        deliverable = None

    def row() -> tuple[str, str | None]:
        if HostClass.F in classes:
            broken_first = any(c is HostClass.F for _, c, _, _ in first)
            return "broken", "primary" if broken_first else "backup"
        if HostClass.L in classes:
            return "lookup_failed", "tlsa"
        if all(c is HostClass.A for c in classes):
            return "lookup_failed", "address"
        if HostClass.X in classes:
            return "indeterminate", None
        rest = [one for one in hosts if one[1] is not HostClass.A]
        with_tlsa = [one for one in rest if one[1] is not HostClass.N]
        if not with_tlsa:
            insecure = all(s is HostStatus.INSECURE for _, _, s, _ in rest)
            return ("insecure_mx_host" if insecure else "no_tlsa"), None
        if not any(u for _, _, _, u in with_tlsa):
            return "unusable", None
        if len(with_tlsa) < len(rest) or not all(u for _, _, _, u in with_tlsa):
            return "partial", None
        if any(c is HostClass.P for _, c, _, _ in with_tlsa):
            return "dane", None
        theirs = any(s in _MEASURED for _, _, s, _ in with_tlsa)
        return ("unreachable" if theirs else "indeterminate"), None

    status, detail = row()
    return status, detail, primary, deliverable


def _told(verdict: DomainVerdict) -> tuple[str, str | None, bool, bool | None]:
    details = [one for one in (verdict.stage, verdict.reason, verdict.level) if one is not None]
    assert len(details) <= 1
    detail = str(details[0]) if details else None
    return str(verdict.status), detail, verdict.dane_primary, verdict.deliverable


_seen = st.lists(
    st.builds(lambda kind, preference: (preference, *kind), st.sampled_from(_KINDS),
              st.integers(0, 3)), max_size=6)  # fmt: skip


@settings(max_examples=1500)
@given(_seen)
def test_every_combination_has_the_status_that_the_page_gives_it(seen: Seen) -> None:
    verdict = _assess(seen)
    assert _told(verdict) == _domain_by_the_letter(seen)
    assert verdict.mx_secure
    # The order of the hosts is of no account.
    assert _told(_assess(seen[::-1])) == _told(verdict)


def test_all_pairs_of_hosts_over_two_preferences() -> None:
    for one, other in product(_KINDS, repeat=2):
        for preferences in ((10, 10), (10, 20)):
            seen = [(preferences[0], *one), (preferences[1], *other)]
            assert _told(_assess(seen)) == _domain_by_the_letter(seen), seen


@given(_seen)
def test_exactly_one_row_is_the_first_and_the_last_always_applies(seen: Seen) -> None:
    verdict = _assess(seen)
    assert DOMAIN_ROWS[-1].applies(None)  # type: ignore[arg-type]
    assert [row.row for row in DOMAIN_ROWS] == sorted(row.row for row in DOMAIN_ROWS)
    assert verdict.status in {row.status for row in DOMAIN_ROWS}


@given(_seen)
def test_what_the_headline_implies(seen: Seen) -> None:
    verdict = _assess(seen)
    if verdict.dane_primary:
        assert verdict.deliverable is True
        assert verdict.status not in (DomainStatus.NO_TLSA, DomainStatus.NO_MAIL)
    if verdict.status is DomainStatus.DANE:
        assert verdict.deliverable is True
    if verdict.deliverable is False:
        assert verdict.status in (DomainStatus.BROKEN, DomainStatus.LOOKUP_FAILED)


_OUTCOMES = [
    ("unanswered", False, "indeterminate", None, False, None),
    ("local_resolver", True, "indeterminate", None, False, None),
    ("bogus", False, "lookup_failed", "mx", False, False),
    ("servfail", True, "lookup_failed", "mx", False, False),
    ("insecure", False, "insecure", None, False, None),
    ("insecure", True, "insecure", None, False, None),
    ("secure", False, "insecure", None, False, None),  # a CNAME to it is not secure
    ("nodata", False, "insecure", None, False, None),
    ("nxdomain", False, "insecure", None, False, None),
    ("nxdomain", True, "no_mail", "nxdomain", True, None),
]


@pytest.mark.parametrize(
    ("outcome", "secure", "status", "detail", "mx_secure", "deliverable"), _OUTCOMES
)
@pytest.mark.parametrize(
    "seen", [[], [(10, HostStatus.PASS, True)], [(5, HostStatus.ABSENT, False)]]
)
def test_the_mx_question_comes_first(
    outcome: str, secure: bool, status: str, detail: str | None, mx_secure: bool,
    deliverable: bool | None, seen: Seen,
) -> None:  # fmt: skip
    verdict = _assess(seen, outcome=LookupOutcome(outcome), secure=secure)
    assert _told(verdict) == (status, detail, False if status != "no_mail" else
                              verdict.dane_primary, deliverable)  # fmt: skip
    assert verdict.mx_secure is mx_secure
    if not mx_secure:
        assert verdict.hosts == ()
        assert not verdict.dane_primary


@given(st.sampled_from(LookupOutcome), st.booleans(), _seen)
def test_any_mx_outcome_with_any_hosts_has_one_verdict(
    outcome: LookupOutcome, secure: bool, seen: Seen
) -> None:
    verdict = _assess(seen, outcome=outcome, secure=secure)
    answered = secure and outcome not in LOCAL | FAILED | {LookupOutcome.INSECURE}
    assert verdict.mx_secure is answered
    assert verdict.dane_primary <= answered


def test_null_mx() -> None:
    def told(*pairs: tuple[int, str], **hosts: str) -> tuple[Any, ...]:
        known = {
            f"{name}.example": _host(f"{name}.example", HostStatus(status), status == "pass")
            for name, status in hosts.items()
        }
        verdict = assess_domain(_domain_lookup(pairs), known)
        return (*_told(verdict)[:2], verdict.mx_secure, set(verdict.defects))

    assert told((0, ".")) == ("no_mail", "null_mx", True, set())
    assert told((10, ".")) == ("no_mail", "no_address", True, set())  # RFC 7505: preference 0
    mixed = {str(Defect.NULL_MX_MIXED)}
    assert told((0, "."), (10, "mx.example"), mx="pass") == ("dane", None, True, mixed)
    assert told((0, "."), (10, "mx.example"), mx="no_address") == (
        "no_mail", "no_address", True, mixed,
    )  # fmt: skip


def test_implicit_mx_is_a_host_like_any_other() -> None:
    domain = _domain_lookup([(0, "example.org")], outcome=LookupOutcome.NODATA)
    verdict = assess_domain(domain, {"example.org": _host("example.org", HostStatus.PASS, True)})
    assert _told(verdict) == ("dane", None, True, True)


def test_hosts_beyond_the_cap_are_not_known() -> None:
    def told(total: int, *seen: tuple[int, HostStatus, bool]) -> tuple[str, str | None, bool, Any]:
        verdict = _assess(list(seen), mx_total=total)
        assert len(verdict.hosts) == len(seen)
        return _told(verdict)

    good = (10, HostStatus.PASS, True)
    assert told(2, good) == ("indeterminate", None, True, True)
    assert told(3, good, (20, HostStatus.PASS, True)) == ("indeterminate", None, True, True)
    assert told(3, good, (20, HostStatus.MISMATCH, True)) == ("broken", "backup", True, True)


@pytest.mark.parametrize(
    ("followed", "beyond", "primary"),
    [
        ([(10, HostStatus.PASS, True)] * 32, [10, 10], True),
        ([(10, HostStatus.PASS, True)] * 32, [10, 20], True),
        ([(10, HostStatus.PASS, True)] * 32, [20], True),
        ([(10, HostStatus.ABSENT, False)] + [(10, HostStatus.PASS, True)] * 31, [10], False),
        ([(5, HostStatus.PASS, True)] + [(10, HostStatus.ABSENT, False)] * 31, [10], True),
        ([(10, HostStatus.NO_ADDRESS, False)] * 32, [10], False),  # none is known that remains
    ],
)
def test_the_primary_hosts_are_those_that_are_followed(
    followed: list[tuple[int, HostStatus, bool]], beyond: list[int], primary: bool
) -> None:
    verdict = _assess(
        followed,
        mx_total=32 + len(beyond),
        mx_excess_preference=beyond,
        mx_excess_host=[f"z{number}.example" for number in range(len(beyond))],
    )
    assert verdict.status == "indeterminate"
    assert verdict.dane_primary is primary
    told = [(one.host, one.preference, one.status) for one in verdict.hosts[32:]]
    assert told == [
        (f"z{number}.example", preference, "excess") for number, preference in enumerate(beyond)
    ]


def test_a_host_that_was_not_looked_up_is_not_known() -> None:
    verdict = assess_domain(_domain_lookup([(10, "mx.example")]), {})
    assert _told(verdict) == ("indeterminate", None, False, None)
    assert [str(one.status) for one in verdict.hosts] == ["local_error"]


@pytest.mark.parametrize(
    ("beside", "expected"),
    [
        ([], ("indeterminate", None, False, None)),
        ([(10, HostStatus.PASS, True)], ("dane", None, False, True)),
        ([(5, HostStatus.PASS, True)], ("dane", None, True, True)),
        ([(10, HostStatus.ABSENT, False)], ("no_tlsa", None, False, None)),
        ([(10, HostStatus.INSECURE, False)], ("insecure_mx_host", None, False, None)),
        ([(10, HostStatus.UNUSABLE, False)], ("unusable", None, False, True)),
        ([(10, HostStatus.UNREACHABLE, True)], ("unreachable", None, False, None)),
        ([(10, HostStatus.MISMATCH, True)], ("broken", "primary", False, None)),
        ([(10, HostStatus.ADDRESS_FAILED, False)], ("indeterminate", None, False, None)),
        ([(10, HostStatus.OPTED_OUT, True)], ("indeterminate", None, False, None)),
    ],
)
def test_a_host_that_opted_out_before_it_was_asked_for_says_nothing(
    beside: Seen, expected: tuple[str, str | None, bool, bool | None]
) -> None:
    unasked = assess_host(lookup("opted_out", addresses=[], tlsa_base=None, tlsa_usable=0), [])
    assert (unasked.status, unasked.usable, unasked.looked_up) == ("opted_out", False, False)
    names = [f"mx{i}.example" for i in range(len(beside))]
    known = {
        name: _host(name, status, usable)
        for name, (_, status, usable) in zip(names, beside, strict=True)
    }
    pairs = [(one[0], name) for one, name in zip(beside, names, strict=True)]
    verdict = assess_domain(
        _domain_lookup([*pairs, (10, "mx.example.org")]), {**known, "mx.example.org": unasked}
    )
    assert _told(verdict) == expected


@pytest.mark.parametrize(
    ("leaf_names", "cname_target", "expected"),
    [
        (("example.org",), None, "pass"),
        (("*.example",), None, "name_mismatch"),
        (("example.net",), "example.net", "pass"),
        (("example.net",), None, "name_mismatch"),
        (("*.net",), "example.net", "pass"),
    ],
)
def test_a_domains_own_names_are_reference_names_too(
    leaf_names: tuple[str, ...], cname_target: str | None, expected: str
) -> None:
    address = AddressVerdict(address="192.0.2.1", status=HostStatus.NAME_MISMATCH, names=leaf_names)
    host = _host("mx.example", HostStatus.NAME_MISMATCH, True, addresses=(address,))
    domain = _domain_lookup([(10, "mx.example")], cname_target=cname_target)
    verdict = assess_domain(domain, {"mx.example": host})
    assert [str(one.status) for one in verdict.hosts] == [expected]
    assert verdict.status == ("dane" if expected == "pass" else "broken")


def test_defects_of_its_hosts_are_the_domains_too() -> None:
    hosts: Mapping[str, HostVerdict] = {
        "mx.example": _host("mx.example", HostStatus.PASS, True, defects=frozenset({"ta_spki"}))
    }
    verdict = assess_domain(_domain_lookup([(10, "mx.example")], nsec3_iterations=5), hosts)
    assert verdict.defects == {"ta_spki", "nsec3_iterations"}
