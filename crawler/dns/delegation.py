"""Who answers for a name: its zone, the zone's servers and their addresses, its DS (trio).

The resolver tells what it can with CD=1, so that a zone that does not validate is found all
the same. What it cannot (the servers fail) is told by the parent's servers: their referral
has NS, DS and glue. The servers of both sides count: one that only the parent names is asked
by every resolver, too.
"""

import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import trio
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.NS import NS
from dns.rdtypes.IN.A import A
from dns.rdtypes.IN.AAAA import AAAA

from dane.names import from_labels

MOST_SERVERS = 16
MOST_ADDRESSES_EACH = 8
MOST_ADDRESSES = 32
_MOST_REFERRALS = 4  # from the deepest zone that the resolver knows
_MOST_ASKED = 3  # of a parent's servers, until one gives a referral

Resolve = Callable[[dns.name.Name, RdataType], Awaitable[dns.message.Message | None]]
"""Ask the resolver with CD=1; None: no reply, or one that is none of NOERROR and NXDOMAIN."""

AskServer = Callable[[str, str, dns.name.Name, RdataType], Awaitable[dns.message.Message | None]]
"""Ask a server (a key of `dane.names`) at an address with RD=0, DO=1; None: no reply, or it
must not be asked."""


@dataclass(slots=True)
class Delegation:
    """One zone and who serves it."""

    zone: dns.name.Name
    servers: list[tuple[str, str]] = field(default_factory=list)  # (NS name, address)
    ds: dns.rrset.RRset | None = None  # None: an unsigned delegation, or not to be had
    without_address: list[str] = field(default_factory=list)  # NS names


@dataclass(slots=True)
class _Cut:
    """A zone as far as it is known: NS names, and addresses that came with them (glue)."""

    zone: dns.name.Name
    names: set[dns.name.Name]
    glue: dict[dns.name.Name, set[str]] = field(default_factory=dict)
    ds: dns.rrset.RRset | None = None


async def find(name: dns.name.Name, resolve: Resolve, ask: AskServer) -> Delegation | None:
    """The zone of `name`; None if nothing above it can be found either (our own trouble)."""
    cuts = await _known_cuts(name, resolve)
    if not cuts:
        return None
    cut = cuts[0]
    for _ in range(_MOST_REFERRALS):
        below = await _referral(cut, name, resolve, ask)
        if below is None:
            break
        cut = below
    if cut is cuts[0] and len(cuts) > 1:
        parent_side = await _referral(cuts[1], cut.zone, resolve, ask)
        if parent_side is not None and parent_side.zone == cut.zone:
            cut.names |= parent_side.names
            cut.glue, cut.ds = parent_side.glue, parent_side.ds
    found = Delegation(cut.zone, ds=cut.ds)
    if found.ds is None and (reply := await resolve(cut.zone, RdataType.DS)):
        found.ds = rrset_of(reply.answer, cut.zone, RdataType.DS)
    servers = await _addresses(cut, resolve)
    for server in sorted(cut.names)[:MOST_SERVERS]:
        addresses = sorted(servers[server])[:MOST_ADDRESSES_EACH]
        key = key_of(server)
        found.servers += ((key, address) for address in addresses)
        if not addresses:
            found.without_address.append(key)
    found.servers = found.servers[:MOST_ADDRESSES]
    return found


async def _known_cuts(name: dns.name.Name, resolve: Resolve) -> list[_Cut]:
    """Zones at or above `name` whose NS RRset the resolver can get, the deepest first."""
    found: list[_Cut] = []

    async def look(ancestor: dns.name.Name) -> None:
        reply = await resolve(ancestor, RdataType.NS)
        rrset = reply and rrset_of(reply.answer, ancestor, RdataType.NS)
        if rrset:
            found.append(_Cut(ancestor, _targets(rrset)))

    # At once: above a dead zone each of its names costs the resolver a time-out.
    async with trio.open_nursery() as nursery:
        for count in range(1, len(name.labels) + 1):
            nursery.start_soon(look, dns.name.Name(name.labels[-count:]))
    return sorted(found, key=lambda cut: -len(cut.zone.labels))


async def _referral(
    cut: _Cut, name: dns.name.Name, resolve: Resolve, ask: AskServer
) -> _Cut | None:
    """The next zone below `cut` towards `name`, as its servers tell; None if there is none."""
    if cut.zone == name:
        return None
    known = await _addresses(cut, resolve)
    servers = [(key_of(server), address) for server, some in known.items() for address in some]
    random.shuffle(servers)  # a parent is asked for many names: spread them
    for server, address in servers[:_MOST_ASKED]:
        reply = await ask(server, address, name, RdataType.NS)
        if reply is None or reply.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
            continue
        for rrset in (*reply.answer, *reply.authority):
            below = rrset.name.is_subdomain(cut.zone) and rrset.name != cut.zone
            if rrset.rdtype == RdataType.NS and below and name.is_subdomain(rrset.name):
                ds = rrset_of(reply.authority, rrset.name, RdataType.DS)
                return _Cut(rrset.name, _targets(rrset), _glue(reply, cut.zone), ds)
        return None
    return None


async def _addresses(cut: _Cut, resolve: Resolve) -> dict[dns.name.Name, set[str]]:
    found = {name: set(cut.glue.get(name, ())) for name in sorted(cut.names)[:MOST_SERVERS]}

    async def look(name: dns.name.Name, rdtype: RdataType) -> None:
        reply = await resolve(name, rdtype)
        for rrset in reply.answer if reply else ():
            if rrset.rdtype == rdtype:
                found[name].update(_texts(rrset))

    async with trio.open_nursery() as nursery:
        for name in found:
            nursery.start_soon(look, name, RdataType.A)
            nursery.start_soon(look, name, RdataType.AAAA)
    return found


def rrset_of(
    section: Iterable[dns.rrset.RRset], name: dns.name.Name, rdtype: RdataType
) -> dns.rrset.RRset | None:
    """The RRset of that name and type in a section of a message."""
    return next((r for r in section if r.name == name and r.rdtype == rdtype), None)


def key_of(name: dns.name.Name) -> str:
    """The key of `dane.names`."""
    return from_labels(list(name.labels[:-1]))


def _targets(rrset: dns.rrset.RRset) -> set[dns.name.Name]:
    return {record.target for record in rrset if isinstance(record, NS)}


def _glue(reply: dns.message.Message, zone: dns.name.Name) -> dict[dns.name.Name, set[str]]:
    found: dict[dns.name.Name, set[str]] = {}
    for rrset in reply.additional:
        # out of its bailiwick a server's word counts for nothing
        if rrset.rdtype in (RdataType.A, RdataType.AAAA) and rrset.name.is_subdomain(zone):
            found.setdefault(rrset.name, set()).update(_texts(rrset))
    return found


def _texts(rrset: dns.rrset.RRset) -> set[str]:
    return {record.address for record in rrset if isinstance(record, A | AAAA)}
