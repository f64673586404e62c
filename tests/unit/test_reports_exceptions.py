"""Who may be excepted from DANE, for how long, on whose word."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from dane.faults import Refused, UsageFault
from dane.outcomes import FAULT_KIND, FaultKind, HostStatus
from reports.dictionary import BREAKAGES, CONFIRMATIONS, CONFIRMED_BREAKAGES, DOMAINS
from reports.exceptions import (
    Action,
    Approval,
    Entry,
    Grounds,
    Table,
    as_table,
    entries,
    last_day,
    read_approvals,
)
from reports.library import Library
from reports.settings import PublishSettings
from reports.views import open_views
from tests.published_rows import NOON, domain, publish, write

TODAY = NOON.date()
SETTINGS = PublishSettings()


def broken(name: str, host: str, status: str = "mismatch", **more: Any) -> dict[str, Any]:
    return {
        "operator_kind": "mx",
        "operator": "provider.example",
        "host": host,
        "domain": name,
        "status": status,
        "fault": FAULT_KIND.get(status, "lookup"),
        "state": "confirmed",
        "last_look": NOON,
        **more,
    }


def confirmations(breakages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What belongs beside these breakages: of each host, its fault by itself."""
    return [
        {name: row[name] for name in ("operator_kind", "host", "fault", "state", "last_look")}
        for row in breakages
    ]


def approval(host: str, **more: Any) -> Approval:
    given = {
        "kind": FaultKind.CERTIFICATE,
        "approver": "Jo Doe",
        "grounds": Grounds.OPERATOR,
        "reference": "mail",
        "begins": TODAY,
        "until": TODAY + timedelta(days=9),
    }
    return Approval(host=host, **(given | more))


def excepted(
    tmp_path: Path,
    breakages: list[dict[str, Any]],
    approvals: list[Approval],
    *,
    deliverable: bool | None = False,
    today: date = TODAY,
    **options: Any,
) -> list[tuple[str, Action]]:
    names = {row["domain"] for row in breakages}
    rows = {
        DOMAINS: [domain(name, "broken", deliverable=deliverable) for name in sorted(names)],
        BREAKAGES: breakages,
        CONFIRMATIONS: confirmations(breakages),
    }
    with open_views("500MB", write(tmp_path, rows)) as views:
        found = entries(views, approvals, today=today, **options)
    return [(one.domain, one.action) for one in found]


@pytest.mark.parametrize(
    ("status", "action"),
    [
        ("mismatch", Action.ENCRYPT),
        ("name_mismatch", Action.ENCRYPT),
        ("ta_expired", Action.ENCRYPT),
        ("no_starttls", Action.MAY),
        ("starttls_rejected", Action.MAY),
        ("tls_failed", Action.MAY),
    ],
)
def test_what_postfix_is_told(tmp_path: Path, status: str, action: Action) -> None:
    rows = [broken("a.example", "mx.example", status)]
    words = [approval("mx.example", kind=kind) for kind in (FaultKind.CERTIFICATE, FaultKind.TLS)]
    assert excepted(tmp_path, rows, words) == [("a.example", action)]
    other = [one for one in words if one.kind is not FAULT_KIND[HostStatus(status)]]
    assert excepted(tmp_path, rows, other) == []


@pytest.mark.parametrize(
    "case",
    [
        {"breakages": [broken("a.example", "mx.example", state="suspected")]},
        {"approvals": []},
        {"approvals": [approval("other.example")]},
        {"deliverable": True},
        {"deliverable": None},
        {"today": TODAY + timedelta(days=10)},
        {"today": TODAY - timedelta(days=1)},
        {"approvals": [approval("mx.example", grounds=Grounds.VANTAGE)]},
        {"breakages": [broken("a.example", "mx.example", last_look=NOON - timedelta(days=3))]},
        {"breakages": [broken("a.example", "", "bogus", operator_kind="dns", stage="mx")]},
        # another broken host of the domain that nobody approved
        {"breakages": [broken("a.example", "mx.example"), broken("a.example", "mx2.example")]},
    ],
    ids=str,
)
def test_no_exception(tmp_path: Path, case: dict[str, Any]) -> None:
    given = {
        "breakages": [broken("a.example", "mx.example")],
        "approvals": [approval("mx.example")],
    }
    assert excepted(tmp_path, **(given | case)) == []


def test_a_second_vantage_counts_for_what_it_saw_too(tmp_path: Path) -> None:
    rows = [broken("a.example", "mx.example"), broken("b.example", "mx2.example")]
    words = [approval(one["host"], grounds=Grounds.VANTAGE) for one in rows]
    elsewhere = {("mx.example", FaultKind.CERTIFICATE), ("mx2.example", FaultKind.TLS)}
    found = excepted(tmp_path, rows, words, second_vantage=elsewhere)
    assert found == [("a.example", Action.ENCRYPT)]


def test_no_exception_where_a_tlsa_lookup_fails(tmp_path: Path) -> None:
    hosts = [("mx.example", 10, "mismatch", "F"), ("mx2.example", 20, "tlsa_failed", "L")]
    rows = {
        DOMAINS: [
            domain("a.example", "broken", hosts, deliverable=False),
            domain("b.example", "broken", hosts[:1], deliverable=False),
        ],
        BREAKAGES: [broken("a.example", "mx.example"), broken("b.example", "mx.example")],
        CONFIRMATIONS: confirmations([broken("a.example", "mx.example")]),
    }
    with open_views("500MB", write(tmp_path, rows)) as views:
        found = entries(views, [approval("mx.example")], today=TODAY)
    assert [one.domain for one in found] == ["b.example"]


def test_the_weakest_action_of_a_domain(tmp_path: Path) -> None:
    rows = [broken("a.example", "mx.example"), broken("a.example", "mx2.example", "tls_failed")]
    words = [approval("mx.example"), approval("mx2.example", kind=FaultKind.TLS)]
    found = excepted(tmp_path, rows, words)
    assert found == [("a.example", Action.MAY)]


def test_postfix_table(tmp_path: Path) -> None:
    rows = {
        DOMAINS: [domain("a.example", "broken", deliverable=False)],
        BREAKAGES: [broken("a.example", "mx.example")],
        CONFIRMATIONS: confirmations([broken("a.example", "mx.example")]),
    }
    with open_views("500MB", write(tmp_path, rows)) as views:
        found = entries(
            views, [approval("mx.example", approver="J\nroot.example may")], today=TODAY
        )
    lines = as_table(found, today=TODAY).splitlines()
    assert [line for line in lines if not line.startswith("#")] == ["a.example encrypt"]
    assert "after 2026-11-10" in lines[1]
    assert as_table([], today=TODAY).count("\n") == 2


GOOD = """
[[exception]]
host = "MX.Example."
kind = "certificate"
approver = "Jo Doe"
grounds = "operator"
reference = "their mail"
from = 2026-11-01
until = 2026-11-14
"""


def test_an_approval_is_read(tmp_path: Path) -> None:
    path = tmp_path / "approvals.toml"
    path.write_text(GOOD)
    (found,) = read_approvals(path, max_days=14)
    assert (found.host, found.until) == ("mx.example", date(2026, 11, 14))
    assert found.kind is FaultKind.CERTIFICATE


def test_an_approval_may_name_the_status_that_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "approvals.toml"
    path.write_text(GOOD.replace('"certificate"', '"no_starttls"'))
    (found,) = read_approvals(path, max_days=14)
    assert found.kind is FaultKind.TLS


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("2026-11-14", "2026-11-15", "15 days"),
        ("2026-11-14", "2026-10-31", "0 days"),
        ('approver = "Jo Doe"', "", "approver is needed"),
        ('kind = "certificate"', "", "kind is needed"),
        ('"certificate"', '"lookup"', "it is certificate or tls"),
        ('"Jo Doe"', '"  "', "approver is needed"),
        ('"operator"', '"hearsay"', "hearsay"),
        ('"MX.Example."', '"a..b"', "empty label"),
        ("until", "expires", "no such key: expires"),
        ("2026-11-14", '"soon"', "until is needed"),
        ("2026-11-14", "2026-11-14T00:00:00", "until is needed"),
        ("[[exception]]", "[exception]", "only [[exception]]"),
        ("[[exception]]", "[[exceptions]]", "only [[exception]]"),
        ("=", "", "approvals"),
    ],
)
def test_an_approval_against_the_rules(tmp_path: Path, old: str, new: str, said: str) -> None:
    path = tmp_path / "approvals.toml"
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(UsageFault) as caught:
        read_approvals(path, max_days=14)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_approvals_file(tmp_path: Path) -> None:
    with pytest.raises(UsageFault, match="No such file"):
        read_approvals(tmp_path / "none.toml", max_days=14)


def test_second_vantage_is_another_network_at_the_same_time(tmp_path: Path) -> None:
    ours = Library(publish(tmp_path / "ours", {}), SETTINGS)
    seen = {
        "operator_kind": "mx",
        "operator": "p.example",
        "host": "mx.example",
        "status": "no_starttls",
        "confirmed_faults": ["certificate"],
    }
    rows = {CONFIRMED_BREAKAGES: [seen, {**seen, "operator_kind": "dns", "host": "dns.example"}]}
    theirs = publish(tmp_path / "theirs", rows, vantage="there")
    assert ours.confirmed_elsewhere(theirs.directory) == {("mx.example", FaultKind.CERTIFICATE)}
    for name, options in {
        "same": {"vantage": "here"},
        "unnamed": {"vantage": ""},
        "old": {"vantage": "there", "started": NOON - timedelta(days=3)},
    }.items():
        other = publish(tmp_path / name, rows, **options)
        with pytest.raises(Refused, match="second vantage"):
            ours.confirmed_elsewhere(other.directory)
    with pytest.raises(UsageFault, match="no such directory"):
        ours.confirmed_elsewhere(tmp_path / "nowhere")


def test_a_table_for_exim_has_the_same_entries() -> None:
    entry = Entry("a.example", Action.ENCRYPT, TODAY, ("mx.a.example",), ("Jo Doe",))
    assert as_table([entry], today=TODAY).splitlines()[-1] == "a.example encrypt"
    assert as_table([entry], today=TODAY, table=Table.EXIM).splitlines()[-1] == (
        "a.example: encrypt"
    )


def test_an_installed_table_says_its_last_day(tmp_path: Path) -> None:
    path = tmp_path / "table"
    entry = Entry("a.example", Action.MAY, TODAY + timedelta(days=3), ("mx",), ("Jo",))
    path.write_text(as_table([entry], today=TODAY))
    assert last_day(path) == TODAY + timedelta(days=3)
    path.write_text(as_table([], today=TODAY))
    assert last_day(path) == TODAY
    path.write_bytes(b"\xff\x00 something else")
    assert last_day(path) is None
