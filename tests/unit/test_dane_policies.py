"""MTA-STS and TLSRPT records (RFC 8461 section 3.1, RFC 8460 section 3)."""

import pytest

from dane.policies import has_mta_sts, has_tlsrpt


def rdata(*strings: str) -> bytes:
    return b"".join(bytes((len(one),)) + one.encode() for one in strings)


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["v=STSv1; id=20160831085700Z;"], True),
        (["v=STSv1;id=1"], True),
        (["v=STSv1 ; id=1 ; x=y ;"], True),
        (["v=STSv1; id=1", "v=spf1 -all"], True),  # another version does not count
        (["v=STSv1; id=1", "v=STSv1; id=2"], False),  # not one
        (["v=STSv1"], False),
        (["v=STSv1;"], False),
        (["v=STSv1; id="], False),
        (["v=STSv1; id=a-b"], False),
        (["v=STSv1; id=" + "a" * 33], False),
        (["v=STSv1; id=1; id=2"], False),
        (["v=STSv1; x"], False),
        (["v=stsv1; id=1"], False),
        (["id=1; v=STSv1"], False),
        (["v=STSv10; id=1"], False),
        ([], False),
    ],
)
def test_mta_sts(texts: list[str], expected: bool) -> None:
    assert has_mta_sts(map(rdata, texts)) is expected


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["v=TLSRPTv1; rua=mailto:reports@example.com"], True),
        (["v=TLSRPTv1;rua=mailto:a@example.com,https://example.com/v1;"], True),
        (["v=TLSRPTv1; rua=mailto:a@example.com , https://example.com/v1"], True),
        (["v=TLSRPTv1; rua=mailto:a@example.com; x=y"], True),
        (["v=TLSRPTv1; rua=mailto:a@example.com", "v=TLSRPTv1; rua=mailto:b@example.com"], False),
        (["v=TLSRPTv1; rua=a@example.com"], False),
        (["v=TLSRPTv1; rua="], False),
        (["v=TLSRPTv1;"], False),
        (["rua=mailto:a@example.com"], False),
        (["v=TLSRPTv2; rua=mailto:a@example.com"], False),
    ],
)
def test_tlsrpt(texts: list[str], expected: bool) -> None:
    assert has_tlsrpt(map(rdata, texts)) is expected


def test_strings_of_a_record_are_one_text_and_broken_ones_are_none() -> None:
    assert has_mta_sts([rdata("v=STSv1; ", "id=1")])
    assert not has_mta_sts([b"\x20v=STSv1; id=1"])
    assert not has_mta_sts([b""])
