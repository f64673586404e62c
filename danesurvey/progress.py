"""How far a survey is: plain values, for the display, `status`, and Prometheus."""

import time
from collections import deque
from pathlib import Path
from typing import Any

from crawler.coordinator.cluster import memory
from crawler.coordinator.engine import Engine, StagePass
from dane import clock
from dane.names import BUCKETS

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
        progress = [one.progress for one in self.engine.passes]
        self._counts.append(
            (
                time.monotonic(),
                sum(one.rows_in for one in progress),
                sum(one.questions for one in progress),
            )
        )
        while self._counts[-1][0] - self._counts[0][0] > _RATE_OVER_S:
            self._counts.popleft()

    def passes(self) -> list[dict[str, Any]]:
        now = clock.seconds()
        return [describe(one, now) for one in self.engine.passes]

    def now(self) -> dict[str, Any]:
        """What is true at this moment; rates are of the last ten seconds, memory in bytes."""
        rows_per_s, questions_per_s = self._rates()
        return {
            "run": self.engine.run.run_id,
            "rows_per_second": rows_per_s,
            "questions_per_second": questions_per_s,
            "canaries": self.engine.canaries.health,
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


def describe(one: StagePass, now: float) -> dict[str, Any]:
    """One pass as plain values; times in seconds."""
    seconds = max(1e-3, (one.ended or now) - one.began)
    progress = one.progress
    return {
        "stage": one.stage,
        "pass": one.number,
        "began": round(one.began, 3),
        "state": "done" if one.ended else "resting" if one.resting_until else "running",
        "buckets": progress.buckets,
        "asked": progress.rows_out,
        "stored": progress.rows_in,
        "questions": progress.questions,
        "seconds": round(seconds, 1),
        "per_second": round(progress.rows_in / seconds, 1),
        "eta_seconds": _eta_s(one, now),
        "resubmitted": progress.resubmitted,
        "quarantined": progress.quarantined,
        "outcomes": dict(sorted(progress.outcomes.items())),
    }


def _eta_s(one: StagePass, now: float) -> float | None:
    """Until the pass has asked about its last bucket, at the pace so far; None: not known."""
    if one.ended is not None:
        return None
    if one.resting_until is not None:
        return round(one.resting_until - now, 1)
    done = (one.progress.buckets or 0) / BUCKETS
    return round((now - one.began) * (1 - done) / done, 1) if done else None


def resident() -> int:
    """Bytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * _PAGE
