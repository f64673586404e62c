"""Measurement, section 2: a failing lookup and its two witnesses, on real servers."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dane.faults import LocalTrouble
from lab.internet import Lab
from lab.scenarios.scenario import EE, GOOD, Behaviour, Host, Scenario, Signing

ROOT = Path(__file__).parents[2]
Row = dict[str, Any]


def _zone(name: str, *servers: Behaviour) -> Scenario:
    return Scenario(
        name=name,
        what="",
        why="",
        verdict={},
        zones={"@": Signing(servers=servers)},
        hosts=(Host(tlsa=EE),),
    )


NOTIMP = Behaviour(action="notimp")
SCENARIOS = [
    _zone("all-good", GOOD, GOOD),
    _zone("some-bad", GOOD, NOTIMP),
    _zone("good-but-for-us", Behaviour(action="fail-checking-disabled")),
    _zone("blocked", NOTIMP, NOTIMP),
    _zone("denies-tcp", Behaviour(action="deny-empty-non-terminal", types=("*",))),
]
FIRST_FAILS = ["_25._tcp.mx.all-good.plain", "_25._tcp.mx.some-bad.plain"]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Row]]:
    """By scenario: the host's rows."""
    try:
        lab = Lab(tmp_path_factory.mktemp("lab"), SCENARIOS)
    except LocalTrouble as trouble:
        pytest.skip(str(trouble))
    state = tmp_path_factory.mktemp("resolvers")
    asked = {"hosts": [f"mx.{one.domain}" for one in SCENARIOS], "first_fails": FIRST_FAILS}
    with lab:
        done = lab.exec(
            [sys.executable, "-m", "tests.witness_run", str(lab.settings_file), str(state)],
            input=json.dumps(asked),
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            check=True,
        )
    by_host: dict[str, Row] = json.loads(done.stdout)
    return {one.name: by_host[f"mx.{one.domain}"] for one in SCENARIOS}


@pytest.mark.parametrize(
    ("name", "outcome", "first", "second", "all_good", "status"),
    [
        # validated | all good: the second's answer, and the probe decides (here: none was made)
        ("all-good", "secure", "servfail", "secure", True, "unprobed"),
        # validated | some bad: the second's answer, and some_servers_fail
        ("some-bad", "secure", "servfail", "secure", False, "unprobed"),
        # fails | all good, twice: it is ours
        ("good-but-for-us", "servfail", None, "servfail", True, "local_error"),
        # fails | a cause is proven: it is theirs
        ("blocked", "servfail", None, "servfail", False, "tlsa_failed"),
    ],
)
def test_the_four_rows_of_two_witnesses(
    found: dict[str, Row],
    name: str,
    outcome: str,
    first: str | None,
    second: str,
    all_good: bool,
    status: str,
) -> None:
    host, verdict = found[name]["mx_host"], found[name]["verdict"]
    assert (host["tlsa_outcome"], host["first_look_outcome"]) == (outcome, first)
    assert host["second_look_outcome"] == second
    assert [one["all_good"] for one in found[name]["authority"]] == [all_good]
    assert verdict["status"] == status
    assert ("some_servers_fail" in verdict["defects"]) == (name == "some-bad")


def test_why_a_lookup_fails_is_told_only_where_it_is_theirs(found: dict[str, Row]) -> None:
    causes = {name: rows["verdict"]["dns_cause"] for name, rows in found.items()}
    assert (causes["blocked"], causes["good-but-for-us"]) == ("type_blocked", "unknown")
    assert found["blocked"]["verdict"]["failed_zone"] == "blocked.plain"
    assert found["blocked"]["verdict"]["failed_operator"] == ["blocked.plain"]


def test_the_second_resolver_fails_alone_only_where_tcp_is_denied(found: dict[str, Row]) -> None:
    """Section 3.4: a direct question shows the wrong denial of the empty non-terminal."""
    host, verdict = found["denies-tcp"]["mx_host"], found["denies-tcp"]["verdict"]
    assert host["tlsa_outcome"] == "secure"
    if host["second_look_outcome"] in ("bogus", "servfail"):
        assert (verdict["status"], verdict["dns_cause"]) == ("tlsa_failed", "bad_denial")
        assert "ent_denied" in verdict["defects"]
