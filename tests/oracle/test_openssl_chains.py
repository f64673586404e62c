"""Our verdict and OpenSSL's, on chains and records of every make.

OpenSSL stops at the first thing wrong. Asked again without names, and then without times, it
tells which one that was, in our vocabulary.
"""

import pytest
from hypothesis import HealthCheck, given, note, settings

from dane.outcomes import Verdict
from dane.verify import verify
from tests.oracle.chains import AT, Made, Plan, make, plans
from tests.oracle.openssl_dane import X509_V_OK, Ignoring, OpenSSL, Opinion

_NOTHING_TO_VERIFY = None


@pytest.fixture(scope="module")
def openssl() -> OpenSSL:
    return OpenSSL()


def second_opinion(openssl: OpenSSL, plan: Plan, made: Made) -> tuple[Verdict, Opinion]:
    """OpenSSL's verdict on the records that SMTP uses, and the opinion that it stands on."""
    records = [one for one in made.tlsa if one.usage in (2, 3)]
    for ignoring, verdict in (
        (Ignoring.NOTHING, Verdict.MATCH),
        (Ignoring.NAMES, Verdict.NAME_MISMATCH),
        (Ignoring.NAMES | Ignoring.TIMES, Verdict.TA_EXPIRED),
    ):
        opinion = openssl.verify(made.chain, records, plan.names, AT, ignoring)
        if opinion.error is _NOTHING_TO_VERIFY:
            return Verdict.UNUSABLE, opinion
        if opinion.error == X509_V_OK:
            return verdict, opinion
    return Verdict.MISMATCH, opinion


def test_verdicts_agree(openssl: OpenSSL) -> None:
    @settings(max_examples=1500, deadline=None, suppress_health_check=list(HealthCheck))
    @given(plans())
    def agree(plan: Plan) -> None:
        made = make(plan)
        ours = verify(made.chain, made.tlsa, plan.names, AT)
        theirs, opinion = second_opinion(openssl, plan, made)
        note(f"ours {ours.verdict}, theirs {theirs} {opinion}")
        note(f"{[(one.record.text()[:12], one.result, one.depth) for one in ours.records]}")
        assert ours.verdict is theirs

    agree()
