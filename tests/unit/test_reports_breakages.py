"""Which domains a run finds broken, whose it is to repair, and when that is confirmed."""

import csv
import io
import json
import random
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports import breakage, split
from reports.confirmation import follow
from reports.dataset import Files, RunKey, write_table
from reports.dictionary import (
    ADDRESSES,
    BREAKAGES,
    CONFIRMATIONS,
    DOMAINS,
    EPISODES,
    MX_HOSTS,
    PROBES,
    SPLIT,
    BreakageState,
)
from reports.escape import csv_cell, printable
from reports.settings import ConfirmationSettings
from reports.views import open_views
from tests.published_rows import KEY, NOON, count, domain, write

SESSIONS = SPLIT[PROBES]

HOUR = timedelta(hours=1)
HOSTILE = '=cmd|"/C calc"\x1b[31m\r\nBcc: x@y\u202e'


def a_run(at: datetime, *, apart: timedelta = HOUR, digest: str = "d1", **probe: Any) -> dict:
    """One host with a mismatch and a good backup, three domains, one failing lookup each kind."""
    bad, good = "mx1.provider.example", "mx2.provider.example"
    session = {
        "address": "192.0.2.1",
        "tlsa_digest": digest,
        "operator": "provider.example",
        "sni": bad,
        "host": bad,
        "status": "mismatch",
        "chain": ["aa", "bb"],
        **probe,
    }
    failing = {"first_asked": at - apart, "last_asked": at, "passes": 4}
    return {
        DOMAINS: [
            domain(
                "a.example",
                "broken",
                [(bad, 10, "mismatch", "F"), (good, 20, "pass", "P")],
                level="primary",
            ),
            domain(
                "b.example",
                "broken",
                [
                    ("none.example", 0, "no_address", "-"),
                    (good, 5, "pass", "P"),
                    (bad, 10, "mismatch", "F"),
                ],
                level="backup",
            ),
            domain("c.example", "dane", [(good, 10, "pass", "P")]),
            domain(
                "d.example",
                "lookup_failed",
                stage="mx",
                mx_outcome="bogus",
                dns_operator=["dns.example", "other.example"],
                ede_code=7,
                ede_text="signature expired",
                authority=[
                    {
                        "server": "ns1.dns.example",
                        "address": "192.0.2.53",
                        "transport": "udp",
                        "question": "MX",
                        "result": "answer",
                    }
                ],
                **failing,
            ),
            domain(
                "e.example",
                "lookup_failed",
                [
                    ("mx.e.example", 10, "tlsa_failed", "L"),
                    ("mx.f.example", 20, "address_failed", "A"),
                ],
                stage="tlsa",
            ),
            domain(
                "f.example",
                "lookup_failed",
                [("mx.f.example", 10, "address_failed", "A")],
                stage="address",
            ),
        ],
        MX_HOSTS: [
            {
                "host": bad,
                "operator": "provider.example",
                "status": "mismatch",
                "class": "F",
                "tlsa": ["3 1 1 00ff"],
                "tlsa_digest": digest,
                "tlsa_base": bad,
                "causes": ["stale_certificate"],
                "rrsig_original_ttl": 3600,
            },
            {"host": good, "operator": "provider.example", "status": "pass", "class": "P"},
            {
                "host": "mx.e.example",
                "operator": "e.example",
                "status": "tlsa_failed",
                "class": "L",
                "tlsa_outcome": "servfail",
                "dns_operator": ["dns.example"],
                **failing,
            },
            {
                "host": "mx.f.example",
                "operator": "f.example",
                "status": "address_failed",
                "class": "A",
                "a_outcome": "nodata",
                "aaaa_outcome": "bogus",
                **failing,
            },
        ],
        ADDRESSES: [
            {"host": bad, "address": "192.0.2.1", "status": "mismatch"},
            {"host": good, "address": "192.0.2.2", "status": "pass"},
        ],
        SESSIONS: [
            {**session, "attempt": 1, "connected": at - apart},
            {**session, "attempt": 2, "connected": at},
        ],
    }


def find(
    root: Path, rows: dict, key: RunKey = KEY, previous: Files | None = None
) -> tuple[list[breakage.Breakage], Files]:
    files = write(root / str(key.run_id), rows, key, without=BREAKAGES)
    times = [row["connected"] for row in rows.get(SESSIONS, ())]
    times += [row["last_asked"] for row in rows.get(DOMAINS, ()) if "last_asked" in row]
    with open_views("500MB", files, previous_run=previous) as views:
        following = follow(views, ConfirmationSettings(), max(times, default=NOON))
        write_table(files, BREAKAGES, following.breakages())
        write_table(files, CONFIRMATIONS, [following.confirmations()])
        write_table(files, EPISODES, [following.episodes()])
    return breakage.load(files.read(BREAKAGES)), files


def test_each_breakage_has_its_operator_and_its_evidence(tmp_path: Path) -> None:
    found, _ = find(tmp_path, a_run(NOON))
    assert [
        (one.operator_kind, one.operator, one.host, one.domain, one.status, one.stage, one.level)
        for one in found
    ] == [
        ("dns", "dns.example", "", "d.example", "bogus", "mx", None),
        ("dns", "dns.example", "mx.e.example", "e.example", "servfail", "tlsa", "primary"),
        ("dns", "f.example", "mx.f.example", "f.example", "bogus", "address", "primary"),
        ("dns", "other.example", "", "d.example", "bogus", "mx", None),
        ("mx", "provider.example", "mx1.provider.example", "a.example", "mismatch", "", "primary"),
        ("mx", "provider.example", "mx1.provider.example", "b.example", "mismatch", "", "backup"),
    ]
    assert {one.state for one in found} == {BreakageState.SUSPECTED}
    of_mx = found[-1]
    assert of_mx.addresses == ["192.0.2.1"]
    assert of_mx.causes == ["stale_certificate"]
    assert of_mx.evidence == ["tlsa 3 1 1 00ff", "address 192.0.2.1 mismatch leaf aa"]
    assert found[0].evidence == [
        "ede 7 signature expired",
        "server ns1.dns.example 192.0.2.53 udp MX answer",
    ]


@pytest.mark.parametrize(
    ("hours", "state"),
    [
        ((0, 24, 48, 72), "confirmed"),
        ((0, 24, 48), "suspected"),  # three looks
        ((0, 23, 46, 69), "suspected"),  # 69 h
        ((0, 24, 48, 108), "confirmed"),  # 60 h between two: one day said nothing
        ((0, 24, 48, 109), "suspected"),  # 61 h between two: not in a row
        ((0, 1, 2, 3, 36, 71), "suspected"),  # the first four are one look
        ((0, 12, 24, 36, 48, 60, 72), "confirmed"),  # twice a day
    ],
)
def test_four_daily_looks_confirm(tmp_path: Path, hours: tuple[int, ...], state: str) -> None:
    previous = None
    for number, hour in enumerate(hours, 1):
        key = RunKey("2026-11", number)
        found, previous = find(tmp_path, a_run(NOON + hour * HOUR), key, previous)
    assert {one.state for one in found} == {state}


def test_one_attempt_a_look_is_not_enough(tmp_path: Path) -> None:
    previous = None
    for day in range(6):
        rows = a_run(NOON + 24 * day * HOUR, apart=timedelta(minutes=29))
        found, previous = find(tmp_path, rows, RunKey("2026-11", day), previous)
    assert {(one.state, one.looks) for one in found} == {("suspected", 0)}


@pytest.mark.parametrize(
    ("attempts", "state"),
    [
        (("mismatch", "mismatch", "mismatch"), "confirmed"),
        (("mismatch", "tempfail", "mismatch"), "confirmed"),
        (("mismatch", "pass", "mismatch"), "suspected"),
        (("mismatch", "mismatch", "pass"), "suspected"),
        (("pass", "mismatch", "mismatch"), "confirmed"),
    ],
)
def test_a_look_counts_without_a_good_attempt_between(
    tmp_path: Path, attempts: tuple[str, ...], state: str
) -> None:
    previous = None
    for day in range(4):
        at = NOON + 24 * day * HOUR
        rows = a_run(at)
        rows[SESSIONS] = [
            {**rows[SESSIONS][0], "attempt": n, "connected": at + n * HOUR, "status": status}
            for n, status in enumerate(attempts, 1)
        ]
        found, previous = find(tmp_path, rows, RunKey("2026-11", day), previous)
    assert {one.state for one in found if one.operator_kind == "mx"} == {state}


def test_a_good_look_between_starts_anew(tmp_path: Path) -> None:
    previous = None
    for day in range(5):
        rows = a_run(NOON + 24 * day * HOUR)
        if day == 2:
            rows[DOMAINS] = [domain("a.example", "dane", mx_outcome="secure")]
            rows[MX_HOSTS] = []
        found, previous = find(tmp_path, rows, RunKey("2026-11", day), previous)
    assert {(one.state, one.looks) for one in found} == {("suspected", 2)}


def test_a_changed_record_is_a_rollover_for_two_ttl(tmp_path: Path) -> None:
    previous = None
    states = []
    for day in range(5):
        rows = a_run(NOON + 24 * day * HOUR, digest="d1" if day < 3 else "d2")
        for host in rows[MX_HOSTS]:
            host["rrsig_original_ttl"] = 43_200  # 2 TTL = 24 h
        found, previous = find(tmp_path, rows, RunKey("2026-11", day), previous)
        mx = [one for one in found if one.operator_kind == "mx"]
        states.append({(one.state.value, one.rollover_in_progress) for one in mx})
    assert states == [
        {("suspected", False)},
        {("suspected", False)},
        {("suspected", False)},
        {("suspected", True)},
        {("confirmed", False)},
    ]


class Streak:
    """The rule of confirmation, in plain words: the oracle of the SQL."""

    def __init__(self) -> None:
        self.looks: list[datetime] = []

    def see(self, at: datetime, *, broken: bool, attempts_apart: timedelta) -> bool | None:
        """Whether the breakage is confirmed by this look; None: nothing is broken."""
        if not broken:
            self.looks = []
            return None
        if self.looks and at - self.looks[-1] > 60 * HOUR:
            self.looks = []  # not in a row
        counts = attempts_apart >= HOUR / 2
        if counts and (not self.looks or at - self.looks[-1] >= 12 * HOUR):
            self.looks.append(at)
        return counts and len(self.looks) >= 4 and self.looks[-1] - self.looks[0] >= 70 * HOUR


@pytest.mark.parametrize("seed", range(3))
def test_confirmation_agrees_with_the_rule(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    streaks = {f"d{number}.example": Streak() for number in range(300)}
    previous, at, confirmed = None, NOON, 0
    for number in range(9):
        at += timedelta(hours=chance.choice((6, 12, 18, 24, 24, 24, 30)))
        rows, expected = [], {}
        for name, streak in streaks.items():
            seen = at + timedelta(minutes=chance.randrange(300))
            apart = chance.choice((HOUR / 3, HOUR, HOUR, HOUR, HOUR))
            broken = chance.random() < 0.95
            state = streak.see(seen, broken=broken, attempts_apart=apart)
            if state is not None:
                expected[name] = "confirmed" if state else "suspected"
                rows.append(
                    domain(name, "lookup_failed", stage="mx", mx_outcome="servfail", passes=4,
                           dns_operator=["o.example"], first_asked=seen - apart, last_asked=seen)
                )  # fmt: skip
        found, previous = find(tmp_path, {DOMAINS: rows}, RunKey("2026-11", number), previous)
        assert {one.domain: one.state for one in found} == expected
        confirmed += list(expected.values()).count("confirmed")
    assert confirmed, "the chances of this test never confirm anything"


def test_public_list_has_confirmed_ones_and_no_domain(tmp_path: Path) -> None:
    previous = None
    for day in range(4):
        key = RunKey("2026-11", day)
        _, previous = find(tmp_path, a_run(NOON + 24 * day * HOUR), key, previous)
    assert previous is not None
    count(previous, floor=2)
    with open_views("500MB", previous, floor=2) as views:
        split.prepare(views, {})
        rows = breakage.confirmed(views).to_pylist()
    assert ("provider.example", "mx1.provider.example", 2) in [
        (row["operator"], row["host"], row["domains"]) for row in rows
    ]
    assert "domain" not in rows[0]


def test_nothing_measured_nothing_broken(tmp_path: Path) -> None:
    found, files = find(tmp_path, {})
    assert found == []
    with open_views("500MB", files) as views:
        split.prepare(views, {})
        assert breakage.confirmed(views).num_rows == 0
    assert breakage.as_text(found) == "Nothing is broken.\n"
    assert json.loads(breakage.as_json(found)) == []


def hostile(tmp_path: Path) -> list[breakage.Breakage]:
    rows = a_run(NOON, status="tls_failed", error=HOSTILE, leaf_names=[HOSTILE])
    rows[DOMAINS][3]["ede_text"] = HOSTILE
    rows[DOMAINS][0]["domain"] = "-\\061x.example"
    return find(tmp_path, rows)[0]


def test_hostile_text_is_harmless_in_every_form(tmp_path: Path) -> None:
    found = hostile(tmp_path)
    text = breakage.as_text(found)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "Bcc" not in {line.strip()[:3] for line in text.splitlines()}
    rows = list(csv.DictReader(io.StringIO(breakage.as_csv(found))))
    assert len(rows) == len(found)
    assert all(cell[:1] not in {"=", "+", "-", "@"} for row in rows for cell in row.values())
    assert "'-\\061x.example" in {row["domain"] for row in rows}
    assert len(json.loads(breakage.as_json(found))) == len(found)


@given(st.text())
def test_escapes_leave_nothing_active(text: str) -> None:
    assert all(" " <= one <= "~" for one in printable(text))
    assert csv_cell(text)[:1] not in {"=", "+", "-", "@"} or not text
