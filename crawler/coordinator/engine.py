"""What all stages of a run share: the database, the workers, the resolvers, the passes.

Every stage is the same sentence: ask PostgreSQL, bucket by bucket, which names of this
run have no row yet; scan them; store the rows, one transaction a shard. Whatever is lost
on the way (a dead worker, a pause of the network, our own end) is simply still missing,
and is asked again.
"""

import asyncio
import contextlib
import dataclasses
import logging
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import distributed
import pyarrow as pa
import pyarrow.compute

from crawler.coordinator import node
from crawler.coordinator.canaries import CanaryHistory
from crawler.coordinator.cluster import THREADS_PER_WORKER, parallel
from crawler.coordinator.node import Scan
from crawler.coordinator.quarantine import set_aside
from crawler.coordinator.settings import SurveySettings
from crawler.coordinator.shards import Dispatcher, Progress, Shard
from crawler.coordinator.wanted import wanted_hosts
from crawler.dns.client import Resolvers
from crawler.dns.settings import CanarySettings, ClientSettings, ResolverSettings
from crawler.dns.unbound import Unbound
from crawler.operators import merges
from crawler.scan.authority import lab_networks
from crawler.scan.canary_round import rounds_of
from crawler.scan.context import ScanContext
from crawler.smtp.settings import ProbeSettings
from dane import clock
from dane.faults import LocalTrouble
from dane.names import BUCKETS
from storage.copy import Writer
from storage.database import CLIENT_FAULTS, Connection, Pool, lost, patiently
from storage.run import Run, RunKind
from storage.schemas import DOMAIN_MX, WANTED_HOST, Table

log = logging.getLogger(__name__)
T = TypeVar("T")
pc: Any = pyarrow.compute  # the stubs lack some of the kernels

FIRST_BUCKETS = 16  # asked at first; how many rows they have tells how wide to ask next
FIRST_ROWS = 5_000  # of a shard, while it is not known how long a row takes
SMALLEST_SHARD = 50
SHARDS_PER_SCAN = 3  # at least, so that the last shards end close together
MORE_IN_FLIGHT = 2  # than scans at once: the next ones are at the workers already
BACK_OFF_S = 10.0  # when nothing came back; doubles
LONGEST_BACK_OFF_S = 600.0
_FLUSH_PAUSE_S = 1.0  # after a flush that failed; doubles, up to BACK_OFF_S


@dataclass(frozen=True, slots=True, kw_only=True)
class CrawlSettings:
    """The settings of everything that the crawler does."""

    resolver: ResolverSettings
    client: ClientSettings
    canaries: CanarySettings
    probe: ProbeSettings
    survey: SurveySettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What one stage does to a shard. The scan's results are one batch a table, in order."""

    stage: str
    scan: Scan
    context: ScanContext
    tables: tuple[Table, ...]  # the first one has the rows that were asked for
    counted: str  # its column whose words the display counts
    deadline_s: Callable[[pa.RecordBatch], float] = lambda _: 0.0  # besides shard_deadline_s
    retry_wait_s: float = 0.0


@dataclass(slots=True)
class StagePass:
    """One pass of one stage, for the display and the run's record."""

    stage: str
    number: int
    began: float = field(default_factory=clock.seconds)
    ended: float | None = None
    resting_until: float | None = None  # before a later pass, or after nothing came back
    progress: Progress = field(default_factory=Progress)


class Stopped(Exception):
    """The operator asked the run to stop; what was under way is stored."""


class Engine:
    """One run in one process. Made inside the event loop.

    `usual_failures`: the share of failing names of the stages resolve and hosts in the last
    run; more than three times that is taken for our own fault first.
    """

    def __init__(
        self,
        pool: Pool,
        writer: Writer,
        run: Run,
        workers: distributed.Client,
        settings: CrawlSettings,
        resolvers: Sequence[Unbound],
        stopping: asyncio.Event,
        usual_failures: Mapping[str, float],
    ) -> None:
        self.pool = pool
        self.writer = writer
        self.run = run
        self.workers = workers
        self.settings = settings
        self.parallel = THREADS_PER_WORKER  # scans at once; counted before each pass
        self.passes: list[StagePass] = []
        self.pass_began = asyncio.Event()  # cleared by whoever shows it
        self.canaries = CanaryHistory(run.record.get("canaries", {}))
        self._resolvers = resolvers
        self._stopping = stopping
        self.usual_failures = usual_failures

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection of the pool, for a cursor that is read while shards are under way."""
        async with self.pool.acquire() as held:
            yield held  # type: ignore[misc]  # the pool's proxy is a connection

    async def flush(self) -> None:
        """Forget what the resolvers hold against servers (measurement, section 1).

        Waits for resolvers that stand still, ours and those of a cluster's nodes: two looks
        count as two only with a flush between them. Raises Stopped; LocalTrouble when they
        have done so for `survey.patience_s`.
        """
        began = time.monotonic()
        pause_s = _FLUSH_PAUSE_S
        while (trouble := await self._flush_once()) is not None:
            if time.monotonic() - began > self.settings.survey.patience_s:
                raise LocalTrouble(f"the resolvers cannot be flushed: {trouble}")
            log.warning("%s: flushed again in %g s", trouble, pause_s)
            await self.rest(pause_s)
            pause_s = min(2 * pause_s, BACK_OFF_S)

    async def _flush_once(self) -> object | None:
        """Flush them all; what was in the way, if anything was."""
        try:
            await asyncio.gather(*(asyncio.to_thread(one.flush) for one in self._resolvers))
        except LocalTrouble as trouble:
            return trouble
        # Those of a cluster's nodes. A worker may be lost just now: its successor does it.
        told = await self.workers.run(node.flush, on_error="return")
        return next((one for one in told.values() if one is not None), None)

    async def rest(self, wait_s: float) -> None:
        """Wait, but not past a stop. Raises Stopped."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._stopping.wait()
        if self._stopping.is_set():
            raise Stopped

    async def finish_pass(
        self,
        work: Callable[[], Work],
        number: int,
        ask: Callable[[StagePass], AsyncIterator[Shard]],
        *,
        replace: bool,
        rest_s: float = 0.0,
    ) -> None:
        """Rest, ask, scan and store until all that was asked for has come back.

        `rest_s` counts from the end of the stage's last pass: another stage may be in between.
        `ask` gives what is missing now. A scan may keep rows back (canaries failed, worker
        lost): they are missing again the next time. Raises Stopped; LocalTrouble when
        nothing has come back for `survey.patience_s`.
        """
        self.parallel = await parallel(self.workers) or self.parallel
        now = work()
        state = StagePass(now.stage, number)
        ends = [one.ended for one in self.passes if one.stage == now.stage and one.ended]
        self.passes.append(state)
        self.pass_began.set()
        if rest_s:
            rested_s = clock.seconds() - ends[-1] if ends else 0.0
            await self._rest(state, max(0.0, rest_s - rested_s))
        if number > 1:
            await self.flush()
        progress = state.progress
        patient_since = time.monotonic()
        back_off_s = BACK_OFF_S
        while True:
            settled = progress.rows_in + progress.quarantined
            out = progress.rows_out
            interrupted = False
            try:
                await self._dispatch(now, ask(state), progress, replace=replace)
            except CLIENT_FAULTS as fault:  # a cursor does not outlive its server
                if not lost(fault):
                    raise
                interrupted = True
                log.warning("%s: the database went away: asked again", now.stage)
            if self._stopping.is_set():
                raise Stopped
            came = progress.rows_in + progress.quarantined - settled
            if came >= progress.rows_out - out and not interrupted:
                state.ended = clock.seconds()
                return
            progress.rows_out = out + came  # the others are asked again, and counted again
            if came:
                patient_since = time.monotonic()
                back_off_s = BACK_OFF_S
            elif time.monotonic() - patient_since > self.settings.survey.patience_s:
                raise LocalTrouble(
                    f"{now.stage}: no answer could be believed for "
                    f"{self.settings.survey.patience_s:g} s; `danesurvey doctor` tells why, "
                    "`danesurvey survey` goes on from here"
                )
            else:
                log.warning("%s: nothing came back; again in %g s", now.stage, back_off_s)
                await self._rest(state, back_off_s)
                back_off_s = min(2 * back_off_s, LONGEST_BACK_OFF_S)
            # nodes may have come or gone, and each gets its share of the questions a second
            self.parallel = await parallel(self.workers) or self.parallel
            now = work()

    def begun(self, stage: str) -> bool:
        """Whether there was a pass of the stage since this process began."""
        return any(one.stage == stage for one in self.passes)

    async def _rest(self, state: StagePass, wait_s: float) -> None:
        state.resting_until = clock.seconds() + wait_s
        await self.rest(wait_s)
        state.resting_until = None

    async def _dispatch(
        self, work: Work, shards: AsyncIterator[Shard], progress: Progress, *, replace: bool
    ) -> None:
        async def keep(batches: Sequence[pa.RecordBatch]) -> None:
            parts = list(zip(work.tables, batches, strict=True))
            if work.tables[0] == DOMAIN_MX and (hosts := wanted_hosts(batches[0])) is not None:
                parts.append((WANTED_HOST, hosts))
            await self.writer.store(parts, replace=replace)
            rows = batches[0]
            self.canaries.add(rounds_of(rows))
            progress.rows_in += rows.num_rows
            if "questions" in rows.schema.names:
                progress.questions += pc.sum(rows.column("questions")).as_py() or 0
            counted = Counter(progress.outcomes)
            for one in pc.value_counts(rows.column(work.counted)).to_pylist():
                counted[one["values"] or "probe"] += one["counts"]  # hosts: not settled yet
            progress.outcomes = dict(counted)
            node.give_back_memory()

        async def quarantine(rows: pa.RecordBatch, reason: str) -> None:
            await set_aside(self.pool, self.writer, self.run, work.tables[0], rows, reason)

        base_s = self.settings.survey.shard_deadline_s
        await Dispatcher(
            self.workers,
            self.settings.survey,
            scan=work.scan,
            context=work.context,
            store=keep,
            quarantine=quarantine,
            deadline_s=lambda rows: base_s + work.deadline_s(rows),
            in_flight=self.in_flight,
            retry_wait_s=work.retry_wait_s,
            stopping=self._stopping,
            progress=progress,
        ).run(shards)

    async def bucket_ranges(
        self,
        ask: Callable[[range, Connection], Awaitable[T]],
        size: Callable[[T], int],
        progress: Progress,
        most_rows: int | None = None,
    ) -> AsyncIterator[T]:
        """What `ask` finds in consecutive ranges of buckets that cover all of them.

        The buckets asked at once follow the rows that they had, so that a small run does
        not ask 4 096 times, and a large one holds only a shard or two (of `most_rows`).
        """
        start, width, fair = 0, FIRST_BUCKETS, 0
        while start < BUCKETS:
            buckets = range(start, min(start + width, BUCKETS))
            progress.buckets = buckets.start
            found = await patiently(self.pool, partial(ask, buckets))
            yield found
            rows = size(found)
            fair = fair or self.fair_rows(rows * BUCKETS // len(buckets))
            wanted = min(fair, most_rows or fair, self.shard_rows(progress))
            width = max(1, min(4 * width, width * wanted // max(1, rows)))
            start = buckets.stop
        progress.buckets = BUCKETS

    async def by_bucket(
        self, ask: Callable[[range, Connection], Awaitable[pa.RecordBatch]], state: StagePass
    ) -> AsyncGenerator[Shard]:
        """Shards of what `ask` finds, bucket range by bucket range."""
        progress = state.progress
        async for rows in self.bucket_ranges(ask, lambda one: one.num_rows, progress):
            for part in cut(rows, self.shard_rows(progress)):
                yield Shard(part)

    async def side_by_side(
        self, ask: Callable[[range, Connection], Awaitable[pa.RecordBatch]], state: StagePass
    ) -> AsyncGenerator[Shard]:
        """Shards of what `ask` finds, for rows that wait longer than they work.

        What fails mostly waits for servers that are silent, minutes in a last pass, and a scan
        waits for a whole window of rows at once: two shards one after the other take twice as
        long as one, and how long the last one took says nothing of how many rows to take next.
        So every scan gets one shard, of two windows at most: slow questions leave their place.
        """
        most = 2 * self.client.window
        held: list[pa.RecordBatch] = []
        async for rows in self.bucket_ranges(ask, lambda one: one.num_rows, state.progress):
            held.append(rows)
            if sum(one.num_rows for one in held) >= most * self.parallel:
                for shard in self.spread(held, most):
                    yield shard
                held = []
        for shard in self.spread(held, most):
            yield shard

    def spread(self, batches: Sequence[pa.RecordBatch], most: int) -> list[Shard]:
        """Their rows in one shard a scan, of at most so many: each waits once for its slowest."""
        whole = pa.Table.from_batches(batches) if batches else None
        return [
            Shard(part)
            for one in (whole.combine_chunks().to_batches() if whole else ())
            for part in cut(one, min(most, self.fair_rows(one.num_rows, shards_per_scan=1)))
        ]

    def shard_rows(self, progress: Progress) -> int:
        """Rows of a shard that takes about `survey.shard_s`, by what the last ones took."""
        survey = self.settings.survey
        if progress.seconds_a_row is None:
            rows = FIRST_ROWS
        else:
            rows = int(survey.shard_s / progress.seconds_a_row)
        return min(max(SMALLEST_SHARD, rows), survey.shard_rows)

    def fair_rows(self, total: int, shards_per_scan: int = SHARDS_PER_SCAN) -> int:
        """Rows of a shard such that every scan gets so many shards of `total` rows."""
        return max(SMALLEST_SHARD, -(-total // (self.parallel * shards_per_scan)))

    @property
    def in_flight(self) -> int:
        """Shards with the workers at once."""
        return self.settings.survey.shards_in_flight or self.parallel + MORE_IN_FLIGHT

    def context(self, resolvers: Resolvers, *tables: Table) -> ScanContext:
        """What a scan that fills these tables is given, with its share of questions and
        connections."""
        settings, probe = self.settings, self.settings.probe
        return ScanContext(
            run_id=self.run.run_id,
            schemas=tuple(table.schema for table in tables),
            resolvers=resolvers,
            client=self.client,
            canaries=settings.canaries,
            probe=dataclasses.replace(
                probe,
                new_per_s=probe.new_per_s / self.parallel,
                both_key_types=probe.both_key_types and self.run.kind is RunKind.FULL,
            ),
            operator_merges=merges(probe.operator_merges),
            lab_networks=lab_networks(settings.resolver, probe),
        )

    @property
    def client(self) -> ClientSettings:
        """The DNS client's settings for one scan: its share of what all of them may do.

        A node that joins a cluster during a pass takes what waits at the others: there every
        shard in flight has its share.
        """
        client = self.settings.client
        scans = self.in_flight if self.settings.survey.scheduler else self.parallel
        per_s = client.questions_per_s_per_name_server_set / scans
        return dataclasses.replace(
            client,
            window=max(1, client.window // THREADS_PER_WORKER),
            questions_per_s_per_name_server_set=per_s,
        )


def cut(batch: pa.RecordBatch, rows: int) -> list[pa.RecordBatch]:
    """Slices of at most `rows` rows, as even as can be; none for an empty batch."""
    parts = -(-batch.num_rows // rows) or 1
    size = -(-batch.num_rows // parts) or 1
    return [batch.slice(start, size) for start in range(0, batch.num_rows, size)]
