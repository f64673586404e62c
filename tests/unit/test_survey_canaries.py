"""A run's canaries: what makes it one that is not to be published unseen."""

import pytest

from crawler.coordinator.canaries import MOST_LAPSES, CanaryHistory
from crawler.dns.canaries import Health

GOOD, DOWN, WRONG = Health.GOOD, Health.NETWORK_DOWN, Health.VALIDATION_WRONG
HOUR_S = 3600.0


def lapses(count: int) -> CanaryHistory:
    history = CanaryHistory({})
    for number in range(count):
        at = number * HOUR_S
        history.add([(at, GOOD), (at + 10, WRONG), (at + 20, WRONG), (at + 30, GOOD)])
    return history


def test_an_outage_is_no_failure() -> None:
    history = CanaryHistory({})
    history.add([(0, GOOD), *((10 * n, DOWN) for n in range(1, 300)), (3000, GOOD)])
    assert not history.failed
    assert history.rounds == {GOOD: 2, DOWN: 299}
    assert history.changes == [(0, GOOD), (10, DOWN), (3000, GOOD)]


def test_one_wrong_round_alone_is_no_lapse() -> None:
    history = CanaryHistory({})
    history.add([(0, GOOD), (10, WRONG), (20, GOOD), (30, WRONG), (40, DOWN), (50, GOOD)])
    assert history.lapses == []


def test_a_resolver_that_is_wrong_to_the_end_of_a_scan_is_blamed_once() -> None:
    wrong = [(0, GOOD), (10, WRONG), (20, WRONG)]
    history = CanaryHistory({})
    assert not history.add([*wrong, (30, GOOD)])  # it has recovered
    assert not history.add([(HOUR_S, GOOD), (HOUR_S + 10, DOWN), (HOUR_S + 20, DOWN)])
    later = [(2 * HOUR_S + at, health) for at, health in wrong]
    assert history.add(later)
    assert not history.add(later)  # another scan saw the same


def test_scans_at_once_see_one_lapse() -> None:
    history = CanaryHistory({})
    for late in (3, 0, 5):
        history.add([(late, WRONG), (late + 10, WRONG), (late + 20, WRONG)])
    assert history.lapses == [25]


@pytest.mark.parametrize(("count", "failed"), [(MOST_LAPSES, False), (MOST_LAPSES + 1, True)])
def test_many_lapses_fail(count: int, failed: bool) -> None:
    history = lapses(count)
    assert history.failed is failed
    assert CanaryHistory(history.as_record()).failed is failed
