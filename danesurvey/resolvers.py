"""The two Unbounds of this machine: the one that is believed, and the second look."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from crawler.dns.client import Resolvers
from crawler.dns.unbound import Unbound
from dane import clock
from danesurvey.address_space import require_address_space
from danesurvey.owner import claim
from danesurvey.settings import Settings


@contextmanager
def running(settings: Settings) -> Iterator[list[Unbound]]:
    """Both, for as long as the block lasts. Raises LocalTrouble, UsageFault, Refused.

    Beside a resolver that is given by its address no second one is started: it would not
    know that one's root and trust anchor. Second looks are then left out, unless
    `resolver.second_look_address` gives another.
    """
    require_address_space()
    claim(settings)
    directory = settings.state_dir / "unbound"
    given = settings.resolver
    alone = given.address is not None and given.second_look_address is None
    with ExitStack() as stack:
        unbounds = [
            stack.enter_context(Unbound(given, directory, second_look=second))
            for second in ((False,) if alone else (False, True))
        ]
        if clock.days_ahead():
            for unbound in unbounds:
                unbound.judge_at(clock.now())
        yield unbounds


def resolvers_of(unbounds: Sequence[Unbound]) -> Resolvers:
    """What the scans need to know of them."""
    return Resolvers(
        first=tuple(one.address for one in unbounds[:1]),
        second=tuple(one.address for one in unbounds[1:]),
        control=tuple(one.control.path for one in unbounds if one.control is not None),
    )
