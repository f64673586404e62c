"""After a bad round of canaries: waiting until the network and the resolvers are back.

Whatever a scan did since the last good round is its own to throw away.
"""

import trio

from crawler.dns.canaries import Canaries, Health
from crawler.dns.client import Resolvers
from crawler.dns.control import Control
from crawler.dns.settings import CanarySettings
from dane.faults import LocalTrouble

_LONGEST_PAUSE_S = 1.0  # between two rounds


async def recovered(canaries: Canaries, resolvers: Resolvers, settings: CanarySettings) -> bool:
    """Flush and look until a round is good; False after `settings.recovery_s`."""
    with trio.move_on_after(settings.recovery_s):
        while True:
            flushed = await trio.to_thread.run_sync(_flush, resolvers, abandon_on_cancel=True)
            if await canaries.look() is Health.GOOD and flushed:
                return True
            await trio.sleep(min(_LONGEST_PAUSE_S, settings.every_s))
    return False


def _flush(resolvers: Resolvers) -> bool:
    """Have the resolvers forget whom our own outage made look dead; False if they cannot."""
    try:
        for path in resolvers.control:
            Control(path).flush()
    except LocalTrouble:
        return False
    return True
