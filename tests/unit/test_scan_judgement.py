"""What one conversation comes to: why a record does not match, and what we cannot read."""

import hashlib
from datetime import UTC, datetime

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from crawler.scan.judgement import Judged, judge
from crawler.smtp.probe import Conversation
from crawler.smtp.tls import Offer
from dane.outcomes import HostStatus
from dane.tlsa import parse_text

AT = datetime.now(UTC)
ROOT = trustme.CA()
MIDDLE = ROOT.create_child_ca()
LEAF = MIDDLE.issue_cert("mx.example")
OLD_LEAF = ROOT.issue_cert("mx.example")


def der(pem: trustme.Blob) -> bytes:
    return x509.load_pem_x509_certificate(pem.bytes()).public_bytes(Encoding.DER)


def key_digest(certificate: bytes) -> str:
    key = x509.load_der_x509_certificate(certificate).public_key()
    data = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(data).hexdigest()


CHAIN = tuple(der(pem) for pem in (*LEAF.cert_chain_pems, ROOT.cert_pem))
LEAF_KEY, MIDDLE_KEY, ROOT_KEY = map(key_digest, CHAIN)
OLD = der(OLD_LEAF.cert_chain_pems[0])


def judged(
    *records: str,
    chain: tuple[bytes, ...] = CHAIN,
    base: str = "mx.example",
    earlier: tuple[bytes, ...] = (),
) -> Judged:
    talk = Conversation(offer=Offer.MODERN, status=None, connected=AT, duration_ms=1, chain=chain)
    return judge([talk], [parse_text(one) for one in records], base, AT, earlier)[0]


def causes(found: Judged) -> list[str | None]:
    assert found.verification is not None
    return [one.cause for one in found.verification.records]


def test_an_unusable_record_is_told_what_its_data_hints_at() -> None:
    found = judged(f"3 1 2 {LEAF_KEY}", f"1 1 1 {LEAF_KEY}", "3 1 1 " + "00" * 32)
    assert found.status is HostStatus.MISMATCH
    assert causes(found) == ["wrong_matching_type", "wrong_usage", "unknown"]


def test_a_certificate_of_an_earlier_run_makes_a_record_stale() -> None:
    record = f"3 1 1 {key_digest(OLD)}"
    assert causes(judged(record)) == ["unknown"]
    assert causes(judged(record, earlier=(OLD,))) == ["stale_certificate"]


@pytest.mark.parametrize(
    ("records", "base", "status"),
    [
        ([f"2 1 1 {ROOT_KEY}"], "mx.example", "pass"),
        ([f"2 1 1 {ROOT_KEY}"], "other.example", "name_mismatch"),
        ([f"2 1 1 {ROOT_KEY}", f"3 1 1 {LEAF_KEY}"], "other.example", "pass"),
    ],
)
def test_the_base_domain_is_checked_where_a_name_decides(
    records: list[str], base: str, status: str
) -> None:
    found = judged(*records, base=base)
    assert found.status == status
    assert found.verification is not None
    assert {one.result for one in found.verification.records} == {"match"}


@pytest.mark.parametrize("place", [0, 1])
def test_what_our_library_cannot_read_is_said(place: int) -> None:
    version_3, version_10 = bytes.fromhex("a003020102"), bytes.fromhex("a003020109")
    assert version_3 in CHAIN[place]
    spoilt = list(CHAIN)
    spoilt[place] = CHAIN[place].replace(version_3, version_10, 1)
    found = judged(f"2 1 1 {ROOT_KEY}", chain=tuple(spoilt))
    assert found.status is HostStatus.LOCAL_ERROR_SMTP
    assert found.talk.error == f"our library cannot read certificate {place} of the chain (leaf: 0)"
