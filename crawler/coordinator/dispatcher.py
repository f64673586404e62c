"""Hands out what is due: a run is over when nothing is due, under way, or waits for a date.

    lines ──take──▶ shard ──send──▶ worker ──▶ keep (one transaction) ──▶ wake who reads it

Each stage has one line or two (lookups: first and last ones, and later ones), each with slots
of its own, so that silent servers hold up nobody else. A line asks the database what is due
when something has changed for it; nothing is queued but what is with the workers, so nothing
can be lost: what does not come back is still due.

Three times follow one another: rows with a date; when none is left, the last lookups; when
these have brought nothing new, the verdicts. New rows of the first kind, found by last
lookups, open it again.
"""

import asyncio
import contextlib
import logging
import math
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import distributed
import pyarrow as pa
import pyarrow.compute

from crawler.coordinator.cluster import on_all
from crawler.coordinator.node import finished_rows, from_bytes, stop_scans
from crawler.coordinator.settings import SurveySettings
from crawler.coordinator.shards import Back, Errand, Progress, Shard, again, send
from crawler.coordinator.state import Doing, StageState
from crawler.scan.context import LookupKind
from dane import clock
from dane.faults import LocalTrouble

log = logging.getLogger(__name__)
pc: Any = pyarrow.compute  # the stubs lack some of the kernels

STOP_S = 4.0  # for scans to return what they have
_FETCH_S = 2.0
_TELL_AGAIN_S = 0.5  # a scan may just have been about to begin
_BACK_OFF_S = 10.0  # when nothing came back; doubles
_LONGEST_BACK_OFF_S = 600.0


class Stopped(Exception):
    """The operator asked the run to stop; what was under way is stored."""


class Time(StrEnum):
    """When a line's rows may be due."""

    DATED = "dated"  # from the start
    FAILED = "failed"  # once last lookups have failed
    OVER = "over"  # after the end of the run


class Line:
    """Shards of one stage that share slots. What a stage is says a subclass."""

    stage: str
    time = Time.DATED
    waits_for: tuple[str, ...] = ()  # stages that must have nothing left
    reads: tuple[str, ...] = ()  # stages whose rows make rows of this one due
    fetched = False  # rows are fetched and stored before the scan is over
    retry_wait_s = 0.0  # before a shard goes out again whose worker was lost

    def __init__(self, state: StageState) -> None:
        self.state = state
        self.under_way: set[asyncio.Task[None]] = set()
        self.look_at = 0.0  # monotonic: when to ask again what is due; inf: when woken
        self.back_off_s = 0.0
        self.rests_until = 0.0  # monotonic: whatever wakes it
        self.fruitless_since: float | None = None

    @property
    def progress(self) -> Progress:
        return self.state.progress

    @property
    def slots(self) -> int:
        """Shards with the workers at once."""
        raise NotImplementedError

    async def take(self, *, last: bool) -> Shard | None:
        """A shard of what is due now; None if nothing is, and then `look_at` says when to ask.

        `last`: nothing waits for a date any more, so last lookups are due.
        """
        raise NotImplementedError

    def errand(self, shard: Shard) -> Errand:
        raise NotImplementedError

    async def keep(self, shard: Shard, batches: Sequence[pa.RecordBatch]) -> int:
        """Store what came back; how many of the shard's rows that are."""
        raise NotImplementedError

    async def keep_early(self, shard: Shard, batches: Sequence[pa.RecordBatch]) -> None:
        """Store rows of a shard that is still under way."""

    async def set_aside(self, rows: pa.RecordBatch, reason: str) -> None:
        """Store a row that no scan can take as our own fault."""
        raise NotImplementedError

    def stored_early(self, shard: Shard) -> list[bool]:
        """Of each row of a shard that is lost, whether it is stored already."""
        return [False] * shard.rows.num_rows

    def returned(self, shard: Shard, *, whole: bool) -> None:
        """The shard is no longer under way; `whole`: all of its rows are stored."""

    async def reopen(self, *, at_the_end: bool) -> None:
        """Ask for everything: at the start, and once more when nothing seems to be left."""

    @property
    def at_work(self) -> bool:
        """Whether rows of it may soon make others due."""
        return bool(self.under_way)

    @property
    def idle(self) -> bool:
        """Nothing is due, under way, or waits for a date."""
        return not self.under_way and self.look_at == math.inf

    def wake(self) -> None:
        """Something has changed: ask soon what is due."""
        self.look_at = self.rests_until


@dataclass(slots=True)
class _Suspect:
    line: Line
    shard: Shard
    not_before: float


class Dispatcher:
    """All lines of one process until the end of the run."""

    def __init__(
        self,
        workers: distributed.Client,
        settings: SurveySettings,
        lines: Sequence[Line],
        stopping: asyncio.Event,
        shown: asyncio.Event | None = None,
    ) -> None:
        self._workers = workers
        self._settings = settings
        self._lines = lines
        self._stopping = stopping
        self._shown = shown or asyncio.Event()  # set when a stage begins, rests or ends
        self._changed = asyncio.Event()
        self._suspects: list[_Suspect] = []
        self._draining = False
        self._group = uuid.uuid4().hex
        self._last = False  # last lookups are due
        self._over = False
        self._guarded = False
        self._fetched: dict[str, tuple[Line, Shard]] = {}
        # Held while a line asks the database what is due, and while a shard that is stored is
        # taken out of what is under way. A question that began before the rows were stored would
        # otherwise find them due and no longer under way: they would be asked for twice.
        self._asking = asyncio.Lock()

    def changed(self) -> None:
        """Look at once whether something is due; from any task of the loop."""
        self._changed.set()

    async def run(self) -> None:
        """Until the end of the run. Raises Stopped; LocalTrouble; what scans and storage raise."""
        stop = asyncio.create_task(self._stopping.wait())
        try:
            for line in self._lines:
                await line.reopen(at_the_end=False)
            while not stop.done():
                self._changed.clear()
                await self._hand_out()
                self._show()
                if await self._move_on():
                    continue
                if self._idle(*Time) and not self._suspects:
                    return
                await self._wait(stop)
            await self._finish()
            raise Stopped
        finally:
            stop.cancel()
            left = self._under_way()
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    def _idle(self, *times: Time) -> bool:
        return all(line.idle for line in self._lines if line.time in times)

    def _under_way(self) -> set[asyncio.Task[None]]:
        return {task for line in self._lines for task in line.under_way}

    async def _wait(self, stop: asyncio.Task[bool]) -> None:
        """Until a shard is back, a date has come, something has changed, or a stop."""
        dates = [one.not_before for one in self._suspects]
        dates += [
            line.look_at
            for line in self._lines
            if self._open(line) and len(line.under_way) < line.slots
        ]
        until = math.inf if self._draining else min(dates, default=math.inf)
        changed = asyncio.create_task(self._changed.wait())
        try:
            done, _ = await asyncio.wait(
                {stop, changed, *self._under_way()},
                timeout=None if until == math.inf else max(0.0, until - time.monotonic()),
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            changed.cancel()
        self._collect(done)

    def _collect(self, done: set[asyncio.Task[Any]]) -> None:
        for line in self._lines:
            for task in line.under_way & done:
                line.under_way.discard(task)
                task.result()

    def _show(self) -> None:
        """Say what each stage does."""
        for state in {id(line.state): line.state for line in self._lines}.values():
            lines = [line for line in self._lines if line.state is state]
            if state.began is None:
                if not (self._guarded and all(map(self._open, lines))) and not any(
                    line.under_way for line in lines
                ):
                    continue
                state.began = clock.seconds()
                doing = Doing.RUNNING
            else:
                doing = self._doing(lines)
            if doing is state.doing:
                continue
            state.doing = doing
            state.ended = clock.seconds() if doing is Doing.DONE else None
            self._shown.set()

    def _doing(self, lines: Sequence[Line]) -> Doing:
        now = time.monotonic()
        if any(line.under_way or (line.look_at <= now and self._open(line)) for line in lines):
            return Doing.RUNNING
        over = self._over if lines[0].time is Time.OVER else self._guarded
        return Doing.DONE if over and all(line.idle for line in lines) else Doing.RESTING

    # --- what goes out ------------------------------------------------------------------------

    async def _hand_out(self) -> None:
        if await self._suspects_first():
            return
        for line in self._lines:
            if not self._open(line):
                continue
            while len(line.under_way) < line.slots and line.look_at <= time.monotonic():
                async with self._asking:
                    shard = await line.take(last=self._last)
                if shard is None:
                    break
                self._send(line, shard)

    def _open(self, line: Line) -> bool:
        """Whether it is the line's time."""
        if line.time is not Time.OVER:
            return True
        return self._over and all(one.idle for one in self._lines if one.stage in line.waits_for)

    async def _suspects_first(self) -> bool:
        """Send a shard whose worker died out alone; whether nothing else may go out now."""
        now = time.monotonic()
        ripe = [one for one in self._suspects if one.not_before <= now]
        if self._under_way():
            if ripe and not self._draining:
                self._draining = True
                await self._return_early()
            return self._draining
        self._draining = bool(ripe)
        if ripe:
            self._suspects.remove(ripe[0])
            self._send(ripe[0].line, ripe[0].shard)
        return self._draining

    def _send(self, line: Line, shard: Shard) -> None:
        line.progress.shards += 1
        line.progress.rows_out += shard.rows.num_rows
        line.under_way.add(asyncio.create_task(self._one(line, shard)))

    # --- what comes back ----------------------------------------------------------------------

    async def _one(self, line: Line, shard: Shard) -> None:
        errand = line.errand(shard)
        if line.fetched:
            errand = replace(errand, fetched_as=uuid.uuid4().hex)
            self._fetched[errand.fetched_as or ""] = line, shard
        try:
            back = await send(self._workers, shard, errand, self._group)
        finally:
            self._fetched.pop(errand.fetched_as or "", None)
        if back.reason is not None:
            await self._lost(line, shard, back)
            return
        kept = 0
        line.progress.cpu_s += back.cpu_s
        if back.batches:
            kept = await line.keep(shard, back.batches)
            if shard.kind is LookupKind.FIRST:  # later ones mostly wait
                line.progress.took(back.seconds, shard.rows.num_rows)
        async with self._asking:
            line.returned(shard, whole=kept >= shard.rows.num_rows)
            self._settle(line, shard, kept)

    def _settle(self, line: Line, shard: Shard, kept: int) -> None:
        """After a shard is back: what does that make due, and is there any progress at all?"""
        line.progress.rows_out -= shard.rows.num_rows - kept
        line.wake()
        for other in self._lines:
            if kept and (line.stage in other.reads or line.stage == other.stage):
                other.wake()
        if kept or self._draining or self._stopping.is_set():
            line.back_off_s, line.fruitless_since = 0.0, None
            return
        now = time.monotonic()
        line.fruitless_since = line.fruitless_since or now
        if now - line.fruitless_since > self._settings.patience_s:
            raise LocalTrouble(
                f"{line.stage}: no answer could be believed for "
                f"{self._settings.patience_s:g} s; `danesurvey doctor` tells why, "
                "`danesurvey survey` goes on from here"
            )
        line.back_off_s = min(2 * line.back_off_s or _BACK_OFF_S, _LONGEST_BACK_OFF_S)
        line.look_at = line.rests_until = now + line.back_off_s
        log.warning("%s: nothing came back; again in %g s", line.stage, line.back_off_s)

    async def _lost(self, line: Line, shard: Shard, back: Back) -> None:
        """Once more, in halves, or set aside."""
        progress = line.progress
        if back.bug is not None and progress.quarantined >= self._settings.most_quarantined:
            raise back.bug  # not a row's fault
        stored = pa.array(line.stored_early(shard), pa.bool_())
        async with self._asking:
            line.returned(replace(shard, rows=shard.rows.filter(stored)), whole=True)
        left = shard.rows.filter(pc.invert(stored))
        parts, set_aside = again(shard, back, left)
        progress.rows_out -= left.num_rows
        if set_aside:
            progress.quarantined += 1
            await line.set_aside(left, back.reason or "")
            shard = replace(shard, rows=left)
            async with self._asking:
                line.returned(shard, whole=True)
                self._settle(line, shard, left.num_rows)
            return
        progress.resubmitted += 1
        not_before = time.monotonic() + line.retry_wait_s
        self._suspects += [_Suspect(line, part, not_before) for part in parts]
        self.changed()

    async def fetch(self) -> None:
        """For as long as the crawl lasts: store what scans have finished that are under way.

        A probe scan waits minutes for its slowest server; the rows of the others need not.
        """
        while True:
            await asyncio.sleep(_FETCH_S)
            if not self._fetched:
                continue
            told = await on_all(self._workers, finished_rows)
            for streams in told.values():
                for name, batches in streams.items():
                    if name in self._fetched:
                        line, shard = self._fetched[name]
                        await line.keep_early(shard, list(map(from_bytes, batches)))

    async def _return_early(self) -> None:
        """Have running scans return what they have: a suspect must be alone, and some wait long."""
        ended, self._group = self._group, uuid.uuid4().hex
        telling = on_all(self._workers, stop_scans, ended)
        with contextlib.suppress(TimeoutError):  # one of them may stand still
            await asyncio.wait_for(telling, STOP_S / 2)

    async def _finish(self) -> None:
        """Stop the scans and store what they have; what takes longer than STOP_S is left."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_S):
                while under_way := self._under_way():
                    telling = on_all(self._workers, stop_scans, self._group)
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(telling, STOP_S / 2)
                    done, _ = await asyncio.wait(under_way, timeout=_TELL_AGAIN_S)
                    self._collect(done)

    # --- the end of the run -------------------------------------------------------------------

    async def _move_on(self) -> bool:
        """From rows with a date to last lookups, and on to the verdicts; whether it did."""
        if self._suspects or not self._idle(Time.DATED):
            return False
        if not self._last:
            self._last = True
        elif not self._idle(Time.FAILED) or self._over:
            return False
        elif not self._guarded:
            self._guarded = True
            for line in self._lines:
                await line.reopen(at_the_end=True)
        else:
            self._over = True
        for line in self._lines:
            line.wake()
        return True
