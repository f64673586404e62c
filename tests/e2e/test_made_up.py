"""Made-up domains surveyed: the ground truth of each equals what the survey found."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from lab import truth
from lab.internet import Lab
from tests.e2e.survey_run import finish, read, start
from tests.postgres_fixture import reachable_directory


def _surveyed(directory: Path, domains: int, dead: float) -> dict[str, Mapping[str, Any]]:
    """Domain to (truth, found) rows that differ."""
    columns = [name for name in truth.SCHEMA.names if name not in ("domain", "recipe")]
    with Lab(directory, domains=domains, dead=dead) as lab, reachable_directory() as state:
        finish(start(lab, state / "state"))
        found = {row["domain"]: row for row in read(state / "state")["domain_verdict"]}
        expected = pq.read_table(lab.truth_file).to_pylist()
    assert len(expected) == domains
    return {
        row["domain"]: {"expected": row, "found": found.get(row["domain"])}
        for row in expected
        if row["domain"] not in found
        or any(found[row["domain"]][column] != row[column] for column in columns)
    }


def test_three_hundred(tmp_path: Path) -> None:
    assert not _surveyed(tmp_path, 300, 0.0)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_twenty_thousand(tmp_path: Path) -> None:
    assert not _surveyed(tmp_path, 20_000, 0.01)
