"""The names in a certificate against the names that we reach a server by (RFC 6125, 7672).

A *presented* name is a dNSName or CN as a key (`dane.names`), but with a wildcard kept as
`*.`; a *reference* name is a plain key. Odd bytes are escaped, so no byte that a stranger
put into a certificate (a NUL, a blank, a line feed) means anything later on.
"""

from collections.abc import Iterable

from dane.names import from_labels

_WILDCARD = "*."


def presented_name(text: str) -> str:
    """A certificate's name in the form that is compared, stored and printed."""
    raw = text.encode("utf-8", "surrogateescape")
    if raw.startswith(b"*."):
        return _WILDCARD + from_labels(raw[2:].split(b"."))
    return from_labels(raw.split(b"."))


def name_matches(presented: str, reference: str) -> bool:
    """Whether one presented name covers one reference name: equal, or `*` standing for the
    whole first label and for one label only (RFC 7672 section 3.2.3, RFC 6125 section 6.4.3)."""
    if presented.startswith(_WILDCARD):
        first, _, parent = reference.partition(".")
        return first != "" and parent != "" and parent == presented[len(_WILDCARD) :]
    return presented == reference


def any_name_matches(presented: Iterable[str], references: Iterable[str]) -> bool:
    """Whether any presented name covers any reference name."""
    wanted = tuple(references)
    return any(name_matches(one, reference) for one in presented for reference in wanted)
