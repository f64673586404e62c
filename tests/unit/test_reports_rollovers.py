"""Grades of rollovers: one server's looks, a day apart, and what they prove."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from importlib.resources import files as package_files
from pathlib import Path

import pytest

from dane.outcomes import RolloverGrade
from reports import statistics
from reports.confirmation import Following
from reports.dataset import Files, RunKey, write_table
from reports.dictionary import MX_HOSTS, PROBES, ROLLOVERS
from reports.views import open_views, read
from tests.published_rows import NOON, write

DAY = timedelta(days=1)
SQL = dict(statistics.statements())["rollovers.sql"]
ROWS = (package_files("reports") / "rollovers.sql").read_text("utf-8")

# What a day's look sees: the key (a letter), and the TLSA records (of which keys).
Look = tuple[str, str]


def _probe(number: int, look: Look, address: str) -> Mapping[str, object]:
    key, records = look
    return {
        "address": address,
        "operator": "net.example",
        "sni": "mx.net.example",
        "host": "mx.net.example",
        "tlsa": [f"3 1 1 {one}" for one in records],
        "record_result": ["match" if one == key else "unknown" for one in records] if key else [],
        "chain": [f"certificate-{key}", "ca"] if key else [],
        "dns_asked": NOON + number * DAY - timedelta(minutes=5),
        "connected": NOON + number * DAY,
    }


def grades(root: Path, servers: Sequence[Sequence[Look]], ttl_s: int | None) -> dict[str, int]:
    """Rollovers by grade, as published; each look is a run."""
    runs = []
    host = {"host": "mx.net.example", "tlsa_base": "mx.net.example", "tlsa_digest": "d"}
    for number in range(len(servers[0])):
        probes = [
            _probe(number, looks[number], f"192.0.2.{which}") for which, looks in enumerate(servers)
        ]
        rows = {PROBES: probes, MX_HOSTS: [{**host, "rrsig_original_ttl": ttl_s}]}
        runs.append(write(root, rows, RunKey("2026-11", number)))
    return published(runs)


def published(runs: Sequence[Files]) -> dict[str, int]:
    with open_views("500MB", runs[-1], recent_runs=runs[:-1]) as views:
        write_table(runs[-1], ROLLOVERS, [Following(views).rollovers()])
    with open_views("500MB", runs[-1], recent_runs=runs[:-1]) as views:
        found = {row["key"]: row["value"] for row in read(views, SQL).to_pylist()}
    assert found.pop(None, 0) == sum(found.values())
    return found


@pytest.mark.parametrize(
    ("looks", "ttl_s", "expected"),
    [
        ([("a", "a"), ("a", "ab"), ("a", "ab"), ("b", "ab"), ("b", "ab")], 3600, "correct"),
        # the new record was there at least a day before the key; the TTL is two
        ([("a", "a"), ("a", "ab"), ("a", "ab"), ("b", "ab"), ("b", "ab")], 172_800, "unobserved"),
        ([("a", "a"), ("a", "ab"), ("b", "ab"), ("b", "ab")], 3 * 86_400, "late_introduction"),
        # nothing tells whether the old record was there until the key changed
        ([("a", "a"), ("a", "ab"), ("a", "ab"), ("b", "b"), ("b", "b")], 3600, "unobserved"),
        # nor does the look that first shows the new key: it asked for the records before
        ([("a", "a"), ("a", "ab"), ("a", "ab"), ("b", "ab"), ("b", "b")], 3600, "unobserved"),
        # what counts is since when the new record has been there without a gap
        ([("a", "ab"), ("a", "a"), ("a", "ab"), ("a", "ab"), ("b", "ab"), ("b", "ab")], 86_400,
         "correct"),
        ([("a", "ab"), ("a", "ab"), ("a", "a"), ("a", "ab"), ("b", "ab"), ("b", "ab")], 86_400,
         "unobserved"),
        ([("a", "ab"), ("a", "ab"), ("a", "a"), ("b", "ab"), ("b", "ab")], 2 * 86_400,
         "late_introduction"),
        ([("a", "a"), ("a", "ab"), ("b", "a"), ("b", "ab")], 3600, "late_introduction"),
        ([("a", "a"), ("b", "b")], 3600, "unobserved"),
        ([("a", "a"), ("b", "ab"), ("b", "b")], 3600, "unobserved"),
        # within one interval, which is shorter than the TTL
        ([("a", "a"), ("b", "b")], 172_800, "late_introduction"),
        ([("a", "a"), ("b", "a"), ("b", "b")], 3600, "late_introduction"),
        ([("a", "a"), ("b", "a"), ("b", "a")], 3600, "no_introduction"),
        ([("a", "a"), ("a", "ab"), ("a", "b"), ("b", "b")], 3600, "early_retirement"),
        ([("a", "a"), ("", "ab"), ("a", "ab"), ("", "ab"), ("b", "ab"), ("b", "ab")], 3600,
         "correct"),
        ([("a", "a"), ("a", "ab"), ("a", "ab"), ("b", "ab"), ("b", "ab")], None, "unobserved"),
    ],
)  # fmt: skip
def test_grade(tmp_path: Path, looks: list[Look], ttl_s: int | None, expected: str) -> None:
    assert grades(tmp_path, [looks], ttl_s) == {expected: 1}


@pytest.mark.parametrize(
    "looks",
    [
        [("a", "a"), ("a", "ab"), ("a", "ab")],
        [("a", "x"), ("b", "b"), ("b", "b")],  # there was nothing to keep working
        [("a", "ab"), ("b", "ab"), ("a", "ab")],  # in turn
    ],
)
def test_no_rollover(tmp_path: Path, looks: list[Look]) -> None:
    assert grades(tmp_path, [looks], 3600) == {}


def test_one_look_proves_nothing(tmp_path: Path) -> None:
    files = write(tmp_path, {PROBES: [_probe(0, ("a", "a"), "192.0.2.1")]})
    with open_views("500MB", files) as views:
        assert read(views, SQL).num_rows == 0


def test_a_name_counts_once_with_its_worst_address(tmp_path: Path) -> None:
    good = [("a", "a"), ("a", "ab"), ("a", "ab"), ("b", "ab"), ("b", "ab")]
    bad = [("a", "a"), ("a", "ab"), ("a", "b"), ("b", "b"), ("b", "b")]
    assert grades(tmp_path, [good, bad, good], 3600) == {"early_retirement": 1}


def test_a_record_that_matches_both_keys_is_no_rollover(tmp_path: Path) -> None:
    """The authority's: leaves change under it."""
    looks = [_probe(0, ("a", "a"), "192.0.2.1"), _probe(1, ("b", "b"), "192.0.2.1")]
    authority = [
        {**one, "tlsa": ["2 1 1 ca", *one["tlsa"]], "record_result": ["match", "match"]}
        for one in looks
    ]
    assert published([write(tmp_path, {PROBES: authority})]) == {}


def test_the_words_are_the_vocabulary() -> None:
    assert [f"'{grade}'" for grade in RolloverGrade if f"'{grade}'" not in ROWS] == []
