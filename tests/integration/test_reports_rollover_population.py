"""Servers whose keys and records change when we say so: each grade is the truth, or `unobserved`
where no look proves it."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from dane.outcomes import RolloverGrade
from reports.confirmation import Following
from reports.dataset import RunKey
from reports.dictionary import MX_HOSTS, PROBES
from reports.views import open_views
from tests.published_rows import NOON, write

DAYS, TTL_S = 24, 6 * 3600
_TTL = TTL_S / 86_400
_BETWEEN = timedelta(minutes=5)  # records are asked for before the connection is made


@dataclass(frozen=True, slots=True)
class Server:
    """When (in days) its new record comes, its key changes, its old record goes."""

    name: str
    record: float | None
    key: float
    retired: float

    def records(self, day: float) -> Sequence[str]:
        old = ["old"] if day < self.retired else []
        return [*old, "new"] if self.record is not None and day >= self.record else old

    def shown(self, day: float) -> str:
        return "new" if day >= self.key else "old"

    @property
    def truths(self) -> Sequence[RolloverGrade]:
        """RFC 7671 section 8.1, known from the inside; two things may be wrong at once."""
        if self.record is None:
            return [RolloverGrade.NO_INTRODUCTION]
        wrong = []
        if self.key - self.record < _TTL:
            wrong.append(RolloverGrade.LATE_INTRODUCTION)
        if self.retired < self.key:
            wrong.append(RolloverGrade.EARLY_RETIREMENT)
        return wrong or [RolloverGrade.CORRECT]

    def is_proven(self, truth: RolloverGrade) -> bool:
        """Whether daily looks can prove it; of a look, the records are some minutes older than
        the key."""
        looks = [(day - _BETWEEN / timedelta(days=1), float(day)) for day in range(DAYS)]
        with_new = [asked for asked, _ in looks if "new" in self.records(asked)]
        old_key = [(asked, shown) for asked, shown in looks if self.shown(shown) == "old"]
        new_key = [(asked, shown) for asked, shown in looks if self.shown(shown) == "new"]
        match truth:
            case RolloverGrade.NO_INTRODUCTION:
                return True
            case RolloverGrade.LATE_INTRODUCTION:
                first_asked, first_shown = new_key[0]
                without = [asked for asked, _ in looks if asked < min(with_new)]
                none_yet = "new" not in self.records(first_asked)
                return none_yet or first_shown - max(without) < _TTL
            case RolloverGrade.EARLY_RETIREMENT:
                return any("old" not in self.records(asked) for asked, _ in old_key)
            case _:
                stays = any("old" in self.records(asked) for asked, _ in new_key[1:])
                return old_key[-1][1] - with_new[0] >= _TTL and stays

    @property
    def expected(self) -> RolloverGrade:
        proven = [truth for truth in self.truths if self.is_proven(truth)]
        return proven[0] if proven else RolloverGrade.UNOBSERVED


def _servers(chance: random.Random, count: int) -> list[Server]:
    servers = []
    for number in range(count):
        key = chance.uniform(6, 16)
        record: float | None = key - chance.choice((3.0, 1.5, 0.9, 0.3, 0.1, -0.4, -1.7))
        if chance.random() < 0.15:
            record = None
        retired = key + chance.choice((-1.6, -0.2, 0.1, 0.6, 1.8, 4.0))
        servers.append(Server(f"mx.s{number}.example", record, key, retired))
    return servers


def _probe(server: Server, number: int, day: int) -> dict[str, Any]:
    at = NOON + timedelta(days=day)
    asked = day - _BETWEEN / timedelta(days=1)
    key = server.shown(day)
    records = server.records(asked)
    return {
        "address": f"192.0.{number // 250}.{number % 250}",
        "operator": "net.example",
        "sni": server.name,
        "host": server.name,
        "tlsa": [f"3 1 1 {one}" for one in records],
        "record_result": ["match" if one == key else "unknown" for one in records],
        "chain": [f"{server.name}-{key}"],
        "dns_asked": at - _BETWEEN,
        "connected": at,
    }


@pytest.mark.parametrize("seed", range(3))
def test_grades_are_the_truth_where_looks_prove_it(tmp_path: Path, seed: int) -> None:
    servers = _servers(random.Random(seed), 200)
    hosts = [
        {"host": one.name, "tlsa_base": one.name, "tlsa_digest": "d", "rrsig_original_ttl": TTL_S}
        for one in servers
    ]
    runs = []
    for day in range(DAYS):
        probes = [_probe(one, number, day) for number, one in enumerate(servers)]
        rows = {PROBES: probes, MX_HOSTS: hosts}
        runs.append(write(tmp_path, rows, RunKey("2026-11", day)))
    with open_views("500MB", runs[-1], recent_runs=runs[:-1]) as views:
        found = {row["host"]: row["grade"] for row in Following(views).rollovers().to_pylist()}

    assert found.keys() == {one.name for one in servers}
    wrong = [(one, found[one.name]) for one in servers if found[one.name] != one.expected]
    assert wrong == []
    assert {found[one.name] for one in servers} == set(RolloverGrade)
