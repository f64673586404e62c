"""One run's files in the data set: exported, derived, counted, moved into place.

PostgreSQL's rows become Parquet files of the declared schema, in the order of their keys;
breakages and statistics are then SQL over those files. All of it is staged, moved into
place, and listed in the manifest last, so that a reader sees the old run or the new one.
Everything here blocks.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from importlib.resources import files as package_files
from math import ceil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dane.faults import Refused
from dane.names import BUCKETS
from reports import breakage, certificates, confirmation, manifest, statistics
from reports.columns import PublishedTable
from reports.dataset import PART_ROWS, Dataset, Files, RunKey, month_of, months_before, write_table
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
    STATISTICS,
    TABLES,
    ZONES,
)
from reports.settings import PublishSettings
from reports.views import open_views
from storage.export import ROW_GROUP, export
from storage.run import Run, RunKind

_SEEN = pa.schema([CERTIFICATES.schema.field(name) for name in ("sha256", "der", "first_run")])
"""What PostgreSQL knows of a certificate."""
_RECENT = timedelta(days=62)
"""How far back looks are compared: a month of rollovers, and what came before the first."""
_PAST = timedelta(days=366)
"""How far back episodes are counted."""
_IS_DOMAIN = pa.field("is_domain", pa.bool_(), nullable=False)
"""Beside the rows of a table in two parts: they name a surveyed domain."""


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
    url: str,
    expected: Mapping[PublishedTable, int],
) -> Published:
    """Put a run into the data set; blocks. `expected` is how many rows some tables must have.

    Raises Refused if they have not, LocalTrouble for database, disk or memory; the data set
    is then as it was.
    """
    key = RunKey(month_of(run.started), run.run_id)
    published = manifest.runs(dataset)
    with dataset.publication(key) as staged:
        _export(staged, run.run_id, url, expected[DOMAINS])
        _derive(staged, dataset, run, settings, published)
        rows = {table.path: staged.rows(table) for table in TABLES}
        for table, count in expected.items():
            exported = sum(rows[one.path] for one in TABLES if one.name == table.name)
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
            sources=_sources(staged),
            rows=rows,
        )
        manifest.take(dataset, staged, entry)
    return Published(key, dataset.directory, rows)


def _export(staged: Files, run_id: int, url: str, domains: int) -> None:
    """The tables that are queries on PostgreSQL."""
    for number, buckets in enumerate(bucket_ranges(domains)):
        part = staged.directory(DOMAINS) / f"part-{number}.parquet"
        arguments = (run_id, buckets.start, buckets.stop)
        export(url, _selection(DOMAINS), arguments, part, DOMAINS.schema)
    part = staged.directory(ZONES) / "part-0.parquet"
    export(url, _selection(ZONES), (run_id,), part, ZONES.schema)
    for public, restricted in SPLIT.items():
        both = _export_aside(staged, public, public.schema.append(_IS_DOMAIN), run_id, url)
        for table, is_domain in ((public, False), (restricted, True)):
            batches = pq.ParquetFile(both).iter_batches(ROW_GROUP)
            write_table(staged, table, map(partial(_chosen, is_domain), batches))
        both.unlink()
    seen = _export_aside(staged, CERTIFICATES, _SEEN, run_id, url)
    batches = pq.ParquetFile(seen).iter_batches(4096)
    write_table(staged, CERTIFICATES, map(certificates.describe, batches))
    seen.unlink()


def _chosen(is_domain: bool, rows: pa.RecordBatch) -> pa.RecordBatch:
    return rows.filter(pc.equal(rows.column(_IS_DOMAIN.name), pa.scalar(is_domain)))


def _export_aside(
    staged: Files, table: PublishedTable, schema: pa.Schema, run_id: int, url: str
) -> Path:
    """Rows that are not published as they are, in a file of their own."""
    path = staged.root / f"{table.name}.parquet"
    export(url, _selection(table, schema.names), (run_id,), path, schema)
    return path


def _selection(table: PublishedTable, columns: Sequence[str] = ()) -> str:
    """The table's query with the declared columns, by name, in the order of its key."""
    wanted = ", ".join(f'"{name}"' for name in columns or table.schema.names)
    return (
        f"SELECT {wanted} FROM ({statement(table.name)}) AS found ORDER BY {', '.join(table.key)}"
    )


def _derive(
    staged: Files,
    dataset: Dataset,
    run: Run,
    settings: PublishSettings,
    published: Sequence[manifest.RunEntry],
) -> None:
    """The tables that are SQL over the others: breakages, then statistics."""
    last_month = months_before(staged.key.month, 1)
    before = manifest.last_before(run.started, published)
    month_before = manifest.last_before(
        run.started, [one for one in published if one.key.month == last_month], RunKind.FULL
    )
    recent = [one for one in published if run.started - _RECENT <= one.started < run.started]
    past = [one for one in published if run.started - _PAST <= one.started < run.started]
    opened = partial(
        open_views,
        settings.memory_limit,
        staged,
        scratch=staged.root,
        previous_run=dataset.files(before.key) if before else None,
        previous_month=dataset.files(month_before.key) if month_before else None,
        recent_runs=[dataset.files(one.key) for one in recent],
        past_runs=[dataset.files(one.key) for one in past],
    )
    with opened() as views:
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
    with opened() as views:  # now with these tables
        write_table(staged, CONFIRMED_BREAKAGES, [breakage.confirmed(views)])
        write_table(staged, CONFIRMED_EPISODES, [breakage.confirmed_episodes(views)])
        write_table(staged, STATISTICS, [statistics.compute(views)])


def bucket_ranges(domains: int) -> Iterator[range]:
    """The buckets of each part of the table `domains`: equal ranges, so that a part has
    about PART_ROWS rows at most."""
    parts = max(1, ceil(domains / PART_ROWS))
    for part in range(parts):
        yield range(BUCKETS * part // parts, BUCKETS * (part + 1) // parts)


def _sources(staged: Files) -> list[dict[str, Any]]:
    """The zones of the run with their serials, for the manifest."""
    columns = ["zone", "kind", "serial", "sha256", "taken", "delegations", "signed"]
    rows = staged.read(ZONES).select(columns).to_pylist()
    return [{**row, "taken": row["taken"].isoformat()} for row in rows]


def statement(name: str) -> str:
    """The SQL of a file in `reports/tables/`."""
    return (package_files("reports") / "tables" / f"{name}.sql").read_text("utf-8")
