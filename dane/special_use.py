"""Names that no public DNS holds (RFC 6761 section 6; pure).

A resolver answers some of them from zones built into it (`localhost` is 127.0.0.1), and others
as its operator wishes. For a sender on the Internet none of them is a mail host.
"""

_SPECIAL_USE = frozenset(
    {
        *("localhost", "invalid", "test"),  # RFC 6761
        "local",  # RFC 6762
        "onion",  # RFC 7686
        "home.arpa",  # RFC 8375
        "internal",  # ICANN board resolution 2024.07.29.06
    }
)


def is_special_use(key: str) -> bool:
    """Whether a key of `dane.names` is one of these names, or below one."""
    labels = key.split(".")
    return any(".".join(labels[-count:]) in _SPECIAL_USE for count in (1, 2))
