"""OpenSSL's own 54 DANE cases, by us and by OpenSSL itself (shared/data/dane, SOURCE.md)."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dane.case import read_case
from dane.outcomes import Verdict
from dane.verify import Verification
from tests.oracle.openssl_dane import (
    X509_V_ERR_DANE_NO_MATCH,
    X509_V_ERR_HOSTNAME_MISMATCH,
    X509_V_OK,
    OpenSSL,
)

_FILE = Path(__file__).parents[3] / "shared/data/dane/openssl-danetest.json"
_CASES: list[dict[str, Any]] = json.loads(_FILE.read_text()) if _FILE.exists() else []
_AT = "2026-11-01T00:00:00Z"

pytestmark = pytest.mark.skipif(not _CASES, reason=f"no {_FILE.name} beside the checkout")

_VERDICTS = {
    X509_V_OK: Verdict.MATCH,
    X509_V_ERR_HOSTNAME_MISMATCH: Verdict.NAME_MISMATCH,
    X509_V_ERR_DANE_NO_MATCH: Verdict.MISMATCH,
}


def _tlsa(case: dict[str, Any]) -> list[str]:
    return [" ".join(map(str, record)) for record in case["tlsa"]]


def _ours(case: dict[str, Any]) -> Verification:
    return read_case(case["certs"], _tlsa(case), ["example.com"], _AT).verify()


def _expected(case: dict[str, Any]) -> Verdict:
    if all(usage in (0, 1) for usage, *_ in case["tlsa"]):
        return Verdict.UNUSABLE  # RFC 7672 section 3.1.3
    if case["n"] == 54:
        return Verdict.MATCH  # no name check for DANE-EE (RFC 7672 section 3.1.1)
    return _VERDICTS[case["want"]]


@pytest.mark.parametrize("case", _CASES, ids=lambda case: str(case["n"]))
def test_case_read_as_smtp(case: dict[str, Any]) -> None:
    verification = _ours(case)
    assert verification.verdict is _expected(case)
    if verification.verdict in (Verdict.MATCH, Verdict.NAME_MISMATCH):
        assert verification.matched_depth == case["depth"]


def test_twenty_cases_are_unusable_for_smtp() -> None:
    assert [_ours(case).verdict for case in _CASES].count(Verdict.UNUSABLE) == 20


def test_openssl_through_ctypes_says_what_its_own_test_wants() -> None:
    openssl = OpenSSL()
    at = datetime(2026, 11, 1, tzinfo=UTC)
    for case in _CASES:
        # PKIX usages need a certificate store; 54 wants the name check that SMTP leaves out.
        if any(usage in (0, 1) for usage, *_ in case["tlsa"]) or case["n"] == 54:
            continue
        asked = read_case(case["certs"], _tlsa(case), [], None)
        opinion = openssl.verify(asked.chain, asked.tlsa, ["example.com"], at)
        assert (opinion.error, opinion.depth) == (
            case["want"],
            # The depth is only told of what was verified.
            case["depth"] if case["want"] == X509_V_OK else -1,
        ), case["n"]
