"""Our verdict and OpenSSL's, on chains and records of every make.

OpenSSL stops at the first thing wrong. Asked again without names, and then without times, it
tells which one that was, in our vocabulary. Where the two differ, `DIFFERENCES` says why.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
from hypothesis import HealthCheck, example, given, note, settings

from dane.outcomes import Verdict
from dane.tlsa import TLSARecord, usable
from dane.verify import Verification, verify
from tests.oracle.chains import AT, BASE, Authority, Leaf, Made, Plan, RecordPlan, make, plans
from tests.oracle.openssl_dane import X509_V_OK, Ignoring, OpenSSL, Opinion

_BEST_FIRST = [Verdict.MATCH, Verdict.NAME_MISMATCH, Verdict.TA_EXPIRED, Verdict.MISMATCH]

_ISSUER = Authority("p256", who=0, called=0, issuer=1, signs=True)
_ROOT = Authority("p256", who=1, called=1, issuer=1, signs=True)
_RIGHT = Plan(Leaf(), (_ISSUER, _ROOT), sent=(1, 2), records=(), names=(BASE,))


def _better(ours: Verdict, theirs: Verdict) -> bool:
    return _BEST_FIRST.index(ours) < _BEST_FIRST.index(theirs)


def _anchor_is_out_of_date(plan: Plan, made: Made, ours: Verification) -> bool:
    """Ours is expired by the date of an anchor that, to OpenSSL, another authority issued: a
    wrong key identifier makes it take a self-issued one for that."""
    if ours.verdict is not Verdict.TA_EXPIRED:
        return False
    return any(
        (one.issuer != one.subject or authority.identifiers == "wrong")
        and not one.not_valid_before_utc <= AT <= one.not_valid_after_utc
        for one, authority in zip(made.all[1:], plan.authorities, strict=True)
    )


def _two_of_one_name(plan: Plan) -> bool:
    """Two certificates that OpenSSL may take for the same issuer, sent or from DNS."""
    called = [one.called for one in plan.authorities]
    return len(set(called)) < len(called)


def _full_of_both_kinds(plan: Plan) -> bool:
    kinds = {(one.usage, one.selector, one.matching_type) for one in plan.records}
    return {(2, 0, 0), (2, 1, 0)} <= kinds


@dataclass(frozen=True)
class Difference:
    """Where we differ from OpenSSL on purpose: why, when, and a plan that shows it."""

    why: str
    holds: Callable[[Plan, Made, Verification, Verdict], bool]
    shown_by: Plan
    ours: Verdict
    theirs: Verdict


DIFFERENCES = (
    Difference(
        "RFC 5280 section 6.1.3 (a)(2) has the time within the validity of each certificate, and "
        "measurement section 5.4 counts the anchor in. OpenSSL checks an anchor's dates only if "
        "it is self-issued.",
        lambda plan, made, ours, theirs: _anchor_is_out_of_date(plan, made, ours),
        replace(
            _RIGHT,
            authorities=(replace(_ISSUER, dates="expired"), _ROOT),
            records=(RecordPlan(2, 0, 1, 1),),
        ),
        Verdict.TA_EXPIRED,
        Verdict.MATCH,
    ),
    Difference(
        "RFC 5280 section 6.1: a path is valid or not, and any valid one serves (RFC 4158 section "
        "2 on several paths). OpenSSL follows one issuer for each certificate and never returns.",
        lambda plan, made, ours, theirs: _two_of_one_name(plan) and _better(ours.verdict, theirs),
        replace(
            _RIGHT,
            authorities=(replace(_ISSUER, purposes=("client",)), _ROOT, _ISSUER),
            sent=(1, 3, 2),
            records=(RecordPlan(2, 0, 1, 2),),
        ),
        Verdict.MATCH,
        Verdict.MISMATCH,
    ),
    Difference(
        "RFC 7671 section 5.2.2 has each record stand for itself. OpenSSL adds the certificate of "
        "a 2 0 0 record to those sent, which can hide that the bare key of a 2 1 0 record signed.",
        lambda plan, made, ours, theirs: (
            _full_of_both_kinds(plan) and _better(ours.verdict, theirs)
        ),
        replace(
            _RIGHT,
            authorities=(replace(_ISSUER, issuer=0, purposes=("client",)),),
            sent=(),
            records=(RecordPlan(2, 1, 0, 1), RecordPlan(2, 0, 0, 1)),
        ),
        Verdict.MATCH,
        Verdict.MISMATCH,
    ),
    Difference(
        "RFC 6125 section 6.4.3 asks that the wildcard be the whole left-most label. OpenSSL asks "
        "for two more labels behind it.",
        lambda plan, made, ours, theirs: "*.org" in plan.leaf.names,
        replace(
            _RIGHT,
            leaf=Leaf(names=("*.org",)),
            records=(RecordPlan(2, 0, 1, 1),),
            names=("example.org",),
        ),
        Verdict.MATCH,
        Verdict.NAME_MISMATCH,
    ),
    Difference(
        "RFC 5280 section 4.2.1.1: key identifiers facilitate the construction of paths; section "
        "6.1 validates signatures and names. OpenSSL takes a wrong identifier for no issuer.",
        lambda plan, made, ours, theirs: (
            any(one.identifiers == "wrong" for one in plan.authorities)
            and _better(ours.verdict, theirs)
        ),
        replace(
            _RIGHT,
            authorities=(replace(_ISSUER, identifiers="wrong"), _ROOT),
            records=(RecordPlan(2, 0, 1, 2),),
        ),
        Verdict.MATCH,
        Verdict.MISMATCH,
    ),
    Difference(
        "RFC 5280 section 4.2.1.12: anyExtendedKeyUsage sets no restriction; applications MAY "
        "reject it, and OpenSSL does.",
        lambda plan, made, ours, theirs: any(
            "any" in one.purposes for one in (plan.leaf, *plan.authorities)
        ),
        replace(_RIGHT, leaf=Leaf(purposes=("any",)), records=(RecordPlan(2, 0, 1, 1),)),
        Verdict.MATCH,
        Verdict.MISMATCH,
    ),
    Difference(
        "RFC 5280 section 6.1.4 (k): a certificate of version 3 between leaf and anchor has "
        "basicConstraints with cA. OpenSSL is content with keyCertSign directly below the bare key "
        "of a 2 1 0 record.",
        lambda plan, made, ours, theirs: (
            any(one.is_ca is None and one.signs for one in plan.authorities)
            and any((one.usage, one.selector, one.matching_type) == (2, 1, 0) for one in made.tlsa)
            and _better(theirs, ours.verdict)
        ),
        replace(
            _RIGHT,
            authorities=(replace(_ISSUER, is_ca=None), _ROOT),
            sent=(1,),
            records=(RecordPlan(2, 1, 0, 2),),
        ),
        Verdict.MISMATCH,
        Verdict.MATCH,
    ),
)


@pytest.fixture(scope="module")
def openssl() -> OpenSSL:
    return OpenSSL()


def _for_smtp(made: Made) -> list[TLSARecord]:
    return [one for one in made.tlsa if one.usage in (2, 3)]


def second_opinion(openssl: OpenSSL, plan: Plan, made: Made) -> tuple[Verdict, Opinion]:
    """OpenSSL's verdict on the records that SMTP uses, and the opinion that it stands on."""
    records = _for_smtp(made)
    for ignoring, verdict in (
        (Ignoring.NOTHING, Verdict.MATCH),
        (Ignoring.NAMES, Verdict.NAME_MISMATCH),
        (Ignoring.NAMES | Ignoring.TIMES, Verdict.TA_EXPIRED),
    ):
        opinion = openssl.verify(made.chain, records, plan.names, AT, ignoring)
        if opinion.error is None:
            return Verdict.UNUSABLE, opinion
        if opinion.error == X509_V_OK:
            return verdict, opinion
    return Verdict.MISMATCH, opinion


def compare(openssl: OpenSSL, plan: Plan) -> None:
    made = make(plan)
    ours = verify(made.chain, made.tlsa, plan.names, AT)
    theirs, opinion = second_opinion(openssl, plan, made)
    note(f"ours {ours.verdict} at {ours.matched_depth}, theirs {theirs}, {opinion}")
    note(f"{[(one.record.text()[:12], one.result, one.depth) for one in ours.records]}")
    assert opinion.usable == tuple(map(usable, _for_smtp(made)))
    if ours.verdict is not theirs:
        assert any(one.holds(plan, made, ours, theirs) for one in DIFFERENCES)
    elif theirs is Verdict.MATCH and not ours.name_decides:
        assert opinion.depth == ours.matched_depth == 0
    elif theirs is Verdict.MATCH and len(plan.records) == 1 and not _two_of_one_name(plan):
        assert opinion.depth == ours.matched_depth


@pytest.mark.parametrize("difference", DIFFERENCES, ids=lambda one: one.why.split(":")[0][:40])
def test_each_difference_is_one(openssl: OpenSSL, difference: Difference) -> None:
    made = make(difference.shown_by)
    ours = verify(made.chain, made.tlsa, difference.shown_by.names, AT)
    theirs, _ = second_opinion(openssl, difference.shown_by, made)
    assert (ours.verdict, theirs) == (difference.ours, difference.theirs)
    assert difference.holds(difference.shown_by, made, ours, theirs)


_CONSTRAINED_CN = replace(
    _RIGHT,
    leaf=Leaf(names=(), common_name=BASE),
    authorities=(replace(_ISSUER, excludes=("example.org",)), _ROOT),
    records=(RecordPlan(2, 1, 1, 2),),
)


def _agreement(examples: int) -> Callable[[OpenSSL], None]:
    def test(openssl: OpenSSL) -> None:
        @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
        @given(plans())
        @example(_CONSTRAINED_CN)
        def agree(plan: Plan) -> None:
            compare(openssl, plan)

        agree()

    return test


test_verdicts_agree = _agreement(600)
test_verdicts_agree_at_length = pytest.mark.timeout(0)(pytest.mark.soak(_agreement(30_000)))
