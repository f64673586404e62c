"""Too many names fail at once: that may be our own resolver's doing (measurement, section 1).

Canaries may all be good while it fails every third name.
"""

from collections import deque

from crawler.scan.context import LookupKind, ScanContext

_NAMES = 2000
_LEAST_SUSPICIOUS = 0.05
_TIMES_USUAL = 3


class FailingShare:
    """Of the last 2 000 names of a scan; watched until it was suspicious once.

    Failures are expected of later lookups, whose names all failed before: not watched.
    """

    def __init__(self, context: ScanContext) -> None:
        share = max(_LEAST_SUSPICIOUS, _TIMES_USUAL * context.usual_failing_share)
        self._most = share * _NAMES if context.lookup is LookupKind.FIRST else None
        self._recent: deque[bool] = deque()
        self._failures = 0  # among `_recent`

    def add(self, failed: bool) -> bool:
        """Count one more name; True if the share is suspicious now.

        Names that go on failing when they are asked again, after a flush and with good canaries
        on both sides, do so by themselves: there is no second suspicion.
        """
        if self._most is None:
            return False
        self._recent.append(failed)
        self._failures += failed
        if len(self._recent) > _NAMES:
            self._failures -= self._recent.popleft()
        if len(self._recent) < _NAMES or self._failures <= self._most:
            return False
        self._most = None
        return True

    def forget(self) -> None:
        """Begin anew: what came so far was thrown away."""
        self._recent.clear()
        self._failures = 0
