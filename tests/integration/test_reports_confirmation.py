"""Days lived through: what is confirmed, when an episode begins and ends, and by what."""

from datetime import timedelta
from pathlib import Path

import pytest

from reports.confirmation import rule
from reports.settings import ConfirmationSettings
from tests.daily_looks import DAY, Days
from tests.published_rows import NOON

HOST = "mx.h.example"


@pytest.mark.parametrize(
    ("pattern", "state"),
    [
        ("pmmmm", "confirmed"),
        ("pmmm", "suspected"),
        ("pmmtmm", "confirmed"),  # one day says nothing
        ("pmm mm", "confirmed"),  # one day without a run
        ("pmtmtmtm", "confirmed"),
        ("pmtmm", "suspected"),  # it does not extend the row either
        ("pmmttmm", "suspected"),  # two days: not in a row
        ("pmmpmm", "suspected"),
        ("pmnmn", "confirmed"),  # the host is broken whatever the fault is
        ("pmfnm", "confirmed"),
        ("plllm", "suspected"),  # a lookup that fails is another thing
        ("pllll", "confirmed"),
    ],
)
def test_when_a_host_is_confirmed(tmp_path: Path, pattern: str, state: str) -> None:
    days = Days(tmp_path)
    days.history(pattern)
    assert days.state == state
    (episode,) = [one for one in days.tables["episodes"] if one["ended"] is None]
    assert (episode["confirmed"] is not None) == (state == "confirmed")


@pytest.mark.parametrize(
    ("pattern", "confirmed"),
    [
        ("mmmm", {"any", "certificate"}),
        ("nnnn", {"any", "tls"}),
        ("nfnf", {"any", "tls"}),
        ("mnmn", {"any"}),
        ("mmmmn", {"any", "certificate"}),  # a missing STARTTLS hides the certificate
        ("mmmmnn", {"any", "certificate"}),
        ("mmmmnnn", {"any"}),  # for three days: nothing is known of it any more
        ("nnnnm", {"any"}),  # the handshake works: STARTTLS is there
        ("mmmmnnnn", {"any", "tls"}),
        ("mmtmm", {"any", "certificate"}),
        ("mmmmp", set()),
    ],
)
def test_each_kind_of_fault_by_itself(tmp_path: Path, pattern: str, confirmed: set[str]) -> None:
    days = Days(tmp_path)
    days.history(pattern)
    found = days.tables["confirmations"]
    assert {row["fault"] for row in found if row["state"] == "confirmed"} == confirmed


def test_two_wrong_leaves_in_turn_are_no_rollover(tmp_path: Path) -> None:
    days = Days(tmp_path)
    states = []
    for day in range(6):
        days.live(day, {HOST: "m"}, {HOST: "ab"[day % 2]})
        (row,) = days.tables["breakages"]
        states.append((row["state"], row["rollover_in_progress"]))
    assert states == [
        ("suspected", False),
        ("suspected", True),  # a leaf that was not seen before
        ("suspected", False),
        ("confirmed", False),
        ("confirmed", False),
        ("confirmed", False),
    ]


def test_a_new_leaf_every_day_is_never_settled(tmp_path: Path) -> None:
    days = Days(tmp_path)
    for day in range(6):
        days.live(day, {HOST: "m"}, {HOST: f"leaf-{day}"})
    (row,) = days.tables["breakages"]
    assert (row["state"], row["rollover_in_progress"]) == ("suspected", True)


@pytest.mark.parametrize(
    ("pattern", "ended_by"),
    [
        ("pmmmmp", "repaired"),
        ("pmmmma", "tlsa_removed"),
        ("pmmmm-", "mx_moved"),
        ("pmmmmx", "domain_gone"),
        ("pmmmmt", None),
        ("pmmmml", None),  # of the host; the lookup is another episode
        ("pllp", "repaired"),
        ("plla", "repaired"),  # an answer that says no is an answer
        ("pll-", "mx_moved"),
        ("pmmmm" + 36 * " " + "t", "not_seen"),
    ],
)
def test_what_ends_an_episode(tmp_path: Path, pattern: str, ended_by: str | None) -> None:
    days = Days(tmp_path)
    days.history(pattern)
    kind = "dns" if "l" in pattern[:2] else "mx"
    (episode,) = [one for one in days.tables["episodes"] if one["operator_kind"] == kind]
    assert episode["ended_by"] == ended_by
    assert (episode["ended"] is None) == (ended_by is None)


def test_both_bounds_of_an_episode(tmp_path: Path) -> None:
    days = Days(tmp_path)
    days.history("ptmmtmm p")
    episode = days.episode
    assert episode["good_until"] == NOON
    assert episode["began"] == NOON + 2 * DAY
    assert episode["confirmed"] == NOON + 6 * DAY
    assert episode["failing_until"] == NOON + 6 * DAY
    assert episode["ended"] == NOON + 8 * DAY
    assert (episode["looks"], episode["kind"], episode["recurrence"]) == (4, "mismatch", 0)
    assert episode["evidence"][0].startswith("address")
    assert episode["sample"] == ["h.example"]

    days.live(9, {HOST: "p"})
    assert days.tables["episodes"] == []  # it ended in an earlier run


def test_an_episode_that_began_before_the_first_look(tmp_path: Path) -> None:
    days = Days(tmp_path)
    days.history("mm")
    assert days.episode["good_until"] is None


def test_it_breaks_again_within_the_year(tmp_path: Path) -> None:
    days = Days(tmp_path)
    days.history("pmpmmp")
    assert days.episode["recurrence"] == 1
    days.live(30, {HOST: "m"})
    assert days.episode["recurrence"] == 2
    days.live(31, {HOST: "p"})
    days.live(31 + 400, {HOST: "m"})
    assert days.episode["recurrence"] == 0


def test_the_kind_and_the_cause_are_those_of_the_last_failing_look(tmp_path: Path) -> None:
    days = Days(tmp_path)
    days.history("pmmmmn")
    assert days.episode["kind"] == "no_starttls"


def test_the_rule_in_words() -> None:
    assert rule(ConfirmationSettings()) == (
        "A failure is confirmed when four daily looks agree, the last at least 70 hours after "
        "the first, each with two attempts at least 30 minutes apart, and no look between them "
        "is good."
    )
    other = ConfirmationSettings(looks=12, span_s=timedelta(days=2).total_seconds() + 30)
    assert "when 12 daily looks agree, the last at least 172830 seconds after" in rule(other)
