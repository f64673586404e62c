"""What one question comes to: the outcomes of measurement, section 2.

A lookup is a generator: it yields the questions that it wants asked, is sent the response
to each (None: no reply in time) and returns what it found. It does no I/O, so the same code
runs under a scan's window, under a single `Client.ask`, and in tests without a network.
"""

from collections.abc import Generator, Sequence
from typing import TypeVar

from crawler.dns.codec import NOERROR, NXDOMAIN, SERVFAIL, YXDOMAIN, Question, Response
from crawler.dns.rdata import Record
from dane.outcomes import DENIAL, FAILED, LOCAL, LookupOutcome

T = TypeVar("T")
Lookup = Generator[Question, Response | None, T]

_ANSWERED = frozenset({LookupOutcome.SECURE, LookupOutcome.INSECURE})
FIRST, SECOND_LOOK = 0, 1  # `Question.resolver`

_NOTHING = Response("", SERVFAIL, False, False)  # stands for the reply that did not come


class Answer:
    """An outcome with the response that gave it (an empty one if none came).

    `secure`: the resolver validated it all, CNAMEs included (AD, RFC 4035 section 3.2.3).
    `records`: those asked for; none beside a denial or a failure, whatever the response holds.
    """

    __slots__ = ("outcome", "records", "response", "secure")

    def __init__(self, outcome: LookupOutcome, response: Response) -> None:
        self.outcome = outcome
        self.response = response
        self.secure = response.ad and (outcome is LookupOutcome.SECURE or outcome in DENIAL)
        self.records: Sequence[Record] = response.records if outcome in _ANSWERED else ()

    @property
    def failed(self) -> bool:
        return self.outcome in FAILED

    @property
    def local(self) -> bool:
        return self.outcome in LOCAL


def lookup(name: str, rdtype: int, last_pass: bool = True, resolver: int = FIRST) -> Lookup[Answer]:
    """Ask one question; after SERVFAIL once more without validation, to tell bogus.

    When no reply comes to that second question the failure is not yet told apart: the next
    pass asks again, and the last one calls it `servfail`, for CD=1 did not help.
    """
    response = yield Question(name, rdtype, False, resolver)
    if response is None:
        return Answer(LookupOutcome.UNANSWERED, _NOTHING)
    if response.flaw is None and response.rcode == SERVFAIL:
        unchecked = yield Question(name, rdtype, True, resolver)
        if unchecked is None:
            if not last_pass:
                return Answer(LookupOutcome.UNANSWERED, response)
        elif unchecked.flaw is None and unchecked.rcode in (NOERROR, NXDOMAIN):
            return Answer(LookupOutcome.BOGUS, response)
        return Answer(LookupOutcome.SERVFAIL, response)
    return Answer(_outcome(response), response)


def _outcome(response: Response) -> LookupOutcome:
    if response.flaw is not None:
        return LookupOutcome.LOCAL_RESOLVER
    if response.rcode == NOERROR:
        if not response.records:
            return LookupOutcome.NODATA
        return LookupOutcome.SECURE if response.ad else LookupOutcome.INSECURE
    # YXDOMAIN: a DNAME of theirs makes a name over 255 bytes (RFC 6672 section 2.2).
    return _BY_RCODE.get(response.rcode, LookupOutcome.LOCAL_RESOLVER)


_BY_RCODE = {NXDOMAIN: LookupOutcome.NXDOMAIN, YXDOMAIN: LookupOutcome.SERVFAIL}
