"""Certificates as strangers make them: cut by hand, read by the library, or not read at all."""

import random
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa, x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from dane.certificate import (
    Certificate,
    is_issuer_name,
    is_signed_by,
    load_key,
    parses_as_certificate,
    read_certificate,
    sha256_hex,
)
from dane.constraints import Constraints
from dane.der import cut_certificate, is_spki
from dane.outcomes import Verdict
from dane.tlsa import parse_rdata, parse_text
from dane.verify import verify
from dane.work import Exhausted, Work
from tests.oracle.chains import AT, BASE, Authority, Leaf, Made, Plan, RecordPlan, make, private_key

_KINDS = ("rsa", "rsa-weak", "rsa-pss", "p256", "p384", "ed25519", "ed448", "ml-dsa-65", "dsa")
_SHA256_WITH_RSA = bytes.fromhex("06092a864886f70d01010b")


def _made(kind: str, *records: RecordPlan) -> Made:
    plan = Plan(Leaf(key=kind), (Authority(kind, 0, 0, 0),), (1,), records, (BASE,))
    return make(plan)


def _spki(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


# --- the cuts -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", _KINDS)
def test_the_cuts_are_what_the_library_reads(kind: str) -> None:
    made = _made(kind)
    for der, parsed in zip(made.chain, made.all, strict=True):
        cut = cut_certificate(der)
        assert cut is not None
        assert cut.issuer == parsed.issuer.public_bytes()
        assert cut.subject == parsed.subject.public_bytes()
        assert load_key(cut.spki) == parsed.public_key()
        assert is_spki(cut.spki)
        assert not is_spki(der)


def test_every_truncation_and_a_byte_more_are_refused() -> None:
    der = _made("p256").chain[0]
    assert all(cut_certificate(der[:length]) is None for length in range(len(der)))
    assert cut_certificate(der + b"\0") is None
    spki = cut_certificate(der).spki  # type: ignore[union-attr]
    assert not any(is_spki(spki[:length]) for length in range(len(spki)))
    assert not is_spki(spki + b"\0")


@given(st.binary(max_size=200))
def test_any_bytes_can_be_cut(data: bytes) -> None:
    assert cut_certificate(data) is None or len(data) > 50
    is_spki(data)


@pytest.mark.parametrize(
    "data",
    [
        "3080",  # an open length
        "3085",  # a length of five bytes
        "3f8101",  # a tag of several bytes
        "308200",
        "3003020101",
    ],
)
def test_lengths_and_tags_that_are_not_walked(data: str) -> None:
    assert cut_certificate(bytes.fromhex(data)) is None


def _element(tag: int, *contents: bytes) -> bytes:
    content = b"".join(contents)
    size = len(content)
    length = bytes((size,)) if size < 128 else bytes((0x82 if size > 255 else 0x81,))
    if size > 127:
        length += size.to_bytes(2 if size > 255 else 1, "big")
    return bytes((tag,)) + length + content


_ALGORITHM = _element(0x30, bytes.fromhex("06082a8648ce3d040302"))  # ecdsa-with-SHA256
_SERIAL = b"\x02\x01\x07"
_NOBODY = b"\x30\x00"


def _spki_made(
    algorithm: bytes = b"\x06\x01\x2a", key: bytes = b"\x03\x02\x00\x01", more: bytes = b""
) -> bytes:
    return _element(0x30, _element(0x30, algorithm), key, more)


def _certificate_made(
    tbs: tuple[bytes, ...] = (), algorithm: bytes = _ALGORITHM, signature: bytes = b"\x03\x01\x00"
) -> bytes:
    fields = tbs or (_SERIAL, _ALGORITHM, _NOBODY, _NOBODY, _NOBODY, _spki_made())
    return _element(0x30, _element(0x30, *fields), algorithm, signature)


@pytest.mark.parametrize(
    ("der", "is_one"),
    [
        (_certificate_made(), True),
        (_certificate_made(algorithm=b"\x31\x00"), False),
        (_certificate_made(signature=b"\x04\x01\x00"), False),
        (_certificate_made(signature=b"\x03\x01\x00\x00"), False),
        (_certificate_made((_SERIAL,)), False),
        (
            _certificate_made(
                (_SERIAL, _ALGORITHM, _NOBODY, _NOBODY, _NOBODY, _spki_made(), b"\xa3\x00")
            ),
            True,
        ),
        (
            _certificate_made(
                (_SERIAL, _ALGORITHM, _NOBODY, _NOBODY, _NOBODY, _spki_made(), b"\xa4\x00")
            ),
            False,
        ),
    ],
)
def test_the_shape_of_a_certificate(der: bytes, is_one: bool) -> None:
    cut = cut_certificate(der)
    assert (cut is not None) is is_one
    if cut is not None:
        assert cut.spki == _spki_made()


@pytest.mark.parametrize(
    ("spki", "is_one"),
    [
        (_spki_made(), True),
        (_spki_made(algorithm=b"\x05\x00"), False),
        (_spki_made(key=b"\x04\x02\x00\x01"), False),
        (_spki_made(more=b"\x05\x00"), False),
        (b"\x31" + _spki_made()[1:], False),
    ],
)
def test_the_shape_of_a_key(spki: bytes, is_one: bool) -> None:
    assert is_spki(spki) is is_one


@pytest.mark.parametrize(("self_issued", "verdict"), [(True, "match"), (False, "mismatch")])
def test_a_version_1_root_may_be_an_anchor(self_issued: bool, verdict: str) -> None:
    """Version 1 has no basicConstraints to say that it is an authority (RFC 5280 4.2.1.9)."""
    made = _made("p256")
    root, key = made.all[1], private_key("p256", 1)
    subject = root.subject.public_bytes()
    issuer = subject if self_issued else made.all[0].subject.public_bytes()
    dates = _element(0x30, b"\x17\x0d250101000000Z", b"\x17\x0d270101000000Z")
    tbs = _element(0x30, _SERIAL, _ALGORITHM, issuer, dates, subject, _spki(root))
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    signature = key.sign(tbs, ec.ECDSA(hashes.SHA256()))
    der = _element(0x30, tbs, _ALGORITHM, _element(0x03, b"\0", signature))
    assert Certificate(der).facts.is_v1  # type: ignore[union-attr]
    record = parse_text(f"2 0 1 {sha256_hex(der)}")
    assert verify([made.chain[0], der], [record], (BASE,), AT).verdict == verdict


# --- signatures -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", _KINDS)
def test_signatures_by_every_kind_of_key(kind: str) -> None:
    made = _made(kind)
    leaf, issuer = map(Certificate, made.chain)
    assert issuer.key is not None
    assert is_signed_by(leaf, issuer.key) is True
    assert is_signed_by(leaf, leaf.key) is False
    assert is_issuer_name(issuer, leaf)
    assert not is_issuer_name(leaf, issuer)


@pytest.mark.parametrize("kind", _KINDS)
@pytest.mark.parametrize("other", _KINDS)
def test_a_key_of_another_kind_did_not_sign(kind: str, other: str) -> None:
    certificate = Certificate(_made(kind).chain[0])
    key = private_key(other, 9).public_key()
    assert is_signed_by(certificate, key) is False


@pytest.mark.parametrize(
    ("arc", "digest"), [("05", hashes.SHA1()), ("04", hashes.MD5())], ids=["sha1", "md5"]
)  # fmt: skip
def test_signatures_with_old_digests(arc: str, digest: hashes.HashAlgorithm) -> None:
    """Weak, but signed: how strong a signature must be is not for DANE to say."""
    made = _made("rsa", RecordPlan(2, 0, 1, 1))
    old = _SHA256_WITH_RSA[:-1] + bytes.fromhex(arc)
    der = made.chain[0].replace(_SHA256_WITH_RSA, old)
    tbs = Certificate(der).parsed.tbs_certificate_bytes  # type: ignore[union-attr]
    key = private_key("rsa", 1)
    assert isinstance(key, rsa.RSAPrivateKey)
    signature = _pkcs1(key, tbs, digest)
    der = der[: -len(signature)] + signature
    assert is_signed_by(Certificate(der), key.public_key()) is True
    assert verify([der, *made.chain[1:]], made.tlsa, (BASE,), AT).verdict is Verdict.MATCH


def _pkcs1(key: rsa.RSAPrivateKey, data: bytes, digest: hashes.HashAlgorithm) -> bytes:
    """RSASSA-PKCS1-v1_5 by hand (RFC 8017 section 8.2.1): the library signs with no old digest."""
    prefixes = {
        "sha1": "3021300906052b0e03021a05000414",
        "md5": "3020300c06082a864886f70d020505000410",
    }
    context = hashes.Hash(digest)
    context.update(data)
    info = bytes.fromhex(prefixes[digest.name]) + context.finalize()
    size = key.key_size // 8
    padded = b"\0\1" + b"\xff" * (size - 3 - len(info)) + b"\0" + info
    numbers = key.private_numbers()
    power = pow(int.from_bytes(padded, "big"), numbers.d, numbers.public_numbers.n)
    return power.to_bytes(size, "big")


@pytest.mark.parametrize("kind", ["rsa", "p256", "ed25519", "ed448", "dsa"])
def test_a_signature_by_an_unknown_algorithm_is_undecided(kind: str) -> None:
    made = _made("rsa", RecordPlan(2, 0, 1, 1))
    unknown = _SHA256_WITH_RSA[:-1] + b"\x63"
    der = made.chain[0].replace(_SHA256_WITH_RSA, unknown)
    assert is_signed_by(Certificate(der), private_key(kind, 1).public_key()) is None
    assert verify([der, *made.chain[1:]], made.tlsa, (BASE,), AT).verdict is Verdict.CERT_UNPARSED


def test_a_signature_with_unknown_parameters_is_undecided() -> None:
    made = _made("rsa-pss", RecordPlan(2, 0, 1, 1))
    mask = bytes.fromhex("06092a864886f70d010108")  # id-mgf1
    der = made.chain[0].replace(mask, mask[:-1] + b"\x63")
    assert is_signed_by(Certificate(der), private_key("rsa-pss", 1).public_key()) is None


def test_keys_that_cannot_sign_or_cannot_be_used_are_undecided() -> None:
    certificate = Certificate(_made("p256").chain[0])
    exchange = x25519.X25519PrivateKey.generate().public_key()
    assert is_signed_by(certificate, exchange) is None  # type: ignore[arg-type]
    assert is_signed_by(certificate, None) is None
    assert is_signed_by(Certificate(b""), certificate.key) is None


def test_an_anchor_with_an_unknown_kind_of_key_is_undecided() -> None:
    made = _made("p256")
    unknown = _spki(made.all[1]).replace(
        bytes.fromhex("06072a8648ce3d0201"), bytes.fromhex("06072a8648ce3d0263")
    )
    assert load_key(unknown) is None
    record = parse_rdata(b"\2\1\0" + unknown)
    assert verify(made.chain, [record], (BASE,), AT).verdict is Verdict.CERT_UNPARSED


# --- facts and names ------------------------------------------------------------------------


def test_names_are_dns_ids_else_all_cns() -> None:
    both = make(
        Plan(Leaf(issuer=None, names=("A.example",), common_name="b.example"), (), (), (), ())
    )
    assert Certificate(both.chain[0]).names == ("a.example",)
    one = x509.NameAttribute(NameOID.COMMON_NAME, "one.example")
    two = x509.NameAttribute(NameOID.COMMON_NAME, "two\n.example")
    assert Certificate(_self_signed([one, two])).names == ("one.example", "two\\010.example")
    assert Certificate(_self_signed([])).names == ()
    assert Certificate(b"junk").names == ()


def _self_signed(
    subject: list[x509.NameAttribute[str]],
    issuer: list[x509.NameAttribute[str]] | None = None,
    *extensions: x509.ExtensionType,
) -> bytes:
    key = private_key("p256", 0)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name(subject))
        .issuer_name(x509.Name(subject if issuer is None else issuer))
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(AT - timedelta(days=1))
        .not_valid_after(AT + timedelta(days=1))
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def test_issuer_names_are_compared_without_case_blanks_and_string_kind() -> None:
    def name(text: str, kind: x509.name._ASN1Type) -> list[x509.NameAttribute[str]]:
        return [x509.NameAttribute(NameOID.COMMON_NAME, text, _type=kind)]

    utf8, printable = x509.name._ASN1Type.UTF8String, x509.name._ASN1Type.PrintableString
    issuer = Certificate(_self_signed(name("Some  CA ", utf8)))
    assert is_issuer_name(
        issuer, Certificate(_self_signed(name("x", utf8), name("some ca", printable)))
    )
    assert not is_issuer_name(
        issuer, Certificate(_self_signed(name("x", utf8), name("some cb", printable)))
    )
    assert not is_issuer_name(issuer, Certificate(b"junk"))
    assert not is_issuer_name(Certificate(b"junk"), issuer)


def test_names_of_an_unreadable_certificate_are_compared_by_their_bytes() -> None:
    made = _made("p256")
    spoilt = made.chain[0].replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x09")
    assert Certificate(spoilt).parsed is None
    assert is_issuer_name(Certificate(made.chain[1]), Certificate(spoilt))
    assert not Certificate(spoilt).self_issued


def test_a_malformed_extension_makes_the_facts_unreadable() -> None:
    san = x509.SubjectAlternativeName([x509.DNSName("a.example")])
    der = _self_signed([], None, san)
    spoilt = der.replace(b"\x82\x09a.example", b"\x82\x09a.exampl\xff")
    assert Certificate(spoilt).parsed is not None
    assert Certificate(spoilt).facts is None


def test_huge_certificates_are_not_kept() -> None:
    names = x509.SubjectAlternativeName([x509.DNSName(f"n{i}.example") for i in range(1000)])
    huge = _self_signed([], None, names)
    assert read_certificate(huge) is not read_certificate(huge)
    small = _self_signed([])
    assert read_certificate(small) is read_certificate(small)


def test_parses_as_certificate_asks_for_a_sound_key() -> None:
    made = _made("p256")
    spki = _spki(made.all[0])
    off_curve = made.chain[0].replace(spki, spki[:-1] + bytes((spki[-1] ^ 1,)))
    assert parses_as_certificate(made.chain[0])
    assert not parses_as_certificate(off_curve)


# --- name constraints -----------------------------------------------------------------------


def _dns(*names: str) -> list[x509.GeneralName]:
    return [x509.DNSName(one) for one in names]


def _directory(*names: str) -> list[x509.GeneralName]:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, one) for one in names]
    return [x509.DirectoryName(x509.Name(attributes))]


def _network(text: str) -> list[x509.GeneralName]:
    import ipaddress

    kind = ipaddress.ip_network if "/" in text else ipaddress.ip_address
    return [x509.IPAddress(kind(text))]


@pytest.mark.parametrize(
    ("permitted", "excluded", "names", "expected"),
    [
        (_dns("example.org"), None, _dns("example.org", "MX.Example.ORG"), True),
        (_dns(".example.org"), None, _dns("example.org"), False),
        (_dns("example.org"), None, _dns("notexample.org"), False),
        (_dns("example.org", "example.net"), None, _dns("a.example.net"), True),
        (None, _dns("example.org"), _dns("a.example.net"), True),
        (_dns("example.org"), _dns("a.example.org"), _dns("b.a.example.org"), False),
        (_dns("example.org"), None, _directory("X"), True),
        (_directory("X"), None, [*_directory("X", "Y"), *_dns("a.example")], True),
        (_directory("X", "Y"), None, _directory("X"), False),
        (_network("192.0.2.0/24"), None, _network("192.0.2.7"), True),
        (_network("192.0.2.0/24"), None, _network("198.51.100.7"), False),
        (_network("192.0.2.0/24"), None, _network("2001:db8::1"), False),
        (_dns("a.example"), None, [x509.RFC822Name("post@b.example")], True),
        (_dns(""), None, _dns("a.example"), True),
        (None, _dns(""), _dns("a.example"), False),
        (_dns("a.example"), None, _dns("b.a.example.org"), False),
        (_directory(), None, _directory("X"), True),
    ],
)
def test_name_constraints(
    permitted: list[x509.GeneralName] | None,
    excluded: list[x509.GeneralName] | None,
    names: list[x509.GeneralName],
    expected: bool,
) -> None:
    constraints = Constraints(x509.NameConstraints(permitted, excluded))
    assert constraints.permit(names, Work()) is expected


def test_constraints_on_more_names_than_the_budget_has_steps_are_undecided() -> None:
    constraints = Constraints(x509.NameConstraints(_dns("a.example"), None))
    with pytest.raises(Exhausted):
        constraints.permit(_dns("a.example") * 100_001, Work(100_000))


# --- mutations ------------------------------------------------------------------------------


def test_10_000_mutated_certificates() -> None:
    """One to three bytes of a certificate changed, cut out or doubled: always a verdict, and a
    changed leaf or anchor never matches a digest of the whole."""
    source = random.Random(20260602)
    chains = [
        _made(kind, RecordPlan(3, 0, 1, 0), RecordPlan(3, 1, 1, 0), RecordPlan(2, 0, 1, 1),
              RecordPlan(2, 1, 0, 1))
        for kind in ("rsa", "p256", "ed25519")
    ]  # fmt: skip
    seen = set()
    for turn in range(10_000):
        made = chains[turn % 3]
        place = turn % 2
        der = bytearray(made.chain[place])
        for _ in range(source.randrange(1, 4)):
            at = source.randrange(len(der))
            match source.randrange(4):
                case 0 | 1:
                    der[at] ^= 1 << source.randrange(8)
                case 2:
                    del der[at : at + source.randrange(1, 4)]
                case _:
                    der[at:at] = der[at : at + source.randrange(1, 4)]
        chain = list(made.chain)
        chain[place] = bytes(der)
        verification = verify(chain, made.tlsa, (BASE,), AT)
        seen.add(verification.verdict)
        if chain != list(made.chain):
            whole = verification.records[0 if place == 0 else 2]
            assert whole.result != "match"
        verify(chain, made.tlsa[2:], (BASE,), AT)
        parse_text(made.tlsa[0].text())
    assert {Verdict.MATCH, Verdict.CERT_UNPARSED} <= seen
