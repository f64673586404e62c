"""The lines of a stage that asks the resolver: resolve and hosts (measurement, section 2).

What fails or goes unanswered is asked again 10 s, 90 s and 20 min later, each row by its own
date, and once more when no row of the run waits for a date. Only then is a name given the time
that a resolver needs to give up, and its failure believed.
"""

import logging
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial, reduce
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute

from crawler.coordinator.engine import SMALLEST_SHARD, Engine
from crawler.coordinator.flushes import Flushes, Unflushed
from crawler.coordinator.frontier import Frontier, buckets_of
from crawler.coordinator.line import StageLine
from crawler.coordinator.shards import Shard
from crawler.coordinator.stage import Stage
from crawler.coordinator.state import StageState
from crawler.coordinator.suspicion import Suspicion
from crawler.coordinator.wanted import wanted_hosts
from crawler.scan.context import LookupKind, ScanContext
from dane import clock
from dane.names import BUCKETS
from dane.outcomes import FAILED, LOCAL, HostStatus
from storage import due
from storage.copy import Stored
from storage.database import Connection, patiently
from storage.run import Run
from storage.schemas import DOMAIN_MX, MX_HOST, WANTED_HOST, Table

log = logging.getLogger(__name__)
pc: Any = pyarrow.compute  # the stubs lack some of the kernels

TRIES_A_ROW = 4  # of a row whose every question goes unanswered, with CD=1 and second looks
QUESTIONS_A_ROW = 3  # to the name servers of a domain: MX, DNSKEY, NSEC3PARAM
_FETCH_ROWS = 20_000
LINGER_S = 5.0  # a few rows wait so long for more while the stage before is at work


class FirstDue(Protocol):
    """Names of some buckets that have no row."""

    async def __call__(
        self, connection: Connection, run: Run, buckets: range
    ) -> pa.RecordBatch: ...


FailingDue = Callable[[Connection, Run, int, datetime, int], Awaitable[pa.RecordBatch]]
NextDue = Callable[[Connection, Run, int, datetime], Awaitable[datetime | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class DueLookups:
    """The questions of `storage.due` for one kind of name, in column `name`.

    failing_words   of the column that is counted: failures of theirs
    opt_out_rows    the scan has a row for who is on the opt-out list
    """

    name: str
    first: FirstDue
    failing: FailingDue
    next: NextDue
    failing_words: frozenset[str]
    opt_out_rows: bool


DOMAINS = DueLookups(
    name="domain",
    first=due.domains,
    failing=due.failing_domains,
    next=due.next_domain,
    failing_words=frozenset(FAILED),
    opt_out_rows=False,
)
HOSTS = DueLookups(
    name="host",
    first=due.hosts,
    failing=due.failing_hosts,
    next=due.next_host,
    failing_words=frozenset({HostStatus.ADDRESS_FAILED, HostStatus.TLSA_FAILED}),
    opt_out_rows=True,
)
# Any of these makes a row due again: the conditions of the indexes domain_mx_failing and
# mx_host_failing.
_AGAIN_COLUMNS = ("outcome", "a_outcome", "aaaa_outcome", "tlsa_outcome", "status")
_AGAIN = pa.array(
    [*FAILED, *LOCAL, HostStatus.LOCAL_ERROR, HostStatus.ADDRESS_FAILED, HostStatus.TLSA_FAILED],
    pa.string(),
)


class Lookups:
    """What the two lines of a stage share: the rows that are under way, and flushes."""

    def __init__(self, engine: Engine, asks: DueLookups, flushes: Flushes) -> None:
        self.engine = engine
        self.asks = asks
        self.flushes = flushes
        self.unflushed = Unflushed()
        self.taken: set[str] = set()  # handed out, or about to be
        # Came back since the latest question began, which may not have seen their rows.
        self._back: set[str] = set()

    @property
    def regular(self) -> int:
        """How many lookups a row has before the last one."""
        return len(self.engine.settings.client.passes_s) + 1

    def question_begins(self) -> None:
        """From now on the database has the rows of all that came back until now."""
        self._back = set()

    def free(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """The rows that nobody has and that may be asked for."""
        names = rows.column(self.asks.name).to_pylist()
        listed = self.engine.opt_out.current()
        keep = [
            name not in self.taken
            and name not in self._back
            and (self.asks.opt_out_rows or not listed.covers(names=(str(name),)))
            for name in names
        ]
        return rows if all(keep) else rows.filter(pa.array(keep, pa.bool_()))

    def take(self, rows: pa.RecordBatch) -> None:
        self.taken.update(map(str, rows.column(self.asks.name).to_pylist()))

    def give_back(self, rows: pa.RecordBatch) -> None:
        names = set(map(str, rows.column(self.asks.name).to_pylist()))
        self.taken -= names
        self._back |= names

    async def again(
        self, passes: int, rest_s: float, most: int
    ) -> tuple[pa.RecordBatch, datetime | None]:
        """Rows that fail after so many lookups and have rested; when the next one has.

        Rows that wait for a flush are left out, and it is asked for.
        """
        engine, asks = self.engine, self.asks
        until = clock.now() - timedelta(seconds=rest_s)
        self.question_begins()
        run, rows_at_most = engine.run, most + len(self.taken)
        rows = await patiently(
            engine.pool, lambda held: asks.failing(held, run, passes, until, rows_at_most)
        )
        rows = self.free(rows)
        asked_last: list[Any] = rows.column("last_asked").to_pylist()
        waiting = [self.unflushed.covers(one) for one in asked_last]
        if any(waiting):
            self.flushes.want()
            rows = rows.filter(pc.invert(pa.array(waiting, pa.bool_())))
        asked = await patiently(engine.pool, lambda held: asks.next(held, run, passes, until))
        return rows.slice(0, most), asked and asked + timedelta(seconds=rest_s)


class _LookupLine(StageLine):
    """What both lines of a lookup stage do."""

    def __init__(self, lookups: Lookups, stage: Stage, state: StageState) -> None:
        super().__init__(lookups.engine, stage, state)
        self.lookups = lookups

    @property
    def idle(self) -> bool:
        return super().idle and not self.lookups.flushes.wanted

    def context(self, shard: Shard) -> ScanContext:
        usual = self.engine.usual_failures.get(self.stage, 0.0)
        return self.engine.context(
            self.of.tables, share=self.share, lookup=shard.kind, usual_failing_share=usual
        )

    async def keep(self, shard: Shard, batches: Sequence[pa.RecordBatch]) -> int:
        kept = await super().keep(shard, batches)
        (rows,) = batches
        again = [
            pc.fill_null(pc.is_in(rows.column(name), _AGAIN), False)
            for name in _AGAIN_COLUMNS
            if name in rows.schema.names
        ]
        failing = rows.filter(reduce(pc.or_, again))
        self.lookups.unflushed.stored(pc.min(failing.column("last_asked")).as_py())
        return kept

    def parts(self, batches: Sequence[pa.RecordBatch]) -> list[tuple[Table, pa.RecordBatch]]:
        parts = super().parts(batches)
        if self.of.tables[0] == DOMAIN_MX and (hosts := wanted_hosts(batches[0])) is not None:
            parts.append((WANTED_HOST, hosts))
        return parts

    def returned(self, shard: Shard, *, whole: bool) -> None:
        self.lookups.give_back(shard.rows)

    def hand(self, rows: pa.RecordBatch, kind: LookupKind) -> Shard:
        self.lookups.take(rows)
        return Shard(rows, kind=kind)


class FirstLine(_LookupLine):
    """First lookups, bucket by bucket; and last ones, when nothing else is left.

    The two are never due at the same time, so they share a slot, and last lookups have the
    greater share of the questions. `before`: whether the stage whose rows it reads is at work.
    """

    def __init__(
        self, lookups: Lookups, stage: Stage, state: StageState, before: Callable[[], bool]
    ) -> None:
        super().__init__(lookups, stage, state)
        self.last_under_way = 0  # shards of last lookups
        self._before = before
        self._frontier = Frontier()
        self._held: list[pa.RecordBatch] = []  # of closed buckets, and taken
        self._lingers_until: float | None = None
        self._suspicion = Suspicion(self.engine.usual_failures.get(stage.name, 0.0))

    @property
    def slots(self) -> int:
        return self.engine.nodes + 1  # the next one is at a worker already

    async def take(self, *, last: bool) -> Shard | None:
        self.look_at = math.inf  # unless something wakes it meanwhile
        if (shard := await self._first()) is not None:
            self.look_at = 0.0
            return shard
        if self._lingers_until is not None:
            self.look_at = min(self.look_at, self._lingers_until)
            return None
        flushes = self.lookups.flushes
        if not last or flushes.wanted:  # a flush would begin their long wait anew
            return None
        most = min(
            2 * self.engine.client(self.share).window, self.engine.settings.survey.shard_rows
        )
        rows, _ = await self.lookups.again(self.lookups.regular, 0.0, most)
        if not rows.num_rows:
            return None
        self.look_at = 0.0
        self.last_under_way += 1
        return self.hand(rows, LookupKind.LAST)

    @property
    def at_work(self) -> bool:
        return bool(self.under_way or self._held or self._frontier.open_buckets)

    @property
    def idle(self) -> bool:
        return super().idle and not self._held

    async def _first(self) -> Shard | None:
        """A shard of rows that were not looked up yet."""
        engine, frontier = self.engine, self._frontier
        wanted = SMALLEST_SHARD
        while (buckets := frontier.take()) is not None:
            self.lookups.question_begins()
            rows = await patiently(
                engine.pool, partial(self.lookups.asks.first, run=engine.run, buckets=buckets)
            )
            rows = self.lookups.free(rows)
            self.lookups.take(rows)
            if rows.num_rows:
                self._held.append(rows)
            in_hand = sum(one.num_rows for one in self._held)
            wanted = min(
                engine.fair_rows(frontier.rows + in_hand), engine.shard_rows(self.progress)
            )
            frontier.had(buckets, rows.num_rows, wanted)
            if in_hand >= wanted:
                break
        in_hand = sum(one.num_rows for one in self._held)
        if not in_hand:
            self._lingers_until = None
            return None
        now = time.monotonic()
        if in_hand < SMALLEST_SHARD and self._before():
            self._lingers_until = self._lingers_until or now + LINGER_S
            if now < self._lingers_until:
                return None
        self._lingers_until = None
        whole = pa.Table.from_batches(self._held).combine_chunks().to_batches()[0]
        shard, rest = whole.slice(0, wanted), whole.slice(wanted)
        self._held = [rest] if rest.num_rows else []
        return Shard(shard)

    async def keep(self, shard: Shard, batches: Sequence[pa.RecordBatch]) -> int:
        (rows,) = batches
        words = self.lookups.asks.failing_words
        failing = (word in words for word in rows.column(self.of.counted).to_pylist())
        if shard.kind is LookupKind.FIRST and not self._suspicion.believes(failing):
            log.warning("%s: so many names fail that it may be us: asked again", self.stage)
            self.lookups.flushes.want()
            return 0
        return await super().keep(shard, batches)

    def returned(self, shard: Shard, *, whole: bool) -> None:
        super().returned(shard, whole=whole)
        if shard.kind is LookupKind.LAST:
            self.last_under_way -= 1
            self.lookups.flushes.last_ended.set()
        if shard.kind is LookupKind.FIRST and not whole:
            self._frontier.open(buckets_of(shard.rows))

    def wanted(self, _: pa.RecordBatch, stored: Stored) -> None:
        """New hosts are wanted."""
        self._frontier.open(stored.wanted)

    async def reopen(self, *, at_the_end: bool) -> None:
        self._frontier.open(range(BUCKETS))
        if self.of.tables[0] != MX_HOST:
            return

        async def want(held: Connection) -> None:  # again from the start, if the database restarts
            async for hosts in due.unwanted_hosts(held, self.engine.run, _FETCH_ROWS):
                await self.engine.store([(WANTED_HOST, hosts)], replace=False)

        await patiently(self.engine.pool, want)


class LaterLine(_LookupLine):
    """What failed, once its rest is over, until its last but one lookup.

    These rows mostly wait for servers that are silent, and a scan waits for a whole window of
    them at once: so a shard has two windows at most, and slow questions leave their place.
    """

    def __init__(self, lookups: Lookups, stage: Stage, state: StageState) -> None:
        super().__init__(lookups, stage, state)
        self.resource = f"{stage.name} again"
        self.share = stage.later_share

    async def take(self, *, last: bool) -> Shard | None:
        self.look_at = math.inf  # unless something wakes it meanwhile
        most = 2 * self.engine.client(self.share).window
        parts: list[pa.RecordBatch] = []
        dates: list[datetime] = []
        for passes, rest_s in enumerate(self.engine.settings.client.passes_s, start=1):
            rows, following = await self.lookups.again(passes, rest_s, most)
            parts.append(rows)
            if following is not None:
                dates.append(following)
        next_at = min(dates, default=None)
        self.state.next_at = None if next_at is None else next_at.timestamp()
        if next_at is not None:
            rest_s = max(0.0, (next_at - clock.now()).total_seconds())
            self.look_at = min(self.look_at, time.monotonic() + rest_s)
        due_now = pa.Table.from_batches(parts).combine_chunks().to_batches()
        if not due_now:
            return None
        self.look_at = 0.0
        return self.hand(due_now[0].slice(0, most), LookupKind.LATER)


def longest_s(context: ScanContext, rows: pa.RecordBatch) -> float:
    """How long lookups of `rows` may take: all unanswered, and those of one set in a row."""
    client = context.client
    unanswered_s = (1 + rows.num_rows / client.window) * TRIES_A_ROW * context.try_s
    per_s = client.questions_per_s_per_name_server_set
    return unanswered_s + _largest_set(rows) * QUESTIONS_A_ROW / per_s


def _largest_set(rows: pa.RecordBatch) -> int:
    """How many of the rows have the same name servers; hosts: the same parent domain."""
    if "ns" in rows.schema.names:
        sets = pc.binary_join(rows.column("ns").cast(pa.list_(pa.string())), " ")
        known = sets.filter(pc.not_equal(sets, ""))
    else:
        known = pc.replace_substring_regex(rows.column("host"), r"^[^.]*\.?", "")
    counts = pc.value_counts(known).field("counts")
    return int(pc.max(counts).as_py() or 0)
