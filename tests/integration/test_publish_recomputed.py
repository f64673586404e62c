"""Every figure of a month with a month before it, computed again in plain Python from the rows of
PostgreSQL. Nothing of `reports` is used for that."""

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from reports.publish import publish
from storage.database import Connection
from tests.support.random_survey import SETTINGS, draw, store

pytestmark = pytest.mark.asyncio

FLOOR = 10
FEW = "(fewer than 10 domains)"


def folded(counts: Counter[str]) -> dict[str, int]:
    """Small members together, and with them the smallest other if they are too few."""
    small = {key: count for key, count in counts.items() if count < FLOOR}
    large = sorted((count, key) for key, count in counts.items() if count >= FLOOR)
    rest = sum(small.values())
    if 0 < rest < FLOOR and large:
        rest += large.pop(0)[0]
    found = {key: count for count, key in large}
    return found | ({FEW: rest} if rest else {})


def confirmed(rows: dict[str, list[Any]]) -> set[str]:
    """Hosts in class F, or whose lookup fails, that two attempts two hours apart agree about."""
    attempts: dict[str, list[datetime]] = {}
    for row in rows["smtp_probe"]:
        attempts.setdefault(row["host"], []).append(row["connected"])
    asked = {row["host"]: row["last_asked"] - row["first_asked"] for row in rows["mx_host"]}
    passes = {row["host"]: row["passes"] for row in rows["mx_host"]}
    found = set()
    for row in rows["host_verdict"]:
        host = row["host"]
        if row["class"] == "F":
            times = attempts.get(host, [])
            if times and (max(times) - min(times)).total_seconds() >= 1800:
                found.add(host)
        if row["class"] == "L" and passes[host] > 1 and asked[host].total_seconds() >= 1800:
            found.add(host)
    return found


def figures(rows: dict[str, list[Any]], zones: dict[str, str]) -> dict[tuple[str, str, Any], float]:
    sure = confirmed(rows)
    lookups = {row["domain"]: row for row in rows["domain_mx"]}
    operators = {row["host"]: row["operator"] for row in rows["host_verdict"]}
    found: dict[tuple[str, str, Any], float] = {}
    status: Counter[str] = Counter()
    by_zone: dict[str, Counter[str]] = {
        name: Counter() for name in ("domains", "secure_mx_domains", "dane_domains")
    }
    providers: Counter[str] = Counter()
    for row in rows["domain_verdict"]:
        domain = row["domain"]
        pairs = list(zip(row["host"], row["host_preference"], row["host_class"], strict=True))
        lookup = lookups[domain]
        if row["status"] == "broken":
            settled = any(kind == "F" and host in sure for host, _, kind in pairs)
        elif row["status"] == "lookup_failed" and row["stage"] == "mx":
            apart = lookup["last_asked"] - lookup["first_asked"]
            settled = lookup["passes"] > 1 and apart.total_seconds() >= 1800
        elif row["status"] == "lookup_failed":
            settled = any(kind == "L" and host in sure for host, _, kind in pairs)
        else:
            settled = True
        status[row["status"] if settled else "unsettled"] += 1
        by_zone["domains"][zones[domain]] += 1
        by_zone["secure_mx_domains"][zones[domain]] += row["mx_secure"]
        by_zone["dane_domains"][zones[domain]] += row["dane_primary"]
        if row["dane_primary"]:
            best = min(preference for _, preference, kind in pairs if kind != "-")
            of = {operators[h] for h, preference, kind in pairs
                  if preference == best and kind in ("P", "Q")}  # fmt: skip
            if len(row["mx_operator"]) == 1:
                of = set(row["mx_operator"])
            providers.update(of)
    for metric, counts in by_zone.items():
        found[(metric, "all", None)] = sum(counts.values())
        positive = Counter({zone: count for zone, count in counts.items() if count})
        found |= {(metric, "zone", key): count for key, count in folded(positive).items()}
    secure, dane = found[("secure_mx_domains", "all", None)], found[("dane_domains", "all", None)]
    found[("dane_percentage", "all", None)] = (dane * 10000 // secure) / 100
    found |= {("domains", "status", key): count for key, count in status.items()}
    found |= {("dane_domains", "mx_operator", key): n for key, n in folded(providers).items()}
    found[("mx_hosts", "all", None)] = len(rows["host_verdict"])
    classes = Counter(
        "unsettled" if row["class"] in "FL" and row["host"] not in sure else row["class"]
        for row in rows["host_verdict"]
    )
    records = Counter(
        " ".join(record.split()[:3])
        for row in rows["mx_host"]
        for record in row["tlsa"]
        if row["tlsa_digest"]
    )
    found |= {("tlsa_records", "parameters", key): count for key, count in records.items()}
    found[("tlsa_records", "all", None)] = sum(records.values())
    algorithms = Counter(
        str(row["rrsig_algorithm"]) for row in rows["domain_mx"] if row["rrsig_algorithm"]
    )
    found |= {("mx_rrsig_domains", "algorithm", key): n for key, n in algorithms.items()}
    # a host that no broken or failing domain depends on has no breakage to confirm
    assert set(classes) <= {"F", "L", "N", "P", "Q", "unsettled"}
    return found


async def test_figures_of_two_months(
    connection: Connection, database_url: str, tmp_path: Path
) -> None:
    months = []
    for month, seed in ((11, 5), (12, 6)):
        survey = draw(1500, seed)
        run = await store(connection, database_url, survey, datetime(2026, month, 10, tzinfo=UTC))
        rows = {
            name: [
                dict(row)
                for row in await connection.fetch(
                    f"SELECT * FROM {name} WHERE run_id = $1", run.run_id
                )
            ]
            for name in ("domain_mx", "domain_verdict", "mx_host", "host_verdict", "smtp_probe")
        }
        done = await publish(
            connection, run.run_id, SETTINGS, tmp_path, url=database_url, force=True
        )
        path = tmp_path / "dataset/public/statistics" / done.key.partition() / "part-0.parquet"
        said = {
            (row["metric"], row["dimension"], row["key"]): row["value"]
            for row in pq.ParquetFile(path).read().to_pylist()
        }
        expected = figures(rows, survey.zones)
        assert {key: said.get(key) for key in expected} == expected
        months.append((rows, said))
    (before, _), (now, said) = months
    for column, metric in (("mx_secure", "secure_mx_domains"), ("dane_primary", "dane_domains")):
        was, is_now = (
            {row["domain"] for row in rows["domain_verdict"] if row[column]}
            for rows in (before, now)
        )
        assert said[(f"{metric}_gained", "all", None)] == len(is_now - was)
        assert said[(f"{metric}_lost", "all", None)] == len(was - is_now)
        for direction in ("gained", "lost"):
            reasons = [
                value
                for (name, by, _), value in said.items()
                if (name, by) == (f"{metric}_{direction}", "reason")
            ]
            assert sum(reasons) == said[(f"{metric}_{direction}", "all", None)]
