"""Name constraints of an authority (RFC 5280 section 4.2.1.10).

Host names, IP addresses and directory names are compared; names of other kinds (mailboxes,
URIs) play no part in reaching a mail server and are left alone. An authority may have
thousands of subtrees and a certificate thousands of names, so a name is looked up among the
subtrees, and not compared with each.
"""

from collections.abc import Iterable, Sequence

from cryptography import x509

from dane.work import Work


class _Subtrees:
    """One list of subtrees, permitted or excluded, to be asked about names."""

    def __init__(self, subtrees: Iterable[x509.GeneralName]) -> None:
        self.kinds: set[type[x509.GeneralName]] = set()
        self._hosts: set[str] = set()
        self._networks: dict[tuple[int, int], set[int]] = {}  # (version, mask): network
        self._directories: dict[int, set[tuple[x509.RelativeDistinguishedName, ...]]] = {}
        for one in subtrees:
            self.kinds.add(type(one))
            if isinstance(one, x509.DNSName):
                self._hosts.add(one.value.lower())
            elif isinstance(one, x509.IPAddress):
                network = one.value
                kind = network.version, int(network.netmask)  # type: ignore[union-attr]
                address = int(network.network_address)  # type: ignore[union-attr]
                self._networks.setdefault(kind, set()).add(address)
            elif isinstance(one, x509.DirectoryName):
                base = tuple(one.value.rdns)
                self._directories.setdefault(len(base), set()).add(base)

    def contain(self, name: x509.GeneralName, work: Work) -> bool:
        """Whether a name is within one of the subtrees. Raises Exhausted."""
        if isinstance(name, x509.DNSName):
            return self._contain_host(name.value.lower(), work)
        if isinstance(name, x509.IPAddress):
            work.spend(1 + len(self._networks))
            address = int(name.value)  # type: ignore[arg-type]
            return any(
                version == name.value.version and address & mask in networks
                for (version, mask), networks in self._networks.items()
            )
        assert isinstance(name, x509.DirectoryName)
        rdns = tuple(name.value.rdns)
        work.spend(1 + sum(self._directories))
        return any(rdns[:length] in bases for length, bases in self._directories.items())

    def _contain_host(self, host: str, work: Work) -> bool:
        """A base is the host or what follows one of its dots; with a dot in front, what begins
        with one."""
        work.spend(1 + host.count(".") * (1 + len(host) // 64))
        if not self._hosts.isdisjoint(("", host)):
            return True
        dot = host.find(".")
        while dot >= 0:
            if host[dot:] in self._hosts or host[dot + 1 :] in self._hosts:
                return True
            dot = host.find(".", dot + 1)
        return False


_COMPARED = (x509.DNSName, x509.IPAddress, x509.DirectoryName)


class Constraints:
    """The name constraints of one authority."""

    def __init__(self, extension: x509.NameConstraints) -> None:
        self._permitted = _Subtrees(extension.permitted_subtrees or ())
        self._excluded = _Subtrees(extension.excluded_subtrees or ())

    def permit(self, names: Sequence[x509.GeneralName], work: Work) -> bool:
        """Whether all names are within the permitted subtrees of their kind, where there are
        any, and outside the excluded ones. Raises Exhausted."""
        work.spend(len(names))
        return all(self._permit(name, work) for name in names if isinstance(name, _COMPARED))

    def _permit(self, name: x509.GeneralName, work: Work) -> bool:
        kind = type(name)
        if kind in self._excluded.kinds and self._excluded.contain(name, work):
            return False
        return kind not in self._permitted.kinds or self._permitted.contain(name, work)
