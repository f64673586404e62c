"""The table of public authorities: well-formed, and what the authorities publish."""

import re
from pathlib import Path

import pytest

from dane.public_issuers import (
    CHECKED,
    ISSUERS,
    IssuerState,
    issuer_of_certificate,
    issuer_of_key,
    issuing_beside,
)

PUBLISHED = Path(__file__).parents[3] / "shared" / "cases" / "le-issuers.tsv"
SHA256 = re.compile(r"[0-9a-f]{64}")


def test_each_digest_is_one_authority() -> None:
    keys = [one.spki_sha256 for one in ISSUERS]
    certificates = [digest for one in ISSUERS for digest in one.certificate_sha256]
    assert len(set(keys + certificates)) == len(keys) + len(certificates)
    assert all(SHA256.fullmatch(digest) for digest in keys + certificates)
    assert CHECKED.year >= 2026


def test_lookups() -> None:
    for one in ISSUERS:
        assert issuer_of_key(one.spki_sha256) is one
        assert all(issuer_of_certificate(digest) is one for digest in one.certificate_sha256)
    assert issuer_of_key("00" * 32) is None
    assert issuer_of_certificate("00" * 32) is None


@pytest.mark.skipif(not PUBLISHED.exists(), reason=f"{PUBLISHED} is not here")
def test_the_table_has_what_lets_encrypt_publishes() -> None:
    for line in PUBLISHED.read_text("ascii").splitlines():
        name, record, *_ = line.split("\t")
        issuer = issuer_of_key(record.removeprefix("2 1 1 "))
        assert issuer is not None, name
        generation, _, own = name.rpartition("/")
        expected = IssuerState.RETIRED if generation == "2024" else IssuerState.ROOT
        if own.startswith("int-"):
            expected = IssuerState.ISSUES
        assert issuer.state is expected, name
        if generation == "2024":
            assert issuer.common_name == own.upper()


def test_a_renewal_may_come_from_each_that_issues_below_the_root() -> None:
    by_name = {one.common_name: one for one in ISSUERS}
    beside = {one.common_name for one in issuing_beside(by_name["YR1"])}
    assert beside == {"YR1", "YR2", "YR3"}
    assert issuing_beside(by_name["R3"]) == ()
    assert issuing_beside(by_name["ISRG Root X1"]) == ()
