"""The publish stage: one run out of PostgreSQL into the data set, or the reason why not.

PostgreSQL's rows become Parquet files of the declared schema, in the order of their keys;
breakages and statistics are then SQL over those files. All of it is staged, moved into
place, and listed in the manifest last, so that a reader sees the old run or the new one.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from importlib.resources import files as package_files
from math import ceil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dane.faults import LocalTrouble, Refused
from dane.names import BUCKETS
from reports import breakage, certificates, manifest, statistics
from reports.dataset import PART_ROWS, Dataset, Files, RunKey, month_of, months_before, write_table
from reports.dictionary import (
    BREAKAGES,
    CERTIFICATES,
    CONFIRMED_BREAKAGES,
    DOMAINS,
    MX_HOSTS,
    PROBES,
    SPLIT,
    STATISTICS,
    TABLES,
    ZONES,
    PublishedTable,
)
from reports.settings import PublishSettings
from reports.views import open_views
from storage import run as runs
from storage.database import Connection
from storage.export import ROW_GROUP, export
from storage.run import Run, RunKind

_COUNTED = {DOMAINS: "domain_verdict", MX_HOSTS: "host_verdict", PROBES: "smtp_probe"}
"""Published tables that have the rows of a run table, no more and no fewer."""
_SEEN = pa.schema([CERTIFICATES.schema.field(name) for name in ("sha256", "der", "first_run")])
"""What PostgreSQL knows of a certificate."""
_IS_DOMAIN = pa.field("is_domain", pa.bool_(), nullable=False)
"""Beside the rows of a table in two parts: they name a surveyed domain."""


@dataclass(frozen=True, slots=True)
class Published:
    """A run in the data set: where, and how many rows each table got ("access/table")."""

    key: RunKey
    directory: Path
    rows: Mapping[str, int]


async def publish(
    connection: Connection,
    run_id: int,
    settings: PublishSettings,
    directory: Path,
    *,
    url: str,
    force: bool = False,
) -> Published:
    """Publish a run whose verdicts are complete into `directory`/dataset.

    Publishing a run again gives the same bytes. `url` is the connection's database, which
    is told when the files are there and have as many rows as it has.

    Raises Refused, with every reason, for a run that should not be published; `force`
    overrules all reasons but missing verdicts. Raises LocalTrouble for a database, disk or
    memory that does not suffice; the data set is then as it was.
    """
    run = await runs.get(connection, run_id)
    if run.dropped:
        raise Refused(f"run {run_id}: its rows were dropped on {run.dropped:%Y-%m-%d}")
    dataset = Dataset(directory / "dataset")
    if unassessed := await _unassessed(connection, run):
        raise Refused(f"run {run_id} is not assessed: {unassessed} domains have no verdict")
    reasons = await objections(connection, run, settings, manifest.runs(dataset))
    if reasons and not force:
        raise Refused(f"run {run_id} is not published: {'; '.join(reasons)}")
    expected = {
        table: await connection.fetchval(f"SELECT count(*) FROM {source} WHERE run_id = $1", run_id)
        for table, source in _COUNTED.items()
    }
    published = await asyncio.to_thread(_write, dataset, run, settings, url, expected)
    await runs.publish(connection, run_id)
    return published


async def objections(
    connection: Connection,
    run: Run,
    settings: PublishSettings,
    published: Sequence[manifest.RunEntry],
) -> list[str]:
    """Why this run should not be published (docs/measurement.md, section 9); empty: publish."""
    reasons = []
    for stage, targets, ours in await connection.fetch(_statement("local_share"), run.run_id):
        if ours > settings.max_local_share * targets:
            share = 100 * ours / targets
            reasons.append(f"{share:.2f} % of the outcomes of stage {stage} are our own faults")
    if run.record.get("canaries", {}).get("failed"):
        reasons.append("canaries failed: the resolver or the network was not to be believed")
    last = _last(published, before=run, kinds=(run.kind,))
    if last and run.kind is not RunKind.SUSPECTS:
        looked_up = await connection.fetchval(
            "SELECT count(*) FROM domain_mx WHERE run_id = $1", run.run_id
        )
        expected = last.rows[_name(DOMAINS)]
        if looked_up < settings.min_coverage * expected:
            reasons.append(
                f"it covers {looked_up} domains, run {last.key.run_id} covered {expected}"
            )
    return reasons


async def _unassessed(connection: Connection, run: Run) -> int:
    found = await connection.fetchrow(
        "SELECT (SELECT count(*) FROM domain_mx WHERE run_id = $1)"
        " - (SELECT count(*) FROM domain_verdict WHERE run_id = $1) AS missing",
        run.run_id,
    )
    return int(found["missing"]) if found else 0


def _write(
    dataset: Dataset,
    run: Run,
    settings: PublishSettings,
    url: str,
    expected: Mapping[PublishedTable, int],
) -> Published:
    """Blocking: everything but the database's own record that it was published."""
    key = RunKey(month_of(run.started), run.run_id)
    published = manifest.runs(dataset)
    staged = dataset.stage(key)
    try:
        _export(staged, run.run_id, url, expected[DOMAINS])
        write_table(staged, ZONES, [_zones(run)])
        _derive(staged, dataset, run, settings, published)
        files = {table: manifest.file_entries(staged, table) for table in TABLES}
        rows = {_name(table): sum(one["rows"] for one in files[table]) for table in TABLES}
        for table, count in expected.items():
            exported = sum(rows[_name(one)] for one in TABLES if one.name == table.name)
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
        dataset.commit(staged)
        manifest.add(dataset, entry, files)
    except OSError as error:
        raise LocalTrouble(f"cannot write {dataset.directory}: {error.strerror}") from error
    finally:
        dataset.discard(staged)
    return Published(key, dataset.directory, rows)


def _export(staged: Files, run_id: int, url: str, domains: int) -> None:
    """The tables that are queries on PostgreSQL."""
    for number, buckets in enumerate(bucket_ranges(domains)):
        part = staged.directory(DOMAINS) / f"part-{number}.parquet"
        arguments = (run_id, buckets.start, buckets.stop)
        export(url, _selection(DOMAINS), arguments, part, DOMAINS.schema)
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
        f"SELECT {wanted} FROM ({_statement(table.name)}) AS found ORDER BY {', '.join(table.key)}"
    )


def _derive(
    staged: Files,
    dataset: Dataset,
    run: Run,
    settings: PublishSettings,
    published: Sequence[manifest.RunEntry],
) -> None:
    """The tables that are SQL over the others: breakages, then statistics."""
    before = _last(published, before=run, kinds=tuple(RunKind))
    month_before = _last(
        [one for one in published if one.key.month == months_before(staged.key.month, 1)],
        before=run,
        kinds=(RunKind.FULL,),
    )
    previous = {
        "previous_run": dataset.files(before.key) if before else None,
        "previous_month": dataset.files(month_before.key) if month_before else None,
    }
    with open_views(settings.memory_limit, staged, scratch=staged.root, **previous) as views:
        write_table(staged, BREAKAGES, breakage.find(views, settings.confirmation))
    # opened again, now with the breakages
    with open_views(settings.memory_limit, staged, scratch=staged.root, **previous) as views:
        write_table(staged, CONFIRMED_BREAKAGES, [breakage.confirmed(views)])
        write_table(staged, STATISTICS, [statistics.compute(views)])


def bucket_ranges(domains: int) -> Iterator[range]:
    """The buckets of each part of the table `domains`: equal ranges, so that a part has
    about PART_ROWS rows at most."""
    parts = max(1, ceil(domains / PART_ROWS))
    for part in range(parts):
        yield range(BUCKETS * part // parts, BUCKETS * (part + 1) // parts)


def _last(
    published: Sequence[manifest.RunEntry], *, before: Run, kinds: Sequence[RunKind]
) -> manifest.RunEntry | None:
    """The last published run of these kinds that began before this one."""
    earlier = [one for one in published if one.started < before.started and one.kind in kinds]
    return earlier[-1] if earlier else None


def _zones(run: Run) -> pa.Table:
    """The zones that the run began with, from its record, by name."""
    zones = sorted(run.record.get("zones", ()), key=lambda one: str(one["zone"]))
    rows = [{**one, "taken": datetime.fromisoformat(one["taken"])} for one in zones]
    return pa.Table.from_pylist(rows, schema=ZONES.schema)


def _sources(staged: Files) -> list[dict[str, Any]]:
    """The zones of the run with their serials, for the manifest."""
    columns = ["zone", "kind", "serial", "sha256", "taken", "delegations", "signed"]
    rows = staged.read(ZONES).select(columns).to_pylist()
    return [{**row, "taken": row["taken"].isoformat()} for row in rows]


def _name(table: PublishedTable) -> str:
    return f"{table.access}/{table.name}"


def _statement(name: str) -> str:
    return (package_files("reports") / "tables" / f"{name}.sql").read_text("utf-8")
