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
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import distributed
import pyarrow as pa

from crawler.dns.settings import CanarySettings, ClientSettings, ResolverSettings
from crawler.dns.unbound import Unbound
from crawler.smtp.settings import ProbeSettings
from crawler.survey.cluster import THREADS_PER_WORKER
from crawler.survey.quarantine import set_aside
from crawler.survey.settings import SurveySettings
from crawler.survey.shards import Dispatcher, Progress, Scan, Shard
from dane.faults import LocalTrouble
from dane.names import BUCKETS
from storage.copy import Writer
from storage.database import Connection, Pool, patiently
from storage.run import Run
from storage.schemas import Table

log = logging.getLogger(__name__)
T = TypeVar("T")

FIRST_BUCKETS = 16  # asked at first; how many rows they have tells how wide to ask next
SMALLEST_SHARD = 200
SHARDS_PER_SCAN = 3  # at least, so that the last shards end close together
BACK_OFF_S = 10.0  # when nothing came back; doubles
LONGEST_BACK_OFF_S = 600.0


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
    options: Mapping[str, Any]
    tables: tuple[Table, ...]  # the first one has the rows that were asked for
    counted: str  # its column whose words the display counts
    retry_wait_s: float = 0.0


@dataclass(slots=True)
class StagePass:
    """One pass of one stage, for the display and the run's record."""

    stage: str
    number: int
    began: float = field(default_factory=time.time)
    ended: float | None = None
    resting_until: float | None = None  # before a later pass, or after nothing came back
    progress: Progress = field(default_factory=Progress)


class Stopped(Exception):
    """The operator asked the run to stop; what was under way is stored."""


class Engine:
    """One run in one process. Made inside the event loop."""

    def __init__(
        self,
        pool: Pool,
        writer: Writer,
        run: Run,
        workers: distributed.Client,
        parallel: int,
        settings: CrawlSettings,
        resolvers: Sequence[Unbound],
        stopping: asyncio.Event,
    ) -> None:
        self.pool = pool
        self.writer = writer
        self.run = run
        self.settings = settings
        self.parallel = parallel  # scans at once: processes times threads
        self.passes: list[StagePass] = []
        self.pass_began = asyncio.Event()  # cleared by whoever shows it
        self._workers = workers
        self._resolvers = resolvers
        self._stopping = stopping

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection of the pool, for a cursor that is read while shards are under way."""
        async with self.pool.acquire() as held:
            yield held  # type: ignore[misc]  # the pool's proxy is a connection

    async def flush(self) -> None:
        """Forget what the resolvers hold against servers (measurement, section 1)."""
        await asyncio.gather(*(asyncio.to_thread(one.flush) for one in self._resolvers))

    async def rest(self, wait_s: float) -> None:
        """Wait, but not past a stop. Raises Stopped."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._stopping.wait()
        if self._stopping.is_set():
            raise Stopped

    async def finish_pass(
        self,
        work: Work,
        number: int,
        ask: Callable[[], AsyncIterator[Shard]],
        *,
        replace: bool,
        rest_s: float = 0.0,
    ) -> None:
        """Rest, ask, scan and store until all that was asked for has come back.

        `ask` gives what is missing now. A scan may keep rows back (canaries failed, worker
        lost): they are missing again the next time. Raises Stopped; LocalTrouble when
        nothing has come back for `survey.patience_s`.
        """
        began = time.monotonic()
        back_off_s = BACK_OFF_S
        state = StagePass(work.stage, number)
        self.passes.append(state)
        self.pass_began.set()
        if rest_s:
            state.resting_until = time.time() + rest_s
            await self.rest(rest_s)
            state.resting_until = None
        if number > 1:
            await self.flush()
        while True:
            before = state.progress.rows_in, state.progress.rows_out, state.progress.quarantined
            await self._dispatch(work, ask(), state.progress, replace=replace)
            if self._stopping.is_set():
                raise Stopped
            came, went, aside = (
                now - then
                for now, then in zip(
                    (
                        state.progress.rows_in,
                        state.progress.rows_out,
                        state.progress.quarantined,
                    ),
                    before,
                    strict=True,
                )
            )
            if came + aside >= went:
                state.ended = time.time()
                return
            if came:
                began = time.monotonic()
                back_off_s = BACK_OFF_S
                continue
            if time.monotonic() - began > self.settings.survey.patience_s:
                raise LocalTrouble(
                    f"{work.stage}: no answer could be believed for "
                    f"{self.settings.survey.patience_s:g} s; `danesurvey doctor` tells why, "
                    "`danesurvey survey` goes on from here"
                )
            log.warning("%s: nothing came back; again in %g s", work.stage, back_off_s)
            state.resting_until = time.time() + back_off_s
            await self.rest(back_off_s)
            state.resting_until = None
            back_off_s = min(2 * back_off_s, LONGEST_BACK_OFF_S)

    async def lookup_passes(
        self,
        work: Callable[[Mapping[str, Any]], Work],
        first: Callable[[], AsyncIterator[Shard]],
        later: Callable[[int], AsyncIterator[Shard]],
    ) -> None:
        """All passes of a lookup stage (measurement, section 2).

        `work` gets the options that every DNS scan has; `later(n)` gives the rows that
        fail and were asked fewer than n times.
        """
        rests = self.settings.client.passes_s
        for number, rest_s in enumerate((0.0, *rests), start=1):
            ask = first if number == 1 else partial(later, number)
            if number > 1 and not await _any(ask()):
                return
            options = {
                "client": self.client,
                "canaries": self.settings.canaries,
                "run_id": self.run.run_id,
                "passes": number,
                "last_pass": number == len(rests) + 1,
            }
            await self.finish_pass(work(options), number, ask, replace=number > 1, rest_s=rest_s)

    async def _dispatch(
        self, work: Work, shards: AsyncIterator[Shard], progress: Progress, *, replace: bool
    ) -> None:
        async def keep(batches: Sequence[pa.RecordBatch]) -> None:
            parts = list(zip(work.tables, batches, strict=True))
            await self.writer.store(parts, replace=replace)
            rows = batches[0]
            progress.rows_in += rows.num_rows
            counted = Counter(progress.outcomes)
            counted.update(word or "-" for word in rows.column(work.counted).to_pylist())
            progress.outcomes = dict(counted)

        async def quarantine(rows: pa.RecordBatch, reason: str) -> None:
            await set_aside(self.pool, self.writer, self.run, work.tables[0], rows, reason)

        await Dispatcher(
            self._workers,
            self.settings.survey,
            scan=work.scan,
            options=work.options,
            store=keep,
            quarantine=quarantine,
            retry_wait_s=work.retry_wait_s,
            stopping=self._stopping,
            progress=progress,
        ).run(shards)

    async def bucket_ranges(
        self, ask: Callable[[range, Connection], Awaitable[T]], size: Callable[[T], int]
    ) -> AsyncIterator[T]:
        """What `ask` finds in consecutive ranges of buckets that cover all of them.

        The buckets asked at once follow the rows that they had, so that a small run does
        not ask 4 096 times, and a large one holds only a shard or two.
        """
        start, width, wanted = 0, FIRST_BUCKETS, 0
        while start < BUCKETS:
            buckets = range(start, min(start + width, BUCKETS))
            found = await patiently(self.pool, partial(ask, buckets))
            yield found
            rows = size(found)
            wanted = wanted or self.shard_rows(rows * BUCKETS // len(buckets))
            width = max(1, min(4 * width, width * wanted // max(1, rows)))
            start = buckets.stop

    async def by_bucket(
        self, ask: Callable[[range, Connection], Awaitable[pa.RecordBatch]]
    ) -> AsyncIterator[Shard]:
        """Shards of what `ask` finds, bucket range by bucket range."""
        async for rows in self.bucket_ranges(ask, size=lambda one: one.num_rows):
            for part in cut(rows, self.settings.survey.shard_rows):
                yield Shard(part)

    def shard_rows(self, total: int) -> int:
        """Rows a shard for `total` rows: a few shards a scan, never above the setting."""
        fair = total // (self.parallel * SHARDS_PER_SCAN)
        return min(max(SMALLEST_SHARD, fair), self.settings.survey.shard_rows)

    @property
    def client(self) -> ClientSettings:
        """The DNS client's settings for one scan: its share of what all of them may do."""
        client = self.settings.client
        per_s = client.questions_per_s_per_name_server_set / self.parallel
        return dataclasses.replace(
            client,
            window=max(1, client.window // THREADS_PER_WORKER),
            questions_per_s_per_name_server_set=per_s,
        )


async def _any(shards: AsyncIterator[Shard]) -> bool:
    async for _ in shards:
        return True
    return False


def cut(batch: pa.RecordBatch, rows: int) -> list[pa.RecordBatch]:
    """Slices of at most `rows` rows, as even as can be; none for an empty batch."""
    parts = -(-batch.num_rows // rows) or 1
    size = -(-batch.num_rows // parts) or 1
    return [batch.slice(start, size) for start in range(0, batch.num_rows, size)]
