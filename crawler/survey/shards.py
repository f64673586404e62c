"""From shards to workers and back: the loop that every stage shares.

A bounded number of shards is with the workers; one more goes out for each that comes
back. What came back is handed to `store`, one transaction a shard. A shard that a worker
took down with it goes out again, halved from the second time on, until the one row that
kills workers is left: that goes to `quarantine`, with the reason.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import distributed
import pyarrow as pa
from distributed.scheduler import KilledWorker

from crawler.survey.cluster import stop_scans
from crawler.survey.node import of_this_node
from crawler.survey.settings import SurveySettings

log = logging.getLogger(__name__)

Scan = Callable[..., pa.RecordBatch | Sequence[pa.RecordBatch]]
Store = Callable[[Sequence[pa.RecordBatch]], Awaitable[None]]
Quarantine = Callable[[pa.RecordBatch, str], Awaitable[None]]

DEATHS_BEFORE_HALVING = 2
DEATHS_BEFORE_QUARANTINE = 3  # of a single row: a neighbour's crash is not its fault


@dataclass(frozen=True, slots=True)
class Shard:
    """Rows to scan, and what they all share (None, or rows that the scan looks up in)."""

    rows: pa.RecordBatch
    context: pa.RecordBatch | None = None
    deaths: int = 0
    deadline_s: float | None = None  # default: survey.shard_deadline_s


@dataclass(slots=True)
class Progress:
    """What a pass has done so far; read by the display while the pass runs."""

    rows_out: int = 0  # handed to workers, each row once
    rows_in: int = 0  # came back and are stored
    shards: int = 0
    resubmitted: int = 0
    quarantined: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)


def to_bytes(batch: pa.RecordBatch) -> bytes:
    """An Arrow IPC stream: only the rows of a slice, not the buffers that it was cut from."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue().to_pybytes()


def from_bytes(stream: bytes) -> pa.RecordBatch:
    """The one batch of a stream made by `to_bytes`."""
    with pa.ipc.open_stream(stream) as reader:
        return reader.read_next_batch()


def run_scan(
    scan: Scan, rows: bytes, context: bytes | None, options: Mapping[str, Any]
) -> list[bytes]:
    """Runs in a worker: one scan of one shard, its results as IPC streams."""
    extra = {} if context is None else {"context": from_bytes(context)}
    result = scan(from_bytes(rows), **extra, **of_this_node(options))
    return [to_bytes(one) for one in ([result] if isinstance(result, pa.RecordBatch) else result)]


class Dispatcher:
    """Sends the shards of one pass to the workers and stores what comes back.

    `retry_wait_s` is how long a shard rests after its worker died: 0 for questions to our
    own resolver, a minute for a probe, whose targets have just been connected to.
    A shard past its deadline ends its worker.
    """

    def __init__(
        self,
        workers: distributed.Client,
        settings: SurveySettings,
        *,
        scan: Scan,
        options: Mapping[str, Any],
        store: Store,
        quarantine: Quarantine,
        retry_wait_s: float,
        stopping: asyncio.Event,
        progress: Progress,
    ) -> None:
        self._workers = workers
        self._settings = settings
        self._scan = scan
        self._options = options
        self._store = store
        self._quarantine = quarantine
        self._retry_wait_s = retry_wait_s
        self._stopping = stopping
        self._progress = progress
        self._again: deque[Shard] = deque()

    async def run(self, shards: AsyncIterator[Shard]) -> None:
        """Until the shards are used up or `stopping` is set; what is under way is stored then."""
        more = True
        under_way: set[asyncio.Task[None]] = set()
        stop = asyncio.create_task(self._stopping.wait())
        told = False
        try:
            while True:
                while (
                    len(under_way) < self._settings.shards_in_flight
                    and not stop.done()
                    and (self._again or more)
                ):
                    if self._again:
                        shard = self._again.popleft()
                    else:
                        try:
                            shard = await anext(shards)
                        except StopAsyncIteration:
                            more = False
                            continue
                        self._progress.shards += 1
                        self._progress.rows_out += shard.rows.num_rows
                    under_way.add(asyncio.create_task(self._one(shard)))
                if stop.done() and not told:
                    told = True
                    await self._workers.run(stop_scans, on_error="ignore")
                if not under_way:
                    return
                watched: set[asyncio.Task[Any]] = set(under_way)
                if not told:
                    watched.add(stop)
                done, _ = await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
                for task in done & under_way:
                    under_way.discard(task)
                    task.result()
        finally:
            stop.cancel()
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)

    async def _one(self, shard: Shard) -> None:
        future = self._workers.submit(
            run_scan,
            self._scan,
            to_bytes(shard.rows),
            None if shard.context is None else to_bytes(shard.context),
            self._options,
            pure=False,
        )
        deadline_s = shard.deadline_s or self._settings.shard_deadline_s
        try:
            async with asyncio.timeout(deadline_s):
                streams = await future
        except KilledWorker:
            await self._after_death(shard, "the worker died")
            return
        except TimeoutError:
            await self._end_worker_of(future)
            await self._after_death(shard, f"no result in {deadline_s:g} s")
            return
        finally:
            future.release()
        await self._store([from_bytes(stream) for stream in streams])

    async def _end_worker_of(self, future: "distributed.Future[list[bytes]]") -> None:
        """A thread cannot be cancelled: the process is restarted, its other shard goes again."""
        processing = await self._workers.processing()
        held_by = [worker for worker, keys in processing.items() if future.key in keys]
        await self._workers.cancel([future], force=True)
        if held_by:
            await self._workers.restart_workers(held_by, raise_for_error=False)

    async def _after_death(self, shard: Shard, reason: str) -> None:
        deaths = shard.deaths + 1
        rows = shard.rows
        self._progress.resubmitted += 1
        log.warning("shard of %d rows: %s (%d times)", rows.num_rows, reason, deaths)
        if rows.num_rows == 1 and deaths >= DEATHS_BEFORE_QUARANTINE:
            self._progress.quarantined += 1
            await self._quarantine(rows, reason)
            return
        if self._retry_wait_s:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._retry_wait_s):
                    await self._stopping.wait()
        if rows.num_rows > 1 and deaths >= DEATHS_BEFORE_HALVING:
            half = rows.num_rows // 2
            for part in (rows.slice(0, half), rows.slice(half)):
                self._again.append(replace(shard, rows=part, deaths=deaths - 1))
        else:
            self._again.append(replace(shard, deaths=deaths))
