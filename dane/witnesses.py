"""Ours or theirs: what the authoritative servers say of a lookup that fails (pure).

Measurement, section 1, the table of two witnesses. The resolvers' part is done where the
lookup is made; here is what direct questions to the servers add to it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dane.outcomes import DnsCause


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What the servers of one zone did with one question that failed (a row of `authority`).

    `zone` is the zone at fault, `failed_name` the name that fails there, which an alias may
    have led to. `servers` names those that were asked.
    """

    name: str
    rrtype: str
    zone: str | None
    failed_name: str
    dns_cause: DnsCause
    all_good: bool
    servers: Sequence[str] = ()

    @property
    def is_ours(self) -> bool:
        """Nothing is proven against the zone: all its servers are right, or it is our validator

        that gives up, or there is no cause to be seen.
        """
        return self.all_good or self.dns_cause in _NOT_PROVEN

    @property
    def some_bad(self) -> bool:
        """Whether a server was asked that is not right."""
        return bool(self.servers) and not self.all_good


_NOT_PROVEN = frozenset({DnsCause.VALIDATOR_LIMIT, DnsCause.UNKNOWN})


def deciding(evidence: Iterable[Evidence], rrtypes: Sequence[str]) -> Evidence | None:
    """Of questions of these types the evidence that counts: the first that is theirs, else

    the first; None if there is none.
    """
    about = [one for one in evidence if one.rrtype in rrtypes]
    return next((one for one in about if not one.is_ours), about[0] if about else None)
