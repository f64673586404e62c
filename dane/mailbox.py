"""The mailbox that a zone names for itself: RNAME of its SOA (RFC 1035 sections 3.3.13 and 8).

The first label is the local part, in which a dot stands escaped; the rest is the domain. What
is no plain address of mail is none: it would have to be quoted by whoever writes there.
"""

import re

from dane.names import to_labels

_LOCAL = re.compile(rb"[a-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_LABEL = re.compile(rb"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
_LONGEST_LOCAL, _LONGEST = 64, 254  # bytes (RFC 5321 section 4.5.3.1)


def mailbox(rname: str) -> str | None:
    """The address of mail of an RNAME (a key of `dane.names`); None if it is none."""
    local, *domain = to_labels(rname) or [b""]
    if len(domain) < 2 or not _LOCAL.fullmatch(local) or not all(map(_LABEL.fullmatch, domain)):
        return None
    address = b"@".join((local, b".".join(domain)))
    if len(local) > _LONGEST_LOCAL or len(address) > _LONGEST or domain[-1] == b"invalid":
        return None
    return address.decode("ascii")
