"""The canaries of a run: what all its scans saw, for the display and the run's record.

A round says *network down* only after a second try, and what came since the last good round
is thrown away; so a run whose network was down for an hour has nothing to be ashamed of.
Validation that is wrong twice in a row is another matter: then the resolver itself was not
to be believed for some time, and a person has to look before anything is published.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from crawler.dns.canaries import Health
from crawler.scan.looks import Look

_MOST_CHANGES = 1000  # kept in the record


class CanaryHistory:
    """Rounds by health, and when it changed. Goes on with that of the run's earlier sessions."""

    def __init__(self, record: Mapping[str, Any]) -> None:
        self.rounds: Counter[str] = Counter(record.get("rounds", {}))
        self.failed: bool = record.get("failed", False)
        self.changes: list[Look] = [(at, health) for at, health in record.get("changes", ())]

    @property
    def health(self) -> str | None:
        """Of the latest round."""
        return self.changes[-1][1] if self.changes else None

    def add(self, looks: Iterable[Look]) -> None:
        """The looks of one scan, in order."""
        before = None
        for at, health in looks:
            self.rounds[health] += 1
            self.failed |= health == before == Health.VALIDATION_WRONG
            before = health
            if health != self.health and len(self.changes) < _MOST_CHANGES:
                self.changes.append((round(at, 1), health))

    def as_record(self) -> dict[str, Any]:
        """For the run's record, which `publish` and the manifest read."""
        return {
            "failed": self.failed,
            "rounds": {str(word): count for word, count in sorted(self.rounds.items())},
            "changes": self.changes,
        }
