"""The data set for those who have nothing of ours: it validates, it says what it is, and its
example queries run in DuckDB, Polars and pandas."""

import json
import re
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pandas
import polars
import pytest
import pytest_asyncio
from frictionless import validate

from reports import letter, post
from reports.dataset import NAME, Dataset
from reports.library import Library
from reports.publish import publish
from reports.settings import PublishSettings
from storage.database import Connection
from tests.support.random_survey import SETTINGS, draw, store

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def dataset(connection: Connection, database_url: str, tmp_path: Path) -> Path:
    """Two months, published; the directory of the data set."""
    for month, seed in ((11, 1), (12, 2)):
        run = await store(
            connection, database_url, draw(600, seed), datetime(2026, month, 10, tzinfo=UTC)
        )
        await publish(connection, run.run_id, SETTINGS, tmp_path, url=database_url, force=True)
    return tmp_path / "dataset"


async def test_frictionless_validates_it(dataset: Path) -> None:
    for manifest in (dataset / NAME, dataset / "public" / NAME):
        report = validate(str(manifest))
        wrong = [
            (task.name, error.type, error.message[:200])
            for task in report.tasks
            for error in task.errors
        ]
        assert report.valid, ([*dict.fromkeys(wrong)][:20], report.errors)


async def test_example_queries_run(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    public = dataset / "public"
    monkeypatch.chdir(public)
    text = (public / "README.md").read_text("utf-8")
    queries = re.findall(r"```sql\n(.*?)```", text, re.DOTALL)
    rows = [duckdb.sql(query).fetchall() for query in queries]
    headline = {
        row["month"]: row["value"]
        for row in polars.read_parquet("series/**/*.parquet").to_dicts()
        if (row["metric"], row["dimension"]) == ("dane_domains", "all")
    }
    assert {row[0]: row[1] for row in rows[0]} == headline
    assert [row[2] for row in rows[1]] == list(headline.values())
    results: list[Any] = []
    for program in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        names: dict[str, Any] = {}
        exec(program, names)  # the README's own examples
        results.append(names["result"])
    operators, hosts = results
    assert isinstance(operators, polars.DataFrame)
    assert operators["dane_domains"][0] == operators["dane_domains"].max()
    assert isinstance(hosts, pandas.Series)
    assert hosts.sum() > 0


async def test_it_says_what_it_is(dataset: Path) -> None:
    manifest = json.loads((dataset / "public" / NAME).read_bytes())
    assert manifest["licenses"] == [{"name": "CC-BY-4.0"}]
    for run in manifest["runs"]:
        assert run["settings"]["publish"]["public_floor"] == 10
        assert run["settings"]["publish"]["confirmation"]["looks"] == 1
        assert run["operator_merges"] == []
        assert run["software"]["publicsuffixlist"]
    for name in ("README.md", "CITATION.cff", "LICENSE"):
        assert "CC-BY-4.0" in (dataset / "public" / name).read_text("utf-8")


async def test_the_post_is_made_again_from_public_data_alone(dataset: Path, tmp_path: Path) -> None:
    shutil.copytree(dataset / "public", tmp_path / "copy" / "dataset")
    texts = []
    for directory in (dataset, tmp_path / "copy" / "dataset"):
        library = Library(Dataset(directory), PublishSettings())
        run = library.run("2026-12", full=True)
        text = post.write(post.edition(library.dataset, run, 20))
        mail = letter.as_mail(text, run.key.month, run.key.run_id, run.started, "a@b.example")
        texts.append((text, mail, letter.as_html(text)))
    assert texts[0] == texts[1]
    text, mail, page = texts[0]
    assert max(map(len, text.splitlines())) <= post.WIDTH
    assert "Since last month" in text
    assert not re.search(r"\b1 domains", text)
    assert max(map(len, mail.split(b"\r\n"))) <= 998
    assert b"Subject: DANE survey: 2026-12" in mail
    assert page.startswith("<!DOCTYPE html>")
