"""Cases as JSON: what is read, what is written, and what is no case."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from dane.case import CaseFault, read_case, read_pem, read_time, verify_line
from tests.oracle.chains import AT, BASE, Authority, Leaf, Made, Plan, RecordPlan, make

_MADE: Made = make(
    Plan(Leaf(), (Authority("p256", 0, 0, 0),), (1,), (RecordPlan(2, 0, 1, 1),), (BASE,))
)
_PEM = [one.public_bytes(Encoding.PEM).decode() for one in _MADE.all]
_CASE: dict[str, Any] = {
    "id": "a",
    "chain": _PEM,
    "tlsa": [_MADE.tlsa[0].text()],
    "names": ["MX.example.org."],
    "at": AT.isoformat(),
}


def _answer(**changes: Any) -> tuple[dict[str, Any], bool]:
    case = {key: value for key, value in {**_CASE, **changes}.items() if value is not ...}
    text, good = verify_line(json.dumps(case).encode())
    assert "\n" not in text
    return json.loads(text), good


def test_a_case_and_its_answer() -> None:
    answer, good = _answer()
    assert good
    assert answer == {
        "id": "a",
        "verdict": "match",
        "name_decides": True,
        "matched_record": 0,
        "matched_depth": 1,
        "leaf_names": [BASE],
        "records": [{"record": _MADE.tlsa[0].text(), "result": "match", "cause": None, "depth": 1}],
        "defects": [],
        "scheme": "issuer_only",
    }


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({"id": ...}, "match"),
        ({"id": {"any": ["value"]}}, "match"),
        ({"names": ...}, "match"),
        ({"names": []}, "match"),
        ({"names": ["other.example"]}, "name_mismatch"),
        ({"at": "2030-01-01"}, "ta_expired"),
        ({"at": "0001-01-01T00:00:00+23:00"}, "ta_expired"),
        ({"at": None, "tlsa": []}, "unusable"),
        ({"chain": ["".join(_PEM)]}, "match"),
        ({"chain": ["text before\r\n" + _PEM[0].replace("\n", "\r\n"), _PEM[1]]}, "match"),
        ({"chain": []}, "mismatch"),
        ({"tlsa": ["1 1 1 00", "\\# 1 03"]}, "unusable"),
    ],
)
def test_cases(changes: dict[str, Any], verdict: str) -> None:
    answer, good = _answer(**changes)
    assert good
    assert answer["verdict"] == verdict
    assert answer["id"] == (changes.get("id", "a") if changes.get("id") is not ... else None)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"chain": ...}, "chain: not a list of strings"),
        ({"chain": "x"}, "chain: not a list of strings"),
        ({"chain": [1]}, "chain: not a list of strings"),
        ({"chain": ["x"]}, "chain: no PEM certificate"),
        ({"chain": [_PEM[0] + _PEM[0][:-40]]}, "chain: a PEM certificate without its end"),
        ({"chain": [_PEM[0].replace("MII", "MI", 1)]}, "chain: a PEM certificate is not base64"),
        ({"chain": [_PEM[0].replace("MII", "é", 1)]}, "chain: a PEM certificate is not base64"),
        ({"tlsa": ...}, "tlsa: not a list of strings"),
        ({"tlsa": ["3 1 1 x"]}, "tlsa: the association data is not hexadecimal"),
        ({"names": ["a..b"]}, "names: an empty label"),
        ({"names": None}, "names: not a list of strings"),
        ({"at": 1}, "at: not a string"),
        ({"at": "soon"}, "at: 'soon' is not a time such as 2026-11-24T12:00:00Z"),
    ],
)
def test_what_is_no_case(changes: dict[str, Any], error: str) -> None:
    answer, good = _answer(**changes)
    assert not good
    assert answer == {"id": "a", "error": error}


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (b"x", "the line is not JSON"),
        (b"\xff\xfe{", "the line is not JSON"),
        (b"[" * 100_000, "the line is not JSON"),
        (b'{"id": 1e999, "chain": [], "tlsa": []}', "the line is not JSON"),
        (b'{"id": NaN, "chain": [], "tlsa": []}', "the line is not JSON"),
        (b"[]", "the line is not a JSON object"),
        (b"1", "the line is not a JSON object"),
    ],
)
def test_what_is_no_json(line: bytes, error: str) -> None:
    text, good = verify_line(line)
    assert not good
    assert json.loads(text) == {"id": None, "error": error}


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(["id", "chain", "tlsa", "names", "at"]), _values))
def test_any_object_has_an_answer(value: dict[str, Any]) -> None:
    text, good = verify_line(json.dumps(value).encode())
    answer = json.loads(text)
    assert answer["id"] == value.get("id")
    assert ("verdict" in answer) is good
    assert ("error" in answer) is not good


def test_times() -> None:
    noon = datetime(2026, 11, 24, 12, tzinfo=UTC)
    assert read_time("2026-11-24T12:00:00Z") == noon
    assert read_time("2026-11-24T12:00:00") == noon
    assert read_time("2026-11-24 14:00+02:00") == noon
    assert read_time("2026-11-24T14:00+02:00").tzinfo == timezone(timedelta(hours=2))
    assert read_time("20261124T120000Z") == noon


def test_without_a_time_it_is_now() -> None:
    before = datetime.now(UTC)
    assert before <= read_case(_PEM, [], [], None).at <= datetime.now(UTC)


def test_pem_of_a_certificate_that_is_none_is_kept_as_it_is() -> None:
    text = "-----BEGIN X509 CERTIFICATE-----\nanVuaw==\n-----END X509 CERTIFICATE-----\n"
    assert read_pem(text) == [b"junk"]
    with pytest.raises(CaseFault):
        read_pem("-----BEGIN CERTIFICATE-----")
