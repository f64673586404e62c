"""Every rule of measurement section 5 and every cause of section 8, one case each."""

import base64
import hashlib
import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from dane.outcomes import Defect, MismatchCause, Verdict
from dane.public_issuers import ISSUERS, Issuer, IssuerState
from dane.tlsa import DIGESTS, TLSARecord, parse_text
from dane.verify import Verification, verify
from tests.oracle.chains import AT, BASE, Authority, Leaf, Made, Plan, RecordPlan, make

ROOT, ISSUER, LEAF = 2, 1, 0  # places in `Made.all`: leaf, its issuer, the issuer's issuer

_ISSUER = Authority("p256", who=0, called=0, issuer=1, signs=True)
_ROOT = Authority("p256", who=1, called=1, issuer=1, signs=True)
_RIGHT = Plan(Leaf(), (_ISSUER, _ROOT), sent=(ISSUER, ROOT), records=(), names=(BASE,))


def records(*plans: tuple[int, int, int, int] | tuple[int, int, int, int, str]) -> Plan:
    """The right chain with records made for (usage, selector, matching type, target[, skew])."""
    return replace(_RIGHT, records=tuple(RecordPlan(*one) for one in plans))


def judge(plan: Plan, earlier: Sequence[bytes] = ()) -> Verification:
    made = make(plan)
    return verify(made.chain, made.tlsa, plan.names, AT, earlier)


def results(verification: Verification) -> list[str]:
    return [str(one.result) for one in verification.records]


# --- what matches ---------------------------------------------------------------------------


@pytest.mark.parametrize("matching_type", [0, 1, 2])
@pytest.mark.parametrize("selector", [0, 1])
@pytest.mark.parametrize(("usage", "target"), [(3, LEAF), (2, ISSUER), (2, ROOT)])
def test_every_usable_kind_of_record_matches(
    usage: int, selector: int, matching_type: int, target: int
) -> None:
    verification = judge(records((usage, selector, matching_type, target)))
    assert verification.verdict is Verdict.MATCH
    assert (verification.matched_record, verification.matched_depth) == (0, target)
    assert verification.name_decides is (usage == 2)
    assert verification.leaf_names == (BASE,)


def test_any_one_match_suffices_and_each_record_has_its_result() -> None:
    verification = judge(
        records((3, 1, 1, ROOT), (2, 1, 1, LEAF), (3, 1, 1, LEAF), (1, 1, 1, LEAF))
    )
    assert verification.verdict is Verdict.MATCH
    assert verification.matched_record == 2
    assert results(verification) == ["wrong_usage", "wrong_usage", "match", "unusable"]


def test_an_end_entity_match_is_told_before_an_anchor_match() -> None:
    verification = judge(records((2, 1, 1, ROOT), (3, 1, 1, LEAF)))
    assert verification.matched_record == 1
    assert not verification.name_decides


@pytest.mark.parametrize("selector", [0, 1])
def test_a_full_anchor_need_not_be_sent(selector: int) -> None:
    plan = replace(records((2, selector, 0, ROOT)), sent=(ISSUER,))
    verification = judge(plan)
    assert verification.verdict is Verdict.MATCH
    # A bare key ends the path above the last certificate; a certificate is its end.
    assert verification.matched_depth == (ROOT if selector == 0 else ISSUER)


@pytest.mark.parametrize("matching_type", [1, 2])
@pytest.mark.parametrize("selector", [0, 1])
def test_a_digest_anchor_must_be_sent(selector: int, matching_type: int) -> None:
    plan = replace(records((2, selector, matching_type, ROOT)), sent=(ISSUER,))
    verification = judge(plan)
    assert verification.verdict is Verdict.MISMATCH
    assert results(verification) == ["ta_not_sent"]


@pytest.mark.parametrize("sent", [(2, 1), (2, 2, 1, 0, 1), (3, 2, 1), (3, 1, 3, 2, 0)])
def test_order_duplicates_and_strangers_do_not_matter(sent: tuple[int, ...]) -> None:
    stranger = Authority("rsa", who=2, called=2, issuer=2)
    plan = records((2, 0, 1, ROOT))
    plan = replace(plan, authorities=(*plan.authorities, stranger), sent=sent)
    assert judge(plan).verdict is Verdict.MATCH


def test_an_anchor_reached_through_one_of_two_cross_signed_certificates() -> None:
    other_root = Authority("rsa", who=2, called=2, issuer=2)
    crossed = replace(_ISSUER, issuer=2)
    for anchor in (2, 3):
        plan = replace(
            records((2, 0, 1, anchor)),
            authorities=(_ISSUER, _ROOT, other_root, crossed),
            sent=(1, 4, 2, 3),
        )
        assert judge(plan).verdict is Verdict.MATCH


def test_a_renewed_issuer_is_found_behind_the_expired_one() -> None:
    plan = replace(
        records((2, 1, 1, ROOT)),
        authorities=(replace(_ISSUER, dates="expired"), _ROOT, replace(_ISSUER, called=0)),
        sent=(1, 3, 2),
    )
    assert judge(plan).verdict is Verdict.MATCH


def test_an_impostor_with_the_issuers_name_is_passed_over() -> None:
    impostor = Authority("p256", who=2, called=0, issuer=1, identifiers="none")
    plan = replace(records((2, 0, 1, ROOT)), authorities=(_ISSUER, _ROOT, impostor), sent=(3, 1, 2))
    assert judge(plan).verdict is Verdict.MATCH


# --- dates and names ------------------------------------------------------------------------


@pytest.mark.parametrize("dates", ["expired", "future"])
def test_an_end_entity_record_asks_for_no_date_and_no_name(dates: str) -> None:
    plan = replace(records((3, 1, 1, LEAF)), leaf=Leaf(dates=dates), names=("other.example",))
    verification = judge(plan)
    assert verification.verdict is Verdict.MATCH
    assert not verification.name_decides


@pytest.mark.parametrize("dates", ["expired", "future"])
@pytest.mark.parametrize("place", [LEAF, ISSUER, ROOT])
@pytest.mark.parametrize("selector", [0, 1])
@pytest.mark.parametrize("names", [(BASE,), ("other.example",)])
def test_a_date_from_leaf_to_anchor_is_ta_expired_whatever_the_name(
    dates: str, place: int, selector: int, names: tuple[str, ...]
) -> None:
    plan = replace(records((2, selector, 1, ROOT)), names=names)
    if place == LEAF:
        plan = replace(plan, leaf=replace(plan.leaf, dates=dates))
    else:
        authorities = [_ISSUER, _ROOT]
        authorities[place - 1] = replace(authorities[place - 1], dates=dates)
        plan = replace(plan, authorities=tuple(authorities))
    verification = judge(plan)
    assert verification.verdict is Verdict.TA_EXPIRED
    assert (verification.matched_record, verification.matched_depth) == (0, ROOT)
    assert not verification.name_decides


def test_what_is_above_the_anchor_may_be_expired() -> None:
    plan = replace(
        records((2, 1, 1, ISSUER)), authorities=(_ISSUER, replace(_ROOT, dates="expired"))
    )
    assert judge(plan).verdict is Verdict.MATCH


def test_both_ends_of_the_validity_are_within_it() -> None:
    made = make(records((2, 1, 1, ROOT)))
    leaf = made.all[LEAF]
    for at, verdict in (
        (leaf.not_valid_before_utc, Verdict.MATCH),
        (leaf.not_valid_after_utc, Verdict.MATCH),
        (leaf.not_valid_before_utc - timedelta(seconds=1), Verdict.TA_EXPIRED),
        (leaf.not_valid_after_utc + timedelta(seconds=1), Verdict.TA_EXPIRED),
    ):
        assert verify(made.chain, made.tlsa, (BASE,), at).verdict is verdict


def test_a_time_without_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        verify((), (), (), datetime(2026, 1, 1))


@pytest.mark.parametrize(
    ("presented", "common_name", "reference", "matches"),
    [
        ((BASE,), "leaf", BASE, True),
        (("MX.Example.ORG",), "leaf", BASE, True),
        (("other.example", BASE), "leaf", BASE, True),
        (("*.example.org",), "leaf", BASE, True),
        (("*.example.org",), "leaf", "example.org", False),
        (("*.example.org",), "leaf", "a.mx.example.org", False),
        (("m*.example.org",), "leaf", BASE, False),
        (("mx.*.org",), "leaf", BASE, False),
        (("*",), "leaf", "org", False),
        (("*.",), "leaf", ".", False),
        (("mx.example.org.",), "leaf", BASE, False),
        (("mx.example.org\0.evil.example",), "leaf", BASE, False),
        (("other.example",), BASE, BASE, False),  # CN only if there is no DNS-ID
        ((), BASE, BASE, True),
        ((), "*.example.org", BASE, True),
        ((), "leaf", BASE, False),
        (("xn--bcher-kva.example",), "leaf", "xn--bcher-kva.example", True),
        (("*.xn--bcher-kva.example",), "leaf", "mx.xn--bcher-kva.example", True),
    ],
)
def test_names(presented: tuple[str, ...], common_name: str, reference: str, matches: bool) -> None:
    leaf = Leaf(names=presented, common_name=common_name)
    verification = judge(replace(records((2, 1, 1, ROOT)), leaf=leaf, names=(reference,)))
    expected = Verdict.MATCH if matches else Verdict.NAME_MISMATCH
    assert verification.verdict is expected
    assert results(verification) == [str(expected)]
    assert verification.name_decides


def test_every_reference_name_counts() -> None:
    plan = records((2, 1, 1, ROOT))
    assert judge(replace(plan, names=("a.example", BASE))).verdict is Verdict.MATCH
    assert judge(replace(plan, names=("a.example", "b.example"))).verdict is Verdict.NAME_MISMATCH


def test_without_reference_names_the_verdict_waits_for_them() -> None:
    verification = judge(replace(records((2, 1, 1, ROOT)), names=()))
    assert verification.verdict is Verdict.MATCH
    assert verification.name_decides


def test_a_wrong_name_is_told_before_an_expired_path() -> None:
    plan = replace(
        records((2, 1, 1, ROOT), (2, 1, 1, ISSUER)),
        authorities=(_ISSUER, replace(_ROOT, dates="expired")),
        names=("other.example",),
    )
    verification = judge(plan)
    assert verification.verdict is Verdict.NAME_MISMATCH
    assert results(verification) == ["ta_expired", "name_mismatch"]
    assert verification.matched_record == 1


# --- paths that are none --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "change"),
    [
        (ISSUER, {"is_ca": False}),
        (ISSUER, {"is_ca": None}),
        (ISSUER, {"signs": False}),
        (ISSUER, {"purposes": ("client",)}),
        (ISSUER, {"unknown_critical": True}),
        (ISSUER, {"permits": ("example.net",)}),
        (ISSUER, {"excludes": ("example.org",)}),
        (ISSUER, {"excludes": ("",)}),
        (ROOT, {"is_ca": False}),
        (ROOT, {"is_ca": None, "signs": None}),
        (ROOT, {"signs": False}),
        (ROOT, {"path_length": 0}),
        (ROOT, {"purposes": ("client",)}),
        (ROOT, {"unknown_critical": True}),
        (ROOT, {"permits": ("net", ".mx.example.org")}),
        (LEAF, {"serves": False}),
        (LEAF, {"purposes": ("client",)}),
    ],
)
@pytest.mark.parametrize("matching_type", [0, 1])
def test_chain_invalid(place: int, change: dict[str, object], matching_type: int) -> None:
    plan = records((2, 0, matching_type, ROOT))
    if place == LEAF:
        plan = replace(plan, leaf=replace(plan.leaf, **change))
    else:
        authorities = [_ISSUER, _ROOT]
        authorities[place - 1] = replace(authorities[place - 1], **change)
        plan = replace(plan, authorities=tuple(authorities))
    verification = judge(plan)
    assert verification.verdict is Verdict.MISMATCH
    assert results(verification) == ["chain_invalid"]


@pytest.mark.parametrize(
    ("place", "change"),
    [
        (ISSUER, {"path_length": 0}),
        (ISSUER, {"signs": None}),
        (ISSUER, {"purposes": ("client", "server")}),
        (ISSUER, {"permits": ("example.org",)}),
        (ISSUER, {"permits": (".example.org",), "excludes": ("www.example.org",)}),
        (ROOT, {"path_length": 1}),
        (ROOT, {"is_ca": None}),  # keyCertSign alone is enough for an anchor
        (ISSUER, {"identifiers": "none"}),
        (ISSUER, {"identifiers": "wrong"}),  # a hint for building paths, not a condition
        (LEAF, {"serves": None}),
        (LEAF, {"purposes": ()}),
    ],
)
def test_chain_valid(place: int, change: dict[str, object]) -> None:
    plan = records((2, 0, 1, ROOT))
    if place == LEAF:
        plan = replace(plan, leaf=replace(plan.leaf, **change))
    else:
        authorities = [_ISSUER, _ROOT]
        authorities[place - 1] = replace(authorities[place - 1], **change)
        plan = replace(plan, authorities=tuple(authorities))
    assert judge(plan).verdict is Verdict.MATCH


def test_an_anchor_that_did_not_issue_the_chain_is_chain_invalid() -> None:
    plan = replace(records((2, 0, 1, 3)), authorities=(_ISSUER, _ROOT, Authority("p256", 2, 2, 2)))
    plan = replace(plan, sent=(1, 2, 3))
    assert results(judge(plan)) == ["chain_invalid"]


@pytest.mark.parametrize("selector", [0, 1])
def test_a_forged_signature_is_no_path(selector: int) -> None:
    forged = replace(_ISSUER, who=2)  # named as the issuer, with a key of its own
    plan = replace(
        records((2, selector, 1, 1)),
        authorities=(forged, _ROOT, Authority("p256", 2, 2, 2)),
        sent=(1, 2),
    )
    assert judge(plan).verdict is Verdict.MISMATCH


@pytest.mark.parametrize("matching_type", [0, 1])
@pytest.mark.parametrize("issuer", [0, None])
def test_the_leaf_is_no_anchor_of_itself(issuer: int | None, matching_type: int) -> None:
    plan = replace(records((2, 0, matching_type, LEAF)), leaf=Leaf(issuer=issuer))
    verification = judge(plan)
    assert verification.verdict is Verdict.MISMATCH
    assert results(verification) == ["wrong_usage"]


def test_a_self_signed_leaf_is_signed_by_its_own_bare_key() -> None:
    plan = replace(records((2, 1, 0, LEAF)), leaf=Leaf(issuer=None), sent=())
    assert judge(plan).verdict is Verdict.MATCH  # as in OpenSSL: the key signed it


# --- records that do not match --------------------------------------------------------------


@pytest.mark.parametrize(
    ("record", "result", "cause", "depth"),
    [
        ((3, 1, 1, ISSUER), "wrong_usage", "wrong_usage", 1),
        ((2, 1, 1, LEAF), "wrong_usage", "wrong_usage", 0),
        ((3, 0, 1, LEAF, "other_selector"), "wrong_selector", "wrong_selector", 0),
        ((2, 1, 2, ROOT, "other_selector"), "wrong_selector", "wrong_selector", 2),
        ((3, 1, 1, LEAF, "empty"), "empty_digest", "empty_digest", None),
        ((2, 0, 2, ROOT, "empty"), "empty_digest", "empty_digest", None),
        ((3, 1, 1, LEAF, "flip"), "unknown", "unknown", None),
        ((2, 0, 1, ROOT, "flip"), "unknown", "unknown", None),
        ((0, 0, 1, ROOT), "unusable", "wrong_usage", 2),
        ((1, 1, 1, LEAF), "unusable", "wrong_usage", 0),
        ((255, 1, 1, LEAF), "unusable", "wrong_usage", 0),
        ((3, 2, 1, LEAF), "unusable", "wrong_selector", 0),
        ((3, 1, 3, LEAF), "unusable", "wrong_matching_type", 0),
        ((3, 1, 1, LEAF, "cut"), "unusable", None, None),
        ((3, 1, 0, LEAF, "cut"), "unusable", None, None),
    ],
)
def test_why_a_record_does_not_match(
    record: tuple[int, int, int, int], result: str, cause: str | None, depth: int | None
) -> None:
    verification = judge(records(record))
    (one,) = verification.records
    assert (one.result, one.cause, one.depth) == (result, cause, depth)
    expected = Verdict.UNUSABLE if result == "unusable" else Verdict.MISMATCH
    assert verification.verdict is expected
    assert (verification.matched_record, verification.matched_depth) == (None, None)


def test_a_digest_under_the_other_matching_type() -> None:
    made = make(records())
    digest = hashlib.sha512(made.chain[0]).hexdigest()
    verification = verify(made.chain, [parse_text(f"3 0 1 {digest}")], (), AT)
    assert verification.verdict is Verdict.UNUSABLE  # 64 bytes are no SHA-256 digest
    assert verification.records[0].cause is MismatchCause.WRONG_MATCHING_TYPE


def test_a_certificate_of_an_earlier_run_is_stale() -> None:
    before = make(replace(records((3, 1, 1, LEAF)), leaf=Leaf(key="rsa")))
    now = make(records())
    verification = verify(now.chain, before.tlsa, (BASE,), AT, earlier=before.chain)
    assert results(verification) == ["stale_certificate"]
    assert verification.verdict is Verdict.MISMATCH


_OTHER_ISSUER = Authority("rsa", who=2, called=2, issuer=3, signs=True)
_OTHER_ROOT = Authority("rsa", who=3, called=3, issuer=3, signs=True)
_BEFORE = replace(
    _RIGHT,
    leaf=Leaf(key="rsa", issuer=2),
    authorities=(_ISSUER, _ROOT, _OTHER_ISSUER, _OTHER_ROOT),
    sent=(3, 4),
)


@pytest.mark.parametrize("sent", [(ISSUER, ROOT), (ISSUER,), ()])
@pytest.mark.parametrize("place", [3, 4])
def test_an_authority_that_the_server_sent_before_is_retired(
    place: int, sent: tuple[int, ...]
) -> None:
    before = make(replace(_BEFORE, records=(RecordPlan(2, 1, 1, place),)))
    now = make(replace(records(), sent=sent))
    verification = verify(now.chain, before.tlsa, (BASE,), AT, earlier=before.chain)
    assert results(verification) == ["retired_issuer"]
    assert verification.verdict is Verdict.MISMATCH


def test_an_authority_that_the_server_sent_before_and_still_has_is_not_sent() -> None:
    before = make(records((2, 1, 1, ROOT)))
    now = make(replace(records(), sent=(ISSUER,)))
    verification = verify(now.chain, before.tlsa, (BASE,), AT, earlier=before.chain)
    assert results(verification) == ["ta_not_sent"]


def test_the_leaf_of_before_under_usage_2_is_stale_and_no_authority() -> None:
    before = make(replace(_BEFORE, records=(RecordPlan(2, 1, 1, LEAF), RecordPlan(3, 1, 1, 3))))
    verification = verify(make(records()).chain, before.tlsa, (BASE,), AT, earlier=before.chain)
    assert results(verification) == ["stale_certificate", "stale_certificate"]


_RETIRED = [one for one in ISSUERS if one.state is IssuerState.RETIRED]


@pytest.mark.parametrize("sent", [(ISSUER, ROOT), (ISSUER,), ()])
@pytest.mark.parametrize("issuer", _RETIRED, ids=lambda one: one.common_name)
def test_a_public_authority_that_issues_no_more_is_retired(
    issuer: Issuer, sent: tuple[int, ...]
) -> None:
    made = make(replace(records(), sent=sent))
    texts = [f"2 1 1 {issuer.spki_sha256}", *(f"2 0 1 {one}" for one in issuer.certificate_sha256)]
    verification = verify(made.chain, [parse_text(text) for text in texts], (BASE,), AT)
    assert results(verification) == ["retired_issuer"] * len(texts)


def test_what_is_no_retired_issuer() -> None:
    (retired, *_), issues = _RETIRED, next(i for i in ISSUERS if i.state is IssuerState.ISSUES)
    complete = make(records()).chain
    cases = [
        (complete, f"2 1 1 {issues.spki_sha256}", "unknown"),  # it may still issue
        (complete, f"3 1 1 {retired.spki_sha256}", "unknown"),  # no server has that key
        (complete, f"2 1 1 {'ab' * 32}", "unknown"),
        ((), f"2 1 1 {retired.spki_sha256}", "unknown"),  # no other issuer's chain
    ]
    for chain, record, expected in cases:
        verification = verify(chain, [parse_text(record)], (BASE,), AT)
        assert results(verification) == [expected]


def _pem(label: str, der: bytes, newline: str = "\n") -> str:
    body = base64.b64encode(der).decode()
    lines = [body[at : at + 64] for at in range(0, len(body), 64)]
    return newline.join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""])


@pytest.mark.parametrize("matching_type", [1, 2])
@pytest.mark.parametrize(("usage", "selector"), [(3, 1), (3, 0), (2, 0)])
def test_the_digest_of_a_pem_text(usage: int, selector: int, matching_type: int) -> None:
    chain = make(records()).chain
    key = x509.load_der_x509_certificate(chain[0]).public_key()
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    fullchain = "".join(_pem("CERTIFICATE", der) for der in chain)
    texts = [
        _pem("CERTIFICATE", chain[0]),
        _pem("CERTIFICATE", chain[0]).rstrip("\n"),
        _pem("CERTIFICATE", chain[1], "\r\n"),
        _pem("PUBLIC KEY", spki),
        _pem("PUBLIC KEY", spki).partition("\n")[2].rpartition("-----END")[0],
        fullchain,
        "".join(_pem("CERTIFICATE", der) for der in chain[:2]),
    ]
    tlsa = [
        TLSARecord(usage, selector, matching_type, DIGESTS[matching_type](text.encode()))
        for text in texts
    ]
    verification = verify(chain, tlsa, (BASE,), AT)
    assert results(verification) == ["pem_digest"] * len(texts)
    assert verification.verdict is Verdict.MISMATCH


@pytest.mark.parametrize("selector", [0, 1])
@pytest.mark.parametrize(("sent", "told"), [((ISSUER,), True), ((ISSUER, ROOT), False)])
def test_an_anchor_that_matches_although_it_is_not_sent(
    selector: int, sent: tuple[int, ...], told: bool
) -> None:
    verification = judge(replace(records((2, selector, 0, ROOT)), sent=sent))
    assert verification.verdict is Verdict.MATCH
    assert verification.defects == ({Defect.ANCHOR_NOT_SENT} if told else set())
    assert not judge(replace(records((2, 1, 1, ISSUER)), sent=(ISSUER,))).defects


def test_an_anchor_of_a_chain_that_is_complete_is_unknown() -> None:
    assert results(judge(records((2, 1, 1, ROOT, "flip")))) == ["unknown"]


def test_the_stronger_digest_sets_the_weaker_aside() -> None:
    verification = judge(records((3, 1, 2, ROOT), (3, 1, 1, LEAF)))
    assert verification.verdict is Verdict.MISMATCH
    assert results(verification) == ["wrong_usage", "superseded"]
    # Per usage and selector, full data stays, and an unusable record outranks nothing.
    for beside in ((2, 1, 2, LEAF), (3, 0, 2, ROOT), (3, 1, 2, LEAF, "cut"), (3, 1, 3, LEAF)):
        assert judge(records(beside, (3, 1, 1, LEAF))).verdict is Verdict.MATCH
    assert judge(records((3, 1, 2, ROOT), (3, 1, 0, LEAF))).verdict is Verdict.MATCH


def test_no_record_and_no_certificate() -> None:
    made = make(records((3, 1, 1, LEAF), (2, 0, 1, ROOT), (2, 0, 0, ROOT)))
    assert verify(made.chain, (), (BASE,), AT).verdict is Verdict.UNUSABLE
    nothing = verify((), made.tlsa, (BASE,), AT)
    assert nothing.verdict is Verdict.MISMATCH
    assert nothing.leaf_names == ()
    assert results(nothing) == ["unknown"] * 3


# --- what cannot be read --------------------------------------------------------------------


def _spoilt(made: Made, place: int) -> list[bytes]:
    """The chain with one certificate that has the shape, but a version that nobody reads."""
    chain = list(made.chain)
    assert chain[place].count(b"\xa0\x03\x02\x01\x02") == 1
    chain[place] = chain[place].replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x09")
    return chain


def test_an_unreadable_leaf_still_matches_by_its_bytes() -> None:
    made = make(records((3, 1, 1, LEAF), (3, 1, 1, ROOT)))
    chain = _spoilt(made, LEAF)
    whole = TLSARecord(3, 0, 1, hashlib.sha256(chain[0]).digest())
    verification = verify(chain, [whole, *made.tlsa], (BASE,), AT)
    assert results(verification) == ["match", "match", "wrong_usage"]
    assert verification.leaf_names == ()


@pytest.mark.parametrize("place", [LEAF, ISSUER])
@pytest.mark.parametrize("record", [(2, 0, 1, ROOT), (2, 1, 0, ROOT), (2, 0, 0, ROOT)])
def test_a_path_through_an_unreadable_certificate_is_never_a_mismatch(
    place: int, record: tuple[int, int, int, int]
) -> None:
    made = make(records(record))
    verification = verify(_spoilt(made, place), made.tlsa, (BASE,), AT)
    assert verification.verdict is Verdict.CERT_UNPARSED
    assert results(verification) == ["cert_unparsed"]
    assert verification.matched_record is None


def test_an_anchor_that_was_not_sent_is_not_excused_by_an_unreadable_certificate() -> None:
    made = make(replace(records((2, 0, 1, ROOT)), sent=(ISSUER,)))
    assert verify(_spoilt(made, ISSUER), made.tlsa, (BASE,), AT).verdict is Verdict.MISMATCH


def test_a_leaf_without_shape_is_never_a_mismatch_of_its_key() -> None:
    made = make(records((3, 1, 1, LEAF), (2, 1, 1, ROOT), (3, 0, 1, LEAF)))
    verification = verify([b"\x30\x03junk", *made.chain[1:]], made.tlsa, (BASE,), AT)
    assert verification.verdict is Verdict.CERT_UNPARSED
    assert results(verification) == ["cert_unparsed", "cert_unparsed", "unknown"]


# --- hostile chains -------------------------------------------------------------------------


def test_more_paths_than_are_tried() -> None:
    """Forty certificates of one authority sign each other in every order."""
    twins = tuple(replace(_ISSUER, who=0, issuer=0) for _ in range(40))
    plan = replace(
        records((2, 1, 1, 41), (2, 0, 0, 41), (2, 1, 0, 41)),
        authorities=(*twins, Authority("p384", who=40, called=40, issuer=40)),
        sent=tuple(range(1, 42)),
    )
    verification = judge(plan)
    assert verification.verdict is Verdict.CERT_UNPARSED
    assert results(verification) == ["cert_unparsed"] * 3


def test_a_chain_of_a_hundred_is_followed() -> None:
    line = tuple(Authority("p256", i, i, min(i + 1, 99)) for i in range(100))
    order = list(range(1, 101))
    random.Random(3).shuffle(order)
    plan = replace(records((2, 1, 1, 100)), authorities=line, sent=tuple(order))
    verification = judge(plan)
    assert verification.verdict is Verdict.MATCH
    assert verification.matched_depth == 100


def test_a_flood_of_keys_from_dns_ends_and_hides_no_cheaper_match() -> None:
    made = make(replace(records((2, 1, 1, ISSUER), (2, 1, 0, ROOT)), sent=(ISSUER,)))
    flood = [
        TLSARecord(2, 1, 0, ec.generate_private_key(ec.SECP256R1()).public_key().public_bytes(
            Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
        for _ in range(1000)
    ]  # fmt: skip
    source = random.Random(1)
    flood += [TLSARecord(2, 0, 1, source.randbytes(32)) for _ in range(2000)]
    assert verify(made.chain, [*flood, *made.tlsa], (BASE,), AT).verdict is Verdict.MATCH
    # More signatures than the budget has steps for: not known, and so no mismatch.
    assert verify(made.chain, flood, (BASE,), AT).verdict is Verdict.CERT_UNPARSED
