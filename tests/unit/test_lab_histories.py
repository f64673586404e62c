"""Histories as data: each declares something, of tables and days that there are."""

from datetime import date, timedelta

import pytest

from dane.faults import UsageFault
from danesurvey.history import Calendar, chosen
from lab.histories import HISTORIES, Full
from lab.histories.history import BEFORE
from reports.dictionary import TABLES

_BESIDE = {"runs", "exceptions", "notices", "post"}


def test_there_are_enough_and_each_declares_something() -> None:
    names = [one.name for one in HISTORIES]
    assert len(names) == len(set(names)) >= 25
    for one in HISTORIES:
        assert one.found, one.name
        assert one.what
        assert one.why
        assert BEFORE in one.phases


def test_what_is_declared_is_of_a_table_and_its_columns() -> None:
    columns = {
        table.name: set(table.schema.names) for table in TABLES if table.access == "restricted"
    }
    for history in HISTORIES:
        for found in history.found:
            assert found.table in _BESIDE | columns.keys(), history.name
            if found.table in columns:
                assert found.where.keys() | (found.values or {}).keys() <= columns[found.table]


def test_every_event_of_twelve_days_is_looked_for_within_them() -> None:
    within = [
        history.name
        for history in HISTORIES
        for found in history.found
        if isinstance(found.day, Full) or found.day < 12
    ]
    assert set(within) == {one.name for one in HISTORIES}


@pytest.mark.parametrize("today", [date(2026, 1, 31), date(2026, 12, 1), date(2028, 2, 29)])
def test_day_ten_is_the_first_of_a_month(today: date) -> None:
    calendar = Calendar(90, today)
    assert calendar.date(10).day == 1
    assert calendar.date(-365) >= today
    assert calendar.date(0) == today + timedelta(days=calendar.ahead)
    firsts = calendar.firsts()
    assert firsts[0] == 10
    assert len(firsts) == 3
    assert [calendar.is_full(day) for day in firsts] == [True, False, True]
    assert calendar.is_full(-30)
    assert not calendar.is_full(0)
    assert calendar.number(Full(3)) == firsts[2]
    assert Calendar(12, today).number(Full(2)) is None

    # the month before, and the month a year before, each have a full run
    def month(day: int) -> str:
        return f"{calendar.date(day) - timedelta(days=7):%Y-%m}"

    assert month(10) != month(-30)
    assert month(10)[-2:] == month(-365)[-2:]


def test_an_unknown_history_is_refused() -> None:
    assert [one.name for one in chosen(["tempfail"])] == ["tempfail"]
    with pytest.raises(UsageFault, match="no history 'x'; there are: "):
        chosen(["x"])
