"""Whoever stands between us and a server weakens no exception, whatever he does on which day."""

from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from dane.outcomes import FaultKind
from reports.exceptions import Action, Approval, Grounds, entries
from reports.views import open_views
from tests.daily_looks import DAY, Days
from tests.published_rows import NOON

FORTNIGHT = 14
_HOSTS = 80


def _approval(host: str, kind: FaultKind) -> Approval:
    day = NOON.date()
    return Approval(
        host, kind, "Jo Doe", Grounds.OPERATOR, "mail", day, day + timedelta(days=2 * FORTNIGHT)
    )


def _actions(days: Days, day: int, approvals: list[Approval]) -> dict[str, Action]:
    with open_views("500MB", days.runs[-1]) as views:
        found = entries(views, approvals, today=(NOON + day * DAY).date())
    return {f"mx.{one.domain}": one.action for one in found}


# The certificate is wrong all the time (`m`); on some days STARTTLS or the handshake is taken away,
# or nothing gets through.
patterns = st.lists(
    st.text("mmnft", min_size=FORTNIGHT, max_size=FORTNIGHT), min_size=_HOSTS, max_size=_HOSTS
)


@given(patterns)
@settings(max_examples=3, deadline=None)
def test_stripping_never_weakens_an_exception(drawn: list[str]) -> None:
    hosts = {f"mx.h{number}.example": pattern for number, pattern in enumerate(drawn)}
    hosts |= {"mx.always.example": "m" * FORTNIGHT, "mx.four.example": "mmmm" + 10 * "n"}
    approvals = [_approval(host, FaultKind.CERTIFICATE) for host in hosts]
    with TemporaryDirectory() as directory:
        days = Days(Path(directory))
        for day in range(FORTNIGHT):
            days.live(day, {host: pattern[day] for host, pattern in hosts.items()})
            actions = _actions(days, day, approvals)
            assert Action.MAY not in actions.values()
            assert ("mx.always.example" in actions) == (day >= 3)
            # what is approved is confirmed: two days without STARTTLS change nothing
            if 3 <= day < 6:
                assert actions["mx.four.example"] is Action.ENCRYPT


def test_what_is_approved_as_missing_tls_needs_it_confirmed(tmp_path: Path) -> None:
    host = "mx.h.example"
    approvals = [_approval(host, FaultKind.TLS)]
    days = Days(tmp_path)
    found = []
    for day, letter in enumerate("mmmmnnnnnm"):
        days.live(day, {host: letter})
        found.append(_actions(days, day, approvals).get(host))
    assert found == 7 * [None] + [Action.MAY, Action.MAY, None]
