"""The list of those who asked to be left alone: neither resolved nor connected to.

A text file, one entry a line, `#` starts a comment:

    example.org        the name and all below it, as domain, MX host or TLSA base,
                       and the operator of that name
    192.0.2.0/24       every address in it; a single address is a network too

The file is looked at again before every answer, so an entry holds from the next
connection on, without a restart.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from dane.faults import UsageFault
from dane.names import NameFault, canonical


@dataclass(slots=True)
class _Entries:
    names: set[str] = field(default_factory=set)
    # (IP version, prefix length) -> network addresses as integers without the host bits
    networks: dict[tuple[int, int], set[int]] = field(default_factory=dict)


def _parse(path: Path, text: str) -> _Entries:
    entries = _Entries()
    for number, line in enumerate(text.splitlines(), 1):
        entry = line.partition("#")[0].strip()
        if not entry:
            continue
        try:
            net = ipaddress.ip_network(entry, strict=False)
        except ValueError:
            try:
                entries.names.add(canonical(entry))
            except NameFault as fault:
                raise UsageFault(f"{path}, line {number}: {entry!r}: {fault}") from None
        else:
            shift = net.max_prefixlen - net.prefixlen
            key = (net.version, net.prefixlen)
            entries.networks.setdefault(key, set()).add(int(net.network_address) >> shift)
    return entries


class OptOut:
    """Who is on the list now. Raises UsageFault for a list that cannot be read as one.

    A list that was there and has gone (a moment of its replacement) keeps its last content.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self._entries = _Entries()
        self._refresh()

    def covers(
        self, *, names: Iterable[str] = (), operator: str | None = None, address: str | None = None
    ) -> bool:
        """True if a name (a key) or one above it, the operator or the address is listed."""
        self._refresh()
        listed = self._entries
        if operator is not None and operator in listed.names:
            return True
        if listed.names and any(self._covers_name(name) for name in names):
            return True
        if address is None or not listed.networks:
            return False
        ip = ipaddress.ip_address(address)
        return any(
            version == ip.version and int(ip) >> (ip.max_prefixlen - length) in members
            for (version, length), members in listed.networks.items()
        )

    def _covers_name(self, name: str) -> bool:
        while name not in self._entries.names:
            _, dot, name = name.partition(".")
            if not dot:
                return False
        return True

    def _refresh(self) -> None:
        if self._path is None:
            return
        try:
            status = self._path.stat()
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
            if stamp == self._stamp:
                return
            text = self._path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            if isinstance(error, FileNotFoundError) and self._stamp is not None:
                return
            raise UsageFault(f"the opt-out list {self._path}: {error}") from None
        self._entries = _parse(self._path, text)
        self._stamp = stamp
