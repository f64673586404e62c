"""From shards to workers and back: the loop that every stage shares.

A bounded number of shards is with the workers; one more goes out for each that comes
back. What came back is handed to `store`, one transaction a shard.

A shard that a worker took down with it is a suspect: it goes out again when all others are
back, with nothing beside it, for what was at the same worker may have been the cause. If it
takes down that worker too it is halved, until the one row that kills workers is left: that
goes to `quarantine`, with the reason. So does a row for which the scan raises: ours to mend,
but no reason to lose the rest.
"""

import asyncio
import contextlib
import logging
import uuid
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import distributed
import pyarrow as pa
from distributed.client import FutureCancelledError
from distributed.scheduler import KilledWorker

from crawler.coordinator.node import Scan, from_bytes, run_scan, stop_scans, to_bytes
from crawler.coordinator.settings import SurveySettings
from crawler.scan.context import ScanContext
from dane.faults import Fault, LocalTrouble

log = logging.getLogger(__name__)

Store = Callable[[Sequence[pa.RecordBatch]], Awaitable[None]]
Quarantine = Callable[[pa.RecordBatch, str], Awaitable[None]]

DEATHS_BEFORE_HALVING = 2  # the second one was alone
DEATHS_BEFORE_QUARANTINE = 3  # of a single row, so two alone
STOP_S = 4.0  # for scans to return what they have
_TELL_AGAIN_S = 0.5  # a scan may just have been about to begin


@dataclass(frozen=True, slots=True)
class Shard:
    """Rows to scan, and the rows of another table that they refer to, if they do."""

    rows: pa.RecordBatch
    related: pa.RecordBatch | None = None
    after: "tuple[Shard, ...]" = ()  # go out one by one, once this one is back
    deaths: int = 0


@dataclass(slots=True)
class Progress:
    """What a pass has done so far; read by the display while the pass runs."""

    rows_out: int = 0  # handed to workers, each row once
    rows_in: int = 0  # came back and are stored
    shards: int = 0
    resubmitted: int = 0
    quarantined: int = 0
    questions: int = 0  # that were asked for the rows in
    buckets: int | None = None  # asked about so far; None: not asked bucket by bucket
    seconds_a_row: float | None = None  # in one scan, lately
    outcomes: dict[str, int] = field(default_factory=dict)

    def took(self, seconds: float, rows: int) -> None:
        """A scan of `rows` rows took so long: the latest counts as much as all before it."""
        if rows and seconds:
            latest = seconds / rows
            before = latest if self.seconds_a_row is None else self.seconds_a_row
            self.seconds_a_row = (latest + before) / 2


class Dispatcher:
    """Sends the shards of one pass to the workers and stores what comes back.

    `retry_wait_s` is how long a shard rests after its worker died: 0 for questions to our
    own resolver, a minute for a probe, whose targets have just been connected to.
    `deadline_s` says how long a shard may take at most; past it its worker is ended.
    """

    def __init__(
        self,
        workers: distributed.Client,
        settings: SurveySettings,
        *,
        scan: Scan,
        context: ScanContext,
        store: Store,
        quarantine: Quarantine,
        deadline_s: Callable[[pa.RecordBatch], float],
        in_flight: int,
        retry_wait_s: float,
        stopping: asyncio.Event,
        progress: Progress,
    ) -> None:
        self._workers = workers
        self._settings = settings
        self._scan = scan
        self._context = context
        self._store = store
        self._quarantine = quarantine
        self._deadline_s = deadline_s
        self._in_flight = in_flight
        self._retry_wait_s = retry_wait_s
        self._stopping = stopping
        self._progress = progress
        self._again: deque[Shard] = deque()  # go out next
        self._suspects: deque[Shard] = deque()  # go out last, one by one
        self._pass_id = uuid.uuid4().hex

    async def run(self, shards: AsyncIterator[Shard]) -> None:
        """Until the shards are used up or `stopping` is set; what is under way is stored then.

        What `shards` raises is raised when all that is under way is stored.
        """
        more = True
        trouble: Exception | None = None
        under_way: set[asyncio.Task[None]] = set()
        stop = asyncio.create_task(self._stopping.wait())
        try:
            while not stop.done():
                while len(under_way) < self._in_flight and (self._again or more):
                    if self._again:
                        shard = self._again.popleft()
                    else:
                        try:
                            shard = await anext(shards)
                        except StopAsyncIteration:
                            more = False
                            continue
                        except Exception as fault:  # noqa: BLE001 - raised below
                            more, trouble = False, fault
                            continue
                        self._progress.shards += 1
                        self._progress.rows_out += shard.rows.num_rows
                        self._progress.rows_out += sum(one.rows.num_rows for one in shard.after)
                    under_way.add(asyncio.create_task(self._one(shard)))
                if not under_way and self._suspects:
                    under_way.add(asyncio.create_task(self._one(self._suspects.popleft())))
                if not under_way:
                    break
                done, _ = await asyncio.wait(
                    {stop, *under_way}, return_when=asyncio.FIRST_COMPLETED
                )
                for task in done & under_way:
                    under_way.discard(task)
                    task.result()
            if under_way:
                await self._finish(under_way)
            if trouble is not None:
                raise trouble
        finally:
            stop.cancel()
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)

    async def _finish(self, under_way: set[asyncio.Task[None]]) -> None:
        """Stop the scans and store what they have; what takes longer than STOP_S is left."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_S):
                while under_way:
                    telling = self._workers.run(stop_scans, self._pass_id, on_error="ignore")
                    with contextlib.suppress(TimeoutError):  # one of them may stand still
                        await asyncio.wait_for(telling, STOP_S / 2)
                    done, _ = await asyncio.wait(under_way, timeout=_TELL_AGAIN_S)
                    under_way -= done
                    for task in done:
                        task.result()

    async def _one(self, shard: Shard) -> None:
        deadline_s = self._deadline_s(shard.rows)
        future = self._workers.submit(
            run_scan,
            self._scan,
            to_bytes(shard.rows),
            None if shard.related is None else to_bytes(shard.related),
            self._context,
            self._pass_id,
            pure=False,
        )
        try:
            async with asyncio.timeout(deadline_s):
                seconds, streams = await future
        except KilledWorker:
            await self._after_death(shard, "its worker died")
        except TimeoutError:
            await self._end_worker_of(future)
            await self._after_death(shard, f"no result in {deadline_s:g} s")
        except Fault:
            raise
        except FutureCancelledError as error:
            raise LocalTrouble(
                f"the workers' scheduler is gone ({error.reason}); `danesurvey survey` goes on"
            ) from None
        except OSError as error:  # of a scan (open files, disk), or on the way to it
            raise LocalTrouble(f"a worker, or the way to it: {error}") from None
        except Exception as bug:  # noqa: BLE001 - the shard border
            await self._after_bug(shard, bug)
        else:
            self._progress.took(seconds, shard.rows.num_rows)
            if streams:
                await self._store([from_bytes(stream) for stream in streams])
            self._go_on(shard)
        finally:
            future.release()

    async def _end_worker_of(self, future: "distributed.Future[Any]") -> None:
        """A thread cannot be cancelled: the process is restarted, its other shard goes again."""
        processing = await self._workers.processing()
        held_by = [worker for worker, keys in processing.items() if future.key in keys]
        await self._workers.cancel([future], force=True)
        if held_by:
            await self._workers.restart_workers(held_by, raise_for_error=False)

    async def _after_death(self, shard: Shard, reason: str) -> None:
        """Once more, in halves, or into quarantine."""
        deaths = shard.deaths + 1
        rows = shard.rows.num_rows
        self._progress.resubmitted += 1
        log.warning("shard of %d rows: %s (%d times)", rows, reason, deaths)
        if rows == 1 and deaths >= DEATHS_BEFORE_QUARANTINE:
            await self._set_aside(shard, reason)
            return
        if self._retry_wait_s:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._retry_wait_s):
                    await self._stopping.wait()
        if rows > 1 and deaths >= DEATHS_BEFORE_HALVING:
            self._halve(shard)
        else:
            self._suspects.append(replace(shard, deaths=deaths))

    async def _after_bug(self, shard: Shard, bug: Exception) -> None:
        """A scan raised, as it will for the same rows again: halves, or quarantine."""
        log.warning("shard of %d rows: %r", shard.rows.num_rows, bug, exc_info=bug)
        if self._progress.quarantined >= self._settings.most_quarantined:
            raise bug  # not a row's fault
        if shard.rows.num_rows > 1:
            self._progress.resubmitted += 1
            self._halve(shard)
        else:
            await self._set_aside(shard, repr(bug)[:1000])

    def _halve(self, shard: Shard) -> None:
        """Both halves go out again as suspects."""
        half = shard.rows.num_rows // 2
        second = replace(shard, rows=shard.rows.slice(half), deaths=1)
        first = replace(shard, rows=shard.rows.slice(0, half), after=(), deaths=1)
        self._suspects.extend((first, second))

    async def _set_aside(self, shard: Shard, reason: str) -> None:
        self._progress.quarantined += 1
        await self._quarantine(shard.rows, reason)
        self._go_on(shard)

    def _go_on(self, shard: Shard) -> None:
        """The shard that waited for this one has its turn."""
        if shard.after:
            following, *rest = shard.after
            self._again.append(replace(following, after=tuple(rest)))
