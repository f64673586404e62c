"""Rollover schemes by keys, from their definitions (measurement, section 8)."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from dane import public_issuers
from dane.public_issuers import Issuer, IssuerState
from dane.readiness import rollover_scheme
from dane.tlsa import parse_text
from tests.oracle.chains import AT, BASE, Authority, Leaf, Made, Plan, make

_ISSUER = Authority("p256", who=0, called=0, issuer=1, signs=True)
_ROOT = Authority("p256", who=1, called=1, issuer=1, signs=True)


def _chain(leaf: Leaf, sent: tuple[int, ...] = (1, 2), *, siblings: int = 0) -> Made:
    more = tuple(
        Authority("p256", who=2 + i, called=2 + i, issuer=1, signs=True) for i in range(siblings)
    )
    return make(Plan(leaf, (_ISSUER, _ROOT, *more), sent, (), (BASE,)))


ECDSA = _chain(Leaf("p256"))
RSA = _chain(Leaf("rsa"))
OTHER = _chain(Leaf("p384"))
NEXT = _chain(Leaf("ed25519"))
WITHOUT_ROOT = _chain(Leaf("p256"), (1,))
SELF_SIGNED = make(Plan(Leaf("p256", issuer=None), (), (), (), (BASE,)))


def _data(certificate: x509.Certificate, selector: int, kind: int) -> str:
    data = certificate.public_bytes(Encoding.DER)
    if selector == 1:
        data = certificate.public_key().public_bytes(
            Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        )
    return {0: bytes, 1: lambda d: hashlib.sha256(d).digest(), 2: lambda d: hashlib.sha512(d).digest()}[kind](data).hex()  # fmt: skip  # noqa: E501


def key(made: Made, fields: str = "3 1 1") -> str:
    _, selector, kind = map(int, fields.split())
    return f"{fields} {_data(made.all[0], selector, kind)}"


def issuer(made: Made, fields: str = "2 1 1", place: int = 1) -> str:
    _, selector, kind = map(int, fields.split())
    return f"{fields} {_data(made.all[place], selector, kind)}"


def root(made: Made, fields: str = "2 1 1") -> str:
    return issuer(made, fields, 2)


@dataclass(frozen=True)
class Case:
    what: str
    served: Sequence[Made]
    records: Sequence[str]
    scheme: str | None
    before: Sequence[Made] = ()


CASES = (
    Case("no certificate was served", (), [key(ECDSA)], None),
    # current_next
    Case("current and next key", [ECDSA], [key(ECDSA), key(NEXT)], "current_next"),
    Case("next key as 3 0 1", [ECDSA], [key(ECDSA), key(NEXT, "3 0 1")], "current_next"),
    Case(
        "two keys and a next one",
        [ECDSA, RSA],
        [key(ECDSA), key(RSA), key(NEXT)],
        "current_next",
    ),
    Case(
        "the current key by its issuer, and a next key",
        [ECDSA],
        [issuer(ECDSA), key(NEXT)],
        "current_next",
    ),
    Case(
        "current and next key and issuer: the first that applies",
        [ECDSA],
        [key(ECDSA), key(NEXT), root(ECDSA)],
        "current_next",
    ),
    Case(
        "a second key without a record: the next one does not help it",
        [ECDSA, RSA],
        [key(ECDSA), key(NEXT)],
        "single_key",
    ),
    Case(
        "the next key has a weaker digest only, which is set aside (RFC 7671 section 9)",
        [ECDSA],
        [key(ECDSA, "3 1 2"), key(NEXT, "3 1 1")],
        "single_key",
    ),
    # what is no next key
    Case("one record", [ECDSA], [key(ECDSA)], "single_key"),
    Case("one key in two forms", [ECDSA], [key(ECDSA), key(ECDSA, "3 0 1")], "single_key"),
    Case("one key in two digests", [ECDSA], [key(ECDSA), key(ECDSA, "3 1 2")], "single_key"),
    Case("a record each for two keys", [ECDSA, RSA], [key(ECDSA), key(RSA)], "single_key"),
    Case(
        "a key an address, a record each",
        [ECDSA, OTHER],
        [key(ECDSA), key(OTHER)],
        "single_key",
    ),
    Case(
        "a stale record is of no next key",
        [ECDSA],
        [key(ECDSA), key(OTHER)],
        "single_key",
        before=[OTHER],
    ),
    Case(
        "a stale record beside a next key",
        [ECDSA],
        [key(ECDSA), key(OTHER), key(NEXT)],
        "current_next",
        before=[OTHER],
    ),
    Case(
        "an unusable record is none",
        [ECDSA],
        [key(ECDSA), "1 1 1 " + "ab" * 32, "3 1 1 abcd"],
        "single_key",
    ),
    Case(
        "the issuer's key under usage 3 is of no next key",
        [ECDSA],
        [key(ECDSA), issuer(ECDSA).replace("2", "3", 1)],
        "single_key",
    ),
    Case(
        "the current key under the wrong selector is of no next key",
        [ECDSA],
        [key(ECDSA), key(ECDSA).replace("3 1", "3 0", 1)],
        "single_key",
    ),
    # current_issuer
    Case("key and root, sent", [ECDSA], [key(ECDSA), root(ECDSA)], "current_issuer"),
    Case("key and root as 2 0 1", [ECDSA], [key(ECDSA), root(ECDSA, "2 0 1")], "current_issuer"),
    Case(
        "key and root in full, not sent",
        [WITHOUT_ROOT],
        [key(WITHOUT_ROOT), root(WITHOUT_ROOT, "2 0 0")],
        "current_issuer",
    ),
    Case(
        "a digest of a root that is not sent is no anchor",
        [WITHOUT_ROOT],
        [key(WITHOUT_ROOT), root(WITHOUT_ROOT)],
        "single_key",
    ),
    Case("key and private issuer", [ECDSA], [key(ECDSA), issuer(ECDSA)], "current_issuer"),
    Case(
        "two keys with records, and their root",
        [ECDSA, RSA],
        [key(ECDSA), key(RSA), root(ECDSA), root(RSA)],
        "current_issuer",
    ),
    Case(
        "key and key of one self-signed certificate",
        [SELF_SIGNED],
        [key(SELF_SIGNED), issuer(SELF_SIGNED, place=0)],
        "single_key",
    ),
    Case(
        "the same with the bare key of a self-signed certificate as anchor",
        [SELF_SIGNED],
        [key(SELF_SIGNED), issuer(SELF_SIGNED, "2 1 0", place=0)],
        "single_key",
    ),
    # issuer_only
    Case("root only", [ECDSA], [root(ECDSA)], "issuer_only"),
    Case(
        "root, and a record for one key of two",
        [ECDSA, RSA],
        [key(ECDSA), root(ECDSA), root(RSA)],
        "issuer_only",
    ),
)


def scheme(case: Case) -> str | None:
    return rollover_scheme(
        [made.chain for made in case.served],
        [parse_text(one) for one in case.records],
        AT,
        [made.chain[0] for made in case.before],
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
def test_schemes(case: Case) -> None:
    assert scheme(case) == case.scheme


def _public(made: Made, place: int, name: str, state: IssuerState) -> Issuer:
    return Issuer("Test", name, "root", state, _data(made.all[place], 1, 1))


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> Made:
    """A public authority with two intermediates that issue, of which the first issued the leaf,
    and one that does not issue any more."""
    made = _chain(Leaf("p256"), siblings=2)
    issuers = (
        _public(made, 1, "I1", IssuerState.ISSUES),
        _public(made, 3, "I2", IssuerState.ISSUES),
        _public(made, 4, "I0", IssuerState.RETIRED),
    )
    monkeypatch.setattr(public_issuers, "ISSUERS", issuers)
    monkeypatch.setattr(public_issuers, "_BY_KEY", {one.spki_sha256: one for one in issuers})
    return made


def test_an_issuer_that_may_change_at_renewal_covers_only_with_all_its_siblings(
    table: Made,
) -> None:
    own, sibling = issuer(table), issuer(table, place=3)
    assert scheme(Case("", [table], [key(table), own], "")) == "single_key"
    assert scheme(Case("", [table], [own], "")) == "single_key"
    assert scheme(Case("", [table], [key(table), own, sibling], "")) == "current_issuer"
    assert scheme(Case("", [table], [own, sibling], "")) == "issuer_only"
    assert scheme(Case("", [table], [key(table), root(table)], "")) == "current_issuer"


def test_an_issuer_that_issues_no_more_covers_nothing(table: Made) -> None:
    retired = _public(table, 1, "I1", IssuerState.RETIRED)
    public_issuers._BY_KEY[retired.spki_sha256] = retired
    assert scheme(Case("", [table], [key(table), issuer(table)], "")) == "single_key"
