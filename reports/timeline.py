"""`report history`: what all published runs say of one domain, MX host or operator.

It reads the data set alone. Looks that say the same follow each other as one span. A name may
be several things at once: a domain, its own MX host, and an operator.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import duckdb

from dane.faults import Refused, UsageFault
from dane.names import NameFault, bucket, canonical
from reports.columns import PublishedTable
from reports.dataset import Dataset
from reports.dictionary import DOMAINS, EPISODES, MX_HOSTS, ROLLOVERS, SPLIT
from reports.escape import printable
from reports.manifest import RunEntry, runs


@dataclass(frozen=True, slots=True)
class Span:
    """Looks in a row that say the same: of the first and the last of them, and how many."""

    first: datetime
    last: datetime
    looks: int
    said: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Timeline:
    """All that the data set has of a name; what it is not, is empty."""

    name: str
    runs: int
    domain: Sequence[Span]
    host: Sequence[Span]
    operator: Sequence[Span]
    episodes: Sequence[Mapping[str, Any]]
    rollovers: Sequence[Mapping[str, Any]]


_DOMAIN = """
SELECT started, status, stage, level, mx_host AS hosts, host_status AS host_statuses
FROM domains WHERE bucket = $bucket AND domain = $name ORDER BY started
"""
_HOST = """
SELECT started, status, tlsa, operator, causes
FROM mx_hosts WHERE bucket = $bucket AND host = $name ORDER BY started
"""
_OPERATOR = """
SELECT started, count(*) AS hosts, sum(domains) AS domains,
    count(*) FILTER (class = 'F') AS broken_hosts,
    CAST(coalesce(sum(domains) FILTER (class = 'F'), 0) AS BIGINT) AS broken_domains
FROM mx_hosts WHERE operator = $name GROUP BY started ORDER BY started
"""
# An episode is told by every run in which it is open: the last one knows most.
_EPISODES = """
SELECT operator_kind, operators, host, domain, stage, good_until, began, confirmed, failing_until,
    ended, ended_by, recurrence, looks, kind, cause, domains, evidence
FROM (
    SELECT *, row_number() OVER (
        PARTITION BY operator_kind, host, domain, began ORDER BY started DESC) AS latest
    FROM episodes
    WHERE host = $name OR domain = $name OR list_contains(operators, $name)
        OR list_contains($hosts, host)
)
WHERE latest = 1
ORDER BY began, operator_kind, host, domain
"""
_ROLLOVERS = """
SELECT host, operator, leaf, first_shown, grade
FROM (
    SELECT *, row_number() OVER (PARTITION BY host, leaf ORDER BY started DESC) AS latest
    FROM rollovers
    WHERE host = $name OR operator = $name OR list_contains($hosts, host)
)
WHERE latest = 1
ORDER BY first_shown, host
"""


def timeline(dataset: Dataset, name: str) -> Timeline:
    """The timeline of a name over all runs. Raises UsageFault for what is no name, Refused where
    the data set has nothing of it."""
    try:
        key = canonical(name)
    except NameFault as fault:
        raise UsageFault(f"{name}: {fault}") from None
    published = runs(dataset)
    with duckdb.connect(config={"autoinstall_known_extensions": False}) as connection:
        for table in (DOMAINS, MX_HOSTS, EPISODES, ROLLOVERS):
            _create_view(connection, dataset, published, table)
        named = {"name": key, "bucket": bucket(key)}
        domain = list(_spans(_rows(connection, _DOMAIN, named)))
        host = list(_spans(_rows(connection, _HOST, named)))
        operator = list(_spans(_rows(connection, _OPERATOR, {"name": key})))
        hosts = sorted({one for span in domain for one in span.said["hosts"]})
        with_hosts = {"name": key, "hosts": hosts}
        found = Timeline(
            key,
            len(published),
            domain,
            host,
            operator,
            _rows(connection, _EPISODES, with_hosts),
            _rows(connection, _ROLLOVERS, with_hosts),
        )
    if not (domain or host or operator or found.episodes):
        raise Refused(f"{dataset.directory} has nothing of {key}")
    return found


def _create_view(
    connection: duckdb.DuckDBPyConnection,
    dataset: Dataset,
    published: Sequence[RunEntry],
    table: PublishedTable,
) -> None:
    """Both parts of the table of all runs, each row with the start of its run."""
    parts: list[str] = []
    for run in published:
        files = dataset.files(run.key)
        paths = [
            path
            for one in (table, SPLIT.get(table))
            if one is not None
            for path in files.parts(one)
        ]
        if paths:
            started = _quoted(run.started.isoformat())
            parts.append(
                f"SELECT TIMESTAMPTZ {started} AS started, * FROM "
                f"read_parquet([{', '.join(map(_quoted, paths))}], hive_partitioning = false, "
                "union_by_name = true)"
            )
    if not parts:
        connection.register(f"no_{table.name}", table.schema.empty_table())
        parts = [f"SELECT CAST(NULL AS TIMESTAMPTZ) AS started, * FROM no_{table.name}"]
    connection.execute(f'CREATE VIEW "{table.name}" AS {" UNION ALL BY NAME ".join(parts)}')


def _quoted(value: str | Path) -> str:
    return "'" + str(value).replace("'", "''") + "'"


def _rows(
    connection: duckdb.DuckDBPyConnection, query: str, parameters: Mapping[str, Any]
) -> list[dict[str, Any]]:
    rows = connection.sql(query, params=dict(parameters)).to_arrow_table().to_pylist()
    return [{name: _in_utc(value) for name, value in row.items()} for row in rows]


def _in_utc(value: Any) -> Any:
    return value.astimezone(UTC) if isinstance(value, datetime) else value


def _spans(rows: Sequence[Mapping[str, Any]]) -> Iterator[Span]:
    """Rows in the order of their runs, those that say the same one after the other as one."""

    def said(row: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in row.items() if name != "started"}

    for what, group in groupby(rows, said):
        looks = [row["started"] for row in group]
        yield Span(looks[0], looks[-1], len(looks), what)


def as_json(found: Timeline) -> str:
    """One object; times as ISO 8601."""
    return json.dumps(asdict(found), indent=1, default=_plain) + "\n"


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def as_text(found: Timeline) -> str:
    """The timeline for a person, the oldest first."""
    lines = [f"{printable(found.name)}, in {found.runs} published runs"]
    for title, spans, told in (
        ("As a domain", found.domain, _of_domain),
        ("As an MX host", found.host, _of_host),
        ("As an operator of MX hosts", found.operator, _of_operator),
    ):
        if spans:
            lines += ["", f"{title}:", *(f"  {_dates(one)}  {told(one.said)}" for one in spans)]
    if found.episodes:
        lines += ["", "Failures:", *(line for one in found.episodes for line in _episode(one))]
    if found.rollovers:
        lines += ["", "Key rollovers:"]
        lines += [
            f"  {one['first_shown']:%Y-%m-%d}  {printable(one['host'])}: {one['grade']}"
            for one in found.rollovers
        ]
    return "\n".join(lines) + "\n"


def _dates(span: Span) -> str:
    if span.looks == 1:
        return f"{span.first:%Y-%m-%d}"
    return f"{span.first:%Y-%m-%d} to {span.last:%Y-%m-%d} ({span.looks} looks)"


def _of_domain(said: Mapping[str, Any]) -> str:
    hosts = ", ".join(
        f"{printable(host)} {status}"
        for host, status in zip(said["hosts"], said["host_statuses"], strict=True)
    )
    what = " ".join(filter(None, (said["status"], said["stage"], said["level"])))
    return f"{what}: {hosts}" if hosts else what


def _of_host(said: Mapping[str, Any]) -> str:
    causes = f" ({', '.join(said['causes'])})" if said["causes"] else ""
    return f"{said['status']}{causes}; TLSA: {'; '.join(said['tlsa']) or 'none'}"


def _of_operator(said: Mapping[str, Any]) -> str:
    return (
        f"{said['hosts']} hosts with {said['domains']} domains; broken: {said['broken_hosts']} "
        f"hosts with {said['broken_domains']} domains"
    )


def _episode(one: Mapping[str, Any]) -> Iterator[str]:
    name = one["host"] or one["domain"]
    cause = f" ({one['cause']})" if one["cause"] else ""
    yield f"  {printable(name)}: {one['kind']}{cause}, {one['domains']} domains"
    earliest = f"after {_moment(one['good_until'])}, " if one["good_until"] else ""
    yield f"    began {earliest}by {_moment(one['began'])}"
    confirmed = _moment(one["confirmed"]) if one["confirmed"] else "not"
    yield f"    confirmed: {confirmed}; looks that failed: {one['looks']}"
    if one["ended"]:
        yield (
            f"    ended after {_moment(one['failing_until'])}, by {_moment(one['ended'])}: "
            f"{one['ended_by']}"
        )
    else:
        yield f"    last seen failing {_moment(one['failing_until'])}"
    if one["recurrence"]:
        yield f"    failed {one['recurrence']} times before within a year"


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
