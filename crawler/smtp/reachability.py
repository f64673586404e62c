"""Is port 25 open to us? Servers that the last run reached are its canaries.

DNS may be fine while our network, or somebody on the way, blocks SMTP, in whole or to a part of
the Internet. No server is connected to for this: the visits of the probe itself are watched. A
server that was reached in the last run mostly is in this one; where one is not, that is its
operator's affair; where many are not that share neither an operator nor an address block, it is
ours. So of each operator and of each block (/16, IPv6 /32) only the latest visit counts, for
IPv4 and IPv6 apart.

Pure: it is told what came of a visit, and does no I/O.
"""

import ipaddress
from collections import OrderedDict

MOST = 50
"""Visits that are looked at, the latest."""
LEAST_LOST = 8
"""Fewer servers that are not reached are their operators' affair."""
LOST_SHARE = 0.25
"""More of them than that are not reached: it is our network."""


def block(address: str) -> str:
    """What is routed together, roughly: the /16 or /32 of an address."""
    kind = ipaddress.ip_address(address)
    return str(ipaddress.ip_network((kind, 16 if kind.version == 4 else 32), strict=False))


class _Family:
    """The latest visits of one family: by block, of which operator, and whether it was reached."""

    def __init__(self) -> None:
        self._visits: OrderedDict[str, tuple[str, bool]] = OrderedDict()
        self._block_of: dict[str, str] = {}  # by operator

    def add(self, where: str, operator: str, reached: bool) -> None:
        self._drop(where)
        self._drop(self._block_of.get(operator, ""))
        self._visits[where] = operator, reached
        self._block_of[operator] = where
        if len(self._visits) > MOST:
            self._drop(next(iter(self._visits)))

    def _drop(self, where: str) -> None:
        if (visit := self._visits.pop(where, None)) is not None:
            del self._block_of[visit[0]]

    def __len__(self) -> int:
        return len(self._visits)

    def is_down(self) -> bool:
        lost = sum(not reached for _, reached in self._visits.values())
        return lost >= LEAST_LOST and lost > LOST_SHARE * len(self._visits)


class Reachability:
    """What the visits of a scan say of port 25."""

    def __init__(self) -> None:
        self.pauses = 0
        self._families = {4: _Family(), 6: _Family()}

    def add(self, address: str, operator: str, *, reached: bool) -> None:
        """A visit to a server that the last run reached has ended."""
        family = 6 if ":" in address else 4
        self._families[family].add(block(address), operator, reached)

    def down(self) -> list[int]:
        """The families whose canaries have fallen together: 4, 6."""
        return [number for number, family in self._families.items() if family.is_down()]

    def is_known(self) -> bool:
        """Whether there were enough visits to tell anything."""
        return any(len(family) >= LEAST_LOST for family in self._families.values())

    def forget(self) -> None:
        """Begin anew, after a pause. Visits that were begun before it are not to be added."""
        self.pauses += 1
        self._families = {4: _Family(), 6: _Family()}
