"""What an opt-out list covers: a value that is sent to scans and compared."""

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Self

from crawler.addresses import embedded_ipv4
from crawler.opt_out.entry import Network, NotUnderstood, read_line
from dane.faults import UsageFault

_Group = tuple[int, int]  # IP version, prefix length


@dataclass(frozen=True, slots=True)
class OptOutList:
    """Names (keys of `dane.names`) with all below them, and networks. Immutable; pickles."""

    names: frozenset[str] = frozenset()
    networks: frozenset[Network] = frozenset()
    # (IP version, prefix length) -> network addresses as integers without the host bits
    _prefixes: Mapping[_Group, frozenset[int]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        groups: dict[_Group, set[int]] = {}
        for network in self.networks:
            shift = network.max_prefixlen - network.prefixlen
            group = groups.setdefault((network.version, network.prefixlen), set())
            group.add(int(network.network_address) >> shift)
        prefixes = {group: frozenset(members) for group, members in groups.items()}
        object.__setattr__(self, "_prefixes", prefixes)

    @classmethod
    def parse(cls, source: str, text: str) -> Self:
        """The list that a file's text means.

        Raises UsageFault, with `source` and the number of the line, for a line that is not
        understood: an entry that covers nobody would break a promise in silence.
        """
        names: set[str] = set()
        networks: set[Network] = set()
        for number, line in enumerate(text.splitlines(), 1):
            try:
                for entry in read_line(line):
                    if isinstance(entry, str):
                        names.add(entry)
                    else:
                        networks.add(entry)
            except NotUnderstood as fault:
                raise UsageFault(f"{source}, line {number}: {fault}") from None
        return cls(frozenset(names), frozenset(networks))

    def __or__(self, other: "OptOutList") -> "OptOutList":
        """What either of them covers; one of them itself if it has all of the other."""
        for larger, smaller in ((self, other), (other, self)):
            if smaller.names <= larger.names and smaller.networks <= larger.networks:
                return larger
        return OptOutList(self.names | other.names, self.networks | other.networks)

    def covers(
        self, *, names: Iterable[str] = (), operator: str | None = None, address: str | None = None
    ) -> bool:
        """True if a name (a key) or one above it, the operator or the address is listed.

        An IPv6 address that carries an IPv4 address is covered by an entry for that one, too.
        """
        if self.names:
            asked = names if operator is None else (*names, operator)
            if any(self._covers_name(name) for name in asked):
                return True
        if address is None or not self._prefixes:
            return False
        ip = ipaddress.ip_address(address)
        candidates: list[IPv4Address | IPv6Address] = [ip]
        if isinstance(ip, IPv6Address):
            candidates += embedded_ipv4(ip)
        return any(
            int(one) >> (one.max_prefixlen - length) in members
            for (version, length), members in self._prefixes.items()
            for one in candidates
            if one.version == version
        )

    def __iter__(self) -> Iterator[str]:
        """What is covered, as text: names in order, then networks in order."""
        yield from sorted(self.names)
        for kind in (IPv4Network, IPv6Network):
            yield from map(str, sorted(net for net in self.networks if isinstance(net, kind)))

    def __len__(self) -> int:
        return len(self.names) + len(self.networks)

    def _covers_name(self, name: str) -> bool:
        while name not in self.names:
            _, dot, name = name.partition(".")
            if not dot:
                return False
        return True


NOBODY = OptOutList()
"""The empty list."""
