"""Which servers of a zone fail, and which disagree, before it breaks anything (pure).

Measurement, section 8: every authoritative server of a host's zone is asked for its TLSA RRset,
and what is not settled once more later. Only what both rounds show of one address counts.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from dane.outcomes import AuthorityResult

_GOOD = frozenset({AuthorityResult.ANSWER, AuthorityResult.NXDOMAIN})
_SILENT = frozenset(
    {
        AuthorityResult.TIMEOUT,
        AuthorityResult.REFUSED,
        AuthorityResult.NOTIMP,
        AuthorityResult.FORMERR,
        AuthorityResult.SERVFAIL,
    }
)


@dataclass(frozen=True, slots=True)
class ServerAnswer:
    """What one address said of a TLSA RRset.

    `answer`: a digest of the records, empty for a denial. `sound`: nothing is wrong with the
    signatures over it.
    """

    server: str
    address: str
    result: AuthorityResult
    answer: str = ""
    sound: bool = True

    @property
    def fails(self) -> bool:
        return self.result in _SILENT

    @property
    def good(self) -> bool:
        return self.result in _GOOD and self.sound

    @property
    def name(self) -> str:
        return f"{self.server} {self.address}"


def is_settled(answers: Sequence[ServerAnswer]) -> bool:
    """Whether one round shows nothing to look at again: all are good, and alike."""
    return all(one.good for one in answers) and len({one.answer for one in answers}) <= 1


def failing(rounds: Sequence[Sequence[ServerAnswer]]) -> list[str]:
    """The servers that fail in both rounds while another is good: `SERVER ADDRESS`, sorted."""
    if len(rounds) < 2 or not all(any(one.good for one in answers) for answers in rounds):
        return []
    return _in_all([{one.name for one in answers if one.fails} for answers in rounds])


def disagreeing(rounds: Sequence[Sequence[ServerAnswer]]) -> list[str]:
    """The servers that say in both rounds what others do not, or with signatures that are not

    good: `SERVER ADDRESS`, sorted. Where no answer is that of most, all of them.
    """
    if len(rounds) < 2:
        return []
    return _in_all([_odd(answers) for answers in rounds])


def _in_all(found: Sequence[set[str]]) -> list[str]:
    return sorted(set.intersection(*found))


def _odd(answers: Sequence[ServerAnswer]) -> set[str]:
    told = [one for one in answers if not one.fails]
    good = [one for one in told if one.good]
    odd = {one.name for one in told if not one.good} if good else set()
    counts = Counter(one.answer for one in good).most_common()
    if len(counts) > 1:
        most = counts[0][0] if counts[0][1] > counts[1][1] else None
        odd |= {one.name for one in good if one.answer != most}
    return odd
