"""Verdicts of a run that is not over: computed when they are shown, never stored.

A domain's verdict is what the rows so far come to. `waits_for` names the stage that may still
change it; without one it stands, for all that the run will see. Where the run has verdicts
already, these are shown.
"""

import csv
import io
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any

import pyarrow as pa

from crawler.coordinator.waiting import due_at, rests
from crawler.dns.client import Resolvers
from crawler.scan import assess
from crawler.scan.context import ScanContext
from dane.names import BUCKETS
from dane.outcomes import FAILED, LOCAL, DomainStatus, HostStatus
from danesurvey.settings import Settings
from reports.escape import csv_cell, printable
from reports.library import to_json
from storage import assessment
from storage.database import Connection
from storage.due import ASK_AGAIN
from storage.run import Run
from storage.schemas import DOMAIN_VERDICT, HOST_VERDICT, Table

_ROWS = 2_000
_BAD = frozenset({DomainStatus.BROKEN.value, DomainStatus.LOOKUP_FAILED.value})
_STORED = """
SELECT domain, status, host, host_status, mx_operator, dns_operator
FROM domain_verdict
WHERE run_id = $1 AND bucket >= $2 AND bucket < $3
ORDER BY domain
"""
_FAILING = """
SELECT domain, passes, last_asked
FROM domain_mx
WHERE run_id = $1 AND bucket >= $2 AND bucket < $3 AND outcome = ANY ($4::text[])
"""


@dataclass(frozen=True, slots=True)
class Provisional:
    """One domain. `until`: when what it waits for is asked again; None: not known, or at the
    end of the run."""

    domain: str
    status: str
    provisional: bool
    waits_for: str | None
    until: str | None
    host: Sequence[str]
    host_status: Sequence[str]
    mx_operator: Sequence[str]
    dns_operator: Sequence[str]

    @property
    def is_bad(self) -> bool:
        return self.status in _BAD

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def as_text(self) -> str:
        """One line."""
        hosts = ", ".join(
            f"{host} {status}" for host, status in zip(self.host, self.host_status, strict=True)
        )
        told = f"{self.domain}: {self.status}" + (f" ({hosts})" if hosts else "")
        if self.waits_for is None:
            return told
        until = f" until {self.until}" if self.until else ""
        return f"{told}; waits for {self.waits_for}{until}"


def breakages(settings: Settings, operator: str | None, *, as_json: bool, as_csv: bool) -> str:
    """Domains of the run under way that are broken or fail so far, of one operator or of all.

    As text, JSON (a list of objects) or CSV.
    """
    from danesurvey.status import verdicts as tell_verdicts

    found: list[Provisional] = []

    def keep(one: Provisional) -> None:
        if one.is_bad and operator in (None, *one.mx_operator, *one.dns_operator):
            found.append(one)

    tell_verdicts(settings, keep)
    if as_json:
        return to_json([one.as_dict() for one in found])
    if as_csv:
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(field.name for field in fields(Provisional))
        for one in found:
            writer.writerow(csv_cell(_cell(value)) for value in one.as_dict().values())
        return out.getvalue()
    lines = [printable(one.as_text()) for one in found]
    lines.append(f"{len(found)} provisional: nothing of this is confirmed, a later look may differ")
    return "\n".join(lines) + "\n"


def _cell(value: object) -> str:
    return " ".join(value) if isinstance(value, list) else "" if value is None else str(value)


async def verdicts(
    connection: Connection, run: Run, settings: Settings
) -> AsyncIterator[Provisional]:
    """Every domain of the run that has a row, bucket by bucket; a bounded number at a time."""
    start, width = 0, 16
    while start < BUCKETS:
        buckets = range(start, min(start + width, BUCKETS))
        found = await _of(connection, run, settings, buckets)
        for one in found:
            yield one
        start = buckets.stop
        width = max(1, min(4 * width, _ROWS * len(buckets) // max(1, len(found))))


async def _of(
    connection: Connection, run: Run, settings: Settings, buckets: range
) -> list[Provisional]:
    bounds = run.run_id, buckets.start, buckets.stop
    stored = [
        Provisional(provisional=False, waits_for=None, until=None, **dict(row))
        for row in await connection.fetch(_STORED, *bounds)
    ]
    domains, _ = await assessment.domains(connection, run, buckets)
    names = sorted({name for row in domains.column("mx_host").to_pylist() for name in row or ()})
    hosts, probes = await assessment.looked_up(connection, run, names)
    merges: Mapping[str, str] = run.record.get("operator_merges", {})

    def context(table: Table) -> ScanContext:
        return ScanContext(
            run_id=run.run_id,
            schemas=(table.schema,),
            resolvers=Resolvers(first=()),
            client=settings.client,
            canaries=None,
            probe=settings.probe,
            operator_merges=merges,
        )

    of_hosts = assess.hosts(hosts, context(HOST_VERDICT), probes)
    related = await assessment.with_covering_names(connection, domains, of_hosts)
    of_domains = assess.domains(domains, context(DOMAIN_VERDICT), related)
    failing = {
        row["domain"]: row for row in await connection.fetch(_FAILING, *bounds, [*FAILED, *LOCAL])
    }
    waits = _HostWaits(hosts, probes, settings)
    made = []
    for row in of_domains.to_pylist():
        if (own := failing.get(row["domain"])) is not None:
            until = due_at("resolve", own["passes"], own["last_asked"], waits.rests)
            reason: tuple[str, datetime | None] | None = ("resolve", until)
        else:
            told = [waits.of(host) for host in row["host"] if host != "."]
            reason = next(filter(None, told), None)
        made.append(
            Provisional(
                domain=row["domain"],
                status=row["status"],
                provisional=True,
                waits_for=reason[0] if reason else None,
                until=_text(reason[1]) if reason else None,
                host=row["host"],
                host_status=row["host_status"],
                mx_operator=row["mx_operator"],
                dns_operator=row["dns_operator"],
            )
        )
    return sorted([*stored, *made], key=lambda one: one.domain)


class _HostWaits:
    """What MX hosts wait for."""

    def __init__(self, hosts: pa.RecordBatch, probes: pa.RecordBatch, settings: Settings) -> None:
        self.rests = rests(settings.client, settings.probe)
        self._hosts: dict[str, dict[str, Any]] = {row["host"]: row for row in hosts.to_pylist()}
        self._last: dict[tuple[str, str], dict[str, Any]] = {}  # attempt at an address
        for row in probes.to_pylist():
            key = row["address"], row["tlsa_digest"]
            before = self._last.get(key)
            if before is None or before["attempt"] <= row["attempt"]:
                self._last[key] = row

    def of(self, host: str) -> tuple[str, datetime | None] | None:
        row = self._hosts.get(host)
        if row is None:
            return "hosts", None
        outcomes = {row[name] for name in ("a_outcome", "aaaa_outcome", "tlsa_outcome")}
        ours = row["status"] in (
            HostStatus.LOCAL_ERROR,
            HostStatus.ADDRESS_FAILED,
            HostStatus.TLSA_FAILED,
        )
        if ours or outcomes & {*FAILED, *LOCAL}:
            return "hosts", due_at("hosts", row["passes"], row["last_asked"], self.rests)
        if row["status"] is not None:
            return None
        for address in row["addresses"]:
            last = self._last.get((address, row["tlsa_digest"]))
            if last is None:
                return "probe", None
            until = due_at("probe", last["attempt"], last["connected"], self.rests)
            if last["status"] in ASK_AGAIN and until is not None:
                return "probe", until
        return None


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="seconds")
