"""Name constraints of an authority (RFC 5280 section 4.2.1.10).

Host names, IP addresses and directory names are compared; names of other kinds (mailboxes,
URIs) play no part in reaching a mail server and are left alone.
"""

from collections.abc import Callable, Sequence

from cryptography import x509

_MOST_COMPARISONS = 100_000


def _dns_within(name: x509.GeneralName, subtree: x509.GeneralName) -> bool:
    host, base = name.value.lower(), subtree.value.lower()
    return not base or host == base or host.endswith(base if base[0] == "." else "." + base)


def _address_within(name: x509.GeneralName, subtree: x509.GeneralName) -> bool:
    return name.value.version == subtree.value.version and name.value in subtree.value


def _directory_within(name: x509.GeneralName, subtree: x509.GeneralName) -> bool:
    base = subtree.value.rdns
    return bool(name.value.rdns[: len(base)] == base)


_WITHIN: dict[type[x509.GeneralName], Callable[[x509.GeneralName, x509.GeneralName], bool]] = {
    x509.DNSName: _dns_within,
    x509.IPAddress: _address_within,
    x509.DirectoryName: _directory_within,
}


def names_permitted(
    constraints: x509.NameConstraints, names: Sequence[x509.GeneralName]
) -> bool | None:
    """Whether all names are within the permitted subtrees and outside the excluded ones; None
    for more comparisons than any honest certificate asks for."""
    subtrees = len(constraints.permitted_subtrees or ()) + len(constraints.excluded_subtrees or ())
    if len(names) * subtrees > _MOST_COMPARISONS:
        return None
    return all(_permitted(constraints, name) for name in names)


def _permitted(constraints: x509.NameConstraints, name: x509.GeneralName) -> bool:
    kind = type(name)
    within = _WITHIN.get(kind)
    if within is None:
        return True
    excluded = [one for one in constraints.excluded_subtrees or () if type(one) is kind]
    if any(within(name, one) for one in excluded):
        return False
    permitted = [one for one in constraints.permitted_subtrees or () if type(one) is kind]
    return not permitted or any(within(name, one) for one in permitted)
