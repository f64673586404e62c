"""A run's files as DuckDB views: any path, no network, and faults in one line."""

from pathlib import Path

import pytest

from dane.faults import LocalTrouble, UsageFault
from reports.dictionary import DOMAINS, MX_HOSTS, SPLIT
from reports.views import open_views, read
from tests.published_rows import domain, write


@pytest.mark.parametrize("name", ["plain", "it's", "a*b", "a[b]c", "a?", "ü\u202e"])
def test_any_directory(tmp_path: Path, name: str) -> None:
    files = write(tmp_path / name, {DOMAINS: [domain("a.example", "dane")]})
    with open_views("500MB", files) as views:
        assert read(views, "SELECT domain FROM domains").to_pylist() == [{"domain": "a.example"}]


def test_both_parts_of_a_table(tmp_path: Path) -> None:
    rows = {MX_HOSTS: [{"host": "mx.example"}], SPLIT[MX_HOSTS]: [{"host": "a.example"}]}
    with open_views("500MB", write(tmp_path, rows)) as views:
        hosts = read(views, "SELECT host FROM mx_hosts ORDER BY host").to_pylist()
    assert [row["host"] for row in hosts] == ["a.example", "mx.example"]


def test_a_run_that_is_not_there_has_no_rows(tmp_path: Path) -> None:
    with open_views("500MB", write(tmp_path, {})) as views:
        for name in ("domains", "previous_month_domains", "previous_run_episodes", "past_episodes"):
            assert read(views, f"SELECT * FROM {name}").num_rows == 0


def test_nothing_is_fetched(tmp_path: Path) -> None:
    with open_views("500MB", write(tmp_path, {})) as views:
        settings = read(views, "SELECT name, value FROM duckdb_settings()").to_pylist()
    values = {row["name"]: row["value"] for row in settings}
    assert values["autoinstall_known_extensions"] == "false"
    assert values["autoload_known_extensions"] == "false"


def test_a_memory_limit_that_is_none(tmp_path: Path) -> None:
    with (
        pytest.raises(UsageFault, match="memory_limit"),
        open_views("much", write(tmp_path, {})),
    ):
        pass


def test_too_little_memory_is_local_trouble(tmp_path: Path) -> None:
    with (
        pytest.raises(LocalTrouble, match="statistics: Out of Memory"),
        open_views("2MB", write(tmp_path, {})) as views,
    ):
        read(views, "SELECT list(range) FROM range(10_000_000)")
