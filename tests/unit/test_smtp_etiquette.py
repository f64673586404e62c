"""How often a server is called, and who may be called at all."""

import os
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crawler.opt_out import OptOut
from crawler.smtp.etiquette import Schedule, missing_identity, network, require_identity
from crawler.smtp.settings import ProbeSettings
from dane.faults import UsageFault

Visit = tuple[int, str, str]  # number, address, operator

LIMITS = {
    "sessions": 4,
    "new_per_s": 2.0,
    "per_operator": 2,
    "address_interval_s": 60.0,
}


def schedule_of(visits: list[Visit], **changed: float) -> Schedule[Visit]:
    schedule: Schedule[Visit] = Schedule(**(LIMITS | changed))  # type: ignore[arg-type]
    for visit in visits:
        schedule.add(visit, visit[1], visit[2])
    return schedule


addresses = st.sampled_from(
    [f"192.0.2.{n}" for n in range(1, 6)]
    + [f"198.51.100.{n}" for n in range(1, 4)]
    + ["2001:db8::1", "2001:db8::2", "2001:db8:1::1"]
)
operators = st.sampled_from(["one.example", "two.example", "three.example"])


@settings(deadline=None)
@given(
    st.lists(st.tuples(addresses, operators), max_size=40),
    st.lists(st.integers(0, 90), min_size=40, max_size=40),
    st.sets(st.integers(0, 39)),
    st.sets(st.integers(0, 39)),
)
def test_limits_hold_in_any_order_and_all_are_visited(
    pairs: list[tuple[str, str]], lengths: list[int], called_again: set[int], doubted: set[int]
) -> None:
    """Runs the schedule on an invented clock, the way the probe scan runs it."""
    visits = [(number, *pair) for number, pair in enumerate(pairs)]
    schedule = schedule_of(visits)
    now, last_start = 0.0, float("-inf")
    running: dict[Visit, float] = {}
    ended: dict[str, float] = {}
    visited: Counter[int] = Counter()
    while not schedule.done:
        visit = schedule.take(now)
        if visit is not None:
            number, address, _ = visit
            assert now - last_start >= 1 / LIMITS["new_per_s"]
            assert now - ended.get(address, float("-inf")) >= LIMITS["address_interval_s"]
            assert all(address != other[1] for other in running), "one connection an address"
            last_start = now
            visited[number] += 1
            running[visit] = now + lengths[number % 1000]
            assert len(running) <= LIMITS["sessions"]
            assert max(Counter(v[2] for v in running).values()) <= LIMITS["per_operator"]
            assert max(Counter(network(v[1]) for v in running).values()) <= LIMITS["per_operator"]
            continue
        wait_s = schedule.wait_s(now)
        ends = min(running.values(), default=float("inf"))
        assert wait_s is not None or running, "nobody runs and nobody is due: stuck"
        now = min(ends, float("inf") if wait_s is None else now + wait_s)
        for done in [v for v, end in running.items() if end <= now]:
            del running[done]
            ended[done[1]] = now
            again = (done[0] + 1000, *done[1:]) if done[0] in called_again else None
            schedule.finished(done, now, again)
            if done[0] in doubted:
                schedule.add((done[0] + 2000, *done[1:]), done[1], done[2])
    expected = Counter(number for number, _, _ in visits)
    expected.update(number + 1000 for number, _, _ in visits if number in called_again)
    expected.update(number + 2000 for number, _, _ in visits if number in doubted)
    assert visited == expected


def take_all(schedule: Schedule[Visit], now: float) -> tuple[list[int], float]:
    """The numbers of all that may be taken before one has to finish, and the time then."""
    taken = []
    while (wait_s := schedule.wait_s(now)) is not None:
        now += wait_s
        if (visit := schedule.take(now)) is not None:
            taken.append(visit[0])
    return taken, now


def test_nobody_waits_for_a_place_that_is_free() -> None:
    """One that is woken for its operator's place, and held back by its network, wakes the next."""
    visits = [
        (1, "192.0.2.1", "busy"),
        (2, "192.0.2.2", "other"),
        (3, "198.51.100.1", "busy"),
        (4, "192.0.2.3", "busy"),  # operator and network are full
        (5, "203.0.113.1", "busy"),  # operator full
    ]
    schedule = schedule_of(visits, new_per_s=1000.0, sessions=10)
    taken, now = take_all(schedule, 0.0)
    assert taken == [1, 2, 3]
    schedule.finished(visits[2], now)
    taken, now = take_all(schedule, now)
    assert taken == [5]
    schedule.finished(visits[0], now)
    taken, now = take_all(schedule, now)
    assert taken == [4]


def test_an_address_that_was_just_visited_elsewhere_waits_for_its_time() -> None:
    """As after a restart, or by another worker; all targets of the address wait."""
    address = "192.0.2.1"
    schedule = schedule_of([(1, address, "op"), (2, "198.51.100.1", "other")], sessions=10)
    schedule.add((3, address, "op"), address, "op", 50.0)
    assert take_all(schedule, 0.0) == ([2, 1], 50.0)


def test_by_default_there_is_a_place_for_all_that_can_be_open() -> None:
    """However many servers keep us waiting, they take no place from another."""
    default = ProbeSettings()
    assert default.sessions >= default.new_per_s * default.session_s


def test_networks() -> None:
    assert network("192.0.2.77") == "192.0.2.0/24"
    assert network("2001:db8:7:8::1") == "2001:db8:7::/48"


def test_nobody_is_called_anonymously() -> None:
    named = ProbeSettings(
        ehlo_name="survey.example", contact="a@survey.example", information_page="https://x/"
    )
    require_identity(named)
    assert missing_identity(ProbeSettings(ehlo_name="survey.example")) == (
        "contact",
        "information_page",
    )
    with pytest.raises(UsageFault, match=r"probe\.contact, probe\.information_page"):
        require_identity(ProbeSettings(ehlo_name="survey.example"))
    require_identity(ProbeSettings(lab_addresses=("127.0.0.0/8",)))


@pytest.mark.parametrize(
    "name", ["localhost", "a b.example", "x.example\r\nQUIT", "ä.example", "."]
)
def test_the_ehlo_name_is_a_host_name(name: str) -> None:
    with pytest.raises(UsageFault, match="is not a host name"):
        require_identity(
            ProbeSettings(ehlo_name=name, contact="a@survey.example", information_page="https://x/")
        )


LIST = """
# asked by mail, 2024-05-01
Example.org.            # and below
192.0.2.0/24
2001:db8:1::/48
198.51.100.7
"""


def test_opt_out_by_name_operator_and_network(tmp_path: Path) -> None:
    path = tmp_path / "opt-out"
    path.write_text(LIST)
    listed = OptOut(path)
    assert listed.covers(names=["example.org"])
    assert listed.covers(names=["other.example", "mx.a.example.org"])
    assert not listed.covers(names=["notexample.org", "org", "."])
    assert listed.covers(operator="example.org")
    assert listed.covers(address="192.0.2.255")
    assert not listed.covers(address="192.0.3.0")
    assert listed.covers(address="2001:db8:1:ffff::1")
    assert not listed.covers(address="2001:db8:2::")
    assert listed.covers(address="198.51.100.7")
    assert not listed.covers(address="198.51.100.8")
    assert not OptOut(None).covers(names=["example.org"], operator="x", address="192.0.2.1")


def test_the_whole_internet_can_opt_out(tmp_path: Path) -> None:
    path = tmp_path / "opt-out"
    path.write_text("0.0.0.0/0\n::/0\n")
    assert OptOut(path).covers(address="8.8.8.8")
    assert OptOut(path).covers(address="2606:4700::1")


def test_a_new_entry_holds_at_the_next_question(tmp_path: Path) -> None:
    path = tmp_path / "opt-out"
    path.write_text("")
    listed = OptOut(path)
    assert not listed.covers(names=["example.org"])
    fresh = tmp_path / "fresh"
    fresh.write_text("example.org\n")
    os.replace(fresh, path)
    assert listed.covers(names=["example.org"])
    path.unlink()
    assert listed.covers(names=["example.org"]), "a list that is gone opens nothing"


@pytest.mark.parametrize("text", ["a..b\n", "x" * 64 + "\n", "ok.example\n\\999.example\n"])
def test_a_bad_entry_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "opt-out"
    path.write_text(text)
    with pytest.raises(UsageFault, match=f"line {text.count(chr(10))}"):
        OptOut(path)


def test_a_missing_list_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(UsageFault, match="opt-out"):
        OptOut(tmp_path / "nowhere")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageFault, match="opt-out"):
        OptOut(tmp_path / "binary")
