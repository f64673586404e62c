"""`report history`, and the queries of docs/dataset.md, over some days of a made-up data set."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import duckdb
import pytest

from dane.faults import Refused, UsageFault
from reports import timeline
from reports.columns import PublishedTable
from reports.dataset import Dataset, Files, RunKey
from reports.derived_tables import STATISTICS
from reports.dictionary import BREAKAGES, CONFIRMATIONS, DOMAINS, EPISODES, MX_HOSTS
from tests.daily_looks import DAY, Days, rows_of
from tests.published_rows import NOON, publish

_PAGE = Path(__file__).parents[2] / "docs/dataset.md"
_PATTERN = "pmmmmp"
HOST, DOMAIN = "mx.h.example", "h.example"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six daily runs: good, broken for four days, repaired."""
    root = tmp_path_factory.mktemp("timeline")
    days = Days(root / "days")
    days.history(_PATTERN)
    for day, letter in enumerate(_PATTERN):
        rows: dict[PublishedTable, Sequence[object]] = dict(
            rows_of(NOON + day * DAY, {HOST: letter}, {}, DAY / 24)
        )
        rows |= {
            table: _read(days.runs[day], table) for table in (BREAKAGES, CONFIRMATIONS, EPISODES)
        }
        rows[DOMAINS] = [{**row, "bucket": _bucket(DOMAIN)} for row in rows[DOMAINS]]
        rows[MX_HOSTS] = [{**row, "bucket": _bucket(HOST), "domains": 1} for row in rows[MX_HOSTS]]
        rows[STATISTICS] = [
            {"metric": "repair_time", "dimension": "d", "key": "mx 50 shortest", "value": None}
        ]
        key = RunKey("2026-11", day + 1)
        publish(root, rows, key, kind="dane", started=NOON + day * DAY)
    return root


def _read(files: Files, table: PublishedTable) -> Sequence[object]:
    return files.read(table).to_pylist()


def _bucket(name: str) -> int:
    from dane.names import bucket

    return bucket(name)


def test_a_domain(directory: Path) -> None:
    found = timeline.timeline(Dataset(directory / "dataset"), "H.example.")
    assert [(span.looks, span.said["status"]) for span in found.domain] == [
        (1, "dane"),
        (4, "broken"),
        (1, "dane"),
    ]
    (episode,) = found.episodes
    assert (episode["host"], episode["ended_by"], episode["looks"]) == (HOST, "repaired", 4)
    text = timeline.as_text(found)
    assert "2026-11-02 to 2026-11-05 (4 looks)  broken: mx.h.example mismatch" in text
    assert "began after 2026-11-01 12:00 UTC, by 2026-11-02 12:00 UTC" in text
    assert "ended after 2026-11-05 12:00 UTC, by 2026-11-06 12:00 UTC: repaired" in text


def test_a_host_as_json(directory: Path) -> None:
    found = json.loads(timeline.as_json(timeline.timeline(Dataset(directory / "dataset"), HOST)))
    assert [span["said"]["status"] for span in found["host"]] == ["pass", "mismatch", "pass"]
    assert found["domain"] == []
    assert found["episodes"][0]["confirmed"] == "2026-11-05T12:00:00+00:00"


def test_an_operator(directory: Path) -> None:
    found = timeline.timeline(Dataset(directory / "dataset"), "h.example")
    assert [span.said["broken_hosts"] for span in found.operator] == [0, 1, 0]


def test_nothing_of_a_name(directory: Path) -> None:
    with pytest.raises(Refused, match=r"has nothing of other\.example"):
        timeline.timeline(Dataset(directory / "dataset"), "other.example")
    with pytest.raises(UsageFault, match="empty label"):
        timeline.timeline(Dataset(directory / "dataset"), "a..b")
    with pytest.raises(Refused):
        timeline.timeline(Dataset(directory / "nothing"), "h.example")


def test_the_queries_of_the_page(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    section = _PAGE.read_text("utf-8").partition("## Reading history")[2].partition("\n## ")[0]
    queries = re.findall(r"```sql\n(.*?)```", section, re.DOTALL)
    assert len(queries) == 5
    monkeypatch.chdir(directory)
    for query in queries:
        duckdb.sql(query.replace("provider.example", "h.example")).to_arrow_table()
    found = duckdb.sql(queries[0].replace("provider.example", "h.example")).to_arrow_table()
    assert [(row["host"], row["ended_by"]) for row in found.to_pylist()] == [(HOST, "repaired")]
