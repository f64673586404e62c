"""One run's files in the data set: exported, derived, counted, moved into place.

PostgreSQL's rows become Parquet files of the declared schema, in the order of their keys;
breakages and statistics are then SQL over those files. All of it is staged, moved into
place, and listed in the manifest last, so that a reader sees the old run or the new one.
Everything here blocks.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from functools import partial
from importlib.resources import files as package_files
from math import ceil
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from dane.faults import Refused
from dane.names import BUCKETS
from reports import (
    about,
    breakage,
    certificates,
    confirmation,
    derived,
    location,
    manifest,
    series,
    split,
    statistics,
)
from reports.columns import PublishedTable
from reports.dataset import PART_ROWS, Dataset, Files, RunKey, month_of, months_before, write_table
from reports.derived_tables import CHANGES, DOMAIN_CHANGES, NAMES_TABLE, SERIES, STATISTICS
from reports.dictionary import (
    BREAKAGES,
    CERTIFICATES,
    CONFIRMATIONS,
    CONFIRMED_BREAKAGES,
    CONFIRMED_EPISODES,
    DOMAINS,
    EPISODES,
    ROLLOVERS,
    SPLIT,
    TABLES,
    UNSIGNED_SAMPLE,
    ZONES,
)
from reports.settings import PublishSettings
from reports.views import open_views, read
from storage.export import export, query_columns
from storage.run import Run, RunKind

_SEEN = pa.schema([CERTIFICATES.schema.field(name) for name in ("sha256", "der", "first_run")])
"""What PostgreSQL knows of a certificate."""
_UNSURVEYED = pa.schema([DOMAINS.schema.field(name) for name in ("bucket", "domain")])
_RECENT = timedelta(days=62)
"""How far back looks are compared: a month of rollovers, and what came before the first."""
_PAST = timedelta(days=366)
"""How far back episodes are counted."""


@dataclass(frozen=True, slots=True)
class Published:
    """A run in the data set: where, and how many rows each table got ("access/table")."""

    key: RunKey
    directory: Path
    rows: Mapping[str, int]


def write(
    dataset: Dataset,
    run: Run,
    settings: PublishSettings,
    open_zones: Mapping[str, str],
    url: str,
    expected: Mapping[PublishedTable, int],
) -> Published:
    """Put a run into the data set; blocks. `open_zones`: the licence of each zone whose names
    may be passed on. `expected`: how many rows some tables must have.

    Raises Refused if they have not, LocalTrouble for database, disk or memory; the data set
    is then as it was.
    """
    key = RunKey(month_of(run.started, run.kind), run.run_id)
    published = [one for one in manifest.runs(dataset) if one.key.run_id != run.run_id]
    with dataset.publication(key) as staged:
        whole, unsurveyed = _export(staged, run.run_id, url, expected[DOMAINS])
        sources, named = _derive(
            staged, whole, unsurveyed, dataset, run, settings, open_zones, published
        )
        rows = {table.path: staged.rows(table) for table in TABLES}
        for table, count in expected.items():
            parts = (table, SPLIT[table]) if table in SPLIT else (table,)
            exported = sum(rows[one.path] for one in parts)
            if exported != count:
                raise Refused(
                    f"run {run.run_id}: {exported} rows of {table.name} were exported, "
                    f"{count} are in the database; is the run still going on?"
                )
        entry = manifest.run_entry(
            key,
            kind=run.kind,
            started=run.started,
            vantage=settings.vantage,
            record=run.record,
            sources=sources,
            rows=rows,
            publish=_as_settings(settings),
            named=named,
        )
        manifest.take(dataset, staged, entry)
        about.write(dataset, settings)
    return Published(key, dataset.directory, rows)


def _export(staged: Files, run_id: int, url: str, domains: int) -> tuple[Files, Path]:
    """The tables that are queries on PostgreSQL. The result has those in two parts whole, and a
    file of the delegations that the run did not look up."""
    for number, buckets in enumerate(bucket_ranges(domains)):
        part = staged.directory(DOMAINS) / f"part-{number}.parquet"
        arguments = (run_id, buckets.start, buckets.stop)
        export(url, _selection(DOMAINS), arguments, part, DOMAINS.schema, DOMAINS.key)
    part = staged.directory(UNSIGNED_SAMPLE) / "part-0.parquet"
    key = UNSIGNED_SAMPLE.key
    export(url, _selection(UNSIGNED_SAMPLE), (run_id,), part, UNSIGNED_SAMPLE.schema, key)
    whole: dict[PublishedTable, list[Path]] = {}
    for public, restricted in SPLIT.items():
        whole[public] = []
        whole[restricted] = [_export_aside(staged, restricted, restricted.schema, run_id, url)]
    seen = _export_aside(staged, CERTIFICATES, _SEEN, run_id, url)
    batches = pq.ParquetFile(seen).iter_batches(4096)
    write_table(staged, CERTIFICATES, map(certificates.describe, batches))
    seen.unlink()
    return staged.with_parts(whole), _export_unsurveyed(staged, run_id, url)


def _export_unsurveyed(staged: Files, run_id: int, url: str) -> Path:
    path = staged.root / "whole" / "unsurveyed" / "part-0.parquet"
    export(url, statement("unsurveyed"), (run_id,), path, _UNSURVEYED)
    return path


def _export_aside(
    staged: Files, table: PublishedTable, schema: pa.Schema, run_id: int, url: str
) -> Path:
    """Rows that are not published as they are, in a file of their own."""
    path = staged.root / "whole" / table.name / "part-0.parquet"
    export(url, _selection(table, schema), (run_id,), path, schema)
    return path


def _selection(table: PublishedTable, schema: pa.Schema | None = None) -> str:
    """The table's query with the declared columns, by name, in the order of its key."""
    wanted = ", ".join(f'"{name}"' for name in query_columns(schema or table.schema))
    return (
        f"SELECT {wanted} FROM ({statement(table.name)}) AS found ORDER BY {', '.join(table.key)}"
    )


def _derive(
    staged: Files,
    whole: Files,
    unsurveyed: Path,
    dataset: Dataset,
    run: Run,
    settings: PublishSettings,
    open_zones: Mapping[str, str],
    published: Sequence[manifest.RunEntry],
) -> tuple[list[dict[str, Any]], frozenset[str]]:
    """The tables that are SQL over the others; for the manifest, the zones of the run and the
    operators that may be named.

    First what is confirmed, for that decides what may be public; then what may be named, both
    parts of the tables, the counts, and the statistics over these.
    """
    last_month = months_before(staged.key.month, 1)
    before = manifest.last_before(run.started, published)
    month_before = manifest.last_before(
        run.started, [one for one in published if one.key.month == last_month], RunKind.FULL
    )
    last_full = manifest.last_before(run.started, published, RunKind.FULL)
    recent = [one for one in published if run.started - _RECENT <= one.started < run.started]
    past = [one for one in published if run.started - _PAST <= one.started < run.started]
    opened = partial(
        open_views,
        settings.memory_limit,
        scratch=staged.root,
        previous_run=dataset.files(before.key) if before else None,
        previous_month=dataset.files(month_before.key) if month_before else None,
        recent_runs=[dataset.files(one.key) for one in recent],
        past_runs=[dataset.files(one.key) for one in past],
        floor=settings.public_floor,
    )
    with opened(whole) as views:
        following = confirmation.follow(
            views,
            settings.confirmation,
            run.started,
            sees_all=run.kind is not RunKind.SUSPECTS,
        )
        write_table(staged, BREAKAGES, following.breakages())
        write_table(staged, CONFIRMATIONS, [following.confirmations()])
        write_table(staged, EPISODES, [following.episodes()])
        write_table(staged, ROLLOVERS, [following.rollovers()])
        if run.kind is RunKind.FULL or last_full is None:
            write_table(staged, NAMES_TABLE, [derived.names(views)])
    names = None if staged.parts(NAMES_TABLE) or not last_full else dataset.files(last_full.key)
    opened = partial(opened, names=names)
    followed = (BREAKAGES, CONFIRMATIONS, EPISODES, ROLLOVERS, NAMES_TABLE)
    whole = whole.with_parts({table: staged.parts(table) for table in followed})
    with opened(whole) as views:
        split.prepare(views, open_zones)
        for table, rows in split.parts(views):
            write_table(staged, table, rows)
        sources = _sources(staged, split.named_zones(views), open_zones)
        named = split.named_operators(views)
        write_table(staged, CONFIRMED_BREAKAGES, [breakage.confirmed(views)])
        write_table(staged, CONFIRMED_EPISODES, [breakage.confirmed_episodes(views)])
        for table, counted in derived.counts(views):
            write_table(staged, table, [counted])
        # what the month before had is compared with a full run only
        slices = bucket_ranges(staged.rows(DOMAINS)) if run.kind is RunKind.FULL else ()
        rows = derived.domain_changes(views, pq.ParquetFile(unsurveyed).read(), slices)
        write_table(staged, DOMAIN_CHANGES, rows)
    with opened(staged) as views:
        write_table(staged, CHANGES, [derived.public_changes(views)])
    with opened(staged) as views:  # now with the counts, as every reader has them
        if settings.geoip or settings.asn:
            views.register("location", _located(views, settings))
        write_table(staged, STATISTICS, [statistics.compute(views, run.kind)])
    write_table(staged, SERIES, series.of_year(staged, dataset, run))
    return sources, named


def _located(views: duckdb.DuckDBPyConnection, settings: PublishSettings) -> pa.Table:
    rows = read(views, "SELECT DISTINCT address FROM addresses ORDER BY address")
    addresses = [str(address) for address in rows.column("address").to_pylist()]
    return location.locate(addresses, settings.geoip, settings.asn)


def _as_settings(settings: PublishSettings) -> dict[str, Any]:
    """As JSON has it."""
    said: dict[str, Any] = json.loads(json.dumps(asdict(settings), default=str))
    return said


def bucket_ranges(domains: int) -> Iterator[range]:
    """The buckets of each part of the table `domains`: equal ranges, so that a part has
    about PART_ROWS rows at most."""
    parts = max(1, ceil(domains / PART_ROWS))
    for part in range(parts):
        yield range(BUCKETS * part // parts, BUCKETS * (part + 1) // parts)


def _sources(
    staged: Files, named: frozenset[str], open_zones: Mapping[str, str]
) -> list[dict[str, Any]]:
    """The zones of the run with their serials, for the manifest; whether the public one may
    have them, and under which licence their names are public, if they are."""
    columns = ["zone", "kind", "serial", "sha256", "taken", "delegations", "signed"]
    rows = [
        row
        for table in (ZONES, SPLIT[ZONES])
        for row in staged.read(table).select(columns).to_pylist()
    ]
    return [
        {
            **row,
            "taken": row["taken"].isoformat(),
            "public": row["zone"] in named,
            "licence": open_zones.get(row["zone"]),
        }
        for row in sorted(rows, key=lambda row: row["zone"])
    ]


def statement(name: str) -> str:
    """The SQL of a file in `reports/tables/`."""
    return (package_files("reports") / "tables" / f"{name}.sql").read_text("utf-8")
