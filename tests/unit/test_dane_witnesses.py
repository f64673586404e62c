"""Ours or theirs: the table of two witnesses (measurement, section 2), on the servers' side."""

from datetime import UTC, datetime

import pytest

from dane.assess import DomainLookup, HostLookup, assess_domain, assess_host
from dane.outcomes import DnsCause, DomainStatus, HostStatus, LookupOutcome
from dane.witnesses import Evidence, deciding

NOW = datetime(2026, 12, 1, tzinfo=UTC)


def told(cause: str, rrtype: str = "TLSA", *, good: bool = False, servers: int = 2) -> Evidence:
    return Evidence(
        name="n",
        rrtype=rrtype,
        zone="z",
        failed_name="n",
        dns_cause=DnsCause(cause),
        all_good=good,
        servers=["ns"] * servers,
    )


OURS = [told("unknown", good=True), told("validator_limit"), told("unknown"),
        told("unknown", servers=0)]  # fmt: skip
THEIRS = [told(str(cause)) for cause in DnsCause if cause not in ("validator_limit", "unknown")]


def host(status: str | None, *evidence: Evidence, **more: str) -> HostLookup:
    return HostLookup(
        host="mx.example",
        status=None if status is None else HostStatus(status),
        addresses=(),
        address_total=0,
        tlsa_base="mx.example",
        tlsa_usable=1,
        defects=more.pop("defects", "").split(),
        last_asked=NOW,
        evidence=evidence,
        **more,
    )


@pytest.mark.parametrize("evidence", OURS)
def test_nothing_is_proven(evidence: Evidence) -> None:
    assert evidence.is_ours
    verdict = assess_host(host("tlsa_failed", evidence), [])
    assert (verdict.status, verdict.host_class) == (HostStatus.LOCAL_ERROR, "X")


@pytest.mark.parametrize("evidence", THEIRS)
def test_a_cause_is_proven(evidence: Evidence) -> None:
    assert not evidence.is_ours
    verdict = assess_host(host("tlsa_failed", evidence), [])
    assert (verdict.status, verdict.host_class) == (HostStatus.TLSA_FAILED, "L")
    assert verdict.evidence is evidence


def test_without_evidence_the_lookup_stands() -> None:
    assert assess_host(host("tlsa_failed"), []).status is HostStatus.TLSA_FAILED
    other = told("lame", "AAAA")
    assert assess_host(host("tlsa_failed", other), []).status is HostStatus.TLSA_FAILED


def test_of_several_questions_one_that_is_theirs_decides() -> None:
    lame, good = told("lame", "A"), told("unknown", "AAAA", good=True)
    assert deciding([good, lame], ("A", "AAAA")) is lame
    assert assess_host(host("address_failed", good, lame), []).status is HostStatus.ADDRESS_FAILED
    assert assess_host(host("address_failed", good), []).status is HostStatus.LOCAL_ERROR
    assert deciding([lame], ("TLSA",)) is None


def test_a_second_look_that_fails_alone() -> None:
    """Section 3.4: theirs only where a server denies `_tcp`."""
    denied = host(None, told("bad_denial"), second_look_outcome="servfail")
    verdict = assess_host(denied, [])
    assert verdict.status is HostStatus.TLSA_FAILED
    assert "ent_denied" in verdict.defects
    for evidence in (told("unknown", good=True), told("lame")):
        alone = host(None, evidence, second_look_outcome="servfail")
        assert assess_host(alone, []).status is HostStatus.UNPROBED
    answered = host(None, told("bad_denial"), second_look_outcome="secure")
    assert assess_host(answered, []).status is HostStatus.UNPROBED


def test_the_second_resolvers_answer_and_some_bad_servers() -> None:
    bad = host(None, told("unknown"), first_look_outcome="servfail")
    assert "some_servers_fail" in assess_host(bad, []).defects
    good = host(None, told("unknown", good=True), first_look_outcome="servfail")
    assert "some_servers_fail" not in assess_host(good, []).defects


def test_a_family_that_fails_through_us_is_no_defect() -> None:
    failing = "address_family_failed"
    ours = host(None, told("unknown", "AAAA", good=True), defects=failing)
    theirs = host(None, told("type_blocked", "AAAA"), defects=failing)
    assert failing not in assess_host(ours, []).defects
    assert failing in assess_host(theirs, []).defects


@pytest.mark.parametrize(
    ("evidence", "status"),
    [
        (told("lame", "MX"), DomainStatus.LOOKUP_FAILED),
        (told("unknown", "MX", good=True), DomainStatus.INDETERMINATE),
        (None, DomainStatus.LOOKUP_FAILED),
    ],
)
def test_the_mx_question(evidence: Evidence | None, status: DomainStatus) -> None:
    lookup = DomainLookup(
        domain="d.example",
        outcome=LookupOutcome.SERVFAIL,
        secure=False,
        mx_preference=(),
        mx_host=(),
        mx_total=0,
        last_asked=NOW,
        evidence=() if evidence is None else (evidence,),
    )
    assert assess_domain(lookup, {}).status is status
