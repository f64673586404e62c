"""How far a survey is: plain values, for the display, `status`, and Prometheus."""

import time
from collections import deque
from pathlib import Path
from typing import Any

from crawler.coordinator.cluster import memory
from crawler.coordinator.engine import Engine
from crawler.coordinator.state import Doing, StageState
from dane import clock

_RATE_OVER_S = 10.0
_PAGE = 4096


class Watch:
    """The latest look at an engine; `look` takes a new one."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.workers: dict[str, int] = {}  # resident bytes by worker
        self._counts: deque[tuple[float, int, int]] = deque()  # when; rows, questions until then

    async def look(self) -> None:
        """Ask the workers' scheduler, and count."""
        self.workers = await memory(self.engine.workers)
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

    def now(self) -> dict[str, Any]:
        """What is true at this moment; rates are of the last ten seconds, memory in bytes."""
        rows_per_s, questions_per_s = self._rates()
        return {
            "run": self.engine.run.run_id,
            "rows_per_second": rows_per_s,
            "questions_per_second": questions_per_s,
            "canaries": self.engine.canaries.health,
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
