"""Small published tables with known truth: rows given by the columns that matter."""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from reports import derived, manifest
from reports.columns import PublishedTable
from reports.dataset import Dataset, Files, RunKey, write_table
from reports.derived_tables import CHANGES, DOMAIN_CHANGES, NAMES_TABLE
from reports.dictionary import TABLES
from reports.views import open_views

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
KEY = RunKey("2026-11", 7)


def _neutral(kind: pa.DataType) -> Any:
    if pa.types.is_list(kind):
        return []
    if pa.types.is_timestamp(kind):
        return NOON
    if pa.types.is_binary(kind):
        return b""
    return {"bool": False, "string": "", "double": 0.0}.get(str(kind), 0)


def table_of(table: PublishedTable, rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """The rows as the published table; columns not given are empty, zero or null."""
    neutral = {
        column.name: _neutral(column.type) if column.required else None for column in table.columns
    }
    full = []
    for row in rows:
        assert row.keys() <= neutral.keys(), row.keys() - neutral.keys()
        full.append({**neutral, **row})
    return pa.Table.from_pylist(full, schema=table.schema)


def write(
    root: Path,
    rows: Mapping[PublishedTable, Iterable[Mapping[str, Any]]],
    key: RunKey = KEY,
    *,
    without: PublishedTable | None = None,
) -> Files:
    """All tables of one run (but `without`) under `root`; those not given have no rows."""
    files = Files(root, key)
    for table in TABLES:
        if table is without:
            continue
        write_table(files, table, [table_of(table, rows.get(table, ()))])
    return files


def count(files: Files, floor: int = 10, previous_month: Files | None = None) -> None:
    """The names that may be public and the tables of counts and changes, from the others."""
    with open_views("500MB", files, floor=floor) as views:
        write_table(files, NAMES_TABLE, [derived.names(views)])
    nobody = DOMAIN_CHANGES.schema.empty_table().select(["bucket", "domain"])
    with open_views("500MB", files, floor=floor, previous_month=previous_month) as views:
        for table, rows in derived.counts(views):
            write_table(files, table, [rows])
        changes = derived.domain_changes(views, nobody, [range(4096)])
        write_table(files, DOMAIN_CHANGES, changes)
    with open_views("500MB", files, floor=floor, previous_month=previous_month) as views:
        write_table(files, CHANGES, [derived.public_changes(views)])


def domain(
    name: str, status: str, hosts: Iterable[tuple[str, int, str, str]] = (), **more: Any
) -> dict[str, Any]:
    """A row of `domains`; hosts are (host, preference, status, class)."""
    hosts = list(hosts)
    return {
        "domain": name,
        "zone": name.partition(".")[2],
        "status": status,
        "mx_host": [one[0] for one in hosts],
        "mx_preference": [one[1] for one in hosts],
        "host_status": [one[2] for one in hosts],
        "host_class": [one[3] for one in hosts],
        **more,
    }


def publish(
    directory: Path,
    rows: Mapping[PublishedTable, Iterable[Mapping[str, Any]]],
    key: RunKey = KEY,
    *,
    kind: str = "full",
    started: datetime = NOON,
    vantage: str = "here",
    staged_now: Callable[[], object] = lambda: None,
    publish_settings: Mapping[str, Any] | None = None,
) -> Dataset:
    """A data set at `directory`/dataset with this run in its manifest."""
    dataset = Dataset(directory / "dataset")
    with dataset.publication(key) as staged:
        write(staged.root, rows, key)
        staged_now()
        entry = manifest.run_entry(
            key,
            kind=kind,
            started=started,
            vantage=vantage,
            record={},
            sources=[],
            rows={one.path: staged.rows(one) for one in TABLES},
            publish=publish_settings or {},
        )
        manifest.take(dataset, staged, entry)
    return dataset
