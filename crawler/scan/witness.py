"""The second witness: a lookup that fails is asked of the second Unbound, past both caches.

Measurement, section 1: a failing lookup counts against a name only when a second witness
agrees. Where the second resolver validates an answer, that answer counts, and the first
resolver's outcome is kept beside it. Where it fails too, the authoritative servers decide
(`crawler.scan.authority`). Both are asked of last lookups only: what fails earlier is asked
again anyway.
"""

from collections.abc import Sequence
from pathlib import Path

from crawler.dns.control import Control
from crawler.dns.lookup import SECOND_LOOK, Answer, Lookup, lookup
from crawler.dns.rdata import AAAA, CNAME, MX, TLSA, A
from dane.faults import LocalTrouble
from dane.outcomes import LookupOutcome

_NAME_OF = {A: "A", AAAA: "AAAA", CNAME: "CNAME", MX: "MX", TLSA: "TLSA"}
# To drop one RRset takes Unbound some 50 µs; the scan stands still meanwhile.
_FLUSH_S = 1.0


class Witness:
    """Asks for one name (a domain or a host), and notes what failed.

    `failed`: (name, type) of each question that the first resolver fails. `first_look`: its
    outcome of the first one that the second resolver answers instead; else None.
    `second_look`: the second resolver's outcome of the first that it was asked for.
    """

    def __init__(self, *, last_lookup: bool, second: bool, control: Sequence[Path]) -> None:
        self._last_lookup = last_lookup
        self._second = second
        self._control = control
        self.failed: list[tuple[str, str]] = []
        self.first_look: LookupOutcome | None = None
        self.second_look: LookupOutcome | None = None

    def ask(self, name: str, rdtype: int) -> Lookup[Answer]:
        """The answer that counts."""
        answer = yield from lookup(name, rdtype, self._last_lookup)
        if not answer.failed:
            return answer
        self.failed.append((name, _NAME_OF[rdtype]))
        if not (self._last_lookup and self._second):
            return answer
        self._flush(name, rdtype)
        other = yield from lookup(name, rdtype, True, SECOND_LOOK)
        self.second_look = self.second_look or other.outcome
        if other.failed or other.local:
            return answer
        self.first_look = self.first_look or answer.outcome
        return other

    def _flush(self, name: str, rdtype: int) -> None:
        """Have both resolvers forget what they hold of this question.

        One that does not listen is asked all the same: it was flushed as a whole before the
        last lookups began.
        """
        for path in self._control:
            try:
                Control(path, timeout_s=_FLUSH_S).forget(name, _NAME_OF[rdtype])
            except LocalTrouble:
                return
