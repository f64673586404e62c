"""One shard to a worker and back, and what is done with one that does not come back.

A worker's death comes back as KilledWorker at the first time (`allowed-failures: 0`), so that
there is one way to go on, ours. A shard that a worker took down with it is a suspect: the
dispatcher sends it again with nothing beside it, for what was at the same worker may have
been the cause. If it takes down that worker too it is halved, until the one row that kills
workers is left: that is set aside, with the reason. So is a row for which the scan raises:
ours to mend, but no reason to lose the rest.
"""

import asyncio
import logging
from dataclasses import dataclass, field, replace
from typing import Any

import distributed
import pyarrow as pa
from distributed.client import FutureCancelledError
from distributed.scheduler import KilledWorker

from crawler.coordinator.node import Scan, from_bytes, run_scan, to_bytes
from crawler.scan.context import LookupKind, ScanContext
from dane.faults import Fault, LocalTrouble

log = logging.getLogger(__name__)

DEATHS_BEFORE_HALVING = 2  # the second one was alone
DEATHS_BEFORE_QUARANTINE = 3  # of a single row, so two alone


@dataclass(frozen=True, slots=True)
class Shard:
    """Rows to scan, and rows that the scan looks up in (None: it does not)."""

    rows: pa.RecordBatch
    related: pa.RecordBatch | None = None
    kind: LookupKind = LookupKind.FIRST
    deaths: int = 0


@dataclass(frozen=True, slots=True)
class Errand:
    """How a shard is scanned. `resource`: of which a worker has one, so one such scan."""

    scan: Scan
    context: ScanContext
    deadline_s: float  # past it the shard's worker is ended
    resource: str | None = None
    fetched_as: str | None = None  # its rows may be fetched before it is over


@dataclass(frozen=True, slots=True)
class Back:
    """What came of a shard: batches (none if it never began), or why not.

    `bug`: the scan raised it, as it will for the same rows again; without one, and with a
    `reason`, its worker died.
    """

    seconds: float = 0.0
    cpu_s: float = 0.0
    batches: tuple[pa.RecordBatch, ...] = ()
    reason: str | None = None
    bug: Exception | None = None


@dataclass(slots=True)
class Progress:
    """What a stage has done so far in this process; read by the display meanwhile."""

    rows_out: int = 0  # handed to workers
    rows_in: int = 0  # came back and are stored
    shards: int = 0
    resubmitted: int = 0
    quarantined: int = 0
    questions: int = 0  # that were asked for the rows in
    cpu_s: float = 0.0  # of the scans, in their own threads
    seconds_a_row: float | None = None  # of a first lookup in one scan, lately
    outcomes: dict[str, int] = field(default_factory=dict)

    def took(self, seconds: float, rows: int) -> None:
        """A scan of `rows` rows took so long: the latest counts as much as all before it."""
        if rows and seconds:
            latest = seconds / rows
            before = latest if self.seconds_a_row is None else self.seconds_a_row
            self.seconds_a_row = (latest + before) / 2


async def send(workers: distributed.Client, shard: Shard, errand: Errand, group: str) -> Back:
    """The shard to a worker, and what came of it. `group` names what `stop_scans` ends at once.

    Raises the scan's Fault; LocalTrouble for a lost scheduler.
    """
    future = workers.submit(
        run_scan,
        errand.scan,
        to_bytes(shard.rows),
        None if shard.related is None else to_bytes(shard.related),
        errand.context,
        group,
        errand.fetched_as,
        pure=False,
        resources=None if errand.resource is None else {errand.resource: 1},
    )
    try:
        async with asyncio.timeout(errand.deadline_s):
            seconds, cpu_s, streams = await future
    except KilledWorker:
        return Back(reason="its worker died")
    except TimeoutError:
        await _end_worker_of(workers, future)
        return Back(reason=f"no result in {errand.deadline_s:g} s")
    except Fault:
        raise
    except FutureCancelledError as error:
        raise LocalTrouble(
            f"the workers' scheduler is gone ({error.reason}); `danesurvey survey` goes on"
        ) from None
    except OSError as error:  # of a scan (open files, disk), or on the way to it
        raise LocalTrouble(f"a worker, or the way to it: {error}") from None
    except Exception as bug:  # noqa: BLE001 - the shard border
        return Back(reason=repr(bug)[:1000], bug=bug)
    finally:
        future.release()
    return Back(seconds=seconds, cpu_s=cpu_s, batches=tuple(map(from_bytes, streams)))


async def _end_worker_of(workers: distributed.Client, future: "distributed.Future[Any]") -> None:
    """A thread cannot be cancelled: the process is restarted, its other shards go again."""
    processing = await workers.processing()
    held_by = [worker for worker, keys in processing.items() if future.key in keys]
    await workers.cancel([future], force=True)
    if held_by:
        await workers.restart_workers(held_by, raise_for_error=False)


def again(shard: Shard, back: Back, rows: pa.RecordBatch) -> tuple[list[Shard], bool]:
    """What goes out again after a shard that did not come back, and whether its one row is to
    be set aside instead. `rows`: those of the shard that are not stored yet."""
    if not rows.num_rows:
        return [], False
    if back.bug is None:
        deaths = shard.deaths + 1
        log.warning("shard of %d rows: %s (%d times)", rows.num_rows, back.reason, deaths)
        if rows.num_rows == 1 and deaths >= DEATHS_BEFORE_QUARANTINE:
            return [], True
        if rows.num_rows == 1 or deaths < DEATHS_BEFORE_HALVING:
            return [replace(shard, rows=rows, deaths=deaths)], False
    else:
        log.warning("shard of %d rows: %r", rows.num_rows, back.bug, exc_info=back.bug)
        if rows.num_rows == 1:
            return [], True
    half = rows.num_rows // 2
    return [
        replace(shard, rows=rows.slice(0, half), deaths=1),
        replace(shard, rows=rows.slice(half), deaths=1),
    ], False
