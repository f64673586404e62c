"""Ninety days of made-up domains whose failures begin and end when we say so.

What the looks can prove is computed here from the truth, in plain Python; the tables must agree.
Breaking and repairing follow known laws, some looks are tempfail, and on some days there is no
run. 300 domains in the usual tests, 3 000 in the soak.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import pytest

from reports import statistics
from reports.dictionary import EPISODES
from reports.views import open_views, read
from tests.daily_looks import DAY, Days
from tests.published_rows import NOON

DAYS = 90
_OUTAGES = 5
_TEMPFAIL = 0.1
_MEAN_REPAIR_DAYS = 12.0
REPAIR_TIME = dict(statistics.statements())["repair_time.sql"]


@dataclass(slots=True)
class Truth:
    """One host: the days (with their parts) between which it is broken, and its looks."""

    host: str
    failures: list[tuple[float, float]] = field(default_factory=list)
    looks: list[tuple[int, str]] = field(default_factory=list)

    def is_broken(self, day: float) -> bool:
        return any(begin <= day < end for begin, end in self.failures)


def _population(chance: random.Random, count: int) -> list[Truth]:
    """3 % break, at any time; the time to repair is exponential."""
    population = []
    for number in range(count):
        one = Truth(f"mx.d{number}.example")
        if number < max(3, round(0.03 * count)) * 2 and number % 2 == 0:
            at = chance.uniform(0.5, DAYS * 0.7)
            one.failures.append((at, at + chance.expovariate(1 / _MEAN_REPAIR_DAYS)))
        population.append(one)
    return population


def _counting(looks: list[tuple[int, str]]) -> Iterator[tuple[int, int]]:
    """(day of the fourth counting look, day of the first) of each row that is confirmed: no good
    look between, and at most 60 hours from one failing look to the next."""
    row: list[int] = []
    for day, letter in looks:
        if letter == "p":
            row = []
        elif letter == "m":
            if row and day - row[-1] > 2:
                row = []
            row.append(day)
            if len(row) == 4:
                yield day, row[0]


def _lived(root: Path, seed: int, count: int) -> tuple[Days, list[Truth]]:
    chance = random.Random(seed)
    population = _population(chance, count)
    outages = set(chance.sample(range(2, DAYS), _OUTAGES))
    days = Days(root)
    for day in range(DAYS):
        if day in outages:
            continue
        looks = {}
        for one in population:
            letter = "m" if one.is_broken(day) else "p"
            if chance.random() < _TEMPFAIL:
                letter = "t"
            one.looks.append((day, letter))
            looks[one.host] = letter
        days.live(day, looks)
    return days, population


def _at(day: int) -> datetime:
    return NOON + day * DAY


def _check(root: Path, seed: int, count: int) -> None:
    days, population = _lived(root, seed, count)
    found = [row for files in days.runs for row in files.read(EPISODES).to_pylist()]
    last = {(row["host"], row["began"]): row for row in found}

    # confirmed at the fourth counting look, and never what was not broken
    confirmed = {
        (row["host"], row["confirmed"]) for row in last.values() if row["confirmed"] is not None
    }
    due = set()
    for one in population:
        rows = [day for day, _ in _counting(one.looks)]
        for begin, end in one.failures:
            inside = [day for day in rows if begin <= day < end]
            due |= {(one.host, _at(day)) for day in inside[:1]}
    assert confirmed == due
    assert due, "the chances of this test never confirm anything"

    # both bounds hold the truth
    truth = {one.host: one for one in population}
    for row in last.values():
        ((begin, end),) = truth[row["host"]].failures
        if row["good_until"] is not None:
            assert row["good_until"] <= NOON + begin * DAY
        assert NOON + begin * DAY <= row["began"]
        assert row["failing_until"] <= NOON + end * DAY
        if row["ended"] is not None:
            assert NOON + end * DAY <= row["ended"]
            assert row["ended_by"] == "repaired"

    _check_repair_time(days, confirmed, truth)


def _check_repair_time(
    days: Days, confirmed: set[tuple[str, datetime]], truth: dict[str, Truth]
) -> None:
    """The published range holds the percentile of the true times, where all have ended."""
    with open_views("500MB", days.runs[-1], past_runs=days.runs[:-1]) as views:
        numbers = {row["key"]: row["value"] for row in read(views, REPAIR_TIME).to_pylist()}
    true_days = sorted(
        (NOON + truth[host].failures[0][1] * DAY - at) / DAY for host, at in confirmed
    )
    for percent in (50, 90):
        shortest, longest = (numbers[f"mx {percent} {bound}"] for bound in ("shortest", "longest"))
        exact = true_days[-(-len(true_days) * percent // 100) - 1]
        if shortest is not None:
            assert shortest <= exact
        if longest is not None:
            assert exact <= longest
    assert numbers["mx 50 shortest"] is not None


@pytest.mark.timeout(900)
def test_300_domains(tmp_path: Path) -> None:
    _check(tmp_path, seed=1, count=300)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(3))
def test_3000_domains(tmp_path: Path, seed: int) -> None:
    _check(tmp_path, seed, count=3000)
