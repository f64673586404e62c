"""The canaries of a run: what all its scans saw, for the display and the run's record.

What came since the last good round is thrown away and asked again, so a run whose network
was down for an hour, or whose resolver did not validate for a minute, has nothing to be
ashamed of. Validation that goes wrong time and again is another matter: then it may have
done so between two good rounds too, and a person has to look before anything is published.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from crawler.dns.canaries import Health
from crawler.scan.canary_round import Round

MOST_LAPSES = 3
_LAPSE_S = 600.0  # rounds of wrong validation that are closer belong to one lapse
_MOST_CHANGES = 1000  # kept in the record


class CanaryHistory:
    """Rounds by health, and when it changed. Goes on with that of the run's earlier sessions."""

    def __init__(self, record: Mapping[str, Any]) -> None:
        self.rounds: Counter[str] = Counter(record.get("rounds", {}))
        self.lapses: list[float] = record.get("lapses", [])  # when each was last seen
        self.changes: list[Round] = [(at, health) for at, health in record.get("changes", ())]

    @property
    def health(self) -> str | None:
        """Of the latest round."""
        return self.changes[-1][1] if self.changes else None

    @property
    def failed(self) -> bool:
        """Whether the resolver was not to be believed too often."""
        return len(self.lapses) > MOST_LAPSES

    def add(self, rounds: Iterable[Round]) -> bool:
        """The rounds of one scan, in order; whether they blame the resolver.

        They do if its validation was wrong to the end, and no scan has said so lately.
        """
        before = None
        lapses = len(self.lapses)
        for at, health in rounds:
            self.rounds[health] += 1
            if health == before == Health.VALIDATION_WRONG:  # once alone may be a slow reply
                self._lapsed(at)
            before = health
            if health != self.health and len(self.changes) < _MOST_CHANGES:
                self.changes.append((round(at, 1), health))
        return len(self.lapses) > lapses and before == Health.VALIDATION_WRONG

    def _lapsed(self, at: float) -> None:
        """Scans at once see the same lapse, and hand it over in any order."""
        for number, seen in enumerate(self.lapses):
            if abs(at - seen) < _LAPSE_S:
                self.lapses[number] = round(max(at, seen), 1)
                return
        self.lapses.append(round(at, 1))

    def as_record(self) -> dict[str, Any]:
        """For the run's record, which `publish` and the manifest read."""
        return {
            "failed": self.failed,
            "lapses": self.lapses,
            "rounds": {str(word): count for word, count in sorted(self.rounds.items())},
            "changes": self.changes,
        }
