"""The DNS asked again around a connection, so that no server is blamed for an old answer.

Right before connecting, where the answers are older than `probe.dns_max_age_s`: is this
still an address of the host, and which TLSA records does the base domain have now? After a
chain that does not match: the RRset is dropped from the resolvers' caches and asked again,
for the server may have changed its key and its records since (measurement, section 4).
"""

from dataclasses import dataclass
from datetime import datetime
from socket import AF_INET, AF_INET6, inet_ntop

import trio

from crawler.dns.client import Client, Resolvers
from crawler.dns.control import Control
from crawler.dns.lookup import Answer, lookup
from crawler.dns.rdata import AAAA, TLSA, A
from dane import clock, tlsa
from dane.faults import LocalTrouble
from dane.outcomes import DENIAL, LookupOutcome


@dataclass(frozen=True, slots=True)
class Fresh:
    """TLSA records as published at a time, or why there is nothing to connect for."""

    tlsa: tuple[str, ...]
    asked: datetime
    withdrawn: str | None = None
    ours: bool = False  # it is withdrawn since our own resolver did not tell


class Recheck:
    """Questions of one probe scan; `client` is being served."""

    def __init__(self, client: Client, resolvers: Resolvers) -> None:
        self._client = client
        self._control = resolvers.control

    async def before(self, host: str, address: str, base: str) -> Fresh:
        """What holds now for an address of a host and a TLSA base domain."""
        answer = await self._ask(host, AAAA if ":" in address else A)
        if answer.outcome not in (LookupOutcome.SECURE, LookupOutcome.INSECURE):
            return self._nothing(
                f"addresses of {host} asked again: {answer.outcome}", ours=answer.local
            )
        if address not in map(_text, answer.response.records):
            return self._nothing(f"no longer an address of {host}")
        return await self._records(base)

    async def after_mismatch(self, base: str) -> Fresh | None:
        """The records past all caches; None if no cache can be told to forget."""
        try:
            for path in self._control:
                forget = Control(path).forget
                await trio.to_thread.run_sync(
                    forget, f"_25._tcp.{base}", "TLSA", abandon_on_cancel=True
                )
        except LocalTrouble:
            return None
        return await self._records(base) if self._control else None

    async def _records(self, base: str) -> Fresh:
        answer = await self._ask(f"_25._tcp.{base}", TLSA)
        if answer.outcome is LookupOutcome.SECURE:
            data = [rdata for rdata in answer.response.records if type(rdata) is bytes]
            texts = sorted(tlsa.parse_rdata(rdata).text() for rdata in data)
            return Fresh(tuple(texts), clock.now())
        if answer.outcome in DENIAL or answer.outcome is LookupOutcome.INSECURE:
            return self._nothing(f"the TLSA records of {base} are no longer there")
        return self._nothing(f"TLSA of {base} asked again: {answer.outcome}", ours=answer.local)

    def _nothing(self, why: str, *, ours: bool = False) -> Fresh:
        return Fresh((), clock.now(), why, ours)

    async def _ask(self, name: str, rdtype: int) -> Answer:
        return await self._client.look_up(lookup(name, rdtype))


def _text(record: object) -> str | None:
    """The canonical text of an address record's data."""
    if not isinstance(record, bytes):
        return None
    return inet_ntop(AF_INET if len(record) == 4 else AF_INET6, record)
