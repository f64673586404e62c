"""TLSA records: text, wire, usability, digest agility, defects; and 100 000 hostile RRsets."""

import hashlib
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dane.outcomes import Defect, RecordResult, Verdict
from dane.tlsa import (
    TLSAFault,
    TLSARecord,
    defects,
    parse_rdata,
    parse_text,
    rrset_digest,
    strongest,
    usable,
)
from dane.verify import verify
from tests.oracle.chains import AT, Authority, Leaf, Plan, make

_SHA256 = hashlib.sha256(b"x").hexdigest()
_SHA512 = hashlib.sha512(b"x").hexdigest()
_EMPTY = hashlib.sha256(b"").hexdigest()
_MADE = make(Plan(Leaf(), (Authority("rsa", 0, 0, 0),), sent=(1,), records=(), names=()))
_CERT = _MADE.chain[0]
_KEY = _MADE.all[0].public_key()


def _spki() -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return _KEY.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


@given(st.binary(max_size=80))
def test_any_rdata_is_a_record_with_a_text_of_its_own(rdata: bytes) -> None:
    record = parse_rdata(rdata)
    assert parse_text(record.text()) == record
    assert parse_text(f"\\# {len(rdata)} {rdata.hex()}") == record


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("3 1 1 ABCD", "3 1 1 abcd"),
        ("  3  1\t1 ab cd\n", "3 1 1 abcd"),
        ("3 1 1", "3 1 1"),
        ("255 255 255 00", "255 255 255 00"),
        ("\\# 4 030101ff", "3 1 1 ff"),
        ("\\# 1 03", "\\# 1 03"),
        ("\\# 0", "\\# 0"),
    ],
)
def test_texts(text: str, normal: str) -> None:
    assert parse_text(text).text() == normal


@pytest.mark.parametrize(
    "text",
    ["", "3 1", "3 1 1 abc", "3 1 1 xy", "256 1 1 00", "-1 1 1 00", "3 1 x 00", "3 1 ² 00",
     "\\#", "\\# 2 03", "\\# x 03", "\\# 1 0", "9999 1 1 00"],
)  # fmt: skip
def test_what_is_no_text(text: str) -> None:
    with pytest.raises(TLSAFault):
        parse_text(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"3 1 1 {_SHA256}", True),
        (f"2 0 2 {_SHA512}", True),
        (f"3 0 0 {_CERT.hex()}", True),
        (f"2 1 0 {_spki().hex()}", True),
        (f"0 1 1 {_SHA256}", False),
        (f"1 1 1 {_SHA256}", False),
        (f"4 1 1 {_SHA256}", False),
        (f"255 1 1 {_SHA256}", False),
        (f"3 2 1 {_SHA256}", False),
        (f"3 255 1 {_SHA256}", False),
        (f"3 1 3 {_SHA256}", False),
        (f"3 1 1 {_SHA512}", False),
        (f"3 1 2 {_SHA256}", False),
        (f"3 1 1 {_SHA256}00", False),
        ("3 1 1", False),
        ("3 0 0", False),
        ("3 1 0 3000", False),
        (f"3 1 0 {_CERT.hex()}", False),
        (f"3 0 0 {_spki().hex()}", False),
        (f"3 0 0 {_CERT.hex()}00", False),
        (f"3 0 0 {_CERT[:-1].hex()}", False),
        ("\\# 1 03", False),
        ("\\# 0", False),
    ],
)
def test_usable(text: str, expected: bool) -> None:
    assert usable(parse_text(text)) is expected


def test_a_key_whose_own_algorithm_refuses_it_is_no_spki() -> None:
    spki = _spki()
    assert not usable(TLSARecord(3, 1, 0, spki[:-1] + bytes((spki[-1] ^ 1,))))  # off the curve


def test_a_key_of_an_unknown_algorithm_is_an_spki() -> None:
    # id-ecPublicKey with its last arc changed: nobody knows that algorithm.
    spki = _spki().replace(bytes.fromhex("06072a8648ce3d0201"), bytes.fromhex("06072a8648ce3d0263"))
    assert usable(TLSARecord(2, 1, 0, spki))


def test_digest_agility_is_per_usage_and_selector() -> None:
    full, sha256, sha512 = (parse_text(f"3 1 {one}") for one in (0, 1, 2))
    sha256, sha512 = replace(sha256, data=b"a"), replace(sha512, data=b"b")
    other = [replace(sha256, selector=0), replace(sha256, usage=2)]
    assert strongest([full, sha256, sha512, *other]) == {full, sha512, *other}
    assert strongest([full, sha256]) == {full, sha256}
    assert strongest([]) == frozenset()


def test_the_digest_of_an_rrset_has_no_order() -> None:
    one, two = parse_text(f"3 1 1 {_SHA256}"), parse_text(f"2 1 1 {_SHA256}")
    assert rrset_digest([one, two]) == rrset_digest([two, one])
    expected = hashlib.sha256(f"2 1 1 {_SHA256}\n3 1 1 {_SHA256}".encode()).hexdigest()
    assert rrset_digest([one, two]) == expected


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([], set()),
        ([f"3 1 1 {_SHA256}"], set()),
        ([f"3 1 1 {_SHA256}", f"3 1 1 {_EMPTY}"], {Defect.EMPTY_DIGEST}),
        ([f"3 1 1 {_SHA256}", f"3 0 1 {_SHA256}"], set()),
        ([f"3 1 1 {_SHA256}"] * 2, {Defect.DUPLICATE}),
        ([f"3 1 1 {_SHA256}", f"2 1 1 {_SHA256}"], {Defect.TA_SPKI}),
        ([f"3 1 1 {_SHA256}", f"2 0 1 {_SHA256}", f"1 1 1 {_SHA256}"], {Defect.PKIX_USAGE}),
        ([f"3 1 2 {_SHA512}"], {Defect.NO_SHA256}),
        (
            [f"3 0 0 {_CERT.hex()}"],
            {Defect.FULL_DATA, Defect.NO_SHA256},
        ),
        ([f"3 2 1 {_SHA256}"], {Defect.UNKNOWN_SELECTOR}),
        ([f"3 1 3 {_SHA256}"], {Defect.UNKNOWN_MATCHING_TYPE}),
        ([f"3 1 1 {_SHA512}"], {Defect.BAD_DIGEST_LENGTH}),
        (["3 1 1"], {Defect.BAD_DIGEST_LENGTH}),
        (["3 0 0 00"], {Defect.FULL_DATA}),
        (["4 1 1 " + _SHA256], set()),
        (["\\# 1 03"], set()),
        (
            [f"3 1 1 {hashlib.sha256(bytes((i,))).hexdigest()}" for i in range(13)],
            {Defect.TOO_MANY},
        ),
        ([f"3 1 1 {hashlib.sha256(bytes((i,))).hexdigest()}" for i in range(12)], set()),
    ],
)
def test_defects(texts: list[str], expected: set[Defect]) -> None:
    assert defects([parse_text(text) for text in texts]) == expected


def test_100_000_mutated_rrsets() -> None:
    """From RDATA that fits the chain, a few bytes and lengths changed: always a verdict, and
    a match only where a record that was left alone still matches."""
    source = random.Random(20260601)
    right = [
        bytes((usage, selector, 1)) + hashlib.sha256(data).digest()
        for usage, selector, data in ((3, 0, _CERT), (3, 1, _spki()), (2, 0, _MADE.chain[1]))
    ]
    seen = set()
    for _ in range(100_000):
        rdata = bytearray(source.choice(right))
        for _ in range(source.randrange(4)):
            match source.randrange(3):
                case 0:
                    rdata[source.randrange(min(3, len(rdata)))] = source.randrange(6)
                case 1:
                    rdata[source.randrange(len(rdata))] ^= 1 << source.randrange(8)
                case _:
                    del rdata[source.randrange(1, len(rdata)) :]
            if len(rdata) < 2:
                break
        rrset = [parse_rdata(bytes(rdata)), parse_rdata(bytes(source.choice(right))[:3])]
        defects(rrset)
        rrset_digest(rrset)
        verification = verify(_MADE.chain, rrset, ("mx.example.org",), AT)
        seen.add(verification.verdict)
        assert (verification.verdict is Verdict.MATCH) == (
            RecordResult.MATCH in {one.result for one in verification.records}
        )
        if bytes(rdata) in right:
            assert verification.verdict is Verdict.MATCH
    assert seen == {Verdict.MATCH, Verdict.MISMATCH, Verdict.UNUSABLE}
