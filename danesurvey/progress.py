"""How far a survey is: plain values, for the display, `status`, and Prometheus."""

import time
from collections import deque
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from crawler.coordinator.cluster import memory
from crawler.coordinator.engine import Engine
from crawler.coordinator.state import Doing, StageState
from crawler.coordinator.waiting import Waiting, rests, waiting
from dane import clock
from storage import census, due
from storage.database import patiently

_RATE_OVER_S = 10.0
_PAGE = 4096
_ASK_S = 10.0  # between two questions to the database


class Watch:
    """The latest look at an engine; `look` takes a new one."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.workers: dict[str, int] = {}  # resident bytes by worker
        self._asked = -_ASK_S
        self._waiting: list[Waiting] = []
        self._domains: int | None = None  # without a row when this process began
        self._rests = rests(engine.settings.client, engine.settings.probe)
        self._counts: deque[tuple[float, int, int]] = deque()  # when; rows, questions until then

    async def look(self) -> None:
        """Ask the workers' scheduler, and count."""
        self.workers = await memory(self.engine.workers)
        if time.monotonic() - self._asked >= _ASK_S:
            self._asked = time.monotonic()
            await self._ask()
        progress = [one.progress for one in self.engine.stages]
        self._counts.append(
            (
                time.monotonic(),
                sum(one.rows_in for one in progress),
                sum(one.questions for one in progress),
            )
        )
        while self._counts[-1][0] - self._counts[0][0] > _RATE_OVER_S:
            self._counts.popleft()

    def stages(self) -> list[dict[str, Any]]:
        """The stages that have begun."""
        now = clock.seconds()
        return [describe(one, now) for one in self.engine.stages if one.began is not None]

    async def _ask(self) -> None:
        """Ask the database what waits, and once how many domains there are."""
        engine = self.engine
        resting = await patiently(engine.pool, partial(due.resting, run=engine.run))
        self._waiting = waiting(resting, self._rests)
        if self._domains is None:
            self._domains = await patiently(engine.pool, partial(census.left, run=engine.run))

    def waiting(self) -> list[dict[str, Any]]:
        """By stage, what waits and until when (ISO 8601)."""
        return [
            {**asdict(one), "next": one.next and one.next.isoformat(timespec="seconds")}
            for one in self._waiting
        ]

    def _to_go_s(self) -> float | None:
        """Until the end of the run, about: what is left of the domains at the pace so far, the
        rests of what fails then, and the last lookups. None: not known yet."""
        stages = {one.stage: one for one in self.engine.stages}
        resolve = stages.get("resolve")
        if resolve is None or not resolve.began or not self._domains:
            return None
        progress = resolve.progress
        passed_s = max(1.0, clock.seconds() - resolve.began)
        left = max(0, self._domains - progress.rows_in) if resolve.progress.rows_in else None
        if left is None:
            return None
        settings = self.engine.settings
        first_s = left * passed_s / progress.rows_in if left else 0.0
        dates = [one.next for one in self._waiting if one.next is not None]
        rest_s = 0.0
        if left or dates:
            rest_s = max(
                sum(settings.client.passes_s),
                sum(settings.probe.attempts_after_s) if "probe" in stages else 0.0,
            )
            rest_s -= 0.0 if left else min(rest_s, passed_s)
            if dates:
                rest_s = max(rest_s, (max(dates) - clock.now()).total_seconds())
        last_s = settings.client.last_try_s if left or self._waiting else 0.0
        return round(first_s + rest_s + last_s, 1)

    def now(self) -> dict[str, Any]:
        """What is true at this moment; rates are of the last ten seconds, memory in bytes."""
        rows_per_s, questions_per_s = self._rates()
        return {
            "run": self.engine.run.run_id,
            "rows_per_second": rows_per_s,
            "questions_per_second": questions_per_s,
            "canaries": self.engine.canaries.health,
            "to_go_seconds": self._to_go_s(),
            "cpu_seconds_of_coordinator": round(time.process_time(), 2),
            "memory": {"coordinator": resident(), "workers": self.workers},
        }

    def _rates(self) -> tuple[float, float]:
        if len(self._counts) < 2:
            return 0.0, 0.0
        (began, *first), (ended, *last) = self._counts[0], self._counts[-1]
        rows, questions = (
            round((now - then) / max(1e-3, ended - began), 1)
            for then, now in zip(first, last, strict=True)
        )
        return rows, questions


def describe(one: StageState, now: float) -> dict[str, Any]:
    """One stage as plain values; times in seconds."""
    seconds = max(1e-3, (one.ended or now) - (one.began or now))
    progress = one.progress
    resting = one.doing is Doing.RESTING and one.next_at is not None
    return {
        "stage": one.stage,
        "began": one.began and round(one.began, 3),
        "state": one.doing.value,
        "under_way": progress.rows_out - progress.rows_in,
        "stored": progress.rows_in,
        "questions": progress.questions,
        "cpu_seconds": round(progress.cpu_s, 2),
        "seconds": round(seconds, 1),
        "per_second": round(progress.rows_in / seconds, 1),
        "next_seconds": round((one.next_at or now) - now, 1) if resting else None,
        "resubmitted": progress.resubmitted,
        "quarantined": progress.quarantined,
        "outcomes": dict(sorted(progress.outcomes.items())),
    }


def resident() -> int:
    """Bytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * _PAGE
