"""docs/measurement.md names the tests that hold its rules, and the words of the code."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from dane import outcomes
from tests.integration.test_lab_witnesses import DNS_SETTLED, OPENSSL_SETTLED, POSTFIX_SETTLED

_ROOT = Path(__file__).parents[2]
_PAGE = (_ROOT / "docs/measurement.md").read_text()
_NAMED = sorted(set(re.findall(r"`(test_\w+)`", _PAGE)))


def test_every_test_that_the_page_names_exists() -> None:
    source = "\n".join(path.read_text() for path in (_ROOT / "tests").rglob("test_*.py"))
    there = set(re.findall(r"^(?:async )?(?:def )?(test_\w+)(?:\(| =)", source, re.MULTILINE))
    assert _NAMED
    assert [name for name in _NAMED if name not in there] == []


@pytest.mark.parametrize(
    "vocabulary",
    [
        outcomes.LookupOutcome,
        outcomes.AuthorityResult,
        outcomes.DnsCause,
        outcomes.HostStatus,
        outcomes.DomainStatus,
        outcomes.Defect,
        outcomes.MismatchCause,
        outcomes.RecordResult,
        outcomes.RolloverGrade,
        outcomes.WrongPractice,
    ],
    ids=lambda vocabulary: vocabulary.__name__,
)
def test_every_word_is_on_the_page(vocabulary: type) -> None:
    assert [str(word) for word in vocabulary if f"`{word}`" not in _PAGE] == []


@pytest.mark.parametrize(
    ("witness", "settled"),
    [
        ("delv", DNS_SETTLED),
        ("posttls-finger", POSTFIX_SETTLED),
        ("openssl s_client", OPENSSL_SETTLED),
    ],
)
def test_every_difference_of_a_witness_is_on_the_page(
    witness: str, settled: Mapping[str, str]
) -> None:
    _, _, differences = _PAGE.partition("The scenarios of which a witness says otherwise")
    lines = differences.splitlines()
    (first,) = (i for i, line in enumerate(lines) if line.startswith(f"| `{witness}`"))
    told: list[str] = []
    for line in lines[first:]:
        if told and not line.startswith("|  |"):
            break
        told += re.findall(r"`([^`]+)`", line.split("|")[2])
    assert sorted(told) == sorted(settled)
