"""The intake stage: every configured zone, from its source into the database.

A zone that fails, or is refused, costs only itself: its last good names stay, and the reason
is in the summary and in `zone_snapshot`.
"""

import asyncio
import hashlib
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from dataclasses import replace as _with
from enum import StrEnum
from pathlib import Path

import pyarrow as pa

from crawler.zones import sources
from crawler.zones.acceptance import Figures, refusal
from crawler.zones.assembly import Stage
from crawler.zones.files import shown
from crawler.zones.lists import read_list
from crawler.zones.progress import Meter, Progress
from crawler.zones.scanner import BLOCK, scan
from crawler.zones.settings import IntakeSettings, ZoneSource
from crawler.zones.sources import EVERY, SCRATCH, Obtained
from dane.faults import Fault, LocalTrouble, Refused
from storage import delegation
from storage.database import Connection, Pool, patiently
from storage.delegation import Changes, Snapshot


class Verdict(StrEnum):
    """What came of a zone."""

    ACCEPTED = "accepted"
    UNCHANGED = "unchanged"  # the same file as the last accepted one
    REFUSED = "refused"  # the last good names stay
    FAILED = "failed"  # there was nothing to look at; they stay too


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneRow:
    """A line of the summary. Bytes unpacked; None: not known."""

    zone: str
    source: str
    verdict: Verdict
    serial: int | None
    bytes: int | None
    records: int | None
    delegations: int | None
    signed: int | None
    added: int | None = None
    removed: int | None = None
    written: int | None = None  # rows of `delegation` inserted, updated or deleted
    seconds: float
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scanned:
    """What a zone file or a list holds."""

    zone: str
    size: int
    records: int
    figures: Figures
    ends_with_soa: bool
    batches: Callable[[], Iterable[pa.RecordBatch]] = field(repr=False)
    close: Callable[[], None] = field(repr=False)


async def intake(
    pool: Pool,
    zone_sources: Sequence[ZoneSource],
    settings: IntakeSettings,
    *,
    state_dir: Path,
    progress: Progress,
    accept_shrink: bool = False,
) -> list[ZoneRow]:
    """Take in all sources; a row of the summary for each zone.

    What is fetched is kept under `state_dir`/zones. `progress` gets lines for people.
    `accept_shrink` takes any loss of names, this once. Raises UsageFault for a source whose
    settings do not hold together, LocalTrouble without a database, or while another process
    fetches zones.
    """
    sources.check(zone_sources)
    directory = state_dir / "zones"
    rows = []
    with sources.workplace(directory):
        taking = _Intake(pool, settings, directory / SCRATCH, progress, accept_shrink)
        for source in zone_sources:
            async for obtained in sources.obtain(source, settings, directory, progress):
                row = await taking.take(obtained)
                progress(_line(row))
                rows.append(row)
    return rows


@dataclass(frozen=True, slots=True)
class _Intake:
    """Takes in what a source gave."""

    pool: Pool
    settings: IntakeSettings
    scratch: Path
    progress: Progress
    accept_shrink: bool

    async def take(self, obtained: Obtained) -> ZoneRow:
        began = time.monotonic()
        snapshot = Snapshot(zone=obtained.zone, source=obtained.source.kind, origin=obtained.origin)
        if obtained.file is None:
            assert obtained.fault is not None
            return await self._refuse(snapshot, obtained.fault, began)
        try:
            sha256, received = await asyncio.to_thread(_digest, obtained.file.data)
            snapshot = _with(snapshot, sha256=sha256, received=received)
            last = await self._latest(snapshot.zone)
            if last is not None and _same_file(last, snapshot):
                return _row(_with(last, seconds=time.monotonic() - began), Verdict.UNCHANGED)
            scanned = await asyncio.to_thread(self._scan, obtained)
        except Fault as fault:
            return await self._refuse(snapshot, fault, began)
        try:
            figures = scanned.figures
            snapshot = _with(
                snapshot,
                zone=scanned.zone,
                serial=figures.serial,
                size=scanned.size,
                records=scanned.records,
                delegations=figures.delegations,
                signed=figures.signed,
            )
            if obtained.zone == EVERY:
                last = await self._latest(snapshot.zone)
                if last is not None and _same_file(last, snapshot):
                    return _row(_with(last, seconds=time.monotonic() - began), Verdict.UNCHANGED)
            if obtained.promises_final_soa and not scanned.ends_with_soa:
                reason: str | None = "the last record is not the first SOA: the zone was cut"
            else:
                reason = refusal(
                    figures,
                    None if last is None else _figures(last),
                    self.settings,
                    accept_shrink=self.accept_shrink,
                )
            if reason is not None:
                return await self._refuse(snapshot, Refused(reason), began)
            return await self._accept(snapshot, scanned, began)
        finally:
            scanned.close()

    async def _latest(self, zone: str) -> Snapshot | None:
        return await patiently(self.pool, lambda held: delegation.latest(held, zone))

    async def _accept(self, snapshot: Snapshot, scanned: _Scanned, began: float) -> ZoneRow:
        snapshot = _with(snapshot, seconds=time.monotonic() - began)

        async def store(held: Connection) -> Changes:
            return await delegation.replace(
                held,
                snapshot,
                scanned.batches(),
                sampled_one_of=self.settings.unsigned_sample or None,
            )

        changes = await patiently(self.pool, store)
        snapshot = _with(snapshot, seconds=time.monotonic() - began)
        return _row(snapshot, Verdict.ACCEPTED, changes)

    async def _refuse(self, snapshot: Snapshot, fault: Fault, began: float) -> ZoneRow:
        reason = str(fault)
        if snapshot.zone == EVERY:  # nobody knows whose file it is
            reason = f"{snapshot.origin}: {reason}"
        snapshot = _with(snapshot, reason=reason, seconds=time.monotonic() - began)
        await patiently(self.pool, lambda held: delegation.refuse(held, snapshot))
        return _row(snapshot, Verdict.REFUSED if isinstance(fault, Refused) else Verdict.FAILED)

    def _scan(self, obtained: Obtained) -> _Scanned:
        """In a thread of its own. Raises Refused, LocalTrouble."""
        file, source = obtained.file, obtained.source
        assert file is not None
        if source.kind == "list":
            found = read_list(
                file,
                obtained.zone,
                form=source.format,
                column=source.column,
                meter=Meter(self.progress, str(file), "read"),
            )
            return _Scanned(
                zone=obtained.zone,
                size=found.size,
                records=found.lines,
                figures=Figures(serial=None, delegations=len(found.domains), signed=None),
                ends_with_soa=False,
                batches=found.batches,
                close=lambda: None,
            )
        meter = Meter(self.progress, str(file), "scanned")
        scanned = scan(
            lambda: meter.over(file.chunks(BLOCK)),
            lambda: Stage(self.scratch),
            origin=None if obtained.zone == EVERY else obtained.zone,
            directory=file.path.parent if source.allow_include else None,
            work=self.scratch,
            unsigned_sample=self.settings.unsigned_sample,
        )
        return _Scanned(
            zone=scanned.zone,
            size=scanned.size,
            records=scanned.records,
            figures=Figures(
                serial=scanned.serial, delegations=scanned.delegations, signed=scanned.signed
            ),
            ends_with_soa=scanned.ends_with_soa,
            batches=scanned.batches,
            close=scanned.stage.close,
        )


def _digest(path: Path) -> tuple[str, int]:
    """SHA-256 (hex) and size of a file as it was received. Raises LocalTrouble."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest(), path.stat().st_size
    except OSError as error:
        raise LocalTrouble(f"{shown(path)}: {error.strerror}") from None


def _same_file(last: Snapshot, new: Snapshot) -> bool:
    """Whether the last accepted snapshot came of this very file (of a tar: this member)."""
    return (last.sha256, last.origin) == (new.sha256, new.origin)


def _figures(snapshot: Snapshot) -> Figures:
    return Figures(
        serial=snapshot.serial, delegations=snapshot.delegations or 0, signed=snapshot.signed
    )


def _row(snapshot: Snapshot, verdict: Verdict, changes: Changes | None = None) -> ZoneRow:
    return ZoneRow(
        zone=snapshot.zone,
        source=snapshot.source,
        verdict=verdict,
        serial=snapshot.serial,
        bytes=snapshot.size,
        records=snapshot.records,
        delegations=snapshot.delegations,
        signed=snapshot.signed,
        added=None if changes is None else changes.added,
        removed=None if changes is None else changes.removed,
        written=None if changes is None else changes.written,
        seconds=round(snapshot.seconds, 3),
        reason=snapshot.reason,
    )


def _line(row: ZoneRow) -> str:
    if row.reason is not None:
        return f"{row.zone}: {row.verdict}: {row.reason}"
    return f"{row.zone}: {row.verdict}: {row.delegations} delegations, {row.signed} signed"
