"""What waits for what, and until when: from what a run's tables say."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from crawler.dns.settings import ClientSettings
from crawler.smtp.settings import ProbeSettings


@dataclass(frozen=True, slots=True)
class Waiting:
    """Rows of a stage that wait. `next`: when the first of them is due; None: at the end."""

    stage: str
    rows: int
    at_the_end: int  # of those, that wait for the end of the run
    next: datetime | None


def rests(client: ClientSettings, probe: ProbeSettings) -> dict[str, tuple[float, ...]]:
    """How long a row rests after its first, second, … lookup or attempt (s)."""
    return {
        "resolve": client.passes_s,
        "hosts": client.passes_s,
        "probe": probe.attempts_after_s,
    }


def due_at(
    stage: str, passes: int, asked: datetime, waits: Mapping[str, tuple[float, ...]]
) -> datetime | None:
    """When a row that failed is due again; None: at the end of the run, or not at all."""
    after_s = waits[stage]
    return asked + timedelta(seconds=after_s[passes - 1]) if passes <= len(after_s) else None


def waiting(
    resting: Iterable[Mapping[str, Any]], waits: Mapping[str, tuple[float, ...]]
) -> list[Waiting]:
    """By stage, of the rows of `storage.due.resting`."""
    found: dict[str, Waiting] = {}
    for row in resting:
        stage, passes = row["stage"], row["passes"]
        next_at = due_at(stage, passes, row["first"], waits)
        last = stage != "probe" and passes == len(waits[stage]) + 1
        if next_at is None and not last:
            continue  # nothing more is asked
        before = found.get(stage, Waiting(stage, 0, 0, None))
        dates = [one for one in (before.next, next_at) if one is not None]
        found[stage] = Waiting(
            stage,
            before.rows + row["rows"],
            before.at_the_end + (row["rows"] if last else 0),
            min(dates, default=None),
        )
    return list(found.values())
