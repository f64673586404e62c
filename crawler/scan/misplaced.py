"""TLSA records where no sender looks, for a person who asks why a domain has no DANE.

A sender asks at `_25._tcp` below the MX host, and nowhere else (RFC 7672 section 2.2.3). What
people publish instead is asked for here: below the mail domain, at the ports of submission
and the web, without underscores. And a host that exists only by a wildcard loses its addresses
when TLSA records are published below it: it is then an empty non-terminal, and the wildcard
no longer applies (RFC 4592 section 2.2.2). Only `danesurvey check` looks; a survey asks none of
these questions.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import trio

from crawler.dns.client import Client
from crawler.dns.lookup import Answer, lookup
from crawler.dns.rdata import AAAA, TLSA, A
from crawler.scan import run
from crawler.scan.context import ScanContext
from dane import tlsa
from dane.names import NameFault, to_labels
from dane.outcomes import LookupOutcome, WrongPractice

_MOST_HOSTS = 4  # of a domain; a person has seen enough by then
_OTHER_PORTS = (465, 587, 443)
_WITHOUT_UNDERSCORE = ("25._tcp", "_25.tcp", "25.tcp")
_THERE = frozenset({LookupOutcome.SECURE, LookupOutcome.INSECURE})


@dataclass(frozen=True, slots=True)
class Misplaced:
    """TLSA records in a wrong place.

    `host`: the MX host that they are meant for. `wildcard`: of `hides_wildcard`, the name whose
    addresses they hide.
    """

    practice: WrongPractice
    host: str
    name: str
    records: tuple[str, ...]
    wildcard: str | None = None


def scan(
    domain: str, without_tlsa: Iterable[str], without_address: Iterable[str], context: ScanContext
) -> list[Misplaced]:
    """What is misplaced for a mail domain, given its MX hosts that have no TLSA, or no address.

    Answers are taken as they come, validated or not; no answer is nothing.
    """
    found: list[Misplaced] = []
    hosts = list(without_tlsa)[:_MOST_HOSTS], list(without_address)[:_MOST_HOSTS]
    run(partial(_scan, domain, *hosts, context, found))
    return found


async def _scan(
    domain: str, absent: list[str], nowhere: list[str], context: ScanContext, found: list[Misplaced]
) -> None:
    client = Client(context.resolvers, context.client, try_s=context.try_s)
    places = {name: (practice, host) for host in absent for practice, name in _places(domain, host)}
    hidden = {f"_25._tcp.{host}": host for host in nowhere}
    records: dict[str, tuple[str, ...]] = {}

    async def ask(name: str) -> None:
        records[name] = await _records(client, name)

    async with client.serving():
        async with trio.open_nursery() as nursery:
            for name in (*places, *hidden):
                nursery.start_soon(ask, name)
        for name, (practice, host) in places.items():
            if records[name]:
                found.append(Misplaced(practice, host, name, records[name]))
        for name, host in hidden.items():
            if records[name] and (wildcard := await _wildcard(client, host)) is not None:
                practice = WrongPractice.HIDES_WILDCARD
                found.append(Misplaced(practice, host, name, records[name], wildcard))


def _places(domain: str, host: str) -> Iterator[tuple[WrongPractice, str]]:
    """Where records for the host may have been put."""
    if domain != host:
        yield WrongPractice.AT_DOMAIN, f"_25._tcp.{domain}"
    for port in _OTHER_PORTS:
        yield WrongPractice.OTHER_PORT, f"_{port}._tcp.{host}"
    for prefix in _WITHOUT_UNDERSCORE:
        yield WrongPractice.WITHOUT_UNDERSCORE, f"{prefix}.{host}"


async def _records(client: Client, name: str) -> tuple[str, ...]:
    """The TLSA records of a name, unless a wildcard makes them: that was not put there."""
    answer = await _ask(client, name, TLSA)
    if answer is None or answer.outcome not in _THERE:
        return ()
    made = answer.response.signature
    if made is not None and made.labels < len(to_labels(answer.response.owner)):
        return ()
    data = (tlsa.parse_rdata(one) for one in answer.records if isinstance(one, bytes))
    return tuple(sorted(one.text() for one in data))


async def _wildcard(client: Client, host: str) -> str | None:
    """The nearest wildcard with addresses that would apply to a host that did not exist."""
    _, dot, above = host.partition(".")
    while dot and "." in above:
        for rdtype in (A, AAAA):
            answer = await _ask(client, f"*.{above}", rdtype)
            if answer is not None and answer.outcome in _THERE:
                return f"*.{above}"
        _, dot, above = above.partition(".")
    return None


async def _ask(client: Client, name: str, rdtype: int) -> Answer | None:
    try:
        return await client.look_up(lookup(name, rdtype))
    except NameFault:  # no room for the prefix in 255 bytes
        return None
