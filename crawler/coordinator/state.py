"""How far a stage is: for the display, `status` and the run's record."""

from dataclasses import dataclass, field
from enum import StrEnum

from crawler.coordinator.shards import Progress


class Doing(StrEnum):
    WAITING = "waiting"  # has not begun
    RUNNING = "running"  # rows are due or under way
    RESTING = "resting"  # rows wait for a date, or for the end of the run
    DONE = "done"


@dataclass(slots=True)
class StageState:
    """One stage in one process; times are seconds since 1970."""

    stage: str
    began: float | None = None
    ended: float | None = None
    doing: Doing = Doing.WAITING
    next_at: float | None = None  # when the first of the rows that rest is due
    progress: Progress = field(default_factory=Progress)
