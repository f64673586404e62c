"""Whether only SHA-1 secures a link of a chain of trust (RFC 9905 section 2).

The RFC tells operators of validating resolvers to treat RSASHA1 (5) and RSASHA1-NSEC3-SHA1 (7)
as unsupported, and many resolvers still validate them: ours does, and lookups follow it. What
would be insecure without these algorithms is marked. A link is a DS set on the way from the
root, or the RRSIGs over the answer. DS digests of SHA-1 (type 1) are not meant: the RFC has
resolvers go on with those.
"""

from collections.abc import Iterable

from crawler.dns.lookup import Answer, Lookup, lookup
from crawler.dns.rdata import DS, DelegationSigner
from dane.names import NameFault
from dane.outcomes import LookupOutcome

SHA1_ALGORITHMS = frozenset({5, 7})
# What validators support beside them (RFC 9904); a DS of another algorithm secures nothing.
_OTHERS = frozenset({8, 10, 13, 14, 15, 16})


def signed_by_sha1(answer: Answer) -> bool:
    """Whether no other algorithm signs the records of an answer."""
    made = answer.response.signature
    return answer.secure and made is not None and made.algorithm in SHA1_ALGORITHMS


def zones_above(names: Iterable[str]) -> set[str]:
    """All names above some names, but the root: whichever of them are zones."""
    found = set()
    for name in names:
        while name := name.partition(".")[2]:
            found.add(name)
    return found


class DelegationSets:
    """The DS sets that the names of one scan share; each is asked for once or a few times."""

    def __init__(self, *, last_lookup: bool) -> None:
        self._last_lookup = last_lookup
        self._known: dict[str, bool] = {}

    def any_by_sha1(self, zones: Iterable[str]) -> Lookup[bool | None]:
        """Whether a DS set of these names is of SHA-1 algorithms alone.

        A name that is no zone has none. None: one was not answered in time, ask again later;
        at the last lookup such a one counts as another algorithm's.
        """
        found = False
        for zone in sorted(zones, key=len):
            if zone not in self._known:
                try:
                    answer = yield from lookup(zone, DS, self._last_lookup)
                except NameFault:
                    continue
                if answer.local and not self._last_lookup:
                    return None
                self._known[zone] = _is_by_sha1(answer)
            found = found or self._known[zone]
        return found


def _is_by_sha1(answer: Answer) -> bool:
    if answer.outcome is not LookupOutcome.SECURE:
        return False
    algorithms = {one.algorithm for one in answer.records if isinstance(one, DelegationSigner)}
    return bool(algorithms & SHA1_ALGORITHMS) and not algorithms & _OTHERS
