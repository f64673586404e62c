"""Many domains surveyed, made up or a real zone's: the truth of each equals what was found."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from lab import delegations, population, truth
from lab.internet import Lab
from tests.e2e.survey_run import finish, read, start
from tests.postgres_fixture import reachable_directory


def _differences(directory: Path, domains: int, dead: float) -> list[str]:
    """Every cell of `domain_verdict` that is not as the lab's ground truth has it."""
    columns = [name for name in truth.SCHEMA.names if name not in ("domain", "recipe")]
    with Lab(directory, domains=domains, dead=dead) as lab, reachable_directory() as state:
        finish(start(lab, state / "state"))
        rows = read(state / "state")["domain_verdict"]
        expected = pq.read_table(lab.truth_file).to_pylist()
    assert len(expected) == domains
    found = {row["domain"]: row for row in rows}
    return [
        f"{row['domain']} ({row['recipe']}) {column}: expected {row[column]}, found {cell}"
        for row in expected
        for column in columns
        if (cell := found.get(row["domain"], {}).get(column, "no row")) != row[column]
    ]


def test_three_hundred(tmp_path: Path) -> None:
    assert not _differences(tmp_path, 300, 0.0)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_twenty_thousand(tmp_path: Path) -> None:
    assert not _differences(tmp_path, 20_000, 0.01)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_a_real_zone(tmp_path: Path) -> None:
    zone = Path(__file__).parents[3] / "shared/data/zones/gov-2026-06-30.zone.gz"
    if not zone.exists():
        pytest.skip(f"no {zone.name}")
    expected = {
        domain: population.verdict(population.provider_of(domain))["status"]
        for domain, is_signed in delegations.read(zone).signed.items()
        if is_signed
    }
    assert len(expected) == 2036
    with Lab(tmp_path, zone=zone) as lab, reachable_directory() as state:
        finish(start(lab, state / "state"))
        tables = read(state / "state")
    assert {row["domain"] for row in tables["domain_mx"]} == expected.keys()
    assert {row["domain"]: row["status"] for row in tables["domain_verdict"]} == expected
