"""The checks of a probe scan: the canaries of the DNS, and those of port 25."""

import trio

from crawler.dns.canaries import Health
from crawler.scan.canary_round import CanaryRounds
from crawler.smtp.reachability import Reachability

_LONGEST_PAUSE_S = 60.0


class ProbeChecks:
    """`crawler.scan.confirmation.Checks`.

    When port 25 is down nobody is connected to for a while, and then the visits that are made
    again are its canaries again; after `recovery_s` without a good round it is given up.
    """

    def __init__(
        self, canaries: CanaryRounds, reachability: Reachability, recovery_s: float
    ) -> None:
        self.every_s = canaries.every_s
        self._canaries = canaries
        self._reachability = reachability
        self._recovery_s = recovery_s
        self._down_since: float | None = None  # trio time

    async def good(self) -> bool:
        if not await self._canaries.good():
            return False
        if self._reachability.down():
            self._canaries.add(Health.PORT_25_DOWN)
            if self._down_since is None:
                self._down_since = trio.current_time()
            return False
        if self._reachability.is_known():
            self._down_since = None
        return True

    async def recovered(self) -> bool:
        if self._reachability.down():
            await trio.sleep(min(_LONGEST_PAUSE_S, self._recovery_s / 4))
            self._reachability.forget()
        if self._down_since is not None:
            down_s = trio.current_time() - self._down_since
            if down_s >= self._recovery_s:
                return False
        return await self._canaries.recovered()

    def starved(self, delay_s: float) -> None:
        self._canaries.starved(delay_s)
