"""When too many names fail at once, it may be us: watched over the shards of a stage.

The share of the last names that fail, in their first lookup, is compared with that of the last
run. Beyond three times as much the shard that showed it is thrown away and asked again after a
flush; what fails then is theirs (measurement, section 1).
"""

from collections import deque
from collections.abc import Iterable

SHARE_OF = 2000  # names
_LEAST_SHARE = 0.05


class Suspicion:
    """`usual_share`: of failing names in the last run."""

    def __init__(self, usual_share: float) -> None:
        self._most = max(_LEAST_SHARE, 3 * usual_share) * SHARE_OF
        self._recent: deque[bool] = deque(maxlen=SHARE_OF)
        self._over = False

    def believes(self, failing: Iterable[bool]) -> bool:
        """Whether a shard with these names may be stored. Once one was not, all are."""
        if self._over:
            return True
        self._recent.extend(failing)
        if len(self._recent) < SHARE_OF or sum(self._recent) <= self._most:
            return True
        self._over = True
        return False
