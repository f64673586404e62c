"""Canaries as the checks of a scan's `Confirmation`, and what they showed beside its rows.

The coordinator hears of the rounds through the metadata of the batch. The rows need no
column for it: what is not enclosed by good rounds has no row.
"""

import json
from collections.abc import Sequence

import pyarrow as pa
import trio

from crawler.dns.canaries import Canaries, Health
from crawler.dns.client import Client, Resolvers
from crawler.dns.control import Control
from crawler.dns.settings import CanarySettings
from crawler.scan.context import ScanContext
from dane import clock
from dane.faults import LocalTrouble

Round = tuple[float, str]
"""When a round of canaries ended (seconds since 1970), and its `crawler.dns.canaries.Health`."""

_KEY = b"canaries"
_LONGEST_PAUSE_S = 1.0  # between two rounds after a bad one


class CanaryRounds:
    """`crawler.scan.confirmation.Checks`. `rounds`: all of them, in order."""

    def __init__(self, client: Client, resolvers: Resolvers, settings: CanarySettings) -> None:
        self.rounds: list[Round] = []
        self.every_s = settings.every_s
        self._canaries = Canaries(client, settings)
        self._resolvers = resolvers
        self._settings = settings

    async def good(self) -> bool:
        health = await self._canaries.round()
        self.add(health)
        return health is Health.GOOD

    async def recovered(self) -> bool:
        """Flush and ask until a round is good; False after `canaries.recovery_s`."""
        with trio.move_on_after(self._settings.recovery_s):
            while True:
                flush = self._flush
                flushed = await trio.to_thread.run_sync(flush, abandon_on_cancel=True)
                if await self.good() and flushed:
                    return True
                await trio.sleep(min(_LONGEST_PAUSE_S, self._settings.every_s))
        return False

    def starved(self, delay_s: float) -> None:
        self.add(Health.STARVED)

    def add(self, health: Health) -> None:
        self.rounds.append((clock.seconds(), health.value))

    def _flush(self) -> bool:
        """Have the resolvers forget whom our own outage made look dead; False if they cannot."""
        try:
            for path in self._resolvers.control:
                Control(path).flush()
        except LocalTrouble:
            return False
        return True


def canary_rounds(client: Client, context: ScanContext) -> CanaryRounds | None:
    """The checks of a scan; None without canaries."""
    if context.canaries is None:
        return None
    return CanaryRounds(client, context.resolvers, context.canaries)


def attach(batch: pa.RecordBatch, rounds: Sequence[Round]) -> pa.RecordBatch:
    """The batch with the rounds beside it."""
    return batch.replace_schema_metadata({_KEY: json.dumps(rounds).encode()})


def rounds_of(batch: pa.RecordBatch) -> list[Round]:
    """The rounds beside a batch; none for a scan without canaries."""
    attached = (batch.schema.metadata or {}).get(_KEY)
    rounds = json.loads(attached) if attached else []
    return [(float(at), str(health)) for at, health in rounds]
