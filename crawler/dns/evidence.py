"""What direct questions to the servers of one zone prove: who fails, and why (pure).

`cause_of` gives the DnsCause of a failing lookup, by measurement, section 2: of each server
address the first cause in the order of the vocabulary, and of all addresses the first one that
says more than that a server is silent or lame, for a resolver asks the others then. `all_good`
is the other witness's word: every address that was asked gives what a validator accepts.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from dane.outcomes import AuthorityResult, DnsCause

WITHOUT_EDNS = "no-edns"  # SOA without EDNS, asked where EDNS gets no data
KEYS = "DNSKEY"
EMPTY_NON_TERMINAL = "_tcp"  # A at the `_tcp` label above a TLSA RRset
UNFRAGMENTED = 1232  # bytes of a datagram that no path cuts (dnsflagday.net/2020)

_ORDER = {cause: place for place, cause in enumerate(DnsCause)}
# Beyond so many aliases a resolver gives up; ours after 16 (`max-query-restarts`).
_MOST_ALIASES = 11

UNANSWERED = frozenset(
    {
        AuthorityResult.TIMEOUT,
        AuthorityResult.NOTIMP,
        AuthorityResult.REFUSED,
        AuthorityResult.FORMERR,
        AuthorityResult.SERVFAIL,
    }
)
"""What says nothing about the name."""
_GOOD = frozenset({AuthorityResult.ANSWER, AuthorityResult.NXDOMAIN})


@dataclass(frozen=True, slots=True)
class Entry:
    """One question to one address, and what came of it."""

    server: str  # a key of dane.names
    address: str
    transport: str  # udp, tcp
    question: str  # a type, "invented", or one of the labels above
    result: AuthorityResult
    cause: DnsCause | None = None  # what is wrong with the reply, beside its result
    truncated: bool = False
    edns: bool = True  # the reply has an OPT record
    size: int = 0  # of the reply, bytes
    aliases: int = 0  # that the reply follows
    answer: str = ""  # a digest of the records of the asked type; empty for a denial

    @property
    def answered(self) -> bool:
        """It says something about the name, rightly or not."""
        return self.result not in UNANSWERED

    @property
    def good(self) -> bool:
        return self.result in _GOOD and self.cause is None and not self.truncated


_Replies = Mapping[tuple[str, str], Entry]
"""Of one address, by transport and question."""


def _by_address(entries: Iterable[Entry]) -> list[_Replies]:
    found: dict[tuple[str, str], dict[tuple[str, str], Entry]] = defaultdict(dict)
    for entry in entries:
        found[entry.server, entry.address][entry.transport, entry.question] = entry
    return list(found.values())


def all_good(entries: Iterable[Entry], rrtype: str) -> bool:
    """Whether every address gives an answer or a denial of the type that validates.

    False if no address was asked.
    """
    addresses = _by_address(entries)
    return bool(addresses) and all(_cause_at(one, rrtype) is None for one in addresses)


def good_addresses(entries: Sequence[Entry], rrtype: str) -> set[str]:
    """The addresses that do."""
    return {
        next(iter(one.values())).address
        for one in _by_address(entries)
        if _cause_at(one, rrtype) is None
    }


def cause_of(entries: Sequence[Entry], rrtype: str) -> DnsCause | None:
    """Why the lookup of the type fails; None if every address is good, or none was asked."""
    found = [_cause_at(one, rrtype) for one in _by_address(entries)]
    causes = {cause for cause in found if cause is not None}
    telling = causes - {DnsCause.SERVERS_SILENT, DnsCause.LAME}
    if telling:
        return min(telling, key=_ORDER.__getitem__)
    if causes and None in found:
        return DnsCause.UNKNOWN  # a resolver would have heard the one that is good
    if causes == {DnsCause.SERVERS_SILENT, DnsCause.LAME}:
        return DnsCause.LAME  # what answers does not serve the zone
    return next(iter(causes), None)


def follows_too_many(zones: Iterable[Iterable[Entry]]) -> bool:
    """Whether a resolver may give up on the aliases that lead through some zones."""
    most = (max((entry.aliases for entry in entries), default=0) for entries in zones)
    return sum(most) > _MOST_ALIASES


def denies_empty_non_terminal(entries: Iterable[Entry]) -> bool:
    """Whether a server denies `_tcp.HOST` above a TLSA RRset that it has (RFC 8020 section 2).

    A resolver that minimises query names asks for it on the way (RFC 9156).
    """
    wrong = {AuthorityResult.NXDOMAIN, AuthorityResult.BAD_DENIAL, AuthorityResult.NO_RRSIG}
    return any(
        any(entry.question == "TLSA" and entry.answer for entry in replies.values())
        and any(
            entry.question == EMPTY_NON_TERMINAL and entry.result in wrong
            for entry in replies.values()
        )
        for replies in _by_address(entries)
    )


def _cause_at(replies: _Replies, rrtype: str) -> DnsCause | None:
    """Of one address; None if it is good."""
    return next((cause for cause, applies in _CAUSES if applies(replies, rrtype)), None) or (
        _cause_of_reply(replies, rrtype)
    )


def _results(replies: _Replies, question: str) -> list[AuthorityResult]:
    return [entry.result for (_, asked), entry in replies.items() if asked == question]


def _answers(replies: _Replies, question: str) -> bool:
    return any(entry.answered for (_, asked), entry in replies.items() if asked == question)


def _is_silent(replies: _Replies, _: str) -> bool:
    """By UDP, which a resolver asks by, whatever TCP says."""
    return all(
        entry.result is AuthorityResult.TIMEOUT
        for (transport, _), entry in replies.items()
        if transport == "udp"
    )


def _works_without_edns(replies: _Replies) -> bool:
    plain = replies.get(("udp", WITHOUT_EDNS))
    return plain is not None and plain.answered


def _is_lame(replies: _Replies, _: str) -> bool:
    """It answers, and not for the zone: not even its SOA."""
    results = _results(replies, "SOA")
    return (
        bool(results)
        and any(one is not AuthorityResult.TIMEOUT for one in results)
        and not _answers(replies, "SOA")
        and not _works_without_edns(replies)
    )


def _is_blocked(replies: _Replies, rrtype: str) -> bool:
    """The type, or DNSKEY, gets nothing by any transport, and its neighbours do."""
    neighbours = _answers(replies, "SOA") and (rrtype == "A" or _answers(replies, "A"))
    return neighbours and any(_gets_nothing(replies, one) for one in (rrtype, KEYS))


def _gets_nothing(replies: _Replies, question: str) -> bool:
    first = replies.get(("udp", question))
    return (
        first is not None
        and not first.truncated  # else it is TCP that fails
        and not _answers(replies, question)
    )


def _needs_tcp(replies: _Replies, rrtype: str) -> bool:
    for question in (rrtype, KEYS):
        first, second = replies.get(("udp", question)), replies.get(("tcp", question))
        if first is not None and first.truncated and (second is None or not second.answered):
            return True
    return False


def _is_without_edns(replies: _Replies, rrtype: str) -> bool:
    if _works_without_edns(replies) and not _answers(replies, "SOA"):
        return True
    first = replies.get(("udp", rrtype))
    return first is not None and first.answered and not first.edns


def _loses_fragments(replies: _Replies, rrtype: str) -> bool:
    for question in (rrtype, KEYS):
        first, second = replies.get(("udp", question)), replies.get(("tcp", question))
        lost = first is not None and first.result is AuthorityResult.TIMEOUT
        if lost and second is not None and second.answered and second.size > UNFRAGMENTED:
            return True
    return False


def _is_blocked_by_udp(replies: _Replies, rrtype: str) -> bool:
    both = (replies.get(("udp", one)) for one in (rrtype, KEYS))
    return any(first is not None and not first.answered for first in both)


def _loops(replies: _Replies, rrtype: str) -> bool:
    return AuthorityResult.CNAME_LOOP in _results(replies, rrtype)


# In the order of the vocabulary, but for what is blocked by UDP alone: a lost large reply looks
# like it, and is told apart by its size.
_CAUSES = (
    (DnsCause.SERVERS_SILENT, lambda r, t: _is_silent(r, t) and not _works_without_edns(r)),
    (DnsCause.LAME, _is_lame),
    (DnsCause.TYPE_BLOCKED, _is_blocked),
    (DnsCause.TCP_BROKEN, _needs_tcp),
    (DnsCause.EDNS_BROKEN, _is_without_edns),
    (DnsCause.FRAGMENTS_LOST, _loses_fragments),
    (DnsCause.TYPE_BLOCKED, _is_blocked_by_udp),
    (DnsCause.CNAME_LOOP, _loops),
)


def _cause_of_reply(replies: _Replies, rrtype: str) -> DnsCause | None:
    """What is wrong with the keys or with the reply itself."""
    of_keys = [e.cause for (_, asked), e in replies.items() if asked == KEYS and e.cause]
    of_reply = [e.cause for (_, asked), e in replies.items() if asked == rrtype and e.cause]
    found = [*of_keys, *of_reply]
    if found:
        return min(found, key=_ORDER.__getitem__)
    good = any(entry.good for (_, asked), entry in replies.items() if asked == rrtype)
    return None if good else DnsCause.UNKNOWN
