"""Shards on a real Dask cluster whose workers are killed, stopped, blocked, and poisoned."""

import asyncio
import math
import os
import signal
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import distributed
import pyarrow as pa
import pytest
import pytest_asyncio

from crawler.coordinator.cluster import SLOTS, workers
from crawler.coordinator.dispatcher import Dispatcher, Line, Stopped
from crawler.coordinator.node import Scan
from crawler.coordinator.settings import SurveySettings
from crawler.coordinator.shards import Errand, Progress, Shard
from crawler.coordinator.state import StageState
from tests.support.contexts import scan_context
from tests.survey_scans import BUG, HANG, POISON, STALL, names, patient, scan

WORKERS = 2
SETTINGS = SurveySettings(workers=WORKERS, worker_ttl_s=5.0)
INNOCENT = [f"name-{number}" for number in range(16)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[distributed.Client]:
    async with workers(SETTINGS, tmp_path_factory.mktemp("workers")) as opened:
        yield opened


class Fixed(Line):
    """A line of shards that are given, whose rows are names."""

    stage = "fixed"
    slots = 6

    def __init__(self, shards: Sequence[Shard], state: StageState, errand: Errand) -> None:
        super().__init__(state)
        self.stored: list[str] = []
        self.quarantined: list[tuple[str, str]] = []
        self._shards = deque(shards)
        self._errand = errand

    async def take(self, *, last: bool) -> Shard | None:
        if self._shards:
            return self._shards.popleft()
        self.look_at = math.inf
        return None

    def errand(self, shard: Shard) -> Errand:
        return self._errand

    async def keep(self, shard: Shard, batches: Sequence[pa.RecordBatch]) -> int:
        for batch in batches:
            self.stored += map(str, batch.column("name").to_pylist())
        return batches[0].num_rows

    def returned(self, shard: Shard, *, whole: bool) -> None:
        if not whole:  # what was not stored is still due
            self._shards.append(shard)

    async def set_aside(self, rows: pa.RecordBatch, reason: str) -> None:
        (name,) = rows.column("name").to_pylist()
        self.quarantined.append((str(name), reason))


@dataclass
class Pass:
    """What came of some shards."""

    client: distributed.Client
    log: Path
    stored: list[str] = field(default_factory=list)
    quarantined: list[tuple[str, str]] = field(default_factory=list)
    progress: Progress = field(default_factory=Progress)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(
        self,
        *shards: Shard,
        scan: Scan = scan,
        settings: SurveySettings = SETTINGS,
        deadline_s: float = 60.0,
        retry_wait_s: float = 0.0,
        slots: int = 6,
        **options: Any,
    ) -> None:
        scan = partial(scan, log=self.log, **options)
        errand = Errand(scan=scan, context=scan_context(), deadline_s=deadline_s)
        line = Fixed(shards, StageState("fixed", progress=self.progress), errand)
        line.retry_wait_s = retry_wait_s
        line.slots = slots
        self.stored, self.quarantined = line.stored, line.quarantined
        await Dispatcher(self.client, settings, [line], self.stopping).run()

    def seen(self, name: str) -> list[tuple[int, float]]:
        """The processes that had a name, and when."""
        lines = (line.split() for line in self.log.read_text().splitlines())
        return [(int(pid), float(at)) for pid, one, at in lines if one == name]


@pytest_asyncio.fixture(loop_scope="module")
async def one_pass(client: distributed.Client, tmp_path: Path) -> Pass:
    await client.wait_for_workers(WORKERS)  # the test before may have ended some
    log = tmp_path / "log"
    log.touch()
    return Pass(client, log)


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_poisoned_row_is_quarantined_and_no_innocent_one(one_pass: Pass) -> None:
    poisoned = Shard(names(*INNOCENT[:6], POISON, *INNOCENT[6:9]))
    beside = [Shard(names(one)) for one in INNOCENT[9:]]
    await one_pass.run(poisoned, *beside)
    assert one_pass.quarantined == [(POISON, "its worker died")]
    assert sorted(one_pass.stored) == sorted(INNOCENT)
    assert one_pass.progress.quarantined == 1


async def test_two_poisoned_rows_at_once(one_pass: Pass) -> None:
    shards = [Shard(names(POISON, *INNOCENT[:2])), Shard(names(*INNOCENT[2:5], POISON))]
    await one_pass.run(*shards, *(Shard(names(one)) for one in INNOCENT[5:]))
    assert [name for name, _ in one_pass.quarantined] == [POISON, POISON]
    assert sorted(one_pass.stored) == sorted(INNOCENT)


async def test_a_row_that_a_scan_raises_for_costs_no_other(one_pass: Pass) -> None:
    await one_pass.run(Shard(names(*INNOCENT[:5], BUG, *INNOCENT[5:])))
    assert one_pass.quarantined == [(BUG, "ValueError('bug')")]
    assert sorted(one_pass.stored) == sorted(INNOCENT)


async def test_a_scan_that_raises_for_everything_is_no_rows_fault(one_pass: Pass) -> None:
    few = SurveySettings(workers=WORKERS, most_quarantined=2)
    with pytest.raises(ValueError, match=BUG):
        await one_pass.run(Shard(names(*[BUG] * 8)), settings=few)
    assert len(one_pass.quarantined) == 2


async def test_a_stopped_worker_is_restarted(one_pass: Pass) -> None:
    """SIGSTOP: no heartbeat for worker_ttl_s."""
    await one_pass.run(*(Shard(names(one)) for one in (*INNOCENT, STALL)), once=True)
    assert sorted(one_pass.stored) == sorted((*INNOCENT, STALL))
    first, again = one_pass.seen(STALL)
    assert first[0] != again[0]
    assert not one_pass.quarantined


async def test_past_its_deadline_a_shard_ends_its_worker_and_only_that(
    one_pass: Pass, client: distributed.Client
) -> None:
    before = set(await worker_pids(client))
    await one_pass.run(*(Shard(names(one)) for one in (HANG, *INNOCENT)), once=True, deadline_s=2.0)
    assert sorted(one_pass.stored) == sorted((*INNOCENT, HANG))
    await client.wait_for_workers(WORKERS)
    after = set(await worker_pids(client))
    (ended,) = before - after
    assert ended == one_pass.seen(HANG)[0][0]
    assert len(after) == WORKERS


async def test_a_probe_rests_before_it_goes_out_again(one_pass: Pass) -> None:
    """Its targets have just been connected to: neither Dask nor we knock again at once."""
    rest_s = 3.0
    await one_pass.run(Shard(names(POISON, "mx.example")), once=True, retry_wait_s=rest_s)
    (_, first), (_, again) = one_pass.seen(POISON)
    assert again - first >= rest_s
    assert sorted(one_pass.stored) == ["mx.example", POISON]


async def test_a_worker_killed_from_outside(one_pass: Pass, client: distributed.Client) -> None:
    async def kill_one() -> None:
        pid, *_ = await worker_pids(client)
        os.kill(pid, signal.SIGKILL)

    await asyncio.gather(one_pass.run(*(Shard(names(*INNOCENT)) for _ in range(50))), kill_one())
    assert sorted(one_pass.stored) == sorted(INNOCENT * 50)
    assert not one_pass.quarantined


async def test_stopped_scans_return_what_they_have_and_the_others_never_begin(
    one_pass: Pass, client: distributed.Client, tmp_path: Path
) -> None:
    at_once = WORKERS * len(SLOTS)
    shards = [Shard(names("kept", "left")) for _ in range(at_once + 2)]

    begun = tmp_path / "begun"
    os.mkfifo(begun)

    async def stop_when_all_have_begun() -> None:
        await asyncio.to_thread(read_lines, begun, at_once)
        one_pass.stopping.set()

    running = one_pass.run(*shards, scan=patient, slots=len(shards), begun=begun)
    with pytest.raises(Stopped):
        await asyncio.gather(running, stop_when_all_have_begun())
    assert one_pass.stored == ["kept"] * at_once


def read_lines(fifo: Path, count: int) -> None:
    with os.fdopen(os.open(fifo, os.O_RDWR), "r") as lines:  # no end of file between two writers
        for _ in range(count):
            lines.readline()


async def worker_pids(client: distributed.Client) -> list[int]:
    return list((await client.run(os.getpid)).values())


class SlowToAsk(Fixed):
    """A line whose question about what is due is answered after a shard was stored meanwhile."""

    def __init__(self, due: Sequence[str], state: StageState, errand: Errand) -> None:
        super().__init__((), state, errand)
        self._due = due
        self._under_way: set[str] = set()
        self._kept = asyncio.Event()

    async def take(self, *, last: bool) -> Shard | None:
        unstored = [name for name in self._due if name not in self.stored]
        if self._under_way:
            await self._kept.wait()
            await asyncio.sleep(0)  # whoever waited for the store goes on
        free = [name for name in unstored if name not in self._under_way]
        if not free:
            self.look_at = math.inf
            return None
        self._under_way.add(free[0])
        return Shard(names(free[0]))

    async def keep(self, shard: Shard, batches: Sequence[pa.RecordBatch]) -> int:
        kept = await super().keep(shard, batches)
        self._kept.set()
        return kept

    def returned(self, shard: Shard, *, whole: bool) -> None:
        self._under_way.difference_update(map(str, shard.rows.column("name").to_pylist()))


async def test_what_is_stored_while_a_line_asks_is_not_handed_out_again(
    client: distributed.Client, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    log.touch()
    errand = Errand(scan=partial(scan, log=log), context=scan_context(), deadline_s=60.0)
    line = SlowToAsk(INNOCENT[:4], StageState("fixed", progress=Progress()), errand)
    await Dispatcher(client, SETTINGS, [line], asyncio.Event()).run()
    assert sorted(line.stored) == sorted(INNOCENT[:4])
