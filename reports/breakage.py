"""Breakages: found in a run's tables, followed from run to run, listed by operator.

`reports.confirmation` computes the restricted table, `confirmed` the public one
(`confirmed.sql`). A list has an operator's breakages with evidence, as text, CSV or JSON;
it names domains, so it is for the operator itself and for nobody else.
"""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files as package_files
from itertools import groupby
from textwrap import wrap
from typing import Any

import duckdb
import pyarrow as pa

from dane.outcomes import FaultKind
from reports.dictionary import (
    BREAKAGES,
    CONFIRMED_BREAKAGES,
    CONFIRMED_EPISODES,
    BreakageState,
    OperatorKind,
)
from reports.escape import csv_cell, printable
from reports.views import read

_EVIDENCE_SHOWN = 8
_DOMAINS_SHOWN = 10
_TITLES = {
    OperatorKind.MX: "By MX operator: hosts that promise DANE and break it",
    OperatorKind.DNS: "By DNS operator: lookups that fail",
}


def confirmed(connection: duckdb.DuckDBPyConnection) -> pa.Table:
    """What may be published: confirmed breakages, domains only counted."""
    return read(connection, _statement("confirmed.sql")).select(CONFIRMED_BREAKAGES.schema.names)


def confirmed_episodes(connection: duckdb.DuckDBPyConnection) -> pa.Table:
    """The public episodes."""
    return read(connection, _statement("confirmed_episodes.sql")).select(
        CONFIRMED_EPISODES.schema.names
    )


@dataclass(frozen=True, slots=True)
class Breakage:
    """One row of the restricted table; fields as its columns."""

    operator_kind: OperatorKind
    operator: str
    host: str
    domain: str
    status: str
    stage: str
    state: BreakageState
    level: str | None
    fault: FaultKind
    rollover_in_progress: bool
    looks: int
    first_look: datetime
    last_look: datetime
    seen: datetime
    unchanged_since: datetime
    observed: Sequence[str]
    addresses: Sequence[str]
    causes: Sequence[str]
    dns_cause: str | None
    zone: str | None
    failed_name: str | None
    contact: str | None
    defects: Sequence[str]
    evidence: Sequence[str]


def load(rows: pa.Table) -> list[Breakage]:
    """The rows of the restricted table as values, in their order."""
    return [
        Breakage(
            **{
                **row,
                "operator_kind": OperatorKind(row["operator_kind"]),
                "state": BreakageState(row["state"]),
                "fault": FaultKind(row["fault"]),
            }
        )
        for row in rows.to_pylist()
    ]


def as_json(breakages: Iterable[Breakage]) -> str:
    """A JSON array, one object a row, times as RFC 3339."""
    return json.dumps([_plain(one) for one in breakages], indent=1) + "\n"


def as_csv(breakages: Iterable[Breakage]) -> str:
    """CSV with a header; lists joined by `; `. No cell is a formula (`reports.escape`)."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(BREAKAGES.schema.names)
    for one in breakages:
        writer.writerow([_cell(value) for value in _plain(one).values()])
    return out.getvalue()


def as_text(
    breakages: Sequence[Breakage], *, all_domains: bool = False, rule: str | None = None
) -> str:
    """The list for a person, by kind of operator, operator, and host or failing lookup.

    `rule`: the sentence that says when a failure is confirmed (`reports.confirmation`).
    """
    if not breakages:
        return "Nothing is broken.\n"
    states = [one.state for one in breakages]
    lines = [", ".join(f"{states.count(state)} {state}" for state in BreakageState) + "."]
    lines += [*wrap(rule, 72), ""] if rule else [""]
    for kind in OperatorKind:
        of_kind = [one for one in breakages if one.operator_kind is kind]
        if of_kind:
            lines += [_TITLES[kind], "=" * len(_TITLES[kind]), ""]
            lines += _operators(of_kind, all_domains)
    return "\n".join(lines)


def _operators(breakages: Sequence[Breakage], all_domains: bool) -> Iterator[str]:
    """The operators of one kind, the one with most domains first."""
    grouped = [(name, list(group)) for name, group in groupby(breakages, lambda one: one.operator)]
    counted = [(len({one.domain for one in group}), name, group) for name, group in grouped]
    for domains, name, group in sorted(counted, key=lambda one: (-one[0], one[1])):
        yield f"{printable(name)}: {_count(domains)}"
        for what, cases in groupby(sorted(group, key=_what), _what):
            yield from _case(*what, list(cases), all_domains)
        yield ""


def _what(one: Breakage) -> tuple[str, str, str, str]:
    return one.host, one.stage, one.status, one.state


def _case(
    host: str, stage: str, status: str, state: str, cases: list[Breakage], all_domains: bool
) -> Iterator[str]:
    """One host or lookup with the domains that suffer, and its evidence: the host's, or, where
    the domain's own lookup fails, each domain's."""
    subject = " ".join(filter(None, (printable(host), stage and f"{stage} lookup")))
    yield f"  {subject}: {status}, {state}, {_count(len(cases))}"
    if host:
        yield from (f"    {note}" for note in _notes(cases[0]))
    shown = cases if all_domains else cases[:_DOMAINS_SHOWN]
    for one in shown:
        yield f"    domain {printable(one.domain)}" + (f" ({one.level} MX)" if one.level else "")
        if not host:
            yield from (f"      {note}" for note in _notes(one))
    if len(shown) < len(cases):
        yield f"    ({len(cases) - len(shown)} more domains; see --all)"


def _notes(one: Breakage) -> Iterator[str]:
    yield f"looks in a row: {one.looks}, since {one.first_look:%Y-%m-%d %H:%M} UTC"
    if one.rollover_in_progress:
        yield "rollover in progress"
    if one.dns_cause:
        zone = f", zone {printable(one.zone)}" if one.zone else ""
        yield f"cause: {one.dns_cause}{zone}"
    if one.causes:
        yield f"causes: {', '.join(one.causes)}"
    if one.defects:
        yield f"defects: {', '.join(one.defects)}"
    yield from map(printable, one.evidence[:_EVIDENCE_SHOWN])
    if len(one.evidence) > _EVIDENCE_SHOWN:
        yield f"({len(one.evidence) - _EVIDENCE_SHOWN} more; see --json)"


def _count(domains: int) -> str:
    return f"{domains:,} domain" + ("" if domains == 1 else "s")


def _plain(one: Breakage) -> dict[str, Any]:
    """The row with times as text; in the order of the table's columns."""
    values = ((name, getattr(one, name)) for name in BREAKAGES.schema.names)
    return {
        name: value.isoformat() if isinstance(value, datetime) else value for name, value in values
    }


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return csv_cell("; ".join(value) if isinstance(value, list | tuple) else str(value))


def _statement(name: str) -> str:
    return package_files("reports").joinpath(name).read_text("utf-8")
