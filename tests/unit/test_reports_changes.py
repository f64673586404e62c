"""Why the headlines moved: the first reason that applies, and sums that are the difference."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reports.dataset import Files, RunKey
from reports.derived_tables import CHANGES, DOMAIN_CHANGES, ChangeReason
from reports.dictionary import BREAKAGES, DOMAINS, ZONES
from tests.published_rows import count, domain, write

GOOD = {"mx_secure": True, "dane_primary": True, "mx_outcome": "secure", "mx_answer_secure": True}
BAD = GOOD | {"dane_primary": False}
MX = [("mx.p.example", 10, "pass", "P")]
ZONE = [{"zone": "example"}]
FAILS = {"mx_outcome": "bogus", "stage": "mx"}


def with_hosts(status: str, host_class: str) -> list[tuple[str, int, str, str]]:
    return [("mx.p.example", 10, status, host_class)]


def changed(
    directory: Path,
    before: list[Mapping[str, Any]],
    now: list[Mapping[str, Any]],
    *,
    zones_before: list[Mapping[str, Any]] = ZONE,
    zones_now: list[Mapping[str, Any]] = ZONE,
    floor: int = 1,
) -> Files:
    last = write(directory / "b", {DOMAINS: before, ZONES: zones_before}, RunKey("2026-10", 1))
    files = write(directory / "n", {DOMAINS: now, ZONES: zones_now, BREAKAGES: []})
    count(files, floor, last)
    return files


DANE = domain("a.example", "dane", MX, mx_operator=["p.example"], **GOOD)
ABSENT = domain("a.example", "no_tlsa", with_hosts("absent", "N"), mx_operator=["p.example"], **BAD)
BROKEN = domain("a.example", "broken", with_hosts("mismatch", "F"), **BAD)
FAILING = domain("a.example", "lookup_failed", **FAILS)
MOVED = domain("a.example", "no_tlsa", [("mx.q.example", 10, "absent", "N")], **BAD)
SILENT = domain("a.example", "unreachable", with_hosts("unreachable", "Q"), **BAD)
OUT = domain("a.example", "indeterminate", with_hosts("opted_out", "Q"), **BAD)
SAME = DANE | {"dane_primary": False, "status": "partial"}


@pytest.mark.parametrize(
    ("other", "gained", "lost"),
    [
        (None, "signed_new", "domain_gone"),
        (SAME, "rules_changed", "rules_changed"),
        (OUT, "opted_out", "opted_out"),
        (MOVED, "mx_moved", "mx_moved"),
        (ABSENT, "operator_published_tlsa", "operator_removed_tlsa"),
        (BROKEN, "repaired", "broke"),
        (FAILING, "lookup_works", "lookup_fails"),
        (SILENT, "unreachable", "unreachable"),
    ],
)
def test_reason(tmp_path: Path, other: Mapping[str, Any] | None, gained: str, lost: str) -> None:
    steady = domain("steady.example", "dane", MX, **GOOD)
    others = [steady] if other is None else [steady, other]
    for name, before, now, reason in (
        ("gained", others, [steady, DANE], gained),
        ("lost", [steady, DANE], others, lost),
    ):
        rows = changed(tmp_path / name, before, now).read(DOMAIN_CHANGES).to_pylist()
        (row,) = (one for one in rows if one["headline"] == "dane_primary")
        assert (row["direction"], row["reason"]) == (name, reason)


def test_a_zone_that_was_not_taken_in(tmp_path: Path) -> None:
    steady = domain("steady.other", "dane", MX, **GOOD)
    other = [{"zone": "other"}]
    for files in (
        changed(tmp_path / "new", [steady], [steady, DANE], zones_before=other),
        changed(tmp_path / "gone", [steady, DANE], [steady], zones_now=other),
    ):
        rows = files.read(DOMAIN_CHANGES).to_pylist()
        assert {(row["domain"], row["reason"]) for row in rows} == {("a.example", "zone_not_seen")}


def test_operators_are_named_with_enough_domains_and_confirmed_breakage_only(
    tmp_path: Path,
) -> None:
    names = [f"d{number}.example" for number in range(8)]
    before = [ABSENT | {"domain": name} for name in names[:5]]
    before += [BROKEN | {"domain": name, "mx_operator": ["p.example"]} for name in names[5:]]
    now = [DANE | {"domain": name} for name in names]
    rows = changed(tmp_path, before, now, floor=3).read(CHANGES).to_pylist()
    shown = {(row["reason"], row["operator_now"]): row["domains"] for row in rows}
    assert shown == {
        ("operator_published_tlsa", "p.example"): 5,
        ("repaired", "(not confirmed)"): 3,
    }
    few = changed(tmp_path / "few", before[:2], now[:2], floor=3).read(CHANGES).to_pylist()
    assert [(row["operator_now"], row["domains"]) for row in few] == [("(fewer than 3 domains)", 2)]


verdicts = st.sampled_from([DANE, ABSENT, BROKEN, FAILING, MOVED, SILENT, OUT, SAME, None])


@settings(max_examples=8)
@given(st.lists(st.tuples(verdicts, verdicts), max_size=12))
def test_gained_minus_lost_is_the_difference(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[Any, Any]]
) -> None:
    months = [
        [
            pair[place] | {"domain": f"d{number}.example"}
            for number, pair in enumerate(pairs)
            if pair[place]
        ]
        for place in (0, 1)
    ]
    files = changed(tmp_path_factory.mktemp("months"), *months)
    rows = files.read(CHANGES).to_pylist()
    reasons = {*ChangeReason}
    for headline in ("mx_secure", "dane_primary"):
        counted = [sum(row.get(headline, False) for row in month) for month in months]
        moved = {
            direction: sum(
                row["domains"]
                for row in rows
                if (row["headline"], row["direction"]) == (headline, direction)
            )
            for direction in ("gained", "lost")
        }
        if months[0]:
            assert moved["gained"] - moved["lost"] == counted[1] - counted[0]
    assert {row["reason"] for row in rows} <= reasons
