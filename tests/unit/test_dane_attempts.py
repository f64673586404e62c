"""From attempts to an address: agreement, the name check, inheritance, flapping (section 6)."""

from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dane.attempts import (
    AddressVerdict,
    Probe,
    assess_address,
    attempts_needed,
    disagree,
    first_status,
    status_of_attempts,
    status_with_names,
)
from dane.outcomes import HOST_CLASS, Defect, HostClass, HostStatus
from tests.attempts import probe

_PROBED = [
    status
    for status in HostStatus
    if HOST_CLASS[status] in (HostClass.F, HostClass.P, HostClass.P0, HostClass.Q)
]
_ALL_NEEDED = ("no_starttls", "starttls_rejected")


def test_only_failures_need_attempts_that_agree() -> None:
    for status in _PROBED:
        failing = HOST_CLASS[status] is HostClass.F
        assert attempts_needed(status) == (1 if not failing else 3 if status in _ALL_NEEDED else 2)


@pytest.mark.parametrize(
    ("attempts", "expected"),
    [
        ([], "unprobed"),
        (["pass"], "pass"),
        (["mismatch"], "mismatch"),
        (["mismatch", "mismatch"], "mismatch"),
        (["mismatch", "pass"], "pass"),
        (["mismatch", "tempfail"], "tempfail"),
        (["mismatch", "tempfail", "mismatch"], "mismatch"),
        (["mismatch", "mismatch", "pass"], "mismatch"),
        (["tempfail", "pass"], "pass"),
        (["unreachable", "tempfail"], "tempfail"),
        (["mismatch", "ta_expired"], "ta_expired"),
        (["mismatch", "no_starttls", "tls_failed"], "tls_failed"),
        (["mismatch", "no_starttls", "tempfail"], "tempfail"),
        (["tls_failed", "mismatch", "tls_failed", "mismatch"], "mismatch"),
        (["no_starttls", "no_starttls", "no_starttls"], "no_starttls"),
        (["no_starttls", "no_starttls", "pass"], "pass"),
        (["no_starttls", "no_starttls", "tempfail"], "tempfail"),
        (["starttls_rejected", "starttls_rejected", "unusable"], "unusable"),
        (["no_starttls", "no_starttls", "mismatch"], "no_starttls"),
    ],
)
def test_f_needs_two_agreeing_attempts_else_the_better_stands(
    attempts: list[str], expected: str
) -> None:
    for order in permutations(attempts):
        assert status_of_attempts([HostStatus(one) for one in order]) == expected


@given(st.lists(st.sampled_from(_PROBED), min_size=1, max_size=4))
def test_the_status_is_one_of_the_attempts_and_f_only_where_nothing_speaks_against_it(
    attempts: list[HostStatus],
) -> None:
    status = status_of_attempts(attempts)
    assert status in attempts
    if HOST_CLASS[status] is HostClass.F:
        failed = [one for one in attempts if HOST_CLASS[one] is HostClass.F]
        assert len(failed) == len(attempts) or attempts.count(status) >= 2
        if status in _ALL_NEEDED:
            assert len(failed) == len(attempts)


def _evidence(*probes: Probe, base: str = "mx.example.org") -> tuple[str, bool, set[str], set[str]]:
    found = assess_address("192.0.2.1", base, probes)
    return str(found.verdict.status), found.inferred, set(found.defects), set(found.causes)


def test_attempts_in_any_order_and_their_defects() -> None:
    assert _evidence(
        probe("pass", 2, defects=["starttls_injection"]),
        probe("mismatch", 1, defects=["legacy_tls"]),
    ) == ("pass", False, {"legacy_tls", "starttls_injection", Defect.FLAPPING}, set())


def test_our_own_faults_neither_outweigh_nor_contradict() -> None:
    for ours in ("local_error_smtp", "unprobed", "opted_out"):
        assert _evidence(probe("mismatch", 1), probe(ours, 2)) == ("mismatch", False, set(), set())
        assert _evidence(probe(ours, 1)) == (ours, False, set(), set())
    assert _evidence() == ("unprobed", False, set(), set())


def test_causes_are_those_of_the_last_attempt_that_gave_the_status() -> None:
    causes = [["unknown", ""], ["stale_certificate", "wrong_selector", ""], ["", "unknown"]]
    attempts = [
        probe("mismatch", 1, record_cause=causes[0]),
        probe("mismatch", 2, record_cause=causes[1]),
        probe("pass", 3, record_cause=causes[2]),
    ]
    status, _, _, found = _evidence(*attempts)
    assert (status, found) == ("mismatch", {"stale_certificate", "wrong_selector"})


@pytest.mark.parametrize(
    ("days", "told"),
    [([31], True), ([None, 31], True), ([30], False), ([None], False), ([], False)],
)
def test_a_record_whose_certificate_went_over_30_days_ago_is_left_over(
    days: list[int | None], told: bool
) -> None:
    now = datetime(2026, 6, 1, tzinfo=UTC)
    since = [None if one is None else now - timedelta(days=one) for one in days]
    attempt = probe("pass", connected=now, unmatched_since=since)
    found = assess_address("192.0.2.1", "mx.example.org", [attempt])
    assert found.defects == ({"leftover_record"} if told else set())


def test_the_names_shown_are_kept_where_they_are_wrong() -> None:
    for status, names in (("name_mismatch", ("other.example",)), ("pass", ())):
        one = probe(status, leaf_names=["other.example"])
        found = assess_address("192.0.2.1", "mx.example.org", [one])
        assert (found.verdict.status, found.verdict.names) == (status, names)


def test_a_name_of_its_own_is_preferred_to_an_inherited_result() -> None:
    own, other = probe("mismatch"), probe("pass", sni="b.example.org")
    assert _evidence(other, own)[:2] == ("mismatch", False)
    assert _evidence(other)[:2] == ("pass", True)


def test_the_result_of_most_names_is_inherited_and_a_tie_does_not_blame() -> None:
    def named(*statuses: str) -> tuple[str, bool]:
        probes = [probe(one, sni=f"{i}.example.org") for i, one in enumerate(statuses)]
        return _evidence(*probes)[:2]

    assert named("mismatch", "pass", "mismatch") == ("mismatch", True)
    assert named("mismatch", "pass") == ("pass", True)
    assert named("pass", "mismatch") == ("pass", True)


def test_first_status_and_disagreement() -> None:
    assert first_status([]) is HostStatus.UNPROBED
    assert first_status(reversed(HostStatus)) is HostStatus.LOCAL_ERROR
    mismatch, good, down = HostStatus.MISMATCH, HostStatus.PASS, HostStatus.UNREACHABLE
    assert disagree([mismatch, good])
    assert disagree([mismatch, HostStatus.TLS_FAILED])
    assert not disagree([good, down])
    assert not disagree([mismatch, mismatch])
    assert not disagree([mismatch, HostStatus.UNPROBED])


def test_names_of_a_domain_turn_a_name_mismatch_into_a_pass() -> None:
    wrong = AddressVerdict(
        address="192.0.2.1", status=HostStatus.NAME_MISMATCH, names=("example.org",)
    )
    down = AddressVerdict(address="192.0.2.2", status=HostStatus.UNREACHABLE)
    expired = AddressVerdict(address="192.0.2.3", status=HostStatus.TA_EXPIRED)
    assert status_with_names([wrong], ["example.org"]) is HostStatus.PASS
    assert status_with_names([wrong, down], ["example.org"]) is HostStatus.PASS
    assert status_with_names([wrong], ["example.net"]) is HostStatus.NAME_MISMATCH
    assert status_with_names([wrong, expired], ["example.org"]) is HostStatus.TA_EXPIRED
