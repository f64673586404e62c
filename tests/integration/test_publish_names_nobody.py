"""What is public names nobody with too few domains, and gives nothing away by subtraction."""

import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import pytest_asyncio

from reports import post
from reports.library import Library
from reports.publish import Published, publish
from reports.settings import PublishSettings
from storage.database import Connection
from tests.support.random_survey import SETTINGS, Survey, draw, store

pytestmark = pytest.mark.asyncio

FLOOR = 10
FEW = "(fewer than 10 domains)"
OPEN = {"nl": "CC0-1.0"}
TOKEN = re.compile(r"[a-z0-9*_-]+(?:\.[a-z0-9*_-]+)*", re.IGNORECASE)


def dependents(survey: Survey) -> Counter[str]:
    """How many domains depend on each name, or on one below it."""
    found: Counter[str] = Counter()
    for row in survey.domains:
        names = {*row["host"], *row["mx_operator"], *row["dns_operator"]}
        found.update({suffix for name in names for suffix in suffixes(name)})
    return found


def suffixes(name: str) -> Iterator[str]:
    labels = name.split(".")
    return (".".join(labels[start:]) for start in range(len(labels)))


def words(directory: Path) -> Iterator[tuple[Path, str]]:
    """Every word of every public file: cells of tables, and text."""
    for path in directory.rglob("*"):
        if path.suffix == ".parquet":
            for cell in cells(pq.ParquetFile(path).read().to_pylist()):
                yield from ((path, word) for word in TOKEN.findall(cell))
        elif path.is_file():
            yield from ((path, word) for word in TOKEN.findall(path.read_text("utf-8")))


def cells(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for one in value.values():
            yield from cells(one)
    elif isinstance(value, list):
        for one in value:
            yield from cells(one)
    elif isinstance(value, str | bytes):
        yield value.decode("latin-1") if isinstance(value, bytes) else value


@pytest_asyncio.fixture
async def months(
    connection: Connection, database_url: str, tmp_path: Path
) -> tuple[Path, list[tuple[Survey, Published]]]:
    """Two months of 3 000 domains, published with the zone `nl` open."""
    done = []
    for month, seed in ((11, 1), (12, 2)):
        survey = draw(3000, seed)
        run = await store(connection, database_url, survey, datetime(2026, month, 10, tzinfo=UTC))
        published = await publish(
            connection, run.run_id, SETTINGS, tmp_path, url=database_url, open_zones=OPEN,
            force=True,
        )  # fmt: skip
        done.append((survey, published))
    return tmp_path, done


async def test_no_domain_is_in_a_public_byte(
    months: tuple[Path, list[tuple[Survey, Published]]],
) -> None:
    directory, done = months
    library = Library.of(PublishSettings(directory=directory), directory)
    made = post.edition(library.dataset, library.run("2026-12", full=True), 20)
    (directory / "dataset/public/post.txt").write_text(post.write(made))
    every = Counter[str]()
    surveyed: dict[str, str] = {}
    for survey, _ in done:
        every |= dependents(survey)
        surveyed |= survey.zones
    secret = {name for name, zone in surveyed.items() if every[name] < FLOOR and zone not in OPEN}
    dashed = {name.replace(".", "-") for name in secret}
    assert len(secret) > 2000
    seen = list(words(directory / "dataset/public"))
    assert any(word.endswith(".nl") for _, word in seen), "an open zone is open"
    leaks = {
        (path.parent.parent.parent.name, word)
        for path, word in seen
        for name in suffixes(word.lower().removeprefix("*."))
        if name in secret or name.partition(".")[0] in dashed
    }
    assert leaks == set()


async def test_nothing_unconfirmed_is_public(
    months: tuple[Path, list[tuple[Survey, Published]]],
) -> None:
    directory, done = months
    dataset = Library.of(PublishSettings(directory=directory), directory).dataset
    for survey, published in done:
        tables = public_tables(dataset.directory, published)
        shown = {row["host"]: row for row in tables["mx_hosts"]}
        sizes = Counter(host for row in survey.domains for host in row["host"])
        suffering = Counter(
            host
            for row in survey.domains
            for host in row["host"]
            if row["status"] in ("broken", "lookup_failed")
        )
        for name, host in survey.hosts.items():
            wrong = host.host_class in ("F", "L")
            settled = not wrong or (host.sessions == 2 and suffering[name] > 0)
            is_open = name.endswith(".nl")
            assert (name in shown) == (settled and (sizes[name] >= FLOOR or is_open)), name
        assert {row["class"] for row in tables["host_counts"]} >= {"P", "N", "F", "unsettled"}
        for row in tables["probes"]:
            assert (
                survey.hosts[row["host"]].sessions == 2
                or row["status"] == "pass"
                or (row["status"] == "unreachable")
            )
        for row in tables["domains"]:
            assert row["zone"] in OPEN
            assert row["licence"] == OPEN[row["zone"]]
        assert {row["status"] for row in tables["domains"]} >= {"dane", "unsettled"}
        restricted = dataset.directory / "restricted/mx_hosts" / published.key.partition()
        rest = pq.ParquetFile(next(restricted.glob("*.parquet"))).read().column("host")
        assert {*shown, *rest.to_pylist()} == survey.hosts.keys()
        assert not shown.keys() & {*rest.to_pylist()}


async def test_every_cell_that_names_somebody_has_enough_domains(
    months: tuple[Path, list[tuple[Survey, Published]]],
) -> None:
    directory, done = months
    for survey, published in done:
        tables = public_tables(directory / "dataset", published)
        cube = tables["domain_counts"]
        assert sum(row["domains"] for row in cube) == len(survey.domains)
        for row in cube:
            if any(is_name(row[name]) for name in ("zone", "mx_operator", "dns_operator")):
                assert row["domains"] >= FLOOR, row
        for row in tables["statistics"]:
            who = row["key"]
            if row["dimension"] == "reason and operator":
                who = who.partition(" ")[2] or None  # after the reason
            if row["dimension"].endswith(("operator", "zone")) and is_name(who):
                assert row["value"] >= FLOOR or row["unit"] == "percent", row
        for row in tables["names"]:
            assert row["domains"] >= FLOOR
        for row in tables["breakages"]:
            assert row["domains"] >= FLOOR or not is_name(row["operator"])
        for row in tables["operators"]:
            assert row["domains"] >= FLOOR
            for name in ("dane_domains", "confirmed_broken_domains"):
                assert not row[name] or row[name] >= FLOOR


async def test_totals_minus_cells_give_nothing_away(
    months: tuple[Path, list[tuple[Survey, Published]]],
) -> None:
    directory, done = months
    for survey, published in done:
        tables = public_tables(directory / "dataset", published)
        splits: dict[tuple[str, str], Counter[str]] = {}
        for row in tables["statistics"]:
            if row["dimension"].endswith(("operator", "zone")) and row["unit"] != "percent":
                splits.setdefault((row["metric"], row["dimension"]), Counter())[row["key"]] += int(
                    row["value"]
                )
        for split, found in splits.items():
            named = [value for key, value in found.items() if is_name(key)]
            rest = sum(found.values()) - sum(named)
            assert not named or rest == 0 or rest >= FLOOR, split
        # a name's own total, which statistics and operators tell, minus its cells in the cube
        for dimension, total in (
            ("zone", Counter(survey.zones[row["domain"]] for row in survey.domains)),
            ("mx_operator", Counter(
                row["mx_operator"][0] for row in survey.domains if len(row["mx_operator"]) == 1)),
            ("dns_operator", Counter(row["dns_operator"][0] for row in survey.domains)),
        ):  # fmt: skip
            shown: Counter[str] = Counter()
            for row in tables["domain_counts"]:
                shown[row[dimension]] += row["domains"]
            for name, count in total.items():
                if name in shown:
                    rest = count - shown[name]
                    assert rest == 0 or rest >= FLOOR, (dimension, name, rest)


async def test_the_month_before_gives_nothing_away(
    months: tuple[Path, list[tuple[Survey, Published]]],
) -> None:
    directory, done = months
    before, now = (public_tables(directory / "dataset", published) for _, published in done)
    said = {row["operator"]: row for row in before["operators"]}
    for row in now["operators"]:
        earlier = said.get(row["operator"], {"rank": None, "dane_domains": None})
        assert row["rank_before"] == earlier["rank"]
        assert row["dane_domains_before"] == earlier["dane_domains"]


def is_name(key: str | None) -> bool:
    return key is not None and not key.startswith("(")


def public_tables(dataset: Path, published: Published) -> dict[str, list[dict[str, Any]]]:
    tables: dict[str, list[dict[str, Any]]] = {}
    for path in (dataset / "public").glob(f"*/{published.key.partition()}/*.parquet"):
        rows: pa.Table = pq.ParquetFile(path).read()
        tables.setdefault(path.parents[2].name, []).extend(rows.to_pylist())
    return tables
