"""Canaries: is what we hear to be believed (measurement, section 1)?

A round asks fresh names `<nonce>.<zone>`, for a name with a TTL stays green from the cache
while the network is down, and over every socket one signed and one deliberately broken
name: over every one, since another resolver on the port by SO_REUSEPORT would get some of
our sockets. The root's newest signature tells whether our clock is right: one that is ahead
makes short-lived signatures look expired, while all canaries may have long-lived ones. What
to do about a bad round is the scan's business (`crawler.scan.confirmation`).
"""

import secrets
from collections.abc import Callable
from enum import StrEnum

import trio

from crawler.dns.client import Client
from crawler.dns.codec import NOERROR, NXDOMAIN, SERVFAIL, Question, Response
from crawler.dns.lookup import FIRST, SECOND_LOOK
from crawler.dns.rdata import SOA, A
from crawler.dns.settings import CanarySettings
from dane import clock


class Health(StrEnum):
    GOOD = "good"
    NETWORK_DOWN = "network_down"  # fewer than half of the fresh names answered, twice
    VALIDATION_WRONG = "validation_wrong"  # signed without AD, broken without SERVFAIL, or clock
    PORT_25_DOWN = "port_25_down"  # mail servers that were reached in the last run no longer are
    STARVED = "starved"  # our own event loop stood still: of no canary, but our fault likewise


class Canaries:
    """The rounds of one scan, as often as wished, one at a time."""

    def __init__(self, client: Client, settings: CanarySettings) -> None:
        self._client = client
        self._settings = settings
        self._resolvers = (FIRST, SECOND_LOOK) if client.has_second_look else (FIRST,)

    async def round(self) -> Health:
        """One round; the fresh names once more if fewer than half of them answer."""
        for _ in range(2):
            if await self._network_answers():
                return Health.GOOD if await self._validates() else Health.VALIDATION_WRONG
        return Health.NETWORK_DOWN

    async def _network_answers(self) -> bool:
        """At least half of the zones deny a fresh name, validated, by each resolver."""
        nonce = secrets.token_hex(8)
        for resolver in self._resolvers:
            questions = [
                Question(nonce if zone == "." else f"{nonce}.{zone}", A, resolver=resolver)
                for zone in self._settings.zones
            ]
            good = await self._count(questions, _denied)
            if good * 2 < len(questions):
                return False
        return True

    async def _validates(self) -> bool:
        """Signed names are secure and the broken one fails, whatever socket is used."""
        signed = [self._settings.signed, *self._settings.algorithms.values()]
        for resolver in self._resolvers:
            for sockets, names, right in (
                (self._client.sockets, [self._settings.signed], _secure),
                (self._client.sockets, [self._settings.broken], _refused),
                (1, signed[1:], _secure),
                (1, ["."], self._timely),
            ):
                questions = [Question(name, SOA, resolver=resolver) for name in names] * sockets
                if await self._count(questions, right) < len(questions):
                    return False
        return True

    def _timely(self, response: Response | None) -> bool:
        """The root's SOA is secure, and not signed in the future nor too long ago."""
        if response is None or not _secure(response):
            return False
        made = response.signature
        age_s = 0.0 if made is None else clock.seconds() - made.inception
        return 0 <= age_s <= self._settings.root_signed_within_s

    async def _count(
        self, questions: list[Question], right: Callable[[Response | None], bool]
    ) -> int:
        """How many of the questions, asked all at once, get the right reply in time."""
        tally = _Tally(len(questions), right)
        for number, question in enumerate(questions):
            self._client.submit(question, tally, number % self._client.sockets)
        with trio.move_on_after(self._settings.reply_s):
            await tally.complete.wait()
        return tally.good


class _Tally:
    """Asks for many responses without a task for each."""

    def __init__(self, count: int, right: Callable[[Response | None], bool]) -> None:
        self.good = 0
        self.complete = trio.Event()
        self._missing = count
        self._right = right
        if not count:
            self.complete.set()

    def answered(self, response: Response | None) -> None:
        self.good += self._right(response)
        self._missing -= 1
        if not self._missing:
            self.complete.set()


def _denied(response: Response | None) -> bool:
    """NXDOMAIN, or the NODATA that some servers sign instead of it, with AD."""
    return (
        response is not None
        and response.ad
        and response.rcode in (NOERROR, NXDOMAIN)
        and not response.records
    )


def _secure(response: Response | None) -> bool:
    return response is not None and response.ad and response.rcode == NOERROR


def _refused(response: Response | None) -> bool:
    return response is not None and response.rcode == SERVFAIL
