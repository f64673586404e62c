"""Confirmed breakage as an operator can act on it: what, where, since when, what repairs it.

    problems = find(views)

One value an MX host that breaks its promise, or a lookup that fails (`problems.sql`). Its
words are those of `dane.repairs`; notices, and whoever else tells an operator, read it.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files as package_files
from typing import Any

import duckdb

from dane.certificate import Certificate
from dane.outcomes import DnsCause, LookupStage, MismatchCause
from dane.repairs import (
    CHECK_HOST,
    CHECK_LOOKUP,
    REPAIRS,
    Cause,
    ProblemKind,
    Repair,
    deciding_cause,
)
from reports.dictionary import OperatorKind
from reports.views import read

_RRTYPE = {LookupStage.MX: "MX", LookupStage.TLSA: "TLSA", LookupStage.ADDRESS: "A"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One MX host, or one lookup, that is confirmed to fail.

    `host` is empty where the MX lookup of a domain fails. `good_until` and `began` bound the
    beginning: the last good look, if there was one, and the first that failed. `recurrence`
    counts earlier episodes that ended within a year before it began. `undeliverable` counts the
    domains to which a sender that enforces DANE cannot deliver. `records` are the TLSA records
    to publish, each with its owner. `servers` are the name servers that were asked: name,
    address and result.
    """

    operator_kind: OperatorKind
    operator: str
    kind: ProblemKind
    cause: Cause
    host: str
    base: str
    name: str
    rrtype: str
    zone: str
    domains: tuple[str, ...]
    undeliverable: int
    good_until: datetime | None
    began: datetime | None
    recurrence: int
    evidence: tuple[str, ...]
    records: tuple[str, ...]
    servers: tuple[tuple[str, str, str], ...]
    contact: str | None

    @property
    def key(self) -> str:
        """What the ledger of notices remembers: the same problem has the same key each day."""
        if self.kind is ProblemKind.LOOKUP:
            return f"lookup {self.name} {self.rrtype}"
        return f"host {self.host}"

    @property
    def repair(self) -> Repair:
        """Its row of the table, with its own names filled in."""
        return REPAIRS[self.kind, self.cause].filled(**self._names)

    @property
    def checks(self) -> tuple[str, ...]:
        """Commands with which anyone sees the same, without our software."""
        lookup = self.kind is ProblemKind.LOOKUP
        record = self.records[0].partition(" TLSA ")[2] if self.records else "3 1 1 DIGEST"
        server = next((address for _, address, result in self.servers if result != "answer"), "")
        lines: tuple[str, ...] = CHECK_HOST
        if lookup:
            lines = CHECK_LOOKUP if server else CHECK_LOOKUP[:1]
        return tuple(line.format(**self._names, record=record, server=server) for line in lines)

    @property
    def _names(self) -> dict[str, str]:
        return {
            "host": self.host,
            "base": self.base,
            "tlsa_name": f"_25._tcp.{self.base}",
            "question": f"{self.name} {self.rrtype}",
            "name": self.name,
            "rrtype": self.rrtype,
            "zone": self.zone or self.name,
        }


def find(views: duckdb.DuckDBPyConnection, *, operator: str | None = None) -> list[Problem]:
    """What the run confirms, by operator; of one operator, if one is given."""
    statement = (package_files("reports") / "problems.sql").read_text("utf-8")
    return [
        _problem(row)
        for row in read(views, statement).to_pylist()
        if operator is None or row["operator"] == operator
    ]


def _problem(row: dict[str, Any]) -> Problem:
    kind, cause = _what(row)
    base = row["tlsa_base"]
    rrtype = _RRTYPE[LookupStage(row["stage"])] if row["stage"] else "TLSA"
    asked = {"MX": row["failing_domain"], "TLSA": f"_25._tcp.{base}", "A": row["host"]}[rrtype]
    return Problem(
        operator_kind=OperatorKind(row["operator_kind"]),
        operator=row["operator"],
        kind=kind,
        cause=cause,
        host=row["host"],
        base=base,
        name=row["name"] or asked,
        rrtype=rrtype,
        zone=row["zone"] or "",
        domains=tuple(row["domains"]),
        undeliverable=row["undeliverable"],
        good_until=row["good_until"],
        began=row["began"],
        recurrence=row["recurrence"],
        evidence=tuple(row["evidence"]),
        records=_records(base, row["leaves"]) if REPAIRS[kind, cause].record else (),
        servers=tuple(
            (answer["server"], answer["address"], answer["result"])
            for answer in row["authority"]
            if answer["question"] == rrtype
        ),
        contact=row["contact"],
    )


def _what(row: dict[str, Any]) -> tuple[ProblemKind, Cause]:
    if row["stage"]:
        return ProblemKind.LOOKUP, DnsCause(row["dns_cause"] or DnsCause.UNKNOWN)
    kind = ProblemKind(row["status"])
    if kind is not ProblemKind.MISMATCH:
        return kind, None
    known = set(MismatchCause)
    return kind, deciding_cause([MismatchCause(word) for word in row["causes"] if word in known])


def _records(base: str, leaves: Sequence[bytes]) -> tuple[str, ...]:
    """A `3 1 1` record of each key that the host shows (RFC 7671 section 5.1)."""
    keys = sorted(
        {hashlib.sha256(spki).hexdigest() for der in leaves if (spki := Certificate(der).spki)}
    )
    return tuple(f"_25._tcp.{base}. IN TLSA 3 1 1 {digest}" for digest in keys)
