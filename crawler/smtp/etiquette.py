"""Good manners towards strangers' mail servers: who we say we are, and how often we call.

`Schedule` decides which target may be connected to now. It is told the time and never
reads a clock. It keeps, whatever the order of the targets:

- one connection to an address at a time, and a pause from the end of one to the start of
  the next;
- a number of connections at once to one operator and to one network (/24, /48);
- a number of connections at once in all, and of new ones a second.

Its limits hold for one worker: the coordinator never gives an operator or a network to
two workers at once, and shares the rate out (docs/ethics.md).
"""

import heapq
import ipaddress
import itertools
import math
import re
from collections import Counter, deque
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from crawler.smtp.settings import ProbeSettings
from dane.faults import UsageFault

_HOST_NAME = re.compile(r"[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})+", re.ASCII | re.IGNORECASE)
_IDENTITY = ("ehlo_name", "contact", "information_page")


def missing_identity(settings: ProbeSettings) -> tuple[str, ...]:
    """The settings that a stranger needs to know who calls, and that are not set."""
    return tuple(name for name in _IDENTITY if not getattr(settings, name))


def require_identity(settings: ProbeSettings) -> None:
    """Raise UsageFault unless we can say who we are, or only a lab can be connected to.

    The name goes into every EHLO as it is: a fully qualified host name (RFC 5321 section
    4.1.1.1).
    """
    missing = missing_identity(settings)
    if missing and not settings.lab_addresses:
        names = ", ".join(f"probe.{name}" for name in missing)
        raise UsageFault(f"set {names} before connecting to anybody's mail server: docs/ethics.md")
    if settings.ehlo_name and not _HOST_NAME.fullmatch(settings.ehlo_name):
        raise UsageFault(f"probe.ehlo_name: {settings.ehlo_name!r} is not a host name")


def network(address: str) -> str:
    """The /24 or /48 that an address is in: what one operator is likely to run."""
    kind = ipaddress.ip_address(address)
    return str(ipaddress.ip_network((kind, 24 if kind.version == 4 else 48), strict=False))


T = TypeVar("T", bound=Hashable)


@dataclass(frozen=True, slots=True)
class _Visit(Generic[T]):
    """One target: what to connect to, and whose limits it counts for."""

    target: T
    address: str
    groups: tuple[Hashable, ...]  # operator and network


class Schedule(Generic[T]):
    """The order of visits. Times are seconds of any one monotonic clock."""

    def __init__(
        self,
        *,
        sessions: int,
        new_per_s: float,
        per_operator: int,
        address_interval_s: float,
    ) -> None:
        self._sessions = sessions
        self._spacing_s = 1.0 / new_per_s
        self._per_group = per_operator
        self._interval_s = address_interval_s
        self._queues: dict[str, deque[_Visit[T]]] = {}
        self._welcome: dict[str, float] = {}  # when an address may be connected to again
        # Addresses with visits and no connection, by the time from which one is welcome.
        self._free: list[tuple[float, int, str]] = []
        self._order = itertools.count()
        self._running: dict[T, _Visit[T]] = {}
        self._busy: Counter[Hashable] = Counter()
        # Addresses that are due and wait for a connection of a group to end.
        self._blocked: dict[Hashable, deque[str]] = {}
        self._next_start = -math.inf

    def add(self, target: T, address: str, operator: str, not_before: float = -math.inf) -> None:
        """Plan a visit, at any time; `not_before` holds for the address."""
        visit = _Visit(target, address, (operator, ("network", network(address))))
        welcome = max(not_before, self._welcome.get(address, -math.inf))
        self._welcome[address] = welcome
        queue = self._queues.get(address)
        if queue is None:
            queue = self._queues[address] = deque()
            heapq.heappush(self._free, (welcome, next(self._order), address))
        queue.append(visit)

    @property
    def done(self) -> bool:
        return not self._queues and not self._running

    def take(self, now: float) -> T | None:
        """A target to connect to now, or None: see `wait_s`."""
        if len(self._running) >= self._sessions or now < self._next_start:
            return None
        while self._free and self._free[0][0] <= now:
            address = heapq.heappop(self._free)[2]
            if (welcome := self._welcome[address]) > now:  # another target of it said so
                heapq.heappush(self._free, (welcome, next(self._order), address))
                continue
            visit = self._queues[address][0]
            full = next((g for g in visit.groups if self._busy[g] >= self._per_group), None)
            if full is not None:
                self._blocked.setdefault(full, deque()).append(address)
                # It may have been woken for a place that it now does not take.
                for group in visit.groups:
                    if self._busy[group] < self._per_group:
                        self._wake(group, now)
                continue
            self._queues[address].popleft()
            self._running[visit.target] = visit
            self._busy.update(visit.groups)
            self._next_start = now + self._spacing_s
            return visit.target
        return None

    def wait_s(self, now: float) -> float | None:
        """Seconds until `take` may give one; None: not before a running one is finished."""
        if len(self._running) >= self._sessions or not self._free:
            return None
        return max(0.0, self._free[0][0] - now, self._next_start - now)

    def finished(self, target: T, now: float, again: T | None = None) -> None:
        """The connection to a target has ended; `again` is to be visited before others there."""
        visit = self._running.pop(target)
        self._busy.subtract(visit.groups)
        queue = self._queues[visit.address]
        if again is not None:
            queue.appendleft(_Visit(again, visit.address, visit.groups))
        self._welcome[visit.address] = welcome = now + self._interval_s
        if queue:
            heapq.heappush(self._free, (welcome, next(self._order), visit.address))
        else:
            del self._queues[visit.address]
        for group in visit.groups:
            self._wake(group, now)

    def _wake(self, group: Hashable, now: float) -> None:
        """Let the first address that waits for this group try again."""
        waiting = self._blocked.get(group)
        if waiting:
            heapq.heappush(self._free, (now, next(self._order), waiting.popleft()))
            if not waiting:
                del self._blocked[group]
